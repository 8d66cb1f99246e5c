//! The topics that are followed at one home, and how far each mirror is.
//!
//! # Not here
//!
//! How mirrors are updated (`follow.rs`).

use crate::refusal::Refusal;
use crate::store::Cursor;
use common::lock::Mutex;
use std::collections::HashMap;
use std::mem;
use std::sync::{Condvar, MutexGuard};
use std::time::{Duration, Instant};

/// After how long a topic is asked for again whose mirror stopped. Where the home sends what
/// cannot be right, the time doubles up to the longest.
const RETRY_TIME: Duration = Duration::from_secs(2);
pub(super) const RETRY_TIME_MAX: Duration = Duration::from_secs(60);

/// What is followed at one home.
#[derive(Default)]
pub(super) struct Following {
    state: Mutex<State>,
    /// Told when a phase changes, and when the connection comes or goes.
    pub(super) changed: Condvar,
}

/// Held to look or to note; never across I/O.
#[derive(Default)]
pub(super) struct State {
    pub(super) topics: HashMap<String, Followed>,
    pub(super) link: Link,
}

/// Whether the home can be asked.
#[derive(Default)]
pub(super) enum Link {
    /// The first connection is being made.
    #[default]
    Opening,
    /// There is a connection.
    Open,
    /// There is none, and why.
    Lost(Refusal),
    /// The same, and the thread that follows has ended: there was nothing to follow.
    Over(Refusal),
}

/// A topic that is followed.
pub(super) struct Followed {
    pub(super) phase: Phase,
    /// Whether the mirror has been up to date before, so that nobody who reads it after the home
    /// was lost finds less than before.
    pub(super) is_whole: bool,
    /// When somebody asked for it last.
    pub(super) used: Instant,
    /// How long it is not asked for when the home sends what cannot be right once more.
    pub(super) pause: Duration,
}

/// How far a mirror is.
#[derive(Debug, Clone)]
pub(super) enum Phase {
    /// To be asked for, or asked for and not yet answered.
    Asked { since: Instant },
    /// The home's list ended here when it answered.
    Behind(Cursor),
    /// It has been up to date since the connection came.
    Live,
    /// The home refuses to send it, or there is no room for it here; it is tried again soon.
    Stopped { refusal: Refusal, retry_at: Instant },
}

impl Phase {
    /// It is asked for now.
    pub(super) fn asked() -> Phase {
        Phase::Asked { since: Instant::now() }
    }
}

impl Followed {
    /// A topic that somebody asks for; whether its mirror is there already.
    pub(super) fn new(is_whole: bool) -> Followed {
        Followed { phase: Phase::asked(), is_whole, used: Instant::now(), pause: RETRY_TIME }
    }
}

impl State {
    /// Whether what the home sends of a topic is wanted.
    pub(super) fn wants(&self, topic: &str) -> bool {
        let phase = self.topics.get(topic).map(|followed| &followed.phase);
        matches!(phase, Some(Phase::Behind(_) | Phase::Live))
    }
}

impl Following {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // A map of small values is whole after any panic.
        self.state.lock()
    }

    /// The topics of which this holds.
    pub(super) fn topics(&self, holds: impl Fn(&str, &Followed) -> bool) -> Vec<String> {
        let state = self.lock();
        let topics = state.topics.iter().filter(|(topic, followed)| holds(topic, followed));
        topics.map(|(topic, _)| topic.clone()).collect()
    }

    /// Notes how far a topic is, if it is followed; says how far it was.
    pub(super) fn set(&self, topic: &str, phase: Phase) -> Option<Phase> {
        let mut state = self.lock();
        let followed = state.topics.get_mut(topic)?;
        let before = mem::replace(&mut followed.phase, phase);
        drop(state);
        self.changed.notify_all();
        Some(before)
    }

    /// Notes that a topic is not followed for a while; says how far it was.
    pub(super) fn stop(&self, topic: &str, refusal: Refusal, is_nonsense: bool) -> Option<Phase> {
        let mut pause = RETRY_TIME;
        if is_nonsense && let Some(followed) = self.lock().topics.get_mut(topic) {
            pause = followed.pause;
            followed.pause = (pause * 2).min(RETRY_TIME_MAX);
        }
        self.set(topic, Phase::Stopped { refusal, retry_at: Instant::now() + pause })
    }

    /// Notes that there is a connection, or why there is none: all topics are to be asked for.
    /// Gives them.
    pub(super) fn set_link(&self, link: Link) -> Vec<String> {
        let mut state = self.lock();
        state.link = link;
        state.topics.values_mut().for_each(|followed| followed.phase = Phase::asked());
        let topics = state.topics.keys().cloned().collect();
        drop(state);
        self.changed.notify_all();
        topics
    }

    /// Notes that a mirror has come to `end`.
    pub(super) fn reached(&self, topic: &str, end: Cursor) {
        let mut state = self.lock();
        if let Some(followed) = state.topics.get_mut(topic)
            && let Phase::Behind(until) = followed.phase
            && (until.stream != end.stream || until.next <= end.next)
        {
            followed.phase = Phase::Live;
            followed.is_whole = true;
            followed.pause = RETRY_TIME;
            drop(state);
            self.changed.notify_all();
        }
    }

    /// Forgets a topic: it is no longer followed. Says whether it was.
    pub(super) fn forget(&self, topic: &str) -> bool {
        let found = self.lock().topics.remove(topic).is_some();
        self.changed.notify_all();
        found
    }
}
