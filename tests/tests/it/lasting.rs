//! Lasting subscriptions, and subscribers that fall behind what a topic keeps.

use common::json::Value;
use tests::System;
use tests::raw::Raw;

/// Sends a command of the dialect of topics, and gives its answer.
#[track_caller]
fn ask(raw: &mut Raw, command: &str) -> String {
    raw.send(command);
    raw.line()
}

/// Acknowledges much, ends the subscription, begins it again far in front, and is killed: it goes
/// on there, however late the acknowledgement is kept. `LASTING_ROUNDS` says how often, if that is
/// to be more than a few times, and `LASTING_UNDER` under what: strace makes syncs slow.
#[test]
fn an_acknowledgement_that_is_kept_late_makes_no_later_subscription_skip() {
    let under = std::env::var("LASTING_UNDER").unwrap_or_default();
    let under: Vec<_> = under.split_whitespace().collect();
    let mut system = System::reserve_with(&["--data", "data"]).under(&under);
    system.start_broker();
    system.publish_batch("t", (0..80).map(|number| number.to_string()));
    let rounds = std::env::var("LASTING_ROUNDS").map_or(12, |rounds| rounds.parse().unwrap());
    for round in 0..rounds {
        let mut raw = Raw::connect(&system.address());
        let subscribe = r#"{"command":"subscribe","topic":"t","subscriber":"ann","from":5}"#;
        assert!(ask(&mut raw, subscribe).contains("\"next\":5"), "round {round}");
        for offset in 5..80 {
            assert!(raw.line().contains(&format!("\"offset\":{offset},")));
        }
        let acknowledge = r#"{"command":"ack","topic":"t","subscriber":"ann","offset":69}"#;
        assert!(ask(&mut raw, acknowledge).contains("success"));
        // Some kills come before the acknowledgement is kept, some after.
        std::thread::sleep(std::time::Duration::from_millis(100 * (round % 12)));
        let unsubscribe = r#"{"command":"unsubscribe","topic":"t","subscriber":"ann"}"#;
        assert!(ask(&mut raw, unsubscribe).contains("success"));
        if round % 2 == 0 {
            assert!(ask(&mut raw, subscribe).contains("\"next\":5"), "round {round}");
        }
        system.restart_broker();
    }
}

#[test]
fn a_subscription_ends_with_its_topic() {
    let system = System::start();
    system.publish("t", "old");
    let mut raw = Raw::connect(&system.address());
    let subscribe = r#"{"command":"subscribe","topic":"t","subscriber":"ann","from":0}"#;
    assert!(ask(&mut raw, subscribe).contains("\"next\":0"));
    drop(raw);
    assert_eq!(system.request("DELETE", "/topics/t", "").status, 204);
    system.publish_batch("t", ["a", "b", "c"].iter());
    let mut raw = Raw::connect(&system.address());
    let subscribe = r#"{"command":"subscribe","topic":"t","subscriber":"ann"}"#;
    assert!(ask(&mut raw, subscribe).contains("\"next\":3"), "it begins where the topic ends");
}

/// While the topic lets go: no message is missing without a word, and none is out of order.
#[test]
fn a_subscriber_that_falls_behind_is_told_where_it_goes_on() {
    let system = System::start_with(&["--keep-messages", "50"]);
    let mut raw = Raw::connect(&system.address());
    let subscribed = ask(&mut raw, r#"{"command":"subscribe","topic":"t"}"#);
    assert!(subscribed.contains("\"next\":0"), "{subscribed}");
    let text = "x".repeat(20_000);
    let total = 1000;
    for begin in (0..total).step_by(50) {
        // It does not read meanwhile, and its socket takes less than all of it.
        system.publish_batch("t", (begin..begin + 50).map(|number| format!("{number} {text}")));
    }
    let (mut next, mut jumps) = (0, 0);
    while next < total {
        let line = raw.line();
        let event = common::json::parse(line.as_bytes()).unwrap();
        let number = |key| event.get(key).and_then(Value::as_u64);
        match event.get("event").and_then(Value::as_str) {
            Some("trimmed") => {
                let first = number("next").unwrap();
                assert!(first > next, "{first} is not behind {next}");
                (next, jumps) = (first, jumps + 1);
            }
            Some("message") => {
                assert_eq!(number("offset"), Some(next));
                let message = event.get("message").and_then(Value::as_str).unwrap();
                assert!(message.starts_with(&format!("{next} ")));
                next += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(jumps > 0, "it never fell behind");
}
