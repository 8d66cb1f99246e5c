//! One message after another over HTTP, each repeated until the broker has it.
//!
//! # Guarantee
//!
//! Once [`Sender::publish`] returns `Ok`, the message is in the broker, behind those before it.
//! With a broker that knows sequences it is there once, whatever was lost on the way. One that
//! refuses a request for its sequence gets the bare request: topic and message. Any 2xx with any
//! body is a success.

use crate::error::Error;
use crate::sequences::{Sequence, Sequences};
use common::client::{self, Broker, Failure, Refusal, Remote, Trouble};
use common::json::Object;
use common::retry::{Outage, Retry};

#[cfg(test)]
mod tests;

/// The way to one broker.
#[derive(Debug)]
pub(crate) struct Sender {
    broker: Broker,
    remote: Remote,
    outage: Outage,
    sequences: Sequences,
    /// Whether messages are sent without their sequences.
    is_bare: bool,
    published: u64,
}

impl Sender {
    /// A sender under a name of its own.
    pub(crate) fn new(broker: Broker) -> Sender {
        Sender {
            remote: Remote::new(&broker),
            outage: broker.outage(),
            broker,
            sequences: Sequences::new(),
            is_bare: false,
            published: 0,
        }
    }

    /// Publishes one message and returns when the broker has it.
    ///
    /// # Errors
    ///
    /// When the broker refuses it, or did not take it in the time that was given.
    pub(crate) fn publish(&mut self, topic: &str, message: &str) -> Result<(), Error> {
        let result = self.repeat(|sender| {
            while let Err(refusal) = sender.attempt(topic, message)? {
                sender.refused(topic, refusal)?;
            }
            Ok(())
        });
        self.outage.end();
        result.map_err(|cause| Error::Client { cause, line: None, published: self.published })?;
        self.sequences.advance(topic);
        self.published += 1;
        Ok(())
    }

    /// Sends the message once.
    fn attempt(&mut self, topic: &str, message: &str) -> Result<Result<(), Refusal>, Trouble> {
        let patience = self.outage.attempt();
        let sequence = (!self.is_bare).then(|| self.sequences.next(topic));
        let body = body(topic, message, self.sequences.publisher(), sequence);
        let head = self.remote.request("POST", "/publish", &body, patience)?;
        let answer = self.remote.short_body(patience);
        match head.status {
            200..300 => Ok(Ok(())),
            status => Ok(Err(Refusal::of_http(status, &answer))),
        }
    }

    /// The broker did not take the message: finds out whether to send it once more at once.
    fn refused(&mut self, topic: &str, refusal: Refusal) -> Result<(), Failure> {
        let sequence = self.sequences.next(topic).sequence;
        match refusal {
            // It expects a message that it has had: it has forgotten what it was sent.
            Refusal { code: 409, expected: Some(expected), .. }
                if expected < sequence && !self.is_bare =>
            {
                self.broker.forgotten(topic);
                self.sequences.begin_epoch();
                Ok(())
            }
            refusal if refusal.is_passing() => Err(Trouble::from(refusal).into()),
            // Perhaps it is the sequences that are not understood. A broker that has taken one
            // message with them means this message.
            Refusal { code: 400 | 422, .. } if !self.is_bare && self.published == 0 => {
                self.is_bare = true;
                Ok(())
            }
            refusal => Err(self.broker.refused(topic, refusal).into()),
        }
    }
}

impl Retry for Sender {
    type Trouble = Trouble;
    type Error = client::Error;

    fn failed(&mut self, trouble: Trouble) -> Result<(), client::Error> {
        self.broker.wait(&mut self.outage, trouble)
    }
}

/// The body of a publish, with its sequence or bare.
fn body(topic: &str, message: &str, publisher: &str, sequence: Option<Sequence>) -> Vec<u8> {
    let mut body = Vec::with_capacity(topic.len() + message.len() + 128);
    let mut object = Object::new(&mut body);
    object.field("topic", topic).field("message", message);
    if let Some(Sequence { epoch, sequence }) = sequence {
        object.field("publisher", publisher).field("epoch", epoch).field("sequence", sequence);
    }
    object.end();
    body
}
