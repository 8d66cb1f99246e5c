//! A frame in the making: all that one commit writes to the journal.

use super::header::{FRAME_HEADER_SIZE, FrameHeader};
use super::record::Record;
use crate::store::batch::{Publisher, Sequence};
use crate::store::stream::StreamId;
use common::crc32::{Crc32, crc32};
use std::fmt::{self, Write};
use std::ops::Range;

/// How much memory a cleared frame keeps for the next commit, in bytes.
const KEPT_SIZE: usize = 1 << 20;

/// Room for a frame's header: text, so that the whole frame is.
const ROOM: &str = match str::from_utf8(&[b' '; FRAME_HEADER_SIZE]) {
    Ok(room) => room,
    Err(_) => "",
};

/// Records that are written together: after a crash all of them are there, or none.
///
/// One frame serves for many commits: [`Self::clear`] it, and it keeps its memory. Names and
/// messages must have been checked: no control character in a name, no line break or NUL in a
/// message.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    /// Room for the frame's header, then the payload; empty as long as there is no record.
    text: String,
    /// The last record, if it may take more messages.
    open: Option<Open>,
    /// Whether there is a record that is not there to free room.
    takes_room: bool,
}

/// An append without a number: what follows on it in the same list, at the same time and by the
/// same publisher, joins it. The ranges are those of its head in [`Frame::text`].
#[derive(Debug)]
struct Open {
    /// The fields before the first offset.
    before: Range<usize>,
    /// The size of its messages.
    size: Range<usize>,
    /// The fields after the size.
    after: Range<usize>,
    /// The offset after its last message.
    next: u64,
}

impl Frame {
    /// Bytes of the payload. It must not pass [`FRAME_SIZE_MAX`](super::FRAME_SIZE_MAX).
    pub(crate) fn size(&self) -> usize {
        self.text.len().saturating_sub(FRAME_HEADER_SIZE)
    }

    /// Forgets the records.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.text.shrink_to(KEPT_SIZE);
        self.open = None;
        self.takes_room = false;
    }

    /// Whether it holds more than deletions, trims, bounds and ends: what is refused on a disk that
    /// is full but for the reserve.
    pub(super) fn takes_room(&self) -> bool {
        self.takes_room
    }

    /// A topic is created; must come before what is appended to it.
    pub(crate) fn create(&mut self, topic: &str, stream: StreamId) {
        self.takes_room = true;
        self.line(format_args!("*\t{topic}\t{stream}"));
    }

    /// A copy of a topic begins that another broker is the home of.
    pub(crate) fn mirror(&mut self, topic: &str, stream: StreamId) {
        self.takes_room = true;
        self.line(format_args!("=\t{topic}\t{stream}"));
    }

    /// A topic is deleted with all its messages, and the lasting subscriptions to it end.
    pub(crate) fn delete(&mut self, topic: &str, stream: StreamId) {
        self.line(format_args!("-\t{topic}\t{stream}"));
    }

    /// A list goes on under another id.
    pub(crate) fn new_stream(&mut self, topic: &str, stream: StreamId, new: StreamId) {
        self.takes_room = true;
        self.line(format_args!("~\t{topic}\t{stream}\t{new}"));
    }

    /// What stands before `first` is let go; the digest is that at `first`.
    pub(crate) fn trim(&mut self, topic: &str, stream: StreamId, first: u64, digest: Option<u32>) {
        match digest {
            Some(digest) => self.line(format_args!("<\t{topic}\t{stream}\t{first}\t{digest:08x}")),
            None => self.line(format_args!("<\t{topic}\t{stream}\t{first}\t-")),
        }
    }

    /// A topic has bounds of its own: count, bytes and milliseconds with tabs between them, each
    /// `-`, `none` or a number.
    pub(crate) fn bounds(&mut self, topic: &str, stream: StreamId, bounds: &dyn fmt::Display) {
        self.line(format_args!(":\t{topic}\t{stream}\t{bounds}"));
    }

    /// A lasting subscription has acknowledged everything before `next`.
    pub(crate) fn position(&mut self, subscriber: &str, topic: &str, stream: StreamId, next: u64) {
        self.takes_room = true;
        self.line(format_args!("@\t{subscriber}\t{topic}\t{stream}\t{next}"));
    }

    /// A lasting subscription ends.
    pub(crate) fn end(&mut self, subscriber: &str, topic: &str) {
        self.line(format_args!("!\t{subscriber}\t{topic}"));
    }

    /// The segment is closed.
    pub(super) fn close(&mut self) {
        self.line(format_args!("."));
    }

    /// Messages are appended to a list, the first of them at offset `first`, at a time in Unix
    /// milliseconds. A publisher's number is that of the first message; the others have those that
    /// follow.
    pub(crate) fn append<'m>(
        &mut self,
        topic: &str,
        stream: StreamId,
        first: u64,
        time: u64,
        publisher: Option<Publisher<'_>>,
        messages: impl Iterator<Item = &'m str>,
    ) {
        self.takes_room = true;
        let mut open = self.open_record(topic, stream, first, time, publisher);
        for message in messages {
            debug_assert!(!message.contains(['\n', '\r', '\0']), "a message is one line of text");
            self.text.push_str(message);
            self.text.push('\n');
            open.next += 1;
        }
        let open = self.write_size(open);
        let numbered = publisher.is_some_and(|publisher| publisher.sequence.is_some());
        self.open = (!numbered).then_some(open);
    }

    /// The head of a record for these messages: the last one, where they may join it.
    fn open_record(
        &mut self,
        topic: &str,
        stream: StreamId,
        first: u64,
        time: u64,
        publisher: Option<Publisher<'_>>,
    ) -> Open {
        self.make_room();
        let start = self.text.len();
        self.write(format_args!("+\t{topic}\t{stream}\t"));
        let before = start..self.text.len();
        self.write(format_args!("{first}\t"));
        let size = self.text.len()..self.text.len();
        self.write(format_args!("\t{time}"));
        if let Some(Publisher { name, sequence }) = publisher {
            self.write(format_args!("\t{name}"));
            if let Some(Sequence { epoch, sequence }) = sequence {
                self.write(format_args!("\t{epoch}\t{sequence}"));
            }
        }
        self.write(format_args!("\n"));
        let new = Open { before, after: size.end..self.text.len(), size, next: first };
        match self.open.take() {
            Some(last) if last.next == first && self.are_equal(&last, &new) => {
                self.text.truncate(start);
                last
            }
            _ => new,
        }
    }

    fn are_equal(&self, one: &Open, other: &Open) -> bool {
        let text = |range: &Range<usize>| self.text.get(range.clone());
        text(&one.before) == text(&other.before) && text(&one.after) == text(&other.after)
    }

    /// Writes the size of the record's messages, which end the payload, into its head.
    fn write_size(&mut self, open: Open) -> Open {
        let Open { size, after, .. } = open;
        let digits = (self.text.len() - after.end).to_string();
        let grown = digits.len() - size.len();
        let end = size.start + digits.len();
        self.text.replace_range(size.clone(), &digits);
        let after = after.start + grown..after.end + grown;
        Open { size: size.start..end, after, ..open }
    }

    /// A record as it stood in another frame.
    pub(super) fn copy(&mut self, record: &Record<'_>) {
        match *record {
            Record::Create { topic, stream } => self.create(topic, stream),
            Record::Mirror { topic, stream } => self.mirror(topic, stream),
            Record::Append { topic, stream, first, time, publisher, ref messages } => {
                self.append(topic, stream, first, time, publisher, messages.clone());
            }
            Record::Delete { topic, stream } => self.delete(topic, stream),
            Record::NewStream { topic, stream, new } => self.new_stream(topic, stream, new),
            Record::Trim { topic, stream, first, digest } => {
                self.trim(topic, stream, first, digest);
            }
            Record::Bounds { topic, stream, bounds } => self.bounds(topic, stream, &bounds),
            Record::Sequence { topic, stream, publisher, epoch, next, time } => {
                self.line(format_args!(
                    "#\t{topic}\t{stream}\t{publisher}\t{epoch}\t{next}\t{time}"
                ));
            }
            Record::Position { subscriber, topic, stream, next } => {
                self.position(subscriber, topic, stream, next);
            }
            Record::End { subscriber, topic } => self.end(subscriber, topic),
            Record::Close => self.close(),
        }
    }

    /// A record that is one line.
    fn line(&mut self, text: fmt::Arguments<'_>) {
        self.make_room();
        self.write(text);
        self.write(format_args!("\n"));
        self.open = None;
    }

    fn write(&mut self, text: fmt::Arguments<'_>) {
        self.text.write_fmt(text).expect("a String takes all that is written to it");
    }

    fn make_room(&mut self) {
        if self.text.is_empty() {
            self.text.push_str(ROOM);
        }
    }

    /// The text of the records.
    pub(super) fn payload(&self) -> &str {
        self.text.get(FRAME_HEADER_SIZE..).unwrap_or_default()
    }

    /// The frame's bytes as they stand from `offset` on in a file whose checksums begin with
    /// `seed`; `None` where the frame is empty, or too large for the length in its header.
    pub(super) fn seal(&mut self, offset: u64, seed: Crc32) -> Option<&[u8]> {
        let payload = self.text.get(FRAME_HEADER_SIZE..)?.as_bytes();
        let length = u32::try_from(payload.len()).ok()?;
        let header = FrameHeader { offset, length, checksum: crc32(payload) }.bytes(seed);
        self.text.replace_range(..FRAME_HEADER_SIZE, str::from_utf8(&header).ok()?);
        Some(self.text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{Format, Record, Records};
    use super::*;

    fn payload(frame: &Frame) -> &str {
        frame.payload()
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
        frame.append("news", stream(), 0, 17, None, ["first", ""].into_iter());
        frame.append("news", stream(), 2, 17, ann(None), ["second"].into_iter());
        frame.append("news", stream(), 3, 17, ann(sequence), ["third"].into_iter());
        frame.position("bob", "news", stream(), 2);
        frame.end("bob", "news");
        frame.trim("news", stream(), 2, Some(0xbeef));
        frame.trim("news", stream(), 3, None);
        frame.bounds("news", stream(), &"100\tnone\t-");
        let (topic, stream) = ("news", stream());
        let (publisher, epoch, next, time) = ("ann", 3, 42, 17);
        frame.copy(&Record::Sequence { topic, stream, publisher, epoch, next, time });
        frame.new_stream("news", stream, "00000000000000ac".parse().unwrap());
        frame.delete("news", stream);
        frame.mirror("news", stream);
        frame.close();
        let text = "*\tnews\t00000000000000ab\n\
                    +\tnews\t00000000000000ab\t0\t7\t17\nfirst\n\n\
                    +\tnews\t00000000000000ab\t2\t7\t17\tann\nsecond\n\
                    +\tnews\t00000000000000ab\t3\t6\t17\tann\t3\t41\nthird\n\
                    @\tbob\tnews\t00000000000000ab\t2\n\
                    !\tbob\tnews\n\
                    <\tnews\t00000000000000ab\t2\t0000beef\n\
                    <\tnews\t00000000000000ab\t3\t-\n\
                    :\tnews\t00000000000000ab\t100\tnone\t-\n\
                    #\tnews\t00000000000000ab\tann\t3\t42\t17\n\
                    ~\tnews\t00000000000000ab\t00000000000000ac\n\
                    -\tnews\t00000000000000ab\n\
                    =\tnews\t00000000000000ab\n\
                    .\n";
        assert_eq!(payload(&frame), text);
        assert_eq!(frame.size(), text.len());

        let mut records = Records::new(text, Format::Two);
        let read: Vec<_> = records.by_ref().collect();
        assert!(!records.is_malformed());
        assert_eq!(read.iter().map(|(_, size)| size).sum::<usize>(), text.len());
        let (Record::Append { first, time, publisher, messages, .. }, _) = &read[3] else {
            panic!("not an append: {:?}", read[3]);
        };
        assert_eq!((*first, *time, *publisher), (3, 17, ann(sequence)));
        assert_eq!(messages.clone().collect::<Vec<_>>(), ["third"]);
        let mut copy = Frame::default();
        read.iter().for_each(|(record, _)| copy.copy(record));
        assert_eq!(payload(&copy), text);
    }

    #[test]
    fn appends_with_the_same_stamp_share_a_record_and_numbered_ones_do_not() {
        let mut frame = Frame::default();
        let mut append = |topic, first, time, publisher, message| {
            frame.append(topic, stream(), first, time, publisher, std::iter::once(message));
        };
        for (first, message) in (0..).zip(["one", "two", "three"]) {
            append("a", first, 5, None, message);
        }
        let sequence = Some(Sequence { epoch: 0, sequence: 0 });
        for (first, message) in (3..).zip(["four", "five"]) {
            append("a", first, 5, Some(Publisher { name: "ann", sequence }), message);
        }
        append("a", 5, 6, None, "six");
        // Another list goes on at the same offset and time.
        append("b", 6, 6, None, "seven");
        append("b", 8, 6, None, "nine");
        let text = "+\ta\t00000000000000ab\t0\t14\t5\none\ntwo\nthree\n\
                    +\ta\t00000000000000ab\t3\t5\t5\tann\t0\t0\nfour\n\
                    +\ta\t00000000000000ab\t4\t5\t5\tann\t0\t0\nfive\n\
                    +\ta\t00000000000000ab\t5\t4\t6\nsix\n\
                    +\tb\t00000000000000ab\t6\t6\t6\nseven\n\
                    +\tb\t00000000000000ab\t8\t5\t6\nnine\n";
        assert_eq!(payload(&frame), text);
    }

    /// The stream and the offset take about 25 of them: what they buy is that a record of another
    /// list, or out of its place, is found.
    #[test]
    fn a_publish_of_100_bytes_takes_at_most_150_on_disk() {
        let mut frame = Frame::default();
        let message = "x".repeat(100);
        for first in 0..1000 {
            let time = 1_700_000_000_000 + first;
            frame.append("news", stream(), first, time, None, [message.as_str()].into_iter());
        }
        assert!(frame.text.len() <= 150 * 1000, "{} bytes", frame.text.len());
    }

    #[test]
    fn a_cleared_frame_is_empty_and_seals_nothing() {
        let mut frame = Frame::default();
        assert!(frame.seal(28, Crc32::default()).is_none());
        frame.end("bob", "news");
        assert_eq!(
            frame.seal(28, Crc32::default()).unwrap().len(),
            FRAME_HEADER_SIZE + frame.size()
        );
        frame.clear();
        assert_eq!(frame.size(), 0);
        assert!(frame.seal(28, Crc32::default()).is_none());
    }

    #[test]
    fn text_that_is_no_record_is_malformed() {
        for text in [
            "?",
            "\n",
            ".",
            ".\t1\n",
            "+\ta\t00000000000000ab\t0\t5\t1\nfour",
            "+\ta\t00000000000000ab\t0\t4\t1\nfour\n",
            "+\ta\t00000000000000ab\t0\t99999999999999999999\t1\n",
            "+\ta\t00000000000000ab\t0\t0\t1\tann\t1\n",
            "+\ta\t00000000000000ab\t0\t0\t1\tann\t1\t2\t3\n",
            "*\ta\n",
            "*\ta\tno stream\n",
            "!\tbob\ta\tmore\n",
            "<\ta\t00000000000000ab\t1\n",
            "<\ta\t00000000000000ab\t1\tno digest\n",
            ":\ta\t00000000000000ab\t1\t2\n",
            ":\ta\t00000000000000ab\t1\t2\t3\t4\n",
            ":\ta\t00000000000000ab\t1\tmany\t3\n",
            "+\ta\t00000000000000ab\t0\t1\t1\nü\n",
        ] {
            let mut records = Records::new(text, Format::Two);
            assert_eq!(records.next(), None, "{text:?}");
            assert!(records.is_malformed(), "{text:?}");
        }
        // What format 1 did not have.
        let mut records = Records::new("#\ta\n", Format::One);
        assert_eq!(records.next(), None);
    }
}
