//! Changes: everything that can happen to what the broker keeps.
//!
//! A change is accepted or refused first, so that the next one is judged by it. What was accepted
//! goes into a frame of the journal. When that is on disk the change is applied, and readers see
//! it; when the disk refuses it, it is undone. A change carries its own answer.
//!
//! # Not here
//!
//! Locks (`contents.rs`), publishes (`append.rs`), and who waits for whom (`commit.rs`).

use crate::refusal::Refusal;
use crate::store::admission::Admission;
use crate::store::batch::Publisher;
use crate::store::entry::{self, Entry};
use crate::store::journal::Frame;
use crate::store::stream::{Cursor, StreamId};
use crate::store::topic_state::{TopicState, Undo};
use std::collections::HashMap;
use std::sync::Arc;

/// The most that a record takes beside names and messages: its letter, five numbers, and what
/// stands between them.
const RECORD_SIZE: usize = 128;

/// Messages of each topic, oldest first.
pub(crate) type Lists = HashMap<String, Vec<String>>;

/// What a change leaves to be freed, once no lock is held: to free millions of messages takes a
/// while.
pub(crate) type Garbage = Option<(Option<TopicState>, Option<Vec<String>>)>;

/// A change of what the broker keeps.
pub(crate) trait Change: Send {
    /// About how many bytes it takes in a frame, rather more than less.
    fn size(&self) -> usize;

    /// Accepts or refuses, and puts what is accepted into the frame, where there is a journal.
    fn accept(&mut self, admission: &mut Admission, frame: Option<&mut Frame>);

    /// Makes visible what was accepted.
    fn apply(&mut self, admission: &mut Admission, lists: &mut Lists) -> Garbage;

    /// Takes back what was accepted, and refuses it instead: nothing of it is in the journal. Of
    /// several changes the last comes first.
    fn undo(&mut self, admission: &mut Admission, refusal: &Refusal);

    /// Whether it has a frame of its own, since what follows is judged by what it leaves.
    fn is_alone(&self) -> bool {
        false
    }
}

/// The most that a record takes whose names and messages have so many bytes.
pub(crate) fn record_size(names: usize) -> usize {
    names + RECORD_SIZE
}

/// A topic is to be created, without messages.
#[derive(Debug, Default)]
pub(crate) struct Create {
    pub(crate) topic: String,
    pub(crate) refused: Option<Refusal>,
}

impl Change for Create {
    fn size(&self) -> usize {
        record_size(self.topic.len())
    }

    fn accept(&mut self, admission: &mut Admission, frame: Option<&mut Frame>) {
        let stream = StreamId::random();
        self.refused = admission.create(&self.topic, stream, false).err();
        if let (None, Some(frame)) = (&self.refused, frame) {
            frame.create(&self.topic, stream);
        }
    }

    fn apply(&mut self, _: &mut Admission, lists: &mut Lists) -> Garbage {
        if self.refused.is_none() {
            lists.insert(self.topic.clone(), Vec::new());
        }
        None
    }

    fn undo(&mut self, admission: &mut Admission, refusal: &Refusal) {
        if self.refused.is_none() {
            admission.remove(&self.topic);
            self.refused = Some(refusal.clone());
        }
    }
}

/// A topic is to be deleted with all its messages.
#[derive(Debug, Default)]
pub(crate) struct Delete {
    pub(crate) topic: String,
    /// Whether only where another broker is its home.
    pub(crate) mirror_only: bool,
    pub(crate) refused: Option<Refusal>,
}

impl Change for Delete {
    fn size(&self) -> usize {
        record_size(self.topic.len())
    }

    fn accept(&mut self, admission: &mut Admission, frame: Option<&mut Frame>) {
        match admission.topics.get(&self.topic) {
            Some(state) if state.mirror || !self.mirror_only => {
                if let Some(frame) = frame {
                    frame.delete(&self.topic, state.stream);
                }
            }
            _ => self.refused = Some(Refusal::NoTopic),
        }
    }

    fn apply(&mut self, admission: &mut Admission, lists: &mut Lists) -> Garbage {
        let is_accepted = self.refused.is_none();
        is_accepted.then(|| (admission.remove(&self.topic), lists.remove(&self.topic)))
    }

    fn undo(&mut self, _: &mut Admission, refusal: &Refusal) {
        self.refused.get_or_insert_with(|| refusal.clone());
    }

    fn is_alone(&self) -> bool {
        true
    }
}

/// More of a topic that another broker is the home of, as that has it.
#[derive(Debug)]
pub(crate) struct Mirrored {
    pub(crate) topic: String,
    /// Where the first of the entries stands.
    pub(crate) from: Cursor,
    pub(crate) entries: Vec<String>,
    pub(crate) refused: Option<Refusal>,
    undo: Undo,
}

impl Mirrored {
    /// Entries of a topic that stand at `from`.
    pub(crate) fn new(topic: &str, from: Cursor, entries: Vec<String>) -> Mirrored {
        let (refused, undo) = Default::default();
        Mirrored { topic: topic.to_owned(), from, entries, refused, undo }
    }
}

impl Default for Mirrored {
    fn default() -> Mirrored {
        Mirrored::new("", Cursor { stream: StreamId::NONE, next: 0 }, Vec::new())
    }
}

impl Change for Mirrored {
    fn size(&self) -> usize {
        // Each message may need a record of its own, where the publisher stands again.
        let record = |entry: &String| record_size(entry.len() + self.topic.len());
        record_size(self.topic.len()) + self.entries.iter().map(record).sum::<usize>()
    }

    fn accept(&mut self, admission: &mut Admission, frame: Option<&mut Frame>) {
        match admission.mirror(&self.topic, self.from, &self.entries) {
            Ok(undo) => self.undo = undo,
            Err(refusal) => self.refused = Some(refusal),
        }
        let (None, Some(frame)) = (&self.refused, frame) else { return };
        if self.undo.created {
            frame.mirror(&self.topic, self.from.stream);
        }
        let mut offset = self.from.next;
        for run in
            self.entries.chunk_by(|one, other| entry::stamp_of(one) == entry::stamp_of(other))
        {
            let Some(first) = run.first().map(|entry| Entry::of(entry)) else { continue };
            let publisher = first.publisher.map(|name| Publisher { name, sequence: None });
            let messages = run.iter().map(|entry| entry::message(entry));
            let (stream, time) = (self.from.stream, first.milliseconds());
            frame.append(&self.topic, stream, offset, time, publisher, messages);
            offset += run.len() as u64;
        }
    }

    fn apply(&mut self, admission: &mut Admission, lists: &mut Lists) -> Garbage {
        if self.refused.is_none()
            && let Some(state) = admission.topics.get_mut(&self.topic)
        {
            let list = lists.entry(self.topic.clone()).or_default();
            state.append(list, self.entries.drain(..));
        }
        None
    }

    fn undo(&mut self, admission: &mut Admission, refusal: &Refusal) {
        if self.refused.is_none() {
            admission.undo(&self.topic, None, std::mem::take(&mut self.undo));
            self.refused = Some(refusal.clone());
        }
    }
}

/// Lasting subscriptions moved, began or ended. The store only keeps this for the next start.
#[derive(Debug, Default)]
pub(crate) struct Positions {
    pub(crate) changes: Vec<PositionChange>,
    pub(crate) refused: Option<Refusal>,
}

/// A change of a lasting subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PositionChange {
    pub(crate) subscriber: Arc<str>,
    pub(crate) topic: Arc<str>,
    /// Where it goes on; nothing when it ended.
    pub(crate) position: Option<Cursor>,
}

impl Change for Positions {
    fn size(&self) -> usize {
        let changes = self.changes.iter();
        changes.map(|change| record_size(change.subscriber.len() + change.topic.len())).sum()
    }

    fn accept(&mut self, _: &mut Admission, frame: Option<&mut Frame>) {
        let Some(frame) = frame else { return };
        for PositionChange { subscriber, topic, position } in &self.changes {
            match position {
                Some(Cursor { stream, next }) => {
                    frame.position(subscriber, topic, *stream, *next);
                }
                None => frame.end(subscriber, topic),
            }
        }
    }

    fn apply(&mut self, _: &mut Admission, _: &mut Lists) -> Garbage {
        None
    }

    fn undo(&mut self, _: &mut Admission, refusal: &Refusal) {
        self.refused = Some(refusal.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::append::Append;
    use crate::store::batch::{Batch, Sequence};
    use crate::store::memory::Memory;

    /// Bytes that a change adds to a frame.
    fn size_in_a_frame(change: &mut dyn Change) -> usize {
        let mut frame = Frame::default();
        frame.clear();
        let before = frame.size();
        change.accept(&mut Admission::new(Memory::new(u64::MAX)), Some(&mut frame));
        frame.size() - before
    }

    #[test]
    fn no_change_takes_more_of_a_frame_than_it_says() {
        let long = "n".repeat(255);
        let mut batch = Batch::default();
        for sequence in 0..100 {
            let sequence = Some(Sequence { epoch: u64::MAX, sequence });
            let publisher = Some(Publisher { name: &long, sequence });
            batch.publish(&long, publisher, [""].into_iter(), 100).unwrap();
        }
        let from = Cursor { stream: StreamId::random(), next: 0 };
        let stamps = (0..100).map(|time| entry::stamp(time, Some(&long)));
        let entries = stamps.map(|stamp| entry::compose("", &stamp)).collect();
        let position = Some(Cursor { stream: StreamId::random(), next: u64::MAX });
        let (subscriber, topic): (Arc<str>, Arc<str>) = (long.as_str().into(), "t".into());
        let changes = vec![PositionChange { subscriber, topic, position }; 100];
        let changes: [Box<dyn Change>; 4] = [
            Box::new(Append::new(batch)),
            Box::new(Create { topic: long.clone(), refused: None }),
            Box::new(Mirrored::new(&long, from, entries)),
            Box::new(Positions { changes, refused: None }),
        ];
        for (index, mut change) in changes.into_iter().enumerate() {
            let said = change.size();
            let taken = size_in_a_frame(&mut *change);
            assert!(taken > 0 && taken <= said, "{taken} bytes, not {said}: change {index}");
        }
    }
}
