//! Clients that leave: the broker stops waiting for them, and their connection is free again.

use std::thread;
use std::time::{Duration, Instant};
use tests::raw::Raw;
use tests::resources::Resources;
use tests::wait::{DEADLINE, wait_until};
use tests::{System, publish_body};

const LONG_POLL: &str = "/messages?topic=t&from=0&wait=60";
const EVENTS: &str = "/events?topic=t";

/// F21, and the same for event streams: well before the wait is over.
#[test]
fn a_client_that_left_a_wait_gives_its_connection_up() {
    let mut system = System::start_with(&["--max-connections", "4"]);
    let broker = system.broker().id();
    let before = Resources::of(broker);
    // Behind a pipelined request an end of input is not the next thing to be read.
    for (target, more) in [(LONG_POLL, ""), (EVENTS, ""), (LONG_POLL, "GET /livez HTTP/1.1\r\n")] {
        let start = Instant::now();
        let left: Vec<_> = (0..3)
            .map(|_| {
                let mut raw = Raw::connect(&system.address());
                raw.request("GET", target, "");
                raw.send(more);
                raw
            })
            .collect();
        wait_until(DEADLINE, "three waits", || Resources::of(broker).threads >= before.threads + 3);
        drop(left);
        wait_until(DEADLINE, "the connections to be free again", || {
            Resources::of(broker).threads <= before.threads
        });
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "{target}: by its end, not by the wait's"
        );
    }
}

/// E18: `printf … | ncat` ends its input and reads on.
#[test]
fn a_client_that_ended_its_input_gets_what_comes_within_the_grace() {
    let system = System::start();
    let mut poll = Raw::connect(&system.address());
    poll.request("GET", LONG_POLL, "");
    poll.end_sending();
    let mut events = Raw::connect(&system.address());
    events.request("GET", EVENTS, "");
    events.end_sending();
    assert_eq!(events.answer_to_head().status, 200);
    while !events.line().starts_with("id:") {}
    thread::sleep(Duration::from_millis(500));
    system.publish("t", "within");
    let answer = poll.answer();
    assert_eq!((answer.status, answer.text()), (200, "within\n"));
    poll.end();
    while !events.line().starts_with("data:") {}
    let _ = events.rest();
}

#[test]
fn a_wait_whose_client_ended_its_input_ends_with_what_there_is() {
    let system = System::start();
    let start = Instant::now();
    let mut raw = Raw::connect(&system.address());
    raw.request("GET", LONG_POLL, "");
    raw.end_sending();
    let answer = raw.answer();
    assert_eq!((answer.status, answer.text()), (200, ""));
    assert!(start.elapsed() < Duration::from_secs(30), "by the grace, not by the wait");
    raw.end();
}

/// A client that stays and says nothing keeps its wait; what it pipelines is answered after it.
#[test]
fn a_client_that_stays_waits_to_the_end() {
    let system = System::start();
    let mut raw = Raw::connect(&system.address());
    raw.request("GET", LONG_POLL, "");
    raw.request("POST", "/publish", publish_body("u", "later"));
    thread::sleep(Duration::from_secs(5));
    assert!(raw.is_silent());
    system.publish("t", "x");
    assert_eq!(raw.answer().text(), "x\n");
    assert_eq!(raw.answer().status, 200);
}
