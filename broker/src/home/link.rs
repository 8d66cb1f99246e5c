//! Another broker that is the home of topics: publish there, follow it, and who it is.
//!
//! This is the seam: whatever can do these three may be a home.

use super::HOME_TIMEOUT;
use super::follow::Following;
use super::wire::{self, Wires};
use crate::batch::Batch;
use crate::broker::Broker;
use crate::entry::{self, Entry};
use crate::ledger::Receipt;
use crate::refusal::Refusal;
use crate::stream::{Cursor, StreamId};
use common::json::{self, Value};
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;
use std::{io, thread};

/// A home, and what is followed there.
pub(crate) struct Link {
    pub(super) wires: Wires,
    pub(super) following: Following,
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
        broker: &Arc<Broker>,
    ) -> io::Result<Arc<Link>> {
        let wires = Wires::new(address, token);
        let link = Arc::new(Link { wires, following: Following::default() });
        let (follower, broker) = (Arc::clone(&link), Arc::clone(broker));
        thread::Builder::new().spawn(move || follower.follow(&broker))?;
        Ok(link)
    }

    /// Appends a batch at the home, and waits until the mirror holds what was appended.
    pub(super) fn publish(
        &self,
        batch: &mut Batch,
        broker: &Arc<Broker>,
    ) -> Vec<Result<Receipt, Refusal>> {
        for group in batch.publishes.chunk_by(|one, other| one.topic == other.topic) {
            if let Some(publish) = group.first() {
                self.ask_for(&publish.topic, broker);
            }
        }
        let mut commands = Vec::new();
        write_publishes(batch, &mut commands);
        batch.entries.clear();
        let count = batch.publishes.len();
        let mut answers = Vec::with_capacity(count);
        let asked = self.wires.ask(&commands, count, HOME_TIMEOUT, |answer| {
            answers.push(match wire::refusal(answer) {
                Some(refusal) => Err(refusal),
                None => Ok(receipt(answer)),
            });
        });
        if let Err(refusal) = asked {
            answers.resize_with(count, || Err(refusal.clone()));
        }
        let deadline = Instant::now() + HOME_TIMEOUT;
        for (publish, answer) in batch.publishes.iter().zip(&answers) {
            if let Ok(Receipt { stream, offset, appended, .. }) = *answer {
                let place = Cursor { stream, next: offset + appended };
                self.following.wait_for(&publish.topic, place, deadline, broker);
            }
        }
        answers
    }

    /// Creates a topic at the home.
    pub(super) fn create(&self, topic: &str) -> Result<(), Refusal> {
        self.command("create_topic", topic).map_err(|refusal| match refusal {
            Refusal::Home { status: 409, .. } => Refusal::TopicExists,
            other => other,
        })
    }

    /// Deletes a topic at the home.
    pub(super) fn delete(&self, topic: &str) -> Result<(), Refusal> {
        self.command("delete_topic", topic).map_err(|refusal| match refusal {
            Refusal::Home { status: 404, .. } => Refusal::NoTopic,
            other => other,
        })
    }

    fn command(&self, command: &str, topic: &str) -> Result<(), Refusal> {
        let mut text = format!("{{\"command\":\"{command}\",\"topic\":").into_bytes();
        json::write_string_ascii(&mut text, topic);
        text.extend_from_slice(b"}\n");
        let mut refused = None;
        self.wires.ask(&text, 1, HOME_TIMEOUT, |answer| refused = wire::refusal(answer))?;
        refused.map_or(Ok(()), Err)
    }
}

/// The publishes of a batch as commands of the JSON door.
fn write_publishes(batch: &Batch, out: &mut Vec<u8>) {
    let mut entries = batch.entries.as_slice();
    for publish in &batch.publishes {
        let (these, rest) = entries.split_at_checked(publish.count).unwrap_or_default();
        entries = rest;
        out.extend_from_slice(b"{\"command\":\"publish\",\"topic\":");
        json::write_string_ascii(out, &publish.topic);
        out.extend_from_slice(b",\"messages\":[");
        for (index, entry) in these.iter().enumerate() {
            out.extend_from_slice(if index > 0 { b"," } else { b"" });
            json::write_string_ascii(out, entry::message(entry));
        }
        out.push(b']');
        if let Some(publisher) = these.first().and_then(|entry| Entry::of(entry).publisher) {
            out.extend_from_slice(b",\"publisher\":");
            json::write_string_ascii(out, publisher);
        }
        if let Some((_, number)) = &publish.number {
            let (epoch, sequence) = (number.epoch, number.sequence);
            // Writing to a vector cannot fail.
            let _ = write!(out, ",\"epoch\":{epoch},\"sequence\":{sequence}");
        }
        out.extend_from_slice(b"}\n");
    }
}

/// What the home says of a publish that it took.
fn receipt(answer: &Value<'_>) -> Receipt {
    let number = |key| answer.get(key).and_then(Value::as_u64).unwrap_or(0);
    let flag = |key| answer.get(key).and_then(Value::as_bool).unwrap_or(false);
    let stream = answer.get("stream").and_then(Value::as_str).and_then(|text| text.parse().ok());
    Receipt {
        stream: stream.unwrap_or(StreamId::NONE),
        offset: number("offset"),
        appended: number("appended"),
        duplicate: flag("duplicate"),
        durable: flag("durable"),
        created: false,
    }
}
