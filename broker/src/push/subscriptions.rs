//! The subscriptions of one session.
//!
//! A publisher knows a subscription by its index. Finding the topic in every session would take
//! most of the time in the row `topics-fan-out` of the benchmark.
//!
//! # Not here
//!
//! Locks and sockets (`session.rs`), and reading for a subscription (`pass.rs`).

use crate::push::{Beginning, Format, OtherCursors};
use crate::store::{Cursor, Place, StreamId};
use common::limits::{EVENT_ID_SIZE_MAX, EVENT_PLACE_SIZE_MAX};
use std::collections::{HashMap, VecDeque};
use std::fmt::Write;
use std::mem;
use std::sync::Arc;

/// One topic of a session.
pub(crate) struct Subscription {
    /// The name, as all subscriptions to the topic share it.
    pub(crate) topic: Arc<str>,
    /// Where it goes on, perhaps inside a message.
    pub(crate) place: Place,
    pub(crate) format: Format,
    /// The lasting subscription that this one goes on with.
    pub(crate) name: Option<Arc<str>>,
    /// Whether the client asked for the topic itself; else a pattern of its chose it.
    pub(crate) is_asked: bool,
    /// Whether the client is still to be told that the topic is subscribed to.
    pub(crate) is_untold: bool,
    /// Whether the client was sent messages of it.
    pub(crate) has_moved: bool,
    /// The topic was deleted under the subscriber, who was not told of a new list yet.
    pub(crate) lost: bool,
    /// It was ended inside a message, whose rest still has to be sent.
    pub(crate) has_ended: bool,
    /// The newest announcement that it has not been read since.
    announced: u64,
    ready: bool,
}

impl Subscription {
    /// A subscription that begins or goes on here.
    pub(crate) fn new(
        Beginning { topic, cursor, is_asked }: Beginning,
        format: Format,
        name: Option<Arc<str>>,
    ) -> Subscription {
        Subscription {
            topic,
            place: Place::before(cursor),
            format,
            name,
            is_asked,
            is_untold: !is_asked,
            has_moved: false,
            lost: false,
            has_ended: false,
            announced: 0,
            ready: false,
        }
    }
}

/// All subscriptions of a session.
#[derive(Default)]
pub(super) struct Subscriptions {
    /// Each at its index.
    slots: Vec<Option<Subscription>>,
    /// Indexes that nobody has.
    gaps: Vec<usize>,
    /// The index of each topic's.
    topics: HashMap<Arc<str>, usize>,
    /// Those that may have new messages. Invariant: all whose `ready` is set. The index of one that
    /// was removed may stand there too: to look for it would take long where there are many.
    ready: VecDeque<usize>,
    /// The one of which a message was sent in part: nothing comes before its rest.
    inside: Option<usize>,
    /// Events have no ids any more: one would have been too long.
    pub(super) are_without_ids: bool,
}

impl Subscriptions {
    /// Adds a subscription, unless the topic has one. Gives its index. It is not read before it is
    /// noted.
    pub(super) fn add(&mut self, subscription: Subscription) -> Option<usize> {
        if let Some(known) = self.topics.get(&subscription.topic) {
            self.get_mut(*known)?.is_asked |= subscription.is_asked;
            return None;
        }
        let index = self.gaps.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.topics.insert(Arc::clone(&subscription.topic), index);
        *self.slots.get_mut(index)? = Some(subscription);
        Some(index)
    }

    /// The subscription to a topic, and its index.
    pub(super) fn find(&self, topic: &str) -> Option<(usize, &Subscription)> {
        let index = *self.topics.get(topic)?;
        self.get(index).map(|subscription| (index, subscription))
    }

    /// Removes a subscription; its index is free for another, once its last message is whole.
    pub(super) fn remove(&mut self, index: usize) {
        let Some(removed) = self.get_mut(index) else { return };
        (removed.has_ended, removed.ready) = (true, false);
        let topic = Arc::clone(&removed.topic);
        self.topics.remove(&topic);
        if self.inside != Some(index) {
            self.free(index);
        }
    }

    fn free(&mut self, index: usize) {
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = None;
            self.gaps.push(index);
        }
    }

    /// Moves a subscription behind what was read for it.
    pub(super) fn passed(&mut self, index: usize, place: Place) {
        self.inside = (place.inside > 0).then_some(index);
        let Some(subscription) = self.get_mut(index) else { return };
        subscription.place = place;
        if subscription.has_ended && place.inside == 0 {
            self.free(index);
        }
    }

    /// Whether a message was sent in part.
    pub(super) fn are_inside(&self) -> bool {
        self.inside.is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.topics.len()
    }

    /// The topics of those subscriptions.
    pub(super) fn topics(&self, which: impl Fn(&Subscription) -> bool) -> Vec<Arc<str>> {
        let all = self.slots.iter().flatten();
        all.filter(|it| !it.has_ended && which(it)).map(|it| Arc::clone(&it.topic)).collect()
    }

    /// Notes that the list is gone that a subscription to this topic reads: it has another's index
    /// if it was ended meanwhile.
    pub(super) fn lose(&mut self, index: usize, topic: &str) {
        let found = self.get_mut(index).filter(|it| &*it.topic == topic);
        if let Some(it) = found.filter(|it| it.place.cursor.stream != StreamId::NONE) {
            it.place.cursor = Cursor::default();
            it.lost = true;
        }
    }

    /// Notes whether the client asks for a topic itself. Gives what was noted.
    pub(super) fn set_asked(&mut self, topic: &str, is_asked: bool) -> bool {
        let found = self.topics.get(topic).copied().and_then(|index| self.get_mut(index));
        found.is_some_and(|it| mem::replace(&mut it.is_asked, is_asked))
    }

    /// Notes that a subscription may have the messages of this announcement.
    pub(super) fn note(&mut self, index: usize, announced: u64) {
        let Some(subscription) = self.get_mut(index) else { return };
        subscription.announced = subscription.announced.max(announced);
        if !subscription.ready && !subscription.has_ended {
            subscription.ready = true;
            self.ready.push_back(index);
        }
    }

    /// Whether any may have new messages, or the rest of one.
    pub(super) fn are_ready(&self) -> bool {
        !self.ready.is_empty() || self.are_inside()
    }

    /// The next subscription that may have new messages, and the last announcement of them. It is
    /// about to be read. One that is inside a message comes first, and may be ready besides.
    pub(super) fn take_ready(&mut self) -> Option<(usize, u64)> {
        if let Some(index) = self.inside {
            return Some((index, 0));
        }
        loop {
            let index = self.ready.pop_front()?;
            if let Some(subscription) = self.get_mut(index).filter(|it| it.ready) {
                subscription.ready = false;
                return Some((index, mem::take(&mut subscription.announced)));
            }
        }
    }

    fn get(&self, index: usize) -> Option<&Subscription> {
        self.slots.get(index)?.as_ref()
    }

    /// The subscription at an index.
    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Subscription> {
        self.slots.get_mut(index)?.as_mut()
    }

    /// What an event stream begins with. One with a name goes on where the name stands; its ids
    /// may be long at most later.
    pub(super) fn start(&mut self, format: Format) -> Vec<u8> {
        let cursors = self.other_cursors(None);
        self.are_without_ids = cursors.are_too_long;
        format.start(&cursors)
    }

    /// What ids of an event stream say beside the cursor of this subscription. A stream with a name
    /// begins where the name stands: its ids leave out where nothing came since.
    pub(super) fn other_cursors(&self, index: Option<usize>) -> OtherCursors {
        let mut others = OtherCursors::default();
        if index.and_then(|index| self.get(index)).is_some_and(|it| !it.format.is_event()) {
            return others;
        }
        let are_named = |(at, it): &(usize, &Subscription)| {
            Some(*at) != index && !it.has_ended && (it.name.is_none() || it.has_moved)
        };
        let all = self.slots.iter().enumerate().filter_map(|(at, it)| Some((at, it.as_ref()?)));
        others.are_too_long = self.are_without_ids;
        for (_, subscription) in all.filter(are_named) {
            if others.are_too_long {
                break;
            }
            // Of a list that is gone something was read: 0 would say that nothing was.
            let Cursor { stream, next } = subscription.place.cursor;
            let read = u64::from(subscription.lost && subscription.name.is_none());
            // Writing to a string cannot fail.
            let _ = write!(others.text, ",{}", Cursor { stream, next: next.max(read) });
            others.are_too_long = others.text.len() + EVENT_PLACE_SIZE_MAX > EVENT_ID_SIZE_MAX;
        }
        if others.are_too_long {
            others.text.clear();
        }
        others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: Format = Format::Event { chunked: false };

    fn add(subscriptions: &mut Subscriptions, topic: &str, format: Format) -> usize {
        let cursor = Cursor { next: subscriptions.slots.len() as u64, stream: StreamId::NONE };
        let place = Beginning::asked(topic, cursor);
        let added = subscriptions.add(Subscription::new(place, format, None));
        added.inspect(|index| subscriptions.note(*index, u64::MAX)).unwrap()
    }

    #[test]
    fn an_index_that_is_free_again_is_used_again() {
        let mut subscriptions = Subscriptions::default();
        let [a, b] = ["a", "b"].map(|topic| add(&mut subscriptions, topic, Format::Topic));
        subscriptions.remove(a);
        assert!(subscriptions.find("a").is_none());
        assert_eq!(add(&mut subscriptions, "c", Format::Topic), a);
        assert_eq!(subscriptions.find("c").map(|(index, _)| index), Some(a));
        assert_eq!(subscriptions.find("b").map(|(index, _)| index), Some(b));
        let place = Beginning::asked("b", subscriptions.get(b).unwrap().place.cursor);
        let again = Subscription::new(place, Format::Text, None);
        assert_eq!(subscriptions.add(again), None);
        assert_eq!(subscriptions.slots.len(), 2);
    }

    #[test]
    fn whoever_ends_inside_a_message_still_gets_its_rest() {
        let mut subscriptions = Subscriptions::default();
        let [a, b] = ["a", "b"].map(|topic| add(&mut subscriptions, topic, Format::Topic));
        let place = subscriptions.get_mut(a).unwrap().place;
        subscriptions.passed(a, Place { inside: 7, ..place });
        subscriptions.remove(a);
        assert!(
            subscriptions.find("a").is_none()
                && !subscriptions.topics(|_| true).contains(&"a".into())
        );
        assert_eq!(subscriptions.take_ready(), Some((a, 0)), "before all others");
        assert_ne!(add(&mut subscriptions, "a", Format::Topic), a);
        subscriptions.passed(a, place);
        subscriptions.note(a, 9);
        assert_eq!(subscriptions.take_ready().map(|(index, _)| index), Some(b));
        assert_eq!(add(&mut subscriptions, "c", Format::Topic), a, "it is free now");
    }

    #[test]
    fn each_is_ready_once_however_often_it_is_noted() {
        let mut subscriptions = Subscriptions::default();
        let [a, b] = ["a", "b"].map(|topic| add(&mut subscriptions, topic, Format::Topic));
        assert_eq!(subscriptions.take_ready(), Some((a, u64::MAX)), "whatever was there before it");
        subscriptions.note(a, 7);
        subscriptions.note(a, 9);
        subscriptions.note(a, 8);
        assert_eq!(subscriptions.take_ready(), Some((b, u64::MAX)));
        assert_eq!(subscriptions.take_ready(), Some((a, 9)));
        assert!(!subscriptions.are_ready());
    }

    #[test]
    fn what_was_removed_is_no_longer_ready() {
        let mut subscriptions = Subscriptions::default();
        let [a, b] = ["a", "b"].map(|topic| add(&mut subscriptions, topic, Format::Topic));
        subscriptions.remove(a);
        subscriptions.note(a, 7);
        assert_eq!(subscriptions.take_ready().map(|(index, _)| index), Some(b));
        assert_eq!(subscriptions.take_ready(), None);
    }

    #[test]
    fn an_event_names_the_cursors_in_all_topics_while_they_fit() {
        let mut subscriptions = Subscriptions::default();
        let [a, b, c] = ["a", "b", "c"].map(|topic| add(&mut subscriptions, topic, EVENT));
        let others = |subscriptions: &Subscriptions, index| {
            let others = subscriptions.other_cursors(index);
            (others.text.replace("@0000000000000000", ""), others.are_too_long)
        };
        assert_eq!(others(&subscriptions, Some(b)), (",0,2".to_owned(), false));
        assert_eq!(others(&subscriptions, None), (",0,1,2".to_owned(), false));
        subscriptions.remove(a);
        assert_eq!(others(&subscriptions, Some(c)), (",1".to_owned(), false));
        let mut count = 0;
        let own = loop {
            let own = add(&mut subscriptions, &count.to_string(), EVENT);
            let (text, is_too_long) = others(&subscriptions, Some(own));
            assert_eq!(text.is_empty(), is_too_long);
            if is_too_long {
                break own;
            }
            count += 1;
        };
        assert!((250..350).contains(&count), "{count} topics");
        // The last one may have been longer than one of these.
        subscriptions.remove(b);
        subscriptions.remove(c);
        assert!(!others(&subscriptions, Some(own)).1, "it fits again");
    }
}
