//! A segment: one file of the row.

use super::JOURNAL;
use super::error::{AppendError, Error};
use super::header::{FORMAT_1_HEADER_SIZE, JournalId, SEGMENT_HEADER_SIZE, SegmentHeader};
use super::manifest::is_format_1;
use super::record::Format;
use super::storage::{Directory, File};
use common::crc32::Crc32;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// An open segment.
#[derive(Clone)]
pub(super) struct Segment {
    pub(super) name: String,
    /// Its place in the row; more than one number where segments were joined.
    pub(super) numbers: RangeInclusive<u32>,
    pub(super) file: Arc<dyn File>,
    /// What the checksums of its frames begin with.
    pub(super) seed: Crc32,
    pub(super) format: Format,
}

impl Segment {
    /// The name of the segment that begins with this number.
    pub(super) fn name(number: u32) -> String {
        format!("{JOURNAL}-{number:08}")
    }

    /// The number that a segment of this name begins with.
    pub(super) fn number(name: &str) -> Option<u32> {
        let number = name.strip_prefix(JOURNAL)?.strip_prefix('-')?.parse().ok()?;
        (Segment::name(number) == name).then_some(number)
    }

    /// A journal of format 1, which is one file; it becomes the first segment.
    pub(super) fn of_format_1(name: &str, file: Box<dyn File>) -> Segment {
        let (name, file) = (name.to_owned(), file.into());
        Segment { name, numbers: 1..=1, file, seed: Crc32::default(), format: Format::One }
    }

    /// Opens the segment of this name, which must be one of this journal.
    pub(super) fn open(
        directory: &dyn Directory,
        name: &str,
        journal: JournalId,
    ) -> Result<Segment, Error> {
        let file = directory.open(name).map_err(directory.failed("open", name))?;
        let failed = |cause| directory.failed("read", name)(cause);
        let size = file.size().map_err(failed)?.min(SEGMENT_HEADER_SIZE as u64);
        let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
        file.read_all_at(&mut bytes, 0).map_err(failed)?;
        let problem = match SegmentHeader::read(&bytes) {
            Some(header) if header.journal != journal => "it belongs to another journal",
            Some(header) if Segment::name(*header.numbers.start()) == name => {
                return Ok(Segment::new(&header, file.into()));
            }
            Some(_) => "it has the name of another segment",
            None if name == Segment::name(1) && is_format_1(directory, name, &*file)? => {
                return Ok(Segment::of_format_1(name, file));
            }
            None => "the header of the segment is not as it was written",
        };
        Err(Error::Damaged { path: directory.path(name), offset: 0, problem })
    }

    /// Makes a new, empty segment, durably.
    pub(super) fn create(
        directory: &dyn Directory,
        journal: JournalId,
        number: u32,
    ) -> Result<Segment, AppendError> {
        let header = SegmentHeader { journal, numbers: number..=number };
        let name = Segment::name(number);
        let write = |file: &dyn File| file.write_all_at(&header.bytes(), 0);
        let file = directory.write_beside(&name, write).map_err(AppendError::not_written)?;
        directory.put_in_place(&name).map_err(AppendError::unknown)?;
        Ok(Segment::new(&header, file.into()))
    }

    /// The segment with this header.
    pub(super) fn new(header: &SegmentHeader, file: Arc<dyn File>) -> Segment {
        let numbers = header.numbers.clone();
        let name = Segment::name(*numbers.start());
        Segment { name, numbers, file, seed: header.seed(), format: Format::Two }
    }

    /// Where its first frame begins.
    pub(super) fn header_size(&self) -> u64 {
        let size = match self.format {
            Format::One => FORMAT_1_HEADER_SIZE,
            Format::Two => SEGMENT_HEADER_SIZE,
        };
        size as u64
    }
}
