//! What stands before the file and before each frame.
//!
//! ```text
//! file    0 "topic journal "  the magic
//!        14 "0001"            format version, decimal
//!        18 " "
//!        19 8 digits          CRC-32 of bytes 0 to 18
//!        27 "\n"
//!
//! frame   0 "frame "
//!         6 16 digits, " "    the frame's own offset in the file
//!        23  8 digits, " "    bytes of the payload
//!        32  8 digits, " "    CRC-32 of the payload
//!        41  8 digits         CRC-32 of bytes 0 to 40
//!        49 "\n"
//!        50                   the payload
//! ```
//!
//! All digits but the version's are lower-case hexadecimal. So the whole file is text, and holds
//! no zero byte: a zero byte is always something that the disk lost.
//!
//! The own offset catches a frame that was swapped, moved, put in or doubled. The header's own
//! checksum makes its length trustworthy: without it, a flipped bit in the last length would look
//! like an append that was cut short, and acknowledged messages would be cut off.

use common::crc32::crc32;
use std::str;

/// Bytes of the file's header.
pub(super) const FILE_HEADER_SIZE: usize = 28;

/// Bytes of a frame's header.
pub(super) const FRAME_HEADER_SIZE: usize = 50;

/// The largest payload of a frame, in bytes: several of the largest requests, and little enough
/// to be read into memory whole.
pub(crate) const FRAME_SIZE_MAX: usize = 64 << 20;

/// What every frame begins with.
pub(super) const FRAME_TAG: &[u8; 6] = b"frame ";

const MAGIC: &str = "topic journal ";
const VERSION: u32 = 1;

/// What the first bytes of a file say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileHeader {
    /// A journal of this version.
    Good,
    /// A journal of another version.
    Version(u32),
    /// A journal whose header is damaged.
    Damaged,
    /// Something else.
    Foreign,
}

impl FileHeader {
    /// The header of a new file.
    pub(super) fn bytes() -> Vec<u8> {
        FileHeader::with_version(VERSION)
    }

    /// The header of a file of some version.
    pub(super) fn with_version(version: u32) -> Vec<u8> {
        let text = format!("{MAGIC}{version:04} ");
        format!("{text}{:08x}\n", crc32(text.as_bytes())).into_bytes()
    }

    /// Reads a header.
    pub(super) fn read(bytes: &[u8]) -> FileHeader {
        if bytes == FileHeader::bytes() {
            return FileHeader::Good;
        }
        let Some(rest) = bytes.strip_prefix(MAGIC.as_bytes()) else {
            return FileHeader::Foreign;
        };
        let version = rest.get(..4).and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
        match version {
            Some(version) if bytes == FileHeader::with_version(version) => {
                FileHeader::Version(version)
            }
            _ => FileHeader::Damaged,
        }
    }

    /// Whether a file of these bytes alone is one whose creation was cut short: the beginning of
    /// a header, and zeros where the disk lost the rest. Nothing was ever acknowledged from it.
    pub(super) fn is_unfinished(bytes: &[u8]) -> bool {
        let header = FileHeader::bytes();
        let equal = bytes.iter().zip(&header).take_while(|(found, wanted)| found == wanted).count();
        bytes.len() <= header.len()
            && equal < header.len()
            && bytes.iter().skip(equal).all(|&byte| byte == 0)
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
    /// The header as it stands in the file.
    pub(super) fn bytes(self) -> [u8; FRAME_HEADER_SIZE] {
        let mut bytes = [b' '; FRAME_HEADER_SIZE];
        bytes[..6].copy_from_slice(FRAME_TAG);
        write_digits(&mut bytes[6..22], self.offset);
        write_digits(&mut bytes[23..31], u64::from(self.length));
        write_digits(&mut bytes[32..40], u64::from(self.checksum));
        let own = crc32(&bytes[..41]);
        write_digits(&mut bytes[41..49], u64::from(own));
        bytes[49] = b'\n';
        bytes
    }

    /// Reads a header; `None` where a single bit is not as [`Self::bytes`] writes it.
    pub(super) fn read(bytes: &[u8; FRAME_HEADER_SIZE]) -> Option<FrameHeader> {
        let mut own = [0; 8];
        write_digits(&mut own, u64::from(crc32(&bytes[..41])));
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

    #[test]
    fn headers_have_the_size_that_is_drawn() {
        assert_eq!(FileHeader::bytes().len(), FILE_HEADER_SIZE);
        let header = FrameHeader { offset: 28, length: 0xabc, checksum: 0xdead_beef };
        let text = "frame 000000000000001c 00000abc deadbeef ";
        let expected = format!("{text}{:08x}\n", crc32(text.as_bytes()));
        assert_eq!(header.bytes(), expected.as_bytes());
        assert_eq!(FrameHeader::read(&header.bytes()), Some(header));
        assert_eq!(header.end(), 28 + 50 + 0xabc);
    }

    #[test]
    fn a_frame_header_with_any_bit_flipped_is_none() {
        let header = FrameHeader { offset: 28, length: 0xabc, checksum: 0xdead_beef };
        for bit in 0..FRAME_HEADER_SIZE * 8 {
            let mut bytes = header.bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHeader::read(&bytes), None, "bit {bit}");
        }
    }

    #[test]
    fn a_file_header_says_what_the_file_is() {
        assert_eq!(FileHeader::read(&FileHeader::bytes()), FileHeader::Good);
        let newer = FileHeader::with_version(2);
        assert_eq!(FileHeader::read(&newer), FileHeader::Version(2));
        assert_eq!(FileHeader::read(b"topic journal 0001 00000000\n"), FileHeader::Damaged);
        assert_eq!(FileHeader::read(b"#!/bin/sh\n"), FileHeader::Foreign);
    }

    #[test]
    fn only_the_beginning_of_a_header_is_an_unfinished_file() {
        let header = FileHeader::bytes();
        for size in 0..header.len() {
            assert!(FileHeader::is_unfinished(&header[..size]), "{size} bytes");
            let mut zeroed = header.clone();
            zeroed[size..].fill(0);
            assert!(FileHeader::is_unfinished(&zeroed), "zero from byte {size}");
        }
        assert!(!FileHeader::is_unfinished(&header));
        assert!(!FileHeader::is_unfinished(b"x"));
        assert!(!FileHeader::is_unfinished(&[0; 29]));
    }
}
