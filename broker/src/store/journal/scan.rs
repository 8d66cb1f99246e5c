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

use super::{
    Event, FRAME_HEADER_SIZE, FRAME_SIZE_MAX, File, Format, FrameHeader, Record, Records, Segment,
    record,
};
use crate::store::StreamId;
use common::crc32::crc32;
use std::collections::HashMap;
use std::{io, str};

/// How much is read at once, in bytes: little enough to be still in the cache when it is looked at.
const BLOCK_SIZE: u64 = 128 << 10;

/// The first line of a record is shorter, and so is what is read to see that the rest is not.
const HEAD_SIZE_MAX: u64 = 4 << 10;

/// What a disk writes whole.
const SECTOR_SIZE: u64 = 512;

/// How the frames of a segment end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    /// Where the last whole frame ends.
    pub(super) offset: u64,
    /// Where it begins; 0 if there is none.
    pub(super) last: u64,
    /// How many frames were read.
    pub(super) frames: u64,
    /// Whether the last record says that the segment is closed.
    pub(super) is_closed: bool,
    /// What stands after the last whole frame.
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

/// Why a scan stops.
#[derive(Debug)]
pub(super) enum Stop {
    /// No whole frame follows.
    Ends(EndKind),
    /// The file could not be read, or what was read could not be used.
    Failed(io::Error),
}

/// Torn, not damaged.
const TORN: Stop = Stop::Ends(EndKind::Torn);

/// Something is wrong with a frame.
impl From<&'static str> for Stop {
    fn from(problem: &'static str) -> Stop {
        Stop::Ends(EndKind::Damaged(problem))
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Failed(error)
    }
}

/// Reads the frames of a segment.
pub(super) struct Scan<'s> {
    segment: &'s Segment,
    window: Window<'s>,
    /// Where the next frame begins.
    offset: u64,
    /// Where lists end, by topic: a segment of format 1 does not say it of each append. It is the
    /// first of the row, so every list begins in it.
    ends: HashMap<String, (StreamId, u64)>,
}

/// A piece of a file that is in memory.
struct Window<'f> {
    file: &'f dyn File,
    /// Bytes of the file.
    size: u64,
    /// Where the piece begins.
    start: u64,
    bytes: Vec<u8>,
}

impl<'s> Scan<'s> {
    /// A scan from the first frame on.
    pub(super) fn new(segment: &'s Segment) -> io::Result<Scan<'s>> {
        let (file, offset) = (&*segment.file, segment.header_size());
        let window = Window { file, size: file.size()?, start: offset, bytes: Vec::new() };
        Ok(Scan { segment, window, offset, ends: HashMap::new() })
    }

    /// Bytes of the file.
    pub(super) fn size(&self) -> u64 {
        self.window.size
    }

    /// Calls `each` with the records of the frames, in order, and with the bytes that each takes,
    /// up to the first frame that is not whole.
    pub(super) fn read(
        &mut self,
        mut each: impl FnMut(Record<'_>, usize) -> Result<(), Stop>,
    ) -> io::Result<End> {
        let mut end = self.begin();
        while self.read_next(&mut end, &mut each)? {}
        Ok(end)
    }

    /// The end of what was read until now: nothing.
    pub(super) fn begin(&self) -> End {
        let (offset, kind) = (self.offset, EndKind::Whole);
        End { offset, last: 0, frames: 0, is_closed: false, kind }
    }

    /// Reads the next frame, and notes how far that reached. Says whether there was one that is
    /// whole.
    pub(super) fn read_next(
        &mut self,
        end: &mut End,
        each: &mut impl FnMut(Record<'_>, usize) -> Result<(), Stop>,
    ) -> io::Result<bool> {
        match self.read_frame(end, each) {
            Ok(()) => {
                end.frames += 1;
                return Ok(true);
            }
            Err(Stop::Ends(kind)) => end.kind = kind,
            Err(Stop::Failed(error)) => return Err(error),
        }
        Ok(false)
    }

    /// Steps over the next frame, if it holds nothing but records that `is_passed` does not want.
    /// Their messages are not read, and it is not seen whether they are damaged. Says whether it
    /// did.
    pub(super) fn pass(
        &mut self,
        mut is_passed: impl FnMut(&Record<'_>) -> bool,
    ) -> io::Result<bool> {
        let (offset, size) = (self.offset, self.window.size);
        let head = self.window.peek(offset, (size - offset).min(FRAME_HEADER_SIZE as u64))?;
        let header = FrameHeader::read(head, self.segment.seed);
        let whole = header.filter(|header| header.offset == offset && header.end() <= size);
        let Some(end) = whole.map(|header| header.end()) else { return Ok(false) };
        let mut place = offset + FRAME_HEADER_SIZE as u64;
        while place < end {
            let bytes = self.window.peek(place, (end - place).min(HEAD_SIZE_MAX))?;
            match record::outline(bytes) {
                Some((record, size)) if is_passed(&record) => place = place.saturating_add(size),
                _ => return Ok(false),
            }
        }
        if place == end {
            self.offset = end;
        }
        Ok(place == end)
    }

    fn read_frame(
        &mut self,
        end: &mut End,
        each: &mut impl FnMut(Record<'_>, usize) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        const MALFORMED: &str = "the frame there holds what is never written";
        let header = self.examine()?;
        let place = header.offset + FRAME_HEADER_SIZE as u64;
        let payload = self.window.get(place, header.length.into())?;
        let text = str::from_utf8(payload).map_err(|_| MALFORMED)?;
        let mut records = Records::new(text, self.segment.format);
        for (mut record, size) in records.by_ref() {
            if self.segment.format == Format::One {
                complete(&mut record, &mut self.ends);
            }
            end.is_closed = record.event == Event::Close;
            each(record, size)?;
        }
        if records.is_malformed() {
            return Err(MALFORMED.into());
        }
        self.offset = header.end();
        (end.offset, end.last) = (self.offset, header.offset);
        Ok(())
    }

    /// Goes on behind what is not whole, at the next header that belongs where it stands. Gives
    /// how many bytes lie before it, and whether there is one.
    pub(super) fn skip(&mut self) -> io::Result<(u64, bool)> {
        let found = self.next_header(self.offset + 1)?;
        let next = found.unwrap_or(self.window.size);
        let skipped = next - self.offset;
        self.offset = next;
        Ok((skipped, found.is_some()))
    }

    /// The frame that begins at `self.offset`, or what stands there instead.
    fn examine(&mut self) -> Result<FrameHeader, Stop> {
        let (offset, size) = (self.offset, self.window.size);
        let left = size.saturating_sub(offset);
        if left == 0 {
            return Err(Stop::Ends(EndKind::Whole));
        }
        if left < FRAME_HEADER_SIZE as u64 {
            return Err(TORN);
        }
        // As much as it takes to see a hole in a header: two ends of sectors.
        let head = self.window.get(offset, left.min(2 * SECTOR_SIZE))?;
        let Some(header) = FrameHeader::read(head, self.segment.seed) else {
            // A header with a hole is torn if its frame is the last one; since its length is
            // lost, the frames after it have to be looked for.
            let may_be_last = left <= (FRAME_HEADER_SIZE + FRAME_SIZE_MAX) as u64;
            let is_torn =
                has_hole(head, offset, size) && may_be_last && self.next_header(offset)?.is_none();
            return Err(if is_torn { TORN } else { "no frame begins there".into() });
        };
        if header.offset != offset {
            return Err("the frame there was written for another place".into());
        }
        if header.length == 0 || header.length as usize > FRAME_SIZE_MAX {
            return Err("the frame there has a length that is never written".into());
        }
        if header.end() > size {
            return Err(TORN);
        }
        let frame = self.window.get(offset, header.end() - offset)?;
        if crc32(frame.get(FRAME_HEADER_SIZE..).unwrap_or_default()) == header.checksum {
            return Ok(header);
        }
        let is_torn = header.end() == size && has_hole(frame, offset, size);
        Err(if is_torn { TORN } else { "the checksum of the frame there is wrong".into() })
    }

    /// Where, from an offset on, the next frame header begins that belongs where it stands.
    pub(super) fn next_header(&mut self, mut from: u64) -> io::Result<Option<u64>> {
        let (size, seed) = (self.window.size, self.segment.seed);
        while size.saturating_sub(from) >= FRAME_HEADER_SIZE as u64 {
            let bytes = self.window.get(from, (size - from).min(BLOCK_SIZE))?;
            let belongs = |(at, window): &(u64, &[u8])| {
                FrameHeader::read(window, seed).is_some_and(|header| header.offset == *at)
            };
            let found = (from..).zip(bytes.windows(FRAME_HEADER_SIZE)).find(belongs);
            if let Some((at, _)) = found {
                return Ok(Some(at));
            }
            // A header may begin in the last bytes of this piece and end in the next.
            from += bytes.len() as u64 - (FRAME_HEADER_SIZE as u64 - 1);
        }
        Ok(None)
    }
}

impl Window<'_> {
    /// So many bytes of the file, from an offset on.
    fn get(&mut self, offset: u64, size: u64) -> io::Result<&[u8]> {
        self.read(offset, size, BLOCK_SIZE)
    }

    /// The same where what follows may not be wanted.
    fn peek(&mut self, offset: u64, size: u64) -> io::Result<&[u8]> {
        self.read(offset, size, HEAD_SIZE_MAX)
    }

    /// The same, of a piece that is at least so large.
    fn read(&mut self, offset: u64, size: u64, piece: u64) -> io::Result<&[u8]> {
        let end = self.start + self.bytes.len() as u64;
        if offset < self.start || offset + size > end {
            let wanted = size.max(piece).min(self.size - offset);
            self.start = offset;
            self.bytes.resize(index(wanted), 0);
            self.file.read_all_at(&mut self.bytes, offset)?;
        }
        let bytes = self.bytes.get(index(offset - self.start)..).unwrap_or_default();
        Ok(bytes.get(..index(size)).unwrap_or_default())
    }
}

/// Fills in what an append of format 1 leaves out.
fn complete(record: &mut Record<'_>, ends: &mut HashMap<String, (StreamId, u64)>) {
    match &mut record.event {
        Event::Create | Event::Mirror => {
            ends.insert(record.topic.to_owned(), (record.stream, 0));
        }
        Event::Append { first, count, .. } => {
            if let Some((known, next)) = ends.get_mut(record.topic) {
                (record.stream, *first) = (*known, *next);
                *next += *count;
            }
        }
        _ => {}
    }
}

/// Whether zeros, and more than one, reach the end of a sector or of the file, which has `size`
/// bytes. These bytes begin at `offset`.
fn has_hole(bytes: &[u8], offset: u64, size: u64) -> bool {
    let end = offset + bytes.len() as u64;
    let first = (offset + 1).next_multiple_of(SECTOR_SIZE);
    let sectors = (first..=end).step_by(index(SECTOR_SIZE));
    sectors.chain((end == size).then_some(end)).any(|sector_end| {
        let before = bytes.get(..index(sector_end - offset));
        before.is_some_and(|before| before.ends_with(&[0, 0]))
    })
}

/// A size as an index: what is in memory is indexed with it, so it fits.
fn index(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}
