//! The whole way from a file through the broker to `received.txt`, while all programs are killed at
//! random, and on a full disk.
//!
//! A publisher restarts with the same id and file, a subscriber with the same folder. In the end
//! `received.txt` equals the file, byte for byte.

use common::random::random;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;
use tests::wait::{DEADLINE, holds_within, wait_until};
use tests::{Folder, Process, Subscriber, System, program};

/// The file that is published.
const FILE: &str = "file.txt";

/// A publisher of [`FILE`], a broker, and a subscriber that keeps `received.txt`.
struct Chain {
    system: System,
    folder: Folder,
    publisher: Process,
    subscriber: Subscriber,
    /// What has to be received in the end: all files.
    expected: Vec<u8>,
}

/// How often each of them was killed under way.
#[derive(Debug, Default)]
struct Kills {
    brokers: u32,
    publishers: u32,
    subscribers: u32,
}

impl Kills {
    fn sum(&self) -> u32 {
        self.brokers + self.publishers + self.subscribers
    }
}

impl Chain {
    /// A chain for a file of so many lines.
    fn start(system: System, lines: usize) -> Chain {
        let folder = Folder::temporary("publisher");
        let expected = file(0, lines);
        folder.write(FILE, &expected);
        let publisher = publisher(&system, &folder);
        let subscriber = system.subscribe("t");
        Chain { system, folder, publisher, subscriber, expected }
    }

    /// Publishes a longer file, if the last one is there.
    fn go_on(&mut self, number: usize, lines: usize) -> bool {
        if self.publisher.is_running() {
            return false;
        }
        self.publisher.succeed();
        // It begins with what was published under this id.
        self.expected.extend(file(number, lines));
        self.folder.write(FILE, &self.expected);
        self.publisher = publisher(&self.system, &self.folder);
        true
    }

    /// Kills one of the three, and starts it again.
    fn kill_one(&mut self, kills: &mut Kills) {
        match random() % 4 {
            0 => {
                self.system.kill_broker();
                // Some find it away, and some do not notice.
                thread::sleep(Duration::from_millis(random() % 2 * 20));
                self.system.start_broker();
                kills.brokers += 1;
            }
            1 => {
                // And again while it starts.
                self.system.kill_broker();
                self.system.begin_broker();
                thread::sleep(Duration::from_millis(random() % 20));
                self.system.restart_broker();
                kills.brokers += 2;
            }
            2 => {
                self.subscriber.kill();
                self.system.restart(&mut self.subscriber);
                kills.subscribers += 1;
            }
            _ if self.publisher.is_running() => {
                self.publisher.kill();
                self.publisher = publisher(&self.system, &self.folder);
                kills.publishers += 1;
            }
            _ => {}
        }
    }

    /// How many bytes of the file have arrived.
    fn received(&self) -> u64 {
        let path = self.subscriber.folder().path().join("received.txt");
        fs::metadata(path).map_or(0, |metadata| metadata.len())
    }

    /// Waits for the end: the publisher has published, and what was received is the file.
    #[track_caller]
    fn finish(mut self) {
        self.publisher.succeed();
        let size = self.expected.len() as u64;
        wait_until(DEADLINE, "received.txt to be as long as the file", || self.received() >= size);
        let received = self.subscriber.folder().read("received.txt");
        assert!(received == self.expected, "received.txt differs");
        let list = self.system.get("/messages?topic=t");
        assert!(list.body == self.expected, "the topic differs");
        // It stays so whoever looks again.
        self.subscriber.kill();
        self.system.restart(&mut self.subscriber);
        self.system.publish("t", "after");
        wait_until(DEADLINE, "the last line", || self.received() >= size + 6);
        let received = self.subscriber.folder().read("received.txt");
        self.expected.extend(b"after\n");
        assert!(received == self.expected, "received.txt differs");
    }
}

/// A file of lines that are all different, and of many lengths.
fn file(number: usize, lines: usize) -> Vec<u8> {
    let line = |line: usize| format!("{number} {line} {}\n", "~".repeat(line * 31 % 97));
    (0..lines).flat_map(|number| line(number).into_bytes()).collect()
}

/// A publisher that knows the file under the same id as the one before.
fn publisher(system: &System, folder: &Folder) -> Process {
    let mut command = program::command("publisher");
    command.args(["--wait", "300", "--topic", "t", "--file", FILE, "ann"]);
    system.introduce(&mut command);
    Process::start("publisher", command, folder)
}

/// On a machine that is so fast that few kills find a file under way, there are more files.
#[test]
fn files_arrive_byte_for_byte_though_all_three_are_killed_again_and_again() {
    const LINES: usize = 20_000;
    const KILLS: u32 = 40;
    let mut system = System::reserve_with(&["--data", "data"]);
    system.start_broker();
    let mut chain = Chain::start(system, LINES);
    let (mut kills, mut files) = (Kills::default(), 1);
    while kills.sum() < KILLS || kills.publishers < 5 || kills.subscribers < 5 {
        let kill_after = Duration::from_millis(random() % 60);
        let is_received = || chain.received() >= chain.expected.len() as u64;
        if holds_within(kill_after, is_received) && chain.go_on(files, LINES) {
            files += 1;
        }
        chain.kill_one(&mut kills);
    }
    println!("{files} files, {kills:?}");
    chain.finish();
}

/// The limit of a file's size stands for a full disk: where the signal is ignored, a write fails.
#[test]
fn a_file_arrives_byte_for_byte_though_the_disk_is_full_for_a_while() {
    const LINES: usize = 40_000;
    let system = System::reserve_with(&["--data", "data"]);
    let mut system =
        system.under(&["sh", "-c", "trap '' XFSZ; ulimit -S -f 2000; exec \"$0\" \"$@\""]);
    system.start_broker();
    let mut chain = Chain::start(system, LINES);
    let is_full = |system: &System| system.get("/readyz").status == 503;
    wait_until(DEADLINE, "a full disk", || is_full(&chain.system));
    // A smaller piece may still have fitted, so what is stored is asked for again and again.
    let stored = || chain.system.get("/messages?topic=t").body.len() as u64;
    assert!(stored() < chain.expected.len() as u64, "the disk never was full");
    wait_until(DEADLINE, "what is stored", || chain.received() == stored());
    chain.system.restart_broker();
    for _ in 0..6 {
        chain.kill_one(&mut Kills::default());
        thread::sleep(Duration::from_millis(50));
    }
    assert!(chain.publisher.is_running(), "it tries again while there is no room");
    let broker = chain.system.broker().id().to_string();
    let larger = ["--fsize=unlimited", "--pid", &broker];
    assert!(Command::new("prlimit").args(larger).status().unwrap().success());
    chain.finish();
}
