//! Changes: everything that can happen to what the broker keeps.
//!
//! A change is decided about first, in the ledger, so that the next one is judged by it. What was
//! accepted goes into a frame of the journal. When that is on disk the change is made visible; when
//! the disk refuses it, it is taken back.
//!
//! # Not here
//!
//! Locks (`topics.rs`), and who waits for whom (`commit.rs`).

use crate::refusal::Refusal;
use crate::store::batch::{Batch, Publisher};
use crate::store::entry::{self, Entry};
use crate::store::facts::Facts;
use crate::store::journal::Frame;
use crate::store::ledger::{Ledger, Receipt, Undo};
use crate::store::memory;
use crate::store::stream::{Cursor, StreamId};
use std::collections::HashMap;
use std::sync::Arc;

/// The most that a record takes beside names and messages: its letter, five numbers, and what
/// stands between them.
const RECORD_SIZE: usize = 128;

/// A change of what the broker keeps.
#[derive(Debug)]
pub(crate) enum Change {
    /// Messages.
    Append(Batch),
    /// A topic is to be created.
    Create(String),
    /// A topic is to be deleted; with `mirror_only`, only where another broker is its home.
    Delete { topic: String, mirror_only: bool },
    /// More of a topic that another broker is the home of.
    Mirror(Mirrored),
    /// Lasting subscriptions moved, began or ended.
    Places(Vec<PlaceChange>),
}

impl Change {
    /// About how many bytes it takes in a frame, rather more than less.
    pub(crate) fn size(&self) -> usize {
        let record = |names: usize| names + RECORD_SIZE;
        match self {
            Change::Append(batch) => {
                batch.size()
                    + batch
                        .publishes
                        .iter()
                        .map(|publish| {
                            let publisher =
                                publish.number.as_ref().map_or(0, |(publisher, _)| publisher.len());
                            record(publish.topic.len() + publisher)
                        })
                        .sum::<usize>()
            }
            Change::Create(topic) | Change::Delete { topic, .. } => record(topic.len()),
            // Each message may need a record of its own, where the publisher stands again.
            Change::Mirror(Mirrored { topic, entries, .. }) => {
                record(topic.len())
                    + entries.iter().map(|entry| record(entry.len() + topic.len())).sum::<usize>()
            }
            Change::Places(places) => {
                places.iter().map(|place| record(place.subscriber.len() + place.topic.len())).sum()
            }
        }
    }
}

/// Messages as another broker, their topic's home, has them.
#[derive(Debug)]
pub(crate) struct Mirrored {
    pub(crate) topic: String,
    /// Where the first of them stands.
    pub(crate) from: Cursor,
    pub(crate) entries: Vec<String>,
}

/// A change of a lasting subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlaceChange {
    pub(crate) subscriber: Arc<str>,
    pub(crate) topic: Arc<str>,
    /// Where it goes on; nothing when it ended.
    pub(crate) place: Option<Cursor>,
}

/// What became of a change.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// One answer for each publish of a batch.
    Batch(Vec<Result<Receipt, Refusal>>),
    /// Of any other change.
    Other(Result<(), Refusal>),
}

impl Outcome {
    /// Whether anything of the change was new, and so went to disk.
    pub(crate) fn is_stored(&self) -> bool {
        match self {
            Outcome::Batch(answers) => answers.iter().flatten().any(|receipt| receipt.appended > 0),
            Outcome::Other(done) => done.is_ok(),
        }
    }
}

/// A change, and what is known of it so far.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) change: Change,
    pub(crate) outcome: Option<Outcome>,
    /// How to take back what was accepted.
    undo: Vec<Undo>,
    /// Whether a mirror was begun for it.
    created: bool,
}

/// What is left of a topic that was deleted.
pub(crate) type Gone = (Option<Facts>, Option<Vec<String>>);

impl Pending {
    /// A change that nothing was done about.
    pub(crate) fn new(change: Change) -> Pending {
        Pending { change, outcome: None, undo: Vec::new(), created: false }
    }

    /// Decides about the change, and puts what is accepted into the frame.
    pub(crate) fn decide(&mut self, ledger: &mut Ledger, frame: &mut Frame) {
        self.outcome = Some(match &self.change {
            Change::Append(batch) => {
                let answers = ledger.accept(batch, Some(&mut self.undo));
                write_batch(frame, batch, &answers);
                Outcome::Batch(answers)
            }
            Change::Create(topic) => Outcome::Other({
                let stream = StreamId::random();
                ledger.create(topic, stream).map(|()| frame.create(topic, stream))
            }),
            Change::Delete { topic, mirror_only } => {
                Outcome::Other(match ledger.topics.get(topic) {
                    Some(facts) if facts.mirror || !mirror_only => {
                        frame.delete(topic, facts.stream);
                        Ok(())
                    }
                    _ => Err(Refusal::NoTopic),
                })
            }
            Change::Mirror(mirrored) => Outcome::Other(ledger.mirror(mirrored).map(|created| {
                self.created = created;
                if created {
                    frame.mirror(&mirrored.topic, mirrored.from.stream);
                }
                write_mirrored(frame, mirrored);
            })),
            Change::Places(places) => Outcome::Other({
                for PlaceChange { subscriber, topic, place } in places {
                    match place {
                        Some(Cursor { stream, next }) => {
                            frame.acknowledge(subscriber, topic, *stream, *next);
                        }
                        None => frame.end(subscriber, topic),
                    }
                }
                Ok(())
            }),
        });
    }

    /// Makes the change visible as far as it was accepted. What is deleted is the caller's to
    /// free, without locks.
    pub(crate) fn make_visible(
        &mut self,
        ledger: &mut Ledger,
        lists: &mut HashMap<String, Vec<String>>,
    ) -> Option<Gone> {
        match (&mut self.change, &self.outcome) {
            (Change::Append(batch), Some(Outcome::Batch(answers))) => {
                append(ledger, lists, batch, answers);
            }
            (Change::Create(topic), Some(Outcome::Other(Ok(())))) => {
                lists.insert(topic.clone(), Vec::new());
            }
            (Change::Mirror(mirrored), Some(Outcome::Other(Ok(())))) => {
                let list = lists.entry(mirrored.topic.clone()).or_default();
                let count = mirrored.entries.len();
                memory::reserve(list, count);
                list.append(&mut mirrored.entries);
                if let Some(facts) = ledger.topics.get_mut(&mirrored.topic) {
                    facts.appended(list, count);
                }
            }
            (Change::Delete { topic, .. }, Some(Outcome::Other(Ok(())))) => {
                return Some((ledger.remove(topic), lists.remove(topic)));
            }
            _ => {}
        }
        None
    }

    /// Takes back what was accepted: nothing of it is in the journal. Of several changes the last
    /// comes first.
    pub(crate) fn take_back(&mut self, ledger: &mut Ledger, reason: &str) {
        let refusal = || Refusal::NotStored { reason: reason.to_owned() };
        match (&self.change, &mut self.outcome) {
            (Change::Append(batch), Some(Outcome::Batch(answers))) => {
                ledger.undo(batch, answers, &mut self.undo);
                for answer in answers.iter_mut().filter(|answer| answer.is_ok()) {
                    *answer = Err(refusal());
                }
            }
            (Change::Create(topic), Some(Outcome::Other(done @ Ok(())))) => {
                ledger.remove(topic);
                *done = Err(refusal());
            }
            (Change::Mirror(mirrored), Some(Outcome::Other(done @ Ok(())))) => {
                ledger.undo_mirror(mirrored, self.created);
                *done = Err(refusal());
            }
            (_, Some(Outcome::Other(done @ Ok(())))) => *done = Err(refusal()),
            _ => {}
        }
    }
}

/// Adds the accepted entries of a batch to their lists.
pub(crate) fn append(
    ledger: &mut Ledger,
    lists: &mut HashMap<String, Vec<String>>,
    batch: &mut Batch,
    answers: &[Result<Receipt, Refusal>],
) {
    let mut entries = batch.entries.drain(..);
    let mut answers = answers.iter();
    // A list is looked up once for all publishes to it that follow one another (row 2).
    for run in batch.publishes.chunk_by(|one, other| one.topic == other.topic) {
        let Some(topic) = run.first().map(|publish| &*publish.topic) else { continue };
        let facts = ledger.topics.get_mut(topic);
        let mut list = match (lists.get_mut(topic), &facts) {
            (None, Some(_)) => Some(lists.entry(topic.to_owned()).or_default()),
            (list, _) => list,
        };
        let before = list.as_ref().map_or(0, |list| list.len());
        for (publish, answer) in run.iter().zip(&mut answers) {
            let mut these = entries.by_ref().take(publish.count);
            let appended = answer
                .as_ref()
                .map_or(0, |receipt| usize::try_from(receipt.appended).unwrap_or(usize::MAX));
            these.by_ref().take(publish.count - appended).for_each(drop);
            if let Some(list) = &mut list {
                memory::reserve(list, appended);
                list.extend(these);
            }
        }
        if let (Some(facts), Some(list)) = (facts, list) {
            let count = list.len() - before;
            facts.appended(list, count);
        }
    }
}

/// Puts what was accepted of a batch into a frame.
fn write_batch(frame: &mut Frame, batch: &Batch, answers: &[Result<Receipt, Refusal>]) {
    let mut entries = batch.entries.as_slice();
    for (publish, answer) in batch.publishes.iter().zip(answers) {
        let (these, rest) = entries.split_at_checked(publish.count).unwrap_or_default();
        entries = rest;
        let Ok(Receipt { stream, appended, created, .. }) = answer else { continue };
        if *created {
            frame.create(&publish.topic, *stream);
        }
        let skip = publish.count - usize::try_from(*appended).unwrap_or(publish.count);
        let new = these.get(skip..).unwrap_or_default();
        let Some(first) = new.first().map(|entry| Entry::of(entry)) else { continue };
        let number = publish.number.as_ref().map(|(_, number)| number.later(skip as u64));
        let publisher = first.publisher.map(|name| Publisher { name, number });
        let messages = new.iter().map(|entry| entry::message(entry));
        frame.append(&publish.topic, first.milliseconds(), publisher, messages);
    }
}

/// Puts mirrored messages into a frame.
fn write_mirrored(frame: &mut Frame, mirrored: &Mirrored) {
    let same_stamp = |one: &String, other: &String| {
        let (one, other) = (Entry::of(one), Entry::of(other));
        (one.time, one.publisher) == (other.time, other.publisher)
    };
    for run in mirrored.entries.chunk_by(same_stamp) {
        let Some(first) = run.first().map(|entry| Entry::of(entry)) else { continue };
        let publisher = first.publisher.map(|name| Publisher { name, number: None });
        let messages = run.iter().map(|entry| entry::message(entry));
        frame.append(&mirrored.topic, first.milliseconds(), publisher, messages);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::batch::Number;
    use crate::store::memory::Memory;

    /// Bytes that a change adds to a frame.
    fn size_in_a_frame(change: Change) -> usize {
        let mut frame = Frame::default();
        frame.clear();
        let before = frame.size();
        let mut ledger = Ledger::new(Memory::new(u64::MAX));
        Pending::new(change).decide(&mut ledger, &mut frame);
        frame.size() - before
    }

    #[test]
    fn no_change_takes_more_of_a_frame_than_it_says() {
        let long = "n".repeat(255);
        let mut batch = Batch::default();
        for sequence in 0..100 {
            let number = Some(Number { epoch: u64::MAX, sequence });
            let publisher = Some(Publisher { name: &long, number });
            batch.publish(&long, publisher, [""].into_iter(), 100).unwrap();
        }
        let from = Cursor { stream: StreamId::random(), next: 0 };
        let stamps = (0..100).map(|time| entry::stamp(time, Some(&long)));
        let entries = stamps.map(|stamp| entry::compose("", &stamp)).collect();
        let place = Some(Cursor { stream: StreamId::random(), next: u64::MAX });
        let (subscriber, topic): (Arc<str>, Arc<str>) = (long.as_str().into(), "t".into());
        for change in [
            Change::Append(batch),
            Change::Create(long.clone()),
            Change::Mirror(Mirrored { topic: long.clone(), from, entries }),
            Change::Places(vec![PlaceChange { subscriber, topic, place }; 100]),
        ] {
            let (said, text) = (change.size(), format!("{change:.0?}"));
            let taken = size_in_a_frame(change);
            assert!(taken > 0 && taken <= said, "{taken} bytes, not {said}: {text}");
        }
    }
}
