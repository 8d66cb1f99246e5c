//! How messages look when they are pushed: one format for each kind of subscriber.

use crate::store::entry::Entry;
use crate::store::stream::Cursor;
use common::http::chunked;
use common::{bytes, clock, json};
use std::io::Write;

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
    /// An event of `text/event-stream`.
    Event,
    /// The same over HTTP/1.1, where each piece that is written is a chunk.
    ChunkedEvent,
}

/// The rest of an event's id: the cursors in all topics of the stream but the event's own.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct OtherCursors {
    /// Those of the topics before it, each with a comma behind it.
    pub(crate) before: String,
    /// Those of the topics after it, each with a comma before it.
    pub(crate) after: String,
}

impl OtherCursors {
    /// Whether the subscriber follows no other topic: then all that stand at the same offset get
    /// the same bytes.
    pub(crate) fn are_none(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }
}

impl Format {
    /// How many there are.
    pub(crate) const COUNT: usize = 5;

    /// Writes the entries of `text`, each followed by a line break, of which the first stands at
    /// `from`.
    pub(crate) fn encode(
        self,
        topic: &str,
        text: &str,
        from: Cursor,
        others: &OtherCursors,
        out: &mut Vec<u8>,
    ) {
        match self {
            Format::Channel => {
                let mut head = b"{\"type\":\"MESSAGE\",\"channel\":".to_vec();
                json::write_string_ascii(&mut head, topic);
                head.extend_from_slice(b",\"message\":");
                for entry in Entry::all(text) {
                    out.extend_from_slice(&head);
                    json::write_string_ascii(out, entry.message);
                    out.extend_from_slice(b"}\n");
                }
            }
            Format::Topic => {
                let mut head = b"{\"event\":\"message\",\"topic\":".to_vec();
                json::write_string_ascii(&mut head, topic);
                for (entry, offset) in Entry::all(text).zip(from.next..) {
                    out.extend_from_slice(&head);
                    write_fields(out, json::write_string_ascii, entry, offset);
                    if offset == 0 {
                        let _ = write!(out, ",\"stream\":\"{}\"", from.stream);
                    }
                    out.extend_from_slice(b"}\n");
                }
            }
            Format::Text => {
                let (mut second, mut date) = (u64::MAX, String::new());
                for entry in Entry::all(text) {
                    let time = entry.milliseconds();
                    if time / 1000 != second {
                        second = time / 1000;
                        date = clock::plain_date(time);
                    }
                    let Entry { message, publisher, .. } = entry;
                    for part in ["DELIVER ", topic, " ", message, " ", publisher.unwrap_or("-")] {
                        out.extend_from_slice(part.as_bytes());
                    }
                    out.push(b' ');
                    out.extend_from_slice(date.as_bytes());
                    out.push(b'\n');
                }
            }
            Format::Event | Format::ChunkedEvent => {
                let mut head = b"data: {\"topic\":".to_vec();
                json::write_string(&mut head, topic);
                let OtherCursors { before, after } = others;
                for (entry, offset) in Entry::all(text).zip(from.next..) {
                    out.extend_from_slice(&head);
                    write_fields(out, json::write_string, entry, offset);
                    let next = Cursor { next: offset + 1, ..from };
                    // Writing to a vector cannot fail.
                    let _ = write!(out, "}}\nid: {before}{next}{after}\n\n");
                }
            }
        }
    }

    /// Whether each message carries a cursor of its subscriber.
    pub(crate) fn is_event(self) -> bool {
        matches!(self, Format::Event | Format::ChunkedEvent)
    }

    /// Makes bytes of this format what is written to the socket.
    pub(crate) fn frame(self, piece: &mut Vec<u8>) {
        if self == Format::ChunkedEvent {
            chunked::frame(piece);
        }
    }

    /// Writes that the topic was deleted; only programs that keep a copy want to know at once.
    pub(crate) fn encode_deleted(self, topic: &str, out: &mut Vec<u8>) {
        if self == Format::Topic {
            out.extend_from_slice(b"{\"event\":\"deleted\",\"topic\":");
            json::write_string_ascii(out, topic);
            out.extend_from_slice(b"}\n");
        }
    }

    /// Writes that the subscriber goes on at `cursor`, and why it is not the next message. Channels
    /// promise nothing and are told nothing.
    pub(crate) fn encode_jump(
        self,
        jump: Jump,
        topic: &str,
        cursor: Cursor,
        others: &OtherCursors,
        out: &mut Vec<u8>,
    ) {
        // Writing to a vector cannot fail.
        let Cursor { stream, next } = cursor;
        let event = match jump {
            Jump::Reset => "reset",
            Jump::Trimmed => "trimmed",
        };
        match self {
            Format::Channel => {}
            Format::Text => {
                if jump == Jump::Trimmed {
                    let _ =
                        writeln!(out, "ERROR messages of {topic} before offset {next} are gone");
                }
            }
            Format::Topic => {
                let _ = write!(out, "{{\"event\":\"{event}\",\"topic\":");
                json::write_string_ascii(out, topic);
                let _ = writeln!(out, ",\"next\":{next},\"stream\":\"{stream}\"}}");
            }
            Format::Event | Format::ChunkedEvent => {
                let _ = write!(out, "event: {event}\ndata: {{\"topic\":");
                json::write_string(out, topic);
                let _ = write!(out, ",\"next\":{next},\"stream\":\"{stream}\"}}");
                let OtherCursors { before, after } = others;
                let _ = write!(out, "\nid: {before}{cursor}{after}\n\n");
            }
        }
    }
}

/// Why a subscriber goes on elsewhere than behind the last message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Jump {
    /// The topic is another list now.
    Reset,
    /// What it needed next was let go.
    Trimmed,
}

/// The rest of an object that says all about a message, behind its topic and without its end.
fn write_fields(
    out: &mut Vec<u8>,
    write_string: fn(&mut Vec<u8>, &str),
    entry: Entry<'_>,
    offset: u64,
) {
    out.extend_from_slice(b",\"offset\":");
    bytes::write_decimal(out, offset);
    out.extend_from_slice(b",\"message\":");
    write_string(out, entry.message);
    out.extend_from_slice(b",\"time\":");
    out.extend_from_slice(entry.time.as_bytes());
    out.extend_from_slice(b",\"publisher\":");
    match entry.publisher {
        Some(publisher) => write_string(out, publisher),
        None => out.extend_from_slice(b"null"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::stream::StreamId;

    fn encoded(format: Format) -> String {
        encoded_from(7, format)
    }

    fn encoded_from(next: u64, format: Format) -> String {
        let from = Cursor { next, stream: StreamId::NONE };
        let others = OtherCursors { before: "1@a,".into(), after: ",2@b".into() };
        let mut out = Vec::new();
        format.encode("t\u{e9}", "h\u{e9}\"\n0 ann\n\n86400000\n", from, &others, &mut out);
        String::from_utf8(out).unwrap()
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
        assert!(encoded(Format::Event).starts_with(
            "data: {\"topic\":\"t\u{e9}\",\"offset\":7,\"message\":\"h\u{e9}\\\"\",\"time\":0,\
             \"publisher\":\"ann\"}\nid: 1@a,8@0000000000000000,2@b\n\n"
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
