//! The formats of pushed messages, one for each kind of subscriber.

use crate::store::{Cursor, Entry, Place, entry};
use common::http::chunked;
use common::json::{Charset, Json, Object};
use common::limits::EVENT_ID_SIZE_MAX;
use common::{bytes, clock, json};
use std::io::Write;

/// A part of a message after which it is looked at how much has come together: each byte may become
/// six.
const SLICE_SIZE: usize = 4 << 10;

/// How soon the client of an event stream is to come back, in milliseconds.
const RETRY_MILLISECONDS: u64 = 1000;

/// What a subscriber reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `{"type":"MESSAGE","channel":…,"message":…}`
    Channel,
    /// `{"event":"message","topic":…,"offset":…,"message":…,"time":…,"publisher":…}`; the first
    /// message of a list also says which `stream` it is, for those who waited for the topic.
    Topic,
    /// `DELIVER topic message publisher YYYY-MM-DD HH:MM:SS`
    Text,
    /// An event of `text/event-stream`; over HTTP/1.1, each piece that is written is a chunk.
    Event { chunked: bool },
    /// `{"topic":…,"offset":…,"message":…,"time":…,"publisher":…}`, a line of an answer.
    Line,
    /// A message as an element of an array.
    Element,
    /// The same of a whole entry: a message, a line break, its time and its publisher.
    Entry,
}

/// The rest of an event's id: the cursors in all topics of the stream but the event's own.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct OtherCursors {
    /// Each with a comma before it.
    pub(crate) text: String,
    /// They are more than an id may hold: then events have none.
    pub(crate) are_too_long: bool,
}

impl OtherCursors {
    /// Whether the subscriber follows no other topic: then all that stand at the same offset get
    /// the same bytes.
    pub(crate) fn are_none(&self) -> bool {
        self.text.is_empty() && !self.are_too_long
    }
}

/// Writes what a subscriber reads of a topic.
#[derive(Clone, Copy)]
pub(crate) struct Encoder<'a> {
    pub(crate) format: Format,
    pub(crate) topic: &'a str,
    pub(crate) others: &'a OtherCursors,
}

impl Encoder<'_> {
    /// Writes the entries of `text`, each followed by a line break, up to about `size_max` bytes.
    /// The first may begin inside its message, at `from`; the last may be cut inside its own. Gives
    /// the place after the written part.
    pub(crate) fn encode(
        self,
        text: &str,
        from: Place,
        size_max: usize,
        out: &mut Vec<u8>,
    ) -> Place {
        let size_end = out.len() + size_max;
        let format = self.format;
        let head = format.head(self.topic);
        // Most that follow one another are of the same second.
        let mut date = (u64::MAX, String::new());
        let (mut place, mut rest) = (from, text);
        while !rest.is_empty() && out.len() < size_end {
            if place.inside == 0 {
                format.begin(&head, place.cursor.next, out);
            }
            let (message, after) = match rest.split_once('\n') {
                Some((message, after)) => (message, Some(after)),
                None => (rest, None),
            };
            let written = format.encode_part(message, size_end, out);
            let Some(after) = after.filter(|_| written == message.len()) else {
                place.inside += written;
                break;
            };
            let (stamp, after) = after.split_once('\n').unwrap_or((after, ""));
            self.end(Entry::new(message, stamp), place.cursor, &mut date, out);
            place = Place::before(Cursor { next: place.cursor.next + 1, ..place.cursor });
            rest = after;
        }
        place
    }

    /// Writes what comes after the message at `cursor`. `date` is the last second that was written,
    /// as a date.
    fn end(self, entry: Entry<'_>, cursor: Cursor, date: &mut (u64, String), out: &mut Vec<u8>) {
        // Writing to a vector cannot fail.
        match self.format {
            Format::Element => out.push(b'"'),
            Format::Entry => {
                let _ = write!(out, "\\n{}", entry.time);
                if let Some(publisher) = entry.publisher {
                    out.push(b' ');
                    json::write_part(out, publisher, Charset::Ascii);
                }
                out.push(b'"');
            }
            Format::Channel => out.extend_from_slice(b"\"}\n"),
            Format::Text => {
                let time = entry.milliseconds();
                if time / 1000 != date.0 {
                    *date = (time / 1000, clock::plain_date(time));
                }
                for part in [" ", entry.publisher.unwrap_or("-"), " ", &date.1, "\n"] {
                    out.extend_from_slice(part.as_bytes());
                }
            }
            format @ (Format::Topic | Format::Line | Format::Event { .. }) => {
                // The rest of an object that says all about a message.
                out.extend_from_slice(b"\",\"time\":");
                out.extend_from_slice(entry.time.as_bytes());
                out.extend_from_slice(b",\"publisher\":");
                let (.., charset) = format.style();
                entry.publisher.write(out, charset.unwrap_or(Charset::Utf8));
                if format == Format::Topic && cursor.next == 0 {
                    let _ = write!(out, ",\"stream\":\"{}\"", cursor.stream);
                }
                out.extend_from_slice(b"}\n");
                if format.is_event() {
                    write_id(out, Cursor { next: cursor.next + 1, ..cursor }, self.others);
                }
            }
        }
    }

    /// Writes what a subscriber has to know of a topic beside its messages. Channels promise
    /// nothing and are told nothing.
    pub(crate) fn note(self, note: Note<'_>, out: &mut Vec<u8>) {
        let Encoder { format, topic, others } = self;
        let (event, cursor, name) = match note {
            Note::Subscribed(cursor) => ("subscribed", Some(cursor), None),
            Note::Reset(cursor) => ("reset", Some(cursor), None),
            Note::Trimmed(cursor, _) => ("trimmed", Some(cursor), None),
            Note::Deleted => ("deleted", None, None),
            Note::Ended(name) => ("unsubscribed", None, Some(name)),
        };
        let rest = |object: &mut Object<'_>| {
            object.field("topic", topic).optional("next", cursor.map(|it| it.next));
            object.optional("stream", cursor.map(|it| it.stream)).optional("subscriber", name);
            if let Note::Trimmed(_, digest) = note {
                object.optional("digest", digest.map(|digest| format!("{digest:08x}")));
            }
            object.end_line();
        };
        // Writing to a vector cannot fail.
        match (format, note) {
            (Format::Topic, _) => rest(Object::ascii(out).field("event", event)),
            (Format::Text, Note::Trimmed(Cursor { next, .. }, _)) => {
                let _ = writeln!(out, "ERROR messages of {topic} before offset {next} are gone");
            }
            (Format::Text, Note::Ended(name)) => {
                let _ = writeln!(out, "ERROR {name} is not subscribed to {topic} here any more");
            }
            (Format::Event { .. }, Note::Subscribed(_) | Note::Reset(_) | Note::Trimmed(..)) => {
                let _ = write!(out, "event: {event}\ndata: ");
                rest(&mut Object::new(out));
                match note {
                    Note::Reset(cursor) | Note::Trimmed(cursor, _) => write_id(out, cursor, others),
                    // A stream without this cursor goes on at the beginning as well.
                    _ => out.push(b'\n'),
                }
            }
            // These are told nothing.
            _ => {}
        }
    }
}

impl Format {
    /// What stands before and after the name of a topic, and how texts are written, where they are
    /// not written as they are.
    fn style(self) -> (&'static str, &'static str, Option<Charset>) {
        let (ascii, utf8) = (Some(Charset::Ascii), Some(Charset::Utf8));
        match self {
            Format::Channel => ("{\"type\":\"MESSAGE\",\"channel\":", ",\"message\":\"", ascii),
            Format::Topic => ("{\"event\":\"message\",\"topic\":", ",\"offset\":", ascii),
            Format::Event { .. } => ("data: {\"topic\":", ",\"offset\":", utf8),
            Format::Line => ("{\"topic\":", ",\"offset\":", utf8),
            Format::Text => ("DELIVER ", " ", None),
            Format::Element | Format::Entry => ("", "", ascii),
        }
    }

    /// What stands before each message of a topic, or before its offset.
    fn head(self, topic: &str) -> Vec<u8> {
        let (before, after, charset) = self.style();
        let mut head = before.as_bytes().to_vec();
        match charset {
            Some(charset) => topic.write(&mut head, charset),
            None => head.extend_from_slice(topic.as_bytes()),
        }
        head.extend_from_slice(after.as_bytes());
        head
    }

    /// Writes what comes before a message.
    fn begin(self, head: &[u8], offset: u64, out: &mut Vec<u8>) {
        match self {
            Format::Element | Format::Entry if out.ends_with(b"[") => out.push(b'"'),
            Format::Element | Format::Entry => out.extend_from_slice(b",\""),
            _ => out.extend_from_slice(head),
        }
        if let Format::Topic | Format::Event { .. } | Format::Line = self {
            bytes::write_decimal(out, offset);
            out.extend_from_slice(b",\"message\":\"");
        }
    }

    /// Writes a part of a message, or as much of it as brings `out` to about this size. Gives how
    /// much of the message that was.
    fn encode_part(self, part: &str, size_end: usize, out: &mut Vec<u8>) -> usize {
        let (mut written, (.., charset)) = (0, self.style());
        while written < part.len() && (written == 0 || out.len() < size_end) {
            let end = entry::boundary(part, written + SLICE_SIZE);
            let slice = part.get(written..end).unwrap_or_default();
            match charset {
                Some(charset) => json::write_part(out, slice, charset),
                None => out.extend_from_slice(slice.as_bytes()),
            }
            written = end;
        }
        written
    }

    /// Whether each message carries a cursor of its subscriber.
    pub(crate) fn is_event(self) -> bool {
        matches!(self, Format::Event { .. })
    }

    /// Makes bytes of this format what is written to the socket.
    pub(crate) fn frame(self, piece: &mut Vec<u8>) {
        if self == (Format::Event { chunked: true }) {
            chunked::frame(piece);
        }
    }

    /// What an event stream begins with: when to come back after it has ended, and where to
    /// go on if that is before the first event.
    pub(crate) fn start(self, cursors: &OtherCursors) -> Vec<u8> {
        // A client comes back with an id only if it was given one.
        let nothing = Cursor::default().to_string();
        let id = cursors.text.get(1..).unwrap_or(&nothing);
        let mut start = format!("retry: {RETRY_MILLISECONDS}\nid: {id}\n\n").into_bytes();
        self.frame(&mut start);
        if cursors.are_too_long {
            start.append(&mut self.without_ids());
        }
        start
    }

    /// Says that events have no ids from now on. The empty one makes clients forget the last.
    pub(crate) fn without_ids(self) -> Vec<u8> {
        let text = format!(
            "event: unresumable\ndata: {{\"message\":\"an id that names all topics would be longer \
             than {EVENT_ID_SIZE_MAX} bytes: events have none from now on; a stream with \
             subscriber=NAME can be resumed\"}}\nid:\n\n"
        );
        let mut event = text.into_bytes();
        self.frame(&mut event);
        event
    }
}

/// Writes the id and the end of an event.
fn write_id(out: &mut Vec<u8>, own: Cursor, others: &OtherCursors) {
    // Writing to a vector cannot fail.
    let _ = match others.are_too_long {
        true => writeln!(out),
        false => write!(out, "id: {own}{}\n\n", others.text),
    };
}

/// What a subscriber is told of a topic.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Note<'n> {
    /// A pattern chose it; its messages come from here on.
    Subscribed(Cursor),
    /// It is another list now, from here on.
    Reset(Cursor),
    /// What it needed next was let go; it goes on here. With the digest there, if that is at hand.
    Trimmed(Cursor, Option<u32>),
    /// It was deleted.
    Deleted,
    /// A lasting subscription to it, of this name, is not this connection's any more.
    Ended(&'n str),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StreamId;

    fn encoded(format: Format) -> String {
        encoded_from(7, format)
    }

    fn encoded_from(next: u64, format: Format) -> String {
        let from = Cursor { next, stream: StreamId::NONE };
        let others = OtherCursors { text: ",1@a,2@b".into(), are_too_long: false };
        let mut out = Vec::new();
        let text = "h\u{e9}\"\n0 ann\n\n86400000\n";
        let end = Encoder { format, topic: "t\u{e9}", others: &others }.encode(
            text,
            Place::before(from),
            1000,
            &mut out,
        );
        assert_eq!(end, Place::before(Cursor { next: next + 2, ..from }));
        String::from_utf8(out).unwrap()
    }

    /// However the entries and the pieces are cut, the bytes are the same.
    #[test]
    fn pieces_are_cut_anywhere_and_make_a_whole() {
        let large = "\u{1}x\u{e9}\u{1f600}\"".repeat(3000);
        let text = format!("small\n1\n{large}\n2 ann\n\n3\n{large}\n4\nlast\n5 bob\n");
        let others = OtherCursors::default();
        let start = Place::before(Cursor::default());
        for format in [
            Format::Channel,
            Format::Topic,
            Format::Text,
            Format::Event { chunked: false },
            Format::Line,
            Format::Element,
        ] {
            let mut whole = Vec::new();
            let encoder = Encoder { format, topic: "t", others: &others };
            encoder.encode(&text, start, usize::MAX >> 1, &mut whole);
            for (copied, size_max) in [(text.len(), 1), (9000, 1), (9000, 10_000), (500, 7000)] {
                let (mut place, mut pieces) = (start, Vec::new());
                // Where the entry at the place begins.
                let mut begin = 0;
                while place.cursor.next < 5 {
                    let from = begin + place.inside;
                    let mut cut = entry::boundary(&text, from + copied);
                    // As the store cuts: nothing after a whole entry but whole entries, no stamp.
                    let entry_end = |at: usize| {
                        let stamp = at + text[at..].find('\n').unwrap() + 1;
                        (stamp - 1, stamp + text[stamp..].find('\n').unwrap() + 1)
                    };
                    let (message_end, end) = entry_end(begin);
                    if cut > message_end {
                        cut = end;
                    }
                    let mut piece = Vec::new();
                    let part = &text[from..cut];
                    let behind = encoder.encode(part, place, size_max, &mut piece);
                    assert_ne!(behind, place);
                    assert!(piece.len() < size_max + 6 * SLICE_SIZE + 200);
                    pieces.extend_from_slice(&piece);
                    if behind.cursor.next > place.cursor.next {
                        begin = end;
                    }
                    place = behind;
                }
                assert!(pieces == whole, "{format:?} {copied} {size_max}");
            }
        }
    }

    #[test]
    fn each_format_says_what_its_readers_expect() {
        assert_eq!(
            encoded(Format::Channel),
            "{\"type\":\"MESSAGE\",\"channel\":\"t\\u00e9\",\"message\":\"h\\u00e9\\\"\"}\n\
             {\"type\":\"MESSAGE\",\"channel\":\"t\\u00e9\",\"message\":\"\"}\n"
        );
        assert_eq!(
            encoded(Format::Topic),
            "{\"event\":\"message\",\"topic\":\"t\\u00e9\",\"offset\":7,\
             \"message\":\"h\\u00e9\\\"\",\"time\":0,\"publisher\":\"ann\"}\n\
             {\"event\":\"message\",\"topic\":\"t\\u00e9\",\"offset\":8,\
             \"message\":\"\",\"time\":86400000,\"publisher\":null}\n"
        );
        assert_eq!(
            encoded(Format::Text),
            "DELIVER t\u{e9} h\u{e9}\" ann 1970-01-01 00:00:00\n\
             DELIVER t\u{e9}  - 1970-01-02 00:00:00\n"
        );
        assert!(encoded(Format::Event { chunked: false }).starts_with(
            "data: {\"topic\":\"t\u{e9}\",\"offset\":7,\"message\":\"h\u{e9}\\\"\",\"time\":0,\
             \"publisher\":\"ann\"}\nid: 8@0000000000000000,1@a,2@b\n\n"
        ));
    }

    #[test]
    fn the_first_message_of_a_list_says_which_stream_it_is() {
        let text = encoded_from(0, Format::Topic);
        let (first, second) = text.trim_end().split_once('\n').unwrap();
        assert!(
            first.ends_with(",\"publisher\":\"ann\",\"stream\":\"0000000000000000\"}"),
            "{text}"
        );
        assert!(second.ends_with(",\"publisher\":null}"), "{text}");
    }
}
