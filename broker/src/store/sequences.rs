//! Numbered publishes: what makes a repeated publish harmless.
//!
//! The rules are those of Kafka's idempotent producer and of the Durable Streams protocol: per
//! topic and publisher a newer epoch starts at sequence 0, the next sequence is appended, an old
//! one is a duplicate, a gap and an older epoch are refused. There is no window and no clock: the
//! numbers live as long as the topic.

use crate::refusal::Refusal;
use crate::store::batch::Sequence;

/// What one publisher has published to one topic, in its present epoch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sequences {
    epoch: u64,
    /// The sequence that is appended next.
    next: u64,
    /// Where the messages of this epoch lie, oldest first. A run ends where somebody else's
    /// message stands between two of this publisher's.
    runs: Vec<Run>,
}

/// Messages with consecutive sequences at consecutive offsets.
#[derive(Debug, Clone, Copy)]
struct Run {
    sequence: u64,
    offset: u64,
}

/// What was known before something was appended.
#[derive(Debug)]
pub(crate) struct Before {
    epoch: u64,
    next: u64,
    /// The runs of the epoch that ended.
    runs: Option<Vec<Run>>,
    /// How many runs there were.
    count: usize,
}

/// What is to be done with a numbered publish.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Append all but the first `skip` messages, which are there already.
    Append { skip: u64 },
    /// All of it is there already, the first message at this offset.
    Duplicate { offset: u64 },
}

impl Sequences {
    /// Judges `count` messages that begin at `number`. Nothing is changed: see [`Self::append`].
    pub(crate) fn judge(
        known: Option<&Sequences>,
        number: Sequence,
        count: u64,
    ) -> Result<Verdict, Refusal> {
        let expected = match known {
            Some(sequences) if number.epoch < sequences.epoch => {
                return Err(Refusal::OldEpoch { present: sequences.epoch });
            }
            Some(sequences) if number.epoch == sequences.epoch => sequences.next,
            _ => 0,
        };
        if number.sequence > expected {
            return Err(Refusal::Gap { expected });
        }
        let skip = expected - number.sequence;
        match known {
            Some(sequences) if skip > 0 && skip >= count => {
                Ok(Verdict::Duplicate { offset: sequences.offset(number.sequence) })
            }
            _ => Ok(Verdict::Append { skip }),
        }
    }

    /// Notes `count` messages from `number` on, which are about to stand at `offset`. Gives what
    /// [`Sequences::undo`] needs.
    pub(crate) fn append(&mut self, number: Sequence, count: u64, offset: u64) -> Before {
        let mut before =
            Before { epoch: self.epoch, next: self.next, runs: None, count: self.runs.len() };
        if number.epoch != self.epoch {
            before.runs = Some(std::mem::take(&mut self.runs));
            self.epoch = number.epoch;
        }
        if count > 0 && self.runs.last().is_none_or(|run| run.end(number.sequence) != offset) {
            self.runs.push(Run { sequence: number.sequence, offset });
        }
        self.next = number.sequence + count;
        before
    }

    /// Takes back the last [`Sequences::append`].
    pub(crate) fn undo(&mut self, before: Before) {
        let Before { epoch, next, runs, count } = before;
        self.runs = runs.unwrap_or_else(|| std::mem::take(&mut self.runs));
        self.runs.truncate(count);
        (self.epoch, self.next) = (epoch, next);
    }

    /// The offset of a message of this epoch.
    fn offset(&self, sequence: u64) -> u64 {
        let after = self.runs.partition_point(|run| run.sequence <= sequence);
        self.runs.get(after.saturating_sub(1)).map_or(0, |run| run.end(sequence))
    }

    /// Bytes of memory that the positions take, beside the struct itself.
    pub(crate) fn size(&self) -> usize {
        self.runs.capacity() * size_of::<Run>()
    }
}

impl Run {
    /// The offset that `sequence` has where the run reaches so far.
    fn end(self, sequence: u64) -> u64 {
        self.offset + (sequence - self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(epoch: u64, sequence: u64) -> Sequence {
        Sequence { epoch, sequence }
    }

    /// A publisher that has published sequences 0 to 4 in epoch 3, the last two after a stranger.
    fn five() -> Sequences {
        let mut sequences = Sequences::default();
        sequences.append(number(3, 0), 3, 10);
        sequences.append(number(3, 3), 2, 20);
        sequences
    }

    #[test]
    fn a_new_publisher_begins_at_zero_in_any_epoch() {
        assert_eq!(Sequences::judge(None, number(7, 0), 1).unwrap(), Verdict::Append { skip: 0 });
        let refusal = Sequences::judge(None, number(0, 1), 1).unwrap_err();
        assert!(matches!(refusal, Refusal::Gap { expected: 0 }));
    }

    #[test]
    fn the_next_number_is_appended_and_a_gap_is_not() {
        let five = five();
        let judged = Sequences::judge(Some(&five), number(3, 5), 2).unwrap();
        assert_eq!(judged, Verdict::Append { skip: 0 });
        let refusal = Sequences::judge(Some(&five), number(3, 6), 1).unwrap_err();
        assert!(matches!(refusal, Refusal::Gap { expected: 5 }));
    }

    #[test]
    fn an_old_number_is_a_duplicate_and_knows_its_offset() {
        for (sequence, offset) in [(0, 10), (2, 12), (3, 20), (4, 21)] {
            let judged = Sequences::judge(Some(&five()), number(3, sequence), 1).unwrap();
            assert_eq!(judged, Verdict::Duplicate { offset });
        }
    }

    #[test]
    fn of_a_batch_that_is_there_in_part_the_rest_is_appended() {
        let judged = Sequences::judge(Some(&five()), number(3, 3), 4).unwrap();
        assert_eq!(judged, Verdict::Append { skip: 2 });
    }

    #[test]
    fn a_newer_epoch_starts_again_and_ends_the_older() {
        let mut sequences = five();
        let refusal = Sequences::judge(Some(&sequences), number(4, 1), 1).unwrap_err();
        assert!(matches!(refusal, Refusal::Gap { expected: 0 }));
        assert!(Sequences::judge(Some(&sequences), number(4, 0), 1).is_ok());
        sequences.append(number(4, 0), 1, 22);
        let refusal = Sequences::judge(Some(&sequences), number(3, 5), 1).unwrap_err();
        assert!(matches!(refusal, Refusal::OldEpoch { present: 4 }));
        let judged = Sequences::judge(Some(&sequences), number(4, 0), 1).unwrap();
        assert_eq!(judged, Verdict::Duplicate { offset: 22 });
    }

    #[test]
    fn what_was_appended_can_be_taken_back() {
        let mut sequences = five();
        for (number, count, offset) in
            [(number(3, 5), 2, 22), (number(3, 5), 1, 30), (number(4, 0), 3, 30)]
        {
            let before = format!("{sequences:?}");
            let undo = sequences.append(number, count, offset);
            assert_ne!(format!("{sequences:?}"), before);
            sequences.undo(undo);
            assert_eq!(format!("{sequences:?}"), before);
        }
    }

    #[test]
    fn numbers_at_the_end_of_their_range_do_not_overflow() {
        let judged = Sequences::judge(None, number(u64::MAX, u64::MAX), 1);
        assert!(matches!(judged.unwrap_err(), Refusal::Gap { expected: 0 }));
    }
}
