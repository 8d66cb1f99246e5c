//! What every connection shares, and how messages get from one to the others.
//!
//! Whoever publishes delivers: after its publish is in the list and its own answer is sent, the
//! publisher's thread hands the news to those who wait for it. What would keep it for long is left
//! to the threads of `push/catch_up.rs`.

use crate::access::Access;
use crate::config::Timeouts;
use crate::home::{Homes, Index};
use crate::log::Log;
use crate::metrics::Metrics;
use crate::push::catch_up::CatchUp;
use crate::push::listeners::{Listener, Listeners};
use crate::push::names::Names;
use crate::push::session::Progress;
use crate::push::work::Work;
use crate::refusal::Refusal;
use crate::server::arrivals::Arrivals;
use crate::store::batch::Batch;
use crate::store::change::PlaceChange;
use crate::store::entry;
use crate::store::ledger::Receipt;
use crate::store::stream::{Cursor, StreamId};
use crate::store::topics::Topics;
use std::collections::HashSet;
use std::iter;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// How long a publisher's thread delivers before it leaves the rest to others.
pub(crate) const DELIVERY_TIME: Duration = Duration::from_millis(10);

/// How often acknowledgements of lasting subscriptions are noted on disk.
const PLACES_TIME: Duration = Duration::from_secs(1);

/// How many of them go into one change: a journal's frame has a limit.
const PLACES_MAX: usize = 10_000;

/// The broker, as a door sees it.
pub(crate) struct Broker {
    pub(crate) topics: Topics,
    pub(crate) listeners: Listeners,
    pub(crate) names: Names,
    pub(crate) catch_up: CatchUp,
    /// Who orders which topic; set before anybody is served.
    pub(crate) homes: OnceLock<Homes>,
    /// Which peers there are, where this broker is their index.
    pub(crate) index: Arc<Index>,
    /// Tells this broker from all others.
    pub(crate) id: String,
    /// The longest message, in bytes.
    pub(crate) message_size_max: usize,
    /// Who may come in; everybody, unless said otherwise.
    pub(crate) access: Access,
    /// How long HTTP clients may take.
    pub(crate) timeouts: Timeouts,
    /// Who did what; nothing is noted unless asked for.
    pub(crate) log: Log,
    /// Memory for what has not wholly arrived.
    pub(crate) arrivals: Arrivals,
    /// What is counted.
    pub(crate) metrics: Metrics,
}

impl Broker {
    /// A broker of these topics and lasting subscriptions, with so many threads to catch up.
    pub(crate) fn new(
        topics: Topics,
        names: Names,
        message_size_max: usize,
        threads_max: usize,
    ) -> Broker {
        Broker {
            topics,
            listeners: Listeners::default(),
            names,
            catch_up: CatchUp::new(threads_max),
            homes: OnceLock::new(),
            index: Arc::default(),
            id: StreamId::random().to_string(),
            message_size_max,
            access: Access::default(),
            timeouts: Timeouts::default(),
            log: Log::default(),
            arrivals: Arrivals::new(u64::MAX),
            metrics: Metrics::new(),
        }
    }

    /// Appends a batch: one answer for each publish. Listeners are not told yet; see
    /// [`Broker::announce`].
    pub(crate) fn publish(self: &Arc<Broker>, batch: &mut Batch) -> Vec<Result<Receipt, Refusal>> {
        let begun = Instant::now();
        let outcomes = self.homes().publish(batch, self);
        let messages = outcomes.iter().flatten().map(|receipt| receipt.appended).sum();
        self.metrics.published(outcomes.len() as u64, messages, begun.elapsed());
        for refusal in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            self.metrics.refused(refusal.status());
        }
        self.log.publishes(batch, &outcomes, |topic| self.homes().forwards_to(topic, self));
        outcomes
    }

    /// Sees to it that a topic can be read here. Whoever reads a topic calls this first.
    ///
    /// # Errors
    ///
    /// No such topic, where topics have to be created; or its home is out of reach.
    pub(crate) fn prepare(self: &Arc<Broker>, topic: &str) -> Result<(), Refusal> {
        self.homes().prepare(topic, self)
    }

    /// Who orders which topic.
    pub(crate) fn homes(&self) -> &Homes {
        self.homes.get().unwrap_or(&Homes::Own)
    }

    /// Creates a topic.
    pub(crate) fn create(self: &Arc<Broker>, topic: &str) -> Result<(), Refusal> {
        entry::check_topic(topic)?;
        let created = self.homes().create(topic, self);
        self.log.note("created", topic, &created);
        created
    }

    /// Deletes a topic and all its messages. Those who follow it are not told yet; see
    /// [`Broker::announce`].
    pub(crate) fn delete(self: &Arc<Broker>, topic: &str) -> Result<(), Refusal> {
        let deleted = self.homes().delete(topic, self);
        self.log.note("deleted", topic, &deleted);
        deleted
    }

    /// Begins a lasting subscription at `begin`, or goes on with it: where. Its beginning is kept
    /// at once, or a crash could make the subscriber miss what was published since.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotStored`].
    pub(crate) fn lasting(
        &self,
        name: &str,
        topic: &str,
        begin: Cursor,
    ) -> Result<Cursor, Refusal> {
        let (place, first) = self.names.subscribe(name, topic, begin);
        if first {
            let change =
                PlaceChange { subscriber: name.into(), topic: topic.into(), place: Some(place) };
            if let Err(refusal) = self.topics.keep(vec![change]) {
                self.names.unsubscribe(name, topic);
                return Err(refusal);
            }
        }
        Ok(place)
    }

    /// Ends a lasting subscription, whichever connection has it. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotStored`].
    pub(crate) fn end_lasting(&self, name: &str, topic: &str) -> Result<bool, Refusal> {
        if !self.names.has(name, topic) {
            return Ok(false);
        }
        // First on disk: what cannot be ended there goes on here.
        let change = PlaceChange { subscriber: name.into(), topic: topic.into(), place: None };
        self.topics.keep(vec![change])?;
        if let Some(holder) = self.names.unsubscribe(name, topic)
            && let Some(session) = holder.upgrade()
            && self.listeners.unsubscribe(topic, &session, Some(name))
        {
            self.log.note("unsubscribed", topic, &Ok(()));
        }
        Ok(true)
    }

    /// Keeps what lasting subscriptions acknowledged, from time to time and for ever. A crash
    /// between two times repeats a few messages.
    pub(crate) fn keep_places(&self) -> ! {
        loop {
            thread::sleep(PLACES_TIME);
            self.keep_moved();
        }
    }

    fn keep_moved(&self) {
        for moved in self.names.take_moved().chunks(PLACES_MAX) {
            if self.topics.keep(moved.to_vec()).is_err() {
                // A full disk is told to publishers; these are tried again with the next.
                self.names.put_back(moved);
                continue;
            }
            // What ended meanwhile was on disk before its place was, which brought it back.
            let ended = self.names.ended(moved);
            if !ended.is_empty() {
                // If this fails they are there at the next start, until they are ended once more.
                let _ = self.topics.keep(ended);
            }
        }
    }

    /// Delivers the news of a batch's topics. Called when its publishers were answered.
    pub(crate) fn announce_batch(self: &Arc<Broker>, batch: &Batch) {
        let topics = batch.runs().filter_map(|run| run.first());
        self.announce_all(topics.map(|publish| &*publish.topic));
    }

    /// Delivers the news of a topic to those who wait for it.
    pub(crate) fn announce(self: &Arc<Broker>, topic: &str) {
        self.announce_all(iter::once(topic));
    }

    /// First tells all of everything, then writes: so a session is written to once for all of its
    /// topics.
    fn announce_all<'t>(self: &Arc<Broker>, topics: impl Iterator<Item = &'t str>) {
        if self.listeners.is_empty() {
            return;
        }
        let news = self.listeners.number_announcement();
        let mut announced = HashSet::new();
        // Those whose writer this thread is.
        let mut sessions = Vec::new();
        for topic in topics.filter(|topic| announced.insert(*topic)) {
            let Some(listeners) = self.listeners.of(topic) else { continue };
            for listener in listeners.iter() {
                match listener {
                    Listener::Bell(bell) => bell.ring(),
                    Listener::Session(session, index) if session.notify(*index, news) => {
                        sessions.push(Arc::clone(session));
                    }
                    Listener::Session(..) => {}
                }
            }
        }
        let mut work = self.work(Some(DELIVERY_TIME));
        if sessions.len() > 1 {
            work = work.shared();
        }
        for session in sessions {
            if work.is_late() || session.write(&mut work) != Progress::UpToDate {
                self.catch_up.take(session, self);
            }
        }
    }

    /// Work on sessions, for so long.
    pub(crate) fn work(&self, time: Option<Duration>) -> Work<'_> {
        let deadline = time.map(|time| Instant::now() + time);
        let Broker { topics, listeners, names, metrics, .. } = self;
        Work::new(topics, listeners, names, &metrics.delivered, deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::journal::tests::full_at;
    use crate::store::memory::Memory;
    use crate::store::replay::Replayed;

    /// A broker whose disk is full at these writes.
    fn broker(writes: &[usize]) -> Broker {
        let replayed = Replayed::new(Memory::new(u64::MAX));
        let topics = Topics::restored(replayed, full_at(writes), true);
        Broker::new(topics, Names::default(), 1000, 1)
    }

    fn at(next: u64) -> Cursor {
        Cursor { stream: StreamId::NONE, next }
    }

    #[test]
    fn a_lasting_subscription_that_was_not_stored_has_not_begun() {
        let broker = broker(&[1]);
        assert!(broker.lasting("ann", "a", at(5)).is_err());
        assert!(broker.names.places("ann").is_empty());
        assert_eq!(broker.lasting("ann", "a", at(7)).unwrap(), at(7));
    }

    #[test]
    fn a_lasting_subscription_whose_end_was_not_stored_goes_on() {
        let broker = broker(&[2]);
        broker.lasting("ann", "a", at(5)).unwrap();
        assert!(broker.end_lasting("ann", "a").is_err());
        assert_eq!(broker.lasting("ann", "a", at(9)).unwrap(), at(5));
        assert!(broker.end_lasting("ann", "a").unwrap());
        assert!(!broker.end_lasting("ann", "a").unwrap());
    }

    #[test]
    fn acknowledgements_that_were_not_stored_are_tried_again() {
        let broker = broker(&[2]);
        broker.lasting("ann", "a", at(5)).unwrap();
        broker.names.acknowledge("ann", "a", at(6));
        broker.keep_moved();
        let moved = broker.names.take_moved();
        assert_eq!(moved.iter().map(|change| change.place).collect::<Vec<_>>(), [Some(at(6))]);
        broker.names.put_back(&moved);
        broker.keep_moved();
        assert!(broker.names.take_moved().is_empty());
    }
}
