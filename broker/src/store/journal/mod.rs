//! The journal: everything the broker must not forget, in a row of files that only grow.
//!
//! A commit writes one [`Frame`] to the last segment of the row and syncs once; its records come
//! back, in order, when the journal is opened. Modules in reading order:
//!
//! - `record`: what happened, as lines of text; `frame`: the records of one commit
//! - `header`: what stands before each segment and before each frame
//! - `scan`: reads all frames of a segment, and tells an append that was cut short from damage
//! - `segment`: one file; `manifest`: whose files they are; `row`: all of them, in order
//! - `index`: which records still count; `cleaning`: writes segments again without the others;
//!   `writer`: how they are written; `shared`: what the thread that cleans shares with whoever
//!   appends; `reserve`: room for that on a full disk
//! - `recovery`: what a start does before anything is served
//! - `check`, `repair`, `promote`: the verbs of `broker` with these names, or `verify`
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
//! Who commits and for whom, and what a client is told. Nothing finds a journal that was removed
//! under a running broker, or whose last segment was cut short by somebody else between two frames
//! that were appended since the last start.

mod check;
mod cleaning;
mod error;
mod frame;
mod header;
mod index;
mod manifest;
mod promote;
mod record;
mod recovery;
mod repair;
mod reserve;
mod row;
mod scan;
mod segment;
mod shared;
mod storage;
#[cfg(test)]
pub(crate) mod tests;
mod writer;

pub(crate) use check::verify;
pub(crate) use error::{Error, Failure};
pub(crate) use frame::Frame;
pub(crate) use header::FRAME_SIZE_MAX;
pub(crate) use promote::promote;
pub(crate) use record::{Event, Record};
pub(crate) use recovery::Notice;
pub(crate) use repair::{Damage, repair};

use crate::store::StreamId;
use check::{Count, verify_in, write_topics};
use header::{FRAME_HEADER_SIZE, FrameHeader, JournalId, Numbers, SegmentHeader};
use index::{Index, List};
use manifest::{Content, Manifest};
use record::{Format, Records};
use recovery::Torn;
use reserve::Reserve;
use row::Row;
use scan::{End, EndKind, Scan};
use segment::Segment;
use shared::Shared;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use storage::{Directory, Disk, File, TEMPORARY};
use writer::SegmentWriter;

/// What the names of the journal's files begin with, and the name of its manifest.
const JOURNAL: &str = "journal";

/// A segment of so many bytes is closed, where no flag says otherwise.
pub(crate) const SEGMENT_SIZE: u64 = 64 << 20;

/// When what was appended is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    /// Before [`Journal::append`] returns.
    Always,
    /// When the operating system gets to it: a crash of the broker loses nothing, a crash of the
    /// machine may.
    Os,
}

/// How a journal is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// When what was appended is on disk.
    pub(crate) sync: Sync,
    /// A segment of so many bytes is closed.
    pub(crate) segment_size: u64,
}

/// How far a start has come.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Bytes that were read.
    pub(crate) read: AtomicU64,
    /// Bytes of the journal.
    pub(crate) size: AtomicU64,
}

impl Progress {
    /// What all of the journal will have taken of something of which so much was taken so far.
    pub(crate) fn in_all(&self, taken: u64) -> u64 {
        let (read, size) = (self.read.load(Ordering::Relaxed), self.size.load(Ordering::Relaxed));
        let all = u128::from(taken) * u128::from(size) / u128::from(read.max(1));
        u64::try_from(all).unwrap_or(u64::MAX)
    }
}

/// A journal that is open for appending. Its directory is locked for as long as it lives.
pub(crate) struct Journal {
    shared: Arc<Shared>,
    /// The last one.
    segment: Segment,
    /// Where its next frame begins: everything before it is known to be there.
    size: u64,
    /// Set while the contents of the file are not known: during an append, and always after one
    /// that panicked, or failed in this way.
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
        settings: Settings,
        progress: &Progress,
        replay: impl FnMut(Record<'_>),
    ) -> Result<(Journal, Vec<Notice>), Error> {
        let disk = Arc::new(Disk::lock(directory, true)?);
        let (journal, notices) = Journal::open_in(disk, settings, progress, replay)?;
        let path = directory.join(JOURNAL);
        shared::spawn(&journal.shared)
            .map_err(|cause| Error::io("start the thread that cleans", path, cause))?;
        Ok((journal, notices))
    }

    /// The same over any storage, and without a thread that cleans.
    fn open_in(
        directory: Arc<dyn Directory>,
        settings: Settings,
        progress: &Progress,
        mut replay: impl FnMut(Record<'_>),
    ) -> Result<(Journal, Vec<Notice>), Error> {
        let mut notices = Vec::new();
        let (mut row, is_new) = Row::begin(&*directory)?;
        if is_new {
            notices.push(Notice::Created(directory.path(JOURNAL)));
        }
        let mut index = Index::default();
        let ends = row.scan(&mut index, progress, &mut replay)?;
        notices.extend(row.settle(&ends)?.into_iter().map(Notice::Torn));
        let was_unsynced = row.lost_appends();
        if row.take_over()? {
            notices.push(Notice::TakenOver(directory.path(&Segment::name(1))));
        }
        let Row { manifest, mut segments, .. } = row;
        let (Some(segment), Some(last)) = (segments.pop(), ends.last()) else {
            return Err(row::missing(&*directory, 1));
        };
        let size = last.offset;
        let reserve = Reserve::open(&*directory)?;
        let last = segment.clone();
        let shared = Shared::new(directory, settings, index, last, manifest, reserve);
        ends.iter().rev().skip(1).for_each(|end| shared.add_closed(end.offset));
        let mut journal = Journal { shared: Arc::new(shared), segment, size, is_closed: false };
        if journal.segment.format == Format::One {
            // It is never written to again.
            journal.rotate()?;
        }
        if was_unsynced {
            let topics = journal.give_new_streams(false, |_| true, &mut replay)?;
            notices.push(Notice::Unsynced(topics.len()));
        }
        journal.note_start()?;
        Ok((journal, notices))
    }

    /// Notes how far the journal reaches, and makes the reserve. On a full disk neither may be
    /// possible: readers are served all the same, and publishes refused until there is room.
    fn note_start(&self) -> Result<(), Error> {
        let number = *self.segment.numbers.end();
        let set_reached = || self.shared.set_reached(number, self.size).map_err(Failure::NotDone);
        let noted = self.shared.with_reserve(set_reached).map_err(Error::from);
        let done = [noted, self.shared.ensure_reserve(self.size)];
        done.into_iter().find(|done| done.as_ref().is_err_and(|it| !it.is_full())).unwrap_or(Ok(()))
    }

    /// Gives lists another stream id, durably: those of the topics that are chosen. Where they are
    /// this broker's `own` from now on, they were copies of another's. Gives the lists.
    fn give_new_streams(
        &mut self,
        own: bool,
        is_chosen: impl Fn(&str) -> bool,
        mut replay: impl FnMut(Record<'_>),
    ) -> Result<BTreeMap<String, List>, Error> {
        let (mut frame, mut lists) = (Frame::default(), BTreeMap::new());
        for (topic, list) in self.shared.index().topics().filter(|(topic, _)| is_chosen(topic)) {
            let new = StreamId::random();
            let record = Record::new(topic, list.stream, Event::NewStream { new, own });
            frame.add(&record);
            replay(record);
            lists.insert(topic.to_owned(), List { stream: new, ..*list });
        }
        self.write(&mut frame, Sync::Always)?;
        self.note(&frame)?;
        Ok(lists)
    }

    /// Puts what is known in other memory: in the heap of this thread.
    pub(crate) fn reallocate(&mut self) {
        if let Ok(file) = self.segment.file.again() {
            self.segment = Segment { file, ..self.segment.clone() };
        }
        self.shared.reallocate(self.segment.clone());
    }

    /// Bytes of the journal.
    pub(crate) fn size(&self) -> u64 {
        self.shared.closed_size.load(Ordering::Relaxed) + self.size
    }

    /// Writes a frame, and under [`Sync::Always`] waits until it is on disk. An empty frame is
    /// not written.
    ///
    /// # Errors
    ///
    /// See [`Failure`]: whether to go on or to end the process.
    pub(crate) fn append(&mut self, frame: &mut Frame) -> Result<(), Failure> {
        let failed = |cause| self.segment.failed("write")(io::Error::other(cause));
        if self.is_closed {
            return Err(Failure::Unknown(failed("an earlier append failed")));
        }
        if frame.size() > FRAME_SIZE_MAX {
            return Err(Failure::NotDone(failed("the frame passes the limit of 64 MiB")));
        }
        if frame.size() == 0 {
            return Ok(());
        }
        self.shared.wait_for_cleaning(frame.size());
        if self.size >= self.shared.settings.segment_size || self.shared.is_last_dead() {
            self.rotate_if_possible()?;
        }
        let sync = self.shared.settings.sync;
        let takes_room = frame.takes_room();
        let written = if takes_room {
            let size = self.size + frame.size() as u64;
            let ensured = self.shared.ensure_reserve(size).map_err(Failure::NotDone);
            ensured.and_then(|()| self.write(frame, sync))
        } else {
            let shared = Arc::clone(&self.shared);
            shared.with_reserve(|| self.write(frame, sync))
        };
        let is_full = written.as_ref().is_err_and(Failure::is_full);
        if takes_room || is_full {
            self.shared.set_full(is_full);
        }
        written?;
        self.note(frame)?;
        if !takes_room && self.shared.is_full() && self.shared.index().is_last_dead(1) {
            // What it frees is in this segment, which is cleaned once it is closed.
            self.rotate_if_possible()?;
        }
        Ok(())
    }

    /// Begins another segment; where there is no room for that, the last one goes on.
    fn rotate_if_possible(&mut self) -> Result<(), Failure> {
        let shared = Arc::clone(&self.shared);
        match shared.with_reserve(|| self.rotate()) {
            Err(Failure::NotDone(_)) => Ok(()),
            rotated => rotated,
        }
    }

    /// Writes a frame behind the last one.
    fn write(&mut self, frame: &mut Frame, sync: Sync) -> Result<(), Failure> {
        if sync == Sync::Os {
            self.shared.mark_unsynced().map_err(Failure::NotDone)?;
        }
        let segment = &self.segment;
        let Segment { file, seed, .. } = segment;
        self.is_closed = true;
        let end = match frame.write_at(&**file, self.size, *seed) {
            Ok(end) => end,
            Err(cause) => {
                // No later frame may stand beyond a piece of this one, nor beside one that only
                // seems to be gone: so the cut is synced as well.
                let cut = file.set_size(self.size).and_then(|()| file.sync());
                return Err(match cut {
                    Ok(()) => {
                        self.is_closed = false;
                        Failure::NotDone(segment.failed("write")(cause))
                    }
                    Err(cause) => Failure::Unknown(segment.failed("cut back")(cause)),
                });
            }
        };
        if sync == Sync::Always
            && let Err(cause) = file.sync()
        {
            // The system now takes the pages for written: another sync would succeed, and lie.
            return Err(Failure::Unknown(segment.failed("sync")(cause)));
        }
        self.size = end;
        self.is_closed = false;
        Ok(())
    }

    /// Notes the records of a frame that was written.
    fn note(&mut self, frame: &Frame) -> Result<(), Failure> {
        let mut index = self.shared.index();
        for (record, size) in frame.records() {
            if let Err(problem) = index.note(&record, size) {
                debug_assert!(false, "{problem}: {record:?}");
                self.is_closed = true;
                return Err(Failure::Unknown(self.segment.damaged(self.size, problem)));
            }
        }
        Ok(())
    }

    /// Closes the last segment and begins the next one.
    fn rotate(&mut self) -> Result<(), Failure> {
        let Shared { directory, id, .. } = &*self.shared;
        // In place of an empty one where the last attempt could not close this one.
        let next = Segment::create(&**directory, *id, *self.segment.numbers.end() + 1)?;
        // Only now: a segment that is closed is followed by another.
        let mut frame = Frame::default();
        frame.add(&Record::CLOSE);
        self.write(&mut frame, Sync::Always)?;
        self.shared.add_closed(self.size);
        self.size = next.header_size();
        self.segment = next;
        self.shared.set_last(self.segment.clone());
        // Only now: what is cleaned is opened anew, and nobody may have it open.
        self.shared.index().begin(self.segment.numbers.clone());
        Ok(())
    }
}
