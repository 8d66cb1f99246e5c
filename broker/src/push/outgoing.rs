//! What a session has to write: first what its socket did not take, then answers, then messages.
//!
//! # Not here
//!
//! The lock of all this, and the socket (`session.rs`).

use crate::push::{DeliveryPass, Format, Subscriptions, Unread};
use crate::store::Cursor;
use common::limits::ENCODED_SIZE;
use std::mem;
use std::sync::Arc;

/// What a session has to write, and who writes it.
#[derive(Default)]
pub(super) struct Outgoing {
    /// Whether some thread is the writer. Only it takes from `unsent` and `outbox`.
    pub(super) writing: bool,
    /// Threads that wait for a change. Without a waiting thread none is woken: that would be two
    /// system calls for each piece of a fan-out.
    pub(super) waiting: usize,
    pub(super) closed: bool,
    /// What the writer could not send before its socket was full; it goes first.
    pub(super) unsent: Option<Unsent>,
    /// Answers; they go before messages.
    pub(super) outbox: Vec<u8>,
    /// Whether the last answer comes in pieces, of which not all have come: no message may stand
    /// between them.
    pub(super) is_answering: bool,
    pub(super) subscriptions: Subscriptions,
}

/// Bytes on their way to one socket.
#[derive(Default)]
pub(super) struct Unsent {
    pub(super) bytes: Arc<Vec<u8>>,
    pub(super) written: usize,
    /// How many messages they are.
    pub(super) count: u64,
    /// What is acknowledged once all of it is written: lasting subscriptions and their positions.
    pub(super) receipts: Vec<(Arc<str>, Arc<str>, Cursor)>,
}

impl Unsent {
    /// Adds messages. The first that come are shared with other sessions, until more follow.
    fn add(&mut self, bytes: &Arc<Vec<u8>>, count: u64) {
        self.count += count;
        if self.bytes.is_empty() {
            self.bytes = Arc::clone(bytes);
        } else {
            Arc::make_mut(&mut self.bytes).extend_from_slice(bytes);
        }
    }
}

impl Outgoing {
    /// Makes the caller the writer, if there is something to write and nobody does.
    pub(super) fn begin_writing(&mut self) -> bool {
        let has_work = self.unsent.is_some() || !self.outbox.is_empty() || self.may_gather();
        let begins = has_work && !self.writing && !self.closed;
        self.writing |= begins;
        begins
    }

    /// What to write next, if anything: of messages, those of as many topics as fill a piece.
    pub(super) fn next(&mut self, session: u64, pass: &mut DeliveryPass<'_>) -> Option<Unsent> {
        if self.closed {
            return None;
        }
        if let Some(unsent) = self.unsent.take() {
            return Some(unsent);
        }
        if !self.outbox.is_empty() && !self.subscriptions.are_inside() {
            let bytes = Arc::new(mem::take(&mut self.outbox));
            return Some(Unsent { bytes, ..Unsent::default() });
        }
        let mut gathered = Unsent::default();
        let mut missing = Vec::new();
        while gathered.bytes.len() < ENCODED_SIZE
            && self.may_gather()
            && let Some((index, announced)) = self.subscriptions.take_ready()
        {
            match self.gather(index, announced, pass, &mut gathered) {
                // Its topic is gone.
                Ok(Some(topic)) => pass.push.listeners.end(&topic, session, index),
                Ok(None) => {}
                Err(Unread::BrokenOff) => {
                    self.closed = true;
                    return None;
                }
                Err(Unread::NotHere) => {
                    missing.push((index, announced));
                    if self.subscriptions.are_inside() {
                        break;
                    }
                }
            }
        }
        for (index, announced) in missing {
            // Where it cannot be fetched, somebody says when it is time to try again.
            let topic = self.subscriptions.get_mut(index).map(|it| Arc::clone(&it.topic));
            if topic.is_some_and(|topic| !pass.given_up.contains(&topic)) {
                self.subscriptions.note(index, announced);
            }
        }
        (!gathered.bytes.is_empty()).then_some(gathered)
    }

    /// Whether there may be messages to write now.
    fn may_gather(&self) -> bool {
        let are_ready = self.subscriptions.are_ready();
        are_ready && (!self.is_answering || self.subscriptions.are_inside())
    }

    /// Takes the next messages of a subscription, if there are any: those of this announcement
    /// and what came since. It goes on behind them; where it ends with its topic, gives that.
    fn gather(
        &mut self,
        index: usize,
        announced: u64,
        pass: &mut DeliveryPass<'_>,
        gathered: &mut Unsent,
    ) -> Result<Option<Arc<str>>, Unread> {
        let others = self.subscriptions.other_cursors(Some(index));
        let Some(subscription) = self.subscriptions.get_mut(index) else { return Ok(None) };
        if others.are_too_long && subscription.name.is_some() {
            // Whoever comes back with the last id acknowledges it, and ids are short again.
            return Err(Unread::BrokenOff);
        }
        let read = pass.read(subscription, &others)?;
        let is_gone = subscription.lost && !subscription.is_asked;
        let topic = Arc::clone(&subscription.topic);
        if let Some(piece) = read {
            subscription.has_moved |= piece.count > 0;
            if let Some(name) = &subscription.name
                && subscription.format == Format::Text
            {
                let receipt = (Arc::clone(name), Arc::clone(&topic), piece.end.cursor);
                gathered.receipts.push(receipt);
            }
            let format = subscription.format;
            if others.are_too_long && !mem::replace(&mut self.subscriptions.are_without_ids, true) {
                gathered.add(&Arc::new(format.without_ids()), 0);
            }
            gathered.add(&piece.bytes, piece.count);
            self.subscriptions.passed(index, piece.end);
            // A piece that was read for another session may be older than the last announcement.
            if piece.more || piece.announced < announced {
                self.subscriptions.note(index, announced);
            }
        }
        if is_gone {
            self.subscriptions.remove(index);
        }
        Ok(is_gone.then_some(topic))
    }
}
