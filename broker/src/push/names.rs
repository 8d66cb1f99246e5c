//! Lasting subscriptions: those that have a name, and outlive their connection.
//!
//! A name has a place in each of its topics: everything before it is acknowledged. The newest
//! connection of a name has it; an older one keeps its other subscriptions.
//!
//! # Not here
//!
//! When something is acknowledged: JSON subscribers say so, text subscribers by having been
//! written to (`session.rs`).

use crate::push::session::Session;
use crate::refusal::Refusal;
use crate::store::change::PlaceChange;
use crate::store::replay::Places;
use crate::store::stream::Cursor;
use common::limits::SUBSCRIBERS_MAX;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// All lasting subscriptions of the broker.
#[derive(Default)]
pub(crate) struct Names {
    /// Held to look something up or to note it; innermost of all locks.
    subscribers: Mutex<HashMap<Arc<str>, Subscriber>>,
}

/// What belongs to a name.
#[derive(Default)]
struct Subscriber {
    /// The connection that has the name now.
    holder: Weak<Session>,
    /// The first offset of each topic that is not acknowledged.
    places: HashMap<Arc<str>, Cursor>,
    /// Topics whose place moved since that was last noted on disk.
    moved: HashSet<Arc<str>>,
}

impl Names {
    /// Subscriptions as they were kept.
    pub(crate) fn restored(places: Places) -> Names {
        let subscribers = places.into_iter().filter(|(_, places)| !places.is_empty());
        let subscribers = subscribers
            .map(|(name, places)| (name, Subscriber { places, ..Subscriber::default() }));
        Names { subscribers: Mutex::new(subscribers.collect()) }
    }

    /// Gives a name to a session; the session that had it before, if that is another.
    ///
    /// # Errors
    ///
    /// Where there are as many names as there may be.
    pub(crate) fn hold(
        &self,
        name: &str,
        session: &Arc<Session>,
    ) -> Result<Option<Arc<Session>>, Refusal> {
        let mut subscribers = self.lock();
        if !subscribers.contains_key(name) && subscribers.len() >= SUBSCRIBERS_MAX {
            return Err(Refusal::TooManySubscribers { subscribers_max: SUBSCRIBERS_MAX });
        }
        let subscriber = subscribers.entry(name.into()).or_default();
        let before = subscriber.holder.upgrade();
        subscriber.holder = Arc::downgrade(session);
        Ok(before.filter(|before| !Arc::ptr_eq(before, session)))
    }

    /// Subscribes a name to a topic: where it goes on. The first time that is `begin`, for
    /// everything before is then taken as acknowledged.
    /// Also says whether it is the first time.
    pub(crate) fn subscribe(&self, name: &str, topic: &str, begin: Cursor) -> (Cursor, bool) {
        let mut subscribers = self.lock();
        let subscriber = subscribers.entry(name.into()).or_default();
        let first = !subscriber.places.contains_key(topic);
        (*subscriber.places.entry(topic.into()).or_insert(begin), first)
    }

    /// The places that moved since the last call.
    pub(crate) fn take_moved(&self) -> Vec<PlaceChange> {
        let mut subscribers = self.lock();
        let mut moved = Vec::new();
        for (name, subscriber) in &mut *subscribers {
            for topic in subscriber.moved.drain() {
                let place = subscriber.places.get(&topic).copied();
                moved.push(PlaceChange { subscriber: Arc::clone(name), topic, place });
            }
        }
        moved
    }

    /// Notes once more that these places moved: they could not be kept.
    pub(crate) fn put_back(&self, places: &[PlaceChange]) {
        let mut subscribers = self.lock();
        for PlaceChange { subscriber, topic, .. } in places {
            if let Some(subscriber) = subscribers.get_mut(subscriber)
                && subscriber.places.contains_key(topic)
            {
                subscriber.moved.insert(Arc::clone(topic));
            }
        }
    }

    /// Which of these subscriptions are there no more.
    pub(crate) fn ended(&self, places: &[PlaceChange]) -> Vec<PlaceChange> {
        let subscribers = self.lock();
        let is_here = |place: &PlaceChange| {
            let subscriber = subscribers.get(&place.subscriber);
            subscriber.is_some_and(|subscriber| subscriber.places.contains_key(&place.topic))
        };
        let ended = places.iter().filter(|place| !is_here(place));
        ended.map(|place| PlaceChange { place: None, ..place.clone() }).collect()
    }

    /// Whether a name has a lasting subscription to a topic.
    pub(crate) fn has(&self, name: &str, topic: &str) -> bool {
        self.lock().get(name).is_some_and(|subscriber| subscriber.places.contains_key(topic))
    }

    /// Whether this session has the name.
    pub(crate) fn is_held_by(&self, name: &str, session: &Arc<Session>) -> bool {
        self.lock().get(name).is_some_and(|it| it.holder.ptr_eq(&Arc::downgrade(session)))
    }

    /// The topics of a name, and where it goes on in each.
    pub(crate) fn places(&self, name: &str) -> Vec<(Arc<str>, Cursor)> {
        let subscribers = self.lock();
        let places = subscribers.get(name).map(|subscriber| &subscriber.places);
        places.into_iter().flatten().map(|(topic, place)| (Arc::clone(topic), *place)).collect()
    }

    /// Notes that everything before `place` is acknowledged. A place never goes back within its
    /// list. Returns whether there is such a subscription.
    pub(crate) fn acknowledge(&self, name: &str, topic: &str, place: Cursor) -> bool {
        let mut subscribers = self.lock();
        let Some(subscriber) = subscribers.get_mut(name) else { return false };
        let Some(known) = subscriber.places.get_mut(topic) else { return false };
        if known.stream != place.stream || known.next < place.next {
            *known = place;
            subscriber.moved.insert(topic.into());
        }
        true
    }

    /// Ends the lasting subscription of a name to a topic. Gives the connection that has the name,
    /// or had it last; nothing where there was no such subscription.
    pub(crate) fn unsubscribe(&self, name: &str, topic: &str) -> Option<Weak<Session>> {
        let mut subscribers = self.lock();
        let subscriber = subscribers.get_mut(name)?;
        let holder = subscriber.holder.clone();
        let found = subscriber.places.remove(topic).is_some();
        subscriber.moved.remove(topic);
        if subscriber.places.is_empty() {
            subscribers.remove(name);
        }
        found.then_some(holder)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Subscriber>> {
        // Places are whole after any panic: each is changed in one step.
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
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
        let names = Names::default();
        assert_eq!(names.subscribe("ann", "a", at(5)), (at(5), true));
        assert_eq!(names.subscribe("ann", "a", at(9)), (at(5), false));
        assert!(names.acknowledge("ann", "a", at(7)));
        assert!(names.acknowledge("ann", "a", at(6)));
        assert_eq!(names.subscribe("ann", "a", at(9)), (at(7), false));
        assert!(!names.acknowledge("ann", "b", at(7)));
        assert!(!names.acknowledge("bob", "a", at(7)));
    }

    #[test]
    fn places_that_moved_are_told_once() {
        let names = Names::default();
        names.subscribe("ann", "a", at(5));
        assert!(names.take_moved().is_empty());
        names.acknowledge("ann", "a", at(6));
        names.acknowledge("ann", "a", at(7));
        let moved = names.take_moved();
        assert_eq!(moved.iter().map(|change| change.place).collect::<Vec<_>>(), [Some(at(7))]);
        assert!(names.take_moved().is_empty());
    }

    #[test]
    fn what_ended_while_its_place_was_kept_is_found() {
        let names = Names::default();
        names.subscribe("ann", "a", at(5));
        names.subscribe("ann", "b", at(5));
        names.acknowledge("ann", "a", at(6));
        names.acknowledge("ann", "b", at(6));
        let moved = names.take_moved();
        assert!(names.ended(&moved).is_empty());
        names.unsubscribe("ann", "b");
        let ended = names.ended(&moved);
        assert_eq!(ended.len(), 1);
        assert_eq!((&*ended[0].topic, ended[0].place), ("b", None));
    }

    #[test]
    fn an_ended_subscription_leaves_nothing_behind() {
        let names = Names::default();
        names.subscribe("ann", "a", at(5));
        assert!(names.unsubscribe("ann", "a").is_some());
        assert!(names.unsubscribe("ann", "a").is_none());
        assert!(names.places("ann").is_empty());
        assert!(names.lock().is_empty());
    }

    #[test]
    fn another_list_is_acknowledged_from_its_own_start() {
        let names = Names::default();
        names.subscribe("ann", "a", at(5));
        let other = Cursor { stream: StreamId::random(), next: 1 };
        names.acknowledge("ann", "a", other);
        assert_eq!(names.places("ann"), [("a".into(), other)]);
    }
}
