//! The state of subscriptions: lines of the broker in, events and commands out.
//!
//! # Guarantee
//!
//! The events of a list have consecutive offsets from the start of the subscription, even if
//! connections break or the broker sends something again.
//!
//! # Not here
//!
//! Sockets, and waiting (`subscriber.rs`).

use super::answer::{self, Refusal};
use super::event::{Event, Message, Pushed};
use super::link::{INVALID, invalid};
use crate::crc32::Crc32;
use crate::json::{self, Object, Value};
use crate::pattern::Pattern;
use crate::retry::Failure;
use crate::stream::{Cursor, StreamId};
use crate::trouble::Trouble;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// Where a subscription begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// With the first message that is published from now on.
    Now,
    /// With the message at this offset; 0 is the first that was ever published.
    Offset(u64),
    /// With the last so many messages.
    Last(u64),
    /// With the first message that was published since then: a time ago (`10m`), Unix
    /// milliseconds, or a date and time as in RFC 3339.
    Since(String),
    /// Where a reader stopped: see [`Message::next`]. Where the topic is another list by now, with
    /// an [`Event::Reset`] and then the first message of that.
    Cursor(Cursor),
    /// Behind what was [acknowledged](super::Subscriber::acknowledge) under this name, by whichever
    /// process; the first time, with the first message that is published from now on. The newest
    /// subscriber of a name has it.
    Name(String),
}

/// The subscriptions of one subscriber.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    topics: HashMap<Arc<str>, Subscription>,
    patterns: Vec<Followed>,
    /// What was asked on the present connection and not answered yet.
    asked: VecDeque<Asked>,
    /// Commands that are to be sent.
    commands: Vec<u8>,
    /// The last message's publisher, which is mostly the next one's too.
    publisher: Option<Arc<str>>,
}

/// One topic.
#[derive(Debug)]
struct Subscription {
    topic: Arc<str>,
    /// Whose lasting subscription it is.
    name: Option<String>,
    /// Where to begin while there is no cursor.
    start: Start,
    /// Where to go on; `None` until the broker has said where it begins.
    cursor: Option<Cursor>,
    /// The digest of the topic at the cursor, where it is known. It shows that the topic's list
    /// begins with what was read, whatever its id.
    digest: Option<Crc32>,
    /// Whether there was a cursor: what the topic has lost since is told, and no error.
    has_begun: bool,
}

/// A pattern that chooses topics.
#[derive(Debug)]
struct Followed {
    pattern: Pattern,
    start: Start,
    /// Whether the broker has confirmed it: what is not known by now came into being since.
    has_begun: bool,
}

/// What an answer is about.
#[derive(Debug)]
enum Asked {
    Subscribe(Arc<str>),
    Follow(String),
    /// Something of which only matters that it was answered.
    Other,
}

/// What is wrong with a line: the connection is of no further use, or the broker will not let
/// anybody subscribe to this topic, or not so.
pub(super) type Fault = Failure<Trouble, (Arc<str>, Refusal)>;

impl Subscriptions {
    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty() && self.patterns.is_empty()
    }

    pub(super) fn has(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }

    /// Where a topic's subscription goes on.
    pub(super) fn position(&self, topic: &str) -> Option<Cursor> {
        self.topics.get(topic)?.cursor
    }

    /// The digest of a topic where its subscription goes on.
    pub(super) fn digest(&self, topic: &str) -> Option<u32> {
        self.topics.get(topic)?.digest.map(Crc32::value)
    }

    /// The name of a topic's lasting subscription.
    pub(super) fn name(&self, topic: &str) -> Option<&str> {
        self.topics.get(topic)?.name.as_deref()
    }

    /// Adds a topic, and asks for it.
    pub(super) fn add(&mut self, topic: &str, start: Start) {
        let topic: Arc<str> = topic.into();
        let (name, cursor) = match &start {
            Start::Name(name) => (Some(name.clone()), None),
            Start::Cursor(cursor) => (None, Some(*cursor)),
            _ => (None, None),
        };
        let has_begun = cursor.is_some();
        let known = Arc::clone(&topic);
        let subscription =
            Subscription { topic: known, name, start, cursor, digest: None, has_begun };
        self.topics.insert(Arc::clone(&topic), subscription);
        self.ask_for(topic);
    }

    /// Adds a pattern, unless it is there, and asks for the topics that it chooses.
    pub(super) fn follow(&mut self, pattern: Pattern, start: Start) {
        if self.patterns.iter().all(|followed| followed.pattern != pattern) {
            self.patterns.push(Followed { pattern, start, has_begun: false });
            self.ask_for_pattern(self.patterns.len() - 1);
        }
    }

    /// Removes a pattern that the broker did not accept.
    pub(super) fn forget(&mut self, pattern: &Pattern) {
        self.patterns.retain(|followed| followed.pattern != *pattern);
    }

    /// Removes a topic.
    pub(super) fn remove(&mut self, topic: &str) {
        self.topics.remove(topic);
    }

    /// Asks for the end of a subscription.
    pub(super) fn ask_for_end(&mut self, topic: &str, name: Option<&str>) {
        command(&mut self.commands, "unsubscribe", topic).optional("subscriber", name).end_line();
        self.asked.push_back(Asked::Other);
    }

    /// Asks for anything that is answered and changes nothing.
    pub(super) fn ask_for_sign(&mut self) {
        let topic = self.topics.keys().next().cloned().unwrap_or_default();
        command(&mut self.commands, "pull", &topic).field("limit", 0_u64).end_line();
        self.asked.push_back(Asked::Other);
    }

    /// Asks for everything on a new connection.
    pub(super) fn ask_for_all(&mut self) {
        self.asked.clear();
        self.commands.clear();
        let topics: Vec<_> = self.topics.keys().cloned().collect();
        topics.into_iter().for_each(|topic| self.ask_for(topic));
        // Behind the topics that are known, which go on where they were.
        (0..self.patterns.len()).for_each(|index| self.ask_for_pattern(index));
    }

    fn ask_for_pattern(&mut self, index: usize) {
        let Some(Followed { pattern, start, has_begun }) = self.patterns.get(index) else { return };
        let pattern = pattern.to_string();
        let mut command = Object::new(&mut self.commands);
        command.field("command", "subscribe").field("pattern", &pattern);
        match start {
            _ if *has_begun => command.field("from", 0_u64),
            start => start.write(&mut command),
        };
        if let Start::Name(name) = start {
            command.field("subscriber", name);
        }
        command.end_line();
        self.asked.push_back(Asked::Follow(pattern));
    }

    /// Whether something was asked that was not answered yet.
    pub(super) fn is_waiting(&self) -> bool {
        !self.asked.is_empty()
    }

    /// The commands to send. The caller sends and clears them.
    pub(super) fn commands(&mut self) -> &mut Vec<u8> {
        &mut self.commands
    }

    fn ask_for(&mut self, topic: Arc<str>) {
        let Some(subscription) = self.topics.get(&topic) else { return };
        let Subscription { name, start, cursor, digest, .. } = subscription;
        let mut command = command(&mut self.commands, "subscribe", &topic);
        match (name, cursor, start) {
            (None, Some(Cursor { stream, next }), _) => {
                command.field("from", *next).field("stream", *stream)
            }
            // A broker that knows the name knows where to go on. One that has forgotten it would
            // begin at the end, and leave out what was published since it was started again.
            (Some(_), Some(_), _) => command.field("from", 0_u64),
            (_, None, start) => start.write(&mut command),
        };
        match (name, digest) {
            (Some(name), _) => command.field("subscriber", name),
            (None, Some(crc)) => command.field("digest", format!("{:08x}", crc.value())),
            (None, None) => command.field("digest", true),
        };
        command.end_line();
        self.asked.push_back(Asked::Subscribe(topic));
    }

    /// Takes the next line of the present connection.
    pub(super) fn take(&mut self, line: &[u8]) -> Result<Option<Event>, Fault> {
        if let Some(pushed) = Pushed::read(line) {
            return Ok(self.pushed(pushed)?);
        }
        let value = json::parse(line).map_err(|_| invalid(line))?;
        let Some(event) = value.get("event") else {
            let answer = answer::read(value).ok_or_else(|| invalid(line))?;
            return self.answered(answer);
        };
        if event.as_str() == Some("message") {
            return Ok(self.pushed(Pushed::of(&value).ok_or(INVALID)?)?);
        }
        let topic = value.get("topic").and_then(Value::as_str).ok_or(INVALID)?;
        if event.as_str() == Some("subscribed") {
            return Ok(self.chosen(topic, place(&value).ok_or(INVALID)?));
        }
        // What was unsubscribed from may still be on its way.
        let Some(subscription) = self.topics.get_mut(topic) else { return Ok(None) };
        match event.as_str() {
            // The topic is another list now, which goes on at this place.
            Some("reset") => {
                subscription.begin_at(place(&value).ok_or(INVALID)?);
                Ok(Some(subscription.reset()))
            }
            // Messages were let go before they were sent.
            Some("trimmed") => {
                let next = value.get("next").and_then(Value::as_u64).ok_or(INVALID)?;
                Ok(Some(subscription.trimmed(next)))
            }
            // A lasting subscription ended with its topic. Others get a reset, should it be created
            // again.
            Some("deleted") => {
                if subscription.name.is_some() {
                    let topic = Arc::clone(&subscription.topic);
                    self.ask_for(topic);
                }
                Ok(None)
            }
            // To ask for it again would take the name back, and so on for ever.
            Some("unsubscribed") => {
                let topic = Arc::clone(&subscription.topic);
                self.topics.remove(&topic);
                let reason = "its name is another connection's now, or somebody ended it";
                Err(Failure::Final((topic, Refusal::new(409, reason))))
            }
            // Newer brokers may have more to say.
            _ => Ok(None),
        }
    }

    fn pushed(&mut self, pushed: Pushed<'_>) -> Result<Option<Event>, Trouble> {
        let Some(subscription) = self.topics.get_mut(&*pushed.topic) else { return Ok(None) };
        let Some(place) = subscription.pass(&pushed)? else { return Ok(None) };
        Ok(Some(Event::Message(Message {
            topic: Arc::clone(&subscription.topic),
            stream: place.stream,
            offset: place.next,
            text: pushed.text.into_owned(),
            time: pushed.time,
            publisher: pushed.publisher.map(|name| share(&mut self.publisher, &name)),
        })))
    }

    /// A pattern chooses a topic, which begins at this place.
    fn chosen(&mut self, topic: &str, place: Cursor) -> Option<Event> {
        if let Some(known) = self.topics.get_mut(topic) {
            let is_another = known.cursor.is_some_and(|own| own.stream != place.stream);
            known.begin_at(place);
            return is_another.then(|| known.reset());
        }
        let followed = self.patterns.iter().find(|it| it.pattern.matches(topic))?;
        let name = match &followed.start {
            Start::Name(name) => Some(name.clone()),
            _ => None,
        };
        let (topic, start): (Arc<str>, _) = (topic.into(), Start::Offset(place.next));
        let (key, digest) = (Arc::clone(&topic), None);
        let mut subscription =
            Subscription { topic, name, start, cursor: None, digest, has_begun: true };
        subscription.begin_at(place);
        self.topics.insert(key, subscription);
        None
    }

    fn answered(&mut self, answer: Result<Value<'_>, Refusal>) -> Result<Option<Event>, Fault> {
        match (self.asked.pop_front().ok_or(INVALID)?, answer) {
            (Asked::Other, _) => Ok(None),
            (Asked::Follow(pattern), Ok(_)) => {
                let followed = self.patterns.iter_mut();
                let followed = followed.filter(|it| it.pattern.to_string() == pattern);
                followed.for_each(|it| it.has_begun = true);
                Ok(None)
            }
            (Asked::Follow(_), Err(refusal)) if refusal.is_passing() => {
                Err(Trouble::Answer(refusal.reason).into())
            }
            (Asked::Follow(pattern), Err(refusal)) => {
                Err(Failure::Final((pattern.into(), refusal)))
            }
            (Asked::Subscribe(topic), Ok(value)) => {
                let place = place(&value).ok_or(INVALID)?;
                let digest = value.get("digest").and_then(Value::as_str);
                let digest = digest.and_then(|digest| u32::from_str_radix(digest, 16).ok());
                let subscription = self.topics.get_mut(&topic);
                Ok(subscription.and_then(|subscription| subscription.confirmed(place, digest)))
            }
            (Asked::Subscribe(topic), Err(refusal)) => self.refused(topic, refusal),
        }
    }

    /// The broker did not accept a subscription.
    fn refused(&mut self, topic: Arc<str>, refusal: Refusal) -> Result<Option<Event>, Fault> {
        if refusal.is_passing() {
            return Err(Trouble::Answer(refusal.reason).into());
        }
        let Some(subscription) = self.topics.get_mut(&topic) else { return Ok(None) };
        if let Refusal { code: 410, first: Some(first), .. } = refusal
            && subscription.has_begun
        {
            let trimmed = subscription.trimmed(first);
            self.ask_for(topic);
            return Ok(Some(trimmed));
        }
        // The list is another one, or shorter than what was read of it.
        if matches!(refusal.code, 410 | 412 | 416) && subscription.cursor.take().is_some() {
            (subscription.start, subscription.digest) = (Start::Offset(0), None);
            let reset = subscription.reset();
            self.ask_for(topic);
            return Ok(Some(reset));
        }
        self.topics.remove(&topic);
        Err(Failure::Final((topic, refusal)))
    }
}

impl Start {
    /// Writes where to begin, as a command says it.
    fn write<'o, 'a>(&self, command: &'o mut Object<'a>) -> &'o mut Object<'a> {
        match self {
            Start::Offset(offset) => command.field("from", *offset),
            Start::Last(count) => command.raw("from", format!("-{count}").as_bytes()),
            Start::Since(time) => command.field("since", time),
            Start::Now | Start::Cursor(_) | Start::Name(_) => command,
        }
    }
}

impl Subscription {
    /// Moves behind a message. Gives where that stands, unless it was read before.
    fn pass(&mut self, pushed: &Pushed<'_>) -> Result<Option<Cursor>, Trouble> {
        let Some(cursor) = &mut self.cursor else { return Err(INVALID) };
        if let Some(stream) = pushed.stream {
            if cursor.stream != stream && cursor.stream != StreamId::NONE {
                return Err(INVALID);
            }
            cursor.stream = stream;
        }
        if pushed.offset > cursor.next {
            return Err(Trouble::Invalid("the broker left out a message"));
        }
        if pushed.offset < cursor.next {
            return Ok(None);
        }
        let place = *cursor;
        cursor.next += 1;
        if let Some(crc) = &mut self.digest {
            crc.update(pushed.text.as_bytes());
            crc.update(b"\n");
        }
        Ok(Some(place))
    }

    /// It goes on at this place of another list.
    fn begin_at(&mut self, cursor: Cursor) {
        self.cursor = Some(cursor);
        self.digest = (cursor.next == 0).then(Crc32::default);
    }

    /// What was not read yet was let go, up to this offset.
    fn trimmed(&mut self, next: u64) -> Event {
        match &mut self.cursor {
            Some(cursor) => cursor.next = next,
            None => self.start = Start::Offset(next),
        }
        self.digest = None;
        Event::Trimmed { topic: Arc::clone(&self.topic), next }
    }

    /// The broker goes on at this place: always for a name, else at the one that it was told.
    fn confirmed(&mut self, place: Cursor, digest: Option<u32>) -> Option<Event> {
        self.has_begun = true;
        let is_proved = self.digest.is_some() && digest.is_some();
        if !is_proved && self.name.is_none() {
            self.digest = digest.map(Crc32::after);
        }
        match self.cursor {
            // Its list begins with what was read: it has another id since it was repaired.
            Some(own) if is_proved && own.next == place.next => {
                self.cursor = Some(place);
                None
            }
            Some(own) if own.stream == place.stream => {
                // What was not acknowledged comes again; what somebody else has acknowledged
                // under the same name does not come at all.
                self.cursor = Some(Cursor { next: own.next.max(place.next), ..own });
                None
            }
            Some(own) if own.stream != StreamId::NONE => {
                self.begin_at(place);
                Some(self.reset())
            }
            _ => {
                self.cursor = Some(place);
                None
            }
        }
    }

    fn reset(&self) -> Event {
        Event::Reset { topic: Arc::clone(&self.topic) }
    }
}

/// Begins a command about a topic.
fn command<'a>(commands: &'a mut Vec<u8>, command: &str, topic: &str) -> Object<'a> {
    let mut object = Object::new(commands);
    object.field("command", command).field("topic", topic);
    object
}

/// The place that the answer to `subscribe` names.
fn place(value: &Value<'_>) -> Option<Cursor> {
    let stream = value.get("stream")?.as_str()?.parse().ok()?;
    Some(Cursor { stream, next: value.get("next")?.as_u64()? })
}

/// The name, and one copy of it for as long as it is the same.
fn share(last: &mut Option<Arc<str>>, name: &str) -> Arc<str> {
    match last {
        Some(last) if **last == *name => Arc::clone(last),
        _ => Arc::clone(last.insert(name.into())),
    }
}
