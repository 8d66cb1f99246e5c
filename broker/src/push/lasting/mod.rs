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
//! written to (`session.rs`). How beginnings, ends and acknowledgements get to disk (`keep.rs`).
//! What becomes of them when their topic is deleted or replaced (`replaced.rs`). That several
//! brokers share them (`shared.rs`).

mod keep;
mod replaced;
mod shared;

pub(crate) use shared::SharedPositions;

use crate::refusal::{Refusal, Result};
use crate::store::{Admission, Cursor, Positions, StreamId, subscription_size};
use common::clock;
use common::limits::{CONNECTION_SUBSCRIBERS_MAX, SUBSCRIBERS_MAX};
use common::lock::Mutex;
use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::{Arc, Condvar, OnceLock};
use std::time::Instant;

/// How old the time may be that is on disk of when a subscriber was last seen, in milliseconds.
const SEEN_INTERVAL: u64 = 60 * 60 * 1000;

/// All lasting subscriptions of the broker.
#[derive(Default)]
pub(crate) struct LastingSubscriptions {
    /// Held to look something up or to note it; innermost of all locks. Positions are whole after
    /// any panic: each is changed in one step.
    state: Mutex<State>,
    /// Where they are kept, if other brokers share them.
    shared: OnceLock<Arc<dyn SharedPositions>>,
    /// Woken when a name's turn is over.
    turns: Condvar,
}

/// Invariant: a name is there while it has a position, or was taken from other brokers a moment
/// ago; it is held where its holder says so.
#[derive(Default)]
struct State {
    names: HashMap<Arc<str>, Name>,
    /// What belongs to each session that has, or had, a name.
    held: HashMap<u64, Held>,
    /// How many positions all names have.
    count: usize,
    /// Names of which something is asked where they are shared.
    asked: HashSet<Arc<str>>,
}

#[derive(Default)]
struct Held {
    /// The names that it took; others may have some of them now.
    names: HashSet<Arc<str>>,
    /// How many subscriptions it has begun.
    begun: usize,
}

/// What belongs to a name.
#[derive(Default)]
struct Name {
    /// The number of the session that has the name now.
    holder: Option<u64>,
    /// When a session last had it, in Unix milliseconds.
    seen: u64,
    /// The same as disk has it.
    seen_kept: u64,
    /// The number of its last taking, where other brokers share it.
    fence: Option<u64>,
    /// Since when no connection here has it, where that is known.
    idle_since: Option<Instant>,
    positions: HashMap<Arc<str>, Position>,
}

#[derive(Default)]
struct Position {
    /// The first message that is not acknowledged.
    cursor: Cursor,
    /// Whether the journal took it: it is on the account of memory.
    counted: bool,
    /// Whether its beginning is on disk.
    kept: bool,
    /// Whether it ends as soon as that is on disk.
    ending: bool,
    /// Whether it moved since that was last to be kept on disk.
    moved: bool,
    /// Whether it waits for another list in the place of the one that it was in: it goes on at
    /// this offset or, where that ends before, at its end.
    suspended: bool,
}

/// Which subscription.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) name: Arc<str>,
    pub(crate) topic: Arc<str>,
}

/// How a name goes on with a topic.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) cursor: Cursor,
    /// Whether that is on disk; if not, whoever subscribes has to keep it.
    pub(super) is_kept: bool,
    /// The number of the session that had the name before, if that is another.
    pub(super) before: Option<u64>,
}

/// Where a lasting subscription stands.
pub(crate) struct Standing {
    pub(crate) key: Key,
    pub(crate) cursor: Cursor,
    pub(crate) is_connected: bool,
    /// When its subscriber was last connected, in Unix milliseconds.
    pub(crate) seen: u64,
    /// How many messages are still to come.
    pub(crate) lag: u64,
}

impl LastingSubscriptions {
    /// Subscriptions as they were kept.
    pub(crate) fn restored(positions: Positions) -> LastingSubscriptions {
        let mut state = State::default();
        for (name, positions) in positions.into_iter().filter(|(_, them)| !them.is_empty()) {
            state.count += positions.len();
            let seen = positions.values().map(|(_, seen)| *seen).max().unwrap_or_default();
            // Older brokers did not say it.
            let seen = if seen == 0 { clock::unix_milliseconds() } else { seen };
            let kept = |cursor: Cursor| {
                let suspended = cursor.stream == StreamId::NONE && cursor.next > 0;
                Position { cursor, counted: true, kept: true, suspended, ..Position::default() }
            };
            let positions = positions.into_iter().map(|(topic, it)| (topic, kept(it.0))).collect();
            let known = Name { seen, seen_kept: seen, positions, ..Name::default() };
            state.names.insert(name, known);
        }
        LastingSubscriptions { state: Mutex::new(state), ..LastingSubscriptions::default() }
    }

    /// Memory that they take.
    pub(crate) fn size(&self) -> u64 {
        let state = self.state.lock();
        let of = |(name, it): (&Arc<str>, &Name)| {
            it.positions.keys().map(|topic| subscription_size(name, topic)).sum::<u64>()
        };
        state.names.iter().map(of).sum()
    }

    /// Subscribes a name to a topic, and gives the name to a session. The first time it begins at
    /// `begin`, for everything before is then taken as acknowledged.
    ///
    /// # Errors
    ///
    /// Where there are as many subscriptions as there may be, or the session has begun as many as
    /// one may.
    pub(super) fn subscribe(
        &self,
        name: &str,
        topic: &str,
        begin: Cursor,
        session: u64,
    ) -> Result<Begun> {
        let mut state = self.state.lock();
        let begun = state.held.get(&session).map_or(0, |held| held.begun);
        let full = if begun >= CONNECTION_SUBSCRIBERS_MAX {
            Some(("a connection may begin", CONNECTION_SUBSCRIBERS_MAX))
        } else if state.count >= SUBSCRIBERS_MAX {
            Some(("all together may have", SUBSCRIBERS_MAX))
        } else {
            None
        };
        let (cursor, is_kept) = match state.position(name, topic) {
            Some(Position { cursor, kept, ending: false, .. }) => (*cursor, *kept),
            // The end that is under way finds that it has begun again.
            Some(ending) => {
                let Position { counted, moved, .. } = *ending;
                *ending = Position { cursor: begin, counted, moved, ..Position::default() };
                (begin, false)
            }
            None => {
                if let Some((who, subscribers_max)) = full {
                    return Err(Refusal::TooManySubscribers { who, subscribers_max });
                }
                state.count += 1;
                state.held.entry(session).or_default().begun += 1;
                let it = state.names.entry(name.into()).or_default();
                it.positions
                    .insert(topic.into(), Position { cursor: begin, ..Position::default() });
                (begin, false)
            }
        };
        Ok(Begun { cursor, is_kept, before: state.hold(name, session) })
    }

    /// The subscriptions of a session's names that moved.
    pub(super) fn moved_of(&self, session: u64) -> Vec<Key> {
        let state = self.state.lock();
        let held = state.held.get(&session).into_iter().flat_map(|held| &held.names);
        let names = held.filter_map(|name| Some((name, state.names.get(name)?)));
        let names = names.filter(|(_, it)| it.holder == Some(session));
        names.flat_map(|(name, it)| it.keys_of(name, |position| position.moved)).collect()
    }

    /// Takes the names back from a session that ends.
    pub(super) fn release(&self, session: u64) {
        let mut state = self.state.lock();
        for name in state.held.remove(&session).unwrap_or_default().names {
            if let Some(it) = state.names.get_mut(&name).filter(|it| it.holder == Some(session)) {
                (it.holder, it.seen) = (None, clock::unix_milliseconds());
                it.idle_since = Some(Instant::now());
            }
        }
    }

    /// Notes of those that are there that they end. With a time, only of those whose subscriber is
    /// not connected, and was not since then.
    pub(super) fn begin_end(&self, keys: &[Key], unseen_since: Option<u64>) -> Vec<Key> {
        let mut state = self.state.lock();
        let mut begin = |key: &&Key| {
            let Some(it) = state.names.get_mut(&key.name) else { return false };
            if unseen_since.is_some_and(|time| !it.is_unseen_since(time)) {
                return false;
            }
            it.positions.get_mut(&key.topic).map(|position| position.ending = true).is_some()
        };
        keys.iter().filter(&mut begin).cloned().collect()
    }

    /// Those whose subscriber is not connected, and was not since this time.
    pub(super) fn unseen_since(&self, time: u64) -> Vec<Key> {
        let state = self.state.lock();
        let unseen = state.names.iter().filter(|(_, it)| it.is_unseen_since(time));
        unseen.flat_map(|(name, it)| it.keys(name)).collect()
    }

    /// What is to be kept: positions that moved, and one of each name of which disk does not know
    /// that it was seen lately.
    pub(super) fn moved(&self) -> Vec<Key> {
        let (state, now) = (self.state.lock(), clock::unix_milliseconds());
        let mut moved = Vec::new();
        for (name, it) in &state.names {
            let mut is_due = it.seen(now) >= it.seen_kept + SEEN_INTERVAL;
            for (topic, position) in &it.positions {
                if position.moved || mem::take(&mut is_due) {
                    moved.push(Key { name: Arc::clone(name), topic: Arc::clone(topic) });
                }
            }
        }
        moved
    }

    /// The number of the session that has the name.
    pub(super) fn holder(&self, name: &str) -> Option<u64> {
        self.state.lock().names.get(name)?.holder
    }

    /// The subscriptions of a name.
    pub(crate) fn of(&self, name: &str) -> Vec<Key> {
        let state = self.state.lock();
        let found = state.names.get_key_value(name);
        found.into_iter().flat_map(|(name, it)| it.keys(name)).collect()
    }

    /// Where all of them stand; how far behind is for the caller to find out.
    pub(super) fn standings(&self) -> Vec<Standing> {
        let (state, now) = (self.state.lock(), clock::unix_milliseconds());
        let mut standings = Vec::new();
        for (name, it) in &state.names {
            let (is_connected, seen) = (it.holder.is_some(), it.seen(now));
            standings.extend(it.keys(name).zip(it.positions.values()).map(|(key, position)| {
                Standing { key, cursor: position.cursor, is_connected, seen, lag: 0 }
            }));
        }
        standings
    }

    /// Notes that everything before `cursor` is acknowledged. A position never goes back within
    /// its list. Gives where it stands then, if there is such a subscription.
    pub(crate) fn acknowledge(&self, name: &str, topic: &str, cursor: Cursor) -> Option<Cursor> {
        let mut state = self.state.lock();
        let known = state.position(name, topic).filter(|it| !it.ending)?;
        // Of the list that is gone.
        let is_late = known.suspended;
        if !is_late && (known.cursor.stream != cursor.stream || known.cursor.next < cursor.next) {
            (known.cursor, known.moved) = (cursor, true);
        }
        Some(known.cursor)
    }

    /// The same for what a session was sent, which may have lost the name since.
    pub(super) fn sent(&self, name: &str, topic: &str, cursor: Cursor, session: u64) {
        if self.holder(name) == Some(session) {
            self.acknowledge(name, topic, cursor);
        }
    }
}

impl State {
    fn position(&mut self, name: &str, topic: &str) -> Option<&mut Position> {
        self.names.get_mut(name)?.positions.get_mut(topic)
    }

    /// Gives a name to a session. Gives the number of the one that had it before, if that is
    /// another.
    fn hold(&mut self, name: &str, session: u64) -> Option<u64> {
        let name = Arc::clone(self.names.get_key_value(name)?.0);
        let before = self.names.get_mut(&name)?.holder.replace(session);
        self.held.entry(session).or_default().names.insert(name);
        before.filter(|before| *before != session)
    }

    /// Accepts what is true of a subscription: where it stands and when its subscriber was seen;
    /// nothing where it ends or has ended.
    fn accept(&mut self, key: &Key, admission: &mut Admission) -> Result<Option<(Cursor, u64)>> {
        let Admission { topics, memory, .. } = admission;
        let Some(it) = self.names.get_mut(&key.name) else { return Ok(None) };
        let Some(position) = it.positions.get_mut(&key.topic).filter(|it| !it.ending) else {
            return Ok(None);
        };
        let cursor = position.cursor;
        let present = topics.get(&*key.topic).map(|topic| topic.stream);
        let accepted = match position.counted {
            // The topic was deleted since it was looked at.
            _ if cursor.stream != StreamId::NONE && present != Some(cursor.stream) => {
                Err(Refusal::OtherStream)
            }
            true => Ok(()),
            false => {
                let size = subscription_size(&key.name, &key.topic);
                memory.check(size).map(|()| memory.used += size)
            }
        };
        if let Err(refusal) = accepted {
            memory.give_back(self.remove(&key.name, &key.topic));
            return Err(refusal);
        }
        (position.counted, position.moved) = (true, false);
        it.seen = it.seen(clock::unix_milliseconds());
        it.seen_kept = it.seen;
        Ok(Some((cursor, it.seen)))
    }

    /// Removes a position, and its name with the last one. Gives the memory that it took.
    fn remove(&mut self, name: &str, topic: &str) -> u64 {
        let Some(it) = self.names.get_mut(name) else { return 0 };
        let Some(removed) = it.positions.remove(topic) else { return 0 };
        self.count -= 1;
        if it.positions.is_empty() {
            self.names.remove(name);
        }
        if removed.counted { subscription_size(name, topic) } else { 0 }
    }
}

impl Name {
    /// When it was last seen.
    fn seen(&self, now: u64) -> u64 {
        if self.holder.is_some() { now } else { self.seen }
    }

    fn is_unseen_since(&self, time: u64) -> bool {
        self.holder.is_none() && self.seen < time
    }

    fn keys(&self, name: &Arc<str>) -> impl Iterator<Item = Key> {
        self.keys_of(name, |_| true)
    }

    fn keys_of(
        &self,
        name: &Arc<str>,
        which: impl Fn(&Position) -> bool,
    ) -> impl Iterator<Item = Key> {
        let those = self.positions.iter().filter(move |(_, position)| which(position));
        those.map(|(topic, _)| Key { name: Arc::clone(name), topic: Arc::clone(topic) })
    }
}

#[cfg(test)]
mod tests {
    use super::keep::Keep;
    use super::*;
    use crate::store::journal::Frame;
    use crate::store::{Change, Dependents, Lists, Memory};

    fn at(next: u64) -> Cursor {
        Cursor { stream: StreamId::NONE, next }
    }

    fn key(name: &str, topic: &str) -> Vec<Key> {
        vec![Key { name: name.into(), topic: topic.into() }]
    }

    /// Where it goes on, and whether that is on disk.
    fn subscribe(
        lasting: &LastingSubscriptions,
        name: &str,
        topic: &str,
        begin: Cursor,
    ) -> (Cursor, bool) {
        let begun = lasting.subscribe(name, topic, begin, 1).unwrap();
        (begun.cursor, begun.is_kept)
    }

    fn begin_end(lasting: &LastingSubscriptions, name: &str, topic: &str) -> bool {
        !lasting.begin_end(&key(name, topic), None).is_empty()
    }

    /// Accepts, and applies or takes back.
    fn change(mut keep: Keep, admission: &mut Admission, is_stored: bool) -> Keep {
        keep.accept(admission, &Lists::new(), None).unwrap();
        if is_stored {
            keep.apply(admission, &mut Lists::new());
        } else {
            keep.undo(admission, &Lists::new());
        }
        keep
    }

    #[test]
    fn a_name_goes_on_where_it_acknowledged() {
        let lasting = LastingSubscriptions::default();
        assert_eq!(subscribe(&lasting, "ann", "a", at(5)), (at(5), false));
        assert_eq!(subscribe(&lasting, "ann", "a", at(9)), (at(5), false));
        assert_eq!(lasting.acknowledge("ann", "a", at(7)), Some(at(7)));
        assert_eq!(lasting.acknowledge("ann", "a", at(6)), Some(at(7)));
        assert_eq!(subscribe(&lasting, "ann", "a", at(9)), (at(7), false));
        assert_eq!(lasting.acknowledge("ann", "b", at(7)), None);
        assert_eq!(lasting.acknowledge("bob", "a", at(7)), None);
        let other = Cursor { stream: StreamId::random(), next: 1 };
        let known = lasting.acknowledge("ann", "a", other);
        assert_eq!(known, Some(other), "another list has its own start");
        assert_eq!(subscribe(&lasting, "ann", "a", at(9)), (other, false));
    }

    #[test]
    fn positions_that_moved_are_kept_once() {
        let lasting = Arc::new(LastingSubscriptions::default());
        let mut admission = Admission::new(Memory::new(u64::MAX));
        let mut keep = |keys, is_stored| {
            change(Keep::new(&lasting, keys, false), &mut admission, is_stored);
        };
        subscribe(&lasting, "ann", "a", at(5));
        keep(key("ann", "a"), true);
        assert!(lasting.moved().is_empty());
        lasting.acknowledge("ann", "a", at(6));
        lasting.acknowledge("ann", "a", at(7));
        assert_eq!(lasting.moved(), key("ann", "a"));
        keep(key("ann", "a"), false);
        assert_eq!(lasting.moved(), key("ann", "a"), "it could not be kept");
        keep(key("ann", "a"), true);
        assert!(lasting.moved().is_empty());
        lasting.acknowledge("ann", "a", at(8));
        assert_eq!(lasting.moved(), key("ann", "a"));
    }

    /// All orders in which an acknowledgement, an end and a beginning may come to the journal.
    #[test]
    fn what_comes_late_to_the_journal_overtakes_nothing() {
        let lasting = Arc::new(LastingSubscriptions::default());
        let mut admission = Admission::new(Memory::new(u64::MAX));
        let keep = |begins| Keep::new(&lasting, key("ann", "a"), begins);
        subscribe(&lasting, "ann", "a", at(0));
        change(keep(true), &mut admission, true);
        assert_eq!(admission.memory.used, subscription_size("ann", "a"));
        lasting.acknowledge("ann", "a", at(70));
        // Taken from the table before the end, and written after it.
        let late = keep(false);
        assert!(begin_end(&lasting, "ann", "a"));
        change(keep(false), &mut admission, true);
        assert_eq!(admission.memory.used, 0);
        assert_eq!(subscribe(&lasting, "ann", "a", at(5)), (at(5), false));
        change(keep(true), &mut admission, true);
        let late = change(late, &mut admission, true);
        assert!(late.written[0].is_some());
        assert_eq!(subscribe(&lasting, "ann", "a", at(0)), (at(5), true));
        // An end that is accepted when it has begun again ends nothing.
        assert!(begin_end(&lasting, "ann", "a"));
        assert_eq!(subscribe(&lasting, "ann", "a", at(8)), (at(8), false));
        assert!(change(keep(false), &mut admission, true).written[0].is_some());
        assert_eq!(subscribe(&lasting, "ann", "a", at(0)), (at(8), true));
    }

    #[test]
    fn what_was_not_stored_has_not_happened() {
        let lasting = Arc::new(LastingSubscriptions::default());
        let mut admission = Admission::new(Memory::new(subscription_size("ann", "a")));
        let keep = |topic, begins| Keep::new(&lasting, key("ann", topic), begins);
        subscribe(&lasting, "ann", "a", at(5));
        change(keep("a", true), &mut admission, false);
        assert!(lasting.state.lock().names.is_empty());
        assert_eq!(admission.memory.used, 0);
        subscribe(&lasting, "ann", "a", at(7));
        change(keep("a", true), &mut admission, true);
        assert!(begin_end(&lasting, "ann", "a"));
        change(keep("a", false), &mut admission, false);
        assert_eq!(subscribe(&lasting, "ann", "a", at(9)), (at(7), true));
        // There is memory for one.
        subscribe(&lasting, "ann", "b", at(0));
        assert!(matches!(
            change(keep("b", true), &mut admission, true).refused,
            Some(Refusal::Full { .. })
        ));
        assert_eq!(lasting.of("ann"), key("ann", "a"));
    }

    #[test]
    fn the_end_of_a_topic_ends_its_subscriptions() {
        let lasting = Arc::new(LastingSubscriptions::default());
        let mut admission = Admission::new(Memory::new(u64::MAX));
        let old = StreamId::random();
        admission.begin("a", old, false);
        for name in ["ann", "bob"] {
            subscribe(&lasting, name, "a", Cursor { stream: old, next: 1 });
        }
        subscribe(&lasting, "dan", "a", at(0));
        change(Keep::new(&lasting, key("ann", "a"), true), &mut admission, true);
        let ended = lasting.end("a");
        admission.remove("a");
        assert_eq!(admission.memory.used, ended, "what the topic took was given back");
        assert!(lasting.of("ann").is_empty());
        // Those that come to the journal behind the deletion.
        let late = change(Keep::new(&lasting, key("bob", "a"), true), &mut admission, true);
        assert!(matches!(late.refused, Some(Refusal::OtherStream)));
        assert!(lasting.of("bob").is_empty());
        let waits = change(Keep::new(&lasting, key("dan", "a"), true), &mut admission, true);
        assert!(waits.refused.is_none(), "it waits for the topic to be there");
        assert_eq!(lasting.of("dan"), key("dan", "a"));
    }

    /// Those who were behind the messages that both lists have go on behind those, others where
    /// they were, and what comes late of the old list moves nobody.
    #[test]
    fn who_reads_a_mirror_goes_on_in_the_list_that_takes_its_place() {
        let lasting = Arc::new(LastingSubscriptions::default());
        let mut admission = Admission::new(Memory::new(u64::MAX));
        let (old, new) = (StreamId::random(), StreamId::random());
        let of = |stream, next| Cursor { stream, next };
        admission.begin("a", old, true);
        for (name, next) in [("ann", 5), ("bob", 15)] {
            subscribe(&lasting, name, "a", of(old, next));
            change(Keep::new(&lasting, key(name, "a"), true), &mut admission, true);
        }
        assert_eq!(lasting.last_in("a"), Some(15));
        let mut frame = Frame::default();
        lasting.write_suspended("a", 10, &mut frame);
        assert!(frame.size() > 2 * "@\tbob\ta\t0000000000000000\t10\t".len());
        lasting.suspend("a", 10);
        admission.remove("a");
        lasting.acknowledge("bob", "a", of(old, 18));
        assert_eq!(lasting.next_in("bob", "a", of(new, 0)), None);
        let kept = change(Keep::new(&lasting, key("bob", "a"), false), &mut admission, true);
        assert!(kept.written[0].is_some());
        // The home may have another list once more before this one is there.
        let bob = [("bob".into(), [("a".into(), (at(10), 1))].into())];
        let twice = Arc::new(LastingSubscriptions::restored(bob.into()));
        twice.suspend("a", 3);
        twice.settle("a", of(new, 8));
        assert_eq!(twice.next_in("bob", "a", of(new, 0)), Some(3));
        // The process may end meanwhile.
        let positions = [("ann", 5), ("bob", 10)]
            .map(|(name, next)| (name.into(), [("a".into(), (at(next), 1))].into()));
        for lasting in [&*lasting, &LastingSubscriptions::restored(positions.into())] {
            lasting.settle("a", of(new, 8));
            let next = |name| lasting.next_in(name, "a", of(new, 0));
            assert_eq!([next("ann"), next("bob")], [Some(5), Some(8)]);
            assert!(lasting.moved().len() >= 2);
            lasting.acknowledge("bob", "a", of(new, 9));
            lasting.settle("a", of(new, 3));
            assert_eq!(next("bob"), Some(9));
        }
    }

    #[test]
    fn the_newest_session_of_a_name_has_it_until_it_ends() {
        let lasting = LastingSubscriptions::default();
        let before = |session| lasting.subscribe("ann", "a", at(5), session).unwrap().before;
        assert_eq!([before(1), before(1), before(2)], [None, None, Some(1)]);
        lasting.sent("ann", "a", at(9), 1);
        lasting.release(1);
        assert_eq!(lasting.holder("ann"), Some(2));
        assert_eq!(lasting.standings()[0].cursor, at(5), "1 has it no more");
        lasting.sent("ann", "a", at(9), 2);
        assert_eq!(lasting.standings()[0].cursor, at(9));
        lasting.release(2);
        assert_eq!(lasting.holder("ann"), None);
        assert_eq!(before(3), None);
        lasting.state.lock().remove("ann", "a");
        let state = lasting.state.lock();
        assert!(state.names.is_empty() && state.held.len() == 1);
    }

    #[test]
    fn those_are_forgotten_that_nobody_has_and_had() {
        let lasting = LastingSubscriptions::default();
        subscribe(&lasting, "ann", "a", at(0));
        let [past, future] = [0, u64::MAX];
        assert!(lasting.unseen_since(future).is_empty(), "it is connected");
        lasting.release(1);
        assert!(lasting.unseen_since(past).is_empty());
        let unseen = lasting.unseen_since(future);
        assert_eq!(unseen, key("ann", "a"));
        subscribe(&lasting, "ann", "a", at(0));
        assert!(lasting.begin_end(&unseen, Some(future)).is_empty(), "it came back");
        lasting.release(1);
        assert_eq!(lasting.begin_end(&unseen, Some(future)), unseen);
    }

    #[test]
    fn when_somebody_was_seen_is_kept_now_and_then() {
        let lasting = Arc::new(LastingSubscriptions::default());
        let mut admission = Admission::new(Memory::new(u64::MAX));
        subscribe(&lasting, "ann", "a", at(0));
        change(Keep::new(&lasting, key("ann", "a"), true), &mut admission, true);
        assert!(lasting.moved().is_empty());
        lasting.state.lock().names.get_mut("ann").unwrap().seen_kept -= SEEN_INTERVAL;
        let moved = lasting.moved();
        assert_eq!(moved, key("ann", "a"));
        change(Keep::new(&lasting, moved, false), &mut admission, true);
        assert!(lasting.moved().is_empty());
    }
}
