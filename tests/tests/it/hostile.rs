//! Clients that mean harm: what one of them sends costs the broker little, and is never taken for
//! what it is not.

use std::mem;
use std::thread;
use std::time::Duration;
use tests::System;
use tests::raw::{Raw, metric};
use tests::resources::Resources;
use tests::wait::{DEADLINE, wait_until};

/// Answers to commands that came together are sent before they pile up, and who does not read
/// them is not worked for; nor is who has gone.
#[test]
fn answers_that_nobody_reads_take_little_memory() {
    const PULLS: usize = 100;
    let mut system = System::start();
    system.publish("t", &"x".repeat(1 << 20));
    let id = system.broker().id();
    let mut waiting = Raw::connect(&system.address());
    let mut reset = Raw::connect(&system.address());
    for raw in [&mut waiting, &mut reset] {
        raw.send("{\"command\":\"pull\",\"topic\":\"t\"}\n".repeat(PULLS));
    }
    // A connection that is closed before all was read that came is reset.
    wait_until(DEADLINE, "an answer", || !reset.is_silent());
    drop(reset);
    let mut before = 0;
    wait_until(DEADLINE, "the broker to rest", || {
        let Resources { memory, processor_time, .. } = Resources::of(id);
        assert!(memory < 64 << 20, "{memory} bytes");
        thread::sleep(Duration::from_millis(100));
        mem::replace(&mut before, processor_time) == processor_time
    });
    for _ in 0..PULLS {
        assert!(waiting.line().len() > 1 << 20);
    }
}

/// Where a connection breaks off in the middle of a line, the line is no command; where the client
/// ends it, it is.
#[test]
fn a_line_that_was_cut_off_is_not_published() {
    let system = System::start();
    let mut cut = Raw::connect(&system.address());
    cut.send("SUBSCRIBE nonsense\nPUBLISH t one two");
    wait_until(DEADLINE, "an error", || !cut.is_silent());
    // What was not read makes it a reset.
    drop(cut);
    let sessions = "broker_connections{door=\"text\"}";
    wait_until(DEADLINE, "the session to end", || metric(&system.address(), sessions) == 0.0);
    assert!(system.messages("t").is_empty());

    let mut whole = Raw::connect(&system.address());
    whole.send("PUBLISH t one two");
    whole.end_sending();
    whole.end();
    assert_eq!(system.messages("t"), ["one"]);
}
