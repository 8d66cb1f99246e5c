//! A deadline for a peer that may be slow but must make progress.

use crate::limits::allowance;
use std::time::{Duration, Instant};

/// Passes when the peer was slower than [`RATE_MIN`](crate::limits::RATE_MIN) for longer than a
/// grace.
///
/// It begins the grace from now. Each byte moves it by the time that the byte may take; it is never
/// further away than the grace, so that a peer cannot save up time.
#[derive(Debug, Clone, Copy)]
pub struct ProgressDeadline {
    at: Instant,
    grace: Duration,
}

impl ProgressDeadline {
    /// A deadline that passes after `grace` where nothing comes.
    pub fn new(grace: Duration) -> ProgressDeadline {
        ProgressDeadline { at: Instant::now() + grace, grace }
    }

    /// When it passes, as far as is known now.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// Notes that the peer sent or took so many bytes.
    pub fn progressed(&mut self, size: usize) {
        self.progressed_at(size, Instant::now());
    }

    fn progressed_at(&mut self, size: usize, now: Instant) {
        self.at = (self.at + allowance(size)).min(now + self.grace);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::RATE_MIN;

    /// A peer that sends `size` bytes each second: how long it may go on, up to 1000 s.
    fn seconds(size: usize) -> u64 {
        let mut deadline = ProgressDeadline::new(Duration::from_secs(30));
        let begun = Instant::now();
        (1..1000)
            .find(|second| {
                let now = begun + Duration::from_secs(*second);
                let is_over = now >= deadline.at();
                deadline.progressed_at(size, now);
                is_over
            })
            .unwrap_or(1000)
    }

    #[test]
    fn whoever_makes_progress_may_go_on_and_nobody_else() {
        for (size, expected) in [(0, 30), (1, 30), (RATE_MIN / 2, 60)] {
            let seconds = seconds(size);
            assert!(seconds.abs_diff(expected) <= 1, "{size}: {seconds} s");
        }
        assert_eq!(seconds(RATE_MIN), 1000);
    }

    #[test]
    fn no_time_is_saved_up() {
        let grace = Duration::from_secs(30);
        let mut deadline = ProgressDeadline::new(grace);
        deadline.progressed(8 << 20);
        assert!(deadline.at() <= Instant::now() + grace);
    }
}
