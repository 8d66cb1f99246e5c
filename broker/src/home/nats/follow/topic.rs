//! A topic that is followed: how far, and what is asked about it.

use crate::home::nats::retention::Kept;
use crate::store::StreamId;
use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// How many messages are kept that came while those before them are being read.
const AHEAD_MAX: usize = 2000;

/// After how long a silence of a topic it is asked for more.
const SILENCE: Duration = Duration::from_secs(1);

/// How long a question may be without an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// What is known of it on the present connection.
#[derive(Default)]
pub(super) struct Topic {
    /// The list that the mirror has; nothing where any will do.
    pub(super) wanted: Option<StreamId>,
    /// The list that is there.
    pub(super) list: Option<StreamId>,
    /// The subscription to it.
    pub(super) subscription: u64,
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
    /// What is to be asked when that is answered.
    pub(super) wants: BTreeSet<Question>,
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

/// What is asked of a topic, in the order in which it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Question {
    List,
    Record,
    Info,
    Messages,
}

impl Topic {
    /// Whether a question is without an answer, or nothing was heard, for too long.
    pub(super) fn is_silent(&self) -> bool {
        match self.asked {
            Some(asked) => asked.since.elapsed() >= ANSWER_TIMEOUT,
            None => self.touched.is_some_and(|at| at.elapsed() >= SILENCE),
        }
    }

    /// The message that is handed on next, if it is here.
    pub(super) fn take_next(&mut self) -> Option<(u64, String)> {
        self.ahead.front().filter(|(offset, _)| *offset == self.next)?;
        let taken = self.ahead.pop_front();
        self.go_to(self.next + 1);
        taken
    }

    /// Keeps a message until those before it are here.
    pub(super) fn keep_ahead(&mut self, offset: u64, entry: String) {
        let end = self.ahead.back().map(|(last, _)| last + 1);
        if end.is_some_and(|end| end != offset) || self.ahead.len() >= AHEAD_MAX {
            self.ahead.clear();
        }
        self.ahead.push_back((offset, entry));
    }

    /// Goes on at an offset, if that is later.
    pub(super) fn go_to(&mut self, next: u64) {
        self.next = self.next.max(next);
        while self.ahead.front().is_some_and(|(ahead, _)| *ahead < self.next) {
            self.ahead.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_in_order_whatever_is_there_twice() {
        let mut topic = Topic { next: 5, ..Topic::default() };
        topic.keep_ahead(7, "h".to_owned());
        topic.keep_ahead(8, "i".to_owned());
        assert_eq!(topic.take_next(), None);
        // Those between were let go; then the first that is kept comes once more.
        topic.go_to(7);
        topic.ahead.push_front((7, "h".to_owned()));
        let taken: Vec<u64> = std::iter::from_fn(|| topic.take_next()).map(|it| it.0).collect();
        assert_eq!(taken, [7, 8]);
        topic.keep_ahead(11, "l".to_owned());
        topic.keep_ahead(13, "n".to_owned());
        assert_eq!(topic.ahead.front().map(|it| it.0), Some(13), "a gap begins anew");
    }
}
