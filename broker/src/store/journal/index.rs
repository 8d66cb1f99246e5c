//! What of the row of segments still counts, and whether a record can follow on those before it.
//!
//! Every record of the row is noted here, at a start and when it is appended. So it is known of
//! each segment how much of it is dead, without reading it.
//!
//! # Guarantee
//!
//! A record that is noted follows on what was there: an append on the end of its list, everything
//! else on a list that was created and not deleted. A record that does not is damage.

use super::{Event, Numbers, Record};
use crate::store::StreamId;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::RangeBounds;

/// Of a segment of which so many times as much is dead as alive, hardly anything is left.
const LEFT_OUT_MIN: u64 = 15;

/// How many small neighbours are joined whatever their sizes are.
const NEIGHBOURS_MAX: usize = 8;

/// A list: a topic and a stream id together. A mirror's id is what its home says, and a home may
/// say the same of two topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ListId(u64);

impl ListId {
    fn new(topic: &str, stream: StreamId) -> ListId {
        let mut hasher = DefaultHasher::new();
        (topic, stream).hash(&mut hasher);
        ListId(hasher.finish())
    }
}

/// What counts in a row of segments.
#[derive(Clone, Default)]
pub(super) struct Index {
    /// The list of each topic.
    topics: HashMap<Box<str>, ListId>,
    /// The lists that are there.
    lists: HashMap<ListId, List>,
    /// What lists were called first that have another stream id now: they are known by that.
    renamed: HashMap<ListId, ListId>,
    /// Where the last position of each lasting subscription stands, by topic and subscriber.
    positions: HashMap<Box<str>, HashMap<Box<str>, Held>>,
    /// What the segments hold, by their first number.
    segments: BTreeMap<u32, Contents>,
    /// How many records may have cancelled others. While it changes there may be more to clean.
    pub(super) cancellations: u64,
}

/// A list that is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct List {
    /// Its present id.
    pub(super) stream: StreamId,
    /// The first offset that is left.
    pub(super) first: u64,
    pub(super) next: u64,
    /// The segments with the last trim and with the last bounds.
    pub(super) trim: u32,
    pub(super) bounds: u32,
    /// The segment with its first message, or an earlier one: where letting go begins.
    pub(super) begin: u32,
}

/// The last record of its kind: the segment that it was written to, and its bytes.
#[derive(Debug, Clone, Copy)]
struct Held {
    segment: u32,
    size: u32,
}

/// What a segment holds.
#[derive(Debug, Clone)]
pub(super) struct Contents {
    pub(super) numbers: Numbers,
    /// Bytes of its records.
    pub(super) size: u64,
    /// The lists that its records are about, and the bytes that count of all of them.
    lists: HashMap<ListId, Share>,
    kept: u64,
    /// Hashes of the lasting subscriptions whose positions it holds.
    subscriptions: HashSet<u64>,
    /// Bytes of those that are the last of their subscriptions.
    positions: u64,
    /// Bytes that count as alive beside lists: what the last cleaning had to leave of records that
    /// are dead, or cancelled soon.
    left: u64,
}

/// What a segment holds of one list.
#[derive(Debug, Clone, Default)]
struct Share {
    /// The offsets of its messages that are there, and about how many bytes of records hold them.
    /// It ends where the next segment goes on.
    from: u64,
    to: u64,
    messages: u64,
    /// Whether its records have to be read: publishers gave numbers, or it may begin anew there.
    is_read: bool,
    /// Bytes of records that count as long as the list does.
    other: u64,
}

impl Contents {
    pub(super) fn new(numbers: Numbers) -> Contents {
        let (size, lists, kept, subscriptions, positions, left) = Default::default();
        Contents { numbers, size, lists, kept, subscriptions, positions, left }
    }

    /// About how many bytes of its records count.
    fn alive(&self) -> u64 {
        self.kept + self.positions + self.left
    }

    /// Whether most of the segment is dead, and that is at least so many bytes. Unless `copies` is
    /// set, so much that it costs next to nothing to write what is left.
    fn is_worth_cleaning(&self, copies: bool, dead_min: u64) -> bool {
        let alive = self.alive();
        let dead = self.size.saturating_sub(alive);
        dead >= dead_min && dead > if copies { alive } else { alive * LEFT_OUT_MIN }
    }

    /// Notes that a list has let go of what stood before an offset; that it is gone, if `None`.
    /// Says whether messages of it are left.
    fn let_go(&mut self, list: ListId, first: Option<u64>) -> bool {
        let Some(share) = self.lists.get_mut(&list) else { return false };
        let before = share.messages + share.other;
        let count = u128::from(share.to.saturating_sub(share.from).max(1));
        share.from = first.unwrap_or(u64::MAX).min(share.to).max(share.from);
        let left = u128::from(share.messages) * u128::from(share.to.saturating_sub(share.from));
        share.messages = u64::try_from(left / count).unwrap_or(share.messages);
        share.other = if first.is_some() { share.other } else { 0 };
        self.kept -= before - share.messages - share.other;
        share.messages > 0
    }

    /// Notes a record that this segment holds, and the list that it is about.
    pub(super) fn add(&mut self, record: &Record<'_>, list: ListId, size: usize) {
        let size = size as u64;
        self.size += size;
        match record.event {
            Event::Close | Event::End { .. } | Event::Delete => {}
            Event::Append { first, count, publisher, .. } => {
                let share = self.lists.entry(list).or_default();
                if share.messages == 0 {
                    (share.from, share.to) = (first, 0);
                }
                share.to = share.to.max(first + count);
                share.messages += size;
                self.kept += size;
                share.is_read |= publisher.is_some_and(|by| by.sequence.is_some());
            }
            Event::Position { subscriber, .. } => {
                self.lists.entry(list).or_default();
                // A deletion ends it even where it was to a topic that was not there yet.
                let topic = record.topic;
                self.subscriptions.extend([hash(subscriber, topic), hash("", topic)]);
            }
            Event::Trim { first, .. } => {
                let share = self.lists.entry(list).or_default();
                share.to = share.to.max(first);
            }
            _ => {
                let share = self.lists.entry(list).or_default();
                share.is_read |= share.to > 0;
                share.other += size;
                self.kept += size;
            }
        }
    }
}

/// The hash of a lasting subscription; of any to a topic, where no subscriber is named.
pub(super) fn hash(subscriber: &str, topic: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (subscriber, topic).hash(&mut hasher);
    hasher.finish()
}

/// Notes that a record says nothing any more.
fn superseded(segments: &mut BTreeMap<u32, Contents>, held: Held) {
    if let Some((_, contents)) = segments.range_mut(..=held.segment).next_back() {
        contents.positions = contents.positions.saturating_sub(held.size.into());
    }
}

impl Index {
    /// Begins a segment: what is noted from now on stands there.
    pub(super) fn begin(&mut self, numbers: Numbers) {
        self.cancellations += 1;
        self.segments.insert(*numbers.start(), Contents::new(numbers));
    }

    /// What the list is known by that a record is about.
    pub(super) fn id(&self, topic: &str, stream: StreamId) -> ListId {
        let id = ListId::new(topic, stream);
        self.renamed.get(&id).copied().unwrap_or(id)
    }

    /// Notes the next record of the row, which takes so many bytes. Says whether it changes
    /// anything: not a deletion of what was left out already, nor a position in it.
    ///
    /// # Errors
    ///
    /// What is wrong with a record that cannot follow on those before it.
    pub(super) fn note(&mut self, record: &Record<'_>, size: usize) -> Result<bool, &'static str> {
        let Record { topic, stream, event } = *record;
        let id = self.id(topic, stream);
        let mut last = self.segments.last_entry().ok_or("no segment was begun")?;
        let segment = *last.key();
        last.get_mut().add(record, id, size);
        self.cancellations += u64::from(!matches!(event, Event::Create | Event::Append { .. }));
        let list = self.lists.get_mut(&id).filter(|list| list.stream == stream);
        let list = list.ok_or("the frame there is about a topic that is not there");
        match event {
            Event::Create | Event::Mirror => {
                if self.topics.contains_key(topic) {
                    return Err("the frame there creates a topic that is there");
                }
                let (trim, bounds, begin) = (segment, segment, segment);
                self.topics.insert(topic.into(), id);
                self.lists.insert(id, List { stream, first: 0, next: 0, trim, bounds, begin });
            }
            Event::Append { first, count, .. } => {
                let list = list?;
                if list.next != first {
                    return Err("the frame there does not follow on the messages before it");
                }
                list.next += count;
            }
            Event::Delete => {
                let is_there = list.is_ok();
                if is_there {
                    self.let_go(id, None);
                    self.topics.remove(topic);
                    self.lists.remove(&id);
                }
                let ended = self.positions.remove(topic);
                let held = ended.iter().flat_map(HashMap::values);
                held.for_each(|held| superseded(&mut self.segments, *held));
                return Ok(ended.is_some() || is_there);
            }
            Event::NewStream { new, .. } => {
                list?.stream = new;
                self.renamed.insert(ListId::new(topic, new), id);
            }
            Event::Trim { first, digest, .. } => {
                let list = list?;
                if first > list.first || (first == list.first && digest.is_some()) {
                    list.first = first;
                    list.next = list.next.max(first);
                    list.trim = segment;
                    self.let_go(id, Some(first));
                }
            }
            Event::Bounds(_) => list?.bounds = segment,
            Event::Sequence { .. } => drop(list?),
            Event::Position { subscriber, .. } => {
                // One of a list that is gone came late: it says nothing any more.
                if list.is_err() && stream != StreamId::NONE {
                    return Ok(false);
                }
                last.get_mut().positions += size as u64;
                let held = Held { segment, size: u32::try_from(size).unwrap_or(u32::MAX) };
                let positions = self.positions.entry(topic.into()).or_default();
                let before = positions.insert(subscriber.into(), held);
                before.into_iter().for_each(|held| superseded(&mut self.segments, held));
            }
            Event::End { subscriber } => {
                if let Some(positions) = self.positions.get_mut(topic) {
                    let ended = positions.remove(subscriber);
                    ended.into_iter().for_each(|held| superseded(&mut self.segments, held));
                    if positions.is_empty() {
                        self.positions.remove(topic);
                    }
                }
            }
            Event::Close => {}
        }
        Ok(true)
    }

    /// Notes in the segments that a list has let go of what stood before an offset; that it is
    /// gone, if `None`.
    fn let_go(&mut self, id: ListId, first: Option<u64>) {
        let Some(list) = self.lists.get_mut(&id) else { return };
        let begin = first.and_then(|_| self.segments.range(..=list.begin).next_back());
        let begin = begin.map_or(0, |(begin, _)| *begin);
        for (number, contents) in self.segments.range_mut(begin..) {
            list.begin = *number;
            if contents.let_go(id, first) {
                break;
            }
        }
    }

    /// The list that is known by this.
    pub(super) fn find(&self, id: ListId) -> Option<&List> {
        self.lists.get(&id)
    }

    /// The list of a topic.
    pub(super) fn list(&self, topic: &str) -> Option<&List> {
        self.lists.get(self.topics.get(topic)?)
    }

    /// All topics, and their lists.
    pub(super) fn topics(&self) -> impl Iterator<Item = (&str, &List)> {
        self.topics.iter().filter_map(|(topic, id)| Some((&**topic, self.lists.get(id)?)))
    }

    /// How many lasting subscriptions there are.
    pub(super) fn subscriptions(&self) -> u64 {
        self.positions.values().map(|positions| positions.len() as u64).sum()
    }

    /// Where the last position of a lasting subscription stands that is there.
    pub(super) fn position(&self, subscriber: &str, topic: &str) -> Option<u32> {
        Some(self.positions.get(topic)?.get(subscriber)?.segment)
    }

    /// Whether a segment before this one holds positions of a lasting subscription with this hash.
    pub(super) fn has_position_before(&self, number: u32, hash: u64) -> bool {
        self.segments.range(..number).any(|(_, contents)| contents.subscriptions.contains(&hash))
    }

    /// Whether a segment with one of these numbers holds anything of a list.
    pub(super) fn is_held(&self, numbers: impl RangeBounds<u32>, list: ListId) -> bool {
        self.segments.range(numbers).any(|(_, contents)| contents.lists.contains_key(&list))
    }

    /// The first numbers of the segments with these numbers.
    pub(super) fn numbers(&self, numbers: &Numbers) -> Vec<u32> {
        self.segments.range(numbers.clone()).map(|(first, _)| *first).collect()
    }

    /// Puts what a cleaned segment holds in the place of what was there.
    pub(super) fn replace(&mut self, mut contents: Contents) {
        let numbers = contents.numbers.clone();
        let positions = self.positions.values().flat_map(HashMap::values);
        let here = positions.filter(|held| numbers.contains(&held.segment));
        contents.positions = here.map(|held| u64::from(held.size)).sum();
        let mut dead = 0;
        for (id, share) in &mut contents.lists {
            let list = self.lists.get(id);
            // A record is kept whole as long as one of its messages is: its bytes count for those.
            let first = list.map_or(u64::MAX, |list| list.first);
            share.from = share.from.max(first.min(share.to));
            if share.from == share.to {
                dead += std::mem::take(&mut share.messages);
            }
            share.other = if list.is_some() { share.other } else { 0 };
        }
        contents.kept = contents.lists.values().map(|share| share.messages + share.other).sum();
        contents.left = contents.size.saturating_sub(contents.alive() + dead);
        self.segments.retain(|number, _| !numbers.contains(number));
        self.segments.insert(*numbers.start(), contents);
    }

    /// Bytes of all records, and of those that count.
    pub(super) fn sizes(&self) -> (u64, u64) {
        let sizes = self.segments.values().map(|contents| (contents.size, contents.alive()));
        sizes.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// Where a list goes on behind these segments, if they hold records of it, but no message that
    /// is there, nor a number that has to be kept.
    pub(super) fn passed(&self, id: ListId, numbers: &Numbers) -> Option<u64> {
        let list = self.lists.get(&id);
        let held = self.segments.range(numbers.clone());
        let shares = held.filter_map(|(_, contents)| contents.lists.get(&id));
        let passed = shares.map(|share| match list {
            Some(list) if share.to > list.first || share.is_read => None,
            _ => Some(share.to),
        });
        // Where there are neither messages nor a trim, it goes on where it did before.
        passed.reduce(|all, next| all.zip(next).map(|(all, to)| if to == 0 { all } else { to }))?
    }

    /// Whether one of these segments holds the last position of a lasting subscription.
    pub(super) fn has_positions(&self, numbers: &Numbers) -> bool {
        self.segments.range(numbers.clone()).any(|(_, contents)| contents.positions > 0)
    }

    /// Whether most of the last segment is dead, and that is at least so many bytes.
    pub(super) fn is_last_dead(&self, dead_min: u64) -> bool {
        self.segments.values().next_back().is_some_and(|it| it.is_worth_cleaning(true, dead_min))
    }

    /// The segments that are worth cleaning next: the one that frees most, of which most is dead
    /// and at least `dead_min` bytes, and unless `copies` is set hardly anything is left; or small
    /// neighbours which together stay below `joined_max`. The last segment is still being written.
    pub(super) fn candidate(
        &self,
        copies: bool,
        dead_min: u64,
        joined_max: u64,
    ) -> Option<Numbers> {
        let (last, _) = self.segments.last_key_value()?;
        let closed = || self.segments.range(..*last).map(|(_, contents)| contents);
        let dead = closed().filter(|contents| contents.is_worth_cleaning(copies, dead_min));
        if let Some(most) = dead.max_by_key(|contents| contents.size - contents.alive()) {
            return Some(most.numbers.clone());
        }
        let mut run: Vec<&Contents> = Vec::new();
        for contents in closed() {
            run.push(contents);
            let sum: u64 = run.iter().map(|contents| contents.size).sum();
            let largest = run.iter().map(|contents| contents.size).max().unwrap_or(0);
            if sum > joined_max {
                run.clear();
            } else if run.len() >= NEIGHBOURS_MAX || (run.len() > 1 && largest * 2 <= sum) {
                return Some(*run.first()?.numbers.start()..=*contents.numbers.end());
            }
        }
        None
    }
}
