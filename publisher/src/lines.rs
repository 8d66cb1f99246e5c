//! Every line of a file or of standard input, to one topic.
//!
//! A line ends with `\n` or `\r\n`; the last one need not. The input is read in pieces and sent
//! while it is read; where it comes slowly, each piece is acknowledged before the next is awaited.

use crate::PROGRAM;
use crate::blocks::Blocks;
use crate::error::Error;
use crate::file::{self, Resumable};
use crate::progress::{Progress, State};
use common::client::{self, Broker, Publisher};
use common::limits::BODY_SIZE_MAX;
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::str;

/// Publishes all lines of a file, or of standard input.
pub(crate) fn publish(broker: Broker, topic: &str, path: Option<&Path>) -> Result<(), Error> {
    let mut feed = Feed { publisher: Publisher::new(broker), topic, path };
    match path {
        Some(path) => {
            let file = file::open(path)?;
            feed.publish(&file, file::bytes_left(&file), 0)
        }
        None => feed.publish(io::stdin().lock(), file::bytes_on_standard_input(), 0),
    }
}

/// Publishes the lines of a file that were not published by an earlier run under the same id.
pub(crate) fn resume(broker: Broker, topic: &str, path: &Path, id: &str) -> Result<(), Error> {
    let file = Resumable::open(path, id)?;
    let publisher = Publisher::resuming(broker, &file.name);
    let mut feed = Feed { publisher, topic, path: Some(path) };
    loop {
        let there = feed.publisher.next_sequence(topic);
        let there = there.map_err(|cause| Error::Client { cause, line: None, published: 0 })?;
        match feed.publish(file.rewound()?, Some(file.size()), there) {
            Err(Error::Client { cause: client::Error::Forgotten { expected, .. }, .. }) => {
                PROGRAM.say(format_args!(
                    "the broker has lost what was published; going on with line {}",
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
}

impl Feed<'_> {
    /// Publishes all lines of an input of `size` bytes but the first `there`, which are in the
    /// broker.
    fn publish(&mut self, input: impl Read, size: Option<u64>, there: u64) -> Result<(), Error> {
        let before = self.publisher.acknowledged();
        let mut progress = Progress::new(size);
        let mut blocks = Blocks::new(input, BODY_SIZE_MAX);
        let mut number = 0;
        loop {
            let block = match blocks.next() {
                Ok(Some(block)) => block,
                Ok(None) => break,
                Err(cause) => {
                    self.flush(there, before)?;
                    return Err(self.unreadable(cause, number + 1, before));
                }
            };
            let (text, is_whole) = whole_lines(block.lines);
            for line in text.lines() {
                number += 1;
                if number > there {
                    let sent = self.publisher.send(self.topic, line);
                    sent.map_err(|cause| self.failed(cause, there, before))?;
                }
            }
            if block.is_last_for_now || !is_whole {
                self.flush(there, before)?;
            }
            if !is_whole {
                return Err(self.line(number + 1, "is not UTF-8", before));
            }
            if number <= there {
                progress.skip_to(blocks.position());
            }
            let messages = self.publisher.acknowledged() - before;
            progress.show(State { position: blocks.position(), messages });
        }
        self.flush(there, before)?;
        progress.end(self.publisher.acknowledged() - before);
        Ok(())
    }

    fn flush(&mut self, there: u64, before: u64) -> Result<(), Error> {
        self.publisher.flush().map_err(|cause| self.failed(cause, there, before))
    }

    /// What a failure means to the user. A message is refused when all before it are acknowledged.
    fn failed(&self, cause: client::Error, there: u64, before: u64) -> Error {
        let published = self.publisher.acknowledged() - before;
        Error::Client { cause, line: Some(there + published + 1), published }
    }

    /// Why the line with this number could not be read.
    fn unreadable(&self, cause: io::Error, number: u64, before: u64) -> Error {
        match cause.kind() {
            ErrorKind::FileTooLarge => self.line(number, "is longer than 8 MiB", before),
            _ => match self.path {
                Some(path) => Error::file(path, cause),
                None => Error::Input(cause),
            },
        }
    }

    /// A line that cannot be a message.
    fn line(&self, number: u64, reason: &'static str, before: u64) -> Error {
        Error::Line { number, reason, published: self.publisher.acknowledged() - before }
    }
}

/// The whole lines of a block that are UTF-8, and whether that is all of them.
fn whole_lines(block: &[u8]) -> (&str, bool) {
    match str::from_utf8(block) {
        Ok(text) => (text, true),
        Err(error) => {
            let (valid, _) = block.split_at(error.valid_up_to());
            let valid = str::from_utf8(valid).unwrap_or_default();
            let end = valid.rfind('\n').map_or(0, |last| last + 1);
            (valid.get(..end).unwrap_or_default(), false)
        }
    }
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
    fn of_a_block_the_lines_before_the_first_that_is_not_utf8_are_whole() {
        for (block, text, is_whole) in [
            (&b"a\nb"[..], "a\nb", true),
            ("ü\n".as_bytes(), "ü\n", true),
            (b"a\nb\xff\nc\n", "a\n", false),
            (b"\xff", "", false),
        ] {
            assert_eq!(whole_lines(block), (text, is_whole));
        }
    }
}
