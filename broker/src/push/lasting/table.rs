//! The table of names and their positions.
//!
//! # Not here
//!
//! Its lock (`mod.rs`), and who changes it.

use super::Key;
use crate::refusal::{Refusal, Result};
use crate::store::{Admission, Cursor, StreamId, subscription_size};
use common::clock;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

/// Invariant: a name is there while it has a position, or was taken from other brokers a moment
/// ago; it is held where its holder says so.
#[derive(Default)]
pub(super) struct Table {
    pub(super) names: HashMap<Arc<str>, Name>,
    /// What belongs to each session that has, or had, a name.
    pub(super) held: HashMap<u64, Held>,
    /// How many positions all names have.
    pub(super) count: usize,
    /// Names of which something is asked where they are shared.
    pub(super) asked: HashSet<Arc<str>>,
}

#[derive(Default)]
pub(super) struct Held {
    /// The names that it took; others may have some of them now.
    pub(super) names: HashSet<Arc<str>>,
    /// How many subscriptions it has begun.
    pub(super) begun: usize,
}

/// What belongs to a name.
#[derive(Default)]
pub(super) struct Name {
    /// The number of the session that has the name now.
    pub(super) holder: Option<u64>,
    /// When a session last had it, in Unix milliseconds.
    pub(super) seen: u64,
    /// The same as disk has it.
    pub(super) seen_kept: u64,
    /// The number of its last taking, where other brokers share it.
    pub(super) fence: Option<u64>,
    /// Since when no connection here has it, where that is known.
    pub(super) idle_since: Option<Instant>,
    pub(super) positions: HashMap<Arc<str>, Position>,
}

#[derive(Default)]
pub(super) struct Position {
    /// The first message that is not acknowledged.
    pub(super) cursor: Cursor,
    /// Whether the journal took it: it is on the account of memory.
    pub(super) counted: bool,
    /// Whether its beginning is on disk.
    pub(super) kept: bool,
    /// Whether it ends as soon as that is on disk.
    pub(super) ending: bool,
    /// Whether it moved since that was last to be kept on disk.
    pub(super) moved: bool,
    /// Whether it waits for another list in the place of the one that it was in: it goes on at
    /// this offset or, where that ends before, at its end.
    pub(super) suspended: bool,
}

impl Table {
    pub(super) fn position(&mut self, name: &str, topic: &str) -> Option<&mut Position> {
        self.names.get_mut(name)?.positions.get_mut(topic)
    }

    /// Gives a name to a session. Gives the number of the one that had it before, if that is
    /// another.
    pub(super) fn hold(&mut self, name: &str, session: u64) -> Option<u64> {
        let name = Arc::clone(self.names.get_key_value(name)?.0);
        let before = self.names.get_mut(&name)?.holder.replace(session);
        self.held.entry(session).or_default().names.insert(name);
        before.filter(|before| *before != session)
    }

    /// Accepts what is true of a subscription: where it stands and when its subscriber was seen;
    /// nothing where it ends or has ended.
    pub(super) fn accept(
        &mut self,
        key: &Key,
        admission: &mut Admission,
    ) -> Result<Option<(Cursor, u64)>> {
        let Admission { topics, memory, .. } = admission;
        let Some(it) = self.names.get_mut(&key.name) else { return Ok(None) };
        let Some(position) = it.positions.get_mut(&key.topic).filter(|it| !it.ending) else {
            return Ok(None);
        };
        let cursor = position.cursor;
        let present = topics.get(&*key.topic).map(|topic| topic.stream);
        let accepted = match position.counted {
            // The topic was deleted since it was looked at.
            _ if cursor.stream != StreamId::NONE && present != Some(cursor.stream) => {
                Err(Refusal::OtherStream)
            }
            true => Ok(()),
            false => {
                let size = subscription_size(&key.name, &key.topic);
                memory.check(size).map(|()| memory.used += size)
            }
        };
        if let Err(refusal) = accepted {
            memory.give_back(self.remove(&key.name, &key.topic));
            return Err(refusal);
        }
        (position.counted, position.moved) = (true, false);
        it.seen = it.seen(clock::unix_milliseconds());
        it.seen_kept = it.seen;
        Ok(Some((cursor, it.seen)))
    }

    /// Removes a position, and its name with the last one. Gives the memory that it took.
    pub(super) fn remove(&mut self, name: &str, topic: &str) -> u64 {
        let Some(it) = self.names.get_mut(name) else { return 0 };
        let Some(removed) = it.positions.remove(topic) else { return 0 };
        self.count -= 1;
        if it.positions.is_empty() {
            self.names.remove(name);
        }
        if removed.counted { subscription_size(name, topic) } else { 0 }
    }
}

impl Name {
    /// When it was last seen.
    pub(super) fn seen(&self, now: u64) -> u64 {
        if self.holder.is_some() { now } else { self.seen }
    }

    pub(super) fn is_unseen_since(&self, time: u64) -> bool {
        self.holder.is_none() && self.seen < time
    }

    /// Notes that all its subscriptions end. Gives which they are.
    pub(super) fn end_all(&mut self, name: &Arc<str>) -> Vec<Key> {
        self.positions.values_mut().for_each(|position| position.ending = true);
        self.keys(name).collect()
    }

    pub(super) fn keys(&self, name: &Arc<str>) -> impl Iterator<Item = Key> {
        self.keys_of(name, |_| true)
    }

    pub(super) fn keys_of(
        &self,
        name: &Arc<str>,
        mut which: impl FnMut(&Position) -> bool,
    ) -> impl Iterator<Item = Key> {
        let those = self.positions.iter().filter(move |(_, position)| which(position));
        those.map(|(topic, _)| Key { name: Arc::clone(name), topic: Arc::clone(topic) })
    }
}
