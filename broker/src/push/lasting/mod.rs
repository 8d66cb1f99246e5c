//! Lasting subscriptions: those that have a name, and outlive their connection.
//!
//! A name has a position in each of its topics: everything before it is acknowledged. The newest
//! connection of a name has it; an older one keeps its other subscriptions.
//!
//! # Guarantee
//!
//! A position is looked up when the journal takes it, not when somebody asks to keep it. So what is
//! on disk is what was true at that point of the journal, and an acknowledgement that is kept late
//! overtakes neither the end of its subscription nor the beginning of the next.
//!
//! # Not here
//!
//! When something is acknowledged: JSON subscribers say so, text subscribers by having been
//! written to (`session.rs`). How beginnings, ends and acknowledgements get to disk (`keep.rs`).
//! What becomes of them when their topic is deleted or replaced (`replaced.rs`). That several
//! brokers share them (`shared.rs`). The table itself (`table.rs`).

mod keep;
mod replaced;
mod shared;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use shared::SharedPositions;

use crate::refusal::{Refusal, Result};
use crate::store::{Cursor, Positions, StreamId, subscription_size};
use common::clock;
use common::limits::{CONNECTION_SUBSCRIBERS_MAX, SUBSCRIBERS_MAX};
use common::lock::Mutex;
use std::mem;
use std::sync::{Arc, Condvar, OnceLock};
use std::time::Instant;
use table::{Name, Position, Table};

/// How old the time may be that is on disk of when a subscriber was last seen, in milliseconds.
const SEEN_INTERVAL: u64 = 60 * 60 * 1000;

/// All lasting subscriptions of the broker.
#[derive(Default)]
pub(crate) struct LastingSubscriptions {
    /// Held to look something up or to note it; innermost of all locks. Positions are whole after
    /// any panic: each is changed in one step.
    table: Mutex<Table>,
    /// Where they are kept, if other brokers share them.
    shared: OnceLock<Arc<dyn SharedPositions>>,
    /// Woken when a name's turn is over.
    turns: Condvar,
}

/// Which subscription.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) name: Arc<str>,
    pub(crate) topic: Arc<str>,
}

/// How a name goes on with a topic.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) cursor: Cursor,
    /// Whether that is on disk; if not, whoever subscribes has to keep it.
    pub(super) is_kept: bool,
    /// The number of the session that had the name before, if that is another.
    pub(super) before: Option<u64>,
}

/// Where a lasting subscription stands.
pub(crate) struct Standing {
    pub(crate) key: Key,
    pub(crate) cursor: Cursor,
    pub(crate) is_connected: bool,
    /// When its subscriber was last connected, in Unix milliseconds.
    pub(crate) seen: u64,
    /// How many messages are still to come.
    pub(crate) lag: u64,
}

impl LastingSubscriptions {
    /// Subscriptions as they were kept.
    pub(crate) fn restored(positions: Positions) -> LastingSubscriptions {
        let mut table = Table::default();
        for (name, positions) in positions.into_iter().filter(|(_, them)| !them.is_empty()) {
            table.count += positions.len();
            let seen = positions.values().map(|(_, seen)| *seen).max().unwrap_or_default();
            // Older brokers did not say it.
            let seen = if seen == 0 { clock::unix_milliseconds() } else { seen };
            let kept = |cursor: Cursor| {
                let suspended = cursor.stream == StreamId::NONE && cursor.next > 0;
                Position { cursor, counted: true, kept: true, suspended, ..Position::default() }
            };
            let positions =
                positions.into_iter().map(|(topic, it)| (topic.into(), kept(it.0))).collect();
            let known = Name { seen, seen_kept: seen, positions, ..Name::default() };
            table.names.insert(name.into(), known);
        }
        LastingSubscriptions { table: Mutex::new(table), ..LastingSubscriptions::default() }
    }

    /// Memory that they take.
    pub(crate) fn size(&self) -> u64 {
        let table = self.table.lock();
        let of = |(name, it): (&Arc<str>, &Name)| {
            it.positions.keys().map(|topic| subscription_size(name, topic)).sum::<u64>()
        };
        table.names.iter().map(of).sum()
    }

    /// Subscribes a name to a topic, and gives the name to a session. The first time it begins at
    /// `begin`, for everything before is then taken as acknowledged.
    ///
    /// # Errors
    ///
    /// Where there are as many subscriptions as there may be, or the session has begun as many as
    /// one may.
    pub(super) fn subscribe(
        &self,
        name: &str,
        topic: &str,
        begin: Cursor,
        session: u64,
    ) -> Result<Begun> {
        let mut table = self.table.lock();
        let (cursor, is_kept) = match table.position(name, topic) {
            Some(Position { cursor, kept, ending: false, .. }) => (*cursor, *kept),
            // The end that is under way finds that it has begun again.
            Some(it) => {
                let Position { counted, moved, .. } = *it;
                *it = Position { cursor: begin, counted, moved, ..Position::default() };
                (begin, false)
            }
            None => {
                let begun = table.held.get(&session).map_or(0, |held| held.begun);
                check_room("a connection may begin", begun + 1, CONNECTION_SUBSCRIBERS_MAX)?;
                check_room("all together may have", table.count + 1, SUBSCRIBERS_MAX)?;
                table.count += 1;
                table.held.entry(session).or_default().begun += 1;
                let position = Position { cursor: begin, ..Position::default() };
                let it = table.names.entry(name.into()).or_default();
                it.positions.insert(topic.into(), position);
                (begin, false)
            }
        };
        Ok(Begun { cursor, is_kept, before: table.hold(name, session) })
    }

    /// The subscriptions of a session's names that moved.
    pub(super) fn moved_of(&self, session: u64) -> Vec<Key> {
        let table = self.table.lock();
        let held = table.held.get(&session).into_iter().flat_map(|held| &held.names);
        let names = held.filter_map(|name| Some((name, table.names.get(name)?)));
        let names = names.filter(|(_, it)| it.holder == Some(session));
        names.flat_map(|(name, it)| it.keys_of(name, |position| position.moved)).collect()
    }

    /// Takes the names back from a session that ends.
    pub(super) fn release(&self, session: u64) {
        let mut table = self.table.lock();
        for name in table.held.remove(&session).unwrap_or_default().names {
            if let Some(it) = table.names.get_mut(&name).filter(|it| it.holder == Some(session)) {
                (it.holder, it.seen) = (None, clock::unix_milliseconds());
                it.idle_since = Some(Instant::now());
            }
        }
    }

    /// Notes of those that are there that they end. With a time, only of those whose subscriber is
    /// not connected, and was not since then.
    pub(super) fn begin_end(&self, keys: &[Key], unseen_since: Option<u64>) -> Vec<Key> {
        let mut table = self.table.lock();
        let mut begin = |key: &&Key| {
            let is_meant =
                |it: &&mut Name| unseen_since.is_none_or(|time| it.is_unseen_since(time));
            let it = table.names.get_mut(&key.name).filter(is_meant);
            let position = it.and_then(|it| it.positions.get_mut(&key.topic));
            position.map(|position| position.ending = true).is_some()
        };
        keys.iter().filter(&mut begin).cloned().collect()
    }

    /// Those whose subscriber is not connected, and was not since this time.
    pub(super) fn unseen_since(&self, time: u64) -> Vec<Key> {
        let table = self.table.lock();
        let unseen = table.names.iter().filter(|(_, it)| it.is_unseen_since(time));
        unseen.flat_map(|(name, it)| it.keys(name)).collect()
    }

    /// What is to be kept: positions that moved, and one of each name of which disk does not know
    /// that it was seen lately.
    pub(super) fn moved(&self) -> Vec<Key> {
        let (table, now) = (self.table.lock(), clock::unix_milliseconds());
        let mut moved = Vec::new();
        for (name, it) in &table.names {
            let mut is_due = it.seen(now) >= it.seen_kept + SEEN_INTERVAL;
            moved.extend(it.keys_of(name, |it| it.moved || mem::take(&mut is_due)));
        }
        moved
    }

    /// The number of the session that has the name.
    pub(super) fn holder(&self, name: &str) -> Option<u64> {
        self.table.lock().names.get(name)?.holder
    }

    /// The subscriptions of a name.
    pub(crate) fn of(&self, name: &str) -> Vec<Key> {
        let table = self.table.lock();
        let found = table.names.get_key_value(name);
        found.into_iter().flat_map(|(name, it)| it.keys(name)).collect()
    }

    /// Where all of them stand; how far behind is for the caller to find out.
    pub(super) fn standings(&self) -> Vec<Standing> {
        let (table, now) = (self.table.lock(), clock::unix_milliseconds());
        let mut standings = Vec::new();
        for (name, it) in &table.names {
            let (is_connected, seen) = (it.holder.is_some(), it.seen(now));
            standings.extend(it.keys(name).zip(it.positions.values()).map(|(key, position)| {
                Standing { key, cursor: position.cursor, is_connected, seen, lag: 0 }
            }));
        }
        standings
    }

    /// Notes that everything before `cursor` is acknowledged. A position never goes back within
    /// its list. Gives where it stands then, if there is such a subscription.
    pub(crate) fn acknowledge(&self, name: &str, topic: &str, cursor: Cursor) -> Option<Cursor> {
        let mut table = self.table.lock();
        let it = table.position(name, topic).filter(|it| !it.ending)?;
        let is_new = it.cursor.stream != cursor.stream || it.cursor.next < cursor.next;
        // While it waits for another list, this is of the one that is gone.
        if is_new && !it.suspended {
            (it.cursor, it.moved) = (cursor, true);
        }
        Some(it.cursor)
    }

    /// The same for what a session was sent, which may have lost the name since.
    pub(super) fn sent(&self, name: &str, topic: &str, cursor: Cursor, session: u64) {
        if self.holder(name) == Some(session) {
            self.acknowledge(name, topic, cursor);
        }
    }
}

/// Checks whether there may be so many lasting subscriptions.
fn check_room(who: &'static str, count: usize, subscribers_max: usize) -> Result<()> {
    match count <= subscribers_max {
        true => Ok(()),
        false => Err(Refusal::TooManySubscribers { who, subscribers_max }),
    }
}
