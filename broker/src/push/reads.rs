//! Reads what somebody asked for: here, or at the topic's home where a mirror does not hold it.

use crate::push::{Encoder, Format, OtherCursors, Push, Wanted};
use crate::refusal::{Refusal, Result};
use crate::store::{Begin, Cursor, Extract, Place, StreamId};
use common::limits::{ENCODED_SIZE, PIECE_SIZE};

/// What is left of the messages from one offset to another, which are read piece by piece.
pub(crate) struct Range<'a> {
    push: &'a Push,
    topic: &'a str,
    place: Place,
    end: u64,
    format: Option<Format>,
    text: Vec<u8>,
}

impl<'a> Range<'a> {
    /// The messages from `begin` to the offset `end`; without a format each as it is, on a line.
    pub(crate) fn new(
        push: &'a Push,
        topic: &'a str,
        begin: Cursor,
        end: u64,
        format: Option<Format>,
    ) -> Range<'a> {
        let place = Place::before(begin);
        Range { push, topic, place, end, format, text: Vec::new() }
    }

    /// Whether all of it was read.
    pub(crate) fn is_read(&self) -> bool {
        self.place.cursor.next >= self.end
    }

    /// Where it goes on.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// Writes the next piece, if there is one.
    ///
    /// # Errors
    ///
    /// As [`Push::copy`]: what was to come is not there any more.
    pub(crate) fn read(&mut self, out: &mut Vec<u8>) -> Result<()> {
        if self.is_read() {
            return Ok(());
        }
        let Range { push, topic, place, end, format, text } = self;
        let Some(format) = format else {
            *place = push.copy(topic, *place, Extract::messages(*end, PIECE_SIZE), out)?;
            return Ok(());
        };
        text.clear();
        // Where they are sent, nobody knows how soon: half as much, for all that is on its way.
        let size = ENCODED_SIZE / 2;
        push.copy(topic, *place, Extract::entries(*end, size), text)?;
        // Characters were copied whole.
        let text = std::str::from_utf8(text).unwrap_or_default();
        let others = OtherCursors::default();
        let encoder = Encoder { format: *format, topic, others: &others };
        *place = encoder.encode(text, *place, size, out);
        Ok(())
    }
}

/// Reads that go to the home of a topic where a mirror does not hold what is asked for. They may
/// take as long as that does to answer.
impl Push {
    /// Where a reader begins who asks for `begin` and means `stream`: as [`Topics::begin`]. What is
    /// read there first can be had.
    ///
    /// # Errors
    ///
    /// [`Refusal::OtherStream`], [`Refusal::PastEnd`], [`Refusal::Trimmed`], or why the home cannot
    /// be asked.
    pub(crate) fn begin(
        &self,
        topic: &str,
        begin: Begin,
        stream: Option<StreamId>,
    ) -> Result<Cursor> {
        let here = match self.topics.begin(topic, begin, stream) {
            // A mirror may be behind, and the reader come from another broker.
            Err(Refusal::PastEnd { .. }) if self.topics.is_mirror(topic) => Err(Refusal::NotHere),
            here => here,
        };
        let cursor = here_or(here, || {
            let stream = self.topics.end(topic).stream;
            let wanted = Wanted { topic, stream, begin, size_max: 1 };
            Ok(Cursor { stream, next: self.pieces.source()?.read(wanted)?.first })
        })?;
        let Cursor { stream, next } = cursor;
        let here = self.topics.read(topic, stream, |view| view.text_size(next, next));
        if let Err(Refusal::NotHere) = here {
            // A piece that is kept is not all that is going to be read.
            self.pieces.source()?.reach(topic)?;
            self.pieces.fetch(topic, cursor)?;
        }
        Ok(cursor)
    }

    /// Where a reader begins who asks for `from`. With an offset and the digest of the messages
    /// that it has read before: whatever list it read them from, one that begins with the same
    /// messages is the right one. `is_read` says that something is going to be read there.
    ///
    /// # Errors
    ///
    /// [`Refusal::OtherDigest`], and as [`Push::begin`].
    pub(crate) fn resume(
        &self,
        topic: &str,
        from: Begin,
        digest: Option<u32>,
        stream: Option<StreamId>,
        is_read: bool,
    ) -> Result<Cursor> {
        let (from, digest) = match (from, digest) {
            (Begin::Offset(from), Some(digest)) => (from, digest),
            _ if is_read => return self.begin(topic, from, stream),
            _ => return self.topics.begin(topic, from, stream),
        };
        if from > self.topics.end(topic).next {
            self.begin(topic, Begin::Offset(from), None)?;
        }
        let end = self.topics.end(topic);
        match self.digest(topic, Cursor { next: from, ..end })? {
            Some(own) if own == digest => self.begin(topic, Begin::Offset(from), None),
            Some(_) => Err(Refusal::OtherDigest),
            // Nobody can compare: the id has to do.
            None => self.begin(topic, Begin::Offset(from), stream),
        }
    }

    /// The offset behind the messages from the cursor on that have at least so many bytes of text
    /// together, or behind fewer where a mirror does not hold them.
    ///
    /// # Errors
    ///
    /// As [`Push::begin`].
    pub(crate) fn after_text(&self, topic: &str, from: Cursor, size: u64) -> Result<u64> {
        let here = self.topics.read(topic, from.stream, |view| view.after_text(from.next, size));
        here_or(here, || {
            let piece = self.pieces.fetch(topic, from)?;
            Ok(piece.first + piece.entries.len() as u64)
        })
    }

    /// Copies parts of entries, as [`Topics::copy`].
    ///
    /// # Errors
    ///
    /// As [`Push::begin`].
    pub(crate) fn copy(
        &self,
        topic: &str,
        from: Place,
        extract: Extract,
        out: &mut Vec<u8>,
    ) -> Result<Place> {
        here_or(self.topics.copy(topic, from, extract, out).map(|(place, _)| place), || {
            Ok(self.pieces.fetch(topic, from.cursor)?.copy(from, extract, out))
        })
    }

    /// The digest of the messages before a cursor, where anybody knows it.
    ///
    /// # Errors
    ///
    /// As [`Push::begin`].
    pub(crate) fn digest(&self, topic: &str, at: Cursor) -> Result<Option<u32>> {
        here_or(self.topics.digest(topic, at.stream, at.next), || {
            let begin = Begin::Offset(at.next);
            let wanted = Wanted { topic, stream: at.stream, begin, size_max: 0 };
            Ok(self.pieces.source()?.read(wanted)?.digest)
        })
    }
}

/// What is found here; from the home where a mirror does not hold it.
fn here_or<T>(here: Result<T>, there: impl FnOnce() -> Result<T>) -> Result<T> {
    match here {
        Err(Refusal::NotHere) => there(),
        here => here,
    }
}
