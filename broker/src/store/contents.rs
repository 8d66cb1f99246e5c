//! The contents of the broker behind their locks: the lists and their state.
//!
//! No lock leaves this module, and none is held across I/O.

use crate::refusal::{Refusal, Result};
use crate::store::admission::Admission;
use crate::store::change::{Change, Garbage, Lists};
use crate::store::journal::Frame;
use crate::store::retention::Limits;
use crate::store::stream::StreamId;
use crate::store::topic_state::TopicState;
use crate::store::view::{Summary, TopicView};
use std::collections::HashMap;
use std::ops::Bound;
use std::process;
use std::sync::{Mutex, MutexGuard};

/// Lock order: `admission`, then `lists`. Both are held to copy or to push.
///
/// Invariant: `lists` never holds what a crash could take back: with a journal, a change is
/// accepted before it is written and applied after. A topic is there for readers when it has a
/// list.
pub(crate) struct Contents {
    admission: Mutex<Admission>,
    /// Messages of each topic, oldest first.
    lists: Mutex<HashMap<String, Vec<String>>>,
}

impl Contents {
    /// What was kept before.
    pub(crate) fn new(admission: Admission, lists: Lists) -> Contents {
        Contents { admission: Mutex::new(admission), lists: Mutex::new(lists) }
    }

    /// Accepts or refuses a change, and puts what is accepted into the frame.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub(crate) fn accept(&self, change: &mut dyn Change, frame: &mut Frame) -> Result<()> {
        let mut admission = lock(&self.admission);
        change.accept(&mut admission, &lock(&self.lists), Some(frame))
    }

    /// Makes visible what was accepted.
    pub(crate) fn apply(&self, change: &mut dyn Change) -> Garbage {
        let mut admission = lock(&self.admission);
        change.apply(&mut admission, &mut lock(&self.lists))
    }

    /// Takes back what was accepted, of several changes the last first.
    pub(crate) fn undo(&self, change: &mut dyn Change) {
        change.undo(&mut lock(&self.admission), &lock(&self.lists));
    }

    /// Accepts and applies a change that goes to no journal.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub(crate) fn change(&self, change: &mut dyn Change) -> Result<Garbage> {
        let mut admission = lock(&self.admission);
        let mut lists = lock(&self.lists);
        change.accept(&mut admission, &lists, None)?;
        Ok(change.apply(&mut admission, &mut lists))
    }

    /// Changes a topic in a way that no reader sees.
    pub(crate) fn tidy<T>(
        &self,
        topic: &str,
        tidy: impl FnOnce(&mut TopicState, &mut Vec<String>) -> T,
    ) -> Option<T> {
        let mut admission = lock(&self.admission);
        let mut lists = lock(&self.lists);
        Some(tidy(admission.topics.get_mut(topic)?, lists.get_mut(topic)?))
    }

    /// Looks at what is known beside the lists, accepted changes included.
    pub(crate) fn know<T>(&self, see: impl FnOnce(&mut Admission) -> T) -> T {
        see(&mut lock(&self.admission))
    }

    /// Up to `count` topics in the order of their names, after `behind`; no name is empty. Reading
    /// all topics in such pieces takes little memory, and nobody waits long for the lock.
    pub(crate) fn list(&self, behind: &str, count: usize) -> Vec<(String, Summary)> {
        let admission = lock(&self.admission);
        let lists = lock(&self.lists);
        let names = (Bound::Excluded(behind), Bound::Unbounded);
        let topics = admission.names.range::<str, _>(names).filter_map(|topic| {
            let view = TopicView::new(admission.topics.get(topic)?, lists.get(topic)?);
            Some((topic.clone(), view.summary(&admission.limits)))
        });
        topics.take(count).collect()
    }

    /// Looks at a topic, on a broker with these bounds. A topic that is not there is an empty list
    /// of the stream [`StreamId::NONE`].
    pub(crate) fn see<T>(&self, topic: &str, see: impl FnOnce(TopicView<'_>, &Limits) -> T) -> T {
        let admission = lock(&self.admission);
        let lists = lock(&self.lists);
        match admission.topics.get(topic).zip(lists.get(topic)) {
            Some((state, list)) => see(TopicView::new(state, list), &admission.limits),
            None => {
                let nothing = TopicState::new(StreamId::NONE, false, 0);
                see(TopicView::new(&nothing, &[]), &admission.limits)
            }
        }
    }

    /// Looks at a topic, if it is still `stream`.
    ///
    /// # Errors
    ///
    /// [`Refusal::OtherStream`].
    pub(crate) fn read<T>(
        &self,
        topic: &str,
        stream: StreamId,
        read: impl FnOnce(TopicView<'_>) -> Result<T>,
    ) -> Result<T> {
        self.see(topic, |view, _| match view.end().stream == stream {
            true => read(view),
            false => Err(Refusal::OtherStream),
        })
    }
}

/// The one place that decides what a poisoned lock means.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The panic may have broken the invariant: stop, and let a restart begin again.
    mutex.lock().unwrap_or_else(|_| process::abort())
}
