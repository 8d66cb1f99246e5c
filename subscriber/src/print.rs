//! A topic's messages as lines, as they come: `subscriber --topic`.
//!
//! # Guarantee
//!
//! Each message of the list is printed once and in order, also when the broker is restarted or
//! the connection is cut. A list that is begun anew is printed from its start, and said so.

use crate::PROGRAM;
use crate::attempts::{self, Pace};
use crate::error::{Error, Failure, Trouble};
use crate::lines::{self, WholeLines};
use crate::question::{Answer, Cursor, PATIENCE, Question};
use common::remote::Remote;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Instant;

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
    let address = remote.address().to_owned();
    let mut printer = Printer { remote, topic, cursor, left: count, output, path };
    match attempts::repeat(&address, || printer.round()) {
        Err(Error::Write { cause, .. }) if cause.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
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
    fn round(&mut self) -> Result<Pace, Failure> {
        if self.left == Some(0) {
            return Ok(Pace::Never);
        }
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
        let asked = Instant::now();
        match question.ask(&mut self.remote, method)? {
            Answer::List(Some(cursor)) => match &mut self.cursor {
                Some(present) => {
                    present.stream = cursor.stream;
                    let has_given = self.print()?;
                    Ok(Pace::after_wait(asked, has_given))
                }
                None => {
                    self.cursor = Some(cursor);
                    Ok(Pace::AtOnce)
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

    /// Prints the answer, which begins at the cursor. Gives whether there was anything in it.
    fn print(&mut self) -> Result<bool, Failure> {
        let Printer { remote, cursor: Some(cursor), left, output, path, .. } = self else {
            return Ok(false);
        };
        let before = cursor.next;
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
        result.map_err(|error| Failure::of_body(error, path.as_deref()))?;
        Ok(cursor.next > before)
    }

    /// The topic is another list than before.
    fn begin_anew(&mut self, reason: String) -> Result<Pace, Failure> {
        match &mut self.cursor {
            Some(cursor) if cursor.stream.is_some() => {
                PROGRAM.say("the topic was made anew: here it is from its start");
                *cursor = Cursor { next: 0, stream: None };
                Ok(Pace::AtOnce)
            }
            // The user has asked for an offset that the list does not have.
            _ => self.refused(reason),
        }
    }

    fn refused(&self, reason: String) -> Result<Pace, Failure> {
        let address = self.remote.address().to_owned();
        Err(Failure::Final(Error::Refused { address, reason }))
    }
}
