//! The broker's shared state: topics, and the messages in each.
//!
//! Every connection's thread holds the same [`Topics`] and calls its methods; no lock leaves this
//! module. Lists only grow, or are deleted whole, so an offset, once given, names the same
//! message for ever; a [`StreamId`] tells a list from another of the same name.
//!
//! # Not here
//!
//! Who waits for messages (`listeners.rs`), protocols (`door/`).

use crate::batch::{Batch, Number, Publish};
use crate::entry;
use crate::facts::{Facts, MARK_EVERY};
use crate::memory::{self, Memory};
use crate::numbers::{Numbers, Verdict};
use crate::refusal::Refusal;
use crate::stream::StreamId;
use common::crc32::Crc32;
use common::limits::TOPICS_MAX;
use std::collections::HashMap;
use std::process;
use std::sync::{Mutex, MutexGuard};

/// All topics of the broker.
///
/// Lock order: `facts`, then `lists`. Both are held to copy or to push, never across I/O.
///
/// Invariant: a topic has a list exactly when it has facts, and `Facts` counts what the list
/// holds. Both change only while both locks are held.
pub(crate) struct Topics {
    facts: Mutex<Ledger>,
    /// Messages of each topic, oldest first; an entry's index is its offset.
    lists: Mutex<HashMap<String, Vec<String>>>,
}

/// What is known beside the messages, and how much memory all of it takes.
struct Ledger {
    topics: HashMap<String, Facts>,
    memory: Memory,
}

/// A place in a topic: the next offset to read, and the list that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) stream: StreamId,
    pub(crate) next: u64,
}

/// What became of a publish that was not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) stream: StreamId,
    /// Where the first message stands.
    pub(crate) offset: u64,
    /// How many messages were appended: fewer than were sent where some were there already.
    pub(crate) appended: u64,
    /// Whether all of it was there already.
    pub(crate) duplicate: bool,
}

impl Topics {
    /// No topics, and room for messages in so much memory.
    pub(crate) fn new(memory: Memory) -> Topics {
        Topics {
            facts: Mutex::new(Ledger { topics: HashMap::new(), memory }),
            lists: Mutex::new(HashMap::new()),
        }
    }

    /// Appends a batch; one answer for each of its publishes, in their order. A refused publish
    /// leaves nothing behind and does not keep the others from being appended. The entries leave
    /// the batch, the publishes stay in it.
    pub(crate) fn append(&self, batch: &mut Batch) -> Vec<Result<Receipt, Refusal>> {
        let mut ledger = lock(&self.facts);
        let mut lists = lock(&self.lists);
        let answers = ledger.accept(batch);
        ledger.publish(&mut lists, batch, &answers);
        answers
    }

    /// Where the topic's list ends; [`StreamId::NONE`] at 0 where there is no such topic.
    pub(crate) fn end(&self, topic: &str) -> Cursor {
        let ledger = lock(&self.facts);
        let lists = lock(&self.lists);
        match (ledger.topics.get(topic), lists.get(topic)) {
            (Some(facts), Some(list)) => Cursor { stream: facts.stream, next: list.len() as u64 },
            _ => Cursor { stream: StreamId::NONE, next: 0 },
        }
    }

    /// Bytes of the messages from offset `from` to `end`, each with its line break.
    ///
    /// # Errors
    ///
    /// [`Refusal::OtherStream`] where the topic is not `stream`.
    pub(crate) fn text_size(
        &self,
        topic: &str,
        stream: StreamId,
        from: u64,
        end: u64,
    ) -> Result<u64, Refusal> {
        self.look(topic, stream, |facts, list| {
            facts.text_size_at(list, index(end)) - facts.text_size_at(list, index(from))
        })
    }

    /// Copies messages to the end of `out`, each followed by a line break: from the cursor to
    /// `end`, or until there are `size_max` bytes, whichever comes first. Gives the offset after
    /// the last one.
    ///
    /// # Errors
    ///
    /// [`Refusal::OtherStream`] where the cursor is another list's.
    pub(crate) fn copy_messages(
        &self,
        topic: &str,
        cursor: Cursor,
        end: u64,
        size_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<u64, Refusal> {
        self.copy(topic, cursor, end, size_max, out, entry::message)
    }

    /// The digest: CRC-32 of the text that `GET /messages` gives for the first `count` messages.
    ///
    /// # Errors
    ///
    /// [`Refusal::OtherStream`] where the topic is not `stream`.
    pub(crate) fn digest(&self, topic: &str, stream: StreamId, count: u64) -> Result<u32, Refusal> {
        let (known, mut digest) =
            self.look(topic, stream, |facts, _| facts.digest_before(index(count)))?;
        let mut cursor = Cursor { stream, next: known as u64 };
        let mut text = Vec::new();
        while cursor.next < count {
            // One mark at a time: the lock is held to copy, the checksum is made without it.
            let end = count.min(cursor.next + MARK_EVERY as u64);
            text.clear();
            let next = self.copy_messages(topic, cursor, end, usize::MAX, &mut text)?;
            if next == cursor.next {
                break;
            }
            cursor.next = next;
            digest.update(&text);
            self.note_digest(topic, cursor, digest);
        }
        Ok(digest.value())
    }

    fn note_digest(&self, topic: &str, cursor: Cursor, digest: Crc32) {
        if let Some(facts) = lock(&self.facts).topics.get_mut(topic)
            && facts.stream == cursor.stream
        {
            facts.digest_found(index(cursor.next), digest);
        }
    }

    fn copy(
        &self,
        topic: &str,
        cursor: Cursor,
        end: u64,
        size_max: usize,
        out: &mut Vec<u8>,
        part: fn(&str) -> &str,
    ) -> Result<u64, Refusal> {
        self.look(topic, cursor.stream, |_, list| {
            let wanted = list.get(index(cursor.next)..list.len().min(index(end)));
            let mut next = cursor.next;
            for entry in wanted.unwrap_or_default() {
                if out.len() >= size_max {
                    break;
                }
                out.extend_from_slice(part(entry).as_bytes());
                out.push(b'\n');
                next += 1;
            }
            next
        })
    }

    /// Looks at a list and its facts together, if the topic is still `stream`. A topic that is
    /// not there is an empty list to whoever has read nothing yet.
    fn look<T>(
        &self,
        topic: &str,
        stream: StreamId,
        see: impl FnOnce(&Facts, &[String]) -> T,
    ) -> Result<T, Refusal> {
        let ledger = lock(&self.facts);
        let lists = lock(&self.lists);
        match (ledger.topics.get(topic), lists.get(topic)) {
            (Some(facts), Some(list)) if facts.stream == stream => Ok(see(facts, list)),
            (None, None) if stream == StreamId::NONE => Ok(see(&Facts::none(), &[])),
            _ => Err(Refusal::OtherStream),
        }
    }
}

impl Ledger {
    /// Decides about each publish of a batch, in order, and takes note of what it decided.
    fn accept(&mut self, batch: &Batch) -> Vec<Result<Receipt, Refusal>> {
        let mut entries = batch.entries.as_slice();
        let judge = |publish: &Publish| {
            let (these, rest) = entries.split_at_checked(publish.count).unwrap_or_default();
            entries = rest;
            self.accept_one(publish, these)
        };
        batch.publishes.iter().map(judge).collect()
    }

    fn accept_one(&mut self, publish: &Publish, entries: &[String]) -> Result<Receipt, Refusal> {
        let count = entries.len() as u64;
        let known = self.topics.get(&publish.topic);
        let offset = known.map_or(0, |facts| facts.accepted);
        let skip = match &publish.number {
            None => 0,
            Some((publisher, number)) => {
                let numbers = known.and_then(|facts| facts.numbers.get(publisher));
                match Numbers::judge(numbers, *number, count)? {
                    Verdict::Append { skip } => skip,
                    Verdict::Duplicate { offset } => {
                        let stream = known.map_or(StreamId::NONE, |facts| facts.stream);
                        return Ok(Receipt { stream, offset, appended: 0, duplicate: true });
                    }
                }
            }
        };
        let appended = count - skip;
        let new = entries.get(index(skip)..).unwrap_or_default();
        let mut size = new.iter().map(|entry| memory::entry_size(entry)).sum::<u64>();
        if known.is_none() {
            if self.topics.len() >= TOPICS_MAX {
                return Err(Refusal::TooManyTopics { topics_max: TOPICS_MAX });
            }
            size += memory::topic_size(&publish.topic);
        }
        self.memory.take(size)?;
        let facts = match self.topics.get_mut(&publish.topic) {
            Some(facts) => facts,
            None => self.topics.entry(publish.topic.clone()).or_insert_with(Facts::new),
        };
        facts.accepted += appended;
        facts.size += size;
        if let Some((publisher, number)) = &publish.number {
            let first = Number { sequence: number.sequence + skip, ..*number };
            let more = facts.note_number(publisher, first, appended, offset);
            self.memory.used += more;
        }
        Ok(Receipt { stream: facts.stream, offset, appended, duplicate: false })
    }

    /// Adds the accepted entries of a batch to their lists.
    fn publish(
        &mut self,
        lists: &mut HashMap<String, Vec<String>>,
        batch: &mut Batch,
        answers: &[Result<Receipt, Refusal>],
    ) {
        let mut entries = batch.entries.drain(..);
        for (publish, answer) in batch.publishes.iter().zip(answers) {
            let mut these = entries.by_ref().take(publish.count);
            let Ok(receipt) = answer else {
                these.for_each(drop);
                continue;
            };
            let appended = index(receipt.appended);
            these.by_ref().take(publish.count - appended).for_each(drop);
            if receipt.duplicate {
                continue;
            }
            let list = match lists.get_mut(&publish.topic) {
                Some(list) => list,
                None => lists.entry(publish.topic.clone()).or_default(),
            };
            memory::reserve(list, appended);
            list.extend(these);
            if let Some(facts) = self.topics.get_mut(&publish.topic) {
                facts.appended(list, appended);
            }
        }
    }
}

/// An offset as an index. Lists are in memory, so what does not fit lies past every end.
fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

/// The one place that decides what a poisoned lock means.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The panic may have broken the invariant: stop, and let a restart begin anew.
    mutex.lock().unwrap_or_else(|_| process::abort())
}
