//! What the broker knows about a topic beside its messages: how far it reaches, what is in force
//! for it, and marks that make sizes, checksums and times quick to find.
//!
//! A topic keeps what lies between two offsets. `first` moves in two steps, as `next` does: it is
//! accepted, and applied once that is on disk.

use crate::store::journal::Event;
use crate::store::{
    Before, Bounds, Cursor, Limits, MARK_EVERY, Mark, Memory, Mover, Point, Sequence, Sequences,
    StreamId, TopicView, memory,
};
use common::crc32::Crc32;
use std::collections::HashMap;

/// How long the numbers of a publisher are kept after its last message was let go, in
/// milliseconds.
const SEQUENCES_TIME: u64 = 24 * 60 * 60 * 1000;

/// How many messages are let go, at least, before the numbers of publishers are gone through.
const SEQUENCES_EVERY: u64 = 1024;

/// How many entries are taken out of a list at once: while that is done nobody can read or publish.
const RELEASED_MAX: usize = 4096;

/// What is known of one topic.
#[derive(Debug, Clone, Default)]
pub(crate) struct TopicState {
    /// Which list this is.
    pub(crate) stream: StreamId,
    /// Whether another broker is the topic's home, and this list a copy of a part of its.
    pub(crate) mirror: bool,
    /// Bytes of memory that the topic costs.
    pub(crate) size: u64,
    /// The bounds of its own.
    pub(crate) bounds: Bounds,
    /// The numbered publishers of this topic.
    pub(crate) sequences: HashMap<String, Sequences>,
    /// Where what is here begins for readers. A mirror is the newest part of its home's list.
    pub(super) start: Point,
    /// Where a mirror's home begins, as far as is known, and how much text lies between that and
    /// `start`. The journal has it where the mirror begins there.
    pub(super) home_first: u64,
    pub(super) home_text: u64,
    /// What a mirror's home says that it keeps, and sees to itself.
    pub(super) home_limits: Limits,
    /// Where it begins once all that was accepted is applied.
    pub(super) accepted_start: Point,
    /// The first entry of the list itself.
    pub(super) base: u64,
    /// The first entry that is not empty. Those from here to `start` are emptied little by little;
    /// the empty ones go when they are many.
    filled: u64,
    /// Where the list ends for readers; without a checksum.
    pub(super) end: Point,
    /// Where it ends once all that was accepted is in it; without a checksum.
    pub(super) accepted_end: Point,
    /// One for each block of [`MARK_EVERY`] offsets of which the list holds or held something
    /// since `base`, oldest first.
    pub(super) marks: Vec<Mark>,
    /// Where it began when the numbers of publishers were gone through last.
    sequences_seen: u64,
}

impl TopicState {
    /// The state of a new topic, which costs `size` bytes of memory while it is empty.
    pub(crate) fn new(stream: StreamId, mirror: bool, size: u64) -> TopicState {
        // Nothing was let go: the checksum of no text is known.
        let start = Point { digest: Some(Crc32::default()), ..Point::default() };
        TopicState { stream, mirror, size, start, accepted_start: start, ..TopicState::default() }
    }

    /// Where the list ends once all that was accepted is in it.
    pub(crate) fn accepted_end(&self) -> Cursor {
        Cursor { stream: self.stream, next: self.accepted_end.offset }
    }

    /// What it keeps on a broker with these bounds. A mirror has those that its home names.
    pub(crate) fn limits(&self, defaults: &Limits) -> Limits {
        if self.mirror { self.bounds.or(&Limits::default()) } else { self.bounds.or(defaults) }
    }

    /// What the topic is said to keep on a broker with these bounds.
    pub(crate) fn told_limits(&self, defaults: &Limits) -> Limits {
        let is_home_s = self.mirror && self.bounds == Bounds::default();
        if is_home_s { self.home_limits } else { self.limits(defaults) }
    }

    /// The first offset that readers find, here or, of a mirror, at its home.
    pub(crate) fn first(&self) -> u64 {
        if self.mirror { self.home_first.min(self.start.offset) } else { self.start.offset }
    }

    /// The same once all that was accepted is applied.
    pub(super) fn accepted_first(&self) -> u64 {
        let start = self.accepted_start.offset;
        if self.mirror { self.home_first.min(start) } else { start }
    }

    /// How much text is to be found at the home alone.
    pub(super) fn text_at_home(&self) -> u64 {
        if self.mirror { self.home_text } else { 0 }
    }

    /// Notes where the home of a mirror begins, and how much text it has from there to the end of
    /// what is here, where that is known.
    pub(crate) fn home_begins(&mut self, first: u64, text: Option<u64>) {
        self.home_first = self.home_first.max(first);
        if let Some(text) = text {
            self.home_text = text.saturating_sub(self.end.text - self.start.text);
        }
        if self.home_first >= self.start.offset {
            self.home_text = 0;
        }
    }

    /// How many messages are here.
    pub(crate) fn messages(&self) -> u64 {
        self.end.offset - self.start.offset
    }

    /// Whether the message at an offset was accepted and not let go.
    pub(crate) fn holds(&self, offset: u64) -> bool {
        (self.accepted_start.offset..self.accepted_end.offset).contains(&offset)
    }

    /// Memory that is freed when everything before a point is let go.
    pub(crate) fn memory_before(&self, point: &Point) -> u64 {
        point.memory - self.accepted_start.memory
    }

    /// Whether messages were let go that readers still see.
    pub(crate) fn is_trimmed(&self) -> bool {
        self.accepted_start.offset > self.start.offset
    }

    /// Whether the topic holds more than `limits` allow at a time, in Unix milliseconds.
    pub(crate) fn is_beyond(&self, limits: &Limits, now: Option<u64>) -> bool {
        let (start, end) = (&self.accepted_start, &self.accepted_end);
        let count = end.offset - self.accepted_first();
        let is_old = || {
            let oldest = limits.age.zip(now).map(|(age, now)| now.saturating_sub(age));
            oldest.is_some_and(|oldest| self.marks.iter().any(|mark| mark.oldest < oldest))
        };
        count > 1
            && (limits.messages.is_some_and(|keep| count > keep)
                || limits.bytes.is_some_and(|keep| end.text - start.text > keep)
                || is_old())
    }

    /// Counts messages that are about to be appended, whether there is room for them or not. Where
    /// they take numbers of a publisher, it was heard of at `time`; gives what was known of it.
    pub(crate) fn count(
        &mut self,
        more: &Point,
        numbered: Option<(&str, Sequence)>,
        time: u64,
        memory: &mut Memory,
    ) -> Option<Before> {
        let mut size = more.memory;
        // No messages take no number: the journal has nothing to hold it by.
        let before = numbered.filter(|_| more.offset > 0).map(|(publisher, first)| {
            let sequences = match self.sequences.get_mut(publisher) {
                Some(sequences) => sequences,
                None => {
                    size += memory::publisher_size(publisher);
                    self.sequences.entry(publisher.to_owned()).or_default()
                }
            };
            let known = sequences.size();
            let before = sequences.append(first, more.offset, self.accepted_end.offset, time);
            size += sequences.size().saturating_sub(known);
            before
        });
        self.accepted_end.offset += more.offset;
        self.accepted_end.text += more.text;
        self.accepted_end.memory += more.memory;
        self.charge(size, 0, memory);
        before
    }

    /// Takes memory, and gives memory back.
    fn charge(&mut self, taken: u64, given: u64, memory: &mut Memory) {
        self.size = (self.size + taken).saturating_sub(given);
        memory.used += taken;
        memory.give_back(given);
    }

    /// Forgets what was accepted and is not in the list; but for the numbers of publishers.
    pub(crate) fn reset(&mut self, memory: &mut Memory) {
        let taken = self.end.memory - self.start.memory;
        let given = self.accepted_end.memory - self.accepted_start.memory;
        (self.accepted_start, self.accepted_end) = (self.start, self.end);
        self.charge(taken, given, memory);
    }

    /// Takes back the number that a publisher took last.
    pub(crate) fn undo_number(&mut self, publisher: &str, before: Before, memory: &mut Memory) {
        let Some(sequences) = self.sequences.get_mut(publisher) else { return };
        let mut given = sequences.size();
        sequences.undo(before);
        let mut taken = sequences.size();
        if sequences.is_empty() {
            self.sequences.remove(publisher);
            (taken, given) = (0, given + memory::publisher_size(publisher));
        }
        self.charge(taken, given, memory);
    }

    /// Appends entries of one time that were counted to `list`, the topic's list.
    pub(crate) fn append(
        &mut self,
        list: &mut Vec<String>,
        time: u64,
        entries: impl ExactSizeIterator<Item = String>,
    ) {
        memory::reserve(list, entries.len());
        for entry in entries {
            if self.marks.is_empty() || self.end.offset.is_multiple_of(MARK_EVERY) {
                self.marks.push(Mark { start: self.end, oldest: time, newest: time });
            }
            if let Some(mark) = self.marks.last_mut() {
                mark.oldest = mark.oldest.min(time);
                mark.newest = mark.newest.max(time);
            }
            self.end.pass(&entry);
            list.push(entry);
        }
    }

    /// Lets go of everything before a point, which the view of the list has found or the topic's
    /// home has said. It may lie behind the end: then nothing is left, and the list goes on there.
    pub(crate) fn trim(&mut self, point: Point, memory: &mut Memory) {
        self.charge(0, self.memory_before(&point), memory);
        self.accepted_start = point;
        if point.offset > self.accepted_end.offset {
            self.accepted_end = Point { digest: None, ..point };
        }
    }

    /// Lets go of everything before an offset, as a journal says it, which may have more in it than
    /// the list. The checksum there stands in the same record, or in a later one.
    pub(crate) fn replay_trim(
        &mut self,
        list: &mut Vec<String>,
        first: u64,
        digest: Option<Crc32>,
        now: u64,
        memory: &mut Memory,
    ) {
        if first > self.accepted_start.offset {
            let known = TopicView::new(self, list).point(first.min(self.end.offset), false);
            self.trim(Point { offset: first, digest, ..known }, memory);
            self.apply_trim(list, now, memory);
            while self.has_dead() {
                self.release(list);
            }
        } else if first == self.start.offset && digest.is_some() {
            self.start.digest = digest;
            self.accepted_start.digest = digest;
        }
    }

    /// Knows again what a publisher has published whose messages were let go.
    pub(crate) fn restore_sequences(
        &mut self,
        publisher: &str,
        next: Sequence,
        time: u64,
        memory: &mut Memory,
    ) {
        let known = self.sequences.insert(publisher.to_owned(), Sequences::new(next, time));
        if known.is_none() {
            self.charge(memory::publisher_size(publisher), 0, memory);
        }
    }

    /// Up to where messages were let go, as the journal has it.
    pub(crate) fn trim_event(&self) -> Event<'static> {
        let Point { offset: first, digest, .. } = self.accepted_start;
        let gone = self.mirror && self.home_first >= first;
        Event::Trim { first, digest: digest.map(Crc32::value), gone }
    }

    /// Hides from readers what was let go. Takes some of it out of `list`, the list itself, for the
    /// caller to free; [`Self::release`] takes the rest. `now` is the time, in Unix milliseconds.
    pub(crate) fn apply_trim(
        &mut self,
        list: &mut Vec<String>,
        now: u64,
        memory: &mut Memory,
    ) -> Vec<String> {
        self.home_text += self.accepted_start.text - self.start.text;
        self.start = self.accepted_start;
        self.home_begins(0, None);
        if self.start.offset > self.end.offset {
            self.end = Point { digest: None, ..self.start };
        }
        self.forget_sequences(now, memory);
        self.release(list)
    }

    /// Whether entries that were let go are still in the list.
    pub(crate) fn has_dead(&self) -> bool {
        self.filled < self.start.offset
    }

    /// Takes some of the entries that were let go out of `list`, the topic's list, for the caller
    /// to free: as many as take no time that anybody notices.
    ///
    /// Their slots go when they are an eighth of the list: to move the others forward then costs
    /// each message the move of eight slots, however long the list is.
    pub(crate) fn release(&mut self, list: &mut Vec<String>) -> Vec<String> {
        let dead = self.index(self.start.offset).min(list.len());
        let live = list.len() - dead;
        let gone = if dead >= live && live <= RELEASED_MAX {
            let kept = list.split_off(dead);
            std::mem::replace(list, kept)
        } else {
            let filled = self.index(self.filled);
            let end = dead.min(filled + RELEASED_MAX);
            self.filled = self.base + end as u64;
            let slots = list.get_mut(filled..end).unwrap_or_default();
            let gone = slots.iter_mut().map(std::mem::take).collect();
            if end < dead || dead < live / 8 {
                return gone;
            }
            list.drain(..dead);
            gone
        };
        self.base = self.start.offset;
        self.filled = self.base;
        let block = self.base / MARK_EVERY;
        let blocks = self.marks.iter().take_while(|mark| mark.block() < block).count();
        self.marks.drain(..blocks);
        if list.capacity() > 2 * live.max(1024) {
            list.shrink_to(live + live / 8);
        }
        gone
    }

    /// Shows a mover some entries of `list`, the topic's list, from an offset on. Gives where it is
    /// to go on, if that is not the end.
    pub(crate) fn visit_entries(
        &mut self,
        list: &mut Vec<String>,
        from: u64,
        mover: &mut Mover,
    ) -> Option<u64> {
        let from = from.max(self.start.offset);
        if from == self.start.offset {
            mover.visit_list(list);
            mover.visit_list(&mut self.marks);
        }
        let mut entries = (from..).zip(list.get_mut(self.index(from)..)?);
        entries.find_map(|(offset, entry)| (!mover.visit_entry(entry)).then_some(offset + 1))
    }

    /// Forgets where messages stood that were let go, and the numbers of publishers of which
    /// nothing is left and nothing was heard for a day. Gone through now and then: the cost per
    /// message stays constant.
    fn forget_sequences(&mut self, now: u64, memory: &mut Memory) {
        let start = self.start.offset;
        let every = SEQUENCES_EVERY.max(self.sequences.len() as u64);
        if start < self.sequences_seen + every {
            return;
        }
        self.sequences_seen = start;
        let mut freed = 0;
        self.sequences.retain(|publisher, sequences| {
            let size = sequences.size();
            sequences.forget_before(start);
            freed += size - sequences.size();
            let is_kept = sequences.end() > start || now < sequences.time + SEQUENCES_TIME;
            if !is_kept {
                freed += sequences.size() + memory::publisher_size(publisher);
            }
            is_kept
        });
        self.charge(0, freed, memory);
    }

    /// Remembers the checksum before an offset where a block begins.
    pub(crate) fn digest_found(&mut self, offset: u64, digest: Crc32) {
        let index = self.mark_index(offset);
        if let Some(mark) = self.marks.get_mut(index).filter(|mark| mark.start.offset == offset) {
            mark.start.digest = Some(digest);
        }
    }

    /// Where the mark stands of the block that an offset is in.
    pub(super) fn mark_index(&self, offset: u64) -> usize {
        let first = self.marks.first().map_or(0, Mark::block);
        usize::try_from((offset / MARK_EVERY).saturating_sub(first)).unwrap_or(usize::MAX)
    }

    /// Where an offset stands in the list. Lists are in memory, so what does not fit lies past
    /// every end.
    pub(super) fn index(&self, offset: u64) -> usize {
        usize::try_from(offset.saturating_sub(self.base)).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::store::{entry, text_size};

    /// A list of these messages, each at its time, and its state.
    pub(crate) fn list_of<'m>(
        messages: impl Iterator<Item = (&'m str, u64)>,
    ) -> (TopicState, Vec<String>) {
        let (mut state, mut list) = (TopicState::new(StreamId::NONE, false, 0), Vec::new());
        for (message, time) in messages {
            let entries = [entry::compose(message, &entry::stamp(time, None))];
            let more = Point::more(&entries, text_size(&entries[0]));
            state.count(&more, None, 0, &mut Memory::new(u64::MAX));
            state.append(&mut list, time, entries.into_iter());
        }
        (state, list)
    }
}
