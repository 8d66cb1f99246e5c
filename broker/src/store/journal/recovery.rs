//! What a start does with a journal before anything in it is served.
//!
//! Every step may be interrupted and is then done again by the next start.

use super::error::Error;
use super::header::{FILE_HEADER_SIZE, FileHeader};
use super::scan::{End, EndKind};
use super::storage::{Directory, File};
use super::{JOURNAL, TEMPORARY};
use std::ops::Range;
use std::path::PathBuf;
use std::{fmt, io};

/// How much is copied at once, in bytes.
const PIECE_SIZE: u64 = 1 << 20;

/// Something that a start did and that the log should tell.
#[derive(Debug)]
pub(crate) enum Notice {
    /// There was no journal; there is one now, and it is empty.
    Created {
        /// The journal.
        path: PathBuf,
    },
    /// The creation of the journal had been cut short, and was done again.
    Rebuilt {
        /// The journal.
        path: PathBuf,
    },
    /// An append that nobody was told of had been cut short, and was cut off.
    Torn(Torn),
    /// The room of deleted topics was given back.
    Compacted {
        /// The journal's size before, in bytes.
        before: u64,
        /// And now.
        after: u64,
    },
    /// It could not be given back; the journal is as it was.
    NotCompacted {
        /// Why.
        cause: io::Error,
    },
}

/// What was cut off the end of a journal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Torn {
    /// Where the journal ends now.
    pub(crate) offset: u64,
    /// How many bytes were cut off.
    pub(crate) size: u64,
    /// Where they are; `None` where the disk was too full to keep them.
    pub(crate) kept: Option<PathBuf>,
}

/// Opens the journal of a directory, creating it if there is none.
pub(super) fn open(directory: &dyn Directory) -> Result<(Box<dyn File>, Option<Notice>), Error> {
    let path = directory.path(JOURNAL);
    let has_journal = directory.has(JOURNAL).map_err(directory.failed("look for", JOURNAL))?;
    let look = directory.failed("look for", TEMPORARY);
    if directory.has(TEMPORARY).map_err(look)? {
        if !has_journal {
            return Err(Error::Missing { path, instead: directory.path(TEMPORARY) });
        }
        directory.remove(TEMPORARY).map_err(directory.failed("remove", TEMPORARY))?;
    }
    if !has_journal {
        let file = directory.create(JOURNAL).map_err(directory.failed("create", JOURNAL))?;
        write_file_header(directory, &*file)?;
        return Ok((file, Some(Notice::Created { path })));
    }
    let file = directory.open(JOURNAL).map_err(directory.failed("open", JOURNAL))?;
    if check_file_header(directory, &*file)? == FileState::Unfinished {
        file.set_size(0).map_err(directory.failed("cut", JOURNAL))?;
        write_file_header(directory, &*file)?;
        return Ok((file, Some(Notice::Rebuilt { path })));
    }
    Ok((file, None))
}

/// Whether a file can be read as a journal.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileState {
    /// Its header is as it should be.
    Good,
    /// It was not created to the end: it never held anything.
    Unfinished,
}

/// Reads the header of the file.
pub(super) fn check_file_header(
    directory: &dyn Directory,
    file: &dyn File,
) -> Result<FileState, Error> {
    let path = directory.path(JOURNAL);
    let size = file.size().map_err(directory.failed("read", JOURNAL))?;
    // One byte more than a header: a longer file is not an unfinished one.
    let mut bytes = [0; FILE_HEADER_SIZE + 1];
    let count = bytes.len().min(usize::try_from(size).unwrap_or(usize::MAX));
    let bytes = bytes.get_mut(..count).unwrap_or_default();
    file.read_all_at(bytes, 0).map_err(directory.failed("read", JOURNAL))?;
    if FileHeader::is_unfinished(bytes) {
        return Ok(FileState::Unfinished);
    }
    match FileHeader::read(bytes.get(..FILE_HEADER_SIZE).unwrap_or(bytes)) {
        FileHeader::Good => Ok(FileState::Good),
        FileHeader::Version(version) => Err(Error::Version { path, version }),
        FileHeader::Foreign => Err(Error::Foreign { path }),
        FileHeader::Damaged => {
            let problem = "the checksum of the file's header is wrong";
            Err(Error::Damaged { path, offset: 0, problem })
        }
    }
}

/// Writes the header of the file, which [`settle`] makes durable.
pub(super) fn write_file_header(directory: &dyn Directory, file: &dyn File) -> Result<(), Error> {
    file.write_all_at(&FileHeader::bytes(), 0).map_err(directory.failed("write", JOURNAL))
}

/// Makes sure that what was read is on disk, under its name, and that nothing follows it. `last`
/// is where the last whole frame begins, or 0 if there is none.
pub(super) fn settle(
    directory: &dyn Directory,
    file: &dyn File,
    end: End,
    last: u64,
) -> Result<Option<Notice>, Error> {
    let notice = match end.kind {
        EndKind::Whole => None,
        EndKind::Torn => {
            let size = file.size().map_err(directory.failed("read", JOURNAL))?;
            let kept = match keep(directory, file, "torn", end.offset..size) {
                Ok(kept) => Some(kept),
                // Nobody was told that these bytes are there. A broker that starts on a full
                // disk can serve its readers; one that does not start serves nobody.
                Err(Error::Io { cause, .. }) if is_full(&cause) => {
                    let _ = directory.remove(TEMPORARY);
                    None
                }
                Err(error) => return Err(error),
            };
            cut(directory, file, end.offset)?;
            Some(Notice::Torn(Torn { offset: end.offset, size: size - end.offset, kept }))
        }
        EndKind::Damaged(problem) => {
            let path = directory.path(JOURNAL);
            return Err(Error::Damaged { path, offset: end.offset, problem });
        }
    };
    // The last frame may have been read from memory alone: its sync may never have happened, or
    // have failed, after which the system takes the pages for written. Written again they are to
    // be synced again.
    copy(file, last..end.offset, file, last).map_err(directory.failed("write", JOURNAL))?;
    file.sync().map_err(directory.failed("sync", JOURNAL))?;
    directory.sync().map_err(directory.failed("sync the directory of", JOURNAL))?;
    Ok(notice)
}

/// Whether there is no room for more.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Cuts the journal off, for good.
pub(super) fn cut(directory: &dyn Directory, file: &dyn File, size: u64) -> Result<(), Error> {
    file.set_size(size).map_err(directory.failed("cut", JOURNAL))?;
    file.sync().map_err(directory.failed("sync", JOURNAL))
}

/// Copies a range of the journal to a file of its own, which is durable then: the first of
/// `what-OFFSET`, `what-OFFSET.2`, and so on that is free.
pub(super) fn keep(
    directory: &dyn Directory,
    file: &dyn File,
    what: &str,
    range: Range<u64>,
) -> Result<PathBuf, Error> {
    let mut name = format!("{what}-{}", range.start);
    let mut number = 2;
    while directory.has(&name).map_err(directory.failed("look for", &name))? {
        name = format!("{what}-{}.{number}", range.start);
        number += 1;
    }
    let aside = directory.create(TEMPORARY).map_err(directory.failed("create", TEMPORARY))?;
    copy(file, range, &*aside, 0).map_err(directory.failed("write", TEMPORARY))?;
    aside.sync().map_err(directory.failed("sync", TEMPORARY))?;
    directory.rename(TEMPORARY, &name).map_err(directory.failed("rename", TEMPORARY))?;
    directory.sync().map_err(directory.failed("sync the directory of", JOURNAL))?;
    Ok(directory.path(&name))
}

/// Copies a range of bytes to an offset, which may be their own.
fn copy(from: &dyn File, range: Range<u64>, to: &dyn File, offset: u64) -> io::Result<()> {
    let mut bytes = Vec::new();
    let mut done = range.start;
    while done < range.end {
        let count = (range.end - done).min(PIECE_SIZE);
        bytes.resize(usize::try_from(count).unwrap_or(usize::MAX), 0);
        from.read_all_at(&mut bytes, done)?;
        to.write_all_at(&bytes, offset + (done - range.start))?;
        done += count;
    }
    Ok(())
}

impl dyn Directory + '_ {
    /// What makes an [`Error`] of a failure to do something with a file of this directory.
    pub(super) fn failed(
        &self,
        action: &'static str,
        name: &str,
    ) -> impl FnOnce(io::Error) -> Error + use<> {
        let path = self.path(name);
        move |cause| Error::io(action, path, cause)
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Created { path } => {
                write!(f, "there was no {}; it is new and empty", path.display())
            }
            Notice::Rebuilt { path } => write!(
                f,
                "{} was not created to its end and never held anything; it is new and empty",
                path.display()
            ),
            Notice::Torn(torn) => write!(f, "an append was cut short: {torn}"),
            Notice::Compacted { before, after } => {
                write!(f, "the journal had {before} bytes and has {after} without what was deleted")
            }
            Notice::NotCompacted { cause } => {
                write!(f, "the journal could not be freed of what was deleted: {cause}")
            }
        }
    }
}

impl fmt::Display for Torn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes after byte {} were cut off", self.size, self.offset)?;
        match &self.kept {
            Some(kept) => write!(f, " and are kept in {}", kept.display()),
            None => f.write_str("; the disk is too full to keep them"),
        }
    }
}
