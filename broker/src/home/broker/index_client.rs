//! The commands of a peer to its index.

use super::super::deadline;
use super::super::index::Address;
use super::command;
use super::connection::{BrokerConnection, Target};
use super::pool::ConnectionPool;
use crate::refusal::{Refusal, Result};
use crate::store::{StreamId, entry};
use common::json::{Object, Value};
use common::lock::Mutex;
use common::pattern::Pattern;
use common::trouble::Trouble;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
        let pool = ConnectionPool::new(Target { address, token, shows_token });
        let (key, asks_for_token, peers) = Default::default();
        IndexClient { pool, own, key, asks_for_token, peers }
    }

    /// Asks for the home of a topic.
    ///
    /// # Errors
    ///
    /// [`Refusal::UnknownTopic`], [`Refusal::Away`], [`Refusal::Unreachable`].
    pub(crate) fn home_of(&self, topic: &str, deadline: Instant) -> Result<Address> {
        let found = self.pool.command(&self.about("query_topic", topic), deadline, |answer| {
            self.count(answer);
            address(answer)
        });
        match found {
            Ok(Some(address)) => Ok(address),
            Err(lost @ Refusal::Unreachable { .. }) => Err(lost),
            Err(refusal) if refusal.status() == 503 => Err(Refusal::Away(topic.to_owned())),
            Ok(None) | Err(_) => Err(Refusal::UnknownTopic(topic.to_owned())),
        }
    }

    /// Asks for the homes of all topics that match.
    ///
    /// # Errors
    ///
    /// What the index says.
    pub(crate) fn homes_of(
        &self,
        pattern: &Pattern,
        deadline: Instant,
    ) -> Result<Vec<(String, Address)>> {
        self.pool.command(&command::query(pattern), deadline, |answer| {
            let home = |it: &Value<'_>| {
                let topic = it.get_str("topic").filter(|it| entry::check_topic(it).is_ok())?;
                Some((topic.to_owned(), address(it)?))
            };
            answer.get_array("topics").iter().filter_map(home).collect()
        })
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
    ) -> Result<()> {
        let add = self.add_command(topic, stream);
        match self.pool.command(&add, deadline, |answer| self.count(answer)) {
            Err(refusal) if refusal.status() == 409 => Err(Refusal::TopicExists),
            added => added,
        }
    }

    /// Says that a topic is no longer here.
    ///
    /// # Errors
    ///
    /// What the index says.
    pub(crate) fn remove(&self, topic: &str, deadline: Instant) -> Result<()> {
        self.pool.command(&self.about("delete_topic", topic), deadline, |_| {})
    }

    /// Registers this peer, with so many topics, for as long as the registration is kept.
    ///
    /// # Errors
    ///
    /// What the index says.
    pub(crate) fn register(&self, topics: usize) -> Result<Registration<'_>> {
        let (target, deadline) = (&self.pool.target, deadline());
        if target.token.is_some() {
            self.asks_for_token.store(target.asks_for_token(deadline)?, Ordering::Relaxed);
        }
        let connection = target.connect(deadline)?;
        let mut registration = Registration { client: self, connection };
        let peers = self.peers.load(Ordering::Relaxed);
        let register = self.command("register_peer", |object| {
            object.field("present", true).field("peers", peers).field("topics", topics as u64)
        });
        let key = registration.say(&register, |it| it.get_str("key").map(str::to_owned))?;
        *self.key.lock() = key;
        Ok(registration)
    }

    /// What a client is told when the index cannot be asked.
    pub(crate) fn unreachable(&self, error: &dyn Error) -> Refusal {
        self.pool.target.unreachable(error)
    }

    /// Notes how many peers there are, where an answer says so.
    fn count(&self, answer: &Value<'_>) {
        if let Some(peers) = answer.get_u64("peers") {
            self.peers.store(peers, Ordering::Relaxed);
        }
    }

    /// A command in which this peer names itself, and shows its key.
    fn command(
        &self,
        command: &str,
        fields: impl for<'o, 'b> FnOnce(&'o mut Object<'b>) -> &'o mut Object<'b>,
    ) -> Vec<u8> {
        command::write(command, |object| {
            object.field("host", &self.own.host).field("port", self.own.port);
            fields(object.optional("key", self.key.lock().as_deref()))
        })
    }

    fn about(&self, command: &str, topic: &str) -> Vec<u8> {
        self.command(command, |object| object.field("topic", topic))
    }

    fn add_command(&self, topic: &str, stream: Option<StreamId>) -> Vec<u8> {
        self.command("add_topic", |object| object.field("topic", topic).optional("stream", stream))
    }
}

/// The address that an answer names.
fn address(answer: &Value<'_>) -> Option<Address> {
    let port = u16::try_from(answer.get_u64("port")?).ok()?;
    Some(Address { host: answer.get_str("host")?.to_owned(), port })
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
    ) -> Result<()> {
        let client = self.client;
        for topics in topics.chunks(TOLD_AT_ONCE) {
            let add =
                |(topic, stream): &(String, StreamId)| client.add_command(topic, Some(*stream));
            let commands: Vec<u8> = topics.iter().flat_map(add).collect();
            let (count, mut topics) = (topics.len(), topics.iter());
            self.connection.exchange(&commands, count, deadline(), |answer| {
                match (topics.next(), answer) {
                    (_, Ok(answer)) => client.count(answer),
                    (Some((topic, _)), Err(refusal)) => refused(topic, &refusal),
                    (None, Err(_)) => {}
                }
            })?;
        }
        self.told()
    }

    /// Says that all topics that live here were named. Until then the index does not know what is
    /// missing.
    fn told(&mut self) -> Result<()> {
        let client = self.client;
        self.say(&client.command("told_topics", |object| object), |answer| client.count(answer))
    }

    /// Waits a while, and lets the index know that this peer is there: it says once more that all
    /// its topics were named. Nothing is said unasked on this connection: it only has to end when
    /// either side does.
    ///
    /// # Errors
    ///
    /// The registration has ended, or is not the one that counts.
    pub(crate) fn keep(&mut self) -> Result<()> {
        match self.connection.receive(Instant::now() + HEARTBEAT, |_| {}) {
            Ok(()) => Ok(()),
            Err(Trouble::TimedOut) => self.told(),
            Err(error) => Err(self.client.unreachable(&error)),
        }
    }

    /// Says one thing. `read` takes what is wanted from the answer, where that is a success.
    fn say<T>(&mut self, command: &[u8], read: impl Fn(&Value<'_>) -> T) -> Result<T> {
        self.connection.command(command, deadline(), read)
    }
}
