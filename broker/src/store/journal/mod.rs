//! The journal: everything the broker must not forget, in one file that only grows.
//!
//! A commit writes one [`Frame`] and syncs once; its records come back, in order, when the
//! journal is opened. Modules in reading order:
//!
//! - `record`: what happened, as lines of text; `frame`: the records of one commit
//! - `header`: what stands before the file and before each frame
//! - `scan`: reads all frames, and tells an append that was cut short from damage
//! - `recovery`: what a start does before anything is served
//! - `compaction`: gives back the room of deleted topics
//! - `check`: `broker verify` and `broker repair`; `report`: what they print
//! - `storage`: the file system behind a small trait
//!
//! # Guarantee
//!
//! Once [`Journal::append`] returns `Ok` under [`Sync::Always`], the frame survives a crash of
//! the broker or of the machine, whole and in its place. Before that it is there whole or not at
//! all. What was acknowledged and is no longer as it was written is never skipped: the journal
//! does not open, and says where.
//!
//! It relies on this alone: what was synced stays, and a rename happens or does not. It does not
//! rely on the order of two writes, on a write being whole, on a name being durable before the
//! directory was synced, or on a second sync after one that failed.
//!
//! # Not here
//!
//! Who commits and for whom, and what a client is told. Nothing finds a journal that was cut
//! short between two frames by somebody else, or was removed under a running broker. Under
//! [`Sync::Os`] a power cut may leave holes that are not in the last frame, and then count as
//! damage.

mod check;
mod compaction;
mod error;
mod frame;
mod header;
mod record;
mod recovery;
mod report;
mod scan;
mod storage;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use check::{Repaired, Summary, TopicSummary, repair, verify};
pub(crate) use error::{AppendError, Error};
pub(crate) use frame::Frame;
pub(crate) use header::FRAME_SIZE_MAX;
pub(crate) use record::Record;
pub(crate) use recovery::Notice;

use compaction::Census;
use std::path::Path;
use std::{io, mem};
use storage::{Directory, Disk, File};

/// The journal's file.
const JOURNAL: &str = "journal";

/// What is to take a file's place, or to be one, once it is whole.
const TEMPORARY: &str = "journal.tmp";

/// When what was appended is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    /// Before [`Journal::append`] returns.
    Always,
    /// When the operating system gets to it: a crash of the broker loses nothing, a crash of the
    /// machine may.
    Os,
}

/// A journal that is open for appending. Its directory is locked for as long as it lives.
pub(crate) struct Journal {
    directory: Box<dyn Directory>,
    file: Box<dyn File>,
    /// Where the next frame begins: everything before it is known to be there.
    size: u64,
    sync: Sync,
    /// Set while it is not known what the file holds: during an append, and for ever after one
    /// that failed so, or panicked.
    is_closed: bool,
}

impl Journal {
    /// Locks the directory, creating it if need be, and calls `replay` with every record of its
    /// journal. Also gives what is worth telling: one notice, one line of the log.
    ///
    /// # Errors
    ///
    /// What keeps the journal from being used as it is; `replay` may have been called by then.
    pub(crate) fn open(
        directory: &Path,
        sync: Sync,
        replay: impl FnMut(Record<'_>),
    ) -> Result<(Journal, Vec<Notice>), Error> {
        let disk = Box::new(Disk::lock(directory, true)?);
        Journal::open_in(disk, sync, compaction::GARBAGE_SIZE_MIN, replay)
    }

    /// The same over any storage; less than `garbage_size_min` bytes are not worth a compaction.
    fn open_in(
        directory: Box<dyn Directory>,
        sync: Sync,
        garbage_size_min: u64,
        mut replay: impl FnMut(Record<'_>),
    ) -> Result<(Journal, Vec<Notice>), Error> {
        let (mut file, notice) = recovery::open(&*directory)?;
        let mut notices = Vec::from_iter(notice);
        let mut census = Census::default();
        let mut last = 0;
        let end = scan::scan(&*file, |frame| {
            last = frame.offset;
            frame.records(|record, text| {
                census.note(&record, text);
                replay(record);
                Ok(())
            })
        });
        let end = end.map_err(directory.failed("read", JOURNAL))?;
        notices.extend(recovery::settle(&*directory, &*file, end, last)?);
        let mut size = end.offset;
        if census.is_worth_compacting(garbage_size_min) {
            notices.push(match compaction::compact(&*directory, &*file, &census)? {
                Ok(compacted) => {
                    let before = mem::replace(&mut size, compacted.size);
                    file = compacted.file;
                    Notice::Compacted { before, after: size }
                }
                Err(cause) => Notice::NotCompacted { cause },
            });
        }
        Ok((Journal { directory, file, size, sync, is_closed: false }, notices))
    }

    /// Bytes of the journal.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Writes a frame, and under [`Sync::Always`] waits until it is on disk. An empty frame is
    /// not written.
    ///
    /// # Errors
    ///
    /// See [`AppendError`]: whether to go on or to end the process.
    pub(crate) fn append(&mut self, frame: &mut Frame) -> Result<(), AppendError> {
        let path = || self.directory.path(JOURNAL);
        if self.is_closed {
            return Err(AppendError::Closed { path: path() });
        }
        if frame.size() > FRAME_SIZE_MAX {
            let cause = io::Error::other("the frame passes the limit of 64 MiB");
            return Err(AppendError::NotWritten { path: path(), cause });
        }
        let Some(bytes) = frame.seal(self.size) else {
            return Ok(());
        };
        self.is_closed = true;
        if let Err(cause) = self.file.write_all_at(bytes, self.size) {
            // No later frame may stand beyond a piece of this one, nor beside one that only
            // seems to be gone: so the cut is synced as well.
            let cut = self.file.set_size(self.size).and_then(|()| self.file.sync());
            return Err(match cut {
                Ok(()) => {
                    self.is_closed = false;
                    AppendError::NotWritten { path: path(), cause }
                }
                Err(cause) => AppendError::Unknown { path: path(), action: "cut back", cause },
            });
        }
        if self.sync == Sync::Always
            && let Err(cause) = self.file.sync()
        {
            // The system now takes the pages for written: another sync would succeed, and lie.
            return Err(AppendError::Unknown { path: path(), action: "sync", cause });
        }
        self.size += bytes.len() as u64;
        self.is_closed = false;
        Ok(())
    }
}
