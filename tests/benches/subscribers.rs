//! Measures subscribers: one that does not read, and many that wait.
//!
//! `cargo bench -p tests --bench subscribers [-- COUNT]` prints two tables, and writes them as
//! `subscribers.md` beside this file.
//!
//! - 1,000 subscribers of one topic. One of them reads nothing until all others have everything.
//!   Measured: its effect on the publisher and the others, the broker's memory for it, and what it
//!   gets when it reads again.
//! - COUNT subscribers (10,000) that wait: the memory of each, and the time until all have a
//!   message.
//!
//! It fails if a message is missing or out of order.

#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};
use tests::System;
use tests::raw::{Raw, metric};
use tests::resources::{Resources, kernel_memory, open_files_max, raise_open_files_max};
use tests::wait::DEADLINE;

/// Subscribers of the first table.
const SUBSCRIBERS: usize = 1_000;

/// Messages of each round. Together more than the sockets between broker and subscriber take,
/// which is about 4 MB: whoever does not read them is behind.
const MESSAGES: u64 = 6_000;
const MESSAGE_SIZE: usize = 1_000;

/// Messages in one publish: enough that the publisher is not what is measured.
const BATCH: u64 = 20;

/// How many messages the publisher may be ahead of the slowest subscriber that reads.
const AHEAD: u64 = 400;

/// Rounds with and without the slow subscriber, in turn.
const ROUNDS: usize = 5;

/// Threads that read for all subscribers.
const READERS: usize = 2;

/// Files that are open beside connections.
const OTHER_FILES: usize = 100;

/// Messages that all those who wait get, one after another.
const CALLS: usize = 3;

fn main() {
    raise_open_files_max();
    let wanted = env::args().skip(1).find_map(|argument| argument.parse().ok());
    let text = format!(
        "# What subscribers cost\n\nOver loopback on a machine with {} cores, which all processes \
         share.\nWritten by `cargo bench -p tests --bench subscribers`.\n\n{}\n{}",
        thread::available_parallelism().map_or(1, usize::from),
        one_does_not_read(),
        all_wait(wanted.unwrap_or(10_000)),
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/subscribers.md");
    println!("{text}");
    match fs::write(&path, text) {
        Ok(()) => println!("written: {}", path.display()),
        Err(error) => println!("not written: {}: {error}", path.display()),
    }
}

/// What one round of the first table comes to.
struct Round {
    /// Messages published a second, all of which all that read have at the end.
    rate: f64,
    /// Processor time of the broker, in seconds.
    processor: f64,
    /// Bytes that the broker grew by, beyond the messages that it stores.
    grown: f64,
    /// Messages that wait for the slow one, and the time until it has them.
    behind: f64,
    catch_up: f64,
}

/// One of 1,000 subscribers does not read.
fn one_does_not_read() -> String {
    let mut with = Vec::new();
    let mut without = Vec::new();
    for _ in 0..ROUNDS {
        without.push(round(false));
        with.push(round(true));
    }
    let median = |rounds: &[Round], of: fn(&Round) -> f64| {
        let mut figures: Vec<f64> = rounds.iter().map(of).collect();
        figures.sort_by(f64::total_cmp);
        figures.get(ROUNDS / 2).copied().unwrap_or(f64::NAN)
    };
    let mut text = format!(
        "## One that does not read\n\n{SUBSCRIBERS} subscribers of one topic, {MESSAGES} messages \
         of {MESSAGE_SIZE} bytes, medians of {ROUNDS} rounds in turn.\nOne reads nothing until all \
         others have all messages, and then reads as well.\n\n\
         | | All read | One does not |\n|---|---:|---:|\n"
    );
    let mut row = |name: &str, of: fn(&Round) -> f64, scale: f64, decimals: usize| {
        let [all, others] = [&without, &with].map(|rounds| median(rounds, of) / scale);
        let _ = writeln!(text, "| {name} | {all:.decimals$} | {others:.decimals$} |");
    };
    row("Published a second", |round| round.rate, 1.0, 0);
    row("Processor time of the broker, s", |round| round.processor, 1.0, 2);
    row("Memory of the broker beyond the messages it stores, MB", |round| round.grown, 1e6, 1);
    row("Messages that wait for the slow one", |round| round.behind, 1.0, 0);
    row("Time until it has them, in order, ms", |round| round.catch_up, 1e-3, 0);
    let ratio = median(&with, |round| round.rate) / median(&without, |round| round.rate);
    let _ = writeln!(
        text,
        "\nBeside the slow one, the publisher has {ratio:.2} of its rate (0.9 to 1.1 is the aim)."
    );
    text
}

/// Publishes to all, one of whom is slow or not.
fn round(is_one_slow: bool) -> Round {
    let mut system = System::start();
    let mut slow = is_one_slow.then(|| Subscriber::open(&system, "wide"));
    let count = SUBSCRIBERS - usize::from(is_one_slow);
    let mut others: Vec<_> = (0..count).map(|_| Subscriber::open(&system, "wide")).collect();
    let broker = system.broker().id();
    let address = system.address();
    let state = || {
        let resources = Resources::of(broker);
        let stored = metric(&address, "broker_store_size_bytes");
        let processor = resources.processor_time as f64 / 100.0;
        (resources.memory as f64 - stored, metric(&address, DELIVERED), processor)
    };
    let before = state();
    let elapsed = deliver(&system, &mut others, "wide", MESSAGES);
    let after = state();
    let delivered = after.1 - before.1;
    let behind = MESSAGES as f64 * SUBSCRIBERS as f64 - delivered;
    let begun = Instant::now();
    if let Some(slow) = &mut slow {
        assert!(behind > 0.0, "its socket took everything: it was not slow");
        let mut buffer = vec![0; 1 << 18];
        while slow.next < MESSAGES {
            slow.read(&mut buffer);
        }
    }
    Round {
        rate: MESSAGES as f64 / elapsed.as_secs_f64(),
        processor: after.2 - before.2,
        grown: after.0 - before.0,
        behind,
        catch_up: if is_one_slow { begun.elapsed().as_secs_f64() } else { 0.0 },
    }
}

/// The counter of messages that were written to subscribers.
const DELIVERED: &str = "broker_messages_delivered_total";

/// Many subscribers wait for a message.
fn all_wait(wanted: usize) -> String {
    let count = wanted.min(open_files_max().saturating_sub(OTHER_FILES));
    let places = (count + OTHER_FILES).to_string();
    let mut system = System::start_with(&["--max-connections", &places]);
    let broker = system.broker().id();
    let (before, kernel_before) = (Resources::of(broker), kernel_memory());
    let begun = Instant::now();
    let mut subscribers: Vec<_> = (0..count).map(|_| Subscriber::open(&system, "idle")).collect();
    let connected = begun.elapsed();
    let after = Resources::of(broker);
    let kernel = kernel_memory().saturating_sub(kernel_before);
    let mut times: Vec<Duration> =
        (0..CALLS).map(|_| deliver(&system, &mut subscribers, "idle", 1)).collect();
    times.sort_unstable();
    let to_all = times.get(CALLS / 2).copied().unwrap_or_default();
    let each = |bytes: u64| bytes as f64 / 1e3 / count as f64;
    let process = each(after.memory - before.memory);
    let kernel = each(kernel);
    let per_second = count as f64 / connected.as_secs_f64();
    let milliseconds = to_all.as_secs_f64() * 1e3;
    let limited = if count < wanted { " (all that the open-file limit allows)" } else { "" };
    format!(
        "## {count} that wait\n\n{count} subscribers of one topic{limited}, each with a connection \
         of its own; both ends are on this machine.\n\n| | |\n|---|---:|\n\
         | Memory of the broker for each, KB | {process:.1} |\n\
         | Memory of the kernel for each, both ends, KB | {kernel:.1} |\n\
         | Threads of the broker | {} |\n\
         | Subscribed a second, one after another | {per_second:.0} |\n\
         | Until all have one message, ms | {milliseconds:.0} |\n",
        after.threads,
    )
}

/// A subscriber, and what it knows of what it has.
struct Subscriber {
    stream: TcpStream,
    /// The beginning of a line that is not whole yet.
    rest: Vec<u8>,
    /// The offset of the next message.
    next: u64,
}

impl Subscriber {
    /// Subscribes to a topic that nothing was published to.
    fn open(system: &System, topic: &str) -> Subscriber {
        let mut stream = TcpStream::connect(system.address()).expect("the broker has room");
        stream.set_read_timeout(Some(DEADLINE)).expect("the deadline is not zero");
        let command = format!("{{\"command\":\"subscribe\",\"topic\":\"{topic}\"}}");
        stream.write_all(command.as_bytes()).expect("the broker reads");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\n") {
            let mut piece = [0; 256];
            let size = stream.read(&mut piece).expect("the broker answers");
            assert!(size > 0, "the broker keeps its subscribers");
            answer.extend_from_slice(piece.get(..size).unwrap_or_default());
        }
        Subscriber { stream, rest: Vec::new(), next: 0 }
    }

    /// Waits for more, and checks it.
    fn read(&mut self, buffer: &mut [u8]) {
        let size = match self.stream.read(buffer) {
            Ok(size) => size,
            Err(error) if error.kind() == ErrorKind::Interrupted => return,
            Err(error) => panic!("a subscriber that has {} messages: {error}", self.next),
        };
        assert!(size > 0, "the broker keeps its subscribers");
        let mut input = buffer.get(..size).unwrap_or_default();
        while let Some(end) = input.iter().position(|&byte| byte == b'\n') {
            let (line, rest) = input.split_at(end + 1);
            input = rest;
            if self.rest.is_empty() {
                assert_eq!(offset(line), Some(self.next), "a message is missing");
            } else {
                self.rest.extend_from_slice(line);
                assert_eq!(offset(&self.rest), Some(self.next), "a message is missing");
                self.rest.clear();
            }
            self.next += 1;
        }
        self.rest.extend_from_slice(input);
    }
}

/// The offset in a line that brings a message.
fn offset(line: &[u8]) -> Option<u64> {
    // The topic's name is short, so this is near the front.
    let head = std::str::from_utf8(line.get(..line.len().min(80))?).ok()?;
    let digits = head.split_once("\"offset\":")?.1;
    digits.split(',').next()?.parse().ok()
}

/// How far everybody is.
struct Course {
    /// How many messages were published, or are about to be.
    published: AtomicU64,
    /// How many all the subscribers of each reader have.
    read: [AtomicU64; READERS],
}

impl Course {
    /// Everybody has `had` messages.
    fn new(had: u64) -> Course {
        Course { published: had.into(), read: [(); READERS].map(|()| had.into()) }
    }

    /// How many messages all subscribers have.
    fn read(&self) -> u64 {
        self.read.iter().map(|read| read.load(Ordering::Acquire)).min().unwrap_or(0)
    }

    /// Reads for some subscribers until all have `count` messages. Never waits for one that has
    /// all there is, while another lacks some.
    fn follow(&self, read: &AtomicU64, subscribers: &mut [Subscriber], count: u64) {
        let mut buffer = vec![0; 1 << 18];
        let mut slowest = read.load(Ordering::Acquire);
        while slowest < count {
            let wanted = self.published.load(Ordering::Acquire).max(slowest + 1);
            slowest = u64::MAX;
            for subscriber in &mut *subscribers {
                while subscriber.next < wanted {
                    subscriber.read(&mut buffer);
                }
                slowest = slowest.min(subscriber.next);
            }
            read.store(slowest, Ordering::Release);
        }
    }
}

/// Publishes `count` messages to subscribers who have all before, and gives how long it took until
/// they have these as well.
fn deliver(system: &System, subscribers: &mut [Subscriber], topic: &str, count: u64) -> Duration {
    let batch = BATCH.min(count);
    let message = format!("\"{}\"", "x".repeat(MESSAGE_SIZE));
    let messages: Vec<&str> = (0..batch).map(|_| message.as_str()).collect();
    let messages = messages.join(",");
    let command =
        format!("{{\"command\":\"publish\",\"topic\":\"{topic}\",\"messages\":[{messages}]}}");
    let had = subscribers.first().map_or(0, |subscriber| subscriber.next);
    let course = Course::new(had);
    let share = subscribers.len().div_ceil(READERS);
    let begun = Instant::now();
    thread::scope(|scope| {
        for (subscribers, read) in subscribers.chunks_mut(share).zip(&course.read) {
            let course = &course;
            scope.spawn(move || course.follow(read, subscribers, had + count));
        }
        let mut publisher = Raw::connect(&system.address());
        for _ in 0..count / batch {
            let deadline = Instant::now() + DEADLINE;
            while course.published.load(Ordering::Relaxed) > course.read() + AHEAD {
                assert!(Instant::now() < deadline, "a subscriber lacks messages");
                thread::sleep(Duration::from_micros(50));
            }
            course.published.fetch_add(batch, Ordering::AcqRel);
            publisher.send(&command);
            assert!(publisher.line().contains("\"success\""), "the broker takes messages");
        }
    });
    begun.elapsed()
}
