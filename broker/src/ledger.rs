//! Which publishes are accepted: the facts of all topics, and the account of memory.
//!
//! Accepting comes before storing. What was accepted is counted at once, so that the next publish
//! is judged by it, and can be taken back where the disk does not take it.
//!
//! # Not here
//!
//! The lists themselves, and locks (`topics.rs`).

use crate::batch::{Batch, Publish};
use crate::commit::Mirrored;
use crate::facts::Facts;
use crate::memory::{self, Memory};
use crate::numbers::{Before, Numbers, Verdict};
use crate::refusal::Refusal;
use crate::stream::StreamId;
use common::limits::TOPICS_MAX;
use std::collections::HashMap;

/// What is known beside the messages, and how much memory all of it takes.
pub(crate) struct Ledger {
    pub(crate) topics: HashMap<String, Facts>,
    pub(crate) memory: Memory,
    /// Whether what is accepted is on disk before it is answered.
    pub(crate) durable: bool,
}

/// What became of a publish that was not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) stream: StreamId,
    /// Where the first message stands.
    pub(crate) offset: u64,
    /// How many messages were appended: fewer than were sent where some were there already.
    pub(crate) appended: u64,
    /// Whether all of it was there already.
    pub(crate) duplicate: bool,
    /// Whether the topic was created for it.
    pub(crate) created: bool,
    /// Whether it survives a crash of the machine that holds it.
    pub(crate) durable: bool,
}

/// What it takes to undo that a publish was accepted.
#[derive(Debug)]
pub(crate) struct Undo {
    /// Whether the topic was created for it.
    created: bool,
    /// Whether the publisher was not known to the topic.
    introduced: bool,
    /// The publisher's numbers before.
    numbers: Option<Before>,
    /// Bytes taken from the account.
    size: u64,
}

impl Ledger {
    /// Nothing yet.
    pub(crate) fn new(memory: Memory) -> Ledger {
        Ledger { topics: HashMap::new(), memory, durable: false }
    }

    /// Takes a new topic into the account.
    ///
    /// # Errors
    ///
    /// [`Refusal::TopicExists`], or no room for it.
    pub(crate) fn create(&mut self, topic: &str, stream: StreamId) -> Result<(), Refusal> {
        if self.topics.contains_key(topic) {
            return Err(Refusal::TopicExists);
        }
        if self.topics.len() >= TOPICS_MAX {
            return Err(Refusal::TooManyTopics { topics_max: TOPICS_MAX });
        }
        let mut facts = Facts::new(stream);
        facts.size = memory::topic_size(topic);
        self.memory.take(facts.size)?;
        self.topics.insert(topic.to_owned(), facts);
        Ok(())
    }

    /// Takes mirrored messages into the account. Says whether the topic was created for them.
    ///
    /// # Errors
    ///
    /// [`Refusal::OtherStream`] where they do not follow on what is there, or no room.
    pub(crate) fn mirror(&mut self, mirrored: &Mirrored) -> Result<bool, Refusal> {
        let Mirrored { topic, from, entries } = mirrored;
        let known = self.topics.get(topic);
        let end = known.map_or((from.stream, 0), |facts| (facts.stream, facts.accepted));
        if end != (from.stream, from.next) {
            return Err(Refusal::OtherStream);
        }
        let size = entries.iter().map(|entry| memory::entry_size(entry)).sum();
        self.memory.check(size)?;
        let created = known.is_none();
        if created {
            self.create(topic, from.stream)?;
        }
        self.memory.take(size)?;
        if let Some(facts) = self.topics.get_mut(topic) {
            facts.mirror = true;
            facts.accepted += entries.len() as u64;
            facts.size += size;
        }
        Ok(created)
    }

    /// Takes back what [`Ledger::mirror`] did.
    pub(crate) fn undo_mirror(&mut self, mirrored: &Mirrored) {
        let size = mirrored.entries.iter().map(|entry| memory::entry_size(entry)).sum();
        if let Some(facts) = self.topics.get_mut(&mirrored.topic) {
            facts.accepted -= mirrored.entries.len() as u64;
            facts.size -= size;
            self.memory.give_back(size);
            // Begun for these messages: nothing says so on disk.
            if facts.accepted == 0 {
                self.remove(&mirrored.topic);
            }
        }
    }

    /// Takes a topic out of the account, and gives what was known of it.
    pub(crate) fn remove(&mut self, topic: &str) -> Option<Facts> {
        let facts = self.topics.remove(topic)?;
        self.memory.give_back(facts.size);
        Some(facts)
    }

    /// Decides about each publish of a batch, in order, and takes note of what it decided. Each
    /// publish that is not refused adds to `undo` what [`Ledger::undo`] needs.
    pub(crate) fn accept(
        &mut self,
        batch: &Batch,
        mut undo: Option<&mut Vec<Undo>>,
    ) -> Vec<Result<Receipt, Refusal>> {
        let mut entries = batch.entries.as_slice();
        let mut answers = Vec::with_capacity(batch.publishes.len());
        let mut note = |accepted: Result<(Receipt, Undo), Refusal>| {
            answers.push(accepted.map(|(receipt, step)| {
                if let Some(undo) = undo.as_deref_mut() {
                    undo.push(step);
                }
                receipt
            }));
        };
        for run in batch.runs() {
            let mut run = run.iter();
            // A topic is looked up once for all that can be accepted (row 2 of the benchmark).
            while let Some(first) = run.as_slice().first() {
                let Some(facts) = self.topics.get_mut(&*first.topic) else {
                    note(self.accept_new(first, take(&mut entries, first.count)));
                    run.next();
                    continue;
                };
                for publish in run.by_ref() {
                    let these = take(&mut entries, publish.count);
                    note(accept_known(facts, &mut self.memory, self.durable, publish, these));
                }
            }
        }
        answers
    }

    /// Decides about the first publish to a topic. Where it is refused, there is no topic.
    fn accept_new(
        &mut self,
        publish: &Publish,
        entries: &[String],
    ) -> Result<(Receipt, Undo), Refusal> {
        self.create(&publish.topic, StreamId::random())?;
        let accepted = match self.topics.get_mut(&*publish.topic) {
            Some(facts) => accept_known(facts, &mut self.memory, self.durable, publish, entries),
            None => Err(Refusal::UnknownTopic(publish.topic.to_string())),
        };
        match accepted {
            Ok((receipt, step)) => {
                Ok((Receipt { created: true, ..receipt }, Undo { created: true, ..step }))
            }
            Err(refusal) => {
                self.remove(&publish.topic);
                Err(refusal)
            }
        }
    }

    /// Takes back what was accepted of a batch, the last publish first. `undo` ends with the
    /// steps of this batch.
    pub(crate) fn undo(
        &mut self,
        batch: &Batch,
        answers: &[Result<Receipt, Refusal>],
        undo: &mut Vec<Undo>,
    ) {
        for (publish, answer) in batch.publishes.iter().zip(answers).rev() {
            let Ok(receipt) = answer else { continue };
            let Some(step) = undo.pop() else { return };
            let Some(facts) = self.topics.get_mut(&*publish.topic) else { continue };
            facts.accepted -= receipt.appended;
            facts.size -= step.size;
            self.memory.give_back(step.size);
            if let (Some((publisher, _)), Some(before)) = (&publish.number, step.numbers) {
                if step.introduced {
                    facts.numbers.remove(publisher);
                } else if let Some(numbers) = facts.numbers.get_mut(publisher) {
                    numbers.undo(before);
                }
            }
            if step.created {
                self.remove(&publish.topic);
            }
        }
    }
}

/// Takes so many entries from the front.
fn take<'e>(entries: &mut &'e [String], count: usize) -> &'e [String] {
    let (these, rest) = entries.split_at_checked(count).unwrap_or_default();
    *entries = rest;
    these
}

/// Decides about a publish to a topic that is there.
fn accept_known(
    facts: &mut Facts,
    memory: &mut Memory,
    durable: bool,
    publish: &Publish,
    entries: &[String],
) -> Result<(Receipt, Undo), Refusal> {
    let mut undo = Undo { created: false, introduced: false, numbers: None, size: 0 };
    let count = entries.len() as u64;
    let (stream, offset, created) = (facts.stream, facts.accepted, false);
    let mut skip = 0;
    if let Some((publisher, number)) = &publish.number {
        match Numbers::judge(facts.numbers.get(publisher), *number, count)? {
            Verdict::Append { skip: there } => skip = there,
            Verdict::Duplicate { offset } => {
                let receipt =
                    Receipt { stream, offset, appended: 0, duplicate: true, created, durable };
                return Ok((receipt, undo));
            }
        }
    }
    let new = usize::try_from(skip).ok().and_then(|skip| entries.get(skip..));
    undo.size = new.unwrap_or_default().iter().map(|entry| memory::entry_size(entry)).sum();
    memory.check(undo.size)?;
    let appended = count - skip;
    facts.accepted += appended;
    if let Some((publisher, number)) = &publish.number {
        let first = number.later(skip);
        if !facts.numbers.contains_key(publisher) {
            undo.introduced = true;
            undo.size += memory::publisher_size(publisher);
            facts.numbers.insert(publisher.clone(), Numbers::default());
        }
        if let Some(numbers) = facts.numbers.get_mut(publisher) {
            let size = numbers.size();
            undo.numbers = Some(numbers.append(first, appended, offset));
            undo.size += numbers.size().saturating_sub(size) as u64;
        }
    }
    facts.size += undo.size;
    memory.used += undo.size;
    Ok((Receipt { stream, offset, appended, duplicate: false, created, durable }, undo))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Number, Publisher};

    fn batch(publishes: &[(&str, &str, Option<u64>)]) -> Batch {
        let mut batch = Batch::default();
        for (topic, message, sequence) in publishes {
            let number = sequence.map(|sequence| Number { epoch: 1, sequence });
            let publisher = number.map(|number| Publisher { name: "ann", number: Some(number) });
            batch.publish(topic, publisher, [*message].into_iter(), 100).unwrap();
        }
        batch
    }

    fn known(ledger: &Ledger) -> String {
        let mut topics: Vec<_> = ledger.topics.iter().collect();
        topics.sort_by_key(|(topic, _)| *topic);
        format!("{topics:?} {:?}", ledger.memory)
    }

    #[test]
    fn what_was_accepted_can_be_taken_back() {
        let mut ledger = Ledger::new(Memory::new(1 << 20));
        ledger.accept(&batch(&[("a", "one", None), ("a", "two", Some(0))]), None);
        let before = known(&ledger);
        let batch = batch(&[
            ("a", "three", Some(1)),
            ("b", "one", Some(0)),
            ("b", "gap", Some(7)),
            ("b", "one", Some(0)),
            ("a", "four", None),
            ("a", "five", Some(2)),
        ]);
        let mut undo = Vec::new();
        let answers = ledger.accept(&batch, Some(&mut undo));
        assert!(matches!(answers[2], Err(Refusal::Gap { expected: 1 })));
        assert!(answers[3].as_ref().unwrap().duplicate);
        assert_eq!(answers[5].as_ref().unwrap().offset, 4);
        assert_ne!(known(&ledger), before);
        ledger.undo(&batch, &answers, &mut undo);
        assert_eq!(known(&ledger), before);
        assert!(undo.is_empty());
    }

    #[test]
    fn a_full_account_refuses_and_takes_nothing() {
        let mut ledger = Ledger::new(Memory::new(2000));
        let long = "x".repeat(100);
        let batch = batch(&[("a", long.as_str(), None); 20]);
        let answers = ledger.accept(&batch, None);
        let full = |answer: &Result<_, _>| matches!(answer, Err(Refusal::Full { .. }));
        assert!(answers[0].is_ok() && full(&answers[19]));
        assert!(ledger.memory.used <= 2000);
        assert_eq!(
            ledger.topics["a"].accepted,
            answers.iter().filter(|it| it.is_ok()).count() as u64
        );
    }
}
