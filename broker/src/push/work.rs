//! What a writer of sessions works with: the store, a time by which it stops, and the bytes that
//! it encoded last, which fit every other subscriber at the same place.

use crate::metrics::Counter;
use crate::push::format::{Format, Place};
use crate::push::names::Names;
use crate::push::session::Subscription;
use crate::store::stream::{Cursor, StreamId};
use crate::store::topics::Topics;
use common::limits::PIECE_SIZE;
use std::sync::Arc;
use std::time::Instant;

/// One thread's work on any number of sessions.
pub(crate) struct Work<'a> {
    topics: &'a Topics,
    pub(crate) names: &'a Names,
    /// Messages that were written to sessions.
    pub(crate) delivered: &'a Counter,
    /// When to leave the rest to others.
    deadline: Option<Instant>,
    /// The last piece in each format.
    last: [Option<(Arc<str>, Cursor, Piece)>; Format::COUNT],
    /// Entries before they are encoded.
    text: Vec<u8>,
}

/// Messages of one topic as bytes.
#[derive(Clone)]
pub(crate) struct Piece {
    pub(crate) bytes: Arc<Vec<u8>>,
    /// How many they are.
    pub(crate) count: u64,
    /// The place behind them.
    pub(crate) end: Cursor,
    /// Whether there were more than fit.
    pub(crate) more: bool,
}

impl<'a> Work<'a> {
    /// Work that goes on until `deadline`, or for ever.
    pub(crate) fn new(
        topics: &'a Topics,
        names: &'a Names,
        delivered: &'a Counter,
        deadline: Option<Instant>,
    ) -> Work<'a> {
        let last = [const { None }; Format::COUNT];
        Work { topics, names, delivered, deadline, last, text: Vec::new() }
    }

    /// Whether the time is up.
    pub(crate) fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// The next messages of a subscription, if there are any.
    ///
    /// Where the topic is another list than the one that the cursor belongs to, the subscription
    /// goes on with that list from its start, and a subscriber that has read from the old one is
    /// told so, if its format has words for it.
    pub(crate) fn read(
        &mut self,
        topic: &Arc<str>,
        subscription: &mut Subscription,
        place: &Place,
    ) -> Option<Piece> {
        let format = subscription.format;
        let shared = place.is_alone() && !subscription.lost;
        if let Some(Some((last_topic, from, piece))) = self.last.get(format as usize)
            && shared
            && last_topic == topic
            && *from == subscription.cursor
        {
            // Since it was encoded, another publisher may have appended more, and have left it
            // to this writer.
            return Some(Piece { more: true, ..piece.clone() });
        }
        let mut bytes = Vec::new();
        self.text.clear();
        let mut from = subscription.cursor;
        let mut copied = self.topics.copy_entries(topic, from, PIECE_SIZE, &mut self.text);
        if copied.is_err() {
            let stream = self.topics.end(topic).stream;
            if from.stream != StreamId::NONE {
                subscription.lost = true;
                if stream == StreamId::NONE {
                    format.encode_deleted(topic, &mut bytes);
                }
            }
            from = Cursor { stream, next: 0 };
            subscription.cursor = from;
            copied = self.topics.copy_entries(topic, from, PIECE_SIZE, &mut self.text);
        }
        // Deleted once more between two lines of this function: the deletion's own note follows.
        let (next, end) = copied.ok()?;
        bytes.reserve(self.text.len() * 2);
        if subscription.lost && from.stream != StreamId::NONE {
            subscription.lost = false;
            format.encode_reset(topic, from, place, &mut bytes);
        }
        // Entries are text, and were copied whole.
        let text = std::str::from_utf8(&self.text).unwrap_or_default();
        format.encode(topic, text, from, place, &mut bytes);
        if bytes.is_empty() {
            return None;
        }
        let end_cursor = Cursor { next, ..from };
        let count = next - from.next;
        let piece = Piece { bytes: Arc::new(bytes), count, end: end_cursor, more: next < end };
        if shared && let Some(last) = self.last.get_mut(format as usize) {
            *last = Some((Arc::clone(topic), from, piece.clone()));
        }
        Some(piece)
    }
}
