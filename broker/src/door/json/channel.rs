//! The dialect `channel`: SUBSCRIBE, UNSUBSCRIBE and PUBLISH, with pushed MESSAGEs.
//!
//! It is live: only messages published after a subscription are sent, and the subscription ends
//! with the connection. A publish is answered only if it is refused.

use super::Json;
use crate::access::Right;
use crate::door::{Commands, Fields};
use crate::push::{Beginning, Format};
use crate::refusal::Result;
use common::json::{Object, Value};

impl Commands<'_, Json> {
    pub(super) fn subscribe_to_channel(&mut self, arguments: &Value<'_>) -> Result<()> {
        let channel = arguments.required("channel")?;
        self.grant()?.check(Right::Read, channel)?;
        self.broker.prepare_for(&self.subscriber, channel).inspect_err(|refusal| {
            self.broker.log.note("subscribed", channel, Some(refusal));
        })?;
        let is_new = self.subscriber.cursor(channel).is_none();
        let push = &self.broker.push;
        let count = push.listeners.sessions(channel) + usize::from(is_new);
        confirm(&mut self.answers, "SUBSCRIBE", channel, count);
        let begin = vec![Beginning::asked(channel, push.topics.end(channel))];
        self.subscriber.subscribe(Vec::new(), begin, Format::Channel, None, &mut self.answers);
        Ok(())
    }

    pub(super) fn leave_channel(&mut self, arguments: &Value<'_>) -> Result<()> {
        let channel = arguments.topic("channel")?;
        self.grant()?.check(Right::Read, channel)?;
        self.subscriber.unsubscribe(channel);
        let count = self.broker.push.listeners.sessions(channel);
        confirm(&mut self.answers, "UNSUBSCRIBE", channel, count);
        Ok(())
    }
}

fn confirm(out: &mut Vec<u8>, command: &str, channel: &str, count: usize) {
    let mut answer = Object::ascii(out);
    answer.field("type", command).field("channel", channel).field("count", count).end_line();
}
