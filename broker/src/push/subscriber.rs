//! A connection in its role as subscriber: its session, and its place among the listeners.

use crate::access::Grant;
use crate::activity::Activity;
use crate::push::Push;
use crate::push::format::Format;
use crate::push::lasting::Key;
use crate::push::patterns::{self, Interest};
use crate::push::session::{HELD_SIZE_MAX, Progress, Session};
use crate::push::subscriptions::{Subscription, Subscriptions};
use crate::refusal::Refusal;
use crate::store::entry;
use crate::store::stream::Cursor;
use common::limits::{ANSWER_TIMEOUT, allowance};
use common::pattern::Pattern;
use std::collections::HashSet;
use std::mem;
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

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
pub(crate) struct Place {
    pub(crate) topic: String,
    pub(crate) cursor: Cursor,
    /// Whether the client asked for the topic itself; else a pattern chose it.
    pub(crate) is_asked: bool,
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
            let mut pass = self.push.pass(Some(OWN_TIME));
            if self.session.write(&mut pass) != Progress::UpToDate {
                self.push.catch_up.take(Arc::clone(&self.session), &self.push);
            }
        }
        !self.session.is_closed()
    }

    /// Where the subscription to a topic stands, if there is one.
    pub(crate) fn cursor(&self, topic: &str) -> Option<Cursor> {
        self.session.cursor(topic)
    }

    /// Whether there is room for so many subscriptions more.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooManySubscriptions`].
    pub(crate) fn check_room(&self, count: usize) -> Result<(), Refusal> {
        self.push.listeners.check_room(self.session.count(), count)
    }

    /// Subscribes to topics that can be read here, and sends `answers` before their messages. What
    /// is subscribed to already stays where it is.
    pub(crate) fn subscribe<'t>(
        &self,
        topics: impl IntoIterator<Item = (&'t str, Cursor)>,
        format: Format,
        name: Option<&str>,
        answers: &mut Vec<u8>,
    ) {
        let name: Option<Arc<str>> = name.map(Arc::from);
        let subscription = |(topic, cursor): (&str, Cursor)| {
            Subscription::new(self.push.listeners.name(topic), cursor, format, name.clone())
        };
        for (_, topic) in self.begin(topics.into_iter().map(subscription), |_| mem::take(answers)) {
            self.push.log.note("subscribed", &topic, &Ok(()));
        }
        self.check_name(name.as_deref());
    }

    /// Another connection may have taken the name meanwhile, and not found what it has here.
    fn check_name(&self, name: Option<&str>) {
        if let Some(name) = name
            && self.push.lasting.holder(name).is_some_and(|it| it != self.session.number)
        {
            let is_other = |it: &Interest| it.name.as_deref() != Some(name);
            self.push.patterns.lock().retain(self.session.number, is_other);
            for topic in self.session.topics(|it| it.name.as_deref() == Some(name)) {
                self.push.take_away(name, &topic, self.session.number, true);
            }
        }
    }

    fn begin(
        &self,
        subscriptions: impl Iterator<Item = Subscription>,
        confirm: impl FnOnce(&mut Subscriptions) -> Vec<u8>,
    ) -> Vec<(usize, Arc<str>)> {
        let added = self.push.subscribe(&self.session, subscriptions, confirm);
        // First listen, then look: what is published between the two is found either way.
        self.session.begin(added.iter().map(|(index, _)| *index));
        added
    }

    /// Whether there is room for so many patterns more.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooManyPatterns`].
    pub(crate) fn check_patterns(&self, count: usize) -> Result<(), Refusal> {
        let followers = self.push.patterns.lock();
        followers.check_room(followers.of(&self.session).len(), count)
    }

    /// Follows topics by pattern, and beside them those that were asked for: from their places on
    /// those that were looked at, from their first message those that came into being since. For an
    /// event stream it is called once: each event names a cursor in all topics.
    pub(crate) fn follow(
        &self,
        interests: Vec<Interest>,
        mut places: Vec<Place>,
        format: Format,
        name: Option<&str>,
        answers: &mut Vec<u8>,
    ) {
        let name: Option<Arc<str>> = name.map(Arc::from);
        let Push { listeners, log, .. } = &*self.push;
        let asked = places.iter().filter(|place| place.is_asked).map(|place| place.topic.clone());
        let by_pattern = interests.iter().map(|interest| interest.pattern.to_string());
        asked.chain(by_pattern).for_each(|name| log.note("subscribed", &name, &Ok(())));
        let mut followers = self.push.patterns.lock();
        if let Some(name) = &name {
            followers.take_name(self.session.number, name);
        }
        if followers.is_empty() && !interests.is_empty() {
            self.push.created.watch(true);
        }
        let looked_at: HashSet<String> = places.iter().map(|place| place.topic.clone()).collect();
        for (topic, stream) in self.push.chosen(|topic| patterns::chooses(&interests, topic)) {
            if !looked_at.contains(&topic) {
                let cursor = Cursor { stream, next: 0 };
                places.push(Place { topic, cursor, is_asked: false });
            }
        }
        let subscription = |Place { topic, cursor, is_asked }: Place| {
            let topic = listeners.name(&topic);
            let subscription = Subscription::new(topic, cursor, format, name.clone());
            if is_asked { subscription } else { subscription.by_pattern() }
        };
        let confirm = |subscriptions: &mut Subscriptions| match format.is_event() {
            true => subscriptions.start(format),
            false => mem::take(answers),
        };
        self.begin(places.into_iter().map(subscription), confirm);
        interests.into_iter().for_each(|interest| followers.add(&self.session, interest));
        drop(followers);
        self.check_name(name.as_deref());
    }

    /// Follows a pattern no longer. Returns whether it was followed.
    pub(crate) fn leave(&self, pattern: &Pattern) -> bool {
        let mut followers = self.push.patterns.lock();
        let removed = followers.retain(self.session.number, |it| it.pattern != *pattern);
        let left = followers.of(&self.session);
        let is_left = |topic: &str| left.iter().any(|interest| interest.chooses(topic));
        for topic in self.session.topics(|it| !it.is_asked && !is_left(&it.topic)) {
            self.push.listeners.unsubscribe(&topic, &self.session, None);
        }
        self.push.created.watch(!followers.is_empty());
        if removed > 0 {
            self.push.log.note("unsubscribed", &pattern.to_string(), &Ok(()));
        }
        removed > 0
    }

    /// Where a name's lasting subscription to a topic goes on; the first time at `begin`. All of
    /// the name's subscriptions are this connection's from now on: whichever had them before has
    /// them no more, and acknowledges nothing behind the cursor that is given.
    ///
    /// # Errors
    ///
    /// A name that cannot be one, or one too many; [`Refusal::NotStored`].
    pub(crate) fn lasting(
        &self,
        name: &str,
        topic: &str,
        begin: Cursor,
    ) -> Result<Cursor, Refusal> {
        entry::check_peer("subscriber", name)?;
        self.push.lasting(name, topic, begin, self.session.number)
    }

    /// Checks whether a client may have a name: not one with topics that it may not read, which
    /// somebody else would no longer get.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`].
    pub(crate) fn check_lasting(&self, name: &str, grant: &Grant) -> Result<(), Refusal> {
        match self.push.lasting.holder(name) == Some(self.session.number) {
            true => Ok(()),
            false => self.push.lasting.check(name, grant),
        }
    }

    /// Whether a name that is not this connection's has a lasting subscription.
    pub(crate) fn is_of_another(&self, name: &str, topic: &str) -> bool {
        let lasting = &self.push.lasting;
        lasting.holder(name) != Some(self.session.number)
            && lasting.of(name).iter().any(|key| &*key.topic == topic)
    }

    /// Ends a name's lasting subscription, whichever connection has it. Returns whether there was
    /// one.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotStored`]; it goes on then.
    pub(crate) fn end_lasting(&self, name: &str, topic: &str) -> Result<bool, Refusal> {
        let key = Key { name: name.into(), topic: topic.into() };
        let ended = self.push.end_lasting(&[key], None, Some(self.session.number))?;
        Ok(ended > 0)
    }

    /// Ends a subscription that the client asked for. Where a pattern of its chooses the topic too,
    /// it goes on with that. Returns whether there was one.
    pub(crate) fn unsubscribe(&self, topic: &str) -> bool {
        let followers = self.push.patterns.lock();
        match followers.of(&self.session).iter().any(|interest| interest.chooses(topic)) {
            true => self.session.set_asked(topic, false),
            false => self.end(topic),
        }
    }

    fn end(&self, topic: &str) -> bool {
        let found = self.push.listeners.unsubscribe(topic, &self.session, None).is_some();
        if found {
            self.push.log.note("unsubscribed", topic, &Ok(()));
        }
        found
    }

    fn end_all(&self) {
        let patterns = self.push.patterns.lock().of(&self.session).to_vec();
        for interest in patterns {
            self.leave(&interest.pattern);
        }
        for topic in self.session.topics(|_| true) {
            self.end(&topic);
        }
    }

    /// Ends all subscriptions, and waits until the client has taken what it was answered: for as
    /// long as a slow one may need for what a session holds.
    pub(crate) fn finish(&self, answers: &mut Vec<u8>) {
        self.end_all();
        self.answer(answers);
        self.session.wait_until_written(Instant::now() + ANSWER_TIMEOUT + allowance(HELD_SIZE_MAX));
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
        self.push.lasting.release(self.session.number);
    }
}
