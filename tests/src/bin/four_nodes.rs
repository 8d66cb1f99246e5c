//! A demonstration: a broker, a publisher and two subscribers as four processes.
//!
//! It shows each line when it reaches a subscriber's `received.txt`. At the end it compares each
//! file with its topic. The status is 0 if all are equal, else 1.

#![forbid(unsafe_code)]

use std::env;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};
use tests::{Folder, Process, Subscriber, System, program};

/// What each subscriber has to end up with.
const EXPECTED: [(&str, &str); 2] = [("alpha", "one\ntwo\nthree\n"), ("beta", "red\ngreen\n")];

/// How long the lines may take. They take milliseconds.
const DEADLINE: Duration = Duration::from_secs(30);

/// How long the files are watched for lines that should not come, once all others are there.
const AFTERMATH: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    let paint = Paint::for_output();
    let root = program::target().join("four-nodes");
    if !program::are_built() {
        println!("The three programs are built first, which takes half a minute to two minutes.");
    }
    program::build_in_the_open();
    println!("{}", paint.bold("Four nodes: a broker, two subscribers, a publisher"));
    println!();

    let mut system = System::reserve().in_folder(Folder::kept(root.join("broker")));
    system.start_broker();
    let address = format!("http://{}", system.address());
    introduce(&paint, "broker", system.broker().id(), &address);
    let watched: Vec<Watched> = EXPECTED
        .iter()
        .map(|(topic, expected)| {
            let folder = Folder::kept(root.join(format!("subscriber-{topic}")));
            let mut subscriber = system.subscribe_in(folder, format!("{topic}\n"));
            let note = format!("topic.txt says {topic}");
            introduce(&paint, "subscriber", subscriber.process().id(), &note);
            Watched { topic, expected, subscriber, shown: 0 }
        })
        .collect();
    let mut command = program::command("publisher");
    system.introduce(&mut command);
    let folder = Folder::kept(root.join("publisher"));
    let publisher = Process::start("publisher", command, &folder);
    introduce(&paint, "publisher", publisher.id(), "publishes five messages, then ends");
    println!();

    let is_exact = watch(&paint, watched, publisher);
    println!();
    println!("Each node has a folder in {}", root.display());
    println!("with what it printed and, for a subscriber, topic.txt and received.txt.");
    println!();
    say_what_is_next(&address);
    if is_exact { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Says where to look now. For a person at a terminal the broker goes on until Enter is pressed.
fn say_what_is_next(address: &str) {
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        println!("The broker still runs: open {address} in a browser. Enter ends it.");
        // Whatever comes, or nothing: it was enough.
        let _ = io::stdin().read_line(&mut String::new());
    }
    println!("A broker to play with:");
    println!("  {}", program::path("broker").display());
    println!("Then open http://localhost:9000 in a browser.");
}

/// A subscriber, and how much of its file has been shown.
struct Watched {
    topic: &'static str,
    expected: &'static str,
    subscriber: Subscriber,
    shown: usize,
}

/// Shows what is received until all is there, then judges it.
fn watch(paint: &Paint, mut watched: Vec<Watched>, mut publisher: Process) -> bool {
    let start = Instant::now();
    let mut complete_since = None;
    while start.elapsed() < DEADLINE && complete_since.is_none_or(is_recent) {
        for node in &mut watched {
            node.show_new_lines(paint, start);
        }
        let is_complete = watched.iter().all(Watched::is_exact) && !publisher.is_running();
        if !is_complete {
            complete_since = None;
        } else if complete_since.is_none() {
            complete_since = Some(Instant::now());
        }
        thread::sleep(Duration::from_millis(1));
    }

    println!();
    let mut is_good = true;
    for node in &watched {
        let (verdict, is_exact) = node.verdict();
        println!("  {} {verdict}", paint.mark(is_exact));
        is_good &= is_exact;
    }
    let (verdict, has_succeeded) = verdict_on(&mut publisher);
    println!("  {} {verdict}", paint.mark(has_succeeded));
    is_good && has_succeeded
}

fn is_recent(since: Instant) -> bool {
    since.elapsed() < AFTERMATH
}

fn verdict_on(publisher: &mut Process) -> (String, bool) {
    if publisher.is_running() {
        let last = publisher.errors().lines().last().unwrap_or("it says nothing").to_owned();
        return (format!("publisher has not ended: {last}"), false);
    }
    let status = publisher.wait();
    (format!("publisher ended with {status}"), status.success())
}

impl Watched {
    /// Prints the whole lines that came since the last look.
    fn show_new_lines(&mut self, paint: &Paint, start: Instant) {
        let received = self.subscriber.received();
        let new = received.get(self.shown..).unwrap_or_default();
        for line in new.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let time = format!("{:>6} ms", start.elapsed().as_millis());
            println!("  {}  {:<6} {}", paint.faint(&time), self.topic, line.trim_end());
            self.shown += line.len();
        }
    }

    fn is_exact(&self) -> bool {
        self.subscriber.received() == self.expected
    }

    fn verdict(&self) -> (String, bool) {
        let topic = self.topic;
        if self.is_exact() {
            let count = self.expected.lines().count();
            return (format!("{topic}: received.txt is exact, {count} lines"), true);
        }
        let (expected, received) = (self.expected, self.subscriber.received());
        (format!("{topic}: received.txt holds {received:?}, not {expected:?}"), false)
    }
}

/// One line about a node that has started.
fn introduce(paint: &Paint, name: &str, id: u32, note: &str) {
    println!("  {name:<11} {}  {note}", paint.faint(&format!("process {id:<7}")));
}

/// Colour, where somebody sees it and nobody objects.
struct Paint {
    is_coloured: bool,
}

impl Paint {
    fn for_output() -> Paint {
        let objects = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Paint { is_coloured: io::stdout().is_terminal() && !objects }
    }

    fn bold(&self, text: &str) -> String {
        self.wrap("1", text)
    }

    fn faint(&self, text: &str) -> String {
        self.wrap("2", text)
    }

    fn mark(&self, is_good: bool) -> String {
        if is_good { self.wrap("32", "ok  ") } else { self.wrap("31", "FAIL") }
    }

    fn wrap(&self, code: &str, text: &str) -> String {
        if self.is_coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
