//! Stream ids and cursors: which list an offset belongs to, and a place in it.

use crate::refusal::Refusal;
use common::digits;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;

/// 64 random bits that a list is given when it is created, written as 16 hexadecimal digits.
///
/// A topic that was deleted and made again has another; so has one of a broker that keeps
/// nothing on disk and was restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct StreamId(u64);

impl StreamId {
    /// The id of a topic that is not there yet. A cursor with this id stands at offset 0, and is
    /// right for any list: nothing was read from another.
    pub(crate) const NONE: StreamId = StreamId(0);

    /// Writes the id as `Display` does.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        digits::write_hexadecimal(out, self.0);
    }

    /// An id that no other list has.
    pub(crate) fn random() -> StreamId {
        // The standard library's own source of randomness: keys drawn by the system.
        StreamId(RandomState::new().hash_one(std::time::Instant::now()).max(1))
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for StreamId {
    type Err = ();

    fn from_str(text: &str) -> Result<StreamId, ()> {
        let hexadecimal = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !hexadecimal {
            return Err(());
        }
        u64::from_str_radix(text, 16).map(StreamId).map_err(|_| ())
    }
}

/// A place in a topic: the next offset to read, and the list that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) stream: StreamId,
    pub(crate) next: u64,
}

impl Cursor {
    /// Where a reader begins who asks for `from`, given that the topic ends at `self` and that
    /// the reader means `stream`, where it says so.
    ///
    /// # Errors
    ///
    /// [`Refusal::OtherStream`], [`Refusal::PastEnd`].
    pub(crate) fn begin(self, from: u64, stream: Option<StreamId>) -> Result<Cursor, Refusal> {
        // Whoever has read nothing, from a topic that was not there, has not read another list.
        let nothing_read = stream == Some(StreamId::NONE) && from == 0;
        if stream.is_some_and(|stream| stream != self.stream) && !nothing_read {
            return Err(Refusal::OtherStream);
        }
        if from > self.next {
            return Err(Refusal::PastEnd { from, next: self.next });
        }
        Ok(Cursor { next: from, ..self })
    }
}

impl fmt::Display for Cursor {
    /// `next@stream`, as the ids of an event stream have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.next, self.stream)
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Cursor, ()> {
        let (next, stream) = text.split_once('@').ok_or(())?;
        if !next.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(());
        }
        Ok(Cursor { next: next.parse().map_err(|_| ())?, stream: stream.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_and_read_back() {
        let stream = StreamId::random();
        assert_eq!(stream.to_string().parse(), Ok(stream));
        assert_ne!(stream, StreamId::random());
        assert_eq!(StreamId::NONE.to_string(), "0000000000000000");
        for bad in ["", "+000000000000001", "12", "00000000000000000"] {
            assert_eq!(bad.parse::<StreamId>(), Err(()));
        }
    }
}
