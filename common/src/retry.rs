//! Growing pauses between attempts, and when to tell the user about them.
//!
//! [`Pauses`] alone does not sleep, for those who wait for other things too.

use std::thread;
use std::time::{Duration, Instant};

use crate::random::random;

/// The first pause: a broker that is just starting is up within a few of these.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// The longest pause: whoever starts the broker again should not have to wait for its clients.
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

/// One stretch of failed attempts: a pause after each, and a line to the user now and then.
#[derive(Debug, Default)]
pub struct Outage {
    pauses: Pauses,
    /// When the user is to hear of it (again); `None` while all is well.
    line_due: Option<Instant>,
}

impl Outage {
    /// Sleeps before the next attempt, for `pause_max` at most. Calls `tell` before that when the
    /// user should hear that attempts fail: after a second, and then every 30.
    pub fn wait(&mut self, pause_max: Duration, tell: impl FnOnce()) {
        if self.is_worth_a_line(Instant::now()) {
            tell();
        }
        thread::sleep(self.pauses.next().min(pause_max));
    }

    fn is_worth_a_line(&mut self, now: Instant) -> bool {
        let due = *self.line_due.get_or_insert(now + SILENCE_AT_FIRST);
        let worth = now >= due;
        if worth {
            self.line_due = Some(now + SILENCE_BETWEEN);
        }
        worth
    }

    /// An attempt succeeded: the next failure is a new outage.
    pub fn end(&mut self) {
        *self = Outage::default();
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
        let mut outage = Outage::default();
        let told: Vec<u64> = (0..70_000)
            .step_by(500)
            .filter(|&elapsed| outage.is_worth_a_line(start + Duration::from_millis(elapsed)))
            .collect();
        assert_eq!(told, [1_000, 31_000, 61_000]);

        outage.end();
        assert!(!outage.is_worth_a_line(start + Duration::from_secs(70)));
        assert!(outage.is_worth_a_line(start + Duration::from_secs(71)));
    }
}
