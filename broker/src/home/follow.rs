//! Following a home: one connection on which all mirrored topics are subscribed to.
//!
//! What arrives is appended to the mirror and delivered to this broker's own subscribers. After
//! the connection was lost, each topic is taken up again at the mirror's end.

use super::link::Link;
use super::{HOME_TIMEOUT, wire};
use crate::broker::Broker;
use crate::commit::Mirrored;
use crate::entry;
use crate::refusal::Refusal;
use crate::stream::{Cursor, StreamId};
use crate::subscriber::Subscriber;
use common::flags;
use common::json::{self, Value};
use common::limits::BODY_SIZE_MAX;
use common::retry::Pauses;
use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use std::{process, thread};

/// What is followed at one home.
#[derive(Default)]
pub(super) struct Following {
    state: Mutex<State>,
    /// Told when a phase changes, and when the connection comes or goes.
    changed: Condvar,
}

/// Held to look or to note; never across I/O.
#[derive(Default)]
struct State {
    topics: HashMap<String, Phase>,
    /// The write side of the connection, while there is one.
    connection: Option<Arc<Subscriber>>,
    /// Whether a first connection was tried.
    tried: bool,
}

/// How far a mirror is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// To be asked for, or asked for and not yet answered.
    Asked,
    /// The home's list ended here when it answered.
    Behind(Cursor),
    /// It has been up to date since the connection came.
    Live,
    /// The home does not have the topic.
    Gone,
}

impl Following {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A map of small values is whole after any panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, topic: &str, phase: Phase) {
        self.lock().topics.insert(topic.to_owned(), phase);
        self.changed.notify_all();
    }

    /// Notes that a mirror has come to `end`.
    fn reached(&self, topic: &str, end: Cursor) {
        let mut state = self.lock();
        if let Some(phase) = state.topics.get_mut(topic)
            && let Phase::Behind(until) = *phase
            && (until.stream != end.stream || until.next <= end.next)
        {
            *phase = Phase::Live;
            self.changed.notify_all();
        }
    }

    /// Waits until the mirror of a topic has come to `place`, the home is lost, or the deadline
    /// passes.
    pub(super) fn wait_for(&self, topic: &str, place: Cursor, deadline: Instant, broker: &Broker) {
        let bell = broker.listeners.join(topic);
        loop {
            let end = broker.topics.end(topic);
            let reached = end.stream == place.stream && end.next >= place.next;
            if reached || self.lock().connection.is_none() || !bell.wait(deadline) {
                return;
            }
        }
    }
}

impl Link {
    /// Follows a topic from now on, if it is not followed yet.
    pub(super) fn ask_for(&self, topic: &str, broker: &Broker) {
        let mut state = self.following.lock();
        if matches!(state.topics.get(topic), Some(phase) if *phase != Phase::Gone) {
            return;
        }
        state.topics.insert(topic.to_owned(), Phase::Asked);
        let connection = state.connection.clone();
        drop(state);
        if let Some(connection) = connection {
            connection.answer(&mut subscribe(topic, broker));
        }
    }

    /// Follows a topic and waits until its mirror is up to date.
    ///
    /// # Errors
    ///
    /// No such topic at the home; or the home is out of reach and there is no mirror.
    pub(super) fn mirror(&self, topic: &str, broker: &Broker) -> Result<(), Refusal> {
        self.ask_for(topic, broker);
        let deadline = Instant::now() + HOME_TIMEOUT;
        let mut state = self.following.lock();
        loop {
            let phase = state.topics.get(topic).copied().unwrap_or(Phase::Asked);
            if phase == Phase::Gone {
                return Err(Refusal::UnknownTopic(topic.to_owned()));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let is_lost = state.connection.is_none() && state.tried;
            if (phase == Phase::Live && !is_lost) || is_lost || left.is_zero() {
                drop(state);
                let served = phase == Phase::Live && !is_lost;
                return if served || broker.topics.find(topic).is_ok() {
                    Ok(())
                } else {
                    let cause = io::Error::from(io::ErrorKind::NotConnected);
                    Err(self.wires.unreachable(&cause))
                };
            }
            let waited = self.following.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The life of the thread that follows this home.
    pub(super) fn follow(&self, broker: &Arc<Broker>) {
        let mut pauses = Pauses::default();
        let mut told = false;
        loop {
            let lost = self.follow_once(broker, &mut pauses, &mut told);
            let mut state = self.following.lock();
            state.connection = None;
            state.tried = true;
            for phase in state.topics.values_mut() {
                *phase = Phase::Asked;
            }
            drop(state);
            self.following.changed.notify_all();
            if let Refusal::Ring = lost {
                let _ = writeln!(io::stderr(), "broker: {lost}");
                process::exit(1);
            }
            if !told {
                let _ = writeln!(io::stderr(), "broker: {lost}; trying again until it is back");
                told = true;
            }
            thread::sleep(pauses.next());
        }
    }

    /// Follows the home until the connection ends; says why it did.
    fn follow_once(&self, broker: &Arc<Broker>, pauses: &mut Pauses, told: &mut bool) -> Refusal {
        if let Err(refusal) = self.check_path(vec![broker.id.clone()]) {
            return refusal;
        }
        let mut connection = match self.wires.open() {
            Ok(connection) => connection,
            Err(refusal) => return refusal,
        };
        let subscriber = Arc::new(Subscriber::new(Arc::clone(connection.stream()), broker));
        let mut commands = Vec::new();
        let mut state = self.following.lock();
        for topic in state.topics.keys() {
            commands.append(&mut subscribe(topic, broker));
        }
        state.connection = Some(Arc::clone(&subscriber));
        state.tried = true;
        drop(state);
        subscriber.answer(&mut commands);
        pauses.reset();
        if std::mem::take(told) {
            let _ = writeln!(io::stderr(), "broker: {} is back", self.wires.address());
        }
        let mut mirror = Mirror { link: self, broker, subscriber: &subscriber, pending: None };
        loop {
            let input = connection.buffered();
            let mut used = 0;
            loop {
                match json::parse_prefix(input.get(used..).unwrap_or_default()) {
                    Ok((object, size)) => {
                        used += size;
                        mirror.take(&object);
                    }
                    Err(json::Error::Partial) if input.len() - used <= BODY_SIZE_MAX => break,
                    Err(error) => return self.wires.unreachable(&error),
                }
            }
            mirror.flush();
            connection.consume(used);
            match connection.fill(None) {
                Ok(size) if size > 0 => {}
                Ok(_) => {
                    return self.wires.unreachable(&io::Error::from(io::ErrorKind::UnexpectedEof));
                }
                Err(error) => return self.wires.unreachable(&error),
            }
        }
    }

    /// Asks the home, and its own home, and so on, whether one of them is in `seen`.
    ///
    /// # Errors
    ///
    /// [`Refusal::Ring`], or what kept a broker on the way from answering.
    pub(crate) fn check_path(&self, seen: Vec<String>) -> Result<(), Refusal> {
        let mut command = b"{\"command\":\"path\",\"seen\":[".to_vec();
        for (index, id) in seen.iter().enumerate() {
            command.extend_from_slice(if index > 0 { b"," } else { b"" });
            json::write_string_ascii(&mut command, id);
        }
        command.extend_from_slice(b"]}\n");
        let mut refused = None;
        self.wires.ask(&command, 1, HOME_TIMEOUT, |answer| refused = wire::refusal(answer))?;
        match refused {
            Some(Refusal::Home { status: 508, .. }) => Err(Refusal::Ring),
            Some(refusal) => Err(refusal),
            None => Ok(()),
        }
    }
}

/// The command that takes a topic up at the end of its mirror.
fn subscribe(topic: &str, broker: &Broker) -> Vec<u8> {
    let Cursor { stream, next } = broker.topics.end(topic);
    let mut command = b"{\"command\":\"subscribe\",\"topic\":".to_vec();
    json::write_string_ascii(&mut command, topic);
    let _ = write!(command, ",\"from\":{next},\"stream\":\"{stream}\"}}");
    command.push(b'\n');
    command
}

/// What arrives from the home, on its way into the mirrors.
struct Mirror<'a> {
    link: &'a Link,
    broker: &'a Arc<Broker>,
    subscriber: &'a Subscriber,
    /// Messages of one topic that follow one another.
    pending: Option<Mirrored>,
}

impl Mirror<'_> {
    fn take(&mut self, object: &Value<'_>) {
        let text = |key| object.get(key).and_then(Value::as_str);
        let number = |key| object.get(key).and_then(Value::as_u64);
        let stream: Option<StreamId> = text("stream").and_then(|stream| stream.parse().ok());
        let Some(topic) = text("topic") else { return };
        match (text("event"), text("status")) {
            (Some("message"), _) => {
                let (Some(next), Some(message)) = (number("offset"), text("message")) else {
                    return;
                };
                let stamp = entry::stamp(number("time").unwrap_or(0), text("publisher"));
                let entry = entry::compose(message, &stamp);
                self.push(topic, stream, next, entry);
            }
            (Some("reset" | "deleted"), _) => self.start_over(topic, false),
            (_, Some("success")) => {
                self.flush();
                let Some(next) = number("end") else { return };
                let end = Cursor { stream: stream.unwrap_or(StreamId::NONE), next };
                self.link.following.set(topic, Phase::Behind(end));
                self.link.following.reached(topic, self.place(topic, end.stream));
            }
            (_, Some("error")) => match number("code") {
                // The mirror is not a first part of the home's list: another takes its place.
                Some(410 | 416) => self.start_over(topic, true),
                _ => self.link.following.set(topic, Phase::Gone),
            },
            _ => {}
        }
    }

    /// Where the mirror of a topic ends; at the beginning of `stream` where there is none yet.
    fn place(&self, topic: &str, stream: StreamId) -> Cursor {
        match self.broker.topics.end(topic) {
            Cursor { stream: StreamId::NONE, .. } => Cursor { stream, next: 0 },
            end => end,
        }
    }

    fn push(&mut self, topic: &str, stream: Option<StreamId>, next: u64, entry: String) {
        if let Some(pending) = &mut self.pending
            && pending.topic == topic
            && pending.from.next + pending.entries.len() as u64 == next
        {
            pending.entries.push(entry);
            return;
        }
        self.flush();
        let stream = stream.unwrap_or_else(|| self.broker.topics.end(topic).stream);
        let from = Cursor { stream, next };
        self.pending = Some(Mirrored { topic: topic.to_owned(), from, entries: vec![entry] });
    }

    /// Appends what has come together, and delivers it.
    fn flush(&mut self) {
        let Some(mirrored) = self.pending.take() else { return };
        let topic = mirrored.topic.clone();
        match self.broker.topics.mirror(mirrored) {
            Ok(()) => {
                let end = self.broker.topics.end(&topic);
                self.broker.announce(&topic);
                self.link.following.reached(&topic, end);
            }
            // Something was missed: the next connection takes it up at the mirror's end.
            Err(Refusal::OtherStream) => self.subscriber.session().close(),
            Err(refusal) => {
                let line = flags::one_line(&refusal);
                let _ = writeln!(io::stderr(), "broker: the mirror of {topic:?} stops: {line}");
                self.link.following.set(&topic, Phase::Gone);
            }
        }
    }

    /// Gives up the mirror of a topic, and asks for the home's list from its start, if need be.
    fn start_over(&mut self, topic: &str, ask: bool) {
        self.flush();
        // It may not be there yet.
        let _ = self.broker.topics.delete(topic);
        self.broker.announce(topic);
        if ask {
            self.link.following.set(topic, Phase::Asked);
            self.subscriber.answer(&mut subscribe(topic, self.broker));
        }
    }
}
