//! Points in a list: what is known of all messages before an offset. Marks have a point each, so
//! that sizes, checksums and times are quick to find.

use crate::store::{entry, memory};
use common::crc32::Crc32;

/// Messages between two marks: few enough to walk over, many enough that marks cost nothing.
pub(crate) const MARK_EVERY: u64 = 1024;

/// An offset, and what is known of all messages before it. Sizes are counted from where the
/// broker's own list began: only their differences say something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Point {
    pub(crate) offset: u64,
    /// Bytes of `GET /messages`.
    pub(super) text: u64,
    /// Bytes of memory.
    pub(super) memory: u64,
    /// The checksum of the text from offset 0 on, where it is known.
    pub(crate) digest: Option<Crc32>,
}

/// What is known of a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    /// Its beginning, or the beginning of the list where that is later.
    pub(super) start: Point,
    /// The earliest and the latest time of its messages, those included that were let go.
    pub(super) oldest: u64,
    pub(super) newest: u64,
}

impl Point {
    /// How much these entries add, which have so many bytes of text.
    pub(super) fn more(entries: &[String], text: u64) -> Point {
        let memory = entries.iter().map(|entry| memory::entry_size(entry)).sum();
        Point { offset: entries.len() as u64, text, memory, digest: None }
    }

    /// Goes on by one entry.
    pub(super) fn pass(&mut self, entry: &str) {
        self.offset += 1;
        self.text += text_size(entry);
        self.memory += memory::entry_size(entry);
        if let Some(digest) = &mut self.digest {
            digest.update_line(entry::message(entry));
        }
    }
}

impl Mark {
    pub(super) fn block(&self) -> u64 {
        self.start.offset / MARK_EVERY
    }
}

/// Bytes of `GET /messages` for one entry: its message and a line break.
pub(super) fn text_size(entry: &str) -> u64 {
    entry::message(entry).len() as u64 + 1
}
