//! Who waits for messages of which topic.
//!
//! A listener registers first and looks at the topic afterwards; a publisher appends first and
//! looks for listeners afterwards. So whatever the two do at once, one of them sees the other.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// All listeners of the broker.
#[derive(Default)]
pub(crate) struct Listeners {
    /// Held to add, remove or copy a list; nobody is woken while it is held.
    topics: Mutex<HashMap<String, Vec<Arc<Bell>>>>,
    /// How many listeners there are: most publishes find none and take no lock.
    count: AtomicUsize,
}

/// Wakes one waiting thread.
#[derive(Default)]
pub(crate) struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

/// A thread's place among the listeners of a topic; leaving is dropping it.
pub(crate) struct Place<'a> {
    listeners: &'a Listeners,
    topic: String,
    bell: Arc<Bell>,
}

impl Listeners {
    /// Registers the calling thread with a topic.
    pub(crate) fn join(&self, topic: &str) -> Place<'_> {
        let bell = Arc::new(Bell::default());
        lock(&self.topics).entry(topic.to_owned()).or_default().push(Arc::clone(&bell));
        self.count.fetch_add(1, Ordering::SeqCst);
        Place { listeners: self, topic: topic.to_owned(), bell }
    }

    /// Wakes everybody who waits for this topic.
    pub(crate) fn ring(&self, topic: &str) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let bells = lock(&self.topics).get(topic).cloned().unwrap_or_default();
        for bell in bells {
            *lock(&bell.rung) = true;
            bell.changed.notify_all();
        }
    }
}

impl Place<'_> {
    /// Sleeps until the topic was published to since the last call, or until the deadline.
    /// Returns whether it was.
    pub(crate) fn wait(&self, deadline: Instant) -> bool {
        let mut rung = lock(&self.bell.rung);
        while !*rung {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let woken = self.bell.changed.wait_timeout(rung, left);
            rung = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        *rung = false;
        true
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut topics = lock(&self.listeners.topics);
        if let Some(bells) = topics.get_mut(&self.topic) {
            bells.retain(|bell| !Arc::ptr_eq(bell, &self.bell));
            if bells.is_empty() {
                topics.remove(&self.topic);
            }
        }
        self.listeners.count.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A list of bells and a flag are whole after any panic, so poison means nothing here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn a_listener_is_woken_by_its_own_topic_only() {
        let listeners = Listeners::default();
        let place = listeners.join("a");
        listeners.ring("b");
        assert!(!place.wait(Instant::now()));
        listeners.ring("a");
        assert!(place.wait(Instant::now()));
        assert!(!place.wait(Instant::now()));
    }

    #[test]
    fn a_sleeping_listener_wakes_up() {
        let listeners = Listeners::default();
        let place = listeners.join("a");
        thread::scope(|scope| {
            scope.spawn(|| listeners.ring("a"));
            assert!(place.wait(Instant::now() + Duration::from_secs(60)));
        });
    }

    #[test]
    fn whoever_leaves_leaves_nothing_behind() {
        let listeners = Listeners::default();
        drop((listeners.join("a"), listeners.join("a")));
        assert!(lock(&listeners.topics).is_empty());
        assert_eq!(listeners.count.load(Ordering::SeqCst), 0);
    }
}
