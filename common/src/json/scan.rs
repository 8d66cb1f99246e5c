//! Finds the end of the ordinary bytes of a string. This loop sees every byte of every message.
//!
//! It takes eight bytes at a time, in one register. A "mark" is the top bit of a byte in such a
//! register; it says that the byte is not ordinary. Carries and borrows run from low bytes to high
//! ones, so only the lowest mark is always right, and only that one is used.

const ONES: u64 = u64::from_le_bytes([0x01; 8]);
const TOPS: u64 = u64::from_le_bytes([0x80; 8]);
const SPACES: u64 = u64::from_le_bytes([b' '; 8]);
const QUOTES: u64 = u64::from_le_bytes([b'"'; 8]);
const BACKSLASHES: u64 = u64::from_le_bytes([b'\\'; 8]);

/// How many bytes from the start stand for themselves in a string: up to the first `"`, `\` or
/// control character, or all.
pub(super) fn ordinary(bytes: &[u8]) -> usize {
    run(bytes, marks)
}

/// The same for a string of printable ASCII: a byte above 0x7E ends the run as well.
pub(super) fn ordinary_ascii(bytes: &[u8]) -> usize {
    run(bytes, |word| marks(word) | ((word.wrapping_add(ONES) | word) & TOPS))
}

fn run(bytes: &[u8], marks: impl Fn(u64) -> u64) -> usize {
    let (words, rest) = bytes.as_chunks();
    let mut length = 0;
    for word in words {
        let marks = marks(u64::from_le_bytes(*word));
        if marks != 0 {
            return length + first(marks);
        }
        length += word.len();
    }
    // What fills up the last word is zeros: control characters, which end the run where it ends.
    let mut word = [0; 8];
    for (to, from) in word.iter_mut().zip(rest) {
        *to = *from;
    }
    length + first(marks(u64::from_le_bytes(word)))
}

/// The index of the byte with the lowest mark.
fn first(marks: u64) -> usize {
    marks.trailing_zeros() as usize / 8
}

/// Marks `"`, `\` and whatever is less than a space.
fn marks(word: u64) -> u64 {
    let control = word.wrapping_sub(SPACES) & !word;
    (control | zeros(word ^ QUOTES) | zeros(word ^ BACKSLASHES)) & TOPS
}

/// Marks the bytes that are zero.
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_told_apart_at_every_place_and_beside_every_neighbour() {
        for byte in 0..=u8::MAX {
            let is_ordinary = byte >= b' ' && byte != b'"' && byte != b'\\';
            let is_ordinary_ascii = is_ordinary && byte < 0x7F;
            for place in 0..20 {
                for after in [b'a', byte, b'"', b' ', b'!', b'#', 0x00, 0x01, 0x7F, 0x80, 0xFF] {
                    let mut bytes = vec![b'a'; place];
                    bytes.push(byte);
                    let whole = bytes.len();
                    bytes.resize(whole + 9, after);

                    assert_eq!(ordinary(&bytes[..whole]), whole - usize::from(!is_ordinary));
                    assert_eq!(ordinary(&bytes) > place, is_ordinary, "{byte:#x} at {place}");
                    assert_eq!(ordinary_ascii(&bytes) > place, is_ordinary_ascii, "{byte:#x}");
                }
            }
        }
    }

    #[test]
    fn nothing_has_no_ordinary_bytes() {
        assert_eq!(ordinary(b""), 0);
        assert_eq!(ordinary_ascii(b""), 0);
    }
}
