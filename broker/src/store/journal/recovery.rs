//! Prepares a journal at a start, before anything is served.
//!
//! Every step may be interrupted; the next start does it again.

use super::{Directory, End, EndKind, Error, File, Frame, Record, Segment};
use std::ops::Range;
use std::path::PathBuf;
use std::{fmt, io};

/// How much is copied at once, in bytes.
const PIECE_SIZE: u64 = 1 << 20;

/// Something that a start did and that the log should tell.
#[derive(Debug)]
pub(crate) enum Notice {
    /// There was no journal; there is one now, and it is empty.
    Created(PathBuf),
    /// The journal of an older broker is the first segment of this one now, which is this file.
    TakenOver(PathBuf),
    /// An append that nobody was told of had been cut short, and was cut off.
    Torn(Torn),
    /// The machine was restarted while the last appends may not have been on disk: so many topics
    /// go on under a new stream id.
    Unsynced(usize),
}

/// What was cut off the end of a journal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Torn {
    /// The segment.
    pub(crate) path: PathBuf,
    /// Where it ends now.
    pub(crate) offset: u64,
    /// How many bytes were cut off.
    pub(crate) size: u64,
    /// Where they are; `None` where the disk was too full to keep them.
    pub(crate) kept: Option<PathBuf>,
}

/// Makes sure that what was read of a segment is on disk, and that nothing follows it. Gives what
/// was cut off.
pub(super) fn settle(
    directory: &dyn Directory,
    segment: &Segment,
    end: End,
) -> Result<Option<Torn>, Error> {
    let file = &*segment.file;
    let size = segment.size()?;
    let mut torn = None;
    if end.kind != EndKind::Whole {
        let kept = match keep(directory, segment, "torn", end.offset..size) {
            Ok(kept) => Some(kept),
            // Nobody was told that these bytes are there. A broker that starts on a full disk can
            // serve its readers; one that does not start serves nobody.
            Err(error) if error.is_full() => None,
            Err(error) => return Err(error),
        };
        file.set_size(end.offset).map_err(segment.failed("cut"))?;
        file.sync().map_err(segment.failed("sync"))?;
        let (path, offset) = (segment.path.clone(), end.offset);
        torn = Some(Torn { path, offset, size: size - offset, kept });
    }
    // The last frame may have been read from memory alone: its sync may never have happened, or
    // have failed, after which the system takes the pages for written. Written again they are to
    // be synced again.
    // A header was synced before it had its name.
    if end.last > 0 {
        copy(file, end.last..end.offset, file, end.last).map_err(segment.failed("write"))?;
    }
    file.sync().map_err(segment.failed("sync"))?;
    directory.sync().map_err(segment.failed("sync the directory of"))?;
    Ok(torn)
}

/// Writes the record that closes a segment, durably.
pub(super) fn close(segment: &Segment, size: u64) -> Result<(), Error> {
    let Segment { file, seed, .. } = segment;
    let mut frame = Frame::default();
    frame.add(&Record::CLOSE);
    frame.write_at(&**file, size, *seed).map_err(segment.failed("write"))?;
    file.sync().map_err(segment.failed("sync"))
}

/// Copies a range of a segment to a file of its own, which is durable then: the first of
/// `what-SEGMENT-OFFSET`, the same with `.2`, and so on that is free.
pub(super) fn keep(
    directory: &dyn Directory,
    segment: &Segment,
    what: &str,
    range: Range<u64>,
) -> Result<PathBuf, Error> {
    let first = format!("{what}-{}-{}", segment.numbers.start(), range.start);
    let mut name = first.clone();
    let mut number = 2;
    while directory.has(&name)? {
        name = format!("{first}.{number}");
        number += 1;
    }
    directory.replace(&name, |aside| copy(&*segment.file, range, aside, 0))?;
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

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Created(path) => {
                write!(f, "there was no {}; it is new and empty", path.display())
            }
            Notice::TakenOver(path) => write!(
                f,
                "the journal of an older broker was taken over as {}; the older one refuses it \
                 from now on",
                path.display()
            ),
            Notice::Torn(torn) => write!(f, "an append was cut short: {torn}"),
            Notice::Unsynced(topics) => write!(
                f,
                "the machine was restarted before the last appends were known to be on disk: \
                 {topics} topics go on under new stream ids"
            ),
        }
    }
}

impl fmt::Display for Torn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Torn { path, offset, size, kept } = self;
        write!(f, "{size} bytes after byte {offset} of {} were cut off", path.display())?;
        match kept {
            Some(kept) => write!(f, " and are kept in {}", kept.display()),
            None => f.write_str("; the disk is too full to keep them"),
        }
    }
}
