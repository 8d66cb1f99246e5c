//! A broker that loses history: an older copy of its data directory is put back, or its journal is
//! damaged and repaired, again and again.
//!
//! Its readers carry the digest of what they have. None of them may ever skip a message: after each
//! round, each has exactly the list that is there, or, where it has a name, everything from a place
//! on that it may go on at. A leaf follows the broker all the time, and is killed now and then.

use common::crc32::Crc32;
use common::json::{self, Value};
use common::random::random;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};
use tests::{Subscriber, System, program};

/// The topic that all is about.
const TOPIC: &str = "past";

/// How long a reader may take to come to the end of the list.
const PATIENCE: Duration = Duration::from_secs(90);

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// How often each thing happened.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    pub(crate) copies: u64,
    pub(crate) repairs: u64,
    /// Readers that did not have, in the end, what they should.
    pub(crate) skipped: u64,
}

/// Makes rounds until it is time to end.
pub(crate) fn run(end: Instant) -> Rounds {
    let mut hub = System::reserve_with(&["--data", "data", "--segment", "64k"]);
    hub.start_broker();
    let mut leaf = System::reserve_with(&["--upstream", &hub.address(), "--data", "data"]);
    leaf.start_broker();
    let data = hub.folder().path().join("data");
    let copy = data.with_extension("copy");
    let mut published = 0;
    publish(&hub, &mut published);
    let mut file: Subscriber = hub.subscribe(TOPIC);
    let mut readers =
        [Reader::new(&hub), Reader::named(&hub), Reader::new(&leaf), Reader::named(&leaf)];
    readers[3].is_at_leaf = true;
    let mut rounds = Rounds::default();
    let mut has_copy = false;
    while Instant::now() < end {
        for reader in &mut readers {
            reader.come_to_the_end(&hub, &mut rounds);
        }
        file.expect(&hub.messages(TOPIC));
        for reader in &mut readers {
            reader.acknowledge();
        }
        let is_killed = random().is_multiple_of(3);
        if is_killed {
            leaf.kill_broker();
        }
        hub.kill_broker();
        if !has_copy {
            replace(&copy, &data);
            readers.iter_mut().for_each(|reader| reader.place_copied = reader.place_max);
        } else if random().is_multiple_of(2) {
            replace(&data, &copy);
            // The copy says where its names stand, which may be later than in what a repair left.
            for reader in readers.iter_mut().filter(|reader| !reader.is_at_leaf) {
                reader.place_max = reader.place_copied;
            }
            rounds.copies += 1;
        } else {
            damage(&data);
            repair(&data);
            rounds.repairs += 1;
        }
        // The copy is of a time after the last that was put back.
        has_copy = !has_copy || random().is_multiple_of(2);
        hub.start_broker();
        publish(&hub, &mut published);
        if is_killed {
            leaf.start_broker();
        }
    }
    file.kill();
    rounds
}

/// Publishes some messages of which none was there before.
fn publish(hub: &System, published: &mut u64) {
    let count = 1 + random() % 40;
    let text = "x".repeat(usize::try_from(random() % 300).unwrap_or_default());
    hub.publish_batch(TOPIC, (*published..*published + count).map(|it| format!("{it} {text}")));
    *published += count;
}

/// Puts a copy of a directory in the place of another.
fn replace(to: &Path, from: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).expect("the folder is made");
    for entry in fs::read_dir(from).expect("the folder is there").flatten() {
        if entry.path().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("the file is copied");
        }
    }
}

/// Changes one bit in one of the files that hold messages.
fn damage(data: &Path) {
    let is_segment = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("journal-"))
    };
    let files = fs::read_dir(data).expect("the folder is there").flatten();
    let mut files: Vec<_> = files.map(|entry| entry.path()).filter(is_segment).collect();
    files.sort();
    let chosen = usize::try_from(random()).unwrap_or_default() % files.len().max(1);
    let Some(path) = files.get(chosen) else { return };
    let mut bytes = fs::read(path).expect("the file can be read");
    let place = usize::try_from(random()).unwrap_or_default() % bytes.len().max(1);
    if let Some(byte) = bytes.get_mut(place) {
        *byte ^= 1 << (random() % 8);
    }
    fs::write(path, bytes).expect("the file can be written");
}

fn repair(data: &Path) {
    let output = program::command("broker").arg("repair").arg(data).output();
    let output = output.expect("the broker's program is there");
    assert!(output.status.success(), "{output:?}");
}

/// A client of the JSON door that keeps what it reads.
struct Reader {
    address: String,
    name: Option<&'static str>,
    /// Whether its broker is the leaf, whose directory is never put back.
    is_at_leaf: bool,
    /// Of one with a name: where it stood, as far as it was told, and the last offset that it may
    /// go on at.
    place: u64,
    place_max: u64,
    /// `place_max` when the hub's directory was copied.
    place_copied: u64,
    /// Where the first of its messages stands.
    first: u64,
    messages: Vec<String>,
    link: Option<BufReader<TcpStream>>,
}

impl Reader {
    fn new(broker: &System) -> Reader {
        let (address, name, messages, link) = (broker.address(), None, Vec::new(), None);
        let (is_at_leaf, place, place_max, place_copied, first) = Default::default();
        Reader { address, name, is_at_leaf, place, place_max, place_copied, first, messages, link }
    }

    /// One with a lasting subscription.
    fn named(broker: &System) -> Reader {
        Reader { name: Some("ann"), ..Reader::new(broker) }
    }

    fn next(&self) -> u64 {
        self.first + self.messages.len() as u64
    }

    /// Reads until it has the last message of the hub's list, and compares.
    fn come_to_the_end(&mut self, hub: &System, rounds: &mut Rounds) {
        let all = hub.messages(TOPIC);
        let deadline = Instant::now() + PATIENCE;
        while self.messages.last() != all.last() && Instant::now() < deadline {
            if let Err(error) = self.read(deadline) {
                if error.kind() == io::ErrorKind::InvalidData {
                    eprintln!("a reader at {}: {error}", self.address);
                    rounds.skipped += 1;
                }
                self.link = None;
                thread::sleep(PAUSE);
            }
        }
        let first = usize::try_from(self.first).unwrap_or(usize::MAX);
        if all.get(first..) != Some(&self.messages) {
            let (name, has) = (self.name, self.messages.len());
            eprintln!(
                "a reader at {} ({name:?}) has {has} messages from {first}, and {} are there",
                self.address,
                all.len()
            );
            rounds.skipped += 1;
            // It begins anew, so that each fault is counted once.
            (self.link, self.first) = (None, 0);
            self.messages.clear();
        }
        self.place_max = self.next();
    }

    /// One with a name acknowledges some of what it has.
    fn acknowledge(&mut self) {
        let Some(name) = self.name else { return };
        let offset = self.first + random() % (self.messages.len() as u64).max(1);
        let command = format!(
            "{{\"command\":\"ack\",\"topic\":\"{TOPIC}\",\"subscriber\":\"{name}\",\
             \"offset\":{offset}}}\n"
        );
        if let Some(link) = &mut self.link
            && link.get_mut().write_all(command.as_bytes()).is_ok()
        {
            let mut line = String::new();
            if link.read_line(&mut line).is_ok() && line.contains("\"Acknowledged\"") {
                // It never goes back within a list.
                self.place = self.place.max(offset + 1);
                self.place_max = self.place;
            }
        }
    }

    /// Takes in the next line; connects before, if need be.
    fn read(&mut self, deadline: Instant) -> io::Result<()> {
        if self.link.is_none() {
            return self.connect();
        }
        let Some(link) = &mut self.link else { return Ok(()) };
        let left = deadline.saturating_duration_since(Instant::now()).max(PAUSE);
        link.get_ref().set_read_timeout(Some(left))?;
        let mut line = String::new();
        if link.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let event = json::parse(line.as_bytes()).map_err(io::Error::other)?;
        let number = |key| event.get(key).and_then(Value::as_u64);
        match event.get("event").and_then(Value::as_str) {
            Some("message") => {
                let message = event.get("message").and_then(Value::as_str).unwrap_or_default();
                if number("offset") != Some(self.next()) {
                    return Err(wrong(format!("expected {}, got {line}", self.next())));
                }
                self.messages.push(message.to_owned());
                Ok(())
            }
            Some("reset") => self.begin_at(number("next").unwrap_or(u64::MAX)),
            Some("deleted" | "unsubscribed") => Err(wrong(line)),
            _ => Ok(()),
        }
    }

    /// Goes on with another list, or after a time without connection.
    fn begin_at(&mut self, next: u64) -> io::Result<()> {
        if self.name.is_some() && next > self.place_max || self.name.is_none() && next != 0 {
            return Err(wrong(format!("goes on at {next} instead of {}", self.place_max)));
        }
        (self.first, self.place) = (next, next);
        self.messages.clear();
        Ok(())
    }

    fn connect(&mut self) -> io::Result<()> {
        let mut link = BufReader::new(TcpStream::connect(&self.address)?);
        link.get_ref().set_read_timeout(Some(PATIENCE))?;
        let mut command = format!("{{\"command\":\"subscribe\",\"topic\":\"{TOPIC}\"");
        // Writing to a string cannot fail.
        let _ = match self.name {
            Some(name) => write!(command, ",\"subscriber\":\"{name}\",\"from\":0}}"),
            None => {
                let mut digest = Crc32::default();
                for message in &self.messages {
                    digest.update(message.as_bytes());
                    digest.update(b"\n");
                }
                let (next, digest) = (self.next(), digest.value());
                write!(command, ",\"from\":{next},\"digest\":\"{digest:08x}\"}}")
            }
        };
        link.get_mut().write_all(command.as_bytes())?;
        let mut line = String::new();
        link.read_line(&mut line)?;
        let answer = json::parse(line.as_bytes()).map_err(io::Error::other)?;
        let number = |key| answer.get(key).and_then(Value::as_u64);
        match (number("next"), number("code")) {
            (Some(next), _) if self.name.is_some() => self.begin_at(next)?,
            (Some(next), _) if next == self.next() => {}
            // It has read another list.
            (None, Some(410 | 412 | 416)) => {
                self.messages.clear();
                return Err(io::Error::other(line));
            }
            (None, Some(503)) => return Err(io::Error::other(line)),
            _ => return Err(wrong(line)),
        }
        self.link = Some(link);
        Ok(())
    }
}

fn wrong(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
