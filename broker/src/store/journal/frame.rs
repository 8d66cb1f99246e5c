//! A frame: everything that one commit writes to the journal.

use super::{Event, FRAME_HEADER_SIZE, File, Format, FrameHeader, Record, Records};
use crate::store::{Publisher, Sequence, StreamId};
use common::bytes::write_decimal;
use common::crc32::{Crc32, crc32};
use std::io::{self, Write};
use std::ops::Range;
use std::{fmt, str};

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
    parts: Vec<Part>,
    /// The last record, if it may take more messages.
    open: Option<Open>,
    /// Whether there is a record that is not there to free room.
    takes_room: bool,
}

/// Records that the index takes together: one, or appends to a list that follow on one another.
#[derive(Debug)]
struct Part {
    start: usize,
    appends: Option<Appends>,
}

/// Appends to a list, from one offset to another. The topic's name stands in [`Frame::bytes`].
#[derive(Debug)]
struct Appends {
    topic: Range<usize>,
    stream: StreamId,
    first: u64,
    next: u64,
    /// One of the numbers that publishers gave them, if they did.
    sequence: Option<Sequence>,
}

/// An append without a number: what follows on it in the same list, at the same time and by the
/// same publisher, joins it.
#[derive(Debug)]
struct Open {
    time: u64,
    publisher: Option<Range<usize>>,
    /// The size of its messages, and where that stands.
    size: usize,
    digits: Range<usize>,
}

impl Frame {
    /// Bytes of the payload. It must not pass [`FRAME_SIZE_MAX`](super::FRAME_SIZE_MAX).
    pub(crate) fn size(&self) -> usize {
        self.payload().len()
    }

    /// Forgets the records.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_SIZE);
        self.parts.clear();
        self.parts.shrink_to(KEPT_SIZE / size_of::<Part>());
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
        use Event::{Append, Bounds, Close, Delete, End, Trim};
        let Record { topic, stream, event } = *record;
        if let Append { first, count, time, publisher, lines } = event {
            self.begin_append(topic, stream, first..first + count, time, publisher, lines.len());
            return self.bytes.extend_from_slice(lines.as_bytes());
        }
        self.takes_room |= !matches!(event, Delete | Trim { .. } | Bounds(_) | End { .. } | Close);
        let start = self.begin();
        self.parts.push(Part { start, appends: None });
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
        let (mut size, mut next) = (0, first);
        for message in messages.clone() {
            size += message.len() + 1;
            next += 1;
        }
        self.begin_append(topic, stream, first..next, time, publisher, size);
        for message in messages {
            debug_assert!(!message.contains(['\n', '\r', '\0']), "a message is one line of text");
            self.bytes.extend_from_slice(message.as_bytes());
            self.bytes.push(b'\n');
        }
    }

    /// Writes what stands before the messages of an append at these offsets, which have so many
    /// bytes with their line breaks.
    fn begin_append(
        &mut self,
        topic: &str,
        stream: StreamId,
        offsets: Range<u64>,
        time: u64,
        publisher: Option<Publisher<'_>>,
        size: usize,
    ) {
        let Range { start: first, end: next } = offsets;
        self.takes_room = true;
        let list = self.list_before(topic, stream, first);
        let open = self.open.take().filter(|open| {
            let name = open.publisher.clone().and_then(|name| self.bytes.get(name));
            let by = publisher.map(|by| (by.name.as_bytes(), by.sequence));
            list.is_some() && open.time == time && by == name.map(|name| (name, None))
        });
        self.open = match (open, list) {
            (Some(open), _) => Some(self.grow(open, size)),
            (None, list) => {
                match list {
                    Some(list) => self.bytes.extend_from_within(list),
                    None => self.begin_list(topic, stream, first),
                }
                self.write_head(first, size, time, publisher)
            }
        };
        if let Some(Part { appends: Some(appends), .. }) = self.parts.last_mut() {
            appends.next = next;
            appends.sequence = publisher.and_then(|by| by.sequence).or(appends.sequence);
        }
        self.bytes.reserve(size);
    }

    /// Where the fields of a list stand, if the last record is an append to it that ends at this
    /// offset.
    fn list_before(&self, topic: &str, stream: StreamId, offset: u64) -> Option<Range<usize>> {
        let last = self.parts.last()?.appends.as_ref()?;
        let name = last.topic.clone();
        let is_same = self.bytes.get(name.clone())? == topic.as_bytes()
            && (last.stream, last.next) == (stream, offset);
        // Before the name a letter and a tab, after it a tab, 16 digits and a tab.
        is_same.then_some(name.start - 2..name.end + 18)
    }

    /// Begins an append to another list than the record before.
    fn begin_list(&mut self, topic: &str, stream: StreamId, first: u64) {
        let start = self.begin();
        self.write(format_args!("+\t{topic}\t{stream}\t"));
        let topic = start + 2..start + 2 + topic.len();
        let appends = Some(Appends { topic, stream, first, next: first, sequence: None });
        self.parts.push(Part { start, appends });
    }

    /// Writes what follows on the list in the head of an append. Gives what may join it.
    fn write_head(
        &mut self,
        first: u64,
        size: usize,
        time: u64,
        publisher: Option<Publisher<'_>>,
    ) -> Option<Open> {
        let bytes = &mut self.bytes;
        write_decimal(bytes, first);
        bytes.push(b'\t');
        let start = bytes.len();
        write_decimal(bytes, size as u64);
        let mut open = Open { time, publisher: None, digits: start..bytes.len(), size };
        let number = |bytes: &mut Vec<u8>, number| {
            bytes.push(b'\t');
            write_decimal(bytes, number);
        };
        number(bytes, time);
        if let Some(Publisher { name, .. }) = publisher {
            bytes.push(b'\t');
            bytes.extend_from_slice(name.as_bytes());
            open.publisher = Some(bytes.len() - name.len()..bytes.len());
        }
        let sequence = publisher.and_then(|publisher| publisher.sequence);
        if let Some(Sequence { epoch, sequence }) = sequence {
            number(bytes, epoch);
            number(bytes, sequence);
        }
        bytes.push(b'\n');
        sequence.is_none().then_some(open)
    }

    /// Says in the head of the last record that so many bytes more follow it.
    fn grow(&mut self, mut open: Open, more: usize) -> Open {
        open.size += more;
        let digits = open.size.to_string();
        let grown = digits.len() - open.digits.len();
        self.bytes.splice(open.digits.clone(), digits.into_bytes());
        open.digits.end += grown;
        let moved = |name: Range<usize>| name.start + grown..name.end + grown;
        Open { publisher: open.publisher.map(moved), ..open }
    }

    /// Makes room for the frame's header. Gives where the next record begins.
    fn begin(&mut self) -> usize {
        self.bytes.resize(self.bytes.len().max(FRAME_HEADER_SIZE), b' ');
        self.bytes.len()
    }

    fn write(&mut self, text: fmt::Arguments<'_>) {
        self.bytes.write_fmt(text).expect("a Vec takes all that is written to it");
    }

    /// The text of the records.
    pub(super) fn payload(&self) -> &[u8] {
        self.bytes.get(FRAME_HEADER_SIZE..).unwrap_or_default()
    }

    /// The records, each with all that it says.
    pub(crate) fn whole_records(&self) -> impl Iterator<Item = Record<'_>> {
        let text = str::from_utf8(self.payload()).unwrap_or_default();
        Records::new(text, Format::Two).map(|(record, _)| record)
    }

    /// The records as the index takes them, and the bytes of each: appends to one list that follow
    /// on one another are one, and only say where it stands, and whether it has numbers. So no
    /// message is read again.
    pub(super) fn records(&self) -> impl Iterator<Item = (Record<'_>, usize)> {
        let ends = self.parts.iter().skip(1).map(|part| part.start).chain([self.bytes.len()]);
        self.parts.iter().zip(ends).filter_map(|(Part { start, appends }, end)| {
            let text = |range: Range<usize>| str::from_utf8(self.bytes.get(range)?).ok();
            let Some(Appends { topic, stream, first, next, sequence }) = appends else {
                return Records::new(text(*start..end)?, Format::Two).next();
            };
            let (first, count, lines) = (*first, next - first, "");
            let publisher = sequence.map(|_| Publisher { name: "", sequence: *sequence });
            let event = Event::Append { first, count, time: 0, publisher, lines };
            Some((Record { topic: text(topic.clone())?, stream: *stream, event }, end - start))
        })
    }

    /// Writes the frame to a file whose checksums begin with `seed`, from an offset on. Gives where
    /// it ends: where it begins, if it is empty.
    pub(super) fn write_at(&mut self, file: &dyn File, from: u64, seed: Crc32) -> io::Result<u64> {
        let bytes = self.seal(from, seed).unwrap_or_default();
        file.write_all_at(bytes, from)?;
        Ok(from + bytes.len() as u64)
    }

    /// The frame's bytes as they stand in the file; `None` where the frame is empty, or too large
    /// for the length in its header.
    fn seal(&mut self, offset: u64, seed: Crc32) -> Option<&[u8]> {
        let (head, payload) = self.bytes.split_first_chunk_mut::<FRAME_HEADER_SIZE>()?;
        let length = u32::try_from(payload.len()).ok()?;
        let header = FrameHeader { offset, length, checksum: crc32(payload) }.text(seed);
        head.copy_from_slice(header.as_bytes());
        Some(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{Format, Records};
    use super::*;
    use crate::store::{Bound, Bounds};

    fn payload(frame: &Frame) -> &str {
        str::from_utf8(frame.payload()).unwrap()
    }

    fn stream() -> StreamId {
        "00000000000000ab".parse().unwrap()
    }

    #[test]
    fn records_read_as_they_are_drawn() {
        let mut frame = Frame::default();
        let ann = |sequence| Some(Publisher { name: "ann", sequence });
        let sequence = Some(Sequence { epoch: 3, sequence: 41 });
        frame.add(&Record::new("news", stream(), Event::Create));
        frame.append("news", stream(), 0, 17, None, ["first", ""].into_iter());
        frame.append("news", stream(), 2, 17, ann(None), ["second"].into_iter());
        frame.append("news", stream(), 3, 17, ann(sequence), ["third"].into_iter());
        let position = Event::Position { subscriber: "bob", next: 2, seen: 19 };
        frame.add(&Record::new("news", stream(), position));
        frame.add(&Record::new("news", StreamId::NONE, Event::End { subscriber: "bob" }));
        for (first, digest, gone) in [(2, Some(0xbeef), true), (3, None, false)] {
            frame.add(&Record::new("news", stream(), Event::Trim { first, digest, gone }));
        }
        let bounds = Bounds { messages: Bound::At(100), bytes: Bound::None, age: Bound::Default };
        frame.add(&Record::new("news", stream(), Event::Bounds(bounds)));
        let (publisher, next, time) = ("ann", Sequence { epoch: 3, sequence: 42 }, 17);
        frame.add(&Record::new("news", stream(), Event::Sequence { publisher, next, time }));
        let new = "00000000000000ac".parse().unwrap();
        frame.add(&Record::new("news", stream(), Event::NewStream { new, own: true }));
        frame.add(&Record::new("news", stream(), Event::Delete));
        frame.add(&Record::new("news", stream(), Event::Mirror));
        frame.add(&Record::CLOSE);
        let text = "*\tnews\t00000000000000ab\n\
                    +\tnews\t00000000000000ab\t0\t7\t17\nfirst\n\n\
                    +\tnews\t00000000000000ab\t2\t7\t17\tann\nsecond\n\
                    +\tnews\t00000000000000ab\t3\t6\t17\tann\t3\t41\nthird\n\
                    @\tbob\tnews\t00000000000000ab\t2\t19\n\
                    !\tbob\tnews\n\
                    <\tnews\t00000000000000ab\t2\t0000beef\tgone\n\
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
        let publisher = ann(sequence);
        let third = Event::Append { first: 3, count: 1, time: 17, publisher, lines: "third\n" };
        assert_eq!(read[3].0.event, third);
        let mut copy = Frame::default();
        read.iter().for_each(|(record, _)| copy.add(record));
        assert_eq!(payload(&copy), text);
    }

    /// A start hands records on in this way: what is not read again is lost.
    #[test]
    fn a_frame_gives_all_records_as_they_were_added() {
        let long = "ü ".repeat(85);
        for (name, number) in [("", 0), ("-", 1), (&*long, u64::MAX)] {
            let first = number - number.min(3);
            let append = |first, count, publisher, lines| Event::Append {
                first,
                count,
                time: number,
                publisher,
                lines,
            };
            let by = |sequence| Some(Publisher { name, sequence });
            let next = Sequence { epoch: number, sequence: number };
            let bounds =
                Bounds { messages: Bound::At(number), bytes: Bound::None, age: Bound::Default };
            let new = stream();
            let events = [
                Event::Create,
                Event::Mirror,
                append(first, 0, None, ""),
                append(first, 1, by(Some(next)), "\n"),
                append(first + 1, 2, by(None), "+\t\n.\n"),
                Event::NewStream { new, own: false },
                Event::NewStream { new, own: true },
                Event::Trim { first: number, digest: Some(u32::MAX), gone: false },
                Event::Trim { first: number, digest: None, gone: true },
                Event::Bounds(bounds),
                Event::Sequence { publisher: name, next, time: number },
                Event::Position { subscriber: name, next: number, seen: number },
                Event::Delete,
            ];
            let end = Record::new(name, StreamId::NONE, Event::End { subscriber: name });
            let mut records = vec![end, Record::CLOSE];
            for stream in [StreamId::NONE, stream(), format!("{:x}", u64::MAX).parse().unwrap()] {
                records.extend(events.map(|event| Record::new(name, stream, event)));
            }
            let mut frame = Frame::default();
            records.iter().for_each(|record| frame.add(record));
            assert_eq!(frame.whole_records().collect::<Vec<_>>(), records);
        }
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
        // The index takes all together that follows on in one list.
        let appends = frame.records().map(|(record, size)| match record.event {
            Event::Append { first, count, .. } => (record.topic, first, count, size),
            other => panic!("{other:?}"),
        });
        let (a, b) = text.split_at(text.find("+\tb").unwrap());
        let (b, c) = b.split_at(b.rfind('+').unwrap());
        let expected = [("a", 0, 6, a.len()), ("b", 6, 1, b.len()), ("b", 8, 1, c.len())];
        assert_eq!(appends.collect::<Vec<_>>(), expected);
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
        assert!(frame.bytes.len() <= 150 * 1000, "{} bytes", frame.bytes.len());
    }

    #[test]
    fn a_cleared_frame_is_empty_and_seals_nothing() {
        let mut frame = Frame::default();
        assert!(frame.seal(28, Crc32::default()).is_none());
        frame.add(&Record::new("news", StreamId::NONE, Event::End { subscriber: "bob" }));
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
        assert!(matches!(
            records.next(),
            Some((Record { event: Event::Position { next: 2, seen: 0, .. }, .. }, _))
        ));
        // What format 1 did not have.
        let mut records = Records::new("#\ta\n", Format::One);
        assert_eq!(records.next(), None);
    }
}
