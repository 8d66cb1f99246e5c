//! A topic's messages as lines, as they come: `subscriber --topic`.
//!
//! # Guarantee
//!
//! Each message of the list is printed once and in order, also when the broker is restarted or
//! the connection is cut. A list that is begun anew is printed from its start, and said so.

use crate::PROGRAM;
use crate::error::{Error, Failure, Trouble};
use crate::lines::{self, WholeLines};
use crate::question::{Answer, Cursor, PATIENCE, Question};
use common::remote::Remote;
use common::retry::Outage;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// Prints `count` messages, or all that ever come, to the file or to standard output.
///
/// A reader that has closed standard output has seen enough: that is a success.
pub(crate) fn print(
    remote: Remote,
    topic: String,
    from: Option<u64>,
    count: Option<u64>,
    path: Option<PathBuf>,
) -> Result<(), Error> {
    let output: Box<dyn Write> = match &path {
        Some(path) => {
            let fail = |cause| Error::File { path: path.clone(), cause };
            Box::new(File::create(path).map_err(fail)?)
        }
        None => Box::new(io::stdout()),
    };
    let cursor = from.map(|next| Cursor { next, stream: None });
    let mut printer = Printer { remote, topic, cursor, left: count, output, path };
    let mut outage = Outage::default();
    while printer.left != Some(0) {
        match printer.round() {
            Ok(()) => outage.end(),
            Err(Failure::Passing(trouble)) => {
                let address = printer.remote.address();
                outage.wait(Duration::MAX, || {
                    PROGRAM
                        .say(format_args!("cannot read from {address} ({trouble}); trying again"));
                });
            }
            Err(Failure::Final(Error::Write { cause, .. }))
                if cause.kind() == io::ErrorKind::BrokenPipe =>
            {
                return Ok(());
            }
            Err(Failure::Final(error)) => return Err(error),
        }
    }
    Ok(())
}

/// A place in a topic, and where its messages go.
struct Printer<W> {
    remote: Remote,
    topic: String,
    /// The next message to print; `None` for the first one that is published from now on.
    cursor: Option<Cursor>,
    /// How many messages are still to be printed; `None` for all.
    left: Option<u64>,
    output: W,
    /// Where `output` writes to, for messages to the user; `None` for standard output.
    path: Option<PathBuf>,
}

impl<W: Write> Printer<W> {
    /// One request and its answer.
    fn round(&mut self) -> Result<(), Failure> {
        let (method, question) = match &self.cursor {
            Some(Cursor { next, stream }) => {
                let question = Question {
                    topic: &self.topic,
                    from: Some(*next),
                    limit: self.left,
                    stream: stream.as_deref(),
                    wait: true,
                    ..Question::default()
                };
                ("GET", question)
            }
            // The head alone tells where the list ends.
            None => ("HEAD", Question { topic: &self.topic, ..Question::default() }),
        };
        match question.ask(&mut self.remote, method)? {
            Answer::List(Some(cursor)) => match &mut self.cursor {
                Some(present) => {
                    present.stream = cursor.stream;
                    self.print()
                }
                None => {
                    self.cursor = Some(cursor);
                    Ok(())
                }
            },
            Answer::List(None) => {
                let address = self.remote.address().to_owned();
                Err(Failure::Final(Error::NoOffsets { address }))
            }
            Answer::OtherList(reason) => self.begin_anew(reason),
            Answer::Refused(reason) => self.refused(reason),
            Answer::Later(reason) => Err(Failure::Passing(Trouble::Answer(reason))),
        }
    }

    /// Prints the answer, which begins at the cursor.
    fn print(&mut self) -> Result<(), Failure> {
        let Printer { remote, cursor: Some(cursor), left, output, path, .. } = self else {
            return Ok(());
        };
        let mut lines = WholeLines::default();
        let mut sink = |batch: &[u8]| {
            let count = lines::count(batch);
            output.write_all(batch)?;
            output.flush()?;
            cursor.next += count;
            // No more than `limit` come, so no more are printed.
            *left = left.map(|left| left.saturating_sub(count));
            Ok(())
        };
        let result = remote.body(PATIENCE, |piece| lines.take(piece, &mut sink));
        result.map_err(|error| Failure::of_body(error, path.as_deref()))
    }

    /// The topic is another list than before.
    fn begin_anew(&mut self, reason: String) -> Result<(), Failure> {
        match &mut self.cursor {
            Some(cursor) if cursor.stream.is_some() => {
                PROGRAM.say("the topic was made anew: here it is from its start");
                *cursor = Cursor { next: 0, stream: None };
                Ok(())
            }
            // The user has asked for an offset that the list does not have.
            _ => self.refused(reason),
        }
    }

    fn refused(&self, reason: String) -> Result<(), Failure> {
        let address = self.remote.address().to_owned();
        Err(Failure::Final(Error::Refused { address, reason }))
    }
}
