//! `GET /metrics`: the metrics in the text format of Prometheus, version 0.0.4.
//!
//! Names and units follow its conventions. Labels hold names that clients chose only where there is
//! a bound to it: clients cannot add any number of series.

use super::{Door, Stop};
use crate::access::{Grant, Right};
use crate::broker::Broker;
use crate::metrics::{BOUNDS, DOORS, Histogram, STATUS_MIN};
use crate::push::Standing;
use std::cmp::Reverse;
use std::fmt::{Display, Write};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The type of that format.
const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How many lasting subscriptions have a series of their own.
const LAGS_MAX: usize = 1000;

impl Door<'_> {
    /// Answers with all there is to know of the broker.
    pub(super) fn metrics(&mut self) -> Result<(), Stop> {
        let text = text(self.broker, &self.grant);
        self.answers.content(200, TYPE, text.as_bytes());
        Ok(())
    }
}

/// All there is to know of a broker, as text, for a client that may read some topics.
fn text(broker: &Broker, grant: &Grant) -> String {
    let Broker { metrics, push, .. } = broker;
    let mut page = Page::default();
    page.family("broker_build_info", "gauge", "The version of this broker.");
    page.sample("", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    let started = Seconds(Duration::from_millis(metrics.started));
    page.value("process_start_time_seconds", "When the broker started, in Unix time.", started);

    let help = "Connections that are open, by the door that they chose.";
    page.family("broker_connections", "gauge", help);
    for (door, gauge) in DOORS.iter().zip(&metrics.connections) {
        page.sample("", &[("door", door)], gauge.value());
    }
    let help = "Connections that were opened, by the door that they chose.";
    page.family("broker_connections_opened_total", "counter", help);
    for (door, gauge) in DOORS.iter().zip(&metrics.connections) {
        page.sample("", &[("door", door)], gauge.total.value());
    }
    let help = "Places where somebody waits for a topic's messages: subscriptions and long reads.";
    page.value("broker_subscriptions", help, push.listeners.count());

    let help = "Messages that publishes through this broker added to topics.";
    page.value("broker_messages_published_total", help, metrics.published.value());
    let help = "Messages that were let go, by bounds or by hand.";
    page.value("broker_trimmed_messages_total", help, push.topics.know(|known| known.trimmed));
    let help = "Messages that were written to clients, pushed or asked for.";
    page.value("broker_messages_delivered_total", help, push.delivered.value());
    let help = "Requests and commands that were refused, by the status that HTTP has for it.";
    page.family("broker_refusals_total", "counter", help);
    for (status, counter) in (STATUS_MIN..).zip(&metrics.refusals) {
        if counter.value() > 0 {
            page.sample("", &[("status", &status.to_string())], counter.value());
        }
    }
    let help = "From a publish that was read to its answer, each of a batch.";
    page.histogram("broker_publish_duration_seconds", help, &metrics.publish_time);

    let (topics, memory) = push.topics.account();
    page.value("broker_topics", "Topics.", topics);
    page.value("broker_store_size_bytes", "Memory that all topics take.", memory.used);
    let help = "Memory that all topics may take; then publishes are refused.";
    page.value("broker_store_limit_bytes", help, memory.max);

    if let Some((is_in_reach, replicas)) = broker.homes.reached() {
        let help = "1 if the home of all topics is in reach, else 0.";
        page.value("broker_home_in_reach", help, u8::from(is_in_reach));
        if let Some(replicas) = replicas {
            let help = "Servers that store each message of a new topic.";
            page.value("broker_home_replicas", help, replicas);
        }
    }
    if let Some(meter) = push.topics.meter() {
        let size = meter.size.load(Ordering::Relaxed);
        page.value("broker_journal_size_bytes", "The size of the journal on disk.", size);
        let help = "1 if the last write to the journal succeeded, else 0.";
        let is_healthy = meter.is_healthy.load(Ordering::Relaxed);
        page.value("broker_journal_healthy", help, u8::from(is_healthy));
        let help = "To write a group of changes to the journal, and sync it where that is asked.";
        page.histogram("broker_journal_commit_duration_seconds", help, &meter.time);
    }
    let mut standings = push.standings(|key| grant.allows(Right::Read, &key.topic));
    standings.sort_by_key(|standing| Reverse(standing.lag));
    let help = "Messages that a lasting subscription has still to get; the farthest behind.";
    page.family("broker_subscription_lag_messages", "gauge", help);
    for Standing { key, lag, .. } in standings.iter().take(LAGS_MAX) {
        page.sample("", &[("subscriber", &key.name), ("topic", &key.topic)], lag);
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

    /// Writes a family of one number. Those that only grow are called so.
    fn value(&mut self, name: &'static str, help: &str, value: impl Display) {
        self.family(name, if name.ends_with("_total") { "counter" } else { "gauge" }, help);
        self.sample("", &[], value);
    }

    /// Writes a sample of the family. Names hold no line break.
    fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.text, "{}{suffix}", self.family);
        for (index, (name, label)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let label = label.replace('\\', "\\\\").replace('"', "\\\"");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_up_to_its_bound() {
        let histogram = Histogram::default();
        for (nanoseconds, count) in [(0, 1), (10_000, 2), (10_001, 4), (10_000_000_001, 8)] {
            histogram.observe(Duration::from_nanos(nanoseconds), count);
        }
        let mut page = Page::default();
        page.histogram("t_seconds", "Time.", &histogram);
        let expected = [
            "# HELP t_seconds Time.",
            "# TYPE t_seconds histogram",
            "t_seconds_bucket{le=\"0.00001\"} 3",
            "t_seconds_bucket{le=\"0.000025\"} 7",
            "t_seconds_bucket{le=\"10\"} 7",
            "t_seconds_bucket{le=\"+Inf\"} 15",
            "t_seconds_sum 80.000060012",
            "t_seconds_count 15",
        ];
        for line in expected {
            assert!(page.text.lines().any(|it| it == line), "{line} is not in\n{}", page.text);
        }
    }

    #[test]
    fn times_are_written_without_superfluous_zeros() {
        for (time, text) in [
            (Duration::ZERO, "0"),
            (Duration::from_micros(10), "0.00001"),
            (Duration::from_millis(2500), "2.5"),
            (Duration::new(1_700_000_000, 1_000_000), "1700000000.001"),
        ] {
            assert_eq!(Seconds(time).to_string(), text);
        }
    }
}
