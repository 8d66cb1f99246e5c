//! The connection on which topics are followed, and its events.
//!
//! The home is asked something from time to time and counts as lost if it does not answer, because
//! a machine that is gone does not say so.

use super::super::HOME_TIMEOUT;
use super::super::remote::{self, Event, Place};
use super::answer::{self, number, text};
use super::{BrokerHome, command};
use crate::push::subscriber::Subscriber;
use crate::refusal::Refusal;
use crate::store::stream::{Cursor, StreamId};
use common::json::Value;
use common::trouble::Trouble;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long nothing may come before [`Event::Pause`].
const TICK: Duration = Duration::from_secs(2);

/// How often the home is asked something. It answers at once, unless it waits for a home of its
/// own; and it hears that this broker is there.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// After how long a silence the home is lost.
const SILENCE_MAX: Duration = Duration::from_secs(15);

impl BrokerHome {
    /// Follows the home until the connection ends; says why it did.
    pub(super) fn listen_until_lost(
        &self,
        handle: &mut dyn FnMut(Event<'_>),
    ) -> Result<Infallible, Refusal> {
        let target = &self.pool.target;
        let deadline = Instant::now() + HOME_TIMEOUT;
        let mut connection = target.connect(deadline)?;
        let path = command::path(std::slice::from_ref(&self.own_id), HOME_TIMEOUT);
        connection.command(&path, deadline, |_| {})?;
        let subscriber =
            Arc::new(Subscriber::new(Arc::clone(connection.stream()), Arc::default(), &self.push));
        *self.follower() = Some(Arc::clone(&subscriber));
        handle(Event::Connected);
        let (mut heard, mut said, mut looked) = (Instant::now(), Instant::now(), Instant::now());
        loop {
            let mut events = Events { handle: &mut *handle, run: None, is_ring: false };
            match connection.receive(Instant::now() + TICK, |object| events.take(object)) {
                Ok(()) => heard = Instant::now(),
                Err(Trouble::TimedOut) => {}
                Err(error) => return Err(target.unreachable(&error)),
            }
            events.flush();
            if events.is_ring {
                return Err(Refusal::Ring);
            }
            handle(Event::Pause);
            if looked.elapsed() < TICK {
                continue;
            }
            looked = Instant::now();
            if heard.elapsed() >= SILENCE_MAX {
                return Err(target.timed_out());
            }
            if said.elapsed() >= HEARTBEAT {
                said = Instant::now();
                subscriber.answer(&mut path.clone());
            }
        }
    }
}

/// Turns objects into events.
struct Events<'a> {
    handle: &'a mut dyn FnMut(Event<'_>),
    /// Messages of one topic that follow one another.
    run: Option<Run>,
    /// Whether the home said that the path leads back here.
    is_ring: bool,
}

struct Run {
    topic: String,
    stream: Option<StreamId>,
    first: u64,
    entries: Vec<String>,
}

impl Events<'_> {
    /// Handles one object.
    fn take(&mut self, object: &Value<'_>) {
        let Some(topic) = text(object, "topic") else {
            self.is_ring |= matches!(answer::refusal(object), Some(Refusal::Ring));
            return;
        };
        let stream = answer::stream(object);
        match (text(object, "event"), text(object, "status")) {
            (Some("message"), _) => self.message(topic, stream, object),
            (Some("deleted"), _) => self.hand_on(Event::Deleted { topic }),
            (Some("trimmed"), _) => {
                if let Some(next) = number(object, "next") {
                    self.hand_on(Event::Trimmed { topic, next });
                }
            }
            (Some("reset"), _) => self.hand_on(Event::Reset { topic, stream }),
            (None, Some("success")) => {
                if let Some(next) = number(object, "end") {
                    let end = Cursor { stream: stream.unwrap_or(StreamId::NONE), next };
                    let first = number(object, "first").unwrap_or(0);
                    let begin = Place {
                        offset: number(object, "next").unwrap_or(0),
                        digest: answer::digest(object),
                        text: number(object, "before"),
                    };
                    self.hand_on(Event::Confirmed { topic, first, begin, end });
                }
            }
            (None, Some("error")) => {
                if let Some(refusal) = answer::refusal(object) {
                    self.hand_on(Event::Refused { topic, refusal });
                }
            }
            _ => {}
        }
    }

    fn message(&mut self, topic: &str, stream: Option<StreamId>, object: &Value<'_>) {
        let (Some(offset), Some(message)) = (number(object, "offset"), text(object, "message"))
        else {
            return;
        };
        let publisher = text(object, "publisher");
        let time = number(object, "time").unwrap_or(0);
        let entry = match remote::entry(message, time, publisher) {
            Ok(entry) => entry,
            Err(refusal) => return self.hand_on(Event::Nonsense { topic, refusal }),
        };
        if let Some(run) = &mut self.run
            && run.topic == topic
            && run.first + run.entries.len() as u64 == offset
        {
            return run.entries.push(entry);
        }
        self.flush();
        let entries = vec![entry];
        self.run = Some(Run { topic: topic.to_owned(), stream, first: offset, entries });
    }

    fn hand_on(&mut self, event: Event<'_>) {
        self.flush();
        (self.handle)(event);
    }

    /// Hands on the messages that have come together.
    fn flush(&mut self) {
        if let Some(Run { topic, stream, first, entries }) = self.run.take() {
            (self.handle)(Event::Messages { topic: &topic, stream, first, entries });
        }
    }
}
