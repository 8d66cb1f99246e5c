//! A journal of many segments, cleaned while it is used and killed.

use crate::faults_kill::{full_load, numbered};
use std::fs;
use std::thread;
use std::time::Duration;
use tests::System;
use tests::wait::{DEADLINE, wait_until};

/// A broker with the smallest segments.
fn small() -> System {
    let mut system = System::reserve_with(&["--data", "data", "--segment", "65536"]);
    system.start_broker();
    system
}

/// Bytes of all segments.
fn size(system: &System) -> u64 {
    let entries = fs::read_dir(system.folder().path().join("data")).unwrap();
    let segments = entries.filter_map(Result::ok).filter(|entry| {
        let name = entry.file_name();
        name.to_str().is_some_and(|name| name.starts_with("journal-0"))
    });
    segments.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
}

#[test]
fn topics_that_are_deleted_leave_the_disk_while_the_broker_serves() {
    let mut system = small();
    let line = "x".repeat(1_000);
    for round in 0..6 {
        system.publish_batch("goes", (0..100).map(|_| &line));
        let body = numbered("ann", round, &format!("message {round}"));
        assert_eq!(system.request("POST", "/publish", body).status, 200);
        assert_eq!(system.request("DELETE", "/topics/goes", "").status, 204);
    }
    wait_until(DEADLINE, "the segments to be cleaned", || size(&system) < 3 * 65_536);
    for _ in 0..2 {
        assert_eq!(system.messages("t").len(), 6);
        let again = system.request("POST", "/publish", numbered("ann", 2, "message 2"));
        assert!(again.text().contains("\"duplicate\":true"), "{again:?}");
        system.restart_broker();
        assert_eq!(system.broker().errors(), "");
    }
}

#[test]
fn the_journal_stays_small_while_far_more_is_published_than_kept() {
    let mut system =
        System::reserve_with(&["--data", "data", "--segment", "65536", "--keep-messages", "20"]);
    system.start_broker();
    let body = |number: u64| {
        let line = "x".repeat(30_000);
        format!(
            r#"{{"topic":"t","message":"{line}","publisher":"p","epoch":0,"sequence":{number}}}"#
        )
    };
    for number in 0..400 {
        let answer = system.request("POST", "/publish", body(number));
        assert_eq!(answer.status, 200, "{answer:?}");
        // Twice what is alive and two segments, one of which may be one message longer.
        let size = size(&system);
        assert!(size < 2 * 21 * 30_200 + 3 * 96_000, "{size} bytes after {number} messages");
    }
}

#[test]
fn k11_kills_while_segments_are_closed_and_cleaned_lose_nothing() {
    let mut system = small();
    let load = full_load(&system, Duration::ZERO);
    let line = "x".repeat(1_000);
    for round in 0..5 {
        system.publish_batch("goes", (0..200).map(|_| &line));
        assert_eq!(system.request("DELETE", "/topics/goes", "").status, 204);
        thread::sleep(Duration::from_millis(60 + 17 * round));
        system.restart_broker();
        assert_eq!(system.broker().errors(), "", "round {round}");
    }
    let counts = load.finish();
    assert!(counts.is_clean(), "{counts}");
}
