//! What is counted, and how it is written.

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
fn who_left_is_not_counted() {
    let presence = Presence::default();
    let visit = presence.enter();
    drop(presence.enter());
    assert_eq!((presence.came.value(), presence.present()), (2, 1));
    drop(visit);
    assert_eq!(presence.present(), 0);
}

#[test]
fn every_status_has_its_place() {
    let metrics = Metrics::new();
    for status in [0, 399, 400, 599, 600, u16::MAX] {
        metrics.refused(status);
    }
    let counted: u64 = metrics.refusals.iter().map(Counter::value).sum();
    assert_eq!(counted, 2);
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
