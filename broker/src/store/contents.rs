//! The contents of the broker behind their locks: the lists and their state.
//!
//! No lock leaves this module, and none is held across I/O.

use crate::refusal::{Refusal, Result};
use crate::store::{Admission, Limits, Lists, StreamId, Summary, TopicState, TopicView};
use common::lock::or_abort;
use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Mutex;

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

/// The contents while both locks are held.
pub(crate) struct Locked<'a> {
    pub(crate) admission: &'a mut Admission,
    pub(crate) lists: &'a mut Lists,
}

impl Locked<'_> {
    /// A topic that readers see: its state and its list.
    pub(crate) fn topic(&mut self, topic: &str) -> Option<(&mut TopicState, &mut Vec<String>)> {
        self.admission.topics.get_mut(topic).zip(self.lists.get_mut(topic))
    }

    /// Makes a topic visible that was created.
    pub(crate) fn begin_list(&mut self, topic: &str) {
        if let Some(state) = self.admission.topics.get(topic) {
            (self.admission.on_create)(topic, state.stream);
            self.lists.insert(topic.to_owned(), Vec::new());
        }
    }

    /// Puts names, tables and what is known of topics in other memory: in the heap of this thread.
    pub(super) fn reallocate(&mut self) {
        let Admission { topics, names, .. } = &mut *self.admission;
        (*topics, *names) = (topics.clone(), names.clone());
        let lists = std::mem::take(self.lists).into_iter();
        *self.lists = lists.map(|(topic, list)| (topic.clone(), list)).collect();
    }

    /// Takes what was let go out of a topic's list, for the caller to free.
    pub(crate) fn apply_trim(&mut self, topic: &str, now: u64) -> Vec<String> {
        let Admission { topics, memory, trimmed, .. } = &mut *self.admission;
        match topics.get_mut(topic).zip(self.lists.get_mut(topic)) {
            Some((state, list)) if state.is_trimmed() => {
                let before = state.messages();
                let gone = state.apply_trim(list, now, memory);
                *trimmed += before - state.messages();
                gone
            }
            _ => Vec::new(),
        }
    }

    /// Forgets what was accepted of a topic and is not in its list; the topic too, where it has
    /// none yet.
    pub(crate) fn reset(&mut self, topic: &str) {
        if !self.lists.contains_key(topic) {
            self.admission.remove(topic);
        } else if let Some(state) = self.admission.topics.get_mut(topic) {
            state.reset(&mut self.admission.memory);
        }
    }
}

impl Contents {
    /// What was kept before.
    pub(crate) fn new(admission: Admission, lists: Lists) -> Contents {
        Contents { admission: Mutex::new(admission), lists: Mutex::new(lists) }
    }

    /// Takes a step of a change, which others wait for.
    pub(super) fn with<T>(&self, step: impl FnOnce(&mut Locked<'_>) -> T) -> T {
        let (mut admission, mut lists) = (or_abort(&self.admission), or_abort(&self.lists));
        step(&mut Locked { admission: &mut admission, lists: &mut lists })
    }

    /// Changes a topic in a way that leaves no trace in the journal.
    pub(crate) fn tidy<T>(
        &self,
        topic: &str,
        tidy: impl FnOnce(&mut TopicState, &mut Vec<String>) -> T,
    ) -> Option<T> {
        self.with(|locked| locked.topic(topic).map(|(state, list)| tidy(state, list)))
    }

    /// Looks at what is known beside the lists, accepted changes included.
    pub(crate) fn know<T>(&self, see: impl FnOnce(&mut Admission) -> T) -> T {
        see(&mut or_abort(&self.admission))
    }

    /// Up to `count` topics in the order of their names, after `behind`; no name is empty. Reading
    /// all topics in such pieces takes little memory, and nobody waits long for the lock.
    pub(crate) fn list(&self, behind: &str, count: usize) -> Vec<(String, Summary)> {
        let names = (Bound::Excluded(behind), Bound::Unbounded);
        self.with(|Locked { admission, lists }| {
            let topics = admission.names.range::<str, _>(names).filter_map(|topic| {
                let view = TopicView::new(admission.topics.get(topic)?, lists.get(topic)?);
                Some((topic.clone(), view.summary(&admission.limits)))
            });
            topics.take(count).collect()
        })
    }

    /// Looks at a topic, on a broker with these bounds. A topic that is not there is an empty list
    /// of the stream [`StreamId::NONE`].
    pub(crate) fn see<T>(&self, topic: &str, see: impl FnOnce(TopicView<'_>, &Limits) -> T) -> T {
        self.with(|Locked { admission: Admission { topics, limits, .. }, lists }| {
            match topics.get(topic).zip(lists.get(topic)) {
                Some((state, list)) => see(TopicView::new(state, list), limits),
                None => {
                    let nothing = TopicState::new(StreamId::NONE, false, 0);
                    see(TopicView::new(&nothing, &[]), limits)
                }
            }
        })
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
