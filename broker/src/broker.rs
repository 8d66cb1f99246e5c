//! The broker as all connections share it, and as a door sees it.
//!
//! For a change to a topic it asks the topic's home, counts the change, and logs it.
//!
//! # Not here
//!
//! Who receives new messages (`push/`), and who orders a topic (`home/`).

use crate::access::Access;
use crate::config::Timeouts;
use crate::home::{Followers, Homes, Index};
use crate::log::Log;
use crate::metrics::Metrics;
use crate::push::{Push, Subscriber};
use crate::refusal::Result;
use crate::server::input_budget::InputBudget;
use crate::server::tcp_table::TcpTable;
use crate::store::{Batch, BoundsChange, Receipts, TopicChange, entry};
use std::sync::Arc;
use std::time::Instant;

/// The broker.
pub(crate) struct Broker {
    pub(crate) push: Arc<Push>,
    /// Who orders which topic.
    pub(crate) homes: Homes,
    /// The brokers that mirror topics of this one.
    pub(crate) followers: Followers,
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
    pub(crate) log: Arc<Log>,
    /// Memory for what has not wholly arrived.
    pub(crate) input_budget: InputBudget,
    /// What the kernel knows of connections.
    pub(crate) tcp_table: TcpTable,
    /// What is counted.
    pub(crate) metrics: Metrics,
}

impl Broker {
    /// Appends a batch: one answer for each publish. Listeners are not told yet; see
    /// [`Push::announce_batch`].
    pub(crate) fn publish(&self, batch: &mut Batch) -> Receipts {
        let begun = Instant::now();
        let outcomes = self.homes.publish(batch);
        let messages = outcomes.iter().flatten().map(|receipt| receipt.appended).sum();
        self.metrics.published(outcomes.len() as u64, messages, begun.elapsed());
        for refusal in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            self.metrics.refused(refusal.status());
        }
        self.log.publishes(batch, &outcomes, |topic| self.homes.forwards_to(topic));
        outcomes
    }

    /// Sees to it that a connection that is about to subscribe to a topic can read it here, if it
    /// does not follow it yet.
    ///
    /// # Errors
    ///
    /// As [`Homes::prepare`], a topic's name that cannot be one, one subscription too many.
    pub(crate) fn prepare_for(&self, subscriber: &Subscriber, topic: &str) -> Result<()> {
        entry::check_topic(topic)?;
        match subscriber.cursor(topic) {
            Some(_) => Ok(()),
            None => subscriber.check_room(1).and_then(|()| self.homes.prepare(topic)),
        }
    }

    /// Changes a topic, whose name was checked. Those who follow one that was deleted are not told
    /// yet; see [`Push::announce`].
    pub(crate) fn change(&self, topic: &str, change: &TopicChange) -> Result<()> {
        let action = match change {
            TopicChange::Create => "created",
            TopicChange::Delete => "deleted",
            TopicChange::Trim(_) => "trimmed",
            TopicChange::SetBounds(change) if *change == BoundsChange::default() => return Ok(()),
            TopicChange::SetBounds(_) => "bounded",
        };
        let changed = self.homes.change(topic, change);
        self.log.note(action, topic, changed.as_ref().err());
        if matches!(change, TopicChange::Create) && changed.is_ok() {
            // A pattern may choose it.
            self.push.announce(topic);
        }
        changed
    }
}
