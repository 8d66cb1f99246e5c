//! CRC-32 as in gzip and zip (IEEE 802.3, reflected, polynomial 0xEDB88320).
//!
//! It reads sixteen bytes at a time ("slicing by 16") from tables. The processor's own instructions
//! would need `unsafe`, which is forbidden here.

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
        let (blocks, rest) = bytes.as_chunks::<16>();
        let mut crc = !self.0;
        for block in blocks {
            let mixed = (u128::from_le_bytes(*block) ^ u128::from(crc)).to_le_bytes();
            let effects = TABLES.iter().rev().zip(mixed);
            crc = effects.fold(0, |crc, (table, byte)| crc ^ table[byte as usize]);
        }
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

/// `TABLES[n][b]` is what byte `b` does to the checksum when `n` more bytes follow it.
static TABLES: [[u32; 256]; 16] = tables();

const fn tables() -> [[u32; 256]; 16] {
    let mut tables = [[0; 256]; 16];
    let mut byte = 0_u32;
    while byte < 256 {
        let (mut crc, mut bit) = (byte, 0);
        while bit < 8 * tables.len() {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
            bit += 1;
            if bit % 8 == 0 {
                tables[bit / 8 - 1][byte as usize] = crc;
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
    fn any_split_gives_the_same_checksum() {
        let bytes: Vec<u8> = (0..100).map(|n: u8| n.wrapping_mul(7)).collect();
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
