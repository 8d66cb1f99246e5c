//! Accepts or refuses publishes: it knows all topics and counts memory.
//!
//! A publish is accepted before it is stored. It is counted at once, so the next publish is judged
//! with it, and it is taken back if the disk fails.
//!
//! # Not here
//!
//! The lists, and locks (`contents.rs`).

use crate::refusal::Refusal;
use crate::store::batch::{Batch, Publish};
use crate::store::change::Lists;
use crate::store::entry;
use crate::store::journal::Frame;
use crate::store::memory::{self, Memory};
use crate::store::retention::Limits;
use crate::store::sequences::{Sequences, Verdict};
use crate::store::stream::{Cursor, StreamId};
use crate::store::topic_state::{TopicState, Undo, UndoTrim, text_size};
use crate::store::view::TopicView;
use common::limits::TOPICS_MAX;
use std::collections::BTreeMap;

/// What is known beside the messages, and how much memory all of it takes.
pub(crate) struct Admission {
    /// By name, so that they can be listed piece by piece.
    pub(crate) topics: BTreeMap<String, TopicState>,
    pub(crate) memory: Memory,
    /// What topics keep that have no bounds of their own.
    pub(crate) limits: Limits,
    /// How many messages were let go.
    pub(crate) trimmed: u64,
    /// Whether what is accepted is on disk before it is answered.
    pub(crate) durable: bool,
    /// What goes with topics, if anything does.
    pub(crate) dependents: Option<Box<dyn Dependents>>,
    /// Topics that were created, where somebody wants to know it.
    pub(crate) created: Option<Vec<String>>,
}

/// What goes with topics: lasting subscriptions. The locks of the store are held.
pub(crate) trait Dependents: Send {
    /// Ends those of a topic that was deleted. Gives the memory that they took.
    fn end(&self, topic: &str) -> u64;

    /// Writes where those of a mirror go on whose home has another list, which begins with `shared`
    /// of its messages.
    fn write_suspended(&self, topic: &str, shared: u64, frame: &mut Frame);

    /// Has them wait for that list.
    fn suspend(&self, topic: &str, shared: u64);
}

/// The answer to a publish that was not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) stream: StreamId,
    /// Where the first message stands; nothing where it was let go.
    pub(crate) offset: Option<u64>,
    /// How many messages were appended: fewer than were sent where some were there already.
    pub(crate) appended: u64,
    /// Whether all of it was there already.
    pub(crate) duplicate: bool,
    /// Whether the topic was created for it.
    pub(crate) created: bool,
    /// Whether it survives a crash of the machine that holds it.
    pub(crate) durable: bool,
    /// How many servers store it, where several do.
    pub(crate) replicas: Option<u64>,
}

/// One answer for each publish of a batch.
pub(crate) type Receipts = Vec<Result<Receipt, Refusal>>;

impl Receipt {
    /// How many entries of its batch were appended.
    pub(crate) fn count(&self) -> usize {
        usize::try_from(self.appended).unwrap_or(usize::MAX)
    }
}

impl Admission {
    /// Nothing yet.
    pub(crate) fn new(memory: Memory) -> Admission {
        let (topics, limits, trimmed, durable, dependents, created) = Default::default();
        Admission { topics, memory, limits, trimmed, durable, dependents, created }
    }

    /// Takes a new topic into the account, whether there is room for it or not.
    pub(crate) fn begin(&mut self, topic: &str, stream: StreamId, mirror: bool) {
        let state = TopicState::new(stream, mirror, memory::topic_size(topic));
        self.memory.used += state.size;
        self.topics.insert(topic.to_owned(), state);
    }

    /// Takes a new topic into the account.
    ///
    /// # Errors
    ///
    /// [`Refusal::TopicExists`], or no room for it.
    pub(crate) fn create(
        &mut self,
        topic: &str,
        stream: StreamId,
        mirror: bool,
    ) -> Result<(), Refusal> {
        if self.topics.contains_key(topic) {
            return Err(Refusal::TopicExists);
        }
        if self.topics.len() >= TOPICS_MAX {
            return Err(Refusal::TooManyTopics { topics_max: TOPICS_MAX });
        }
        self.memory.check(memory::topic_size(topic))?;
        self.begin(topic, stream, mirror);
        if let Some(created) = &mut self.created {
            created.push(topic.to_owned());
        }
        Ok(())
    }

    /// Takes a topic out of the account, and gives what was known of it.
    pub(crate) fn remove(&mut self, topic: &str) -> Option<TopicState> {
        let state = self.topics.remove(topic)?;
        self.memory.give_back(state.size);
        Some(state)
    }

    /// Takes mirrored messages into the account. Gives what [`Admission::undo`] needs.
    ///
    /// # Errors
    ///
    /// [`Refusal::OtherStream`] where they do not follow on what is there,
    /// [`Refusal::TopicExists`] where this broker is the topic's home, or no room.
    pub(crate) fn mirror(
        &mut self,
        topic: &str,
        from: Cursor,
        entries: &[String],
    ) -> Result<Undo, Refusal> {
        let known = self.topics.get(topic);
        if known.is_some_and(|state| !state.mirror) {
            return Err(Refusal::TopicExists);
        }
        if known.map_or(Cursor { next: 0, ..from }, TopicState::accepted_end) != from {
            return Err(Refusal::OtherStream);
        }
        self.memory.check(entries.iter().map(|entry| memory::entry_size(entry)).sum())?;
        let created = known.is_none();
        if created {
            self.create(topic, from.stream, true)?;
        }
        let state = self.topics.get_mut(topic).ok_or(Refusal::NoTopic)?;
        let text = entries.iter().map(|entry| text_size(entry)).sum();
        let mut undo = state.count(entries, text, None, &mut self.memory);
        undo.created = created;
        Ok(undo)
    }

    /// Decides about each publish of a batch, in order, and takes note of what it decided. Each
    /// publish that is not refused adds to `undo` what [`Admission::undo`] needs.
    pub(crate) fn accept(
        &mut self,
        batch: &Batch,
        lists: &Lists,
        mut undo: Option<&mut Vec<Undo>>,
    ) -> Vec<Result<Receipt, Refusal>> {
        let mut entries = batch.entries.as_slice();
        let mut answers = Vec::with_capacity(batch.publishes.len());
        // A topic is looked up once for all publishes to it that follow one another: a look-up for
        // each would show in the rate of small publishes.
        for run in batch.runs() {
            let Some(topic) = run.first().map(|publish| &*publish.topic) else { continue };
            let mut opened = self.open(topic, batch, lists);
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
    fn open<'a>(
        &'a mut self,
        topic: &str,
        batch: &Batch,
        lists: &'a Lists,
    ) -> Result<Open<'a>, Refusal> {
        let known = self.topics.get(topic);
        let is_new = known.is_none();
        if batch.own_only && known.is_none_or(|state| state.mirror) {
            return Err(Refusal::UnknownTopic(topic.to_owned()));
        }
        if is_new {
            self.create(topic, StreamId::random(), false)?;
        }
        let Admission { topics, memory, limits, durable, .. } = self;
        let state = topics.get_mut(topic).ok_or(Refusal::NoTopic)?;
        let limits = state.limits(limits);
        let list = if limits == Limits::default() { None } else { lists.get(topic) };
        let list = list.map_or(&[][..], Vec::as_slice);
        let (durable, time) = (*durable, batch.time());
        Ok(Open { state, list, limits, memory, durable, time, is_new })
    }

    /// Takes what was let go out of a topic's list, for the caller to free.
    pub(crate) fn apply_trim(
        &mut self,
        topic: &str,
        list: &mut Vec<String>,
        now: u64,
    ) -> Vec<String> {
        let Some(state) = self.topics.get_mut(topic).filter(|state| state.is_trimmed()) else {
            return Vec::new();
        };
        let before = state.messages();
        let gone = state.apply_trim(list, now, &mut self.memory);
        self.trimmed += before - state.messages();
        gone
    }

    /// Takes back what was accepted last.
    pub(crate) fn undo(&mut self, topic: &str, publisher: Option<&str>, undo: Undo) {
        let created = undo.created;
        if let Some(state) = self.topics.get_mut(topic) {
            state.undo(publisher, undo, &mut self.memory);
        }
        if created {
            self.remove(topic);
        }
    }
}

/// A topic that is published to.
struct Open<'a> {
    state: &'a mut TopicState,
    /// Its list, where it has bounds.
    list: &'a [String],
    limits: Limits,
    memory: &'a mut Memory,
    durable: bool,
    time: u64,
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
        let Cursor { stream, next: offset } = self.state.accepted_end();
        let count = entries.len() as u64;
        let (appended, duplicate, created, durable) = (0, true, false, self.durable);
        let (offset, replicas) = (Some(offset), None);
        let mut receipt =
            Receipt { stream, offset, appended, duplicate, created, durable, replicas };
        let mut skip = 0;
        if let Some((publisher, sequence)) = &publish.numbered {
            let known = self.state.sequences.get_mut(publisher);
            match Sequences::judge(known.as_deref(), *sequence, count)? {
                Verdict::Append { skip: there } => skip = there,
                Verdict::Duplicate { offset } => {
                    if let Some(known) = known {
                        known.repeated(self.time);
                    }
                    receipt.offset = offset.filter(|offset| self.state.holds(*offset));
                    return Ok((receipt, Undo::default()));
                }
            }
        }
        let new = usize::try_from(skip).ok().and_then(|skip| entries.get(skip..));
        let new = new.unwrap_or_default();
        let text = entry::text_size(new);
        let trim = self.make_room(new, text)?;
        let numbered = publish.numbered.as_ref();
        let numbered = numbered.map(|(by, first)| (by.as_str(), first.later(skip), self.time));
        let mut undo = self.state.count(new, text, numbered, self.memory);
        undo.trim = trim;
        undo.created = std::mem::take(&mut self.is_new);
        receipt.created = undo.created;
        receipt.appended = count - skip;
        receipt.duplicate = false;
        Ok((receipt, undo))
    }

    /// Sees to it that there is memory for entries, and lets go of what is beyond the topic's
    /// bounds with them. A bound of age is looked at here only where memory is used up.
    fn make_room(&mut self, entries: &[String], text: u64) -> Result<Option<UndoTrim>, Refusal> {
        let size = entries.iter().map(|entry| memory::entry_size(entry)).sum::<u64>();
        if self.limits == Limits::default() || entries.is_empty() {
            return self.memory.check(size).map(|()| None);
        }
        let view = TopicView::new(self.state, self.list);
        let now = (!self.memory.has_room(size)).then_some(self.time);
        let first = view.beyond(&self.limits, (entries.len() as u64, text), now);
        if first <= self.state.accepted_start.offset {
            return self.memory.check(size).map(|()| None);
        }
        let point = view.point(first, true);
        self.memory.check(size.saturating_sub(self.state.memory_before(&point)))?;
        Ok(Some(self.state.trim(point, self.memory)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::batch::{Publisher, Sequence};

    fn batch(publishes: &[(&str, &str, Option<u64>)]) -> Batch {
        let mut batch = Batch::default();
        for (topic, message, sequence) in publishes {
            let number = sequence.map(|sequence| Sequence { epoch: 1, sequence });
            let publisher = number.map(|number| Publisher { name: "ann", sequence: Some(number) });
            batch.publish(topic, publisher, [*message].into_iter(), 100).unwrap();
        }
        batch
    }

    fn known(admission: &Admission) -> String {
        let mut topics: Vec<_> = admission.topics.iter().collect();
        topics.sort_by_key(|(topic, _)| *topic);
        format!("{topics:?} {}", admission.memory.used)
    }

    #[test]
    fn what_was_accepted_can_be_taken_back() {
        let mut admission = Admission::new(Memory::new(1 << 20));
        admission.accept(&batch(&[("a", "one", None), ("a", "two", Some(0))]), &Lists::new(), None);
        let before = known(&admission);
        let batch = batch(&[
            ("a", "three", Some(1)),
            ("b", "one", Some(0)),
            ("b", "gap", Some(7)),
            ("b", "one", Some(0)),
            ("a", "four", None),
            ("a", "five", Some(2)),
        ]);
        let mut undo = Vec::new();
        let answers = admission.accept(&batch, &Lists::new(), Some(&mut undo));
        assert!(matches!(answers[2], Err(Refusal::Gap { expected: 1 })));
        assert!(answers[3].as_ref().unwrap().duplicate);
        assert_eq!(answers[5].as_ref().unwrap().offset, Some(4));
        assert_ne!(known(&admission), before);
        for (publish, _) in batch.publishes.iter().zip(&answers).rev().filter(|it| it.1.is_ok()) {
            let publisher = publish.numbered.as_ref().map(|(publisher, _)| publisher.as_str());
            admission.undo(&publish.topic, publisher, undo.pop().unwrap());
        }
        assert_eq!(known(&admission), before);
        assert!(undo.is_empty());
    }

    #[test]
    fn a_full_account_refuses_and_takes_nothing() {
        let mut admission = Admission::new(Memory::new(2000));
        let long = "x".repeat(100);
        let batch = batch(&[("a", long.as_str(), None); 20]);
        let answers = admission.accept(&batch, &Lists::new(), None);
        let full = |answer: &Result<_, _>| matches!(answer, Err(Refusal::Full { .. }));
        assert!(answers[0].is_ok() && full(&answers[19]));
        assert!(admission.memory.used <= 2000);
        assert_eq!(
            admission.topics["a"].accepted_end().next,
            answers.iter().filter(|it| it.is_ok()).count() as u64
        );
    }
}
