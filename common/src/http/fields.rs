//! Header fields (RFC 9112 §5): reads them line by line, finds them by name.
//!
//! These are errors: a folded line, a line without a colon, white space before the colon, a control
//! byte, and a section that exceeds one of its three limits.

use super::error::{Error, refuse_if};
use super::scan::{Scanner, Stop, TEXT, TOKEN};
use crate::limits::{HEADERS_MAX, HEADERS_SIZE_MAX};
use std::str;

/// The header fields of a message, in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    /// Every name, as it was written, and its value.
    pub(super) lines: Vec<(&'a [u8], &'a [u8])>,
    /// A bit for the length of each name, up to 63: most names that are looked for are not there,
    /// and this says so at once.
    lengths: u64,
}

impl<'a> Fields<'a> {
    /// The value of the first field of this name (in any case), without the white space around
    /// it; `None` also where it is not UTF-8.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.all(name).next().and_then(|value| str::from_utf8(value).ok())
    }

    /// The values of all fields of this name (in any case), without the white space around them.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let is_named = move |field: &&(&[u8], &[u8])| field.0.eq_ignore_ascii_case(name.as_bytes());
        let may_be_there = self.lengths & length_bit(name.as_bytes()) != 0;
        let lines = if may_be_there { self.lines.as_slice() } else { &[] };
        lines.iter().filter(is_named).map(|&(_, value)| value)
    }

    /// The comma-separated members of all fields of this name, without the white space around
    /// them; some may be empty.
    pub fn members(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.all(name).flat_map(|value| value.split(|&byte| byte == b',')).map(<[u8]>::trim_ascii)
    }

    /// The value of a field that a message may have once, and that must be text.
    pub(super) fn only(&self, name: &'static str) -> Result<Option<&'a str>, Error> {
        let mut values = self.all(name);
        let first = values.next();
        refuse_if(values.next().is_some(), Error::Repeated(name))?;
        first.map(|value| str::from_utf8(value).map_err(|_| Error::FIELD_VALUE)).transpose()
    }

    /// Reads all lines up to and with the empty one that ends the section.
    pub(super) fn read(scanner: &mut Scanner<'a>) -> Result<Fields<'a>, Stop> {
        // Enough for most clients, so that the list is allocated once.
        let (mut lines, mut lengths) = (Vec::with_capacity(8), 0);
        let mut size_left = HEADERS_SIZE_MAX;
        while scanner.peek()? != b'\r' {
            refuse_if(lines.len() == HEADERS_MAX, Error::TOO_MANY_FIELDS)?;
            let before = scanner.rest().len();
            let line = read_line(scanner, size_left.saturating_sub(2))?;
            lengths |= length_bit(line.0);
            lines.push(line);
            size_left = size_left.saturating_sub(before - scanner.rest().len());
        }
        scanner.line_end()?;
        Ok(Fields { lines, lengths })
    }
}

/// The bit of [`Fields::lengths`] that stands for this name.
fn length_bit(name: &[u8]) -> u64 {
    1 << name.len().min(63)
}

/// Reads `name: value` and its line end; `size_left` is what the section has left for it.
fn read_line<'a>(
    scanner: &mut Scanner<'a>,
    size_left: usize,
) -> Result<(&'a [u8], &'a [u8]), Stop> {
    let too_large = Error::FIELDS_TOO_LARGE;
    let name = scanner.take(TOKEN, size_left.saturating_sub(1), too_large)?;
    refuse_if(name.is_empty(), Error::FIELD_NAME)?;
    scanner.expect(b':', Error::FIELD_NAME)?;
    let value = scanner.take(TEXT, size_left.saturating_sub(name.len() + 1), too_large)?;
    refuse_if(!matches!(scanner.peek()?, b'\r' | b'\n'), Error::FIELD_VALUE)?;
    scanner.line_end()?;
    // Of the bytes that trim_ascii removes, a value can only hold the two that are white space
    // in HTTP: SP and HTAB.
    Ok((name, value.trim_ascii()))
}
