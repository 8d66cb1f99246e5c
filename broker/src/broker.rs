//! What every connection shares.

use crate::batch::Batch;
use crate::listeners::Listeners;
use crate::memory::Memory;
use crate::refusal::Refusal;
use crate::topics::{Receipt, Topics};

/// The broker, as a door sees it.
pub(crate) struct Broker {
    pub(crate) topics: Topics,
    pub(crate) listeners: Listeners,
    /// The longest message, in bytes.
    pub(crate) message_size_max: usize,
}

impl Broker {
    /// A broker without topics.
    pub(crate) fn new(message_size_max: usize, memory_max: u64) -> Broker {
        Broker {
            topics: Topics::new(Memory::new(memory_max)),
            listeners: Listeners::default(),
            message_size_max,
        }
    }

    /// Appends a batch: one answer for each publish. Listeners are not told yet; see
    /// [`Broker::announce`].
    pub(crate) fn publish(&self, batch: &mut Batch) -> Vec<Result<Receipt, Refusal>> {
        self.topics.append(batch)
    }

    /// Wakes those who wait for a topic of the batch. Called when its publisher was answered.
    pub(crate) fn announce(&self, batch: &Batch) {
        for group in batch.publishes.chunk_by(|one, other| one.topic == other.topic) {
            if let Some(publish) = group.first() {
                self.listeners.ring(&publish.topic);
            }
        }
    }
}
