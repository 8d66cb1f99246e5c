//! Killed brokers: messages that were acknowledged or seen are there, once and in their place.
//!
//! The letters and numbers in the names of these tests are those of the table of faults in
//! `broker/ARCHITECTURE.md`. A kill cannot show a missing sync, because the system keeps what was
//! written; the journal's own tests cut the power.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};
use tests::raw::{Raw, request};
use tests::wait::{DEADLINE, wait_until};
use tests::{Door, Folder, Follower, Load, Process, Stopped, System, program};

/// A broker that keeps its messages, on a port that stays its own.
pub(crate) fn durable() -> System {
    let mut system = System::reserve_with(&["--data", "data"]);
    system.start_broker();
    system
}

/// The body of a numbered publish of one message to the topic `t`.
pub(crate) fn numbered(publisher: &str, sequence: u64, message: &str) -> String {
    format!(
        r#"{{"topic":"t","publisher":"{publisher}","epoch":0,"sequence":{sequence},"message":"{message}"}}"#
    )
}

/// Eight publishers in two topics, through every door that takes numbers, and four followers.
pub(crate) fn full_load(system: &System, pause: Duration) -> Load {
    let mut load = Load::on(&system.address());
    for (number, door) in
        [Door::Http, Door::Batch, Door::Json, Door::Http].iter().cycle().take(8).enumerate()
    {
        let topic = if number % 2 == 0 { "even" } else { "odd" };
        load.publish(&format!("p{number}"), topic, *door, pause);
    }
    load.follow(&["even"], Follower::Poll);
    load.follow(&["odd"], Follower::Poll);
    load.follow(&["even", "odd"], Follower::Events);
    load.follow(&["even", "odd"], Follower::Json);
    load
}

#[test]
fn k01_a_kill_before_the_body_is_whole_leaves_nothing_behind() {
    let mut system = durable();
    let whole = request("POST", "/publish", numbered("ann", 0, "x"));
    let mut raw = Raw::connect(&system.address());
    raw.send(&whole[..whole.len() - 1]);
    system.restart_broker();
    assert_eq!(system.messages("t"), [""; 0]);
    let answer = system.request("POST", "/publish", numbered("ann", 0, "x"));
    assert_eq!(answer.status, 200, "the number is free: {answer:?}");
    assert_eq!(system.messages("t"), ["x"]);
}

/// Many publishes are sent, and the broker is killed as soon as a reader has seen the first.
#[test]
fn k02_k06_k07_what_was_seen_before_a_kill_is_there_and_its_retry_is_a_duplicate() {
    const COUNT: u64 = 200;
    let mut system = durable();
    for round in 0..5 {
        let name = format!("ann{round}");
        let before = system.messages("t").len();
        let requests: Vec<u8> = (0..COUNT)
            .flat_map(|number| {
                request("POST", "/publish", numbered(&name, number, &format!("{name} {number}")))
            })
            .collect();
        let mut raw = Raw::connect(&system.address());
        raw.send(&requests);
        let seen = system.get(&format!("/messages?topic=t&from={before}&wait=30"));
        system.restart_broker();

        let kept = system.get(&format!("/messages?topic=t&from={before}"));
        assert!(kept.text().starts_with(seen.text()), "{seen:?} was seen, {kept:?} is there");
        let mut raw = Raw::connect(&system.address());
        raw.send(&requests);
        for number in 0..COUNT {
            let answer = raw.answer();
            let offset = answer.json().get("offset").and_then(|offset| offset.as_u64());
            assert_eq!(offset, Some(before as u64 + number), "{answer:?}");
        }
        let expected: Vec<_> = (0..COUNT).map(|number| format!("{name} {number}")).collect();
        assert_eq!(system.messages("t")[before..], expected);
    }
}

/// Megabytes are on their way to the journal, and the kill comes as soon as the first of them are
/// there.
#[test]
fn k03_a_kill_during_a_write_leaves_the_whole_batch_or_nothing_of_it() {
    const LINES: usize = 1_000;
    const ROUNDS: usize = 8;
    let mut system = durable();
    let journal = system.folder().path().join("data/journal-00000001");
    let size = || fs::metadata(&journal).map_or(0, |metadata| metadata.len());
    let mut torn = 0;
    for round in 0..ROUNDS {
        let before = system.messages("t");
        let lines: Vec<_> =
            (0..LINES).map(|line| format!("{round} {line} {}", "~".repeat(1_900))).collect();
        let mut raw = Raw::connect(&system.address());
        let size_before = size();
        raw.request("POST", "/topics/t", lines.join("\n"));
        let is_written = || size() > size_before;
        let end = Instant::now() + DEADLINE;
        while !is_written() && Instant::now() < end {
            // Not for a moment, in which all of it would be written.
            std::hint::spin_loop();
        }
        system.kill_broker();
        let is_acknowledged = raw.try_answer().is_some_and(|answer| answer.status == 200);
        system.start_broker();
        torn += usize::from(system.broker().errors().contains("torn"));
        let after = system.messages("t");
        assert!(after.starts_with(&before), "what was there before is there");
        let more = &after[before.len()..];
        assert!(more.is_empty() || more == lines, "{} of {LINES} lines", more.len());
        assert!(!is_acknowledged || !more.is_empty(), "it was acknowledged");
    }
    println!("{torn} of {ROUNDS} batches were torn");
}

#[test]
fn k11_k12_s03_thirty_kills_under_load_lose_double_and_move_nothing() {
    let mut system = durable();
    let load = full_load(&system, Duration::ZERO);
    for round in 0..30 {
        thread::sleep(Duration::from_millis(20 + round * 7 % 60));
        system.kill_broker();
        if round % 3 == 0 {
            // And again while it starts.
            system.begin_broker();
            thread::sleep(Duration::from_millis(round));
            system.kill_broker();
        }
        system.start_broker();
    }
    let counts = load.finish();
    assert!(counts.is_clean(), "{counts}");
    assert!(counts.acknowledged > 100, "{counts}");
    assert_eq!(counts.unknown, 0, "numbered publishes are repeated until they are known: {counts}");
}

#[test]
fn k13_a_broker_that_finds_no_memory_ends_and_loses_nothing() {
    let mut system = System::reserve_with(&["--data", "data", "--max-memory", "4000000000"])
        .under(&["sh", "-c", "ulimit -v 60000; ulimit -c 0; exec \"$0\" \"$@\""]);
    system.start_broker();
    let mut raw = Raw::connect(&system.address());
    let message = "x".repeat(1 << 20);
    let mut acknowledged = 0;
    // The last answer does not come.
    while system.broker().is_running() && acknowledged < 1000 {
        raw.send_or_lose(request("POST", "/publish", numbered("ann", acknowledged, &message)));
        match raw.try_answer() {
            Some(answer) if answer.status == 200 => acknowledged += 1,
            Some(answer) => panic!("{answer:?}"),
            // It ended, or only this connection did; then the same is sent once more.
            None => {
                thread::sleep(Duration::from_secs(1));
                if system.broker().is_running() {
                    raw = Raw::connect(&system.address());
                }
            }
        }
    }
    assert!((1..1000).contains(&acknowledged), "{acknowledged} messages of 1 MiB in 60 MB");
    assert!(!system.broker().wait().success());

    system = system.under(&[]);
    system.kill_broker();
    system.start_broker();
    let topic = system.get("/topics/t");
    let count = topic.json().get("messages").and_then(|count| count.as_u64()).unwrap();
    assert!((acknowledged..=acknowledged + 1).contains(&count), "{acknowledged} and {count}");
}

#[test]
fn k14_a_signal_that_ends_it_is_a_kill() {
    // Whoever runs the tests in the background may have had signals ignored, and that is inherited.
    let mut system = durable().under(&[
        "env",
        "--default-signal=TERM",
        "--default-signal=INT",
        "--default-signal=HUP",
    ]);
    system.kill_broker();
    system.start_broker();
    for (round, signal) in ["TERM", "INT", "HUP"].into_iter().enumerate() {
        let load = full_load(&system, Duration::ZERO);
        thread::sleep(Duration::from_millis(100));
        system.broker().signal(signal);
        let status = system.broker().wait();
        assert!(!status.success(), "{signal}: {status}");
        system.kill_broker();
        system.start_broker();
        // The next round's publishers have the same names and numbers: they would be duplicates.
        let counts = load.finish();
        assert!(counts.is_clean(), "{signal} in round {round}: {counts}");
        for topic in ["even", "odd"] {
            assert_eq!(system.request("DELETE", &format!("/topics/{topic}"), "").status, 204);
        }
    }
}

#[test]
fn k14_a_broker_that_was_stopped_goes_on_where_it_was() {
    let mut system = durable();
    let load = full_load(&system, Duration::ZERO);
    for _ in 0..3 {
        thread::sleep(Duration::from_millis(50));
        let _stopped = Stopped::new(system.broker());
        thread::sleep(Duration::from_millis(200));
    }
    let counts = load.finish();
    assert!(counts.is_clean(), "{counts}");
}

/// The whole way: a program publishes while the broker is killed, another keeps `received.txt`
/// and is killed as well.
#[test]
fn k11_from_the_publisher_to_received_txt_each_message_comes_once() {
    let mut system = durable();
    let mut subscriber = system.subscribe("t");
    let mut expected = Vec::new();
    for round in 0..4 {
        let messages: Vec<_> = (0..50).map(|number| format!("{round} {number}")).collect();
        let mut command = program::command("publisher");
        command.args(["--topic", "t"]).args(&messages);
        system.introduce(&mut command);
        let folder = Folder::temporary("publisher");
        let mut publisher = Process::start("publisher", command, &folder);
        let some = expected.len() + 1 + round * 10;
        wait_until(DEADLINE, "some messages", || system.messages("t").len() >= some);
        system.kill_broker();
        if round % 2 == 0 {
            subscriber.kill();
            system.restart(&mut subscriber);
        }
        system.start_broker();
        publisher.succeed();
        expected.extend(messages);
        assert_eq!(system.messages("t"), expected);
    }
    subscriber.expect(&expected);
}
