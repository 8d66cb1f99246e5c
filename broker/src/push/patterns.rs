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
use std::collections::{HashMap, HashSet};
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

/// Who follows what by pattern. Lock order: this, then all others; never held across I/O.
#[derive(Default)]
pub(super) struct Followers(HashMap<u64, Follower>);

/// A session and its patterns.
struct Follower {
    session: Arc<Session>,
    interests: Vec<Interest>,
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
        let followers = self.lock();
        let interests = followers.0.values().flat_map(|it| &it.interests);
        interests.map(|interest| interest.pattern.clone()).collect()
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
        let all = self.0.values().map(|follower| follower.interests.len()).sum::<usize>();
        match all + more {
            ..=ALL_PATTERNS_MAX => Ok(()),
            _ => Err(Refusal::TooManyPatterns { who: "all together", max: ALL_PATTERNS_MAX }),
        }
    }

    /// What a session follows by pattern.
    pub(super) fn of(&self, session: &Session) -> &[Interest] {
        self.0.get(&session.number).map_or(&[], |it| &it.interests)
    }

    /// Adds what a session follows.
    pub(super) fn add(&mut self, session: &Arc<Session>, interest: Interest) {
        let new = || Follower { session: Arc::clone(session), interests: Vec::new() };
        self.0.entry(session.number).or_insert_with(new).interests.push(interest);
    }

    /// Removes what a session follows and is not to be kept. Gives how many patterns that were.
    pub(super) fn retain(&mut self, session: u64, keep: impl FnMut(&Interest) -> bool) -> usize {
        let Some(follower) = self.0.get_mut(&session) else { return 0 };
        let before = follower.interests.len();
        follower.interests.retain(keep);
        let after = follower.interests.len();
        if after == 0 {
            self.0.remove(&session);
        }
        before - after
    }

    /// Takes a name from all other sessions: what they follow under it.
    pub(super) fn take_name(&mut self, session: u64, name: &str) {
        self.0.retain(|number, follower| {
            let is_kept = |it: &Interest| *number == session || it.name.as_deref() != Some(name);
            follower.interests.retain(is_kept);
            !follower.interests.is_empty()
        });
    }

    /// The sessions that follow a topic by pattern, each once.
    pub(super) fn choosing(&self, topic: &str) -> Vec<(&Arc<Session>, &Interest)> {
        let chosen = |it: &'_ Follower| it.interests.iter().position(|it| it.chooses(topic));
        let find = |it| Some((it, chosen(it)?));
        let found = self.0.values().filter_map(find);
        found.filter_map(|(it, at)| Some((&it.session, it.interests.get(at)?))).collect()
    }
}
