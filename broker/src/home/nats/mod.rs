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
//! - `names`, `api`: names of streams and subjects, and requests to JetStream
//! - `streams`, `retention`: the streams of topics, and what they keep
//! - `storing`, `groups`, `sequences`, `publish`: publishing
//! - `follow`, `read`: following, and reading what no mirror holds
//! - `places`: where lasting subscriptions stand; `tables`: small records of both kinds
//! - `start`: whether the cluster can be used

mod api;
mod connection;
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
mod storing;
mod streams;
mod tables;
mod wire;

pub use start::Settings;

use super::remote::{Event, Forwarded, List, MirrorEnd, RemoteHome};
use crate::push::{Piece, Wanted};
use crate::refusal::{Refusal, Result};
use crate::store::{Cursor, Limits, Receipts, StreamId, TopicChange, Topics};
use common::lock::Mutex;
use common::pattern::Pattern;
use connection::{Servers, Writer};
use follow::Command;
use names::Names;
use requests::Requests;
use retention::{Kept, Removal};
use sequences::LastSequences;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use storing::Batches;
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
    servers: Arc<Servers>,
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
    batches: Batches,
    follower: Mutex<FollowerState>,
}

/// The thread that follows, as others see it.
#[derive(Default)]
struct FollowerState {
    /// Its connection, while there is one.
    writer: Option<Arc<Writer>>,
    /// What it is to do next.
    commands: Vec<Command>,
}

impl NatsHome {
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
        let Some(writer) = follower.writer.clone() else { return };
        follower.commands.extend(commands);
        drop(follower);
        writer.wake();
    }
}

impl RemoteHome for NatsHome {
    fn address(&self) -> &str {
        &self.address
    }

    fn append(&self, publishes: &[Forwarded<'_>], deadline: Instant) -> Receipts {
        self.publish(publishes, deadline)
    }

    fn change(&self, topic: &str, change: &TopicChange, deadline: Instant) -> Result<Cursor> {
        let stream = match change {
            TopicChange::Create if self.find(topic, deadline)?.is_some() => {
                return Err(Refusal::TopicExists);
            }
            TopicChange::Create => {
                let created = self.create_stream(topic, deadline)?.ok_or(Refusal::TopicExists)?;
                self.remember(topic, created);
                created
            }
            TopicChange::Delete => {
                let list = self.find(topic, deadline)?.ok_or(Refusal::NoTopic)?;
                // Another list of the topic may have places as soon as this one is gone.
                let places_end = self.places_end(deadline)?;
                // Where it is gone already, this call may have been repeated.
                self.delete_stream(list, deadline)?;
                self.remove_places(topic, places_end, deadline)?;
                self.streams.lock().remove(topic);
                self.tell([Command::Look(topic.to_owned())]);
                list
            }
            TopicChange::Trim(upto) => return self.trim(topic, *upto, deadline),
            TopicChange::SetBounds(change) => {
                let list = self.find(topic, deadline)?;
                let list = list.ok_or_else(|| Refusal::UnknownTopic(topic.to_owned()))?;
                self.change_kept(list, deadline, |kept| {
                    let limits = kept.limits.as_bounds().with(change).or(&self.limits);
                    Kept { limits, ..kept }
                })?;
                list
            }
        };
        Ok(Cursor { stream, next: 0 })
    }

    fn read(&self, wanted: Wanted<'_>, deadline: Instant) -> Result<Piece> {
        self.read_piece(wanted, deadline)
    }

    fn limits(&self, stream: StreamId) -> Option<Limits> {
        Some(self.kept(stream).limits)
    }

    fn keep_bounds(&self, topics: &Topics) {
        self.keep_bounds_of(topics);
    }

    fn replicas(&self) -> Option<u64> {
        Some(self.replicas)
    }

    fn list(&self, deadline: Instant) -> Option<Result<List>> {
        Some(self.listed(deadline))
    }

    fn names(&self, pattern: &Pattern, deadline: Instant) -> Result<Vec<String>> {
        let listed = self.listed(deadline)?;
        Ok(listed.keys().filter(|topic| pattern.matches(topic)).cloned().collect())
    }

    fn follow(&self, mirrors: &[MirrorEnd]) {
        let copy = |mirror: &MirrorEnd| {
            Command::Follow(MirrorEnd { topic: mirror.topic.clone(), ..*mirror })
        };
        self.tell(mirrors.iter().map(copy));
    }

    fn leave(&self, topic: &str) {
        self.tell([Command::Leave(topic.to_owned())]);
    }

    fn listen(&self, handle: &mut dyn FnMut(Event<'_>)) -> Refusal {
        let lost = self.follow_until_lost(handle);
        *self.follower.lock() = FollowerState::default();
        lost
    }

    fn disconnect(&self) {
        if let Some(writer) = self.follower.lock().writer.clone() {
            writer.close();
        }
    }

    fn check_path(&self, _: &[String], _: Duration) -> Result<()> {
        // Servers have no home of their own.
        Ok(())
    }
}
