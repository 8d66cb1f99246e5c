//! A view of a topic: its list together with its state. Only here an offset becomes an index.

use crate::refusal::{Refusal, Result};
use crate::store::{
    Begin, Cursor, Entry, Extract, Limits, MARK_EVERY, Mark, Place, Point, StreamId, TopicState,
};
use common::crc32::Crc32;

/// A topic in short; by default, one that has no list here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Summary {
    pub(crate) stream: StreamId,
    /// The first offset that is still there, and the one after the last.
    pub(crate) first: u64,
    pub(crate) next: u64,
    /// The size of the messages as `GET /messages` gives them.
    pub(crate) bytes: u64,
    /// When the newest was published, in Unix milliseconds, if there is one.
    pub(crate) last: Option<u64>,
    /// What is kept at most.
    pub(crate) limits: Limits,
}

/// A topic as readers see it.
#[derive(Clone, Copy)]
pub(crate) struct TopicView<'a> {
    state: &'a TopicState,
    list: &'a [String],
}

impl<'a> TopicView<'a> {
    /// A view of `list`, which `state` is about.
    pub(crate) fn new(state: &'a TopicState, list: &'a [String]) -> TopicView<'a> {
        TopicView { state, list }
    }

    /// Whether another broker is the topic's home.
    pub(crate) fn is_mirror(&self) -> bool {
        self.state.mirror
    }

    /// Where the list begins, here or at its home.
    pub(crate) fn first(&self) -> u64 {
        self.state.first()
    }

    /// Where what is here of it begins.
    pub(crate) fn start(&self) -> u64 {
        self.state.start.offset
    }

    /// Where the list ends.
    pub(crate) fn end(&self) -> Cursor {
        Cursor { stream: self.state.stream, next: self.state.end.offset }
    }

    /// The topic in short, on a broker with these bounds.
    pub(crate) fn summary(&self, defaults: &Limits) -> Summary {
        let TopicState { start, end, stream, .. } = self.state;
        let last = self.entries(start.offset, end.offset).last();
        Summary {
            stream: *stream,
            first: self.first(),
            next: end.offset,
            bytes: end.text - start.text + self.state.text_at_home(),
            last: last.map(|entry| Entry::of(entry).milliseconds()),
            limits: self.state.told_limits(defaults),
        }
    }

    /// What it keeps on a broker with these bounds.
    pub(crate) fn limits(&self, defaults: &Limits) -> Limits {
        self.state.limits(defaults)
    }

    /// Where a reader begins who asks for `begin` and means `stream`, where it says so. That may
    /// lie before what is here.
    ///
    /// # Errors
    ///
    /// [`Refusal::OtherStream`], [`Refusal::PastEnd`], [`Refusal::Trimmed`]; and
    /// [`Refusal::NotHere`] where only the home of the topic knows.
    pub(crate) fn begin(&self, begin: Begin, stream: Option<StreamId>) -> Result<Cursor> {
        let (first, end) = (self.first(), self.end());
        let next = match begin {
            Begin::First => first,
            Begin::Now => end.next,
            Begin::Offset(offset) => offset,
            Begin::Last(count) => first.max(end.next.saturating_sub(count)),
            Begin::Since(time) => match self.since(time) {
                since if since == self.start() && since > first => return Err(Refusal::NotHere),
                since => since,
            },
        };
        // Whoever has read nothing, from a topic that was not there, has not read another list.
        let nothing_read = stream == Some(StreamId::NONE) && next == 0;
        if stream.is_some_and(|stream| stream != end.stream) && !nothing_read {
            return Err(Refusal::OtherStream);
        }
        if next > end.next {
            return Err(Refusal::PastEnd { from: next, next: end.next });
        }
        match self.check(next) {
            Ok(()) | Err(Refusal::NotHere) => Ok(Cursor { next, ..end }),
            Err(refusal) => Err(refusal),
        }
    }

    /// The same cursor, if it is in this list, or a later one, so that at most so many bytes of
    /// text lie behind.
    pub(crate) fn within(&self, from: Cursor, bytes: u64) -> Cursor {
        let text = self.state.end.text.saturating_sub(bytes);
        let next = from.next.max(self.offset_where(|point| point.text, text));
        if from.stream == self.state.stream { Cursor { next, ..from } } else { from }
    }

    /// The offset before which so many bytes of memory are given back when it is let go.
    pub(crate) fn after_memory(&self, bytes: u64) -> u64 {
        self.offset_where(|point| point.memory, self.state.start.memory + bytes)
    }

    /// Bytes of `GET /messages` for the messages from one offset to another.
    ///
    /// # Errors
    ///
    /// [`Refusal::Trimmed`].
    pub(crate) fn text_size(&self, from: u64, end: u64) -> Result<u64> {
        self.check(from)?;
        Ok(self.point(end, false).text - self.point(from, false).text)
    }

    /// Bytes of `GET /messages` from the first message, here or at the home, to an offset.
    ///
    /// # Errors
    ///
    /// As [`TopicView::text_size`].
    pub(crate) fn text_before(&self, end: u64) -> Result<u64> {
        Ok(self.state.text_at_home() + self.text_size(self.start(), end.max(self.start()))?)
    }

    /// Copies parts of entries from a place on, as [`Extract::copy`].
    ///
    /// # Errors
    ///
    /// [`Refusal::Trimmed`].
    pub(crate) fn copy(&self, from: Place, extract: Extract, out: &mut Vec<u8>) -> Result<Place> {
        self.check(from.cursor.next)?;
        Ok(extract.copy(self.entries(from.cursor.next, u64::MAX), from, out))
    }

    /// The offset behind the first messages from `from` on that have at least so many bytes of
    /// text together.
    ///
    /// # Errors
    ///
    /// [`Refusal::Trimmed`].
    pub(crate) fn after_text(&self, from: u64, size: u64) -> Result<u64> {
        self.check(from)?;
        Ok(self.offset_where(|point| point.text, self.point(from, false).text + size))
    }

    /// An offset at or before this one before which the checksum is known, and the checksum.
    pub(crate) fn digest_before(&self, offset: u64) -> Option<(u64, Crc32)> {
        let known = self.known(offset, true);
        Some((known.offset, known.digest?))
    }

    /// What is known of all messages before an offset, or before the end; with the checksum only
    /// where that is asked for, since it takes longer.
    pub(crate) fn point(&self, offset: u64, digest: bool) -> Point {
        let mut point = self.known(offset, digest);
        if !digest {
            point.digest = None;
        }
        for entry in self.entries(point.offset, offset) {
            point.pass(entry);
        }
        point
    }

    /// The offset before which everything is to be let go so that the list and `more` messages
    /// with so many bytes of text keep within limits. The newest message always stays, and so
    /// does what is accepted but not in the list yet. The age counts where the time is given. Of a
    /// mirror, sizes and times are known from its beginning here on.
    pub(crate) fn beyond(&self, limits: &Limits, more: (u64, u64), now: Option<u64>) -> u64 {
        let TopicState { accepted_start, accepted_end, end, .. } = self.state;
        let next = accepted_end.offset + more.0;
        let begin = self.state.accepted_first();
        let mut first = begin;
        if let Some(keep) = limits.messages {
            first = first.max(next.saturating_sub(keep));
        }
        if let Some(keep) = limits.bytes {
            let text = (accepted_end.text + more.1).saturating_sub(keep);
            if text > accepted_start.text {
                first = first.max(self.offset_where(|point| point.text, text));
            }
        }
        if let Some((age, now)) = limits.age.zip(now) {
            let after = self.after_older(now.saturating_sub(age));
            first = first.max(if after > self.start() { after } else { begin });
        }
        first.min(next.saturating_sub(1)).min(end.offset).max(begin)
    }

    /// The offset after the last message that is older than a time. So one message of a clock
    /// that was fast holds nothing up: later ones of the right time let it go with them.
    pub(crate) fn after_older(&self, time: u64) -> u64 {
        let mut marks = self.state.marks.iter().rev().filter(|mark| mark.oldest < time);
        let last = marks.find_map(|mark| self.times(mark).rfind(|(_, at)| *at < time));
        last.map_or(self.start(), |(offset, _)| offset + 1)
    }

    /// The first message of a time or later; the end where there is none.
    fn since(&self, time: u64) -> u64 {
        let mut marks = self.state.marks.iter().filter(|mark| mark.newest >= time);
        let first = marks.find_map(|mark| self.times(mark).find(|(_, at)| *at >= time));
        first.map_or(self.end().next, |(offset, _)| offset)
    }

    /// The first offset before which there are at least so many bytes of text, or of memory.
    fn offset_where(&self, size: fn(&Point) -> u64, bytes: u64) -> u64 {
        let marks = &self.state.marks;
        let after = marks.partition_point(|mark| size(&mark.start) < bytes);
        let mark = after.checked_sub(1).and_then(|last| marks.get(last));
        let mut point = mark.map_or(self.state.start, |mark| mark.start);
        if point.offset < self.start() {
            point = self.state.start;
        }
        point.digest = None;
        for entry in self.entries(point.offset, self.end().next) {
            if size(&point) >= bytes {
                break;
            }
            point.pass(entry);
        }
        point.offset
    }

    /// The last point at or before an offset of which everything is known, with the checksum
    /// where that is asked for and known anywhere.
    fn known(&self, offset: u64, digest: bool) -> Point {
        let TopicState { start, accepted_start, marks, .. } = self.state;
        let is_fit = |point: &&Point| {
            point.offset <= offset
                && point.offset >= start.offset
                && (!digest || point.digest.is_some())
        };
        let marks = marks.get(..marks.len().min(self.state.mark_index(offset) + 1));
        let mark = marks.unwrap_or_default().iter().rev().map(|mark| &mark.start).find(is_fit);
        let points = [Some(start), Some(accepted_start).filter(is_fit), mark];
        *points.into_iter().flatten().max_by_key(|point| point.offset).unwrap_or(start)
    }

    /// The offsets and times of what is left of a block.
    fn times(&self, mark: &Mark) -> impl DoubleEndedIterator<Item = (u64, u64)> + use<'a> {
        let begin = mark.start.offset.max(self.start());
        let entries = self.entries(begin, (mark.block() + 1) * MARK_EVERY).iter().enumerate();
        entries.map(move |(place, entry)| (begin + place as u64, Entry::of(entry).milliseconds()))
    }

    /// The entries from one offset, which is not before the first, to another.
    fn entries(&self, from: u64, end: u64) -> &'a [String] {
        let (from, end) = (self.state.index(from), self.state.index(end));
        self.list.get(from..end.min(self.list.len())).unwrap_or_default()
    }

    /// Refuses what was let go, and what only the home has.
    fn check(&self, from: u64) -> Result<()> {
        let (first, next) = (self.first(), self.end().next);
        match from {
            _ if from < first => Err(Refusal::Trimmed { first, next }),
            _ if from < self.start() => Err(Refusal::NotHere),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Memory;
    use crate::store::topic_state::tests::list_of;
    use common::crc32::crc32;

    /// Lets go of everything before an offset.
    fn trim(state: &mut TopicState, list: &mut Vec<String>, offset: u64) -> usize {
        let point = TopicView::new(state, list).point(offset, true);
        let mut memory = Memory::new(u64::MAX);
        state.trim(point, &mut memory);
        let mut gone = state.apply_trim(list, 0, &mut memory).len();
        while state.has_dead() {
            gone += state.release(list).len();
        }
        gone
    }

    #[test]
    fn the_size_of_any_part_is_known_whatever_was_let_go() {
        let text = "x".repeat(5);
        let messages = (0..3 * 1024 + 7).map(|index| (&text[..index % 5], 9));
        let (mut state, mut list) = list_of(messages);
        for first in [0, 1, 900, 1024, 1030, 2048, 3070, 3079] {
            trim(&mut state, &mut list, first);
            for offset in [1, 1023, 1024, 1025, 2048, 3071, 3072, 3079] {
                let view = TopicView::new(&state, &list);
                let expected: u64 = (first..offset).map(|index| index % 5 + 1).sum();
                match view.text_size(first, offset) {
                    Ok(size) if offset >= first => assert_eq!(size, expected, "{first} {offset}"),
                    _ => assert!(offset < first),
                }
                assert_eq!(view.summary(&Limits::default()).first, first);
            }
        }
    }

    #[test]
    fn what_was_let_go_is_refused_and_the_rest_is_as_it_was() {
        let names: Vec<String> = (0..5000).map(|number| number.to_string()).collect();
        let (mut state, mut list) = list_of(names.iter().map(|name| (name.as_str(), 1)));
        let mut first = 0;
        for step in [1, 2, 100, 700, 1, 1500, 2000, 600] {
            first += step;
            trim(&mut state, &mut list, first);
            let view = TopicView::new(&state, &list);
            let mut text = Vec::new();
            let at = |next| Place::before(Cursor { next, ..view.end() });
            let refused = view.copy(at(first - 1), Extract::messages(first, 10), &mut text);
            assert!(
                matches!(refused, Err(Refusal::Trimmed { first: at, next: 5000 }) if at == first)
            );
            let next = view.copy(at(first), Extract::messages(first + 1, 10), &mut text).unwrap();
            assert_eq!(next, at(first + 1));
            assert_eq!(String::from_utf8(text).unwrap(), format!("{first}\n"));
            let all: String =
                names.iter().zip(0..first).map(|(name, _)| format!("{name}\n")).collect();
            assert_eq!(view.point(first, true).digest.unwrap().value(), crc32(all.as_bytes()));
            assert!(list.len() as u64 <= (5000 - first) + (5000 - first) / 8 + 1, "slots go too");
        }
    }

    #[test]
    fn a_message_is_cut_where_it_is_larger_than_a_piece() {
        let texts = ["a", "0123456789", "", "\u{1f600}\u{1f600}\u{1f600}", "bc", "d"];
        let (state, list) = list_of(texts.iter().map(|text| (*text, 7)));
        let view = TopicView::new(&state, &list);
        for end in ["\n", "\n7\n"] {
            let extract = if end.len() > 1 { Extract::entries } else { Extract::messages };
            for size_max in 1..30 {
                let mut place = Place::before(Cursor { next: 0, ..view.end() });
                let mut all = Vec::new();
                while place.cursor.next < 6 {
                    let (before, size) = (place, all.len());
                    place = view.copy(place, extract(6, size_max), &mut all).unwrap();
                    assert_ne!(place, before);
                    // A character is not cut, and a stamp goes with the end of its message.
                    assert!(all.len() - size <= size_max + 3 + end.len());
                    assert!(place.inside == 0 || !all.ends_with(b"\n"));
                }
                assert_eq!(place.inside, 0);
                let expected: String = texts.iter().map(|text| format!("{text}{end}")).collect();
                assert_eq!(String::from_utf8(all).unwrap(), expected, "{size_max}");
            }
        }
        for (from, size, after) in
            [(0, 0, 0), (0, 1, 1), (0, 2, 1), (0, 3, 2), (1, 12, 3), (3, 99, 6)]
        {
            assert_eq!(view.after_text(from, size).unwrap(), after, "{from} {size}");
        }
    }

    #[test]
    fn digests_are_found_from_the_mark_before() {
        let (mut state, list) = list_of((0..4000).map(|_| ("x", 1)));
        let mut digest = Crc32::default();
        digest.update(b"x");
        state.digest_found(2048, digest);
        let before =
            |state: &TopicState, offset| TopicView::new(state, &list).digest_before(offset);
        assert_eq!(before(&state, 3000), Some((2048, digest)));
        assert_eq!(before(&state, 2047), Some((0, Crc32::default())));
        state.digest_found(2049, Crc32::default());
        assert_eq!(before(&state, 3000), Some((2048, digest)));
    }

    #[test]
    fn the_first_message_since_a_time_is_found_where_the_clock_was_set_back() {
        let times = [10, 20, 30, 15, 16, 40];
        let (mut state, mut list) = list_of(times.iter().map(|time| ("x", *time)));
        let view = TopicView::new(&state, &list);
        for (time, offset) in [(0, 0), (11, 1), (16, 1), (21, 2), (31, 5), (40, 5), (41, 6)] {
            assert_eq!(view.since(time), offset, "{time}");
        }
        trim(&mut state, &mut list, 3);
        assert_eq!(TopicView::new(&state, &list).since(16), 4);
        // Many blocks, of which the last is half full and the first half gone.
        let (mut state, mut list) = list_of((0..10_500).map(|time| ("x", time)));
        trim(&mut state, &mut list, 1500);
        let view = TopicView::new(&state, &list);
        for time in [0, 1499, 1500, 1501, 2047, 2048, 9999, 10_499, 10_500] {
            assert_eq!(view.since(time), time.max(1500));
            assert_eq!(view.after_older(time), time.max(1500));
        }
    }

    #[test]
    fn a_message_of_a_fast_clock_goes_with_those_after_it() {
        let (state, list) = list_of([10, 9000, 20, 30].into_iter().map(|time| ("x", time)));
        let view = TopicView::new(&state, &list);
        for (time, offset) in [(10, 0), (11, 1), (20, 1), (21, 3), (31, 4), (9999, 4)] {
            assert_eq!(view.after_older(time), offset, "{time}");
        }
    }

    #[test]
    fn what_is_beyond_a_bound_is_let_go_and_the_newest_message_stays() {
        let (state, list) = list_of((0..10).map(|time| ("xyz", time)));
        let view = TopicView::new(&state, &list);
        let none = Limits::default();
        for (keep, more, first) in [(10, 0, 0), (9, 0, 1), (1, 0, 9), (3, 2, 9), (3, 9, 10)] {
            let limits = Limits { messages: Some(keep), ..none };
            assert_eq!(view.beyond(&limits, (more, 4 * more), None), first, "{keep} {more}");
        }
        for (keep, more, first) in
            [(40, 0, 0), (39, 0, 1), (36, 0, 1), (35, 0, 2), (1, 0, 9), (12, 1, 8)]
        {
            let limits = Limits { bytes: Some(keep), ..none };
            assert_eq!(view.beyond(&limits, (more, 4 * more), None), first, "{keep} {more}");
        }
        let limits = Limits { age: Some(5), ..none };
        assert_eq!(view.beyond(&limits, (0, 0), None), 0);
        for (now, first) in [(5, 0), (6, 1), (14, 9), (100, 9)] {
            assert_eq!(view.beyond(&limits, (0, 0), Some(now)), first);
        }
    }

    #[test]
    fn a_reader_begins_within_the_list_that_it_means() {
        let (mut state, mut list) = list_of((0..3).map(|time| ("x", time)));
        state.stream = StreamId::random();
        let (own, other, none) = (Some(state.stream), Some(StreamId::random()), StreamId::NONE);
        let end = TopicView::new(&state, &list).end();
        let view = TopicView::new(&state, &list);
        for stream in [None, own] {
            for from in 0..=3 {
                let begin = view.begin(Begin::Offset(from), stream).unwrap();
                assert_eq!(begin, Cursor { next: from, ..end });
            }
            let refused = view.begin(Begin::Offset(4), stream);
            assert!(matches!(refused, Err(Refusal::PastEnd { from: 4, next: 3 })));
        }
        assert!(matches!(view.begin(Begin::Offset(0), other), Err(Refusal::OtherStream)));
        // Who has waited for a topic that was not there has read nothing of another list.
        let begin = |offset| view.begin(Begin::Offset(offset), Some(none));
        assert_eq!(begin(0).unwrap(), Cursor { next: 0, ..end });
        assert!(matches!(begin(1), Err(Refusal::OtherStream)));
        trim(&mut state, &mut list, 2);
        let view = TopicView::new(&state, &list);
        let begin = |begin| view.begin(begin, own).map(|cursor| cursor.next);
        assert!(matches!(begin(Begin::Offset(0)), Err(Refusal::Trimmed { first: 2, next: 3 })));
        for (from, next) in [
            (Begin::First, 2),
            (Begin::Now, 3),
            (Begin::Last(1), 2),
            (Begin::Last(9), 2),
            (Begin::Last(0), 3),
            (Begin::Since(0), 2),
            (Begin::Since(9), 3),
        ] {
            assert_eq!(begin(from).unwrap(), next, "{from:?}");
        }
    }
}
