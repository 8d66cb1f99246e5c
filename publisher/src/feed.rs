//! Takes messages to the broker, many at a time, and tells of each one that is not published.
//!
//! A message that the broker refuses, and a line that can be no message, ends the program for a
//! file, because a file can be corrected. Elsewhere it is reported and skipped, because later lines
//! may never come again.

use crate::{error, say};
use common::client::{self, Publisher};
use common::flags::Error;
use common::limits::BODY_SIZE_MAX;

/// What is no longer than this fits into a command: in JSON a byte takes at most six.
const LARGE: usize = BODY_SIZE_MAX / 8;

/// How many lines are remembered that were left out.
const SKIPPED_MAX: usize = 1000;

/// Where messages come from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source {
    /// From the lines of a file.
    File,
    /// From the lines of standard input.
    Input,
    /// From lines that name their topics. A person may be typing them.
    Dialogue,
}

/// Messages on their way to the broker.
pub(crate) struct Feed {
    pub(crate) publisher: Publisher,
    source: Source,
    /// Messages that were sent, and those of them that the broker refused.
    sent: u64,
    refused: u64,
    /// The line that was sent or left out last; 0 in a dialogue.
    line: u64,
    /// The lines that were left out since the last time when nothing was on its way.
    skipped: Vec<u64>,
    /// Lines that were not published; the user was told of each.
    left_out: u64,
    /// The number that a broker expects which has lost messages.
    pub(crate) expected: Option<u64>,
}

impl Feed {
    pub(crate) fn new(publisher: Publisher, source: Source) -> Feed {
        let (sent, refused, line, skipped) = (0, 0, 0, Vec::new());
        Feed { publisher, source, sent, refused, line, skipped, left_out: 0, expected: None }
    }

    /// Sends the message that is this line, counted from 1; 0 in a dialogue.
    pub(crate) fn send(&mut self, line: u64, topic: &str, message: &str) -> Result<(), Error> {
        if message.len() > LARGE {
            // It may be refused before those that are on their way.
            self.flush()?;
        }
        (self.line, self.sent) = (line, self.sent + 1);
        let sent = self.publisher.send(topic, message);
        self.consider(sent).map(drop)
    }

    /// Waits until everything that was sent is acknowledged or refused.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        loop {
            let flushed = self.publisher.flush();
            if self.consider(flushed)? {
                self.settle();
                return Ok(());
            }
        }
    }

    /// Nothing that was sent is on its way any more.
    pub(crate) fn settle(&mut self) {
        self.skipped.clear();
        self.sent = self.publisher.acknowledged() + self.refused;
    }

    /// The end of the input.
    pub(crate) fn end(&mut self) -> Result<(), Error> {
        self.flush()?;
        match self.left_out {
            0 => Ok(()),
            1 => Err(Error::new("1 line was not published")),
            count => Err(Error::new(format!("{count} lines were not published"))),
        }
    }

    /// A line cannot be a message.
    pub(crate) fn leave_out(&mut self, line: u64, reason: &'static str) -> Result<(), Error> {
        match self.source {
            Source::File => {
                self.flush()?;
                let published = self.publisher.acknowledged();
                return Err(error::of_line(line, reason, published));
            }
            Source::Input => {
                self.line = line;
                self.skipped.push(line);
                say(format_args!("line {line} {reason}: it is left out"));
                if self.skipped.len() >= SKIPPED_MAX {
                    self.flush()?;
                }
            }
            Source::Dialogue => say(reason),
        }
        self.left_out += 1;
        Ok(())
    }

    /// False if a message was refused. It is left out; the later ones keep their order.
    fn consider(&mut self, result: Result<(), client::Error>) -> Result<bool, Error> {
        let Err(cause) = result else { return Ok(true) };
        match (self.source, &cause) {
            (Source::Input, client::Error::Refused { code: 400 | 413, .. }) => {
                say(format_args!("line {}: {cause}", self.line_of_next().unwrap_or_default()));
            }
            // Without the right token there is no use in the next one.
            (Source::Dialogue, client::Error::Refused { code, .. }) if *code != 401 => say(cause),
            _ => return Err(self.failed(&cause)),
        }
        self.refused += 1;
        self.left_out += 1;
        Ok(false)
    }

    /// The line of the oldest message that is neither acknowledged nor refused.
    fn line_of_next(&self) -> Option<u64> {
        let pending = self.sent - self.publisher.acknowledged() - self.refused;
        let first =
            (self.line + 1).checked_sub(pending).filter(|_| self.line > 0 && pending > 0)?;
        let earlier = |first, skipped: &u64| first - u64::from(*skipped >= first);
        Some(self.skipped.iter().rev().fold(first, earlier))
    }

    /// The error for the user. When a message is refused, all before it are acknowledged.
    pub(crate) fn failed(&mut self, cause: &client::Error) -> Error {
        if let client::Error::Forgotten { expected, .. } = cause {
            self.expected = Some(*expected);
        }
        error::of_client(cause, self.line_of_next(), self.publisher.acknowledged())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::client::Broker;

    #[test]
    fn the_line_of_a_refused_message_is_known_whatever_was_left_out() {
        let mut feed = Feed::new(Publisher::new(Broker::at("nowhere:1")), Source::Input);
        for line in 1..=10 {
            match line {
                1 | 2 | 5 | 6 | 9 => feed.send(line, "t", "x").unwrap(),
                _ => feed.leave_out(line, "is not UTF-8").unwrap(),
            }
        }
        for line in [1, 2, 5, 6, 9] {
            assert_eq!(feed.line_of_next(), Some(line));
            feed.refused += 1;
        }
        assert_eq!(feed.line_of_next(), None);
    }

    #[test]
    fn of_input_that_is_no_text_few_lines_are_remembered() {
        let mut feed = Feed::new(Publisher::new(Broker::at("nowhere:1")), Source::Input);
        feed.skipped = (1..SKIPPED_MAX as u64).collect();
        feed.leave_out(SKIPPED_MAX as u64, "is not UTF-8").unwrap();
        assert!(feed.skipped.is_empty());
    }
}
