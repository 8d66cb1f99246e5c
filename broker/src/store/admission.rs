//! What is known of all topics, and of the memory that they take.
//!
//! A publish is accepted before it is stored. It is counted at once, so the next publish is judged
//! with it, and it is taken back if the disk fails.
//!
//! # Not here
//!
//! The lists, and locks (`contents.rs`); whether a publish is accepted (`append.rs`).

use crate::refusal::{Refusal, Result};
use crate::store::journal::Frame;
use crate::store::{Limits, Memory, StreamId, TopicState, memory};
use common::limits::TOPICS_MAX;
use std::collections::{BTreeSet, HashMap};

/// What is known beside the messages, and how much memory all of it takes.
pub(crate) struct Admission {
    pub(crate) topics: HashMap<String, TopicState>,
    /// The names of `topics`, in order, so that they can be listed piece by piece. Every publish
    /// looks its topic up, and among 1,000 ordered names that takes twice as long.
    pub(crate) names: BTreeSet<String>,
    pub(crate) memory: Memory,
    /// What topics keep that have no bounds of their own.
    pub(crate) limits: Limits,
    /// How many messages were let go.
    pub(crate) trimmed: u64,
    /// Whether what is accepted is on disk before it is answered.
    pub(crate) durable: bool,
    /// Told of each topic that is there for readers from now on. The locks of the store are held.
    pub(crate) on_create: OnCreate,
    /// What goes with topics, if anything does.
    pub(crate) dependents: Option<Box<dyn Dependents>>,
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

type OnCreate = Box<dyn Fn(&str, StreamId) + Send>;

/// The answer to a publish that was not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
pub(crate) type Receipts = Vec<Outcome>;

/// What became of a publish.
pub(crate) type Outcome = Result<Receipt>;

impl Receipt {
    /// How many entries of its batch were appended.
    pub(crate) fn count(&self) -> usize {
        usize::try_from(self.appended).unwrap_or(usize::MAX)
    }
}

impl Admission {
    /// Nothing yet.
    pub(crate) fn new(memory: Memory) -> Admission {
        let (topics, names, limits, trimmed, durable, dependents) = Default::default();
        let on_create = Box::new(|_: &str, _| ());
        Admission { topics, names, memory, limits, trimmed, durable, on_create, dependents }
    }

    /// Takes a new topic into the account, whether there is room for it or not.
    pub(crate) fn begin(&mut self, topic: &str, stream: StreamId, mirror: bool) {
        let state = TopicState::new(stream, mirror, memory::topic_size(topic));
        self.memory.used += state.size;
        self.topics.insert(topic.to_owned(), state);
        self.names.insert(topic.to_owned());
    }

    /// Takes a new topic into the account.
    ///
    /// # Errors
    ///
    /// [`Refusal::TopicExists`], or no room for it.
    pub(crate) fn create(&mut self, topic: &str, stream: StreamId, mirror: bool) -> Result<()> {
        if self.topics.contains_key(topic) {
            return Err(Refusal::TopicExists);
        }
        if self.topics.len() >= TOPICS_MAX {
            return Err(Refusal::TooManyTopics { topics_max: TOPICS_MAX });
        }
        self.memory.check(memory::topic_size(topic))?;
        self.begin(topic, stream, mirror);
        Ok(())
    }

    /// Takes a topic out of the account, and gives what was known of it.
    pub(crate) fn remove(&mut self, topic: &str) -> Option<TopicState> {
        let state = self.topics.remove(topic)?;
        self.names.remove(topic);
        self.memory.give_back(state.size);
        Some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Append, Batch, Change, Lists, Locked, Publisher, Sequence};

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

    /// Decides about a batch. Gives it with the answers.
    fn accept(admission: &mut Admission, batch: Batch, frame: Option<&mut Frame>) -> Append {
        let mut append = Append::new(batch);
        append.accept(&mut Locked { admission, lists: &mut Lists::new() }, frame).unwrap();
        append
    }

    #[test]
    fn what_was_accepted_can_be_taken_back() {
        let mut admission = Admission::new(Memory::new(1 << 20));
        let mut lists = Lists::new();
        let first = batch(&[("a", "one", None), ("a", "two", Some(0))]);
        let mut frame = Frame::default();
        let mut append = accept(&mut admission, first, Some(&mut frame));
        append.apply(&mut Locked { admission: &mut admission, lists: &mut lists });
        let before = known(&admission);
        let batch = batch(&[
            ("a", "three", Some(1)),
            ("b", "one", Some(0)),
            ("b", "gap", Some(7)),
            ("b", "one", Some(0)),
            ("a", "four", None),
            ("a", "five", Some(2)),
        ]);
        let mut append = accept(&mut admission, batch, Some(&mut frame));
        assert!(matches!(append.answers[2], Err(Refusal::Gap { expected: 1 })));
        assert!(append.answers[3].as_ref().unwrap().duplicate);
        assert_eq!(append.answers[5].as_ref().unwrap().offset, Some(4));
        assert_ne!(known(&admission), before);
        append.undo(&mut Locked { admission: &mut admission, lists: &mut lists });
        assert_eq!(known(&admission), before);
    }

    #[test]
    fn a_full_account_refuses_and_takes_nothing() {
        let mut admission = Admission::new(Memory::new(2000));
        let long = "x".repeat(100);
        let batch = batch(&[("a", long.as_str(), None); 20]);
        let answers = accept(&mut admission, batch, None).answers;
        let full = |answer: &Result<_, _>| matches!(answer, Err(Refusal::Full { .. }));
        assert!(answers[0].is_ok() && full(&answers[19]));
        assert!(admission.memory.used <= 2000);
        assert_eq!(
            admission.topics["a"].accepted_end().next,
            answers.iter().filter(|it| it.is_ok()).count() as u64
        );
    }
}
