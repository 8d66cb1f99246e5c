//! Readers that know more than the broker, because an older copy of its data directory was
//! restored.

use crate::brokers::{ask, number, succeed, wait_for_success};
use crate::peers::{command, peer_of, peer_with, publish};
use std::fs;
use std::path::{Path, PathBuf};
use tests::raw::Raw;
use tests::wait::{DEADLINE, wait_until};
use tests::{Folder, System, program};

const ROUNDS: usize = 20;

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// A broker whose data directory can be put back as it was.
struct Restorable {
    system: System,
    data: PathBuf,
    copy: PathBuf,
}

impl Restorable {
    fn of(mut system: System) -> Restorable {
        let data = system.broker().folder().path().join("data");
        let copy = data.with_extension("copy");
        Restorable { system, data, copy }
    }

    fn keep_a_copy(&mut self) {
        self.system.kill_broker();
        copy(&self.data, &self.copy);
        self.system.start_broker();
    }

    fn put_the_copy_back(&mut self) {
        self.system.kill_broker();
        copy(&self.copy, &self.data);
        self.system.start_broker();
    }
}

/// A hub whose directory can be put back, and a leaf that keeps its mirrors on disk.
fn hub_and_leaf() -> (Restorable, System) {
    let mut hub = System::reserve_with(&["--data", "data"]).alone();
    hub.start_broker();
    let hub = Restorable::of(hub);
    let address = hub.system.address();
    let mut leaf = System::reserve_with(&["--upstream", &address, "--data", "data"]);
    leaf.start_broker();
    (hub, leaf)
}

fn digest(system: &System, topic: &str) -> String {
    let text = system.get(&format!("/topics/{topic}")).text().to_owned();
    text.split("\"digest\":\"").nth(1).unwrap_or(&text)[..8].to_owned()
}

#[test]
fn a_leaf_has_the_list_of_a_hub_whose_older_copy_was_put_back() {
    let (mut hub, mut leaf) = hub_and_leaf();
    for round in 0..ROUNDS {
        let topic = format!("t{round}");
        hub.system.publish(&topic, "one");
        hub.keep_a_copy();
        hub.system.publish_batch(&topic, (0..=round % 3).map(|lost| format!("lost {lost}")));
        wait_for_success(&leaf, &publish(&topic, "lost as well"));
        if round % 2 == 0 {
            leaf.kill_broker();
        }
        hub.put_the_copy_back();
        hub.system.publish_batch(&topic, (0..=round % 4).map(|new| format!("new {new}")));
        if round % 2 == 0 {
            leaf.start_broker();
        }
        wait_for_success(&leaf, &publish(&topic, "last"));
        assert_eq!(leaf.messages(&topic), hub.system.messages(&topic), "round {round}");
        assert_eq!(digest(&leaf, &topic), digest(&hub.system, &topic), "round {round}");
    }
}

#[test]
fn a_peer_has_the_list_of_a_home_whose_older_copy_was_put_back() {
    let index = System::start();
    let mut home = Restorable::of(peer_with(&index, &["--data", "data"]));
    let other = peer_of(&index);
    succeed(&home.system, &command("create_topic", "t"));
    succeed(&other, &publish("t", "one"));
    home.keep_a_copy();
    wait_for_success(&other, &publish("t", "lost"));
    home.put_the_copy_back();
    wait_for_success(&home.system, &publish("t", "new"));
    wait_for_success(&other, &publish("t", "last"));
    for peer in [&home.system, &other] {
        wait_until(DEADLINE, "the list", || peer.messages("t") == ["one", "new", "last"]);
    }
}

#[test]
fn a_reader_that_shows_the_digest_of_what_it_has_is_told_when_it_does_not_fit() {
    let broker = System::start();
    broker.publish_batch("t", ["one", "two", "three"].into_iter());
    let mut session = Raw::connect(&broker.address());
    let mut ask = |fields: &str| {
        session.send(format!("{{\"command\":\"subscribe\",\"topic\":\"t\",{fields}}}"));
        let answer = session.line();
        session.send("{\"command\":\"unsubscribe\",\"topic\":\"t\"}");
        while !session.line().contains("\"status\"") {}
        answer
    };
    let all = digest(&broker, "t");
    let one = format!("{:08x}", common::crc32::crc32(b"one\n"));
    for (fields, expected) in [
        ("\"from\":3,\"digest\":\"00000000\"".to_owned(), "\"code\":412"),
        (format!("\"from\":2,\"digest\":\"{one}\""), "\"code\":412"),
        (format!("\"from\":4,\"digest\":\"{all}\""), "\"code\":416"),
        ("\"from\":1,\"digest\":\"zz\"".to_owned(), "\"code\":400"),
        (format!("\"from\":1,\"digest\":\"{one}\""), "\"next\":1"),
        // Another list that begins with the same messages.
        (format!("\"from\":1,\"digest\":\"{one}\",\"stream\":\"00000000000000aa\""), "\"next\":1"),
        ("\"from\":0,\"digest\":\"00000000\"".to_owned(), "\"next\":0"),
    ] {
        let answer = ask(&fields);
        assert!(answer.contains(expected), "{fields}: {answer}");
    }
    assert!(ask("\"digest\":true").contains(&format!("\"digest\":\"{all}\"")));
    let pull = format!("{{\"command\":\"pull\",\"topic\":\"t\",\"from\":1,\"digest\":\"{one}\"}}");
    assert!(succeed(&broker, &pull).contains("[\"two\",\"three\"]"));
    let pull = pull.replace(&one, &all);
    assert!(self::ask(&broker, &pull).contains("\"code\":412"));
}

/// Goes on with a lasting subscription, once that is possible: where.
#[track_caller]
fn go_on(broker: &System, topic: &str, name: &str) -> (Raw, u64) {
    let command = format!(
        "{{\"command\":\"subscribe\",\"topic\":\"{topic}\",\"subscriber\":\"{name}\",\"from\":0}}"
    );
    wait_for_success(broker, &command);
    let mut session = Raw::connect(&broker.address());
    session.send(&command);
    let next = number(&session.line(), "next");
    (session, next)
}

/// Of what a hub has lost, a name at a leaf had acknowledged some, and what has come instead is as
/// long again: it goes on with the first message that it has not seen, and not behind it.
#[test]
fn a_lasting_subscription_at_a_leaf_misses_nothing_of_a_hub_whose_older_copy_was_put_back() {
    let (mut hub, mut leaf) = hub_and_leaf();
    for round in 0..ROUNDS / 2 {
        let topic = &format!("t{round}");
        hub.system.publish_batch(topic, (0..10).map(|number| format!("old {number}")));
        hub.keep_a_copy();
        for name in ["ann", "bob", "cat"] {
            assert_eq!(go_on(&leaf, topic, name).1, 0);
        }
        wait_for_success(&leaf, &publish(topic, "lost"));
        hub.system.publish_batch(topic, (0..9).map(|number| format!("lost {number}")));
        let (mut live, _) = go_on(&leaf, topic, "cat");
        for offset in 0..20 {
            assert_eq!(number(&live.line(), "offset"), offset);
        }
        for (name, offset) in [("ann", 4), ("bob", 14), ("cat", 14)] {
            let acknowledge = format!(
                "{{\"command\":\"ack\",\"topic\":\"{topic}\",\"subscriber\":\"{name}\",\
                 \"offset\":{offset}}}"
            );
            succeed(&leaf, &acknowledge);
        }
        let restarts = round % 2 == 1;
        if restarts {
            // What is not kept by then comes again.
            leaf.kill_broker();
        }
        hub.put_the_copy_back();
        hub.system.publish_batch(topic, (0..12).map(|number| format!("new {number}")));
        if restarts {
            leaf.start_broker();
        } else {
            let told = live.line();
            assert!(told.contains("\"event\":\"reset\""), "{told}");
            assert_eq!(number(&told, "next"), 10, "{told}");
            assert!(live.line().contains("\"message\":\"new 0\""), "round {round}");
        }
        wait_for_success(&leaf, &publish(topic, "last"));
        let all = hub.system.messages(topic);
        for (name, expected) in [("ann", 5), ("bob", 10)] {
            let (mut session, next) = go_on(&leaf, topic, name);
            assert!(next == expected || restarts && next < expected, "round {round}: {next}");
            for (offset, message) in (0..).zip(&all).skip(usize::try_from(next).unwrap()) {
                let line = session.line();
                assert_eq!(number(&line, "offset"), offset, "{line}");
                assert!(line.contains(&format!("\"message\":\"{message}\"")), "{line}");
            }
        }
    }
}

/// Whoever has lost the hub goes on with what a leaf has.
#[test]
fn the_directory_of_a_leaf_becomes_a_broker_of_its_own() {
    let mut hub = System::start();
    let text = "x".repeat(1000);
    hub.publish_batch("large", (0..2000).map(|number| format!("{number} {text}")));
    let mut leaf = System::reserve_with(&[
        "--upstream",
        &hub.address(),
        "--data",
        "data",
        "--max-memory",
        "1m",
    ]);
    leaf.start_broker();
    wait_for_success(&leaf, &command("pull", "large"));
    for message in ["one", "two", "three"] {
        leaf.publish("small/ä", message);
    }
    assert_eq!(go_on(&leaf, "small/ä", "ann").1, 0);
    let acknowledge =
        command("ack", "small/ä").replace('}', ",\"subscriber\":\"ann\",\"offset\":1}");
    succeed(&leaf, &acknowledge);
    let data = leaf.folder().path().join("data");
    let kept = || {
        let journal = fs::read_to_string(data.join("journal-00000001")).unwrap();
        let mut positions = journal.lines().filter(|line| line.starts_with("@\tann\t"));
        positions.any(|line| line.split('\t').nth(4) == Some("2"))
    };
    wait_until(DEADLINE, "the acknowledgement to be kept", kept);
    let before: Vec<_> = ["large", "small/ä"].map(|topic| hub.messages(topic)).into();
    let stream = |broker: &System| {
        broker.get("/messages?topic=large&limit=0").field("Stream-Id").unwrap().to_owned()
    };
    let old_stream = stream(&hub);
    hub.kill_broker();
    leaf.kill_broker();
    let data = data.to_str().unwrap();
    let run = |arguments: &[&str]| {
        let output = program::command("broker").args(arguments).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), said)
    };
    let (status, said) = run(&["--port=0", "--data", data]);
    assert!(status == Some(1) && said.contains("broker promote"), "{said}");
    let (status, said) = run(&["promote", data]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.starts_with("2 topics ") && said.contains("3 messages from offset 0"), "{said}");
    let line = said.lines().find(|line| line.ends_with("large")).unwrap();
    let first: u64 =
        line.split("from offset ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!((1..2000).contains(&first), "{line}");

    let mut own = System::reserve_with(&["--data", data]).alone();
    own.start_broker();
    for published in 0..2 {
        assert_eq!(own.messages("small/ä"), before[1]);
        let large = own.messages("large");
        let kept = &before[0][usize::try_from(first).unwrap()..];
        assert_eq!(&large[..kept.len()], kept);
        let below = own.get("/messages?topic=large&from=0");
        assert_eq!((below.status, below.number("Stream-First-Offset")), (410, first));
        assert_ne!(stream(&own), old_stream, "the hub may come back");
        assert_eq!(go_on(&own, "small/ä", "ann").1, 2);
        let answer = succeed(&own, &publish("large", "own"));
        assert_eq!(number(&answer, "offset"), 2000 + published);
        own.restart_broker();
    }
    own.kill_broker();
    let (status, said) = run(&["promote", data]);
    assert!(status == Some(0) && said.contains("nothing was changed"), "{said}");
    let (status, said) = run(&["--port=0", "--data", data, "--upstream", "localhost:1"]);
    assert!(status == Some(1) && said.contains("topics of its own"), "{said}");
    let nowhere = Folder::temporary("nowhere");
    let (status, _) = run(&["promote", nowhere.path().to_str().unwrap()]);
    assert_eq!(status, Some(1));
    assert_eq!(
        fs::read_dir(nowhere.path())
            .unwrap()
            .filter(|it| it.as_ref().unwrap().file_name() != "LOCK")
            .count(),
        0
    );
}

/// The mirror may be the only copy. It is set aside once, so that a hub that keeps nothing does not
/// fill the disks of its leaves.
#[test]
fn what_a_hub_has_lost_is_set_aside_by_its_leaf() {
    let mut hub = System::reserve().alone();
    hub.start_broker();
    let mut leaf = System::reserve_with(&["--upstream", &hub.address(), "--data", "data"]);
    leaf.start_broker();
    for message in ["one", "two"] {
        leaf.publish("a/b", message);
    }
    let folder = leaf.broker().folder().path().join("data/set-aside");
    for round in 0..2 {
        hub.restart_broker();
        wait_for_success(&leaf, &publish("a/b", &format!("new {round}")));
        assert_eq!(leaf.messages("a/b"), [format!("new {round}")]);
        let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|it| it.unwrap().path()).collect();
        assert_eq!(files.len(), 1);
        assert_eq!(fs::read_to_string(&files[0]).unwrap(), "one\ntwo\n");
    }
    let told = leaf.broker().errors();
    assert_eq!(told.matches("set aside in").count(), 1, "{told}");
    leaf.restart_broker();
    assert_eq!(leaf.messages("a/b"), ["new 1"]);
}
