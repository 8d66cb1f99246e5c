//! Reading a part of a list that no mirror here holds.
//!
//! Any server of the stream answers, also where most are gone. One that is behind may not know of
//! the newest messages: then it is asked again, as long as the leader knows of them.

use super::Attempt;
use super::api::{several, written};
use super::failure::unanswered;
use super::stored::entry_of;
use crate::push::{Piece, Wanted};
use crate::refusal::{Refusal, Result};
use crate::store::Begin;
use std::time::Duration;

/// Before a server is asked again that is behind.
const PAUSE: Duration = Duration::from_millis(20);

impl Attempt<'_> {
    /// What is wanted of a list, but for a digest, which nobody knows.
    pub(super) fn read_piece(&self, wanted: Wanted<'_>) -> Result<Piece> {
        let Wanted { topic, stream: list, begin, size_max } = wanted;
        // What stands at an offset is the same on every server, and needs no leader. The last
        // offset has no sequence, which would be one more.
        if let Begin::Offset(from) = begin
            && (self.kept(list).first..u64::MAX).contains(&from)
            && size_max > 0
            && let Some(piece) = self.read_from(wanted, from, from)?
        {
            return Ok(piece);
        }
        loop {
            // The leader knows all that was acknowledged.
            let Some(info) = self.info(list)? else {
                return Err(match self.find(topic)? {
                    Some(same) if same == list => unanswered("the stream has no leader"),
                    _ => Refusal::OtherStream,
                });
            };
            let (first, next) = (info.first.max(self.kept(list).first), info.next);
            let from = match begin {
                Begin::First | Begin::Since(_) => first,
                Begin::Now => next,
                Begin::Last(count) => next.saturating_sub(count).max(first),
                Begin::Offset(from) if from < first => {
                    return Err(Refusal::Trimmed { first, next });
                }
                Begin::Offset(from) if from > next => {
                    // Who is told this may begin anew: it has to be true.
                    self.vouch(list)?;
                    match self.info(list)? {
                        Some(info) if info.next < from => {
                            return Err(Refusal::PastEnd { from, next: info.next });
                        }
                        _ => continue,
                    }
                }
                Begin::Offset(from) => from,
            };
            if from == next || size_max == 0 {
                return Ok(Piece::empty(from));
            }
            match self.read_from(wanted, first, from)? {
                Some(piece) => return Ok(piece),
                // Nothing was published so late.
                None if matches!(begin, Begin::Since(_)) => return Ok(Piece::empty(next)),
                None => self.pause(PAUSE, "the server is behind")?,
            }
        }
    }

    /// What a server has of it, from an offset on or from a time on. Before `first` is only what is
    /// hidden. Nothing where the server does not have it, perhaps not yet.
    fn read_from(
        &self,
        Wanted { stream: list, begin, size_max, .. }: Wanted<'_>,
        first: u64,
        from: u64,
    ) -> Result<Option<Piece>> {
        let query = several(size_max as u64, |object| match begin {
            Begin::Since(time) => object.field("start_time", written(time)),
            _ => object.field("seq", from + 1),
        });
        let (messages, _) = self.collect(&self.names.stream(list), &query)?;
        let mut piece: Option<Piece> = None;
        for message in messages {
            let Some(offset) = message.offset().filter(|offset| *offset >= first) else { continue };
            let begins = offset == from || matches!(begin, Begin::Since(_));
            let entries = match &mut piece {
                None if begins => &mut piece.insert(Piece::empty(offset)).entries,
                Some(it) if offset == it.first + it.entries.len() as u64 => &mut it.entries,
                // What lies between was let go meanwhile, or is missing.
                _ => break,
            };
            let entry = entry_of(&message).map_err(|text| Refusal::Home { status: 502, text });
            entries.push(entry?);
        }
        Ok(piece)
    }
}
