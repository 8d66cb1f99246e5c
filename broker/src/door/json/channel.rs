//! The dialect `channel`: SUBSCRIBE, UNSUBSCRIBE and PUBLISH, with pushed MESSAGEs.
//!
//! It is live: only messages published after a subscription are sent, and the subscription ends
//! with the connection. A publish is answered only if it is refused.

use super::Json;
use crate::door::commands::Commands;
use crate::door::fields::Fields;
use crate::push::format::Format;
use crate::push::subscriber::Beginning;
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
                let channel = arguments.topic("channel")?;
                let done = self.subscribe_to_channel(channel);
                if done.is_err() {
                    self.broker.log.note("subscribed", channel, &done);
                }
                done
            }
            "unsubscribe" => {
                let channel = arguments.topic("channel")?;
                self.subscriber.unsubscribe(channel);
                let count = self.broker.push.listeners.sessions(channel);
                confirm(&mut self.answers, "UNSUBSCRIBE", channel, count);
                Ok(())
            }
            _ => Err(Refusal::UnknownCommand),
        }
    }

    fn subscribe_to_channel(&mut self, channel: &str) -> Result<(), Refusal> {
        self.broker.prepare_for(&self.subscriber, channel)?;
        let is_new = self.subscriber.cursor(channel).is_none();
        let push = &self.broker.push;
        let count = push.listeners.sessions(channel) + usize::from(is_new);
        confirm(&mut self.answers, "SUBSCRIBE", channel, count);
        let begin = vec![Beginning::asked(channel, push.topics.end(channel))];
        self.subscriber.subscribe(Vec::new(), begin, Format::Channel, None, &mut self.answers);
        Ok(())
    }
}

fn confirm(out: &mut Vec<u8>, command: &str, channel: &str, count: usize) {
    let mut answer = Object::ascii(out);
    answer.field("type", command).field("channel", channel).field("count", count).end_line();
}
