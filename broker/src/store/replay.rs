//! Builds the topics from the records of a journal.

use crate::store::journal::{Event, Record};
use crate::store::{
    Admission, Cursor, Lists, Locked, Memory, Point, Room, StreamId, TopicState, entry, reallocate,
};
use common::crc32::Crc32;
use std::collections::HashMap;

/// From so many entries on a list has 1 MiB, which glibc maps on its own for the most part.
const MAPPED_COUNT: usize = (1 << 20) / size_of::<String>();

/// The first offset that is not acknowledged, and when the subscriber was last seen, by subscriber
/// and topic.
pub(crate) type Positions = HashMap<String, HashMap<String, (Cursor, u64)>>;

/// What the records so far have made.
pub(crate) struct Replayed {
    pub(crate) admission: Admission,
    pub(crate) lists: Lists,
    /// The lasting subscriptions.
    pub(crate) positions: Positions,
    /// The stamp of the last record: most have the time and publisher of the one before.
    stamp: String,
    time: u64,
    publisher: Option<String>,
    /// Memory for the entries of a record.
    entries: Vec<String>,
    room: Room,
}

impl Replayed {
    /// No records yet. What the journal holds is read even where it passes the limit of `memory`.
    pub(crate) fn new(memory: Memory) -> Replayed {
        let (admission, stamp) = (Admission::new(memory), entry::stamp(0, None));
        let (lists, positions, time, publisher, entries, room) = Default::default();
        Replayed { admission, lists, positions, stamp, time, publisher, entries, room }
    }

    /// Does what the record says.
    pub(crate) fn apply(&mut self, record: Record<'_>) {
        let Record { topic, stream, event } = record;
        let Admission { topics, memory, .. } = &mut self.admission;
        let known = topics.get_mut(topic).zip(self.lists.get_mut(topic));
        match (event, known) {
            (Event::Create | Event::Mirror, _) => {
                self.admission.begin(topic, stream, event == Event::Mirror);
                self.lists.insert(topic.to_owned(), Vec::new());
            }
            (Event::Delete, _) => {
                self.admission.remove(topic);
                self.lists.remove(topic);
                for positions in self.positions.values_mut() {
                    positions.remove(topic);
                }
            }
            (Event::Position { subscriber, next, seen }, known) => {
                // One of a list that is gone came late; one of no list waits for a topic.
                if stream == StreamId::NONE || known.is_some_and(|(it, _)| it.stream == stream) {
                    let positions = self.positions.entry(subscriber.into()).or_default();
                    positions.insert(topic.into(), (Cursor { stream, next }, seen));
                }
            }
            (Event::End { subscriber }, _) => {
                if let Some(positions) = self.positions.get_mut(subscriber) {
                    positions.remove(topic);
                }
            }
            (Event::NewStream { new, own }, Some((state, _))) => {
                state.stream = new;
                state.mirror &= !own;
                let end = state.accepted_end().next;
                for (position, _) in self.positions.values_mut().filter_map(|of| of.get_mut(topic))
                {
                    if position.stream == stream {
                        *position = Cursor { stream: new, next: position.next.min(end) };
                    }
                }
            }
            (Event::Append { time, publisher, lines, .. }, Some((state, list))) => {
                let name = publisher.map(|publisher| publisher.name);
                if time != self.time || name != self.publisher.as_deref() {
                    (self.time, self.publisher) = (time, name.map(str::to_owned));
                    self.stamp = entry::stamp(time, name);
                }
                for message in lines.split_terminator('\n') {
                    self.room.take(message.len() + self.stamp.len());
                    self.entries.push(entry::compose(message, &self.stamp));
                }
                let numbered = publisher.and_then(|by| Some((by.name, by.sequence?)));
                let more = Point::more(&self.entries, lines.len() as u64);
                state.count(&more, numbered, time, memory);
                state.append(list, time, self.entries.drain(..));
            }
            (Event::Trim { first, digest, gone }, Some((state, list))) => {
                state.replay_trim(list, first, digest.map(Crc32::after), self.time, memory);
                state.home_begins(if gone { first } else { 0 }, None);
            }
            (Event::Bounds(bounds), Some((state, _))) => state.bounds = bounds,
            (Event::Sequence { publisher, next, time }, Some((state, _))) => {
                state.restore_sequences(publisher, next, time, memory);
            }
            // Of what is not there, nothing is to be known.
            (_, None) | (Event::Close, _) => {}
        }
    }

    /// The same in the heap of the calling thread; the messages stay where they are.
    pub(super) fn reallocated(mut self) -> Replayed {
        let Replayed { admission, lists, .. } = &mut self;
        Locked { admission, lists }.reallocate();
        lists.values_mut().filter(|list| list.capacity() < MAPPED_COUNT).for_each(reallocate);
        self
    }

    /// How many messages there are.
    pub(crate) fn messages(&self) -> usize {
        let messages = self.admission.topics.values().map(TopicState::messages);
        messages.map(|messages| usize::try_from(messages).unwrap_or(usize::MAX)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::journal::{Journal, Progress, SEGMENT_SIZE, Settings, Sync};
    use crate::store::{
        Batch, Bound, BoundsChange, Publisher, Sequence, TopicChange, Topics, Upto,
    };
    use common::crc32::crc32;
    use std::ops::Range;
    use std::path::Path;
    use std::{env, fs, process};

    /// Topics as the journal in a folder has them.
    fn open(folder: &Path) -> Topics {
        let mut replayed = Replayed::new(Memory::new(u64::MAX));
        let settings = Settings { sync: Sync::Os, segment_size: SEGMENT_SIZE };
        let apply = |record: Record<'_>| replayed.apply(record);
        let journal = Journal::open(folder, settings, &Progress::default(), apply);
        Topics::restored(replayed, journal.unwrap().0, false)
    }

    /// Publishers that take turns: each message begins a run of its own.
    fn publish(topics: &Topics, sequences: Range<u64>) {
        for sequence in sequences {
            for name in ["ann", "bob"] {
                let mut batch = Batch::default();
                let sequence = Some(Sequence { epoch: 0, sequence });
                let publisher = Some(Publisher { name, sequence });
                batch.publish("t", publisher, ["text"].into_iter(), 100).unwrap();
                assert!(topics.append(&mut batch).iter().all(Result::is_ok));
            }
        }
    }

    #[test]
    fn a_restart_counts_the_memory_that_publishes_counted() {
        let folder = env::temp_dir().join(format!("replay-{}", process::id()));
        let topics = open(&folder);
        publish(&topics, 0..100);
        let counted = topics.account().1.used;
        drop(topics);
        assert_eq!(open(&folder).account().1.used, counted);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_restart_knows_what_was_let_go_and_what_is_kept() {
        let folder = env::temp_dir().join(format!("replay-trim-{}", process::id()));
        let topics = open(&folder);
        publish(&topics, 0..100);
        topics.trim("t", Upto::Offset(30)).unwrap();
        let change = BoundsChange { messages: Some(Bound::At(50)), ..BoundsChange::default() };
        topics.change_topic("t", TopicChange::SetBounds(change)).unwrap();
        publish(&topics, 100..110);
        let told = |topics: &Topics| {
            let summary = topics.summary("t").unwrap();
            let digest = topics.digest("t", summary.stream, summary.next).unwrap();
            (summary, digest, topics.account().1.used, topics.extent("t"))
        };
        let before = told(&topics);
        assert_eq!((before.0.first, before.0.next), (170, 220));
        assert_eq!(before.1, Some(crc32("text\n".repeat(220).as_bytes())));
        drop(topics);
        let topics = open(&folder);
        assert_eq!(told(&topics), before);
        publish(&topics, 109..111);
        assert_eq!(topics.extent("t").end.next, 222, "a repeated number is a duplicate");
        fs::remove_dir_all(folder).unwrap();
    }
}
