//! A batch: publishes that are appended together, under one lock.
//!
//! Publishes that arrive together are checked and laid out here before any lock is taken. The store
//! only moves finished entries.

use crate::refusal::Result;
use crate::store::{Room, entry};
use common::clock;
use std::sync::Arc;

/// Who publishes, and which of the publisher's messages this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Publisher<'a> {
    /// The name, as it stands in the stamp.
    pub(crate) name: &'a str,
    /// Where the publish is to happen exactly once.
    pub(crate) sequence: Option<Sequence>,
}

/// The number of a message: it is appended only where it is the next one of its publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sequence {
    /// A run of the publisher: a newer one starts again at sequence 0, and ends the older.
    pub(crate) epoch: u64,
    /// The position of the (first) message within the run.
    pub(crate) sequence: u64,
}

impl Sequence {
    /// The number of the message that comes so many later.
    pub(crate) fn later(self, count: u64) -> Sequence {
        Sequence { sequence: self.sequence + count, ..self }
    }
}

/// One publish of a batch.
#[derive(Debug)]
pub(crate) struct Publish {
    /// Shared with the publish before where that is to the same topic.
    pub(crate) topic: Arc<str>,
    /// How many of the batch's entries are this publish's.
    pub(crate) count: usize,
    /// The publisher's name and the first message's number, where the publish is numbered.
    pub(crate) numbered: Option<(String, Sequence)>,
}

/// Publishes in the order of their arrival.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) publishes: Vec<Publish>,
    /// The entries of all publishes, one after another.
    pub(crate) entries: Vec<String>,
    /// Whether they go only to topics that are there, and whose home is this broker.
    pub(crate) own_only: bool,
    /// The stamp of publishes that name no publisher; made once for the whole batch.
    stamp: String,
    time: u64,
    room: Room,
}

impl Batch {
    /// Whether there is nothing to append.
    pub(crate) fn is_empty(&self) -> bool {
        self.publishes.is_empty()
    }

    /// When it was published, in Unix milliseconds.
    pub(crate) fn time(&self) -> u64 {
        self.time
    }

    /// Bytes of all messages and stamps.
    pub(crate) fn size(&self) -> usize {
        self.entries.iter().map(String::len).sum()
    }

    /// Publishes to one topic that follow one another, run after run.
    pub(crate) fn runs(&self) -> impl Iterator<Item = &[Publish]> {
        self.publishes.chunk_by(|one, other| one.topic == other.topic)
    }

    /// Takes the publishes at the front that are of one topic.
    pub(crate) fn take_run(&mut self) -> Option<Batch> {
        let run = self.runs().next()?.len();
        let publishes: Vec<Publish> = self.publishes.drain(..run).collect();
        let count: usize = publishes.iter().map(|publish| publish.count).sum();
        let entries = self.entries.drain(..count).collect();
        Some(Batch { publishes, entries, time: self.time, ..Batch::default() })
    }

    /// Forgets the publishes; keeps the memory that they took.
    pub(crate) fn clear(&mut self) {
        self.publishes.clear();
        self.entries.clear();
    }

    /// Adds one publish of any number of messages, each of at most `size_max` bytes.
    ///
    /// # Errors
    ///
    /// A name or a message that may not be stored; the batch is then as it was before.
    pub(crate) fn publish<'m>(
        &mut self,
        topic: &str,
        publisher: Option<Publisher<'_>>,
        messages: impl Iterator<Item = &'m str>,
        size_max: usize,
    ) -> Result<()> {
        let topic = match self.publishes.last() {
            Some(last) if *last.topic == *topic => Arc::clone(&last.topic),
            _ => {
                entry::check_topic(topic)?;
                Arc::from(topic)
            }
        };
        if self.is_empty() {
            self.time = clock::unix_milliseconds();
            // In the memory of the one before: what lives long is not to stand between entries.
            entry::stamp(self.time, None).clone_into(&mut self.stamp);
        }
        let named = match publisher {
            Some(publisher) => {
                entry::check_name("publisher", publisher.name)?;
                Some(entry::stamp(self.time, Some(publisher.name)))
            }
            None => None,
        };
        let stamp = named.as_ref().unwrap_or(&self.stamp);
        let before = self.entries.len();
        for message in messages {
            if let Err(refusal) = entry::check_message(message, size_max) {
                self.entries.truncate(before);
                return Err(refusal);
            }
            self.room.take(message.len() + stamp.len());
            self.entries.push(entry::compose(message, stamp));
        }
        self.publishes.push(Publish {
            topic,
            count: self.entries.len() - before,
            numbered: publisher.and_then(|by| Some((by.name.to_owned(), by.sequence?))),
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_publish_leaves_the_batch_as_it_was() {
        let mut batch = Batch::default();
        batch.publish("a", None, ["one"].into_iter(), 10).unwrap();
        assert!(batch.publish("a", None, ["two", "th\nree"].into_iter(), 10).is_err());
        assert!(batch.publish("", None, ["two"].into_iter(), 10).is_err());
        assert_eq!(batch.publishes.len(), 1);
        assert_eq!(batch.entries.len(), 1);
    }

    #[test]
    fn entries_carry_their_publisher() {
        let mut batch = Batch::default();
        let publisher = Publisher { name: "ann", sequence: None };
        batch.publish("a", Some(publisher), ["one"].into_iter(), 10).unwrap();
        batch.publish("a", None, ["two"].into_iter(), 10).unwrap();
        assert_eq!(entry::Entry::of(&batch.entries[0]).publisher, Some("ann"));
        assert_eq!(entry::Entry::of(&batch.entries[1]).publisher, None);
    }
}
