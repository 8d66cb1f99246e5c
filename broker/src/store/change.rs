//! Changes: everything that can happen to what the broker keeps.
//!
//! A change is accepted or refused first, so that the next one is judged by it. What was accepted
//! goes into a frame of the journal. When that is on disk the change is applied, and readers see
//! it; when the disk refuses it, all that was accepted and not applied is taken back.
//!
//! # Not here
//!
//! Locks (`contents.rs`), publishes (`append.rs`), and who waits for whom (`commit.rs`).

use crate::refusal::{Refusal, Result};
use crate::store::journal::{Event, Frame, Record};
use crate::store::{
    Admission, BoundsChange, Cursor, Limits, Locked, Point, StreamId, TopicState, TopicView,
};
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
    fn accept(&mut self, locked: &mut Locked<'_>, frame: Option<&mut Frame>) -> Result<()>;

    /// Makes visible what was accepted.
    fn apply(&mut self, locked: &mut Locked<'_>) -> Garbage;

    /// Takes back what was accepted: nothing of it is in the journal. So is all that was accepted
    /// with it, the last first.
    fn undo(&mut self, locked: &mut Locked<'_>);

    /// Whether it has a frame of its own, since what follows is judged by what it leaves.
    fn is_alone(&self) -> bool {
        false
    }
}

/// The most that a record takes whose names and messages have so many bytes.
pub(crate) fn record_size(names: usize) -> usize {
    names + RECORD_SIZE
}

/// A change of one topic that appends nothing to it.
#[derive(Debug, Default)]
pub(crate) struct ListChange {
    pub(crate) topic: String,
    pub(crate) change: TopicChange,
    /// Whether it is deleted only where another broker is its home.
    pub(crate) is_mirror: bool,
    /// Where that broker has another list now: how many of its first messages that one has, too.
    /// What goes with the topic then waits for it.
    pub(crate) shared: Option<u64>,
}

/// What is to happen to a topic.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum TopicChange {
    /// It is to be created, without messages.
    #[default]
    Create,
    /// It is to be deleted with all its messages.
    Delete,
    /// Messages are to be let go.
    Trim(Upto),
    /// It is to have other bounds.
    SetBounds(BoundsChange),
}

/// Which messages are to be let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upto {
    /// Those beyond the topic's bounds.
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

impl Upto {
    /// The point before which everything goes.
    fn point(self, topic: &str, view: TopicView<'_>, limits: &Limits) -> Result<Point> {
        let end = view.end();
        match self {
            Upto::Home { .. } | Upto::Window(_) if !view.is_mirror() => Err(Refusal::TopicExists),
            Upto::Home { first, .. } if first.stream != end.stream => Err(Refusal::OtherStream),
            Upto::Home { first: Cursor { next, .. }, digest } if next > end.next => {
                let digest = digest.map(Crc32::after);
                Ok(Point { offset: next, digest, ..view.point(end.next, false) })
            }
            Upto::Offset(_) | Upto::Time(_) if view.is_mirror() => {
                Err(Refusal::UnknownTopic(topic.to_owned()))
            }
            Upto::Offset(from) if from > end.next => Err(Refusal::PastEnd { from, next: end.next }),
            _ => Ok(view.point(self.offset(view, limits), true)),
        }
    }

    /// The offset before which everything goes, in a list with these bounds. It may lie past the
    /// end.
    pub(crate) fn offset(self, view: TopicView<'_>, limits: &Limits) -> u64 {
        match self {
            Upto::Home { first, .. } => first.next,
            Upto::Window(bytes) => view.after_memory(bytes),
            Upto::Bounds => {
                view.beyond(limits, (0, 0), Some(clock::unix_milliseconds())).max(view.start())
            }
            Upto::Offset(offset) => offset,
            Upto::Time(time) => view.after_older(time),
        }
    }
}

impl Change for ListChange {
    fn size(&self) -> usize {
        record_size(self.topic.len())
    }

    fn accept(&mut self, locked: &mut Locked<'_>, frame: Option<&mut Frame>) -> Result<()> {
        let topic = &*self.topic;
        let unknown = || Refusal::UnknownTopic(topic.to_owned());
        let Locked { admission, lists } = locked;
        let Admission { topics, memory, limits, .. } = &mut **admission;
        let state = topics.get_mut(topic);
        let (stream, event) = match (&self.change, state) {
            (TopicChange::Create, _) => {
                let stream = StreamId::random();
                admission.create(topic, stream, false)?;
                (stream, Event::Create)
            }
            (TopicChange::Delete, state) => {
                let deleted = state.filter(|state| state.mirror || !self.is_mirror);
                (deleted.ok_or(Refusal::NoTopic)?.stream, Event::Delete)
            }
            (TopicChange::Trim(upto), state) => {
                let (state, list) = state.zip(lists.get(topic)).ok_or_else(unknown)?;
                let limits = state.limits(limits);
                if *upto == Upto::Bounds && state.mirror {
                    let now = Some(clock::unix_milliseconds());
                    let first = TopicView::new(state, list).beyond(&limits, (0, 0), now);
                    state.home_begins(first, None);
                }
                let point = upto.point(topic, TopicView::new(state, list), &limits)?;
                if point.offset <= state.accepted_start.offset {
                    return Ok(());
                }
                state.trim(point, memory);
                (state.stream, state.trim_event())
            }
            (TopicChange::SetBounds(change), state) => {
                let state = state.filter(|state| !state.mirror).ok_or_else(unknown)?;
                (state.stream, Event::Bounds(state.bounds.with(change)))
            }
        };
        let Some(frame) = frame else { return Ok(()) };
        frame.add(&Record::new(topic, stream, event));
        if let (Some(shared), Some(them)) = (self.shared, &admission.dependents) {
            them.write_suspended(topic, shared, frame);
        }
        Ok(())
    }

    fn apply(&mut self, locked: &mut Locked<'_>) -> Garbage {
        let topic = &*self.topic;
        match &self.change {
            TopicChange::Create => locked.begin_list(topic),
            TopicChange::Delete => {
                let Locked { admission, lists } = locked;
                match (&admission.dependents, self.shared) {
                    (None, _) => {}
                    (Some(them), Some(shared)) => them.suspend(topic, shared),
                    (Some(them), None) => admission.memory.give_back(them.end(topic)),
                }
                return (admission.remove(topic), Vec::from_iter(lists.remove(topic)));
            }
            TopicChange::Trim(_) => {
                return (None, vec![locked.apply_trim(topic, clock::unix_milliseconds())]);
            }
            TopicChange::SetBounds(change) => {
                if let Some((state, _)) = locked.topic(topic) {
                    state.bounds = state.bounds.with(change);
                }
            }
        }
        Garbage::default()
    }

    fn undo(&mut self, locked: &mut Locked<'_>) {
        locked.reset(&self.topic);
    }

    fn is_alone(&self) -> bool {
        match self.change {
            // The list may go on behind its end: what is accepted at the same time would not
            // follow.
            TopicChange::Trim(upto) => matches!(upto, Upto::Home { .. }),
            TopicChange::Delete | TopicChange::SetBounds(_) => true,
            TopicChange::Create => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Append, Batch, Memory, Mirrored, Publisher, Sequence, entry};

    /// Bytes that a change adds to a frame.
    fn size_in_a_frame(change: &mut dyn Change) -> usize {
        let mut frame = Frame::default();
        frame.clear();
        let before = frame.size();
        let mut admission = Admission::new(Memory::new(u64::MAX));
        let mut locked = Locked { admission: &mut admission, lists: &mut Lists::new() };
        change.accept(&mut locked, Some(&mut frame)).unwrap();
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
            Box::new(ListChange { topic: long.clone(), ..ListChange::default() }),
            Box::new(Mirrored { topic: long.clone(), from, entries }),
        ];
        for (index, mut change) in changes.into_iter().enumerate() {
            let said = change.size();
            let taken = size_in_a_frame(&mut *change);
            assert!(taken > 0 && taken <= said, "{taken} bytes, not {said}: change {index}");
        }
    }
}
