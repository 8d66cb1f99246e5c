//! The events that a subscriber reads: a message, a new list, messages that were let go.

use crate::bytes::decimal_prefix;
use crate::json::{Value, string_prefix};
use crate::stream::{Cursor, StreamId};
use std::borrow::Cow;
use std::sync::Arc;

/// An event of a [`Subscriber`](super::Subscriber).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message.
    Message(Message),
    /// The topic has another list than before: it was deleted and created again, or a broker
    /// without a disk was restarted. The messages of the new list follow from offset 0.
    Reset {
        /// The topic.
        topic: Arc<str>,
    },
    /// The topic has removed messages that were not read yet. The subscription continues at
    /// `next`.
    Trimmed {
        /// The topic.
        topic: Arc<str>,
        /// The offset of the next message.
        next: u64,
    },
}

/// A message with its place, time and publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The topic, one copy for all its messages.
    pub topic: Arc<str>,
    /// The list that it is in.
    pub stream: StreamId,
    /// Its place in the list, counted from 0.
    pub offset: u64,
    /// The text that was published.
    pub text: String,
    /// The time of the publish, in Unix milliseconds.
    pub time: u64,
    /// The name of the publisher, if it gave one.
    pub publisher: Option<Arc<str>>,
}

impl Event {
    /// The topic that it is about.
    pub fn topic(&self) -> &str {
        match self {
            Event::Message(Message { topic, .. })
            | Event::Reset { topic }
            | Event::Trimmed { topic, .. } => topic,
        }
    }
}

impl Message {
    /// The place after this message. A reader that stores it together with the result of the
    /// message can continue there, and so handles each message exactly once.
    pub fn next(&self) -> Cursor {
        Cursor { stream: self.stream, next: self.offset + 1 }
    }
}

/// A message as a line of the broker has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pushed<'a> {
    pub(super) topic: Cow<'a, str>,
    pub(super) offset: u64,
    pub(super) text: Cow<'a, str>,
    pub(super) time: u64,
    pub(super) publisher: Option<Cow<'a, str>>,
    /// Only the first message of a list has it.
    pub(super) stream: Option<StreamId>,
}

impl<'a> Pushed<'a> {
    /// Reads a message whose members stand in the order in which brokers write them, as in all
    /// lines but the first of a list. It needs no JSON value: with it, a subscriber that reads two
    /// million short messages needs a third of the processor time.
    pub(super) fn of_line(line: &'a [u8]) -> Option<Pushed<'a>> {
        let line = line.strip_prefix(b"{\"event\":\"message\",\"topic\":")?;
        let (topic, line) = string_prefix(line)?;
        let (offset, line) = decimal_prefix(line.strip_prefix(b",\"offset\":")?)?;
        let (text, line) = string_prefix(line.strip_prefix(b",\"message\":")?)?;
        let (time, line) = decimal_prefix(line.strip_prefix(b",\"time\":")?)?;
        let line = line.strip_prefix(b",\"publisher\":")?;
        let (publisher, line) = match line.strip_prefix(b"null") {
            Some(line) => (None, line),
            None => string_prefix(line).map(|(name, line)| (Some(name), line))?,
        };
        (line == b"}\n").then_some(Pushed { topic, offset, text, time, publisher, stream: None })
    }

    /// Reads a message whose members stand in any order.
    pub(super) fn of_value(value: &'a Value<'_>) -> Option<Pushed<'a>> {
        Some(Pushed {
            topic: value.get_str("topic")?.into(),
            offset: value.get_u64("offset")?,
            text: value.get_str("message")?.into(),
            time: value.get_u64("time")?,
            publisher: value.get_str("publisher").map(Cow::from),
            stream: value.get_str("stream").map(str::parse).transpose().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn a_message_is_taken_out_of_its_line_in_whatever_order() {
        for (name, publisher) in
            [("null", None), (r#""ann""#, Some("ann")), (r#""\u00fc""#, Some("\u{fc}"))]
        {
            let line = format!(
                "{{\"event\":\"message\",\"topic\":\"t\",\"offset\":7,\"message\":\"a\\\\\\u00fc\",\
                 \"time\":5,\"publisher\":{name}}}\n"
            );
            let expected = Pushed {
                topic: "t".into(),
                offset: 7,
                text: "a\\\u{fc}".into(),
                time: 5,
                publisher: publisher.map(Cow::from),
                stream: None,
            };
            assert_eq!(Pushed::of_line(line.as_bytes()).as_ref(), Some(&expected));
            assert_eq!(Pushed::of_value(&json::parse(line.as_bytes()).unwrap()), Some(expected));
        }
    }

    #[test]
    fn what_a_broker_would_not_write_is_no_message() {
        for line in [
            "",
            "hello",
            "{}",
            r#"{"event":"message","topic":"t","offset":-1,"message":"a","time":5}"#,
            r#"{"event":"message","topic":"t","message":"a","time":5}"#,
            r#"{"event":"message","offset":1,"message":"a","time":5}"#,
            r#"{"event":"message","topic":"t","offset":1,"message":"a","time":5,"stream":"x"}"#,
        ] {
            assert_eq!(Pushed::of_line(line.as_bytes()), None, "{line}");
            let value = json::parse(line.as_bytes()).unwrap_or(Value::Null);
            assert_eq!(Pushed::of_value(&value), None, "{line}");
        }
    }
}
