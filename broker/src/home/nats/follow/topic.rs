//! A topic that is followed: how far, and what is asked about it.

use crate::home::nats::retention::Kept;
use crate::store::StreamId;
use std::collections::VecDeque;
use std::time::Instant;

#[derive(Default)]
pub(super) struct Topic {
    /// The list that the mirror has; nothing where any will do.
    pub(super) wanted: Option<StreamId>,
    /// The list that is there, and the subscription to it.
    pub(super) list: Option<(StreamId, u64)>,
    /// The offset that is handed on next.
    pub(super) next: u64,
    pub(super) is_confirmed: bool,
    /// What was told of what its list keeps.
    pub(super) told: Kept,
    /// About how much text the mirror has memory for; 0 where nobody said it.
    pub(super) room: u64,
    /// Messages that follow one another, and come later than the next.
    pub(super) ahead: VecDeque<(u64, String)>,
    pub(super) asked: Option<Asked>,
    pub(super) wants_list: bool,
    pub(super) wants_record: bool,
    pub(super) wants_info: bool,
    pub(super) wants_messages: bool,
    /// Whether what was read began later than what was asked for.
    pub(super) is_stuck: bool,
    /// Since when its stream is missing.
    pub(super) missing: Option<Instant>,
    /// Whether a server, or a client of this broker, says that its stream was deleted.
    pub(super) is_deleted: bool,
    /// When it was heard of or asked for last.
    pub(super) touched: Option<Instant>,
}

/// A question that is not wholly answered.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) number: u64,
    pub(super) question: Question,
    pub(super) since: Instant,
    /// The offset that was next.
    pub(super) next: u64,
}

#[derive(Clone, Copy)]
pub(super) enum Question {
    List,
    Record,
    Info,
    Messages,
}

impl Topic {
    /// Goes on at an offset, if that is later.
    pub(super) fn go_to(&mut self, next: u64) {
        self.next = self.next.max(next);
        while self.ahead.front().is_some_and(|(ahead, _)| *ahead < self.next) {
            self.ahead.pop_front();
        }
    }
}
