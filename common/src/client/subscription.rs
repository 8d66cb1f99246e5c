//! One subscription: where it begins, and its place in the topic's list.

use super::{Event, INVALID, Pushed};
use crate::crc32::Crc32;
use crate::json::Object;
use crate::stream::{Cursor, StreamId};
use crate::trouble::Trouble;
use std::sync::Arc;

/// Where a subscription begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// With the first message that is published from now on.
    Now,
    /// With the message at this offset; 0 is the first that was ever published.
    Offset(u64),
    /// With the last so many messages.
    Last(u64),
    /// With the first message that was published since then: a time ago (`10m`), Unix
    /// milliseconds, or a date and time as in RFC 3339.
    Since(String),
    /// Where a reader stopped: see [`Message::next`](super::Message::next). If the topic has
    /// another list by now, with an [`Event::Reset`] and then the first message of that list.
    Cursor(Cursor),
    /// After the last message that was [acknowledged](super::Subscriber::acknowledge) under this
    /// name, by any process; the first time, with the first message that is published from now on.
    /// Only the newest subscriber of a name receives its messages.
    Name(String),
}

/// The subscription to one topic.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) topic: Arc<str>,
    /// The name of its lasting subscription.
    pub(super) name: Option<String>,
    /// Where it begins; once the broker has said it, the cursor where it continues.
    pub(super) place: Start,
    /// The digest of the topic at the cursor, if known. It proves that the topic's list begins
    /// with the messages that were read, also if it has another id.
    pub(super) digest: Option<Crc32>,
    /// Whether it only matches patterns, and was never subscribed to by its own name.
    pub(super) is_chosen: bool,
    /// Whether there was a cursor. Then lost messages are an event, and not an error.
    pub(super) has_begun: bool,
}

impl Start {
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Start::Name(name) => Some(name),
            _ => None,
        }
    }

    /// Writes where to begin, as a command says it.
    pub(super) fn write<'o, 'a>(&self, command: &'o mut Object<'a>) -> &'o mut Object<'a> {
        match self {
            Start::Offset(offset) => command.field("from", *offset),
            Start::Last(count) => command.raw("from", format!("-{count}").as_bytes()),
            Start::Since(time) => command.field("since", time),
            Start::Now | Start::Cursor(_) | Start::Name(_) => command,
        }
    }
}

impl Subscription {
    pub(super) fn new(topic: &str, start: Start) -> Subscription {
        let (topic, name) = (topic.into(), start.name().map(str::to_owned));
        let (has_begun, place) = (matches!(start, Start::Cursor(_)), start);
        Subscription { topic, name, has_begun, place, digest: None, is_chosen: false }
    }

    /// Where it continues; `None` until the broker has said where it begins.
    pub(super) fn cursor(&self) -> Option<Cursor> {
        match self.place {
            Start::Cursor(cursor) => Some(cursor),
            _ => None,
        }
    }

    /// Writes where it begins or continues, as a command says it.
    pub(super) fn write_place(&self, command: &mut Object<'_>) {
        match (&self.name, &self.place) {
            (None, Start::Cursor(Cursor { stream, next })) => {
                command.field("from", *next).field("stream", *stream)
            }
            // A broker that knows the name knows where it continues. One that has lost it would
            // begin at the end, and leave out messages since its restart.
            (Some(_), Start::Cursor(_)) => command.field("from", 0_u64),
            (_, start) => start.write(command),
        };
        match (&self.name, self.digest) {
            (Some(name), _) => command.field("subscriber", name),
            (None, Some(crc)) => command.field("digest", format!("{:08x}", crc.value())),
            (None, None) => command.field("digest", true),
        };
    }

    /// Moves past a message. Gives its place, or `None` if it was read before.
    pub(super) fn pass(&mut self, pushed: &Pushed<'_>) -> Result<Option<Cursor>, Trouble> {
        let Start::Cursor(cursor) = &mut self.place else { return Err(INVALID) };
        if let Some(stream) = pushed.stream {
            if cursor.stream != stream && cursor.stream != StreamId::NONE {
                return Err(INVALID);
            }
            cursor.stream = stream;
        }
        if pushed.offset > cursor.next {
            return Err(Trouble::Invalid("the broker left out a message"));
        }
        if pushed.offset < cursor.next {
            return Ok(None);
        }
        let place = *cursor;
        cursor.next += 1;
        if let Some(crc) = &mut self.digest {
            crc.update_line(&pushed.text);
        }
        Ok(Some(place))
    }

    /// It continues at this place of another list.
    pub(super) fn begin_at(&mut self, cursor: Cursor) {
        self.place = Start::Cursor(cursor);
        self.digest = (cursor.next == 0).then(Crc32::default);
    }

    /// Unread messages before this offset were removed; the digest there, if it is known.
    pub(super) fn trimmed(&mut self, next: u64, digest: Option<Crc32>) -> Event {
        match &mut self.place {
            Start::Cursor(cursor) => cursor.next = next,
            start => *start = Start::Offset(next),
        }
        self.digest = digest;
        Event::Trimmed { topic: Arc::clone(&self.topic), next }
    }

    /// The broker continues at this place: where the name stands, or where it was told to.
    pub(super) fn confirmed(&mut self, place: Cursor, digest: Option<Crc32>) -> Option<Event> {
        self.has_begun = true;
        let is_proved = self.digest.is_some() && digest.is_some();
        if !is_proved && self.name.is_none() {
            self.digest = digest;
        }
        let continues = match self.cursor() {
            // Its list begins with the messages that were read. It has a new id since a repair.
            Some(own) if is_proved && own.next == place.next => place,
            // Messages without an acknowledgement come again. Those that another process has
            // acknowledged under the same name do not come.
            Some(own) if own.stream == place.stream => {
                Cursor { next: own.next.max(place.next), ..own }
            }
            Some(own) if own.stream != StreamId::NONE => {
                self.begin_at(place);
                return Some(self.reset());
            }
            _ => place,
        };
        self.place = Start::Cursor(continues);
        None
    }

    pub(super) fn reset(&self) -> Event {
        Event::Reset { topic: Arc::clone(&self.topic) }
    }
}
