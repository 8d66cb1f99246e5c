//! Messages on their way into a stream: one, or several that are stored together.

use super::NatsHome;
use super::api::{ApiError, Reason, unanswered};
use super::requests::{Live, Unanswered};
use super::wire::{self, Message};
use crate::refusal::Refusal;
use common::json::{self, Value};
use common::lock::Mutex;
use common::random::random;
use std::fmt::Write as _;
use std::sync::{Condvar, PoisonError};
use std::time::{Duration, Instant};

/// The most messages that the servers store together.
pub(super) const BATCH_COUNT_MAX: usize = 1000;

/// How long a publish may be without an answer: then nobody knows whether it was stored.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// How many batches a broker has open: servers take 50 of a stream, of all brokers, and may leave
/// one more without an answer.
const BATCHES_MAX: usize = 16;

/// The batches that are open.
#[derive(Default)]
pub(super) struct Batches {
    open: Mutex<usize>,
    ended: Condvar,
}

/// One of them.
struct OpenBatch<'a>(&'a Batches);

/// What has become of messages that were sent.
pub(super) enum Sent {
    /// The last of them stands at this sequence.
    Stored(u64),
    /// They were not stored, and may be sent again.
    NotNow(String),
    /// They were not stored: nobody holds their subject.
    NoStream,
    Refused(Refusal),
}

impl Batches {
    /// Waits until there is room for one more; nothing where the deadline passes before.
    fn open(&self, deadline: Instant) -> Option<OpenBatch<'_>> {
        let left = deadline.saturating_duration_since(Instant::now());
        let open = self.open.lock();
        let waited = self.ended.wait_timeout_while(open, left, |open| *open >= BATCHES_MAX);
        let (mut open, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return None;
        }
        *open += 1;
        Some(OpenBatch(self))
    }
}

impl Drop for OpenBatch<'_> {
    fn drop(&mut self) {
        *self.0.open.lock() -= 1;
        self.0.ended.notify_one();
    }
}

/// The header of a message that is stored only if the last one of its subject, or of another, is
/// this one.
pub(super) fn expecting(last: u64, subject: Option<&str>) -> String {
    const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";
    let mut header = format!("{EXPECTED}: {last}\r\n");
    if let Some(subject) = subject {
        // A string takes all that is written to it.
        let _ = write!(header, "{EXPECTED}-Subject: {subject}\r\n");
    }
    header
}

impl NatsHome {
    /// Stores messages: all of them, if `first` fits, which is a header of the first. `parts` gives
    /// the subject and the payload of each, and writes its other headers.
    pub(super) fn store<'m, M>(
        &self,
        messages: &'m [M],
        first: &str,
        deadline: Instant,
        parts: impl Fn(usize, &'m M, &mut String) -> (&'m str, &'m [u8]),
    ) -> Sent {
        let open = (messages.len() > 1).then(|| self.batches.open(deadline));
        if matches!(open, Some(None)) {
            return Sent::Refused(unanswered("too many batches are open"));
        }
        let live = match self.requests.live(deadline) {
            Ok(live) => live,
            Err(unusable) => return Sent::Refused(unanswered(&unusable.reason)),
        };
        let until = deadline.min(Instant::now() + ANSWER_TIMEOUT);
        let answer = live.request(until, |reply, out| {
            let batch = open.is_some().then(|| format!("{:016x}", random()));
            let mut headers = String::new();
            for (index, message) in messages.iter().enumerate() {
                headers.clear();
                headers.push_str(if index == 0 { first } else { "" });
                let (subject, payload) = parts(index, message, &mut headers);
                let place = index + 1;
                let is_last = place == messages.len();
                if let Some(batch) = &batch {
                    // A string takes all that is written to it.
                    let _ = write!(
                        headers,
                        "Nats-Batch-Id: {batch}\r\nNats-Batch-Sequence: {place}\r\n"
                    );
                    headers.push_str(if is_last { "Nats-Batch-Commit: 1\r\n" } else { "" });
                }
                wire::publish(out, subject, is_last.then_some(reply), &headers, payload);
            }
        });
        outcome(&live, answer)
    }

    /// Stores messages, each for itself, in this order as far as all of them are stored.
    pub(super) fn store_each<'m, M>(
        &self,
        messages: &'m [M],
        deadline: Instant,
        parts: impl Fn(usize, &'m M, &mut String) -> (&'m str, &'m [u8]),
    ) -> Vec<Sent> {
        let Ok(live) = self.requests.live(deadline) else { return Vec::new() };
        let until = deadline.min(Instant::now() + ANSWER_TIMEOUT);
        let answers = live.request_each(messages.len(), until, |inbox, first, out| {
            let (mut headers, mut reply) = (String::new(), String::new());
            for (index, message) in messages.iter().enumerate() {
                headers.clear();
                reply.clear();
                let (subject, payload) = parts(index, message, &mut headers);
                // A string takes all that is written to it.
                let _ = write!(reply, "{inbox}.{}", first + index as u64);
                wire::publish(out, subject, Some(&reply), &headers, payload);
            }
        });
        answers.into_iter().map(|answer| outcome(&live, answer)).collect()
    }
}

/// What an answer says of messages that were sent.
fn outcome(live: &Live, answer: Result<Message, Unanswered>) -> Sent {
    let answer = match answer {
        Ok(answer) if answer.status() == Some(503) => return Sent::NoStream,
        Ok(answer) => answer,
        Err(lost) => return Sent::Refused(unanswered(&lost.0)),
    };
    let nonsense = || Sent::Refused(unanswered("its answer makes no sense"));
    let Ok(answer) = json::parse(answer.payload()) else { return nonsense() };
    match (ApiError::of(&answer), answer.get("seq").and_then(Value::as_u64)) {
        (None, Some(at)) => Sent::Stored(at),
        (Some(error), _) => match error.reason() {
            Reason::NoStream => Sent::NoStream,
            Reason::Passing => Sent::NotNow(error.refusal().to_string()),
            Reason::NotHere => {
                live.retire();
                Sent::NotNow(error.refusal().to_string())
            }
            _ => Sent::Refused(error.refusal()),
        },
        (None, None) => nonsense(),
    }
}
