//! Another broker as a home or as an index, over its JSON door.
//!
//! # Guarantee
//!
//! JSON, the numbers of its errors and connections do not leave this folder.
//!
//! # Modules in reading order
//!
//! - `command`, `answer`: what is said, and what is answered
//! - `connection`, `pool`: connections, and commands on them
//! - `events`: the connection on which topics are followed
//! - `index_client`: what a peer says to its index

mod answer;
mod command;
mod connection;
mod events;
mod index_client;
mod pool;

pub(super) use index_client::IndexClient;

use super::Identity;
use super::remote::{Event, Forwarded, MirrorEnd, RemoteHome};
use crate::push::{Piece, Push, Subscriber, Wanted};
use crate::refusal::{Refusal, Result};
use crate::store::{Cursor, Receipts, StreamId, TopicChange, entry};
use common::json::Value;
use common::lock::Mutex;
use common::pattern::Pattern;
use connection::Target;
use pool::ConnectionPool;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// A broker that is the home of topics.
pub(super) struct BrokerHome {
    pool: ConnectionPool,
    push: Arc<Push>,
    /// Tells this broker, not the home, from all others.
    own_id: String,
    /// The write side of the connection on which topics are followed, while there is one.
    follower: Mutex<Option<Arc<Subscriber>>>,
}

impl BrokerHome {
    /// The broker at `HOST:PORT`. It is shown the token when `shows_token` says so.
    pub(super) fn new(address: String, own: &Identity, shows_token: Arc<AtomicBool>) -> BrokerHome {
        let Identity { token, id: own_id, push, .. } = own.clone();
        let pool = ConnectionPool::new(Target { address, token, shows_token });
        BrokerHome { pool, push, own_id, follower: Mutex::default() }
    }

    /// Sends commands on the connection on which topics are followed, if there is one.
    fn send(&self, commands: &mut Vec<u8>) {
        if let Some(follower) = self.follower() {
            follower.answer(commands);
        }
    }

    /// Notes what an answer says that a topic keeps.
    fn hear_limits(&self, topic: &str, answer: &Value<'_>) {
        if answer.get("keep_for").is_some() {
            self.push.topics.home_tells(topic, answer::limits(answer));
        }
    }

    fn follower(&self) -> Option<Arc<Subscriber>> {
        self.follower.lock().clone()
    }
}

impl RemoteHome for BrokerHome {
    fn address(&self) -> &str {
        &self.pool.target.address
    }

    fn append(&self, publishes: &[Forwarded<'_>], deadline: Instant) -> Receipts {
        let mut commands = Vec::new();
        let written: Vec<_> =
            publishes.iter().map(|forwarded| command::publish(forwarded, &mut commands)).collect();
        let count = written.iter().filter(|written| written.is_ok()).count();
        let mut told = Vec::with_capacity(count);
        let take = |answer: Result<&Value<'_>>| told.push(answer.map(answer::receipt));
        let asked =
            if count == 0 { Ok(()) } else { self.pool.ask(&commands, count, deadline, take) };
        let unanswered = asked.err().unwrap_or_else(|| self.pool.target.timed_out());
        let mut told = told.into_iter();
        let mut next = |()| told.next().unwrap_or_else(|| Err(unanswered.clone()));
        written.into_iter().map(|written| written.and_then(&mut next)).collect()
    }

    fn change(&self, topic: &str, change: &TopicChange, deadline: Instant) -> Result<Cursor> {
        let asked = self.pool.command(&command::change(topic, change), deadline, |answer| {
            self.hear_limits(topic, answer);
            let stream = answer::stream(answer).unwrap_or(StreamId::NONE);
            Cursor { stream, next: answer.get_u64("first").unwrap_or(0) }
        });
        match (change, asked) {
            (TopicChange::Create, Err(it)) if it.status() == 409 => Err(Refusal::TopicExists),
            (TopicChange::Delete, Err(it)) if it.status() == 404 => Err(Refusal::NoTopic),
            (_, asked) => asked,
        }
    }

    fn read(&self, wanted: Wanted<'_>, deadline: Instant) -> Result<Piece> {
        match self.pool.command(&command::read(wanted), deadline, answer::piece) {
            Err(Refusal::Home { status: 404 | 410, .. }) => Err(Refusal::OtherStream),
            read => read.flatten(),
        }
    }

    fn names(&self, pattern: &Pattern, deadline: Instant) -> Result<Vec<String>> {
        self.pool.command(&command::list(pattern), deadline, |answer| {
            let names = answer.get_array("topics").iter().filter_map(Value::as_str);
            let topics = names.filter(|name| entry::check_topic(name).is_ok());
            topics.map(str::to_owned).collect()
        })
    }

    fn follow(&self, mirrors: Vec<MirrorEnd>) {
        self.send(&mut mirrors.iter().flat_map(command::subscribe).collect());
    }

    fn leave(&self, topic: &str) {
        self.send(&mut command::about("unsubscribe", topic));
    }

    fn listen(&self, handle: &mut dyn FnMut(Event<'_>)) -> Refusal {
        let Err(lost) = self.listen_until_lost(handle);
        *self.follower.lock() = None;
        lost
    }

    fn disconnect(&self) {
        if let Some(follower) = self.follower() {
            follower.session().close();
        }
    }

    fn check_path(&self, seen: &[String], time: Duration) -> Result<()> {
        match self.pool.command(&command::path(seen, time), Instant::now() + time, |_| {}) {
            Err(Refusal::Ring) => Err(Refusal::Ring),
            _ => Ok(()),
        }
    }
}
