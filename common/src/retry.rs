//! Repeats a failed attempt with growing pauses, and tells the user.
//!
//! [`Pauses`] alone does not sleep; it is for callers who wait for other things too.

use crate::limits::ANSWER_TIMEOUT;
use crate::random::random;
use std::time::{Duration, Instant};
use std::{mem, thread};

/// The shortest time in which an attempt can be expected to succeed, however little is left.
pub const ATTEMPT_MIN: Duration = Duration::from_secs(1);

/// The first pause: a broker that is just starting is up within a few of these.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// The longest pause: clients must be back soon after the broker was started again.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long an outage lasts before the user hears of it.
const SILENCE_AT_FIRST: Duration = Duration::from_secs(1);

/// How long after one line about an outage the next one follows.
const SILENCE_BETWEEN: Duration = Duration::from_secs(30);

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
pub enum Failure<T, E> {
    /// It may succeed later.
    Passing(T),
    /// It never will.
    Final(E),
}

impl<T, E> From<T> for Failure<T, E> {
    fn from(trouble: T) -> Failure<T, E> {
        Failure::Passing(trouble)
    }
}

/// Calls `attempt` until it succeeds or fails for good. After other failures, `failed` waits until
/// the next attempt is due, or ends the attempts with an error.
///
/// # Errors
///
/// A failure that another attempt cannot change.
pub fn repeat<S, R, T, E>(
    subject: &mut S,
    failed: impl Fn(&mut S, T) -> Result<(), E>,
    mut attempt: impl FnMut(&mut S) -> Result<R, Failure<T, E>>,
) -> Result<R, E> {
    loop {
        match attempt(subject) {
            Ok(done) => return Ok(done),
            Err(Failure::Passing(trouble)) => failed(subject, trouble)?,
            Err(Failure::Final(error)) => return Err(error),
        }
    }
}

/// One stretch of failed attempts: a pause after each, and a line to the user now and then.
#[derive(Debug, Default)]
pub struct Outage {
    /// How long attempts may fail; `None` for as long as it takes.
    patience: Option<Duration>,
    pauses: Pauses,
    /// When the first attempt began that has not succeeded; `None` while all is well.
    since: Option<Instant>,
    /// When the user is to hear of it (again).
    line_due: Option<Instant>,
    /// Whether the user has heard of it.
    is_told: bool,
    /// When the last outage ended. Whatever fails again at once is not asked more often for it.
    ended: Option<Instant>,
}

impl Outage {
    /// No outage yet. Attempts may fail for so long; without `patience`, for as long as it takes.
    #[must_use]
    pub fn new(patience: Option<Duration>) -> Outage {
        Outage { patience, ..Outage::default() }
    }

    /// An attempt failed: sleeps before the next one. Calls `tell` before that when the user
    /// should hear that attempts fail: after a second, and then every 30. False when patience is
    /// at its end.
    #[must_use]
    pub fn wait(&mut self, tell: impl FnOnce()) -> bool {
        let left = self.patience_left();
        if left.is_zero() {
            return false;
        }
        if self.is_worth_a_line(Instant::now()) {
            tell();
            self.is_told = true;
        }
        if self.ended.take().is_some_and(|ended| ended.elapsed() > PAUSE_MAX) {
            self.pauses.reset();
        }
        thread::sleep(self.pauses.next().min(left));
        true
    }

    /// An attempt begins, or goes on: how long it may take.
    #[must_use]
    pub fn attempt(&mut self) -> Duration {
        self.patience_left().clamp(ATTEMPT_MIN, ANSWER_TIMEOUT)
    }

    fn patience_left(&mut self) -> Duration {
        let failing = self.since.get_or_insert_with(Instant::now).elapsed();
        self.patience.map_or(Duration::MAX, |patience| patience.saturating_sub(failing))
    }

    fn is_worth_a_line(&mut self, now: Instant) -> bool {
        let due = *self.line_due.get_or_insert(now + SILENCE_AT_FIRST);
        let worth = now >= due;
        if worth {
            self.line_due = Some(now + SILENCE_BETWEEN);
        }
        worth
    }

    /// An attempt succeeded: the next failure is a new outage. True where the user heard of this
    /// one.
    pub fn end(&mut self) -> bool {
        if self.since.take().is_none() {
            return false;
        }
        self.line_due = None;
        self.ended = Some(Instant::now());
        mem::take(&mut self.is_told)
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

    #[test]
    fn an_outage_is_told_after_a_second_and_then_every_thirty() {
        let start = Instant::now();
        let mut outage = Outage { since: Some(start), ..Outage::default() };
        let told: Vec<u64> = (0..70_000)
            .step_by(500)
            .filter(|&elapsed| outage.is_worth_a_line(start + Duration::from_millis(elapsed)))
            .collect();
        assert_eq!(told, [1_000, 31_000, 61_000]);

        outage.end();
        assert!(!outage.is_worth_a_line(start + Duration::from_secs(70)));
        assert!(outage.is_worth_a_line(start + Duration::from_secs(71)));
    }

    #[test]
    fn patience_ends_after_so_long_without_success() {
        let mut outage = Outage::new(Some(Duration::from_millis(20)));
        let begin = Instant::now();
        while outage.wait(|| {}) {}
        assert!(begin.elapsed() >= Duration::from_millis(20));
        assert_eq!(outage.attempt(), ATTEMPT_MIN);
        outage.end();
        assert!(outage.wait(|| {}), "this is another outage");
    }
}
