//! The broker's shared state: topics, and the messages in each.
//!
//! Every connection's thread holds the same [`Topics`] and calls its methods; no lock leaves this
//! module. Lists only grow, or are deleted whole, so an offset, once given, names the same
//! message for ever; a [`StreamId`] tells a list from another of the same name.
//!
//! # Not here
//!
//! Who waits for messages (`listeners.rs`), protocols (`door/`).

use crate::batch::Batch;
use crate::entry;
use crate::facts::{Facts, MARK_EVERY, Summary};
use crate::ledger::{Ledger, Receipt};
use crate::memory::{self, Memory};
use crate::refusal::Refusal;
use crate::stream::{Cursor, StreamId};
use common::crc32::Crc32;
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

impl Topics {
    /// No topics, and room for messages in so much memory.
    pub(crate) fn new(memory: Memory) -> Topics {
        Topics { facts: Mutex::new(Ledger::new(memory)), lists: Mutex::new(HashMap::new()) }
    }

    /// Appends a batch; one answer for each of its publishes, in their order. A refused publish
    /// leaves nothing behind and does not keep the others from being appended. The entries leave
    /// the batch, the publishes stay in it.
    pub(crate) fn append(&self, batch: &mut Batch) -> Vec<Result<Receipt, Refusal>> {
        let mut ledger = lock(&self.facts);
        let mut lists = lock(&self.lists);
        let answers = ledger.accept(batch, None);
        publish(&mut ledger, &mut lists, batch, &answers);
        answers
    }

    /// Creates a topic without messages.
    ///
    /// # Errors
    ///
    /// [`Refusal::TopicExists`], or no room for it.
    pub(crate) fn create(&self, topic: &str) -> Result<(), Refusal> {
        let mut ledger = lock(&self.facts);
        let mut lists = lock(&self.lists);
        ledger.create(topic, StreamId::random())?;
        lists.insert(topic.to_owned(), Vec::new());
        Ok(())
    }

    /// Deletes a topic and all its messages.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoTopic`].
    pub(crate) fn delete(&self, topic: &str) -> Result<(), Refusal> {
        let mut ledger = lock(&self.facts);
        let mut lists = lock(&self.lists);
        let facts = ledger.remove(topic).ok_or(Refusal::NoTopic)?;
        let list = lists.remove(topic);
        drop((ledger, lists));
        // Only now: to free millions of messages takes a while.
        drop((facts, list));
        Ok(())
    }

    /// All topics, by name.
    pub(crate) fn list(&self) -> Vec<(String, Summary)> {
        let ledger = lock(&self.facts);
        let lists = lock(&self.lists);
        let mut found = Vec::with_capacity(lists.len());
        for (topic, list) in &*lists {
            if let Some(facts) = ledger.topics.get(topic) {
                found.push((topic.clone(), facts.summary(list)));
            }
        }
        drop((ledger, lists));
        found.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        found
    }

    /// One topic in short.
    ///
    /// # Errors
    ///
    /// [`Refusal::UnknownTopic`].
    pub(crate) fn summary(&self, topic: &str) -> Result<Summary, Refusal> {
        let ledger = lock(&self.facts);
        let lists = lock(&self.lists);
        match (ledger.topics.get(topic), lists.get(topic)) {
            (Some(facts), Some(list)) => Ok(facts.summary(list)),
            _ => Err(Refusal::UnknownTopic(topic.to_owned())),
        }
    }

    /// Where the list of a topic ends that has to be there.
    ///
    /// # Errors
    ///
    /// [`Refusal::UnknownTopic`].
    pub(crate) fn find(&self, topic: &str) -> Result<Cursor, Refusal> {
        match self.end(topic) {
            Cursor { stream: StreamId::NONE, .. } => Err(Refusal::UnknownTopic(topic.to_owned())),
            end => Ok(end),
        }
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
        self.look(topic, cursor.stream, |_, list| {
            copy(list, cursor.next, end, size_max, out, entry::message)
        })
    }

    /// Copies whole entries, as [`Topics::copy_messages`] copies messages, to the end of the list.
    /// Gives the offset after the last one copied, and the end.
    ///
    /// # Errors
    ///
    /// [`Refusal::OtherStream`] where the cursor is another list's.
    pub(crate) fn copy_entries(
        &self,
        topic: &str,
        cursor: Cursor,
        size_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(u64, u64), Refusal> {
        self.look(topic, cursor.stream, |_, list| {
            (copy(list, cursor.next, u64::MAX, size_max, out, |entry| entry), list.len() as u64)
        })
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
            (_, None) if stream == StreamId::NONE => Ok(see(&Facts::new(stream), &[])),
            _ => Err(Refusal::OtherStream),
        }
    }
}

/// Adds the accepted entries of a batch to their lists.
fn publish(
    ledger: &mut Ledger,
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
        if let Some(facts) = ledger.topics.get_mut(&publish.topic) {
            facts.appended(list, appended);
        }
    }
}

/// Copies the `part` of each entry from `from` to `end`, and a line break after it, until there
/// are `size_max` bytes. Gives the offset after the last one.
fn copy(
    list: &[String],
    from: u64,
    end: u64,
    size_max: usize,
    out: &mut Vec<u8>,
    part: fn(&str) -> &str,
) -> u64 {
    let mut next = from;
    let wanted = list.get(index(from)..list.len().min(index(end)));
    for entry in wanted.unwrap_or_default() {
        if out.len() >= size_max {
            break;
        }
        out.extend_from_slice(part(entry).as_bytes());
        out.push(b'\n');
        next += 1;
    }
    next
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
