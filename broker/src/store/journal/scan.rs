//! Reads a segment from its first frame to where it ends, and says how it ends.
//!
//! One thread reads, verifies and hands on. A second one that read ahead took as much processor
//! time, and longer by the clock on a machine that had other work (500 MB: 5.7 s, not 3.9 s).
//! Memory is bounded: one block, as large as [`BLOCK_SIZE`] or one frame.
//! A frame's length is believed only where its header's checksum is right and the file is as long
//! as it says.
//!
//! # Torn or damaged
//!
//! Every frame but the last was durable before the next one began, so only the last one can be an
//! append that was cut short; and what was cut short is missing, not changed. At the first frame
//! that is not whole, the journal is *torn* if
//!
//! - the file ends inside the frame, or
//! - the frame is the last one and has a *hole*: zeros up to the end of a sector of 512 bytes, or
//!   of the file.
//!
//! Everything else is *damage*. A single zero byte is damage too, even at the end of a sector:
//! disks lose sectors, not bytes.

use super::header::{FRAME_HEADER_SIZE, FRAME_SIZE_MAX, FRAME_TAG, FrameHeader};
use super::record::{Format, Record, Records};
use super::segment::Segment;
use super::storage::File;
use common::crc32::{Crc32, crc32};
use std::{io, str};

/// How much is read at once, in bytes: little enough to be still in the cache when it is looked at.
const BLOCK_SIZE: usize = 512 << 10;

/// What a disk writes whole.
const SECTOR_SIZE: usize = 512;

/// How the frames of a file end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    /// Where the last whole frame ends.
    pub(super) offset: u64,
    /// What stands there.
    pub(super) kind: EndKind,
}

/// What stands after the last whole frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndKind {
    /// The end of the file.
    Whole,
    /// A frame whose writing was cut short: it was never acknowledged.
    Torn,
    /// Something that was changed after it was written.
    Damaged(&'static str),
}

/// A frame whose checksums are right.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verified<'b> {
    /// Where the frame begins in the file.
    pub(super) offset: u64,
    /// The text of its records.
    pub(super) payload: &'b [u8],
    format: Format,
}

/// Why a scan stops before the end of the file.
#[derive(Debug)]
pub(super) enum Stop {
    /// The frame's checksums are right, but not what it says.
    Damaged(&'static str),
    /// Something else failed.
    Failed(io::Error),
}

impl Verified<'_> {
    /// Calls `each` with the records of this frame, in order, and with the bytes that each takes.
    pub(super) fn records(
        self,
        mut each: impl FnMut(Record<'_>, usize) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        const MALFORMED: Stop = Stop::Damaged("the frame there holds what is never written");
        let text = str::from_utf8(self.payload).map_err(|_| MALFORMED)?;
        let mut records = Records::new(text, self.format);
        for (record, size) in records.by_ref() {
            each(record, size)?;
        }
        if records.is_malformed() { Err(MALFORMED) } else { Ok(()) }
    }
}

/// Calls `each` with the frames of a segment, in order.
pub(super) fn scan(
    segment: &Segment,
    each: impl FnMut(Verified<'_>) -> Result<(), Stop>,
) -> io::Result<End> {
    scan_from(segment, segment.header_size(), each)
}

/// The same from a frame on that begins at `offset`.
pub(super) fn scan_from(
    segment: &Segment,
    offset: u64,
    mut each: impl FnMut(Verified<'_>) -> Result<(), Stop>,
) -> io::Result<End> {
    let Segment { file, seed, format, .. } = segment;
    let (file, size) = (&**file, file.size()?);
    let mut reader = Reader { file, seed: *seed, size, offset };
    let mut bytes = Vec::new();
    let mut wanted = BLOCK_SIZE as u64;
    loop {
        let start = reader.offset;
        bytes.resize(index(wanted.min(reader.size.saturating_sub(start))), 0);
        file.read_all_at(&mut bytes, start)?;
        wanted = loop {
            let rest = bytes.get(index(reader.offset - start)..).unwrap_or_default();
            let header = match reader.examine(rest)? {
                Found::Frame(header) => header,
                Found::End(kind) => return Ok(End { offset: reader.offset, kind }),
                Found::Part { size } => break size.max(BLOCK_SIZE as u64),
            };
            let payload = FRAME_HEADER_SIZE..index(header.end() - header.offset);
            let payload = rest.get(payload).unwrap_or_default();
            match each(Verified { offset: header.offset, payload, format: *format }) {
                Ok(()) => reader.offset = header.end(),
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Damaged(problem)) => {
                    return Ok(End { offset: header.offset, kind: EndKind::Damaged(problem) });
                }
            }
        };
    }
}

/// What is known of a file while its frames are read.
struct Reader<'f> {
    file: &'f dyn File,
    /// What its checksums begin with.
    seed: Crc32,
    /// Bytes of the file.
    size: u64,
    /// Where the next frame begins.
    offset: u64,
}

impl Reader<'_> {
    /// What stands at `self.offset`, of which `bytes` were read.
    fn examine(&self, bytes: &[u8]) -> io::Result<Found> {
        let left = self.size - self.offset;
        if left == 0 {
            return Ok(Found::End(EndKind::Whole));
        }
        if left < FRAME_HEADER_SIZE as u64 {
            return Ok(Found::End(EndKind::Torn));
        }
        // As much as it takes to see a hole in a header: two ends of sectors.
        let sight = left.min(2 * SECTOR_SIZE as u64);
        let Some((head, rest)) = bytes.split_first_chunk().filter(|_| sight <= len(bytes)) else {
            return Ok(Found::Part { size: sight });
        };
        let Some(header) = FrameHeader::read(head, self.seed) else {
            return self.examine_broken_header(bytes.get(..index(sight)).unwrap_or_default());
        };
        if header.offset != self.offset {
            return damaged("the frame there was written for another place");
        }
        if header.length == 0 || header.length as usize > FRAME_SIZE_MAX {
            return damaged("the frame there has a length that is never written");
        }
        if header.end() > self.size {
            return Ok(Found::End(EndKind::Torn));
        }
        let Some(payload) = rest.get(..header.length as usize) else {
            return Ok(Found::Part { size: header.end() - header.offset });
        };
        if crc32(payload) == header.checksum {
            return Ok(Found::Frame(header));
        }
        if header.end() == self.size && self.has_hole(bytes) {
            return Ok(Found::End(EndKind::Torn));
        }
        damaged("the checksum of the frame there is wrong")
    }

    /// A header with a hole is torn if its frame is the last one; since its length is lost, the
    /// frames after it have to be looked for.
    fn examine_broken_header(&self, bytes: &[u8]) -> io::Result<Found> {
        let size_max = (FRAME_HEADER_SIZE + FRAME_SIZE_MAX) as u64;
        if self.has_hole(bytes)
            && self.size - self.offset <= size_max
            && next_header(self.file, self.seed, self.offset, self.size)?.is_none()
        {
            return Ok(Found::End(EndKind::Torn));
        }
        damaged("no frame begins there")
    }

    /// Whether zeros, and more than one, reach the end of a sector or of the file.
    fn has_hole(&self, bytes: &[u8]) -> bool {
        let end = self.offset + len(bytes);
        let first = (self.offset + 1).next_multiple_of(SECTOR_SIZE as u64);
        let sectors = (first..=end).step_by(SECTOR_SIZE);
        sectors.chain((end == self.size).then_some(end)).any(|sector_end| {
            let before = bytes.get(..index(sector_end - self.offset));
            before.is_some_and(|before| before.ends_with(&[0, 0]))
        })
    }
}

/// What stands at an offset.
enum Found {
    /// A frame that is whole.
    Frame(FrameHeader),
    /// Part of something; so many bytes would show it all.
    Part { size: u64 },
    /// No frame that is whole.
    End(EndKind),
}

fn damaged(problem: &'static str) -> io::Result<Found> {
    Ok(Found::End(EndKind::Damaged(problem)))
}

/// Where, from `offset` on, the next frame header begins that belongs where it stands.
pub(super) fn next_header(
    file: &dyn File,
    seed: Crc32,
    offset: u64,
    size: u64,
) -> io::Result<Option<u64>> {
    let mut start = offset;
    let mut bytes = Vec::new();
    while size.saturating_sub(start) >= FRAME_HEADER_SIZE as u64 {
        bytes.resize(index((size - start).min(BLOCK_SIZE as u64)), 0);
        file.read_all_at(&mut bytes, start)?;
        let found = (start..).zip(bytes.windows(FRAME_HEADER_SIZE)).find(|(at, window)| {
            let header = window.first_chunk().filter(|window| window.starts_with(FRAME_TAG));
            let header = header.and_then(|header| FrameHeader::read(header, seed));
            header.is_some_and(|header| header.offset == *at)
        });
        if let Some((at, _)) = found {
            return Ok(Some(at));
        }
        // A header may begin in the last bytes of this piece and end in the next.
        start += len(&bytes) - (FRAME_HEADER_SIZE as u64 - 1);
    }
    Ok(None)
}

fn len(bytes: &[u8]) -> u64 {
    bytes.len() as u64
}

/// A size as an index: what is in memory is indexed with it, so it fits.
fn index(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}
