//! F: many clients, slow clients, and clients that break off (the rows of `http_cases` that need
//! more than one connection). Deadlines are in `http_cases/timing.rs`, limits of the system in
//! `shortage.rs`.
//!
//! Not here, because it takes a tracer or root (`tests/faults.sh`): an `accept` that fails, a host
//! that vanishes, and ten thousand clients that stop reading. A panic in a handler (F14) is tested
//! in the broker's `server.rs`.

use std::thread;
use std::time::{Duration, Instant};
use tests::raw::{Raw, request};
use tests::resources::Resources;
use tests::wait::{DEADLINE, wait_until};
use tests::{System, publish_body, tools};

/// A connection on which a request was answered, so that it is not a silent one.
pub(crate) fn regular(address: &str) -> Raw {
    let mut raw = Raw::connect(address);
    raw.request("GET", "/livez", "");
    assert_eq!(raw.answer().status, 200);
    raw
}

/// Whether a newcomer is served.
pub(crate) fn is_served(address: &str) -> bool {
    let mut raw = Raw::connect(address);
    raw.send_as_far_as_taken(&request("GET", "/livez", ""));
    raw.answer().status == 200
}

/// Waits until the broker has no more threads and descriptors than before.
#[track_caller]
fn wait_for_calm(broker: u32, before: Resources) {
    wait_until(DEADLINE, "threads and descriptors to be given back", || {
        let now = Resources::of(broker);
        now.threads <= before.threads && now.descriptors <= before.descriptors
    });
}

/// F01: whoever opens a connection and says nothing may be about to type.
#[test]
fn the_oldest_silent_connection_makes_way_at_the_limit() {
    let system = System::start_with(&["--max-connections", "3"]);
    let mut silent: Vec<_> = (0..3).map(|_| Raw::connect(&system.address())).collect();
    // Connections are accepted in order; this one's answer says that all were.
    let _newcomer = regular(&system.address());
    silent.remove(0).end();
    assert!(silent.iter().all(Raw::is_silent));
    let mut second = silent.remove(0);
    second.request("GET", "/livez", "");
    assert_eq!(second.answer().status, 200, "the others can still speak");
}

/// F06, F07.
#[test]
fn a_newcomer_without_room_is_told_when_to_come_back_and_served_when_there_is() {
    let system = System::start_with(&["--max-connections", "2"]);
    let mut present: Vec<_> = (0..2).map(|_| regular(&system.address())).collect();
    for _ in 0..100 {
        let mut raw = Raw::connect(&system.address());
        let answer = raw.answer();
        assert_eq!(answer.status, 503);
        assert_eq!(answer.field("retry-after"), Some("1"));
        assert_eq!(answer.field("connection"), Some("close"));
        assert!(answer.text().contains("no room"), "{answer:?}");
        raw.end();
    }
    present.pop();
    wait_until(DEADLINE, "room for a newcomer", || is_served(&system.address()));
}

/// F08, in small; `slow_clients` among the benchmarks measures it.
#[test]
fn slow_clients_do_not_hold_up_a_good_one() {
    let mut system = System::start();
    let large = "x".repeat(1 << 20);
    for _ in 0..16 {
        system.publish("large", &large);
    }
    let before = Resources::of(system.broker().id());
    let slow: Vec<_> = (0..60)
        .map(|number| {
            let mut raw = Raw::connect(&system.address());
            match number % 3 {
                0 => raw.send("GET /messages?topic=t HTTP/1.1\r\nHost: loc"),
                1 => raw.send(
                    "POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{",
                ),
                _ => raw.request("GET", "/messages?topic=large", ""),
            }
            raw
        })
        .collect();
    let mut good = Raw::connect(&system.address());
    for number in 0..200 {
        good.request("POST", "/publish", publish_body("t", &number.to_string()));
        assert_eq!(good.answer().status, 200);
    }
    assert_eq!(system.messages("t").len(), 200);
    drop((good, slow));
    wait_for_calm(system.broker().id(), before);
}

/// Opens connections and resets them: SO_LINGER with a time of zero makes closing send RST.
const RESETS: &str = "
import socket, struct, sys
for _ in range(3000):
    s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    s.close()
";

/// F09.
#[test]
fn connections_that_are_reset_at_once_leave_nothing_behind() {
    let Some(mut python) = tools::python3() else { return };
    let mut system = System::start();
    assert!(is_served(&system.address()));
    let before = Resources::of(system.broker().id());
    let port = system.port().to_string();
    assert!(python.args(["-c", RESETS, &port]).status().unwrap().success());
    wait_for_calm(system.broker().id(), before);
    assert!(is_served(&system.address()));
    assert_eq!(system.broker().errors(), "");
}

/// F10, F15: a socket that is closed with unread input resets its connection.
#[test]
fn a_connection_that_is_reset_ends_alone_wherever_it_is() {
    let mut system = System::start();
    for _ in 0..8 {
        system.publish("large", &"x".repeat(1 << 20));
    }
    let before = Resources::of(system.broker().id());
    let publish = request("POST", "/publish", publish_body("t", "lost"));
    let (half, _) = publish.split_at(publish.len() - 5);
    let large = request("GET", "/messages?topic=large", "");
    let stream = request("GET", "/events?topic=large&from=0", "");
    let text = b"SUBSCRIBE large id\nPUBLISH large x id\n";
    let json = br#"{"command":"subscribe","topic":"large","from":0}{"command":"pull""#;
    for bytes in [&b"GET /messages?top"[..], half, &large, &stream, text, json] {
        for _ in 0..10 {
            let mut raw = if bytes.first().is_some_and(u8::is_ascii_uppercase) && bytes != text {
                let mut raw = Raw::connect(&system.address());
                raw.request("GET", "/livez", "");
                raw
            } else {
                Raw::connect(&system.address())
            };
            raw.send(bytes);
            wait_until(DEADLINE, "something to leave unread", || !raw.is_silent());
        }
    }
    wait_for_calm(system.broker().id(), before);
    assert!(system.messages("t").is_empty(), "half a publish is none");
    assert_eq!(system.broker().errors(), "");
}

/// F16: sixteen MiB for all, where the limit for messages is small.
#[test]
fn newcomers_wait_while_others_send_large_bodies() {
    let system = System::start_with(&["--max-memory", "60000000"]);
    let size = 7 << 20;
    let head = format!(
        "POST /publish HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\
         Content-Length: {size}\r\n\r\n"
    );
    let begin = || {
        let mut raw = Raw::connect(&system.address());
        raw.send(&head);
        let answer = raw.answer();
        (raw, answer)
    };
    let mut early: Vec<_> = (0..2)
        .map(|_| {
            let (raw, answer) = begin();
            assert_eq!(answer.status, 100);
            raw
        })
        .collect();
    let (mut third, answer) = begin();
    assert_eq!(answer.status, 503);
    assert_eq!(answer.field("retry-after"), Some("1"));
    assert!(answer.text().contains("--max-memory"), "{answer:?}");
    third.end();
    let mut json = Raw::connect(&system.address());
    json.send_as_far_as_taken(&[b"{\"a\":\"".as_slice(), &vec![b'x'; 4 << 20]].concat());
    assert!(json.line().contains("--max-memory"));
    assert_eq!(system.request("POST", "/publish", publish_body("small", "x")).status, 200);

    let mut body = publish_body("t", "x");
    body.resize(size, b' ');
    for raw in &mut early {
        raw.send(&body);
        assert_eq!(raw.answer().status, 200, "who came first is served");
    }
    assert_eq!(system.messages("t").len(), 2);
    let (mut late, answer) = begin();
    assert_eq!(answer.status, 100, "there is room again");
    late.send(&body);
    assert_eq!(late.answer().status, 200);
}

/// F16: what a small body becomes counts as well.
#[test]
fn a_body_of_nothing_but_brackets_is_counted_as_what_it_becomes() {
    let system = System::start_with(&["--max-memory", "1000000"]);
    let body = format!(r#"{{"topic":"t","message":"x","other":[{}0]}}"#, "[],".repeat(500_000));
    let answer = system.request("POST", "/publish", body);
    assert_eq!(answer.status, 503, "{answer:?}");
    let answer = system.request("POST", "/topics/t", "\n".repeat(500_000));
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(system.messages("t").is_empty());
}

/// F19: a subscriber is a cursor.
#[test]
fn a_subscriber_that_stops_reading_costs_nothing_and_gets_everything_later() {
    const MESSAGES: usize = 40;
    let mut system = System::start();
    let mut stalled = Raw::connect(&system.address());
    stalled.request("GET", "/events?topic=t", "");
    assert_eq!(stalled.answer_to_head().status, 200);
    let before = Resources::of(system.broker().id());
    for number in 0..MESSAGES {
        system.publish("t", &format!("{number} {}", "x".repeat(1_000_000)));
    }
    let stored = (MESSAGES as u64) << 20;
    let grown = Resources::of(system.broker().id()).memory - before.memory;
    assert!(grown < 2 * stored, "{grown} bytes for {stored} bytes of messages");
    let mut number = 0;
    while number < MESSAGES {
        let line = stalled.line();
        if let Some(data) = line.strip_prefix("data:") {
            assert!(data.contains(&format!("\"message\":\"{number} x")), "message {number}");
            number += 1;
        }
    }
}

/// F21.
#[test]
fn a_reader_that_leaves_while_it_waits_frees_its_thread() {
    let mut system = System::start();
    assert!(is_served(&system.address()));
    let before = Resources::of(system.broker().id());
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let mut raw = Raw::connect(&system.address());
            raw.request("GET", "/messages?topic=t&from=0&wait=1", "");
            raw
        })
        .collect();
    drop(waiting);
    wait_for_calm(system.broker().id(), before);
}

/// F22, in short.
#[test]
fn good_and_bad_traffic_leaves_no_trace() {
    let mut system = System::start();
    let broker = system.broker().id();
    let idle = Resources::of(broker);
    let traffic = |rounds: usize| {
        thread::scope(|scope| {
            for worker in 0..4 {
                let system = &system;
                scope.spawn(move || (0..rounds).for_each(|round| meet(system, worker + round)));
            }
        });
    };
    // What the allocator and the topics need once is not counted.
    traffic(100);
    let first = Resources::of(broker);
    wait_for_calm(broker, Resources { threads: idle.threads, ..first });
    let before = Resources::of(broker);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        traffic(100);
    }
    wait_for_calm(broker, before);
    let grown = Resources::of(broker).memory.saturating_sub(before.memory);
    assert!(grown < 16 << 20, "{grown} bytes more");
    assert_eq!(system.broker().errors(), "");
}

/// One connection of some kind.
fn meet(system: &System, kind: usize) {
    let mut raw = Raw::connect(&system.address());
    match kind % 9 {
        0 => {
            raw.request("POST", "/publish", publish_body("t", "x"));
            assert_eq!(raw.answer().status, 200);
        }
        1 => {
            raw.request("GET", "/messages?topic=t&limit=10", "");
            assert_eq!(raw.answer().status, 200);
        }
        2 => {
            raw.send("GET / HTTP/1.1\r\nHost : localhost\r\n\r\n");
            assert_eq!(raw.answer().status, 400);
            raw.end();
        }
        3 => raw.send("GET /messages?topic=t HTTP/1.1\r\nHo"),
        4 => {
            raw.request("GET", "/events?topic=t", "");
            assert_eq!(raw.answer_to_head().status, 200);
        }
        5 => {
            raw.send(r#"{"command":"subscribe","topic":"t"}{"command":"publish","#);
            assert!(raw.line().contains("success"));
        }
        6 => {
            raw.send(
                "POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n",
            );
            assert_eq!(raw.answer().status, 413);
        }
        7 => {
            raw.send("SUBSCRIBE t id\nPUBLISH t x id\n");
            raw.end_sending();
            while !raw.rest().is_empty() {}
        }
        _ => {}
    }
}
