//! From the records of a journal to the topics that they made.

use crate::store::entry;
use crate::store::facts::Facts;
use crate::store::journal::Record;
use crate::store::ledger::Ledger;
use crate::store::memory::{self, Memory};
use crate::store::numbers::Numbers;
use crate::store::stream::Cursor;
use std::collections::HashMap;
use std::sync::Arc;

/// The first offset that is not acknowledged, by subscriber and topic.
pub(crate) type Places = HashMap<Arc<str>, HashMap<Arc<str>, Cursor>>;

/// What the records so far have made.
pub(crate) struct Replayed {
    pub(crate) ledger: Ledger,
    pub(crate) lists: HashMap<String, Vec<String>>,
    /// The lasting subscriptions.
    pub(crate) places: Places,
    /// The stamp of the last record: most have the time and publisher of the one before.
    stamp: String,
    time: u64,
    publisher: Option<String>,
}

impl Replayed {
    /// No records yet. What the journal holds is read even where it passes the limit of `memory`.
    pub(crate) fn new(memory: Memory) -> Replayed {
        Replayed {
            ledger: Ledger::new(memory),
            lists: HashMap::new(),
            places: Places::new(),
            stamp: entry::stamp(0, None),
            time: 0,
            publisher: None,
        }
    }

    /// Does what the record says.
    pub(crate) fn apply(&mut self, record: Record<'_>) {
        match record {
            Record::Create { topic, stream } | Record::Mirror { topic, stream } => {
                let mut facts = Facts::new(stream);
                facts.mirror = matches!(record, Record::Mirror { .. });
                facts.size = memory::topic_size(topic);
                self.ledger.memory.used += facts.size;
                self.ledger.topics.insert(topic.to_owned(), facts);
                self.lists.insert(topic.to_owned(), Vec::new());
            }
            Record::Delete { topic, .. } => {
                self.ledger.remove(topic);
                self.lists.remove(topic);
            }
            Record::Append { topic, time, publisher, messages } => {
                let name = publisher.map(|publisher| publisher.name);
                if time != self.time || name != self.publisher.as_deref() {
                    (self.time, self.publisher) = (time, name.map(str::to_owned));
                    self.stamp = entry::stamp(time, name);
                }
                let (Some(facts), Some(list)) =
                    (self.ledger.topics.get_mut(topic), self.lists.get_mut(topic))
                else {
                    return;
                };
                let mut size = 0;
                let before = list.len();
                for message in messages {
                    let entry = entry::compose(message, &self.stamp);
                    size += memory::entry_size(&entry);
                    memory::reserve(list, 1);
                    list.push(entry);
                }
                let count = list.len() - before;
                facts.accepted = list.len() as u64;
                facts.appended(list, count);
                if let Some((name, number)) = publisher.and_then(|by| Some((by.name, by.number?))) {
                    if !facts.numbers.contains_key(name) {
                        size += memory::publisher_size(name);
                        facts.numbers.insert(name.to_owned(), Numbers::default());
                    }
                    if let Some(numbers) = facts.numbers.get_mut(name) {
                        let known = numbers.size();
                        numbers.append(number, count as u64, before as u64);
                        size += numbers.size().saturating_sub(known) as u64;
                    }
                }
                facts.size += size;
                self.ledger.memory.used += size;
            }
            Record::Acknowledge { subscriber, topic, stream, next } => {
                let place = Cursor { stream, next };
                let places = self.places.entry(subscriber.into()).or_default();
                let known = places.entry(topic.into()).or_insert(place);
                if known.stream != stream || known.next < next {
                    *known = place;
                }
            }
            Record::End { subscriber, topic } => {
                if let Some(places) = self.places.get_mut(subscriber) {
                    places.remove(topic);
                }
            }
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
    use crate::store::batch::{Batch, Number, Publisher};
    use crate::store::journal::{Journal, Sync};
    use crate::store::topics::Topics;
    use std::{env, fs, process};

    #[test]
    fn a_restart_counts_the_memory_that_publishes_counted() {
        let folder = env::temp_dir().join(format!("replay-{}", process::id()));
        let open = || {
            let mut replayed = Replayed::new(Memory::new(u64::MAX));
            let journal = Journal::open(&folder, Sync::Os, |record| replayed.apply(record));
            Topics::restored(replayed, journal.unwrap().0, false)
        };
        let topics = open();
        // Publishers that take turns: each message begins a run of its own.
        for sequence in 0..100 {
            for name in ["ann", "bob"] {
                let mut batch = Batch::default();
                let number = Some(Number { epoch: 0, sequence });
                let publisher = Some(Publisher { name, number });
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
