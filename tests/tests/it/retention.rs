//! What a topic keeps, and how readers are told that messages are gone.

use common::crc32::crc32;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tests::System;
use tests::raw::{Answer, Raw, metric};
use tests::wait::wait_until;

/// How long anything may take here.
const DEADLINE: Duration = Duration::from_secs(20);

/// Publishes `0` to `count - 1`, each alone.
fn publish(system: &System, topic: &str, count: u64) {
    (0..count).for_each(|number| system.publish(topic, &number.to_string()));
}

/// A number or a text in the topic's own description.
fn shown(system: &System, topic: &str, field: &str) -> String {
    let answer = system.get(&format!("/topics/{topic}"));
    let text = answer.text();
    let (_, after) = text.split_once(&format!("\"{field}\":")).expect(text);
    after.split([',', '}']).next().unwrap_or_default().trim_matches('"').to_owned()
}

/// Looks where a topic begins: at once, but before a cluster. What that lets go of by itself is
/// heard of after the publish was answered.
#[track_caller]
fn assert_begins(system: &System, topic: &str, first: &str) {
    let deadline = if System::nats().is_some() { DEADLINE } else { Duration::ZERO };
    wait_until(deadline, "the trim", || shown(system, topic, "first") == first);
}

#[track_caller]
fn assert_trimmed(answer: &Answer, first: u64, next: u64) {
    assert_eq!(answer.status, 410, "{answer:?}");
    assert_eq!(answer.number("stream-first-offset"), first);
    assert_eq!(answer.number("stream-next-offset"), next);
}

#[test]
fn a_topic_keeps_so_many_messages_and_says_where_it_begins() {
    let system = System::start_with(&["--keep-messages", "3"]);
    publish(&system, "t", 10);
    assert_begins(&system, "t", "7");
    let answer = system.get("/messages?topic=t");
    assert_eq!((answer.status, answer.text()), (200, "7\n8\n9\n"));
    assert_eq!(answer.number("stream-first-offset"), 7);
    assert_eq!(answer.number("stream-next-offset"), 10);
    for from in [0, 6] {
        assert_trimmed(&system.get(&format!("/messages?topic=t&from={from}")), 7, 10);
    }
    assert_eq!(system.get("/messages?topic=t&from=8").text(), "8\n9\n");
    for (field, value) in
        [("first", "7"), ("next", "10"), ("messages", "3"), ("bytes", "6"), ("keep_messages", "3")]
    {
        assert_eq!(shown(&system, "t", field), value, "{field}");
    }
    let all: String = (0..10).map(|number| format!("{number}\n")).collect();
    assert_eq!(shown(&system, "t", "digest"), format!("{:08x}", crc32(all.as_bytes())));
    let digest = crc32("0\n1\n2\n3\n4\n5\n6\n7\n".as_bytes());
    let target = format!("/messages?topic=t&from=8&digest={digest:08x}");
    assert_eq!(system.get(&target).text(), "8\n9\n");
    assert!(system.get("/metrics").text().contains("broker_trimmed_messages_total 7\n"));
}

#[test]
fn a_batch_that_is_larger_than_a_bound_is_stored_and_then_trimmed() {
    let system = System::start_with(&["--keep-messages", "3", "--keep-bytes", "100"]);
    system.publish_batch("count", (0..1000).map(|number| number.to_string()));
    assert_begins(&system, "count", "997");
    assert_eq!(system.get("/messages?topic=count").text(), "997\n998\n999\n");
    let long = "x".repeat(60);
    system.publish_batch("size", (0..5).map(|number| format!("{number}{long}")));
    assert_begins(&system, "size", "4");
    assert_eq!(system.get("/messages?topic=size").text(), format!("4{long}\n"));
    let longer = "x".repeat(1000);
    system.publish("size", &longer);
    assert_begins(&system, "size", "5");
    assert_eq!(system.get("/messages?topic=size").text(), format!("{longer}\n"), "the newest");
}

#[test]
fn a_bound_that_is_given_later_is_in_force_at_once() {
    let system = System::start();
    publish(&system, "t", 10);
    let put = |body: &str| system.request("PUT", "/topics/t", body);
    let answer = put(r#"{"keep_messages":4}"#);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(shown(&system, "t", "first"), "6");
    assert_eq!(put(r#"{"keep_bytes":"1K","keep_for":"7d"}"#).status, 200);
    let bounds = |field| shown(&system, "t", field);
    assert_eq!(bounds("keep_messages"), "4", "what is not named stays");
    assert_eq!((bounds("keep_bytes"), bounds("keep_for")), ("1024".to_owned(), "7d".to_owned()));
    assert_eq!(put(r#"{"keep_messages":null}"#).status, 200);
    assert_eq!(bounds("keep_messages"), "null");
    publish(&system, "t", 10);
    assert_eq!(bounds("messages"), "14");
    for bad in [r#"{"keep_messages":0}"#, r#"{"keep_for":"soon"}"#, "{", "[]x"] {
        assert!((400..=415).contains(&put(bad).status), "{bad}");
    }
    assert_eq!(bounds("messages"), "14");
}

#[test]
fn messages_are_let_go_by_hand_before_an_offset_or_a_time() {
    let system = System::start();
    publish(&system, "t", 10);
    let delete = |query: &str| system.request("DELETE", &format!("/topics/t/messages{query}"), "");
    let answer = delete("?before=4");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.text().contains(r#""first":4,"next":10,"messages":6"#), "{answer:?}");
    assert_eq!(delete("?before=2").status, 200, "gone already");
    assert_eq!(shown(&system, "t", "first"), "4");
    assert_eq!(delete("?before=11").status, 416);
    assert_eq!(delete("?before=x").status, 400);
    assert_eq!(delete("?before=1&before_time=1").status, 400);
    for long_ago in ["1", "10m", "2026-01-01T00:00:00Z"] {
        assert_eq!(delete(&format!("?before_time={long_ago}")).status, 200, "{long_ago}");
    }
    assert_eq!(delete("?before_time=soon").status, 400);
    assert_eq!(shown(&system, "t", "first"), "4");
    assert_eq!(delete("?before_time=99999999999999").status, 200);
    assert_eq!(shown(&system, "t", "first"), "10");
    assert_eq!(system.get("/messages?topic=t").text(), "");
    system.publish("t", "more");
    assert_eq!(system.get("/messages?topic=t&from=10").text(), "more\n");
    let unknown = system.request("DELETE", "/topics/nothing/messages?before=1", "");
    assert_eq!(unknown.status, 404);
}

#[test]
fn messages_go_when_they_are_old() {
    let system = System::start_with(&["--keep-for", "1s"]);
    publish(&system, "t", 5);
    wait_until(DEADLINE, "the old messages are gone", || shown(&system, "t", "first") == "4");
    system.publish("t", "new");
    wait_until(DEADLINE, "the newest message stays alone", || shown(&system, "t", "first") == "5");
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(system.get("/messages?topic=t").text(), "new\n");
}

/// Where it begins and where it ends are looked at while both move on.
#[test]
fn a_read_is_answered_while_the_oldest_messages_go() {
    let mut system = System::reserve_with(&["--keep-messages", "2"]).alone();
    system.start_broker();
    system.publish("t", "first");
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut publisher = Raw::connect(&system.address());
                // Not for ever, where the reader fails.
                for _ in (0..10_000).take_while(|_| !is_over.load(Ordering::Relaxed)) {
                    (0..20).for_each(|_| publisher.request("POST", "/topics/t", "text\n"));
                    (0..20).for_each(|_| assert_eq!(publisher.answer().status, 200));
                }
            });
        }
        let mut reader = Raw::connect(&system.address());
        for from in ["", "&from=-2", "&since=1h"].iter().cycle().take(6000) {
            reader.request("GET", &format!("/messages?topic=t{from}"), "");
            let answer = reader.answer();
            assert_eq!(answer.status, 200, "{from}: {answer:?}");
        }
        let mut session = Raw::connect(&system.address());
        for from in ["", ",\"from\":-2"].iter().cycle().take(6000) {
            session.send(format!("{{\"command\":\"pull\",\"topic\":\"t\"{from}}}\n"));
            let answer = session.line();
            assert!(answer.contains("\"messages\":[\"text"), "{from}: {answer}");
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

/// They share syncs: one for each topic would take longer than its messages live.
#[test]
fn messages_of_thousands_of_topics_go_when_they_are_old() {
    const TOPICS: u32 = 4000;
    let mut system = System::reserve_with(&["--data", "data", "--keep-for", "1s"]).alone();
    system.start_broker();
    let mut session = BufReader::new(TcpStream::connect(system.address()).unwrap());
    let publish = |topic: u32| {
        format!(r#"{{"command":"publish","topic":"{topic}","messages":["old","new"]}}"#)
    };
    let text: String = (0..TOPICS).map(publish).collect();
    session.get_ref().write_all(text.as_bytes()).unwrap();
    for _ in 0..TOPICS {
        let mut answer = String::new();
        session.read_line(&mut answer).unwrap();
        assert!(answer.contains("success"), "{answer}");
    }
    let count = |name: &str| metric(&system.address(), name);
    let trimmed = || count("broker_trimmed_messages_total");
    let writes = || count("broker_journal_commit_duration_seconds_count");
    let (trimmed_before, writes_before) = (trimmed(), writes());
    let all = f64::from(TOPICS);
    wait_until(DEADLINE, "all old messages to go", || trimmed() >= all);
    let (gone, written) = (all - trimmed_before, writes() - writes_before);
    assert!(written < 10.0 + gone / 10.0, "{written} writes for {gone} topics");
}

/// A proxy may speak HTTP/1.0, where nothing but the end of the connection ends such an answer.
#[test]
fn an_answer_without_a_length_that_is_cut_off_ends_within_a_line() {
    let system = System::start();
    let line = "x".repeat(10_000);
    (0..20).for_each(|_| system.publish_batch("t", (0..100).map(|_| &line)));
    let mut stream = TcpStream::connect(system.address()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let head = "GET /messages?topic=t&format=json HTTP/1.0\r\nHost: localhost\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    // So that the broker waits for room in the socket while the rest is let go.
    thread::sleep(Duration::from_millis(500));
    assert_eq!(system.request("DELETE", "/topics/t/messages?before=2000", "").status, 200);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.len() > 100_000 && answer.len() < 20_000_000, "{} bytes", answer.len());
    assert_ne!(answer.last(), Some(&b'\n'));
}

#[test]
fn the_last_messages_and_those_since_a_time_are_found() {
    let system = System::start();
    publish(&system, "t", 10);
    assert_eq!(system.get("/messages?topic=t&from=-3").text(), "7\n8\n9\n");
    assert_eq!(system.get("/messages?topic=t&from=-0").text(), "");
    let _ = system.request("DELETE", "/topics/t/messages?before=8", "");
    assert_eq!(system.get("/messages?topic=t&from=-3").text(), "8\n9\n");
    assert_eq!(system.get("/messages?topic=t&since=0").text(), "8\n9\n");
    assert_eq!(system.get("/messages?topic=t&since=99999999999999").text(), "");
}

#[test]
fn a_repeated_number_whose_message_is_gone_is_a_duplicate_without_an_offset() {
    let system = System::start_with(&["--keep-messages", "2"]);
    let publish = |sequence: u64| {
        let body = format!(
            r#"{{"topic":"t","message":"{sequence}","publisher":"ann","epoch":7,"sequence":{sequence}}}"#
        );
        system.request("POST", "/publish", body)
    };
    (0..5).for_each(|sequence| assert_eq!(publish(sequence).status, 200));
    let gone = publish(1).text().to_owned();
    assert!(gone.contains(r#""duplicate":true"#) && !gone.contains("offset"), "{gone}");
    let there = publish(4).text().to_owned();
    assert!(there.contains(r#""duplicate":true"#) && there.contains(r#""offset":4"#), "{there}");
    assert_eq!(publish(6).status, 409);
    assert_eq!(publish(5).status, 200);
}

#[test]
fn a_json_session_lets_go_and_is_told_what_is_gone() {
    let system = System::start();
    publish(&system, "t", 10);
    let mut stream = TcpStream::connect(system.address()).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut ask = |command: &str| {
        stream.write_all(command.as_bytes()).unwrap();
        lines.next().unwrap().unwrap()
    };
    let answer = ask(r#"{"command":"trim_topic","topic":"t","before":6}"#);
    assert!(answer.contains("Topic 't' trimmed"), "{answer}");
    assert!(answer.contains(r#""first":6,"next":10"#), "{answer}");
    for command in ["pull", "subscribe"] {
        let answer = ask(&format!(r#"{{"command":"{command}","topic":"t","from":5}}"#));
        assert!(answer.contains("\"error\"") && answer.contains(r#""code":410"#), "{answer}");
        assert!(answer.contains(r#""first":6"#), "{answer}");
    }
    let answer = ask(r#"{"command":"pull","topic":"t"}"#);
    assert!(answer.contains(r#"["6","7","8","9"]"#), "{answer}");
    let answer = ask(r#"{"command":"trim_topic","topic":"nothing","before":6}"#);
    assert!(answer.contains("Topic 'nothing' not found"), "{answer}");
    let answer = ask(r#"{"command":"create_topic","topic":"u","keep_messages":2}"#);
    assert!(answer.contains("Topic 'u' created"), "{answer}");
    publish(&system, "u", 5);
    assert_eq!(system.get("/messages?topic=u").text(), "3\n4\n");
}

#[test]
fn bounds_make_room_before_a_full_store_refuses() {
    let system = System::start_with(&["--max-memory", "1000000", "--keep-messages", "4000"]);
    let long = "x".repeat(80);
    for _ in 0..200 {
        system.publish_batch("t", (0..100).map(|_| long.as_str()));
    }
    assert_eq!(shown(&system, "t", "next"), "20000");
    assert_eq!(shown(&system, "t", "messages"), "4000");
}
