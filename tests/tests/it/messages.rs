//! The list of a topic: whole, in parts, and while it grows.

use common::crc32::crc32;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tests::raw::{Answer, Raw};
use tests::{System, publish_body};

/// A broker whose topic `t` holds ten messages, `0` to `9`.
fn ten() -> System {
    let system = System::start();
    system.publish_batch("t", (0..10).map(|number| number.to_string()));
    system
}

#[track_caller]
fn assert_list(answer: &Answer, messages: std::ops::Range<u64>, next: u64) {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.field("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.text(), messages.map(|number| format!("{number}\n")).collect::<String>());
    assert_eq!(answer.number("stream-next-offset"), next);
}

#[test]
fn an_unknown_topic_is_an_empty_list() {
    let system = System::start();
    let answer = system.get("/messages?topic=nothing");
    assert_list(&answer, 0..0, 0);
    assert!(system.get("/topics").text().contains("[]"), "asking creates nothing");
}

#[test]
fn the_list_is_every_message_and_a_newline() {
    let system = ten();
    assert_list(&system.get("/messages?topic=t"), 0..10, 10);
    assert_list(&system.get("/messages?topic=%74&unknown=1"), 0..10, 10);
}

#[test]
fn a_part_begins_at_from_and_has_at_most_limit_messages() {
    let system = ten();
    assert_list(&system.get("/messages?topic=t&from=0"), 0..10, 10);
    assert_list(&system.get("/messages?topic=t&from=7"), 7..10, 10);
    assert_list(&system.get("/messages?topic=t&from=10"), 0..0, 10);
    assert_list(&system.get("/messages?topic=t&limit=3"), 0..3, 3);
    assert_list(&system.get("/messages?topic=t&from=3&limit=3"), 3..6, 6);
    assert_list(&system.get("/messages?topic=t&from=8&limit=3"), 8..10, 10);
    assert_list(&system.get("/messages?limit=100&from=8&topic=t"), 8..10, 10);
}

#[test]
fn an_offset_past_the_end_is_refused() {
    let system = ten();
    for from in ["11", "18446744073709551615"] {
        assert_eq!(system.get(&format!("/messages?topic=t&from={from}")).status, 416, "{from}");
    }
    assert_eq!(system.get("/messages?topic=nothing&from=1").status, 416);
}

#[test]
fn a_bad_query_is_refused_and_the_connection_stays() {
    let system = ten();
    let mut raw = Raw::connect(&system.address());
    for query in [
        "",
        "?",
        "?topic=",
        "?topic",
        "?topic=t&topic=t",
        "?topic=%",
        "?topic=%6",
        "?topic=%zz",
        "?topic=%u0061",
        "?topic=%00",
        "?topic=%0d%0a",
        "?topic=%c0%af",
        "?topic=%ff",
        "?topic=%ed%a0%80",
        "?topic=t&from=",
        "?topic=t&from=--1",
        "?topic=t&from=+1",
        "?topic=t&from=%201",
        "?topic=t&from=0x1",
        "?topic=t&from=1_0",
        "?topic=t&from=1.0",
        "?topic=t&from=1&from=2",
        "?topic=t&from=18446744073709551616",
        "?topic=t&limit=x",
        "?topic=t&limit=-1",
        "?topic=t&wait=x",
        "?topic=t&wait=-1",
        "?topic=t&from=1&digest=xyz",
    ] {
        raw.request("GET", &format!("/messages{query}"), "");
        let answer = raw.answer();
        assert_eq!(answer.status, 400, "{query}: {answer:?}");
        assert_eq!(answer.field("content-type"), Some("application/problem+json"), "{query}");
    }
    raw.request("GET", "/messages?topic=t", "");
    assert_list(&raw.answer(), 0..10, 10);
}

#[test]
fn a_plus_in_a_query_is_a_space_and_an_encoded_one_a_plus() {
    let system = System::start();
    system.publish("a b", "space");
    system.publish("a+b", "plus");
    for target in ["/messages?topic=a+b", "/messages?topic=a%20b"] {
        assert_eq!(system.get(target).text(), "space\n");
    }
    assert_eq!(system.get("/messages?topic=a%2Bb").text(), "plus\n");
}

#[test]
fn head_gives_the_fields_of_the_list_without_it() {
    let system = ten();
    let mut raw = Raw::connect(&system.address());
    raw.request("GET", "/messages?topic=t", "");
    let get = raw.answer();
    raw.request("HEAD", "/messages?topic=t", "");
    let head = raw.answer_to_head();
    assert_eq!(head.status, 200);
    for name in ["content-type", "content-length", "stream-next-offset", "stream-id"] {
        assert_eq!(head.field(name), get.field(name), "{name}");
    }
    raw.request("GET", "/messages?topic=t&from=9", "");
    assert_list(&raw.answer(), 9..10, 10);
}

#[test]
fn a_wait_ends_with_the_next_message() {
    let system = ten();
    let mut waiting = Raw::connect(&system.address());
    waiting.request("GET", "/messages?topic=t&from=10&wait=60", "");
    let mut unborn = Raw::connect(&system.address());
    unborn.request("GET", "/messages?topic=unborn&from=0&wait=60", "");
    for (topic, raw, from) in [("t", &mut waiting, 10), ("unborn", &mut unborn, 0)] {
        system.publish(topic, &from.to_string());
        assert_list(&raw.answer(), from..from + 1, from + 1);
    }
}

#[test]
fn a_wait_for_what_is_there_is_answered_at_once() {
    let system = ten();
    assert_list(&system.get("/messages?topic=t&from=9&wait=60"), 9..10, 10);
    assert_list(&system.get("/messages?topic=t&from=10&wait=0"), 0..0, 10);
}

#[test]
fn a_wait_in_vain_ends_with_an_empty_list_and_the_same_offset() {
    let system = ten();
    let start = Instant::now();
    assert_list(&system.get("/messages?topic=t&from=10&wait=1"), 0..0, 10);
    assert!(start.elapsed() >= Duration::from_millis(900), "it did wait");
}

/// A reader that looked every 100 ms would need 25 s for these rounds; woken, it needs a moment.
#[test]
fn waiting_readers_are_woken() {
    const ROUNDS: u64 = 500;
    let system = System::start();
    let mut reader = Raw::connect(&system.address());
    let mut publisher = Raw::connect(&system.address());
    let start = Instant::now();
    for round in 0..ROUNDS {
        reader.request("GET", &format!("/messages?topic=t&from={round}&wait=60"), "");
        publisher.request("POST", "/publish", publish_body("t", &round.to_string()));
        assert_eq!(publisher.answer().status, 200);
        assert_list(&reader.answer(), round..round + 1, round + 1);
    }
    assert!(start.elapsed() < Duration::from_secs(25), "{:?}", start.elapsed());
}

#[test]
fn one_message_wakes_all_who_wait_for_it() {
    let system = ten();
    let mut readers: Vec<_> = (0..50).map(|_| Raw::connect(&system.address())).collect();
    for reader in &mut readers {
        reader.request("GET", "/messages?topic=t&from=10&wait=60", "");
    }
    system.publish("other", "wakes nobody");
    system.publish("t", "10");
    for reader in &mut readers {
        assert_list(&reader.answer(), 10..11, 11);
    }
}

#[test]
fn a_topic_made_anew_is_another_stream() {
    let system = ten();
    let first = system.get("/messages?topic=t");
    let old = first.field("stream-id").expect("every answer with an offset has it").to_owned();
    assert_eq!(old.len(), 16, "64 bits in hexadecimal: {old}");
    let target = format!("/messages?topic=t&from=4&stream={old}");
    assert_list(&system.get(&target), 4..10, 10);

    assert_eq!(system.request("DELETE", "/topics/t", "").status, 204);
    assert_eq!(system.request("DELETE", "/topics/t", "").status, 404);
    system.publish_batch("t", (0..8).map(|number| number.to_string()));

    let gone = system.get(&target);
    assert_eq!(gone.status, 410, "{gone:?}");
    assert_eq!(gone.number("stream-next-offset"), 8);
    let new = gone.field("stream-id").unwrap().to_owned();
    assert_ne!(new, old);
    // Past the end of the new list, but the stream is what is wrong with it.
    let past = format!("/messages?topic=t&from=10&stream={old}");
    assert_eq!(system.get(&past).status, 410);
    assert_list(&system.get(&format!("/messages?topic=t&from=4&stream={new}")), 4..8, 8);
}

#[test]
fn a_restart_without_a_journal_is_another_stream() {
    let mut system = System::reserve().alone();
    system.start_broker();
    system.publish("t", "0");
    let old = system.get("/messages?topic=t").field("stream-id").unwrap().to_owned();
    system.restart_broker();
    let target = format!("/messages?topic=t&from=1&stream={old}");
    assert_eq!(system.get(&target).status, 410, "even before anything is published");
    system.publish("t", "0");
    assert_eq!(system.get(&target).status, 410);
}

#[test]
fn a_deleted_topic_is_told_to_who_waits_for_it() {
    let system = ten();
    let stream = system.get("/messages?topic=t").field("stream-id").unwrap().to_owned();
    let mut waiting = Raw::connect(&system.address());
    let target = format!("/messages?topic=t&from=10&wait=60&stream={stream}");
    waiting.request("GET", &target, "");
    assert_eq!(system.request("DELETE", "/topics/t", "").status, 204);
    assert_eq!(waiting.answer().status, 410);
}

#[test]
fn a_digest_proves_a_prefix() {
    let system = ten();
    let mut text = String::new();
    for next in 0..=10_u64 {
        let digest = crc32(text.as_bytes());
        for digest in [format!("{digest:08x}"), format!("{digest:08X}")] {
            let target = format!("/messages?topic=t&from={next}&digest={digest}");
            assert_list(&system.get(&target), next..10, 10);
        }
        let wrong = format!("/messages?topic=t&from={next}&digest={:08x}", digest ^ 1);
        assert_eq!(system.get(&wrong).status, 412, "{wrong}");
        writeln!(text, "{next}").unwrap();
    }
}

#[test]
fn a_topics_digest_is_that_of_its_list() {
    let system = ten();
    // Short ones and long ones, over places where the checksum is remembered.
    system.publish_batch("t", (0..3000).map(|number| number.to_string()));
    system.publish_batch("t", (0..70).map(|_| "x".repeat(100_000)));
    let list = system.get("/messages?topic=t");
    let topic = system.get("/topics/t");
    let json = topic.json();
    assert_eq!(json.get_str("digest"), Some(&*format!("{:08x}", crc32(&list.body))));
    assert_eq!(json.get_u64("messages"), Some(3080));
    assert_eq!(json.get_str("stream"), list.field("stream-id"));
}

/// A reader far behind costs publishers nothing, and sees no seam between old and new.
#[test]
fn a_million_messages_are_read_in_pieces_while_publishing_goes_on() {
    const BODIES: u64 = 4;
    let stored: u64 = System::scaled(1_000_000);
    let system = System::start();
    let mut raw = Raw::connect(&system.address());
    for body in 0..BODIES {
        let size = stored / BODIES;
        let numbers = body * size..(body + 1) * size;
        system.publish_batch("t", numbers.map(|number| number.to_string()));
    }

    let is_read = AtomicBool::new(false);
    let published = thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut raw = Raw::connect(&system.address());
            let mut next = stored;
            while !is_read.load(Ordering::Relaxed) {
                raw.request("POST", "/publish", publish_body("t", &next.to_string()));
                assert_eq!(raw.answer().status, 200);
                next += 1;
            }
            next
        });

        // The whole list in one answer: it holds what was there when it began, at least.
        raw.request("GET", "/messages?topic=t", "");
        let whole = raw.answer();
        let next = whole.number("stream-next-offset");
        assert!(next >= stored);
        assert!(whole.body == lines(0..next), "the whole list");

        let mut next = 0;
        while next < stored {
            raw.request("GET", &format!("/messages?topic=t&from={next}&limit=50000"), "");
            let piece = raw.answer();
            let end = piece.number("stream-next-offset");
            assert!(end > next && end <= next + 50_000, "{next}..{end}");
            assert!(piece.body == lines(next..end), "{next}..{end}");
            next = end;
        }
        is_read.store(true, Ordering::Relaxed);
        publisher.join().unwrap()
    });

    assert!(published > stored, "publishing did go on");
    raw.request("GET", &format!("/messages?topic=t&from={stored}"), "");
    assert!(raw.answer().body == lines(stored..published), "what was published meanwhile");
}

/// The numbers of `range`, one per line.
fn lines(range: std::ops::Range<u64>) -> Vec<u8> {
    let mut lines = String::with_capacity(8 * usize::try_from(range.end - range.start).unwrap());
    for number in range {
        writeln!(lines, "{number}").unwrap();
    }
    lines.into_bytes()
}
