//! Publishes every line of a file or of standard input to one topic.
//!
//! A line ends with `\n` or `\r\n`; the last one need not. Lines are sent while the input is still
//! being read. Where input comes slowly, each piece is acknowledged before the next one is read.
//!
//! A line that cannot be a message ends the program for a file, because a file can be corrected. On
//! standard input it is reported and skipped, because later lines may never come again.

use crate::blocks::Blocks;
use crate::error::Error;
use crate::file::{self, Resumable};
use crate::progress::{Progress, State};
use crate::say;
use common::bytes::is_one_line;
use common::client::{self, Broker, Publisher};
use common::limits::BODY_SIZE_MAX;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::path::Path;
use std::str;

/// What is said of a line that is longer than [`BODY_SIZE_MAX`].
const TOO_LONG: &str = "is longer than 8 MiB";

/// Publishes all lines of a file, or of standard input.
pub(crate) fn publish(broker: Broker, topic: &str, path: Option<&Path>) -> Result<(), Error> {
    let mut feed = Feed::new(Publisher::new(broker), topic, path);
    match path {
        Some(path) => {
            let file = file::open(path)?;
            feed.publish(&file, file::bytes_left(&file), 0)
        }
        None => feed.publish(io::stdin().lock(), file::bytes_on_standard_input(), 0),
    }
}

/// Publishes the lines of a file that were not published by an earlier run under the same id:
/// where what was published is the beginning of the file.
pub(crate) fn resume(broker: Broker, topic: &str, path: &Path, id: &str) -> Result<(), Error> {
    let file = Resumable::open(path)?;
    // Not the id itself: whoever types under it begins a newer epoch every time.
    let publisher = Publisher::resuming(broker.clone(), &format!("{id}.file"));
    let mut feed = Feed::new(publisher, topic, Some(path));
    loop {
        let there = feed.publisher.next_sequence(topic).map_err(|cause| feed.failed(cause))?;
        if there > 0 {
            file.check_published(&broker, &mut feed.publisher, topic, there)?;
            Progress::note(format_args!("{there} lines were published before"));
        }
        match feed.publish(file.rewound()?, Some(file.size()), there) {
            Err(Error::Client { cause: client::Error::Forgotten { expected, .. }, .. }) => {
                say(format_args!(
                    "the broker has lost messages; going on with line {}",
                    expected + 1
                ));
            }
            Err(error) => return Err(error),
            Ok(()) => return file.check_unchanged(),
        }
    }
}

/// What takes lines to a topic.
struct Feed<'a> {
    publisher: Publisher,
    topic: &'a str,
    /// Where the lines are; `None` for standard input.
    path: Option<&'a Path>,
    /// Messages that were sent and not acknowledged when it was last looked: runs of consecutive
    /// lines, each as the number of the first and how many.
    runs: VecDeque<(u64, u64)>,
    /// Messages that are in no run any more: acknowledged, or refused.
    settled: u64,
    refused: u64,
    /// Lines of standard input that were not published; the user was told of each.
    left_out: u64,
}

impl<'a> Feed<'a> {
    fn new(publisher: Publisher, topic: &'a str, path: Option<&'a Path>) -> Feed<'a> {
        let runs = VecDeque::new();
        Feed { publisher, topic, path, runs, settled: 0, refused: 0, left_out: 0 }
    }

    /// Publishes all lines of an input of `size` bytes but the first `there`, which are in the
    /// broker.
    fn publish(&mut self, input: impl Read, size: Option<u64>, there: u64) -> Result<(), Error> {
        let before = self.publisher.acknowledged();
        let mut progress = Progress::new(size);
        let mut blocks = Blocks::new(input, BODY_SIZE_MAX);
        let mut number = 0;
        self.forget_runs();
        while let Some(block) = blocks.next().map_err(|cause| self.unreadable(cause))? {
            if block.follows_long_line {
                number += 1;
                self.leave_out(number, TOO_LONG)?;
            }
            for line in block.split() {
                number += 1;
                if number > there {
                    match message(line) {
                        Ok(message) => self.send(number, message)?,
                        Err(reason) => self.leave_out(number, reason)?,
                    }
                }
            }
            if block.is_last_for_now {
                self.flush()?;
            }
            if number <= there {
                progress.skip_to(blocks.position());
            }
            // What is on its way is not done.
            let position = blocks.position().saturating_sub(self.publisher.pending_size() as u64);
            let messages = self.publisher.acknowledged() - before;
            progress.show(State { position, messages });
        }
        self.flush()?;
        progress.end(self.publisher.acknowledged() - before);
        match self.left_out {
            0 => Ok(()),
            count => Err(Error::NotPublished(count)),
        }
    }

    fn send(&mut self, number: u64, message: &str) -> Result<(), Error> {
        match self.runs.back_mut() {
            Some((first, count)) if *first + *count == number => *count += 1,
            _ => self.runs.push_back((number, 1)),
        }
        let sent = self.publisher.send(self.topic, message);
        self.consider(sent).map(drop)
    }

    fn flush(&mut self) -> Result<(), Error> {
        loop {
            let flushed = self.publisher.flush();
            if self.consider(flushed)? {
                self.forget_runs();
                return Ok(());
            }
        }
    }

    /// Whether all went well. A message of standard input that is refused is left out; those
    /// behind it stay in line.
    fn consider(&mut self, result: Result<(), client::Error>) -> Result<bool, Error> {
        match result {
            Ok(()) => Ok(true),
            Err(cause @ client::Error::Refused { code: 400 | 413, .. }) if self.path.is_none() => {
                say(format_args!("line {}: {cause}", self.line_of_next()));
                self.refused += 1;
                self.left_out += 1;
                Ok(false)
            }
            Err(cause) => Err(self.failed(cause)),
        }
    }

    /// A line cannot be a message.
    fn leave_out(&mut self, number: u64, reason: &'static str) -> Result<(), Error> {
        if self.path.is_some() {
            self.flush()?;
            return Err(Error::Line { number, reason, published: self.publisher.acknowledged() });
        }
        self.left_out += 1;
        say(format_args!("line {number} {reason}: it is left out"));
        Ok(())
    }

    /// The line of the oldest message that is neither acknowledged nor refused.
    fn line_of_next(&mut self) -> u64 {
        let mut left = self.publisher.acknowledged() + self.refused - self.settled;
        self.settled += left;
        while let Some((first, count)) = self.runs.front_mut() {
            let taken = left.min(*count);
            (*first, *count, left) = (*first + taken, *count - taken, left - taken);
            if *count > 0 {
                return *first;
            }
            self.runs.pop_front();
        }
        0
    }

    /// Everything that was sent is acknowledged or refused.
    fn forget_runs(&mut self) {
        self.runs.clear();
        self.settled = self.publisher.acknowledged() + self.refused;
    }

    /// What a failure means to the user. A message is refused when all before it are acknowledged.
    fn failed(&mut self, cause: client::Error) -> Error {
        let line = Some(self.line_of_next()).filter(|line| *line > 0);
        Error::Client { cause, line, published: self.publisher.acknowledged() }
    }

    fn unreadable(&self, cause: io::Error) -> Error {
        match self.path {
            Some(path) => Error::file(path, cause),
            None => Error::Input(cause),
        }
    }
}

/// The message that a line is.
pub(crate) fn message(line: &[u8]) -> Result<&str, &'static str> {
    let line = str::from_utf8(line).map_err(|_| "is not UTF-8")?;
    let line = line.strip_suffix('\r').unwrap_or(line);
    if is_one_line(line) { Ok(line) } else { Err("holds a carriage return or a NUL") }
}

const _: () = assert!(BODY_SIZE_MAX == 8 << 20);

#[cfg(test)]
mod tests {
    use super::*;
    use std::env;

    /// Most systems open a folder as if it could be read.
    #[test]
    fn a_folder_is_named_when_it_cannot_be_read() {
        let folder = env::temp_dir();
        let error = publish(Broker::at("127.0.0.1:1"), "t", Some(&folder)).unwrap_err();
        assert_eq!(error.to_string(), format!("{} cannot be read", folder.display()));
    }

    #[test]
    fn a_line_is_a_message_without_its_end() {
        assert_eq!(message("\u{fc} \r".as_bytes()), Ok("\u{fc} "));
        assert_eq!(message(b""), Ok(""));
        assert_eq!(message(b"a\xff"), Err("is not UTF-8"));
        for bad in ["a\rb", "a\r\r", "a\0"] {
            assert_eq!(message(bad.as_bytes()), Err("holds a carriage return or a NUL"));
        }
    }

    #[test]
    fn the_line_of_a_refused_message_is_known_whatever_was_left_out() {
        let mut feed = Feed::new(Publisher::new(Broker::at("nowhere:1")), "t", None);
        for line in [1, 2, 5, 6, 9] {
            feed.send(line, "x").unwrap();
        }
        for line in [1, 2, 5, 6, 9] {
            assert_eq!(feed.line_of_next(), line);
            feed.refused += 1;
        }
    }
}
