//! Reads messages from a broker as they come.

use super::answer::Refusal;
use super::broker::Broker;
use super::error::Error;
use super::event::{Event, Message};
use super::link::Link;
use super::session::Session;
use super::subscriptions::{Start, Subscriptions};
use crate::pattern::Pattern;
use crate::retry::{self, Failure};
use crate::stream::{Cursor, StreamId};
use crate::trouble::Trouble;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// How long a broker may be silent before it is asked whether it is still there: a machine that
/// lost its power does not say that it is gone.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Reads messages of any number of topics, as they come: an iterator over [`Event`]s.
///
/// # Guarantee
///
/// After a connection was lost, and also after a restart of the broker, each subscription goes on
/// with the message after the last one that was read: none is left out, none comes twice. Where
/// the topic is another list by then, an [`Event::Reset`] comes first, and then that list from its
/// start.
///
/// The iterator waits for the next message. It ends when nothing is subscribed to any more, or
/// after an error.
///
/// ```no_run
/// use common::client::{Broker, Event, Start, Subscriber};
///
/// let mut subscriber = Subscriber::new(Broker::at("127.0.0.1:9000"));
/// subscriber.subscribe("greetings", Start::Offset(0))?;
/// for event in subscriber {
///     match event? {
///         Event::Message(message) => println!("{}: {}", message.offset, message.text),
///         Event::Reset { topic } => println!("{topic} was created again"),
///         other => println!("{other:?}"),
///     }
/// }
/// # Ok::<(), common::client::Error>(())
/// ```
///
/// With a name, messages that were read but not acknowledged come again when the program is
/// started again: each is handled at least once.
///
/// ```no_run
/// use common::client::{Broker, Event, Start, Subscriber};
///
/// let mut subscriber = Subscriber::new(Broker::at("127.0.0.1:9000"));
/// subscriber.subscribe("orders", Start::Name("billing".to_owned()))?;
/// while let Some(event) = subscriber.next() {
///     if let Event::Message(message) = event? {
///         println!("bill for {}", message.text);
///         subscriber.acknowledge(&message)?;
///     }
/// }
/// # Ok::<(), common::client::Error>(())
/// ```
#[derive(Debug)]
pub struct Subscriber {
    pub(super) link: Link,
    subscriptions: Subscriptions,
    /// What came while an answer was waited for.
    waiting: VecDeque<Event>,
    /// Gives acknowledgements: on a connection of its own, so that no answer has to be looked for
    /// behind messages.
    session: Session,
    /// How long the broker may be silent before it is asked for a sign.
    silence_max: Duration,
    /// When the broker was last heard, or asked for something.
    heard: Instant,
    is_over: bool,
}

impl Subscriber {
    /// A subscriber of nothing yet. It connects when it subscribes.
    #[must_use]
    pub fn new(broker: Broker) -> Subscriber {
        Subscriber {
            link: Link::new(broker.clone()),
            subscriptions: Subscriptions::default(),
            waiting: VecDeque::new(),
            session: Session::new(broker),
            silence_max: SILENCE_MAX,
            heard: Instant::now(),
            is_over: false,
        }
    }

    /// Subscribes to a topic, which need not be there yet. Returns when the broker has confirmed
    /// it: what is published from then on will be read. Messages of other topics that come
    /// meanwhile are kept. A topic that is subscribed to already goes on as it was.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with code 416 where the topic has not so many messages; [`Error`].
    pub fn subscribe(&mut self, topic: &str, start: Start) -> Result<(), Error> {
        if self.subscriptions.has(topic) {
            return Ok(());
        }
        self.subscriptions.add(topic, start);
        let result = self.repeat(Subscriber::wait);
        if result.is_err() {
            self.subscriptions.remove(topic);
        }
        result
    }

    /// Subscribes to all topics whose names match a pattern: to those that are there from `start`
    /// on, to those that come into being later from their first message. With [`Start::Offset`],
    /// a topic that does not reach so far begins at its end. A topic that is subscribed to already
    /// goes on as it was.
    ///
    /// ```no_run
    /// use common::client::{Broker, Start, Subscriber};
    ///
    /// let mut subscriber = Subscriber::new(Broker::at("127.0.0.1:9000"));
    /// subscriber.subscribe_pattern("sensors/*/temperature", Start::Now)?;
    /// for event in subscriber {
    ///     println!("{:?}", event?);
    /// }
    /// # Ok::<(), common::client::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with code 400 where it is no pattern, or `start` is a cursor; [`Error`].
    pub fn subscribe_pattern(&mut self, pattern: &str, start: Start) -> Result<(), Error> {
        let found = Pattern::new(pattern).filter(|_| !matches!(start, Start::Cursor(_)));
        let Some(found) = found else {
            let refusal = Refusal::new(400, "it is no pattern, or begins at a cursor of one topic");
            return Err(self.link.broker().refused(pattern, refusal));
        };
        self.subscriptions.follow(found.clone(), start);
        let result = self.repeat(Subscriber::wait);
        if result.is_err() {
            self.subscriptions.forget(&found);
        }
        result
    }

    /// Ends a subscription, and with it the lasting one of its name, if it has one. Nothing of the
    /// topic is read afterwards.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn unsubscribe(&mut self, topic: &str) -> Result<(), Error> {
        let name = self.subscriptions.name(topic).map(str::to_owned);
        let result = self.repeat(|subscriber| {
            // The end of a connection is the end of what has no name. What has one is ended by a
            // connection that has subscribed with it: others may need a right to do so.
            if subscriber.subscriptions.has(topic) && (name.is_some() || subscriber.link.is_open())
            {
                subscriber.open(None)?;
                subscriber.subscriptions.ask_for_end(topic, name.as_deref());
                subscriber.wait()?;
            }
            Ok(())
        });
        self.subscriptions.remove(topic);
        self.waiting.retain(|event| event.topic() != topic);
        result
    }

    /// Where a subscription goes on: behind the last message that was read. `None` where the topic
    /// is not there yet, or not subscribed to.
    #[must_use]
    pub fn cursor(&self, topic: &str) -> Option<Cursor> {
        self.subscriptions.position(topic).filter(|cursor| cursor.stream != StreamId::NONE)
    }

    /// The digest of a topic at its [cursor](Subscriber::cursor): the CRC-32 of all messages before
    /// it, each followed by a line end. `None` where the broker did not say it.
    #[must_use]
    pub fn digest(&self, topic: &str) -> Option<u32> {
        self.subscriptions.digest(topic)
    }

    /// Acknowledges a message of a lasting subscription, and with it all before it in its topic:
    /// they will not come again, unless the broker crashes before it has written that to disk.
    /// Returns when the broker has taken note, so it is faster to acknowledge every hundredth
    /// message, say.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] where the topic is not subscribed to with [`Start::Name`]; [`Error`].
    pub fn acknowledge(&mut self, message: &Message) -> Result<(), Error> {
        let Message { topic, stream, offset, .. } = message;
        match self.subscriptions.name(topic) {
            Some(name) => self.session.acknowledge(name, topic, *offset, *stream),
            None => {
                let refusal = Refusal::new(400, "it is not subscribed to under a name");
                Err(self.link.broker().refused(topic, refusal))
            }
        }
    }

    /// Waits for the next event as the iterator does, but no longer than `time`; `None` if there
    /// was none. Where a connection has to be made for it, that may take a second or two more.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn next_within(&mut self, time: Duration) -> Result<Option<Event>, Error> {
        self.read(Instant::now().checked_add(time))
    }

    /// The next event if it has come already, for callers that have other work before they wait.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn next_buffered(&mut self) -> Result<Option<Event>, Error> {
        if let Some(event) = self.waiting.pop_front() {
            return Ok(Some(event));
        }
        self.repeat(|subscriber| {
            while let Some(size) = subscriber.link.line_size() {
                if let Some(event) = subscriber.take(size)? {
                    return Ok(Some(event));
                }
            }
            Ok(None)
        })
    }

    /// The next event; `None` if there was none before the deadline, or if nothing is subscribed
    /// to.
    fn read(&mut self, deadline: Option<Instant>) -> Result<Option<Event>, Error> {
        if let Some(event) = self.waiting.pop_front() {
            return Ok(Some(event));
        }
        let is_late = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        self.repeat(|subscriber| {
            while !subscriber.subscriptions.is_empty() {
                if !subscriber.link.is_open() && is_late() {
                    break;
                }
                if let Some(event) = subscriber.step(deadline)? {
                    return Ok(Some(event));
                }
                if is_late() {
                    break;
                }
            }
            Ok(None)
        })
    }

    /// Waits until everything that was asked is answered; keeps what comes meanwhile.
    fn wait(&mut self) -> Result<(), super::Failure> {
        self.open(None)?;
        while self.subscriptions.is_waiting() {
            let event = self.step(None)?;
            self.waiting.extend(event);
        }
        Ok(())
    }

    /// Sends what is to be sent, and takes one line, or waits for more bytes until the deadline.
    fn step(&mut self, deadline: Option<Instant>) -> Result<Option<Event>, super::Failure> {
        self.open(deadline)?;
        let commands = self.subscriptions.commands();
        if !commands.is_empty() {
            self.link.send(commands)?;
            commands.clear();
            self.heard = Instant::now();
        }
        match self.link.line_size() {
            Some(size) => self.take(size),
            None => self.listen(deadline).map(|()| None),
        }
    }

    /// Takes a line of so many bytes, which has come.
    fn take(&mut self, size: usize) -> Result<Option<Event>, super::Failure> {
        let result = self.subscriptions.take(self.link.take(size));
        if !matches!(result, Err(Failure::Passing(_))) {
            self.link.succeeded();
        }
        result.map_err(|fault| match fault {
            Failure::Passing(trouble) => Failure::Passing(trouble),
            Failure::Final((topic, refusal)) => self.link.broker().refused(&topic, refusal).into(),
        })
    }

    /// Waits for bytes. A broker that is silent for long is asked for a sign, and has to give it.
    fn listen(&mut self, deadline: Option<Instant>) -> Result<(), super::Failure> {
        let is_asked = self.subscriptions.is_waiting();
        let patience = if is_asked { self.link.answer_timeout } else { self.silence_max };
        let silence_end = self.heard + patience;
        match self.link.fill(deadline.map_or(silence_end, |deadline| deadline.min(silence_end))) {
            Err(Trouble::TimedOut) if !is_asked || Instant::now() < silence_end => {
                if Instant::now() >= silence_end {
                    self.subscriptions.ask_for_sign();
                }
                Ok(())
            }
            Err(trouble) => Err(trouble.into()),
            Ok(()) => {
                self.heard = Instant::now();
                Ok(())
            }
        }
    }

    fn open(&mut self, deadline: Option<Instant>) -> Result<(), super::Failure> {
        if self.link.open(deadline)? {
            self.heard = Instant::now();
            self.subscriptions.ask_for_all();
        }
        Ok(())
    }

    /// Repeats what fails in passing.
    fn repeat<R>(
        &mut self,
        attempt: impl FnMut(&mut Subscriber) -> Result<R, super::Failure>,
    ) -> Result<R, Error> {
        retry::repeat(self, |subscriber, trouble| subscriber.link.failed(trouble), attempt)
    }
}

impl Iterator for Subscriber {
    type Item = Result<Event, Error>;

    fn next(&mut self) -> Option<Result<Event, Error>> {
        if self.is_over {
            return None;
        }
        let event = self.read(None).transpose();
        self.is_over = matches!(event, Some(Err(_)));
        event
    }
}
