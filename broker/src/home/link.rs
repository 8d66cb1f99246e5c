//! Another broker that is the home of topics: publish there, follow it, and who it is.
//!
//! This is the seam: whatever can do these three may be a home.

use super::command::about;
use super::following::Following;
use super::peers::KnownHomes;
use super::wire::{self, Wires};
use crate::push::Push;
use crate::refusal::Refusal;
use crate::store::batch::{Batch, Publish};
use crate::store::entry::{self, Entry};
use crate::store::ledger::Receipt;
use crate::store::stream::{Cursor, StreamId};
use common::json::{self, Value};
use common::limits::BODY_SIZE_MAX;
use std::io::{self, Write};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

/// A home, and what is followed there.
pub(crate) struct Link {
    pub(super) wires: Wires,
    pub(super) following: Following,
    /// The id of this broker, by which a ring is found.
    pub(super) own_id: String,
    /// What is known of the homes of topics, where this is the home of some of them only.
    known: Option<Arc<KnownHomes>>,
}

impl Link {
    /// A link to the broker at `HOST:PORT`, which is followed from now on.
    ///
    /// # Errors
    ///
    /// Where the system has no thread for it.
    pub(crate) fn new(
        address: String,
        token: Option<String>,
        own_id: String,
        known: Option<Arc<KnownHomes>>,
        push: &Arc<Push>,
    ) -> io::Result<Arc<Link>> {
        let wires = Wires::new(address, token);
        let link = Arc::new(Link { wires, following: Following::default(), own_id, known });
        let (follower, push) = (Arc::clone(&link), Arc::clone(push));
        thread::Builder::new().spawn(move || follower.follow(&push))?;
        Ok(link)
    }

    /// Whether this is the home of all topics, without which the broker is none: it is followed
    /// as long as the process lives, and must not be the process itself.
    pub(super) fn is_upstream(&self) -> bool {
        self.known.is_none()
    }

    /// Notes that a topic is no longer here: among peers it may be created elsewhere.
    pub(super) fn moved(&self, topic: &str) {
        if let Some(known) = &self.known {
            known.moved(topic);
        }
    }

    /// `HOST:PORT`.
    pub(super) fn address(&self) -> &str {
        self.wires.address()
    }

    /// Appends a batch at the home, and waits until the mirror holds what was appended.
    ///
    /// Nothing is forwarded before the mirror is up to date: what the home then appends is seen
    /// here at once, so an acknowledged message can be read here, and a mirror that has a long way
    /// to go does not keep an answer from whoever has published already.
    pub(super) fn publish(
        &self,
        batch: &mut Batch,
        deadline: Instant,
        push: &Arc<Push>,
    ) -> Vec<Result<Receipt, Refusal>> {
        let mut commands = Vec::new();
        let mut answers = Vec::with_capacity(batch.publishes.len());
        let mut entries = batch.entries.as_slice();
        for group in batch.runs() {
            let ready = group.first().map(|publish| self.ready(&publish.topic, deadline, push));
            let ready = ready.unwrap_or(Ok(()));
            for publish in group {
                let (these, rest) = entries.split_at_checked(publish.count).unwrap_or_default();
                entries = rest;
                answers.push(ready.clone().and_then(|()| write(publish, these, &mut commands)));
            }
        }
        let count = answers.iter().filter(|answer| answer.is_ok()).count();
        let mut told = Vec::with_capacity(count);
        let asked = match count {
            0 => Ok(()),
            _ => self.wires.ask(&commands, count, deadline, |answer| {
                told.push(wire::refusal(answer).map_or_else(|| Ok(receipt(answer)), Err));
            }),
        };
        let mut told = told.into_iter();
        let mut outcome = |forwarded: Result<(), Refusal>| {
            forwarded?;
            let unanswered = || asked.clone().err().unwrap_or_else(|| self.behind());
            told.next().unwrap_or_else(|| Err(unanswered()))
        };
        let mut answers: Vec<_> = answers.into_iter().map(&mut outcome).collect();
        for (publish, answer) in batch.publishes.iter().zip(&mut answers) {
            if let Ok(receipt) = answer
                && let Some(place) = place_after(publish, receipt)
                && !self.wait_for(&publish.topic, place, deadline, push)
            {
                *answer = Err(self.behind());
            }
        }
        batch.entries.clear();
        answers
    }

    /// Creates a topic at the home.
    pub(super) fn create(
        &self,
        topic: &str,
        deadline: Instant,
        push: &Arc<Push>,
    ) -> Result<(), Refusal> {
        match self.ready(topic, deadline, push) {
            Ok(()) | Err(Refusal::UnknownTopic(_)) => {}
            Err(refusal) => return Err(refusal),
        }
        let mut stream = StreamId::NONE;
        let mut refused = None;
        self.wires.ask(&about("create_topic", topic), 1, deadline, |answer| {
            refused = wire::refusal(answer);
            stream = stream_of(answer);
        })?;
        match refused {
            Some(Refusal::Home { status: 409, .. }) => return Err(Refusal::TopicExists),
            Some(refusal) => return Err(refusal),
            None => {}
        }
        // An empty list has no message that would tell the mirror of it. Where the mirror has it
        // already, that is as well.
        let _ = push.topics.begin_mirror(topic, stream);
        Ok(())
    }

    /// Deletes a topic at the home, and waits until the mirror is gone as well.
    pub(super) fn delete(
        &self,
        topic: &str,
        deadline: Instant,
        push: &Arc<Push>,
    ) -> Result<(), Refusal> {
        self.reach(deadline)?;
        let before = push.topics.end(topic).stream;
        let deleted = self.wires.command(&about("delete_topic", topic), deadline);
        deleted.map_err(|refusal| match refusal {
            Refusal::Home { status: 404, .. } => Refusal::NoTopic,
            other => other,
        })?;
        if !self.follows(topic) {
            // Nobody says so where the mirror has stopped.
            let _ = push.topics.drop_mirror(topic);
        }
        let waiting = push.wait_for(topic);
        while before != StreamId::NONE
            && push.topics.end(topic).stream == before
            && self.follows(topic)
            && waiting.wait(deadline)
        {}
        Ok(())
    }
}

/// Writes a publish as a command of the JSON door.
///
/// # Errors
///
/// Where the home would not take an object of this size; nothing is written then.
fn write(publish: &Publish, entries: &[String], out: &mut Vec<u8>) -> Result<(), Refusal> {
    let begin = out.len();
    out.extend_from_slice(b"{\"command\":\"publish\",\"topic\":");
    json::write_string(out, &publish.topic);
    out.extend_from_slice(b",\"messages\":[");
    for (index, entry) in entries.iter().enumerate() {
        out.extend_from_slice(if index > 0 { b"," } else { b"" });
        json::write_string(out, entry::message(entry));
    }
    out.push(b']');
    let stamped = entries.first().and_then(|entry| Entry::of(entry).publisher);
    let numbered = publish.number.as_ref().map(|(publisher, _)| publisher.as_str());
    if let Some(publisher) = numbered.or(stamped) {
        out.extend_from_slice(b",\"publisher\":");
        json::write_string(out, publisher);
    }
    if let Some((_, number)) = &publish.number {
        // Writing to a vector cannot fail.
        let _ = write!(out, ",\"epoch\":{},\"sequence\":{}", number.epoch, number.sequence);
    }
    out.extend_from_slice(b"}\n");
    if out.len() - begin > BODY_SIZE_MAX {
        out.truncate(begin);
        return Err(Refusal::BodySize { size_max: BODY_SIZE_MAX });
    }
    Ok(())
}

/// What the home says of a publish that it took.
fn receipt(answer: &Value<'_>) -> Receipt {
    let number = |key| answer.get(key).and_then(Value::as_u64).unwrap_or(0);
    let flag = |key| answer.get(key).and_then(Value::as_bool).unwrap_or(false);
    Receipt {
        stream: stream_of(answer),
        offset: number("offset"),
        appended: number("appended"),
        duplicate: flag("duplicate"),
        durable: flag("durable"),
        created: false,
    }
}

/// The stream that an answer names.
fn stream_of(answer: &Value<'_>) -> StreamId {
    let text = answer.get("stream").and_then(Value::as_str);
    text.and_then(|text| text.parse().ok()).unwrap_or(StreamId::NONE)
}

/// How far the mirror has to be to show what was published; nothing where there is nothing to
/// show.
fn place_after(publish: &Publish, receipt: &Receipt) -> Option<Cursor> {
    let Receipt { stream, offset, appended, duplicate, .. } = *receipt;
    let count = if duplicate { publish.count as u64 } else { appended };
    (count > 0).then_some(Cursor { stream, next: offset + count })
}
