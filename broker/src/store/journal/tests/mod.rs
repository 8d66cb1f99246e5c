//! The journal against a simulated disk: power cuts, damage, failures; and the real one.
//!
//! Letters and numbers in the names of tests are those of the list of faults that the broker
//! must survive: C power cuts, D damage, E errors, K kills, P promises.

mod cleaning;
mod damage;
pub(super) mod disk;
mod errors;
mod power;
mod real;
mod repair;
mod reserve;
mod segments;

use super::record::{Format, Records};
use super::segment::Segment;
use super::{Error, Event, Failure, Frame, Journal, Notice, Progress, Record, Settings, Sync};
use crate::store::{Publisher, Sequence, StreamId};
use disk::{Call, Fault, SimulatedDisk};
use std::io::ErrorKind;
use std::sync::Arc;

/// A segment that is never closed.
const ONE: Settings = Settings { sync: Sync::Always, segment_size: u64::MAX };

/// The first segment's name.
const FIRST: &str = "journal-00000001";

/// An empty journal, whose n-th write from now on finds the disk full, for each of `numbers`.
pub(crate) fn full_at(numbers: &[usize]) -> Journal {
    let disk = SimulatedDisk::default();
    let journal = open(&disk).unwrap().journal;
    for number in numbers {
        let fault = Fault::Error(ErrorKind::StorageFull);
        disk.plan(Some(Call::Write), *number, fault);
    }
    journal
}

/// Where the last frame of a journal ends, which has one segment.
fn end_of(journal: &Journal) -> usize {
    usize::try_from(journal.size()).unwrap()
}

/// A journal that was opened, and all that it told.
struct Opened {
    journal: Journal,
    notices: Vec<Notice>,
    /// One line for each record, and for each message of an append.
    seen: Vec<String>,
}

fn open(disk: &SimulatedDisk) -> Result<Opened, Error> {
    open_with(disk, ONE)
}

fn open_with(disk: &SimulatedDisk, settings: Settings) -> Result<Opened, Error> {
    let mut seen = Vec::new();
    let directory = Arc::new(disk.clone());
    let progress = Progress::default();
    let (journal, notices) =
        Journal::open_in(directory, settings, &progress, |record| see(&record, &mut seen))?;
    Ok(Opened { journal, notices, seen })
}

/// A new journal with an empty topic, `news`, and what was seen of it.
fn with_news(disk: &SimulatedDisk) -> Journal {
    let mut journal = open(disk).unwrap().journal;
    journal.append(&mut news()).unwrap();
    journal
}

/// A frame that creates the topic `news`.
fn news() -> Frame {
    let mut frame = Frame::default();
    frame.add(&Record::new("news", stream(1), Event::Create));
    frame
}

/// What the records of a journal are, without anything that a start may tell.
fn contents(disk: &SimulatedDisk) -> Vec<String> {
    let opened = open(disk).unwrap();
    assert!(opened.notices.is_empty(), "{:?}", opened.notices);
    opened.seen
}

fn see(record: &Record<'_>, seen: &mut Vec<String>) {
    let Record { topic, stream, event } = record;
    if let Event::Append { first, time, publisher, lines, .. } = event {
        for (offset, message) in (*first..).zip(lines.split_terminator('\n')) {
            seen.push(format!("{topic} {stream} {offset} {time} {publisher:?}: {message}"));
        }
    } else {
        seen.push(format!("{record:?}"));
    }
}

/// What a frame will be seen as.
fn seen_in(frame: &Frame) -> Vec<String> {
    let mut seen = Vec::new();
    records(frame).for_each(|record| see(&record, &mut seen));
    seen
}

/// The records of a frame, as they are read.
fn records(frame: &Frame) -> impl Iterator<Item = Record<'_>> {
    let text = str::from_utf8(frame.payload()).unwrap();
    Records::new(text, Format::Two).map(|(record, _)| record)
}

fn stream(number: u8) -> StreamId {
    format!("{number:016x}").parse().unwrap()
}

/// One message of the topic with this stream, appended without a publisher.
fn publish(frame: &mut Frame, topic: &str, id: u8, first: u64, message: &str) {
    frame.append(topic, stream(id), first, 1, None, [message].into_iter());
}

/// A frame of one message in `news`.
fn single(first: u64, message: &str) -> Frame {
    let mut frame = Frame::default();
    publish(&mut frame, "news", 1, first, message);
    frame
}

/// Three frames: twenty messages in two topics, some numbered, the longest over 4 KiB.
fn frames() -> [Frame; 3] {
    let mut frames: [Frame; 3] = Default::default();
    let text = |number: u8| format!("message {number:03} {}", "as long as most are ".repeat(4));
    let [first, second, third] = &mut frames;

    first.add(&Record::new("news", stream(1), Event::Create));
    first.add(&Record::new("ünï/..", stream(2), Event::Create));
    for number in 0..7 {
        let time = 1_700_000_000_000 + u64::from(number);
        let message = text(number);
        let messages = [message.as_str()].into_iter();
        first.append("news", stream(1), number.into(), time, None, messages);
    }
    for number in 7..13 {
        let offset = u64::from(number) - 7;
        let sequence = Some(Sequence { epoch: 1, sequence: offset });
        let publisher = Some(Publisher { name: "ann", sequence });
        let (time, message) = (1_700_000_000_100, text(number));
        let messages = [message.as_str()].into_iter();
        second.append("ünï/..", stream(2), offset, time, publisher, messages);
    }
    let (subscriber, topic, stream_of) = ("bob", "news", stream(1));
    second.add(&Record::new(topic, stream_of, Event::Position { subscriber, next: 3, seen: 17 }));
    let long = "long ".repeat(840);
    let batch = [text(13), long, String::new(), text(16), text(17)];
    let publisher = Some(Publisher { name: "carl", sequence: None });
    let messages = batch.iter().map(String::as_str);
    third.append("news", stream(1), 7, 1_700_000_000_200, publisher, messages);
    publish(third, "ünï/..", 2, 6, &text(18));
    publish(third, "ünï/..", 2, 7, &text(19));
    frames
}

/// The first segment that those frames make, and what is seen of it.
struct Base {
    bytes: Vec<u8>,
    /// The file beside it.
    manifest: Vec<u8>,
    /// Where each frame ends, and before them the file's header.
    ends: Vec<usize>,
    /// What is seen of each frame.
    seen: Vec<Vec<String>>,
}

impl Base {
    fn new() -> Base {
        let disk = SimulatedDisk::default();
        let mut journal = open(&disk).unwrap().journal;
        let manifest = disk.read("journal").unwrap();
        let mut base = Base { bytes: Vec::new(), manifest, ends: Vec::new(), seen: Vec::new() };
        base.ends.push(end_of(&journal));
        for mut frame in frames() {
            journal.append(&mut frame).unwrap();
            base.ends.push(end_of(&journal));
            base.seen.push(seen_in(&frame));
        }
        base.bytes = disk.read(FIRST).unwrap();
        base
    }

    /// What is seen of the first frames.
    fn seen(&self, frames: usize) -> Vec<String> {
        self.seen[..frames].concat()
    }

    /// How many frames end at or before this byte.
    fn frames_before(&self, byte: usize) -> usize {
        self.ends.iter().filter(|end| **end <= byte).count().saturating_sub(1)
    }

    /// Where the last frame begins.
    fn last(&self) -> usize {
        self.ends[2]
    }

    /// A disk with these bytes changed by `change`.
    fn changed(&self, change: impl FnOnce(&mut Vec<u8>)) -> SimulatedDisk {
        let mut bytes = self.bytes.clone();
        change(&mut bytes);
        let disk = SimulatedDisk::with(FIRST, &bytes);
        disk.put("journal", &self.manifest);
        disk
    }

    /// The segment, as it is opened.
    fn segment(&self) -> Segment {
        open(&self.changed(|_| {})).unwrap().journal.segment
    }
}

/// Whether an error has these words.
fn says(error: &Error, words: &str) -> bool {
    error.to_string().contains(words)
}

/// The offset that an error names; the test fails on an error that is not about the content.
fn refused_at(error: &Error) -> u64 {
    match error {
        Error::Damaged { offset, .. } => *offset,
        Error::Unusable { is_damage: true, .. } => 0,
        other => panic!("not a refusal of the content: {other:?}"),
    }
}

#[test]
fn the_base_file_is_what_the_tests_rely_on() {
    let base = Base::new();
    let messages = base.seen(3).iter().filter(|line| line.contains(": message")).count();
    assert_eq!(base.seen(3).len(), 23, "20 messages, 2 topics, 1 subscription");
    assert!(messages >= 18);
    assert!(base.bytes.len() < 8 << 10);
    assert!(base.ends.windows(2).all(|ends| ends[1] - ends[0] > 512));
    assert!(!base.bytes.contains(&0), "a zero byte is always something that the disk lost");
    assert_eq!(contents(&base.changed(|_| {})), base.seen(3));
}

#[test]
fn a_new_journal_says_so_and_an_opened_one_has_nothing_to_tell() {
    let disk = SimulatedDisk::default();
    let opened = open(&disk).unwrap();
    assert!(matches!(opened.notices.as_slice(), [Notice::Created { .. }]));
    assert!(opened.seen.is_empty());
    assert!(contents(&disk).is_empty());
}

#[test]
fn p1_p3_what_was_appended_comes_back_in_order_over_many_starts() {
    let disk = SimulatedDisk::default();
    let mut expected = seen_in(&news());
    with_news(&disk);
    for round in 0..10 {
        let mut opened = open(&disk).unwrap();
        assert_eq!(opened.seen, expected);
        for part in 0..3 {
            let mut frame = single(round * 3 + part, &format!("{round} {part}"));
            opened.journal.append(&mut frame).unwrap();
            expected.extend(seen_in(&frame));
        }
        opened.journal.append(&mut Frame::default()).unwrap();
    }
    assert_eq!(contents(&disk), expected);
}

#[test]
fn a_journal_of_many_blocks_and_of_frames_larger_than_a_block_comes_back() {
    let disk = SimulatedDisk::default();
    let mut journal = with_news(&disk);
    let mut expected = seen_in(&news());
    let sizes = [10, 400_000, 1_500_000, 100, 700_000, 511 << 10, 600_000, 1];
    for (first, size) in (0..).zip(sizes) {
        let mut frame = single(first, &"x".repeat(size));
        journal.append(&mut frame).unwrap();
        expected.extend(seen_in(&frame));
    }
    assert_eq!(contents(&disk), expected);
    for torn in [1, 100, 600_000] {
        let mut bytes = disk.read(FIRST).unwrap();
        bytes.truncate(bytes.len() - torn);
        let disk = disk.after_power_cuts().remove(0);
        // As it was before the start above noted how far it reached.
        open(&disk).unwrap().journal.shared.set_reached(1, 63).unwrap();
        disk.put(FIRST, &bytes);
        let opened = open(&disk).unwrap();
        assert!(expected.starts_with(&opened.seen));
        assert!(matches!(opened.notices.as_slice(), [Notice::Torn(_)]));
    }
}

#[test]
fn a_frame_over_the_limit_is_refused_and_one_at_the_limit_is_not() {
    let disk = SimulatedDisk::default();
    let mut journal = with_news(&disk);
    let head = single(0, "").size() + "67108864".len() - 1;
    let mut frame = single(0, &"x".repeat(super::FRAME_SIZE_MAX - head));
    assert_eq!(frame.size(), super::FRAME_SIZE_MAX);
    disk.plan(Some(Call::Write), 1, Fault::Error(ErrorKind::StorageFull));
    assert!(matches!(journal.append(&mut frame), Err(Failure::NotDone(_))));
    assert!(disk.calls().contains(&Call::Write), "it was to be written");

    frame.add(&Record::new("y", StreamId::NONE, Event::End { subscriber: "x" }));
    disk.plan(None, usize::MAX, Fault::Kill);
    assert!(matches!(journal.append(&mut frame), Err(Failure::NotDone(_))));
    assert!(disk.calls().is_empty());
}
