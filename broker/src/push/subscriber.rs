//! A connection in its role as subscriber: its session, and its place among the listeners.

use crate::activity::Activity;
use crate::push::DELIVERY_TIME;
use crate::push::Push;
use crate::push::format::Format;
use crate::push::lasting::Key;
use crate::push::listeners::Listener;
use crate::push::session::{HELD_SIZE_MAX, Progress, Session};
use crate::push::subscriptions::Subscription;
use crate::refusal::Refusal;
use crate::store::entry;
use crate::store::stream::Cursor;
use common::limits::{ANSWER_TIMEOUT, allowance};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

/// A subscriber; its subscriptions end when it is dropped, those with a name outlive it.
pub(crate) struct Subscriber {
    push: Arc<Push>,
    session: Arc<Session>,
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
            let mut pass = self.push.pass(Some(DELIVERY_TIME));
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
    /// is subscribed to already stays where it is. For an event stream it is called once: each
    /// event names a cursor in all topics.
    pub(crate) fn subscribe<'t>(
        &self,
        topics: impl IntoIterator<Item = (&'t str, Cursor)>,
        format: Format,
        name: Option<&str>,
        answers: &mut Vec<u8>,
    ) {
        let name: Option<Arc<str>> = name.map(Arc::from);
        let Push { listeners, lasting, log, .. } = &*self.push;
        let subscription = |(topic, cursor): (&str, Cursor)| {
            Subscription::new(listeners.name(topic), cursor, format, name.clone())
        };
        let topics = topics.into_iter().map(subscription);
        let added = self.session.subscribe(topics, answers);
        for (index, topic) in &added {
            listeners.add(topic, Listener::Session(Arc::clone(&self.session), *index));
            log.note("subscribed", topic, &Ok(()));
            // Another connection may have taken the name, and not found this subscription.
            if let Some(name) = &name
                && lasting.holder(name).is_some_and(|holder| holder != self.session.number)
            {
                self.push.take_away(name, topic, self.session.number, true);
            }
        }
        // First listen, then look: what is published between the two is found either way.
        self.session.begin(added.iter().map(|(index, _)| *index));
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

    /// Ends a subscription. Returns whether there was one.
    pub(crate) fn unsubscribe(&self, topic: &str) -> bool {
        let found = self.push.listeners.unsubscribe(topic, &self.session, None).is_some();
        if found {
            self.push.log.note("unsubscribed", topic, &Ok(()));
        }
        found
    }

    /// Ends all subscriptions, and waits until the client has taken what it was answered: for as
    /// long as a slow one may need for what a session holds.
    pub(crate) fn finish(&self, answers: &mut Vec<u8>) {
        for topic in self.session.topics() {
            self.unsubscribe(&topic);
        }
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
        for topic in self.session.topics() {
            self.unsubscribe(&topic);
        }
        self.push.lasting.release(self.session.number);
    }
}
