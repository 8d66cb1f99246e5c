//! Fast conversions of numbers and lines to and from bytes.
//!
//! The general way is too slow here: each answer and each pushed message has an offset and a stream
//! id, and each message is checked before it is stored. The rows `in-flight`, `bulk` and
//! `end-to-end` of the benchmark show it.

/// The number at the front of `input`, and what follows it.
pub fn decimal_prefix(input: &[u8]) -> Option<(u64, &[u8])> {
    let mut rest = input;
    let mut number = 0_u64;
    while let Some((digit @ b'0'..=b'9', after)) = rest.split_first() {
        number = number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        rest = after;
    }
    (rest.len() < input.len()).then_some((number, rest))
}

/// Writes a number in decimal.
pub fn write_decimal(out: &mut Vec<u8>, number: u64) {
    // The longest, 2^64 - 1, has 20 digits.
    let mut digits = [0; 20];
    let mut first = digits.len();
    let mut rest = number;
    for (place, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + (rest % 10).to_le_bytes()[0];
        rest /= 10;
        first = place;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(first..).unwrap_or_default());
}

/// Writes a number as 16 hexadecimal digits.
pub fn write_hexadecimal(out: &mut Vec<u8>, number: u64) {
    let digits = number.to_be_bytes().map(|byte| [byte >> 4, byte & 15]);
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + value - 10 };
    out.extend(digits.as_flattened().iter().map(|&value| digit(value)));
}

/// Whether a text is one line without NUL.
pub fn is_one_line(text: &str) -> bool {
    // Without an early exit, so that the compiler compares many bytes at once.
    !text.bytes().fold(false, |found, byte| found | (byte == b'\n') | (byte == b'\r') | (byte == 0))
}

/// How many bytes are wanted.
pub fn count(bytes: &[u8], is_wanted: impl Fn(u8) -> bool) -> usize {
    // So many that a byte can count them: the compiler then counts many at once.
    let pieces = bytes.chunks(usize::from(u8::MAX));
    pieces
        .map(|piece| piece.iter().fold(0_u8, |count, &byte| count + u8::from(is_wanted(byte))))
        .map(usize::from)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_standard_library_writes_them() {
        for number in [0, 9, 10, 99, 100, 12_345, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let (mut decimal, mut hexadecimal) = (Vec::new(), Vec::new());
            write_decimal(&mut decimal, number);
            write_hexadecimal(&mut hexadecimal, number);
            assert_eq!(String::from_utf8(decimal).unwrap(), format!("{number}"));
            assert_eq!(String::from_utf8(hexadecimal).unwrap(), format!("{number:016x}"));
        }
    }

    #[test]
    fn all_bytes_that_are_wanted_are_counted() {
        for size in [0, 1, 254, 255, 256, 1000] {
            assert_eq!(count(&vec![b','; size], |byte| byte == b','), size);
            assert_eq!(count(&vec![b','; size], |byte| byte == b';'), 0);
        }
        assert_eq!(count(b"a,b,c", |byte| byte == b','), 2);
    }

    #[test]
    fn a_line_has_no_line_break_and_no_nul_anywhere() {
        for size in 0..100 {
            let line = "x".repeat(size);
            assert!(is_one_line(&line));
            for place in 0..size {
                for bad in ["\n", "\r", "\0"] {
                    let mut text = line.clone();
                    text.replace_range(place..=place, bad);
                    assert!(!is_one_line(&text));
                }
            }
        }
    }
}
