//! The row of segments in a directory: found, put in order, and read as one journal.
//!
//! Segments are numbered from 1 without a gap; where cleaning joined neighbours, one segment has
//! several numbers. All but the last end with a record that closes them, which was synced before
//! anything was appended to the next one. So a segment that is missing, doubled, out of its place,
//! cut short, or of another journal is found, and named.

use super::{
    Content, Directory, End, EndKind, Error, Event, Index, JOURNAL, JournalId, Manifest, Progress,
    Record, Scan, Segment, SegmentHeader, TEMPORARY, Torn, manifest, recovery,
};
use std::sync::atomic::Ordering;

/// What a directory holds.
pub(super) struct Row<'d> {
    directory: &'d dyn Directory,
    pub(super) manifest: Manifest,
    /// Whether the manifest is still to be written: the journal is of format 1.
    is_format_1: bool,
    /// In order.
    pub(super) segments: Vec<Segment>,
    /// Files that a start, a cleaning or a repair left behind when it was killed.
    left_over: Vec<String>,
    /// The first segment that is missing, or is not what should be in its place.
    damage: Option<Error>,
}

impl<'d> Row<'d> {
    /// What is in a directory; `None` where nothing was ever kept there.
    ///
    /// # Errors
    ///
    /// It is not known which journal the files there are of.
    pub(super) fn find(directory: &'d dyn Directory) -> Result<Option<Row<'d>>, Error> {
        let names = directory.list()?;
        let numbers = Segment::numbers(&names);
        let path = directory.path(JOURNAL);
        // Whether a file may be a journal of format 1, and not merely what a first start was about
        // to make.
        let is_format_1 = |name: &String| {
            let opened = Segment::open_any(directory, name);
            opened.and_then(|segment| segment.is_format_1()).unwrap_or(true)
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
        let mut row = Row::new(directory, Manifest::new(JournalId::random()), &names);
        row.is_format_1 = true;
        row.segments.push(Segment::open_any(directory, &only)?);
        Ok(Some(row))
    }

    /// The row of a journal whose manifest is this, among the files with these names.
    pub(super) fn open(
        directory: &'d dyn Directory,
        manifest: Manifest,
        names: &[String],
    ) -> Result<Row<'d>, Error> {
        let (journal, mut next) = (manifest.id, 1);
        let mut row = Row::new(directory, manifest, names);
        for number in Segment::numbers(names) {
            let name = Segment::name(number);
            let (segment, mut damage) = match Segment::open(directory, &name, journal) {
                Err(error @ Error::Damaged { .. }) => {
                    let Segment { path, file, .. } = Segment::open_any(directory, &name)?;
                    let header = SegmentHeader { journal, numbers: number..=number };
                    (Segment::new(path, &header, file), Some(error))
                }
                opened => (opened?, None),
            };
            let last = *segment.numbers.end();
            if number > next {
                row.damage.get_or_insert_with(|| missing(directory, next));
            } else if number < next && last >= next {
                let problem = "its place in the row is another segment's";
                damage = damage.or(Some(segment.damaged(0, problem)));
            } else if number < next
                && let Ok(header) = segment.header()
                && header.is_none_or(|header| header.journal == journal)
            {
                // A repair has read what there was in it; the next start removes it.
                damage = None;
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

    fn new(directory: &'d dyn Directory, manifest: Manifest, names: &[String]) -> Row<'d> {
        let (is_format_1, segments, damage) = Default::default();
        Row { directory, manifest, is_format_1, segments, left_over: left_over(names), damage }
    }

    /// The row that is in a directory; a new one where there is none, or where the creation of one
    /// was cut short. Says whether there was none.
    pub(super) fn begin(directory: &'d dyn Directory) -> Result<(Row<'d>, bool), Error> {
        let found = Row::find(directory)?;
        let is_new = found.is_none();
        let mut row = match found {
            Some(row) => row,
            None => Row::new(directory, Manifest::new(JournalId::random()), &[]),
        };
        if is_new {
            row.manifest.write(directory)?;
        }
        if row.segments.is_empty() {
            if row.manifest.reached.0 > 0 {
                return Err(missing(directory, 1));
            }
            row.segments.push(Segment::create(directory, row.manifest.id, 1)?);
        }
        Ok((row, is_new))
    }

    /// Whether the machine was restarted while it was not known of all appends that they were on
    /// disk.
    pub(super) fn lost_appends(&self) -> bool {
        let run = self.manifest.unsynced.as_deref();
        run.is_some_and(|run| self.directory.boot_id().as_deref() != Some(run))
    }

    /// Makes sure that what was read is on disk, and removes what was left over. Gives what was
    /// cut off.
    pub(super) fn settle(&mut self, ends: &[End]) -> Result<Vec<Torn>, Error> {
        let directory = self.directory;
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
                    recovery::close(segment, end.offset)?;
                }
            }
        }
        Ok(torn)
    }

    /// Makes a journal of format 1 the first segment of a row. Says whether it was one.
    pub(super) fn take_over(&mut self) -> Result<bool, Error> {
        let directory = self.directory;
        if !self.is_format_1 {
            return Ok(false);
        }
        for segment in &mut self.segments {
            if segment.path == directory.path(JOURNAL) {
                let name = Segment::name(1);
                directory.rename(JOURNAL, &name).map_err(segment.failed("rename"))?;
                directory.sync_names(JOURNAL)?;
                segment.path = directory.path(&name);
            }
        }
        self.manifest.write(directory)?;
        Ok(true)
    }

    /// Reads all records of the row, in order. They are noted in `index` and then handed to
    /// `each`. Gives how each segment ends.
    ///
    /// # Errors
    ///
    /// What was once synced and is no longer as it was written.
    pub(super) fn scan(
        &mut self,
        index: &mut Index,
        progress: &Progress,
        mut each: impl FnMut(Record<'_>),
    ) -> Result<Vec<End>, Error> {
        if let Some(damage) = self.damage.take() {
            return Err(damage);
        }
        for segment in &self.segments {
            progress.size.fetch_add(segment.size()?, Ordering::Relaxed);
        }
        let mut ends = Vec::new();
        for (place, segment) in self.segments.iter().enumerate() {
            index.begin(segment.numbers.clone());
            let mut is_closed = false;
            let scanned = Scan::new(segment).and_then(|mut scan| {
                scan.read(|record, size| {
                    if is_closed {
                        return Err("a frame stands there after the end of the segment".into());
                    }
                    progress.read.fetch_add(size as u64, Ordering::Relaxed);
                    is_closed = record.event == Event::Close;
                    if index.note(&record, size)? && !is_closed {
                        each(record);
                    }
                    Ok(())
                })
            });
            let mut end = scanned.map_err(segment.failed("read"))?;
            let is_damaged = matches!(end.kind, EndKind::Damaged(_));
            if is_damaged && place + 1 == self.segments.len() && self.lost_appends() {
                // Nobody was promised that these are on disk: they may have holes anywhere.
                end.kind = EndKind::Torn;
            }
            self.check_end(segment, self.segments.get(place + 1..).unwrap_or_default(), &end)?;
            ends.push(end);
        }
        let number = self.segments.last().map_or(0, |segment| *segment.numbers.end());
        if self.manifest.reached.0 > number {
            return Err(missing(self.directory, number + 1));
        }
        Ok(ends)
    }

    /// Checks how a segment ends, which these follow. All but the last are closed; but for one
    /// whose closing was cut short when the next had been made, and that one is still empty. The
    /// last one reaches at least as far as it did at the last start.
    fn check_end(&self, segment: &Segment, later: &[Segment], end: &End) -> Result<(), Error> {
        let is_closed = end.is_closed;
        let (number, size) = self.manifest.reached;
        let is_shorter = segment.numbers.contains(&number) && end.offset < size;
        let is_last = match later {
            [] => true,
            [next] if !is_closed => next.size()? == next.header_size(),
            _ => false,
        };
        let problem = match end.kind {
            EndKind::Damaged(problem) => problem,
            _ if is_last && is_closed => {
                return Err(missing(self.directory, *segment.numbers.end() + 1));
            }
            EndKind::Torn if !is_last => "the segment was closed, and something else stands there",
            _ if !is_last && !is_closed => {
                "the segment ends there before the record that closes it"
            }
            _ if !is_closed && is_shorter => "the journal reached further when it was last opened",
            _ => return Ok(()),
        };
        Err(segment.damaged(end.offset, problem))
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

/// The segment with this number is not there.
pub(super) fn missing(directory: &dyn Directory, number: u32) -> Error {
    let path = directory.path(&Segment::name(number));
    Error::Damaged { path, offset: 0, problem: "the segment is missing" }
}
