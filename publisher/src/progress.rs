//! Shows progress: one line on standard error, written again and again.
//!
//! Nothing is written if standard error is not a terminal.

use crate::PROGRAM;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Between two looks at the line.
const PAUSE: Duration = Duration::from_millis(100);

/// Columns of the bar itself.
const BAR_SIZE: u64 = 24;

/// A line that shows how far it is.
#[derive(Debug)]
pub(crate) struct Progress {
    is_shown: bool,
    start: Instant,
    shown: Option<Instant>,
    /// How many bytes there are to read, if known.
    size: Option<u64>,
    /// Bytes that need not be sent.
    skipped: u64,
}

impl Progress {
    /// Progress through `size` bytes, if known. It begins now.
    pub(crate) fn new(size: Option<u64>) -> Progress {
        let (is_shown, start) = (io::stderr().is_terminal(), Instant::now());
        Progress { is_shown, start, shown: None, size, skipped: 0 }
    }

    /// Tells something if standard error is a terminal.
    pub(crate) fn note(line: impl fmt::Display) {
        if io::stderr().is_terminal() {
            PROGRAM.say(line);
        }
    }

    /// Lines up to here were published before. They do not count as done in this run.
    pub(crate) fn skip_to(&mut self, position: u64) {
        self.skipped = position;
    }

    /// Shows how far it is, now and then: bytes that were read, and messages that the broker has
    /// acknowledged in this run.
    pub(crate) fn show(&mut self, position: u64, messages: u64) {
        let is_due = self.shown.is_none_or(|shown| shown.elapsed() >= PAUSE);
        if self.is_shown && is_due {
            self.shown = Some(Instant::now());
            let line = self.line(position, messages, self.start.elapsed());
            // Nobody has to see it.
            let _ = write!(io::stderr(), "\r{line}\x1b[K");
        }
    }

    /// Leaves how many messages it was in the end.
    pub(crate) fn end(mut self, messages: u64) {
        self.shown = None;
        if self.is_shown {
            let seconds = self.start.elapsed().as_secs_f64();
            let (messages, rate) = (counted(messages), rate(messages, seconds));
            let _ = writeln!(io::stderr(), "\r{messages} in {seconds:.1} s, {rate}\x1b[K");
        }
    }

    fn line(&self, position: u64, messages: u64, elapsed: Duration) -> String {
        let seconds = elapsed.as_secs_f64();
        let (messages, rate) = (counted(messages), rate(messages, seconds));
        let Some(size) = self.size.filter(|size| *size > 0) else {
            return format!("{messages}, {rate}");
        };
        let position = position.min(size);
        let percent = position * 100 / size;
        let full = "=".repeat(usize::try_from(position * BAR_SIZE / size).unwrap_or_default());
        let width = usize::try_from(BAR_SIZE).unwrap_or_default();
        let done = position.saturating_sub(self.skipped);
        let left = match done {
            0 => String::new(),
            _ => format!(", {} left", time(seconds * ratio(size - position, done))),
        };
        format!("{percent:3} % [{full:<width$}] {messages}, {rate}{left}")
    }
}

impl Drop for Progress {
    /// Removes the line, so that an error message does not stand after it.
    fn drop(&mut self) {
        if self.shown.is_some() {
            // Nobody has to see it.
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// `1 message` or `12,345,678 messages`
fn counted(messages: u64) -> String {
    let digits = messages.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    format!("{} message{}", groups.join(","), if messages == 1 { "" } else { "s" })
}

/// `2.13 M/s`, `45.0 k/s` or `7/s`
fn rate(messages: u64, seconds: f64) -> String {
    let rate = if seconds > 0.0 { ratio(messages, 1) / seconds } else { 0.0 };
    match rate {
        1e6.. => format!("{:.2} M/s", rate / 1e6),
        1e4.. => format!("{:.1} k/s", rate / 1e3),
        _ => format!("{rate:.0}/s"),
    }
}

/// `1:02:03`, `2:03` or `3 s`
fn time(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX).as_secs();
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody counts the last digits while they run")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(size: Option<u64>, skipped: u64, position: u64, messages: u64) -> String {
        let mut progress = Progress::new(size);
        progress.skip_to(skipped);
        progress.line(position, messages, Duration::from_secs(2))
    }

    #[test]
    fn a_bar_shows_what_is_done_how_fast_and_what_is_left() {
        assert_eq!(
            line(Some(4000), 0, 1000, 5_000_000),
            " 25 % [======                  ] 5,000,000 messages, 2.50 M/s, 6 s left"
        );
        assert_eq!(
            line(Some(4000), 0, 4000, 90_000),
            "100 % [========================] 90,000 messages, 45.0 k/s, 0 s left"
        );
    }

    #[test]
    fn what_was_there_before_says_nothing_about_the_time_left() {
        assert!(line(Some(4000), 2000, 3000, 10).ends_with("10 messages, 5/s, 2 s left"));
        assert!(line(Some(4000), 2000, 2000, 0).ends_with("] 0 messages, 0/s"));
    }

    #[test]
    fn without_a_size_there_is_no_bar() {
        assert_eq!(line(None, 0, 1000, 7), "7 messages, 4/s");
        assert_eq!(line(None, 0, 1000, 1), "1 message, 0/s");
        assert_eq!(line(Some(0), 0, 0, 0), "0 messages, 0/s");
    }

    #[test]
    fn numbers_and_times_are_easy_to_read() {
        assert_eq!(
            [0, 1, 999, 1_000, 1_234_567].map(counted),
            ["0 messages", "1 message", "999 messages", "1,000 messages", "1,234,567 messages"]
        );
        assert_eq!([59.9, 60.0, 3723.0].map(time), ["59 s", "1:00", "1:02:03"]);
    }
}
