//! The log: who did what, and how it ended.

use crate::brokers::{ask, succeed};
use tests::System;
use tests::raw::Raw;
use tests::wait::{DEADLINE, wait_until};

/// The lines of a broker's log file without their times and ports.
fn lines(broker: &mut System) -> Vec<String> {
    let text = String::from_utf8(broker.broker().folder().read("log.txt")).unwrap();
    let action = |line: &str| {
        let (date, rest) = line.split_at_checked("2026-11-21 05:20:07.341Z ".len()).unwrap();
        assert!(date.ends_with("Z ") && date.is_ascii(), "{line}");
        let (client, rest) = rest.split_once(' ').unwrap();
        assert!(client.starts_with("127.0.0.1:"), "{line}");
        rest.to_owned()
    };
    text.lines().map(action).collect()
}

#[test]
fn every_action_is_a_line_that_nobody_can_forge() {
    let mut broker = System::start_with(&["--log", "log.txt"]);
    succeed(&broker, "{\"command\":\"create_topic\",\"topic\":\"a\"}");
    ask(&broker, "{\"command\":\"create_topic\",\"topic\":\"a\"}");
    let mut raw = Raw::connect(&broker.address());
    raw.send("{\"command\":\"subscribe\",\"topic\":\"\u{e9}\\\" ok\"}");
    raw.line();
    raw.end_sending();
    raw.end();
    broker.publish_batch("a", ["one", "two"].iter());
    assert_eq!(broker.request("DELETE", "/topics/a", "").status, 204);
    let peer = "\"host\":\"peer\",\"port\":1";
    let mut raw = Raw::connect(&broker.address());
    raw.send(format!("{{\"command\":\"register_peer\",{peer},\"present\":true}}"));
    raw.line();
    raw.end_sending();
    raw.end();
    succeed(&broker, &format!("{{\"command\":\"unregister_peer\",{peer}}}"));
    let expected = [
        r#"created "a" ok"#,
        r#"created "a" refused=409 "Topic already exists""#,
        r#"subscribed "\u00e9\" ok" ok"#,
        r#"unsubscribed "\u00e9\" ok" ok"#,
        r#"published "a" messages=2 offset=0 ok"#,
        r#"deleted "a" ok"#,
        r#"registered "peer:1" ok"#,
        r#"away "peer:1" ok"#,
        r#"unregistered "peer:1" ok"#,
    ];
    wait_until(DEADLINE, "the log", || lines(&mut broker).len() >= expected.len());
    assert_eq!(lines(&mut broker), expected);
}

#[test]
fn a_peer_that_registers_again_and_again_goes_away_once() {
    let mut broker = System::start_with(&["--log", "log.txt"]);
    let mut raw = Raw::connect(&broker.address());
    let register =
        |port| format!(r#"{{"command":"register_peer","host":"a","port":{port},"present":true}}"#);
    raw.send(register(1).repeat(3) + &register(2));
    raw.send(r#"{"command":"unregister_peer","host":"a","port":2}"#);
    raw.end_sending();
    while !raw.line().contains("unregistered") {}
    raw.end();
    let registered = r#"registered "a:1" ok"#;
    let expected = [
        registered,
        registered,
        registered,
        r#"registered "a:2" ok"#,
        r#"unregistered "a:2" ok"#,
        r#"away "a:1" ok"#,
    ];
    wait_until(DEADLINE, "the log", || lines(&mut broker).len() >= expected.len());
    assert_eq!(lines(&mut broker), expected);
}

#[test]
fn what_is_forwarded_says_where_to() {
    let hub = System::start();
    let mut leaf = System::start_with(&["--upstream", &hub.address(), "--log", "-"]);
    leaf.publish("t", "one");
    let line = format!("forwarded \"t\" to=\"{}\" messages=1 offset=0 ok\n", hub.address());
    wait_until(DEADLINE, "the log", || leaf.broker().output().ends_with(&line));
}

#[test]
fn a_log_that_cannot_be_written_keeps_nobody_from_publishing() {
    let mut broker = System::start_with(&["--log", "/dev/full"]);
    broker.publish("t", "one");
    let told = "the log cannot be written";
    wait_until(DEADLINE, told, || broker.broker().errors().contains(told));
    broker.publish("t", "two");
    assert_eq!(broker.messages("t"), ["one", "two"]);
}
