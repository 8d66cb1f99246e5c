//! Peers: brokers that ask an index which of them is the home of a topic.
//!
//! Topics have to be created before they are used; the peer on which that was said is the home.

use super::index::Address;
use super::wire::{self, Wires};
use super::{HOME_TIMEOUT, Home, Link};
use crate::broker::Broker;
use crate::refusal::Refusal;
use common::flags;
use common::json::{self, Value};
use common::retry::Pauses;
use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// A broker among peers.
pub(crate) struct Peers {
    index: Arc<Wires>,
    /// Where the others reach this one.
    own: Address,
    token: Option<String>,
    state: Mutex<State>,
}

/// What was learnt; held to look or to note, never across I/O.
#[derive(Default)]
struct State {
    /// The homes of topics, as the index told last.
    homes: HashMap<String, Address>,
    links: HashMap<Address, Arc<Link>>,
}

impl Peers {
    /// A peer that is reached at `own`, and asks the index at `HOST:PORT`.
    pub(crate) fn new(index: String, own: Address, token: Option<String>) -> Peers {
        let index = Arc::new(Wires::new(index, token.clone()));
        Peers { index, own, token, state: Mutex::default() }
    }

    /// Registers with the index, tells it the topics that live here, and does so again whenever
    /// the index was lost. Does not return.
    pub(crate) fn attend(&self, broker: &Arc<Broker>) -> ! {
        let mut pauses = Pauses::default();
        let mut told = false;
        loop {
            let lost = self.attend_once(broker, || {
                pauses.reset();
                if std::mem::take(&mut told) {
                    let _ = writeln!(io::stderr(), "broker: the index is back");
                }
            });
            if let Err(refusal) = lost
                && !told
            {
                let line = flags::one_line(&refusal);
                let _ = writeln!(
                    io::stderr(),
                    "broker: no index: {line}; serving the topics of this peer alone until it is back"
                );
                told = true;
            }
            thread::sleep(pauses.next());
        }
    }

    /// Registers and stays registered until the connection ends.
    fn attend_once(&self, broker: &Arc<Broker>, registered: impl FnOnce()) -> Result<(), Refusal> {
        let mut connection = self.index.open()?;
        let mut commands = self.command("register_peer", None);
        // The closing brace makes way: this registration ends with its connection.
        commands.truncate(commands.len() - 2);
        commands.extend_from_slice(b",\"present\":true}\n");
        let topics = broker.topics.names(false);
        for topic in &topics {
            commands.append(&mut self.command("add_topic", Some(topic)));
        }
        let mut refused = None;
        let mut answers = 0;
        self.index.exchange_on(&mut connection, &commands, topics.len() + 1, |answer| {
            if let Some(refusal) = wire::refusal(answer) {
                match topics.get(answers - 1) {
                    Some(topic) if answers > 0 => {
                        let _ = writeln!(
                            io::stderr(),
                            "broker: topic {topic:?} is served here, but the index says: {refusal}"
                        );
                    }
                    _ => refused = Some(refusal),
                }
            }
            answers += 1;
        })?;
        if let Some(refusal) = refused {
            return Err(refusal);
        }
        registered();
        // Nothing is said on this connection; it only has to end when either side does.
        loop {
            match connection.fill(None) {
                Ok(size) if size > 0 => connection.consume(size),
                Ok(_) => {
                    let cause = io::Error::from(io::ErrorKind::UnexpectedEof);
                    return Err(self.index.unreachable(&cause));
                }
                Err(error) => return Err(self.index.unreachable(&error)),
            }
        }
    }

    /// The home of a topic.
    pub(super) fn home(&self, topic: &str, broker: &Arc<Broker>) -> Result<Home, Refusal> {
        if broker.topics.is_own(topic) {
            return Ok(Home::Here);
        }
        let known = self.lock().homes.get(topic).cloned();
        let address = match known {
            Some(address) => address,
            None => self.ask(topic)?,
        };
        if address == self.own {
            // The index says so, but there is no such list: it was deleted just now.
            return Err(Refusal::UnknownTopic(topic.to_owned()));
        }
        let mut state = self.lock();
        state.homes.insert(topic.to_owned(), address.clone());
        if let Some(link) = state.links.get(&address) {
            return Ok(Home::At(Arc::clone(link)));
        }
        let link = Link::new(address.to_string(), self.token.clone(), broker);
        let link = link.map_err(|error| self.index.unreachable(&error))?;
        state.links.insert(address, Arc::clone(&link));
        Ok(Home::At(link))
    }

    /// Forgets where a topic's home is.
    pub(super) fn forget(&self, topic: &str) {
        self.lock().homes.remove(topic);
    }

    /// Creates a topic, whose home is here.
    pub(super) fn create(&self, topic: &str, broker: &Arc<Broker>) -> Result<(), Refusal> {
        if broker.topics.is_own(topic) {
            return Err(Refusal::TopicExists);
        }
        self.tell("add_topic", topic).map_err(|refusal| match refusal {
            Refusal::Home { status: 409, .. } => Refusal::TopicExists,
            other => other,
        })?;
        // A mirror of an earlier topic of this name makes way.
        let _ = broker.topics.delete(topic);
        self.forget(topic);
        broker.topics.create(topic)
    }

    /// Deletes a topic at its home.
    pub(super) fn delete(&self, topic: &str, broker: &Arc<Broker>) -> Result<(), Refusal> {
        match self.home(topic, broker) {
            Ok(Home::Here) => {
                broker.topics.delete(topic)?;
                match self.tell("delete_topic", topic) {
                    // It is told what lives here when it is back.
                    Err(Refusal::Unreachable { .. }) | Ok(()) => Ok(()),
                    Err(refusal) => Err(refusal),
                }
            }
            Ok(Home::At(link)) => {
                self.forget(topic);
                link.delete(topic)
            }
            Err(Refusal::UnknownTopic(_)) => Err(Refusal::NoTopic),
            Err(refusal) => Err(refusal),
        }
    }

    /// Asks the index for the home of a topic.
    fn ask(&self, topic: &str) -> Result<Address, Refusal> {
        let mut command = b"{\"command\":\"query_topic\",\"topic\":".to_vec();
        json::write_string_ascii(&mut command, topic);
        command.extend_from_slice(b"}\n");
        let mut found = Err(Refusal::UnknownTopic(topic.to_owned()));
        self.index.ask(&command, 1, HOME_TIMEOUT, |answer| {
            let host = answer.get("host").and_then(Value::as_str);
            let port = answer.get("port").and_then(Value::as_u64);
            let port = port.and_then(|port| u16::try_from(port).ok());
            if let (Some(host), Some(port)) = (host, port) {
                found = Ok(Address { host: host.to_owned(), port });
            }
        })?;
        found
    }

    /// Tells the index something about a topic of this peer.
    fn tell(&self, command: &str, topic: &str) -> Result<(), Refusal> {
        let mut refused = None;
        let command = self.command(command, Some(topic));
        self.index.ask(&command, 1, HOME_TIMEOUT, |answer| refused = wire::refusal(answer))?;
        refused.map_or(Ok(()), Err)
    }

    /// A command that names this peer.
    fn command(&self, command: &str, topic: Option<&str>) -> Vec<u8> {
        let Address { host, port } = &self.own;
        let mut text = format!("{{\"command\":\"{command}\",\"host\":").into_bytes();
        json::write_string_ascii(&mut text, host);
        let _ = write!(text, ",\"port\":{port}");
        if let Some(topic) = topic {
            text.extend_from_slice(b",\"topic\":");
            json::write_string_ascii(&mut text, topic);
        }
        text.extend_from_slice(b"}\n");
        text
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What was learnt can be learnt again.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
