//! Reads messages from a broker as they come.

use super::{
    Broker, Error, Event, Failure, Fault, Link, Message, Refusal, Start, Subscriptions, Target,
};
use crate::crc32::Crc32;
use crate::json::Object;
use crate::pattern::Pattern;
use crate::retry::repeat;
use crate::stream::{Cursor, StreamId};
use crate::trouble::Trouble;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// How long a broker may be silent before it is asked for a sign: a machine that lost its power
/// does not close its connections.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Reads messages of any number of topics, as they come: an iterator over [`Event`]s.
///
/// # Guarantee
///
/// After a lost connection, and after a restart of the broker, each subscription continues with the
/// message after the last one that was read: none is left out, none comes twice. If the topic has
/// another list by then, an [`Event::Reset`] comes first, and then that list from its start.
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
/// With a name, messages that were not acknowledged come again when the program is restarted: each
/// is handled at least once.
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
    /// Events that came while an answer was waited for.
    waiting: VecDeque<Event>,
    /// For acknowledgements. It has its own connection, so that their answers do not wait behind
    /// messages.
    acknowledging: Link,
    /// How long the broker may be silent before it is asked for a sign.
    silence_max: Duration,
    /// When the broker last sent something, or was asked for something.
    heard: Instant,
    is_over: bool,
}

impl Subscriber {
    /// A subscriber of nothing yet. It connects when it subscribes.
    pub fn new(broker: Broker) -> Subscriber {
        let (link, acknowledging) = (Link::new(broker.clone()), Link::new(broker));
        let (silence_max, heard) = (SILENCE_MAX, Instant::now());
        let (subscriptions, waiting, is_over) = Default::default();
        Subscriber { link, subscriptions, waiting, acknowledging, silence_max, heard, is_over }
    }

    /// Subscribes to a topic, which need not exist yet. Returns when the broker has confirmed it:
    /// messages that are published after that will be read. Messages of other topics that come in
    /// the meantime are kept. If the topic is subscribed to already, nothing changes.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with code 416 if `start` is past the end of the topic; [`Error`].
    pub fn subscribe(&mut self, topic: &str, start: Start) -> Result<(), Error> {
        match self.subscriptions.add(topic, start) {
            true => self.confirm(Target::Topic(topic)),
            false => Ok(()),
        }
    }

    /// Subscribes to all topics whose names match a pattern: to existing ones from `start` on, to
    /// later ones from their first message. With [`Start::Offset`], a shorter topic begins at its
    /// end. Topics that are subscribed to already continue unchanged.
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
    /// [`Error::Refused`] with code 400 if it is no pattern, or if `start` is a cursor; [`Error`].
    pub fn subscribe_pattern(&mut self, pattern: &str, start: Start) -> Result<(), Error> {
        let found = Pattern::new(pattern).filter(|_| !matches!(start, Start::Cursor(_)));
        let Some(found) = found else {
            let refusal = Refusal::new(400, "it is no pattern, or begins at a cursor of one topic");
            return Err(self.link.broker().refused(pattern, refusal));
        };
        self.subscriptions.follow(found, start);
        self.confirm(Target::Pattern(pattern))
    }

    /// Waits until the broker has confirmed a subscription, and removes what it refuses.
    fn confirm(&mut self, target: Target<'_>) -> Result<(), Error> {
        let result = repeat(self, Subscriber::failed, Subscriber::wait);
        if result.is_err() {
            self.subscriptions.remove(target);
        }
        result
    }

    /// Ends a subscription; one with a name ends as a lasting subscription. No message of the topic
    /// is read afterwards.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn unsubscribe(&mut self, topic: &str) -> Result<(), Error> {
        self.end(Target::Topic(topic))
    }

    /// Ends the subscription to a pattern. Topics that match another pattern, or that were
    /// subscribed to by their own names, continue. No message of the others is read afterwards.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn unsubscribe_pattern(&mut self, pattern: &str) -> Result<(), Error> {
        self.end(Target::Pattern(pattern))
    }

    fn end(&mut self, target: Target<'_>) -> Result<(), Error> {
        let result = repeat(self, Subscriber::failed, |subscriber| {
            let Some(name) = subscriber.subscriptions.name(target) else { return Ok(()) };
            // A subscription without a name ended with its connection. One with a name is ended by
            // a connection that has subscribed with it: others need a right for that.
            if name.is_some() || subscriber.link.is_open() {
                subscriber.open(None)?;
                subscriber.subscriptions.ask_for_end(target);
                subscriber.wait()?;
            }
            Ok(())
        });
        self.subscriptions.end(target);
        self.waiting.retain(|event| self.subscriptions.topic(event.topic()).is_some());
        result
    }

    /// Where a subscription continues: after the last message that was read. `None` if the topic
    /// does not exist yet, or is not subscribed to.
    pub fn cursor(&self, topic: &str) -> Option<Cursor> {
        let cursor = self.subscriptions.topic(topic)?.cursor();
        cursor.filter(|cursor| cursor.stream != StreamId::NONE)
    }

    /// The digest of a topic at its [cursor](Subscriber::cursor): the CRC-32 of all messages before
    /// it, each followed by a line end. `None` if the broker did not say it.
    pub fn digest(&self, topic: &str) -> Option<u32> {
        self.subscriptions.topic(topic)?.digest.map(Crc32::value)
    }

    /// Acknowledges a message of a lasting subscription, and all before it in its topic. They do
    /// not come again, unless the broker crashes within about a second. Waits for the broker's
    /// answer, so it is faster to acknowledge, say, every hundredth message.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if the topic is not subscribed to with [`Start::Name`]; [`Error`].
    pub fn acknowledge(&mut self, message: &Message) -> Result<(), Error> {
        let Message { topic, stream, offset, .. } = message;
        let refused = |link: &Link, refusal| Err(link.broker().refused(topic, refusal));
        let Some(name) = self.subscriptions.name(Target::Topic(topic)).flatten() else {
            let refusal = Refusal::new(400, "it is not subscribed to under a name");
            return refused(&self.link, refusal);
        };
        let mut command = Vec::new();
        let mut object = Object::new(&mut command);
        object.field("command", "ack").field("topic", &**topic).field("subscriber", name);
        object.field("offset", *offset).field("stream", *stream).end_line();
        match self.acknowledging.ask(&command, |_| Some(()))? {
            // A list that is gone needs no acknowledgement.
            Ok(()) | Err(Refusal { code: 404 | 410 | 416, .. }) => Ok(()),
            Err(refusal) => refused(&self.acknowledging, refusal),
        }
    }

    /// Waits for the next event as the iterator does, but no longer than `time`; `None` if there
    /// was none. If it has to connect first, it may take a second or two more.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn next_within(&mut self, time: Duration) -> Result<Option<Event>, Error> {
        self.read(Instant::now().checked_add(time))
    }

    /// The next event if it has arrived already, for callers that have other work before they wait.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn next_buffered(&mut self) -> Result<Option<Event>, Error> {
        // Nothing is waited for: this time is over.
        self.read(Some(self.heard))
    }

    /// The next event; `None` if there was none before the deadline, or if nothing is subscribed
    /// to.
    fn read(&mut self, deadline: Option<Instant>) -> Result<Option<Event>, Error> {
        if let Some(event) = self.waiting.pop_front() {
            return Ok(Some(event));
        }
        let is_late = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        repeat(self, Subscriber::failed, |subscriber| {
            while !subscriber.subscriptions.is_empty() {
                if subscriber.link.line_size().is_none() && is_late() {
                    break;
                }
                if let Some(event) = subscriber.step(deadline)? {
                    return Ok(Some(event));
                }
            }
            Ok(None)
        })
    }

    /// Waits for the answers to all commands, and keeps the events that come before them.
    fn wait(&mut self) -> Result<(), Failure> {
        self.open(None)?;
        while self.subscriptions.is_waiting() {
            let event = self.step(None)?;
            self.waiting.extend(event);
        }
        Ok(())
    }

    /// Sends the commands that wait, then takes one line, or waits for bytes until the deadline.
    fn step(&mut self, deadline: Option<Instant>) -> Result<Option<Event>, Failure> {
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

    /// Takes a line of `size` bytes, which has arrived.
    fn take(&mut self, size: usize) -> Result<Option<Event>, Failure> {
        let result = self.subscriptions.take(self.link.take(size));
        if !matches!(result, Err(Fault::Passing(_))) {
            self.link.outage.succeeded();
        }
        result.map_err(|fault| match fault {
            Fault::Passing(trouble) => trouble.into(),
            Fault::Final((topic, refusal)) => self.link.broker().refused(&topic, refusal).into(),
        })
    }

    /// Waits for bytes. A broker that was silent for long is asked for a sign, and has to answer.
    fn listen(&mut self, deadline: Option<Instant>) -> Result<(), Failure> {
        let is_asked = self.subscriptions.is_waiting();
        let patience = if is_asked { self.link.answer_timeout } else { self.silence_max };
        let silence_end = self.heard + patience;
        match self.link.fill(deadline.map_or(silence_end, |deadline| deadline.min(silence_end))) {
            Ok(()) => self.heard = Instant::now(),
            Err(Trouble::TimedOut) if Instant::now() < silence_end => {}
            Err(Trouble::TimedOut) if !is_asked => self.subscriptions.ask_for_sign(),
            Err(trouble) => return Err(trouble.into()),
        }
        Ok(())
    }

    fn open(&mut self, deadline: Option<Instant>) -> Result<(), Failure> {
        if self.link.open(deadline)? {
            self.heard = Instant::now();
            self.subscriptions.ask_for_all();
        }
        Ok(())
    }

    /// An attempt failed: sleeps before the next one.
    fn failed(&mut self, trouble: Trouble) -> Result<(), Error> {
        self.link.failed(trouble)
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
