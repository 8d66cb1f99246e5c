//! Lasting subscriptions: those that have a name, and outlive their connection.
//!
//! A name has a position in each of its topics: everything before it is acknowledged. The newest
//! connection of a name has it; an older one keeps its other subscriptions.
//!
//! # Not here
//!
//! When something is acknowledged: JSON subscribers say so, text subscribers by having been
//! written to (`session.rs`). What is kept on disk, and when (`mod.rs`).

use crate::refusal::Refusal;
use crate::store::change::PositionChange;
use crate::store::replay::Positions;
use crate::store::stream::Cursor;
use common::limits::SUBSCRIBERS_MAX;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All lasting subscriptions of the broker.
#[derive(Default)]
pub(crate) struct LastingSubscriptions {
    /// Held to look something up or to note it; innermost of all locks.
    names: Mutex<HashMap<Arc<str>, Name>>,
}

/// What belongs to a name.
#[derive(Default)]
struct Name {
    /// The number of the session that has the name now.
    holder: Option<u64>,
    /// The first offset of each topic that is not acknowledged.
    positions: HashMap<Arc<str>, Cursor>,
    /// Topics whose position moved since that was last kept on disk.
    moved: HashSet<Arc<str>>,
}

impl LastingSubscriptions {
    /// Subscriptions as they were kept.
    pub(crate) fn restored(positions: Positions) -> LastingSubscriptions {
        let names = positions.into_iter().filter(|(_, positions)| !positions.is_empty());
        let names = names.map(|(name, positions)| (name, Name { positions, ..Name::default() }));
        LastingSubscriptions { names: Mutex::new(names.collect()) }
    }

    /// Gives a name to a session. Gives the number of the session that had it before, if that is
    /// another.
    ///
    /// # Errors
    ///
    /// Where there are as many names as there may be.
    pub(super) fn hold(&self, name: &str, session: u64) -> Result<Option<u64>, Refusal> {
        let mut names = self.lock();
        if !names.contains_key(name) && names.len() >= SUBSCRIBERS_MAX {
            return Err(Refusal::TooManySubscribers { subscribers_max: SUBSCRIBERS_MAX });
        }
        let before = names.entry(name.into()).or_default().holder.replace(session);
        Ok(before.filter(|before| *before != session))
    }

    /// Takes a name back from a session that ends, if it still has it.
    pub(super) fn release(&self, name: &str, session: u64) {
        let mut names = self.lock();
        let Some(held) = names.get_mut(name).filter(|held| held.holder == Some(session)) else {
            return;
        };
        held.holder = None;
        if held.positions.is_empty() {
            names.remove(name);
        }
    }

    /// Subscribes a name to a topic: where it goes on. The first time that is `begin`, for
    /// everything before is then taken as acknowledged.
    /// Also says whether it is the first time.
    pub(super) fn subscribe(&self, name: &str, topic: &str, begin: Cursor) -> (Cursor, bool) {
        let mut names = self.lock();
        let positions = &mut names.entry(name.into()).or_default().positions;
        let first = !positions.contains_key(topic);
        (*positions.entry(topic.into()).or_insert(begin), first)
    }

    /// The positions that moved since the last call.
    pub(super) fn take_moved(&self) -> Vec<PositionChange> {
        let mut names = self.lock();
        let mut moved = Vec::new();
        for (name, Name { positions, moved: topics, .. }) in &mut *names {
            for topic in topics.drain() {
                let place = positions.get(&topic).copied();
                moved.push(PositionChange { subscriber: Arc::clone(name), topic, position: place });
            }
        }
        moved
    }

    /// Notes once more that these positions moved: they could not be kept.
    pub(super) fn put_back(&self, changes: &[PositionChange]) {
        let mut names = self.lock();
        for PositionChange { subscriber, topic, .. } in changes {
            if let Some(name) = names.get_mut(subscriber)
                && name.positions.contains_key(topic)
            {
                name.moved.insert(Arc::clone(topic));
            }
        }
    }

    /// Which of these subscriptions are there no more.
    pub(super) fn ended(&self, changes: &[PositionChange]) -> Vec<PositionChange> {
        let names = self.lock();
        let is_here = |change: &PositionChange| {
            let name = names.get(&change.subscriber);
            name.is_some_and(|name| name.positions.contains_key(&change.topic))
        };
        let ended = changes.iter().filter(|change| !is_here(change));
        ended.map(|change| PositionChange { position: None, ..change.clone() }).collect()
    }

    /// Whether a name has a lasting subscription to a topic.
    pub(super) fn has(&self, name: &str, topic: &str) -> bool {
        self.lock().get(name).is_some_and(|name| name.positions.contains_key(topic))
    }

    /// Whether this session has the name.
    pub(super) fn is_held_by(&self, name: &str, session: u64) -> bool {
        self.lock().get(name).is_some_and(|name| name.holder == Some(session))
    }

    /// The topics of a name.
    pub(crate) fn topics(&self, name: &str) -> Vec<Arc<str>> {
        let names = self.lock();
        let positions = names.get(name).map(|name| name.positions.keys());
        positions.into_iter().flatten().cloned().collect()
    }

    /// Notes that everything before `position` is acknowledged. A position never goes back within
    /// its list. Returns whether there is such a subscription.
    pub(crate) fn acknowledge(&self, name: &str, topic: &str, position: Cursor) -> bool {
        let mut names = self.lock();
        let Some(name) = names.get_mut(name) else { return false };
        let Some(known) = name.positions.get_mut(topic) else { return false };
        if known.stream != position.stream || known.next < position.next {
            *known = position;
            name.moved.insert(topic.into());
        }
        true
    }

    /// Ends the lasting subscription of a name to a topic. Gives the number of the session that
    /// has the name; nothing where there was no such subscription, or nobody has the name.
    pub(super) fn unsubscribe(&self, name: &str, topic: &str) -> Option<u64> {
        let mut names = self.lock();
        let ended = names.get_mut(name)?;
        let holder = ended.holder;
        let found = ended.positions.remove(topic).is_some();
        ended.moved.remove(topic);
        if ended.positions.is_empty() {
            names.remove(name);
        }
        holder.filter(|_| found)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Name>> {
        // Positions are whole after any panic: each is changed in one step.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::stream::StreamId;

    fn at(next: u64) -> Cursor {
        Cursor { stream: StreamId::NONE, next }
    }

    #[test]
    fn a_name_goes_on_where_it_acknowledged() {
        let lasting = LastingSubscriptions::default();
        assert_eq!(lasting.subscribe("ann", "a", at(5)), (at(5), true));
        assert_eq!(lasting.subscribe("ann", "a", at(9)), (at(5), false));
        assert!(lasting.acknowledge("ann", "a", at(7)));
        assert!(lasting.acknowledge("ann", "a", at(6)));
        assert_eq!(lasting.subscribe("ann", "a", at(9)), (at(7), false));
        assert!(!lasting.acknowledge("ann", "b", at(7)));
        assert!(!lasting.acknowledge("bob", "a", at(7)));
    }

    #[test]
    fn places_that_moved_are_told_once() {
        let lasting = LastingSubscriptions::default();
        lasting.subscribe("ann", "a", at(5));
        assert!(lasting.take_moved().is_empty());
        lasting.acknowledge("ann", "a", at(6));
        lasting.acknowledge("ann", "a", at(7));
        let moved = lasting.take_moved();
        assert_eq!(moved.iter().map(|change| change.position).collect::<Vec<_>>(), [Some(at(7))]);
        assert!(lasting.take_moved().is_empty());
    }

    #[test]
    fn what_ended_while_its_place_was_kept_is_found() {
        let lasting = LastingSubscriptions::default();
        lasting.subscribe("ann", "a", at(5));
        lasting.subscribe("ann", "b", at(5));
        lasting.acknowledge("ann", "a", at(6));
        lasting.acknowledge("ann", "b", at(6));
        let moved = lasting.take_moved();
        assert!(lasting.ended(&moved).is_empty());
        lasting.unsubscribe("ann", "b");
        let ended = lasting.ended(&moved);
        assert_eq!(ended.len(), 1);
        assert_eq!((&*ended[0].topic, ended[0].position), ("b", None));
    }

    #[test]
    fn an_ended_subscription_leaves_nothing_behind() {
        let lasting = LastingSubscriptions::default();
        lasting.subscribe("ann", "a", at(5));
        lasting.hold("ann", 1).unwrap();
        assert_eq!(lasting.unsubscribe("ann", "a"), Some(1));
        assert_eq!(lasting.unsubscribe("ann", "a"), None);
        assert!(lasting.topics("ann").is_empty());
        assert!(lasting.lock().is_empty());
    }

    #[test]
    fn another_list_is_acknowledged_from_its_own_start() {
        let lasting = LastingSubscriptions::default();
        lasting.subscribe("ann", "a", at(5));
        let other = Cursor { stream: StreamId::random(), next: 1 };
        lasting.acknowledge("ann", "a", other);
        assert_eq!(lasting.subscribe("ann", "a", at(9)), (other, false));
    }

    #[test]
    fn the_newest_session_of_a_name_has_it_until_it_ends() {
        let lasting = LastingSubscriptions::default();
        assert_eq!(lasting.hold("ann", 1).unwrap(), None);
        assert_eq!(lasting.hold("ann", 1).unwrap(), None);
        assert_eq!(lasting.hold("ann", 2).unwrap(), Some(1));
        lasting.release("ann", 1);
        assert!(lasting.is_held_by("ann", 2));
        lasting.release("ann", 2);
        assert!(lasting.lock().is_empty(), "a name without subscriptions is forgotten");
    }
}
