//! Where topics are ordered: each topic has one home, and other brokers keep a mirror of it.
//!
//! A broker on its own is the home of all its topics. One with an upstream is the home of none;
//! among peers, the home of a topic is the peer on which it was created, and an index knows which
//! one that is. Publishes are forwarded to the home, whose answer is given back; reads are served
//! from the mirror, a copy of the first part of the home's list, which is followed with a cursor
//! like any subscriber's.
//!
//! # Guarantee
//!
//! A message acknowledged through a broker is visible to the next read through that broker. A
//! mirror never holds what its home does not, and offsets and stream ids are the home's.
//!
//! # Not here
//!
//! More than one home for a topic: while it is out of reach, publishes are refused.

mod follow;
pub(crate) mod index;
mod link;
mod peers;
mod wire;

pub(crate) use index::Index;
pub(crate) use link::Link;
pub(crate) use peers::Peers;

use crate::batch::Batch;
use crate::broker::Broker;
use crate::ledger::Receipt;
use crate::refusal::Refusal;
use std::sync::Arc;
use std::time::Duration;

/// How long a home may take before its broker answers without it.
const HOME_TIMEOUT: Duration = Duration::from_secs(4);

/// How a broker finds the home of a topic.
pub(crate) enum Homes {
    /// It is the home of all topics.
    Own,
    /// Another broker is.
    Upstream(Arc<Link>),
    /// An index tells.
    Peers(Peers),
}

/// Who orders a topic.
pub(crate) enum Home {
    Here,
    At(Arc<Link>),
}

impl Homes {
    /// The home of a topic.
    fn of(&self, topic: &str, broker: &Arc<Broker>) -> Result<Home, Refusal> {
        match self {
            Homes::Own => Ok(Home::Here),
            Homes::Upstream(link) => Ok(Home::At(Arc::clone(link))),
            Homes::Peers(peers) => peers.home(topic, broker),
        }
    }

    /// Appends a batch at the homes of its topics.
    pub(crate) fn publish(
        &self,
        batch: &mut Batch,
        broker: &Arc<Broker>,
    ) -> Vec<Result<Receipt, Refusal>> {
        match self {
            Homes::Own => broker.topics.append(batch),
            Homes::Upstream(link) => link.publish(batch, broker),
            Homes::Peers(_) => {
                let mut answers = Vec::with_capacity(batch.publishes.len());
                let mut done = Batch::default();
                while let Some(mut run) = batch.take_run() {
                    answers.append(&mut self.publish_run(&mut run, broker));
                    done.publishes.append(&mut run.publishes);
                }
                *batch = done;
                answers
            }
        }
    }

    /// Appends a batch that is all of one topic.
    fn publish_run(&self, run: &mut Batch, broker: &Arc<Broker>) -> Vec<Result<Receipt, Refusal>> {
        let Some(topic) = run.publishes.first().map(|publish| publish.topic.clone()) else {
            return Vec::new();
        };
        let refuse = |refusal: &Refusal, count| (0..count).map(|_| Err(refusal.clone())).collect();
        let answers = match self.of(&topic, broker) {
            Ok(Home::Here) => broker.topics.append(run),
            Ok(Home::At(link)) => link.publish(run, broker),
            Err(refusal) => refuse(&refusal, run.publishes.len()),
        };
        if let Homes::Peers(peers) = self
            && answers.iter().any(|answer| matches!(answer, Err(Refusal::Home { status: 404, .. })))
        {
            // It moved: the next publish asks the index anew.
            peers.forget(&topic);
        }
        answers
    }

    /// Creates a topic at its home.
    pub(crate) fn create(&self, topic: &str, broker: &Arc<Broker>) -> Result<(), Refusal> {
        match self {
            Homes::Own => broker.topics.create(topic),
            Homes::Upstream(link) => link.create(topic),
            Homes::Peers(peers) => peers.create(topic, broker),
        }
    }

    /// Deletes a topic at its home.
    pub(crate) fn delete(&self, topic: &str, broker: &Arc<Broker>) -> Result<(), Refusal> {
        match self {
            Homes::Own => broker.topics.delete(topic),
            Homes::Upstream(link) => link.delete(topic),
            Homes::Peers(peers) => peers.delete(topic, broker),
        }
    }

    /// Sees to it that a topic can be read here: that its mirror is followed, and up to date where
    /// its home is in reach.
    ///
    /// # Errors
    ///
    /// No such topic, or neither mirror nor home.
    pub(crate) fn prepare(&self, topic: &str, broker: &Arc<Broker>) -> Result<(), Refusal> {
        match self.of(topic, broker) {
            Ok(Home::Here) => Ok(()),
            Ok(Home::At(link)) => link.mirror(topic, broker),
            // What was mirrored is served while nobody can be asked.
            Err(Refusal::Unreachable { .. }) if broker.topics.find(topic).is_ok() => Ok(()),
            Err(refusal) => Err(refusal),
        }
    }
}
