//! What stands before each segment and before each frame.
//!
//! ```text
//! segment 0 "topic segment "  the magic
//!        14 "0002 "           format version, decimal
//!        19 16 digits, " "    the journal's id
//!        36  8 digits, " "    the segment's first number in the row
//!        45  8 digits, " "    its last: cleaning joins small neighbours
//!        54  8 digits, "\n"   CRC-32 of bytes 0 to 53
//!
//! frame   0 "frame "
//!         6 16 digits, " "    the frame's own offset in the file
//!        23  8 digits, " "    bytes of the payload
//!        32  8 digits, " "    CRC-32 of the payload
//!        41  8 digits         CRC-32 of the journal's id, the segment's number, bytes 0 to 40
//!        49 "\n"
//!        50                   the payload
//! ```
//!
//! All digits but the version's are lower-case hexadecimal. So the whole file is text, and holds
//! no zero byte: a zero byte is always something that the disk lost.
//!
//! The own offset catches a frame that was swapped, moved, put in or doubled, and the id and the
//! number one of another journal or segment. The header's own checksum makes its length
//! trustworthy: without it, a flipped bit in the last length would look like an append that was
//! cut short, and acknowledged messages would be cut off.
//!
//! A journal of format 1 was one file. Its header was the magic, the version and a checksum, and
//! the checksums of its frames covered bytes 0 to 40 alone. It is read, and never written.

use crate::store::StreamId;
use common::crc32::Crc32;
use std::ops::RangeInclusive;
use std::str;

/// Bytes of a segment's header.
pub(super) const SEGMENT_HEADER_SIZE: usize = 63;

/// Bytes of the header of a journal of format 1.
pub(super) const FORMAT_1_HEADER_SIZE: usize = 28;

/// Bytes of a frame's header.
pub(super) const FRAME_HEADER_SIZE: usize = 50;

/// The largest payload of a frame, in bytes: several of the largest requests, and little enough
/// to be read into memory whole.
pub(crate) const FRAME_SIZE_MAX: usize = 64 << 20;

/// What every frame begins with.
const FRAME_TAG: &str = "frame ";

const SEGMENT_MAGIC: &str = "topic segment 0002 ";

/// Which journal a file belongs to: 64 random bits.
pub(super) type JournalId = StreamId;

/// The numbers that a segment has in the row.
pub(super) type Numbers = RangeInclusive<u32>;

/// The header of a segment: whose it is, and its place in the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) journal: JournalId,
    /// More than one number where segments were joined.
    pub(super) numbers: Numbers,
}

impl SegmentHeader {
    /// The header as it stands in the file.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let SegmentHeader { journal, numbers } = self;
        let (first, last) = (numbers.start(), numbers.end());
        let text = format!("{SEGMENT_MAGIC}{journal} {first:08x} {last:08x} ");
        sealed(Crc32::default(), &text).into_bytes()
    }

    /// Reads a header; `None` where a single bit is not as [`Self::bytes`] writes it.
    pub(super) fn read(bytes: &[u8]) -> Option<SegmentHeader> {
        let text = str::from_utf8(bytes).ok()?.strip_prefix(SEGMENT_MAGIC)?;
        let mut fields = text.split(' ');
        let journal = fields.next()?.parse().ok()?;
        let mut number = || u32::from_str_radix(fields.next()?, 16).ok();
        let header = SegmentHeader { journal, numbers: number()?..=number()? };
        (header.bytes() == bytes && !header.numbers.is_empty()).then_some(header)
    }

    /// What the checksums of its frames begin with.
    pub(super) fn seed(&self) -> Crc32 {
        let mut seed = Crc32::default();
        seed.update(format!("{} {:08x} ", self.journal, self.numbers.start()).as_bytes());
        seed
    }
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    /// Where the frame begins in the file.
    pub(super) offset: u64,
    /// Bytes of the payload.
    pub(super) length: u32,
    /// CRC-32 of the payload.
    pub(super) checksum: u32,
}

impl FrameHeader {
    /// The header as it stands in a segment whose checksums begin with `seed`.
    pub(super) fn text(self, seed: Crc32) -> String {
        let FrameHeader { offset, length, checksum } = self;
        sealed(seed, &format!("{FRAME_TAG}{offset:016x} {length:08x} {checksum:08x} "))
    }

    /// Reads the header at the beginning of `bytes`; `None` where a single bit is not as
    /// [`Self::text`] writes it.
    pub(super) fn read(bytes: &[u8], seed: Crc32) -> Option<FrameHeader> {
        let bytes = bytes.get(..FRAME_HEADER_SIZE)?;
        let text =
            bytes.starts_with(FRAME_TAG.as_bytes()).then(|| str::from_utf8(bytes).ok())??;
        let mut fields = text.split(' ').skip(1);
        let offset = u64::from_str_radix(fields.next()?, 16).ok()?;
        let mut number = || u32::from_str_radix(fields.next()?, 16).ok();
        let (length, checksum) = (number()?, number()?);
        (sealed(seed, text.get(..41)?) == text).then_some(FrameHeader { offset, length, checksum })
    }

    /// Where the frame ends in the file.
    pub(super) fn end(self) -> u64 {
        let size = FRAME_HEADER_SIZE as u64 + u64::from(self.length);
        self.offset.saturating_add(size)
    }
}

/// A text with its checksum, which begins with `seed`, and a line break.
pub(super) fn sealed(mut seed: Crc32, text: &str) -> String {
    seed.update(text.as_bytes());
    format!("{text}{:08x}\n", seed.value())
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::crc32::crc32;

    fn segment() -> SegmentHeader {
        SegmentHeader { journal: "0000000000000abc".parse().unwrap(), numbers: 3..=17 }
    }

    #[test]
    fn headers_have_the_size_that_is_drawn() {
        let bytes = segment().bytes();
        assert_eq!(bytes.len(), SEGMENT_HEADER_SIZE);
        assert_eq!(SegmentHeader::read(&bytes), Some(segment()));
        let header = FrameHeader { offset: 28, length: 0xabc, checksum: 0xdead_beef };
        let text = "frame 000000000000001c 00000abc deadbeef ";
        let expected = format!("{text}{:08x}\n", crc32(text.as_bytes()));
        let format_1 = Crc32::default();
        assert_eq!(header.text(format_1), expected);
        assert_eq!(FrameHeader::read(header.text(format_1).as_bytes(), format_1), Some(header));
        assert_eq!(header.end(), 28 + 50 + 0xabc);
    }

    #[test]
    fn a_header_with_any_bit_flipped_is_none() {
        let bytes = segment().bytes();
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::read(&bytes), None, "bit {bit}");
        }
        let seed = segment().seed();
        let header = FrameHeader { offset: 28, length: 0xabc, checksum: 0xdead_beef };
        for bit in 0..FRAME_HEADER_SIZE * 8 {
            let mut bytes = header.text(seed).into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHeader::read(&bytes, seed), None, "bit {bit}");
        }
    }

    #[test]
    fn a_frame_of_another_journal_or_segment_is_none() {
        let header = FrameHeader { offset: 63, length: 1, checksum: 2 };
        let text = header.text(segment().seed());
        let journal = SegmentHeader { journal: "0000000000000abd".parse().unwrap(), ..segment() };
        let number = SegmentHeader { numbers: 4..=17, ..segment() };
        for other in [journal.seed(), number.seed(), Crc32::default()] {
            assert_eq!(FrameHeader::read(text.as_bytes(), other), None);
        }
    }
}
