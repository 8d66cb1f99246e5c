//! What becomes of lasting subscriptions whose list is gone: they end with a topic that is deleted,
//! and wait where another list takes its place.

use super::{LastingSubscriptions, Name, Position};
use crate::push::{Listener, Push};
use crate::store::journal::{Event, Frame, Record};
use crate::store::{Cursor, Dependents, StreamId};
use common::clock;
use std::sync::Arc;

impl LastingSubscriptions {
    /// The largest offset at which anybody stands in a topic.
    pub(crate) fn last_in(&self, topic: &str) -> Option<u64> {
        let table = self.table.lock();
        table.names.values().filter_map(|it| Some(it.positions.get(topic)?.cursor.next)).max()
    }

    /// Has those that wait for a list in the place of another go on in it; it ends at `end`.
    pub(crate) fn settle(&self, topic: &str, end: Cursor) {
        let mut table = self.table.lock();
        let positions = table.names.values_mut().filter_map(|it| it.positions.get_mut(topic));
        positions.for_each(|position| position.settle(end));
    }

    /// Where a subscriber goes on in a list that it has read nothing of, and that begins at
    /// `begin`. Nothing while that is not known.
    pub(in crate::push) fn next_in(&self, name: &str, topic: &str, begin: Cursor) -> Option<u64> {
        match self.table.lock().position(name, topic) {
            Some(Position { suspended: true, .. }) => None,
            Some(it) if it.cursor.stream == begin.stream => Some(it.cursor.next.max(begin.next)),
            _ => Some(begin.next),
        }
    }
}

impl Position {
    pub(super) fn settle(&mut self, end: Cursor) {
        if self.suspended {
            let next = self.cursor.next.min(end.next);
            (self.cursor, self.suspended, self.moved) = (Cursor { next, ..end }, false, true);
        }
    }
}

impl Dependents for Arc<LastingSubscriptions> {
    /// Those that were in the journal by then.
    fn end(&self, topic: &str) -> u64 {
        let mut table = self.table.lock();
        let is_ended = |it: &Name| it.positions.get(topic).is_some_and(|it| it.counted);
        let names = table.names.iter().filter(|(_, it)| is_ended(it));
        let names: Vec<_> = names.map(|(name, _)| Arc::clone(name)).collect();
        names.iter().map(|name| table.remove(name, topic)).sum()
    }

    fn write_suspended(&self, topic: &str, shared: u64, frame: &mut Frame) {
        let table = self.table.lock();
        let now = clock::unix_milliseconds();
        for (subscriber, it) in &table.names {
            let Some(position) = it.positions.get(topic).filter(|it| it.counted) else { continue };
            let (stream, next) = (StreamId::NONE, position.cursor.next.min(shared));
            let seen = it.seen(now);
            let event = Event::Position { subscriber, next, seen };
            frame.add(&Record::new(topic, stream, event));
        }
    }

    fn suspend(&self, topic: &str, shared: u64) {
        let mut table = self.table.lock();
        for it in table.names.values_mut().filter_map(|it| it.positions.get_mut(topic)) {
            // One that waits already waits for a list that took the place of another, too.
            if it.suspended || it.cursor.stream != StreamId::NONE {
                let next = it.cursor.next.min(shared);
                (it.cursor, it.suspended) = (Cursor { stream: StreamId::NONE, next }, true);
            }
        }
    }
}

impl Push {
    /// Has those who follow a topic go on with the list that takes the place of this one, which is
    /// gone: even if it has the same id, it is another.
    pub(crate) fn replaced(&self, topic: &str) {
        for listener in self.listeners.of(topic).iter().flat_map(|all| all.iter()) {
            if let Listener::Session(session, index) = listener {
                session.with(|it| it.lose(*index, topic));
            }
        }
    }
}
