//! Errors of the system that a test can cause without special rights: limits of file sizes and
//! descriptors.
//!
//! Faults that need a tracer, a disk or root are in `tests/faults.sh`.

use crate::faults_kill::{full_load, numbered};
use std::fs;
use std::process::Command;
use std::time::Duration;
use tests::System;
use tests::raw::Raw;
use tests::wait::{DEADLINE, wait_until};

/// The kernel first cuts a write short at the limit, then ends whoever goes on.
#[test]
fn e14_a_limit_of_the_file_size_is_as_a_kill() {
    let mut system = System::reserve_with(&["--data", "data"]).under(&[
        "sh",
        "-c",
        "ulimit -f 200; ulimit -c 0; exec \"$0\" \"$@\"",
    ]);
    system.start_broker();
    let load = full_load(&system, Duration::ZERO);
    assert!(!system.broker().wait().success());
    system = system.under(&[]);
    system.kill_broker();
    system.start_broker();
    let counts = load.finish();
    assert!(counts.is_clean(), "{counts}");
}

/// With the signal ignored, a write at the limit fails as on a full disk.
#[test]
fn e01_e02_a_full_disk_refuses_what_is_new_until_there_is_room_again() {
    let mut system = System::reserve_with(&["--data", "data"]).under(&[
        "sh",
        "-c",
        "trap '' XFSZ; ulimit -S -f 100; exec \"$0\" \"$@\"",
    ]);
    system.start_broker();
    let publish = |system: &System, sequence: u64, message: &str| {
        system.request("POST", "/publish", numbered("ann", sequence, message)).status
    };
    let mut expected = Vec::new();
    let large = "x".repeat(1000);
    let refused = loop {
        match publish(&system, expected.len() as u64, &large) {
            200 => expected.push(large.clone()),
            status => break status,
        }
    };
    assert_eq!(refused, 507);
    let next = expected.len() as u64;
    for _ in 0..2 {
        assert_eq!(publish(&system, next - 1, &large), 200, "it is there already");
        assert_eq!(publish(&system, next + 1, &large), 409, "the one before it is not there");
        assert_eq!(system.get("/readyz").status, 503, "it takes nothing that is new");
        assert_eq!(system.get("/livez").status, 200);
        assert_eq!(system.messages("t"), expected);
        assert_eq!(publish(&system, next, &large), 507);
    }
    let broker = system.broker().id().to_string();
    let larger = ["--fsize=unlimited", "--pid", &broker];
    assert!(Command::new("prlimit").args(larger).status().unwrap().success());
    assert_eq!(publish(&system, next, &large), 200);
    assert_eq!(system.get("/readyz").status, 200);
    expected.push(large);
    system = system.under(&[]);
    system.restart_broker();
    assert_eq!(system.messages("t"), expected);
}

#[test]
fn e17_a_broker_without_descriptors_goes_on_for_those_who_are_connected() {
    let mut system = System::reserve_with(&["--data", "data"]).under(&[
        "sh",
        "-c",
        "ulimit -n 100; exec \"$0\" \"$@\"",
    ]);
    system.start_broker();
    let mut first = Raw::connect(&system.address());
    first.request("POST", "/publish", numbered("ann", 0, "x"));
    assert_eq!(first.answer().status, 200);
    // Some of these are accepted and some are not.
    let others: Vec<_> = (0..120).map(|_| Raw::connect(&system.address())).collect();
    for sequence in 1..20 {
        first.request("POST", "/publish", numbered("ann", sequence, "x"));
        assert_eq!(first.answer().status, 200);
    }
    drop((first, others));
    let mut count = 0;
    wait_until(DEADLINE, "room for a connection", || {
        let mut raw = Raw::connect(&system.address());
        raw.send_or_lose(tests::raw::request("GET", "/messages?topic=t", ""));
        count = raw.try_answer().map_or(0, |answer| answer.text().lines().count());
        count > 0
    });
    assert_eq!(count, 20);
}

/// It is not noticed, since nothing is opened twice: what was renamed goes on to be the journal,
/// and what was removed is gone with the process.
#[test]
fn e20_a_journal_that_is_renamed_or_removed_under_the_broker_is_served_until_its_end() {
    let mut system = System::reserve_with(&["--data", "data"]);
    system.start_broker();
    let data = system.folder().path().join("data");
    system.publish("t", "before");
    let segment = data.join("journal-00000001");
    fs::rename(&segment, data.join("elsewhere")).unwrap();
    system.publish("t", "renamed");
    assert_eq!(system.messages("t"), ["before", "renamed"]);
    system.kill_broker();
    fs::rename(data.join("elsewhere"), &segment).unwrap();
    system.start_broker();
    assert_eq!(system.messages("t"), ["before", "renamed"]);

    fs::remove_file(&segment).unwrap();
    fs::remove_file(data.join("journal")).unwrap();
    system.publish("t", "removed");
    assert_eq!(system.messages("t"), ["before", "renamed", "removed"]);
    system.restart_broker();
    let said = system.broker().errors();
    assert!(said.contains("there was no data/journal; it is new and empty"), "{said}");
    assert_eq!(system.messages("t"), [""; 0]);
}
