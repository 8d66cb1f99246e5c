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
use crate::push::format::Format;
use crate::push::session::Session;
use crate::refusal::Refusal;
use crate::store::stream::StreamId;
use common::limits::{ALL_PATTERNS_MAX, PATTERNS_MAX};
use common::pattern::Pattern;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The patterns of all sessions.
#[derive(Default)]
pub(crate) struct Patterns {
    state: Mutex<Followers>,
}

/// Topics that came into being while somebody follows a pattern. Its lock is the innermost.
#[derive(Default)]
pub(crate) struct Created {
    is_watched: AtomicBool,
    topics: Mutex<Vec<(String, StreamId)>>,
}

impl Created {
    /// Notes topics from now on, or no longer.
    pub(super) fn watch(&self, is_watched: bool) {
        self.is_watched.store(is_watched, Ordering::SeqCst);
    }

    pub(super) fn note(&self, topic: &str, stream: StreamId) {
        if self.is_watched.load(Ordering::SeqCst) {
            self.lock().push((topic.to_owned(), stream));
        }
    }

    /// The topics that came into being since the last call, and their lists.
    pub(super) fn take(&self) -> Vec<(String, StreamId)> {
        match self.is_watched.load(Ordering::SeqCst) {
            true => std::mem::take(&mut self.lock()),
            false => Vec::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(String, StreamId)>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which session follows what by pattern. Lock order: this, then all others; never held across I/O.
#[derive(Default)]
pub(super) struct Followers(Vec<(Arc<Session>, Interest)>);

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
    pub(super) fn lock(&self) -> MutexGuard<'_, Followers> {
        // Lists are whole after any panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a new session may follow so many patterns.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooManyPatterns`].
    pub(crate) fn check_room(&self, count: usize) -> Result<(), Refusal> {
        self.lock().check_room(0, count)
    }

    /// The patterns that somebody follows, each once.
    pub(crate) fn standing(&self) -> HashSet<Pattern> {
        self.lock().0.iter().map(|(_, interest)| interest.pattern.clone()).collect()
    }
}

impl Followers {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a session that follows `own` patterns may follow so many more.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooManyPatterns`].
    pub(super) fn check_room(&self, own: usize, more: usize) -> Result<(), Refusal> {
        if own + more > PATTERNS_MAX {
            return Err(Refusal::TooManyPatterns { who: "a connection", max: PATTERNS_MAX });
        }
        match self.0.len() + more {
            ..=ALL_PATTERNS_MAX => Ok(()),
            _ => Err(Refusal::TooManyPatterns { who: "all together", max: ALL_PATTERNS_MAX }),
        }
    }

    /// What a session follows by pattern.
    pub(super) fn of(&self, session: &Session) -> impl Iterator<Item = &Interest> {
        let own = self.0.iter().filter(|(it, _)| it.number == session.number);
        own.map(|(_, interest)| interest)
    }

    /// Adds what a session follows.
    pub(super) fn add(&mut self, session: &Arc<Session>, interest: Interest) {
        self.0.push((Arc::clone(session), interest));
    }

    /// Removes what is not to be kept, by the number of the session and what it follows. Gives how
    /// many patterns that were.
    pub(super) fn retain(&mut self, keep: impl Fn(u64, &Interest) -> bool) -> usize {
        let before = self.0.len();
        self.0.retain(|(session, interest)| keep(session.number, interest));
        before - self.0.len()
    }

    /// The sessions that follow a topic by pattern; those twice that follow it by two.
    pub(super) fn choosing(&self, topic: &str) -> impl Iterator<Item = &(Arc<Session>, Interest)> {
        self.0.iter().filter(move |(_, interest)| interest.chooses(topic))
    }
}
