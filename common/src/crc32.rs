//! CRC-32 as in gzip and zip (IEEE 802.3, reflected, polynomial 0xEDB88320).
//!
//! It reads sixteen bytes at a time ("slicing by 16") from tables, at two places in turn: neither
//! waits for what the other looks up. The processor's own instructions would need `unsafe`, which
//! is forbidden here.

#![expect(clippy::indexing_slicing, reason = "a byte always lies within a table of 256")]

/// A checksum that is still being computed.
///
/// ```
/// let mut crc = common::crc32::Crc32::default();
/// crc.update(b"1234");
/// crc.update(b"56789");
/// assert_eq!(crc.value(), 0xCBF4_3926);
/// ```
///
/// The default is the checksum of no bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Crc32(u32);

impl Crc32 {
    /// Continues after bytes that have this checksum.
    pub const fn after(value: u32) -> Crc32 {
        Crc32(value)
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let (pairs, rest) = bytes.as_chunks::<{ 2 * LANE }>();
        let mut crc = !self.0;
        for pair in pairs {
            let (first, second) = pair.as_chunks::<16>().0.split_at(LANE / 16);
            let both = first.iter().zip(second);
            let (first, second) =
                both.fold((crc, 0), |crc, block| (step(crc.0, block.0), step(crc.1, block.1)));
            // As if the first had gone on over as many zeros as the second has bytes.
            let zeros = SHIFTS.iter().zip(first.to_be_bytes());
            crc = zeros.fold(second, |crc, (table, byte)| crc ^ table[byte as usize]);
        }
        let (blocks, rest) = rest.as_chunks::<16>();
        crc = blocks.iter().fold(crc, step);
        for &byte in rest {
            crc = (crc >> 8) ^ TABLES[0][(crc.to_le_bytes()[0] ^ byte) as usize];
        }
        self.0 = !crc;
    }

    /// Adds a message and its line end.
    pub fn update_line(&mut self, message: &str) {
        self.update(message.as_bytes());
        self.update(b"\n");
    }

    /// The checksum of all bytes so far.
    pub fn value(self) -> u32 {
        self.0
    }
}

/// The checksum of `bytes`.
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc32::default();
    crc.update(bytes);
    crc.value()
}

/// The state after sixteen bytes more.
fn step(crc: u32, block: &[u8; 16]) -> u32 {
    let mixed = (u128::from_le_bytes(*block) ^ u128::from(crc)).to_le_bytes();
    TABLES.iter().rev().zip(mixed).fold(0, |crc, (table, byte)| crc ^ table[byte as usize])
}

/// Bytes that are read at each of the two places before what came out is put together.
const LANE: usize = 256;

/// `TABLES[n][b]` is what byte `b` does to the checksum when `n` more bytes follow it.
static TABLES: [[u32; 256]; 16] = tables(0);

/// The same for the bytes of a checksum, highest first, which a lane of zeros follows.
static SHIFTS: [[u32; 256]; 4] = tables(LANE - 4);

/// The tables for `first` more bytes and up.
const fn tables<const COUNT: usize>(first: usize) -> [[u32; 256]; COUNT] {
    let mut tables = [[0; 256]; COUNT];
    let mut byte = 0_u32;
    while byte < 256 {
        let (mut crc, mut bit) = (byte, 0);
        while bit < 8 * (first + COUNT) {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
            bit += 1;
            if bit % 8 == 0 && bit / 8 > first {
                tables[bit / 8 - first - 1][byte as usize] = crc;
            }
        }
        byte += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_checksums_come_out() {
        assert_eq!(crc32(b""), 0);
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b"The quick brown fox jumps over the lazy dog"), 0x414F_A339);
    }

    #[test]
    fn any_split_gives_the_checksum_that_bit_by_bit_gives() {
        let bytes: Vec<u8> = (0..1200_u32).map(|n| (n * n).to_le_bytes()[1]).collect();
        let bits =
            bytes.iter().flat_map(|byte| (0..8).map(move |bit| u32::from((byte >> bit) & 1)));
        let slow =
            bits.fold(
                !0,
                |crc, bit| {
                    if (crc ^ bit) & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 }
                },
            );
        assert_eq!(crc32(&bytes), !slow);
        for cut in 0..=bytes.len() {
            let mut crc = Crc32::default();
            crc.update(&bytes[..cut]);
            crc.update(&bytes[cut..]);
            assert_eq!(crc.value(), crc32(&bytes), "cut at {cut}");
            let mut rest = Crc32::after(crc32(&bytes[..cut]));
            rest.update(&bytes[cut..]);
            assert_eq!(rest, crc);
        }
    }
}
