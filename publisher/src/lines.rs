//! Publishes every line of a file or of standard input to one topic.
//!
//! A line ends with `\n` or `\r\n`; the last one need not. Lines are sent while the input is still
//! being read. Where input comes slowly, each piece is acknowledged before the next one is read.
//!
//! A line that cannot be a message ends the program for a file, because a file can be corrected. On
//! standard input it is reported and skipped, because later lines may never come again.

use crate::error::unreadable;
use crate::feed::{Feed, Source};
use crate::file::{self, Resumable};
use crate::line_reader::LineReader;
use crate::progress::Progress;
use crate::say;
use common::bytes::is_one_line;
use common::client::{Broker, Publisher};
use common::flags::Error;
use common::limits::BODY_SIZE_MAX;
use std::io::{self, Read};
use std::path::Path;
use std::str;

/// Why a line that is longer than [`BODY_SIZE_MAX`] cannot be published.
const TOO_LONG: &str = "is longer than 8 MiB";

/// Publishes all lines of a file, or of standard input.
pub(crate) fn publish(broker: Broker, topic: &str, path: Option<&Path>) -> Result<(), Error> {
    let publisher = Publisher::new(broker);
    match path {
        Some(path) => {
            let file = file::open(path)?;
            let mut feed = Feed::new(publisher, Source::File);
            publish_lines(&mut feed, topic, Some(path), &file, file::bytes_left(&file), 0)
        }
        None => {
            let mut feed = Feed::new(publisher, Source::Input);
            let (input, size) = (io::stdin().lock(), file::bytes_on_standard_input());
            publish_lines(&mut feed, topic, None, input, size, 0)
        }
    }
}

/// Publishes the lines of a file that earlier runs under the same id did not publish. Their lines
/// must be the beginning of the file.
pub(crate) fn resume(broker: Broker, topic: &str, path: &Path, id: &str) -> Result<(), Error> {
    let file = Resumable::open(path)?;
    // Not the id itself: a dialogue under it begins a newer epoch each time.
    let publisher = Publisher::resuming(broker.clone(), &format!("{id}.file"));
    let mut feed = Feed::new(publisher, Source::File);
    loop {
        let there = feed.publisher.next_sequence(topic).map_err(|cause| feed.failed(&cause))?;
        if there > 0 {
            file.check_published(&broker, &mut feed.publisher, topic, there)?;
            Progress::note(format_args!("{there} lines were published before"));
        }
        let input = file.rewound()?;
        match publish_lines(&mut feed, topic, Some(path), input, file::bytes_left(input), there) {
            Ok(()) => return file.check_unchanged(),
            Err(error) => match feed.expected.take() {
                Some(expected) => say(format_args!(
                    "the broker has lost messages; going on with line {}",
                    expected + 1
                )),
                None => return Err(error),
            },
        }
    }
}

/// Publishes all lines of an input of `size` bytes, a file or standard input, but the first
/// `there`, which are in the broker.
fn publish_lines(
    feed: &mut Feed,
    topic: &str,
    path: Option<&Path>,
    input: impl Read,
    size: Option<u64>,
    there: u64,
) -> Result<(), Error> {
    let before = feed.publisher.acknowledged();
    let mut progress = Progress::new(size);
    let mut lines = LineReader::new(input, BODY_SIZE_MAX);
    let mut number = 0;
    feed.settle();
    while let Some(line) = lines.next().map_err(|cause| unreadable(path, cause))? {
        number += 1;
        let is_last_for_now = line.is_last_for_now;
        if number > there {
            match line.text.ok_or(TOO_LONG).and_then(message) {
                Ok(message) => feed.send(number, topic, message)?,
                Err(reason) => feed.leave_out(number, reason)?,
            }
        }
        if is_last_for_now {
            feed.flush()?;
        }
        if number <= there {
            progress.skip_to(lines.position());
        }
        // To look at the clock for each line would take longer than to read it.
        if is_last_for_now || number.is_multiple_of(1024) {
            // Messages on their way are not done.
            let position = lines.position().saturating_sub(feed.publisher.pending_size() as u64);
            progress.show(position, feed.publisher.acknowledged() - before);
        }
    }
    feed.flush()?;
    progress.end(feed.publisher.acknowledged() - before);
    feed.end()
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
}
