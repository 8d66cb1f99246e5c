//! Memory returns to the system when messages are gone.

use std::thread;
use std::time::Duration;
use tests::System;
use tests::raw::{Raw, metric};
use tests::resources::Resources;
use tests::wait::holds_within;

/// Publishes so many batches of a hundred small messages to a topic of its own on each of 16
/// connections at once.
fn fill(system: &System, connections: &mut [Raw], batches: usize) {
    let body = format!("{}\n", "x".repeat(100)).repeat(100);
    thread::scope(|scope| {
        for (index, connection) in connections.iter_mut().enumerate() {
            let body = &body;
            scope.spawn(move || {
                for _ in 0..batches {
                    connection.request("POST", &format!("/topics/t{index}"), body);
                    assert_eq!(connection.answer().status, 200);
                }
            });
        }
    });
    assert!(metric(&system.address(), "broker_store_size_bytes") > 0.0);
}

#[test]
fn memory_of_deleted_topics_goes_back_to_the_system() {
    let mut system = System::start();
    let mut connections: Vec<Raw> = (0..16).map(|_| Raw::connect(&system.address())).collect();
    for _ in 0..3 {
        fill(&system, &mut connections, 200);
        for index in 0..16 {
            assert_eq!(system.request("DELETE", &format!("/topics/t{index}"), "").status, 204);
        }
    }
    assert!(metric(&system.address(), "broker_store_size_bytes") < 1.0);
    let id = system.broker().id();
    let resident = || Resources::of(id).memory;
    let is_returned = holds_within(Duration::from_secs(20), || resident() <= 20_000_000);
    assert!(is_returned, "{} bytes are resident for nothing", resident());
}

/// A few messages of each topic are left, which stood above all that was let go.
#[test]
fn memory_of_messages_that_were_let_go_goes_back_to_the_system() {
    let mut system = System::start();
    let mut connections: Vec<Raw> = (0..16).map(|_| Raw::connect(&system.address())).collect();
    for round in 0..10 {
        fill(&system, &mut connections, 200);
        for index in 0..16 {
            let topic = format!("/topics/t{index}");
            let last = system.get(&format!("/messages?topic=t{index}&from=-1"));
            let next = last.number("Stream-Next-Offset");
            let keep = |bound: &str| {
                system.request("PUT", &topic, format!("{{\"keep_messages\":{bound}}}"))
            };
            let answers = match round % 3 {
                0 => {
                    let before = next - 1000;
                    vec![system.request("DELETE", &format!("{topic}/messages?before={before}"), "")]
                }
                1 => vec![keep("1000"), keep("null")],
                _ => vec![system.request("DELETE", &topic, "")],
            };
            assert!(answers.iter().all(|answer| answer.status < 300));
        }
    }
    let address = system.address();
    let id = system.broker().id();
    let resident = || Resources::of(id).memory as f64;
    let account = || metric(&address, "broker_store_size_bytes");
    let allowed = || 30_000_000.0 + 1.3 * account();
    let is_returned = holds_within(Duration::from_secs(40), || resident() <= allowed());
    assert!(is_returned, "{} bytes are resident for {}", resident(), account());
}

/// Names, numbers of publishers, positions in the journal and its segments come to stand among
/// messages that are let go, and stay.
#[test]
fn memory_below_what_lives_longer_goes_back_to_the_system() {
    let mut system =
        System::reserve_with(&["--data", "data", "--sync", "os", "--segment", "1000000"]);
    system.start_broker();
    let mut connection = Raw::connect(&system.address());
    let mut publish = |target: &str, body: &str| {
        connection.request("POST", target, body);
        assert_eq!(connection.answer().status, 200);
    };
    let body = format!("{}\n", "x".repeat(100)).repeat(1000);
    for number in 0..100 {
        (0..5).for_each(|_| publish("/topics/large", &body));
        publish(&format!("/topics/small{number}"), "text");
        let by = format!("\"publisher\":\"p{number}\",\"epoch\":0,\"sequence\":0");
        publish("/publish", &format!("{{\"topic\":\"t\",\"message\":\"text\",{by}}}"));
    }
    let id = system.broker().id();
    let resident = || Resources::of(id).memory as f64;
    assert!(resident() > 60_000_000.0, "little was stored");
    assert_eq!(system.request("DELETE", "/topics/large", "").status, 204);
    let address = system.address();
    let allowed = || 20_000_000.0 + 1.3 * metric(&address, "broker_store_size_bytes");
    let is_returned = holds_within(Duration::from_secs(40), || resident() <= allowed());
    assert!(is_returned, "{} bytes are resident for {}", resident(), allowed());
}

/// What a start has read stands below what a broker needs for as long as it runs.
#[test]
fn memory_of_messages_from_before_a_restart_goes_back_to_the_system() {
    let mut system = System::reserve_with(&["--data", "data", "--sync", "os"]);
    system.start_broker();
    let mut connections: Vec<Raw> = (0..16).map(|_| Raw::connect(&system.address())).collect();
    fill(&system, &mut connections, 200);
    system.kill_broker();
    system.start_broker();
    let id = system.broker().id();
    let resident = || Resources::of(id).memory as f64;
    assert!(resident() > 40_000_000.0, "nothing was read");
    for index in 0..16 {
        let keep = system.request("PUT", &format!("/topics/t{index}"), r#"{"keep_messages":100}"#);
        assert_eq!(keep.status, 200);
    }
    let address = system.address();
    let allowed = || 20_000_000.0 + 1.3 * metric(&address, "broker_store_size_bytes");
    let is_returned = holds_within(Duration::from_secs(40), || resident() <= allowed());
    assert!(is_returned, "{} bytes are resident for {}", resident(), allowed());
}
