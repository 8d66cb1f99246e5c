//! Compaction: a start leaves out what was deleted, when that is most of the journal.
//!
//! The records that still count are copied, in order, to a new file that then takes the old one's
//! place. Until the rename the old file is untouched, and after it the new one is whole.

use super::error::Error;
use super::frame::Frame;
use super::header::FileHeader;
use super::record::Record;
use super::scan::{EndKind, scan};
use super::storage::{Directory, File};
use super::{JOURNAL, TEMPORARY};
use std::collections::HashMap;
use std::io;

/// How many bytes must have been deleted, at least, before a compaction is worth its time.
pub(super) const GARBAGE_SIZE_MIN: u64 = 1 << 20;

/// About how large the frames of the new file are, in bytes.
const FRAME_SIZE: usize = 1 << 20;

/// What in a journal still counts.
#[derive(Default)]
pub(super) struct Census {
    /// Records so far.
    records: u64,
    /// Bytes of all records so far.
    size: u64,
    /// The topics that are there.
    topics: HashMap<String, Topic>,
    /// The last word on each lasting subscription that is there: the record's text, under the
    /// subscriber's and the topic's name as they stand in it. They outlive their topic: whoever
    /// resumes is to learn that it is another one.
    subscriptions: HashMap<String, String>,
}

struct Topic {
    /// The record that begins it; what came before belongs to a topic that was deleted.
    first: u64,
    /// Bytes of its records.
    size: u64,
}

impl Census {
    /// Takes in the next record, and its text.
    pub(super) fn note(&mut self, record: &Record<'_>, text: &str) {
        let size = text.len() as u64;
        self.records += 1;
        self.size += size;
        match *record {
            Record::Create { topic, .. }
            | Record::Mirror { topic, .. }
            | Record::Append { topic, .. } => match self.topics.get_mut(topic) {
                Some(topic) => topic.size += size,
                None => {
                    let first = self.records;
                    self.topics.insert(topic.to_owned(), Topic { first, size });
                }
            },
            Record::Delete { topic, .. } => {
                self.topics.remove(topic);
            }
            Record::Acknowledge { subscriber, topic, .. } => {
                let key = key(subscriber, topic, text);
                match self.subscriptions.get_mut(key) {
                    Some(last) => text.clone_into(last),
                    None => {
                        self.subscriptions.insert(key.to_owned(), text.to_owned());
                    }
                }
            }
            Record::End { subscriber, topic } => {
                self.subscriptions.remove(key(subscriber, topic, text));
            }
        }
    }

    /// Whether most of the records no longer count, and those are at least so many bytes.
    pub(super) fn is_worth_compacting(&self, garbage_size_min: u64) -> bool {
        let topics = self.topics.values().map(|topic| topic.size);
        let subscriptions = self.subscriptions.values().map(|text| text.len() as u64);
        let live = topics.chain(subscriptions).sum();
        let garbage = self.size.saturating_sub(live);
        garbage >= garbage_size_min && garbage > live
    }
}

/// Both names with a tab between them: all that follows the first field of such a record.
fn key<'t>(subscriber: &str, topic: &str, text: &'t str) -> &'t str {
    let start = "@\t".len();
    text.get(start..start + subscriber.len() + 1 + topic.len()).unwrap_or_default()
}

/// A file that has taken the old one's place.
pub(super) struct Compacted {
    pub(super) file: Box<dyn File>,
    /// Bytes of it.
    pub(super) size: u64,
}

/// Puts a compacted journal in the place of this one. A failure to write it changes nothing, and
/// is given as the inner error.
pub(super) fn compact(
    directory: &dyn Directory,
    file: &dyn File,
    census: &Census,
) -> Result<io::Result<Compacted>, Error> {
    let compacted = write_compacted(directory, file, census);
    if compacted.is_err() {
        // What cannot be removed now is removed by the next start.
        let _ = directory.remove(TEMPORARY);
        return Ok(compacted);
    }
    directory.rename(TEMPORARY, JOURNAL).map_err(directory.failed("rename", TEMPORARY))?;
    directory.sync().map_err(directory.failed("sync the directory of", JOURNAL))?;
    Ok(compacted)
}

/// Writes the records that count to a new file, which is durable then but for its name.
fn write_compacted(
    directory: &dyn Directory,
    file: &dyn File,
    census: &Census,
) -> io::Result<Compacted> {
    let mut copy = Copy::begin(directory.create(TEMPORARY)?)?;
    let mut number = 0;
    let end = scan(file, |frame| {
        frame.records(|record, text| {
            number += 1;
            match record {
                Record::Create { topic, .. }
                | Record::Mirror { topic, .. }
                | Record::Append { topic, .. }
                    if census.topics.get(topic).is_some_and(|topic| number >= topic.first) =>
                {
                    copy.add(text)
                }
                _ => Ok(()),
            }
        })
    })?;
    if end.kind != EndKind::Whole {
        return Err(io::Error::other("the journal changed while it was read"));
    }
    for text in census.subscriptions.values() {
        copy.add(text)?;
    }
    copy.finish()
}

/// A new file in the making.
struct Copy {
    file: Box<dyn File>,
    size: u64,
    frame: Frame,
}

impl Copy {
    fn begin(file: Box<dyn File>) -> io::Result<Copy> {
        let header = FileHeader::bytes();
        file.write_all_at(&header, 0)?;
        let size = header.len() as u64;
        Ok(Copy { file, size, frame: Frame::default() })
    }

    /// Adds a record's text.
    fn add(&mut self, text: &str) -> io::Result<()> {
        // A record alone may be as large as a frame; with others before it, it may be too large.
        if self.frame.size() + text.len() > FRAME_SIZE {
            self.write()?;
        }
        self.frame.copy(text);
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        if let Some(bytes) = self.frame.seal(self.size) {
            self.file.write_all_at(bytes, self.size)?;
            self.size += bytes.len() as u64;
        }
        self.frame.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<Compacted> {
        self.write()?;
        self.file.sync()?;
        Ok(Compacted { file: self.file, size: self.size })
    }
}
