//! What readers copy of entries, in pieces that may begin and end inside a message.

use crate::store::{Place, entry};

/// What is copied of entries: a part of each, to the offset `end`, or about `size_max` bytes.
#[derive(Clone, Copy)]
pub(crate) struct Extract {
    end: u64,
    size_max: usize,
    part: fn(&str) -> &str,
}

impl Extract {
    /// Whole entries.
    pub(crate) fn entries(end: u64, size_max: usize) -> Extract {
        Extract { end, size_max, part: |entry| entry }
    }

    /// Their messages.
    pub(crate) fn messages(end: u64, size_max: usize) -> Extract {
        Extract { end, size_max, part: entry::message }
    }

    /// Copies parts of entries from a place on, of which the first is the one there, each with a
    /// line break after it, as long as no more bytes come together than there may be. A message
    /// that is larger than that alone is cut. Gives the place behind what was copied.
    pub(crate) fn copy(self, entries: &[String], from: Place, out: &mut Vec<u8>) -> Place {
        let Extract { end, size_max, part } = self;
        let (mut place, mut room) = (from, size_max);
        let count = usize::try_from(end.saturating_sub(from.cursor.next)).unwrap_or(usize::MAX);
        for entry in entries.iter().take(count) {
            let text = part(entry).get(place.inside..).unwrap_or_default();
            if text.len() >= room && room < size_max {
                break;
            }
            if text.len() > room {
                let message = entry::message(entry).len().saturating_sub(place.inside);
                if message > room {
                    let cut = entry::boundary(text, room).min(message);
                    out.extend_from_slice(text.get(..cut).unwrap_or_default().as_bytes());
                    place.inside += cut;
                    break;
                }
            }
            out.extend_from_slice(text.as_bytes());
            out.push(b'\n');
            room = room.saturating_sub(text.len() + 1);
            place.cursor.next += 1;
            place.inside = 0;
        }
        place
    }
}
