//! Which list an offset belongs to, and where a reader of it begins.

use crate::refusal::Refusal;

pub(crate) use common::stream::{Cursor, StreamId};

/// Where a reader begins who asks for `from`, given that the topic ends at `end` and that the
/// reader means `stream`, where it says so.
///
/// # Errors
///
/// [`Refusal::OtherStream`], [`Refusal::PastEnd`].
pub(crate) fn begin(end: Cursor, from: u64, stream: Option<StreamId>) -> Result<Cursor, Refusal> {
    // Whoever has read nothing, from a topic that was not there, has not read another list.
    let nothing_read = stream == Some(StreamId::NONE) && from == 0;
    if stream.is_some_and(|stream| stream != end.stream) && !nothing_read {
        return Err(Refusal::OtherStream);
    }
    if from > end.next {
        return Err(Refusal::PastEnd { from, next: end.next });
    }
    Ok(Cursor { next: from, ..end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_begins_within_the_list_that_it_means() {
        let end = Cursor { stream: StreamId::random(), next: 3 };
        let (own, other, none) = (Some(end.stream), Some(StreamId::random()), StreamId::NONE);
        for stream in [None, own] {
            for from in 0..=3 {
                assert_eq!(begin(end, from, stream).unwrap(), Cursor { next: from, ..end });
            }
            assert!(matches!(begin(end, 4, stream), Err(Refusal::PastEnd { from: 4, next: 3 })));
        }
        assert!(matches!(begin(end, 0, other), Err(Refusal::OtherStream)));
        // Who has waited for a topic that was not there has read nothing of another list.
        assert_eq!(begin(end, 0, Some(none)).unwrap(), Cursor { next: 0, ..end });
        assert!(matches!(begin(end, 1, Some(none)), Err(Refusal::OtherStream)));
    }
}
