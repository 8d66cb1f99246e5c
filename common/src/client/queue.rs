//! Messages that the broker has not acknowledged yet: numbered, in batches, ready to be sent again.
//!
//! A batch becomes one command. Its messages are encoded once, when they are added. Its sequence is
//! added each time it is sent, because it may change before it is sent again.
//!
//! # Guarantee
//!
//! The messages of a topic have consecutive sequences, in the order in which they were added.

use crate::json::{self, Array, Charset, Object, Value};
use crate::limits::BODY_SIZE_MAX;
use crate::stream::StreamId;
use std::collections::{HashMap, VecDeque};
use std::mem;

#[cfg(test)]
mod tests;

/// The size of a batch of encoded messages, and of one write: enough to make the cost of a command
/// and of a system call small. Messages that must be appended together may be more.
pub(super) const BATCH_SIZE: usize = 64 << 10;

/// How many bytes may be on their way without an answer: enough to keep the broker busy while its
/// answers travel.
const WINDOW_SIZE: usize = 4 << 20;

/// How many batches may be on their way without an answer. Their answers fit into the buffers
/// between the broker and us, so the two never wait for each other.
const WINDOW_BATCHES: usize = 1024;

/// The most that a batch can be: a command holds two names of 255 bytes beside it, of which each
/// may take six, and other fields.
const BATCH_SIZE_MAX: usize = BODY_SIZE_MAX - 4_000;

/// How every batch begins.
const HEAD: &[u8] = b"{\"messages\":[";

/// The queue of one publisher.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The epoch in which every topic begins.
    epoch: u64,
    topics: Vec<Topic>,
    /// Places in `topics`, by name.
    places: HashMap<String, usize>,
    batches: VecDeque<Batch>,
    /// Bytes of all batches.
    size: usize,
    /// How many of the batches were sent over the present connection, and their size.
    sent: usize,
    sent_size: usize,
}

/// The sequences of one topic.
#[derive(Debug)]
struct Topic {
    name: String,
    epoch: u64,
    /// The sequence of the next message that comes.
    next: u64,
    /// The list that its messages were stored in.
    stream: Option<StreamId>,
}

/// Messages of one topic that are appended together.
#[derive(Debug)]
pub(super) struct Batch {
    /// A place in `topics`.
    topic: usize,
    /// The sequence of the first message.
    pub(super) sequence: u64,
    count: u64,
    /// [`HEAD`], and the messages as JSON strings with commas between them.
    bytes: Vec<u8>,
    /// Whether messages may be added, and split off.
    is_open: bool,
    /// Whether it was on its way when a connection ended: the broker may have it.
    may_be_stored: bool,
}

impl Queue {
    /// An empty queue; every topic begins in this epoch.
    pub(super) fn new(epoch: u64) -> Queue {
        Queue { epoch, ..Queue::default() }
    }

    /// Adds a message. It joins the last batch where that was not sent yet. False if it does not
    /// fit into a command.
    pub(super) fn push(&mut self, topic: &str, message: &str) -> bool {
        let last_is_unsent = self.sent < self.batches.len();
        if let Some(last) = self.batches.back_mut()
            && let Some(known) = self.topics.get_mut(last.topic)
            && last_is_unsent
            && last.is_open
            && last.bytes.len() + message.len() <= BATCH_SIZE
            && known.name == topic
        {
            let size = last.bytes.len();
            last.add(message);
            self.size += last.bytes.len() - size;
            known.next += 1;
            return true;
        }
        self.push_batch(topic, &[message], true)
    }

    /// Adds messages as a batch of their own; if it is not open, they are appended together or not
    /// at all. False if they do not fit into a command.
    pub(super) fn push_batch(
        &mut self,
        topic: &str,
        messages: &[impl AsRef<str>],
        is_open: bool,
    ) -> bool {
        let topic = self.place(topic);
        let mut batch = Batch::new(topic, is_open);
        for message in messages {
            batch.add(message.as_ref());
            if batch.bytes.len() > BATCH_SIZE_MAX {
                return false;
            }
        }
        if let Some(known) = self.topics.get_mut(topic) {
            batch.sequence = known.next;
            known.next += batch.count;
        }
        self.size += batch.bytes.len();
        self.batches.push_back(batch);
        true
    }

    /// The topic's place in `topics`.
    fn place(&mut self, name: &str) -> usize {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let place = self.topics.len();
        self.topics.push(Topic { name: name.to_owned(), epoch: self.epoch, next: 0, stream: None });
        self.places.insert(name.to_owned(), place);
        place
    }

    /// Sets the sequence of a topic's next message. The queue has to be empty.
    pub(super) fn set_next(&mut self, topic: &str, next: u64) {
        let place = self.place(topic);
        if let Some(topic) = self.topics.get_mut(place) {
            topic.next = next;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Bytes that were not sent over the present connection.
    pub(super) fn unsent_size(&self) -> usize {
        self.size - self.sent_size
    }

    /// Bytes of all batches.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Bytes of the oldest batch.
    pub(super) fn front_size(&self) -> usize {
        self.batches.front().map_or(0, |batch| batch.bytes.len())
    }

    /// Notes that the oldest batch was stored in this list. Gives its topic if that is another list
    /// than before.
    pub(super) fn stored_in(&mut self, stream: StreamId) -> Option<&str> {
        let topic = self.topics.get_mut(self.batches.front()?.topic)?;
        let is_other = topic.stream.replace(stream).is_some_and(|before| before != stream);
        is_other.then_some(&topic.name)
    }

    /// Writes the commands that are to be sent now: as many as may be on their way at once, and
    /// some [`BATCH_SIZE`] of them.
    pub(super) fn write_unsent(&mut self, publisher: &str, out: &mut Vec<u8>) {
        while out.len() < BATCH_SIZE
            && self.sent_size < WINDOW_SIZE
            && self.sent < WINDOW_BATCHES
            && let Some(batch) = self.batches.get(self.sent)
            && let Some(topic) = self.topics.get(batch.topic)
        {
            out.extend_from_slice(&batch.bytes);
            Array::resume(out, Charset::Utf8).end();
            let mut command = Object::resume(out, Charset::Utf8);
            command.field("command", "publish").field("topic", &topic.name);
            command.field("publisher", publisher).field("epoch", topic.epoch);
            command.field("sequence", batch.sequence).end_line();
            self.sent += 1;
            self.sent_size += batch.bytes.len();
        }
    }

    /// The connection is new: nothing was sent over it.
    pub(super) fn forget_sent(&mut self) {
        let sent = mem::take(&mut self.sent);
        self.batches.iter_mut().take(sent).for_each(|batch| batch.may_be_stored = true);
        self.sent_size = 0;
    }

    /// The batch that the next answer is about, and its topic.
    pub(super) fn front(&self) -> Option<(&Batch, &str)> {
        let batch = self.batches.front()?;
        Some((batch, &self.topics.get(batch.topic)?.name))
    }

    /// Removes the oldest batch. Gives how many messages it had.
    pub(super) fn remove_front(&mut self) -> u64 {
        let Some(batch) = self.batches.pop_front() else { return 0 };
        self.size -= batch.bytes.len();
        if self.sent > 0 {
            self.sent -= 1;
            self.sent_size -= batch.bytes.len();
        }
        batch.count
    }

    /// Makes a batch of each message of the oldest batch, so that the broker judges each alone.
    pub(super) fn split_front(&mut self) {
        self.forget_sent();
        let Some(batch) = self.batches.pop_front() else { return };
        self.size -= batch.bytes.len();
        let command = [&batch.bytes, &b"]}"[..]].concat();
        let command = json::parse(&command).unwrap_or(Value::Null);
        for (place, message) in command.get_array("messages").iter().enumerate().rev() {
            let mut single = Batch::new(batch.topic, false);
            single.sequence = batch.sequence + place as u64;
            single.add(message.as_str().unwrap_or_default());
            self.size += single.bytes.len();
            self.batches.push_front(single);
        }
    }

    /// Numbers the topic's messages from 0 on, in an epoch that is newer than the present one and
    /// newer than `epoch`. The broker has none of them.
    pub(super) fn renumber(&mut self, topic: &str, epoch: u64) {
        self.forget_sent();
        let place = self.place(topic);
        let Some(topic) = self.topics.get_mut(place) else { return };
        topic.stream = None;
        topic.epoch = topic.epoch.max(epoch).saturating_add(1);
        topic.next = 0;
        for batch in self.batches.iter_mut().filter(|batch| batch.topic == place) {
            batch.sequence = topic.next;
            batch.may_be_stored = false;
            topic.next += batch.count;
        }
    }

    /// Drops all messages. Their sequences are used again.
    pub(super) fn clear(&mut self) {
        while let Some(batch) = self.batches.pop_back() {
            if let Some(topic) = self.topics.get_mut(batch.topic) {
                topic.next = batch.sequence;
            }
        }
        (self.size, self.sent, self.sent_size) = (0, 0, 0);
    }
}

impl Batch {
    fn new(topic: usize, is_open: bool) -> Batch {
        let bytes = HEAD.to_vec();
        Batch { topic, sequence: 0, count: 0, bytes, is_open, may_be_stored: false }
    }

    /// Whether there are several messages that need not be appended together.
    pub(super) fn can_be_split(&self) -> bool {
        self.is_open && self.count > 1
    }

    /// Whether certainly nothing was published to the topic in this epoch.
    pub(super) fn begins_epoch(&self) -> bool {
        self.sequence == 0 && !self.may_be_stored
    }

    fn add(&mut self, message: &str) {
        Array::resume(&mut self.bytes, Charset::Utf8).element(message);
        self.count += 1;
    }
}
