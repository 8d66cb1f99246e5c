//! What the broker counts, as Prometheus reads it: the text format, version 0.0.4.
//!
//! Counting is one addition to an atomic number for each batch, piece or connection, never for
//! each message: nothing waits and nothing is allocated. Names and units keep to the conventions
//! of Prometheus. No label holds what a client sent, so clients cannot add series.
//!
//! # Not here
//!
//! Numbers per topic: `GET /topics` has them.

use crate::broker::Broker;
use crate::refusal::Refusal;
use crate::store::ledger::Receipt;
use common::clock;
use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[cfg(test)]
mod tests;

/// The type of the body that [`text`] gives.
pub(crate) const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The lowest status of a refusal, and how many there may be: 400 to 599.
const STATUS_MIN: u16 = 400;
const STATUSES: usize = 200;

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many came and left.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    came: Counter,
    left: Counter,
}

/// One that came, until this is dropped.
pub(crate) struct Visit<'a>(&'a Presence);

impl Presence {
    /// Counts one that comes, and leaves when the visit is dropped.
    pub(crate) fn enter(&self) -> Visit<'_> {
        self.came.add(1);
        Visit(self)
    }

    /// Counts one that leaves when `visit` is over.
    pub(crate) fn during<T>(&self, visit: impl FnOnce() -> T) -> T {
        let _visit = self.enter();
        visit()
    }

    fn present(&self) -> u64 {
        // Whoever comes between the two lines must not make it negative.
        let left = self.left.value();
        self.came.value().saturating_sub(left)
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.0.left.add(1);
    }
}

/// How long something takes.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// How many took at most the bound of the same index, and more than the one before it; the
    /// last ones took longer than any bound.
    counts: [Counter; BOUNDS.len() + 1],
    nanoseconds: Counter,
}

/// In microseconds: from a publish in memory to a disk that is in trouble.
const BOUNDS: [u64; 18] = [
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

/// Connections by the door that they chose.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    /// Those that have not chosen yet.
    pub(crate) undecided: Presence,
    pub(crate) http: Presence,
    pub(crate) json: Presence,
    pub(crate) text: Presence,
}

/// What is counted in one broker and is not known anywhere else.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// When it started, in Unix milliseconds.
    started: u64,
    pub(crate) connections: Connections,
    published: Counter,
    /// Messages that were written to clients, whether pushed or asked for.
    pub(crate) delivered: Counter,
    publish_time: Histogram,
    /// By status, from [`STATUS_MIN`] on.
    refusals: [Counter; STATUSES],
}

impl Metrics {
    /// Nothing counted yet.
    pub(crate) fn new() -> Metrics {
        Metrics {
            started: clock::unix_milliseconds(),
            connections: Connections::default(),
            published: Counter::default(),
            delivered: Counter::default(),
            publish_time: Histogram::default(),
            refusals: [const { Counter(AtomicU64::new(0)) }; STATUSES],
        }
    }

    /// Counts publishes that were answered together after `time`, and those that were refused.
    pub(crate) fn published(&self, outcomes: &[Result<Receipt, Refusal>], time: Duration) {
        let appended = outcomes.iter().flatten().map(|receipt| receipt.appended).sum();
        self.published.add(appended);
        self.publish_time.observe(time, outcomes.len() as u64);
        for refusal in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            self.refused(refusal.status());
        }
    }

    /// Counts a refusal of anything else, or of a publish that did not get so far.
    pub(crate) fn refused(&self, status: u16) {
        let counter = self.refusals.get(usize::from(status.wrapping_sub(STATUS_MIN)));
        if let Some(counter) = counter {
            counter.add(1);
        }
    }
}

/// All there is to know of a broker, as text.
pub(crate) fn text(broker: &Broker) -> String {
    let metrics = &broker.metrics;
    let mut page = Page::default();

    page.family("broker_build_info", "gauge", "The version of this broker.");
    page.sample("", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.family("process_start_time_seconds", "gauge", "When the broker started, in Unix time.");
    page.sample("", &[], Seconds(Duration::from_millis(metrics.started)));

    let Connections { undecided, http, json, text } = &metrics.connections;
    let doors = [("undecided", undecided), ("http", http), ("json", json), ("text", text)];
    let help = "Connections that are open, by the door that they chose.";
    page.family("broker_connections", "gauge", help);
    for (door, presence) in doors {
        page.sample("", &[("door", door)], presence.present());
    }
    let help = "Connections that were opened, by the door that they chose.";
    page.family("broker_connections_opened_total", "counter", help);
    for (door, presence) in doors {
        page.sample("", &[("door", door)], presence.came.value());
    }
    let help = "Places where somebody waits for a topic's messages: subscriptions and long reads.";
    page.family("broker_subscriptions", "gauge", help);
    page.sample("", &[], broker.listeners.count());

    let help = "Messages that publishes through this broker added to topics.";
    page.family("broker_messages_published_total", "counter", help);
    page.sample("", &[], metrics.published.value());
    let help = "Messages that were written to clients, pushed or asked for.";
    page.family("broker_messages_delivered_total", "counter", help);
    page.sample("", &[], metrics.delivered.value());
    let help = "Requests and commands that were refused, by the status that HTTP has for it.";
    page.family("broker_refusals_total", "counter", help);
    for (status, counter) in (STATUS_MIN..).zip(&metrics.refusals) {
        if counter.value() > 0 {
            page.sample("", &[("status", &status.to_string())], counter.value());
        }
    }
    let help = "From a publish that was read to its answer, each of a batch.";
    page.histogram("broker_publish_duration_seconds", help, &metrics.publish_time);

    let (topics, memory) = broker.topics.account();
    page.family("broker_topics", "gauge", "Topics.");
    page.sample("", &[], topics);
    page.family("broker_store_size_bytes", "gauge", "Memory that all topics take.");
    page.sample("", &[], memory.used);
    let help = "Memory that all topics may take; then publishes are refused.";
    page.family("broker_store_limit_bytes", "gauge", help);
    page.sample("", &[], memory.max);

    if let Some(meter) = broker.topics.meter() {
        page.family("broker_journal_size_bytes", "gauge", "The size of the journal on disk.");
        page.sample("", &[], meter.size.load(Ordering::Relaxed));
        let help = "1 if the last write to the journal succeeded, else 0.";
        page.family("broker_journal_healthy", "gauge", help);
        page.sample("", &[], u8::from(broker.topics.is_healthy()));
        let help = "To write a group of changes to the journal, and sync it where that is asked.";
        page.histogram("broker_journal_commit_duration_seconds", help, &meter.time);
    }
    page.text
}

/// A body in the text format.
#[derive(Default)]
struct Page {
    text: String,
    /// The family whose samples are being written.
    family: &'static str,
}

impl Page {
    /// Begins a family of series. What is written for people holds no line break and no backslash.
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.family = name;
        // Writing to a string cannot fail.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// Writes a sample of the family; its labels hold neither quotes nor backslashes.
    fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.text, "{}{suffix}", self.family);
        for (index, (name, label)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{before}{name}=\"{label}\"");
        }
        let after = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{after} {value}");
    }

    fn histogram(&mut self, name: &'static str, help: &str, histogram: &Histogram) {
        self.family(name, "histogram", help);
        let mut count = 0;
        let bounds = BOUNDS.map(|bound| Seconds(Duration::from_micros(bound)).to_string());
        let bounds = bounds.iter().map(String::as_str).chain(["+Inf"]);
        for (bound, bucket) in bounds.zip(&histogram.counts) {
            count += bucket.value();
            self.sample("_bucket", &[("le", bound)], count);
        }
        let sum = Duration::from_nanos(histogram.nanoseconds.value());
        self.sample("_sum", &[], Seconds(sum));
        self.sample("_count", &[], count);
    }
}

/// A time as Prometheus has it: seconds and their fraction, without zeros at its end.
struct Seconds(Duration);

impl Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let nanoseconds = format!("{:09}", self.0.subsec_nanos());
        match nanoseconds.trim_end_matches('0') {
            "" => write!(f, "{}", self.0.as_secs()),
            fraction => write!(f, "{}.{fraction}", self.0.as_secs()),
        }
    }
}
