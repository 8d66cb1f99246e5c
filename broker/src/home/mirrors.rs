//! One home elsewhere, and mirrors of its topics: what this broker's clients ask for is forwarded
//! to the home or read from the mirror.
//!
//! # Not here
//!
//! How mirrors are kept up to date (`follow.rs`).

use super::Identity;
use super::following::{Followed, Following, Link, Phase, State};
use super::locations::Locations;
use super::remote::RemoteHome;
use crate::push::{Piece, Push, Wanted};
use crate::refusal::{Refusal, Result};
use crate::store::{
    Batch, BoundsChange, Cursor, Publish, Receipt, Receipts, StreamId, TopicChange,
};
use common::limits::TOPICS_MAX;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How long a mirror may stand still before whoever waits for it is told, even where the deadline
/// has passed: the home has answered, and what it has appended is on its way.
const STANDSTILL: Duration = Duration::from_millis(500);

/// A home, and the mirrors of its topics.
pub(crate) struct Mirrors {
    pub(super) home: Arc<dyn RemoteHome>,
    pub(super) following: Following,
    /// Where mirrors are kept, if anywhere.
    pub(super) data: Option<PathBuf>,
    pub(super) push: Arc<Push>,
    /// Among peers: where topics live. Nothing where this home has all of them: then it is followed
    /// as long as the process lives, and must not be the process itself.
    pub(super) locations: Option<Arc<Locations>>,
}

impl Mirrors {
    /// Mirrors of the topics of a home, which is followed from now on.
    ///
    /// # Errors
    ///
    /// Where the system has no thread for it.
    pub(super) fn new(
        home: Arc<dyn RemoteHome>,
        locations: Option<Arc<Locations>>,
        own: &Identity,
    ) -> io::Result<Arc<Mirrors>> {
        let (following, data, push) =
            (Following::default(), own.data.clone(), Arc::clone(&own.push));
        let mirrors = Arc::new(Mirrors { home, following, data, push, locations });
        let follower = Arc::clone(&mirrors);
        thread::Builder::new().spawn(move || follower.run())?;
        Ok(mirrors)
    }

    /// Appends a batch at the home, and waits until the mirror holds what was appended.
    ///
    /// Nothing is forwarded before the mirror is up to date: what the home then appends is seen
    /// here at once, so an acknowledged message can be read here, and a mirror that has a long way
    /// to go does not keep an answer from whoever has published already.
    pub(super) fn publish(&self, batch: &mut Batch, deadline: Instant) -> Receipts {
        let (mut forwarded, mut readiness) = (Vec::new(), Vec::new());
        let mut entries = batch.entries.as_slice();
        for run in batch.runs() {
            let topic = run.first().map_or("", |it| &*it.topic);
            let is_new = || self.push.topics.end(topic).stream == StreamId::NONE;
            let ready = self.ready(topic, deadline).map(|()| is_new());
            for publish in run {
                let (these, rest) = entries.split_at_checked(publish.count).unwrap_or_default();
                entries = rest;
                if ready.is_ok() {
                    forwarded.push((publish, these));
                }
                readiness.push(ready.clone());
            }
        }
        let mut receipts = self.home.append(&forwarded, deadline).into_iter();
        let answers = batch.publishes.iter().zip(readiness).map(|(publish, ready)| {
            let is_new = ready?;
            let mut receipt = self.told(receipts.next().unwrap_or_else(|| Err(self.behind())))?;
            let (topics, topic) = (&self.push.topics, &publish.topic);
            let end = end_after(publish, &receipt);
            let is_there = || {
                let here = topics.end(topic);
                end.is_none_or(|end| here.stream == end.stream && here.next >= end.next)
            };
            if is_new && receipt.offset == Some(0) {
                // At once: whoever repeats the publish has not begun the topic.
                self.set_own_bounds(topic, receipt.stream, deadline)?;
            }
            self.wait_for(topic, is_there, deadline)?;
            if receipt.duplicate {
                // The home may not have let go yet of what is beyond the bounds.
                let first = topics.extent(topic).first;
                receipt.offset = receipt.offset.filter(|offset| *offset >= first);
            }
            Ok(receipt)
        });
        let answers = answers.collect();
        batch.entries.clear();
        answers
    }

    /// Tells the home what a list keeps that began through this broker, where it has to be told.
    fn set_own_bounds(&self, topic: &str, stream: StreamId, deadline: Instant) -> Result<()> {
        let own = self.push.topics.see("", |_, own| own.as_change());
        let is_for_home = own != BoundsChange::default() && self.locations.is_none();
        let is_told = is_for_home && self.home.limits(stream).is_none();
        if is_told { self.change(topic, TopicChange::SetBounds(own), deadline) } else { Ok(()) }
    }

    /// Changes a topic at the home, and the mirror as far as nobody else would.
    pub(super) fn change(&self, topic: &str, change: TopicChange, deadline: Instant) -> Result<()> {
        match change {
            TopicChange::SetBounds(_) => {}
            TopicChange::Delete => self.reach(deadline)?,
            TopicChange::Create | TopicChange::Trim(_) => match self.ready(topic, deadline) {
                Err(Refusal::UnknownTopic(_)) if matches!(change, TopicChange::Create) => {}
                // It may be what makes room for the mirror, here and at the home.
                Err(full) if full.status() == 507 => {}
                ready => ready?,
            },
        }
        let topics = &self.push.topics;
        let before = topics.end(topic).stream;
        let Cursor { stream, next } = self.told(self.home.change(topic, &change, deadline))?;
        match change {
            // An empty list has no message that would tell the mirror of it. Where the mirror has
            // it already, that is as well.
            TopicChange::Create => {
                let _ = topics.begin_mirror(topic, stream);
                self.set_own_bounds(topic, stream, deadline)?;
            }
            TopicChange::Trim(_) => self.let_go(topic, next, None),
            TopicChange::Delete => self.wait_for_end(topic, before, deadline),
            TopicChange::SetBounds(_) => {
                if let Some(limits) = self.home.limits(stream) {
                    self.keep(topic, limits);
                }
            }
        }
        Ok(())
    }

    /// Waits until the mirror of a list that was deleted is gone.
    fn wait_for_end(&self, topic: &str, list: StreamId, deadline: Instant) {
        let topics = &self.push.topics;
        if !self.follows(topic) {
            // Nobody says so where the mirror has stopped.
            let _ = topics.drop_mirror(topic, None);
        }
        let is_gone = || list == StreamId::NONE || topics.end(topic).stream != list;
        // Whoever asks later is told where it is.
        let _ = self.wait_for(topic, is_gone, deadline);
    }

    /// Reads from the home what the mirror does not hold. Where that comes later than all that it
    /// holds, it has been caught up with.
    pub(super) fn read(&self, wanted: Wanted<'_>, deadline: Instant) -> Result<Piece> {
        self.reach(deadline)?;
        let Wanted { topic, stream, .. } = wanted;
        let read = self.told(self.home.read(wanted, deadline));
        match &read {
            Err(Refusal::Trimmed { first, .. }) => self.let_go(topic, *first, None),
            Ok(piece) => {
                let is_there = || {
                    let here = self.push.topics.end(topic);
                    here.stream != stream || here.next >= piece.first
                };
                self.wait_for(topic, is_there, deadline)?;
            }
            Err(_) => {}
        }
        read
    }

    /// Sees to it that the mirror of a topic can be read: up to date, or as it was when its home
    /// could be asked last.
    ///
    /// # Errors
    ///
    /// As [`Mirrors::ready`], where there is no such mirror.
    pub(super) fn serve(&self, topic: &str, deadline: Instant) -> Result<()> {
        let Err(refusal) = self.ready(topic, deadline) else { return Ok(()) };
        let is_whole = self.following.lock().topics.get(topic).is_some_and(|it| it.is_whole);
        if is_whole && self.push.topics.is_mirror(topic) { Ok(()) } else { Err(refusal) }
    }

    /// Follows a topic from now on, if it is not followed yet.
    ///
    /// # Errors
    ///
    /// As many topics are followed as there may be, or the home is followed no longer.
    pub(super) fn ask_for(&self, topic: &str) -> Result<()> {
        let mut state = self.following.lock();
        if let Some(followed) = state.topics.get_mut(topic) {
            followed.used = Instant::now();
            return Ok(());
        }
        if let Link::Over(lost) = &state.link {
            return Err(lost.clone());
        }
        if state.topics.len() >= TOPICS_MAX {
            return Err(Refusal::TooManyTopics { topics_max: TOPICS_MAX });
        }
        let followed = Followed::new(self.push.topics.is_mirror(topic));
        state.topics.insert(topic.to_owned(), followed);
        let is_open = matches!(state.link, Link::Open);
        drop(state);
        if is_open {
            self.follow([topic.to_owned()]);
        }
        Ok(())
    }

    /// Follows a topic and waits until its mirror is up to date.
    ///
    /// # Errors
    ///
    /// [`Refusal::UnknownTopic`] where the home says so. Any other refusal means that the home
    /// cannot be asked now, and how far the mirror is cannot be said.
    fn ready(&self, topic: &str, deadline: Instant) -> Result<()> {
        self.ask_for(topic)?;
        self.wait_until(deadline, |state| {
            let Some(followed) = state.topics.get(topic) else {
                return Some(Err(Refusal::UnknownTopic(topic.to_owned())));
            };
            match (&state.link, &followed.phase) {
                (Link::Lost(refusal) | Link::Over(refusal), _)
                | (Link::Open, Phase::Stopped { refusal, .. }) => Some(Err(refusal.clone())),
                (Link::Open, Phase::Live) => Some(Ok(())),
                _ => None,
            }
        })
    }

    /// Waits until there is a connection.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(super) fn reach(&self, deadline: Instant) -> Result<()> {
        self.wait_until(deadline, |state| match &state.link {
            Link::Opening => None,
            Link::Open => Some(Ok(())),
            Link::Lost(lost) | Link::Over(lost) => Some(Err(lost.clone())),
        })
    }

    /// Waits until `decide` decides.
    fn wait_until(
        &self,
        deadline: Instant,
        decide: impl Fn(&State) -> Option<Result<()>>,
    ) -> Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut decided = None;
        let is_open = |state: &mut State| {
            decided = decide(state);
            decided.is_none()
        };
        drop(self.following.changed.wait_timeout_while(self.following.lock(), left, is_open));
        decided.unwrap_or_else(|| Err(self.behind()))
    }

    /// Waits until the mirror of a topic is where it should be.
    ///
    /// # Errors
    ///
    /// The home was lost before, or the mirror stands still when the deadline has passed.
    fn wait_for(&self, topic: &str, is_there: impl Fn() -> bool, deadline: Instant) -> Result<()> {
        // Mostly it is: to register costs a publish more than to look.
        if is_there() {
            return Ok(());
        }
        let waiting = self.push.listeners.join(topic);
        while !is_there() {
            let patience = deadline.max(Instant::now() + STANDSTILL);
            if !self.follows(topic) || !waiting.wait(patience) {
                return Err(self.behind());
            }
        }
        Ok(())
    }

    /// Whether what happens to a topic at the home is heard of here.
    pub(super) fn follows(&self, topic: &str) -> bool {
        let state = self.following.lock();
        matches!(state.link, Link::Open) && state.wants(topic)
    }

    /// Whether there is a connection, or may be one in a moment.
    pub(super) fn is_in_reach(&self) -> bool {
        matches!(self.following.lock().link, Link::Open | Link::Opening)
    }

    /// Whether the home is followed no longer, and never will be.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.following.lock().link, Link::Over(_))
    }

    /// Follows a topic no longer.
    pub(super) fn leave(&self, topic: &str) {
        if self.following.forget(topic) {
            self.home.leave(topic);
        }
    }

    /// What clients are told where the home cannot be asked. Among peers why is said on standard
    /// error alone: an index names any address, and nobody is to find out what is there.
    pub(super) fn for_clients(&self, refusal: Refusal) -> Refusal {
        match refusal {
            Refusal::Unreachable { broker, .. } if self.locations.is_some() => {
                Refusal::Unreachable { broker, reason: "try again later".to_owned() }
            }
            other => other,
        }
    }

    /// What the home said, as clients are told it.
    fn told<T>(&self, said: Result<T>) -> Result<T> {
        said.map_err(|refusal| self.for_clients(refusal))
    }

    /// What a client is told when the mirror is not where it should be.
    pub(super) fn behind(&self) -> Refusal {
        Refusal::Unreachable {
            broker: self.home.address().to_owned(),
            reason: "the mirror of the topic is behind".to_owned(),
        }
    }
}

/// How far the mirror has to be to show what was published; nothing where there is nothing to
/// show.
fn end_after(publish: &Publish, receipt: &Receipt) -> Option<Cursor> {
    let Receipt { stream, offset, appended, duplicate, .. } = *receipt;
    let count = if duplicate { publish.count as u64 } else { appended };
    (count > 0).then_some(Cursor { stream, next: offset? + count })
}
