//! A frame: everything that one commit writes to the journal.

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

    /// Adds a record.
    pub(crate) fn add(&mut self, record: &Record<'_>) {
        use Record::{Append, Bounds, Close, Delete, End, Trim};
        if let Append { topic, stream, first, time, publisher, messages } = record {
            return self.append(topic, *stream, *first, *time, *publisher, messages.clone());
        }
        self.takes_room |=
            !matches!(record, Delete { .. } | Trim { .. } | Bounds { .. } | End { .. } | Close);
        self.make_room();
        self.write(format_args!("{record}\n"));
        self.open = None;
    }

    /// Adds an append to a list, the first message at offset `first`, at a time in Unix
    /// milliseconds. A publisher's number is that of the first message; the others have those that
    /// follow.
    pub(crate) fn append<'m>(
        &mut self,
        topic: &str,
        stream: StreamId,
        first: u64,
        time: u64,
        publisher: Option<Publisher<'_>>,
        messages: impl Iterator<Item = &'m str> + Clone,
    ) {
        let bytes = messages.clone().map(|message| message.len() + 1).sum::<usize>();
        self.takes_room = true;
        self.make_room();
        self.text.reserve(bytes);
        let start = self.text.len();
        self.write(format_args!("+\t{topic}\t{stream}\t"));
        let before = start..self.text.len();
        self.write(format_args!("{first}\t"));
        let size = self.text.len();
        self.write(format_args!("{bytes}"));
        let size = size..self.text.len();
        self.write(format_args!("\t{time}"));
        let sequence = publisher.and_then(|publisher| publisher.sequence);
        if let Some(Publisher { name, .. }) = publisher {
            self.write(format_args!("\t{name}"));
        }
        if let Some(Sequence { epoch, sequence }) = sequence {
            self.write(format_args!("\t{epoch}\t{sequence}"));
        }
        self.write(format_args!("\n"));
        let mut open = Open { before, after: size.end..self.text.len(), size, next: first };
        if let Some(last) = self.open.take().filter(|last| self.follows(&open, last)) {
            self.text.truncate(start);
            open = self.grow(last, bytes);
        }
        for message in messages {
            debug_assert!(!message.contains(['\n', '\r', '\0']), "a message is one line of text");
            self.text.push_str(message);
            self.text.push('\n');
            open.next += 1;
        }
        self.open = sequence.is_none().then_some(open);
    }

    /// Whether the messages of a new record may join the last one.
    fn follows(&self, new: &Open, last: &Open) -> bool {
        let text = |range: &Range<usize>| self.text.get(range.clone());
        last.next == new.next
            && text(&last.before) == text(&new.before)
            && text(&last.after) == text(&new.after)
    }

    /// Says in the head of the last record that so many bytes more follow it.
    fn grow(&mut self, mut last: Open, bytes: usize) -> Open {
        let digits = (self.text.len() - last.after.end + bytes).to_string();
        let grown = digits.len() - last.size.len();
        self.text.replace_range(last.size.clone(), &digits);
        last.size.end += grown;
        last.after = last.after.start + grown..last.after.end + grown;
        last
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
        let header = FrameHeader { offset, length, checksum: crc32(payload) }.text(seed);
        self.text.replace_range(..FRAME_HEADER_SIZE, &header);
        Some(self.text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{Format, Records};
    use super::*;
    use crate::store::retention::{Bound, Bounds};

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
        frame.add(&Record::Create { topic: "news", stream: stream() });
        frame.append("news", stream(), 0, 17, None, ["first", ""].into_iter());
        frame.append("news", stream(), 2, 17, ann(None), ["second"].into_iter());
        frame.append("news", stream(), 3, 17, ann(sequence), ["third"].into_iter());
        frame.add(&Record::Position {
            subscriber: "bob",
            topic: "news",
            stream: stream(),
            next: 2,
            seen: 19,
        });
        frame.add(&Record::End { subscriber: "bob", topic: "news" });
        frame.add(&Record::Trim {
            topic: "news",
            stream: stream(),
            first: 2,
            digest: Some(0xbeef),
        });
        frame.add(&Record::Trim { topic: "news", stream: stream(), first: 3, digest: None });
        let bounds = Bounds { messages: Bound::At(100), bytes: Bound::None, age: Bound::Default };
        frame.add(&Record::Bounds { topic: "news", stream: stream(), bounds });
        let (topic, stream) = ("news", stream());
        let (publisher, epoch, next, time) = ("ann", 3, 42, 17);
        frame.add(&Record::Sequence { topic, stream, publisher, epoch, next, time });
        frame.add(&Record::NewStream {
            topic: "news",
            stream,
            new: "00000000000000ac".parse().unwrap(),
            own: true,
        });
        frame.add(&Record::Delete { topic: "news", stream });
        frame.add(&Record::Mirror { topic: "news", stream });
        frame.add(&Record::Close);
        let text = "*\tnews\t00000000000000ab\n\
                    +\tnews\t00000000000000ab\t0\t7\t17\nfirst\n\n\
                    +\tnews\t00000000000000ab\t2\t7\t17\tann\nsecond\n\
                    +\tnews\t00000000000000ab\t3\t6\t17\tann\t3\t41\nthird\n\
                    @\tbob\tnews\t00000000000000ab\t2\t19\n\
                    !\tbob\tnews\n\
                    <\tnews\t00000000000000ab\t2\t0000beef\n\
                    <\tnews\t00000000000000ab\t3\t-\n\
                    :\tnews\t00000000000000ab\t100\tnone\t-\n\
                    #\tnews\t00000000000000ab\tann\t3\t42\t17\n\
                    ~\tnews\t00000000000000ab\t00000000000000ac\town\n\
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
        read.iter().for_each(|(record, _)| copy.add(record));
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
        frame.add(&Record::End { subscriber: "bob", topic: "news" });
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
        // What a position had before it said when its subscriber was seen.
        let mut records = Records::new("@\tbob\ta\t00000000000000ab\t2\n", Format::Two);
        assert!(matches!(records.next(), Some((Record::Position { next: 2, seen: 0, .. }, _))));
        // What format 1 did not have.
        let mut records = Records::new("#\ta\n", Format::One);
        assert_eq!(records.next(), None);
    }
}
