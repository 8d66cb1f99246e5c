//! A connection in its role as subscriber: its session, and its place among the listeners.

use crate::access::{Grant, Right};
use crate::activity::Activity;
use crate::push::{
    DeliveryPass, Format, HELD_SIZE_MAX, Interest, Progress, Push, Session, chooses,
};
use crate::refusal::Result;
use crate::store::{Cursor, entry};
use common::limits::{ANSWER_TIMEOUT, allowance};
use common::pattern::Pattern;
use std::collections::HashSet;
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// How long a connection's own thread writes messages, once it has answered. A subscriber that is
/// far behind is left to the few threads that catch up: a publisher would wait for the processor
/// behind hundreds of threads at work.
const OWN_TIME: Duration = Duration::from_millis(1);

/// A subscriber; its subscriptions end when it is dropped, those with a name outlive it.
pub(crate) struct Subscriber {
    push: Arc<Push>,
    session: Arc<Session>,
}

/// Where to begin in a topic.
#[derive(Clone)]
pub(crate) struct Beginning {
    pub(crate) topic: Arc<str>,
    pub(crate) cursor: Cursor,
    /// Whether the client asked for the topic itself; else a pattern chose it.
    pub(crate) is_asked: bool,
}

impl Beginning {
    /// In a topic that the client asked for.
    pub(crate) fn asked(topic: &str, cursor: Cursor) -> Beginning {
        Beginning { topic: topic.into(), cursor, is_asked: true }
    }

    /// In one that a pattern chose.
    pub(crate) fn chosen(topic: &str, cursor: Cursor) -> Beginning {
        Beginning { is_asked: false, ..Beginning::asked(topic, cursor) }
    }
}

impl Subscriber {
    /// A subscriber of nothing yet. From now on only it writes to the socket.
    pub(crate) fn new(
        stream: Arc<TcpStream>,
        activity: Arc<Activity>,
        push: &Arc<Push>,
    ) -> Subscriber {
        Subscriber { push: Arc::clone(push), session: Session::new(stream, activity) }
    }

    /// Sends answers, and takes them out of `answers`. False when the session is over.
    pub(crate) fn answer(&self, answers: &mut Vec<u8>) -> bool {
        self.send(answers, true)
    }

    /// The same where the last answer goes on: no message comes before its rest. Others get the
    /// processor first: with hundreds of long answers, a publisher would wait behind all of them.
    pub(crate) fn answer_in_part(&self, answers: &mut Vec<u8>) -> bool {
        thread::yield_now();
        self.send(answers, false)
    }

    fn send(&self, answers: &mut Vec<u8>, is_whole: bool) -> bool {
        if self.session.answer(answers, is_whole) {
            let mut pass = DeliveryPass::new(&self.push, Some(OWN_TIME));
            if self.session.write(&mut pass) != Progress::UpToDate {
                self.push.catch_up.take(Arc::clone(&self.session), &self.push);
            }
        }
        !self.session.is_closed()
    }

    /// Where the subscription to a topic stands, if there is one.
    pub(crate) fn cursor(&self, topic: &str) -> Option<Cursor> {
        self.session.with(|it| it.find(topic).map(|(_, it)| it.place.cursor))
    }

    /// Whether there is room for so many subscriptions more.
    ///
    /// # Errors
    ///
    /// There is not.
    pub(crate) fn check_room(&self, count: usize) -> Result<()> {
        self.push.listeners.check_room(self.session.with(|it| it.len()), count)
    }

    /// Gives up what it follows under a name that another connection has taken meanwhile, which did
    /// not find it here.
    fn give_up(&self, name: &str) {
        let own = self.session.number;
        if self.push.lasting.holder(name).is_none_or(|holder| holder == own) {
            return;
        }
        self.push.patterns.lock().retain(|session, it| session != own || !it.has_name(name));
        for topic in self.session.with(|it| it.topics(|it| it.name.as_deref() == Some(name))) {
            self.push.take_away(name, &topic, own, true);
        }
    }

    /// Whether there is room for so many patterns more.
    ///
    /// # Errors
    ///
    /// There is not.
    pub(crate) fn check_patterns(&self, count: usize) -> Result<()> {
        let followers = self.push.patterns.lock();
        followers.check_room(followers.of(&self.session).count(), count)
    }

    /// Subscribes to topics that can be read here, and sends `answers` before their messages: from
    /// their places on those that were looked at; by pattern, from their first message, those that
    /// came into being since. What is subscribed to already stays where it is. For an event stream
    /// it is called once: each event names a cursor in all topics.
    pub(crate) fn subscribe(
        &self,
        interests: Vec<Interest>,
        mut places: Vec<Beginning>,
        format: Format,
        name: Option<&str>,
        answers: &mut Vec<u8>,
    ) {
        let name: Option<Arc<str>> = name.map(Arc::from);
        let log = &self.push.log;
        for place in places.iter().filter(|it| it.is_asked && self.cursor(&it.topic).is_none()) {
            log.note("subscribed", &place.topic, None);
        }
        // What is neither by pattern nor by name concerns no other session.
        let is_alone = interests.is_empty() && name.is_none();
        let mut followers = (!is_alone).then(|| self.push.patterns.lock());
        if let Some(followers) = &mut followers {
            let own = self.session.number;
            if let Some(name) = &name {
                // All other sessions lose what they follow under this name.
                followers.retain(|session, it| session == own || !it.has_name(name));
            }
            // From here on topics are noted that come into being.
            for interest in &interests {
                log.note("subscribed", &interest.pattern.to_string(), None);
                followers.add(&self.session, interest.clone());
            }
        }
        if !interests.is_empty() {
            let looked_at: HashSet<_> = places.iter().map(|it| Arc::clone(&it.topic)).collect();
            let is_new = |topic: &str| !looked_at.contains(topic) && chooses(&interests, topic);
            for (topic, stream) in self.push.chosen(is_new) {
                places.push(Beginning::chosen(&topic, Cursor { stream, next: 0 }));
            }
        }
        let (own, listeners) = (&self.session, &self.push.listeners);
        let added = own.subscribe(listeners, places, format, name.clone(), Some(answers));
        // First listen, then look: what is published between the two is found either way.
        own.with(|it| added.iter().for_each(|index| it.note(*index, u64::MAX)));
        drop(followers);
        name.iter().for_each(|name| self.give_up(name));
    }

    /// Follows a pattern no longer. Returns whether it was followed.
    pub(crate) fn leave(&self, pattern: &Pattern) -> bool {
        let mut followers = self.push.patterns.lock();
        let own = self.session.number;
        let removed = followers.retain(|session, it| session != own || it.pattern != *pattern);
        let left: Vec<_> = followers.of(&self.session).collect();
        let is_left = |topic: &str| left.iter().any(|interest| interest.chooses(topic));
        for topic in self.session.with(|it| it.topics(|it| !it.is_asked && !is_left(&it.topic))) {
            self.session.unsubscribe(&self.push.listeners, &topic, None);
        }
        if removed > 0 {
            self.push.log.note("unsubscribed", &pattern.to_string(), None);
        }
        removed > 0
    }

    /// Where a name's lasting subscriptions go on; the first time at these places. All of the
    /// name's subscriptions are this connection's from now on: whichever had them before has them
    /// no more, and acknowledges nothing behind the cursors that are given.
    ///
    /// # Errors
    ///
    /// A name that cannot be one, or one too many, or none can be stored.
    pub(crate) fn lasting(&self, name: &str, places: &mut [Beginning]) -> Result<()> {
        entry::check_name("subscriber", name)?;
        self.push.lasting(name, places, self.session.number)
    }

    /// Checks whether a client may have a name: not one with topics that it may not read, which
    /// somebody else would no longer get.
    ///
    /// # Errors
    ///
    /// It has one of those.
    pub(crate) fn check_lasting(&self, name: &str, grant: &Grant) -> Result<()> {
        match self.push.lasting.holder(name) == Some(self.session.number) {
            true => Ok(()),
            false => self.push.check_name(name, grant),
        }
    }

    /// Ends those lasting subscriptions of a name whose topics are meant, whichever connection has
    /// it. Returns whether there were any.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`] where the name is not this connection's, and only administrators may
    /// end it; [`Refusal::NotStored`]. They go on then.
    pub(crate) fn end_lasting(
        &self,
        name: &str,
        grant: &Grant,
        is_meant: impl Fn(&str) -> bool,
    ) -> Result<bool> {
        let own = Some(self.session.number);
        let right = if self.push.lasting.holder(name) == own { Right::Read } else { Right::Admin };
        // What a name does not have is not ended: where names are shared, that would take this one.
        let mut keys = self.push.lasting_of(name)?;
        keys.retain(|key| is_meant(&key.topic));
        keys.iter().try_for_each(|key| grant.check(right, &key.topic))?;
        Ok(self.push.end_lasting(&keys, None, own)? > 0)
    }

    /// Ends a subscription that the client asked for. Where a pattern of its chooses the topic too,
    /// it goes on with that. Returns whether there was one.
    pub(crate) fn unsubscribe(&self, topic: &str) -> bool {
        let followers = self.push.patterns.lock();
        if followers.of(&self.session).any(|interest| interest.chooses(topic)) {
            return self.session.with(|it| it.set_asked(topic, false));
        }
        drop(followers);
        self.end(topic)
    }

    fn end(&self, topic: &str) -> bool {
        let found = self.session.unsubscribe(&self.push.listeners, topic, None).is_some();
        if found {
            self.push.log.note("unsubscribed", topic, None);
        }
        found
    }

    fn end_all(&self) {
        let mut followers = self.push.patterns.lock();
        followers.retain(|session, _| session != self.session.number);
        drop(followers);
        for topic in self.session.with(|it| it.topics(|_| true)) {
            self.end(&topic);
        }
    }

    /// Ends all subscriptions, and waits until the client has taken what it was answered: for as
    /// long as a slow one may need for what a session holds.
    pub(crate) fn finish(&self, answers: &mut Vec<u8>) {
        self.end_all();
        self.answer(answers);
        self.session.wait_until_written(ANSWER_TIMEOUT + allowance(HELD_SIZE_MAX));
    }

    /// The connection's session.
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.session.close();
        self.end_all();
        let (lasting, number) = (&self.push.lasting, self.session.number);
        if lasting.is_shared() {
            // A name that is free is taken by whoever comes, from where others find it. What could
            // not be kept is tried again.
            let _ = self.push.keep(&lasting.moved_of(number), false);
        }
        lasting.release(number);
    }
}
