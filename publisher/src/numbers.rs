//! The number that each message carries, so that the broker knows one that it has already.
//!
//! A broker takes the numbers of one publisher and topic in order, from 0 in every epoch. So a
//! message whose answer was lost is sent again under the same number, and is stored once.

use common::random::random;
use std::collections::HashMap;

/// The numbers of one run.
#[derive(Debug)]
pub(crate) struct Numbers {
    publisher: String,
    epoch: u64,
    /// The next number of each topic that is past its first.
    next: HashMap<String, u64>,
}

/// The number of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number {
    pub(crate) epoch: u64,
    pub(crate) sequence: u64,
}

impl Numbers {
    /// Numbers under a name that no other run has, so that every run publishes anew.
    pub(crate) fn new() -> Numbers {
        Numbers {
            publisher: format!("publisher-{:016x}", random()),
            epoch: 0,
            next: HashMap::new(),
        }
    }

    /// The name that the numbers are counted under.
    pub(crate) fn publisher(&self) -> &str {
        &self.publisher
    }

    /// The number of the topic's next message, the same until [`Numbers::advance`].
    pub(crate) fn next(&self, topic: &str) -> Number {
        let sequence = self.next.get(topic).copied().unwrap_or(0);
        Number { epoch: self.epoch, sequence }
    }

    /// The topic's next message is stored: the one after it has another number.
    pub(crate) fn advance(&mut self, topic: &str) {
        *self.next.entry(topic.to_owned()).or_default() += 1;
    }

    /// The broker has forgotten all numbers: counts from 0 again, for every topic.
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
        let number = |epoch, sequence| Number { epoch, sequence };
        let mut numbers = Numbers::new();
        assert_eq!(numbers.next("a"), number(0, 0));
        assert_eq!(numbers.next("a"), number(0, 0));
        numbers.advance("a");
        numbers.advance("a");
        numbers.advance("b");
        assert_eq!((numbers.next("a"), numbers.next("b")), (number(0, 2), number(0, 1)));
        numbers.begin_epoch();
        assert_eq!((numbers.next("a"), numbers.next("b")), (number(1, 0), number(1, 0)));
    }

    #[test]
    fn two_runs_have_two_names() {
        assert_ne!(Numbers::new().publisher(), Numbers::new().publisher());
    }
}
