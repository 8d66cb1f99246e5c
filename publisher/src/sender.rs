//! One message after another, each repeated until the broker has it.
//!
//! # Guarantee
//!
//! Once [`Sender::publish`] returns `Ok`, the message is in the broker, behind those before it.
//! With a broker that knows numbers it is there once, whatever was lost on the way. One that
//! refuses a request for its numbers gets the bare request: topic and message.

use crate::PROGRAM;
use crate::answer::Answer;
use crate::error::{Error, Trouble};
use crate::numbers::{Number, Numbers};
use common::flags::one_line;
use common::http::client;
use common::json;
use common::limits::ANSWER_TIMEOUT;
use common::remote::Remote;
use common::retry::Outage;
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// The shortest time in which an attempt can be expected to succeed, however little is left.
const ATTEMPT_MIN: Duration = Duration::from_secs(1);

/// The way to one broker.
#[derive(Debug)]
pub(crate) struct Sender {
    remote: Remote,
    /// How long each message is tried; `None` for as long as it takes.
    wait: Option<Duration>,
    numbers: Numbers,
    /// Whether the broker has taken none but bare messages.
    is_bare: bool,
    published: u64,
}

impl Sender {
    /// A sender under a name of its own.
    pub(crate) fn new(remote: Remote, wait: Option<Duration>) -> Sender {
        Sender { remote, wait, numbers: Numbers::new(), is_bare: false, published: 0 }
    }

    /// Publishes one message and returns when the broker has it.
    ///
    /// # Errors
    ///
    /// When the broker refuses it, or did not take it in the time that was given.
    pub(crate) fn publish(&mut self, topic: &str, message: &str) -> Result<(), Error> {
        let deadline = self.wait.and_then(|wait| Instant::now().checked_add(wait));
        let mut outage = Outage::default();
        let mut is_bare = self.is_bare;
        loop {
            let number = (!is_bare).then(|| self.numbers.next(topic));
            let trouble = match self.attempt(topic, message, number, time_left(deadline)) {
                Ok(Answer::Stored) => {
                    self.is_bare = is_bare;
                    self.numbers.advance(topic);
                    self.published += 1;
                    return Ok(());
                }
                Ok(Answer::MemoryLost) => {
                    PROGRAM.say("the broker has lost what it held; publishing to it goes on");
                    self.numbers.begin_epoch();
                    continue;
                }
                // Perhaps it is the numbers that are not understood. A broker that has taken one
                // message with them means this message.
                Ok(Answer::NotUnderstood(_)) if !is_bare && self.published == 0 => {
                    is_bare = true;
                    continue;
                }
                Ok(Answer::NotUnderstood(reason) | Answer::Refused(reason)) => {
                    return Err(Error::Refused {
                        address: self.remote.address().to_owned(),
                        topic: topic.to_owned(),
                        line: None,
                        reason,
                        published: self.published,
                    });
                }
                Ok(Answer::Later(reason)) => Trouble::Answer(reason),
                Err(cause) => Trouble::Connection(one_line(&cause)),
            };
            let left = time_left(deadline);
            let address = self.remote.address();
            if left.is_zero() {
                let address = address.to_owned();
                return Err(Error::GaveUp { trouble, address, published: self.published });
            }
            outage.wait(left, || {
                PROGRAM.say(format_args!("cannot publish to {address} ({trouble}); trying again"));
            });
        }
    }

    /// Sends the message once.
    fn attempt(
        &mut self,
        topic: &str,
        message: &str,
        number: Option<Number>,
        left: Duration,
    ) -> Result<Answer, client::Error> {
        let patience = left.clamp(ATTEMPT_MIN, ANSWER_TIMEOUT);
        let body = body(topic, message, self.numbers.publisher(), number);
        let head = self.remote.ask("POST", "/publish", &body, patience)?;
        let answer = self.remote.short_body(patience);
        Ok(Answer::read(head.status, &answer, number.map_or(0, |number| number.sequence)))
    }
}

/// How long the message may still be tried.
fn time_left(deadline: Option<Instant>) -> Duration {
    let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
    deadline.map_or(Duration::MAX, left)
}

/// The body of a publish, numbered or bare.
fn body(topic: &str, message: &str, publisher: &str, number: Option<Number>) -> Vec<u8> {
    let mut body = Vec::with_capacity(topic.len() + message.len() + 128);
    body.extend_from_slice(b"{\"topic\":");
    json::write_string(&mut body, topic);
    body.extend_from_slice(b",\"message\":");
    json::write_string(&mut body, message);
    if let Some(Number { epoch, sequence }) = number {
        body.extend_from_slice(b",\"publisher\":");
        json::write_string(&mut body, publisher);
        body.extend_from_slice(format!(",\"epoch\":{epoch},\"sequence\":{sequence}").as_bytes());
    }
    body.push(b'}');
    body
}
