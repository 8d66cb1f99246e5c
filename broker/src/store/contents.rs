//! The contents of the broker behind their locks: the lists and their state.
//!
//! No lock leaves this module, and none is held across I/O.

use crate::refusal::Refusal;
use crate::store::admission::Admission;
use crate::store::change::{Change, Lists};
use crate::store::journal::Frame;
use crate::store::retention::Limits;
use crate::store::stream::StreamId;
use crate::store::topic_state::TopicState;
use crate::store::view::TopicView;
use std::collections::HashMap;
use std::ops::Bound;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// Whether there may be topics that were created: to look takes no lock where there are none.
    has_created: AtomicBool,
}

impl Contents {
    /// What was kept before.
    pub(crate) fn new(admission: Admission, lists: Lists) -> Contents {
        let has_created = AtomicBool::default();
        Contents { admission: Mutex::new(admission), lists: Mutex::new(lists), has_created }
    }

    /// Accepts or refuses a change, and puts what is accepted into the frame.
    pub(crate) fn accept(&self, change: &mut dyn Change, frame: &mut Frame) {
        let mut admission = lock(&self.admission);
        change.accept(&mut admission, &lock(&self.lists), Some(frame));
        self.note_created(&admission);
    }

    /// Makes visible what was accepted.
    pub(crate) fn apply(&self, change: &mut dyn Change) {
        let mut admission = lock(&self.admission);
        let mut lists = lock(&self.lists);
        let garbage = change.apply(&mut admission, &mut lists);
        drop((admission, lists));
        drop(garbage);
    }

    /// Takes back what was accepted, of several changes the last first.
    pub(crate) fn undo(&self, change: &mut dyn Change, refusal: &Refusal) {
        change.undo(&mut lock(&self.admission), refusal);
    }

    /// Accepts and applies a change that goes to no journal.
    pub(crate) fn change(&self, change: &mut dyn Change) {
        let mut admission = lock(&self.admission);
        let mut lists = lock(&self.lists);
        change.accept(&mut admission, &lists, None);
        self.note_created(&admission);
        let garbage = change.apply(&mut admission, &mut lists);
        drop((admission, lists));
        drop(garbage);
    }

    fn note_created(&self, admission: &Admission) {
        if admission.created.as_ref().is_some_and(|created| !created.is_empty()) {
            self.has_created.store(true, Ordering::SeqCst);
        }
    }

    /// Notes topics from now on that are created, or no longer.
    pub(crate) fn watch(&self, is_watched: bool) {
        let mut admission = lock(&self.admission);
        let created = admission.created.take();
        admission.created = is_watched.then(|| created.unwrap_or_default());
    }

    /// The topics that were created since the last call, and are there for readers. What is still
    /// being written comes later: whoever had it written calls this once more.
    pub(crate) fn take_created(&self) -> Vec<(String, StreamId)> {
        if !self.has_created.load(Ordering::SeqCst) {
            return Vec::new();
        }
        self.has_created.store(false, Ordering::SeqCst);
        let mut admission = lock(&self.admission);
        let lists = lock(&self.lists);
        let mut there = Vec::new();
        let Admission { topics, created: Some(created), .. } = &mut *admission else {
            return there;
        };
        created.retain(|topic| {
            let Some(state) = topics.get(topic) else { return false };
            let is_there = lists.contains_key(topic);
            if is_there {
                there.push((topic.clone(), state.stream));
            }
            !is_there
        });
        self.note_created(&admission);
        there
    }

    /// Moves entries of a topic, from an offset on, to memory that is free now, and adds those
    /// that stood elsewhere to `before`. Gives where it is to go on, if that is not the end.
    pub(crate) fn move_entries(
        &self,
        topic: &str,
        from: u64,
        before: &mut Vec<String>,
    ) -> Option<u64> {
        let mut admission = lock(&self.admission);
        let mut lists = lock(&self.lists);
        admission.topics.get_mut(topic)?.move_entries(lists.get_mut(topic)?, from, before)
    }

    /// Looks at what is known beside the lists, accepted changes included.
    pub(crate) fn know<T>(&self, see: impl FnOnce(&mut Admission) -> T) -> T {
        see(&mut lock(&self.admission))
    }

    /// Looks at up to `count` topics, in the order of their names, behind one of them.
    pub(crate) fn each(
        &self,
        behind: &str,
        count: usize,
        mut see: impl FnMut(&str, TopicView<'_>, &Limits),
    ) {
        let admission = lock(&self.admission);
        let lists = lock(&self.lists);
        let names = (Bound::Excluded(behind), Bound::Unbounded);
        let topics = admission.topics.range::<str, _>(names);
        let topics = topics.filter_map(|(topic, state)| Some((topic, state, lists.get(topic)?)));
        for (topic, state, list) in topics.take(count) {
            see(topic, TopicView::new(state, list), &admission.limits);
        }
    }

    /// Looks at a topic, if it is there.
    pub(crate) fn see<T>(
        &self,
        topic: &str,
        see: impl FnOnce(TopicView<'_>, &Limits) -> T,
    ) -> Option<T> {
        let admission = lock(&self.admission);
        let lists = lock(&self.lists);
        let view = TopicView::new(admission.topics.get(topic)?, lists.get(topic)?);
        Some(see(view, &admission.limits))
    }

    /// Looks at a topic, if it is still `stream`. A topic that is not there is an empty list to
    /// whoever has read nothing yet.
    ///
    /// # Errors
    ///
    /// [`Refusal::OtherStream`].
    pub(crate) fn read<T>(
        &self,
        topic: &str,
        stream: StreamId,
        read: impl FnOnce(TopicView<'_>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let admission = lock(&self.admission);
        let lists = lock(&self.lists);
        match (admission.topics.get(topic), lists.get(topic)) {
            (Some(state), Some(list)) if state.stream == stream => {
                read(TopicView::new(state, list))
            }
            (_, None) if stream == StreamId::NONE => {
                read(TopicView::new(&TopicState::new(stream, false, 0), &[]))
            }
            _ => Err(Refusal::OtherStream),
        }
    }
}

/// The one place that decides what a poisoned lock means.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The panic may have broken the invariant: stop, and let a restart begin again.
    mutex.lock().unwrap_or_else(|_| process::abort())
}
