//! Publishes messages, each exactly once and in order.

use super::answer::Refusal;
use super::broker::Broker;
use super::error::{Error, Failure};
use super::link::{INVALID, Link};
use super::queue::{BATCH_SIZE, Queue};
use crate::json::{self, Object, Value};
use crate::limits::{BODY_SIZE_MAX, TOPIC_NAME_SIZE_MAX};
use crate::retry::repeat;
use crate::stream::StreamId;
use crate::{clock, random};

#[cfg(test)]
mod tests;

/// What a command may hold beside its messages, in bytes: names of 255 bytes, each of which may
/// take six, and the rest amply.
const COMMAND_OVERHEAD: usize = 4 << 10;

/// Publishes messages, each exactly once and in order, whatever is lost on the way.
///
/// Messages are numbered per topic, under a name and an epoch. What was not acknowledged when a
/// connection ends is sent again over the next one under the same sequences, by which the broker
/// knows what it has already.
///
/// [`publish`](Publisher::publish) waits for each message to be acknowledged.
/// [`send`](Publisher::send) does not: many messages are on their way at once, which is some
/// hundred times faster; [`flush`](Publisher::flush) then waits for all of them.
///
/// # When the broker has forgotten
///
/// A broker that keeps nothing on disk and was restarted does not know the messages from before.
/// It is found out with the next message: a notice says so, and publishing goes on, in a new
/// epoch, with what was not acknowledged.
///
/// # When a message is refused
///
/// It is dropped, the call that found out returns the error, and the messages behind it stay in
/// line. All before it have been acknowledged.
///
/// ```no_run
/// use common::client::{Broker, Publisher};
///
/// let mut publisher = Publisher::new(Broker::at("127.0.0.1:9000"));
/// let receipt = publisher.publish("greetings", "hello")?;
/// println!("stored at offset {:?}", receipt.offset);
///
/// for number in 0..1_000_000 {
///     publisher.send("numbers", &number.to_string())?;
/// }
/// publisher.flush()?;
/// # Ok::<(), common::client::Error>(())
/// ```
#[derive(Debug)]
pub struct Publisher {
    pub(super) link: Link,
    name: String,
    /// Whether the messages can be had again from somewhere else, which decides what becomes of
    /// them when the broker has forgotten.
    is_resuming: bool,
    queue: Queue,
    acknowledged: u64,
    /// Commands that are about to be sent.
    output: Vec<u8>,
}

/// What the broker says of messages that it has stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The list that they are in.
    pub stream: StreamId,
    /// The offset of the first one; `None` where they were stored before, and the topic has let go
    /// of them since.
    pub offset: Option<u64>,
    /// Whether they are on disk, and so survive a crash of the broker's machine.
    pub is_durable: bool,
}

impl Publisher {
    /// A publisher under a name that nobody else has.
    #[must_use]
    pub fn new(broker: Broker) -> Publisher {
        Publisher::begin(broker, format!("publisher-{:016x}", random::random()), 0)
    }

    /// A publisher under a name that readers see beside each message. The newest publisher of a
    /// name has it: what an older one publishes is refused from then on.
    #[must_use]
    pub fn named(broker: Broker, name: &str) -> Publisher {
        Publisher::begin(broker, name.to_owned(), clock::unix_milliseconds())
    }

    /// A publisher that goes on where an earlier one of the same name stopped, for messages that
    /// can be had again, such as the lines of a file: [`next_sequence`](Publisher::next_sequence)
    /// says which of them is the next.
    ///
    /// When the broker has forgotten, the call that finds out returns [`Error::Forgotten`], and
    /// what was not acknowledged is dropped: the messages from the sequence that it names are to be
    /// sent again.
    #[must_use]
    pub fn resuming(broker: Broker, name: &str) -> Publisher {
        Publisher { is_resuming: true, ..Publisher::begin(broker, name.to_owned(), 0) }
    }

    fn begin(broker: Broker, name: String, epoch: u64) -> Publisher {
        Publisher {
            link: Link::new(broker),
            name,
            is_resuming: false,
            queue: Queue::new(epoch),
            acknowledged: 0,
            output: Vec::new(),
        }
    }

    /// The name that its messages are numbered under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many messages the broker has acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Publishes one message, and all that were sent before it.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn publish(&mut self, topic: &str, message: &str) -> Result<Receipt, Error> {
        self.publish_together(topic, &[message])
    }

    /// Publishes messages that no other comes between, and all that were sent before them. They
    /// are stored together or not at all, and have to fit into one command of 8 MiB.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn publish_together(
        &mut self,
        topic: &str,
        messages: &[impl AsRef<str>],
    ) -> Result<Receipt, Error> {
        self.flush()?;
        if messages.is_empty() {
            let refusal = Refusal::new(400, "there are no messages to publish");
            return Err(self.link.broker().refused(topic, refusal));
        }
        self.check_topic(topic)?;
        self.check_size(topic, messages.iter().map(AsRef::as_ref))?;
        self.queue.push_together(topic, messages.iter().map(AsRef::as_ref));
        self.repeat(|publisher| {
            loop {
                if let Some(receipt) = publisher.step()? {
                    return Ok(receipt);
                }
            }
        })
    }

    /// Sends a message, as soon as some more have come together, and does not wait until it is
    /// acknowledged. An error may be about a message that was sent before.
    ///
    /// Call [`flush`](Publisher::flush) behind the last one: what is not acknowledged when the
    /// publisher is dropped may be lost, and nobody hears of it.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn send(&mut self, topic: &str, message: &str) -> Result<(), Error> {
        self.check_topic(topic)?;
        if message.len() > BATCH_SIZE {
            self.check_size(topic, [message].into_iter())?;
        }
        self.queue.push(topic, message);
        if self.queue.unsent_size() < BATCH_SIZE {
            return Ok(());
        }
        self.repeat(|publisher| {
            while publisher.queue.unsent_size() >= BATCH_SIZE {
                publisher.step()?;
            }
            Ok(())
        })
    }

    /// Waits until all messages are acknowledged.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn flush(&mut self) -> Result<(), Error> {
        self.repeat(|publisher| {
            while !publisher.queue.is_empty() {
                publisher.step()?;
            }
            Ok(())
        })
    }

    /// The sequence of the topic's next message: how many the broker has under this name. For a
    /// [resuming](Publisher::resuming) publisher before its first message to a topic, and after
    /// [`Error::Forgotten`].
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn next_sequence(&mut self, topic: &str) -> Result<u64, Error> {
        self.check_topic(topic)?;
        self.flush()?;
        // A sequence that leaves a gap is refused, and the answer names the right one.
        match self.probe(topic, "", u64::MAX, |_| None)? {
            Ok(next) | Err(Refusal { expected: Some(next), .. }) => {
                self.queue.set_next(topic, next);
                Ok(next)
            }
            Err(refusal) => Err(self.link.broker().refused(topic, refusal)),
        }
    }

    /// The offset of the topic's first message under this name, which is `message`: for a
    /// [resuming](Publisher::resuming) publisher that wants to see what it published. `None` where
    /// the topic has let it go.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn first_offset(&mut self, topic: &str, message: &str) -> Result<Option<u64>, Error> {
        // A sequence that was taken is not appended again, and the answer says where it is.
        let offset = |value: &Value<'_>| Some(value.get("offset").and_then(Value::as_u64));
        let answer = self.probe(topic, message, 0, offset)?;
        answer.map_err(|refusal| self.link.broker().refused(topic, refusal))
    }

    /// Publishes a message under a sequence that the broker does not append, for its answer.
    /// Nothing may be on its way.
    fn probe<T>(
        &mut self,
        topic: &str,
        message: &str,
        sequence: u64,
        read: impl Fn(&Value<'_>) -> Option<T>,
    ) -> Result<Result<T, Refusal>, Error> {
        let mut command = Vec::new();
        let mut object = Object::new(&mut command);
        object.field("command", "publish").field("topic", topic).field("message", message);
        object.field("publisher", &self.name).field("epoch", 0_u64).field("sequence", sequence);
        object.end_line();
        self.link.ask(&command, read)
    }

    /// Bytes of messages that are not acknowledged yet.
    #[must_use]
    pub fn pending_size(&self) -> usize {
        self.queue.size()
    }

    /// Repeats what fails in passing.
    fn repeat<R>(
        &mut self,
        attempt: impl FnMut(&mut Publisher) -> Result<R, Failure>,
    ) -> Result<R, Error> {
        repeat(self, |publisher, trouble| publisher.link.failed(trouble), attempt)
    }

    /// Sends what may be sent, or else takes one answer.
    fn step(&mut self) -> Result<Option<Receipt>, Failure> {
        if self.link.open(None)? {
            self.queue.forget_sent();
        }
        self.output.clear();
        self.queue.write_unsent(&self.name, &mut self.output);
        if !self.output.is_empty() {
            self.link.send(&self.output)?;
            return Ok(None);
        }
        match self.link.answer(self.queue.front_size(), Receipt::read)? {
            Ok(receipt) => {
                if let Some(topic) = self.queue.is_other_stream(receipt.stream) {
                    // The broker has taken the next sequence, so none of ours is missing there.
                    self.link.broker().forgotten(topic);
                }
                self.acknowledged += self.queue.remove_front();
                Ok(Some(receipt))
            }
            Err(refusal) => {
                self.refused(refusal)?;
                Ok(None)
            }
        }
    }

    /// The oldest batch was refused: finds out what is to be done about it.
    fn refused(&mut self, refusal: Refusal) -> Result<(), Failure> {
        // What is on its way behind it has sequences that are wrong now, and is refused as well.
        self.link.hang_up();
        let front = self.queue.front().ok_or(INVALID)?;
        match refusal {
            Refusal { expected: Some(expected), .. } if expected < front.sequence => {
                self.forgotten(&front.topic, expected)
            }
            // An epoch that nothing was published in yet may as well be a newer one.
            Refusal { epoch: Some(present), .. }
                if front.begins_epoch && !self.is_resuming && present < u64::MAX =>
            {
                self.queue.renumber(&front.topic, present);
                Ok(())
            }
            Refusal { code: 400 | 413, .. } if front.can_be_split => {
                self.queue.split_front();
                Ok(())
            }
            refusal => {
                self.queue.remove_front();
                if self.is_resuming {
                    self.queue.clear();
                } else if refusal.epoch.is_none() {
                    self.queue.renumber(&front.topic, 0);
                }
                Err(self.link.broker().refused(&front.topic, refusal).into())
            }
        }
    }

    /// The broker has lost messages that it had acknowledged.
    fn forgotten(&mut self, topic: &str, expected: u64) -> Result<(), Failure> {
        if self.is_resuming {
            self.queue.clear();
            let (address, topic) = (self.link.broker().address().to_owned(), topic.to_owned());
            return Err(Error::Forgotten { address, topic, expected }.into());
        }
        self.link.broker().forgotten(topic);
        self.queue.renumber(topic, 0);
        Ok(())
    }

    /// Refuses a name that no topic can have. The broker would not even read one that is larger
    /// than a command, and it would be sent for ever.
    fn check_topic(&self, topic: &str) -> Result<(), Error> {
        if topic.len() <= TOPIC_NAME_SIZE_MAX {
            return Ok(());
        }
        let reason = format!("'topic' is longer than {TOPIC_NAME_SIZE_MAX} bytes");
        // Not in the error as well: it is too long to be shown.
        Err(self.link.broker().refused("", Refusal::new(400, reason)))
    }

    /// Refuses what the broker would not even read.
    fn check_size<'m>(
        &self,
        topic: &str,
        messages: impl Iterator<Item = &'m str>,
    ) -> Result<(), Error> {
        let mut size = COMMAND_OVERHEAD;
        let mut encoded = Vec::new();
        for message in messages {
            encoded.clear();
            json::write_string(&mut encoded, message);
            size += encoded.len() + 1;
            if size > BODY_SIZE_MAX {
                let reason = format!("more than a command of {BODY_SIZE_MAX} bytes can hold");
                return Err(self.link.broker().refused(topic, Refusal::new(413, reason)));
            }
        }
        Ok(())
    }
}

impl Receipt {
    fn read(value: &Value<'_>) -> Option<Receipt> {
        Some(Receipt {
            stream: value.get("stream")?.as_str()?.parse().ok()?,
            offset: value.get("offset").and_then(Value::as_u64),
            is_durable: value.get("durable")?.as_bool()?,
        })
    }
}
