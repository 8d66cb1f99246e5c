//! Which publishes are accepted: the facts of all topics, and the account of memory.
//!
//! Accepting comes before storing. What was accepted is counted at once, so that the next publish
//! is judged by it, and can be taken back where the disk does not take it.
//!
//! # Not here
//!
//! The lists themselves, and locks (`topics.rs`).

use crate::refusal::Refusal;
use crate::store::batch::{Batch, Publish};
use crate::store::change::Mirrored;
use crate::store::facts::Facts;
use crate::store::memory::{self, Memory};
use crate::store::numbers::{Before, Numbers, Verdict};
use crate::store::stream::StreamId;
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
    /// [`Refusal::OtherStream`] where they do not follow on what is there,
    /// [`Refusal::TopicExists`] where this broker is the topic's home, or no room.
    pub(crate) fn mirror(&mut self, mirrored: &Mirrored) -> Result<bool, Refusal> {
        let Mirrored { topic, from, entries } = mirrored;
        let known = self.topics.get(topic);
        if known.is_some_and(|facts| !facts.mirror) {
            return Err(Refusal::TopicExists);
        }
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

    /// Takes back what [`Ledger::mirror`] did; `created` is what it said.
    pub(crate) fn undo_mirror(&mut self, mirrored: &Mirrored, created: bool) {
        let size = mirrored.entries.iter().map(|entry| memory::entry_size(entry)).sum();
        if let Some(facts) = self.topics.get_mut(&mirrored.topic) {
            facts.accepted -= mirrored.entries.len() as u64;
            facts.size -= size;
            self.memory.give_back(size);
            // Nothing says on disk that it was begun.
            if created {
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
        // A topic is looked up once for all publishes to it that follow one another (row 2).
        for run in batch.runs() {
            let Some(topic) = run.first().map(|publish| &*publish.topic) else { continue };
            let mut opened = self.open(topic, batch.own_only);
            for publish in run {
                let (these, rest) = entries.split_at_checked(publish.count).unwrap_or_default();
                entries = rest;
                answers.push(opened.as_mut().map_err(|refusal| refusal.clone()).and_then(|open| {
                    let (receipt, step) = open.accept(publish, these)?;
                    if let Some(undo) = undo.as_deref_mut() {
                        undo.push(step);
                    }
                    Ok(receipt)
                }));
            }
            // Nothing was accepted of what the topic was created for.
            if opened.is_ok_and(|open| open.is_new) {
                self.remove(topic);
            }
        }
        answers
    }

    /// A topic that is about to be published to; it is created if need be, unless only topics
    /// will do whose home this broker is.
    fn open(&mut self, topic: &str, own_only: bool) -> Result<Open<'_>, Refusal> {
        let known = self.topics.get(topic);
        let is_new = known.is_none();
        if own_only && known.is_none_or(|facts| facts.mirror) {
            return Err(Refusal::UnknownTopic(topic.to_owned()));
        }
        if is_new {
            self.create(topic, StreamId::random())?;
        }
        let Ledger { topics, memory, durable } = self;
        let facts = topics.get_mut(topic).ok_or(Refusal::NoTopic)?;
        Ok(Open { facts, memory, durable: *durable, is_new })
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

/// A topic that is published to.
struct Open<'a> {
    facts: &'a mut Facts,
    memory: &'a mut Memory,
    durable: bool,
    /// Whether it was created just now, and nothing was accepted yet.
    is_new: bool,
}

impl Open<'_> {
    /// Decides about one publish.
    fn accept(
        &mut self,
        publish: &Publish,
        entries: &[String],
    ) -> Result<(Receipt, Undo), Refusal> {
        let Facts { stream, accepted: offset, .. } = *self.facts;
        let durable = self.durable;
        let mut undo = Undo { created: false, introduced: false, numbers: None, size: 0 };
        let count = entries.len() as u64;
        let mut skip = 0;
        if let Some((publisher, number)) = &publish.number {
            match Numbers::judge(self.facts.numbers.get(publisher), *number, count)? {
                Verdict::Append { skip: there } => skip = there,
                Verdict::Duplicate { offset } => {
                    let (appended, duplicate, created) = (0, true, false);
                    let receipt = Receipt { stream, offset, appended, duplicate, created, durable };
                    return Ok((receipt, undo));
                }
            }
        }
        let new = usize::try_from(skip).ok().and_then(|skip| entries.get(skip..));
        undo.size = new.unwrap_or_default().iter().map(|entry| memory::entry_size(entry)).sum();
        self.memory.check(undo.size)?;
        let appended = count - skip;
        self.facts.accepted += appended;
        // No messages take no number: the journal has nothing to hold it by.
        if let Some((publisher, number)) = publish.number.as_ref().filter(|_| appended > 0) {
            let numbers = &mut self.facts.numbers;
            if !numbers.contains_key(publisher) {
                undo.introduced = true;
                undo.size += memory::publisher_size(publisher);
                numbers.insert(publisher.clone(), Numbers::default());
            }
            if let Some(numbers) = numbers.get_mut(publisher) {
                let size = numbers.size();
                undo.numbers = Some(numbers.append(number.later(skip), appended, offset));
                undo.size += numbers.size().saturating_sub(size) as u64;
            }
        }
        self.facts.size += undo.size;
        self.memory.used += undo.size;
        undo.created = std::mem::take(&mut self.is_new);
        let created = undo.created;
        Ok((Receipt { stream, offset, appended, duplicate: false, created, durable }, undo))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::batch::{Number, Publisher};

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
