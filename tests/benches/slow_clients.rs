//! Measures what 200 slow clients cost: the answer times of a fast client, and the broker's
//! threads, descriptors and memory, before, during and after. Slow clients send heads and bodies,
//! or read answers, one byte at a time.
//!
//! Run it with `cargo bench --bench slow_clients`.

#![forbid(unsafe_code)]

use std::io::Read;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tests::raw::{Raw, request};
use tests::resources::Resources;
use tests::wait::{DEADLINE, wait_until};
use tests::{System, publish_body};

const SLOW_CLIENTS: usize = 200;

/// How long the good client is watched each time.
const WATCH_TIME: Duration = Duration::from_secs(5);

/// Between two bytes of a slow client.
const SLOW_PAUSE: Duration = Duration::from_millis(100);

fn main() {
    // Long enough that slow clients are there for all of the measurement.
    let patience = ["--head-timeout", "600", "--body-timeout", "600", "--answer-timeout", "600"];
    let mut system = System::start_with(&patience);
    let broker = system.broker().id();
    // A long answer, for slow readers; and what the good client reads.
    for _ in 0..64 {
        system.publish("long", &"x".repeat(1 << 20));
    }
    system.publish_batch("short", (0..100).map(|number| format!("message {number}")));

    println!(
        "{:<22} {:>8} {:>10} {:>10} {:>10} {:>8} {:>6} {:>9}",
        "", "answers", "median", "99 %", "slowest", "threads", "files", "memory"
    );
    row("alone", &watch(&system), Resources::of(broker));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| be_slow(&system, &stop));
        let is_full = || Resources::of(broker).threads > SLOW_CLIENTS;
        wait_until(DEADLINE, "all slow clients to be there", is_full);
        row("beside 200 slow ones", &watch(&system), Resources::of(broker));
        stop.store(true, Ordering::Relaxed);
    });
    let is_calm = || Resources::of(broker).threads <= 2;
    wait_until(DEADLINE, "their threads to end", is_calm);
    row("after them", &watch(&system), Resources::of(broker));
}

/// What the good client sees: the time of each answer, shortest first.
fn watch(system: &System) -> Vec<Duration> {
    let mut raw = Raw::connect(&system.address());
    let publish = request("POST", "/publish", publish_body("t", "a message of a good client"));
    let read = request("GET", "/messages?topic=short", "");
    let begin = Instant::now();
    let mut times = Vec::new();
    while begin.elapsed() < WATCH_TIME {
        for bytes in [&publish, &read] {
            let start = Instant::now();
            raw.send(bytes);
            assert_eq!(raw.answer().status, 200);
            times.push(start.elapsed());
        }
    }
    times.sort_unstable();
    times
}

fn row(name: &str, times: &[Duration], resources: Resources) {
    let last = times.len().saturating_sub(1);
    let micros = |index: usize| times.get(index).map_or(0, Duration::as_micros);
    println!(
        "{name:<22} {:>8} {:>7} µs {:>7} µs {:>7} µs {:>8} {:>6} {:>5} MiB",
        times.len(),
        micros(last / 2),
        micros(last / 100 * 99),
        micros(last),
        resources.threads,
        resources.descriptors,
        resources.memory >> 20
    );
}

/// Keeps slow clients of three kinds at it until `stop`.
fn be_slow(system: &System, stop: &AtomicBool) {
    let mut senders = Vec::new();
    let mut readers = Vec::new();
    for number in 0..SLOW_CLIENTS {
        match number % 3 {
            0 => {
                let mut raw = Raw::connect(&system.address());
                raw.send("GET / HTTP/1.1\r\nHost: localhost\r\nX: ");
                senders.push(raw);
            }
            1 => {
                let mut raw = Raw::connect(&system.address());
                let head = "POST /publish HTTP/1.1\r\nHost: localhost\r\n";
                raw.send(format!("{head}Content-Length: 100000\r\n\r\n"));
                senders.push(raw);
            }
            _ => {
                let mut stream = TcpStream::connect(system.address()).expect("the broker listens");
                let request = request("GET", "/messages?topic=long", "");
                std::io::Write::write_all(&mut stream, &request).expect("the broker reads");
                readers.push(stream);
            }
        }
    }
    while !stop.load(Ordering::Relaxed) {
        for raw in &mut senders {
            raw.send("a");
        }
        for stream in &mut readers {
            stream.read_exact(&mut [0]).expect("the broker answers");
        }
        thread::sleep(SLOW_PAUSE);
    }
}
