//! Cleaning: closed segments are written again without what is dead, while the broker serves.
//!
//! One segment of which most is dead, or several small neighbours, become one that says the same
//! about everything that is alive, in the same place of the row. It is written beside the old one,
//! synced, and renamed over it. So a crash leaves the old segment or the new one. Messages of
//! lists that have none left there are not read for that.
//!
//! # What is kept
//!
//! - A creation, while its list is there, or a later segment holds a record of it.
//! - Messages that were not let go. For those that were, a trim says where the list goes on, and a
//!   record holds the numbers of each publisher.
//! - The last trim, bounds and position, where this segment has it. They are written as they were
//!   at the end of this segment, never as they are now.
//! - A deletion, and the end of a subscription, while an earlier segment holds what it cancels.
//!
//! Nothing keeps a record that a later one cancels, and the later one may not be on disk yet. So
//! with `--sync os` the last segment is synced before the rename.

use super::index::{Contents, hash};
use super::{
    EndKind, Error, Event, Failure, List, Numbers, Record, Scan, Segment, SegmentHeader,
    SegmentWriter, Shared,
};
use crate::store::{Bounds, Sequence, StreamId};
use common::clock;
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// How long the numbers of a publisher without a remaining message are kept, in milliseconds.
const SEQUENCE_TIME: u64 = 24 * 60 * 60 * 1000;

/// After so many bytes of records cleaning rests.
const PIECE_SIZE: usize = 1 << 20;

/// Cleans the segments with these numbers, which are closed.
pub(super) fn clean(shared: &Shared, numbers: Numbers) -> Result<(), Failure> {
    let Shared { directory, id, .. } = shared;
    let directory = &**directory;
    let index = shared.index();
    let names: Vec<String> = index.numbers(&numbers).into_iter().map(Segment::name).collect();
    drop(index);
    let open = |name: &String| Segment::open(directory, name, *id);
    let segments: Result<Vec<Segment>, Error> = names.iter().map(open).collect();
    let segments = segments.map_err(Failure::NotDone)?;
    let header = SegmentHeader { journal: *id, numbers };
    let name = Segment::name(*header.numbers.start());
    let (mut before, mut damage) = (0, None);
    let written = directory.write_beside(&name, |file| {
        let (lists, positions) = Default::default();
        let contents = Contents::new(header.numbers.clone());
        let writer = SegmentWriter::begin(&header, file)?;
        let mut rewrite = Rewrite { shared, writer, contents, lists, positions };
        let (mut begun, mut read) = (Instant::now(), 0);
        for segment in &segments {
            let mut scan = Scan::new(segment)?;
            before += scan.size();
            let mut end = scan.begin();
            loop {
                if scan.pass(|record| rewrite.pass(record))? {
                    continue;
                }
                let mut take = |record: Record<'_>, size| {
                    read += size;
                    if read >= PIECE_SIZE {
                        shared.rest(begun);
                        (begun, read) = (Instant::now(), 0);
                    }
                    Ok(rewrite.take(&record)?)
                };
                if !scan.read_next(&mut end, &mut take)? {
                    break;
                }
            }
            let problem = match end.kind {
                EndKind::Whole => continue,
                EndKind::Torn => "the segment was closed, and something else stands there",
                EndKind::Damaged(problem) => problem,
            };
            damage = Some(segment.damaged(end.offset, problem));
            return Err(io::Error::other("the segment is damaged"));
        }
        rewrite.finish()
    });
    let written = written.map_err(|error| Failure::NotDone(damage.unwrap_or(error)))?;
    let (file, (contents, size)) = written;
    drop(segments);
    shared.sync_last().map_err(Failure::Unknown)?;
    directory.put_in_place(&name).map_err(Failure::Unknown)?;
    drop(file);
    for joined in names.iter().skip(1) {
        // What cannot be removed now is removed by the next start.
        let _ = directory.remove(joined);
    }
    shared.index().replace(contents);
    shared.closed_size.fetch_sub(before, Ordering::Relaxed);
    shared.closed_size.fetch_add(size, Ordering::Relaxed);
    Ok(())
}

/// A segment that is being written again.
struct Rewrite<'s> {
    shared: &'s Shared,
    writer: SegmentWriter<'s>,
    contents: Contents,
    /// What is known of each topic so far, by name.
    lists: BTreeMap<String, Carried>,
    /// The last position of each lasting subscription, by topic and subscriber.
    positions: BTreeMap<(String, String), (StreamId, u64, u64)>,
}

/// What is carried to the end of the segment for a list.
#[derive(Default)]
struct Carried {
    stream: StreamId,
    /// The list as it was when its first record was read; `None` where it was gone.
    list: Option<List>,
    /// Whether it is gone, and later segments hold records of it: it goes on where they begin.
    is_held_later: bool,
    /// Where it goes on behind these segments, if they hold no message that is there.
    passed: Option<u64>,
    /// Up to where its messages were left out, since that was last written.
    skipped: Option<u64>,
    /// The last trim.
    trim: Option<(u64, Option<u32>, bool)>,
    /// The last bounds.
    bounds: Option<Bounds>,
    /// What comes next of publishers whose last messages were left out, and when that was.
    sequences: BTreeMap<String, (Sequence, u64)>,
}

impl Rewrite<'_> {
    /// Whether a record can be left out of which only the first line is known, and that may be
    /// damaged. So it is one of a list that is known by its id, or of a kind that is not kept here.
    fn pass(&mut self, record: &Record<'_>) -> bool {
        let numbers = self.contents.numbers.clone();
        let is_trim = match record.event {
            Event::Append { .. } => false,
            Event::Trim { .. } => true,
            Event::Position { .. } => return !self.shared.index().has_positions(&numbers),
            _ => return false,
        };
        let carried = self.carried(record.topic, record.stream);
        if is_trim && carried.list.is_some_and(|list| numbers.contains(&list.trim)) {
            return false;
        }
        carried.skipped = carried.skipped.max(carried.passed);
        carried.passed.is_some()
    }

    /// Takes the next record: keeps it, leaves it out, or carries it to the end.
    fn take(&mut self, record: &Record<'_>) -> io::Result<()> {
        let Record { topic, stream, event } = *record;
        let before = *self.contents.numbers.start();
        let is_kept = match event {
            Event::Create | Event::Mirror => self.is_held(topic, stream),
            Event::Append { first, count, time, publisher, .. } => {
                let next = first + count;
                let numbered = publisher.and_then(|by| Some((by.name, by.sequence?)));
                let carried = self.carried(topic, stream);
                if carried.list.is_none_or(|list| next <= list.first) {
                    carried.skipped = carried.skipped.max(Some(next));
                    if let Some((name, sequence)) = numbered {
                        carried.sequences.insert(name.to_owned(), (sequence.later(count), time));
                    }
                    return Ok(());
                }
                if let Some((name, _)) = numbered {
                    carried.sequences.remove(name);
                }
                if let Some(first) = carried.skipped.take() {
                    self.add(topic, stream, Event::Trim { first, digest: None, gone: false })?;
                }
                true
            }
            Event::Trim { first, digest, gone } => {
                let carried = self.carried(topic, stream);
                carried.skipped = carried.skipped.max(Some(first));
                carried.trim = Some((first, digest, gone));
                false
            }
            Event::Bounds(bounds) => {
                self.carried(topic, stream).bounds = Some(bounds);
                false
            }
            Event::Sequence { publisher, next, time } => {
                self.carried(topic, stream).sequences.insert(publisher.to_owned(), (next, time));
                false
            }
            Event::NewStream { new, .. } => {
                // Those that were noted until now are of the old id.
                self.write_positions()?;
                let is_held = self.is_held(topic, stream);
                self.carried(topic, stream).stream = new;
                is_held
            }
            Event::Delete => {
                self.positions.retain(|(of, _), _| of != topic);
                let is_held = self.is_held(topic, stream);
                self.lists.remove(topic);
                is_held || self.shared.index().has_position_before(before, hash("", topic))
            }
            Event::Position { subscriber, next, seen } => {
                // Not one that came late, for a list that had another id already.
                let is_late = self.lists.get(topic).is_some_and(|list| list.stream != stream)
                    && stream != StreamId::NONE;
                let last = self.shared.index().position(subscriber, topic);
                if last.is_some_and(|last| self.contents.numbers.contains(&last)) && !is_late {
                    let key = (topic.to_owned(), subscriber.to_owned());
                    self.positions.insert(key, (stream, next, seen));
                }
                false
            }
            Event::End { subscriber } => {
                self.positions.remove(&(topic.to_owned(), subscriber.to_owned()));
                let index = self.shared.index();
                index.position(subscriber, topic).is_none()
                    && index.has_position_before(before, hash(subscriber, topic))
            }
            Event::Close => false,
        };
        if is_kept { self.add(topic, stream, event) } else { Ok(()) }
    }

    /// Whether a list is there, or another segment holds anything of it. A mirror that begins anew
    /// may have the id that it had: then both are taken for one.
    fn is_held(&mut self, topic: &str, stream: StreamId) -> bool {
        let (id, before) = (self.shared.index().id(topic, stream), *self.contents.numbers.start());
        let carried = self.carried(topic, stream);
        carried.list.is_some() || carried.is_held_later || self.shared.index().is_held(..before, id)
    }

    /// What is carried for a list.
    fn carried(&mut self, topic: &str, stream: StreamId) -> &mut Carried {
        if self.lists.get(topic).is_none_or(|carried| carried.stream != stream) {
            let index = self.shared.index();
            let id = index.id(topic, stream);
            let (list, later) = (index.find(id).copied(), *self.contents.numbers.end() + 1);
            let is_held_later = list.is_none() && index.is_held(later.., id);
            let passed = index.passed(id, &self.contents.numbers).filter(|_| !is_held_later);
            let carried = Carried { stream, list, is_held_later, passed, ..Carried::default() };
            self.lists.insert(topic.to_owned(), carried);
        }
        self.lists.get_mut(topic).expect("it was just put there, if it was not there")
    }

    /// Writes what was carried to the end, and closes the segment. Gives what it holds, and its
    /// size.
    fn finish(mut self) -> io::Result<(Contents, u64)> {
        let now = clock::unix_milliseconds();
        for (topic, carried) in std::mem::take(&mut self.lists) {
            let Carried { stream, list, is_held_later, mut skipped, .. } = carried;
            let Carried { trim, bounds, sequences, .. } = carried;
            if list.is_none() && !is_held_later {
                continue;
            }
            let topic = topic.as_str();
            let numbers = &self.contents.numbers;
            let has_trim = list.is_some_and(|list| numbers.contains(&list.trim));
            let has_bounds = list.is_some_and(|list| numbers.contains(&list.bounds));
            if let Some((first, digest, gone)) = trim.filter(|_| has_trim) {
                self.add(topic, stream, Event::Trim { first, digest, gone })?;
                skipped = skipped.filter(|skipped| *skipped > first);
            }
            if let Some(first) = skipped {
                self.add(topic, stream, Event::Trim { first, digest: None, gone: false })?;
            }
            if let Some(bounds) = bounds.filter(|_| has_bounds) {
                self.add(topic, stream, Event::Bounds(bounds))?;
            }
            for (publisher, (next, time)) in sequences {
                if list.is_some() && now.saturating_sub(time) < SEQUENCE_TIME {
                    let publisher = publisher.as_str();
                    self.add(topic, stream, Event::Sequence { publisher, next, time })?;
                }
            }
        }
        self.write_positions()?;
        self.add("", StreamId::NONE, Event::Close)?;
        Ok((self.contents, self.writer.finish()?))
    }

    /// Writes the positions that were noted so far.
    fn write_positions(&mut self) -> io::Result<()> {
        for ((topic, subscriber), (stream, next, seen)) in std::mem::take(&mut self.positions) {
            let subscriber = subscriber.as_str();
            self.add(&topic, stream, Event::Position { subscriber, next, seen })?;
        }
        Ok(())
    }

    /// Keeps a record.
    fn add(&mut self, topic: &str, stream: StreamId, event: Event<'_>) -> io::Result<()> {
        let record = Record::new(topic, stream, event);
        let size = self.writer.add(&record)?;
        let list = self.shared.index().id(topic, stream);
        self.contents.add(&record, list, size);
        Ok(())
    }
}
