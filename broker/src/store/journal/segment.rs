//! A segment: one file of the row.

use super::header::{FORMAT_1_HEADER_SIZE, SEGMENT_HEADER_SIZE};
use super::manifest::first_line;
use super::{Directory, Error, Failure, File, Format, JOURNAL, JournalId, Numbers, SegmentHeader};
use common::crc32::Crc32;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// An open segment.
#[derive(Clone)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    /// Its place in the row; more than one number where segments were joined.
    pub(super) numbers: Numbers,
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

    /// The numbers that the segments among these files begin with, in order.
    pub(super) fn numbers(names: &[String]) -> Vec<u32> {
        let mut numbers: Vec<u32> = names.iter().filter_map(|name| Segment::number(name)).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Opens a file without a look at it, as a journal of format 1: that is one file, and becomes
    /// the first segment.
    pub(super) fn open_any(directory: &dyn Directory, name: &str) -> Result<Segment, Error> {
        let file = directory.open(name).map_err(directory.failed("open", name))?.into();
        let (path, seed) = (directory.path(name), Crc32::default());
        Ok(Segment { path, numbers: 1..=1, file, seed, format: Format::One })
    }

    /// Whether the file begins as a journal of format 1 does.
    pub(super) fn is_format_1(&self) -> Result<bool, Error> {
        let header = first_line(1);
        Ok(self.beginning(header.len())? == header.as_bytes())
    }

    /// The first bytes of the file, up to so many.
    fn beginning(&self, size: usize) -> Result<Vec<u8>, Error> {
        let there = usize::try_from(self.size()?).unwrap_or(size);
        let mut bytes = vec![0; there.min(size)];
        self.file.read_all_at(&mut bytes, 0).map_err(self.failed("read"))?;
        Ok(bytes)
    }

    /// The header of the file, where it is as it was written.
    pub(super) fn header(&self) -> Result<Option<SegmentHeader>, Error> {
        Ok(SegmentHeader::read(&self.beginning(SEGMENT_HEADER_SIZE)?))
    }

    /// Opens the segment of this name, which must be one of this journal.
    pub(super) fn open(
        directory: &dyn Directory,
        name: &str,
        journal: JournalId,
    ) -> Result<Segment, Error> {
        let unknown = Segment::open_any(directory, name)?;
        let problem = match unknown.header()? {
            Some(header) if header.journal != journal => "it belongs to another journal",
            Some(header) if Segment::name(*header.numbers.start()) == name => {
                return Ok(Segment::new(unknown.path, &header, unknown.file));
            }
            Some(_) => "it has the name of another segment",
            None if name == Segment::name(1) && unknown.is_format_1()? => return Ok(unknown),
            None => "the header of the segment is not as it was written",
        };
        Err(unknown.damaged(0, problem))
    }

    /// Makes a new, empty segment, durably.
    pub(super) fn create(
        directory: &dyn Directory,
        journal: JournalId,
        number: u32,
    ) -> Result<Segment, Failure> {
        let header = SegmentHeader { journal, numbers: number..=number };
        let name = Segment::name(number);
        let write = |file: &dyn File| file.write_all_at(&header.bytes(), 0);
        let (file, ()) = directory.write_beside(&name, write).map_err(Failure::NotDone)?;
        directory.put_in_place(&name).map_err(Failure::Unknown)?;
        Ok(Segment::new(directory.path(&name), &header, file.into()))
    }

    /// The segment with this header.
    pub(super) fn new(path: PathBuf, header: &SegmentHeader, file: Arc<dyn File>) -> Segment {
        let numbers = header.numbers.clone();
        Segment { path, numbers, file, seed: header.seed(), format: Format::Two }
    }

    /// Bytes of the file.
    pub(super) fn size(&self) -> Result<u64, Error> {
        self.file.size().map_err(self.failed("read"))
    }

    /// What makes an [`Error`] of a failure to do something with the file.
    pub(super) fn failed(&self, action: &'static str) -> impl FnOnce(io::Error) -> Error + use<> {
        let path = self.path.clone();
        move |cause| Error::io(action, path, cause)
    }

    /// Something is wrong with what stands at a byte of the file.
    pub(super) fn damaged(&self, offset: u64, problem: &'static str) -> Error {
        Error::Damaged { path: self.path.clone(), offset, problem }
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
