//! A frame in the making: all that one commit writes to the journal.

use super::header::{FRAME_HEADER_SIZE, FrameHeader};
use crate::store::batch::Publisher;
use crate::store::stream::StreamId;
use common::crc32::crc32;
use std::io::Write;
use std::ops::Range;

/// How much memory a cleared frame keeps for the next commit, in bytes.
const KEPT_SIZE: usize = 1 << 20;

/// Records that are written together: after a crash all of them are there, or none.
///
/// One frame serves for many commits: [`Self::clear`] it, and it keeps its memory. Names and
/// messages must have been checked: no control character in a name, no line break or NUL in a
/// message.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    /// Room for the frame's header, then the payload; empty as long as there is no record.
    bytes: Vec<u8>,
    /// The last record, if it may take more messages.
    open: Option<Open>,
}

/// An append without a number: what is appended next to the same topic, at the same time and by
/// the same publisher, joins it. The ranges are those of its head in [`Frame::bytes`].
#[derive(Debug)]
struct Open {
    /// The head's fields before the size of its messages.
    before: Range<usize>,
    /// The fields after the size.
    after: Range<usize>,
}

impl Frame {
    /// Bytes of the payload. It must not pass [`FRAME_SIZE_MAX`](super::FRAME_SIZE_MAX).
    pub(crate) fn size(&self) -> usize {
        self.bytes.len().saturating_sub(FRAME_HEADER_SIZE)
    }

    /// Forgets the records.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_SIZE);
        self.open = None;
    }

    /// A topic is created; must come before what is appended to it.
    pub(crate) fn create(&mut self, topic: &str, stream: StreamId) {
        self.line(format_args!("*\t{topic}\t{stream}"));
    }

    /// A copy of a topic begins that another broker is the home of.
    pub(crate) fn mirror(&mut self, topic: &str, stream: StreamId) {
        self.line(format_args!("=\t{topic}\t{stream}"));
    }

    /// A topic is deleted with all its messages.
    pub(crate) fn delete(&mut self, topic: &str, stream: StreamId) {
        self.line(format_args!("-\t{topic}\t{stream}"));
    }

    /// A lasting subscription has acknowledged everything before `next`.
    pub(crate) fn acknowledge(
        &mut self,
        subscriber: &str,
        topic: &str,
        stream: StreamId,
        next: u64,
    ) {
        self.line(format_args!("@\t{subscriber}\t{topic}\t{stream}\t{next}"));
    }

    /// A lasting subscription ends.
    pub(crate) fn end(&mut self, subscriber: &str, topic: &str) {
        self.line(format_args!("!\t{subscriber}\t{topic}"));
    }

    /// Messages are appended to a topic, at a time in Unix milliseconds. A publisher's number is
    /// that of the first message; the others have those that follow.
    pub(crate) fn append<'m>(
        &mut self,
        topic: &str,
        time: u64,
        publisher: Option<Publisher<'_>>,
        messages: impl Iterator<Item = &'m str>,
    ) {
        let open = self.open_record(topic, time, publisher);
        for message in messages {
            debug_assert!(!message.contains(['\n', '\r', '\0']), "a message is one line of text");
            self.bytes.extend_from_slice(message.as_bytes());
            self.bytes.push(b'\n');
        }
        let open = self.write_size(open);
        let numbered = publisher.is_some_and(|publisher| publisher.sequence.is_some());
        self.open = (!numbered).then_some(open);
    }

    /// The head of a record for these messages: the last one, where they may join it.
    fn open_record(&mut self, topic: &str, time: u64, publisher: Option<Publisher<'_>>) -> Open {
        self.make_room();
        let start = self.bytes.len();
        self.write(format_args!("+\t{topic}\t"));
        let size = self.bytes.len();
        self.write(format_args!("\t{time}"));
        if let Some(Publisher { name, sequence }) = publisher {
            self.write(format_args!("\t{name}"));
            if let Some(sequence) = sequence {
                self.write(format_args!("\t{}\t{}", sequence.epoch, sequence.sequence));
            }
        }
        self.write(format_args!("\n"));
        let new = Open { before: start..size, after: size..self.bytes.len() };
        match self.open.take() {
            Some(last) if self.are_equal(&last, &new) => {
                self.bytes.truncate(start);
                last
            }
            _ => new,
        }
    }

    fn are_equal(&self, one: &Open, other: &Open) -> bool {
        let text = |range: &Range<usize>| self.bytes.get(range.clone());
        text(&one.before) == text(&other.before) && text(&one.after) == text(&other.after)
    }

    /// Writes the size of the record's messages, which end the payload, into its head.
    fn write_size(&mut self, open: Open) -> Open {
        let Open { before, after } = open;
        let size = (self.bytes.len() - after.end).to_string();
        let grown = size.len() - (after.start - before.end);
        self.bytes.splice(before.end..after.start, size.into_bytes());
        Open { before, after: after.start + grown..after.end + grown }
    }

    /// A record that is one line.
    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        self.make_room();
        self.write(text);
        self.write(format_args!("\n"));
        self.open = None;
    }

    /// The text of whole records, as it stood in another frame.
    pub(super) fn copy(&mut self, records: &str) {
        self.make_room();
        self.bytes.extend_from_slice(records.as_bytes());
        self.open = None;
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.bytes.write_fmt(text).expect("a Vec takes all that is written to it");
    }

    fn make_room(&mut self) {
        if self.bytes.is_empty() {
            self.bytes.resize(FRAME_HEADER_SIZE, 0);
        }
    }

    /// The frame's bytes as they stand in the file from `offset` on; `None` where the frame is
    /// empty, or too large for the length in its header.
    pub(super) fn seal(&mut self, offset: u64) -> Option<&[u8]> {
        let (header, payload) = self.bytes.split_first_chunk_mut::<FRAME_HEADER_SIZE>()?;
        let length = u32::try_from(payload.len()).ok()?;
        *header = FrameHeader { offset, length, checksum: crc32(payload) }.bytes();
        Some(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{Record, Records};
    use super::*;
    use crate::store::batch::Sequence;

    fn payload(frame: &Frame) -> &str {
        std::str::from_utf8(&frame.bytes[FRAME_HEADER_SIZE..]).unwrap()
    }

    fn stream() -> StreamId {
        "00000000000000ab".parse().unwrap()
    }

    #[test]
    fn records_read_as_they_are_drawn() {
        let mut frame = Frame::default();
        let ann = |sequence| Some(Publisher { name: "ann", sequence });
        let sequence = Some(Sequence { epoch: 3, sequence: 41 });
        frame.create("news", stream());
        frame.append("news", 17, None, ["first", ""].into_iter());
        frame.append("news", 17, ann(None), ["second"].into_iter());
        frame.append("news", 17, ann(sequence), ["third"].into_iter());
        frame.acknowledge("bob", "news", stream(), 2);
        frame.end("bob", "news");
        frame.delete("news", stream());
        frame.mirror("news", stream());
        let text = "*\tnews\t00000000000000ab\n\
                    +\tnews\t7\t17\nfirst\n\n\
                    +\tnews\t7\t17\tann\nsecond\n\
                    +\tnews\t6\t17\tann\t3\t41\nthird\n\
                    @\tbob\tnews\t00000000000000ab\t2\n\
                    !\tbob\tnews\n\
                    -\tnews\t00000000000000ab\n\
                    =\tnews\t00000000000000ab\n";
        assert_eq!(payload(&frame), text);
        assert_eq!(frame.size(), text.len());

        let mut records = Records::new(text);
        let read: Vec<_> = records.by_ref().collect();
        assert!(!records.is_malformed());
        assert_eq!(read.iter().map(|(_, text)| *text).collect::<String>(), text);
        let (Record::Append { topic, time, publisher, messages }, _) = &read[3] else {
            panic!("not an append: {:?}", read[3]);
        };
        assert_eq!((*topic, *time, *publisher), ("news", 17, ann(sequence)));
        assert_eq!(messages.clone().collect::<Vec<_>>(), ["third"]);
        let (Record::Append { messages, .. }, _) = &read[1] else {
            panic!("not an append: {:?}", read[1]);
        };
        assert_eq!(messages.clone().collect::<Vec<_>>(), ["first", ""]);
    }

    #[test]
    fn appends_with_the_same_stamp_share_a_record_and_numbered_ones_do_not() {
        let mut frame = Frame::default();
        for message in ["one", "two", "three"] {
            frame.append("a", 5, None, [message].into_iter());
        }
        let sequence = Some(Sequence { epoch: 0, sequence: 0 });
        for message in ["four", "five"] {
            let publisher = Some(Publisher { name: "ann", sequence });
            frame.append("a", 5, publisher, [message].into_iter());
        }
        frame.append("a", 6, None, ["six"].into_iter());
        frame.append("b", 6, None, ["seven"].into_iter());
        let text = "+\ta\t14\t5\none\ntwo\nthree\n\
                    +\ta\t5\t5\tann\t0\t0\nfour\n\
                    +\ta\t5\t5\tann\t0\t0\nfive\n\
                    +\ta\t4\t6\nsix\n\
                    +\tb\t6\t6\nseven\n";
        assert_eq!(payload(&frame), text);
    }

    #[test]
    fn a_publish_of_100_bytes_takes_at_most_140_on_disk() {
        let mut frame = Frame::default();
        let message = "x".repeat(100);
        for time in 0..1000 {
            frame.append("news", 1_700_000_000_000 + time, None, [message.as_str()].into_iter());
        }
        assert!(frame.bytes.len() <= 140 * 1000, "{} bytes", frame.bytes.len());
    }

    #[test]
    fn a_cleared_frame_is_empty_and_seals_nothing() {
        let mut frame = Frame::default();
        assert!(frame.seal(28).is_none());
        frame.end("bob", "news");
        assert_eq!(frame.seal(28).unwrap().len(), FRAME_HEADER_SIZE + frame.size());
        frame.clear();
        assert_eq!(frame.size(), 0);
        assert!(frame.seal(28).is_none());
    }

    #[test]
    fn text_that_is_no_record_is_malformed() {
        for text in [
            "?",
            "\n",
            "+\ta\t5\t1\nfour",
            "+\ta\t4\t1\nfour\n",
            "+\ta\t99999999999999999999\t1\n",
            "+\ta\t0\t1\tann\t1\n",
            "+\ta\t0\t1\tann\t1\t2\t3\n",
            "*\ta\n",
            "*\ta\tno stream\n",
            "!\tbob\ta\tmore\n",
            "+\ta\t1\t1\nü\n",
        ] {
            let mut records = Records::new(text);
            assert_eq!(records.next(), None, "{text:?}");
            assert!(records.is_malformed(), "{text:?}");
        }
    }
}
