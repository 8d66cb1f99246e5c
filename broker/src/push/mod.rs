//! Push: new messages go to those who follow their topic, and nobody waits for a slow reader.
//!
//! A subscriber is a cursor, never a queue: the offset that it needs next. Replay and live are the
//! same code.
//!
//! Whoever publishes delivers: after its publish is in the list and its own answer is sent, the
//! publisher's thread hands the new messages to those who wait for them. What would keep it for
//! long is left to the threads of `catch_up.rs`.
//!
//! Modules in reading order:
//!
//! - `listeners`: who waits for which topic; `patterns`: and who for topics that are to come
//! - `subscriber`: what a connection follows; `lasting`: subscriptions that outlive a connection
//! - `session`: the one writer of a socket, and what it has to write; `subscriptions`: its topics
//! - `pass`: what a thread that writes to many sessions shares among them; `format`: the bytes
//! - `range`: messages that somebody asked for, piece by piece
//! - `catch_up`: threads for sessions that are behind

mod catch_up;
#[cfg(test)]
mod fixture;
pub(crate) mod format;
mod lasting;
mod listeners;
mod pass;
pub(crate) mod patterns;
pub(crate) mod pieces;
pub(crate) mod range;
mod session;
pub(crate) mod subscriber;
mod subscriptions;

pub(crate) use lasting::{Key, LastingSubscriptions, Standing};

use crate::log::Log;
use crate::metrics::Counter;
use crate::refusal::Refusal;
use crate::store::batch::Batch;
use crate::store::stream::{Cursor, Extent, StreamId};
use crate::store::topics::Topics;
use catch_up::CatchUp;
use common::clock;
use lasting::{Begun, Keep};
use listeners::{Listener, Listeners};
use pass::{Announcements, DeliveryPass};
use patterns::{Created, Interest, Patterns};
use pieces::Pieces;
use session::{Progress, Session};
use std::collections::HashSet;
use std::iter;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use subscriptions::{Subscription, Subscriptions};

/// How long a publisher's thread delivers before it leaves the rest to others.
const DELIVERY_TIME: Duration = Duration::from_millis(10);

/// How many topics are looked at under one lock.
const LISTED_AT_ONCE: usize = 128;

/// How often acknowledgements of lasting subscriptions are kept on disk.
const KEEP_INTERVAL: Duration = Duration::from_secs(1);

/// For how long at most nobody is forgotten after a start.
const FORGET_PAUSE: Duration = Duration::from_secs(60 * 60);

/// How many of them go into one change: a journal's frame has a limit.
const KEYS_MAX: usize = 10_000;

/// The topics, and all who wait for their messages.
pub(crate) struct Push {
    pub(crate) topics: Topics,
    pub(crate) lasting: Arc<LastingSubscriptions>,
    pub(crate) listeners: Listeners,
    pub(crate) patterns: Patterns,
    created: Arc<Created>,
    announcements: Announcements,
    catch_up: CatchUp,
    /// What mirrors do not hold.
    pub(crate) pieces: Pieces,
    /// Messages that were written to clients, whether pushed or asked for.
    pub(crate) delivered: Counter,
    log: Arc<Log>,
}

impl Push {
    /// Nobody waits for these topics yet. At most `threads_max` threads will catch up.
    pub(crate) fn new(
        topics: Topics,
        lasting: LastingSubscriptions,
        threads_max: usize,
        log: Arc<Log>,
    ) -> Push {
        let lasting = Arc::new(lasting);
        let created = Arc::new(Created::default());
        let noted = Arc::clone(&created);
        topics.know(|known| {
            known.dependents = Some(Box::new(Arc::clone(&lasting)));
            known.on_create = Box::new(move |topic, stream| noted.note(topic, stream));
        });
        let pieces = Pieces::new(topics.account().1.max);
        Push {
            topics,
            pieces,
            lasting,
            listeners: Listeners::default(),
            patterns: Patterns::default(),
            created,
            announcements: Announcements::default(),
            catch_up: CatchUp::new(threads_max),
            delivered: Counter::default(),
            log,
        }
    }

    /// Delivers the new messages of a batch's topics. Called when its publishers were answered.
    pub(crate) fn announce_batch(self: &Arc<Push>, batch: &Batch) {
        let topics = batch.runs().filter_map(|run| run.first());
        self.announce_all(topics.map(|publish| &*publish.topic));
    }

    /// Delivers the new messages of a topic, or tells that it was deleted.
    pub(crate) fn announce(self: &Arc<Push>, topic: &str) {
        self.announce_all(iter::once(topic));
    }

    /// First tells all of everything, then writes: so a session is written to once for all of its
    /// topics.
    fn announce_all<'t>(self: &Arc<Push>, topics: impl Iterator<Item = &'t str>) {
        // Those whose writer this thread is.
        let mut sessions = self.follow_created();
        if self.listeners.is_empty() {
            return;
        }
        let announced = self.announcements.begin();
        let mut told = HashSet::new();
        for topic in topics.filter(|topic| told.insert(*topic)) {
            let Some(listeners) = self.listeners.of(topic) else { continue };
            for listener in listeners.iter() {
                match listener {
                    Listener::Waiter(waiter) => waiter.wake(),
                    Listener::Session(session, index) if session.notify(*index, announced) => {
                        sessions.push(Arc::clone(session));
                    }
                    Listener::Session(..) => {}
                }
            }
        }
        let mut pass = self.pass(Some(DELIVERY_TIME));
        if sessions.len() > 1 {
            pass = pass.shared();
        }
        for session in sessions {
            if pass.is_late() || session.write(&mut pass) != Progress::UpToDate {
                self.catch_up.take(session, self);
            }
        }
    }

    /// Has topics that came into being followed by pattern. Gives the sessions whose writer the
    /// caller is.
    fn follow_created(self: &Arc<Push>) -> Vec<Arc<Session>> {
        let created = self.created.take();
        if created.is_empty() {
            return Vec::new();
        }
        let followers = self.patterns.lock();
        let (mut begun, mut sessions) = (Vec::new(), Vec::new());
        for (topic, stream) in created {
            for (session, interest) in followers.choosing(&topic) {
                if self.listeners.check_room(0, 1).is_err() {
                    // It is told when it comes back.
                    session.close();
                    continue;
                }
                let Interest { format, name, .. } = interest.clone();
                let begin = Cursor { stream, next: 0 };
                let topic = self.listeners.name(&topic);
                let subscription =
                    Subscription::new(topic, begin, format, name.clone()).by_pattern();
                let added = self.subscribe(session, [subscription], |_| Vec::new());
                begun.extend(
                    added.into_iter().map(|it| (it, Arc::clone(session), name.clone(), begin)),
                );
            }
        }
        drop(followers);
        for ((index, topic), session, name, begin) in begun {
            if let Some(name) = name
                && self.lasting.holder(&name).is_none_or(|holder| holder == session.number)
            {
                // Where it is not stored, a crash may repeat some.
                let _ = self.lasting(&name, &topic, begin, session.number);
            }
            if session.notify(index, u64::MAX) {
                sessions.push(session);
            }
        }
        sessions
    }

    /// Adds subscriptions of a session, and what is said before their messages. Gives those that
    /// are new with their indexes: they are to be told that there may be messages.
    fn subscribe(
        &self,
        session: &Arc<Session>,
        subscriptions: impl IntoIterator<Item = Subscription>,
        confirm: impl FnOnce(&mut Subscriptions) -> Vec<u8>,
    ) -> Vec<(usize, Arc<str>)> {
        let added = session.subscribe(subscriptions, confirm);
        for (index, topic) in &added {
            self.listeners.add(topic, Listener::Session(Arc::clone(session), *index));
        }
        added
    }

    /// The topics that are there and that are chosen, and their lists.
    pub(crate) fn chosen(&self, is_chosen: impl Fn(&str) -> bool) -> Vec<(String, StreamId)> {
        let (mut chosen, mut behind) = (Vec::new(), String::new());
        loop {
            let topics = self.topics.list(&behind, LISTED_AT_ONCE);
            let is_last = topics.len() < LISTED_AT_ONCE;
            for (topic, summary) in topics {
                behind.clone_from(&topic);
                if is_chosen(&topic) {
                    chosen.push((topic, summary.stream));
                }
            }
            if is_last {
                return chosen;
            }
        }
    }

    /// A pass over sessions that takes at most so long.
    fn pass(&self, time: Option<Duration>) -> DeliveryPass<'_> {
        let deadline = time.map(|time| Instant::now() + time);
        let Push { topics, pieces, announcements, listeners, lasting, delivered, .. } = self;
        DeliveryPass::new(topics, pieces, announcements, listeners, lasting, delivered, deadline)
    }

    /// Begins a lasting subscription at `begin`, or goes on with it: where. The session has the
    /// name from now on, and the one that had it before loses its subscriptions of that name. A
    /// beginning is kept at once, or a crash could make the subscriber miss what was published
    /// since.
    fn lasting(
        self: &Arc<Push>,
        name: &str,
        topic: &str,
        begin: Cursor,
        session: u64,
    ) -> Result<Cursor, Refusal> {
        if begin.stream != StreamId::NONE {
            // It may have been suspended when the process before this one ended.
            self.lasting.settle(topic, self.topics.end(topic));
        }
        let Begun { cursor, is_kept, before } =
            self.lasting.subscribe(name, topic, begin, session)?;
        if let Some(before) = before {
            for key in self.lasting.of(name) {
                self.take_away(name, &key.topic, before, true);
            }
        }
        if !is_kept {
            self.keep(vec![Key { name: name.into(), topic: topic.into() }], true)?;
        }
        Ok(cursor)
    }

    /// Has those who follow a topic go on with the list that takes the place of this one, which is
    /// gone: even if it has the same id, it is another.
    pub(crate) fn replaced(&self, topic: &str) {
        for listener in self.listeners.of(topic).iter().flat_map(|all| all.iter()) {
            if let Listener::Session(session, index) = listener {
                session.lose(*index, topic);
            }
        }
    }

    /// Takes a lasting subscription from a session, if that has it, and tells its client.
    fn take_away(self: &Arc<Push>, name: &str, topic: &str, session: u64, tell: bool) {
        let Some(session) = self.listeners.session(topic, session) else { return };
        let ended = self.listeners.unsubscribe(topic, &session, Some(name));
        let Some(format) = ended else { return };
        self.log.note("unsubscribed", topic, &Ok(()));
        let mut note = Vec::new();
        if tell {
            format.encode_ended(topic, name, &mut note);
        }
        if session.tell_client(&note) {
            self.catch_up.take(session, self);
        }
    }

    /// Ends lasting subscriptions, whichever connection has them; with a time, only those whose
    /// subscriber was not connected since then. The session that asks for it is not told. Gives how
    /// many there were.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotStored`]; those that are left go on then.
    pub(crate) fn end_lasting(
        self: &Arc<Push>,
        keys: &[Key],
        unseen_since: Option<u64>,
        by: Option<u64>,
    ) -> Result<usize, Refusal> {
        let mut count = 0;
        for keys in keys.chunks(KEYS_MAX) {
            let ending = self.lasting.begin_end(keys, unseen_since);
            if ending.is_empty() {
                continue;
            }
            let holders: Vec<_> = ending.iter().map(|key| self.lasting.holder(&key.name)).collect();
            self.keep(ending.clone(), false)?;
            for (Key { name, topic }, holder) in ending.iter().zip(holders) {
                if let Some(holder) = holder {
                    self.take_away(name, topic, holder, by != Some(holder));
                }
            }
            count += ending.len();
        }
        Ok(count)
    }

    /// Where all lasting subscriptions stand that are wanted, by name and topic.
    pub(crate) fn standings(&self, is_wanted: impl Fn(&Key) -> bool) -> Vec<Standing> {
        let mut standings = self.lasting.standings();
        standings.retain(|standing| is_wanted(&standing.key));
        standings.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        for Standing { key, cursor, lag, .. } in &mut standings {
            let Extent { first, end } = self.topics.extent(&key.topic);
            let is_here = cursor.stream == end.stream || cursor.stream == StreamId::NONE;
            let next = if is_here { cursor.next } else { 0 };
            *lag = end.next.saturating_sub(next.max(first));
        }
        standings
    }

    /// Keeps what lasting subscriptions acknowledged, from time to time and for ever: a crash
    /// between two times repeats a few messages. Ends those whose subscriber was not connected for
    /// `forget_after`.
    pub(crate) fn keep_acknowledged(self: &Arc<Push>, forget_after: Option<Duration>) -> ! {
        let begun = Instant::now();
        loop {
            thread::sleep(KEEP_INTERVAL);
            self.keep_moved();
            // Subscribers that were connected to the process before this one have to come back.
            if let Some(time) = forget_after
                && begun.elapsed() >= time.min(FORGET_PAUSE)
            {
                let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                let since = clock::unix_milliseconds().saturating_sub(time);
                let unseen = self.lasting.unseen_since(since);
                // Where the disk is full, publishers are told, and this is tried again.
                let _ = self.end_lasting(&unseen, Some(since), None);
            }
        }
    }

    fn keep_moved(&self) {
        for moved in self.lasting.take_moved().chunks(KEYS_MAX) {
            if self.keep(moved.to_vec(), false).is_err() {
                // A full disk is told to publishers; these are tried again with the next.
                self.lasting.put_back(moved);
            }
        }
    }

    fn keep(&self, keys: Vec<Key>, begins: bool) -> Result<(), Refusal> {
        let (keep, stored) = self.topics.change(Keep::new(&self.lasting, keys, begins));
        stored.and(keep.refused.map_or(Ok(()), Err))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::journal::tests::full_at;
    use crate::store::memory::Memory;
    use crate::store::replay::Replayed;

    /// Topics whose disk is full at these writes.
    fn push(writes: &[usize]) -> Arc<Push> {
        let replayed = Replayed::new(Memory::new(u64::MAX));
        Arc::new(fixture::push_of(Topics::restored(replayed, full_at(writes), true), 1))
    }

    fn lasting(push: &Arc<Push>, begin: u64) -> Result<Cursor, Refusal> {
        push.lasting("ann", "a", at(begin), 1)
    }

    fn end(push: &Arc<Push>) -> Result<usize, Refusal> {
        push.end_lasting(&[Key { name: "ann".into(), topic: "a".into() }], None, None)
    }

    fn at(next: u64) -> Cursor {
        Cursor { stream: StreamId::NONE, next }
    }

    #[test]
    fn a_lasting_subscription_that_was_not_stored_has_not_begun() {
        let push = push(&[1]);
        assert!(lasting(&push, 5).is_err());
        assert!(push.lasting.of("ann").is_empty());
        assert_eq!(lasting(&push, 7).unwrap(), at(7));
    }

    #[test]
    fn a_lasting_subscription_whose_end_was_not_stored_goes_on() {
        // An end frees room: it is tried again with what the reserve gives up.
        let push = push(&[2, 3]);
        lasting(&push, 5).unwrap();
        assert!(end(&push).is_err());
        assert_eq!(lasting(&push, 9).unwrap(), at(5));
        assert_eq!([end(&push).unwrap(), end(&push).unwrap()], [1, 0]);
    }

    #[test]
    fn acknowledgements_that_were_not_stored_are_tried_again() {
        let push = push(&[2]);
        lasting(&push, 5).unwrap();
        push.lasting.acknowledge("ann", "a", at(6));
        push.keep_moved();
        let moved = push.lasting.take_moved();
        assert_eq!(moved.len(), 1);
        push.lasting.put_back(&moved);
        push.keep_moved();
        assert!(push.lasting.take_moved().is_empty());
    }
}
