//! The input budget: memory for incomplete bodies, objects and lines, and for what they become
//! before they are messages.
//!
//! Each of them is bounded, but a thousand clients may send a large one at the same time, and eight
//! MiB of JSON brackets take twenty times as much when they are parsed. So all connections share
//! one budget. Over it, requests get 503 and may be sent again.
//!
//! # Guarantee
//!
//! A body that announces its size has room for all of it, or is refused before it is read.

use crate::refusal::{Refusal, Result};
use common::bytes;
use common::limits::BODY_SIZE_MAX;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a connection may hold without being counted: many small bodies arrive at once on a busy
/// day, and are gone at once as well.
const UNCOUNTED_SIZE: usize = 64 << 10;

/// Memory that a value takes in a parsed document, its share of the room to grow included.
const VALUE_SIZE: usize = 64;

/// Memory that a short message takes in a batch.
const LINE_SIZE: usize = 96;

/// The budget that all connections share.
#[derive(Debug)]
pub(crate) struct InputBudget {
    max: u64,
    used: AtomicU64,
}

/// What one connection has taken; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share<'a> {
    budget: &'a InputBudget,
    taken: u64,
}

impl InputBudget {
    /// The budget of a broker whose messages may take `memory_max` bytes: a quarter of that on
    /// top, and in any case room for one body and what it usually becomes.
    pub(crate) fn new(memory_max: u64) -> InputBudget {
        InputBudget { max: (memory_max / 4).max(2 * BODY_SIZE_MAX as u64), used: AtomicU64::new(0) }
    }

    /// The share of a connection that has taken nothing yet.
    pub(crate) fn share(&self) -> Share<'_> {
        Share { budget: self, taken: 0 }
    }
}

impl Share<'_> {
    /// Makes the share large enough for `size` bytes. It does not become smaller.
    ///
    /// # Errors
    ///
    /// [`Refusal::Busy`] where others have taken too much.
    pub(crate) fn grow(&mut self, size: usize) -> Result<()> {
        let more = (size as u64).saturating_sub(self.taken);
        if size <= UNCOUNTED_SIZE || more == 0 {
            return Ok(());
        }
        let InputBudget { max, used } = self.budget;
        let take = |used: u64| used.checked_add(more).filter(|used| used <= max);
        match used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => {
                self.taken += more;
                Ok(())
            }
            Err(_) => Err(Refusal::Busy { bytes_max: *max }),
        }
    }

    /// Gives all of it back.
    pub(crate) fn give_back(&mut self) {
        // Most have taken nothing, and need not touch what all share.
        if self.taken > 0 {
            self.budget.used.fetch_sub(self.taken, Ordering::Relaxed);
            self.taken = 0;
        }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Memory that a JSON document takes with all its values, however it comes in pieces.
///
/// Values are counted, though it takes a pass over the bytes: 8 MiB of text become about as much,
/// and 8 MiB of brackets become 33 times as much. Without the count either two large texts at once
/// would use up the budget of a gigabyte of messages, or three documents of brackets its memory.
#[derive(Debug, Default)]
pub(crate) struct DocumentSize {
    counted: usize,
    marks: usize,
}

impl DocumentSize {
    /// What the document takes at most, so much of which is there. Each byte is looked at at
    /// most once.
    ///
    /// A value begins a container, or follows a comma, or is the first of its container; so
    /// there are no more values than these. Commas in text count too.
    pub(crate) fn of(&mut self, document: &[u8]) -> usize {
        // A short one is not counted anyway, even if all of it is commas (HTTP publishes on 64
        // connections).
        let most = (document.len() + 1).saturating_mul(1 + VALUE_SIZE);
        if most <= UNCOUNTED_SIZE {
            return most;
        }
        let new = document.get(self.counted..).unwrap_or_default();
        self.marks += bytes::count(new, |byte| matches!(byte, b',' | b'[' | b'{'));
        self.counted = document.len();
        document.len().saturating_add((self.marks + 1).saturating_mul(VALUE_SIZE))
    }
}

/// Memory that lines take with the messages that they become.
pub(crate) fn lines_size(lines: &[u8]) -> usize {
    let count = 1 + bytes::count(lines, |byte| byte == b'\n');
    (2 * lines.len()).saturating_add(count.saturating_mul(LINE_SIZE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_counted_with_all_its_values() {
        let document = b"[[1,2],{\"a\":3}]".repeat(100);
        assert_eq!(DocumentSize::default().of(&document), 1500 + 501 * VALUE_SIZE);
        let mut pieces = DocumentSize::default();
        let size = pieces.of(&document[..1]);
        assert!((1 + VALUE_SIZE..=UNCOUNTED_SIZE).contains(&size), "not worth counting");
        assert_eq!(pieces.of(&document[..1203]), 1203 + 403 * VALUE_SIZE);
        assert_eq!(pieces.of(&document), 1500 + 501 * VALUE_SIZE);
        assert_eq!(lines_size(b"a\nb\n"), 8 + 3 * LINE_SIZE);
    }

    #[test]
    fn requests_are_refused_while_others_have_the_whole_budget() {
        let budget = InputBudget::new(0);
        let mut first = budget.share();
        let mut second = budget.share();
        let all = 2 * BODY_SIZE_MAX;
        assert!(first.grow(all).is_ok(), "there is room for one and what it becomes");
        assert!(first.grow(all).is_ok(), "and it is not counted twice");
        assert!(matches!(second.grow(UNCOUNTED_SIZE + 1), Err(Refusal::Busy { .. })));
        assert!(second.grow(UNCOUNTED_SIZE).is_ok(), "a small one always has room");
        drop(first);
        assert!(second.grow(all - 1).is_ok());
        assert!(second.grow(all).is_ok());
        assert!(second.grow(all + 1).is_err());
        second.give_back();
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_budget_is_a_share_of_the_memory_for_messages() {
        let budget = InputBudget::new(1 << 30);
        let mut share = budget.share();
        assert!(share.grow(1 << 28).is_ok());
        assert!(share.grow((1 << 28) + 1).is_err());
    }
}
