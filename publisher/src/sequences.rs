//! The sequence that each message carries, so that the broker knows one that it has already.
//!
//! A broker takes the sequences of one publisher and topic in order, from 0 in every epoch. So a
//! message whose answer was lost is sent again under the same sequence, and is stored once.

use common::random::random;
use std::collections::HashMap;

/// The sequences of one run.
#[derive(Debug)]
pub(crate) struct Sequences {
    publisher: String,
    epoch: u64,
    /// The next sequence of each topic that is past its first.
    next: HashMap<String, u64>,
}

/// The sequence of one message, and its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sequence {
    pub(crate) epoch: u64,
    pub(crate) sequence: u64,
}

impl Sequences {
    /// Sequences under a name that no other run has, so that every run publishes again.
    pub(crate) fn new() -> Sequences {
        Sequences {
            publisher: format!("publisher-{:016x}", random()),
            epoch: 0,
            next: HashMap::new(),
        }
    }

    /// The name that they are counted under.
    pub(crate) fn publisher(&self) -> &str {
        &self.publisher
    }

    /// That of the topic's next message, the same until [`Sequences::advance`].
    pub(crate) fn next(&self, topic: &str) -> Sequence {
        let sequence = self.next.get(topic).copied().unwrap_or(0);
        Sequence { epoch: self.epoch, sequence }
    }

    /// The topic's next message is stored.
    pub(crate) fn advance(&mut self, topic: &str) {
        *self.next.entry(topic.to_owned()).or_default() += 1;
    }

    /// The broker has forgotten them: counts from 0 again, for every topic.
    pub(crate) fn begin_epoch(&mut self) {
        self.epoch += 1;
        self.next.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_topic_counts_for_itself_and_an_epoch_begins_at_0() {
        let of = |epoch, sequence| Sequence { epoch, sequence };
        let mut sequences = Sequences::new();
        assert_eq!(sequences.next("a"), of(0, 0));
        assert_eq!(sequences.next("a"), of(0, 0));
        sequences.advance("a");
        sequences.advance("a");
        sequences.advance("b");
        assert_eq!((sequences.next("a"), sequences.next("b")), (of(0, 2), of(0, 1)));
        sequences.begin_epoch();
        assert_eq!((sequences.next("a"), sequences.next("b")), (of(1, 0), of(1, 0)));
    }

    #[test]
    fn two_runs_have_two_names() {
        assert_ne!(Sequences::new().publisher(), Sequences::new().publisher());
    }
}
