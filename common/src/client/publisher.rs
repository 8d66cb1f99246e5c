//! Publishes messages, each exactly once and in order.

use super::{BATCH_SIZE, Broker, Error, Failure, INVALID, Link, Queue, Refusal};
use crate::json::{Object, Value};
use crate::limits::{BODY_SIZE_MAX, TOPIC_NAME_SIZE_MAX};
use crate::retry::repeat;
use crate::stream::StreamId;
use crate::trouble::Trouble;
use crate::{clock, random};

#[cfg(test)]
mod tests;

/// Publishes messages, each exactly once and in order, also when connections break.
///
/// Messages are numbered per topic, under a name and an epoch. If a connection ends, messages
/// without an acknowledgement are sent again over the next one under the same sequences. So the
/// broker knows which ones it has already.
///
/// [`publish`](Publisher::publish) waits for each message to be acknowledged.
/// [`send`](Publisher::send) does not: many messages are on their way at once, which is some
/// hundred times faster; [`flush`](Publisher::flush) then waits for all of them.
///
/// # When the broker has forgotten
///
/// A broker without a disk loses all messages when it is restarted. The publisher notices that
/// with its next message. It tells the user, and goes on in a new epoch with the messages that
/// were not acknowledged.
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
    /// Whether the caller can give the messages again. Then they are dropped when the broker has
    /// lost earlier ones, and the caller is told.
    is_resuming: bool,
    queue: Queue,
    acknowledged: u64,
    /// Commands to send next.
    output: Vec<u8>,
}

/// The broker's answer about messages that it has stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The list that they are in.
    pub stream: StreamId,
    /// The offset of the first one; `None` if they were stored before and the topic has removed
    /// them since.
    pub offset: Option<u64>,
    /// Whether they are on disk, and so survive a crash of the broker's machine.
    pub is_durable: bool,
}

impl Publisher {
    /// A publisher under a name that nobody else has.
    pub fn new(broker: Broker) -> Publisher {
        Publisher::begin(broker, format!("publisher-{:016x}", random::random()), 0)
    }

    /// A publisher under a name that readers see beside each message. The newest publisher of a
    /// name wins: from then on, messages of older ones are refused.
    pub fn named(broker: Broker, name: &str) -> Publisher {
        Publisher::begin(broker, name.to_owned(), clock::unix_milliseconds())
    }

    /// A publisher that continues where an earlier one of the same name stopped, for messages that
    /// the caller can read again, such as the lines of a file.
    /// [`next_sequence`](Publisher::next_sequence) says which of them is the next.
    ///
    /// If the broker has lost messages, the call that notices returns [`Error::Forgotten`], and
    /// messages without an acknowledgement are dropped. Send the messages from the sequence in the
    /// error again.
    pub fn resuming(broker: Broker, name: &str) -> Publisher {
        Publisher { is_resuming: true, ..Publisher::begin(broker, name.to_owned(), 0) }
    }

    fn begin(broker: Broker, name: String, epoch: u64) -> Publisher {
        let (link, queue) = (Link::new(broker), Queue::new(epoch));
        Publisher { link, name, is_resuming: false, queue, acknowledged: 0, output: Vec::new() }
    }

    /// The name that its messages are numbered under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many messages the broker has acknowledged.
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
        if !self.queue.push_batch(topic, messages, false) {
            return Err(self.too_large(topic));
        }
        repeat(self, Publisher::failed, |publisher| {
            loop {
                if let Some(receipt) = publisher.step()? {
                    return Ok(receipt);
                }
            }
        })
    }

    /// Sends a message together with others, and does not wait until it is acknowledged. An error
    /// may be about an earlier message.
    ///
    /// Call [`flush`](Publisher::flush) after the last one: messages that are not acknowledged when
    /// the publisher is dropped may be lost without an error.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn send(&mut self, topic: &str, message: &str) -> Result<(), Error> {
        self.check_topic(topic)?;
        if !self.queue.push(topic, message) {
            return Err(self.too_large(topic));
        }
        if self.queue.unsent_size() < BATCH_SIZE {
            return Ok(());
        }
        repeat(self, Publisher::failed, |publisher| {
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
        repeat(self, Publisher::failed, |publisher| {
            while !publisher.queue.is_empty() {
                publisher.step()?;
            }
            Ok(())
        })
    }

    /// The sequence of the topic's next message: how many the broker has under this name. A
    /// [resuming](Publisher::resuming) publisher asks before its first message to a topic, and
    /// after [`Error::Forgotten`].
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

    /// The offset of the topic's first message under this name, which is `message`. With it, a
    /// [resuming](Publisher::resuming) publisher can read what it published. `None` if the topic
    /// has removed it.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn first_offset(&mut self, topic: &str, message: &str) -> Result<Option<u64>, Error> {
        // A sequence that was taken is not appended again, and the answer says where it is.
        let offset = |value: &Value<'_>| Some(value.get_u64("offset"));
        let answer = self.probe(topic, message, 0, offset)?;
        answer.map_err(|refusal| self.link.broker().refused(topic, refusal))
    }

    /// Sends a message under a sequence that the broker does not append, to read the answer. No
    /// other message may be on its way.
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
    pub fn pending_size(&self) -> usize {
        self.queue.size()
    }

    /// An attempt failed: sleeps before the next one.
    fn failed(&mut self, trouble: Trouble) -> Result<(), Error> {
        self.link.failed(trouble)
    }

    /// Sends commands, or takes one answer if there is nothing to send now.
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
        let receipt = match self.link.answer(self.queue.front_size(), Receipt::read)? {
            Ok(receipt) => receipt,
            Err(refusal) => return self.refused(refusal).map(|()| None),
        };
        if let Some(topic) = self.queue.stored_in(receipt.stream) {
            // The broker accepted the next sequence, so it has all messages before it.
            self.link.broker().notify_loss(topic);
        }
        self.acknowledged += self.queue.remove_front();
        Ok(Some(receipt))
    }

    /// The oldest batch was refused: decides what to do.
    fn refused(&mut self, refusal: Refusal) -> Result<(), Failure> {
        // Later batches on their way have wrong sequences now, and will be refused too.
        self.link.hang_up();
        let (front, topic) = self.queue.front().ok_or(INVALID)?;
        let topic = topic.to_owned();
        match refusal {
            // The broker has lost messages that it had acknowledged.
            Refusal { expected: Some(expected), .. } if expected < front.sequence => {
                if self.is_resuming {
                    self.queue.clear();
                    let address = self.link.broker().address().to_owned();
                    return Err(Error::Forgotten { address, topic, expected }.into());
                }
                self.link.broker().notify_loss(&topic);
                self.queue.renumber(&topic, 0);
            }
            // Nothing was published in this epoch yet, so a newer one is as good.
            Refusal { epoch: Some(present), .. }
                if front.begins_epoch() && !self.is_resuming && present < u64::MAX =>
            {
                self.queue.renumber(&topic, present);
            }
            Refusal { code: 400 | 413, .. } if front.can_be_split() => self.queue.split_front(),
            refusal => {
                self.queue.remove_front();
                if self.is_resuming {
                    self.queue.clear();
                } else if refusal.epoch.is_none() {
                    self.queue.renumber(&topic, 0);
                }
                return Err(self.link.broker().refused(&topic, refusal).into());
            }
        }
        Ok(())
    }

    /// Refuses a name that is too long. The broker does not read commands beyond its limit, so the
    /// name would be sent again for ever.
    fn check_topic(&self, topic: &str) -> Result<(), Error> {
        if topic.len() <= TOPIC_NAME_SIZE_MAX {
            return Ok(());
        }
        let reason = format!("'topic' is longer than {TOPIC_NAME_SIZE_MAX} bytes");
        // The error does not repeat the name, which is too long to show.
        Err(self.link.broker().refused("", Refusal::new(400, reason)))
    }

    fn too_large(&self, topic: &str) -> Error {
        let reason = format!("more than a command of {BODY_SIZE_MAX} bytes can hold");
        self.link.broker().refused(topic, Refusal::new(413, reason))
    }
}

impl Receipt {
    fn read(value: &Value<'_>) -> Option<Receipt> {
        Some(Receipt {
            stream: value.get_str("stream")?.parse().ok()?,
            offset: value.get_u64("offset"),
            is_durable: value.get("durable")?.as_bool()?,
        })
    }
}
