//! Numbered publishes: a repeated publish is found and does no harm.
//!
//! The rules are those of Kafka's idempotent producer and of the Durable Streams protocol. For each
//! topic and publisher: a newer epoch starts at sequence 0, the next sequence is appended, an old
//! one is a duplicate, a gap and an older epoch are refused. There is no window and no clock:
//! numbers live as long as the topic. One exception: when the topic removes messages, it may forget
//! a publisher that has no message left and was silent for a day.

use crate::refusal::{Refusal, Result};
use crate::store::Sequence;

/// The highest epoch that a publisher may begin with: every JSON library holds it exactly, and
/// Unix time in microseconds is below it until the year 2255.
const EPOCH_MAX: u64 = (1 << 53) - 1;

/// How far above the present epoch the next one may be where it is above [`EPOCH_MAX`]. So there
/// is always a next one: who takes the highest that is allowed closes the name to nobody.
const EPOCH_STEP_MAX: u64 = 1 << 20;

/// What one publisher has published to one topic, in its present epoch.
#[derive(Debug, Default)]
pub(crate) struct Sequences {
    /// The number that is appended next.
    next: Sequence,
    /// Where the messages of this epoch lie, oldest first. A run ends where somebody else's
    /// message stands between two of this publisher's.
    runs: Vec<Run>,
    /// When it was heard of last, in Unix milliseconds.
    pub(crate) time: u64,
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
    next: Sequence,
    /// The runs of the epoch that ended.
    runs: Option<Vec<Run>>,
    /// How many runs there were.
    count: usize,
    time: u64,
}

/// A copy takes as much memory, since that is on the account.
impl Clone for Sequences {
    fn clone(&self) -> Sequences {
        let mut runs = Vec::with_capacity(self.runs.capacity());
        runs.extend_from_slice(&self.runs);
        Sequences { runs, ..*self }
    }
}

/// What is to be done with a numbered publish.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Append all but the first `skip` messages, which are there already.
    Append { skip: u64 },
    /// All of it was appended already, the first message at this offset, where that is known.
    Duplicate { offset: Option<u64> },
}

impl Sequences {
    /// A publisher whose messages are gone, and whose next would be `next`.
    pub(crate) fn new(next: Sequence, time: u64) -> Sequences {
        Sequences { next, runs: Vec::new(), time }
    }

    /// Judges `count` messages that begin at `number`. Nothing is changed: see [`Self::append`].
    pub(crate) fn judge(&self, number: Sequence, count: u64) -> Result<Verdict> {
        let Sequence { epoch: present, sequence: next } = self.next;
        if number.epoch < present {
            return Err(Refusal::OldEpoch { present });
        }
        if number.epoch > EPOCH_MAX.max(present.saturating_add(EPOCH_STEP_MAX)) {
            return Err(Refusal::HighEpoch { present });
        }
        let expected = if number.epoch == present { next } else { 0 };
        if number.sequence > expected {
            return Err(Refusal::Gap { expected });
        }
        let skip = expected - number.sequence;
        if skip > 0 && skip >= count {
            return Ok(Verdict::Duplicate { offset: self.offset(number.sequence) });
        }
        Ok(Verdict::Append { skip })
    }

    /// Notes `count` messages from `number` on, which are about to stand at `offset`. Gives what
    /// [`Sequences::undo`] needs.
    pub(crate) fn append(&mut self, number: Sequence, count: u64, offset: u64, now: u64) -> Before {
        let Sequences { next, time, .. } = *self;
        let mut before = Before { next, runs: None, count: self.runs.len(), time };
        // Another epoch; or the same once more, after its numbers were forgotten.
        if number != next {
            before.runs = Some(std::mem::take(&mut self.runs));
        }
        if count > 0 && self.runs.last().is_none_or(|run| run.end(number.sequence) != offset) {
            self.runs.push(Run { sequence: number.sequence, offset });
        }
        (self.next, self.time) = (number.later(count), now);
        before
    }

    /// Takes back the last [`Sequences::append`].
    pub(crate) fn undo(&mut self, before: Before) {
        let Before { next, runs, count, time } = before;
        self.runs = runs.unwrap_or_else(|| std::mem::take(&mut self.runs));
        self.runs.truncate(count);
        (self.next, self.time) = (next, time);
    }

    /// Whether nothing is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.next.sequence == 0
    }

    /// The offset after the last message whose place is known; 0 where there is none.
    pub(crate) fn end(&self) -> u64 {
        self.runs.last().map_or(0, |run| run.end(self.next.sequence))
    }

    /// Forgets where messages before an offset stood.
    pub(crate) fn forget_before(&mut self, offset: u64) {
        let mut gone = self.runs.partition_point(|run| run.offset < offset);
        // The last of these may reach beyond the offset.
        let until = self.runs.get(gone).map_or(self.next.sequence, |next| next.sequence);
        let last = gone.checked_sub(1).and_then(|last| self.runs.get(last));
        if last.is_some_and(|last| last.end(until) > offset) {
            gone -= 1;
        }
        self.runs.drain(..gone);
        if self.runs.capacity() > 2 * self.runs.len() {
            self.runs.shrink_to_fit();
        }
    }

    /// The offset of a message of this epoch, where it is known.
    fn offset(&self, sequence: u64) -> Option<u64> {
        let after = self.runs.partition_point(|run| run.sequence <= sequence);
        self.runs.get(..after)?.last().map(|run| run.end(sequence))
    }

    /// Bytes of memory that the positions take, beside the struct itself.
    pub(crate) fn size(&self) -> u64 {
        (self.runs.capacity() * size_of::<Run>()) as u64
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
        sequences.append(number(3, 0), 3, 10, 0);
        sequences.append(number(3, 3), 2, 20, 0);
        sequences
    }

    #[test]
    fn a_copy_takes_the_memory_that_is_on_the_account() {
        let sequences = five();
        assert!(sequences.runs.capacity() > sequences.runs.len());
        assert_eq!(sequences.clone().size(), sequences.size());
    }

    #[test]
    fn a_new_publisher_begins_at_zero_in_any_epoch() {
        assert_eq!(
            Sequences::default().judge(number(7, 0), 1).unwrap(),
            Verdict::Append { skip: 0 }
        );
        let refusal = Sequences::default().judge(number(0, 1), 1).unwrap_err();
        assert!(matches!(refusal, Refusal::Gap { expected: 0 }));
    }

    #[test]
    fn the_next_number_is_appended_and_a_gap_is_not() {
        let five = five();
        let judged = five.judge(number(3, 5), 2).unwrap();
        assert_eq!(judged, Verdict::Append { skip: 0 });
        let refusal = five.judge(number(3, 6), 1).unwrap_err();
        assert!(matches!(refusal, Refusal::Gap { expected: 5 }));
    }

    #[test]
    fn an_old_number_is_a_duplicate_and_knows_its_offset() {
        for (sequence, offset) in [(0, 10), (2, 12), (3, 20), (4, 21)] {
            let judged = five().judge(number(3, sequence), 1).unwrap();
            assert_eq!(judged, Verdict::Duplicate { offset: Some(offset) });
        }
    }

    #[test]
    fn of_a_batch_that_is_there_in_part_the_rest_is_appended() {
        let judged = five().judge(number(3, 3), 4).unwrap();
        assert_eq!(judged, Verdict::Append { skip: 2 });
    }

    #[test]
    fn a_newer_epoch_starts_again_and_ends_the_older() {
        let mut sequences = five();
        let refusal = sequences.judge(number(4, 1), 1).unwrap_err();
        assert!(matches!(refusal, Refusal::Gap { expected: 0 }));
        assert!(sequences.judge(number(4, 0), 1).is_ok());
        sequences.append(number(4, 0), 1, 22, 0);
        let refusal = sequences.judge(number(3, 5), 1).unwrap_err();
        assert!(matches!(refusal, Refusal::OldEpoch { present: 4 }));
        let judged = sequences.judge(number(4, 0), 1).unwrap();
        assert_eq!(judged, Verdict::Duplicate { offset: Some(22) });
    }

    #[test]
    fn what_was_appended_can_be_taken_back() {
        let mut sequences = five();
        for (number, count, offset) in
            [(number(3, 5), 2, 22), (number(3, 5), 1, 30), (number(4, 0), 3, 30)]
        {
            let before = format!("{sequences:?}");
            let undo = sequences.append(number, count, offset, 7);
            assert_ne!(format!("{sequences:?}"), before);
            sequences.undo(undo);
            assert_eq!(format!("{sequences:?}"), before);
        }
    }

    #[test]
    fn the_highest_epoch_that_is_allowed_closes_a_name_to_nobody() {
        let judge = |known: &Sequences, epoch| {
            known.judge(number(epoch, 0), 1).map(|_| ()).map_err(|refusal| {
                assert!(matches!(refusal, Refusal::HighEpoch { .. }), "{refusal}");
            })
        };
        // Unix time in milliseconds and in microseconds.
        for epoch in [0, 1_795_874_065_700, 1_795_874_065_700_000, EPOCH_MAX] {
            assert_eq!(judge(&Sequences::default(), epoch), Ok(()));
            assert_eq!(judge(&five(), epoch + u64::from(epoch == 0) * 4), Ok(()));
        }
        for epoch in [EPOCH_MAX + 1, 1 << 60, u64::MAX] {
            assert_eq!(judge(&Sequences::default(), epoch), Err(()));
            assert_eq!(judge(&five(), epoch), Err(()));
        }
        let mut sequences = Sequences::default();
        sequences.append(number(EPOCH_MAX, 0), 1, 0, 0);
        assert_eq!(judge(&sequences, EPOCH_MAX + 1), Ok(()));
        assert_eq!(judge(&sequences, EPOCH_MAX + EPOCH_STEP_MAX), Ok(()));
        assert_eq!(judge(&sequences, EPOCH_MAX + EPOCH_STEP_MAX + 1), Err(()));
    }

    #[test]
    fn a_repeated_number_whose_message_is_gone_is_a_duplicate_without_a_place() {
        let judge = |sequences: &Sequences, sequence| sequences.judge(number(3, sequence), 1);
        let place = |sequences: &Sequences, sequence| match judge(sequences, sequence).unwrap() {
            Verdict::Duplicate { offset } => offset,
            Verdict::Append { .. } => panic!("{sequence} is appended twice"),
        };
        for (before, known) in [(9, 0), (12, 0), (13, 3), (20, 3), (21, 3), (22, 5), (99, 5)] {
            let mut sequences = five();
            sequences.forget_before(before);
            for (sequence, offset) in [(0, 10), (2, 12), (3, 20), (4, 21)] {
                let expected = (sequence >= known).then_some(offset);
                assert_eq!(place(&sequences, sequence), expected, "{before} {sequence}");
            }
            assert_eq!(sequences.end() > before, before < 22);
        }
    }
}
