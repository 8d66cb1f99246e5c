//! The broker's shared state: topics, and the messages in each.
//!
//! Every connection's thread holds the same [`Topics`] and calls its methods; no lock leaves this
//! module. Lists only grow, or are deleted whole, so an offset, once given, names the same
//! message for ever; a [`StreamId`] tells a list from another of the same name.
//!
//! # Not here
//!
//! Who waits for messages (`push/`), protocols (`door/`).

use crate::refusal::Refusal;
use crate::store::batch::Batch;
use crate::store::change::{self, Change, Mirrored, Outcome, Pending, PlaceChange};
use crate::store::commit::{Commits, Meter, Store};
use crate::store::entry;
use crate::store::facts::{Facts, MARK_EVERY, Summary};
use crate::store::journal::{Frame, Journal};
use crate::store::ledger::{Ledger, Receipt};
use crate::store::memory::Memory;
use crate::store::replay::Replayed;
use crate::store::stream::{Cursor, StreamId};
use common::crc32::Crc32;
use common::limits::PIECE_SIZE;
use std::collections::HashMap;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

/// All topics of the broker.
///
/// Lock order: `facts`, then `lists`. Both are held to copy or to push, never across I/O.
///
/// Invariant: `lists` never holds what a crash could take back: with a journal, facts come before
/// it is written and lists after. A topic is there for readers when it has a list.
pub(crate) struct Topics {
    /// What goes to disk before it becomes visible, if anything does.
    commits: Option<Commits>,
    /// Whether the last change that should have gone to disk did.
    healthy: AtomicBool,
    facts: Mutex<Ledger>,
    /// Messages of each topic, oldest first; an entry's index is its offset.
    lists: Mutex<HashMap<String, Vec<String>>>,
}

impl Topics {
    /// Topics in memory only, with room for so much.
    pub(crate) fn new(memory: Memory) -> Topics {
        Topics {
            commits: None,
            healthy: AtomicBool::new(true),
            facts: Mutex::new(Ledger::new(memory)),
            lists: Mutex::new(HashMap::new()),
        }
    }

    /// Topics as a journal holds them, which goes on to hold what is changed. `durable` says that
    /// it is synced before a change is answered.
    pub(crate) fn restored(replayed: Replayed, journal: Journal, durable: bool) -> Topics {
        Topics {
            commits: Some(Commits::new(journal)),
            healthy: AtomicBool::new(true),
            facts: Mutex::new(Ledger { durable, ..replayed.ledger }),
            lists: Mutex::new(replayed.lists),
        }
    }

    /// Whether the last change could be stored.
    pub(crate) fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// Appends a batch; one answer for each of its publishes, in their order. A refused publish
    /// leaves nothing behind and does not keep the others from being appended. The entries leave
    /// the batch, the publishes stay in it.
    pub(crate) fn append(&self, batch: &mut Batch) -> Vec<Result<Receipt, Refusal>> {
        let Some(commits) = &self.commits else {
            let mut ledger = lock(&self.facts);
            let mut lists = lock(&self.lists);
            let answers = ledger.accept(batch, None);
            change::append(&mut ledger, &mut lists, batch, &answers);
            return answers;
        };
        let (change, outcome) = commits.commit(Change::Append(std::mem::take(batch)), self);
        if let Change::Append(given_back) = change {
            *batch = given_back;
        }
        match outcome {
            Outcome::Batch(answers) => answers,
            Outcome::Other(_) => Vec::new(),
        }
    }

    /// Creates a topic without messages.
    ///
    /// # Errors
    ///
    /// [`Refusal::TopicExists`], or no room for it.
    pub(crate) fn create(&self, topic: &str) -> Result<(), Refusal> {
        self.change(Change::Create(topic.to_owned()))
    }

    /// Deletes a topic and all its messages.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoTopic`].
    pub(crate) fn delete(&self, topic: &str) -> Result<(), Refusal> {
        self.change(Change::Delete { topic: topic.to_owned(), mirror_only: false })
    }

    /// Deletes what is here of a topic that another broker is the home of.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoTopic`], also where this broker is its home.
    pub(crate) fn drop_mirror(&self, topic: &str) -> Result<(), Refusal> {
        self.change(Change::Delete { topic: topic.to_owned(), mirror_only: true })
    }

    /// Begins a list of which another broker is the home, if it is not there yet.
    ///
    /// # Errors
    ///
    /// As [`Topics::mirror`].
    pub(crate) fn begin_mirror(&self, topic: &str, stream: StreamId) -> Result<(), Refusal> {
        if self.is_mirror(topic) && self.end(topic).stream == stream {
            return Ok(());
        }
        let from = Cursor { stream, next: 0 };
        self.mirror(Mirrored { topic: topic.to_owned(), from, entries: Vec::new() })
    }

    /// Appends messages of a topic that another broker is the home of.
    ///
    /// # Errors
    ///
    /// [`Refusal::OtherStream`] where they do not follow on what is there,
    /// [`Refusal::TopicExists`] where this broker is its home, and whatever refuses a publish.
    pub(crate) fn mirror(&self, mirrored: Mirrored) -> Result<(), Refusal> {
        self.change(Change::Mirror(mirrored))
    }

    /// The topics that another broker is the home of, or those that this one is the home of.
    pub(crate) fn names(&self, mirrors: bool) -> Vec<String> {
        let ledger = lock(&self.facts);
        let wanted = ledger.topics.iter().filter(|(_, facts)| facts.mirror == mirrors);
        wanted.map(|(topic, _)| topic.clone()).collect()
    }

    /// Whether this broker is the home of a topic.
    pub(crate) fn is_own(&self, topic: &str) -> bool {
        lock(&self.facts).topics.get(topic).is_some_and(|facts| !facts.mirror)
    }

    /// Whether another broker is the home of a topic that is here.
    pub(crate) fn is_mirror(&self, topic: &str) -> bool {
        lock(&self.facts).topics.get(topic).is_some_and(|facts| facts.mirror)
    }

    /// Keeps what happened to lasting subscriptions, where anything is kept.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotStored`].
    pub(crate) fn keep(&self, places: Vec<PlaceChange>) -> Result<(), Refusal> {
        self.change(Change::Places(places))
    }

    fn change(&self, change: Change) -> Result<(), Refusal> {
        let outcome = match &self.commits {
            Some(commits) => commits.commit(change, self).1,
            None => {
                let mut pending = Pending::new(change);
                let mut ledger = lock(&self.facts);
                let mut lists = lock(&self.lists);
                pending.decide(&mut ledger, &mut Frame::default());
                let gone = pending.make_visible(&mut ledger, &mut lists);
                drop((ledger, lists));
                // Only now: to free millions of messages takes a while.
                drop(gone);
                pending.outcome.expect("it was decided about")
            }
        };
        match outcome {
            Outcome::Other(done) => done,
            Outcome::Batch(_) => Ok(()),
        }
    }

    /// How many topics there are, and the memory that they take.
    pub(crate) fn account(&self) -> (usize, Memory) {
        let ledger = lock(&self.facts);
        (ledger.topics.len(), ledger.memory)
    }

    /// What is counted of the journal, where there is one.
    pub(crate) fn meter(&self) -> Option<&Meter> {
        self.commits.as_ref().map(Commits::meter)
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
            // Up to the next mark, or a piece of that: the lock is held to copy, the checksum is
            // made without it.
            let end = count.min((cursor.next / MARK_EVERY as u64 + 1) * MARK_EVERY as u64);
            text.clear();
            let next = self.copy_messages(topic, cursor, end, PIECE_SIZE, &mut text)?;
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

impl Store for Topics {
    fn accept(&self, pending: &mut Pending, frame: &mut Frame) {
        pending.decide(&mut lock(&self.facts), frame);
    }

    fn publish(&self, pending: &mut Pending) {
        // What was refused, or was there already, was not written: it shows nothing of the disk.
        if pending.outcome.as_ref().is_some_and(Outcome::is_stored) {
            self.healthy.store(true, Ordering::Relaxed);
        }
        let mut ledger = lock(&self.facts);
        let mut lists = lock(&self.lists);
        let gone = pending.make_visible(&mut ledger, &mut lists);
        drop((ledger, lists));
        // Only now: to free millions of messages takes a while.
        drop(gone);
    }

    fn undo(&self, pending: &mut Pending, reason: &str) {
        self.healthy.store(false, Ordering::Relaxed);
        pending.take_back(&mut lock(&self.facts), reason);
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
