//! What arrives from a home, on its way into the mirrors.
//!
//! Messages are appended to the mirror and delivered to this broker's own subscribers, in the
//! follower's thread. What arrives of a topic that is not followed, or not yet confirmed, is left
//! alone: it belongs to an earlier subscription. So the names of topics are those that clients
//! here have asked for, and were looked at then; messages and publishers are looked at here, for a
//! mirror is kept on disk like any other list.

use super::command::{ring_or, subscribe};
use super::following::Phase;
use super::link::Link;
use super::wire;
use crate::push::Push;
use crate::push::subscriber::Subscriber;
use crate::refusal::Refusal;
use crate::store::change::Mirrored;
use crate::store::entry;
use crate::store::stream::{Cursor, StreamId};
use common::flags;
use common::json::Value;
use common::limits::BODY_SIZE_MAX;
use std::io::{self, Write};
use std::mem;
use std::sync::Arc;

/// The mirrors, as one connection to their home brings them up to date.
pub(super) struct Mirror<'a> {
    link: &'a Link,
    push: &'a Arc<Push>,
    subscriber: &'a Subscriber,
    /// Messages of one topic that follow one another.
    pending: Option<Mirrored>,
    is_ring: bool,
    /// Whether the user was told that the home sends what is no message.
    is_distrusted: bool,
}

impl Mirror<'_> {
    /// Nothing has arrived yet.
    pub(super) fn new<'a>(
        link: &'a Link,
        push: &'a Arc<Push>,
        subscriber: &'a Subscriber,
    ) -> Mirror<'a> {
        Mirror { link, push, subscriber, pending: None, is_ring: false, is_distrusted: false }
    }

    /// Whether the home said that the path leads back here.
    pub(super) fn is_ring(&self) -> bool {
        self.is_ring
    }

    /// Handles one object.
    pub(super) fn take(&mut self, object: &Value<'_>) {
        let text = |key| object.get(key).and_then(Value::as_str);
        let number = |key| object.get(key).and_then(Value::as_u64);
        let stream: Option<StreamId> = text("stream").and_then(|stream| stream.parse().ok());
        let Some(topic) = text("topic") else {
            let refusal = wire::refusal(object).map(ring_or);
            self.is_ring |= matches!(refusal, Some(Refusal::Ring));
            return;
        };
        match (text("event"), text("status")) {
            (Some("message"), _) => {
                let (Some(next), Some(message)) = (number("offset"), text("message")) else {
                    return;
                };
                let publisher = text("publisher");
                if let Err(refusal) = check(message, publisher) {
                    return self.distrust(topic, &refusal);
                }
                let stamp = entry::stamp(number("time").unwrap_or(0), publisher);
                self.push(topic, stream, next, entry::compose(message, &stamp));
            }
            _ if !self.link.following.has(topic) => {}
            (Some("deleted"), _) => {
                self.drop_list(topic, None);
                // Among peers it may be created elsewhere.
                self.link.moved(topic);
            }
            (Some("reset"), _) => self.drop_list(topic, stream),
            (None, Some("success")) => {
                let Some(next) = number("end") else { return };
                self.confirmed(topic, Cursor { stream: stream.unwrap_or(StreamId::NONE), next });
            }
            (None, Some("error")) => self.refused(topic, object),
            _ => {}
        }
    }

    /// The home sends a topic from now on; its list ends at `end`.
    fn confirmed(&mut self, topic: &str, end: Cursor) {
        self.flush();
        if end.stream != StreamId::NONE
            && let Err(refusal) = self.push.topics.begin_mirror(topic, end.stream)
        {
            return self.fail(topic, refusal);
        }
        let following = &self.link.following;
        if following.set(topic, Phase::Behind(end)).is_some() {
            following.reached(topic, self.push.topics.end(topic));
        }
    }

    /// The home does not send a topic.
    fn refused(&mut self, topic: &str, answer: &Value<'_>) {
        match wire::refusal(answer) {
            // The mirror is not a first part of the home's list: another takes its place.
            Some(Refusal::Home { status: 410 | 416, .. }) => {
                let asked = self.link.following.set(topic, Phase::Asked);
                if asked.is_some() {
                    self.drop_list(topic, None);
                    self.subscriber.answer(&mut subscribe(topic, self.push));
                }
            }
            Some(Refusal::Home { status: 404, .. }) if self.link.following.forget(topic) => {
                self.link.moved(topic);
                self.give_up(topic);
            }
            Some(refusal) => {
                self.link.following.set(topic, Phase::Stopped(refusal));
            }
            None => {}
        }
    }

    fn push(&mut self, topic: &str, stream: Option<StreamId>, next: u64, entry: String) {
        if let Some(pending) = &mut self.pending
            && pending.topic == topic
            && pending.from.next + pending.entries.len() as u64 == next
        {
            pending.entries.push(entry);
            return;
        }
        self.flush();
        if self.link.following.wants(topic) {
            let stream = stream.unwrap_or_else(|| self.push.topics.end(topic).stream);
            let from = Cursor { stream, next };
            self.pending = Some(Mirrored { topic: topic.to_owned(), from, entries: vec![entry] });
        }
    }

    /// Appends what has come together, and delivers it.
    pub(super) fn flush(&mut self) {
        let Some(mirrored) = self.pending.take() else { return };
        let topic = mirrored.topic.clone();
        match self.push.topics.mirror(mirrored) {
            Ok(()) => {
                let end = self.push.topics.end(&topic);
                self.push.announce(&topic);
                self.link.following.reached(&topic, end);
            }
            Err(refusal) => self.fail(&topic, refusal),
        }
    }

    /// The home sends what no broker stores. Its other topics are not to suffer from that.
    fn distrust(&mut self, topic: &str, refusal: &Refusal) {
        self.flush();
        if !self.link.following.wants(topic) {
            return;
        }
        let text =
            format!("the broker {} sends what is no message: {refusal}", self.link.address());
        if !mem::replace(&mut self.is_distrusted, true) {
            let _ = writeln!(io::stderr(), "broker: the mirror of {topic:?} stops: {text}");
        }
        self.stop(topic, Refusal::Home { status: 502, text });
    }

    /// A mirror could not be changed as the home says.
    fn fail(&self, topic: &str, refusal: Refusal) {
        match refusal {
            // Something was missed: the next connection takes it up at the mirror's end.
            Refusal::OtherStream => return self.subscriber.session().close(),
            // It was created here meanwhile.
            Refusal::TopicExists => return self.link.leave(topic),
            _ => {}
        }
        // There is no room for it.
        let line = flags::one_line(&refusal);
        if matches!(self.stop(topic, refusal), Some(Phase::Live)) {
            let _ = writeln!(io::stderr(), "broker: the mirror of {topic:?} stops: {line}");
        }
    }

    /// Takes no more of a topic until it is asked for anew; says how far it was.
    fn stop(&self, topic: &str, refusal: Refusal) -> Option<Phase> {
        self.link.unsubscribe(topic);
        let before = self.link.following.set(topic, Phase::Stopped(refusal));
        // Publishers may be waiting for it.
        self.push.announce(topic);
        before
    }

    /// The list of a topic is gone; the one that takes its place, if there is one yet, is
    /// `stream`.
    fn drop_list(&mut self, topic: &str, stream: Option<StreamId>) {
        self.flush();
        self.give_up(topic);
        if let Some(stream) = stream
            && let Err(refusal) = self.push.topics.begin_mirror(topic, stream)
        {
            self.fail(topic, refusal);
        }
    }

    /// Deletes a mirror, and tells those who read it.
    fn give_up(&self, topic: &str) {
        if let Err(refusal @ Refusal::NotStored { .. }) = self.push.topics.drop_mirror(topic) {
            self.fail(topic, refusal);
        }
        self.push.announce(topic);
    }
}

/// Whether this is a message that a broker may have stored, whatever its `--max-message`.
fn check(message: &str, publisher: Option<&str>) -> Result<(), Refusal> {
    entry::check_message(message, BODY_SIZE_MAX / 2)?;
    publisher.map_or(Ok(()), |publisher| entry::check_peer("publisher", publisher))
}
