//! The homes of topics, as a peer learned them from its index.

use super::mirrors::Mirrors;
use common::lock::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// Where topics live, as the index told last. The home of some is to be asked for, because a mirror
/// or a subscriber waits for them.
///
/// Held to look or to note, never across I/O.
#[derive(Default)]
pub(super) struct Locations(Mutex<HashMap<String, Option<Arc<Mirrors>>>>);

impl Locations {
    /// The home of a topic, if that is known.
    pub(super) fn get(&self, topic: &str) -> Option<Arc<Mirrors>> {
        self.0.lock().get(topic).cloned().flatten()
    }

    /// Notes the home of a topic; gives the one that was noted before.
    pub(super) fn set(&self, topic: &str, home: &Arc<Mirrors>) -> Option<Arc<Mirrors>> {
        self.0.lock().insert(topic.to_owned(), Some(Arc::clone(home))).flatten()
    }

    /// Notes that a topic is no longer where it was: its home is to be asked for.
    pub(super) fn moved(&self, topic: &str) {
        self.0.lock().insert(topic.to_owned(), None);
    }

    /// The topics whose home is to be asked for.
    pub(super) fn all_moved(&self) -> Vec<String> {
        let homes = self.0.lock();
        let moved = homes.iter().filter(|(_, home)| home.is_none());
        moved.map(|(topic, _)| topic.clone()).collect()
    }

    /// Forgets a topic, whose home is this peer now, or for which nobody waits.
    pub(super) fn forget(&self, topic: &str) {
        self.0.lock().remove(topic);
    }
}
