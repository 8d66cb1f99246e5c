//! A file that is published in several runs, and the proof of what earlier runs have published.

use crate::error::{self, unreadable};
use crate::line_reader::LineReader;
use crate::lines::message;
use common::client::{Broker, Event, Publisher, Start, Subscriber};
use common::crc32::Crc32;
use common::flags::Error;
use common::limits::BODY_SIZE_MAX;
use std::fs::{File, Metadata};
use std::io::{self, Seek};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the broker may take to give the next message that was published.
const PATIENCE: Duration = Duration::from_secs(60);

/// A regular file that can be published in several runs.
#[derive(Debug)]
pub(crate) struct Resumable {
    path: PathBuf,
    file: File,
    /// The state of the file before it was read.
    metadata: Metadata,
}

impl Resumable {
    /// Opens a file.
    pub(crate) fn open(path: &Path) -> Result<Resumable, Error> {
        let file = open(path)?;
        let metadata = file.metadata().map_err(|cause| unreadable(Some(path), cause))?;
        if !metadata.is_file() {
            let what = "is not a regular file: leave out the id to publish it once";
            return Err(Error::of(path, what));
        }
        Ok(Resumable { path: path.to_owned(), file, metadata })
    }

    /// The file from its start.
    pub(crate) fn rewound(&self) -> Result<&File, Error> {
        let mut file = &self.file;
        file.rewind().map_err(|cause| unreadable(Some(&self.path), cause))?;
        Ok(file)
    }

    /// Makes sure that the `count` messages that the publisher has in the topic are the first
    /// lines of the file: reads both, and compares their checksums.
    ///
    /// # Errors
    ///
    /// If they are not, or if that cannot be proved.
    pub(crate) fn check_published(
        &self,
        broker: &Broker,
        publisher: &mut Publisher,
        topic: &str,
        count: u64,
    ) -> Result<(), Error> {
        let refused = |problem, remedy| {
            let before = format!("the {count} lines that this id published before");
            Error::of(&self.path, &format!("{problem} {before}{remedy} under another id"))
        };
        let differs = || refused("does not begin with", ": publish it (from its first line)");
        let are_gone = || {
            let remedy = ", because the topic has removed some: publish those after them";
            refused("cannot be compared with", remedy)
        };
        let fail = |cause| error::of_client(&cause, None, 0);
        let (first, expected) = self.beginning(count)?.ok_or_else(differs)?;
        let from = publisher.first_offset(topic, &first).map_err(fail)?;
        // Where they stand at the beginning, and no others among them, the topic's digest is
        // theirs. It is known also when they are gone.
        let mut subscriber = Subscriber::new(broker.clone());
        let is_known =
            from.unwrap_or(0) == 0 && subscriber.subscribe(topic, Start::Offset(count)).is_ok();
        if is_known && subscriber.digest(topic) == Some(expected.value()) {
            return Ok(());
        }
        let from = from.ok_or_else(are_gone)?;
        let mut subscriber = Subscriber::new(broker.clone());
        subscriber.subscribe(topic, Start::Offset(from)).map_err(fail)?;
        let mut crc = Crc32::default();
        let mut found = 0;
        while found < count {
            match subscriber.next_within(PATIENCE).map_err(fail)? {
                Some(Event::Message(message)) => {
                    if message.publisher.as_deref() == Some(publisher.name()) {
                        crc.update_line(&message.text);
                        found += 1;
                    }
                }
                Some(Event::Trimmed { .. }) => return Err(are_gone()),
                _ => return Err(differs()),
            }
        }
        if crc == expected { Ok(()) } else { Err(differs()) }
    }

    /// The first line, and the checksum of the first `count` lines; `None` if there are fewer, or
    /// if one cannot be a message.
    fn beginning(&self, count: u64) -> Result<Option<(String, Crc32)>, Error> {
        let fail = |cause| unreadable(Some(&self.path), cause);
        let mut lines = LineReader::new(self.rewound()?, BODY_SIZE_MAX);
        let mut crc = Crc32::default();
        let mut first = None;
        let mut left = count;
        while let Some(line) = lines.next().map_err(fail)? {
            let Some(Ok(message)) = line.text.map(message) else { return Ok(None) };
            let first = first.get_or_insert_with(|| message.to_owned());
            crc.update_line(message);
            left -= 1;
            if left == 0 {
                return Ok(Some((first.clone(), crc)));
            }
        }
        Ok(None)
    }

    /// Makes sure that the file is unchanged since it was opened, or has grown.
    pub(crate) fn check_unchanged(&self) -> Result<(), Error> {
        let before = &self.metadata;
        let now = self.file.metadata().map_err(|cause| unreadable(Some(&self.path), cause))?;
        let is_same = now.len() == before.len() && now.modified().ok() == before.modified().ok();
        let has_grown = now.len() > before.len();
        if is_same || has_grown {
            return Ok(());
        }
        Err(Error::of(&self.path, "was changed while it was published: publish a copy of it"))
    }
}

/// Opens a file to be read.
pub(crate) fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|cause| unreadable(Some(path), cause))
}

/// How many bytes a regular file still has to be read.
pub(crate) fn bytes_left(mut file: &File) -> Option<u64> {
    let metadata = file.metadata().ok().filter(Metadata::is_file)?;
    Some(metadata.len().saturating_sub(file.stream_position().ok()?))
}

/// How many bytes standard input still has, if it is a regular file.
#[cfg(unix)]
pub(crate) fn bytes_on_standard_input() -> Option<u64> {
    use std::os::fd::AsFd;
    let file = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
    bytes_left(&file)
}

/// How many bytes standard input still has: not known on this system.
#[cfg(not(unix))]
pub(crate) fn bytes_on_standard_input() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::crc32::crc32;
    use common::random::random;
    use std::{env, fs};

    /// A file that is gone with the test.
    struct Text(PathBuf);

    impl Text {
        fn new(text: &str) -> Text {
            let path = env::temp_dir().join(format!("publisher-{:016x}", random()));
            fs::write(&path, text).unwrap();
            Text(path)
        }
    }

    impl Drop for Text {
        fn drop(&mut self) {
            fs::remove_file(&self.0).unwrap();
        }
    }

    #[test]
    fn the_beginning_of_a_file_is_its_first_lines() {
        let text = Text::new("one\r\ntwo\n\nfour");
        let resumable = Resumable::open(&text.0).unwrap();
        let digest = |count| {
            let (first, crc) = resumable.beginning(count).unwrap()?;
            assert_eq!(first, "one");
            Some(crc.value())
        };
        assert_eq!(digest(1), Some(crc32(b"one\n")));
        assert_eq!(digest(3), Some(crc32(b"one\ntwo\n\n")));
        assert_eq!(digest(4), Some(crc32(b"one\ntwo\n\nfour\n")));
        assert_eq!(digest(5), None);
        assert_eq!(bytes_left(resumable.rewound().unwrap()), Some(14));
    }

    #[test]
    fn a_file_may_grow_meanwhile_and_may_not_change_otherwise() {
        let text = Text::new("one\n");
        let resumable = Resumable::open(&text.0).unwrap();
        resumable.check_unchanged().unwrap();
        fs::write(&text.0, "one\ntwo\n").unwrap();
        resumable.check_unchanged().unwrap();
        fs::write(&text.0, "o\n").unwrap();
        let error = resumable.check_unchanged().unwrap_err().to_string();
        assert!(error.contains("was changed while it was published"), "{error}");
    }

    #[test]
    fn what_is_no_regular_file_cannot_be_resumed() {
        let folder = env::temp_dir();
        // Most systems open a folder as if it could be read.
        let error = Resumable::open(&folder).unwrap_err().to_string();
        assert!(error.contains("is not a regular file") || error.contains("cannot be read"));
        let error = open(Path::new("/nonexistent/file")).unwrap_err().to_string();
        assert_eq!(error, "/nonexistent/file cannot be read");
    }
}
