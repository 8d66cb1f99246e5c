//! Following a home: one connection on which all mirrored topics are subscribed to.
//!
//! After the connection was lost, each topic is taken up again at the mirror's end. A home that
//! says nothing for a while is asked something, and is lost if it does not answer: a machine that
//! is gone does not say so.
//!
//! # Not here
//!
//! What becomes of what arrives (`mirror.rs`).

use super::HOME_TIMEOUT;
use super::command::{path, ring_or, subscribe};
use super::following::{Followed, Phase};
use super::link::Link;
use super::mirror::Mirror;
use super::wire;
use crate::push::Push;
use crate::push::subscriber::Subscriber;
use crate::refusal::Refusal;
use crate::store::stream::Cursor;
use common::connection;
use common::json;
use common::limits::TOPICS_MAX;
use common::retry::Pauses;
use std::convert::Infallible;
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use std::{process, thread};

/// How often the follower looks after what it follows.
const TICK: Duration = Duration::from_secs(2);

/// After how long a silence the home is asked something. It answers at once, unless it waits for
/// a home of its own.
const SILENCE: Duration = Duration::from_secs(5);

/// After how long a silence the home is lost.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// How long a mirror may stand still before whoever waits for it is told, even where the deadline
/// has passed: the home has answered, and what it has appended is on its way.
const STANDSTILL: Duration = Duration::from_millis(500);

/// How long a topic is followed that does not exist and that nobody asks for.
const UNUSED_TIME: Duration = Duration::from_secs(60);

impl Link {
    /// Follows a topic from now on, if it is not followed yet.
    ///
    /// # Errors
    ///
    /// As many topics are followed as there may be, or the link is no longer in use.
    pub(super) fn ask_for(&self, topic: &str, push: &Push) -> Result<(), Refusal> {
        let used = Instant::now();
        let mut state = self.following.lock();
        if let Some(followed) = state.topics.get_mut(topic) {
            followed.used = used;
            return Ok(());
        }
        if state.is_over {
            return Err(state.lost.clone().unwrap_or_else(|| self.behind()));
        }
        if state.topics.len() >= TOPICS_MAX {
            return Err(Refusal::TooManyTopics { topics_max: TOPICS_MAX });
        }
        let is_whole = push.topics.is_mirror(topic);
        state.topics.insert(topic.to_owned(), Followed { phase: Phase::Asked, is_whole, used });
        let connection = state.connection.clone();
        drop(state);
        if let Some(connection) = connection {
            connection.answer(&mut subscribe(topic, push));
        }
        Ok(())
    }

    /// Follows a topic and waits until its mirror is up to date.
    ///
    /// # Errors
    ///
    /// [`Refusal::UnknownTopic`] where the home says so. Any other refusal means that the home
    /// cannot be asked now, and how far the mirror is cannot be said.
    pub(super) fn ready(&self, topic: &str, deadline: Instant, push: &Push) -> Result<(), Refusal> {
        self.ask_for(topic, push)?;
        let mut state = self.following.lock();
        loop {
            let Some(followed) = state.topics.get(topic) else {
                return Err(Refusal::UnknownTopic(topic.to_owned()));
            };
            match (&state.connection, &state.lost, &followed.phase) {
                (None, Some(lost), _) => return Err(lost.clone()),
                (Some(_), _, Phase::Stopped(refusal)) => return Err(refusal.clone()),
                (Some(_), _, Phase::Live) => return Ok(()),
                _ => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.behind());
            }
            let waited = self.following.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until there is a connection.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(super) fn reach(&self, deadline: Instant) -> Result<(), Refusal> {
        let mut state = self.following.lock();
        loop {
            match (&state.connection, &state.lost) {
                (Some(_), _) => return Ok(()),
                (None, Some(lost)) => return Err(lost.clone()),
                (None, None) => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.behind());
            }
            let waited = self.following.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until the mirror of a topic has come to `place`. False where the home was lost
    /// before, or the mirror stands still when the deadline has passed.
    pub(super) fn wait_for(
        &self,
        topic: &str,
        place: Cursor,
        deadline: Instant,
        push: &Push,
    ) -> bool {
        let is_there = || {
            let end = push.topics.end(topic);
            end.stream == place.stream && end.next >= place.next
        };
        if is_there() {
            return true;
        }
        let waiting = push.wait_for(topic);
        loop {
            if is_there() {
                return true;
            }
            let patience = deadline.max(Instant::now() + STANDSTILL);
            if !self.follows(topic) || !waiting.wait(patience) {
                return false;
            }
        }
    }

    /// Whether what happens to a topic at the home is heard of here.
    pub(super) fn follows(&self, topic: &str) -> bool {
        let state = self.following.lock();
        let phase = state.topics.get(topic).map(|followed| &followed.phase);
        state.connection.is_some() && matches!(phase, Some(Phase::Behind(_) | Phase::Live))
    }

    /// Sees to it that the mirror of a topic can be read: up to date, or as it was when its home
    /// could be asked last.
    ///
    /// # Errors
    ///
    /// As [`Link::ready`], where there is no such mirror.
    pub(super) fn serve(&self, topic: &str, deadline: Instant, push: &Push) -> Result<(), Refusal> {
        let Err(refusal) = self.ready(topic, deadline, push) else { return Ok(()) };
        let state = self.following.lock();
        let is_whole = state.topics.get(topic).is_some_and(|followed| followed.is_whole);
        drop(state);
        if is_whole && push.topics.is_mirror(topic) { Ok(()) } else { Err(refusal) }
    }

    /// Whether there is a connection, or may be one in a moment.
    pub(super) fn is_in_reach(&self) -> bool {
        let state = self.following.lock();
        state.connection.is_some() || (state.lost.is_none() && !state.is_over)
    }

    /// Whether the link follows nothing any more, and never will.
    pub(super) fn is_over(&self) -> bool {
        self.following.lock().is_over
    }

    /// Follows a topic no longer.
    pub(super) fn leave(&self, topic: &str) {
        if self.following.forget(topic) {
            self.unsubscribe(topic);
        }
    }

    /// Asks the home to send no more of a topic.
    pub(super) fn unsubscribe(&self, topic: &str) {
        let connection = self.following.lock().connection.clone();
        if let Some(connection) = connection {
            let mut command = b"{\"command\":\"unsubscribe\",\"topic\":".to_vec();
            json::write_string_ascii(&mut command, topic);
            command.extend_from_slice(b"}\n");
            connection.answer(&mut command);
        }
    }

    /// What a client is told when the mirror is not where it should be.
    pub(super) fn behind(&self) -> Refusal {
        Refusal::Unreachable {
            broker: self.address().to_owned(),
            reason: "the mirror of the topic is behind".to_owned(),
        }
    }

    /// The life of the thread that follows this home.
    pub(super) fn follow(&self, push: &Arc<Push>) {
        let mut pauses = Pauses::default();
        // Whether the user was told that the home is lost, and whether it was ever there.
        let (mut told, mut was_there) = (false, false);
        loop {
            let Err(lost) = self.follow_once(push, || {
                pauses.reset();
                was_there = true;
                if std::mem::take(&mut told) {
                    let _ = writeln!(io::stderr(), "broker: {} is back", self.address());
                }
            });
            let is_ring = matches!(lost, Refusal::Ring);
            if !std::mem::replace(&mut told, true) {
                let more = if is_ring { "" } else { "; trying again until it is back" };
                let _ = writeln!(io::stderr(), "broker: {lost}{more}");
            }
            // The broker that came last gives way; one that has clients stays, and refuses.
            if is_ring && self.is_upstream() && !was_there {
                process::exit(1);
            }
            if self.lose(lost, push) {
                return;
            }
            thread::sleep(pauses.next());
        }
    }

    /// Notes that there is no connection. True where nothing is left to follow.
    fn lose(&self, lost: Refusal, push: &Arc<Push>) -> bool {
        let mut state = self.following.lock();
        state.connection = None;
        state.lost = Some(lost);
        state.is_over = state.topics.is_empty() && !self.is_upstream();
        let is_over = state.is_over;
        for followed in state.topics.values_mut() {
            followed.phase = Phase::Asked;
        }
        let topics: Vec<String> = state.topics.keys().cloned().collect();
        drop(state);
        self.following.changed.notify_all();
        // Publishers may be waiting for the mirror.
        topics.iter().for_each(|topic| push.announce(topic));
        is_over
    }

    /// Follows the home until the connection ends; says why it did.
    fn follow_once(&self, push: &Arc<Push>, begun: impl FnOnce()) -> Result<Infallible, Refusal> {
        let deadline = Instant::now() + HOME_TIMEOUT;
        let mut wire = self.wires.open(deadline)?;
        let path = path(std::slice::from_ref(&self.own_id), HOME_TIMEOUT);
        let mut refused = None;
        self.wires.exchange(&mut wire, &path, 1, deadline, |answer| {
            refused = wire::refusal(answer);
        })?;
        if let Some(refusal) = refused {
            return Err(ring_or(refusal));
        }
        let subscriber = Arc::new(Subscriber::new(Arc::clone(wire.stream()), push));
        let mut commands = Vec::new();
        let mut state = self.following.lock();
        for topic in state.topics.keys() {
            commands.append(&mut subscribe(topic, push));
        }
        state.connection = Some(Arc::clone(&subscriber));
        state.lost = None;
        drop(state);
        self.following.changed.notify_all();
        subscriber.answer(&mut commands);
        begun();
        let mut mirror = Mirror::new(self, push, &subscriber);
        let (mut heard, mut looked, mut tidied) = (Instant::now(), Instant::now(), Instant::now());
        loop {
            match wire.receive(Instant::now() + TICK, |object| mirror.take(object)) {
                Ok(()) => {
                    mirror.flush();
                    heard = Instant::now();
                }
                Err(connection::Error::TimedOut) => {}
                Err(error) => return Err(self.wires.unreachable(&error)),
            }
            if mirror.is_ring() {
                return Err(Refusal::Ring);
            }
            if looked.elapsed() < TICK {
                continue;
            }
            looked = Instant::now();
            if heard.elapsed() >= SILENCE_MAX {
                return Err(self.wires.unreachable(&io::Error::from(ErrorKind::TimedOut)));
            }
            if heard.elapsed() >= SILENCE {
                subscriber.answer(&mut path.clone());
            }
            self.retry_stopped(push, &subscriber);
            if tidied.elapsed() >= UNUSED_TIME {
                tidied = Instant::now();
                self.leave_unused(push);
            }
        }
    }

    /// Asks once more for the topics whose mirrors stopped.
    fn retry_stopped(&self, push: &Push, subscriber: &Subscriber) {
        let mut commands = Vec::new();
        let mut state = self.following.lock();
        for (topic, followed) in &mut state.topics {
            // Publishers go on being refused as before until the answer is here.
            if matches!(followed.phase, Phase::Stopped(_)) {
                commands.append(&mut subscribe(topic, push));
            }
        }
        drop(state);
        subscriber.answer(&mut commands);
    }

    /// Leaves the topics that do not exist and that nobody has asked for in a while: whoever asks
    /// for one name after another must not make the home remember them all.
    fn leave_unused(&self, push: &Push) {
        let state = self.following.lock();
        let unused = state.topics.iter().filter(|(topic, followed)| {
            followed.used.elapsed() >= UNUSED_TIME
                && push.topics.find(topic).is_err()
                && !push.is_awaited(topic)
        });
        let unused: Vec<String> = unused.map(|(topic, _)| topic.clone()).collect();
        drop(state);
        unused.iter().for_each(|topic| self.leave(topic));
    }

    /// Asks the home, and its own home, and so on, whether one of them is in `seen`.
    ///
    /// # Errors
    ///
    /// [`Refusal::Ring`]. A broker that cannot be asked closes no ring now; it asks the same when
    /// it is back.
    pub(crate) fn check_path(&self, seen: &[String], time: Duration) -> Result<(), Refusal> {
        match self.wires.command(&path(seen, time), Instant::now() + time).map_err(ring_or) {
            Err(Refusal::Ring) => Err(Refusal::Ring),
            _ => Ok(()),
        }
    }
}
