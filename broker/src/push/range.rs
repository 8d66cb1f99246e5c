//! Messages of a topic that somebody asked for: from one offset to another, piece by piece.

use crate::push::Push;
use crate::push::format::{Encoder, Format, OtherCursors};
use crate::refusal::Refusal;
use crate::store::stream::{Cursor, Place};
use crate::store::view::Extract;
use common::limits::{ENCODED_SIZE, PIECE_SIZE};

/// What is left of a range.
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
    pub(crate) fn read(&mut self, out: &mut Vec<u8>) -> Result<(), Refusal> {
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
