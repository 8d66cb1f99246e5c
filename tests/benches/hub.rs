//! Measures leaves: 1,000 subscribers of one hub, and 250 on each of its four leaves.
//!
//! `cargo bench -p tests --bench hub` prints a table, and writes it as `hub.md` beside this file.
//!
//! - Deliveries: messages are published at the hub as fast as possible. Every subscriber must get
//!   each; the time ends when the last one has the last message.
//! - Processor time of the hub, of all leaves, and of this program, which reads for all
//!   subscribers.
//! - Latency: one message at a time, from before the publish until a subscriber has it; at the hub
//!   alone, and from one leaf to another.

#![forbid(unsafe_code)]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, process, thread};
use tests::System;
use tests::resources::Resources;

const LEAVES: usize = 4;
const SUBSCRIBERS: usize = 1000;
const MESSAGES: usize = 10_000;

/// Messages in one publish: enough that the publisher is not what is measured.
const BATCH: usize = 20;

/// Publishes of which the latency is measured.
const SAMPLES: usize = 1000;

/// Threads that read for all subscribers.
const READERS: usize = 4;

/// What was measured in one arrangement.
struct Figures {
    per_second: f64,
    hub: f64,
    leaves: f64,
    own: f64,
}

fn main() {
    let mut hub = System::start();
    let alone = deliver(&mut hub, &mut []);
    let near = latencies(&hub, &hub);
    drop(hub);

    let mut hub = System::start();
    let mut leaves: Vec<System> =
        (0..LEAVES).map(|_| System::start_with(&["--upstream", &hub.address()])).collect();
    let spread = deliver(&mut hub, &mut leaves);
    let (from, to) = (leaves.first().expect("there are four"), leaves.last().expect("four"));
    let far = latencies(from, to);

    let mut table = String::from("| | Hub alone | Hub and four leaves |\n|---|---:|---:|\n");
    let mut row = |name: &str, alone: String, spread: String| {
        table.push_str(&format!("| {name} | {alone} | {spread} |\n"));
    };
    row("Deliveries/s", format!("{:.0}", alone.per_second), format!("{:.0}", spread.per_second));
    for (name, time) in [
        ("Processor time of the hub, s", (|it| it.hub) as fn(&Figures) -> f64),
        ("… of the leaves together, s", |it| it.leaves),
        ("… of the subscribers, s", |it| it.own),
    ] {
        row(name, format!("{:.2}", time(&alone)), format!("{:.2}", time(&spread)));
    }
    for (name, percent) in [("Latency p50, µs", 50), ("Latency p99, µs", 99)] {
        let at = |times: &[Duration]| {
            let time = times.get(SAMPLES * percent / 100).copied().unwrap_or_default();
            format!("{:.0}", time.as_secs_f64() * 1e6)
        };
        row(name, at(&near), at(&far));
    }
    print!("{table}");
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let text = format!(
        "# A hub and its leaves\n\n\
         {SUBSCRIBERS} subscribers, {MESSAGES} messages each, over loopback on a machine with \
         {cores} cores, which all\nprocesses share. Latency: at the hub, and from one leaf \
         through the hub to another.\nWritten by `cargo bench -p tests --bench hub`.\n\n{table}"
    );
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/hub.md");
    fs::write(file, text).expect("the folder can be written");
}

/// Subscribes to a topic in the dialect of channels, whose messages are short.
fn subscribe(broker: &System, topic: &str) -> TcpStream {
    let mut stream = TcpStream::connect(broker.address()).expect("the broker takes connections");
    let command = format!("{{\"command\":\"SUBSCRIBE\",\"args\":{{\"channel\":\"{topic}\"}}}}\n");
    stream.write_all(command.as_bytes()).expect("the broker reads");
    let mut byte = [0];
    while byte != *b"\n" {
        stream.read_exact(&mut byte).expect("the broker answers");
    }
    stream
}

/// Delivers all messages to all subscribers.
fn deliver(hub: &mut System, leaves: &mut [System]) -> Figures {
    let mut streams: Vec<TcpStream> = Vec::with_capacity(SUBSCRIBERS);
    for number in 0..SUBSCRIBERS {
        let at = leaves.get(number % LEAVES);
        streams.push(subscribe(at.unwrap_or(hub), "t"));
    }
    let time = |brokers: &mut [System]| {
        let id = |broker: &mut System| Resources::of(broker.broker().id()).processor_time;
        brokers.iter_mut().map(id).sum::<u64>() as f64 / 100.0
    };
    let own = || Resources::of(process::id()).processor_time as f64 / 100.0;
    let hub_id = hub.broker().id();
    let hub_time = || Resources::of(hub_id).processor_time as f64 / 100.0;
    let before = (hub_time(), time(leaves), own());
    let begun = Instant::now();
    thread::scope(|scope| {
        let mut streams = streams.as_mut_slice();
        for _ in 0..READERS {
            let (part, rest) = streams.split_at_mut(SUBSCRIBERS / READERS);
            streams = rest;
            scope.spawn(move || read_all(part));
        }
        for batch in 0..MESSAGES / BATCH {
            let message = |number| format!("message {:08}", batch * BATCH + number);
            hub.publish_batch("t", (0..BATCH).map(message));
        }
    });
    let seconds = begun.elapsed().as_secs_f64();
    Figures {
        per_second: (SUBSCRIBERS * MESSAGES) as f64 / seconds,
        hub: hub_time() - before.0,
        leaves: time(leaves) - before.1,
        own: own() - before.2,
    }
}

/// Reads from many sockets until each has given all messages.
fn read_all(streams: &mut [TcpStream]) {
    let mut lines = vec![0; streams.len()];
    let mut piece = vec![0; 1 << 16];
    let mut missing = streams.len();
    for stream in &*streams {
        stream.set_nonblocking(true).expect("a socket takes this option");
    }
    while missing > 0 {
        let mut is_idle = true;
        for (stream, lines) in streams.iter_mut().zip(&mut lines) {
            if *lines == MESSAGES {
                continue;
            }
            match stream.read(&mut piece) {
                Ok(0) => panic!("the broker ended a subscription"),
                Ok(size) => {
                    is_idle = false;
                    let read = piece.get(..size).unwrap_or_default();
                    *lines += read.iter().filter(|&&byte| byte == b'\n').count();
                    missing -= usize::from(*lines == MESSAGES);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
        }
        if is_idle {
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Times from before a publish through one broker until it is delivered by another, sorted.
fn latencies(from: &System, to: &System) -> Vec<Duration> {
    let mut reader = subscribe(to, "latency");
    let mut writer = TcpStream::connect(from.address()).expect("the broker takes connections");
    for stream in [&reader, &writer] {
        stream.set_nodelay(true).expect("a socket takes this option");
    }
    let command = b"{\"command\":\"PUBLISH\",\"channel\":\"latency\",\"message\":\"hello\"}\n";
    let mut times = Vec::with_capacity(SAMPLES);
    let mut byte = [0; 256];
    // The first ones make connections that the others use.
    for sample in 0..SAMPLES + 100 {
        let start = Instant::now();
        writer.write_all(command).expect("the broker reads");
        let mut last = 0;
        while last != b'\n' {
            let size = reader.read(&mut byte).expect("the broker delivers");
            assert!(size > 0, "the broker ended a subscription");
            last = byte.get(size - 1).copied().unwrap_or_default();
        }
        if sample >= 100 {
            times.push(start.elapsed());
        }
    }
    times.sort_unstable();
    times
}
