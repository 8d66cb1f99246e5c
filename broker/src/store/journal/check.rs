//! `broker verify` and `broker repair`: a journal looked at, and cut off, by hand.

use super::error::Error;
use super::header::FILE_HEADER_SIZE;
use super::record::Record;
use super::recovery::{self, FileState, Notice, Torn};
use super::scan::{self, End, EndKind};
use super::storage::{Directory, Disk, File};
use super::{JOURNAL, TEMPORARY};
use crate::store::stream::StreamId;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What a journal holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Bytes up to the end of the last whole frame.
    pub(crate) size: u64,
    /// Whole frames.
    pub(crate) frames: u64,
    /// The topics that are there, by name.
    pub(crate) topics: BTreeMap<String, TopicSummary>,
    /// The lasting subscriptions that are there: subscriber and topic.
    pub(crate) subscriptions: BTreeSet<(String, String)>,
    /// Bytes after the last whole frame: an append that was cut short, and that the next start
    /// will cut off.
    pub(crate) torn: u64,
}

/// What a journal holds of one topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TopicSummary {
    /// The id of its list.
    pub(crate) stream: StreamId,
    /// How many messages it has.
    pub(crate) messages: u64,
    /// Bytes of the messages.
    pub(crate) size: u64,
}

/// What a repair did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Repaired {
    /// Nothing: the journal is as it should be.
    Nothing,
    /// The file's header was written anew; all frames are as they should be.
    Header,
    /// An append that was cut short was cut off, as the next start would have done.
    Torn(Torn),
    /// Everything from the first damaged byte on was cut off.
    Cut {
        /// Where the journal ends now.
        offset: u64,
        /// Frames that are left.
        frames_kept: u64,
        /// Frames that were cut off, as far as they can still be told apart: at least one.
        frames_cut: u64,
        /// Bytes that were cut off.
        size: u64,
        /// Where they are.
        kept: PathBuf,
    },
}

/// Reads a journal as a start would, and changes nothing.
///
/// # Errors
///
/// What would keep the broker from starting.
pub(crate) fn verify(directory: &Path) -> Result<Summary, Error> {
    verify_in(&Disk::look_at(directory)?)
}

pub(super) fn verify_in(directory: &dyn Directory) -> Result<Summary, Error> {
    let file = directory.open(JOURNAL).map_err(directory.failed("open", JOURNAL))?;
    let mut summary = Summary::default();
    if recovery::check_file_header(directory, &*file)? == FileState::Unfinished {
        return Ok(summary);
    }
    let end = scan::scan(&*file, |frame| {
        summary.frames += 1;
        frame.records(|record, _| {
            summary.note(record);
            Ok(())
        })
    });
    let end = end.map_err(directory.failed("read", JOURNAL))?;
    summary.size = end.offset;
    match end.kind {
        EndKind::Whole => Ok(summary),
        EndKind::Torn => {
            let size = file.size().map_err(directory.failed("read", JOURNAL))?;
            summary.torn = size - end.offset;
            Ok(summary)
        }
        EndKind::Damaged(problem) => {
            let path = directory.path(JOURNAL);
            Err(Error::Damaged { path, offset: end.offset, problem })
        }
    }
}

impl Summary {
    fn note(&mut self, record: Record<'_>) {
        match record {
            Record::Create { topic, stream } | Record::Mirror { topic, stream } => {
                let summary = TopicSummary { stream, messages: 0, size: 0 };
                self.topics.insert(topic.to_owned(), summary);
            }
            Record::Append { topic, messages, .. } => {
                if let Some(summary) = self.topics.get_mut(topic) {
                    for message in messages {
                        summary.messages += 1;
                        summary.size += message.len() as u64;
                    }
                }
            }
            Record::Delete { topic, .. } => {
                self.topics.remove(topic);
            }
            Record::Acknowledge { subscriber, topic, .. } => {
                self.subscriptions.insert((subscriber.to_owned(), topic.to_owned()));
            }
            Record::End { subscriber, topic } => {
                self.subscriptions.remove(&(subscriber.to_owned(), topic.to_owned()));
            }
        }
    }
}

/// Cuts a journal off before its first damaged byte and keeps the rest in a file beside it, so
/// that the broker starts again. What is cut off was acknowledged: its offsets will be given to
/// other messages.
///
/// # Errors
///
/// A file that was never a journal of this version, or what the file system refused.
pub(crate) fn repair(directory: &Path) -> Result<Repaired, Error> {
    repair_in(&Disk::lock(directory, false)?)
}

pub(super) fn repair_in(directory: &dyn Directory) -> Result<Repaired, Error> {
    let file = directory.open(JOURNAL).map_err(directory.failed("open", JOURNAL))?;
    let read = |cause| directory.failed("read", JOURNAL)(cause);
    let has_header = match recovery::check_file_header(directory, &*file) {
        // The next start creates it anew.
        Ok(FileState::Unfinished) => return Ok(Repaired::Nothing),
        Ok(FileState::Good) => true,
        Err(error @ (Error::Damaged { .. } | Error::Foreign { .. })) => {
            // A frame that belongs where it stands proves that this is a journal.
            let size = file.size().map_err(read)?;
            if scan::count_headers(&*file, FILE_HEADER_SIZE as u64, size).map_err(read)? == 0 {
                return Err(error);
            }
            recovery::write_file_header(directory, &*file)?;
            false
        }
        Err(error) => return Err(error),
    };
    if directory.has(TEMPORARY).map_err(read)? {
        directory.remove(TEMPORARY).map_err(directory.failed("remove", TEMPORARY))?;
    }
    let (mut frames, mut last) = (0, 0);
    let end = scan::scan(&*file, |frame| {
        frame.records(|_, _| Ok(()))?;
        (frames, last) = (frames + 1, frame.offset);
        Ok(())
    });
    let end = end.map_err(read)?;
    if let EndKind::Damaged(_) = end.kind {
        return cut(directory, &*file, end, frames);
    }
    Ok(match recovery::settle(directory, &*file, end, last)? {
        Some(Notice::Torn(torn)) => Repaired::Torn(torn),
        _ if has_header => Repaired::Nothing,
        _ => Repaired::Header,
    })
}

fn cut(
    directory: &dyn Directory,
    file: &dyn File,
    end: End,
    frames_kept: u64,
) -> Result<Repaired, Error> {
    let read = |cause| directory.failed("read", JOURNAL)(cause);
    let size = file.size().map_err(read)?;
    let frames_cut = 1 + scan::count_headers(file, end.offset + 1, size).map_err(read)?;
    let kept = recovery::keep(directory, file, "damaged", end.offset..size)?;
    recovery::cut(directory, file, end.offset)?;
    let size = size - end.offset;
    Ok(Repaired::Cut { offset: end.offset, frames_kept, frames_cut, size, kept })
}
