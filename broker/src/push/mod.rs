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
//! - `listeners`: who waits for which topic
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
pub(crate) mod range;
mod session;
pub(crate) mod subscriber;
mod subscriptions;

pub(crate) use lasting::LastingSubscriptions;

use crate::log::Log;
use crate::metrics::Counter;
use crate::refusal::Refusal;
use crate::store::batch::Batch;
use crate::store::stream::Cursor;
use crate::store::topics::Topics;
use catch_up::CatchUp;
use lasting::{Keep, Key};
use listeners::{Listener, Listeners};
use pass::{Announcements, DeliveryPass};
use session::{Progress, Session};
use std::collections::HashSet;
use std::iter;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How long a publisher's thread delivers before it leaves the rest to others.
const DELIVERY_TIME: Duration = Duration::from_millis(10);

/// How often acknowledgements of lasting subscriptions are kept on disk.
const KEEP_INTERVAL: Duration = Duration::from_secs(1);

/// How many of them go into one change: a journal's frame has a limit.
const KEYS_MAX: usize = 10_000;

/// The topics, and all who wait for their messages.
pub(crate) struct Push {
    pub(crate) topics: Topics,
    pub(crate) lasting: Arc<LastingSubscriptions>,
    pub(crate) listeners: Listeners,
    announcements: Announcements,
    catch_up: CatchUp,
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
        Push {
            topics,
            lasting: Arc::new(lasting),
            listeners: Listeners::default(),
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
        if self.listeners.is_empty() {
            return;
        }
        let announced = self.announcements.begin();
        let mut told = HashSet::new();
        // Those whose writer this thread is.
        let mut sessions = Vec::new();
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

    /// A pass over sessions that takes at most so long.
    fn pass(&self, time: Option<Duration>) -> DeliveryPass<'_> {
        let deadline = time.map(|time| Instant::now() + time);
        let Push { topics, announcements, lasting, delivered, .. } = self;
        DeliveryPass::new(topics, announcements, lasting, delivered, deadline)
    }

    /// Gives a name to a session. The one that had it before loses its subscriptions of that name.
    fn hold(&self, name: &str, session: &Session) -> Result<(), Refusal> {
        if let Some(before) = self.lasting.hold(name, session.number)? {
            for topic in self.lasting.topics(name) {
                self.unsubscribe(name, &topic, before);
            }
        }
        Ok(())
    }

    /// Ends a session's subscription that goes on with a name. Returns whether there was one.
    fn unsubscribe(&self, name: &str, topic: &str, session: u64) -> bool {
        let session = self.listeners.session(topic, session);
        session.is_some_and(|session| self.listeners.unsubscribe(topic, &session, Some(name)))
    }

    /// Begins a lasting subscription at `begin`, or goes on with it: where. Its beginning is kept
    /// at once, or a crash could make the subscriber miss what was published since.
    fn lasting(&self, name: &str, topic: &str, begin: Cursor) -> Result<Cursor, Refusal> {
        let (cursor, is_kept) = self.lasting.subscribe(name, topic, begin)?;
        if !is_kept {
            self.keep(vec![Key { name: name.into(), topic: topic.into() }], true)?;
        }
        Ok(cursor)
    }

    /// Ends a lasting subscription, whichever connection has it. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotStored`]; it goes on then.
    pub(crate) fn end_lasting(&self, name: &str, topic: &str) -> Result<bool, Refusal> {
        if !self.lasting.begin_end(name, topic) {
            return Ok(false);
        }
        self.keep(vec![Key { name: name.into(), topic: topic.into() }], false)?;
        if let Some(holder) = self.lasting.holder(name)
            && self.unsubscribe(name, topic, holder)
        {
            self.log.note("unsubscribed", topic, &Ok(()));
        }
        Ok(true)
    }

    /// Ends the lasting subscriptions of a topic that was deleted. On disk they ended with it.
    pub(crate) fn end_topic(&self, topic: &str) {
        let size = self.lasting.end_topic(topic, self.topics.end(topic).stream);
        self.topics.give_back(size);
    }

    /// Keeps what lasting subscriptions acknowledged, from time to time and for ever. A crash
    /// between two times repeats a few messages.
    pub(crate) fn keep_acknowledged(&self) -> ! {
        loop {
            thread::sleep(KEEP_INTERVAL);
            self.keep_moved();
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
        let keep = self.topics.change(Keep::new(&self.lasting, keys, begins));
        keep.refused.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::journal::tests::full_at;
    use crate::store::memory::Memory;
    use crate::store::replay::Replayed;
    use crate::store::stream::StreamId;

    /// Topics whose disk is full at these writes.
    fn push(writes: &[usize]) -> Push {
        let replayed = Replayed::new(Memory::new(u64::MAX));
        fixture::push_of(Topics::restored(replayed, full_at(writes), true), 1)
    }

    fn at(next: u64) -> Cursor {
        Cursor { stream: StreamId::NONE, next }
    }

    #[test]
    fn a_lasting_subscription_that_was_not_stored_has_not_begun() {
        let push = push(&[1]);
        assert!(push.lasting("ann", "a", at(5)).is_err());
        assert!(push.lasting.topics("ann").is_empty());
        assert_eq!(push.lasting("ann", "a", at(7)).unwrap(), at(7));
    }

    #[test]
    fn a_lasting_subscription_whose_end_was_not_stored_goes_on() {
        // An end frees room: it is tried again with what the reserve gives up.
        let push = push(&[2, 3]);
        push.lasting("ann", "a", at(5)).unwrap();
        assert!(push.end_lasting("ann", "a").is_err());
        assert_eq!(push.lasting("ann", "a", at(9)).unwrap(), at(5));
        assert!(push.end_lasting("ann", "a").unwrap());
        assert!(!push.end_lasting("ann", "a").unwrap());
    }

    #[test]
    fn acknowledgements_that_were_not_stored_are_tried_again() {
        let push = push(&[2]);
        push.lasting("ann", "a", at(5)).unwrap();
        push.lasting.acknowledge("ann", "a", at(6));
        push.keep_moved();
        let moved = push.lasting.take_moved();
        assert_eq!(moved.len(), 1);
        push.lasting.put_back(&moved);
        push.keep_moved();
        assert!(push.lasting.take_moved().is_empty());
    }
}
