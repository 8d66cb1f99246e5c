//! A cluster of NATS servers with JetStream as the home of all topics.
//!
//! Any number of brokers use the same cluster. They keep nothing that must not be lost, so each may
//! be killed at any time. A topic is a stream; an offset is a sequence in it, less one.
//!
//! # Guarantee
//!
//! A numbered publish is stored at most once, even if it comes late or through several brokers
//! (`publish`). A refusal for its number is answered only if most servers of the stream confirm it.
//!
//! # Modules in reading order
//!
//! - `wire`, `connection`, `requests`: the protocol, one server, requests to any server that
//!   answers
//! - `names`, `api`: names of streams and subjects, and questions to JetStream; `stored` and
//!   `failure`: what it answers
//! - `streams`, `retention`: the streams of topics, and what they keep
//! - `storing`, `groups`, `sequences`, `publish`: publishing
//! - `follow`, `read`: following, and reading what no mirror holds
//! - `places`: where lasting subscriptions stand; `tables`: small records of both kinds
//! - `start`: whether the cluster can be used

mod api;
mod connection;
mod failure;
mod follow;
mod groups;
mod names;
mod places;
mod publish;
mod read;
mod requests;
mod retention;
mod sequences;
mod start;
mod stored;
mod storing;
mod streams;
mod tables;
mod wire;

pub use start::Settings;

use super::permits::Permits;
use super::remote::{Event, Forwarded, List, MirrorEnd, RemoteHome};
use crate::push::{Piece, Wanted};
use crate::refusal::{Refusal, Result};
use crate::store::{Cursor, Limits, Receipts, StreamId, TopicChange, Topics};
use common::lock::Mutex;
use common::pattern::Pattern;
use connection::Writer;
use failure::unanswered;
use follow::Command;
use names::Names;
use requests::Requests;
use retention::{Kept, Removal, TEND_TIME};
use sequences::LastSequences;
use std::collections::{HashMap, HashSet};
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};
use streams::Listed;
use tables::Table;

/// How many publishers and topics are remembered; past it all are forgotten, and asked for again.
const KEPT_MAX: usize = 10_000;

/// A cluster that is the home of topics.
pub(crate) struct NatsHome {
    /// Tells this broker from all others.
    id: String,
    /// As the user has named the servers.
    address: String,
    requests: Requests,
    names: Names,
    /// How many servers store each topic.
    replicas: u64,
    /// Whether what is acknowledged survives a power cut of all servers.
    is_durable: bool,
    /// A message may have so many bytes.
    message_size_max: usize,
    /// The bounds of topics that are created here.
    limits: Limits,
    /// The lists of topics, as they were when somebody asked last.
    streams: Mutex<HashMap<String, StreamId>>,
    /// The topics that are being looked up or created.
    creating: Mutex<HashSet<String>>,
    sequences: LastSequences,
    /// What lists keep, as was heard last.
    records: Mutex<HashMap<StreamId, Kept>>,
    removals: Mutex<Vec<Removal>>,
    /// Those that were there when they were needed first.
    tables: Mutex<HashSet<Table>>,
    listed: Mutex<Listed>,
    /// For messages that are stored together.
    batches: Permits,
    /// The connection of the thread that follows, while there is one, and what that is to do next.
    follower: Mutex<Option<(Arc<Writer>, Vec<Command>)>>,
}

/// What one caller does at a cluster, until a deadline.
#[derive(Clone, Copy)]
struct Attempt<'a> {
    home: &'a NatsHome,
    deadline: Instant,
}

impl Deref for Attempt<'_> {
    type Target = NatsHome;

    fn deref(&self) -> &NatsHome {
        self.home
    }
}

impl NatsHome {
    fn attempt(&self, deadline: Instant) -> Attempt<'_> {
        Attempt { home: self, deadline }
    }

    /// A topic has this list: it is remembered, and followed.
    fn remember(&self, topic: &str, list: StreamId) {
        if self.note_list(topic, list) {
            self.tell([Command::Look(topic.to_owned())]);
        }
    }

    /// A topic has this list; says whether that is new.
    fn note_list(&self, topic: &str, list: StreamId) -> bool {
        let mut streams = self.streams.lock();
        if streams.len() >= KEPT_MAX {
            streams.clear();
        }
        streams.insert(topic.to_owned(), list) != Some(list)
    }

    /// Tells the thread that follows what to do, if it has a connection.
    fn tell(&self, commands: impl IntoIterator<Item = Command>) {
        let mut follower = self.follower.lock();
        let Some((writer, next)) = &mut *follower else { return };
        next.extend(commands);
        let writer = Arc::clone(writer);
        drop(follower);
        writer.wake();
    }
}

impl RemoteHome for NatsHome {
    fn address(&self) -> &str {
        &self.address
    }

    fn append(&self, publishes: &[Forwarded<'_>], deadline: Instant) -> Receipts {
        self.attempt(deadline).publish(publishes)
    }

    fn change(&self, topic: &str, change: &TopicChange, deadline: Instant) -> Result<Cursor> {
        let attempt = self.attempt(deadline);
        let found = attempt.find(topic)?;
        let known = || found.ok_or_else(|| Refusal::UnknownTopic(topic.to_owned()));
        let stream = match change {
            TopicChange::Create if found.is_some() => return Err(Refusal::TopicExists),
            TopicChange::Create => {
                let created = attempt.create_stream(topic)?.ok_or(Refusal::TopicExists)?;
                self.remember(topic, created);
                created
            }
            TopicChange::Delete => {
                let list = found.ok_or(Refusal::NoTopic)?;
                // Another list of the topic may have places as soon as this one is gone.
                let places_end = attempt.places_end()?;
                // Where it is gone already, this call may have been repeated.
                attempt.delete_stream(list)?;
                attempt.remove_places(topic, places_end)?;
                self.streams.lock().remove(topic);
                self.tell([Command::Look(topic.to_owned())]);
                list
            }
            TopicChange::Trim(upto) => return attempt.trim(topic, known()?, *upto),
            TopicChange::SetBounds(change) => {
                let list = known()?;
                attempt.change_kept(list, |kept| {
                    let limits = kept.limits.as_bounds().with(change).or(&self.limits);
                    Kept { limits, ..kept }
                })?;
                list
            }
        };
        Ok(Cursor { stream, next: 0 })
    }

    fn read(&self, wanted: Wanted<'_>, deadline: Instant) -> Result<Piece> {
        self.attempt(deadline).read_piece(wanted)
    }

    fn limits(&self, stream: StreamId) -> Option<Limits> {
        Some(self.kept(stream).limits)
    }

    fn keep_bounds(&self, topics: &Topics) {
        self.attempt(Instant::now() + TEND_TIME).keep_bounds(topics);
    }

    fn replicas(&self) -> Option<u64> {
        Some(self.replicas)
    }

    fn list(&self, deadline: Instant) -> Option<Result<List>> {
        Some(self.attempt(deadline).listed())
    }

    fn names(&self, pattern: &Pattern, deadline: Instant) -> Result<Vec<String>> {
        let listed = self.attempt(deadline).listed()?;
        Ok(listed.keys().filter(|topic| pattern.matches(topic)).cloned().collect())
    }

    fn follow(&self, mirrors: Vec<MirrorEnd>) {
        self.tell(mirrors.into_iter().map(Command::Follow));
    }

    fn leave(&self, topic: &str) {
        self.tell([Command::Leave(topic.to_owned())]);
    }

    fn listen(&self, handle: &mut dyn FnMut(Event<'_>)) -> Refusal {
        let Err(lost) = self.follow_until_lost(handle);
        *self.follower.lock() = None;
        unanswered(lost)
    }

    fn disconnect(&self) {
        let writer = self.follower.lock().as_ref().map(|(writer, _)| Arc::clone(writer));
        if let Some(writer) = writer {
            writer.close();
        }
    }

    fn check_path(&self, _: &[String], _: Duration) -> Result<()> {
        // Servers have no home of their own.
        Ok(())
    }
}
