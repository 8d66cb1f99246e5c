//! Cleaning: closed segments are written again without what is dead, while the broker serves.
//!
//! One segment of which most is dead, or several small neighbours, become one that says the same
//! about everything that is alive, in the same place of the row. It is written beside the old one,
//! synced, and renamed over it. So a crash leaves the old segment or the new one.
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
//! What is cancelled by a record that is not on disk yet is kept alive by nothing else: so with
//! `--sync os` the last segment is synced before the rename.

use super::error::Error;
use super::header::SegmentHeader;
use super::index::Contents;
use super::record::{Format, Record};
use super::row::damaged;
use super::scan::{EndKind, Stop, scan};
use super::segment::Segment;
use super::shared::Shared;
use super::storage::File;
use super::writer::SegmentWriter;
use crate::store::stream::StreamId;
use common::clock;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;

/// How long the numbers of a publisher are kept of whom no message is left, in milliseconds.
const SEQUENCE_TIME: u64 = 24 * 60 * 60 * 1000;

/// Why a segment was not cleaned.
#[derive(Debug)]
pub(super) enum CleaningError {
    /// It is as it was, and can be cleaned another time.
    NotDone(Error),
    /// It is not known what the directory holds: end the process. The next start finds out.
    Unknown(Error),
}

/// Cleans the segments with these numbers, which are closed.
pub(super) fn clean(shared: &Shared, numbers: RangeInclusive<u32>) -> Result<(), CleaningError> {
    let Shared { directory, id, .. } = shared;
    let directory = &**directory;
    let names: Vec<String> =
        shared.index().numbers(&numbers).into_iter().map(Segment::name).collect();
    let open = |name: &String| Segment::open(directory, name, *id);
    let segments: Result<Vec<Segment>, Error> = names.iter().map(open).collect();
    let segments = segments.map_err(CleaningError::NotDone)?;
    let header = SegmentHeader { journal: *id, numbers };
    let name = Segment::name(*header.numbers.start());
    let mut before = 0;
    let mut written = None;
    let mut damage = None;
    let result = directory.write_beside(&name, |file| {
        let mut rewrite = Rewrite::begin(shared, &header, file)?;
        for segment in &segments {
            before += segment.file.size()?;
            let end = scan(segment, |frame| {
                frame.records(|mut record, _| {
                    if segment.format == Format::One {
                        rewrite.complete(&mut record);
                    }
                    rewrite.take(&record).map_err(Stop::Failed)
                })
            })?;
            let problem = match end.kind {
                EndKind::Whole => continue,
                EndKind::Torn => "the segment was closed, and something else stands there",
                EndKind::Damaged(problem) => problem,
            };
            damage = Some(damaged(directory, segment, end, problem));
            return Err(io::Error::other("the segment is damaged"));
        }
        written = Some(rewrite.finish()?);
        Ok(())
    });
    let file = result.map_err(|error| CleaningError::NotDone(damage.take().unwrap_or(error)))?;
    drop(segments);
    shared.sync_last().map_err(CleaningError::Unknown)?;
    directory.put_in_place(&name).map_err(CleaningError::Unknown)?;
    drop(file);
    for joined in names.iter().skip(1) {
        // What cannot be removed now is removed by the next start.
        let _ = directory.remove(joined);
    }
    if let Some((contents, size)) = written {
        shared.index().replace(contents);
        shared.closed_size.fetch_sub(before, Ordering::Relaxed);
        shared.closed_size.fetch_add(size, Ordering::Relaxed);
    }
    Ok(())
}

/// A segment that is being written again.
struct Rewrite<'s> {
    shared: &'s Shared,
    numbers: RangeInclusive<u32>,
    writer: SegmentWriter<'s>,
    contents: Contents,
    /// What is known of each topic so far, by name.
    lists: BTreeMap<String, Carried>,
    /// The last position of each lasting subscription, by topic and subscriber.
    positions: BTreeMap<(String, String), (StreamId, u64)>,
    /// The ends of lists, where a segment of format 1 does not say them.
    ends: HashMap<String, (StreamId, u64)>,
}

/// What is carried to the end of the segment for a list.
struct Carried {
    stream: StreamId,
    fate: Fate,
    /// Up to where its messages were left out, since that was last written.
    skipped: Option<u64>,
    /// The last trim.
    trim: Option<(u64, Option<u32>)>,
    /// The last bounds.
    bounds: Option<String>,
    /// Epoch, next sequence and time of publishers whose last messages were left out.
    sequences: BTreeMap<String, (u64, u64, u64)>,
}

/// What becomes of the records of a list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is there, and begins at this offset.
    Alive { first: u64 },
    /// It is gone, and later segments hold records of it: it goes on where they begin.
    HeldLater,
    /// It is gone.
    Dead,
}

impl<'s> Rewrite<'s> {
    fn begin(
        shared: &'s Shared,
        header: &SegmentHeader,
        file: &'s dyn File,
    ) -> io::Result<Rewrite<'s>> {
        Ok(Rewrite {
            shared,
            numbers: header.numbers.clone(),
            writer: SegmentWriter::begin(header, file)?,
            contents: Contents::new(header.numbers.clone(), true),
            lists: BTreeMap::new(),
            positions: BTreeMap::new(),
            ends: HashMap::new(),
        })
    }

    /// Fills in what an append of format 1 leaves out. Its segment is the first of the row, so
    /// every list begins in it.
    fn complete(&mut self, record: &mut Record<'_>) {
        match record {
            Record::Create { topic, stream } | Record::Mirror { topic, stream } => {
                self.ends.insert((*topic).to_owned(), (*stream, 0));
            }
            Record::Append { topic, stream, first, messages, .. } => {
                if let Some((known, next)) = self.ends.get_mut(*topic) {
                    (*stream, *first) = (*known, *next);
                    *next += messages.count_left();
                }
            }
            _ => {}
        }
    }

    /// Takes the next record: keeps it, leaves it out, or carries it to the end.
    fn take(&mut self, record: &Record<'_>) -> io::Result<()> {
        let (before, after) = (*self.numbers.start(), *self.numbers.end());
        match *record {
            Record::Create { topic, stream } | Record::Mirror { topic, stream } => {
                if self.carried(topic, stream).fate == Fate::Dead {
                    return Ok(());
                }
                self.add(record)
            }
            Record::Append { topic, stream, first, ref messages, time, publisher } => {
                let next = first + messages.count_left();
                let carried = self.carried(topic, stream);
                let numbered =
                    publisher.and_then(|publisher| Some((publisher, publisher.sequence?)));
                match carried.fate {
                    Fate::Alive { first } if next > first => {
                        if let Some((publisher, _)) = numbered {
                            carried.sequences.remove(publisher.name);
                        }
                        if let Some(first) = carried.skipped.take() {
                            self.add(&Record::Trim { topic, stream, first, digest: None })?;
                        }
                        return self.add(record);
                    }
                    Fate::Alive { .. } => {
                        if let Some((publisher, sequence)) = numbered {
                            let after = sequence.later(next - first);
                            let numbers = (after.epoch, after.sequence, time);
                            carried.sequences.insert(publisher.name.to_owned(), numbers);
                        }
                    }
                    Fate::HeldLater => {}
                    Fate::Dead => return Ok(()),
                }
                carried.skipped = carried.skipped.max(Some(next));
                Ok(())
            }
            Record::Trim { topic, stream, first, digest } => {
                let carried = self.carried(topic, stream);
                if carried.fate != Fate::Dead {
                    carried.skipped = carried.skipped.max(Some(first));
                    carried.trim = Some((first, digest));
                }
                Ok(())
            }
            Record::Bounds { topic, stream, bounds } => {
                self.carried(topic, stream).bounds = Some(bounds.to_owned());
                Ok(())
            }
            Record::Sequence { topic, stream, publisher, epoch, next, time } => {
                let numbers = (epoch, next, time);
                self.carried(topic, stream).sequences.insert(publisher.to_owned(), numbers);
                Ok(())
            }
            Record::NewStream { topic, stream, new } => {
                // Those that were noted until now are of the old id.
                self.write_positions(Some(topic))?;
                let is_kept = {
                    let index = self.shared.index();
                    index.find(topic, new).is_some()
                        || index.is_held_after(after, topic, new)
                        || index.is_held_before(before, topic, stream)
                };
                self.carried(topic, stream).stream = new;
                if is_kept { self.add(record) } else { Ok(()) }
            }
            Record::Delete { topic, stream } => {
                self.lists.remove(topic);
                self.positions.retain(|(of, _), _| of != topic);
                let is_kept = self.shared.index().is_held_before(before, topic, stream);
                if is_kept { self.add(record) } else { Ok(()) }
            }
            Record::Position { subscriber, topic, stream, next } => {
                if self.lists.get(topic).is_some_and(|list| list.stream != stream)
                    && stream != StreamId::NONE
                {
                    // It came late, for a list that had another id already.
                    return Ok(());
                }
                let last = self.shared.index().position(subscriber, topic);
                if last.is_some_and(|last| self.numbers.contains(&last)) {
                    let key = (topic.to_owned(), subscriber.to_owned());
                    self.positions.insert(key, (stream, next));
                }
                Ok(())
            }
            Record::End { subscriber, topic } => {
                self.positions.remove(&(topic.to_owned(), subscriber.to_owned()));
                let is_kept = {
                    let index = self.shared.index();
                    index.position(subscriber, topic).is_none()
                        && index.has_position_before(before, subscriber, topic)
                };
                if is_kept { self.add(record) } else { Ok(()) }
            }
            Record::Close => Ok(()),
        }
    }

    /// What is carried for a list.
    fn carried(&mut self, topic: &str, stream: StreamId) -> &mut Carried {
        if self.lists.get(topic).is_none_or(|carried| carried.stream != stream) {
            let index = self.shared.index();
            let fate = match index.find(topic, stream) {
                Some(list) => Fate::Alive { first: list.first },
                None if index.is_held_after(*self.numbers.end(), topic, stream) => Fate::HeldLater,
                None => Fate::Dead,
            };
            drop(index);
            let (skipped, trim, bounds, sequences) = (None, None, None, BTreeMap::new());
            let carried = Carried { stream, fate, skipped, trim, bounds, sequences };
            self.lists.insert(topic.to_owned(), carried);
        }
        self.lists.get_mut(topic).expect("it was just put there, if it was not there")
    }

    /// Writes what was carried to the end, and closes the segment. Gives what it holds, and its
    /// size.
    fn finish(mut self) -> io::Result<(Contents, u64)> {
        let now = clock::unix_milliseconds();
        for (topic, carried) in std::mem::take(&mut self.lists) {
            let Carried { stream, fate, mut skipped, trim, bounds, sequences } = carried;
            let (mut has_trim, mut has_bounds) = (false, false);
            if let Some(list) = self.shared.index().find(&topic, stream) {
                has_trim = self.numbers.contains(&list.trim);
                has_bounds = self.numbers.contains(&list.bounds);
            }
            let topic = topic.as_str();
            if let (Some((first, digest)), true) = (trim, has_trim) {
                self.add(&Record::Trim { topic, stream, first, digest })?;
                skipped = skipped.filter(|skipped| *skipped > first);
            }
            if let Some(first) = skipped.filter(|_| fate != Fate::Dead) {
                self.add(&Record::Trim { topic, stream, first, digest: None })?;
            }
            if let Some(bounds) = bounds.filter(|_| has_bounds) {
                self.add(&Record::Bounds { topic, stream, bounds: &bounds })?;
            }
            if !matches!(fate, Fate::Alive { .. }) {
                continue;
            }
            for (publisher, (epoch, next, time)) in sequences {
                if now.saturating_sub(time) < SEQUENCE_TIME {
                    let publisher = publisher.as_str();
                    self.add(&Record::Sequence { topic, stream, publisher, epoch, next, time })?;
                }
            }
        }
        self.write_positions(None)?;
        self.add(&Record::Close)?;
        Ok((self.contents, self.writer.finish()?))
    }

    /// Writes the positions in one topic, or in all.
    fn write_positions(&mut self, of: Option<&str>) -> io::Result<()> {
        for ((topic, subscriber), (stream, next)) in std::mem::take(&mut self.positions) {
            if of.is_some_and(|of| of != topic) {
                self.positions.insert((topic, subscriber), (stream, next));
                continue;
            }
            let (subscriber, topic) = (subscriber.as_str(), topic.as_str());
            self.add(&Record::Position { subscriber, topic, stream, next })?;
        }
        Ok(())
    }

    /// Keeps a record.
    fn add(&mut self, record: &Record<'_>) -> io::Result<()> {
        let size = self.writer.add(record)?;
        self.contents.add(record, size);
        Ok(())
    }
}
