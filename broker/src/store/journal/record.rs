//! Records: what a frame's payload says, as lines of text.
//!
//! Each record begins with a line of fields with a tab between them; `+` is followed by messages,
//! each ended by a line break, in so many bytes as its head says:
//!
//! ```text
//! *  topic  stream                                        the topic was created
//! =  topic  stream                                        a copy of another broker's topic began
//! +  topic  bytes  time [publisher [epoch  sequence]]     messages were appended
//! -  topic  stream                                        the topic was deleted
//! @  subscriber  topic  stream  next                      all before `next` was acknowledged
//! !  subscriber  topic                                    the lasting subscription ended
//! ```
//!
//! Names hold no control character, and messages no line break and no NUL, so nothing is escaped
//! and `grep -a` finds any message. A number stands in the same record as its message: the two
//! cannot part.

use crate::store::batch::{Publisher, Sequence};
use crate::store::stream::StreamId;

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
        /// When, in Unix milliseconds.
        time: u64,
        /// By whom, and the number of the first message, where that was said.
        publisher: Option<Publisher<'a>>,
        /// The messages, in order.
        messages: Messages<'a>,
    },
    /// A topic was deleted with all its messages.
    Delete {
        /// The topic.
        topic: &'a str,
        /// The id of the list that it had.
        stream: StreamId,
    },
    /// A lasting subscription began, or went on.
    Acknowledge {
        /// Whose it is.
        subscriber: &'a str,
        /// What it is to.
        topic: &'a str,
        /// The list that `next` belongs to.
        stream: StreamId,
        /// The first offset that was not acknowledged.
        next: u64,
    },
    /// A lasting subscription ended.
    End {
        /// Whose it was.
        subscriber: &'a str,
        /// What it was to.
        topic: &'a str,
    },
}

/// Messages of one record, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Messages<'a> {
    /// What was not taken yet: each message with the line break that ends it.
    lines: &'a str,
}

impl<'a> Iterator for Messages<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let (message, rest) = self.lines.split_once('\n')?;
        self.lines = rest;
        Some(message)
    }
}

/// The records of one payload. Ends early, with [`Self::is_malformed`], where the text is not
/// what this version writes; the checksums say that it is what *some* version wrote.
pub(super) struct Records<'a> {
    rest: &'a str,
}

impl<'a> Records<'a> {
    pub(super) fn new(payload: &'a str) -> Records<'a> {
        Records { rest: payload }
    }

    /// Whether the last [`Iterator::next`] ended before the text did.
    pub(super) fn is_malformed(&self) -> bool {
        !self.rest.is_empty()
    }
}

impl<'a> Iterator for Records<'a> {
    /// The record, and its text.
    type Item = (Record<'a>, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (head, body) = self.rest.split_once('\n')?;
        let (record, rest) = parse(head, body)?;
        let (text, _) = self.rest.split_at_checked(self.rest.len() - rest.len())?;
        self.rest = rest;
        Some((record, text))
    }
}

/// The record with this first line; what follows the record.
fn parse<'a>(head: &'a str, body: &'a str) -> Option<(Record<'a>, &'a str)> {
    let mut fields = head.split('\t');
    let mut rest = body;
    let record = match fields.next()? {
        "+" => {
            let topic = fields.next()?;
            let size = fields.next()?.parse().ok()?;
            let time = fields.next()?.parse().ok()?;
            let publisher = match fields.next() {
                Some(name) => Some(Publisher { name, sequence: parse_sequence(&mut fields)? }),
                None => None,
            };
            let (lines, after) = body.split_at_checked(size)?;
            if !(lines.is_empty() || lines.ends_with('\n')) {
                return None;
            }
            rest = after;
            Record::Append { topic, time, publisher, messages: Messages { lines } }
        }
        "*" => Record::Create { topic: fields.next()?, stream: fields.next()?.parse().ok()? },
        "=" => Record::Mirror { topic: fields.next()?, stream: fields.next()?.parse().ok()? },
        "-" => Record::Delete { topic: fields.next()?, stream: fields.next()?.parse().ok()? },
        "@" => Record::Acknowledge {
            subscriber: fields.next()?,
            topic: fields.next()?,
            stream: fields.next()?.parse().ok()?,
            next: fields.next()?.parse().ok()?,
        },
        "!" => Record::End { subscriber: fields.next()?, topic: fields.next()? },
        _ => return None,
    };
    fields.next().is_none().then_some((record, rest))
}

/// The number of a publish, if there are more fields; `None` where they are not a number.
fn parse_sequence<'a>(fields: &mut impl Iterator<Item = &'a str>) -> Option<Option<Sequence>> {
    let Some(epoch) = fields.next() else {
        return Some(None);
    };
    let epoch = epoch.parse().ok()?;
    let sequence = fields.next()?.parse().ok()?;
    Some(Some(Sequence { epoch, sequence }))
}
