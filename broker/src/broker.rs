//! What every connection shares, and how messages get from one to the others.
//!
//! Whoever publishes delivers: after its publish is in the list and its own answer is sent, the
//! publisher's thread hands the news to those who wait for it. What would keep it for long is left
//! to the threads of `catch_up.rs`.

use crate::batch::Batch;
use crate::catch_up::CatchUp;
use crate::entry;
use crate::ledger::Receipt;
use crate::listeners::{Listener, Listeners};
use crate::memory::Memory;
use crate::names::Names;
use crate::refusal::Refusal;
use crate::session::Progress;
use crate::topics::Topics;
use crate::work::Work;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a publisher's thread delivers before it leaves the rest to others.
pub(crate) const DELIVERY_TIME: Duration = Duration::from_millis(10);

/// The broker, as a door sees it.
pub(crate) struct Broker {
    pub(crate) topics: Topics,
    pub(crate) listeners: Listeners,
    pub(crate) names: Names,
    pub(crate) catch_up: CatchUp,
    /// The longest message, in bytes.
    pub(crate) message_size_max: usize,
}

impl Broker {
    /// A broker without topics.
    pub(crate) fn new(message_size_max: usize, memory_max: u64, threads_max: usize) -> Broker {
        Broker {
            topics: Topics::new(Memory::new(memory_max)),
            listeners: Listeners::default(),
            names: Names::default(),
            catch_up: CatchUp::new(threads_max),
            message_size_max,
        }
    }

    /// Appends a batch: one answer for each publish. Listeners are not told yet; see
    /// [`Broker::announce`].
    pub(crate) fn publish(&self, batch: &mut Batch) -> Vec<Result<Receipt, Refusal>> {
        self.topics.append(batch)
    }

    /// Creates a topic.
    pub(crate) fn create(&self, topic: &str) -> Result<(), Refusal> {
        entry::check_topic(topic)?;
        self.topics.create(topic)
    }

    /// Deletes a topic and all its messages. Those who follow it are not told yet; see
    /// [`Broker::announce`].
    pub(crate) fn delete(&self, topic: &str) -> Result<(), Refusal> {
        self.topics.delete(topic)
    }

    /// Delivers the news of a batch's topics. Called when its publishers were answered.
    pub(crate) fn announce_batch(self: &Arc<Broker>, batch: &Batch) {
        for group in batch.publishes.chunk_by(|one, other| one.topic == other.topic) {
            if let Some(publish) = group.first() {
                self.announce(&publish.topic);
            }
        }
    }

    /// Delivers the news of a topic to those who wait for it.
    pub(crate) fn announce(self: &Arc<Broker>, topic: &str) {
        let Some((topic, listeners)) = self.listeners.of(topic) else { return };
        let mut work = self.work(Some(DELIVERY_TIME));
        for listener in listeners.iter() {
            match listener {
                Listener::Bell(bell) => bell.ring(),
                Listener::Session(session) => {
                    let writer = session.notify(&topic);
                    if writer && (work.is_late() || session.write(&mut work) != Progress::UpToDate)
                    {
                        self.catch_up.take(Arc::clone(session), self);
                    }
                }
            }
        }
    }

    /// Work on sessions, for so long.
    pub(crate) fn work(&self, time: Option<Duration>) -> Work<'_> {
        Work::new(&self.topics, &self.names, time.map(|time| Instant::now() + time))
    }
}
