//! What the broker knows about a topic beside its messages.

use crate::store::batch::Sequence;
use crate::store::entry;
use crate::store::memory::{self, Memory};
use crate::store::sequences::{Before, Sequences};
use crate::store::stream::{Cursor, StreamId};
use common::crc32::Crc32;
use std::collections::HashMap;

/// Messages between two marks: few enough to walk over, many enough that marks cost nothing.
pub(crate) const MARK_EVERY: usize = 1024;

/// What is known of one topic.
#[derive(Debug)]
pub(crate) struct TopicState {
    /// Which list this is.
    pub(crate) stream: StreamId,
    /// Whether another broker is the topic's home, and this list a copy of the first part of its.
    pub(crate) mirror: bool,
    /// Messages in the list, and those that are on their way into it.
    accepted: u64,
    /// Bytes of memory that the topic costs.
    pub(crate) size: u64,
    /// Bytes of `GET /messages` for all messages.
    text_size: u64,
    /// Bytes of `GET /messages` for the first [`MARK_EVERY`], twice as many, and so on.
    text_marks: Vec<u64>,
    /// The checksum at the same places, as far as somebody has asked for it.
    digest_marks: Vec<Crc32>,
    /// The numbered publishers of this topic.
    pub(crate) sequences: HashMap<String, Sequences>,
}

/// What it takes to undo that messages were counted.
#[derive(Debug, Default)]
pub(crate) struct Undo {
    /// Whether the topic was created for them.
    pub(crate) created: bool,
    /// Whether the publisher was not known to the topic.
    introduced: bool,
    /// What was known of the publisher's messages before.
    sequences: Option<Before>,
    /// How many messages there are.
    count: u64,
    /// Bytes taken from the account.
    size: u64,
}

impl TopicState {
    /// The state of a new topic, which costs `size` bytes of memory while it is empty.
    pub(crate) fn new(stream: StreamId, mirror: bool, size: u64) -> TopicState {
        TopicState {
            stream,
            mirror,
            accepted: 0,
            size,
            text_size: 0,
            text_marks: Vec::new(),
            digest_marks: Vec::new(),
            sequences: HashMap::new(),
        }
    }

    /// Where the list ends once all that was accepted is in it.
    pub(crate) fn accepted_end(&self) -> Cursor {
        Cursor { stream: self.stream, next: self.accepted }
    }

    /// Counts entries that are about to be appended, whether there is room for them or not.
    pub(crate) fn count(
        &mut self,
        entries: &[String],
        numbered: Option<(&str, Sequence)>,
        memory: &mut Memory,
    ) -> Undo {
        let count = entries.len() as u64;
        let size = entries.iter().map(|entry| memory::entry_size(entry)).sum();
        let mut undo = Undo { count, size, ..Undo::default() };
        // No messages take no number: the journal has nothing to hold it by.
        if let Some((publisher, first)) = numbered.filter(|_| count > 0) {
            if !self.sequences.contains_key(publisher) {
                undo.introduced = true;
                undo.size += memory::publisher_size(publisher);
                self.sequences.insert(publisher.to_owned(), Sequences::default());
            }
            if let Some(sequences) = self.sequences.get_mut(publisher) {
                let size = sequences.size();
                undo.sequences = Some(sequences.append(first, count, self.accepted));
                undo.size += sequences.size().saturating_sub(size) as u64;
            }
        }
        self.accepted += count;
        self.size += undo.size;
        memory.used += undo.size;
        undo
    }

    /// Takes back what was counted last.
    pub(crate) fn undo(&mut self, publisher: Option<&str>, undo: Undo, memory: &mut Memory) {
        self.accepted -= undo.count;
        self.size -= undo.size;
        memory.give_back(undo.size);
        if let (Some(publisher), Some(before)) = (publisher, undo.sequences) {
            if undo.introduced {
                self.sequences.remove(publisher);
            } else if let Some(sequences) = self.sequences.get_mut(publisher) {
                sequences.undo(before);
            }
        }
    }

    /// Appends entries that were counted to `list`, the topic's list.
    pub(crate) fn append(
        &mut self,
        list: &mut Vec<String>,
        entries: impl ExactSizeIterator<Item = String>,
    ) {
        memory::reserve(list, entries.len());
        for entry in entries {
            self.text_size += text_size(&entry);
            list.push(entry);
            if list.len().is_multiple_of(MARK_EVERY) {
                self.text_marks.push(self.text_size);
            }
        }
    }

    /// Remembers the checksum before an offset, where that is the next mark.
    pub(crate) fn digest_found(&mut self, offset: u64, digest: Crc32) {
        if index(offset) == (self.digest_marks.len() + 1) * MARK_EVERY {
            self.digest_marks.push(digest);
        }
    }
}

/// A topic in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) stream: StreamId,
    /// How many there are.
    pub(crate) messages: u64,
    /// Their size as `GET /messages` gives them.
    pub(crate) bytes: u64,
}

impl Summary {
    /// Of a topic that has no list here.
    pub(crate) const EMPTY: Summary = Summary { stream: StreamId::NONE, messages: 0, bytes: 0 };
}

/// A topic's list together with what is known of it: the one place where an offset becomes an
/// index.
#[derive(Clone, Copy)]
pub(crate) struct TopicView<'a> {
    state: &'a TopicState,
    list: &'a [String],
}

impl<'a> TopicView<'a> {
    /// A view of `list`, which `state` is about.
    pub(crate) fn new(state: &'a TopicState, list: &'a [String]) -> TopicView<'a> {
        TopicView { state, list }
    }

    /// Where the list ends.
    pub(crate) fn end(&self) -> Cursor {
        Cursor { stream: self.state.stream, next: self.list.len() as u64 }
    }

    /// The topic in short.
    pub(crate) fn summary(&self) -> Summary {
        let Cursor { stream, next: messages } = self.end();
        Summary { stream, messages, bytes: self.state.text_size }
    }

    /// Bytes of `GET /messages` for the messages before an offset.
    pub(crate) fn text_size(&self, offset: u64) -> u64 {
        let count = index(offset);
        if count >= self.list.len() {
            return self.state.text_size;
        }
        let marks = count / MARK_EVERY;
        let last = marks.checked_sub(1).and_then(|last| self.state.text_marks.get(last));
        let unmarked = self.list.get(marks * MARK_EVERY..count).unwrap_or_default();
        last.unwrap_or(&0) + unmarked.iter().map(|entry| text_size(entry)).sum::<u64>()
    }

    /// An offset at or before this one before which the checksum is known, and the checksum.
    pub(crate) fn digest_before(&self, offset: u64) -> (u64, Crc32) {
        let marks = &self.state.digest_marks;
        let count = marks.len().min(index(offset) / MARK_EVERY);
        let digest = count.checked_sub(1).and_then(|last| marks.get(last));
        ((count * MARK_EVERY) as u64, digest.copied().unwrap_or_default())
    }

    /// Copies the `part` of each entry from `from` to `end`, and a line break after it, until
    /// there are `size_max` bytes. Gives the offset after the last one.
    pub(crate) fn copy(
        &self,
        from: u64,
        end: u64,
        size_max: usize,
        out: &mut Vec<u8>,
        part: fn(&str) -> &str,
    ) -> u64 {
        let mut next = from;
        let wanted = self.list.get(index(from)..self.list.len().min(index(end)));
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
}

/// An offset as an index. Lists are in memory, so what does not fit lies past every end.
fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

/// Bytes of `GET /messages` for one entry: its message and a line break.
fn text_size(entry: &str) -> u64 {
    entry::message(entry).len() as u64 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_any_prefix_is_known() {
        let mut state = TopicState::new(StreamId::NONE, false, 0);
        let mut list = Vec::new();
        for index in 0..3 * MARK_EVERY + 7 {
            let entry = entry::compose(&"x".repeat(index % 5), &entry::stamp(9, None));
            state.append(&mut list, [entry].into_iter());
        }
        for count in [0, 1, 1023, 1024, 1025, 2048, 3071, 3072, 3079] {
            let expected: usize = (0..count).map(|index| index % 5 + 1).sum();
            let size = TopicView::new(&state, &list).text_size(count as u64);
            assert_eq!(size, expected as u64, "{count}");
        }
    }

    #[test]
    fn digests_are_remembered_at_marks_in_order() {
        let mut state = TopicState::new(StreamId::NONE, false, 0);
        let mut digest = Crc32::default();
        digest.update(b"x");
        let mark = MARK_EVERY as u64;
        state.digest_found(2 * mark, digest);
        assert_eq!(TopicView::new(&state, &[]).digest_before(5000).0, 0);
        state.digest_found(mark, digest);
        let view = TopicView::new(&state, &[]);
        assert_eq!(view.digest_before(5000), (mark, digest));
        assert_eq!(view.digest_before(mark - 1), (0, Crc32::default()));
    }
}
