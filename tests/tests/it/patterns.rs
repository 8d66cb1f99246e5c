//! Topics that are chosen by pattern, through every door.

use crate::brokers::succeed;
use crate::event_stream::Events;
use crate::pattern_follower::Follower;
use crate::pattern_streams::topic_messages;
use crate::peers::peer_of;
use common::json::{self, Value};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;
use tests::raw::Raw;
use tests::wait::{DEADLINE, wait_until};
use tests::{Folder, System};

#[test]
fn a_pattern_follows_the_topics_that_match_and_those_that_come() {
    let system = System::start();
    for topic in ["s/1/t", "s/2/t", "s/2/u", "other"] {
        system.publish(topic, "before");
    }
    let (mut follower, count) = Follower::begin(&system, "\"pattern\":\"s/*/t\"");
    assert_eq!(count, 2);
    assert_eq!([follower.next(), follower.next()], ["subscribed", "subscribed"]);
    assert_eq!((follower.topics["s/1/t"].0, follower.topics["s/2/t"].0), (1, 1));
    system.publish("s/2/u", "not chosen");
    system.publish("s/2/t", "live");
    follower.wait_for(1);
    assert_eq!(follower.last(), ("s/2/t", 1, "live"));
    system.publish("s/3/t", "first");
    assert_eq!([follower.next(), follower.next()], ["subscribed", "message"]);
    assert_eq!(follower.last(), ("s/3/t", 0, "first"));
    // One that is created and has nothing yet is told as well.
    assert_eq!(system.request("PUT", "/topics/s%2F4%2Ft", "").status, 201);
    assert_eq!(follower.next(), "subscribed");
    // Deleted and created again, it is another list, from its start.
    let before = follower.topics["s/1/t"].1.clone();
    assert_eq!(system.request("DELETE", "/topics/s%2F1%2Ft", "").status, 204);
    assert_eq!(follower.next(), "deleted");
    system.publish("s/1/t", "again");
    assert_eq!([follower.next(), follower.next()], ["subscribed", "message"]);
    assert_eq!(follower.last(), ("s/1/t", 0, "again"));
    assert_ne!(follower.topics["s/1/t"].1, before);
    follower.session.send("{\"command\":\"unsubscribe\",\"pattern\":\"s/*/t\"}");
    assert!(follower.answer().contains("\"Unsubscribed from pattern 's/*/t'\""));
    system.publish("s/1/t", "nobody listens");
    system.publish("s/5/t", "nor here");
    follower.session.send("{\"command\":\"unsubscribe\",\"pattern\":\"s/*/t\"}");
    let answer = follower.answer();
    assert!(answer.contains("Not subscribed to pattern 's/*/t'"), "{answer}");
    assert_eq!(follower.messages.len(), 3);
}

#[test]
fn a_connection_gets_a_message_once_however_many_of_its_patterns_match() {
    let system = System::start();
    system.publish("a/b", "m0");
    let (mut follower, _) = Follower::begin(&system, "\"pattern\":\"a/*\",\"from\":0");
    assert_eq!(follower.subscribe("\"pattern\":\"**\",\"from\":0"), 1);
    assert_eq!(follower.subscribe("\"pattern\":\"a/*\""), 1, "said once more");
    follower.session.send("{\"command\":\"subscribe\",\"topic\":\"a/b\",\"from\":0}");
    follower.answer();
    system.publish("a/b", "m1");
    system.publish("a/c", "m0");
    follower.wait_for(3);
    // The topic that was asked for stays when the patterns go, and the other way round.
    for pattern in ["a/*", "**"] {
        follower.session.send(format!("{{\"command\":\"unsubscribe\",\"pattern\":\"{pattern}\"}}"));
        follower.answer();
    }
    system.publish("a/c", "m1");
    system.publish("a/b", "m2");
    follower.wait_for(4);
    assert_eq!(follower.last(), ("a/b", 2, "m2"));
    assert_eq!(follower.subscribe("\"pattern\":\"a/*\""), 2);
    follower.topics.remove("a/c");
    follower.session.send("{\"command\":\"unsubscribe\",\"topic\":\"a/b\"}");
    assert!(follower.answer().contains("Unsubscribed from topic 'a/b'"));
    follower.session.send("{\"command\":\"unsubscribe\",\"topic\":\"a/b\"}");
    assert!(follower.answer().contains("Not subscribed to topic 'a/b'"));
    system.publish("a/b", "m3");
    follower.wait_for(5);
    assert_eq!(follower.last(), ("a/b", 3, "m3"));
}

#[test]
fn a_pattern_begins_where_it_is_told_to() {
    let system = System::start();
    system.publish_batch("long", ["0", "1", "2", "3"].iter());
    system.publish_batch("short", ["0"].iter());
    assert_eq!(system.request("DELETE", "/topics/long/messages?before=1", "").status, 200);
    for (begin, long, short) in [
        ("", 4, 1),
        (",\"from\":0", 1, 0),
        (",\"from\":2", 2, 1),
        (",\"from\":-1", 3, 0),
        (",\"since\":\"1h\"", 1, 0),
        (",\"since\":0", 1, 0),
    ] {
        let (mut follower, _) = Follower::begin(&system, &format!("\"pattern\":\"**\"{begin}"));
        while follower.topics.len() < 2 || follower.topics.values().any(|(_, it)| it.is_empty()) {
            follower.next();
        }
        follower.wait_for(5 - long - short);
        let first = |topic: &str| {
            let mut of_topic = follower.messages.iter().filter(|it| it.0 == topic);
            of_topic.next().map_or(follower.topics[topic].0, |it| it.1)
        };
        assert_eq!((first("long"), first("short")), (long as u64, short as u64), "{begin}");
    }
    for (fields, text) in [
        ("\"pattern\":\"\"", "'pattern' is not 1 to 255 bytes without control characters"),
        ("\"pattern\":\"a\\n\"", "'pattern' is not"),
        ("\"pattern\":7", "'pattern' is not a string"),
        ("\"pattern\":\"a\",\"topic\":\"a\"", "'pattern' excludes 'topic'"),
    ] {
        let mut session = Raw::connect(&system.address());
        session.send(format!("{{\"command\":\"subscribe\",{fields}}}"));
        let answer = session.line();
        assert!(answer.contains(text) && answer.contains("\"code\":400"), "{answer}");
    }
}

#[test]
fn a_connection_follows_so_many_patterns_at_most() {
    const PATTERNS_MAX: usize = 100;
    let system = System::start();
    let mut follower = Follower::new(&system);
    for number in 0..PATTERNS_MAX {
        follower.subscribe(&format!("\"pattern\":\"{number}/*\""));
    }
    follower.session.send("{\"command\":\"subscribe\",\"pattern\":\"one more\"}");
    let answer = follower.answer();
    assert!(answer.contains("100 patterns") && answer.contains("503"), "{answer}");
    follower.session.send("{\"command\":\"unsubscribe\",\"pattern\":\"7/*\"}");
    follower.answer();
    follower.subscribe("\"pattern\":\"one more\"");
    system.publish("one more", "x");
    follower.wait_for(1);
}

/// Topics are created and published to by several connections while patterns subscribe, break off
/// and come back. Each reader has each message once.
#[test]
fn topics_that_come_while_a_pattern_subscribes_are_read_once_and_whole() {
    let (publishers, topics) = match std::env::var("PATTERN_TOPICS") {
        Ok(count) => (4, count.parse::<usize>().unwrap() / 4),
        Err(_) => (4, System::scaled(500)),
    };
    let system = System::start();
    let total = publishers * topics * 3;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for publisher in 0..publishers {
            let system = &system;
            scope.spawn(move || {
                let mut session = Raw::connect(&system.address());
                for topic in 0..topics {
                    // Several connections publish to each topic at about the same time.
                    for (owner, message) in [(publisher, 0), ((publisher + 1) % publishers, 1)] {
                        session.send(format!(
                            "{{\"command\":\"publish\",\"topic\":\"{owner}/{topic}\",\
                             \"messages\":[\"{publisher}.{message}\"]}}"
                        ));
                        assert!(session.line().contains("success"));
                    }
                    session.send(format!(
                        "{{\"command\":\"publish\",\"topic\":\"{publisher}/{topic}\",\
                         \"message\":\"last\"}}"
                    ));
                    assert!(session.line().contains("success"));
                }
            });
        }
        for pattern in ["**", "*/*"] {
            let (system, done) = (&system, &done);
            scope.spawn(move || {
                let mut all: HashMap<String, Vec<String>> = HashMap::new();
                let mut count = 0;
                let end = Instant::now() + DEADLINE * 2;
                let mut connections = 0;
                while count < total {
                    assert!(Instant::now() < end, "{pattern}: {count} of {total}");
                    connections += 1;
                    // What was read goes on behind it, all else begins at its first message.
                    let mut follower = Follower::new(system);
                    for (topic, messages) in &all {
                        let next = messages.len();
                        follower.session.send(format!(
                            "{{\"command\":\"subscribe\",\"topic\":\"{topic}\",\"from\":{next}}}"
                        ));
                        follower.topics.insert(topic.clone(), (next as u64, "asked".into()));
                    }
                    (0..all.len()).for_each(|_| drop(follower.answer()));
                    follower.subscribe(&format!("\"pattern\":\"{pattern}\",\"from\":0"));
                    let until = (count + total / 7).min(total) - count;
                    follower.wait_for(until);
                    for (topic, offset, message) in follower.messages {
                        let messages = all.entry(topic).or_default();
                        assert_eq!(messages.len() as u64, offset);
                        messages.push(message);
                        count += 1;
                    }
                }
                assert!(connections > 2);
                done.store(true, Ordering::SeqCst);
                for (topic, messages) in all.iter().take(50) {
                    assert_eq!(*messages, system.messages(topic), "{topic}");
                }
            });
        }
    });
    assert!(done.load(Ordering::SeqCst));
    // Whoever leaves leaves nothing behind.
    wait_until(DEADLINE, "no listener is left", || {
        system.get("/metrics").text().contains("\nbroker_subscriptions 0\n")
    });
}

#[test]
fn lists_show_what_a_pattern_chooses() {
    let system = System::start();
    for topic in ["a/1", "a/2", "b"] {
        system.publish(topic, "x");
    }
    let names = |value: &Value<'_>| -> Vec<String> {
        let names = value.as_array().unwrap().iter();
        names.map(|it| it.get("topic").and_then(Value::as_str).unwrap().to_owned()).collect()
    };
    assert_eq!(names(&system.get("/topics?pattern=a/*").json()), ["a/1", "a/2"]);
    assert_eq!(names(&system.get("/topics?pattern=none").json()), [""; 0]);
    assert_eq!(system.get("/topics?pattern=").status, 400);
    assert_eq!(system.get("/topics?pattern=a&pattern=b").status, 400);
    let mut session = Raw::connect(&system.address());
    for (command, expected) in [
        ("{\"command\":\"list_topics\"}", &["a/1", "a/2", "b"][..]),
        ("{\"command\":\"list_topics\",\"pattern\":\"*\"}", &["b"]),
    ] {
        session.send(command);
        let line = session.line();
        let answer = json::parse(line.as_bytes()).unwrap();
        assert_eq!(names(answer.get("topics").unwrap()), expected);
    }
}

#[test]
fn a_pattern_shows_only_what_the_token_may_read() {
    let folder = Folder::temporary("pattern-rights");
    folder.write("tokens.txt", "all\nlimited\tread\ta/**\n");
    let path = folder.path().join("tokens.txt");
    let system = System::start_with(&["--token-file", path.to_str().unwrap()]);
    let mut boss = Raw::connect(&system.address());
    boss.send("{\"command\":\"auth\",\"token\":\"all\"}");
    boss.line();
    let mut publish = |topic: &str| {
        boss.send(format!("{{\"command\":\"publish\",\"topic\":\"{topic}\",\"message\":\"x\"}}"));
        assert!(boss.line().contains("success"));
    };
    publish("a/1");
    publish("secret/1");
    let mut follower = Follower::new(&system);
    follower.session.send("{\"command\":\"subscribe\",\"pattern\":\"**\"}");
    assert!(follower.session.line().contains("\"code\":401"));
    follower.session.send("{\"command\":\"auth\",\"token\":\"limited\"}");
    follower.answer();
    assert_eq!(follower.subscribe("\"pattern\":\"**\",\"from\":0"), 1);
    follower.session.send("{\"command\":\"list_topics\",\"pattern\":\"**\"}");
    let listed = follower.answer();
    assert!(listed.contains("a/1") && !listed.contains("secret"), "{listed}");
    let mut events = Events::open(&system, "pattern=**&from=0&token=limited");
    for topic in ["secret/1", "secret/2", "a/2"] {
        publish(topic);
    }
    follower.wait_for(2);
    assert_eq!(follower.last(), ("a/2", 0, "x"));
    let found = topic_messages(&mut events, 2);
    assert!(found.contains_key("a/1") && found.contains_key("a/2"), "{found:?}");
}

#[test]
fn a_leaf_follows_what_matches_at_its_hub() {
    let hub = System::start();
    let leaf = System::start_with(&["--upstream", &hub.address()]);
    let below = System::start_with(&["--upstream", &leaf.address()]);
    for topic in ["a/1", "a/2", "b"] {
        hub.publish(topic, "before");
    }
    for broker in [&leaf, &below] {
        let (mut follower, count) = Follower::begin(broker, "\"pattern\":\"a/*\"");
        assert_eq!(count, 2);
        hub.publish("a/1", "live");
        follower.wait_for(1);
        assert_eq!(follower.last().2, "live");
        let new = format!("a/new{}", broker.port());
        hub.publish_batch(&new, ["first", "second"].iter());
        follower.wait_for(3);
        assert_eq!(follower.last(), (new.as_str(), 1, "second"));
        // One that is new by way of the leaf itself.
        let own = format!("a/own{}", broker.port());
        broker.publish(&own, "third");
        follower.wait_for(4);
        assert_eq!(follower.last(), (own.as_str(), 0, "third"));
        let deleted = hub.request("DELETE", &format!("/topics/{}", new.replace('/', "%2F")), "");
        assert_eq!(deleted.status, 204);
        assert_eq!(follower.next(), "deleted");
        hub.publish(&new, "again");
        follower.wait_for(5);
        assert_eq!(follower.last(), (new.as_str(), 0, "again"));
        assert_eq!(hub.request("DELETE", "/topics/a%2F1", "").status, 204);
        assert_eq!(follower.next(), "deleted");
        for topic in [&new, &own] {
            let target = format!("/topics/{}", topic.replace('/', "%2F"));
            assert_eq!(hub.request("DELETE", &target, "").status, 204);
        }
        hub.publish("a/1", "before");
    }
}

#[test]
fn a_peer_follows_what_the_index_lists() {
    let index = System::start();
    let (one, two) = (peer_of(&index), peer_of(&index));
    succeed(&one, "{\"command\":\"create_topic\",\"topic\":\"a/1\"}");
    let (mut follower, count) = Follower::begin(&two, "\"pattern\":\"a/*\"");
    assert_eq!(count, 1);
    assert_eq!(follower.next(), "subscribed");
    one.publish("a/1", "x");
    follower.wait_for(1);
    succeed(&one, "{\"command\":\"create_topic\",\"topic\":\"a/2\"}");
    one.publish("a/2", "y");
    follower.wait_for(2);
    assert_eq!(follower.last(), ("a/2", 0, "y"));
    succeed(&two, "{\"command\":\"create_topic\",\"topic\":\"a/3\"}");
    one.publish("a/3", "z");
    follower.wait_for(3);
    assert_eq!(follower.last(), ("a/3", 0, "z"));
}

#[test]
fn a_name_goes_on_in_all_topics_of_its_pattern_across_a_kill() {
    let mut system = System::reserve_with(&["--data", "data"]);
    system.start_broker();
    system.publish("a/1", "before");
    let subscribe = "\"pattern\":\"a/*\",\"subscriber\":\"ann\"";
    let (mut follower, count) = Follower::begin(&system, subscribe);
    assert_eq!(count, 1);
    system.publish("a/1", "one");
    system.publish("a/2", "two");
    follower.wait_for(2);
    for (topic, offset) in [("a/1", 1), ("a/2", 0)] {
        follower.session.send(format!(
            "{{\"command\":\"ack\",\"topic\":\"{topic}\",\"subscriber\":\"ann\",\
             \"offset\":{offset}}}"
        ));
        assert!(follower.answer().contains("Acknowledged"));
    }
    drop(follower);
    system.publish("a/3", "three");
    system.publish("a/1", "four");
    // Acknowledgements are on disk after a moment.
    thread::sleep(std::time::Duration::from_secs(3));
    system.kill_broker();
    system.start_broker();
    let (mut follower, count) = Follower::begin(&system, subscribe);
    assert_eq!(count, 3);
    follower.wait_for(2);
    let mut found = follower.messages.clone();
    found.sort();
    assert_eq!(found, [("a/1".into(), 2, "four".into()), ("a/3".into(), 0, "three".into())]);
}

/// The program, on the client library, over a restart of the broker.
#[test]
fn the_subscriber_prints_what_its_patterns_choose() {
    let mut system = System::reserve_with(&["--data", "data"]);
    system.start_broker();
    system.publish("a/1", "one");
    let arguments = ["--pattern", "a/*", "--pattern", "*/2", "--from", "0", "--count", "5"];
    let mut subscriber = system.run("subscriber", &arguments);
    wait_until(DEADLINE, "the first", || subscriber.output() == "a/1\tone\n");
    system.publish("a/2", "two");
    wait_until(DEADLINE, "the second", || subscriber.output().ends_with("a/2\ttwo\n"));
    system.kill_broker();
    system.start_broker();
    for (topic, message) in [("a/3", "three"), ("b/2", "four"), ("a/1", "five")] {
        system.publish(topic, message);
    }
    subscriber.succeed();
    let output = subscriber.output();
    let mut lines: Vec<&str> = output.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["a/1\tfive", "a/1\tone", "a/2\ttwo", "a/3\tthree", "b/2\tfour"]);
    let output = tests::program::command("broker")
        .args(["topics", "b/*", "--broker", &system.address()])
        .output()
        .unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    assert!(listed.starts_with("b/2\t") && listed.lines().count() == 1, "{listed}");
}
