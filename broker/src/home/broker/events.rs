//! The connection on which topics are followed, and its events.
//!
//! The home is asked something from time to time and counts as lost if it does not answer, because
//! a machine that is gone does not say so.

use super::super::remote::{self, Event, News, Start};
use super::super::{HOME_TIMEOUT, deadline};
use super::answer;
use super::{BrokerHome, command};
use crate::push::Subscriber;
use crate::refusal::{Refusal, Result};
use crate::store::{Cursor, StreamId};
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
    ) -> Result<Infallible> {
        let target = &self.pool.target;
        let deadline = deadline();
        let mut connection = target.connect(deadline)?;
        let path = command::path(std::slice::from_ref(&self.own_id), HOME_TIMEOUT);
        connection.command(&path, deadline, |_| {})?;
        let subscriber =
            Arc::new(Subscriber::new(Arc::clone(connection.stream()), Arc::default(), &self.push));
        *self.follower.lock() = Some(Arc::clone(&subscriber));
        handle(Event::Connected);
        let (mut heard, mut said, mut looked) = (Instant::now(), Instant::now(), Instant::now());
        loop {
            let mut is_ring = false;
            let take = |object: &Value<'_>| match object.get_str("topic") {
                Some(topic) => {
                    if let Some(news) = news(object) {
                        handle(Event::Topic(topic, news));
                    }
                    self.hear_limits(topic, object);
                }
                // The answer to the question about the path.
                None => is_ring |= matches!(answer::refusal(object), Some(Refusal::Ring)),
            };
            match connection.receive(Instant::now() + TICK, take) {
                Ok(()) => heard = Instant::now(),
                Err(Trouble::TimedOut) => {}
                Err(error) => return Err(target.unreachable(&error)),
            }
            if is_ring {
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

/// What an object says of its topic, if that is of any concern.
fn news(object: &Value<'_>) -> Option<News> {
    let (stream, digest) = (answer::stream(object), answer::digest(object));
    Some(match (object.get_str("event"), object.get_str("status")) {
        (Some("message"), _) => {
            let (offset, message) = (object.get_u64("offset")?, object.get_str("message")?);
            let time = object.get_u64("time").unwrap_or(0);
            match remote::entry(message, time, object.get_str("publisher")) {
                Ok(entry) => News::Message { offset, stream, entry },
                Err(refusal) => News::Nonsense(refusal),
            }
        }
        (Some("deleted"), _) => News::Deleted,
        (Some("trimmed"), _) => News::Trimmed(stream, object.get_u64("next")?, digest),
        (Some("reset"), _) => News::Reset(stream),
        (None, Some("success")) => News::Confirmed {
            first: object.get_u64("first").unwrap_or(0),
            begin: Start {
                offset: object.get_u64("next").unwrap_or(0),
                digest,
                text: object.get_u64("before"),
            },
            end: Cursor { stream: stream.unwrap_or(StreamId::NONE), next: object.get_u64("end")? },
        },
        (None, Some("error")) => News::Refused(answer::refusal(object)?),
        _ => return None,
    })
}
