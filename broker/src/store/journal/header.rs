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

use common::crc32::{Crc32, crc32};
use std::fmt;
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
pub(super) const FRAME_TAG: &[u8; 6] = b"frame ";

const SEGMENT_MAGIC: &str = "topic segment 0002 ";

/// Which journal a file belongs to: 64 random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct JournalId(u64);

impl JournalId {
    pub(super) fn random() -> JournalId {
        JournalId(common::random::random())
    }

    pub(super) fn parse(text: &str) -> Option<JournalId> {
        let id = JournalId(u64::from_str_radix(text, 16).ok()?);
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The header of a segment: whose it is, and its place in the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) journal: JournalId,
    /// More than one number where segments were joined.
    pub(super) numbers: RangeInclusive<u32>,
}

impl SegmentHeader {
    /// The header as it stands in the file.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let SegmentHeader { journal, numbers } = self;
        let (first, last) = (numbers.start(), numbers.end());
        let text = format!("{SEGMENT_MAGIC}{journal} {first:08x} {last:08x} ");
        format!("{text}{:08x}\n", crc32(text.as_bytes())).into_bytes()
    }

    /// Reads a header; `None` where a single bit is not as [`Self::bytes`] writes it.
    pub(super) fn read(bytes: &[u8]) -> Option<SegmentHeader> {
        let text = str::from_utf8(bytes).ok()?.strip_prefix(SEGMENT_MAGIC)?;
        let mut fields = text.split(' ');
        let journal = JournalId::parse(fields.next()?)?;
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
    pub(super) fn bytes(self, seed: Crc32) -> [u8; FRAME_HEADER_SIZE] {
        let mut bytes = [b' '; FRAME_HEADER_SIZE];
        bytes[..6].copy_from_slice(FRAME_TAG);
        write_digits(&mut bytes[6..22], self.offset);
        write_digits(&mut bytes[23..31], u64::from(self.length));
        write_digits(&mut bytes[32..40], u64::from(self.checksum));
        let own = checksum(seed, &bytes);
        bytes[41..49].copy_from_slice(&own);
        bytes[49] = b'\n';
        bytes
    }

    /// Reads a header; `None` where a single bit is not as [`Self::bytes`] writes it.
    pub(super) fn read(bytes: &[u8; FRAME_HEADER_SIZE], seed: Crc32) -> Option<FrameHeader> {
        let own = checksum(seed, bytes);
        if bytes[..6] != *FRAME_TAG || bytes[41..49] != own || bytes[49] != b'\n' {
            return None;
        }
        Some(FrameHeader {
            offset: read_digits(&bytes[6..22])?,
            length: u32::try_from(read_digits(&bytes[23..31])?).ok()?,
            checksum: u32::try_from(read_digits(&bytes[32..40])?).ok()?,
        })
    }

    /// Where the frame ends in the file.
    pub(super) fn end(self) -> u64 {
        let size = FRAME_HEADER_SIZE as u64 + u64::from(self.length);
        self.offset.saturating_add(size)
    }
}

/// The digits of a frame header's own checksum.
fn checksum(mut seed: Crc32, bytes: &[u8; FRAME_HEADER_SIZE]) -> [u8; 8] {
    seed.update(&bytes[..41]);
    let mut digits = [0; 8];
    write_digits(&mut digits, u64::from(seed.value()));
    digits
}

/// Fills `out` with the hexadecimal digits of a number.
fn write_digits(out: &mut [u8], mut number: u64) {
    for digit in out.iter_mut().rev() {
        let value = (number & 15).to_le_bytes()[0];
        *digit = if value < 10 { b'0' + value } else { b'a' + value - 10 };
        number >>= 4;
    }
}

fn read_digits(digits: &[u8]) -> Option<u64> {
    u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment() -> SegmentHeader {
        SegmentHeader { journal: JournalId(0xabc), numbers: 3..=17 }
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
        assert_eq!(header.bytes(format_1), expected.as_bytes());
        assert_eq!(FrameHeader::read(&header.bytes(format_1), format_1), Some(header));
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
            let mut bytes = header.bytes(seed);
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHeader::read(&bytes, seed), None, "bit {bit}");
        }
    }

    #[test]
    fn a_frame_of_another_journal_or_segment_is_none() {
        let header = FrameHeader { offset: 63, length: 1, checksum: 2 };
        let bytes = header.bytes(segment().seed());
        let journal = SegmentHeader { journal: JournalId(0xabd), ..segment() };
        let number = SegmentHeader { numbers: 4..=17, ..segment() };
        for other in [journal.seed(), number.seed(), Crc32::default()] {
            assert_eq!(FrameHeader::read(&bytes, other), None);
        }
    }
}
