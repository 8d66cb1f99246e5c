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
//! mirror never holds what its home does not, and offsets and stream ids are the home's. Whoever
//! asks is answered within five seconds, however many homes are out of reach.
//!
//! # Not here
//!
//! More than one home for a topic: while it is out of reach, publishes are refused.
//!
//! # Modules in reading order
//!
//! - `link`: a home, as a broker that is not one sees it; `wire`: connections to it
//! - `follow`: keeps the connection by which mirrors are kept up; `following`: what it follows;
//!   `command`: what it says; `mirror`: what becomes of what arrives
//! - `index`: tells who is the home of what; `peers`: asks it

mod command;
mod follow;
mod following;
pub(crate) mod index;
mod link;
mod mirror;
mod peers;
mod wire;

pub(crate) use index::Index;
pub(crate) use link::Link;
pub(crate) use peers::Peers;

use crate::push::Push;
use crate::refusal::Refusal;
use crate::store::batch::Batch;
use crate::store::ledger::Receipt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long homes and the index may take, all together, before a client is answered without them.
const HOME_TIMEOUT: Duration = Duration::from_secs(4);

/// How a broker finds the home of a topic.
pub(crate) enum Homes {
    /// It is the home of all topics.
    Own,
    /// Another broker is.
    Upstream(Arc<Link>),
    /// An index tells.
    Peers(Box<Peers>),
}

/// Who orders a topic.
pub(crate) enum Home {
    Here,
    At(Arc<Link>),
}

impl Homes {
    /// Appends a batch at the homes of its topics.
    pub(crate) fn publish(
        &self,
        batch: &mut Batch,
        push: &Arc<Push>,
    ) -> Vec<Result<Receipt, Refusal>> {
        let deadline = Instant::now() + HOME_TIMEOUT;
        match self {
            Homes::Own => push.topics.append(batch),
            Homes::Upstream(link) => link.publish(batch, deadline, push),
            Homes::Peers(peers) => {
                let mut answers = Vec::with_capacity(batch.publishes.len());
                let mut done = Batch::default();
                while let Some(mut run) = batch.take_run() {
                    answers.append(&mut peers.publish(&mut run, deadline, push));
                    done.publishes.append(&mut run.publishes);
                }
                *batch = done;
                answers
            }
        }
    }

    /// Creates a topic at its home.
    pub(crate) fn create(&self, topic: &str, push: &Arc<Push>) -> Result<(), Refusal> {
        let deadline = Instant::now() + HOME_TIMEOUT;
        match self {
            Homes::Own => push.topics.create(topic),
            Homes::Upstream(link) => link.create(topic, deadline, push),
            Homes::Peers(peers) => peers.create(topic, deadline, push),
        }
    }

    /// Deletes a topic at its home.
    pub(crate) fn delete(&self, topic: &str, push: &Arc<Push>) -> Result<(), Refusal> {
        let deadline = Instant::now() + HOME_TIMEOUT;
        match self {
            Homes::Own => push.topics.delete(topic),
            Homes::Upstream(link) => link.delete(topic, deadline, push),
            Homes::Peers(peers) => peers.delete(topic, deadline, push),
        }
    }

    /// Sees to it that a topic can be read here: that its mirror is followed, and up to date where
    /// its home is in reach.
    ///
    /// # Errors
    ///
    /// No such topic, or neither mirror nor home.
    pub(crate) fn prepare(&self, topic: &str, push: &Arc<Push>) -> Result<(), Refusal> {
        let deadline = Instant::now() + HOME_TIMEOUT;
        match self {
            Homes::Own => Ok(()),
            Homes::Upstream(link) => link.serve(topic, deadline, push),
            Homes::Peers(peers) => match peers.home(topic, deadline, push) {
                Ok(Home::Here) => Ok(()),
                Ok(Home::At(link)) => link.serve(topic, deadline, push),
                // Nobody knows where its home is now.
                Err(refusal) if refusal.status() == 503 && push.topics.is_mirror(topic) => Ok(()),
                Err(refusal) => Err(refusal),
            },
        }
    }

    /// The broker that a publish goes to, where that is not this one.
    pub(crate) fn forwards_to(&self, topic: &str, push: &Push) -> Option<String> {
        match self {
            Homes::Own => None,
            Homes::Upstream(link) => Some(link.address().to_owned()),
            Homes::Peers(_) if push.topics.is_own(topic) => None,
            Homes::Peers(peers) => peers.known_home(topic),
        }
    }

    /// Works with the other brokers for as long as the process lives. `mirrors` are the topics
    /// that were mirrored before its start: they are followed again, whoever asks for them.
    pub(crate) fn attend(&self, mirrors: Vec<String>, push: &Arc<Push>) {
        match self {
            Homes::Own => {}
            Homes::Upstream(link) => {
                for topic in mirrors {
                    // There are no more of them than there may be topics.
                    let _ = link.ask_for(&topic, push);
                }
            }
            Homes::Peers(peers) => {
                mirrors.iter().for_each(|topic| peers.known.moved(topic));
                peers.attend(push);
            }
        }
    }
}
