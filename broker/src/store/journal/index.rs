//! What of the row of segments still counts, and whether a record can follow on those before it.
//!
//! Every record of the row is noted here, at a start and when it is appended. So it is known of
//! each segment how much of it is dead, without reading it.
//!
//! # Guarantee
//!
//! A record that is noted follows on what was there: an append on the end of its list, everything
//! else on a list that was created and not deleted. A record that does not is damage.

use super::record::Record;
use crate::store::stream::StreamId;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// How many small neighbours are joined whatever their sizes are.
const NEIGHBOURS_MAX: usize = 8;

/// A list: a topic and a stream id together. A mirror's id is what its home says, and a home may
/// say the same of two topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct ListId(u64);

impl ListId {
    fn new(topic: &str, stream: StreamId) -> ListId {
        let mut hasher = DefaultHasher::new();
        (topic, stream).hash(&mut hasher);
        ListId(hasher.finish())
    }
}

/// What counts in a row of segments.
#[derive(Default)]
pub(super) struct Index {
    /// The list of each topic.
    topics: HashMap<Arc<str>, StreamId>,
    /// The lists that are there.
    lists: HashMap<ListId, List>,
    /// The present id of lists that had another before, and all ids of these, also when they are
    /// gone.
    present: HashMap<ListId, ListId>,
    ids: HashMap<ListId, Vec<ListId>>,
    /// The segment that holds the last position of each lasting subscription, by topic and
    /// subscriber.
    positions: HashMap<Arc<str>, HashMap<Box<str>, u32>>,
    /// What the segments hold, by their first number.
    segments: BTreeMap<u32, Contents>,
    /// How many records cancelled others.
    cancellations: u64,
}

/// A list that is there.
#[derive(Debug, Clone)]
pub(super) struct List {
    pub(super) topic: Arc<str>,
    /// The first offset that is left.
    pub(super) first: u64,
    pub(super) next: u64,
    /// The segments with the last trim and with the last bounds.
    pub(super) trim: u32,
    pub(super) bounds: u32,
}

/// What a segment holds.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) numbers: RangeInclusive<u32>,
    /// Bytes of its records.
    pub(super) size: u64,
    /// The lists that its records are about.
    lists: HashMap<ListId, Share>,
    /// Hashes of the lasting subscriptions whose positions it holds.
    subscriptions: HashSet<u64>,
    /// Bytes of records that are cancelled soon: positions, trims, ends, deletions. They count as
    /// alive where cleaning has left them.
    short_lived: u64,
    is_cleaned: bool,
    /// Bytes of dead records that the last cleaning had to leave.
    left: u64,
}

/// What a segment holds of one list.
#[derive(Debug, Default)]
struct Share {
    /// The offsets of its messages, and the bytes of the records that hold them.
    from: u64,
    to: u64,
    messages: u64,
    /// Bytes of records that count as long as the list does.
    other: u64,
}

impl Contents {
    pub(super) fn new(numbers: RangeInclusive<u32>, is_cleaned: bool) -> Contents {
        Contents {
            numbers,
            size: 0,
            lists: HashMap::new(),
            subscriptions: HashSet::new(),
            short_lived: 0,
            is_cleaned,
            left: 0,
        }
    }

    /// Notes a record that this segment holds. Gives how many messages it has.
    pub(super) fn add(&mut self, record: &Record<'_>, size: usize) -> u64 {
        let size = size as u64;
        let mut count = 0;
        self.size += size;
        match *record {
            Record::Append { topic, stream, first, ref messages, .. } => {
                let share = self.lists.entry(ListId::new(topic, stream)).or_default();
                if share.messages == 0 {
                    share.from = first;
                }
                count = messages.count_left();
                share.to = first + count;
                share.messages += size;
            }
            Record::Create { topic, stream }
            | Record::Mirror { topic, stream }
            | Record::Bounds { topic, stream, .. }
            | Record::Sequence { topic, stream, .. } => {
                self.lists.entry(ListId::new(topic, stream)).or_default().other += size;
            }
            Record::NewStream { topic, stream, new } => {
                self.lists.entry(ListId::new(topic, stream)).or_default().other += size;
                self.lists.entry(ListId::new(topic, new)).or_default();
            }
            Record::Trim { topic, stream, .. } => {
                self.lists.entry(ListId::new(topic, stream)).or_default();
                self.short_lived += size;
            }
            Record::Position { subscriber, topic, stream, .. } => {
                self.lists.entry(ListId::new(topic, stream)).or_default();
                self.subscriptions.insert(hash(subscriber, topic));
                // A deletion ends it even where it was to a topic that was not there yet.
                self.subscriptions.insert(hash("", topic));
                self.short_lived += size;
            }
            Record::Delete { .. } | Record::End { .. } => self.short_lived += size,
            Record::Close => {}
        }
        count
    }
}

fn hash(subscriber: &str, topic: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (subscriber, topic).hash(&mut hasher);
    hasher.finish()
}

impl Index {
    /// Begins a segment: what is noted from now on stands there.
    pub(super) fn begin(&mut self, numbers: RangeInclusive<u32>) {
        self.cancellations += 1;
        self.segments.insert(*numbers.start(), Contents::new(numbers, false));
    }

    /// Fills in what an append of format 1 leaves out.
    pub(super) fn complete(&self, record: &mut Record<'_>) {
        if let Record::Append { topic, stream, first, .. } = record
            && let Some(known) = self.topics.get(*topic)
            && let Some(list) = self.lists.get(&ListId::new(topic, *known))
        {
            (*stream, *first) = (*known, list.next);
        }
    }

    /// Notes the next record of the row, which takes so many bytes. Says whether it changes
    /// anything: not a deletion of what was left out already, nor a position in it.
    ///
    /// # Errors
    ///
    /// What is wrong with a record that cannot follow on those before it.
    pub(super) fn note(&mut self, record: &Record<'_>, size: usize) -> Result<bool, &'static str> {
        let Some(mut last) = self.segments.last_entry() else {
            return Err("no segment was begun");
        };
        let segment = *last.key();
        let count = last.get_mut().add(record, size);
        match *record {
            Record::Create { topic, stream } | Record::Mirror { topic, stream } => {
                if self.topics.contains_key(topic) {
                    return Err("the frame there creates a topic that is there");
                }
                if self.find(topic, stream).is_some() {
                    return Err("the frame there creates a list that is there");
                }
                let id = ListId::new(topic, stream);
                let topic: Arc<str> = topic.into();
                self.topics.insert(Arc::clone(&topic), stream);
                let (trim, bounds) = (segment, segment);
                let list = List { topic, first: 0, next: 0, trim, bounds };
                self.lists.insert(id, list);
            }
            Record::Append { topic, stream, first, .. } => {
                let list = self.list(topic, stream)?;
                if list.next != first {
                    return Err("the frame there does not follow on the messages before it");
                }
                list.next += count;
            }
            Record::Delete { topic, stream } => {
                self.cancellations += 1;
                self.positions.remove(topic);
                if self.list(topic, stream).is_err() {
                    return Ok(false);
                }
                self.topics.remove(topic);
                self.lists.remove(&ListId::new(topic, stream));
            }
            Record::NewStream { topic, stream, new } => {
                let list = self.list(topic, stream)?.clone();
                self.topics.insert(Arc::clone(&list.topic), new);
                let (old, new) = (ListId::new(topic, stream), ListId::new(topic, new));
                self.lists.remove(&old);
                self.lists.insert(new, list);
                let mut ids = self.ids.remove(&old).unwrap_or_else(|| vec![old]);
                ids.push(new);
                self.present.extend(ids.iter().map(|id| (*id, new)));
                self.ids.insert(new, ids);
            }
            Record::Trim { topic, stream, first, digest } => {
                let list = self.list(topic, stream)?;
                if first > list.first || (first == list.first && digest.is_some()) {
                    list.first = first;
                    list.next = list.next.max(first);
                    list.trim = segment;
                }
                self.cancellations += 1;
            }
            Record::Bounds { topic, stream, .. } => self.list(topic, stream)?.bounds = segment,
            Record::Sequence { topic, stream, .. } => {
                self.list(topic, stream)?;
            }
            Record::Position { subscriber, topic, stream, .. } => {
                // One of a list that is gone came late: it says nothing any more.
                self.cancellations += 1;
                let is_present = self.list(topic, stream).is_ok();
                if !is_present && stream != StreamId::NONE {
                    return Ok(false);
                }
                match self.positions.get_mut(topic) {
                    Some(positions) => match positions.get_mut(subscriber) {
                        Some(last) => *last = segment,
                        None => drop(positions.insert(subscriber.into(), segment)),
                    },
                    None => {
                        let positions = HashMap::from([(subscriber.into(), segment)]);
                        self.positions.insert(topic.into(), positions);
                    }
                }
            }
            Record::End { subscriber, topic } => {
                if let Some(positions) = self.positions.get_mut(topic) {
                    positions.remove(subscriber);
                    if positions.is_empty() {
                        self.positions.remove(topic);
                    }
                }
            }
            Record::Close => {}
        }
        Ok(true)
    }

    /// The list of a topic that a record is about.
    fn list(&mut self, topic: &str, stream: StreamId) -> Result<&mut List, &'static str> {
        let list = self.lists.get_mut(&ListId::new(topic, stream));
        list.ok_or("the frame there is about a topic that is not there")
    }

    /// The list of a topic that has this stream id, or had it.
    pub(super) fn find(&self, topic: &str, stream: StreamId) -> Option<&List> {
        self.find_id(ListId::new(topic, stream))
    }

    fn find_id(&self, id: ListId) -> Option<&List> {
        let renamed = || self.lists.get(self.present.get(&id)?);
        self.lists.get(&id).or_else(renamed)
    }

    /// The list of a topic.
    pub(super) fn stream(&self, topic: &str) -> Option<StreamId> {
        self.topics.get(topic).copied()
    }

    /// All topics, and the ids of their lists.
    pub(super) fn topics(&self) -> impl Iterator<Item = (&str, StreamId)> {
        self.topics.iter().map(|(topic, stream)| (&**topic, *stream))
    }

    /// Makes cleaning look for something once more.
    pub(super) fn look_again(&mut self) {
        self.cancellations += 1;
    }

    /// How many records cancelled others so far.
    pub(super) fn cancellations(&self) -> u64 {
        self.cancellations
    }

    /// Where the last position of a lasting subscription stands that is there.
    pub(super) fn position(&self, subscriber: &str, topic: &str) -> Option<u32> {
        self.positions.get(topic)?.get(subscriber).copied()
    }

    /// Whether a segment before this one holds anything of a list, or positions to its topic.
    pub(super) fn is_held_before(&self, number: u32, topic: &str, stream: StreamId) -> bool {
        let (list, topic) = (ListId::new(topic, stream), hash("", topic));
        self.segments.range(..number).any(|(_, contents)| {
            self.holds(contents, list) || contents.subscriptions.contains(&topic)
        })
    }

    /// Whether a segment before this one holds positions of a lasting subscription.
    pub(super) fn has_position_before(&self, number: u32, subscriber: &str, topic: &str) -> bool {
        let hash = hash(subscriber, topic);
        self.segments.range(..number).any(|(_, contents)| contents.subscriptions.contains(&hash))
    }

    /// Whether a segment after this one holds anything of a list.
    pub(super) fn is_held_after(&self, number: u32, topic: &str, stream: StreamId) -> bool {
        let list = ListId::new(topic, stream);
        self.segments.range(number + 1..).any(|(_, contents)| self.holds(contents, list))
    }

    /// Whether a segment holds anything of a list, under whatever id.
    fn holds(&self, contents: &Contents, list: ListId) -> bool {
        let ids = self.present.get(&list).and_then(|present| self.ids.get(present));
        let is_there = |id| contents.lists.contains_key(id);
        ids.map_or_else(|| is_there(&list), |ids| ids.iter().any(is_there))
    }

    /// The first numbers of the segments with these numbers.
    pub(super) fn numbers(&self, numbers: &RangeInclusive<u32>) -> Vec<u32> {
        self.segments.range(numbers.clone()).map(|(first, _)| *first).collect()
    }

    /// Puts what a cleaned segment holds in the place of what was there.
    pub(super) fn replace(&mut self, mut contents: Contents) {
        contents.left = contents.size.saturating_sub(self.alive(&contents));
        let numbers = contents.numbers.clone();
        self.segments.retain(|number, _| !numbers.contains(number));
        self.segments.insert(*numbers.start(), contents);
    }

    /// Bytes of all records, and of those that count.
    pub(super) fn sizes(&self) -> (u64, u64) {
        let sizes = self.segments.values().map(|contents| (contents.size, self.alive(contents)));
        sizes.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// About how many bytes of a segment's records count.
    fn alive(&self, contents: &Contents) -> u64 {
        let shares = contents.lists.iter().map(|(id, share)| {
            let Some(list) = self.find_id(*id) else { return 0 };
            let (count, left) = (share.to - share.from, share.to.saturating_sub(list.first));
            let messages =
                u128::from(share.messages) * u128::from(left.min(count)) / u128::from(count.max(1));
            share.other + u64::try_from(messages).unwrap_or(share.messages)
        });
        shares.sum::<u64>() + if contents.is_cleaned { contents.short_lived } else { 0 }
    }

    /// Whether most of the last segment is dead, and that is at least so many bytes.
    pub(super) fn is_last_dead(&self, size_min: u64) -> bool {
        let last = self.segments.values().next_back();
        last.is_some_and(|contents| {
            let dead = contents.size.saturating_sub(self.alive(contents));
            dead >= size_min && dead * 2 > contents.size
        })
    }

    /// The segments that are worth cleaning next: one of which most is dead, at least `dead_min`
    /// bytes, or small neighbours which together stay below `joined_max`. The last segment is
    /// still being written.
    pub(super) fn candidate(&self, dead_min: u64, joined_max: u64) -> Option<RangeInclusive<u32>> {
        let (last, _) = self.segments.last_key_value()?;
        let closed = || self.segments.range(..*last).map(|(_, contents)| contents);
        let mostly_dead = closed().find(|contents| {
            let alive = self.alive(contents) + contents.left;
            let dead = contents.size.saturating_sub(alive);
            dead >= dead_min && dead * 2 > contents.size
        });
        if let Some(contents) = mostly_dead {
            return Some(contents.numbers.clone());
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
