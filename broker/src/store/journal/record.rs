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
//! <  topic  stream  first  digest [gone]  what stood before `first` was let go; `-` where the
//!                                         digest there stands in a later record; `gone`: of a
//!                                         copy, at its home, too
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

use crate::store::{Bounds, Publisher, Sequence, StreamId};
use common::bytes;
use std::str::FromStr;
use std::{fmt, str};

/// What happened to the list of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// No name where it is about no topic.
    pub(crate) topic: &'a str,
    /// The id of the topic's list; [`StreamId::NONE`] where it is about none.
    pub(crate) stream: StreamId,
    pub(crate) event: Event<'a>,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// The topic was created; its list is empty.
    Create,
    /// A copy of a topic was begun that another broker is the home of; its list is empty.
    Mirror,
    /// Messages were appended: `count` of them, the first at offset `first`, at a time in Unix
    /// milliseconds. A publisher's number is that of the first message.
    Append {
        first: u64,
        count: u64,
        time: u64,
        publisher: Option<Publisher<'a>>,
        /// The messages, each with the line break that ends it.
        lines: &'a str,
    },
    /// The topic was deleted with all its messages, and the lasting subscriptions to it ended.
    Delete,
    /// The list goes on under this id: it may not be what was read of it under the old one. Where
    /// it is this broker's own from now on, it was a copy of another broker's.
    NewStream { new: StreamId, own: bool },
    /// What stood before `first` was let go; where that is past the end, the list goes on there,
    /// and where it is not above the present one, nothing changes. The digest there; `None` where
    /// a later record has that of its own offset.
    /// Of a copy, `gone` says that its home has let go of that as well.
    Trim { first: u64, digest: Option<u32>, gone: bool },
    /// The topic has these bounds of its own now.
    Bounds(Bounds),
    /// What comes next of a publisher whose messages were let go, and when it last published.
    Sequence { publisher: &'a str, next: Sequence, time: u64 },
    /// A lasting subscription began, or went on: `next` is the first offset that was not
    /// acknowledged. The subscriber was last connected at `seen`; 0 where that is not known.
    Position { subscriber: &'a str, next: u64, seen: u64 },
    /// A lasting subscription ended.
    End { subscriber: &'a str },
    /// The segment is closed.
    Close,
}

impl<'a> Record<'a> {
    /// The last record of a segment.
    pub(super) const CLOSE: Record<'static> = Record::new("", StreamId::NONE, Event::Close);

    /// What happened to the list of a topic.
    pub(crate) const fn new(topic: &'a str, stream: StreamId, event: Event<'a>) -> Record<'a> {
        Record { topic, stream, event }
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

/// The record of format 2 that these bytes begin with, without its messages, and the bytes that it
/// takes.
pub(super) fn outline(bytes: &[u8]) -> Option<(Record<'_>, u64)> {
    let head = bytes.split_inclusive(|byte| *byte == b'\n').next()?.strip_suffix(b"\n")?;
    let (record, size) = parse_head(str::from_utf8(head).ok()?, Format::Two)?;
    Some((record, (head.len() + 1).checked_add(size)? as u64))
}

/// The record with this first line; what follows the record. In format 1 the stream and the offset
/// of an append are still to be filled in.
fn parse<'a>(head: &'a str, body: &'a str, format: Format) -> Option<(Record<'a>, &'a str)> {
    let (mut record, size) = parse_head(head, format)?;
    let (text, rest) = body.split_at_checked(size)?;
    if let Event::Append { count, lines, .. } = &mut record.event {
        if !(text.is_empty() || text.ends_with('\n')) {
            return None;
        }
        *count = bytes::count(text.as_bytes(), |byte| byte == b'\n') as u64;
        *lines = text;
    }
    Some((record, rest))
}

/// The record with this first line, without messages; the bytes of those.
fn parse_head(head: &str, format: Format) -> Option<(Record<'_>, usize)> {
    let mut fields = head.split('\t');
    let it = &mut fields;
    let mut size = 0;
    let kind = it.next()?;
    let is_old = format == Format::One;
    let subscriber = if matches!(kind, "@" | "!") { it.next()? } else { "" };
    let topic = if kind == "." { "" } else { it.next()? };
    let has_stream = !matches!((kind, is_old), ("." | "!", _) | ("+", true));
    let stream = if has_stream { field(it)? } else { StreamId::NONE };
    let event = match kind {
        "+" => {
            let first = if is_old { 0 } else { field(it)? };
            size = field(it)?;
            let time = field(it)?;
            let publisher = match it.next() {
                Some(name) => Some(Publisher { name, sequence: sequence(it)? }),
                None => None,
            };
            Event::Append { first, count: 0, time, publisher, lines: "" }
        }
        "*" => Event::Create,
        "=" => Event::Mirror,
        "-" => Event::Delete,
        "@" => {
            let next = field(it)?;
            let seen = it.next().map_or(Some(0), |seen| seen.parse().ok())?;
            Event::Position { subscriber, next, seen }
        }
        "!" => Event::End { subscriber },
        "." => Event::Close,
        _ if is_old => return None,
        "~" => {
            let new = field(it)?;
            Event::NewStream { new, own: word(it, "own")? }
        }
        "<" => {
            let first = field(it)?;
            let digest = match it.next()? {
                "-" => None,
                digits => Some(u32::from_str_radix(digits, 16).ok()?),
            };
            Event::Trim { first, digest, gone: word(it, "gone")? }
        }
        ":" => Event::Bounds(Bounds { messages: field(it)?, bytes: field(it)?, age: field(it)? }),
        "#" => {
            let publisher = it.next()?;
            let next = Sequence { epoch: field(it)?, sequence: field(it)? };
            Event::Sequence { publisher, next, time: field(it)? }
        }
        _ => return None,
    };
    fields.next().is_none().then_some((Record::new(topic, stream, event), size))
}

fn field<'a, T: FromStr>(fields: &mut impl Iterator<Item = &'a str>) -> Option<T> {
    fields.next()?.parse().ok()
}

/// Whether there is one more field, which has to be this word; `None` where it is another.
fn word<'a>(fields: &mut impl Iterator<Item = &'a str>, word: &str) -> Option<bool> {
    fields.next().map_or(Some(false), |field| (field == word).then_some(true))
}

/// The number of a publish, if there are more fields; `None` where they are not a number.
fn sequence<'a>(fields: &mut impl Iterator<Item = &'a str>) -> Option<Option<Sequence>> {
    let Some(epoch) = fields.next() else { return Some(None) };
    Some(Some(Sequence { epoch: epoch.parse().ok()?, sequence: field(fields)? }))
}

/// The first line of a record, but for an append, whose size has to be known first.
impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { topic, stream, event } = self;
        match event {
            Event::Create => write!(f, "*\t{topic}\t{stream}"),
            Event::Mirror => write!(f, "=\t{topic}\t{stream}"),
            Event::Append { .. } => write!(f, "+\t{topic}\t{stream}\t"),
            Event::Delete => write!(f, "-\t{topic}\t{stream}"),
            Event::NewStream { new, own } => {
                write!(f, "~\t{topic}\t{stream}\t{new}{}", if *own { "\town" } else { "" })
            }
            Event::Trim { first, digest, gone } => {
                let digest = digest.map_or("-".to_owned(), |digest| format!("{digest:08x}"));
                let gone = if *gone { "\tgone" } else { "" };
                write!(f, "<\t{topic}\t{stream}\t{first}\t{digest}{gone}")
            }
            Event::Bounds(bounds) => write!(f, ":\t{topic}\t{stream}\t{bounds}"),
            Event::Sequence { publisher, next: Sequence { epoch, sequence }, time } => {
                write!(f, "#\t{topic}\t{stream}\t{publisher}\t{epoch}\t{sequence}\t{time}")
            }
            Event::Position { subscriber, next, seen } => {
                write!(f, "@\t{subscriber}\t{topic}\t{stream}\t{next}\t{seen}")
            }
            Event::End { subscriber } => write!(f, "!\t{subscriber}\t{topic}"),
            Event::Close => f.write_str("."),
        }
    }
}
