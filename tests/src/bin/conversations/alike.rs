//! Replaces what differs in each run: stream ids, times, ports, the number of the conversation, and
//! values of metrics.

use std::collections::BTreeMap;
use std::fmt::Write;

/// What came on the connections of conversation `index`, as lines that two brokers have alike.
pub(crate) fn lines(received: &BTreeMap<usize, Vec<u8>>, index: u64, ports: &[u16]) -> Vec<String> {
    let mut streams = Vec::new();
    let mut lines = Vec::new();
    let topic = format!("c{index}-");
    for (number, bytes) in received {
        let text = bytes.escape_ascii().to_string().replace("\\n", "\\n\n").replace(&topic, "c-");
        let is_metrics = text.contains("# HELP ");
        for line in text.lines() {
            let line = without_ports(&line.replace("\\\"", "\""), ports);
            let line = without_times(&without_streams(&line, &mut streams));
            let line = if is_metrics { without_length(&line) } else { line };
            lines.push(format!("{number} {}", without_sample(&line)));
        }
    }
    lines
}

/// Numbers stream ids (16 hexadecimal digits) in the order in which they come.
fn without_streams(line: &str, streams: &mut Vec<String>) -> String {
    let mut found = String::new();
    let mut word = String::new();
    for char in line.chars().chain(['\n']) {
        if char.is_ascii_alphanumeric() {
            word.push(char);
            continue;
        }
        let is_id = word.len() == 16
            && word.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
            && word.bytes().any(|byte| byte != b'0');
        if is_id {
            let known = streams.iter().position(|stream| *stream == word);
            let number = known.unwrap_or_else(|| {
                streams.push(word.clone());
                streams.len() - 1
            });
            let _ = write!(found, "<stream {number}>");
        } else {
            found.push_str(&word);
        }
        word.clear();
        found.push(char);
    }
    found.pop();
    found
}

/// Replaces times (13 digits, or a date and a time of the text door) and dates of answers.
fn without_times(line: &str) -> String {
    if line.starts_with("Date: ") {
        return "Date: <date>".to_owned();
    }
    let mut found = line.to_owned();
    for key in ["\"time\":", "\"last\":", "\"last_seen\":"] {
        while let Some(at) = found.find(&format!("{key}1")) {
            let begin = at + key.len();
            let digits = found.get(begin..).unwrap_or_default();
            let size = digits.find(|it: char| !it.is_ascii_digit()).unwrap_or(digits.len());
            found.replace_range(begin..begin + size, "<time>");
        }
    }
    let is_date = |text: &str| {
        text.len() == 19
            && text.bytes().enumerate().all(|(index, byte)| match index {
                4 | 7 => byte == b'-',
                10 => byte == b' ',
                13 | 16 => byte == b':',
                _ => byte.is_ascii_digit(),
            })
    };
    let mut at = 0;
    while at < found.len() {
        if found.get(at..at + 19).is_some_and(is_date) {
            found.replace_range(at..at + 19, "<date>");
        }
        at += 1;
    }
    found
}

fn without_ports(line: &str, ports: &[u16]) -> String {
    let mut found = line.to_owned();
    for (index, port) in ports.iter().enumerate() {
        found = found.replace(&format!(":{port}"), &format!(":<port {index}>"));
    }
    found
}

/// Leaves a length out that depends on what was counted.
fn without_length(line: &str) -> String {
    if line.starts_with("Content-Length: ") { "Content-Length: <size>".into() } else { line.into() }
}

/// Leaves the value of a metric's sample out: what was counted depends on the run.
fn without_sample(line: &str) -> String {
    let name = line.strip_suffix("\\n").unwrap_or(line);
    match name.rsplit_once(' ') {
        Some((name, value)) if is_metric(name) && value.parse::<f64>().is_ok() => {
            format!("{name} <sample>")
        }
        _ => line.to_owned(),
    }
}

/// Whether a line, behind the number of its connection, names a sample of the broker or its
/// process.
fn is_metric(name: &str) -> bool {
    name.starts_with("broker_") || name.starts_with("process_")
}
