//! Measures each command of the JSON door: 1,000 of each, one after another, on one connection and
//! on a new one for each.
//!
//! `cargo bench -p tests --bench commands` prints a table, and writes it as `commands.md` and as a
//! graph, `commands.svg`, beside this file. A time begins before the first byte (or before the
//! connection is requested) and ends when the whole answer is here.

#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, thread};
use tests::System;

/// Requests of each command.
const COUNT: usize = 1000;

/// The commands, in an order in which each finds what it needs.
const COMMANDS: [&str; 6] =
    ["create_topic", "subscribe", "publish", "pull", "query_topic", "delete_topic"];

/// What was measured of one command, in one way to connect.
struct Row {
    command: &'static str,
    mean: Duration,
    median: Duration,
    percentile_99: Duration,
    per_second: f64,
}

/// One connection.
struct Session {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Session {
    fn open(address: &str) -> Session {
        let stream = TcpStream::connect(address).expect("the broker takes connections");
        stream.set_nodelay(true).expect("a socket takes this option");
        let reader = BufReader::new(stream.try_clone().expect("there is a descriptor left"));
        Session { stream, reader }
    }

    /// Sends a command and reads its answer, which has to be a success.
    fn ask(&mut self, command: &str, line: &mut String) {
        self.stream.write_all(command.as_bytes()).expect("the broker reads");
        loop {
            line.clear();
            self.reader.read_line(line).expect("the broker answers");
            // What is pushed to a subscriber is not an answer.
            if !line.starts_with("{\"event\"") {
                break;
            }
        }
        assert!(line.starts_with("{\"status\":\"success\""), "{command}: {line}");
    }
}

fn main() {
    // Cargo's own arguments, such as `--bench`, mean nothing here.
    let broker = System::start();
    let address = broker.address();
    let mut session = Session::open(&address);
    let mut line = String::new();
    let peer = "{\"command\":\"register_peer\",\"host\":\"localhost\",\"port\":9000}\n";
    session.ask(peer, &mut line);
    for number in 0..COUNT {
        let command = "{\"command\":\"add_topic\",\"host\":\"localhost\",\"port\":9000";
        session.ask(&format!("{command},\"topic\":\"topic{number}\"}}\n"), &mut line);
    }
    // Once unmeasured, so that neither side is new to it.
    measure(&address, false);
    let kept = measure(&address, false);
    let fresh = measure(&address, true);
    let table = table(&kept, &fresh);
    print!("{table}");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches");
    fs::write(folder.join("commands.md"), markdown(&table)).expect("the folder can be written");
    fs::write(folder.join("commands.svg"), graph(&kept, &fresh)).expect("the folder is there");
}

/// Measures every command.
fn measure(address: &str, is_fresh: bool) -> Vec<Row> {
    let mut kept = Session::open(address);
    let mut line = String::new();
    let mut rows = Vec::new();
    for command in COMMANDS {
        // What the last command left behind ends first.
        thread::sleep(Duration::from_millis(100));
        let mut times = Vec::with_capacity(COUNT);
        let begun = Instant::now();
        for number in 0..COUNT {
            let message = if command == "publish" { ",\"message\":\"hello, world\"" } else { "" };
            let text =
                format!("{{\"command\":\"{command}\",\"topic\":\"topic{number}\"{message}}}\n");
            let start = Instant::now();
            if is_fresh {
                Session::open(address).ask(&text, &mut line);
            } else {
                kept.ask(&text, &mut line);
            }
            times.push(start.elapsed());
        }
        let total = begun.elapsed();
        times.sort_unstable();
        let at = |percent: usize| times.get(COUNT * percent / 100).copied().unwrap_or_default();
        rows.push(Row {
            command,
            mean: times.iter().sum::<Duration>() / u32::try_from(COUNT).unwrap_or(u32::MAX),
            median: at(50),
            percentile_99: at(99),
            per_second: COUNT as f64 / total.as_secs_f64(),
        });
    }
    rows
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn table(kept: &[Row], fresh: &[Row]) -> String {
    let mut text = String::from(
        "| Command | Connection | Mean, µs | p50, µs | p99, µs | Requests/s |\n\
         |---|---|---:|---:|---:|---:|\n",
    );
    for (way, rows) in [("one", kept), ("fresh", fresh)] {
        for row in rows {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "| `{}` | {way} | {:.0} | {:.0} | {:.0} | {:.0} |",
                row.command,
                microseconds(row.mean),
                microseconds(row.median),
                microseconds(row.percentile_99),
                row.per_second
            );
        }
    }
    text
}

fn markdown(table: &str) -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    format!(
        "# Time for each command\n\n\
         {COUNT} requests of each, one after another, over loopback on a machine with {cores} \
         cores; the broker in\nmemory. One: all on one connection. Fresh: a connection for each, \
         which is part of the time.\nWritten by `cargo bench -p tests --bench commands`.\n\n\
         {table}\n![Mean and 99th percentile of each command](commands.svg)\n"
    )
}

/// A bar for the mean of each command, and a line at its 99th percentile.
fn graph(kept: &[Row], fresh: &[Row]) -> String {
    const WIDTH: f64 = 760.0;
    const LEFT: f64 = 110.0;
    const BAR: f64 = 14.0;
    const STEP: f64 = 44.0;
    let slowest = kept.iter().chain(fresh).map(|row| microseconds(row.percentile_99));
    let limit = slowest.fold(1.0, f64::max);
    let scale = (WIDTH - LEFT - 110.0) / limit;
    let height = STEP * COMMANDS.len() as f64 + 60.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"20\" font-size=\"14\">Mean (bar) and 99th percentile (line), in \
         microseconds: <tspan fill=\"#1f77b4\">one connection</tspan>, \
         <tspan fill=\"#ff7f0e\">a fresh one each</tspan></text>\n"
    );
    for (index, (kept, fresh)) in kept.iter().zip(fresh).enumerate() {
        let top = 40.0 + STEP * index as f64;
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            top + BAR + 5.0,
            kept.command
        );
        for (row, colour, top) in [(kept, "#1f77b4", top), (fresh, "#ff7f0e", top + BAR + 2.0)] {
            let (mean, high) = (microseconds(row.mean), microseconds(row.percentile_99));
            let (middle, end) = (top + BAR / 2.0, LEFT + high * scale);
            let _ = writeln!(
                svg,
                "<rect x=\"{LEFT}\" y=\"{top}\" width=\"{:.1}\" height=\"{BAR}\" \
                 fill=\"{colour}\"/>\n\
                 <path d=\"M{LEFT} {middle}H{end:.1}M{end:.1} {top}v{BAR}\" stroke=\"#444\" \
                 fill=\"none\"/>\n\
                 <text x=\"{:.1}\" y=\"{:.1}\">{mean:.0} / {high:.0}</text>",
                mean * scale,
                end + 6.0,
                middle + 4.0
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}
