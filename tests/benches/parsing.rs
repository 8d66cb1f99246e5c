//! Measures parsers: request heads, and several kinds of JSON. Beside each is the time to add up
//! the same bytes: no reader can be faster.
//!
//! Run it with `cargo bench --bench parsing`. Each figure is the best of several runs, because a
//! disturbance can only make a run slower.

#![forbid(unsafe_code)]

use common::http::parse::{self, Progress};
use common::json;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// How long one run lasts at least: short, so that some run is not disturbed.
const RUN_TIME: Duration = Duration::from_millis(5);

/// How many runs there are of each kind.
const RUNS: usize = 100;

/// The head of a publish as programs send it.
const PLAIN_HEAD: &str = "POST /publish HTTP/1.1\r\nHost: localhost:9000\r\n\
    Content-Type: application/json\r\nContent-Length: 42\r\n\r\n";

/// The head of a publish as a browser sends it.
const BROWSER_HEAD: &str = "POST /publish HTTP/1.1\r\nHost: localhost:9000\r\n\
    Connection: keep-alive\r\nContent-Length: 42\r\nsec-ch-ua-platform: \"Linux\"\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)\r\n\
    Content-Type: text/plain;charset=UTF-8\r\nAccept: */*\r\nOrigin: http://localhost:9000\r\n\
    Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n\
    Referer: http://localhost:9000/\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9\r\n\r\n";

fn main() {
    println!("{:<34} {:>9} {:>12} {:>10} {:>10}", "", "bytes", "each", "MB/s", "floor MB/s");
    for (name, head) in
        [("head of a program's publish", PLAIN_HEAD), ("of a browser's", BROWSER_HEAD)]
    {
        row(name, head.as_bytes(), |input| {
            assert!(matches!(parse::request(input), Ok(Progress::Complete { .. })));
        });
    }
    let message = "a message of some eighty bytes, as sensors and log files and people write them";
    let publish = format!(r#"{{"topic":"orders","message":"{message}"}}"#);
    let batch = |element: &str| {
        let count = (1 << 20) / (element.len() + 1);
        format!(r#"{{"topic":"orders","messages":[{}]}}"#, vec![element; count].join(","))
    };
    for (name, document) in [
        ("JSON: one publish", publish),
        ("JSON: 1 MiB of messages", batch(&format!("\"{message}\""))),
        ("JSON: 1 MiB of short messages", batch("\"23.5\"")),
        ("JSON: 1 MiB of wide characters", batch(&format!("\"{}\"", "\u{e9}\u{20ac}".repeat(16)))),
        ("JSON: 1 MiB of escapes", batch(r#""\"a\\b\" \u00e9\n""#)),
        ("JSON: 1 MiB of numbers", batch("-12.5e3")),
        ("JSON: 1 MiB of objects", batch(r#"{"a":1,"b":[true,null]}"#)),
    ] {
        row(name, document.as_bytes(), |input| {
            assert!(json::parse(input).is_ok());
        });
    }
}

/// Measures and prints one line.
fn row(name: &str, input: &[u8], parse: impl Fn(&[u8])) {
    let time = best(|| parse(black_box(input)));
    let floor = best(|| {
        black_box(black_box(input).iter().fold(0_u8, |sum, &byte| sum.wrapping_add(byte)));
    });
    let rate = |seconds: f64| input.len() as f64 / seconds / 1e6;
    println!(
        "{name:<34} {:>9} {:>9.0} ns {:>10.0} {:>10.0}",
        input.len(),
        time * 1e9,
        rate(time),
        rate(floor)
    );
}

/// The seconds that one call takes in the best run.
fn best(call: impl Fn()) -> f64 {
    let run = |calls: u32| {
        let start = Instant::now();
        for _ in 0..calls {
            call();
        }
        start.elapsed()
    };
    // So many calls at once that the clock costs nothing beside them.
    let mut calls = 1;
    while run(calls) < RUN_TIME {
        calls *= 2;
    }
    let best = (0..RUNS).map(|_| run(calls)).min().unwrap_or_default();
    best.as_secs_f64() / f64::from(calls)
}
