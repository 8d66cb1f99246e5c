//! The dialect of channels: SUBSCRIBE, UNSUBSCRIBE and PUBLISH, with pushed MESSAGEs.
//!
//! Live only: nothing from before a subscription is sent, and it ends with the connection. A
//! publish is not answered unless it is refused.

use super::Json;
use crate::door::commands::Commands;
use crate::door::fields::topic;
use crate::push::format::Format;
use crate::refusal::Refusal;
use common::json::{Object, Value};

impl Commands<'_, Json> {
    /// Handles a command of this dialect that is not a publish.
    pub(super) fn channel_command(
        &mut self,
        command: &str,
        arguments: &Value<'_>,
    ) -> Result<(), Refusal> {
        match command {
            "subscribe" => {
                let channel = topic(arguments, "channel")?;
                let push = &self.broker.push;
                self.broker.prepare_for(&self.subscriber, channel)?;
                self.subscriber.subscribe(
                    channel,
                    Format::Channel,
                    None,
                    Ok,
                    &mut self.answers,
                    |answers, _| {
                        confirm(answers, "SUBSCRIBE", channel, push.subscribers_of(channel))
                    },
                )
            }
            "unsubscribe" => {
                let channel = topic(arguments, "channel")?;
                self.subscriber.unsubscribe(channel);
                let count = self.broker.push.subscribers_of(channel);
                confirm(&mut self.answers, "UNSUBSCRIBE", channel, count);
                Ok(())
            }
            _ => Err(Refusal::UnknownCommand),
        }
    }
}

fn confirm(out: &mut Vec<u8>, command: &str, channel: &str, count: usize) {
    let mut answer = Object::ascii(out);
    answer.field("type", command).field("channel", channel).field("count", count).end_line();
}
