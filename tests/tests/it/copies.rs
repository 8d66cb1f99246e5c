//! Readers that know more than the broker, because an older copy of its data directory was
//! restored.

use crate::brokers::{ask, succeed, wait_for_success};
use crate::peers::{command, peer_of, peer_with, publish};
use std::fs;
use std::path::{Path, PathBuf};
use tests::System;
use tests::raw::Raw;
use tests::wait::{DEADLINE, wait_until};

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

fn digest(system: &System, topic: &str) -> String {
    let text = system.get(&format!("/topics/{topic}")).text().to_owned();
    text.split("\"digest\":\"").nth(1).unwrap_or(&text)[..8].to_owned()
}

#[test]
fn a_leaf_has_the_list_of_a_hub_whose_older_copy_was_put_back() {
    let mut hub = System::reserve_with(&["--data", "data"]);
    hub.start_broker();
    let mut hub = Restorable::of(hub);
    let address = hub.system.address();
    let mut leaf = System::reserve_with(&["--upstream", &address, "--data", "data"]);
    leaf.start_broker();
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

/// The mirror may be the only copy. It is set aside once, so that a hub that keeps nothing does not
/// fill the disks of its leaves.
#[test]
fn what_a_hub_has_lost_is_set_aside_by_its_leaf() {
    let mut hub = System::reserve();
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
