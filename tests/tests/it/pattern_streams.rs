//! Event streams of topics that are chosen by pattern, with a name and without.

use crate::event_stream::Events;
use crate::pattern_follower::Follower;
use std::collections::HashMap;
use tests::System;
use tests::raw::Raw;

pub(crate) fn topic_messages(events: &mut Events, count: usize) -> HashMap<String, Vec<String>> {
    let mut found: HashMap<String, Vec<String>> = HashMap::new();
    for _ in 0..count {
        let event = loop {
            let event = events.next();
            match event.kind.as_str() {
                "" => break event,
                "subscribed" => {}
                _ => panic!("{event:?}"),
            }
        };
        found.entry(event.topic()).or_default().push(event.message());
    }
    found
}

#[test]
fn an_event_stream_by_pattern_goes_on_behind_its_last_id_after_a_kill() {
    let mut system = System::reserve_with(&["--data", "data"]);
    system.start_broker();
    system.publish("a/1", "before");
    let query = "pattern=a/*&topic=extra";
    let mut events = Events::open(&system, query);
    system.publish("a/1", "one");
    system.publish("a/2", "two");
    system.publish("extra", "three");
    assert_eq!(topic_messages(&mut events, 3).len(), 3);
    // While nobody listens: more of what was read, a topic that is new, and one made again.
    system.publish("a/1", "four");
    system.publish("a/3", "five");
    system.publish_batch("a/2", ["six", "seven"].iter());
    system.kill_broker();
    system.start_broker();
    system.publish("a/3", "eight");
    let mut events = events.reopen(&system, "topic=extra&pattern=a/*");
    let found = topic_messages(&mut events, 5);
    assert_eq!(found["a/1"], ["four"]);
    assert_eq!(found["a/2"], ["six", "seven"]);
    assert_eq!(found["a/3"], ["five", "eight"]);
    assert_eq!(system.request("DELETE", "/topics/a%2F1", "").status, 204);
    system.publish("a/1", "nine");
    let mut events = events.reopen(&system, query);
    assert_eq!(topic_messages(&mut events, 1)["a/1"], ["nine"]);
    system.publish("extra", "ten");
    assert_eq!(topic_messages(&mut events, 1)["extra"], ["ten"]);
}

/// A browser keeps no id that is empty.
#[test]
fn a_stream_by_pattern_that_saw_no_topic_yet_misses_none() {
    let system = System::start();
    let events = Events::open(&system, "pattern=a/**");
    system.publish("a/b", "x");
    let reopened = events.reopen(&system, "pattern=a/**");
    let mut reopened = reopened;
    assert_eq!(topic_messages(&mut reopened, 1)["a/b"], ["x"]);
}

#[test]
fn ids_of_more_topics_than_fit_are_left_out_and_that_is_said_once() {
    const ID_SIZE_MAX: usize = 6 << 10;
    let system = System::start();
    let mut events = Events::open(&system, "pattern=**");
    let mut last = String::new();
    let mut count = 0;
    let without_ids = loop {
        assert!(events.last_id.len() <= ID_SIZE_MAX, "{}", events.last_id.len());
        last.clone_from(&events.last_id);
        system.publish(&format!("t{count}"), "x");
        count += 1;
        let event = loop {
            let event = events.next();
            if event.kind != "subscribed" {
                break event;
            }
        };
        if event.kind == "unresumable" {
            assert!(event.text("message").contains("subscriber=NAME"), "{event:?}");
            break loop {
                let event = events.next();
                if event.kind != "subscribed" {
                    break event;
                }
            };
        }
        assert!(count < 1000);
    };
    assert!(last.len() > ID_SIZE_MAX - 64, "{} bytes", last.len());
    assert_eq!((without_ids.message().as_str(), events.last_id.as_str()), ("x", ""));
    // The last id of all still does, one topic more or not.
    let mut resumed =
        Events::open_with(&system, "pattern=**", &format!("Last-Event-ID: {last}\r\n"));
    let found = topic_messages_or_notice(&mut resumed);
    assert_eq!(found, format!("t{}", count - 1));
    system.publish("t0", "y");
    assert_eq!(loop_to_message(&mut events), "y");
    assert_eq!(events.last_id, "", "said once, and no id since");
}

fn topic_messages_or_notice(events: &mut Events) -> String {
    loop {
        let event = events.next();
        if event.kind.is_empty() {
            return event.topic();
        }
    }
}

fn loop_to_message(events: &mut Events) -> String {
    loop {
        let event = events.next();
        assert_ne!(event.kind, "unresumable");
        if event.kind.is_empty() {
            return event.message();
        }
    }
}

#[test]
fn a_stream_with_a_name_resumes_more_topics_than_an_id_holds() {
    const TOPICS: usize = 700;
    let system = System::start();
    let query = "pattern=**&subscriber=ann";
    let mut events = Events::open(&system, query);
    for topic in 0..TOPICS {
        system.publish(&format!("t{topic}"), "x");
    }
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut streams = 1;
    while seen.len() < TOPICS {
        match events.try_next() {
            Some(event) if event.kind.is_empty() => *seen.entry(event.topic()).or_default() += 1,
            Some(event) => assert_eq!(event.kind, "subscribed"),
            None => {
                streams += 1;
                events = events.reopen(&system, query);
            }
        }
    }
    assert!((3..10).contains(&streams), "{streams} streams");
    assert!(seen.values().all(|count| *count == 1), "none came twice");
}

/// A browser comes back for ever to a stream that began and ended, never to one that is refused.
#[test]
fn a_named_stream_that_is_refused_is_refused_before_it_begins() {
    let mut system = System::reserve_with(&["--max-memory", "1000000"]).alone();
    system.start_broker();
    let mut raw = Raw::connect(&system.address());
    for size in [10_000, 100, 1] {
        let message = "x".repeat(size);
        let body = format!("{{\"topic\":\"t\",\"message\":\"{message}\"}}");
        while {
            raw.request("POST", "/publish", &body);
            raw.answer().status == 200
        } {}
    }
    for query in ["topic=t", "pattern=**"] {
        let answer = system.get(&format!("/events?{query}&subscriber=ann"));
        assert_eq!(answer.status, 507, "{query}: {answer:?}");
        assert_eq!(answer.field("connection"), Some("close"));
    }
    assert_eq!(system.get("/subscribers").text().trim(), "[]");
    assert_eq!(system.get("/events?pattern=nothing&subscriber=%01").status, 400);
}

#[test]
fn a_name_begins_in_all_topics_of_a_pattern_with_one_sync() {
    const TOPICS: usize = 300;
    let mut system = System::reserve_with(&["--data", "data"]);
    system.start_broker();
    for topic in 0..TOPICS {
        system.publish(&format!("t{topic}"), "x");
    }
    let syncs = |system: &System| -> usize {
        let page = system.get("/metrics").text().to_owned();
        let lines = page.lines();
        let mut counts = lines
            .filter_map(|line| line.strip_prefix("broker_journal_commit_duration_seconds_count "));
        counts.next().unwrap().parse().unwrap()
    };
    let before = syncs(&system);
    let pattern = "\"pattern\":\"**\",\"subscriber\":\"ann\"";
    let (follower, count) = Follower::begin(&system, pattern);
    assert_eq!(count, TOPICS as u64);
    let _events = Events::open(&system, "pattern=**&subscriber=ben");
    let after = syncs(&system);
    // One for each, and what else may come to the journal in the meantime.
    assert!((before + 2..before + 10).contains(&after), "{before} before, {after} after");
    // They are there after a crash.
    system.kill_broker();
    drop(follower);
    system.start_broker();
    let kept = system.get("/subscribers").text().to_owned();
    assert_eq!(kept.matches("\"subscriber\"").count(), 2 * TOPICS);
}
