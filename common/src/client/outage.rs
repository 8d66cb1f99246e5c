//! A stretch of failed attempts to use a broker: a pause after each, and a line to the user now and
//! then.

use super::{Broker, Error};
use crate::limits::ANSWER_TIMEOUT;
use crate::retry::{PAUSE_MAX, Pauses};
use crate::trouble::Trouble;
use std::time::{Duration, Instant};
use std::{fmt, mem, thread};

/// The shortest time in which an attempt can be expected to succeed, however little is left.
pub(super) const ATTEMPT_MIN: Duration = Duration::from_secs(1);

/// How long an outage lasts before the user hears of it.
const SILENCE_AT_FIRST: Duration = Duration::from_secs(1);

/// How long after one line about an outage the next one follows.
const SILENCE_BETWEEN: Duration = Duration::from_secs(30);

/// A broker, and how long attempts to use it have failed.
#[derive(Debug)]
pub struct Outage {
    broker: Broker,
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
    /// No outage yet.
    pub fn new(broker: Broker) -> Outage {
        let (pauses, is_told) = (Pauses::default(), false);
        Outage { broker, pauses, since: None, line_due: None, is_told, ended: None }
    }

    /// The broker.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// An attempt failed: sleeps before the next one, and tells the user now and then.
    ///
    /// # Errors
    ///
    /// [`Error::GaveUp`] when the patience is over.
    pub fn failed(&mut self, trouble: Trouble) -> Result<(), Error> {
        let address = self.broker.address.clone();
        let notice = format_args!("cannot use the broker at {address} ({trouble}); trying again");
        // Another attempt cannot help here.
        let is_hopeless = matches!(trouble, Trouble::Address | Trouble::NoSessions);
        if !is_hopeless && self.wait(notice) {
            return Ok(());
        }
        Err(Error::GaveUp { address, trouble })
    }

    /// An attempt failed: sleeps before the next one. Tells the user before that if it is time to:
    /// after a second, and then every 30. False when the patience is over.
    #[must_use]
    pub fn wait(&mut self, notice: fmt::Arguments<'_>) -> bool {
        let left = self.patience_left();
        if left.is_zero() {
            return false;
        }
        if self.is_worth_a_line(Instant::now()) {
            self.broker.notify(notice);
            self.is_told = true;
        }
        if self.ended.take().is_some_and(|ended| ended.elapsed() > PAUSE_MAX) {
            self.pauses.reset();
        }
        thread::sleep(self.pauses.next().min(left));
        true
    }

    /// An attempt begins, or goes on: how long it may take.
    pub fn attempt_timeout(&mut self) -> Duration {
        self.patience_left().clamp(ATTEMPT_MIN, ANSWER_TIMEOUT)
    }

    fn patience_left(&mut self) -> Duration {
        let failing = self.since.get_or_insert_with(Instant::now).elapsed();
        self.broker.patience.map_or(Duration::MAX, |patience| patience.saturating_sub(failing))
    }

    fn is_worth_a_line(&mut self, now: Instant) -> bool {
        let due = *self.line_due.get_or_insert(now + SILENCE_AT_FIRST);
        let worth = now >= due;
        if worth {
            self.line_due = Some(now + SILENCE_BETWEEN);
        }
        worth
    }

    /// An attempt succeeded: the next failure is a new outage. Tells the user, if the user heard of
    /// this one.
    pub fn succeeded(&mut self) {
        if self.since.take().is_none() {
            return;
        }
        self.line_due = None;
        self.ended = Some(Instant::now());
        if mem::take(&mut self.is_told) {
            let address = &self.broker.address;
            self.broker.notify(format_args!("the broker at {address} is there again"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_after_a_second_and_then_every_thirty() {
        let start = Instant::now();
        let mut outage = Outage { since: Some(start), ..Outage::new(Broker::at("nowhere:1")) };
        let told: Vec<u64> = (0..70_000)
            .step_by(500)
            .filter(|&elapsed| outage.is_worth_a_line(start + Duration::from_millis(elapsed)))
            .collect();
        assert_eq!(told, [1_000, 31_000, 61_000]);

        outage.succeeded();
        assert!(!outage.is_worth_a_line(start + Duration::from_secs(70)));
        assert!(outage.is_worth_a_line(start + Duration::from_secs(71)));
    }

    #[test]
    fn patience_ends_after_so_long_without_success() {
        let broker = Broker::at("nowhere:1").patience(Duration::from_millis(20));
        let mut outage = Outage::new(broker);
        let begin = Instant::now();
        while outage.wait(format_args!("")) {}
        assert!(begin.elapsed() >= Duration::from_millis(20));
        assert_eq!(outage.attempt_timeout(), ATTEMPT_MIN);
        outage.succeeded();
        assert!(outage.wait(format_args!("")), "this is another outage");
    }
}
