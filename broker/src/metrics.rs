//! The counters of the broker.
//!
//! Each batch, piece or connection adds to an atomic number; single messages do not. So nothing
//! waits and nothing is allocated.
//!
//! # Not here
//!
//! How the counters are shown (`door/http/metrics.rs`), and numbers for each topic (`GET /topics`).

use common::clock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The lowest status of a refusal, and how many there may be: 400 to 599.
pub(crate) const STATUS_MIN: u16 = 400;
const STATUSES: usize = 200;

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many there have been, and how many there are.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    pub(crate) total: Counter,
    ended: Counter,
}

/// One that is counted, until this is dropped.
pub(crate) struct Counted<'a>(&'a Gauge);

impl Gauge {
    /// Counts one more, until the result is dropped.
    pub(crate) fn count(&self) -> Counted<'_> {
        self.total.add(1);
        Counted(self)
    }

    /// Counts one more while `run` runs.
    pub(crate) fn during<T>(&self, run: impl FnOnce() -> T) -> T {
        let _counted = self.count();
        run()
    }

    /// How many there are now.
    pub(crate) fn value(&self) -> u64 {
        // Read first: one that begins and ends between the two lines must not make it negative.
        let ended = self.ended.value();
        self.total.value().saturating_sub(ended)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.ended.add(1);
    }
}

/// How long something takes.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// How many took at most the bound of the same index, and more than the one before it; the
    /// last ones took longer than any bound.
    pub(crate) counts: [Counter; BOUNDS.len() + 1],
    pub(crate) nanoseconds: Counter,
}

/// In microseconds: from a publish in memory to a disk that is in trouble.
pub(crate) const BOUNDS: [u64; 18] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000,
    500_000, 1_000_000, 2_500_000, 10_000_000,
];

impl Histogram {
    /// Counts `count` that took `time` each.
    pub(crate) fn observe(&self, time: Duration, count: u64) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let index = BOUNDS.partition_point(|bound| bound * 1000 < nanoseconds);
        if let Some(bucket) = self.counts.get(index) {
            bucket.add(count);
        }
        self.nanoseconds.add(nanoseconds.saturating_mul(count));
    }
}

/// The doors that a connection may choose; the first stands for those that have not chosen yet.
pub(crate) const DOORS: [&str; 4] = ["undecided", "http", "json", "text"];

/// What is counted in one broker and is not known anywhere else.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// When it started, in Unix milliseconds.
    pub(crate) started: u64,
    /// Connections by their doors.
    pub(crate) connections: [Gauge; DOORS.len()],
    pub(crate) published: Counter,
    pub(crate) publish_time: Histogram,
    /// By status, from [`STATUS_MIN`] on.
    pub(crate) refusals: [Counter; STATUSES],
}

impl Metrics {
    /// Nothing counted yet.
    pub(crate) fn new() -> Metrics {
        let refusals = [const { Counter(AtomicU64::new(0)) }; STATUSES];
        let (started, connections) = (clock::unix_milliseconds(), Default::default());
        let (published, publish_time) = Default::default();
        Metrics { started, connections, published, publish_time, refusals }
    }

    /// Counts publishes that were answered together after `time`: how many, and the messages that
    /// they appended.
    pub(crate) fn published(&self, publishes: u64, messages: u64, time: Duration) {
        self.published.add(messages);
        self.publish_time.observe(time, publishes);
    }

    /// Counts a refusal, by its status in HTTP.
    pub(crate) fn refused(&self, status: u16) {
        let counter = self.refusals.get(usize::from(status.wrapping_sub(STATUS_MIN)));
        if let Some(counter) = counter {
            counter.add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_is_not_counted() {
        let gauge = Gauge::default();
        let counted = gauge.count();
        drop(gauge.count());
        assert_eq!((gauge.total.value(), gauge.value()), (2, 1));
        drop(counted);
        assert_eq!(gauge.value(), 0);
    }

    #[test]
    fn every_status_has_its_counter() {
        let metrics = Metrics::new();
        for status in [0, 399, 400, 599, 600, u16::MAX] {
            metrics.refused(status);
        }
        let counted: u64 = metrics.refusals.iter().map(Counter::value).sum();
        assert_eq!(counted, 2);
    }
}
