//! Peers: brokers that ask an index which of them is the home of a topic.
//!
//! Topics have to be created before they are used; the peer on which that was said is the home.
//!
//! # Not here
//!
//! The index itself (`index.rs`): any broker can be one.

use super::command::about;
use super::index::Address;
use super::wire::{self, Wire, Wires};
use super::{HOME_TIMEOUT, Home, Link};
use crate::push::Push;
use crate::refusal::Refusal;
use crate::store::batch::Batch;
use crate::store::ledger::Receipt;
use common::connection;
use common::flags;
use common::json::{self, Value};
use common::retry::Pauses;
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How often the index hears from a peer; well below the silence after which the peer is away.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Topics that the index is told of in one go: their answers fit into the socket's buffer.
const TOLD_AT_ONCE: usize = 256;

/// A broker among peers.
pub(crate) struct Peers {
    index: Wires,
    /// Where the others reach this one.
    own: Address,
    token: Option<String>,
    /// This broker's id.
    id: String,
    pub(super) known: Arc<KnownHomes>,
}

/// What is known of the homes of topics.
#[derive(Default)]
pub(crate) struct KnownHomes(Mutex<State>);

impl KnownHomes {
    /// Notes that a topic is no longer where it was: its home is to be asked for.
    pub(super) fn moved(&self, topic: &str) {
        let mut state = self.lock();
        state.homes.remove(topic);
        state.moved.insert(topic.to_owned());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What was learnt can be learnt again.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was learnt; held to look or to note, never across I/O.
#[derive(Default)]
struct State {
    /// The homes of topics, as the index told last.
    homes: HashMap<String, Arc<Link>>,
    links: HashMap<Address, Arc<Link>>,
    /// Topics that live here, while the index says that their home is elsewhere.
    contested: HashSet<String>,
    /// Topics whose home is to be asked for, because a mirror or a subscriber waits for them.
    moved: HashSet<String>,
}

impl Peers {
    /// A peer that is reached at `own`, and asks the index at `HOST:PORT`.
    pub(crate) fn new(index: String, own: Address, token: Option<String>, id: String) -> Peers {
        let index = Wires::new(index, token.clone());
        Peers { index, own, token, id, known: Arc::default() }
    }

    /// Registers with the index, tells it the topics that live here, and does so again whenever
    /// the index was lost. Does not return.
    pub(super) fn attend(&self, push: &Arc<Push>) -> ! {
        let mut pauses = Pauses::default();
        let mut told = false;
        loop {
            let Err(lost) = self.attend_once(push, || {
                pauses.reset();
                if std::mem::take(&mut told) {
                    let _ = writeln!(io::stderr(), "broker: the index is back");
                }
            });
            if !std::mem::replace(&mut told, true) {
                let line = flags::one_line(&lost);
                let _ = writeln!(
                    io::stderr(),
                    "broker: no index: {line}; topics whose home is known are served until it \
                     is back"
                );
            }
            thread::sleep(pauses.next());
        }
    }

    /// Registers and stays registered until the connection ends.
    fn attend_once(
        &self,
        push: &Arc<Push>,
        registered: impl FnOnce(),
    ) -> Result<Infallible, Refusal> {
        let mut wire = self.index.open(Instant::now() + HOME_TIMEOUT)?;
        self.introduce(&mut wire, push)?;
        registered();
        loop {
            self.follow_moved(push);
            // Nothing is said unasked on this connection; it only has to end when either side
            // does, and show that both are there.
            match wire.receive(Instant::now() + HEARTBEAT, |_| {}) {
                Ok(()) => {}
                Err(connection::Error::TimedOut) => {
                    let ping = b"{\"command\":\"path\"}\n";
                    let deadline = Instant::now() + HOME_TIMEOUT;
                    self.index.exchange(&mut wire, ping, 1, deadline, |_| {})?;
                }
                Err(error) => return Err(self.index.unreachable(&error)),
            }
        }
    }

    /// Registers, for as long as the connection lasts, with the topics that live here and no
    /// others.
    fn introduce(&self, wire: &mut Wire, push: &Arc<Push>) -> Result<(), Refusal> {
        self.say(wire, &self.command("register_peer", None, ",\"present\":true"))?;
        let topics = push.topics.names(false);
        let mut contested = HashSet::new();
        for topics in topics.chunks(TOLD_AT_ONCE) {
            let command = |topic: &String| self.command("add_topic", Some(topic), "");
            let commands: Vec<u8> = topics.iter().flat_map(command).collect();
            let mut told = topics.iter();
            let deadline = Instant::now() + HOME_TIMEOUT;
            self.index.exchange(wire, &commands, topics.len(), deadline, |answer| {
                if let (Some(topic), Some(refusal)) = (told.next(), wire::refusal(answer)) {
                    contested.insert(topic.clone());
                    let _ = writeln!(
                        io::stderr(),
                        "broker: topic {topic:?} is here, but the index says: {refusal}; it is \
                         refused here until it is deleted there, or here"
                    );
                }
            })?;
        }
        self.lock().contested = contested;
        self.say(wire, &self.command("told_topics", None, ""))?;
        // Deleted while the index was being told of them.
        for topic in topics.iter().filter(|topic| !push.topics.is_own(topic)) {
            let _ = self.say(wire, &self.command("delete_topic", Some(topic), ""));
        }
        Ok(())
    }

    /// Says one thing to the index on a connection that is the caller's.
    fn say(&self, wire: &mut Wire, command: &[u8]) -> Result<(), Refusal> {
        let mut refused = None;
        let deadline = Instant::now() + HOME_TIMEOUT;
        self.index.exchange(wire, command, 1, deadline, |answer| {
            refused = wire::refusal(answer);
        })?;
        refused.map_or(Ok(()), Err)
    }

    /// Follows topics that are waited for here, and whose home was not known.
    fn follow_moved(&self, push: &Arc<Push>) {
        let moved: Vec<String> = self.lock().moved.iter().cloned().collect();
        let deadline = Instant::now() + HOME_TIMEOUT;
        for topic in moved {
            if Instant::now() >= deadline {
                // The index is to hear of this peer in time; the rest follows.
                return;
            }
            let waits = push.topics.is_mirror(&topic) || push.is_awaited(&topic);
            let found = match self.home(&topic, deadline, push) {
                Ok(Home::At(link)) => link.ask_for(&topic, push).is_ok(),
                Ok(Home::Here) => true,
                Err(_) => false,
            };
            if found || !waits {
                self.lock().moved.remove(&topic);
            }
        }
    }

    /// The home of a topic.
    pub(super) fn home(
        &self,
        topic: &str,
        deadline: Instant,
        push: &Arc<Push>,
    ) -> Result<Home, Refusal> {
        let state = self.lock();
        let (known, is_contested) =
            (state.homes.get(topic).cloned(), state.contested.contains(topic));
        drop(state);
        if push.topics.is_own(topic) {
            return if is_contested { Err(contested()) } else { Ok(Home::Here) };
        }
        if let Some(link) = &known
            && link.is_in_reach()
        {
            return Ok(Home::At(Arc::clone(link)));
        }
        match (self.ask(topic, deadline), known) {
            // The index says so, but there is no such list: it was deleted just now.
            (Ok(address), _) if address == self.own => Err(Refusal::UnknownTopic(topic.to_owned())),
            (Ok(address), _) => self.link(topic, address, push).map(Home::At),
            (Err(Refusal::Unreachable { .. }), Some(link)) if !link.is_over() => Ok(Home::At(link)),
            (Err(refusal), _) => Err(refusal),
        }
    }

    /// The link to a topic's home, which is at this address.
    fn link(&self, topic: &str, address: Address, push: &Arc<Push>) -> Result<Arc<Link>, Refusal> {
        let mut state = self.lock();
        let link = match state.links.get(&address) {
            Some(link) if !link.is_over() => Arc::clone(link),
            _ => {
                let (token, id) = (self.token.clone(), self.id.clone());
                let known = Some(Arc::clone(&self.known));
                let link = Link::new(address.to_string(), token, id, known, push);
                let link = link.map_err(|error| self.index.unreachable(&error))?;
                state.links.insert(address, Arc::clone(&link));
                link
            }
        };
        let before = state.homes.insert(topic.to_owned(), Arc::clone(&link));
        drop(state);
        // A mirror has one source.
        if let Some(before) = before.filter(|before| !Arc::ptr_eq(before, &link)) {
            before.leave(topic);
        }
        Ok(link)
    }

    /// Where a topic's home is, if that is known.
    pub(super) fn known_home(&self, topic: &str) -> Option<String> {
        self.lock().homes.get(topic).map(|link| link.address().to_owned())
    }

    /// Appends a batch that is all of one topic at its home.
    pub(super) fn publish(
        &self,
        batch: &mut Batch,
        deadline: Instant,
        push: &Arc<Push>,
    ) -> Vec<Result<Receipt, Refusal>> {
        let topic = batch.publishes.first().map(|publish| publish.topic.clone());
        match self.home(&topic.unwrap_or_default(), deadline, push) {
            Ok(Home::Here) => {
                batch.own_only = true;
                push.topics.append(batch)
            }
            Ok(Home::At(link)) => link.publish(batch, deadline, push),
            Err(refusal) => batch.publishes.iter().map(|_| Err(refusal.clone())).collect(),
        }
    }

    /// Creates a topic, whose home is here.
    pub(super) fn create(
        &self,
        topic: &str,
        deadline: Instant,
        push: &Arc<Push>,
    ) -> Result<(), Refusal> {
        let known = self.lock().homes.get(topic).cloned();
        let is_followed = known.as_ref().is_some_and(|link| link.follows(topic));
        if push.topics.is_own(topic) || (is_followed && push.topics.is_mirror(topic)) {
            return Err(Refusal::TopicExists);
        }
        self.tell("add_topic", topic, deadline).map_err(|refusal| match refusal {
            Refusal::Home { status: 409, .. } => Refusal::TopicExists,
            other => other,
        })?;
        // A mirror of an earlier topic of this name makes way.
        if let Some(link) = known {
            link.leave(topic);
        }
        let _ = push.topics.drop_mirror(topic);
        let mut state = self.lock();
        state.homes.remove(topic);
        state.moved.remove(topic);
        state.contested.remove(topic);
        drop(state);
        let created = push.topics.create(topic);
        if !matches!(created, Ok(()) | Err(Refusal::TopicExists)) {
            // Nobody else may have the name before the index hears that it is free again.
            let _ = self.tell("delete_topic", topic, deadline);
        }
        created
    }

    /// Deletes a topic at its home.
    pub(super) fn delete(
        &self,
        topic: &str,
        deadline: Instant,
        push: &Arc<Push>,
    ) -> Result<(), Refusal> {
        if push.topics.is_own(topic) {
            push.topics.delete(topic)?;
            if !self.lock().contested.remove(topic) {
                // An index that is not there is told what lives here when it is back.
                let _ = self.tell("delete_topic", topic, deadline);
            }
            return Ok(());
        }
        match self.home(topic, deadline, push) {
            Ok(Home::At(link)) => link.delete(topic, deadline, push),
            // What is left of a topic that is gone elsewhere.
            Ok(Home::Here) | Err(Refusal::UnknownTopic(_)) => push.topics.drop_mirror(topic),
            Err(refusal) => Err(refusal),
        }
    }

    /// Asks the index for the home of a topic.
    fn ask(&self, topic: &str, deadline: Instant) -> Result<Address, Refusal> {
        let mut found = Err(Refusal::UnknownTopic(topic.to_owned()));
        self.index.ask(&about("query_topic", topic), 1, deadline, |answer| {
            let host = answer.get("host").and_then(Value::as_str);
            let port = answer.get("port").and_then(Value::as_u64);
            let port = port.and_then(|port| u16::try_from(port).ok());
            if let (Some(host), Some(port)) = (host, port) {
                found = Ok(Address { host: host.to_owned(), port });
            } else if let Some(Refusal::Home { status: 503, .. }) = wire::refusal(answer) {
                found = Err(Refusal::Away(topic.to_owned()));
            }
        })?;
        found
    }

    /// Tells the index something about a topic of this peer.
    fn tell(&self, command: &str, topic: &str, deadline: Instant) -> Result<(), Refusal> {
        self.index.command(&self.command(command, Some(topic), ""), deadline)
    }

    /// A command that names this peer. `more` is JSON behind its fields.
    fn command(&self, command: &str, topic: Option<&str>, more: &str) -> Vec<u8> {
        let Address { host, port } = &self.own;
        let mut text = format!("{{\"command\":\"{command}\",\"host\":").into_bytes();
        json::write_string_ascii(&mut text, host);
        // Writing to a vector cannot fail.
        let _ = write!(text, ",\"port\":{port}");
        if let Some(topic) = topic {
            text.extend_from_slice(b",\"topic\":");
            json::write_string_ascii(&mut text, topic);
        }
        text.extend_from_slice(more.as_bytes());
        text.extend_from_slice(b"}\n");
        text
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.known.lock()
    }
}

/// What is said of a topic that has another home than this peer, which has one of its own.
fn contested() -> Refusal {
    let text = "the topic has its home at another peer, and an older list here: delete it here to \
                see that one";
    Refusal::Home { status: 409, text: text.to_owned() }
}
