//! A publisher that repeats publishes without an answer.

use super::{Link, PAUSE, Shared, chance};
use crate::checker;
use common::{json, random};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

/// How long one publish may be repeated: longer than any disturbance lasts.
const PATIENCE: Duration = Duration::from_secs(120);

/// How many messages a batch has.
const BATCH: u64 = 3;

/// One answer in so many is not waited for.
const LOSE_EVERY: u64 = 40;

/// How long every sixteenth value is, so that frames pass the borders of pages.
const LONG: usize = 5000;

/// How a publisher publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// One message in each `POST /publish`.
    Http,
    /// Several messages in each `POST /publish`.
    Batch,
    /// The commands of a JSON session.
    Json,
}

pub(super) struct Publisher {
    address: String,
    name: String,
    topic: String,
    door: Door,
    pause: Duration,
    link: Option<Link>,
    chance: u64,
}

/// What became of a publish.
enum Outcome {
    /// Its first message has this offset.
    Stored(u64),
    /// There is no room, or no journal, now: what the broker says of it.
    Refused(String),
    /// The number is not the one that is expected: what was acknowledged is not there.
    Contradicted,
}

impl Publisher {
    pub(super) fn new(
        address: &str,
        name: &str,
        topic: &str,
        door: Door,
        pause: Duration,
    ) -> Publisher {
        let (address, name, topic) = (address.to_owned(), name.to_owned(), topic.to_owned());
        Publisher { address, name, topic, door, pause, link: None, chance: random::random() | 1 }
    }

    /// Publishes until it is told to end; what was sent by then is repeated until it is answered.
    pub(super) fn run(mut self, shared: &Arc<Shared>) {
        let count = if self.door == Door::Batch { BATCH } else { 1 };
        let mut sequence = 0;
        while !shared.publishing_is_over.load(Ordering::Relaxed) {
            let values: Vec<_> = (sequence..sequence + count)
                .map(|number| checker::value(&self.name, number, size(number)))
                .collect();
            for value in &values {
                shared.checker().sent(&self.topic, value);
            }
            let Some(offset) = self.store(shared, sequence, &values) else { return };
            for (value, offset) in values.iter().zip(offset..) {
                shared.checker().acknowledged(&self.topic, value, Some(offset));
            }
            sequence += count;
            thread::sleep(self.pause);
        }
    }

    /// Repeats a publish until it is stored; nothing where its number was contradicted.
    fn store(&mut self, shared: &Shared, sequence: u64, values: &[String]) -> Option<u64> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let last = match self.publish(sequence, values) {
                Ok(Outcome::Stored(offset)) => return Some(offset),
                Ok(Outcome::Refused(reason)) => {
                    shared.refusals.fetch_add(1, Ordering::Relaxed);
                    reason
                }
                Ok(Outcome::Contradicted) => {
                    shared.checker().contradicted();
                    return None;
                }
                Err(error) => {
                    self.link = None;
                    error.to_string()
                }
            };
            let Publisher { name, .. } = self;
            assert!(Instant::now() < deadline, "{name} cannot publish {sequence}: {last}");
            thread::sleep(PAUSE);
        }
    }

    /// Publishes once.
    fn publish(&mut self, sequence: u64, values: &[String]) -> io::Result<Outcome> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None => Link::connect(&self.address, None)?,
        };
        let Publisher { name, topic, .. } = self;
        // Names and values hold nothing that JSON escapes.
        let messages = match values {
            [value] => format!("\"message\":\"{value}\""),
            _ => format!("\"messages\":[\"{}\"]", values.join("\",\"")),
        };
        let fields = format!(
            "\"topic\":\"{topic}\",\"publisher\":\"{name}\",\"epoch\":0,\
             \"sequence\":{sequence},{messages}}}"
        );
        let is_lost = chance(&mut self.chance).is_multiple_of(LOSE_EVERY);
        let (request, ending) = match self.door {
            Door::Http | Door::Batch => {
                (crate::raw::request("POST", "/publish", format!("{{{fields}")), Ending::Body)
            }
            Door::Json => {
                (format!("{{\"command\":\"publish\",{fields}\n").into_bytes(), Ending::Line)
            }
        };
        link.send(request)?;
        if is_lost {
            return Err(io::Error::other("lost on purpose"));
        }
        let text = match ending {
            Ending::Body => link.answer()?.text,
            Ending::Line => link.line()?,
        };
        let outcome = outcome(&text);
        self.link = Some(link);
        outcome.ok_or_else(|| io::Error::other(text))
    }
}

/// Where an answer ends.
enum Ending {
    Body,
    Line,
}

/// What an answer says; nothing where it says something that no publisher here can bring about.
fn outcome(answer: &str) -> Option<Outcome> {
    let parsed = json::parse(answer.as_bytes()).ok()?;
    if let Some(offset) = parsed.get("offset").and_then(json::Value::as_u64) {
        return Some(Outcome::Stored(offset));
    }
    let reason = parsed.get("detail").or(parsed.get("message"))?.as_str()?;
    if reason.contains("expected") {
        return Some(Outcome::Contradicted);
    }
    reason.contains("not stored").then(|| Outcome::Refused(reason.to_owned()))
}

fn size(number: u64) -> usize {
    if number % 16 == 5 { LONG } else { 0 }
}
