//! Lives a month in minutes, with a journal on disk: shows whether anything grows that should not.
//!
//! ```text
//! cargo bench -p tests --bench month                           5 million messages
//! cargo bench -p tests --bench month -- --messages 130000000   a month: 50 a second, 30 days
//! ```
//!
//! Messages of 200 bytes are published at full speed to topics that keep a count or an age, and to
//! topics that come and go. Two lasting subscriptions acknowledge what they get, and check that no
//! offset is missing. A probe publishes one message at a time: its answer times are given apart for
//! the times when the journal was cleaned. The broker is killed and started again after the first
//! tenth, and at the end. A table, and whether each promise was kept, is printed, and written as
//! `month.md` beside this file.

#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, mem, thread};
use tests::System;
use tests::raw::{Raw, metric};
use tests::resources::{self, Resources, Work};
use tests::wait::{DEADLINE, holds_within};

/// Messages in one publish, and bytes of each with its line break.
const BATCH: usize = 500;
const SIZE: usize = 200;

/// Rows of the table.
const ROWS: u64 = 10;

/// Topics that always stay, and what they keep.
const TOPICS: [(&str, &str); 3] = [
    ("counted", r#"{"keep_messages":100000}"#),
    ("aged", r#"{"keep_for":"1s"}"#),
    ("probe", r#"{"keep_messages":1000}"#),
];

/// Those of them that have a lasting subscription.
const SUBSCRIBED: [&str; 2] = ["counted", "aged"];

/// Batches before the next one of the topics that come and go.
const TOPIC_TIME: u64 = 400;

/// The size at which a file of the journal is closed.
const SEGMENT_SIZE: u64 = 64 << 20;

/// Between two publishes of the probe, and two looks at the journal.
const PAUSE: Duration = Duration::from_millis(2);
const LOOK_TIME: Duration = Duration::from_millis(100);

/// After so long without publishes, memory should have come back.
const CALM_TIME: Duration = Duration::from_secs(60);

/// Longer than any row takes.
const ROW_TIME: Duration = Duration::from_secs(600);

type Times = [Vec<Duration>; 2];

/// What was measured of the rows together.
#[derive(Default)]
struct Measured {
    times: Times,
    /// Resident memory at the end of each row, in bytes.
    memory: Vec<u64>,
    /// The most that it was of what the account allowed, when publishing was over.
    calm_memory: f64,
    /// The most that the directory took of its bound.
    directory: f64,
    /// Processor time and bytes written: of the process, and of the cleaning.
    work: [(u64, u64); 2],
    /// Bytes of the directory at each start, and how long it took.
    starts: Vec<(u64, Duration)>,
}

/// What the threads of a month have in common.
#[derive(Default)]
struct Month {
    address: String,
    /// Batches that were begun, and messages that were acknowledged.
    begun: AtomicU64,
    acknowledged: AtomicU64,
    end: u64,
    /// Answer times of the probe: while the journal was not cleaned, and while it was.
    times: Mutex<Times>,
    /// Messages that subscriptions missed, and were told of.
    trimmed: AtomicU64,
}

fn main() {
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let messages = match &*words {
        [] => 5_000_000,
        [flag, count] if flag == "--messages" => count.parse().expect("a number of messages"),
        _ => panic!("usage: cargo bench -p tests --bench month -- [--messages N]"),
    };
    let mut system = System::reserve_with(&["--data", "data"]);
    system.start_broker();
    for (topic, bounds) in TOPICS {
        let status = system.request("PUT", &format!("/topics/{topic}"), bounds).status;
        assert_eq!(status, 201, "{topic}");
    }
    let mut text = String::from(
        "| messages | resident | account | alive | journal, most | … of its bound | cleaning: processor \
         | … disk | publish p50, p99 | … while cleaning |\n|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    print!("{text}");
    let mut month = Month { address: system.address(), ..Month::default() };
    let (mut starts, mut measured) = (String::new(), Measured::default());
    for part in [1, ROWS] {
        month.end = messages / ROWS * part;
        live(&month, &mut system, messages / ROWS, &mut measured, &mut text);
        let alive = alive(&system);
        system.kill_broker();
        let directory = journal_size(&system);
        let begun = Instant::now();
        system.start_broker();
        let time = begun.elapsed();
        measured.starts.push((directory, time));
        let _ = writeln!(
            starts,
            "- A start after {} messages, with {} of them alive in a directory of {}: {:.2} s.",
            month.acknowledged.load(Ordering::Relaxed),
            megabytes(alive),
            megabytes(directory),
            time.as_secs_f64()
        );
    }
    let promises = measured.promises();
    let [calm, cleaning] = measured.times.map(percentiles);
    let told = format!(
        "\n{promises}\n{starts}- Publish p50, p99 in all: {calm}; while cleaning: {cleaning}.\n\
         - Messages that the lasting subscriptions were too slow for, and told of: {}.\n",
        month.trimmed.load(Ordering::Relaxed)
    );
    print!("{told}");
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let text = format!(
        "# A month in minutes\n\n{messages} messages of {SIZE} bytes, in batches of {BATCH}, synced \
         before they are answered, on a machine with {cores} cores,\nwhich all processes share. \
         The bound of the journal is twice what is alive and two segments.\nWritten by \
         `cargo bench -p tests --bench month -- --messages {messages}`.\n\n{text}{told}"
    );
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/month.md");
    fs::write(file, text).expect("the folder can be written");
}

/// Publishes until the end of this part, and adds a row for each `step` messages.
fn live(month: &Month, system: &mut System, step: u64, all: &mut Measured, text: &mut String) {
    let id = system.broker().id();
    let process = PathBuf::from(format!("/proc/{id}"));
    let cleaner = resources::thread(id, "journal clean").expect("a journal is cleaned");
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| month.publish());
        }
        let folder = system.folder().path().join("data");
        scope.spawn(move || month.probe(&folder));
        for topic in SUBSCRIBED {
            scope.spawn(|| month.subscribe(topic));
        }
        while month.acknowledged.load(Ordering::Relaxed) < month.end {
            let before = (Work::of(&process), Work::of(&cleaner));
            let target = month.acknowledged.load(Ordering::Relaxed) + step;
            let (mut journal, mut share) = (0, 0.0_f64);
            let begun = Instant::now();
            while month.acknowledged.load(Ordering::Relaxed) < target.min(month.end) {
                thread::sleep(LOOK_TIME);
                // In this order: what was removed meanwhile is not taken for alive.
                let size = journal_size(system);
                journal = journal.max(size);
                let bound = 2 * alive(system) + 2 * SEGMENT_SIZE;
                share = share.max(size as f64 / bound as f64);
                assert!(begun.elapsed() < ROW_TIME, "nothing is published any more");
            }
            let after = (Work::of(&process), Work::of(&cleaner));
            let work = [|work: Work| work.processor_time, |work: Work| work.written]
                .map(|one| (one(after.0) - one(before.0), one(after.1) - one(before.1)));
            for ((whole, cleaning), more) in all.work.iter_mut().zip(work) {
                (*whole, *cleaning) = (*whole + more.0, *cleaning + more.1);
            }
            let [processor, disk] = work.map(|work| format!("{:.1} %", percent(work)));
            let times = mem::take(&mut *month.times.lock().expect("no probe panics"));
            all.times.iter_mut().zip(&times).for_each(|(all, some)| all.extend(some));
            let resident = Resources::of(id).memory;
            let account = metric(&month.address, "broker_store_size_bytes");
            all.memory.push(resident);
            all.directory = all.directory.max(share);
            let [calm, cleaning] = times.map(percentiles);
            let row = [
                month.acknowledged.load(Ordering::Relaxed).to_string(),
                megabytes(resident),
                format!("{:.0} MB", account / 1e6),
                megabytes(alive(system)),
                megabytes(journal),
                format!("{share:.2}"),
                processor,
                disk,
                calm,
                cleaning,
            ];
            let row = format!("| {} |\n", row.join(" | "));
            print!("{row}");
            text.push_str(&row);
        }
        for topic in SUBSCRIBED {
            system.publish(topic, &month.last_message());
        }
    });
    // While much comes and goes, it takes the place of what went; then the rest is given back.
    let over = || {
        let bound = 1.3 * metric(&month.address, "broker_store_size_bytes") + 20e6;
        Resources::of(id).memory as f64 / bound
    };
    let _ = holds_within(CALM_TIME, || over() <= 1.0);
    all.calm_memory = all.calm_memory.max(over());
}

/// Bytes of all messages that topics hold.
fn alive(system: &System) -> u64 {
    let answer = system.request("GET", "/topics", "");
    let list = answer.json();
    let topics = list.as_array().expect("a list of topics");
    topics.iter().filter_map(|topic| topic.get("bytes")?.as_u64()).sum()
}

/// Bytes of all files of the journal.
fn journal_size(system: &System) -> u64 {
    let files = fs::read_dir(system.folder().path().join("data")).expect("it has a folder");
    files.flatten().filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// Whether a segment is being written beside an old one.
fn is_cleaned(folder: &Path) -> bool {
    let files = fs::read_dir(folder).expect("it has a folder").flatten();
    files.map(|file| file.file_name()).any(|name| name.to_string_lossy().ends_with(".tmp"))
}

/// The share of the second in the first.
fn percent((whole, part): (u64, u64)) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

impl Measured {
    /// Whether each promise was kept, a line for each.
    fn promises(&self) -> String {
        let mut text = String::from("| promise | measured | |\n|---|---:|---|\n");
        let mut add = |promise: &str, measured: String, is_met: bool| {
            let verdict = if is_met { "met" } else { "missed" };
            let _ = writeln!(text, "| {promise} | {measured} | {verdict} |");
        };
        // The first row is of a process that has not been started with messages yet.
        let rows = self.memory.get(1..).unwrap_or_default();
        let (begin, end) = rows.split_at(rows.len() / 2);
        let [begin, end] = [begin, end].map(|rows| rows.iter().copied().max().unwrap_or(0));
        let growth = end as f64 / begin.max(1) as f64;
        add(
            "resident memory flat: second half at most 1.1 of the first",
            format!("{growth:.2}"),
            growth <= 1.1,
        );
        let over = self.calm_memory;
        add(
            "resident memory at most 1.3 times the account and 20 MB, when publishing is over",
            format!("{over:.2} of it"),
            over <= 1.0,
        );
        let directory = self.directory;
        add(
            "directory at most twice what is alive and two segments",
            format!("{directory:.2} of it"),
            directory <= 1.0,
        );
        let [calm, cleaning] = self.times.clone().map(|times| at_percent(times, 99).as_secs_f64());
        // Where nothing was cleaned, nothing is shown.
        let ratio = if cleaning > 0.0 { cleaning / calm.max(1e-6) } else { f64::INFINITY };
        add(
            "publish p99 while cleaning at most 1.5 times that without",
            format!("{ratio:.2}"),
            ratio <= 1.5,
        );
        for (name, work) in ["processor time", "bytes written"].iter().zip(self.work) {
            let share = percent(work);
            add(
                &format!("cleaning at most 10 % of {name}"),
                format!("{share:.1} %"),
                share <= 10.0,
            );
        }
        // A start reads the directory, whose bound is above: so its time is bounded by what is
        // alive, if each byte takes as long after any number of messages.
        let pace = |(size, time): &(u64, Duration)| time.as_secs_f64() / (*size).max(1) as f64;
        let paces: Vec<f64> = self.starts.iter().map(pace).collect();
        let ratio = match &*paces {
            [first, .., last] => last / first,
            _ => 1.0,
        };
        add(
            "start time for each byte of the directory, last start: at most 1.5 times the first",
            format!("{ratio:.2}"),
            ratio <= 1.5,
        );
        text
    }
}

fn at_percent(mut times: Vec<Duration>, percent: usize) -> Duration {
    times.sort_unstable();
    times.get(times.len() * percent / 100).copied().unwrap_or_default()
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes / 1_000_000)
}

fn percentiles(times: Vec<Duration>) -> String {
    let at = |percent| format!("{:.2}", at_percent(times.clone(), percent).as_secs_f64() * 1e3);
    match times.is_empty() {
        true => "–".to_owned(),
        false => format!("{}, {} ms", at(50), at(99)),
    }
}

impl Month {
    fn is_over(&self) -> bool {
        self.acknowledged.load(Ordering::Relaxed) >= self.end
    }

    /// Publishes batches: half of them to the topics that stay, half to those that come and go.
    fn publish(&self) {
        let mut raw = Raw::connect(&self.address);
        let lines = format!("{}\n", "x".repeat(SIZE - 1)).repeat(BATCH);
        while !self.is_over() {
            let number = self.begun.fetch_add(1, Ordering::Relaxed);
            let passing = number / TOPIC_TIME;
            if number.is_multiple_of(TOPIC_TIME) && passing >= 2 {
                // Nobody publishes to it any more.
                raw.request("DELETE", &format!("/topics/passing{}", passing - 2), "");
                assert_eq!(raw.answer().status, 204);
            }
            let topic = match number % 4 {
                0 => "counted".to_owned(),
                1 => "aged".to_owned(),
                _ => format!("passing{passing}"),
            };
            raw.request("POST", &format!("/topics/{topic}"), &lines);
            assert_eq!(raw.answer().status, 200);
            self.acknowledged.fetch_add(BATCH as u64, Ordering::Relaxed);
        }
    }

    /// Publishes one message at a time, and notes how long each took to be answered.
    fn probe(&self, folder: &Path) {
        let mut raw = Raw::connect(&self.address);
        let line = "x".repeat(SIZE);
        while !self.is_over() {
            // Looked at before: a publish that takes long would be caught by a cleaning more often.
            let is_cleaned = is_cleaned(folder);
            let sent = Instant::now();
            raw.request("POST", "/topics/probe", &line);
            assert_eq!(raw.answer().status, 200);
            let time = sent.elapsed();
            let mut times = self.times.lock().expect("nobody panics with it");
            let [calm, cleaning] = &mut *times;
            if is_cleaned {
                cleaning.push(time)
            } else {
                calm.push(time)
            }
            drop(times);
            thread::sleep(PAUSE);
        }
    }

    /// What ends this part in each topic that has a subscription.
    fn last_message(&self) -> String {
        format!("the end at {}", self.end)
    }

    /// Follows a topic under a name, and acknowledges one message in so many.
    fn subscribe(&self, topic: &str) {
        const ACKNOWLEDGE_EVERY: u64 = 1000;
        let mut stream = TcpStream::connect(&self.address).expect("the broker listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("the deadline is not zero");
        let command = |command: &str, rest: &str| {
            let fields = format!("\"topic\":\"{topic}\",\"subscriber\":\"of {topic}\"{rest}");
            format!("{{\"command\":\"{command}\",{fields}}}\n")
        };
        stream.write_all(command("subscribe", "").as_bytes()).expect("the broker reads");
        let mut reader = BufReader::with_capacity(1 << 18, stream.try_clone().expect("a socket"));
        let (mut line, mut expected) = (String::new(), None);
        while !line.contains(&self.last_message()) {
            line.clear();
            reader.read_line(&mut line).expect("the broker sends");
            if line.starts_with("{\"event\":\"message\"") {
                let offset = number_behind(&line, "\"offset\":").expect("a message has an offset");
                assert_eq!(Some(offset), expected, "{line}");
                expected = Some(offset + 1);
                if offset.is_multiple_of(ACKNOWLEDGE_EVERY) {
                    let acknowledged = command("ack", &format!(",\"offset\":{offset}"));
                    stream.write_all(acknowledged.as_bytes()).expect("the broker reads");
                }
            } else if line.starts_with("{\"event\":\"trimmed\"") {
                let next = number_behind(&line, "\"next\":");
                let missed = next.zip(expected).map_or(0, |(next, expected)| next - expected);
                self.trimmed.fetch_add(missed, Ordering::Relaxed);
                expected = next;
            } else if line.contains("Subscribed") {
                expected = number_behind(&line, "\"next\":");
            } else {
                assert!(line.contains("Acknowledged"), "{line}");
            }
        }
    }
}

fn number_behind(line: &str, key: &str) -> Option<u64> {
    let (_, rest) = line.split_once(key)?;
    rest.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}
