//! Records: what a frame's payload says, as lines of text.
//!
//! Each record begins with a line of fields with a tab between them; `+` is followed by messages,
//! each ended by a line break, in so many bytes as its head says:
//!
//! ```text
//! *  topic  stream                        the topic was created
//! =  topic  stream                        a copy of another broker's topic began
//! +  topic  stream  first  bytes  time [publisher [epoch  sequence]]
//!                                         messages were appended, the first at offset `first`
//! -  topic  stream                        the topic was deleted, and subscriptions to it ended
//! ~  topic  stream  new [own]             the list goes on under another id; `own`: no longer as a
//!                                         copy of another broker's
//! <  topic  stream  first  digest         what stood before `first` was let go; `-` where the
//!                                         digest there stands in a later record
//! :  topic  stream  count  bytes  milliseconds
//!                                         the topic's own bounds: each `-`, `none` or a number
//! #  topic  stream  publisher  epoch  next  time
//!                                         the numbers of a publisher whose messages were let go
//! @  subscriber  topic  stream  next [seen]
//!                                         all before `next` was acknowledged
//! !  subscriber  topic                    the lasting subscription ended
//! .                                       the segment is closed: nothing follows in it
//! ```
//!
//! Names hold no control character, and messages no line break and no NUL, so nothing is escaped
//! and `grep -a` finds any message. A number stands in the same record as its message: the two
//! cannot part.
//!
//! A journal of format 1 knew `*`, `=`, `+`, `-`, `@` and `!`, and its `+` had neither `stream`
//! nor `first`: they followed from the records before it.

use crate::store::batch::{Publisher, Sequence};
use crate::store::retention::Bounds;
use crate::store::stream::StreamId;
use std::fmt;
use std::str::FromStr;

/// One record, in the order in which things happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    /// A topic was created; its list is empty.
    Create {
        /// The topic.
        topic: &'a str,
        /// The id of its list.
        stream: StreamId,
    },
    /// A copy of a topic was begun that another broker is the home of; its list is empty.
    Mirror {
        /// The topic.
        topic: &'a str,
        /// The id that its home gave the list.
        stream: StreamId,
    },
    /// Messages were appended to a topic.
    Append {
        /// The topic.
        topic: &'a str,
        /// The id of its list.
        stream: StreamId,
        /// The offset of the first message.
        first: u64,
        /// When, in Unix milliseconds.
        time: u64,
        /// By whom, and the number of the first message, where that was said.
        publisher: Option<Publisher<'a>>,
        /// The messages, in order.
        messages: Messages<'a>,
    },
    /// A topic was deleted with all its messages, and the lasting subscriptions to it ended.
    Delete {
        /// The topic.
        topic: &'a str,
        /// The id of the list that it had.
        stream: StreamId,
    },
    /// A list goes on under another id: it may not be what was read of it under the old one.
    NewStream {
        /// The topic.
        topic: &'a str,
        /// The id that it had.
        stream: StreamId,
        /// The id that it has from now on.
        new: StreamId,
        /// Whether it was a copy of another broker's, and is this one's own from now on.
        own: bool,
    },
    /// What stood before an offset was let go. Where that is past the end, the list goes on there.
    Trim {
        /// The topic.
        topic: &'a str,
        /// The id of its list.
        stream: StreamId,
        /// The first offset that is left; one that is not above the present one changes nothing.
        first: u64,
        /// The digest there; `None` where a later record has that of its own offset.
        digest: Option<u32>,
    },
    /// A topic has bounds of its own.
    Bounds {
        /// The topic.
        topic: &'a str,
        /// The id of its list.
        stream: StreamId,
        /// What they are now.
        bounds: Bounds,
    },
    /// What a publisher has published whose messages were let go.
    Sequence {
        /// The topic.
        topic: &'a str,
        /// The id of its list.
        stream: StreamId,
        /// The publisher.
        publisher: &'a str,
        /// Its epoch.
        epoch: u64,
        /// The sequence that is appended next.
        next: u64,
        /// When it last published, in Unix milliseconds.
        time: u64,
    },
    /// A lasting subscription began, or went on.
    Position {
        /// Whose it is.
        subscriber: &'a str,
        /// What it is to.
        topic: &'a str,
        /// The list that `next` belongs to.
        stream: StreamId,
        /// The first offset that was not acknowledged.
        next: u64,
        /// When the subscriber was last connected, in Unix milliseconds; 0 where that is not known.
        seen: u64,
    },
    /// A lasting subscription ended.
    End {
        /// Whose it was.
        subscriber: &'a str,
        /// What it was to.
        topic: &'a str,
    },
    /// The segment is closed.
    Close,
}

impl<'a> Record<'a> {
    /// The topic, and the id of the list, that it is about.
    pub(super) fn list(&self) -> Option<(&'a str, StreamId)> {
        match *self {
            Record::Create { topic, stream }
            | Record::Mirror { topic, stream }
            | Record::Append { topic, stream, .. }
            | Record::Delete { topic, stream }
            | Record::NewStream { topic, stream, .. }
            | Record::Trim { topic, stream, .. }
            | Record::Bounds { topic, stream, .. }
            | Record::Sequence { topic, stream, .. }
            | Record::Position { topic, stream, .. } => Some((topic, stream)),
            Record::End { .. } | Record::Close => None,
        }
    }
}

/// Messages of one record, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Messages<'a> {
    /// What was not taken yet: each message with the line break that ends it.
    pub(super) lines: &'a str,
}

impl Messages<'_> {
    /// How many are left. In pieces whose count fits a byte, which the compiler makes four times
    /// as fast as a plain sum.
    pub(super) fn count_left(&self) -> u64 {
        let pieces = self.lines.as_bytes().chunks(255);
        let count = |piece: &[u8]| piece.iter().map(|byte| u8::from(*byte == b'\n')).sum::<u8>();
        pieces.map(|piece| u64::from(count(piece))).sum()
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let (message, rest) = self.lines.split_once('\n')?;
        self.lines = rest;
        Some(message)
    }
}

/// How a file says what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// The one file of an older broker.
    One,
    /// A segment.
    Two,
}

/// The records of one payload. Ends early, with [`Self::is_malformed`], where the text is not
/// what this format has; the checksums say that it is what *some* version wrote.
pub(super) struct Records<'a> {
    rest: &'a str,
    format: Format,
}

impl<'a> Records<'a> {
    pub(super) fn new(payload: &'a str, format: Format) -> Records<'a> {
        Records { rest: payload, format }
    }

    /// Whether the last [`Iterator::next`] ended before the text did.
    pub(super) fn is_malformed(&self) -> bool {
        !self.rest.is_empty()
    }
}

impl<'a> Iterator for Records<'a> {
    /// The record, and how many bytes it takes.
    type Item = (Record<'a>, usize);

    fn next(&mut self) -> Option<Self::Item> {
        let (head, body) = self.rest.split_once('\n')?;
        let (record, rest) = parse(head, body, self.format)?;
        let size = self.rest.len() - rest.len();
        self.rest = rest;
        Some((record, size))
    }
}

/// The record with this first line; what follows the record. In format 1 the stream and the offset
/// of an append are still to be filled in.
fn parse<'a>(head: &'a str, body: &'a str, format: Format) -> Option<(Record<'a>, &'a str)> {
    let mut fields = head.split('\t');
    let kind = fields.next()?;
    let it = &mut fields;
    let mut rest = body;
    let record = match kind {
        "+" => {
            let topic = it.next()?;
            let (stream, first) = match format {
                Format::One => (StreamId::NONE, 0),
                Format::Two => (field(it)?, field(it)?),
            };
            let (size, time) = (field(it)?, field(it)?);
            let publisher = match it.next() {
                Some(name) => Some(Publisher { name, sequence: sequence(it)? }),
                None => None,
            };
            let lines;
            (lines, rest) = body.split_at_checked(size)?;
            if !(lines.is_empty() || lines.ends_with('\n')) {
                return None;
            }
            let messages = Messages { lines };
            Record::Append { topic, stream, first, time, publisher, messages }
        }
        "*" => Record::Create { topic: it.next()?, stream: field(it)? },
        "=" => Record::Mirror { topic: it.next()?, stream: field(it)? },
        "-" => Record::Delete { topic: it.next()?, stream: field(it)? },
        "@" => {
            let (subscriber, topic) = (it.next()?, it.next()?);
            let (stream, next) = (field(it)?, field(it)?);
            let seen = it.next().map_or(Some(0), |seen| seen.parse().ok())?;
            Record::Position { subscriber, topic, stream, next, seen }
        }
        "!" => Record::End { subscriber: it.next()?, topic: it.next()? },
        "." => Record::Close,
        _ if format == Format::One => return None,
        "~" => {
            let (topic, stream, new) = (it.next()?, field(it)?, field(it)?);
            let own = it.next().map_or(Some(false), |word| (word == "own").then_some(true))?;
            Record::NewStream { topic, stream, new, own }
        }
        "<" => {
            let (topic, stream, first) = (it.next()?, field(it)?, field(it)?);
            let digest = match it.next()? {
                "-" => None,
                digits => Some(u32::from_str_radix(digits, 16).ok()?),
            };
            Record::Trim { topic, stream, first, digest }
        }
        ":" => {
            let (topic, stream) = (it.next()?, field(it)?);
            let bounds = Bounds { messages: field(it)?, bytes: field(it)?, age: field(it)? };
            Record::Bounds { topic, stream, bounds }
        }
        "#" => {
            let (topic, stream, publisher) = (it.next()?, field(it)?, it.next()?);
            let (epoch, next, time) = (field(it)?, field(it)?, field(it)?);
            Record::Sequence { topic, stream, publisher, epoch, next, time }
        }
        _ => return None,
    };
    fields.next().is_none().then_some((record, rest))
}

fn field<'a, T: FromStr>(fields: &mut impl Iterator<Item = &'a str>) -> Option<T> {
    fields.next()?.parse().ok()
}

/// The number of a publish, if there are more fields; `None` where they are not a number.
fn sequence<'a>(fields: &mut impl Iterator<Item = &'a str>) -> Option<Option<Sequence>> {
    let Some(epoch) = fields.next() else { return Some(None) };
    Some(Some(Sequence { epoch: epoch.parse().ok()?, sequence: field(fields)? }))
}

/// The first line of a record, but for an append, whose size has to be known first.
impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Record::Create { topic, stream } => write!(f, "*\t{topic}\t{stream}"),
            Record::Mirror { topic, stream } => write!(f, "=\t{topic}\t{stream}"),
            Record::Append { topic, stream, .. } => write!(f, "+\t{topic}\t{stream}\t"),
            Record::Delete { topic, stream } => write!(f, "-\t{topic}\t{stream}"),
            Record::NewStream { topic, stream, new, own } => {
                write!(f, "~\t{topic}\t{stream}\t{new}{}", if *own { "\town" } else { "" })
            }
            Record::Trim { topic, stream, first, digest: Some(digest) } => {
                write!(f, "<\t{topic}\t{stream}\t{first}\t{digest:08x}")
            }
            Record::Trim { topic, stream, first, digest: None } => {
                write!(f, "<\t{topic}\t{stream}\t{first}\t-")
            }
            Record::Bounds { topic, stream, bounds } => {
                write!(f, ":\t{topic}\t{stream}\t{bounds}")
            }
            Record::Sequence { topic, stream, publisher, epoch, next, time } => {
                write!(f, "#\t{topic}\t{stream}\t{publisher}\t{epoch}\t{next}\t{time}")
            }
            Record::Position { subscriber, topic, stream, next, seen } => {
                write!(f, "@\t{subscriber}\t{topic}\t{stream}\t{next}\t{seen}")
            }
            Record::End { subscriber, topic } => write!(f, "!\t{subscriber}\t{topic}"),
            Record::Close => f.write_str("."),
        }
    }
}
