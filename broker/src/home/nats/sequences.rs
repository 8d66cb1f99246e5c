//! The sequences of publishers: what was stored last of each, and what is to become of the next.
//!
//! # Guarantee
//!
//! A number is refused only if most servers of the stream confirm that it does not fit: a publisher
//! that is refused begins a new epoch.

use super::api::Last;
use super::{Attempt, KEPT_MAX};
use crate::refusal::Result;
use crate::store::{Sequence, Sequences, StreamId, Verdict};
use common::lock::Mutex;
use std::collections::HashMap;

/// The last messages of publishers, by their subjects, as far as this broker has heard: only
/// guesses, for the cluster decides.
#[derive(Default)]
pub(super) struct LastSequences(Mutex<HashMap<String, Known>>);

#[derive(Clone, Copy)]
struct Known {
    last: Last,
    /// Whether the cluster has to be asked before it is believed again.
    is_doubted: bool,
}

impl LastSequences {
    fn get(&self, subject: &str) -> Option<Known> {
        self.0.lock().get(subject).copied()
    }

    pub(super) fn note(&self, subject: &str, last: Last) {
        let mut known = self.0.lock();
        if known.len() >= KEPT_MAX {
            known.clear();
        }
        known.insert(subject.to_owned(), Known { last, is_doubted: false });
    }

    pub(super) fn doubt(&self, subject: &str) {
        if let Some(known) = self.0.lock().get_mut(subject) {
            known.is_doubted = true;
        }
    }

    fn forget(&self, subject: &str) {
        self.0.lock().remove(subject);
    }
}

impl Attempt<'_> {
    /// Judges the messages of a publisher: gives its last message, and how many of these are there
    /// already. Nothing where what was kept of it had to be forgotten.
    pub(super) fn judge(
        &self,
        list: StreamId,
        subject: &str,
        number: Sequence,
        count: usize,
    ) -> Result<Option<(Last, usize)>> {
        let known = self.sequences.get(subject);
        let kept = known.filter(|known| !known.is_doubted).map(|known| known.last);
        let last = if kept.is_some() { kept } else { self.last(list, subject)? };
        let Some(last) = last else { return Ok(None) };
        if known.is_some_and(|known| known.is_doubted && known.last.at > last.at) {
            self.sequences.forget(subject);
            // A leader whose disk is full lacks what most servers have stored. If the next leader
            // lacks it as well, it is lost.
            self.replace_leader(list)?;
            return Ok(None);
        }
        let before = last.number.map(|number| Sequences::new(number.later(1), 0));
        let skip = match before.unwrap_or_default().judge(number, count as u64) {
            Ok(Verdict::Append { skip }) => usize::try_from(skip).unwrap_or(count),
            Ok(Verdict::Duplicate { .. }) => count,
            Err(_) if kept.is_some() => {
                self.sequences.doubt(subject);
                return Ok(None);
            }
            Err(refusal) => {
                // A publisher that is refused begins a new epoch: that has to be true.
                self.vouch(list)?;
                let is_same = self.last(list, subject)? == Some(last);
                return if is_same { Err(refusal) } else { Ok(None) };
            }
        };
        self.sequences.note(subject, last);
        Ok(Some((last, skip)))
    }

    /// The offset of a number that is there; nothing where its message is not.
    ///
    /// Messages of one publisher that were stored together stand together, so the first guess is
    /// mostly right. Then it is looked for by halves.
    pub(super) fn offset_of(
        &self,
        list: StreamId,
        subject: &str,
        number: Sequence,
        last: Last,
    ) -> Result<Option<u64>> {
        if last.number == Some(number) {
            return Ok(last.at.checked_sub(1));
        }
        let between = last.number.map_or(0, |it| it.sequence.saturating_sub(number.sequence));
        let (mut low, mut high) = (1, last.at);
        let mut middle = last.at.saturating_sub(between).max(low);
        while low < high {
            let found = self.first(list, subject, middle)?.unwrap_or_default();
            match found.number {
                Some(there) if there == number => return Ok(found.at.checked_sub(1)),
                Some(there) if (there.epoch, there.sequence) < (number.epoch, number.sequence) => {
                    low = found.at + 1;
                }
                // The one that is looked for is none of those from here on.
                _ => high = middle,
            }
            middle = low + high.saturating_sub(low) / 2;
        }
        Ok(None)
    }
}
