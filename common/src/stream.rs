//! The id of a list, and a cursor in it.

use crate::bytes;
use crate::json::{Charset, Json};
use crate::random::random;
use crate::units::whole_number;
use std::fmt;
use std::str::FromStr;

/// The id of a list: 64 random bits that it is given when it is created, written as 16 hexadecimal
/// digits.
///
/// A topic that was deleted and created again has another; so has one of a broker that keeps
/// nothing on disk and was restarted. The default is [`StreamId::NONE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct StreamId(u64);

impl StreamId {
    /// The id of a topic that does not exist yet. A cursor with this id and offset 0 fits any list,
    /// because nothing was read before it.
    pub const NONE: StreamId = StreamId(0);

    /// An id that no other list has.
    pub fn random() -> StreamId {
        StreamId(random().max(1))
    }
}

impl Json for StreamId {
    fn write(&self, out: &mut Vec<u8>, _: Charset) {
        out.push(b'"');
        bytes::write_hexadecimal(out, self.0);
        out.push(b'"');
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A text is not a stream id, or not a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotOne;

impl FromStr for StreamId {
    type Err = NotOne;

    fn from_str(text: &str) -> Result<StreamId, NotOne> {
        match u64::from_str_radix(text, 16) {
            Ok(bits) if text.len() == 16 && !text.starts_with('+') => Ok(StreamId(bits)),
            _ => Err(NotOne),
        }
    }
}

/// A place in a topic: the next offset to read, and the list that it belongs to. As text it is
/// `next@stream`.
///
/// ```
/// use common::stream::Cursor;
///
/// let kept = "17@00c0ffee00c0ffee";
/// let cursor: Cursor = kept.parse().unwrap();
/// assert_eq!((cursor.next, cursor.to_string().as_str()), (17, kept));
/// ```
///
/// The default is the start of a topic that does not exist yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    /// The list.
    pub stream: StreamId,
    /// The offset of the next message to read.
    pub next: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.next, self.stream)
    }
}

impl FromStr for Cursor {
    type Err = NotOne;

    fn from_str(text: &str) -> Result<Cursor, NotOne> {
        let (next, stream) = text.split_once('@').ok_or(NotOne)?;
        Ok(Cursor { next: whole_number(next).map_err(|_| NotOne)?, stream: stream.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_id_is_16_hexadecimal_digits() {
        let stream = StreamId::random();
        let mut written = Vec::new();
        stream.write(&mut written, Charset::Ascii);
        assert_eq!(String::from_utf8(written).unwrap(), format!("\"{stream}\""));
        assert_ne!(stream, StreamId::random());
        assert_eq!(StreamId::NONE.to_string(), "0000000000000000");
        for text in ["0000000000000000", "00c0ffee00c0ffee", "ffffffffffffffff"] {
            assert_eq!(text.parse::<StreamId>().unwrap().to_string(), text);
        }
        for bad in ["", "+000000000000001", "12", "00000000000000000", "000000000000000g"] {
            assert_eq!(bad.parse::<StreamId>(), Err(NotOne), "{bad}");
        }
    }

    #[test]
    fn a_place_is_an_offset_in_a_stream() {
        for bad in ["", "1", "@0000000000000000", "-1@0000000000000000", "1@", "1@2@3"] {
            assert_eq!(bad.parse::<Cursor>(), Err(NotOne), "{bad}");
        }
    }
}
