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
