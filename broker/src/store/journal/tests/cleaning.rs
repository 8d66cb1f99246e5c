//! Cleaning: what is alive stays the same, whatever happens in between.

use super::super::segment::Segment;
use super::super::{Event, Journal, Settings, Sync};
use super::disk::{Fault, SimulatedDisk};
use super::{Opened, open_with, stream};
use crate::store::journal::{Error, Failure, Frame, Record};
use crate::store::{Bound, Bounds, Publisher, Sequence};
use std::collections::BTreeMap;
use std::io::ErrorKind;

const SMALL: Settings = Settings { sync: Sync::Always, segment_size: 700 };

/// What a journal says in the end: what whoever replays it must be able to rely on.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct State {
    topics: BTreeMap<String, List>,
    positions: BTreeMap<(String, String), String>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct List {
    stream: String,
    first: u64,
    digest: Option<u32>,
    /// From `first` on.
    messages: BTreeMap<u64, String>,
    bounds: String,
    /// The last numbers of each publisher.
    sequences: BTreeMap<String, Sequence>,
}

impl State {
    fn apply(&mut self, record: &Record<'_>) {
        let Record { topic, stream, event } = *record;
        let list = self.topics.get_mut(topic);
        match event {
            Event::Create | Event::Mirror => {
                let list = List { stream: stream.to_string(), ..List::default() };
                assert!(self.topics.insert(topic.to_owned(), list).is_none());
            }
            Event::Append { first, count, publisher, lines, .. } => {
                let list = list.unwrap();
                let messages = lines.split_terminator('\n').map(str::to_owned);
                list.messages.extend((first..).zip(messages));
                list.messages.retain(|offset, _| *offset >= list.first);
                if let Some(Publisher { name, sequence: Some(sequence) }) = publisher {
                    list.sequences.insert(name.to_owned(), sequence.later(count));
                }
            }
            Event::Delete => {
                self.topics.remove(topic);
                self.positions.retain(|(of, _), _| of != topic);
            }
            Event::NewStream { new, .. } => list.unwrap().stream = new.to_string(),
            Event::Trim { first, digest, .. } => {
                let list = list.unwrap();
                if first > list.first || (first == list.first && digest.is_some()) {
                    (list.first, list.digest) = (first, digest);
                }
                list.messages.retain(|offset, _| *offset >= list.first);
            }
            Event::Bounds(bounds) => list.unwrap().bounds = bounds.to_string(),
            Event::Sequence { publisher, next, .. } => {
                list.unwrap().sequences.insert(publisher.to_owned(), next);
            }
            Event::Position { subscriber, next, .. } => {
                let key = (topic.to_owned(), subscriber.to_owned());
                self.positions.insert(key, format!("{next}@{stream}"));
            }
            Event::End { subscriber } => {
                self.positions.remove(&(topic.to_owned(), subscriber.to_owned()));
            }
            Event::Close => {}
        }
    }
}

/// What a start finds, and the journal that it opens.
fn start(disk: &SimulatedDisk) -> (State, Journal) {
    let mut state = State::default();
    let directory = std::sync::Arc::new(disk.clone());
    let progress = super::Progress::default();
    let opened = Journal::open_in(directory, SMALL, &progress, |record| state.apply(&record));
    (state, opened.unwrap().0)
}

/// Cleans until nothing is left to clean; gives how often.
fn clean_all(journal: &Journal) -> usize {
    let mut count = 0;
    while journal.shared.clean_next(true).unwrap() {
        count += 1;
        assert!(count < 1000, "cleaning has no end");
    }
    count
}

fn segments(disk: &SimulatedDisk) -> Vec<String> {
    let names = disk.names().into_iter();
    names.filter(|name| Segment::number(name).is_some()).collect()
}

fn size(disk: &SimulatedDisk) -> usize {
    segments(disk).iter().map(|name| disk.read(name).unwrap().len()).sum()
}

/// A history of random changes, as the store makes them: always the same for a seed.
struct History {
    random: u64,
    /// Name, stream, first and next of each topic.
    topics: Vec<(String, u8, u64, u64)>,
    streams: u8,
    sequences: BTreeMap<(u8, usize), u64>,
    /// The last stream of each topic that was deleted.
    deleted: BTreeMap<String, u8>,
}

impl History {
    fn new(seed: u64) -> History {
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let (sequences, deleted) = Default::default();
        History { random, topics: Vec::new(), streams: 0, sequences, deleted }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 20) % end
    }

    /// Makes the next change, as one frame.
    fn next(&mut self, frame: &mut Frame) {
        frame.clear();
        let count = self.topics.len() as u64;
        let what = self.below(100);
        if count == 0 || (what < 10 && count < 4 && self.streams < 250) {
            let name = format!("topic {}", self.below(5));
            if self.topics.iter().all(|(topic, ..)| *topic != name) {
                // A mirror that is begun anew has the id that it had.
                let again =
                    self.deleted.get(&name).copied().filter(|_| self.random.is_multiple_of(2));
                if again.is_none() {
                    self.streams += 1;
                }
                let id = again.unwrap_or(self.streams);
                frame.add(&Record::new(&name, stream(id), Event::Mirror));
                self.topics.push((name, id, 0, 0));
            }
            return;
        }
        let place = usize::try_from(self.below(count)).unwrap();
        let (name, id, first, next) = self.topics[place].clone();
        match what {
            0..15 if count > 1 => {
                frame.add(&Record::new(&name, stream(id), Event::Delete));
                self.topics.remove(place);
                self.sequences.retain(|(of, _), _| *of != id);
                self.deleted.insert(name, id);
            }
            15..30 if next > first => {
                let first = first + 1 + self.below(next - first);
                frame.add(&Record::new(
                    &name,
                    stream(id),
                    Event::Trim { first, digest: Some(u32::from(id) + 7), gone: false },
                ));
                self.topics[place].2 = first;
            }
            30..36 => {
                let bounds = Bounds { messages: Bound::At(what), ..Bounds::default() };
                frame.add(&Record::new(&name, stream(id), Event::Bounds(bounds)));
            }
            36..48 => {
                let subscriber = format!("reader {}", self.below(3));
                frame.add(&Record::new(
                    &name,
                    stream(id),
                    Event::Position {
                        subscriber: &subscriber,
                        next: self.below(next + 1),
                        seen: 17,
                    },
                ));
            }
            48..52 => {
                let subscriber = &format!("reader {}", self.below(3));
                frame.add(&Record::new(&name, stream(0), Event::End { subscriber }));
            }
            52..55 if self.streams < 250 => {
                self.streams += 1;
                let new = Event::NewStream { new: stream(self.streams), own: false };
                frame.add(&Record::new(&name, stream(id), new));
                self.topics[place].1 = self.streams;
            }
            55..80 => {
                let publisher = usize::try_from(self.below(2)).unwrap();
                let sequence = self.sequences.entry((id, publisher)).or_default();
                let number = Some(Sequence { epoch: 1, sequence: *sequence });
                *sequence += 2;
                let by = ["ann", "bob"][publisher];
                let publisher = Some(Publisher { name: by, sequence: number });
                let messages = [format!("{id} {next}"), format!("{id} {}", next + 1)];
                let messages = messages.iter().map(String::as_str);
                // Of just now, or numbers of a publisher that is gone would not be kept.
                let now = common::clock::unix_milliseconds();
                frame.append(&name, stream(id), next, now, publisher, messages);
                self.topics[place].3 += 2;
            }
            _ => {
                let message = format!("{id} {next} {}", "x".repeat(usize::from(id) % 40));
                frame.append(&name, stream(id), next, 5, None, [message.as_str()].into_iter());
                self.topics[place].3 += 1;
            }
        }
    }
}

#[test]
fn whatever_happened_a_cleaned_journal_says_the_same() {
    let mut cleaned = 0;
    for seed in 0..60 {
        let disk = SimulatedDisk::default();
        let (_, mut journal) = start(&disk);
        let mut history = History::new(seed);
        let mut expected = State::default();
        let mut frame = Frame::default();
        for step in 0..300 {
            history.next(&mut frame);
            journal.append(&mut frame).unwrap();
            super::records(&frame).for_each(|record| expected.apply(&record));
            if history.below(12) == 0 {
                cleaned += clean_all(&journal);
            }
            if history.below(40) == 0 {
                drop(journal);
                let found;
                (found, journal) = start(&disk);
                assert_eq!(found, expected, "seed {seed}, step {step}");
            }
        }
        cleaned += clean_all(&journal);
        drop(journal);
        let (found, journal) = start(&disk);
        assert_eq!(found, expected, "seed {seed}");
        clean_all(&journal);
        let (size_of_all, alive) = journal.shared.index().sizes();
        let is_small = size_of_all <= 2 * alive + 4 * 700;
        assert!(is_small && alive <= size_of_all, "seed {seed}: {size_of_all} for {alive}");
    }
    assert!(cleaned > 500, "{cleaned}");
}

/// A row in which cleaning rewrites, joins and drops, and what it says.
fn row_to_clean() -> (SimulatedDisk, State) {
    let disk = SimulatedDisk::default();
    let (mut state, mut journal) = start(&disk);
    let mut history = History::new(8);
    let mut frame = Frame::default();
    for _ in 0..60 {
        history.next(&mut frame);
        journal.append(&mut frame).unwrap();
        super::records(&frame).for_each(|record| state.apply(&record));
    }
    drop(journal);
    (disk, state)
}

#[test]
fn k09_c04_a_cleaning_that_is_killed_at_any_call_leaves_the_old_or_the_new() {
    let (whole, expected) = row_to_clean();
    let disk = whole.after_kill();
    let (_, journal) = start(&disk);
    disk.plan(None, usize::MAX, Fault::Kill);
    assert!(clean_all(&journal) > 3);
    assert!(size(&disk) < size(&whole));
    let calls = disk.calls().len();
    let mut states = 0;
    for killed_at in 1..=calls {
        let disk = whole.after_kill();
        let (_, journal) = start(&disk);
        disk.plan(None, killed_at, Fault::Kill);
        while matches!(journal.shared.clean_next(true), Ok(true)) {}
        for after in disk.after_power_cuts().into_iter().chain([disk.after_kill()]) {
            let (found, journal) = start(&after);
            assert_eq!(found, expected, "killed at call {killed_at}");
            clean_all(&journal);
            drop(journal);
            assert_eq!(start(&after).0, expected, "killed at call {killed_at}, cleaned again");
            assert!(!after.names().iter().any(|name| name.ends_with(".tmp")));
            states += 1;
        }
    }
    assert!(states > calls);
}

/// Messages that nobody wants are left out unread: nothing else may go with them.
#[test]
fn d01_whatever_is_damaged_a_cleaning_says_so_or_loses_nothing() {
    let (whole, expected) = row_to_clean();
    let (mut cleaned, mut refused) = (0, 0);
    for name in segments(&whole) {
        for at in 0..whole.read(&name).unwrap().len() {
            let disk = whole.after_kill();
            let (_, journal) = start(&disk);
            let mut bytes = disk.read(&name).unwrap();
            bytes[at] ^= 1 << (at % 7);
            disk.put(&name, &bytes);
            while matches!(journal.shared.clean_next(true), Ok(true)) {
                cleaned += 1;
            }
            drop(journal);
            let mut found = State::default();
            let directory = std::sync::Arc::new(disk.clone());
            let progress = super::Progress::default();
            match Journal::open_in(directory, SMALL, &progress, |record| found.apply(&record)) {
                Ok(_) => assert_eq!(found, expected, "{name}, byte {at}"),
                Err(Error::Damaged { .. }) => refused += 1,
                Err(error) => panic!("{name}, byte {at}: {error}"),
            }
        }
    }
    assert!(cleaned > 1000 && refused > 1000, "{cleaned}, {refused}");
}

#[test]
fn e12_a_cleaning_that_fails_at_any_call_leaves_a_journal_that_goes_on_or_ends_the_process() {
    let (whole, expected) = row_to_clean();
    let disk = whole.after_kill();
    let (_, journal) = start(&disk);
    disk.plan(None, usize::MAX, Fault::Kill);
    clean_all(&journal);
    let calls = disk.calls().len();
    for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
        for failed_at in 1..=calls {
            let disk = whole.after_kill();
            let (_, mut journal) = start(&disk);
            disk.plan(None, failed_at, Fault::Error(kind));
            let mut expected = expected.clone();
            let is_known = loop {
                match journal.shared.clean_next(true) {
                    Ok(true) => {}
                    Ok(false) => break true,
                    Err(Failure::NotDone(_)) => break true,
                    Err(Failure::Unknown(_)) => break false,
                }
            };
            if is_known {
                let mut frame = Frame::default();
                frame.add(&Record::new("after", stream(255), Event::Create));
                journal.append(&mut frame).unwrap();
                let record = Record::new("after", stream(255), Event::Create);
                expected.apply(&record);
                clean_all(&journal);
            }
            drop(journal);
            for after in disk.after_power_cuts().into_iter().chain([disk.after_kill()]) {
                assert_eq!(start(&after).0, expected, "{kind:?} at call {failed_at}");
            }
        }
    }
}

#[test]
fn k08_a_start_on_what_a_killed_cleaning_left_can_be_killed_at_any_call() {
    let (whole, expected) = row_to_clean();
    let disk = whole.after_kill();
    let (_, journal) = start(&disk);
    disk.plan(None, usize::MAX, Fault::Kill);
    clean_all(&journal);
    let calls = disk.calls().len();
    for killed_at in (1..=calls).step_by(5) {
        let left = whole.after_kill();
        let (_, journal) = start(&left);
        left.plan(None, killed_at, Fault::Kill);
        while matches!(journal.shared.clean_next(true), Ok(true)) {}
        let probe = left.after_kill();
        probe.plan(None, usize::MAX, Fault::Kill);
        start(&probe);
        for start_killed_at in 1..=probe.calls().len() {
            let disk = left.after_kill();
            disk.plan(None, start_killed_at, Fault::Kill);
            assert!(open_with(&disk, SMALL).is_err());
            for after in disk.after_power_cuts().into_iter().chain([disk.after_kill()]) {
                assert_eq!(start(&after).0, expected, "{killed_at}, then {start_killed_at}");
            }
        }
    }
}

#[test]
fn topics_that_come_and_go_leave_a_journal_that_stays_small() {
    let disk = SimulatedDisk::default();
    let (_, mut journal) = start(&disk);
    let mut frame = Frame::default();
    for round in 0..200_u8 {
        frame.clear();
        frame.add(&Record::new("coming and going", stream(round + 1), Event::Create));
        frame.append("coming and going", stream(round + 1), 0, 5, None, ["gone"].into_iter());
        frame.add(&Record::new(
            "coming and going",
            stream(round + 1),
            Event::Position { subscriber: "ann", next: 1, seen: 17 },
        ));
        journal.append(&mut frame).unwrap();
        frame.clear();
        frame.add(&Record::new("coming and going", stream(round + 1), Event::Delete));
        journal.append(&mut frame).unwrap();
        clean_all(&journal);
    }
    assert!(size(&disk) < 4 * 700, "{} bytes in {:?}", size(&disk), segments(&disk));
    drop(journal);
    assert_eq!(start(&disk).0, State::default());
}

#[test]
fn a_topic_that_lets_go_leaves_a_journal_that_stays_small() {
    let disk = SimulatedDisk::default();
    let (mut expected, mut journal) = start(&disk);
    let mut frame = Frame::default();
    frame.add(&Record::new("t", stream(1), Event::Create));
    for first in 0..500 {
        frame.append("t", stream(1), first, 5, None, ["a message"].into_iter());
        if first >= 10 {
            frame.add(&Record::new(
                "t",
                stream(1),
                Event::Trim { first: first - 9, digest: Some(3), gone: false },
            ));
        }
        journal.append(&mut frame).unwrap();
        super::records(&frame).for_each(|record| expected.apply(&record));
        frame.clear();
        clean_all(&journal);
    }
    assert!(size(&disk) < 4 * 700, "{} bytes in {:?}", size(&disk), segments(&disk));
    drop(journal);
    let Opened { notices, .. } = open_with(&disk, SMALL).unwrap();
    assert!(notices.is_empty());
    let (found, _) = start(&disk);
    assert_eq!(found, expected);
    assert_eq!(found.topics["t"].messages.len(), 10);
}

#[test]
fn what_was_kept_for_the_last_of_a_record_s_messages_goes_with_them() {
    let disk = SimulatedDisk::default();
    let (mut expected, mut journal) = start(&disk);
    let mut frame = Frame::default();
    frame.add(&Record::new("t", stream(1), Event::Create));
    for first in (0..500).step_by(10) {
        frame.append("t", stream(1), first, 5, None, ["one of ten messages"; 10].into_iter());
        journal.append(&mut frame).unwrap();
        super::records(&frame).for_each(|record| expected.apply(&record));
        for first in [first + 5, first + 9] {
            frame.clear();
            let event = Event::Trim { first, digest: Some(3), gone: false };
            frame.add(&Record::new("t", stream(1), event));
            journal.append(&mut frame).unwrap();
            super::records(&frame).for_each(|record| expected.apply(&record));
            clean_all(&journal);
        }
        frame.clear();
    }
    assert!(size(&disk) < 4 * 700, "{} bytes in {:?}", size(&disk), segments(&disk));
    drop(journal);
    assert_eq!(start(&disk).0, expected);
}

#[test]
fn messages_that_nobody_wants_go_unread_and_where_some_are_left_that_waits_for_calm() {
    let disk = SimulatedDisk::default();
    let (mut expected, mut journal) = start(&disk);
    let mut frame = Frame::default();
    frame.add(&Record::new("t", stream(1), Event::Create));
    let mut append = |frame: &mut Frame| {
        journal.append(frame).unwrap();
        super::records(frame).for_each(|record| expected.apply(&record));
        frame.clear();
    };
    append(&mut frame);
    for first in 0..100 {
        frame.append("t", stream(1), first, 5, None, ["a message of no interest"].into_iter());
        append(&mut frame);
    }
    let before = segments(&disk).len();
    // A trim without a digest at this place leaves a part of the last segment that is closed.
    frame.add(&Record::new("t", stream(1), Event::Trim { first: 73, digest: None, gone: false }));
    append(&mut frame);
    // No message of the second segment is wanted: nobody reads what is damaged there.
    let name = &segments(&disk)[1];
    let mut bytes = disk.read(name).unwrap();
    let place = bytes.windows(8).position(|window| window == b"interest").unwrap();
    bytes[place] ^= 1;
    disk.put(name, &bytes);
    let next = |copies| journal.shared.index().candidate(copies, 1, 0);
    while let Some(numbers) = next(false) {
        super::super::cleaning::clean(&journal.shared, numbers).unwrap();
    }
    let part = next(true).unwrap();
    super::super::cleaning::clean(&journal.shared, part).unwrap();
    assert_eq!(next(true), None);
    clean_all(&journal);
    assert!(segments(&disk).len() < before);
    drop(journal);
    assert_eq!(start(&disk).0, expected);
}

/// A journal whose closed segments hold these records of one list, each in a frame of its own.
fn journal_of(segments: &[&[Event<'_>]]) -> (SimulatedDisk, State, Journal) {
    let disk = SimulatedDisk::default();
    let (mut state, mut journal) = start(&disk);
    for events in segments {
        for event in *events {
            let mut frame = Frame::default();
            frame.add(&Record::new("t", stream(1), *event));
            journal.append(&mut frame).unwrap();
            super::records(&frame).for_each(|record| state.apply(&record));
        }
        journal.rotate().unwrap();
    }
    (disk, state, journal)
}

fn append(first: u64, lines: &str) -> Event<'_> {
    Event::Append { first, count: lines.lines().count() as u64, time: 5, publisher: None, lines }
}

fn trim(first: u64) -> Event<'static> {
    Event::Trim { first, digest: Some(3), gone: false }
}

#[test]
fn a_list_whose_messages_go_unread_goes_on_where_it_did() {
    let bounds = Event::Bounds(Bounds::default());
    let begin = [Event::Mirror, append(0, "a\nb\nc\n")];
    let anew = [Event::Mirror, append(0, "a\nb\nc\n"), Event::Delete, Event::Mirror, trim(1)];
    let old = [Event::Mirror, append(0, "a\nb\n"), append(2, "c\nd\n")];
    let none = [Event::Delete, Event::Mirror, bounds];
    let cases: [(&[&[Event<'_>]], _); 3] = [
        (&[&begin, &[bounds], &[append(3, "d\n")], &[trim(4)]], 1..=2),
        (&[&anew, &[append(1, "b\n")], &[trim(9)]], 1..=1),
        (&[&old, &none, &[append(0, "a\n")], &[trim(9)]], 1..=2),
    ];
    for (segments, numbers) in cases {
        let (disk, expected, journal) = journal_of(segments);
        super::super::cleaning::clean(&journal.shared, numbers).unwrap();
        drop(journal);
        assert_eq!(start(&disk).0, expected, "{segments:?}");
    }
}

#[test]
fn messages_of_a_list_that_began_anew_are_not_cleaned_again_and_again() {
    let long = "long ".repeat(30) + "\n";
    let old = [Event::Mirror, trim(6), append(6, &long), Event::Delete];
    let new = [Event::Mirror, trim(5), append(5, "new\n")];
    let (disk, expected, journal) = journal_of(&[&[&old[..], &new].concat()]);
    clean_all(&journal);
    drop(journal);
    assert_eq!(start(&disk).0, expected);
}

#[test]
fn nothing_counts_of_a_list_that_is_gone() {
    let lists = [Event::Mirror, Event::Bounds(Bounds::default()), append(0, "a\n")];
    let (_, _, journal) = journal_of(&[&lists, &[append(1, "b\n"), trim(1)], &[Event::Delete]]);
    assert_eq!(journal.shared.index().sizes().1, 0);
}
