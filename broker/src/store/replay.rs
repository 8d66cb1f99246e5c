//! From the records of a journal to the topics that they made.

use crate::store::admission::Admission;
use crate::store::change::Lists;
use crate::store::entry;
use crate::store::journal::Record;
use crate::store::memory::Memory;
use crate::store::stream::{Cursor, StreamId};
use std::collections::HashMap;
use std::sync::Arc;

/// The first offset that is not acknowledged, by subscriber and topic.
pub(crate) type Positions = HashMap<Arc<str>, HashMap<Arc<str>, Cursor>>;

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
}

impl Replayed {
    /// No records yet. What the journal holds is read even where it passes the limit of `memory`.
    pub(crate) fn new(memory: Memory) -> Replayed {
        Replayed {
            admission: Admission::new(memory),
            lists: Lists::new(),
            positions: Positions::new(),
            stamp: entry::stamp(0, None),
            time: 0,
            publisher: None,
            entries: Vec::new(),
        }
    }

    /// Does what the record says.
    pub(crate) fn apply(&mut self, record: Record<'_>) {
        match record {
            Record::Create { topic, stream } | Record::Mirror { topic, stream } => {
                let mirror = matches!(record, Record::Mirror { .. });
                self.admission.begin(topic, stream, mirror);
                self.lists.insert(topic.to_owned(), Vec::new());
            }
            Record::Delete { topic, .. } => {
                self.admission.remove(topic);
                self.lists.remove(topic);
                for positions in self.positions.values_mut() {
                    positions.remove(topic);
                }
            }
            Record::NewStream { topic, stream, new } => {
                if let Some(state) = self.admission.topics.get_mut(topic) {
                    state.stream = new;
                }
                let end = self.lists.get(topic).map_or(0, |list| list.len() as u64);
                for position in self.positions.values_mut().filter_map(|of| of.get_mut(topic)) {
                    if position.stream == stream {
                        *position = Cursor { stream: new, next: position.next.min(end) };
                    }
                }
            }
            Record::Append { topic, time, publisher, messages, .. } => {
                let name = publisher.map(|publisher| publisher.name);
                if time != self.time || name != self.publisher.as_deref() {
                    (self.time, self.publisher) = (time, name.map(str::to_owned));
                    self.stamp = entry::stamp(time, name);
                }
                let Admission { topics, memory, .. } = &mut self.admission;
                let (Some(state), Some(list)) = (topics.get_mut(topic), self.lists.get_mut(topic))
                else {
                    return;
                };
                let entries = messages.map(|message| entry::compose(message, &self.stamp));
                self.entries.extend(entries);
                let numbered = publisher.and_then(|by| Some((by.name, by.sequence?)));
                state.count(&self.entries, numbered, memory);
                state.append(list, self.entries.drain(..));
            }
            Record::Position { subscriber, topic, stream, next } => {
                let present = self.admission.topics.get(topic).map(|state| state.stream);
                // One of a list that is gone came late; one of no list waits for a topic.
                if present == Some(stream) || stream == StreamId::NONE {
                    let positions = self.positions.entry(subscriber.into()).or_default();
                    positions.insert(topic.into(), Cursor { stream, next });
                }
            }
            Record::End { subscriber, topic } => {
                if let Some(positions) = self.positions.get_mut(subscriber) {
                    positions.remove(topic);
                }
            }
            Record::Trim { .. } | Record::Bounds { .. } | Record::Sequence { .. } => {}
            Record::Close => {}
        }
    }

    /// How many messages there are.
    pub(crate) fn messages(&self) -> usize {
        self.lists.values().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::batch::{Batch, Publisher, Sequence};
    use crate::store::journal::{Journal, Progress, SEGMENT_SIZE, Settings, Sync};
    use crate::store::topics::Topics;
    use std::{env, fs, process};

    #[test]
    fn a_restart_counts_the_memory_that_publishes_counted() {
        let folder = env::temp_dir().join(format!("replay-{}", process::id()));
        let open = || {
            let mut replayed = Replayed::new(Memory::new(u64::MAX));
            let settings = Settings { sync: Sync::Os, segment_size: SEGMENT_SIZE };
            let apply = |record: Record<'_>| replayed.apply(record);
            let journal = Journal::open(&folder, settings, &Progress::default(), apply);
            Topics::restored(replayed, journal.unwrap().0, false)
        };
        let topics = open();
        // Publishers that take turns: each message begins a run of its own.
        for sequence in 0..100 {
            for name in ["ann", "bob"] {
                let mut batch = Batch::default();
                let sequence = Some(Sequence { epoch: 0, sequence });
                let publisher = Some(Publisher { name, sequence });
                batch.publish("t", publisher, ["text"].into_iter(), 100).unwrap();
                assert!(topics.append(&mut batch).iter().all(Result::is_ok));
            }
        }
        let counted = topics.account().1.used;
        drop(topics);
        assert_eq!(open().account().1.used, counted);
        fs::remove_dir_all(folder).unwrap();
    }
}
