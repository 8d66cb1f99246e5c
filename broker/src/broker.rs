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
use crate::push::session::{Progress, Session};
use crate::push::work::Work;
use crate::refusal::Refusal;
use crate::server::arrivals::Arrivals;
use crate::store::batch::{Batch, Publish};
use crate::store::commit::PlaceChange;
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
const DELIVERY_TIME: Duration = Duration::from_millis(10);

/// How often acknowledgements of lasting subscriptions are noted on disk.
const PLACES_TIME: Duration = Duration::from_secs(1);

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
        self.count(&outcomes, begun.elapsed());
        self.log.publishes(batch, &outcomes, |topic| self.homes().forwards_to(topic, self));
        outcomes
    }

    /// Whether to use [`Broker::publish_later`] for a batch: it has to wait for this broker's disk,
    /// and nobody has to be told of its news, which would keep a thread that many wait for.
    pub(crate) fn can_publish_later(&self, batch: &Batch) -> bool {
        let is_quiet = |run: &[Publish]| {
            run.first().is_some_and(|publish| self.listeners.of(&publish.topic).is_none())
        };
        // The log tells clients apart by their threads.
        matches!(self.homes(), Homes::Own)
            && self.topics.is_durable()
            && !self.log.is_on()
            && batch.runs().all(is_quiet)
    }

    /// Appends a batch that its publisher does not wait for. `answer` is called with what became
    /// of it, on another thread or on this one, and listeners are told afterwards.
    pub(crate) fn publish_later(
        self: &Arc<Broker>,
        batch: Batch,
        answer: impl FnOnce(&Batch, &[Result<Receipt, Refusal>]) + Send + 'static,
    ) {
        let begun = Instant::now();
        let broker = Arc::clone(self);
        self.topics.append_later(batch, move |batch, outcomes| {
            broker.count(&outcomes, begun.elapsed());
            answer(&batch, &outcomes);
            broker.announce_batch(&batch);
        });
    }

    /// Counts publishes that were answered together after `time`.
    fn count(&self, outcomes: &[Result<Receipt, Refusal>], time: Duration) {
        let messages = outcomes.iter().flatten().map(|receipt| receipt.appended).sum();
        self.metrics.published(outcomes.len() as u64, messages, time);
        for refusal in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            self.metrics.refused(refusal.status());
        }
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
            let (subscriber, topic) = (name.into(), topic.into());
            self.topics.keep(vec![PlaceChange { subscriber, topic, place: Some(place) }])?;
        }
        Ok(place)
    }

    /// Ends a lasting subscription, whichever connection has it. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotStored`].
    pub(crate) fn end_lasting(&self, name: &str, topic: &str) -> Result<bool, Refusal> {
        let Some(holder) = self.names.unsubscribe(name, topic) else { return Ok(false) };
        if let Some(session) = holder.upgrade()
            && session.unsubscribe(topic, Some(name))
        {
            self.listeners.remove(topic, &Listener::Session(session));
            self.log.note("unsubscribed", topic, &Ok(()));
        }
        let (subscriber, topic) = (name.into(), topic.into());
        self.topics.keep(vec![PlaceChange { subscriber, topic, place: None }])?;
        Ok(true)
    }

    /// Keeps what lasting subscriptions acknowledged, from time to time and for ever. A crash
    /// between two times repeats a few messages.
    pub(crate) fn keep_places(&self) -> ! {
        loop {
            thread::sleep(PLACES_TIME);
            let moved = self.names.take_moved();
            if !moved.is_empty() {
                // A full disk is told to publishers; acknowledgements are tried with the next.
                let _ = self.topics.keep(moved);
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
            let Some((topic, listeners)) = self.listeners.of(topic) else { continue };
            for listener in listeners.iter() {
                match listener {
                    Listener::Bell(bell) => bell.ring(),
                    Listener::Session(session) if session.notify(&topic, news) => {
                        sessions.push(Arc::clone(session));
                    }
                    Listener::Session(_) => {}
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

    /// Writes what a session has to send. The caller has to be its writer.
    pub(crate) fn write(self: &Arc<Broker>, session: &Arc<Session>) {
        let mut work = self.work(Some(DELIVERY_TIME));
        if session.write(&mut work) != Progress::UpToDate {
            self.catch_up.take(Arc::clone(session), self);
        }
    }

    /// Work on sessions, for so long.
    pub(crate) fn work(&self, time: Option<Duration>) -> Work<'_> {
        let deadline = time.map(|time| Instant::now() + time);
        let Broker { topics, listeners, names, metrics, .. } = self;
        Work::new(topics, listeners, names, &metrics.delivered, deadline)
    }
}
