//! The id of a list, and where a reader of it begins.

pub(crate) use common::stream::{Cursor, StreamId};

/// What there is of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The first offset that is still there.
    pub(crate) first: u64,
    pub(crate) end: Cursor,
}

/// A place in a topic's text: before a message, or inside one that is sent in pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) cursor: Cursor,
    /// Bytes of the message at the cursor that were passed.
    pub(crate) inside: usize,
}

impl Place {
    /// Before a message.
    pub(crate) fn before(cursor: Cursor) -> Place {
        Place { cursor, inside: 0 }
    }
}

/// Where a reader asks to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// At the first message that is still there.
    First,
    /// After the last.
    Now,
    /// At this offset.
    Offset(u64),
    /// At the last so many messages.
    Last(u64),
    /// At the first message of this time or later, in Unix milliseconds.
    Since(u64),
}
