//! Publishes one message after another over HTTP. Each is repeated until the broker has it.
//!
//! # Guarantee
//!
//! When [`Sender::publish`] returns `Ok`, the message is in the broker, after those before it. A
//! broker that knows sequences stores it exactly once. If a broker refuses a request because of its
//! sequence, the request is sent without it: topic and message only. Any 2xx with any body is a
//! success.

use crate::error;
use common::client::{Broker, Failure, Outage, Refusal, Trouble};
use common::flags::Error;
use common::http::client::Client;
use common::json::Object;
use common::random::random;
use common::retry::repeat;
use std::collections::HashMap;

#[cfg(test)]
mod tests;

/// The way to one broker.
#[derive(Debug)]
pub(crate) struct Sender {
    client: Client,
    outage: Outage,
    /// The name that messages are numbered under: no other run has it.
    name: String,
    epoch: u64,
    /// The next sequence of each topic that is past its first.
    sequences: HashMap<String, u64>,
    /// Whether messages are sent without their sequences.
    is_bare: bool,
    published: u64,
}

impl Sender {
    /// A sender under a name of its own.
    pub(crate) fn new(broker: Broker) -> Sender {
        let (client, outage) = (broker.http(), Outage::new(broker));
        let name = format!("publisher-{:016x}", random());
        let (epoch, sequences, is_bare, published) = Default::default();
        Sender { client, outage, name, epoch, sequences, is_bare, published }
    }

    /// Publishes one message and returns when the broker has it.
    ///
    /// # Errors
    ///
    /// When the broker refuses it, or did not take it in the time that was given.
    pub(crate) fn publish(&mut self, topic: &str, message: &str) -> Result<(), Error> {
        let failed = |sender: &mut Sender, trouble| sender.outage.failed(trouble);
        let result = repeat(self, failed, |sender| {
            while let Err(refusal) = sender.attempt(topic, message)? {
                sender.refused(topic, refusal)?;
            }
            Ok(())
        });
        result.map_err(|cause| error::of_client(&cause, None, self.published))?;
        self.outage.succeeded();
        *self.sequences.entry(topic.to_owned()).or_default() += 1;
        self.published += 1;
        Ok(())
    }

    /// Sends the message once.
    fn attempt(&mut self, topic: &str, message: &str) -> Result<Result<(), Refusal>, Trouble> {
        let patience = self.outage.attempt_timeout();
        let body = self.body(topic, message);
        let head = self.client.request("POST", "/publish", &body, patience)?;
        let answer = self.client.short_body(patience);
        match head.status {
            200..300 => Ok(Ok(())),
            status => Ok(Err(Refusal::of_http(status, &answer))),
        }
    }

    /// The body of a publish, with its sequence or bare.
    fn body(&self, topic: &str, message: &str) -> Vec<u8> {
        let mut body = Vec::with_capacity(topic.len() + message.len() + 128);
        let mut object = Object::new(&mut body);
        object.field("topic", topic).field("message", message);
        if !self.is_bare {
            object.field("publisher", &self.name).field("epoch", self.epoch);
            object.field("sequence", self.sequence(topic));
        }
        object.end();
        body
    }

    /// That of the topic's next message. A broker takes the sequences of one publisher and topic
    /// in order, from 0 in every epoch: one whose answer was lost is sent again, and stored once.
    fn sequence(&self, topic: &str) -> u64 {
        self.sequences.get(topic).copied().unwrap_or_default()
    }

    /// The broker did not take the message: finds out whether to send it once more at once.
    fn refused(&mut self, topic: &str, refusal: Refusal) -> Result<(), Failure> {
        match refusal {
            // It expects a message that it has had: it has forgotten what it was sent.
            Refusal { code: 409, expected: Some(expected), .. }
                if expected < self.sequence(topic) && !self.is_bare =>
            {
                self.outage.broker().notify_loss(topic);
                self.epoch += 1;
                self.sequences.clear();
                Ok(())
            }
            refusal if refusal.is_passing() => Err(Trouble::from(refusal).into()),
            // Perhaps it is the sequences that are not understood. A broker that has taken one
            // message with them means this message.
            Refusal { code: 400 | 422, .. } if !self.is_bare && self.published == 0 => {
                self.is_bare = true;
                Ok(())
            }
            refusal => Err(self.outage.broker().refused(topic, refusal).into()),
        }
    }
}
