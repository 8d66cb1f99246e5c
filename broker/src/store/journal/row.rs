//! The row of segments in a directory: found, put in order, and read as one journal.
//!
//! Segments are numbered from 1 without a gap; where cleaning joined neighbours, one segment has
//! several numbers. All but the last end with a record that closes them, which was synced before
//! anything was appended to the next one. So a segment that is missing, doubled, out of its place,
//! cut short, or of another journal is found, and named.

use super::JOURNAL;
use super::error::Error;
use super::header::JournalId;
use super::index::Index;
use super::manifest::{self, Content, Manifest};
use super::record::{Format, Record};
use super::recovery::{self, Torn};
use super::scan::{End, EndKind, Stop, scan};
use super::segment::Segment;
use super::storage::{Directory, TEMPORARY};

/// What a directory holds.
pub(super) struct Row {
    /// Not there where the journal is of format 1.
    pub(super) manifest: Option<Manifest>,
    /// In order.
    pub(super) segments: Vec<Segment>,
    /// Files that a start, a cleaning or a repair left behind when it was killed.
    pub(super) left_over: Vec<String>,
}

/// How a segment ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct SegmentEnd {
    pub(super) end: End,
    /// Where its last frame begins; 0 if there is none.
    pub(super) last: u64,
    pub(super) is_closed: bool,
}

/// How a row ends.
#[derive(Debug)]
pub(super) struct RowEnd {
    /// Of each segment, in order.
    pub(super) segments: Vec<SegmentEnd>,
    /// Whole frames in all segments.
    pub(super) frames: u64,
}

impl Row {
    /// What is in a directory; `None` where nothing was ever kept there.
    ///
    /// # Errors
    ///
    /// What is there does not make a row.
    pub(super) fn find(directory: &dyn Directory) -> Result<Option<Row>, Error> {
        let names =
            directory.names().map_err(directory.failed("list the directory of", JOURNAL))?;
        let mut numbers: Vec<u32> = names.iter().filter_map(|name| Segment::number(name)).collect();
        numbers.sort_unstable();
        let is_left_over = |name: &&String| {
            let name = name.strip_suffix(TEMPORARY);
            name.is_some_and(|name| name == JOURNAL || Segment::number(name).is_some())
        };
        let left_over: Vec<String> = names.iter().filter(is_left_over).cloned().collect();
        let path = || directory.path(JOURNAL);
        let missing = |instead: &str| Error::Missing {
            path: directory.path(JOURNAL),
            instead: directory.path(instead),
        };
        let first = Segment::name(1);
        match (manifest::read(directory)?, numbers.as_slice()) {
            (Content::Nothing, []) => match left_over.iter().find(|name| is_whole(directory, name))
            {
                Some(name) => Err(missing(name)),
                None => Ok(None),
            },
            (Content::Nothing, [1]) => {
                // Between the two steps in which a start takes over a journal of format 1.
                let file = directory.open(&first).map_err(directory.failed("open", &first))?;
                if manifest::is_format_1(directory, &first, &*file)? {
                    let segments = vec![Segment::of_format_1(&first, file)];
                    return Ok(Some(Row { manifest: None, segments, left_over }));
                }
                Err(missing(&first))
            }
            (Content::Nothing, [number, ..]) => Err(missing(&Segment::name(*number))),
            (Content::Format1, []) => {
                let file = directory.open(JOURNAL).map_err(directory.failed("open", JOURNAL))?;
                let segments = vec![Segment::of_format_1(JOURNAL, file)];
                Ok(Some(Row { manifest: None, segments, left_over }))
            }
            (Content::Format1, [number, ..]) => {
                let newer = directory.path(&Segment::name(*number));
                Err(Error::TwoJournals { path: path(), newer })
            }
            (Content::Manifest(manifest), numbers) => {
                let mut row = Row { manifest: None, segments: Vec::new(), left_over };
                row.open_all(directory, manifest.id, numbers)?;
                row.manifest = Some(manifest);
                Ok(Some(row))
            }
        }
    }

    /// The row that was found; a new one where there is none, or where the creation of one was cut
    /// short.
    pub(super) fn begin(directory: &dyn Directory, found: Option<Row>) -> Result<Row, Error> {
        let mut row = match found {
            Some(row) => row,
            None => {
                let manifest =
                    Manifest { id: JournalId::random(), reached: (0, 0), unsynced: None };
                manifest.write(directory)?;
                Row { manifest: Some(manifest), segments: Vec::new(), left_over: Vec::new() }
            }
        };
        if let (Some(manifest), []) = (&row.manifest, row.segments.as_slice()) {
            if manifest.reached.0 > 0 {
                return Err(missing(directory, 1));
            }
            row.segments.push(Segment::create(directory, manifest.id, 1)?);
        }
        Ok(row)
    }

    /// Whether the machine was restarted while it was not known of all appends that they were on
    /// disk.
    pub(super) fn lost_appends(&self, directory: &dyn Directory) -> bool {
        let run = self.manifest.as_ref().and_then(|manifest| manifest.unsynced.as_deref());
        run.is_some_and(|run| directory.boot_id().as_deref() != Some(run))
    }

    /// Makes sure that what was read is on disk, and removes what was left over. Gives what was
    /// cut off.
    pub(super) fn settle(
        &mut self,
        directory: &dyn Directory,
        ends: &[SegmentEnd],
    ) -> Result<Vec<Torn>, Error> {
        if !self.left_over.is_empty() {
            // The rename that made them superfluous may not be on disk.
            directory.sync().map_err(directory.failed("sync the directory of", JOURNAL))?;
        }
        for name in self.left_over.drain(..) {
            // What was made in its place may have replaced it.
            if directory.has(&name).map_err(directory.failed("look for", &name))? {
                directory.remove(&name).map_err(directory.failed("remove", &name))?;
            }
        }
        let mut torn = Vec::new();
        let mut last = self.segments.iter().zip(ends).rev();
        if let Some((segment, end)) = last.next() {
            torn.extend(recovery::settle(directory, segment, *end)?);
            // Nothing is in it yet: how the one before ends may not have been synced either.
            if let (0, Some((segment, end))) = (end.last, last.next()) {
                torn.extend(recovery::settle(directory, segment, *end)?);
                if !end.is_closed {
                    recovery::close(directory, segment, end.end.offset)?;
                }
            }
        }
        Ok(torn)
    }

    /// Makes a journal of format 1 the first segment of a row. Gives the manifest, and whether it
    /// was one.
    pub(super) fn take_over(
        &mut self,
        directory: &dyn Directory,
    ) -> Result<(Manifest, bool), Error> {
        if let Some(manifest) = self.manifest.take() {
            return Ok((manifest, false));
        }
        if let Some(segment) = self.segments.first_mut().filter(|first| first.name == JOURNAL) {
            segment.name = Segment::name(1);
            let renamed = directory.rename(JOURNAL, &segment.name);
            renamed.map_err(directory.failed("rename", JOURNAL))?;
            directory.sync().map_err(directory.failed("sync the directory of", JOURNAL))?;
        }
        let manifest = Manifest { id: JournalId::random(), reached: (0, 0), unsynced: None };
        manifest.write(directory)?;
        Ok((manifest, true))
    }

    /// Opens the segments that begin with these numbers.
    fn open_all(
        &mut self,
        directory: &dyn Directory,
        id: JournalId,
        numbers: &[u32],
    ) -> Result<(), Error> {
        let mut next = 1;
        for number in numbers {
            let segment = Segment::open(directory, &Segment::name(*number), id)?;
            let path = directory.path(&segment.name);
            let (first, last) = (*segment.numbers.start(), *segment.numbers.end());
            if first > next {
                return Err(missing(directory, next));
            } else if last < next {
                // Joined with the one before, and not yet removed.
                self.left_over.push(segment.name);
            } else if first < next {
                let problem = "its place in the row is another segment's";
                return Err(Error::Damaged { path, offset: 0, problem });
            } else {
                next = last + 1;
                self.segments.push(segment);
            }
        }
        Ok(())
    }

    /// Reads all records of the row, in order. They are noted in `index` and then handed to
    /// `each`; `progress` is told of the bytes that were read.
    ///
    /// # Errors
    ///
    /// What was once synced and is no longer as it was written.
    pub(super) fn scan(
        &self,
        directory: &dyn Directory,
        index: &mut Index,
        mut progress: impl FnMut(u64),
        mut each: impl FnMut(Record<'_>),
    ) -> Result<RowEnd, Error> {
        let mut row_end = RowEnd { segments: Vec::new(), frames: 0 };
        for (place, segment) in self.segments.iter().enumerate() {
            index.begin(segment.numbers.clone());
            let mut is_closed = false;
            let mut last = 0;
            let end = scan(segment, |frame| {
                if is_closed {
                    return Err(Stop::Damaged("a frame stands there after the end of the segment"));
                }
                row_end.frames += 1;
                last = frame.offset;
                frame.records(|mut record, size| {
                    if segment.format == Format::One {
                        index.complete(&mut record);
                    }
                    let counts = index.note(&record, size).map_err(Stop::Damaged)?;
                    match record {
                        Record::Close => is_closed = true,
                        record if counts => each(record),
                        _ => {}
                    }
                    Ok(())
                })?;
                progress(frame.payload.len() as u64);
                Ok(())
            });
            let end = end.map_err(directory.failed("read", &segment.name))?;
            let mut it = SegmentEnd { end, last, is_closed };
            let is_damaged = matches!(it.end.kind, EndKind::Damaged(_));
            if is_damaged && place + 1 == self.segments.len() && self.lost_appends(directory) {
                // Nobody was promised that these are on disk: they may have holes anywhere.
                it.end.kind = EndKind::Torn;
            }
            self.check_end(directory, place, it)?;
            row_end.segments.push(it);
        }
        let number = self.segments.last().map_or(0, |segment| *segment.numbers.end());
        if self.manifest.as_ref().is_some_and(|manifest| manifest.reached.0 > number) {
            return Err(missing(directory, number + 1));
        }
        Ok(row_end)
    }

    /// Checks how a segment ends. All but the last are closed; but for one whose closing was cut
    /// short when the next had been made, and that one is still empty. The last one reaches at
    /// least as far as it did at the last start.
    fn check_end(
        &self,
        directory: &dyn Directory,
        place: usize,
        SegmentEnd { end, is_closed, .. }: SegmentEnd,
    ) -> Result<(), Error> {
        let Some(segment) = self.segments.get(place) else { return Ok(()) };
        let (number, size) = self.manifest.as_ref().map_or((0, 0), |manifest| manifest.reached);
        let is_shorter = segment.numbers.contains(&number) && end.offset < size;
        let is_last = match self.segments.get(place + 1..).unwrap_or_default() {
            [] => true,
            [next] if !is_closed => {
                let size = next.file.size().map_err(directory.failed("read", &next.name))?;
                size == next.header_size()
            }
            _ => false,
        };
        let problem = match end.kind {
            EndKind::Damaged(problem) => problem,
            _ if is_last && is_closed => {
                return Err(missing(directory, *segment.numbers.end() + 1));
            }
            EndKind::Torn if !is_last => "the segment was closed, and something else stands there",
            _ if !is_last && !is_closed => {
                "the segment ends there before the record that closes it"
            }
            _ if !is_closed && is_shorter => "the journal reached further when it was last opened",
            _ => return Ok(()),
        };
        Err(damaged(directory, segment, end, problem))
    }
}

/// Whether a file beside a journal that is gone may hold what that held: it is not merely what a
/// first start was about to make.
fn is_whole(directory: &dyn Directory, name: &str) -> bool {
    let file = directory.open(name);
    file.is_ok_and(|file| manifest::is_format_1(directory, name, &*file).unwrap_or(true))
}

fn missing(directory: &dyn Directory, number: u32) -> Error {
    let path = directory.path(&Segment::name(number));
    Error::Damaged { path, offset: 0, problem: "the segment is missing" }
}

/// Damage at the end of what was read of a segment.
pub(super) fn damaged(
    directory: &dyn Directory,
    segment: &Segment,
    end: End,
    problem: &'static str,
) -> Error {
    Error::Damaged { path: directory.path(&segment.name), offset: end.offset, problem }
}
