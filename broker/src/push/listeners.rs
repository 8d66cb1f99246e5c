//! Who waits for messages of which topic.
//!
//! A listener registers and then reads the topic. A publisher appends and then looks for listeners.
//! So one of them always sees the other.

use crate::push::Session;
use crate::refusal::{Refusal, Result};
use common::limits::{CONNECTION_SUBSCRIPTIONS_MAX, SUBSCRIPTIONS_MAX};
use common::lock::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Instant;

/// All listeners of the broker.
#[derive(Default)]
pub(crate) struct Listeners {
    /// Held to add, remove or look up; nobody is told anything while it is held. A publisher
    /// goes through a snapshot, which a change then copies.
    topics: Mutex<HashMap<Arc<str>, Arc<Vec<Listener>>>>,
    /// How many listeners there are: where there is none, a publish takes no lock.
    count: AtomicUsize,
}

/// Whoever is told that a topic has new messages.
#[derive(Clone)]
pub(crate) enum Listener {
    /// A connection that messages are pushed to, and the index of its subscription.
    Session(Arc<Session>, usize),
    /// A thread that waits for one answer. This wakes it, or makes its next wait short; where there
    /// is no room, it was woken before.
    Waiter(Arc<SyncSender<()>>),
}

/// A thread that is registered with a topic; leaving is dropping it.
pub(crate) struct Waiting<'a> {
    listeners: &'a Listeners,
    topic: Arc<str>,
    waiter: Arc<SyncSender<()>>,
    woken: Receiver<()>,
}

impl Listeners {
    /// A topic's name as all who listen to it share it: with a name of its own, each subscription
    /// would be one more place in memory for a publisher to see.
    pub(crate) fn name(&self, topic: &str) -> Arc<str> {
        let topics = self.topics.lock();
        topics.get_key_value(topic).map_or_else(|| topic.into(), |(topic, _)| Arc::clone(topic))
    }

    /// Whether there is room for so many more of a session that has `own`. Those that come at the
    /// same moment may together pass the limit by as many as they are.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooManySubscriptions`].
    pub(crate) fn check_room(&self, own: usize, more: usize) -> Result<()> {
        // No more than are still free: so others find room, however many take all that they can.
        let free = SUBSCRIPTIONS_MAX.saturating_sub(self.count());
        let share = CONNECTION_SUBSCRIPTIONS_MAX.min(free);
        let (who, subscriptions_max) = match free {
            _ if own + more <= share => return Ok(()),
            0 => ("all together", SUBSCRIPTIONS_MAX),
            _ => ("a connection", share),
        };
        Err(Refusal::TooManySubscriptions { who, subscriptions_max })
    }

    /// Adds a listener to a topic.
    pub(crate) fn add(&self, topic: &Arc<str>, listener: Listener) {
        let mut topics = self.topics.lock();
        Arc::make_mut(topics.entry(Arc::clone(topic)).or_default()).push(listener);
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    /// Removes a session from a topic, where it is for a subscription with this index.
    pub(super) fn end(&self, topic: &str, session: u64, index: usize) {
        let is_it = |it: &Session, at: usize| (it.number, at) == (session, index);
        self.remove(topic, |it| matches!(it, Listener::Session(it, at) if is_it(it, *at)));
    }

    /// Removes a listener from a topic.
    fn remove(&self, topic: &str, is: impl Fn(&Listener) -> bool) {
        let mut topics = self.topics.lock();
        let Some(listeners) = topics.get_mut(topic) else { return };
        let listeners = Arc::make_mut(listeners);
        if let Some(index) = listeners.iter().position(is) {
            // The order in which listeners are told promises nothing.
            listeners.swap_remove(index);
            self.count.fetch_sub(1, Ordering::SeqCst);
        }
        if listeners.is_empty() {
            topics.remove(topic);
        }
    }

    /// Registers the calling thread with a topic. Whoever waits looks at the topic afterwards.
    pub(crate) fn join(&self, topic: &str) -> Waiting<'_> {
        let (wake, woken) = mpsc::sync_channel(1);
        let (topic, waiter) = (self.name(topic), Arc::new(wake));
        self.add(&topic, Listener::Waiter(Arc::clone(&waiter)));
        Waiting { listeners: self, topic, waiter, woken }
    }

    /// The listeners of a topic.
    pub(crate) fn of(&self, topic: &str) -> Option<Arc<Vec<Listener>>> {
        if self.is_empty() {
            return None;
        }
        self.topics.lock().get(topic).cloned()
    }

    /// Whether nobody listens to anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    /// How many listeners there are, each counted for each of its topics.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The session of this number, if it listens to a topic.
    pub(super) fn session(&self, topic: &str, number: u64) -> Option<Arc<Session>> {
        let of = self.of(topic)?;
        of.iter().find_map(|listener| match listener {
            Listener::Session(session, _) if session.number == number => Some(Arc::clone(session)),
            _ => None,
        })
    }

    /// How many connections a topic's messages are pushed to.
    pub(crate) fn sessions(&self, topic: &str) -> usize {
        let of = self.of(topic).unwrap_or_default();
        of.iter().filter(|listener| matches!(listener, Listener::Session(..))).count()
    }
}

impl Waiting<'_> {
    /// Sleeps until the topic was published to since the last call, or until the deadline.
    /// Returns whether it was. Called by the thread that joined.
    pub(crate) fn wait(&self, deadline: Instant) -> bool {
        self.woken.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let is_own = |waiter: &Arc<_>| Arc::ptr_eq(waiter, &self.waiter);
        self.listeners.remove(&self.topic, |it| matches!(it, Listener::Waiter(it) if is_own(it)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::fixture::{push_of, subscribe};
    use crate::store::{Memory, Topics};
    use std::thread;
    use std::time::Duration;

    fn wake(listeners: &Listeners, topic: &str) {
        for listener in listeners.of(topic).unwrap_or_default().iter() {
            let Listener::Waiter(waiter) = listener else { panic!("nobody subscribed") };
            let _ = waiter.try_send(());
        }
    }

    #[test]
    fn a_listener_is_woken_by_its_own_topic_only() {
        let listeners = Listeners::default();
        let waiting = listeners.join("a");
        wake(&listeners, "b");
        assert!(!waiting.wait(Instant::now()));
        wake(&listeners, "a");
        assert!(waiting.wait(Instant::now()));
        assert!(!waiting.wait(Instant::now()));
    }

    #[test]
    fn a_sleeping_listener_wakes_up() {
        let listeners = Listeners::default();
        let waiting = listeners.join("a");
        thread::scope(|scope| {
            scope.spawn(|| wake(&listeners, "a"));
            assert!(waiting.wait(Instant::now() + Duration::from_secs(60)));
        });
    }

    /// F18.
    #[test]
    fn there_are_only_so_many_subscriptions() {
        let listeners = Listeners::default();
        let waiting = listeners.join("a");
        for _ in 1..SUBSCRIPTIONS_MAX {
            assert!(listeners.check_room(0, 1).is_ok());
            listeners.add(&waiting.topic, Listener::Waiter(Arc::clone(&waiting.waiter)));
        }
        let refusal = listeners.check_room(0, 1).unwrap_err();
        assert!(refusal.to_string().contains("2000000"), "{refusal}");
        assert_eq!(refusal.status(), 503, "which is answered with Retry-After");
        drop(waiting);
        let listeners = Listeners::default();
        assert!(listeners.check_room(CONNECTION_SUBSCRIPTIONS_MAX - 1, 1).is_ok());
        let refusal = listeners.check_room(CONNECTION_SUBSCRIPTIONS_MAX, 1).unwrap_err();
        assert!(refusal.to_string().contains("a connection may have 100000 "), "{refusal}");
    }

    /// However many connections take all that they can, there is room for one more.
    #[test]
    fn whoever_comes_late_finds_room_beside_those_who_take_all_they_can() {
        let listeners = Listeners::default();
        let waiting = listeners.join("a");
        let mut greedy = [0; 12];
        while greedy.iter().any(|own| listeners.check_room(*own, 1000).is_ok()) {
            for own in &mut greedy {
                if listeners.check_room(*own, 1000).is_ok() {
                    *own += 1000;
                    listeners.count.fetch_add(1000, Ordering::SeqCst);
                }
            }
        }
        assert!(greedy.iter().all(|own| *own >= 70_000), "{greedy:?}");
        assert!(listeners.check_room(0, 70_000).is_ok());
        drop(waiting);
    }

    /// A topic may be subscribed to again before the one that another connection ended has left.
    #[test]
    fn of_two_subscriptions_of_a_session_the_one_leaves_that_has_ended() {
        let topics = Topics::new(Memory::new(u64::MAX));
        let (session, _client) = subscribe(&push_of(topics, 1));
        let listeners = Listeners::default();
        for ended in [0, 1] {
            let at = |index| Listener::Session(Arc::clone(&session), index);
            for index in [0, 1] {
                listeners.add(&"a".into(), at(index));
            }
            listeners.end("a", session.number, ended);
            let left = listeners.of("a").unwrap();
            assert!(matches!(&left[..], [Listener::Session(_, at)] if *at == 1 - ended));
            listeners.end("a", session.number, 1 - ended);
        }
        assert!(listeners.is_empty());
    }

    #[test]
    fn whoever_leaves_leaves_nothing_behind() {
        let listeners = Listeners::default();
        drop((listeners.join("a"), listeners.join("a")));
        assert!(listeners.topics.lock().is_empty());
        assert_eq!(listeners.count.load(Ordering::SeqCst), 0);
    }
}
