//! Lasting subscriptions that several brokers share: a name goes on through any of them.
//!
//! A broker takes a name when a client comes with it: then it knows where the name stands, and each
//! taking has a number that grows, the *fence*. Another broker that had the name hears of that, or
//! finds out when it keeps something, and tells its client.
//!
//! # Guarantee
//!
//! What is kept of a name is stored only while nobody has taken the name since. So a name that
//! goes on through another broker skips nothing, and repeats at most what was acknowledged in the
//! last second.
//!
//! # Not here
//!
//! Where they are stored: see [`SharedPositions`]. Most brokers share with nobody.

use super::{
    Key, LastingSubscriptions, Name, Position, SEEN_INTERVAL, Standing, Table, check_room,
};
use crate::access::{Grant, Right};
use crate::push::{Beginning, Push};
use crate::refusal::{Refusal, Result};
use crate::store::{Cursor, StreamId, entry};
use common::limits::SUBSCRIBERS_MAX;
use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// For how long a name stays known that no connection here has.
const IDLE_TIME: Duration = Duration::from_secs(60);

/// How often a beginning is tried whose name is taken by others meanwhile.
const TRIES_MAX: usize = 3;

/// How long a turn is waited for: with the question that follows, who asks is answered within five
/// seconds.
const TURN_TIMEOUT: Duration = Duration::from_secs(1);

/// Where positions are kept that several brokers share.
pub(crate) trait SharedPositions: Send + Sync {
    /// Takes a name from whoever has it. Gives its fence from now on, and where it stands.
    fn take(&self, name: &str) -> Result<(u64, Vec<Standing>)>;

    /// Where a name stands, or all names.
    fn standings(&self, name: Option<&str>) -> Result<Vec<Standing>>;

    /// Keeps positions of a name; false where somebody has taken it since.
    fn keep(&self, name: &str, fence: u64, positions: &[(Arc<str>, Cursor)]) -> Result<bool>;

    /// Notes what was acknowledged of a name that others may have. Gives where it stands then, if
    /// there is such a subscription.
    fn acknowledge(&self, name: &str, topic: &str, cursor: Cursor) -> Result<Option<Cursor>>;

    /// Takes a name, and ends its subscriptions to these topics. Gives how many there were, and the
    /// fence of the name where others are left.
    fn end(&self, name: &str, topics: &[Arc<str>]) -> Result<(usize, Option<u64>)>;

    /// Whether a topic has this list now.
    fn is_present(&self, topic: &str, list: StreamId) -> Result<bool>;
}

/// A name's turn to be taken or kept: one at a time, or what is kept by one connection would be
/// older than what the next one takes.
struct Turn<'a> {
    lasting: &'a LastingSubscriptions,
    name: Arc<str>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.lasting.table.lock().asked.remove(&self.name);
        self.lasting.turns.notify_all();
    }
}

impl LastingSubscriptions {
    /// Waits for a name's turn.
    fn turn(&self, name: &str) -> Result<Turn<'_>> {
        let is_asked = |table: &mut Table| table.asked.contains(name);
        let waited = self.turns.wait_timeout_while(self.table.lock(), TURN_TIMEOUT, is_asked);
        let (mut table, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
        if timed_out.timed_out() {
            return Err(passing("the name is being asked for"));
        }
        let name: Arc<str> = name.into();
        table.asked.insert(Arc::clone(&name));
        Ok(Turn { lasting: self, name })
    }

    /// Shares them with other brokers from now on.
    pub(crate) fn share(&self, shared: Arc<dyn SharedPositions>) {
        // There is one home in the life of a broker.
        let _ = self.shared.set(shared);
    }

    /// Whether other brokers share them.
    pub(in crate::push) fn is_shared(&self) -> bool {
        self.shared.get().is_some()
    }

    /// Who can be asked, where they are shared.
    pub(super) fn shared(&self) -> Option<&dyn SharedPositions> {
        self.shared.get().map(|shared| &**shared)
    }

    /// Who can be asked of a name, where it is shared and is not this broker's now.
    fn elsewhere(&self, name: &str) -> Option<&dyn SharedPositions> {
        let shared = self.shared().filter(|_| entry::check_name("subscriber", name).is_ok())?;
        let table = self.table.lock();
        let it = table.names.get(name);
        it.is_none_or(|it| it.holder.is_none() || it.fence.is_none()).then_some(shared)
    }

    fn fence(&self, name: &str) -> Option<u64> {
        self.table.lock().names.get(name)?.fence
    }

    /// What a name stands for that was taken. Gives the subscriptions that are no more.
    fn learn(&self, name: &str, fence: u64, found: Vec<Standing>) -> Result<Vec<Key>> {
        let mut table = self.table.lock();
        check_room("all together may have", table.count + found.len(), SUBSCRIBERS_MAX)?;
        let name: Arc<str> = name.into();
        let it = table.names.entry(Arc::clone(&name)).or_default();
        if it.fence.is_some_and(|known| known >= fence) {
            return Ok(Vec::new());
        }
        (it.fence, it.idle_since) = (Some(fence), Some(Instant::now()));
        it.seen = found.iter().map(|standing| standing.seen).max().unwrap_or(it.seen);
        it.seen_kept = it.seen;
        let topics: HashSet<&str> = found.iter().map(|standing| &*standing.key.topic).collect();
        let mut gone = Vec::new();
        for (topic, position) in &mut it.positions {
            if position.kept && !topics.contains(&**topic) {
                position.ending = true;
                gone.push(Key { name: Arc::clone(&name), topic: Arc::clone(topic) });
            }
        }
        let before = it.positions.len();
        for Standing { key, cursor, .. } in found {
            let position = it.positions.entry(key.topic).or_default();
            let counted = position.counted;
            *position = Position { cursor, counted, kept: true, ..Position::default() };
        }
        table.count += it.positions.len() - before;
        Ok(gone)
    }

    /// Somebody else has taken a name. Gives its subscriptions, which end here.
    fn lose(&self, name: &str, fence: u64) -> Option<(Option<u64>, Vec<Key>)> {
        let mut table = self.table.lock();
        let it = table.names.get_mut(name).filter(|it| it.fence.is_some_and(|own| own < fence))?;
        it.fence = None;
        Some((it.holder.take(), it.end_all(&name.into())))
    }

    /// The subscriptions of names that no connection here has had for a while, which are forgotten
    /// here.
    pub(super) fn idle(&self) -> Vec<Key> {
        let mut table = self.table.lock();
        let is_idle = |it: &Name| {
            it.holder.is_none()
                && it.idle_since.is_none_or(|since| since.elapsed() >= IDLE_TIME)
                && !it.positions.values().any(|position| position.moved)
        };
        table.names.retain(|_, it| !(it.positions.is_empty() && is_idle(it)));
        let idle = table.names.iter_mut().filter(|(_, it)| is_idle(it));
        idle.flat_map(|(name, it)| it.end_all(name)).collect()
    }

    /// Notes whether positions were kept where others find them.
    fn note_shared(&self, name: &str, positions: &[(Arc<str>, Cursor)], is_kept: bool) {
        let mut table = self.table.lock();
        for (topic, _) in positions {
            let Some(position) = table.position(name, topic) else { continue };
            position.kept |= is_kept;
            position.moved |= !is_kept && position.kept;
        }
    }

    /// Notes that what was about to end goes on, or that what was about to begin ends. Gives those
    /// that end.
    fn take_back(&self, keys: &[Key]) -> Vec<Key> {
        let mut table = self.table.lock();
        let mut ends = |key: &&Key| {
            let Some(it) = table.position(&key.name, &key.topic) else { return false };
            it.ending = !it.kept;
            it.ending
        };
        keys.iter().filter(&mut ends).cloned().collect()
    }

    /// Has a position of each name written once more, which tells whether the name was taken.
    pub(crate) fn confirm_names(&self) {
        self.table.lock().names.values_mut().for_each(|it| it.seen_kept = 0);
    }

    fn cursor(&self, name: &str, topic: &str) -> Option<Cursor> {
        self.table.lock().position(name, topic).map(|position| position.cursor)
    }
}

impl Push {
    /// The subscriptions of a name.
    ///
    /// # Errors
    ///
    /// Whoever shares them cannot be asked. The same holds for the others.
    pub(crate) fn lasting_of(&self, name: &str) -> Result<Vec<Key>> {
        let Some(shared) = self.lasting.elsewhere(name) else { return Ok(self.lasting.of(name)) };
        Ok(shared.standings(Some(name))?.into_iter().map(|standing| standing.key).collect())
    }

    /// Checks whether a client may read all topics of a name.
    pub(crate) fn check_name(&self, name: &str, grant: &Grant) -> Result<()> {
        entry::check_name("subscriber", name)?;
        let keys = self.lasting_of(name)?;
        keys.iter().try_for_each(|key| grant.check(Right::Read, &key.topic))
    }

    /// Notes that everything before `cursor` is acknowledged. Gives where the subscription stands
    /// then, if there is one.
    pub(crate) fn acknowledge(
        &self,
        name: &str,
        topic: &str,
        cursor: Cursor,
    ) -> Result<Option<Cursor>> {
        match self.lasting.elsewhere(name) {
            None => Ok(self.lasting.acknowledge(name, topic, cursor)),
            Some(shared) => shared.acknowledge(name, topic, cursor),
        }
    }

    /// Sees to it that a name is this broker's, where it is shared, and that it is known where it
    /// stands.
    pub(super) fn take(&self, name: &str) -> Result<()> {
        self.lasting.elsewhere(name).map_or(Ok(()), |_| self.take_in(&self.lasting.turn(name)?))
    }

    fn take_in(&self, Turn { name, .. }: &Turn<'_>) -> Result<()> {
        let Some(shared) = self.lasting.elsewhere(name) else { return Ok(()) };
        let (fence, found) = shared.take(name)?;
        let gone = self.lasting.learn(name, fence, found)?;
        self.keep_here(&gone, false).1
    }

    /// A shared position in a list that is gone has ended with it.
    pub(super) fn check_list(&self, name: &str, place: &Beginning) -> Result<()> {
        let (topic, present) = (&place.topic, place.cursor.stream);
        let known = self.lasting.cursor(name, topic).map_or(present, |known| known.stream);
        let Some(shared) = self.lasting.shared() else { return Ok(()) };
        if known == present || known == StreamId::NONE {
            return Ok(());
        }
        if present != StreamId::NONE && !shared.is_present(topic, present)? {
            return Err(passing("the topic was deleted and created again"));
        }
        if let Some(it) = self.lasting.table.lock().position(name, topic) {
            let counted = it.counted;
            *it = Position { cursor: place.cursor, counted, ..Position::default() };
        }
        Ok(())
    }

    /// Keeps positions where others find them, where they are shared. The keys of a name follow one
    /// another.
    pub(super) fn keep_shared(
        self: &Arc<Push>,
        keys: &[Key],
        cursors: &[Option<Cursor>],
        begins: bool,
    ) -> Result<()> {
        let Some(shared) = self.lasting.shared() else { return Ok(()) };
        let there = keys.iter().zip(cursors).filter_map(|(key, cursor)| Some((key, (*cursor)?)));
        let there: Vec<_> = there.collect();
        let mut done = Ok(());
        for of_name in there.chunk_by(|(one, _), (other, _)| one.name == other.name) {
            let Some((Key { name, .. }, _)) = of_name.first() else { continue };
            let positions = of_name.iter().map(|(key, cursor)| (Arc::clone(&key.topic), *cursor));
            let positions: Vec<_> = positions.collect();
            let turn = self.lasting.turn(name);
            let kept = turn.and_then(|turn| self.keep_name(shared, &turn, &positions));
            self.lasting.note_shared(name, &positions, kept.is_ok());
            done = done.and(kept);
        }
        if done.is_err() && begins {
            let _ = self.keep_here(&self.lasting.take_back(keys), false);
        }
        done
    }

    fn keep_name(
        self: &Arc<Push>,
        shared: &dyn SharedPositions,
        turn: &Turn<'_>,
        positions: &[(Arc<str>, Cursor)],
    ) -> Result<()> {
        let name = &*turn.name;
        for _ in 0..TRIES_MAX {
            let Some(fence) = self.lasting.fence(name) else {
                self.take_in(turn)?;
                let is_same = |(topic, cursor): &(Arc<str>, Cursor)| {
                    self.lasting.cursor(name, topic) == Some(*cursor)
                };
                if positions.iter().all(is_same) {
                    continue;
                }
                break;
            };
            if shared.keep(name, fence, positions)? {
                return Ok(());
            }
            if self.lasting.fence(name) == Some(fence) {
                self.lose_name(name, fence + 1);
                break;
            }
        }
        Err(passing("the name was taken through another broker"))
    }

    /// Somebody else has taken a name: its client here is told.
    pub(crate) fn lose_name(self: &Arc<Push>, name: &str, fence: u64) {
        let Some((holder, keys)) = self.lasting.lose(name, fence) else { return };
        self.patterns.lock().retain(|_, interest| !interest.has_name(name));
        for Key { topic, .. } in &keys {
            holder.iter().for_each(|holder| self.take_away(name, topic, *holder, true));
        }
        let _ = self.keep_here(&keys, false);
    }

    /// Ends subscriptions where they are shared, of which `ending` are known here. Gives how many
    /// there were.
    pub(super) fn end_shared(&self, keys: &[Key], ending: &[Key]) -> Result<usize> {
        let Some(shared) = self.lasting.shared() else { return Ok(ending.len()) };
        let mut count = 0;
        for of_name in keys.chunk_by(|one, other| one.name == other.name) {
            let Some(Key { name, .. }) = of_name.first() else { continue };
            let topics: Vec<_> = of_name.iter().map(|key| Arc::clone(&key.topic)).collect();
            let ended = self.lasting.turn(name).and_then(|_turn| {
                let ended = shared.end(name, &topics);
                if let Some(it) = self.lasting.table.lock().names.get_mut(name) {
                    // What is written from now on is written behind the end. Without a fence, the
                    // name is taken again before anything is kept of it.
                    it.fence = it.fence.and(ended.as_ref().map_or(None, |(_, fence)| *fence));
                }
                Ok(ended?.0)
            });
            count += ended.inspect_err(|_| drop(self.lasting.take_back(ending)))?;
        }
        Ok(count)
    }

    /// Where all stand that are wanted, wherever they are connected.
    pub(crate) fn all_standings(&self, is_wanted: impl Fn(&Key) -> bool) -> Result<Vec<Standing>> {
        let mut standings = self.standings(&is_wanted);
        if let Some(shared) = self.lasting.shared() {
            standings.retain(|standing| standing.is_connected);
            let here: HashSet<Key> = standings.iter().map(|it| it.key.clone()).collect();
            let others = shared.standings(None)?.into_iter();
            standings.extend(others.filter(|it| is_wanted(&it.key) && !here.contains(&it.key)));
            standings.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        }
        Ok(standings)
    }

    /// Those whose subscriber is not connected, and was not since this time.
    pub(super) fn unseen_since(&self, time: u64) -> Vec<Key> {
        if !self.lasting.is_shared() {
            return self.lasting.unseen_since(time);
        }
        // When somebody was seen whom another broker has is written now and then.
        let standings = self.all_standings(|_| true).unwrap_or_default().into_iter();
        let is_unseen = |it: &Standing| !it.is_connected && it.seen + 2 * SEEN_INTERVAL < time;
        standings.filter(is_unseen).map(|standing| standing.key).collect()
    }
}

/// What a client is told that may try again.
fn passing(reason: &str) -> Refusal {
    Refusal::Home { status: 503, text: format!("{reason} at the same time; try again") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::Subscriber;
    use crate::push::fixture::{connected, push_of};
    use crate::store::journal::tests::full_at;
    use crate::store::{Memory, Replayed, Topics};
    use std::sync::Mutex;
    use std::thread;

    /// The position of one name, elsewhere. What is kept is on its way until the name is taken, or
    /// for a while.
    #[derive(Default)]
    struct Elsewhere(Mutex<(u64, Option<Cursor>)>);

    impl SharedPositions for Elsewhere {
        fn take(&self, _: &str) -> Result<(u64, Vec<Standing>)> {
            let mut state = self.0.lock().unwrap();
            state.0 += 1;
            let key = Key { name: "ann".into(), topic: "a".into() };
            let standing = |cursor| Standing { key, cursor, is_connected: false, seen: 0, lag: 0 };
            Ok((state.0, state.1.map(standing).into_iter().collect()))
        }

        fn standings(&self, _: Option<&str>) -> Result<Vec<Standing>> {
            Ok(Vec::new())
        }

        fn keep(&self, _: &str, fence: u64, positions: &[(Arc<str>, Cursor)]) -> Result<bool> {
            for _ in 0..10 {
                thread::sleep(Duration::from_millis(10));
                if self.0.lock().unwrap().0 != fence {
                    return Ok(false);
                }
            }
            self.0.lock().unwrap().1 = Some(positions[0].1);
            Ok(true)
        }

        fn acknowledge(&self, _: &str, _: &str, _: Cursor) -> Result<Option<Cursor>> {
            Ok(None)
        }

        fn end(&self, _: &str, _: &[Arc<str>]) -> Result<(usize, Option<u64>)> {
            let mut state = self.0.lock().unwrap();
            state.0 += 1;
            Ok((usize::from(state.1.take().is_some()), None))
        }

        fn is_present(&self, _: &str, _: StreamId) -> Result<bool> {
            Ok(true)
        }
    }

    fn sharing() -> (Arc<Push>, Arc<Elsewhere>) {
        let replayed = Replayed::new(Memory::new(u64::MAX));
        let push = Arc::new(push_of(Topics::restored(replayed, full_at(&[]), true), 1));
        let elsewhere = Arc::new(Elsewhere::default());
        push.lasting.share(Arc::clone(&elsewhere) as Arc<dyn SharedPositions>);
        (push, elsewhere)
    }

    /// Waits until a position that is known here is being kept.
    fn wait_until_kept(push: &Push) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let is_being_kept = || {
            let mut table = push.lasting.table.lock();
            table.position("ann", "a").is_some() && table.asked.contains("ann")
        };
        while !is_being_kept() {
            assert!(Instant::now() < deadline, "its keeping never begins");
            thread::yield_now();
        }
    }

    #[test]
    fn an_end_while_the_subscription_begins_leaves_nothing_elsewhere() {
        let (push, elsewhere) = sharing();
        let begins = {
            let push = Arc::clone(&push);
            thread::spawn(move || {
                let mut places = [Beginning::asked("a", Cursor::default())];
                push.lasting("ann", &mut places, 1)
            })
        };
        wait_until_kept(&push);
        let key = Key { name: "ann".into(), topic: "a".into() };
        assert_eq!(push.end_lasting(&[key], None, None).unwrap(), 1);
        begins.join().unwrap().unwrap();
        assert_eq!(elsewhere.0.lock().unwrap().1, None);
        assert!(push.lasting.of("ann").is_empty());
    }

    /// Whoever has the name would lose it, and a name that cannot be one is not sent to others.
    #[test]
    fn a_name_is_not_taken_to_end_what_it_does_not_have() {
        let (push, elsewhere) = sharing();
        let subscriber = Subscriber::new(connected().0, Arc::default(), &push);
        for name in ["ann", &"x".repeat(256)] {
            let ended = subscriber.end_lasting(name, &Grant::EVERYTHING, |topic| topic == "b");
            assert!(!ended.unwrap());
        }
        assert_eq!(elsewhere.0.lock().unwrap().0, 0);
    }

    #[test]
    fn a_name_that_comes_back_while_its_position_is_kept_goes_on_there() {
        let (push, _) = sharing();
        let at = |next| Cursor { stream: StreamId::NONE, next };
        let begin = |session| {
            let mut places = [Beginning::asked("a", at(5))];
            push.lasting("ann", &mut places, session).unwrap();
            places[0].cursor
        };
        assert_eq!(begin(1), at(5));
        push.acknowledge("ann", "a", at(7)).unwrap();
        let keeps = {
            let push = Arc::clone(&push);
            thread::spawn(move || push.keep(&push.lasting.moved(), false))
        };
        wait_until_kept(&push);
        push.lasting.release(1);
        assert_eq!(begin(2), at(7));
        keeps.join().unwrap().unwrap();
    }
}
