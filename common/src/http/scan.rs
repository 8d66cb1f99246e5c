//! A cursor over bytes, and the classes of bytes that HTTP knows.
//!
//! Everything is decided from left to right. So later bytes never change an error, and a prefix of
//! a good message is never an error.

use super::error::Error;

/// What a name is made of: tchar of RFC 9110 §5.6.2.
pub(super) const TOKEN: u8 = 1;

/// What a request target is made of: visible ASCII. Wider than RFC 3986, because browsers send
/// `|` and `[` as they are in a query, but without the bytes that nobody does: `"`, `#`, `<`, `>`.
pub(super) const TARGET: u8 = 2;

/// What a field's value is made of: all but control bytes (RFC 9110 §5.5).
pub(super) const TEXT: u8 = 4;

/// What a host name is made of: the unreserved bytes of RFC 3986, which no list or escape has.
pub(super) const HOST: u8 = 8;

const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "below 256")]
        {
            classes[byte] = classes_of(byte as u8);
        }
        byte += 1;
    }
    classes
};

const fn classes_of(byte: u8) -> u8 {
    let host = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let token = host || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'^' | b'`' | b'|');
    let target = byte.is_ascii_graphic() && !matches!(byte, b'"' | b'#' | b'<' | b'>');
    let text = matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
    (token as u8 * TOKEN) | (target as u8 * TARGET) | (text as u8 * TEXT) | (host as u8 * HOST)
}

/// Whether `byte` belongs to `class`.
pub(super) fn is(byte: u8, class: u8) -> bool {
    #[expect(clippy::indexing_slicing, reason = "a byte is below 256")]
    let classes = CLASSES[usize::from(byte)];
    classes & class != 0
}

/// Whether `bytes` all belong to `class`.
pub(super) fn are(bytes: &[u8], class: u8) -> bool {
    bytes.iter().all(|&byte| is(byte, class))
}

/// Why scanning ended before the end of the head.
#[derive(Debug)]
pub(super) enum Stop {
    /// The input ends here; more may make it good.
    Partial,
    /// No further input can make it good.
    Refused(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Refused(error)
    }
}

/// The bytes that were not looked at yet.
pub(super) struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    pub(super) fn new(input: &'a [u8]) -> Scanner<'a> {
        Scanner { rest: input }
    }

    /// What was not taken yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next byte, which stays.
    pub(super) fn peek(&self) -> Result<u8, Stop> {
        self.rest.first().copied().ok_or(Stop::Partial)
    }

    /// Takes the bytes before the first that is not in `class`: at most `limit`, else `too_long`.
    pub(super) fn take(
        &mut self,
        class: u8,
        limit: usize,
        too_long: Error,
    ) -> Result<&'a [u8], Stop> {
        let window = self.rest.get(..=limit).unwrap_or(self.rest);
        match window.iter().position(|&byte| !is(byte, class)) {
            Some(size) => {
                let (taken, rest) = self.rest.split_at(size);
                self.rest = rest;
                Ok(taken)
            }
            None if window.len() > limit => Err(Stop::Refused(too_long)),
            None => Err(Stop::Partial),
        }
    }

    /// Takes as many bytes as `pattern` has, each equal to the pattern's; where the pattern has a
    /// `0`, any digit.
    pub(super) fn take_like<const SIZE: usize>(
        &mut self,
        pattern: &[u8; SIZE],
        otherwise: Error,
    ) -> Result<[u8; SIZE], Stop> {
        let fits = |(&expected, &byte): (&u8, &u8)| {
            byte == expected || (expected == b'0' && byte.is_ascii_digit())
        };
        if !pattern.iter().zip(self.rest).all(fits) {
            return Err(Stop::Refused(otherwise));
        }
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Stop::Partial)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Takes one byte, which must be this one.
    pub(super) fn expect(&mut self, byte: u8, otherwise: Error) -> Result<(), Stop> {
        match self.rest.split_first() {
            Some((&first, rest)) if first == byte => {
                self.rest = rest;
                Ok(())
            }
            Some(_) => Err(Stop::Refused(otherwise)),
            None => Err(Stop::Partial),
        }
    }

    /// Takes CR LF, the only line end (RFC 9112 §2.2 allows a bare LF and forbids a bare CR; a
    /// message that needs either was not written by a program that means well).
    pub(super) fn line_end(&mut self) -> Result<(), Stop> {
        self.expect(b'\r', Error::LINE_END)?;
        self.expect(b'\n', Error::LINE_END)
    }
}
