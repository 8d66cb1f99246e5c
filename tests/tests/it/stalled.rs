//! Connections that ask for much and read nothing: each costs little memory, and keeps nobody
//! else waiting.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};
use tests::raw::{Raw, request};
use tests::resources::Resources;
use tests::wait::{DEADLINE, wait_until};
use tests::{System, publish_body};

/// What one connection that does not read may cost, in bytes of the process's memory.
const MEMORY_MAX: u64 = 1_000_000;

/// How many do not read.
const CONNECTIONS: usize = 30;

/// More than the kernel takes for a connection that does not read.
const SIZE: usize = 8 << 20;

/// A broker with large messages that are sent as they are, and others of which each byte takes six
/// where it is sent as JSON.
fn system() -> System {
    let system = System::start();
    publish(&system, "plain", "x", SIZE);
    publish(&system, "control", "\u{1}", SIZE / 4);
    system
}

fn publish(system: &System, topic: &str, text: &str, size: usize) {
    let line = text.repeat((1 << 20) / text.len());
    let lines = [line.as_str(); 4].join("\n");
    for _ in 0..size.div_ceil(lines.len()) {
        let answer = system.request("POST", &format!("/topics/{topic}"), &lines);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

/// Waits until no thread of the broker works, or waits for a processor, for a while. Now and then
/// one looks who is still there.
fn rest(broker: u32) {
    let works = |task: fs::DirEntry| {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|state| state.trim_start().starts_with('R'))
    };
    let mut looks = 0;
    wait_until(DEADLINE, "the broker to rest", || {
        let mut tasks = fs::read_dir(format!("/proc/{broker}/task")).unwrap().flatten();
        looks = if tasks.any(works) { 0 } else { looks + 1 };
        thread::sleep(Duration::from_millis(30));
        looks == 10
    });
}

/// Opens connections that send this and do not read, and looks at what each of them costs.
#[track_caller]
fn stall(system: &mut System, count: usize, before: u64, sent: impl AsRef<[u8]>) -> Vec<Raw> {
    let broker = system.broker().id();
    let stalled: Vec<Raw> = (0..count)
        .map(|_| {
            let mut raw = Raw::connect(&system.address());
            raw.send_as_far_as_taken(sent.as_ref());
            raw
        })
        .collect();
    stalled.iter().for_each(|raw| wait_until(DEADLINE, "an answer", || !raw.is_silent()));
    rest(broker);
    let each = Resources::of(broker).memory.saturating_sub(before) / count as u64;
    println!("{each} bytes for a connection");
    assert!(each <= MEMORY_MAX, "{each} bytes for a connection that does not read");
    stalled
}

#[test]
fn whoever_reads_a_topic_and_stops_costs_little() {
    let mut system = system();
    let before = Resources::of(system.broker().id()).memory;
    for target in [
        "/messages?topic=plain",
        "/messages?topic=control&format=json",
        "/events?topic=control&from=0",
    ] {
        drop(stall(&mut system, CONNECTIONS, before, request("GET", target, "")));
    }
}

#[test]
fn whoever_pulls_or_subscribes_and_stops_reading_costs_little() {
    let mut system = system();
    let before = Resources::of(system.broker().id()).memory;
    for command in [
        r#"{"command":"pull","topic":"control"}"#,
        r#"{"command":"subscribe","topic":"control","from":0}"#,
    ] {
        drop(stall(&mut system, CONNECTIONS, before, command.repeat(3)));
    }
}

/// Live subscribers of the formats that have no `from`.
#[test]
fn whoever_subscribes_and_does_not_read_what_comes_costs_little() {
    let mut system = System::start();
    let broker = system.broker().id();
    let before = Resources::of(broker).memory;
    let stalled: Vec<Raw> = (0..CONNECTIONS)
        .map(|number| {
            let mut raw = Raw::connect(&system.address());
            let channel = r#"{"command":"SUBSCRIBE","channel":"live"}"#.to_owned();
            raw.send(if number % 2 == 0 { channel } else { format!("SUBSCRIBE live {number}\n") });
            raw
        })
        .collect();
    let name = "broker_subscriptions";
    let is_there = || tests::raw::metric(&system.address(), name) >= CONNECTIONS as f64;
    wait_until(DEADLINE, "subscriptions", is_there);
    // Each body is there twice for a moment: as it came, and as messages.
    publish(&system, "live", "\u{1}", SIZE);
    rest(broker);
    let grown = Resources::of(broker).memory.saturating_sub(before + 2 * SIZE as u64);
    let each = grown / CONNECTIONS as u64;
    assert!(each <= MEMORY_MAX, "{each} bytes for a connection that does not read");
    drop(stalled);
}

/// Each event of a stream of many topics says where all of them stand.
#[test]
fn a_stream_of_many_topics_and_small_messages_costs_little() {
    let mut system = System::start();
    let topics: Vec<String> = (0..200).map(|number| format!("t{number}")).collect();
    for topic in &topics {
        system.publish_batch(topic, (0..20).map(|number| number.to_string()));
    }
    system.publish_batch("t0", (0..20_000).map(|number| number.to_string()));
    let query: String = topics.iter().map(|topic| format!("&topic={topic}")).collect();
    let target = format!("/events?from=0{query}");
    let before = Resources::of(system.broker().id()).memory;
    drop(stall(&mut system, CONNECTIONS / 2, before, request("GET", &target, "")));
}

/// Long names, of which each character takes six bytes in ASCII.
fn names(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("{}{number:05}", "\u{e9}".repeat(120)))
}

#[test]
fn whoever_asks_for_a_long_list_and_does_not_read_it_costs_little() {
    const TOPICS: usize = 12_000;
    const PEERS: usize = 900;
    let mut system = System::start();
    for names in names(TOPICS).collect::<Vec<_>>().chunks(1000) {
        let mut raw = Raw::connect(&system.address());
        names.iter().for_each(|name| {
            raw.send(format!(r#"{{"command":"create_topic","topic":"{name}"}}"#));
        });
        names.iter().for_each(|_| assert!(raw.line().contains("success")));
    }
    let mut raw = Raw::connect(&system.address());
    names(PEERS).for_each(|name| {
        raw.send(format!(r#"{{"command":"register_peer","host":"{name}","port":1}}"#));
    });
    (0..PEERS).for_each(|_| assert!(raw.line().contains("success")));
    let before = Resources::of(system.broker().id()).memory;
    let get = request("GET", "/topics", "").repeat(3);
    let stalled = stall(&mut system, CONNECTIONS, before, get);
    let peers = r#"{"command":"list_peers"}"#.repeat(12);
    let mut other = stall(&mut system, CONNECTIONS, before, peers);
    drop(stalled);

    // Both lists are whole.
    let topics = system.get("/topics");
    let topics = topics.json();
    let topics = topics.as_array().unwrap();
    assert_eq!(topics.len(), TOPICS);
    for (topic, name) in topics.iter().zip(names(TOPICS)) {
        assert_eq!(topic.get("topic").unwrap().as_str(), Some(&*name));
    }
    let line = other.pop().unwrap().line();
    let peers = common::json::parse(line.as_bytes()).unwrap();
    let peers = peers.get("peers").unwrap().as_array().unwrap();
    assert_eq!(peers.len(), PEERS);
}

/// What a slow reader gets in the end is what was published.
#[test]
fn what_comes_in_pieces_is_whole_for_whoever_reads_it_late() {
    let system = System::start();
    let ask = |command: &str| {
        let mut raw = Raw::connect(&system.address());
        raw.send(command);
        wait_until(DEADLINE, "an answer", || !raw.is_silent());
        raw
    };
    const MESSAGES: usize = 12;
    let message = |number: usize| {
        let text = ["\u{1}", "x", "\u{e9}", "\u{1f600}\"\\"][number % 4];
        format!("{number} {}", text.repeat((1 << 19) / text.len()))
    };
    for number in 0..MESSAGES {
        system.publish("large", &message(number));
    }
    let pull = r#"{"command":"subscribe","topic":"other"}{"command":"pull","topic":"large"}"#;
    let mut pulling = ask(pull);
    let subscribe = r#"{"command":"subscribe","topic":"large","from":0}"#;
    let more = r#"{"command":"unsubscribe","topic":"large"}"#;
    let mut subscribed = ask(subscribe);
    let mut lines = Raw::connect(&system.address());
    lines.request("GET", "/messages?topic=large&format=json", "");
    // Whatever is due meanwhile comes between two objects.
    system.publish("other", "between");
    subscribed.send(more);

    let lines = lines.answer();
    assert_eq!(lines.text().lines().count(), MESSAGES);
    let parsed = |line: &str, number: usize| {
        let value = common::json::parse(line.as_bytes()).unwrap();
        assert_eq!(value.get("message").unwrap().as_str(), Some(&*message(number)), "{number}");
        assert_eq!(value.get("offset").unwrap().as_u64(), Some(number as u64));
    };
    lines.text().lines().enumerate().for_each(|(number, line)| parsed(line, number));

    assert!(pulling.line().contains("Subscribed"));
    let pulled = pulling.line();
    let value = common::json::parse(pulled.as_bytes()).unwrap();
    let messages = value.get("messages").unwrap().as_array().unwrap();
    assert_eq!(messages.len(), MESSAGES);
    for (number, text) in messages.iter().enumerate() {
        assert_eq!(text.as_str(), Some(&*message(number)), "{number}");
    }
    assert_eq!(value.get("next").unwrap().as_u64(), Some(MESSAGES as u64));
    assert!(pulling.line().contains("between"));

    assert!(subscribed.line().contains("Subscribed"));
    let mut number = 0;
    loop {
        let line = subscribed.line();
        if line.contains("Unsubscribed") {
            break;
        }
        parsed(&line, number);
        number += 1;
    }
    assert!(number > 0);
}

#[test]
fn a_good_publisher_does_not_wait_for_those_who_do_not_read() {
    let mut system = system();
    for names in names(12_000).collect::<Vec<_>>().chunks(1000) {
        let mut raw = Raw::connect(&system.address());
        for name in names {
            raw.send(format!(r#"{{"command":"create_topic","topic":"{name}"}}"#));
        }
        names.iter().for_each(|_| assert!(raw.line().contains("success")));
    }
    let json = |command: &str| command.as_bytes().to_vec();
    let asked = [
        request("GET", "/messages?topic=plain", ""),
        request("GET", "/events?topic=control&from=0", ""),
        request("GET", "/topics", "").repeat(3),
        json(r#"{"command":"pull","topic":"control"}"#),
        json(r#"{"command":"subscribe","topic":"plain","from":0}"#),
    ];
    let before = Resources::of(system.broker().id()).memory;
    let mut stalled: Vec<Raw> = Vec::new();
    for asked in &asked {
        for _ in 0..40 {
            let mut raw = Raw::connect(&system.address());
            raw.send_as_far_as_taken(asked);
            stalled.push(raw);
        }
    }
    // While they come, all have a thread that works, and the publisher waits for the processor.
    rest(system.broker().id());
    // A broker that serves nobody else shows how slow the machine itself is meanwhile.
    let other = System::start();
    let mut publishers = [&other, &system].map(|system| Raw::connect(&system.address()));
    let mut times = [const { Vec::new() }; 2];
    for _ in 0..100 {
        for (publisher, times) in publishers.iter_mut().zip(&mut times) {
            let begun = Instant::now();
            publisher.request("POST", "/publish", publish_body("t", "x"));
            assert_eq!(publisher.answer().status, 200);
            times.push(begun.elapsed());
        }
    }
    let [alone, beside] = times.map(|mut times| {
        times.sort_unstable();
        // One in a hundred may meet another program that has the processor.
        times[98]
    });
    println!("{alone:?} alone, {beside:?} beside {}", stalled.len());
    let each = Resources::of(system.broker().id()).memory.saturating_sub(before) / 200;
    assert!(each <= MEMORY_MAX, "{each} bytes for a connection that does not read");
    // Measured: a few milliseconds. The factor is for machines that do other things as well.
    let generous = Duration::from_secs(1).max(alone * 50);
    assert!(beside < generous, "{alone:?} alone, {beside:?} beside them");
}
