//! Repeats what failed, with growing pauses.
//!
//! # Not here
//!
//! How long attempts at a broker may fail, and what the user hears of it
//! ([`client::Outage`](crate::client::Outage)).

use crate::random::random;
use crate::trouble::Trouble;
use std::time::Duration;

/// The first pause: a broker that is just starting is up within a few of these.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// The longest pause: clients must be back soon after the broker was started again.
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Pauses that double from 10 ms to 1 s, each shortened at random by up to half, so that many
/// clients of one broker do not come back in step.
#[derive(Debug)]
pub struct Pauses {
    whole: Duration,
}

impl Default for Pauses {
    fn default() -> Pauses {
        Pauses { whole: PAUSE_MIN }
    }
}

impl Pauses {
    /// How long to wait before the next attempt.
    #[expect(clippy::should_implement_trait, reason = "it never ends, so there is no `None`")]
    pub fn next(&mut self) -> Duration {
        let whole = self.whole;
        self.whole = (whole * 2).min(PAUSE_MAX);
        let parts = u32::from(random().to_le_bytes()[0]);
        whole - whole * parts / (2 * u32::from(u8::MAX))
    }

    /// Begins again with the shortest: an attempt succeeded.
    pub fn reset(&mut self) {
        *self = Pauses::default();
    }
}

/// How one attempt failed.
#[derive(Debug)]
pub enum Failure<E> {
    /// It may succeed later.
    Passing(Trouble),
    /// It never will.
    Final(E),
}

impl<E> From<Trouble> for Failure<E> {
    fn from(trouble: Trouble) -> Failure<E> {
        Failure::Passing(trouble)
    }
}

/// Calls `attempt` until it succeeds or fails for good. After other failures, `failed` waits until
/// the next attempt is due, or ends the attempts with an error.
///
/// # Errors
///
/// A failure that another attempt cannot change.
pub fn repeat<S, R, E>(
    subject: &mut S,
    failed: impl Fn(&mut S, Trouble) -> Result<(), E>,
    mut attempt: impl FnMut(&mut S) -> Result<R, Failure<E>>,
) -> Result<R, E> {
    loop {
        match attempt(subject) {
            Ok(done) => return Ok(done),
            Err(Failure::Passing(trouble)) => failed(subject, trouble)?,
            Err(Failure::Final(error)) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second_and_begin_again() {
        let mut pauses = Pauses::default();
        for whole in [10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000] {
            let whole = Duration::from_millis(whole);
            let pause = pauses.next();
            assert!(whole / 2 <= pause && pause <= whole, "{pause:?} of {whole:?}");
        }
        pauses.reset();
        assert!(pauses.next() <= PAUSE_MIN);
    }
}
