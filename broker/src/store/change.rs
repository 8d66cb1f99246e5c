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
use crate::store::journal::{Frame, Record};
use crate::store::retention::{Bounds, BoundsChange, Limits};
use crate::store::stream::{Cursor, StreamId};
use crate::store::topic_state::{Point, TopicState, Undo, UndoTrim};
use crate::store::view::TopicView;
use common::clock;
use common::crc32::Crc32;
use std::collections::HashMap;

/// The most that a record takes beside names and messages: its letter, five numbers, and what
/// stands between them.
const RECORD_SIZE: usize = 128;

/// Messages of each topic, oldest first.
pub(crate) type Lists = HashMap<String, Vec<String>>;

/// What a change leaves to be freed, once no lock is held: to free millions of messages takes a
/// while.
pub(crate) type Garbage = (Option<TopicState>, Vec<Vec<String>>);

/// A change of what the broker keeps.
pub(crate) trait Change: Send {
    /// About how many bytes it takes in a frame, rather more than less.
    fn size(&self) -> usize;

    /// Accepts or refuses, and puts what is accepted into the frame, where there is a journal.
    fn accept(&mut self, admission: &mut Admission, lists: &Lists, frame: Option<&mut Frame>);

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

    fn accept(&mut self, admission: &mut Admission, _: &Lists, frame: Option<&mut Frame>) {
        let stream = StreamId::random();
        self.refused = admission.create(&self.topic, stream, false).err();
        if let (None, Some(frame)) = (&self.refused, frame) {
            frame.add(&Record::Create { topic: &self.topic, stream });
        }
    }

    fn apply(&mut self, _: &mut Admission, lists: &mut Lists) -> Garbage {
        if self.refused.is_none() {
            lists.insert(self.topic.clone(), Vec::new());
        }
        Garbage::default()
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
    /// Of a mirror whose home has another list: how many of its first messages that one has, too.
    /// What goes with the topic then waits for it.
    pub(crate) shared: Option<u64>,
    pub(crate) refused: Option<Refusal>,
}

impl Change for Delete {
    fn size(&self) -> usize {
        record_size(self.topic.len())
    }

    fn accept(&mut self, admission: &mut Admission, _: &Lists, frame: Option<&mut Frame>) {
        match admission.topics.get(&self.topic) {
            Some(state) if state.mirror || !self.mirror_only => {
                let Some(frame) = frame else { return };
                frame.add(&Record::Delete { topic: &self.topic, stream: state.stream });
                if let (Some(shared), Some(them)) = (self.shared, &admission.dependents) {
                    them.write_suspended(&self.topic, shared, frame);
                }
            }
            _ => self.refused = Some(Refusal::NoTopic),
        }
    }

    fn apply(&mut self, admission: &mut Admission, lists: &mut Lists) -> Garbage {
        if self.refused.is_some() {
            return Garbage::default();
        }
        match (&admission.dependents, self.shared) {
            (None, _) => {}
            (Some(them), Some(shared)) => them.suspend(&self.topic, shared),
            (Some(them), None) => admission.memory.give_back(them.end(&self.topic)),
        }
        (admission.remove(&self.topic), Vec::from_iter(lists.remove(&self.topic)))
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

    fn accept(&mut self, admission: &mut Admission, _: &Lists, frame: Option<&mut Frame>) {
        match admission.mirror(&self.topic, self.from, &self.entries) {
            Ok(undo) => self.undo = undo,
            Err(refusal) => self.refused = Some(refusal),
        }
        let (None, Some(frame)) = (&self.refused, frame) else { return };
        if self.undo.created {
            frame.add(&Record::Mirror { topic: &self.topic, stream: self.from.stream });
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
            for entry in self.entries.drain(..) {
                let time = Entry::of(&entry).milliseconds();
                state.append(list, time, std::iter::once(entry));
            }
        }
        Garbage::default()
    }

    fn undo(&mut self, admission: &mut Admission, refusal: &Refusal) {
        if self.refused.is_none() {
            admission.undo(&self.topic, None, std::mem::take(&mut self.undo));
            self.refused = Some(refusal.clone());
        }
    }
}

/// Messages are to be let go.
#[derive(Debug, Default)]
pub(crate) struct Trim {
    pub(crate) topic: String,
    pub(crate) upto: Upto,
    /// The time, in Unix milliseconds.
    pub(crate) now: u64,
    pub(crate) refused: Option<Refusal>,
    undo: Option<UndoTrim>,
}

/// Which messages are to be let go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Upto {
    /// Those beyond the topic's bounds.
    #[default]
    Bounds,
    /// Those before an offset.
    Offset(u64),
    /// Those that are older than a time, in Unix milliseconds.
    Time(u64),
    /// Those of a mirror before what is here from now on, which may be more than are here. The
    /// checksum is that before `first`, where the home says it.
    Home { first: Cursor, digest: Option<u32> },
    /// The oldest of a mirror, so many bytes of memory.
    Window(u64),
}

impl Trim {
    /// Messages of a topic that are to be let go.
    pub(crate) fn new(topic: &str, upto: Upto) -> Trim {
        let (now, topic) = (clock::unix_milliseconds(), topic.to_owned());
        Trim { topic, upto, now, ..Trim::default() }
    }

    /// The point before which everything goes.
    fn point(
        &self,
        state: &TopicState,
        limits: &Limits,
        list: &[String],
    ) -> Result<Point, Refusal> {
        let view = TopicView::new(state, list);
        let end = view.end();
        match self.upto {
            Upto::Home { .. } | Upto::Window(_) if !state.mirror => Err(Refusal::TopicExists),
            Upto::Home { first, .. } if first.stream != end.stream => Err(Refusal::OtherStream),
            Upto::Home { first: Cursor { next, .. }, digest } if next > end.next => {
                let digest = digest.map(Crc32::after);
                Ok(Point { offset: next, digest, ..view.point(end.next, false) })
            }
            Upto::Home { first, .. } => Ok(view.point(first.next, true)),
            Upto::Window(bytes) => Ok(view.point(view.after_memory(bytes), true)),
            Upto::Bounds => {
                let first = view.beyond(limits, (0, 0), Some(self.now));
                Ok(view.point(first.max(state.accepted_start.offset), true))
            }
            _ if state.mirror => Err(Refusal::UnknownTopic(self.topic.clone())),
            Upto::Offset(from) if from > end.next => Err(Refusal::PastEnd { from, next: end.next }),
            Upto::Offset(offset) => Ok(view.point(offset, true)),
            Upto::Time(time) => Ok(view.point(view.after_older(time), true)),
        }
    }
}

impl Change for Trim {
    fn size(&self) -> usize {
        record_size(self.topic.len())
    }

    fn accept(&mut self, admission: &mut Admission, lists: &Lists, frame: Option<&mut Frame>) {
        let Admission { topics, memory, limits, .. } = admission;
        let found = topics.get_mut(&self.topic).zip(lists.get(&self.topic));
        let Some((state, list)) = found else {
            self.refused = Some(Refusal::UnknownTopic(self.topic.clone()));
            return;
        };
        let limits = state.limits(limits);
        if self.upto == Upto::Bounds && state.mirror {
            let first = TopicView::new(state, list).beyond(&limits, (0, 0), Some(self.now));
            state.home_begins(first, None);
        }
        match self.point(state, &limits, list) {
            Ok(point) if point.offset > state.accepted_start.offset => {
                self.undo = Some(state.trim(point, memory));
                if let Some(frame) = frame {
                    state.write_trim(&self.topic, frame);
                }
            }
            Ok(_) => {}
            Err(refusal) => self.refused = Some(refusal),
        }
    }

    fn apply(&mut self, admission: &mut Admission, lists: &mut Lists) -> Garbage {
        let list = lists.get_mut(&self.topic);
        let gone = list.map(|list| admission.apply_trim(&self.topic, list, self.now));
        (None, Vec::from_iter(gone))
    }

    fn undo(&mut self, admission: &mut Admission, refusal: &Refusal) {
        let state = admission.topics.get_mut(&self.topic);
        if let Some((state, undo)) = state.zip(self.undo.take()) {
            state.undo_trim(undo, &mut admission.memory);
            self.refused = Some(refusal.clone());
        }
    }

    fn is_alone(&self) -> bool {
        // The list may go on behind its end: what is accepted at the same time would not follow.
        matches!(self.upto, Upto::Home { .. })
    }
}

/// A topic is to have other bounds.
#[derive(Debug, Default)]
pub(crate) struct SetBounds {
    pub(crate) topic: String,
    pub(crate) change: BoundsChange,
    pub(crate) refused: Option<Refusal>,
    before: Bounds,
}

impl SetBounds {
    /// A topic whose bounds are to be changed.
    pub(crate) fn new(topic: &str, change: BoundsChange) -> SetBounds {
        SetBounds { topic: topic.to_owned(), change, ..SetBounds::default() }
    }
}

impl Change for SetBounds {
    fn size(&self) -> usize {
        record_size(self.topic.len())
    }

    fn accept(&mut self, admission: &mut Admission, _: &Lists, frame: Option<&mut Frame>) {
        match admission.topics.get_mut(&self.topic).filter(|state| !state.mirror) {
            Some(state) => {
                self.before = state.bounds;
                state.bounds = self.before.with(&self.change);
                if let Some(frame) = frame {
                    let (topic, stream, bounds) = (&*self.topic, state.stream, state.bounds);
                    frame.add(&Record::Bounds { topic, stream, bounds });
                }
            }
            None => self.refused = Some(Refusal::UnknownTopic(self.topic.clone())),
        }
    }

    fn apply(&mut self, _: &mut Admission, _: &mut Lists) -> Garbage {
        Garbage::default()
    }

    fn undo(&mut self, admission: &mut Admission, refusal: &Refusal) {
        if self.refused.is_none() {
            if let Some(state) = admission.topics.get_mut(&self.topic) {
                state.bounds = self.before;
            }
            self.refused = Some(refusal.clone());
        }
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
        let mut admission = Admission::new(Memory::new(u64::MAX));
        change.accept(&mut admission, &Lists::new(), Some(&mut frame));
        frame.size() - before
    }

    #[test]
    fn no_change_takes_more_of_a_frame_than_it_says() {
        let long = "n".repeat(255);
        let mut batch = Batch::default();
        for sequence in 0..100 {
            let sequence = Some(Sequence { epoch: (1 << 53) - 1, sequence });
            let publisher = Some(Publisher { name: &long, sequence });
            batch.publish(&long, publisher, [""].into_iter(), 100).unwrap();
        }
        let from = Cursor { stream: StreamId::random(), next: 0 };
        let stamps = (0..100).map(|time| entry::stamp(time, Some(&long)));
        let entries = stamps.map(|stamp| entry::compose("", &stamp)).collect();
        let changes: [Box<dyn Change>; 3] = [
            Box::new(Append::new(batch)),
            Box::new(Create { topic: long.clone(), refused: None }),
            Box::new(Mirrored::new(&long, from, entries)),
        ];
        for (index, mut change) in changes.into_iter().enumerate() {
            let said = change.size();
            let taken = size_in_a_frame(&mut *change);
            assert!(taken > 0 && taken <= said, "{taken} bytes, not {said}: change {index}");
        }
    }
}
