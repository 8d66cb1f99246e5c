//! Stream ids: which list an offset belongs to.

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
