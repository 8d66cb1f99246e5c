//! Pushed messages: the JSON and text doors, slow subscribers, and races.

use common::json::{self, Value};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;
use tests::System;
use tests::raw::Raw;
use tests::wait::{DEADLINE, wait_until};

/// A session that has subscribed to `topic` in the dialect of topics, from offset `from`.
fn follow(system: &System, topic: &str, from: u64) -> Raw {
    let mut session = Raw::connect(&system.address());
    session.send(format!("{{\"command\":\"subscribe\",\"topic\":\"{topic}\",\"from\":{from}}}"));
    let answer = session.line();
    assert!(answer.contains("Subscribed to topic"), "{answer}");
    session
}

/// The offset and message of a pushed line.
fn pushed(line: &str) -> (u64, String) {
    let object = json::parse(line.as_bytes()).unwrap();
    assert_eq!(object.get("event").and_then(Value::as_str), Some("message"), "{line}");
    let message = object.get("message").and_then(Value::as_str).unwrap();
    (object.get("offset").and_then(Value::as_u64).unwrap(), message.to_owned())
}

#[test]
fn channels_are_answered_and_pushed_as_their_clients_expect() {
    let system = System::start();
    let mut first = Raw::connect(&system.address());
    first.send("{\"command\":\"SUBSCRIBE\",\"args\":{\"channel\":\"foo\"}}");
    assert_eq!(first.line(), "{\"type\":\"SUBSCRIBE\",\"channel\":\"foo\",\"count\":1}");
    let mut second = Raw::connect(&system.address());
    second.send("{\"command\":\"subscribe\",\"channel\":\"foo\"}\n");
    assert_eq!(second.line(), "{\"type\":\"SUBSCRIBE\",\"channel\":\"foo\",\"count\":2}");
    second.send("{\"command\":\"Subscribe\",\"channel\":\"foo\"}");
    assert_eq!(second.line(), "{\"type\":\"SUBSCRIBE\",\"channel\":\"foo\",\"count\":2}");
    // Not answered, and heard by whoever said it.
    second.send("{\"command\":\"PUBLISH\",\"args\":{\"channel\":\"foo\",\"message\":\"h\u{e9}\"}}");
    let message = "{\"type\":\"MESSAGE\",\"channel\":\"foo\",\"message\":\"h\\u00e9\"}";
    assert_eq!((first.line(), second.line()), (message.to_owned(), message.to_owned()));
    second.send("{\"command\":\"UNSUBSCRIBE\",\"args\":{\"channel\":\"foo\"}}");
    assert_eq!(second.line(), "{\"type\":\"UNSUBSCRIBE\",\"channel\":\"foo\",\"count\":1}");
    second.send("{\"command\":\"nothing\"}{\"command\":\"PUBLISH\",\"channel\":\"foo\"}");
    assert_eq!(second.line(), "{\"type\":\"ERROR\",\"error\":\"Unknown command\"}");
    assert_eq!(second.line(), "{\"type\":\"ERROR\",\"error\":\"'message' is missing\"}");
    second.send("{\"command\":}");
    assert_eq!(second.line(), "{\"type\":\"ERROR\",\"error\":\"Invalid JSON format\"}");
    second.end();
}

#[test]
fn objects_need_no_line_breaks_and_may_be_split_anywhere() {
    let system = System::start();
    let commands = "{\"command\":\"create_topic\",\"topic\":\"a\"} {\"command\":\"publish\",\
        \"topic\":\"a\",\"message\":\"\u{1F600}{\\\"}\"}\n\n{\"command\":\"pull\",\"topic\":\"a\"}";
    let mut session = Raw::connect(&system.address());
    for byte in commands.bytes() {
        session.send([byte]);
        thread::sleep(Duration::from_micros(100));
    }
    assert!(session.line().contains("Topic 'a' created"));
    assert!(session.line().contains("\"offset\":0,\"appended\":1"));
    assert!(session.line().contains("\"messages\":[\"\\ud83d\\ude00{\\\"}\"],\"next\":1"));
}

#[test]
fn thousands_of_commands_in_one_packet_are_answered_in_order() {
    let system = System::start();
    let mut session = Raw::connect(&system.address());
    let command = "{\"command\":\"publish\",\"topic\":\"a\",\"message\":\"x\"}";
    session.send(command.repeat(5000));
    for offset in 0..5000 {
        assert!(session.line().contains(&format!("\"offset\":{offset},")));
    }
}

#[test]
fn what_came_before_the_end_of_input_is_answered() {
    let system = System::start();
    let mut session = Raw::connect(&system.address());
    session.send("{\"command\":\"publish\",\"topic\":\"a\",\"message\":\"x\"}");
    session.end_sending();
    assert!(session.line().contains("Message published on topic 'a'"));
    session.end();
    let mut session = Raw::connect(&system.address());
    session.send("PUBLISH a no line break me");
    session.end_sending();
    session.end();
    assert_eq!(system.messages("a"), ["x", "no line break"]);
}

#[test]
fn every_door_sees_what_any_other_published() {
    let system = System::start();
    let mut json = follow(&system, "t", 0);
    let mut channel = Raw::connect(&system.address());
    channel.send("{\"command\":\"SUBSCRIBE\",\"args\":{\"channel\":\"t\"}}");
    channel.line();
    let mut text = Raw::connect(&system.address());
    text.send("SUBSCRIBE t ann\n");
    text.send("PUBLISH t from text bob\n");
    assert!(text.line().starts_with("DELIVER t from text bob 2"));
    system.publish("t", "from http");
    let expected = ["from text", "from http"];
    for (offset, message) in (0..).zip(expected) {
        assert_eq!(pushed(&json.line()), (offset, message.to_owned()));
        assert!(channel.line().ends_with(&format!("\"message\":\"{message}\"}}")));
    }
    assert!(text.line().starts_with("DELIVER t from http - 2"));
    // Only now: a session's own answer may overtake what another's thread has yet to push.
    channel.send("{\"command\":\"PUBLISH\",\"args\":{\"channel\":\"t\",\"message\":\"channel\"}}");
    json.send("{\"command\":\"publish\",\"topic\":\"t\",\"message\":\"topic\"}");
    wait_until(DEADLINE, "both are published", || system.messages("t").len() == 4);
}

#[test]
fn a_text_subscription_belongs_to_its_id_and_outlives_the_connection() {
    let system = System::start();
    let mut session = Raw::connect(&system.address());
    session.send("SUBSCRIBE a ann\nSUBSCRIBE b ann\nPUBLISH a one ann\n");
    assert!(session.line().starts_with("DELIVER a one ann "));
    session.end_sending();
    session.end();
    system.publish("b", "away");
    system.publish("a", "two");
    let mut session = Raw::connect(&system.address());
    session.send("SUBSCRIBE c ann\n");
    let mut lines = [session.line(), session.line()];
    lines.sort();
    assert!(lines[0].starts_with("DELIVER a two - "), "{lines:?}");
    assert!(lines[1].starts_with("DELIVER b away - "), "{lines:?}");
    session.send("UNSUBSCRIBE a ann\nHELLO\n");
    assert!(session.line().starts_with("ERROR "));
    system.publish("a", "three");
    system.publish("c", "four");
    assert!(session.line().starts_with("DELIVER c four - "));
}

/// A connection has one subscription to a topic, and is sent each message once.
#[test]
fn a_second_name_on_a_connection_has_a_lasting_subscription_of_its_own() {
    let system = System::start();
    system.publish("a", "before");
    let mut both = Raw::connect(&system.address());
    both.send("SUBSCRIBE a ann\nSUBSCRIBE a bob\nHELLO\n");
    assert!(both.line().starts_with("ERROR "));
    system.publish("a", "one");
    assert!(both.line().starts_with("DELIVER a one "));
    both.end_sending();
    both.end();
    system.publish("a", "two");
    for (id, messages) in [("bob", &["one", "two"][..]), ("ann", &["two"])] {
        let mut session = Raw::connect(&system.address());
        session.send(format!("SUBSCRIBE a {id}\n"));
        for message in messages {
            let line = session.line();
            assert!(line.starts_with(&format!("DELIVER a {message} ")), "{id}: {line}");
        }
    }

    let mut json = Raw::connect(&system.address());
    for name in ["joe", "kim"] {
        json.send(format!(
            "{{\"command\":\"subscribe\",\"topic\":\"a\",\"subscriber\":\"{name}\"}}"
        ));
        assert!(json.line().contains("\"next\":3"));
    }
    system.publish("a", "three");
    assert_eq!(pushed(&json.line()).0, 3);
    let mut kim = Raw::connect(&system.address());
    kim.send("{\"command\":\"subscribe\",\"topic\":\"a\",\"subscriber\":\"kim\"}");
    assert!(kim.line().contains("\"next\":3"));
    assert_eq!(pushed(&kim.line()), (3, "three".to_owned()));
}

#[test]
fn a_lasting_subscription_is_ended_by_its_name_on_any_connection() {
    let system = System::start();
    let mut text = Raw::connect(&system.address());
    text.send("SUBSCRIBE a ann\nUNSUBSCRIBE a bob\nPUBLISH a one ann\n");
    assert!(text.line().starts_with("DELIVER a one ann "), "it is not bob's");
    let mut json = Raw::connect(&system.address());
    json.send("{\"command\":\"subscribe\",\"topic\":\"a\",\"subscriber\":\"joe\"}");
    assert!(json.line().contains("Subscribed to topic 'a'"));

    let mut other = Raw::connect(&system.address());
    other.send("UNSUBSCRIBE a ann\nHELLO\n");
    assert!(other.line().starts_with("ERROR "));
    let mut other = Raw::connect(&system.address());
    other.send("{\"command\":\"unsubscribe\",\"topic\":\"a\",\"subscriber\":\"joe\"}");
    assert!(other.line().contains("Unsubscribed from topic 'a'"));
    system.publish("a", "two");
    assert!(text.line().starts_with("ERROR ann is not subscribed to a "));
    text.send("HELLO\n");
    assert!(text.line().starts_with("ERROR expected "));
    assert!(json.line().starts_with("{\"event\":\"unsubscribed\",\"topic\":\"a\""));
    json.send("{\"command\":\"unsubscribe\",\"topic\":\"a\"}");
    assert!(json.line().contains("Not subscribed to topic 'a'"));
}

#[test]
fn a_named_subscription_goes_on_behind_what_it_acknowledged() {
    let system = System::start();
    system.publish("a", "before");
    let subscribe = "{\"command\":\"subscribe\",\"topic\":\"a\",\"subscriber\":\"ann\"}";
    let mut session = Raw::connect(&system.address());
    session.send(subscribe);
    assert!(session.line().contains("\"next\":1"));
    for message in ["one", "two", "three"] {
        system.publish("a", message);
        assert_eq!(pushed(&session.line()).1, message);
    }
    session.send("{\"command\":\"ack\",\"topic\":\"a\",\"subscriber\":\"ann\",\"offset\":2}");
    assert!(session.line().contains("Acknowledged"));
    let mut newer = Raw::connect(&system.address());
    newer.send(subscribe);
    assert!(newer.line().contains("\"next\":3"));
    assert_eq!(pushed(&newer.line()), (3, "three".to_owned()));
    // The newest connection of a name has it.
    system.publish("a", "four");
    assert_eq!(pushed(&newer.line()), (4, "four".to_owned()));
    assert!(session.line().starts_with("{\"event\":\"unsubscribed\",\"topic\":\"a\""));
    assert!(session.is_silent());
    newer.send("{\"command\":\"unsubscribe\",\"topic\":\"a\",\"subscriber\":\"ann\"}");
    assert!(newer.line().contains("Unsubscribed from topic 'a'"));
    newer.send(subscribe);
    assert!(newer.line().contains("\"next\":5"), "it begins anew");
}

#[test]
fn a_cursor_of_another_list_is_told_so() {
    let system = System::start();
    let mut session = follow(&system, "a", 0);
    system.publish("a", "one");
    assert_eq!(pushed(&session.line()).1, "one");
    let summary = system.get("/topics/a");
    let stream = summary.json().get("stream").and_then(Value::as_str).unwrap().to_owned();
    assert_eq!(system.request("DELETE", "/topics/a", "").status, 204);
    assert_eq!(session.line(), "{\"event\":\"deleted\",\"topic\":\"a\"}");
    system.publish("a", "two");
    assert!(session.line().starts_with("{\"event\":\"reset\",\"topic\":\"a\",\"next\":0"));
    assert_eq!(pushed(&session.line()), (0, "two".to_owned()));
    let mut late = Raw::connect(&system.address());
    late.send(format!(
        "{{\"command\":\"subscribe\",\"topic\":\"a\",\"from\":1,\"stream\":\"{stream}\"}}"
    ));
    assert!(late.line().contains("\"code\":410"));
}

/// The race is between a subscription's look at the end of the list and the publisher's look at
/// the listeners.
#[test]
fn subscribing_while_others_publish_gives_each_message_exactly_once() {
    let rounds: u64 = System::scaled(10_000);
    let system = System::start();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut publisher = Raw::connect(&system.address());
            let command = "{\"command\":\"publish\",\"topic\":\"race\",\"message\":\"x\"}";
            for _ in 0..rounds {
                publisher.send(command);
                publisher.line();
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut session = Raw::connect(&system.address());
                let mut last = 0;
                for _ in 0..rounds / 2 {
                    session.send("{\"command\":\"subscribe\",\"topic\":\"race\"}");
                    let answer = session.line();
                    let answer = json::parse(answer.as_bytes()).unwrap();
                    let mut next = answer.get("next").and_then(Value::as_u64).unwrap();
                    assert!(next >= last, "a subscription went back");
                    session.send("{\"command\":\"unsubscribe\",\"topic\":\"race\"}");
                    loop {
                        let line = session.line();
                        if line.contains("Unsubscribed") {
                            break;
                        }
                        assert_eq!(pushed(&line).0, next);
                        next += 1;
                    }
                    last = next;
                }
            });
        }
    });
    let mut session = follow(&system, "race", 0);
    for offset in 0..rounds {
        assert_eq!(pushed(&session.line()).0, offset);
    }
}

/// Publishers know a subscription by its index, which is another's when it has ended.
#[test]
fn a_subscription_beside_others_that_come_and_go_gets_each_message_exactly_once() {
    let rounds: u64 = System::scaled(5_000);
    let system = System::start();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut publisher = Raw::connect(&system.address());
            for round in 0..rounds {
                for topic in ["kept".to_owned(), format!("passing-{}", round % 3)] {
                    publisher.send(format!(
                        "{{\"command\":\"publish\",\"topic\":\"{topic}\",\"message\":\"x\"}}"
                    ));
                    publisher.line();
                }
            }
        });
        for first in 0..2 {
            let system = &system;
            scope.spawn(move || {
                let mut session = follow(system, "kept", 0);
                let mut next = 0;
                let mut commands = (first..).flat_map(|round| {
                    [("subscribe", 0), ("subscribe", 1), ("unsubscribe", 0), ("unsubscribe", 1)]
                        .map(|(command, index)| (command, (round + index) % 3))
                });
                while next < rounds {
                    let (command, index) = commands.next().unwrap();
                    session.send(format!(
                        "{{\"command\":\"{command}\",\"topic\":\"passing-{index}\"}}"
                    ));
                    loop {
                        let line = session.line();
                        if line.contains("\"status\":\"success\"") {
                            break;
                        }
                        if line.contains("\"topic\":\"kept\"") {
                            assert_eq!(pushed(&line).0, next);
                            next += 1;
                        }
                    }
                }
            });
        }
    });
}

#[test]
fn a_subscriber_that_stops_reading_is_kept_and_delays_nobody() {
    const MESSAGES: u64 = 20_000;
    let system = System::start();
    let mut slow = follow(&system, "wide", 0);
    let mut quick: Vec<Raw> = (0..20).map(|_| follow(&system, "wide", 0)).collect();
    // Together far more than sockets take.
    let message = "x".repeat(1000);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..MESSAGES / 100 {
                system.publish_batch("wide", std::iter::repeat_n(&message, 100));
            }
        });
        for session in &mut quick {
            scope.spawn(|| {
                for offset in 0..MESSAGES {
                    assert_eq!(pushed(&session.line()).0, offset);
                }
            });
        }
    });
    for offset in 0..MESSAGES {
        assert_eq!(pushed(&slow.line()).0, offset);
    }
    // It is served as any other again.
    system.publish("wide", "last");
    assert_eq!(pushed(&slow.line()), (MESSAGES, "last".to_owned()));
}

/// The broker has no thread to spare for more than a few who do not read: the longest stalled one
/// makes way, and everybody who reads gets everything.
#[test]
fn many_sessions_that_stop_reading_at_once_do_not_stop_the_broker() {
    let system = System::start();
    let deaf: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = TcpStream::connect(system.address()).unwrap();
            stream.write_all(b"{\"command\":\"subscribe\",\"topic\":\"loud\"}").unwrap();
            stream.read_exact(&mut [0; 10]).unwrap();
            stream
        })
        .collect();
    let mut session = follow(&system, "loud", 0);
    let message = "x".repeat(100_000);
    for _ in 0..60 {
        system.publish("loud", &message);
    }
    for offset in 0..60 {
        assert_eq!(pushed(&session.line()).0, offset);
    }
    for stream in &deaf {
        stream.set_nonblocking(true).unwrap();
        let error = stream.peek(&mut [0]).map_or_else(|error| error.kind(), |_| ErrorKind::Other);
        assert_ne!(error, ErrorKind::ConnectionReset);
    }
}

#[test]
fn errors_of_the_dialect_of_topics_are_those_that_its_clients_know() {
    let system = System::start();
    let mut session = Raw::connect(&system.address());
    for (command, answer) in [
        ("{\"command\":\"create_topic\",\"topic\":\"X\"}", "Topic 'X' created"),
        ("{\"command\":\"create_topic\",\"topic\":\"X\"}", "Topic already exists"),
        ("{\"command\":\"pull\",\"topic\":\"Y\"}", "Topic 'Y' not found"),
        ("{\"command\":\"pull\",\"topic\":\"X\"}", "\"messages\":[]"),
        ("{\"command\":\"pull\",\"topic\":\"X\",\"from\":1}", "offset 1 is past the end"),
        (
            "{\"command\":\"ack\",\"topic\":\"X\",\"subscriber\":\"ann\",\"offset\":0}",
            "offset 0 is past the end",
        ),
        ("{\"command\":\"unsubscribe\",\"topic\":\"X\"}", "Not subscribed to topic 'X'"),
        ("{\"command\":\"subscribe\",\"topic\":\"X\"}", "Subscribed to topic 'X'"),
        ("{\"command\":\"unsubscribe\",\"topic\":\"X\"}", "Unsubscribed from topic 'X'"),
        ("{\"command\":\"delete_topic\",\"topic\":\"X\"}", "Topic 'X' deleted"),
        ("{\"command\":\"delete_topic\",\"topic\":\"X\"}", "Topic does not exist"),
        ("{\"command\":\"query_topic\",\"topic\":\"X\"}", "Topic not found"),
        ("{\"command\":\"fly\",\"topic\":\"X\"}", "Unknown command"),
        ("{\"no\":\"command\"}", "Unknown command"),
        ("[]", "Invalid JSON format"),
    ] {
        session.send(command);
        let line = session.line();
        assert!(line.contains(answer), "{command} was answered {line}");
    }
}
