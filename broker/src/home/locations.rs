//! The homes of topics, as a peer learned them from its index.

use super::mirrors::Mirrors;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where topics live.
#[derive(Default)]
pub(super) struct Locations {
    state: Mutex<State>,
}

/// Held to look or to note, never across I/O.
#[derive(Default)]
struct State {
    /// The homes of topics, as the index told last.
    homes: HashMap<String, Arc<Mirrors>>,
    /// Topics whose home is to be asked for, because a mirror or a subscriber waits for them.
    moved: HashSet<String>,
}

impl Locations {
    /// The home of a topic, if that is known.
    pub(super) fn get(&self, topic: &str) -> Option<Arc<Mirrors>> {
        self.lock().homes.get(topic).cloned()
    }

    /// Notes the home of a topic; gives the one that was noted before.
    pub(super) fn set(&self, topic: &str, home: &Arc<Mirrors>) -> Option<Arc<Mirrors>> {
        self.lock().homes.insert(topic.to_owned(), Arc::clone(home))
    }

    /// Notes that a topic is no longer where it was: its home is to be asked for.
    pub(super) fn moved(&self, topic: &str) {
        let mut state = self.lock();
        state.homes.remove(topic);
        state.moved.insert(topic.to_owned());
    }

    /// The topics whose home is to be asked for.
    pub(super) fn all_moved(&self) -> Vec<String> {
        self.lock().moved.iter().cloned().collect()
    }

    /// Notes that the home of a topic was found, or that nobody waits for it.
    pub(super) fn settled(&self, topic: &str) {
        self.lock().moved.remove(topic);
    }

    /// Forgets a topic, whose home is this peer now.
    pub(super) fn forget(&self, topic: &str) {
        let mut state = self.lock();
        state.homes.remove(topic);
        state.moved.remove(topic);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What was learnt can be learnt again.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
