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

use super::{
    Content, Count, Directory, Disk, End, EndKind, Error, Event, File, Format, Index, JOURNAL,
    List, Manifest, Progress, Record, Row, Scan, Segment, SegmentHeader, SegmentWriter, Torn,
    manifest, recovery,
};
use crate::store::StreamId;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fmt, io};

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
    /// The same, where it was only to be said what a repair would do.
    Planned,
}

/// Damage in a journal, and what a repair does about it.
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
    /// Copies of the damaged files.
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
    let disk = if dry_run { Disk::look_at(directory)? } else { Disk::lock(directory, false)? };
    repair_in(&disk, dry_run, tell)
}

pub(super) fn repair_in(
    directory: &dyn Directory,
    dry_run: bool,
    mut tell: impl FnMut(&Damage),
) -> Result<Repaired, Error> {
    let (mut row, was_lost) = match Row::find(directory) {
        Ok(Some(row)) => (row, false),
        Ok(None) => return Err(Error::absent(&directory.path(JOURNAL))),
        Err(error) => (without_manifest(directory, error)?, true),
    };
    let scanned = row.scan(&mut Index::default(), &Progress::default(), |_| {});
    let manifest = row.manifest.clone();
    let (path, offset, problem) = match scanned {
        Ok(_) if was_lost && !dry_run => {
            return manifest.write(directory).map(|()| Repaired::Manifest);
        }
        Ok(_) if was_lost => return Ok(Repaired::Manifest),
        Ok(_) if dry_run => return Ok(Repaired::Nothing),
        Ok(ends) => {
            let torn = row.settle(&ends)?;
            return Ok(if torn.is_empty() { Repaired::Nothing } else { Repaired::Torn(torn) });
        }
        Err(Error::Damaged { path, offset, problem }) if !row.segments.is_empty() => {
            (path, offset, problem)
        }
        Err(Error::Damaged { .. }) => {
            let text = format!(
                "{} is there, but no segment of it; restore a copy, or move that file away to \
                 start empty",
                directory.path(JOURNAL).display()
            );
            return Err(Error::foreign(text));
        }
        Err(error) => return Err(error),
    };
    // Whole segments before the damage stay as they are. A missing file is named even where an
    // earlier one is damaged, too. One is always written again: new stream ids stand in it.
    let mut first = 0;
    while let Some(segment) = row.segments.get(first).filter(|segment| segment.path < path)
        && first + 1 < row.segments.len()
        && matches!(read_to_end(segment)?, (End { kind: EndKind::Whole, is_closed: true, .. }, _))
    {
        first += 1;
    }
    let (before, broken) = row.segments.split_at(first);
    let start = before.last().map_or(1, |segment| *segment.numbers.end() + 1);
    let last = broken.last().map_or(1, |last| *last.numbers.end()).max(manifest.reached.0);
    let header = SegmentHeader { journal: manifest.id, numbers: start..=last };
    let name = Segment::name(start);
    let mut damage = Damage { path, offset, problem, ..Damage::default() };
    if !dry_run {
        for segment in broken {
            let (end, size) = read_to_end(segment)?;
            if end.kind != EndKind::Whole {
                damage.kept.push(recovery::keep(directory, segment, "damaged", 0..size)?);
            }
        }
    }
    let mut rewrite = |file: Option<&dyn File>| {
        let (index, suspects, changed) = Default::default();
        let mut salvage = Salvage { index, damage: &mut damage, suspects, changed, writer: None };
        for segment in before {
            salvage.read(segment, false)?;
        }
        salvage.writer = file.map(|file| SegmentWriter::begin(&header, file)).transpose()?;
        salvage.read_all(broken, start, manifest.reached)?;
        salvage.give_new_streams()?;
        let size = salvage.writer.map_or(Ok(0), SegmentWriter::finish)?;
        tell(&damage);
        Ok(size)
    };
    if dry_run {
        rewrite(None).map_err(directory.failed("read", &name))?;
        return Ok(Repaired::Planned);
    }
    let size = directory.replace(&name, |file| rewrite(Some(file)))?;
    Manifest { reached: (last, size), ..manifest }.write(directory)?;
    for joined in broken.iter().filter(|joined| *joined.numbers.start() != start) {
        // The next start would take one of another journal for damage.
        let name = Segment::name(*joined.numbers.start());
        directory.remove(&name).map_err(directory.failed("remove", &name))?;
    }
    Ok(Repaired::Damage(damage))
}

/// How the frames of a segment end, and the size of its file.
fn read_to_end(segment: &Segment) -> Result<(End, u64), Error> {
    let mut scan = Scan::new(segment).map_err(segment.failed("read"))?;
    let end = scan.read(|_, _| Ok(())).map_err(segment.failed("read"))?;
    Ok((end, scan.size()))
}

/// The row where the manifest is lost: made from what stands in the segments, if that is damage,
/// and no older broker has begun a journal there, which is not to be written over.
fn without_manifest(directory: &dyn Directory, error: Error) -> Result<Row<'_>, Error> {
    let is_format_1 = || matches!(manifest::read(directory), Ok(Content::Format1));
    if !error.is_damage() || is_format_1() {
        return Err(error);
    }
    let names = directory.list()?;
    for number in Segment::numbers(&names) {
        // Closed before it is opened again.
        let header = Segment::open_any(directory, &Segment::name(number))?.header()?;
        if let Some(header) = header {
            return Row::open(directory, Manifest::new(header.journal), &names);
        }
    }
    Err(error)
}

/// What is read of a damaged row, and written again.
struct Salvage<'f> {
    index: Index,
    damage: &'f mut Damage,
    /// Topics that may have lost something: they were there at a gap, and nothing later proves
    /// that their messages follow on one another.
    suspects: BTreeSet<String>,
    /// Topics that have lost something, and how much lower the offsets of what follows are now.
    changed: BTreeMap<String, u64>,
    /// Where what is read is written: not what stands before the damage.
    writer: Option<SegmentWriter<'f>>,
}

impl Salvage<'_> {
    /// Reads the segments from the first damaged or missing one on, which has the number `next`.
    fn read_all(
        &mut self,
        segments: &[Segment],
        mut next: u32,
        reached: (u32, u64),
    ) -> io::Result<()> {
        for (place, segment) in segments.iter().enumerate() {
            if *segment.numbers.start() != next {
                self.gap();
            }
            next = *segment.numbers.end() + 1;
            let is_last = place + 1 == segments.len();
            // It is on disk before any frame: where it is gone, frames may be gone with it.
            let has_header =
                segment.format == Format::One || matches!(segment.header(), Ok(Some(_)));
            let (size, is_closed) = self.read(segment, is_last && has_header)?;
            let is_short = (segment.numbers.contains(&reached.0) && size < reached.1)
                || (!has_header && size == segment.header_size());
            if is_closed == is_last || (!is_closed && is_short) {
                self.gap();
            }
        }
        if next <= reached.0 {
            self.gap();
        }
        Ok(())
    }

    /// Reads all whole frames of a segment, the last of which may be torn. Gives where the last
    /// one ends, and whether it closes the segment.
    fn read(&mut self, segment: &Segment, may_be_torn: bool) -> io::Result<(u64, bool)> {
        self.index.begin(segment.numbers.clone());
        let mut scan = Scan::new(segment)?;
        loop {
            let end = scan.read(|record, _| Ok(self.take(record)?))?;
            self.damage.frames_kept += end.frames;
            if end.kind == EndKind::Whole || (end.kind == EndKind::Torn && may_be_torn) {
                return Ok((end.offset, end.is_closed));
            }
            self.gap();
            let (skipped, goes_on) = scan.skip()?;
            self.damage.bytes_lost += skipped;
            if !goes_on {
                return Ok((end.offset, end.is_closed));
            }
        }
    }

    /// Something is lost here: it may have been anything.
    fn gap(&mut self) {
        self.damage.gaps += 1;
        self.suspects.extend(self.index.topics().map(|(topic, _)| topic.to_owned()));
    }

    /// Takes a record, as far as it can follow on what was read.
    fn take(&mut self, mut record: Record<'_>) -> io::Result<()> {
        let Record { topic, stream, event } = record;
        let appends = matches!(event, Event::Append { .. });
        if let Event::Append { first, .. } = event
            && let Some(&List { stream: known, next, .. }) = self.index.list(topic)
            && known != stream
            && next > 0
            && first == next + self.changed.get(topic).copied().unwrap_or(0)
        {
            // It goes on where the list ends: not its deletion is lost, but that it was renamed.
            let event = Event::NewStream { new: stream, own: false };
            self.put(&Record::new(topic, known, event))?;
            self.changed.entry(topic.to_owned()).or_default();
        }
        if appends || matches!(event, Event::Create | Event::Mirror) {
            let known = self.index.list(topic).map(|list| list.stream);
            if let Some(known) = known.filter(|known| *known != stream) {
                // Its deletion is lost.
                self.put(&Record::new(topic, known, Event::Delete))?;
            }
            if known != Some(stream) && appends {
                // Its creation is lost.
                self.put(&Record::new(topic, stream, Event::Create))?;
                self.changed.insert(topic.to_owned(), 0);
            } else if known != Some(stream) {
                // All of this list is known, whatever was lost of another one.
                self.changed.remove(topic);
                self.suspects.remove(topic);
            }
        }
        let list = self.index.list(topic).filter(|list| list.stream == stream);
        let Some(&List { next, .. }) = list else { return self.put(&record) };
        let moved = self.changed.get(topic).copied().unwrap_or(0);
        match &mut record.event {
            Event::Append { first, .. } if *first == next => drop(self.suspects.remove(topic)),
            Event::Append { first, .. } => {
                self.changed.insert(topic.to_owned(), first.saturating_sub(next));
                *first = next;
            }
            Event::Trim { first, .. } => *first = first.saturating_sub(moved),
            // To repeat messages is better than to skip those behind what is lost.
            Event::Position { next: position, .. } => {
                *position = position.saturating_sub(moved).min(next);
            }
            _ => {}
        }
        self.put(&record)
    }

    fn put(&mut self, record: &Record<'_>) -> io::Result<()> {
        if record.event != Event::Close
            && self.index.note(record, 0).is_ok()
            && let Some(writer) = &mut self.writer
        {
            writer.add(record)?;
        }
        Ok(())
    }

    /// Gives the topics that may not be what they were another stream id.
    fn give_new_streams(&mut self) -> io::Result<()> {
        let touched =
            |topic: &str| self.suspects.contains(topic) || self.changed.contains_key(topic);
        let topics = self.index.topics().filter(|(topic, _)| touched(topic));
        let topics: BTreeMap<String, List> =
            topics.map(|(topic, list)| (topic.to_owned(), *list)).collect();
        for (topic, List { stream, first, next, .. }) in topics {
            let event = Event::NewStream { new: StreamId::random(), own: false };
            self.put(&Record::new(&topic, stream, event))?;
            self.damage.topics.insert(topic, next - first);
        }
        Ok(())
    }
}

impl fmt::Display for Repaired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Repaired::Nothing => f.write_str("the journal is good: nothing was changed"),
            Repaired::Manifest => f.write_str("only the file journal is lost: it is written again"),
            Repaired::Torn(torn) => {
                f.write_str("an append that was never acknowledged was cut short")?;
                torn.iter().try_for_each(|torn| write!(f, ": {torn}"))
            }
            Repaired::Planned => f.write_str("nothing was changed"),
            Repaired::Damage(Damage { kept, .. }) => {
                let files = if kept.is_empty() { "" } else { "; the damaged files are kept in" };
                write!(f, "repaired{files}")?;
                kept.iter().try_for_each(|kept| write!(f, " {}", kept.display()))
            }
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage { path, offset, problem, frames_kept, gaps, bytes_lost, topics, .. } = self;
        write!(
            f,
            "{} is damaged at byte {offset}: {problem}\nkept: {}; lost: {} in {}",
            path.display(),
            Count(*frames_kept, "frame"),
            Count(*bytes_lost, "byte"),
            Count(*gaps, "place"),
        )?;
        if topics.is_empty() {
            return f.write_str("\nno topic is touched");
        }
        write!(
            f,
            "\n{} may have lost messages; the stream id is a new one:",
            Count(topics.len() as u64, "topic")
        )?;
        for (topic, messages) in topics {
            write!(f, "\n{messages:>12} messages left  {topic}")?;
        }
        Ok(())
    }
}
