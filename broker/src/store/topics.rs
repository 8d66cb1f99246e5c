//! The topics of the broker with their messages, as all connections use them.
//!
//! The thread of every connection has the same [`Topics`] and calls its methods. Messages are added
//! at the end of a list and removed at its beginning, so an offset never changes its message. A
//! [`StreamId`] tells a list from another of the same name.
//!
//! # Not here
//!
//! Locks (`contents.rs`), delivery (`push/`), protocols (`door/`).

use crate::refusal::{Refusal, Result};
use crate::store::journal::Journal;
use crate::store::{
    Admission, Append, Batch, Begin, Change, Commits, Contents, Cursor, Extent, Extract,
    ListChange, Lists, MARK_EVERY, Memory, Meter, Place, Receipts, Replayed, StreamId, Summary,
    TopicChange, TopicState, Upto,
};
use common::limits::PIECE_SIZE;
use std::ops::Deref;
use std::slice;
use std::sync::atomic::Ordering;

/// How many topics let go of messages at once: publishes wait for that.
const TRIMS_MAX: usize = 256;

/// All topics of the broker.
pub(crate) struct Topics {
    contents: Contents,
    /// What goes to disk before it becomes visible, if anything does.
    pub(super) commits: Option<Commits>,
}

/// What there is to see of them.
impl Deref for Topics {
    type Target = Contents;

    fn deref(&self) -> &Contents {
        &self.contents
    }
}

impl Topics {
    /// Topics in memory only, with room for so much.
    pub(crate) fn new(memory: Memory) -> Topics {
        Topics { contents: Contents::new(Admission::new(memory), Lists::new()), commits: None }
    }

    /// Topics as a journal holds them, which goes on to hold what is changed. `durable` says that
    /// it is synced before a change is answered.
    pub(crate) fn restored(replayed: Replayed, journal: Journal, durable: bool) -> Topics {
        let admission = Admission { durable, ..replayed.admission };
        let contents = Contents::new(admission, replayed.lists);
        Topics { contents, commits: Some(Commits::new(journal)) }
    }

    /// Whether publishes are taken.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotReady`] where the last change could not be stored, or memory is full.
    pub(crate) fn check_ready(&self) -> Result<()> {
        if self.meter().is_some_and(|meter| !meter.is_healthy.load(Ordering::Relaxed)) {
            return Err(Refusal::NotReady(
                "the last publish could not be stored: make room on the disk",
            ));
        }
        match self.know(|known| known.memory.is_full()) {
            true => Err(Refusal::NotReady(
                "memory for messages is full: delete a topic, let messages go, or start the broker \
                 with a larger --max-memory",
            )),
            false => Ok(()),
        }
    }

    /// Appends a batch; one answer for each of its publishes, in their order. A refused publish
    /// leaves nothing behind and does not keep the others from being appended. The entries leave
    /// the batch, the publishes stay in it.
    pub(crate) fn append(&self, batch: &mut Batch) -> Receipts {
        let (mut append, stored) = self.change(Append::new(std::mem::take(batch)));
        *batch = append.batch;
        if let Err(refusal) = stored {
            for answer in append.answers.iter_mut().filter(|answer| answer.is_ok()) {
                *answer = Err(refusal.clone());
            }
        }
        // A batch may be larger than the bounds: then some of it goes, now that it is there.
        append.beyond.iter().for_each(|topic| self.keep_bounds(topic));
        append.answers
    }

    /// Changes a topic that this broker is the home of.
    ///
    /// # Errors
    ///
    /// [`Refusal::TopicExists`], or no room for it; [`Refusal::NoTopic`]; [`Refusal::UnknownTopic`]
    /// where other bounds are wanted, also where another broker is its home; as [`Topics::trim`].
    pub(crate) fn change_topic(&self, topic: &str, change: TopicChange) -> Result<()> {
        if let TopicChange::Trim(upto) = change {
            return self.trim(topic, upto);
        }
        self.change_list(topic, change)?;
        if let TopicChange::SetBounds(_) = change {
            self.keep_bounds(topic);
        }
        Ok(())
    }

    /// Lets messages go.
    ///
    /// # Errors
    ///
    /// [`Refusal::UnknownTopic`], [`Refusal::PastEnd`], and with [`Upto::Home`] as
    /// [`Topics::begin_mirror`].
    pub(crate) fn trim(&self, topic: &str, upto: Upto) -> Result<()> {
        self.prepare_trim(topic, upto);
        let done = self.change_list(topic, TopicChange::Trim(upto));
        self.release(topic);
        done
    }

    /// Makes the checksum before a trim piece by piece, and not while the lists are locked.
    fn prepare_trim(&self, topic: &str, upto: Upto) {
        let (stream, offset) = self.see(topic, |view, limits| {
            (view.end().stream, upto.offset(view, &view.limits(limits)))
        });
        let _ = self.digest(topic, stream, offset);
    }

    /// Frees what was let go, piece by piece.
    fn release(&self, topic: &str) {
        let release = |state: &mut TopicState, list: &mut Vec<String>| {
            state.has_dead().then(|| state.release(list))
        };
        while self.tidy(topic, release).flatten().is_some() {}
    }

    /// Lets go of what is beyond a topic's bounds.
    pub(super) fn keep_bounds(&self, topic: &str) {
        // Where the disk is full, publishers are told, and this is tried again with the next.
        let _ = self.trim(topic, Upto::Bounds);
    }

    /// The same of many topics. They go to disk together: one sync for each would take longer than
    /// messages take to grow old.
    pub(super) fn keep_all_bounds(&self, topics: &[String]) {
        let change = TopicChange::Trim(Upto::Bounds);
        let change =
            |topic: &String| ListChange { topic: topic.clone(), change, ..ListChange::default() };
        for topics in topics.chunks(TRIMS_MAX) {
            topics.iter().for_each(|topic| self.prepare_trim(topic, Upto::Bounds));
            let _ = self.change_all(&mut topics.iter().map(change).collect::<Vec<_>>());
            topics.iter().for_each(|topic| self.release(topic));
        }
    }

    /// Carries out a change. Gives it back, and whether it was refused.
    pub(crate) fn change<C: Change + Default + 'static>(&self, mut change: C) -> (C, Result<()>) {
        let answer = self.change_all(slice::from_mut(&mut change));
        (change, answer)
    }

    /// Carries out changes together. Gives the refusal of the first that was refused; without a
    /// journal, the others are left then.
    fn change_all<C: Change + Default + 'static>(&self, changes: &mut [C]) -> Result<()> {
        if let Some(commits) = &self.commits {
            return commits.commit(changes, &self.contents);
        }
        for change in changes {
            self.with(|locked| change.accept(locked, None).map(|()| change.apply(locked)))?;
        }
        Ok(())
    }

    fn change_list(&self, topic: &str, change: TopicChange) -> Result<()> {
        self.change(ListChange { topic: topic.to_owned(), change, ..ListChange::default() }).1
    }

    /// The topics that another broker is the home of, or those that this one is the home of, and
    /// their lists.
    pub(crate) fn names(&self, mirrors: bool) -> Vec<(String, StreamId)> {
        self.know(|known| {
            let wanted = known.topics.iter().filter(|(_, state)| state.mirror == mirrors);
            wanted.map(|(topic, state)| (topic.clone(), state.stream)).collect()
        })
    }

    /// Whether this broker is the home of a topic.
    pub(crate) fn is_own(&self, topic: &str) -> bool {
        self.state_is(topic, |state| !state.mirror)
    }

    /// Whether another broker is the home of a topic that is here.
    pub(crate) fn is_mirror(&self, topic: &str) -> bool {
        self.state_is(topic, |state| state.mirror)
    }

    pub(super) fn state_is(&self, topic: &str, wanted: impl FnOnce(&TopicState) -> bool) -> bool {
        self.know(|known| known.topics.get(topic).is_some_and(wanted))
    }

    /// How many topics there are, and the memory that they take.
    pub(crate) fn account(&self) -> (usize, Memory) {
        self.know(|known| (known.topics.len(), known.memory))
    }

    /// What is counted of the journal, where there is one.
    pub(crate) fn meter(&self) -> Option<&Meter> {
        self.commits.as_ref().map(|commits| &commits.meter)
    }

    /// One topic in short.
    ///
    /// # Errors
    ///
    /// [`Refusal::UnknownTopic`].
    pub(crate) fn summary(&self, topic: &str) -> Result<Summary> {
        let summary = self.see(topic, |view, limits| view.summary(limits));
        match summary.stream {
            StreamId::NONE => Err(Refusal::UnknownTopic(topic.to_owned())),
            _ => Ok(summary),
        }
    }

    /// Where the topic's list ends; [`StreamId::NONE`] at 0 where there is no such topic.
    pub(crate) fn end(&self, topic: &str) -> Cursor {
        self.extent(topic).end
    }

    /// Where a reader begins who asks to begin there and means `stream`, where it says so. A topic
    /// that is not there is an empty list of the stream [`StreamId::NONE`].
    ///
    /// # Errors
    ///
    /// [`Refusal::OtherStream`], [`Refusal::PastEnd`], [`Refusal::Trimmed`].
    pub(crate) fn begin(&self, topic: &str, at: Begin, stream: Option<StreamId>) -> Result<Cursor> {
        self.see(topic, |view, _| view.begin(at, stream))
    }

    /// What there is of a topic; nothing of [`StreamId::NONE`] where there is no such topic.
    pub(crate) fn extent(&self, topic: &str) -> Extent {
        self.see(topic, |view, _| Extent { first: view.first(), end: view.end() })
    }

    /// Copies parts of entries to the end of `out`, each followed by a line break, from a place on.
    /// A message that is larger than all that may be copied is cut. Gives the place behind what was
    /// copied, and where the list ends.
    ///
    /// # Errors
    ///
    /// [`Refusal::OtherStream`] where the place is in another list, [`Refusal::Trimmed`],
    /// [`Refusal::NotHere`].
    pub(crate) fn copy(
        &self,
        topic: &str,
        from: Place,
        extract: Extract,
        out: &mut Vec<u8>,
    ) -> Result<(Place, u64)> {
        self.read(topic, from.cursor.stream, |view| {
            Ok((view.copy(from, extract, out)?, view.end().next))
        })
    }

    /// The digest: CRC-32 of the text of all messages before `end`, those included that were let
    /// go. It is not known of a mirror that began later than its topic.
    ///
    /// # Errors
    ///
    /// [`Refusal::OtherStream`] where the topic is not `stream`, [`Refusal::Trimmed`].
    pub(crate) fn digest(&self, topic: &str, stream: StreamId, end: u64) -> Result<Option<u32>> {
        let known = self.read(topic, stream, |view| {
            view.text_size(end, end)?;
            Ok(view.digest_before(end))
        })?;
        let Some((next, mut digest)) = known else { return Ok(None) };
        let mut place = Place::before(Cursor { stream, next });
        let mut text = Vec::new();
        while place.cursor.next < end {
            // Up to the next mark, or a piece of that: the lock is held to copy, the checksum is
            // made without it.
            let mark = end.min((place.cursor.next / MARK_EVERY + 1) * MARK_EVERY);
            text.clear();
            let before = place;
            let extract = Extract::messages(mark, PIECE_SIZE);
            (place, _) = self.copy(topic, place, extract, &mut text)?;
            if place == before {
                break;
            }
            digest.update(&text);
            self.tidy(topic, |state, _| {
                if state.stream == stream && place.inside == 0 {
                    state.digest_found(place.cursor.next, digest);
                }
            });
        }
        Ok(Some(digest.value()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Bound, BoundsChange};
    use std::thread;

    /// At the edge of what is let go, the reader has each message once or is told of its loss.
    #[test]
    fn a_reader_at_the_edge_of_what_is_let_go_misses_nothing_in_silence() {
        const ROUNDS: u64 = 10_000;
        let topics = Topics::new(Memory::new(u64::MAX));
        topics.change_topic("t", TopicChange::Create).unwrap();
        let messages = Some(Bound::At(3));
        let bounds = BoundsChange { messages, ..BoundsChange::default() };
        topics.change_topic("t", TopicChange::SetBounds(bounds)).unwrap();
        let mut cursor = topics.end("t");
        let (mut read, mut lost, mut text) = (0, 0, Vec::new());
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..ROUNDS {
                    let mut batch = Batch::default();
                    let message = number.to_string();
                    batch.publish("t", None, [message.as_str()].into_iter(), 100).unwrap();
                    assert!(topics.append(&mut batch).iter().all(Result::is_ok));
                }
            });
            while cursor.next < ROUNDS {
                text.clear();
                let from = Place::before(cursor);
                let extract = Extract::messages(u64::MAX, PIECE_SIZE);
                match topics.copy("t", from, extract, &mut text) {
                    Ok((Place { cursor: Cursor { next, .. }, .. }, _)) => {
                        let told: String =
                            (cursor.next..next).map(|it| format!("{it}\n")).collect();
                        assert_eq!(String::from_utf8_lossy(&text), told);
                        read += next - cursor.next;
                        cursor.next = next;
                    }
                    Err(Refusal::Trimmed { first, next }) => {
                        assert!(first > cursor.next && first < next, "{first} {next}");
                        lost += first - cursor.next;
                        cursor.next = first;
                    }
                    Err(refusal) => panic!("{refusal}"),
                }
            }
        });
        assert_eq!(read + lost, ROUNDS);
        assert_eq!(topics.know(|known| known.trimmed), ROUNDS - 3);
    }
}
