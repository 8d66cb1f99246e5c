//! Lost answers, and repeated publishes.

use crate::faults_kill::{durable, numbered};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use tests::raw::{Answer, Raw, request};
use tests::wait::{DEADLINE, wait_until};
use tests::{Door, Fate, Load, Proxy, System};

#[track_caller]
fn publish(system: &System, body: &str) -> Answer {
    let answer = system.request("POST", "/publish", body);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

fn is_duplicate(answer: &Answer) -> bool {
    answer.json().get("duplicate").and_then(|it| it.as_bool()).unwrap_or(false)
}

/// Sends a publish whose answer is lost on the way, and waits until it is stored.
fn publish_unanswered(system: &System, body: &str) {
    let before = system.messages("t").len();
    let proxy = Proxy::start(system.port(), |_| Fate::Cut { answered: 0 });
    let mut raw = Raw::connect(&format!("127.0.0.1:{}", proxy.port()));
    raw.request("POST", "/publish", body);
    assert!(raw.try_answer().is_none(), "the answer is lost");
    wait_until(DEADLINE, "the message", || system.messages("t").len() > before);
}

#[test]
fn r01_a_publish_whose_answer_was_lost_is_a_duplicate_when_it_is_repeated() {
    let system = durable();
    publish_unanswered(&system, &numbered("ann", 0, "x"));
    assert!(is_duplicate(&publish(&system, &numbered("ann", 0, "x"))));
    assert_eq!(system.messages("t"), ["x"]);
}

#[test]
fn r02_so_it_is_after_a_kill() {
    let mut system = durable();
    publish_unanswered(&system, &numbered("ann", 0, "x"));
    system.restart_broker();
    assert!(is_duplicate(&publish(&system, &numbered("ann", 0, "x"))));
    assert_eq!(system.messages("t"), ["x"]);
}

/// Without a number nobody can tell a repetition from another message of the same text.
#[test]
fn r03_without_a_number_it_is_there_twice() {
    let mut system = durable();
    let body = r#"{"topic":"t","message":"x"}"#;
    publish_unanswered(&system, body);
    system.restart_broker();
    assert!(!is_duplicate(&publish(&system, body)));
    assert_eq!(system.messages("t"), ["x", "x"]);
}

#[test]
fn r04_of_eight_copies_at_once_one_is_stored_before_and_after_a_kill() {
    const COPIES: usize = 8;
    let mut system = durable();
    for sequence in 0..10 {
        if sequence == 5 {
            system.restart_broker();
        }
        let start = Barrier::new(COPIES);
        let answers: Vec<_> = thread::scope(|scope| {
            let copies: Vec<_> = (0..COPIES)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        publish(&system, &numbered("ann", sequence, "x"))
                    })
                })
                .collect();
            copies.into_iter().map(|copy| copy.join().unwrap()).collect()
        });
        assert_eq!(answers.iter().filter(|answer| !is_duplicate(answer)).count(), 1);
        for answer in answers {
            assert_eq!(answer.json().get("offset").and_then(|it| it.as_u64()), Some(sequence));
        }
    }
    assert_eq!(system.messages("t").len(), 10);
}

/// Room is what a broker runs out of most simply; a full disk is in `tests/faults.sh`.
#[test]
fn r06_a_publish_that_found_no_room_leaves_no_number_behind() {
    let mut system = System::reserve_with(&["--data", "data", "--max-memory", "100000"]).alone();
    system.start_broker();
    let large = "x".repeat(90_000);
    publish(&system, &numbered("ann", 0, "first"));
    publish(&system, &format!(r#"{{"topic":"other","message":"{large}"}}"#));
    let second = numbered("ann", 1, &large);
    for _ in 0..2 {
        assert_eq!(system.request("POST", "/publish", &second).status, 507);
        system.restart_broker();
    }
    assert_eq!(system.request("DELETE", "/topics/other", "").status, 204);
    assert!(!is_duplicate(&publish(&system, &second)));
    assert!(is_duplicate(&publish(&system, &second)));
    assert_eq!(system.messages("t"), ["first".to_owned(), large]);
}

#[test]
fn r07_a_gap_and_an_older_epoch_are_refused_after_a_kill_as_before() {
    let mut system = durable();
    publish(&system, &numbered("ann", 0, "x"));
    let newer = r#"{"topic":"t","publisher":"bob","epoch":7,"sequence":0,"message":"y"}"#;
    publish(&system, newer);
    for _ in 0..2 {
        let gap = system.request("POST", "/publish", numbered("ann", 2, "x"));
        assert_eq!(gap.status, 409);
        assert!(gap.text().contains("expected 1"), "{gap:?}");
        let old = system.request("POST", "/publish", numbered("bob", 0, "y"));
        assert_eq!(old.status, 403);
        assert!(old.text().contains('7'), "{old:?}");
        assert_eq!(system.messages("t"), ["x", "y"]);
        system.restart_broker();
    }
}

#[test]
fn r08_the_oldest_number_is_a_duplicate_still_after_many_restarts() {
    let mut system = durable();
    for sequence in 0..50 {
        publish(&system, &numbered("ann", sequence, &sequence.to_string()));
        if sequence % 10 == 9 {
            system.restart_broker();
        }
    }
    for sequence in 0..50 {
        let answer = publish(&system, &numbered("ann", sequence, "again"));
        assert!(is_duplicate(&answer), "{answer:?}");
        assert_eq!(answer.json().get("offset").and_then(|it| it.as_u64()), Some(sequence));
    }
    let expected: Vec<_> = (0..50).map(|sequence| sequence.to_string()).collect();
    assert_eq!(system.messages("t"), expected);
}

#[test]
fn r09_ten_thousand_publishers_are_known_after_a_kill() {
    let publishers: usize = System::scaled(10_000);
    let mut system = durable();
    let requests: Vec<_> = (0..publishers)
        .map(|number| request("POST", "/publish", numbered(&format!("p{number}"), 0, "x")))
        .collect();
    for is_again in [false, true] {
        let mut raw = Raw::connect(&system.address());
        let mut offset = 0;
        for piece in requests.chunks(100) {
            raw.send(piece.concat());
            for _ in piece {
                let answer = raw.answer();
                assert_eq!(is_duplicate(&answer), is_again, "{answer:?}");
                assert_eq!(answer.json().get("offset").and_then(|it| it.as_u64()), Some(offset));
                offset += 1;
            }
        }
        system.restart_broker();
    }
    assert_eq!(system.messages("t").len(), publishers);
}

/// A connection is cut after some answers, so that about one answer in five is lost.
#[test]
fn r10_each_message_is_there_once_though_answers_are_lost_and_the_broker_is_killed() {
    let mut system = durable();
    let cut = AtomicU64::new(0);
    let proxy = Proxy::start(system.port(), move |_| {
        let step = usize::try_from(cut.fetch_add(1, Ordering::Relaxed)).unwrap();
        Fate::Cut { answered: 100 + step * 397 % 1700 }
    });
    let through = format!("127.0.0.1:{}", proxy.port());
    let mut load = Load::on(&system.address());
    for number in 0..8 {
        let door = if number % 2 == 0 { Door::Http } else { Door::Json };
        load.publish_through(&through, &format!("p{number}"), "t", door, Duration::ZERO);
    }
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(100));
        system.restart_broker();
    }
    let counts = load.finish();
    assert!(counts.is_clean(), "{counts}");
    assert!(proxy.connections() > 50, "{} connections", proxy.connections());
    assert_eq!(counts.sent, counts.acknowledged, "{counts}");
}

#[test]
fn r11_a_proxy_that_repeats_a_request_changes_nothing() {
    let system = durable();
    let mut raw = Raw::connect(&system.address());
    let body = request("POST", "/publish", numbered("ann", 0, "x"));
    raw.send([body.as_slice(), body.as_slice()].concat());
    assert_eq!([is_duplicate(&raw.answer()), is_duplicate(&raw.answer())], [false, true]);
    assert_eq!(system.messages("t"), ["x"]);
}
