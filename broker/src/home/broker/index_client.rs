//! What a peer says to its index.

use super::super::HOME_TIMEOUT;
use super::super::index::Address;
use super::answer::{self, Reason, number, text};
use super::command::{self, Peer, of_peer};
use super::connection::{BrokerConnection, Target};
use super::pool::ConnectionPool;
use crate::refusal::Refusal;
use crate::store::stream::StreamId;
use common::connection;
use common::json::Value;
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    /// Shows the index that this peer speaks for itself; given at each registration.
    key: Mutex<Option<String>>,
    /// Whether the index asks for a token. Then the peers that it names have shown it there.
    pub(crate) asks_for_token: Arc<AtomicBool>,
    /// How many peers there were when the index was last heard of.
    peers: AtomicU64,
}

/// A registration with the index; it ends with its connection.
pub(crate) struct Registration<'a> {
    client: &'a IndexClient,
    connection: BrokerConnection,
}

impl IndexClient {
    /// The index at `HOST:PORT`, for the peer that is reached at `own`.
    pub(crate) fn new(address: String, own: Address, token: Option<String>) -> IndexClient {
        let shows_token = Arc::new(true.into());
        IndexClient {
            pool: ConnectionPool::new(Target { address, token, shows_token }),
            own,
            key: Mutex::default(),
            asks_for_token: Arc::default(),
            peers: AtomicU64::new(0),
        }
    }

    /// Asks for the home of a topic.
    ///
    /// # Errors
    ///
    /// [`Refusal::UnknownTopic`], [`Refusal::Away`], [`Refusal::Unreachable`].
    pub(crate) fn home_of(&self, topic: &str, deadline: Instant) -> Result<Address, Refusal> {
        let mut found = Err(Refusal::UnknownTopic(topic.to_owned()));
        let command = of_peer("query_topic", &self.peer(), Some(topic));
        self.pool.ask(&command, 1, deadline, |answer| {
            let port = number(answer, "port").and_then(|port| u16::try_from(port).ok());
            let is_away = || answer::rejection(answer).is_some_and(|it| it.reason == Reason::Away);
            self.count(answer);
            if let (Some(host), Some(port)) = (text(answer, "host"), port) {
                found = Ok(Address { host: host.to_owned(), port });
            } else if is_away() {
                found = Err(Refusal::Away(topic.to_owned()));
            }
        })?;
        found
    }

    /// Says that a topic's home is here, and which list it is if there is one yet.
    ///
    /// # Errors
    ///
    /// [`Refusal::TopicExists`] where the index knows another home, or what else it says.
    pub(crate) fn add(
        &self,
        topic: &str,
        stream: Option<StreamId>,
        deadline: Instant,
    ) -> Result<(), Refusal> {
        let command = command::add(&self.peer(), topic, stream);
        let added = self.pool.command(&command, deadline, |answer| self.count(answer));
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
        let removed = self.pool.command(
            &of_peer("delete_topic", &self.peer(), Some(topic)),
            deadline,
            |_| {},
        );
        removed.map_err(|rejection| rejection.refusal)
    }

    /// Registers this peer, with so many topics, for as long as the registration is kept.
    ///
    /// # Errors
    ///
    /// What the index says.
    pub(crate) fn register(&self, topics: usize) -> Result<Registration<'_>, Refusal> {
        let (target, deadline) = (&self.pool.target, Instant::now() + HOME_TIMEOUT);
        if target.token.is_some() {
            self.asks_for_token.store(target.asks_for_token(deadline)?, Ordering::Relaxed);
        }
        let connection = target.connect(deadline)?;
        let mut registration = Registration { client: self, connection };
        let (mut key, peers) = (None, self.peers.load(Ordering::Relaxed));
        registration.say(&command::register(&self.peer(), peers, topics as u64), |answer| {
            key = text(answer, "key").map(str::to_owned);
        })?;
        *self.key() = key;
        Ok(registration)
    }

    /// What a client is told when the index cannot be asked.
    pub(crate) fn unreachable(&self, error: &dyn Error) -> Refusal {
        self.pool.target.unreachable(error)
    }

    /// Notes how many peers there are, where an answer says so.
    fn count(&self, answer: &Value<'_>) {
        if let Some(peers) = number(answer, "peers") {
            self.peers.store(peers, Ordering::Relaxed);
        }
    }

    fn peer(&self) -> Peer<'_> {
        Peer { address: &self.own, key: self.key().clone() }
    }

    fn key(&self) -> MutexGuard<'_, Option<String>> {
        // It holds one value, which is whole after any panic.
        self.key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registration<'_> {
    /// Names all topics that live here. `refused` is called for those that the index refuses.
    ///
    /// # Errors
    ///
    /// The index cannot be asked.
    pub(crate) fn tell(
        &mut self,
        topics: &[(String, StreamId)],
        mut refused: impl FnMut(&str, &Refusal),
    ) -> Result<(), Refusal> {
        let client = self.client;
        let peer = client.peer();
        let command =
            |(topic, stream): &(String, StreamId)| command::add(&peer, topic, Some(*stream));
        let (most, last) =
            topics.split_at(topics.len().saturating_sub(1) / TOLD_AT_ONCE * TOLD_AT_ONCE);
        for topics in most.chunks(TOLD_AT_ONCE).chain([last]) {
            let mut commands: Vec<u8> = topics.iter().flat_map(command).collect();
            let is_last = std::ptr::eq(topics, last);
            if is_last {
                // Together with the last ones: until then the index does not know what is missing.
                commands.append(&mut of_peer("told_topics", &peer, None));
            }
            let mut told = topics.iter();
            let take = |answer: &Value<'_>| {
                client.count(answer);
                if let (Some((topic, _)), Some(it)) = (told.next(), answer::rejection(answer)) {
                    refused(topic, &it.refusal);
                }
            };
            let (count, deadline) =
                (topics.len() + usize::from(is_last), Instant::now() + HOME_TIMEOUT);
            client.pool.target.exchange(&mut self.connection, &commands, count, deadline, take)?;
        }
        Ok(())
    }

    /// Says that all topics that live here were named, as before.
    ///
    /// # Errors
    ///
    /// What the index says: this is not the registration that counts.
    fn told(&mut self) -> Result<(), Refusal> {
        let client = self.client;
        self.say(&of_peer("told_topics", &client.peer(), None), |answer| client.count(answer))
    }

    /// Says that a topic is no longer here.
    ///
    /// # Errors
    ///
    /// What the index says.
    pub(crate) fn remove(&mut self, topic: &str) -> Result<(), Refusal> {
        self.say(&of_peer("delete_topic", &self.client.peer(), Some(topic)), |_| {})
    }

    /// Waits a while, and lets the index know that this peer is there. Nothing is said unasked on
    /// this connection: it only has to end when either side does.
    ///
    /// # Errors
    ///
    /// The registration has ended.
    pub(crate) fn keep(&mut self) -> Result<(), Refusal> {
        match self.connection.receive(Instant::now() + HEARTBEAT, |_| {}) {
            Ok(()) => Ok(()),
            Err(connection::Error::TimedOut) => self.told(),
            Err(error) => Err(self.client.unreachable(&error)),
        }
    }

    /// Says one thing. `take` sees the answer where that is a success.
    fn say(&mut self, command: &[u8], mut take: impl FnMut(&Value<'_>)) -> Result<(), Refusal> {
        let mut rejected = None;
        let deadline = Instant::now() + HOME_TIMEOUT;
        let target = &self.client.pool.target;
        target.exchange(&mut self.connection, command, 1, deadline, |answer| {
            rejected = answer::rejection(answer);
            if rejected.is_none() {
                take(answer);
            }
        })?;
        rejected.map_or(Ok(()), |rejection| Err(rejection.refusal))
    }
}
