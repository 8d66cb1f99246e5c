//! `received.txt` as an archive: it keeps its messages when the topic lets them go.

use common::crc32::crc32;
use common::random::random;
use std::fs;
use tests::wait::{DEADLINE, wait_until};
use tests::{Folder, Stopped, System};

/// The message with this offset.
fn numbered(offset: u64) -> String {
    format!("message {offset}")
}

/// The messages at these offsets, as a file holds them.
fn lines(offsets: std::ops::Range<u64>) -> String {
    offsets.map(|offset| numbered(offset) + "\n").collect()
}

fn publish(system: &System, offsets: std::ops::Range<u64>) {
    system.publish_batch("t", offsets.map(numbered));
}

fn trim(system: &System, before: u64) {
    let answer = system.request("DELETE", &format!("/topics/t/messages?before={before}"), "");
    assert!(answer.status < 300, "{answer:?}");
}

fn text(folder: &Folder, file: &str) -> String {
    String::from_utf8(folder.read(file)).unwrap()
}

#[test]
fn a_file_keeps_what_it_has_while_the_topic_lets_go_of_it() {
    let system = System::start();
    publish(&system, 0..5);
    let mut subscriber = system.subscribe("t");
    subscriber.expect(&(0..5).map(numbered).collect::<Vec<_>>());
    trim(&system, 3);
    publish(&system, 5..6);
    subscriber.expect(&(0..6).map(numbered).collect::<Vec<_>>());
    // It is proved by its digest when it comes back, and goes on.
    subscriber.kill();
    publish(&system, 6..8);
    trim(&system, 6);
    system.restart(&mut subscriber);
    subscriber.expect(&(0..8).map(numbered).collect::<Vec<_>>());
    assert!(!subscriber.folder().path().join("received.txt.from").exists());
    assert_eq!(subscriber.process().errors(), "");
}

#[test]
fn a_file_that_lacks_what_is_gone_is_set_aside_and_begins_again_where_the_topic_does() {
    let mut system = System::reserve_with(&["--data", "data"]);
    system.start_broker();
    publish(&system, 0..5);
    let mut subscriber = system.subscribe("t");
    subscriber.expect(&(0..5).map(numbered).collect::<Vec<_>>());
    for (next, first, old) in [(20, 12, "received.txt.old"), (40, 33, "received.txt.old.2")] {
        subscriber.kill();
        let before = text(subscriber.folder(), "received.txt");
        let end = system.get("/messages?topic=t&from=-1").number("stream-next-offset");
        publish(&system, end..next);
        trim(&system, first);
        system.restart(&mut subscriber);
        let expected = lines(first..next);
        wait_until(DEADLINE, "the new file", || {
            fs::read_to_string(subscriber.folder().path().join("received.txt"))
                .is_ok_and(|text| text == expected)
        });
        assert_eq!(text(subscriber.folder(), old), before);
        let from = text(subscriber.folder(), "received.txt.from");
        let words: Vec<&str> = from.split_whitespace().collect();
        assert_eq!(words[0], first.to_string());
        assert_eq!(words[2], format!("{:08x}", crc32(lines(0..first).as_bytes())));
        let errors = subscriber.process().errors();
        assert!(errors.contains("no longer has") && errors.contains(old), "{errors}");

        // Whoever comes back without a gap finds the file as it is, also after a restart.
        subscriber.kill();
        system.restart_broker();
        system.restart(&mut subscriber);
        publish(&system, next..next + 1);
        let expected = lines(first..next + 1);
        wait_until(DEADLINE, "one more", || text(subscriber.folder(), "received.txt") == expected);
        assert_eq!(subscriber.process().errors(), "");
    }
    assert!(subscriber.folder().path().join("received.txt.old.2.from").exists());
}

/// As after a repair, or a promotion: the messages are the same, and the list has another id.
#[test]
fn a_file_goes_on_with_a_list_that_begins_with_its_messages() {
    for (is_running, first) in [(true, 4), (false, 4), (true, 0)] {
        let mut system = System::reserve_with(&[]).alone();
        system.start_broker();
        publish(&system, 0..8);
        trim(&system, first);
        let mut subscriber = system.subscribe("t");
        subscriber.expect(&(first..8).map(numbered).collect::<Vec<_>>());
        let stopped = is_running.then(|| Stopped::new(subscriber.process()));
        if !is_running {
            subscriber.kill();
        }
        system.restart_broker();
        publish(&system, 0..9);
        trim(&system, 6);
        drop(stopped);
        if !is_running {
            system.restart(&mut subscriber);
        }
        subscriber.expect(&(first..9).map(numbered).collect::<Vec<_>>());
        assert!(!subscriber.folder().path().join("received.txt.old").exists());
        assert_eq!(subscriber.process().errors(), "");
    }
}

/// Subscriber and broker are killed at random while the topic lets go: the file is an exact piece
/// of the topic from where it says it begins, or was set aside.
#[test]
fn a_file_is_exact_though_everybody_is_killed_while_the_topic_lets_go() {
    let mut system = System::reserve_with(&["--data", "data", "--keep-messages", "50"]);
    system.start_broker();
    let mut subscriber = system.subscribe("t");
    let mut next = 0;
    for _ in 0..16 {
        let count = random() % 60;
        publish(&system, next..next + count);
        next += count;
        match random() % 4 {
            0 => system.restart_broker(),
            1 | 2 => {
                subscriber.kill();
                let count = random() % 60;
                publish(&system, next..next + count);
                next += count;
                system.restart(&mut subscriber);
            }
            _ => {}
        }
    }
    publish(&system, next..next + 1);
    next += 1;
    let folder = subscriber.folder();
    let begin = || {
        let from = fs::read_to_string(folder.path().join("received.txt.from")).ok()?;
        from.split_whitespace().next()?.parse().ok()
    };
    wait_until(DEADLINE, "the last message", || {
        let text = fs::read_to_string(folder.path().join("received.txt")).unwrap_or_default();
        text.ends_with(&lines(next - 1..next)) && text == lines(begin().unwrap_or(0)..next)
    });
    // What was set aside is exact as well.
    for number in 1.. {
        let name = match number {
            1 => "received.txt.old".to_owned(),
            _ => format!("received.txt.old.{number}"),
        };
        let Ok(old) = fs::read_to_string(folder.path().join(&name)) else { break };
        let from = fs::read_to_string(folder.path().join(name + ".from")).unwrap_or_default();
        let from: u64 = from.split_whitespace().next().map_or(0, |from| from.parse().unwrap());
        assert_eq!(old, lines(from..from + old.lines().count() as u64));
    }
}
