//! Lasting subscriptions: those that have a name, and outlive their connection.
//!
//! A name has a position in each of its topics: everything before it is acknowledged. The newest
//! connection of a name has it; an older one keeps its other subscriptions.
//!
//! # Guarantee
//!
//! A position is looked up when the journal takes it, not when somebody asks to keep it. So what is
//! on disk is what was true at that point of the journal, and an acknowledgement that is kept late
//! overtakes neither the end of its subscription nor the beginning of the next.
//!
//! # Not here
//!
//! When something is acknowledged: JSON subscribers say so, text subscribers by having been
//! written to (`session.rs`). When it is kept (`mod.rs`).

use crate::refusal::Refusal;
use crate::store::admission::Admission;
use crate::store::change::{Change, Garbage, Lists, record_size};
use crate::store::journal::{Frame, Record};
use crate::store::memory;
use crate::store::replay::Positions;
use crate::store::stream::{Cursor, StreamId};
use common::limits::SUBSCRIBERS_MAX;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All lasting subscriptions of the broker.
#[derive(Default)]
pub(crate) struct LastingSubscriptions {
    /// Held to look something up or to note it; innermost of all locks.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    names: HashMap<Arc<str>, Name>,
    /// How many positions all names have.
    count: usize,
}

/// What belongs to a name.
#[derive(Default)]
struct Name {
    /// The number of the session that has the name now.
    holder: Option<u64>,
    positions: HashMap<Arc<str>, Position>,
    /// Topics whose position moved since that was last kept on disk.
    moved: HashSet<Arc<str>>,
}

struct Position {
    /// The first message that is not acknowledged.
    cursor: Cursor,
    /// Whether it is on the account of memory.
    counted: bool,
    /// Whether its beginning is on disk.
    kept: bool,
    /// Whether it ends as soon as that is on disk.
    ending: bool,
}

impl LastingSubscriptions {
    /// Subscriptions as they were kept.
    pub(crate) fn restored(positions: Positions) -> LastingSubscriptions {
        let mut state = State::default();
        for (name, positions) in positions.into_iter().filter(|(_, them)| !them.is_empty()) {
            state.count += positions.len();
            let kept = |cursor| Position { cursor, counted: true, kept: true, ending: false };
            let positions = positions.into_iter().map(|(topic, it)| (topic, kept(it))).collect();
            state.names.insert(name, Name { positions, ..Name::default() });
        }
        LastingSubscriptions { state: Mutex::new(state) }
    }

    /// Memory that they take.
    pub(crate) fn size(&self) -> u64 {
        let state = self.lock();
        let of = |(name, it): (&Arc<str>, &Name)| {
            it.positions.keys().map(|topic| size(name, topic)).sum::<u64>()
        };
        state.names.iter().map(of).sum()
    }

    /// Gives a name to a session. Gives the number of the session that had it before, if that is
    /// another.
    ///
    /// # Errors
    ///
    /// Where there are as many subscriptions as there may be.
    pub(super) fn hold(&self, name: &str, session: u64) -> Result<Option<u64>, Refusal> {
        let mut state = self.lock();
        if !state.names.contains_key(name) {
            state.check_count()?;
        }
        let before = state.names.entry(name.into()).or_default().holder.replace(session);
        Ok(before.filter(|before| *before != session))
    }

    /// Takes a name back from a session that ends, if it still has it.
    pub(super) fn release(&self, name: &str, session: u64) {
        let mut state = self.lock();
        if let Some(held) = state.names.get_mut(name).filter(|it| it.holder == Some(session)) {
            held.holder = None;
            state.forget_unused(name);
        }
    }

    /// Subscribes a name to a topic: where it goes on. The first time that is `begin`, for
    /// everything before is then taken as acknowledged. Also says whether that is on disk; if not,
    /// whoever subscribes has to keep it.
    ///
    /// # Errors
    ///
    /// Where there are as many subscriptions as there may be.
    pub(super) fn subscribe(
        &self,
        name: &str,
        topic: &str,
        begin: Cursor,
    ) -> Result<(Cursor, bool), Refusal> {
        let mut state = self.lock();
        let known = state.position(name, topic);
        match known {
            Some(Position { cursor, kept, ending: false, .. }) => return Ok((*cursor, *kept)),
            // The end that is under way finds that it has begun again.
            Some(ending) => {
                *ending = Position { cursor: begin, kept: false, ending: false, ..*ending };
                return Ok((begin, false));
            }
            None => state.check_count()?,
        }
        state.count += 1;
        let begun = Position { cursor: begin, counted: false, kept: false, ending: false };
        state.names.entry(name.into()).or_default().positions.insert(topic.into(), begun);
        Ok((begin, false))
    }

    /// Notes that a subscription ends. Returns whether there is one.
    pub(super) fn begin_end(&self, name: &str, topic: &str) -> bool {
        let mut state = self.lock();
        let position = state.position(name, topic);
        position.map(|position| position.ending = true).is_some()
    }

    /// Forgets the positions in lists of a topic that are gone: all but those in `present`. Gives
    /// the memory that they took.
    pub(super) fn end_topic(&self, topic: &str, present: StreamId) -> u64 {
        let mut state = self.lock();
        let ended =
            |it: &Name| it.positions.get(topic).is_some_and(|it| it.cursor.stream != present);
        let names = state.names.iter().filter(|(_, it)| ended(it));
        let names: Vec<_> = names.map(|(name, _)| Arc::clone(name)).collect();
        names.iter().map(|name| state.remove(name, topic)).sum()
    }

    /// The positions that moved since the last call, as what is to be kept.
    pub(super) fn take_moved(&self) -> Vec<Key> {
        let mut state = self.lock();
        let mut moved = Vec::new();
        for (name, it) in &mut state.names {
            moved.extend(it.moved.drain().map(|topic| Key { name: Arc::clone(name), topic }));
        }
        moved
    }

    /// Notes once more that these positions moved: they could not be kept.
    pub(super) fn put_back(&self, keys: &[Key]) {
        let mut state = self.lock();
        for Key { name, topic } in keys {
            if let Some(it) = state.names.get_mut(name)
                && it.positions.contains_key(topic)
            {
                it.moved.insert(Arc::clone(topic));
            }
        }
    }

    /// The number of the session that has the name.
    pub(super) fn holder(&self, name: &str) -> Option<u64> {
        self.lock().names.get(name)?.holder
    }

    /// The topics of a name.
    pub(crate) fn topics(&self, name: &str) -> Vec<Arc<str>> {
        let state = self.lock();
        let positions = state.names.get(name).map(|it| it.positions.keys());
        positions.into_iter().flatten().cloned().collect()
    }

    /// Notes that everything before `cursor` is acknowledged. A position never goes back within
    /// its list. Returns whether there is such a subscription.
    pub(crate) fn acknowledge(&self, name: &str, topic: &str, cursor: Cursor) -> bool {
        let mut state = self.lock();
        let Some(it) = state.names.get_mut(name) else { return false };
        let Some(known) = it.positions.get_mut(topic).filter(|it| !it.ending) else {
            return false;
        };
        if known.cursor.stream != cursor.stream || known.cursor.next < cursor.next {
            known.cursor = cursor;
            it.moved.insert(topic.into());
        }
        true
    }

    /// The same for what a session was sent, which may have lost the name since.
    pub(super) fn sent(&self, name: &str, topic: &str, cursor: Cursor, session: u64) {
        if self.holder(name) == Some(session) {
            self.acknowledge(name, topic, cursor);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Positions are whole after any panic: each is changed in one step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn check_count(&self) -> Result<(), Refusal> {
        match self.count {
            ..SUBSCRIBERS_MAX => Ok(()),
            _ => Err(Refusal::TooManySubscribers { subscribers_max: SUBSCRIBERS_MAX }),
        }
    }

    fn position(&mut self, name: &str, topic: &str) -> Option<&mut Position> {
        self.names.get_mut(name)?.positions.get_mut(topic)
    }

    /// Removes a position. Gives the memory that it took.
    fn remove(&mut self, name: &str, topic: &str) -> u64 {
        let Some(it) = self.names.get_mut(name) else { return 0 };
        it.moved.remove(topic);
        let Some(removed) = it.positions.remove(topic) else { return 0 };
        self.count -= 1;
        self.forget_unused(name);
        if removed.counted { size(name, topic) } else { 0 }
    }

    fn forget_unused(&mut self, name: &str) {
        if self.names.get(name).is_some_and(|it| it.positions.is_empty() && it.holder.is_none()) {
            self.names.remove(name);
        }
    }
}

/// Memory that a position takes.
fn size(name: &str, topic: &str) -> u64 {
    memory::publisher_size(name) + topic.len() as u64
}

/// Which subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) name: Arc<str>,
    pub(super) topic: Arc<str>,
}

/// What is true of these subscriptions is to be kept.
#[derive(Default)]
pub(super) struct Keep {
    lasting: Arc<LastingSubscriptions>,
    keys: Vec<Key>,
    /// Whether they begin, and are none if that cannot be kept.
    begins: bool,
    /// Of each of them, whether the journal has a position of it now, or its end.
    written: Vec<bool>,
    pub(super) refused: Option<Refusal>,
}

impl Keep {
    pub(super) fn new(lasting: &Arc<LastingSubscriptions>, keys: Vec<Key>, begins: bool) -> Keep {
        let (written, refused) = Default::default();
        Keep { lasting: Arc::clone(lasting), keys, begins, written, refused }
    }
}

impl Change for Keep {
    fn size(&self) -> usize {
        let keys = self.keys.iter();
        keys.map(|key| record_size(key.name.len() + key.topic.len())).sum()
    }

    fn accept(&mut self, admission: &mut Admission, _: &Lists, mut frame: Option<&mut Frame>) {
        let mut state = self.lasting.lock();
        for Key { name, topic } in &self.keys {
            let memory = &mut admission.memory;
            let position = state.position(name, topic).filter(|position| !position.ending);
            let room = position.map_or(Ok(None), |position| {
                if !position.counted {
                    memory.check(size(name, topic))?;
                    memory.used += size(name, topic);
                    position.counted = true;
                }
                Ok(Some(position.cursor))
            });
            let cursor = room.unwrap_or_else(|refusal| {
                self.refused = Some(refusal);
                state.remove(name, topic);
                None
            });
            self.written.push(cursor.is_some());
            let (subscriber, topic) = (&**name, &**topic);
            let record = cursor.map_or(Record::End { subscriber, topic }, |it| Record::Position {
                subscriber,
                topic,
                stream: it.stream,
                next: it.next,
            });
            if let Some(frame) = &mut frame {
                frame.add(&record);
            }
        }
    }

    fn apply(&mut self, admission: &mut Admission, _: &mut Lists) -> Garbage {
        let mut state = self.lasting.lock();
        for (Key { name, topic }, has_position) in self.keys.iter().zip(&self.written) {
            let Some(position) = state.position(name, topic) else { continue };
            if *has_position {
                position.kept = true;
            } else if position.ending {
                admission.memory.give_back(state.remove(name, topic));
            }
        }
        Garbage::default()
    }

    /// What was to begin is forgotten, and what was to end goes on.
    fn undo(&mut self, admission: &mut Admission, refusal: &Refusal) {
        self.refused = Some(refusal.clone());
        let mut state = self.lasting.lock();
        for Key { name, topic } in &self.keys {
            let Some(position) = state.position(name, topic) else { continue };
            position.ending = false;
            if self.begins && !position.kept {
                admission.memory.give_back(state.remove(name, topic));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::Memory;

    fn at(next: u64) -> Cursor {
        Cursor { stream: StreamId::NONE, next }
    }

    fn key(name: &str, topic: &str) -> Vec<Key> {
        vec![Key { name: name.into(), topic: topic.into() }]
    }

    /// Accepts, and applies or takes back.
    fn change(mut keep: Keep, admission: &mut Admission, is_stored: bool) -> Keep {
        keep.accept(admission, &Lists::new(), None);
        if is_stored {
            keep.apply(admission, &mut Lists::new());
        } else {
            keep.undo(admission, &Refusal::NotReady);
        }
        keep
    }

    #[test]
    fn a_name_goes_on_where_it_acknowledged() {
        let lasting = LastingSubscriptions::default();
        assert_eq!(lasting.subscribe("ann", "a", at(5)).unwrap(), (at(5), false));
        assert_eq!(lasting.subscribe("ann", "a", at(9)).unwrap(), (at(5), false));
        assert!(lasting.acknowledge("ann", "a", at(7)));
        assert!(lasting.acknowledge("ann", "a", at(6)));
        assert_eq!(lasting.subscribe("ann", "a", at(9)).unwrap(), (at(7), false));
        assert!(!lasting.acknowledge("ann", "b", at(7)));
        assert!(!lasting.acknowledge("bob", "a", at(7)));
        let other = Cursor { stream: StreamId::random(), next: 1 };
        assert!(lasting.acknowledge("ann", "a", other), "another list has its own start");
        assert_eq!(lasting.subscribe("ann", "a", at(9)).unwrap(), (other, false));
    }

    #[test]
    fn positions_that_moved_are_kept_once() {
        let lasting = LastingSubscriptions::default();
        lasting.subscribe("ann", "a", at(5)).unwrap();
        assert!(lasting.take_moved().is_empty());
        lasting.acknowledge("ann", "a", at(6));
        lasting.acknowledge("ann", "a", at(7));
        let moved = lasting.take_moved();
        assert_eq!(moved, key("ann", "a"));
        assert!(lasting.take_moved().is_empty());
        lasting.put_back(&moved);
        assert_eq!(lasting.take_moved(), moved);
    }

    /// All orders in which an acknowledgement, an end and a beginning may come to the journal.
    #[test]
    fn what_comes_late_to_the_journal_overtakes_nothing() {
        let lasting = Arc::new(LastingSubscriptions::default());
        let mut admission = Admission::new(Memory::new(u64::MAX));
        let keep = |begins| Keep::new(&lasting, key("ann", "a"), begins);
        lasting.subscribe("ann", "a", at(0)).unwrap();
        change(keep(true), &mut admission, true);
        assert_eq!(admission.memory.used, size("ann", "a"));
        lasting.acknowledge("ann", "a", at(70));
        // Taken from the table before the end, and written after it.
        let late = keep(false);
        assert!(lasting.begin_end("ann", "a"));
        change(keep(false), &mut admission, true);
        assert_eq!(admission.memory.used, 0);
        assert_eq!(lasting.subscribe("ann", "a", at(5)).unwrap(), (at(5), false));
        change(keep(true), &mut admission, true);
        let late = change(late, &mut admission, true);
        assert_eq!(late.written, [true]);
        assert_eq!(lasting.subscribe("ann", "a", at(0)).unwrap(), (at(5), true));
        // An end that is accepted when it has begun again ends nothing.
        assert!(lasting.begin_end("ann", "a"));
        assert_eq!(lasting.subscribe("ann", "a", at(8)).unwrap(), (at(8), false));
        assert_eq!(change(keep(false), &mut admission, true).written, [true]);
        assert_eq!(lasting.subscribe("ann", "a", at(0)).unwrap(), (at(8), true));
    }

    #[test]
    fn what_was_not_stored_has_not_happened() {
        let lasting = Arc::new(LastingSubscriptions::default());
        let mut admission = Admission::new(Memory::new(size("ann", "a")));
        let keep = |topic, begins| Keep::new(&lasting, key("ann", topic), begins);
        lasting.subscribe("ann", "a", at(5)).unwrap();
        assert!(change(keep("a", true), &mut admission, false).refused.is_some());
        assert!(lasting.lock().names.is_empty());
        assert_eq!(admission.memory.used, 0);
        lasting.subscribe("ann", "a", at(7)).unwrap();
        change(keep("a", true), &mut admission, true);
        assert!(lasting.begin_end("ann", "a"));
        change(keep("a", false), &mut admission, false);
        assert_eq!(lasting.subscribe("ann", "a", at(9)).unwrap(), (at(7), true));
        // There is memory for one.
        lasting.subscribe("ann", "b", at(0)).unwrap();
        assert!(matches!(
            change(keep("b", true), &mut admission, true).refused,
            Some(Refusal::Full { .. })
        ));
        assert_eq!(lasting.topics("ann"), ["a".into()]);
    }

    #[test]
    fn the_end_of_a_topic_ends_its_subscriptions() {
        let lasting = LastingSubscriptions::default();
        let (old, new) = (StreamId::random(), StreamId::random());
        for (name, stream) in [("ann", old), ("bob", new)] {
            lasting.subscribe(name, "a", Cursor { stream, next: 1 }).unwrap();
        }
        lasting.end_topic("a", new);
        assert!(lasting.topics("ann").is_empty());
        assert_eq!(lasting.topics("bob"), ["a".into()]);
    }

    #[test]
    fn the_newest_session_of_a_name_has_it_until_it_ends() {
        let lasting = LastingSubscriptions::default();
        assert_eq!(lasting.hold("ann", 1).unwrap(), None);
        lasting.subscribe("ann", "a", at(5)).unwrap();
        assert_eq!(lasting.hold("ann", 1).unwrap(), None);
        assert_eq!(lasting.hold("ann", 2).unwrap(), Some(1));
        lasting.sent("ann", "a", at(9), 1);
        lasting.release("ann", 1);
        assert_eq!(lasting.holder("ann"), Some(2));
        assert_eq!(lasting.subscribe("ann", "a", at(0)).unwrap().0, at(5), "1 has it no more");
        lasting.sent("ann", "a", at(9), 2);
        assert_eq!(lasting.subscribe("ann", "a", at(0)).unwrap().0, at(9));
        lasting.release("ann", 2);
        lasting.end_topic("a", StreamId::random());
        assert!(lasting.lock().names.is_empty(), "nothing is left behind");
    }
}
