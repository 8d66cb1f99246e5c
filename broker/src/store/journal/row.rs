//! The row of segments in a directory: found, put in order, and read as one journal.
//!
//! Segments are numbered from 1 without a gap; where cleaning joined neighbours, one segment has
//! several numbers. All but the last end with a record that closes them, which was synced before
//! anything was appended to the next one. So a segment that is missing, doubled, out of its place,
//! cut short, or of another journal is found, and named.

use super::JOURNAL;
use super::error::Error;
use super::header::{JournalId, SegmentHeader};
use super::index::Index;
use super::manifest::{self, Content, Manifest};
use super::record::{Event, Record};
use super::recovery::{self, Torn};
use super::scan::{End, EndKind, Scan, Stop};
use super::segment::Segment;
use super::storage::{Directory, TEMPORARY};

/// What a directory holds.
pub(super) struct Row {
    /// Not there where the journal is of format 1.
    pub(super) manifest: Option<Manifest>,
    /// In order.
    pub(super) segments: Vec<Segment>,
    /// Files that a start, a cleaning or a repair left behind when it was killed.
    left_over: Vec<String>,
    /// The first segment that is missing, or is not what should be in its place.
    damage: Option<Error>,
}

impl Row {
    /// What is in a directory; `None` where nothing was ever kept there.
    ///
    /// # Errors
    ///
    /// It is not known which journal the files there are of.
    pub(super) fn find(directory: &dyn Directory) -> Result<Option<Row>, Error> {
        let names = directory.list()?;
        let numbers = Segment::numbers(&names);
        let path = directory.path(JOURNAL);
        // Whether a file may be a journal of format 1, and not merely what a first start was about
        // to make.
        let is_format_1 = |name: &String| {
            let opened = Segment::open_any(directory, name);
            opened.and_then(|segment| segment.is_format_1(directory)).unwrap_or(true)
        };
        let only = match (manifest::read(directory)?, numbers.as_slice()) {
            (Content::Manifest(manifest), _) => {
                return Row::open(directory, manifest, &names).map(Some);
            }
            (Content::Format1, []) => JOURNAL.to_owned(),
            (Content::Format1, [number, ..]) => {
                return Err(Error::foreign(format!(
                    "{} was begun by an older broker while {} is the journal of a newer one; move \
                     one of the two away",
                    path.display(),
                    directory.path(&Segment::name(*number)).display()
                )));
            }
            // Between the two steps in which a start takes over a journal of format 1.
            (Content::Nothing, [1]) if is_format_1(&Segment::name(1)) => Segment::name(1),
            (Content::Nothing, numbers) => {
                let segment = numbers.first().map(|number| Segment::name(*number));
                let beside = || left_over(&names).into_iter().find(is_format_1);
                let Some(instead) = segment.or_else(beside) else { return Ok(None) };
                return Err(Error::foreign(format!(
                    "{} is missing but {} is there; restore the missing file, or move the other \
                     away to start empty",
                    path.display(),
                    directory.path(&instead).display()
                )));
            }
        };
        let (manifest, damage) = (None, None);
        let segments = vec![Segment::open_any(directory, &only)?];
        Ok(Some(Row { manifest, segments, left_over: left_over(&names), damage }))
    }

    /// The row of a journal whose manifest is this, among the files with these names.
    pub(super) fn open(
        directory: &dyn Directory,
        manifest: Manifest,
        names: &[String],
    ) -> Result<Row, Error> {
        let (id, mut next) = (manifest.id, 1);
        let mut row = Row::new(manifest);
        row.left_over = left_over(names);
        for number in Segment::numbers(names) {
            let name = Segment::name(number);
            let opened = Segment::open(directory, &name, id);
            let (segment, mut damage) = match opened {
                Err(error @ Error::Damaged { .. }) => {
                    let file = directory.open(&name).map_err(directory.failed("open", &name))?;
                    let header = SegmentHeader { journal: id, numbers: number..=number };
                    (Segment::new(&header, file.into()), Some(error))
                }
                opened => (opened?, None),
            };
            let last = *segment.numbers.end();
            if number > next {
                row.damage.get_or_insert_with(|| missing(directory, next));
            } else if number < next && last >= next {
                let (path, offset) = (directory.path(&name), 0);
                let problem = "its place in the row is another segment's";
                damage = damage.or(Some(Error::Damaged { path, offset, problem }));
            }
            row.damage = row.damage.or(damage);
            if number < next {
                // Joined with the one before, and not yet removed.
                row.left_over.push(name);
            } else {
                next = last + 1;
                row.segments.push(segment);
            }
        }
        Ok(row)
    }

    fn new(manifest: Manifest) -> Row {
        let (segments, left_over) = (Vec::new(), Vec::new());
        Row { manifest: Some(manifest), segments, left_over, damage: None }
    }

    /// The row that was found; a new one where there is none, or where the creation of one was cut
    /// short.
    pub(super) fn begin(directory: &dyn Directory, found: Option<Row>) -> Result<Row, Error> {
        let mut row = match found {
            Some(row) => row,
            None => {
                let manifest = Manifest::new(JournalId::random());
                manifest.write(directory)?;
                Row::new(manifest)
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
        ends: &[End],
    ) -> Result<Vec<Torn>, Error> {
        if !self.left_over.is_empty() {
            // The rename that made them superfluous may not be on disk.
            directory.sync_names(JOURNAL)?;
        }
        for name in self.left_over.drain(..) {
            // What was made in its place may have replaced it.
            if directory.has(&name)? {
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
                    recovery::close(directory, segment, end.offset)?;
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
            directory.sync_names(JOURNAL)?;
        }
        let manifest = Manifest::new(JournalId::random());
        manifest.write(directory)?;
        Ok((manifest, true))
    }

    /// Reads all records of the row, in order. They are noted in `index` and then handed to
    /// `each`; `progress` is told of the bytes that were read. Gives how each segment ends.
    ///
    /// # Errors
    ///
    /// What was once synced and is no longer as it was written.
    pub(super) fn scan(
        &mut self,
        directory: &dyn Directory,
        index: &mut Index,
        mut progress: impl FnMut(u64),
        mut each: impl FnMut(Record<'_>),
    ) -> Result<Vec<End>, Error> {
        if let Some(damage) = self.damage.take() {
            return Err(damage);
        }
        let mut ends = Vec::new();
        for (place, segment) in self.segments.iter().enumerate() {
            index.begin(segment.numbers.clone());
            let mut is_closed = false;
            let scanned = Scan::new(segment).and_then(|mut scan| {
                scan.read(|record, size| {
                    if is_closed {
                        let problem = "a frame stands there after the end of the segment";
                        return Err(Stop::Damaged(problem));
                    }
                    progress(size as u64);
                    is_closed = record.event == Event::Close;
                    if index.note(&record, size).map_err(Stop::Damaged)? && !is_closed {
                        each(record);
                    }
                    Ok(())
                })
            });
            let mut end = scanned.map_err(directory.failed("read", &segment.name))?;
            let is_damaged = matches!(end.kind, EndKind::Damaged(_));
            if is_damaged && place + 1 == self.segments.len() && self.lost_appends(directory) {
                // Nobody was promised that these are on disk: they may have holes anywhere.
                end.kind = EndKind::Torn;
            }
            self.check_end(directory, place, &end)?;
            ends.push(end);
        }
        let number = self.segments.last().map_or(0, |segment| *segment.numbers.end());
        if self.manifest.as_ref().is_some_and(|manifest| manifest.reached.0 > number) {
            return Err(missing(directory, number + 1));
        }
        Ok(ends)
    }

    /// Checks how a segment ends. All but the last are closed; but for one whose closing was cut
    /// short when the next had been made, and that one is still empty. The last one reaches at
    /// least as far as it did at the last start.
    fn check_end(&self, directory: &dyn Directory, place: usize, end: &End) -> Result<(), Error> {
        let Some(segment) = self.segments.get(place) else { return Ok(()) };
        let is_closed = end.is_closed;
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

/// Those of these files that a rename was to make others of, or that one made superfluous.
fn left_over(names: &[String]) -> Vec<String> {
    let is_left_over = |name: &&String| {
        let name = name.strip_suffix(TEMPORARY);
        name.is_some_and(|name| name == JOURNAL || Segment::number(name).is_some())
    };
    names.iter().filter(is_left_over).cloned().collect()
}

fn missing(directory: &dyn Directory, number: u32) -> Error {
    let path = directory.path(&Segment::name(number));
    Error::Damaged { path, offset: 0, problem: "the segment is missing" }
}

/// Damage at the end of what was read of a segment.
pub(super) fn damaged(
    directory: &dyn Directory,
    segment: &Segment,
    end: &End,
    problem: &'static str,
) -> Error {
    Error::Damaged { path: directory.path(&segment.name), offset: end.offset, problem }
}
