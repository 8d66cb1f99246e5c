//! `broker repair`: what is good in a damaged journal is kept, and the rest is set aside.
//!
//! Everything before the first damage stays as it is. From the segment with the first damage on,
//! all whole frames are read, and their records are written to one new segment in its place, as
//! far as they can follow on one another. The rename of that segment is the moment at which the
//! repair happens; the damaged files were copied aside before.
//!
//! # Guarantee
//!
//! A topic that may have lost a message, or whose offsets may have moved, goes on under a new
//! stream id. That is in the new segment itself, so nobody is ever served without it.

use super::JOURNAL;
use super::error::Error;
use super::header::{JournalId, SegmentHeader};
use super::index::Index;
use super::manifest::{self, Content, Manifest};
use super::record::{Format, Record};
use super::recovery::{self, Torn};
use super::row::Row;
use super::scan::{EndKind, Stop, next_header, scan_from};
use super::segment::Segment;
use super::storage::{Directory, Disk};
use super::writer::SegmentWriter;
use crate::store::stream::StreamId;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// What a repair finds, and does.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Repaired {
    /// Nothing: the journal is as it should be.
    Nothing,
    /// The manifest was lost and is written again; all frames are as they should be.
    Manifest,
    /// Appends that were cut short were cut off, as the next start would have done.
    Torn(Vec<Torn>),
    /// Damage: what is good is kept.
    Damage(Damage),
}

/// Damage in a journal, and what becomes of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Damage {
    /// The segment with the first damage.
    pub(crate) path: PathBuf,
    /// The first byte of it that cannot be relied on.
    pub(crate) offset: u64,
    /// What is wrong there.
    pub(crate) problem: &'static str,
    /// Frames that are kept.
    pub(crate) frames_kept: u64,
    /// Places where something is lost.
    pub(crate) gaps: u64,
    /// Bytes that cannot be read as frames.
    pub(crate) bytes_lost: u64,
    /// Topics that go on under a new stream id, and how many messages each keeps.
    pub(crate) topics: BTreeMap<String, u64>,
    /// Copies of the damaged files; none yet where this is only what a repair would do.
    pub(crate) kept: Vec<PathBuf>,
}

/// Repairs the journal of a directory. Says what it will do, by `tell`, before it does it; with
/// `dry_run` that is all.
///
/// # Errors
///
/// A directory that never held a journal of this version, or what the file system refused.
pub(crate) fn repair(
    directory: &Path,
    dry_run: bool,
    tell: impl FnMut(&Damage),
) -> Result<Repaired, Error> {
    match dry_run {
        true => repair_in(&Disk::look_at(directory)?, dry_run, tell),
        false => repair_in(&Disk::lock(directory, false)?, dry_run, tell),
    }
}

pub(super) fn repair_in(
    directory: &dyn Directory,
    dry_run: bool,
    mut tell: impl FnMut(&Damage),
) -> Result<Repaired, Error> {
    let (manifest, was_lost) = find_manifest(directory)?;
    if was_lost && !dry_run {
        manifest.write(directory)?;
    }
    let strict = Row::find(directory).and_then(|row| {
        let Some(row) = row.filter(|row| !row.segments.is_empty()) else { return Ok(None) };
        let end = row.scan(directory, &mut Index::default(), |_| {}, |_| {})?;
        Ok(Some((row, end.segments)))
    });
    let (path, offset, problem) = match strict {
        Ok(None) => return Ok(Repaired::Nothing),
        Ok(Some(_)) if was_lost => return Ok(Repaired::Manifest),
        Ok(Some(_)) if dry_run => return Ok(Repaired::Nothing),
        Ok(Some((mut row, ends))) => {
            let torn = row.settle(directory, &ends)?;
            return Ok(if torn.is_empty() { Repaired::Nothing } else { Repaired::Torn(torn) });
        }
        Err(Error::Damaged { path, offset, problem }) => (path, offset, problem),
        Err(error) => return Err(error),
    };
    let segments = open_all(directory, manifest.id)?;
    let first = segments.iter().position(|segment| directory.path(&segment.name) >= path);
    // Where the last one is missing, the one before it takes what is to be said about that.
    let first = first.unwrap_or(segments.len().saturating_sub(1));
    let (before, broken) = segments.split_at(first);
    let damage = Damage { path, offset, problem, ..Damage::default() };
    let mut salvage = Salvage { damage, ..Salvage::default() };
    for segment in before {
        salvage.read(segment, None, false).map_err(directory.failed("read", &segment.name))?;
    }
    let Some(target) = broken.first() else { return Ok(Repaired::Nothing) };
    let last = segments.last().map_or(1, |last| *last.numbers.end()).max(manifest.reached.0);
    let numbers = *target.numbers.start()..=last;
    let header = SegmentHeader { journal: manifest.id, numbers };
    let name = Segment::name(*header.numbers.start());
    if dry_run {
        salvage
            .read_all(broken, None, manifest.reached)
            .map_err(directory.failed("read", &name))?;
        salvage.give_new_streams(None).map_err(directory.failed("read", &name))?;
        tell(&salvage.damage);
        return Ok(Repaired::Damage(salvage.damage));
    }
    let mut size = 0;
    let mut kept = Vec::new();
    for segment in broken {
        let size = segment.file.size().map_err(directory.failed("read", &segment.name))?;
        if Salvage::is_damaged(segment).map_err(directory.failed("read", &segment.name))? {
            kept.push(recovery::keep(directory, segment, "damaged", 0..size)?);
        }
    }
    directory.write_beside(&name, |file| {
        let mut writer = SegmentWriter::begin(&header, file)?;
        salvage.read_all(broken, Some(&mut writer), manifest.reached)?;
        salvage.give_new_streams(Some(&mut writer))?;
        tell(&salvage.damage);
        size = writer.finish()?;
        Ok(())
    })?;
    directory.put_in_place(&name)?;
    Manifest { reached: (last, size), unsynced: None, ..manifest }.write(directory)?;
    salvage.damage.kept = kept;
    Ok(Repaired::Damage(salvage.damage))
}

/// The manifest; one that is made from what is there where it is lost, which is then said.
fn find_manifest(directory: &dyn Directory) -> Result<(Manifest, bool), Error> {
    let error = match manifest::read(directory) {
        Ok(Content::Manifest(manifest)) => return Ok((manifest, false)),
        // A journal of format 1 has no manifest, and a directory without segments needs none.
        Ok(_) if numbers(directory)?.is_empty() => {
            let manifest = Manifest { id: JournalId::random(), reached: (0, 0), unsynced: None };
            return Ok((manifest, false));
        }
        Ok(_) => None,
        Err(error @ (Error::Damaged { .. } | Error::Foreign { .. })) => Some(error),
        Err(error) => return Err(error),
    };
    for number in numbers(directory)? {
        let name = Segment::name(number);
        let file = directory.open(&name).map_err(directory.failed("open", &name))?;
        let mut bytes = [0; super::header::SEGMENT_HEADER_SIZE];
        if file.read_all_at(&mut bytes, 0).is_ok()
            && let Some(header) = SegmentHeader::read(&bytes)
        {
            let manifest = Manifest { id: header.journal, reached: (0, 0), unsynced: None };
            return Ok((manifest, true));
        }
    }
    Err(error.unwrap_or_else(|| directory.failed("open", JOURNAL)(io::ErrorKind::NotFound.into())))
}

/// The numbers that the segments in the directory begin with.
fn numbers(directory: &dyn Directory) -> Result<Vec<u32>, Error> {
    let names = directory.names().map_err(directory.failed("list the directory of", JOURNAL))?;
    let mut numbers: Vec<u32> = names.iter().filter_map(|name| Segment::number(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// All segments in order, those too whose headers are damaged.
fn open_all(directory: &dyn Directory, id: JournalId) -> Result<Vec<Segment>, Error> {
    let mut segments: Vec<Segment> = Vec::new();
    let numbers = numbers(directory)?;
    if numbers.is_empty() {
        let file = directory.open(JOURNAL).map_err(directory.failed("open", JOURNAL))?;
        return Ok(vec![Segment::of_format_1(JOURNAL, file)]);
    }
    for number in numbers {
        if segments.last().is_some_and(|last| last.numbers.contains(&number)) {
            continue;
        }
        let name = Segment::name(number);
        segments.push(match Segment::open(directory, &name, id) {
            Err(Error::Damaged { .. }) => {
                let file = directory.open(&name).map_err(directory.failed("open", &name))?;
                let header = SegmentHeader { journal: id, numbers: number..=number };
                Segment::new(&header, file.into())
            }
            opened => opened?,
        });
    }
    Ok(segments)
}

/// What is read of a damaged row.
#[derive(Default)]
struct Salvage {
    index: Index,
    damage: Damage,
    /// Topics that may have lost something: they were there at a gap, and nothing later proves
    /// that their messages follow on one another.
    suspects: BTreeSet<String>,
    /// Topics that did, or whose offsets moved.
    changed: BTreeSet<String>,
}

type Writer<'w, 'f> = Option<&'w mut SegmentWriter<'f>>;

impl Salvage {
    /// Reads the segments from the first damaged one on.
    fn read_all(
        &mut self,
        segments: &[Segment],
        mut writer: Writer<'_, '_>,
        reached: (u32, u64),
    ) -> io::Result<()> {
        let mut next = segments.first().map_or(1, |segment| *segment.numbers.start());
        for (place, segment) in segments.iter().enumerate() {
            if *segment.numbers.start() != next {
                self.gap();
            }
            next = *segment.numbers.end() + 1;
            let is_last = place + 1 == segments.len();
            let (size, is_closed) = self.read(segment, writer.as_deref_mut(), is_last)?;
            let is_short = segment.numbers.contains(&reached.0) && size < reached.1;
            if is_closed == is_last || (!is_closed && is_short) {
                self.gap();
            }
        }
        if next <= reached.0 {
            self.gap();
        }
        Ok(())
    }

    /// Reads all whole frames of a segment. Gives where the last one ends, and whether it closes
    /// the segment.
    fn read(
        &mut self,
        segment: &Segment,
        mut writer: Writer<'_, '_>,
        is_last: bool,
    ) -> io::Result<(u64, bool)> {
        self.index.begin(segment.numbers.clone());
        let size = segment.file.size()?;
        let mut from = segment.header_size().min(size);
        let mut is_closed = false;
        loop {
            let end = scan_from(segment, from, |frame| {
                self.damage.frames_kept += 1;
                frame.records(|mut record, _| {
                    is_closed = record == Record::Close;
                    if segment.format == Format::One {
                        self.index.complete(&mut record);
                    }
                    self.take(record, writer.as_deref_mut()).map_err(Stop::Failed)
                })
            })?;
            if end.kind == EndKind::Whole || (end.kind == EndKind::Torn && is_last) {
                return Ok((end.offset, is_closed));
            }
            self.gap();
            let found = next_header(&*segment.file, segment.seed, end.offset + 1, size)?;
            self.damage.bytes_lost += found.unwrap_or(size) - end.offset;
            match found {
                Some(offset) => from = offset,
                None => return Ok((end.offset, is_closed)),
            }
        }
    }

    /// Whether frames of a segment are lost.
    fn is_damaged(segment: &Segment) -> io::Result<bool> {
        Ok(scan_from(segment, segment.header_size(), |_| Ok(()))?.kind != EndKind::Whole)
    }

    /// Something is lost here: it may have been anything.
    fn gap(&mut self) {
        self.damage.gaps += 1;
        self.suspects.extend(self.index.topics().map(|(topic, _)| topic.to_owned()));
    }

    /// Takes a record, as far as it can follow on what was read.
    fn take(&mut self, record: Record<'_>, mut writer: Writer<'_, '_>) -> io::Result<()> {
        let mut record = record;
        if let Record::Append { topic, stream, .. }
        | Record::Create { topic, stream }
        | Record::Mirror { topic, stream } = record
        {
            let known = self.index.stream(topic);
            if let Some(known) = known.filter(|known| *known != stream) {
                // Its deletion is lost.
                self.put(&Record::Delete { topic, stream: known }, writer.as_deref_mut())?;
            }
            if matches!(record, Record::Append { .. }) && known != Some(stream) {
                // Its creation is lost.
                self.put(&Record::Create { topic, stream }, writer.as_deref_mut())?;
                self.changed.insert(topic.to_owned());
            }
        }
        if let Record::Append { topic, stream, first, .. } = &mut record {
            let next = self.index.find(topic, *stream).map_or(0, |list| list.next);
            if *first == next {
                self.suspects.remove(*topic);
            } else {
                self.changed.insert((*topic).to_owned());
                *first = next;
            }
        }
        self.put(&record, writer)
    }

    fn put(&mut self, record: &Record<'_>, writer: Writer<'_, '_>) -> io::Result<()> {
        if *record != Record::Close
            && self.index.note(record, 0).is_ok()
            && let Some(writer) = writer
        {
            writer.add(record)?;
        }
        Ok(())
    }

    /// Gives the topics that may not be what they were another stream id.
    fn give_new_streams(&mut self, mut writer: Writer<'_, '_>) -> io::Result<()> {
        let topics: Vec<(String, StreamId)> =
            self.index.topics().map(|(topic, stream)| (topic.to_owned(), stream)).collect();
        for (topic, stream) in topics {
            let Some(list) = self.index.find(&topic, stream) else { continue };
            let messages = list.next - list.first;
            if !self.suspects.contains(&topic) && !self.changed.contains(&topic) {
                continue;
            }
            let name = topic.as_str();
            let new = StreamId::random();
            let record = Record::NewStream { topic: name, stream, new };
            self.put(&record, writer.as_deref_mut())?;
            self.damage.topics.insert(topic, messages);
        }
        Ok(())
    }
}
