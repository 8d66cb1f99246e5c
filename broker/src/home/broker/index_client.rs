//! What a peer says to its index.

use super::super::HOME_TIMEOUT;
use super::super::index::Address;
use super::answer::{self, Reason, number, text};
use super::command::{about, of_peer, register};
use super::connection::{BrokerConnection, Target};
use super::pool::ConnectionPool;
use crate::refusal::Refusal;
use common::connection;
use common::json::Value;
use std::error::Error;
use std::time::{Duration, Instant};

/// How often the index hears from a peer; well below the silence after which the peer is away.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Topics that the index is told of in one go: their answers fit into the socket's buffer.
const TOLD_AT_ONCE: usize = 256;

/// The index of a peer.
pub(crate) struct IndexClient {
    pool: ConnectionPool,
    /// Where other peers reach this one.
    pub(crate) own: Address,
}

/// A registration with the index; it ends with its connection.
pub(crate) struct Registration<'a> {
    client: &'a IndexClient,
    connection: BrokerConnection,
}

impl IndexClient {
    /// The index at `HOST:PORT`, for the peer that is reached at `own`.
    pub(crate) fn new(address: String, own: Address, token: Option<String>) -> IndexClient {
        IndexClient { pool: ConnectionPool::new(Target { address, token }), own }
    }

    /// Asks for the home of a topic.
    ///
    /// # Errors
    ///
    /// [`Refusal::UnknownTopic`], [`Refusal::Away`], [`Refusal::Unreachable`].
    pub(crate) fn home_of(&self, topic: &str, deadline: Instant) -> Result<Address, Refusal> {
        let mut found = Err(Refusal::UnknownTopic(topic.to_owned()));
        self.pool.ask(&about("query_topic", topic), 1, deadline, |answer| {
            let port = number(answer, "port").and_then(|port| u16::try_from(port).ok());
            let is_away = || answer::rejection(answer).is_some_and(|it| it.reason == Reason::Away);
            if let (Some(host), Some(port)) = (text(answer, "host"), port) {
                found = Ok(Address { host: host.to_owned(), port });
            } else if is_away() {
                found = Err(Refusal::Away(topic.to_owned()));
            }
        })?;
        found
    }

    /// Says that a topic's home is here.
    ///
    /// # Errors
    ///
    /// [`Refusal::TopicExists`] where the index knows another home, or what else it says.
    pub(crate) fn add(&self, topic: &str, deadline: Instant) -> Result<(), Refusal> {
        let added = self.pool.command(&self.command("add_topic", Some(topic)), deadline, |_| {});
        added.map_err(|rejection| match rejection.reason {
            Reason::Exists => Refusal::TopicExists,
            _ => rejection.refusal,
        })
    }

    /// Says that a topic is no longer here.
    ///
    /// # Errors
    ///
    /// What the index says.
    pub(crate) fn remove(&self, topic: &str, deadline: Instant) -> Result<(), Refusal> {
        let removed =
            self.pool.command(&self.command("delete_topic", Some(topic)), deadline, |_| {});
        removed.map_err(|rejection| rejection.refusal)
    }

    /// Registers this peer for as long as the registration is kept.
    ///
    /// # Errors
    ///
    /// What the index says.
    pub(crate) fn register(&self) -> Result<Registration<'_>, Refusal> {
        let connection = self.pool.target.connect(Instant::now() + HOME_TIMEOUT)?;
        let mut registration = Registration { client: self, connection };
        registration.say(&register(&self.own))?;
        Ok(registration)
    }

    /// What a client is told when the index cannot be asked.
    pub(crate) fn unreachable(&self, error: &dyn Error) -> Refusal {
        self.pool.target.unreachable(error)
    }

    fn command(&self, command: &str, topic: Option<&str>) -> Vec<u8> {
        of_peer(command, &self.own, topic)
    }
}

impl Registration<'_> {
    /// Names topics that live here. `refused` is called for those that the index refuses.
    ///
    /// # Errors
    ///
    /// The index cannot be asked.
    pub(crate) fn add(
        &mut self,
        topics: &[String],
        mut refused: impl FnMut(&str, &Refusal),
    ) -> Result<(), Refusal> {
        let Registration { client, connection } = self;
        for topics in topics.chunks(TOLD_AT_ONCE) {
            let command = |topic: &String| client.command("add_topic", Some(topic));
            let commands: Vec<u8> = topics.iter().flat_map(command).collect();
            let mut told = topics.iter();
            let deadline = Instant::now() + HOME_TIMEOUT;
            let take = |answer: &Value<'_>| {
                if let (Some(topic), Some(it)) = (told.next(), answer::rejection(answer)) {
                    refused(topic, &it.refusal);
                }
            };
            client.pool.target.exchange(connection, &commands, topics.len(), deadline, take)?;
        }
        Ok(())
    }

    /// Says that all topics that live here were named.
    ///
    /// # Errors
    ///
    /// What the index says.
    pub(crate) fn told(&mut self) -> Result<(), Refusal> {
        self.say(&self.client.command("told_topics", None))
    }

    /// Says that a topic is no longer here.
    ///
    /// # Errors
    ///
    /// What the index says.
    pub(crate) fn remove(&mut self, topic: &str) -> Result<(), Refusal> {
        self.say(&self.client.command("delete_topic", Some(topic)))
    }

    /// Waits a while, and lets the index know that this peer is there. Nothing is said unasked on
    /// this connection: it only has to end when either side does.
    ///
    /// # Errors
    ///
    /// The connection has ended.
    pub(crate) fn keep(&mut self) -> Result<(), Refusal> {
        match self.connection.receive(Instant::now() + HEARTBEAT, |_| {}) {
            Ok(()) => Ok(()),
            Err(connection::Error::TimedOut) => self.say(b"{\"command\":\"path\"}\n"),
            Err(error) => Err(self.client.unreachable(&error)),
        }
    }

    fn say(&mut self, command: &[u8]) -> Result<(), Refusal> {
        let mut rejected = None;
        let deadline = Instant::now() + HOME_TIMEOUT;
        let target = &self.client.pool.target;
        target.exchange(&mut self.connection, command, 1, deadline, |answer| {
            rejected = answer::rejection(answer);
        })?;
        rejected.map_or(Ok(()), |rejection| Err(rejection.refusal))
    }
}
