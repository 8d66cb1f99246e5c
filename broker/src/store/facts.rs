//! What the broker knows about a topic beside its messages.

use crate::store::entry;
use crate::store::numbers::Numbers;
use crate::store::stream::StreamId;
use common::crc32::Crc32;
use std::collections::HashMap;

/// Messages between two marks: few enough to walk over, many enough that marks cost nothing.
pub(crate) const MARK_EVERY: usize = 1024;

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

/// The facts of one topic.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Which list this is.
    pub(crate) stream: StreamId,
    /// Whether another broker is the topic's home, and this list a copy of the first part of its.
    pub(crate) mirror: bool,
    /// Messages in the list, and those that are on their way into it.
    pub(crate) accepted: u64,
    /// Bytes of memory that the topic costs.
    pub(crate) size: u64,
    /// Bytes of `GET /messages` for all messages.
    pub(crate) text_size: u64,
    /// Bytes of `GET /messages` for the first [`MARK_EVERY`], twice as many, and so on.
    text_marks: Vec<u64>,
    /// The checksum at the same places, as far as somebody has asked for it.
    digest_marks: Vec<Crc32>,
    /// The numbered publishers of this topic.
    pub(crate) numbers: HashMap<String, Numbers>,
}

impl Facts {
    /// The facts of a new topic.
    pub(crate) fn new(stream: StreamId) -> Facts {
        Facts {
            stream,
            mirror: false,
            accepted: 0,
            size: 0,
            text_size: 0,
            text_marks: Vec::new(),
            digest_marks: Vec::new(),
            numbers: HashMap::new(),
        }
    }

    /// The topic in short; `list` is its list.
    pub(crate) fn summary(&self, list: &[String]) -> Summary {
        Summary { stream: self.stream, messages: list.len() as u64, bytes: self.text_size }
    }

    /// Notes entries that were just added to the end of `list`, the topic's list.
    pub(crate) fn appended(&mut self, list: &[String], count: usize) {
        let before = list.len() - count;
        for (index, entry) in list.iter().enumerate().skip(before) {
            self.text_size += text_size(entry);
            if (index + 1) % MARK_EVERY == 0 {
                self.text_marks.push(self.text_size);
            }
        }
    }

    /// Bytes of `GET /messages` for the first `count` messages of `list`, the topic's list.
    pub(crate) fn text_size_at(&self, list: &[String], count: usize) -> u64 {
        if count >= list.len() {
            return self.text_size;
        }
        let marks = count / MARK_EVERY;
        let marked = marks.checked_sub(1).and_then(|last| self.text_marks.get(last)).unwrap_or(&0);
        let unmarked = list.get(marks * MARK_EVERY..count).unwrap_or_default();
        marked + unmarked.iter().map(|entry| text_size(entry)).sum::<u64>()
    }

    /// A place at or before `count` where the checksum is known, and the checksum there.
    pub(crate) fn digest_before(&self, count: usize) -> (usize, Crc32) {
        let marks = self.digest_marks.len().min(count / MARK_EVERY);
        let digest = marks.checked_sub(1).and_then(|last| self.digest_marks.get(last));
        (marks * MARK_EVERY, digest.copied().unwrap_or_default())
    }

    /// Remembers the checksum of the first `count` messages, where that is the next mark.
    pub(crate) fn digest_found(&mut self, count: usize, digest: Crc32) {
        if count == (self.digest_marks.len() + 1) * MARK_EVERY {
            self.digest_marks.push(digest);
        }
    }
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
        let mut facts = Facts::new(StreamId::NONE);
        let mut list = Vec::new();
        for index in 0..3 * MARK_EVERY + 7 {
            list.push(entry::compose(&"x".repeat(index % 5), &entry::stamp(9, None)));
            facts.appended(&list, 1);
        }
        for count in [0, 1, 1023, 1024, 1025, 2048, 3071, 3072, 3079] {
            let expected: usize = (0..count).map(|index| index % 5 + 1).sum();
            assert_eq!(facts.text_size_at(&list, count), expected as u64, "{count}");
        }
    }

    #[test]
    fn digests_are_remembered_at_marks_in_order() {
        let mut facts = Facts::new(StreamId::NONE);
        let mut digest = Crc32::default();
        digest.update(b"x");
        facts.digest_found(2 * MARK_EVERY, digest);
        assert_eq!(facts.digest_before(5000).0, 0);
        facts.digest_found(MARK_EVERY, digest);
        assert_eq!(facts.digest_before(5000), (MARK_EVERY, digest));
        assert_eq!(facts.digest_before(MARK_EVERY - 1), (0, Crc32::default()));
    }
}
