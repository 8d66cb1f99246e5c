//! Patterns that sessions follow: the topics that match, and those that come into being later.
//!
//! # Guarantee
//!
//! A name is matched when its topic comes into being, and when a pattern subscribes: never when
//! something is published. Both happen under one lock. So a topic that comes into being while a
//! pattern subscribes is found by one of the two, and followed from its first message.
//!
//! # Not here
//!
//! What a pattern matches (`common/src/pattern.rs`), and who says that a topic came into being
//! (`store/change.rs`).

use crate::access::{Grant, Right};
use crate::push::{Format, Session};
use crate::refusal::{Refusal, Result};
use crate::store::StreamId;
use common::limits::{ALL_PATTERNS_MAX, PATTERNS_MAX};
use common::lock::Mutex;
use common::pattern::Pattern;
use std::collections::HashSet;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard};

/// The patterns of all sessions, and the topics that came into being since somebody looked.
pub(crate) struct Patterns {
    followers: Mutex<Followers>,
    /// Whether anybody follows a pattern: else no topic is noted. Changed by who has the followers.
    is_watched: Arc<AtomicBool>,
    /// The topics, and their lists. This lock is the innermost.
    created: Mutex<Vec<(String, StreamId)>>,
}

/// Which session follows what by pattern. Lock order: this, then all others; never held across I/O.
#[derive(Default)]
pub(crate) struct Followers {
    list: Vec<(Arc<Session>, Interest)>,
    is_watched: Arc<AtomicBool>,
}

/// What a session follows by one pattern.
#[derive(Clone)]
pub(crate) struct Interest {
    pub(crate) pattern: Pattern,
    /// What its client may read.
    pub(crate) grant: Grant,
    pub(crate) format: Format,
    /// The lasting subscriptions that its topics go on with.
    pub(crate) name: Option<Arc<str>>,
}

impl Interest {
    /// Whether its topics go on with lasting subscriptions of this name.
    pub(super) fn has_name(&self, name: &str) -> bool {
        self.name.as_deref() == Some(name)
    }

    /// Whether a topic is one of those.
    pub(crate) fn chooses(&self, topic: &str) -> bool {
        self.pattern.matches(topic) && self.grant.allows(Right::Read, topic)
    }
}

/// Whether one of them chooses a topic.
pub(crate) fn chooses(interests: &[Interest], topic: &str) -> bool {
    interests.iter().any(|interest| interest.chooses(topic))
}

impl Patterns {
    pub(super) fn new() -> Patterns {
        let followers = Followers::default();
        let is_watched = Arc::clone(&followers.is_watched);
        Patterns { followers: Mutex::new(followers), is_watched, created: Mutex::default() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Followers> {
        // Lists are whole after any panic.
        self.followers.lock()
    }

    /// The patterns that somebody follows, each once.
    pub(crate) fn standing(&self) -> HashSet<Pattern> {
        self.lock().list.iter().map(|(_, interest)| interest.pattern.clone()).collect()
    }

    /// Notes that a topic came into being.
    pub(super) fn note(&self, topic: &str, stream: StreamId) {
        if self.is_watched.load(Ordering::SeqCst) {
            let mut created = self.created.lock();
            created.push((topic.to_owned(), stream));
        }
    }

    /// The topics that came into being since the last call, and their lists.
    pub(super) fn take_created(&self) -> Vec<(String, StreamId)> {
        match self.is_watched.load(Ordering::SeqCst) {
            true => mem::take(&mut self.created.lock()),
            false => Vec::new(),
        }
    }
}

impl Followers {
    /// Whether a session that follows `own` patterns may follow so many more.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooManyPatterns`].
    pub(crate) fn check_room(&self, own: usize, more: usize) -> Result<()> {
        if own + more > PATTERNS_MAX {
            return Err(Refusal::TooManyPatterns { who: "a connection", max: PATTERNS_MAX });
        }
        match self.list.len() + more {
            ..=ALL_PATTERNS_MAX => Ok(()),
            _ => Err(Refusal::TooManyPatterns { who: "all together", max: ALL_PATTERNS_MAX }),
        }
    }

    /// What a session follows by pattern.
    pub(super) fn of(&self, session: &Session) -> impl Iterator<Item = &Interest> {
        let own = self.list.iter().filter(|(it, _)| it.number == session.number);
        own.map(|(_, interest)| interest)
    }

    /// Adds what a session follows.
    pub(super) fn add(&mut self, session: &Arc<Session>, interest: Interest) {
        self.list.push((Arc::clone(session), interest));
        self.is_watched.store(true, Ordering::SeqCst);
    }

    /// Removes what is not to be kept, by the number of the session and what it follows. Gives how
    /// many patterns that were.
    pub(super) fn retain(&mut self, keep: impl Fn(u64, &Interest) -> bool) -> usize {
        let before = self.list.len();
        self.list.retain(|(session, interest)| keep(session.number, interest));
        if self.list.len() < before {
            self.is_watched.store(!self.list.is_empty(), Ordering::SeqCst);
        }
        before - self.list.len()
    }

    /// The sessions that follow a topic by pattern; those twice that follow it by two.
    pub(super) fn choosing(&self, topic: &str) -> impl Iterator<Item = &(Arc<Session>, Interest)> {
        self.list.iter().filter(move |(_, interest)| interest.chooses(topic))
    }
}
