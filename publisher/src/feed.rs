//! Takes messages to the broker, many at a time, and tells of each one that is not published.
//!
//! A message that the broker refuses, and a line that can be no message, ends the program for a
//! file, because a file can be corrected. Elsewhere it is reported and skipped, because later lines
//! may never come again.

use crate::{error, say};
use common::client::{self, Publisher};
use common::flags::Error;
use std::collections::VecDeque;

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
    /// Messages that were sent and not acknowledged when it was last looked: runs of consecutive
    /// lines, each as the number of the first and how many. Empty in a dialogue.
    runs: VecDeque<(u64, u64)>,
    /// Messages that are in no run any more: acknowledged, or refused.
    settled: u64,
    refused: u64,
    /// Lines that were not published; the user was told of each.
    left_out: u64,
    /// The number that a broker expects which has lost messages.
    pub(crate) forgotten: Option<u64>,
}

impl Feed {
    pub(crate) fn new(publisher: Publisher, source: Source) -> Feed {
        let (runs, forgotten) = (VecDeque::new(), None);
        Feed { publisher, source, runs, settled: 0, refused: 0, left_out: 0, forgotten }
    }

    /// Sends a message.
    pub(crate) fn send(&mut self, topic: &str, message: &str) -> Result<(), Error> {
        let sent = self.publisher.send(topic, message);
        self.consider(sent).map(drop)
    }

    /// Sends the message that is the line with this number, counted from 1.
    pub(crate) fn send_line(
        &mut self,
        number: u64,
        topic: &str,
        message: &str,
    ) -> Result<(), Error> {
        match self.runs.back_mut() {
            Some((first, count)) if *first + *count == number => *count += 1,
            _ => self.runs.push_back((number, 1)),
        }
        self.send(topic, message)
    }

    /// Waits until everything that was sent is acknowledged or refused.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        loop {
            let flushed = self.publisher.flush();
            if self.consider(flushed)? {
                self.forget();
                return Ok(());
            }
        }
    }

    /// Nothing that was sent is on its way any more.
    pub(crate) fn forget(&mut self) {
        self.runs.clear();
        self.settled = self.publisher.acknowledged() + self.refused;
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
    pub(crate) fn leave_out(&mut self, number: u64, reason: &'static str) -> Result<(), Error> {
        match self.source {
            Source::File => {
                self.flush()?;
                let published = self.publisher.acknowledged();
                return Err(error::of_line(number, reason, published));
            }
            Source::Input => say(format_args!("line {number} {reason}: it is left out")),
            Source::Dialogue => say(reason),
        }
        self.left_out += 1;
        Ok(())
    }

    /// False if a message was refused. It is left out; the later ones keep their order.
    fn consider(&mut self, result: Result<(), client::Error>) -> Result<bool, Error> {
        let cause = match result {
            Ok(()) => return Ok(true),
            Err(cause) => cause,
        };
        match (self.source, &cause) {
            (Source::Input, client::Error::Refused { code: 400 | 413, .. }) => {
                say(format_args!("line {}: {cause}", self.line_of_next()));
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

    /// The error for the user. When a message is refused, all before it are acknowledged.
    pub(crate) fn failed(&mut self, cause: &client::Error) -> Error {
        let line = Some(self.line_of_next()).filter(|line| *line > 0);
        if let client::Error::Forgotten { expected, .. } = cause {
            self.forgotten = Some(*expected);
        }
        error::of_client(cause, line, self.publisher.acknowledged())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::client::Broker;

    #[test]
    fn the_line_of_a_refused_message_is_known_whatever_was_left_out() {
        let mut feed = Feed::new(Publisher::new(Broker::at("nowhere:1")), Source::Input);
        for line in [1, 2, 5, 6, 9] {
            feed.send_line(line, "t", "x").unwrap();
        }
        for line in [1, 2, 5, 6, 9] {
            assert_eq!(feed.line_of_next(), line);
            feed.refused += 1;
        }
    }
}
