//! A connection in its role as subscriber: its session, and its place among the listeners.

use crate::activity::Activity;
use crate::push::DELIVERY_TIME;
use crate::push::Push;
use crate::push::format::Format;
use crate::push::session::{HELD_SIZE_MAX, Progress, Session};
use crate::push::subscriptions::Subscription;
use crate::refusal::Refusal;
use crate::store::entry;
use crate::store::stream::Cursor;
use common::limits::{ANSWER_TIMEOUT, allowance};
use std::net::TcpStream;
use std::sync::Arc;
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
        if self.session.answer(answers) {
            let mut pass = self.push.pass(Some(DELIVERY_TIME));
            if self.session.write(&mut pass) != Progress::UpToDate {
                self.push.catch_up.take(Arc::clone(&self.session), &self.push);
            }
        }
        !self.session.is_closed()
    }

    /// Whether a topic is subscribed to.
    pub(crate) fn follows(&self, topic: &str) -> bool {
        self.session.cursor(topic).is_some()
    }

    /// Subscribes to a topic that can be read here. `begin` is told where the topic ends now and
    /// says where to begin; `confirm` writes the answer, given that cursor. Where the topic is
    /// subscribed to already, nothing changes for this connection but that it is confirmed once
    /// more; the lasting subscription of another name begins, for when that has a connection of its
    /// own.
    ///
    /// # Errors
    ///
    /// A topic's name that cannot be one, one subscription too many, and what `begin` refuses.
    pub(crate) fn subscribe(
        &self,
        topic: &str,
        format: Format,
        name: Option<&str>,
        begin: impl FnOnce(Cursor) -> Result<Cursor, Refusal>,
        answers: &mut Vec<u8>,
        confirm: impl FnOnce(&mut Vec<u8>, Cursor),
    ) -> Result<(), Refusal> {
        entry::check_topic(topic)?;
        if let Some(cursor) = self.session.cursor(topic) {
            if name.is_some() {
                // One that has begun before stays where it is.
                begin(self.push.topics.end(topic))?;
            }
            confirm(answers, cursor);
            return Ok(());
        }
        // First listen, then look: what is published between the two is found either way.
        let (index, topic) = self.push.listeners.subscribe(topic, &self.session)?;
        let cursor = match begin(self.push.topics.end(&topic)) {
            Ok(cursor) => cursor,
            Err(refusal) => {
                self.push.listeners.withdraw(&topic, &self.session, index);
                return Err(refusal);
            }
        };
        confirm(answers, cursor);
        self.push.log.note("subscribed", &topic, &Ok(()));
        let subscription =
            Subscription::new(Arc::clone(&topic), cursor, format, name.map(Arc::from));
        self.session.subscribe([(index, subscription)], answers);
        // Another connection may have taken the name meanwhile, and not found this subscription.
        if let Some(name) = name
            && self.push.lasting.holder(name) != Some(self.session.number)
        {
            self.push.listeners.unsubscribe(&topic, &self.session, Some(name));
        }
        Ok(())
    }

    /// Subscribes to all topics of an event stream. Each event names a cursor in all of them, so
    /// none is written before the session has all.
    ///
    /// # Errors
    ///
    /// One subscription too many.
    pub(crate) fn stream<'t>(
        &self,
        topics: impl Iterator<Item = (&'t str, Cursor)>,
        format: Format,
        answers: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let mut begun = Vec::new();
        for (topic, cursor) in topics {
            match self.push.listeners.subscribe(topic, &self.session) {
                Ok((index, topic)) => {
                    begun.push((index, Subscription::new(topic, cursor, format, None)));
                }
                Err(refusal) => {
                    for (index, subscription) in begun {
                        let topic = &subscription.topic;
                        self.push.listeners.withdraw(topic, &self.session, index);
                    }
                    return Err(refusal);
                }
            }
        }
        for (_, subscription) in &begun {
            self.push.log.note("subscribed", &subscription.topic, &Ok(()));
        }
        self.session.subscribe(begun, answers);
        Ok(())
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
        self.session.add_name(name);
        self.push.hold(name, &self.session)?;
        self.push.lasting(name, topic, begin)
    }

    /// Ends a subscription. Returns whether there was one.
    pub(crate) fn unsubscribe(&self, topic: &str) -> bool {
        let found = self.push.listeners.unsubscribe(topic, &self.session, None);
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
        for name in self.session.take_names() {
            self.push.lasting.release(&name, self.session.number);
        }
    }
}
