//! Reading a part of a list that no mirror here holds.
//!
//! Any server of the stream answers. One that is behind may not know of the newest messages: then
//! it is asked again, as long as the leader knows of them.

use super::api::{object, unanswered};
use super::follow::entry_of;
use super::{NatsHome, wire};
use crate::push::pieces::{Piece, Wanted};
use crate::refusal::Refusal;
use crate::store::stream::Begin;
use common::clock;
use common::json::Object;
use std::thread;
use std::time::{Duration, Instant};

/// How many messages are asked for at once.
const READ_COUNT: u64 = 1000;

/// Before a server is asked again that is behind.
const PAUSE: Duration = Duration::from_millis(20);

impl NatsHome {
    /// What is wanted of a list, but for a digest, which nobody knows.
    pub(super) fn read_piece(
        &self,
        wanted: Wanted<'_>,
        deadline: Instant,
    ) -> Result<Piece, Refusal> {
        let Wanted { topic, stream: list, begin, size_max } = wanted;
        let subject = format!("$JS.API.DIRECT.GET.{}", self.names.stream(list));
        loop {
            // The leader knows all that was acknowledged.
            let Some(info) = self.info(list, deadline)? else {
                return Err(match self.find(topic, deadline)? {
                    Some(same) if same == list => unanswered("the stream has no leader"),
                    _ => Refusal::OtherStream,
                });
            };
            let (first, next) = (info.first, info.next);
            let from = match begin {
                Begin::First | Begin::Since(_) => first,
                Begin::Now => next,
                Begin::Last(count) => next.saturating_sub(count).max(first),
                Begin::Offset(from) if from < first => {
                    return Err(Refusal::Trimmed { first, next });
                }
                Begin::Offset(from) if from > next => return Err(Refusal::PastEnd { from, next }),
                Begin::Offset(from) => from,
            };
            let body = object(|object| {
                begin_at(object, begin, from);
                object.field("batch", READ_COUNT).field("max_bytes", size_max as u64);
            });
            if from == next || size_max == 0 {
                return Ok(Piece::empty(from));
            }
            let live = self.requests.live(deadline).map_err(|it| unanswered(&it.reason))?;
            let answers = live.collect(deadline, |reply, out| {
                wire::publish(out, &subject, Some(reply), "", &body);
            });
            let mut piece: Option<Piece> = None;
            for message in answers.map_err(|lost| unanswered(&lost.0))? {
                let Some(offset) = message.number("Nats-Sequence").and_then(|it| it.checked_sub(1))
                else {
                    continue;
                };
                let entries = match &mut piece {
                    None if offset == from || matches!(begin, Begin::Since(_)) => {
                        &mut piece.insert(Piece::empty(offset)).entries
                    }
                    Some(piece) if offset == piece.first + piece.entries.len() as u64 => {
                        &mut piece.entries
                    }
                    // What lies between was let go meanwhile, or is missing.
                    _ => break,
                };
                let stored = entry_of(&message);
                entries.push(stored.map_err(|refusal| Refusal::Home {
                    status: 502,
                    text: format!("sequence {} of its stream: {refusal}", offset + 1),
                })?);
            }
            match piece {
                Some(piece) => return Ok(piece),
                // Nothing was published so late.
                None if matches!(begin, Begin::Since(_)) => {
                    return Ok(Piece::empty(next));
                }
                None if Instant::now() + PAUSE >= deadline => {
                    return Err(unanswered("the server is behind"));
                }
                None => thread::sleep(PAUSE),
            }
        }
    }
}

/// Where the first message is: at an offset, or at a time.
fn begin_at(object: &mut Object<'_>, begin: Begin, from: u64) {
    match begin {
        Begin::Since(time) => {
            let (date, milliseconds) = (clock::plain_date(time), time % 1000);
            let date = date.replace(' ', "T");
            object.field("start_time", format!("{date}.{milliseconds:03}Z"));
        }
        _ => {
            object.field("seq", from + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_the_servers_read_it() {
        let body = object(|object| begin_at(object, Begin::Since(784_111_777_042), 0));
        assert_eq!(body, b"{\"start_time\":\"1994-11-06T08:49:37.042Z\"}");
        let body = object(|object| begin_at(object, Begin::First, 6));
        assert_eq!(body, b"{\"seq\":7}");
    }
}
