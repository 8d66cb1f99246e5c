//! Sends one command at a time: reads a part of a topic, creates or deletes a topic.

use super::broker::Broker;
use super::error::Error;
use super::link::Link;
use crate::json::{Object, Value};
use crate::stream::{Cursor, StreamId};

/// Sends one command at a time, and repeats those that may succeed later.
///
/// ```no_run
/// use common::client::{Broker, Session};
///
/// let mut session = Session::new(Broker::at("127.0.0.1:9000"));
/// session.create_topic("greetings")?;
/// let piece = session.pull("greetings", 0, 100)?;
/// println!("{} messages; the next one has offset {}", piece.messages.len(), piece.next.next);
/// # Ok::<(), common::client::Error>(())
/// ```
#[derive(Debug)]
pub struct Session {
    pub(super) link: Link,
}

/// Messages of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Their texts.
    pub messages: Vec<String>,
    /// The place behind them.
    pub next: Cursor,
}

impl Session {
    /// A session with this broker. It connects when it is asked for something.
    #[must_use]
    pub fn new(broker: Broker) -> Session {
        Session { link: Link::new(broker) }
    }

    /// Reads messages from an offset on: at most `limit`, and at most 8 MiB.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with code 404 where there is no such topic, and with 416 where it has
    /// fewer messages; [`Error::GaveUp`].
    pub fn pull(&mut self, topic: &str, from: u64, limit: u64) -> Result<Piece, Error> {
        let fields = |command: &mut Object<'_>| {
            command.field("from", from).field("limit", limit);
        };
        self.ask("pull", topic, fields, |value| {
            let texts = value.get("messages")?.as_array()?.iter();
            let messages: Option<_> = texts.map(|text| text.as_str().map(str::to_owned)).collect();
            let stream = value.get("stream")?.as_str()?.parse().ok()?;
            let next = Cursor { stream, next: value.get("next")?.as_u64()? };
            Some(Piece { messages: messages?, next })
        })
    }

    /// Creates a topic. False if it was there already.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn create_topic(&mut self, topic: &str) -> Result<bool, Error> {
        self.change("create_topic", topic, 409)
    }

    /// Deletes a topic and all its messages. False if there was none.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn delete_topic(&mut self, topic: &str) -> Result<bool, Error> {
        self.change("delete_topic", topic, 404)
    }

    /// Acknowledges for a lasting subscription. A list that is gone needs no acknowledgement.
    pub(super) fn acknowledge(
        &mut self,
        subscriber: &str,
        topic: &str,
        offset: u64,
        stream: StreamId,
    ) -> Result<(), Error> {
        let fields = |command: &mut Object<'_>| {
            command.field("subscriber", subscriber).field("offset", offset).field("stream", stream);
        };
        match self.ask("ack", topic, fields, |_| Some(())) {
            Err(Error::Refused { code: 404 | 410 | 416, .. }) => Ok(()),
            result => result,
        }
    }

    /// Gives a command. A refusal with `code` means that there was nothing to do.
    fn change(&mut self, command: &str, topic: &str, code: u16) -> Result<bool, Error> {
        match self.ask(command, topic, |_| {}, |_| Some(true)) {
            Err(Error::Refused { code: refused, .. }) if refused == code => Ok(false),
            result => result,
        }
    }

    /// Gives a command until it is answered, and reads the answer.
    fn ask<T>(
        &mut self,
        command: &str,
        topic: &str,
        fields: impl FnOnce(&mut Object<'_>),
        read: impl Fn(&Value<'_>) -> Option<T>,
    ) -> Result<T, Error> {
        let mut text = Vec::new();
        let mut object = Object::new(&mut text);
        object.field("command", command).field("topic", topic);
        fields(&mut object);
        object.end_line();
        let answer = self.link.ask(&text, read)?;
        answer.map_err(|refusal| self.link.broker().refused(topic, refusal))
    }
}
