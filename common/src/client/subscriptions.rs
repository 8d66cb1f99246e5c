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

use super::{Event, INVALID, Message, Pushed, Refusal, Start, Subscription, invalid, read_answer};
use crate::crc32::Crc32;
use crate::json::{self, Object, Value};
use crate::pattern::Pattern;
use crate::retry::Failure;
use crate::stream::Cursor;
use crate::trouble::Trouble;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// The subscriptions of one subscriber.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    topics: HashMap<Arc<str>, Subscription>,
    patterns: Vec<Followed>,
    /// Topics that patterns choose, and that the user has left.
    left: HashSet<Arc<str>>,
    /// The commands on the present connection.
    commands: Commands,
    /// The publisher of the last message: often that of the next one too.
    publisher: Option<Arc<str>>,
}

/// What is subscribed to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target<'a> {
    Topic(&'a str),
    Pattern(&'a str),
}

/// A pattern that chooses topics.
#[derive(Debug)]
struct Followed {
    pattern: Pattern,
    start: Start,
    /// Whether the broker has confirmed it. Then a topic that is not known yet is new.
    has_begun: bool,
}

/// Commands, each a line.
#[derive(Debug, Default)]
struct Commands {
    unsent: Vec<u8>,
    /// Those that are not answered yet.
    asked: VecDeque<Asked>,
}

/// The command that an answer belongs to.
#[derive(Debug)]
enum Asked {
    Subscribe(Arc<str>),
    Follow(String),
    /// A command whose answer does not matter.
    Other,
}

/// What is wrong with a line: the connection cannot be used any more, or the broker refuses a
/// subscription to this topic.
pub(super) type Fault = Failure<(Arc<str>, Refusal)>;

impl Subscriptions {
    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty() && self.patterns.is_empty()
    }

    /// The subscription to a topic.
    pub(super) fn topic(&self, topic: &str) -> Option<&Subscription> {
        self.topics.get(topic)
    }

    /// Whether there is such a subscription, and the name of its lasting one.
    pub(super) fn name(&self, target: Target<'_>) -> Option<Option<&str>> {
        match target {
            Target::Topic(topic) => Some(self.topics.get(topic)?.name.as_deref()),
            Target::Pattern(pattern) => {
                Some(self.patterns.iter().find(|it| it.pattern.as_str() == pattern)?.start.name())
            }
        }
    }

    /// Adds a topic, and subscribes to it. False if it is there already: it continues unchanged.
    pub(super) fn add(&mut self, topic: &str, start: Start) -> bool {
        self.left.remove(topic);
        if let Some(known) = self.topics.get_mut(topic) {
            known.is_chosen = false;
            return false;
        }
        let subscription = Subscription::new(topic, start);
        let topic = Arc::clone(&subscription.topic);
        self.topics.insert(Arc::clone(&topic), subscription);
        self.ask_for(topic);
        true
    }

    /// Adds a pattern, unless it is there, and asks for the topics that it chooses.
    pub(super) fn follow(&mut self, pattern: Pattern, start: Start) {
        if self.patterns.iter().all(|followed| followed.pattern != pattern) {
            self.left.retain(|topic| !pattern.matches(topic));
            self.patterns.push(Followed { pattern, start, has_begun: false });
            self.ask_for_pattern(self.patterns.len() - 1);
        }
    }

    /// The user has left a topic, or a pattern.
    pub(super) fn end(&mut self, target: Target<'_>) {
        if let Target::Topic(topic) = target
            && let Some((topic, _)) = self.topics.get_key_value(topic)
            && self.patterns.iter().any(|it| it.pattern.matches(topic))
        {
            self.left.insert(Arc::clone(topic));
        }
        self.remove(target);
    }

    /// Removes a topic; or a pattern, and the topics that nothing else chooses.
    pub(super) fn remove(&mut self, target: Target<'_>) {
        match target {
            Target::Topic(topic) => drop(self.topics.remove(topic)),
            Target::Pattern(pattern) => {
                self.patterns.retain(|it| it.pattern.as_str() != pattern);
                let patterns = &self.patterns;
                let is_wanted = |name: &str| patterns.iter().any(|it| it.pattern.matches(name));
                self.topics.retain(|name, it| !it.is_chosen || is_wanted(name));
                self.left.retain(|name| is_wanted(name));
            }
        }
    }

    /// Asks for the end of a subscription.
    pub(super) fn ask_for_end(&mut self, target: Target<'_>) {
        let name = self.name(target).flatten().map(str::to_owned);
        let (key, text) = match target {
            Target::Topic(topic) => ("topic", topic),
            Target::Pattern(pattern) => ("pattern", pattern),
        };
        let mut command = self.commands.begin(Asked::Other, "unsubscribe", key, text);
        command.optional("subscriber", name).end_line();
        // The broker does not know that the user named a topic that it was sending already.
        if let Target::Pattern(pattern) = target
            && let Some(pattern) = Pattern::new(pattern)
        {
            let is_named = |it: &&Subscription| !it.is_chosen && pattern.matches(&it.topic);
            let named = self.topics.values().filter(is_named);
            let named: Vec<_> = named.map(|it| Arc::clone(&it.topic)).collect();
            named.into_iter().for_each(|topic| self.ask_for(topic));
        }
    }

    /// Asks for something that changes nothing, to get an answer.
    pub(super) fn ask_for_sign(&mut self) {
        let topic = self.topics.keys().next().cloned().unwrap_or_default();
        let mut command = self.commands.begin(Asked::Other, "pull", "topic", &topic);
        command.field("limit", 0_u64).end_line();
    }

    /// Asks for everything on a new connection.
    pub(super) fn ask_for_all(&mut self) {
        self.commands = Commands::default();
        let topics: Vec<_> = self.topics.keys().cloned().collect();
        topics.into_iter().for_each(|topic| self.ask_for(topic));
        // After the known topics, which continue where they were.
        (0..self.patterns.len()).for_each(|index| self.ask_for_pattern(index));
    }

    fn ask_for_pattern(&mut self, index: usize) {
        let Some(Followed { pattern, start, has_begun }) = self.patterns.get(index) else { return };
        let (pattern, asked) = (pattern.as_str(), Asked::Follow(pattern.as_str().to_owned()));
        let mut command = self.commands.begin(asked, "subscribe", "pattern", pattern);
        match start {
            _ if *has_begun => command.field("from", 0_u64),
            start => start.write(&mut command),
        };
        command.optional("subscriber", start.name()).end_line();
    }

    /// Whether something was asked that was not answered yet.
    pub(super) fn is_waiting(&self) -> bool {
        !self.commands.asked.is_empty()
    }

    /// The commands to send. The caller sends and clears them.
    pub(super) fn commands(&mut self) -> &mut Vec<u8> {
        &mut self.commands.unsent
    }

    fn ask_for(&mut self, topic: Arc<str>) {
        let Some(subscription) = self.topics.get(&topic) else { return };
        let asked = Asked::Subscribe(Arc::clone(&topic));
        let mut command = self.commands.begin(asked, "subscribe", "topic", &topic);
        subscription.write_place(&mut command);
        command.end_line();
    }

    /// Takes the next line of the present connection.
    pub(super) fn take(&mut self, line: &[u8]) -> Result<Option<Event>, Fault> {
        if let Some(pushed) = Pushed::of_line(line) {
            return Ok(self.pushed(pushed)?);
        }
        let value = json::parse(line).map_err(|_| invalid(line))?;
        let Some(event) = value.get("event") else {
            let answer = read_answer(value).ok_or_else(|| invalid(line))?;
            return self.answered(answer);
        };
        if event.as_str() == Some("message") {
            return Ok(self.pushed(Pushed::of_value(&value).ok_or(INVALID)?)?);
        }
        let topic = value.get_str("topic").ok_or(INVALID)?;
        if event.as_str() == Some("subscribed") {
            return Ok(self.chosen(topic, place(&value).ok_or(INVALID)?));
        }
        // Events of an ended subscription may still be on their way.
        let Some(subscription) = self.topics.get_mut(topic) else { return Ok(None) };
        match event.as_str() {
            // The topic has another list now, which begins at this place.
            Some("reset") => {
                subscription.begin_at(place(&value).ok_or(INVALID)?);
                Ok(Some(subscription.reset()))
            }
            // Messages were removed before they were sent.
            Some("trimmed") => {
                let next = value.get_u64("next").ok_or(INVALID)?;
                Ok(Some(subscription.trimmed(next, digest(&value))))
            }
            // A lasting subscription ended with its topic. Others get a reset if the topic is
            // created again.
            Some("deleted") => {
                if subscription.name.is_some() {
                    let topic = Arc::clone(&subscription.topic);
                    self.ask_for(topic);
                }
                Ok(None)
            }
            // Subscribing again would take the name back, and two subscribers would fight for ever.
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

    /// A topic matches a pattern, and begins at this place.
    fn chosen(&mut self, topic: &str, place: Cursor) -> Option<Event> {
        if let Some(known) = self.topics.get_mut(topic) {
            let is_another = known.cursor().is_some_and(|own| own.stream != place.stream);
            known.begin_at(place);
            return is_another.then(|| known.reset());
        }
        let followed = self.patterns.iter().find(|it| it.pattern.matches(topic))?;
        let name = followed.start.name().map(str::to_owned);
        if self.left.contains(topic) {
            let mut command = self.commands.begin(Asked::Other, "unsubscribe", "topic", topic);
            command.optional("subscriber", name).end_line();
            return None;
        }
        let mut chosen = Subscription::new(topic, Start::Cursor(place));
        (chosen.name, chosen.is_chosen) = (name, true);
        chosen.begin_at(place);
        self.topics.insert(Arc::clone(&chosen.topic), chosen);
        None
    }

    fn answered(&mut self, answer: Result<Value<'_>, Refusal>) -> Result<Option<Event>, Fault> {
        match (self.commands.asked.pop_front().ok_or(INVALID)?, answer) {
            (Asked::Other, _) => Ok(None),
            (_, Err(refusal)) if refusal.is_passing() => {
                Err(Trouble::Answer(refusal.reason).into())
            }
            (Asked::Follow(pattern), Ok(_)) => {
                let followed = self.patterns.iter_mut().filter(|it| it.pattern.as_str() == pattern);
                followed.for_each(|it| it.has_begun = true);
                Ok(None)
            }
            (Asked::Follow(text), Err(refusal)) => Err(Failure::Final((text.into(), refusal))),
            (Asked::Subscribe(topic), Ok(value)) => {
                let place = place(&value).ok_or(INVALID)?;
                Ok(self.topics.get_mut(&topic).and_then(|it| it.confirmed(place, digest(&value))))
            }
            (Asked::Subscribe(topic), Err(refusal)) => self.refused(topic, refusal),
        }
    }

    /// The broker did not accept a subscription.
    fn refused(&mut self, topic: Arc<str>, refusal: Refusal) -> Result<Option<Event>, Fault> {
        let Some(subscription) = self.topics.get_mut(&topic) else { return Ok(None) };
        if let Refusal { code: 410, first: Some(first), .. } = refusal
            && subscription.has_begun
        {
            let trimmed = subscription.trimmed(first, None);
            self.ask_for(topic);
            return Ok(Some(trimmed));
        }
        // The list is another one, or shorter than the part that was read.
        if matches!(refusal.code, 410 | 412 | 416) && subscription.cursor().is_some() {
            (subscription.place, subscription.digest) = (Start::Offset(0), None);
            let reset = subscription.reset();
            self.ask_for(topic);
            return Ok(Some(reset));
        }
        self.topics.remove(&topic);
        Err(Failure::Final((topic, refusal)))
    }
}

impl Commands {
    /// Begins a command about a topic or a pattern.
    fn begin(&mut self, asked: Asked, verb: &str, key: &'static str, value: &str) -> Object<'_> {
        self.asked.push_back(asked);
        let mut object = Object::new(&mut self.unsent);
        object.field("command", verb).field(key, value);
        object
    }
}

/// The place that the answer to `subscribe` names.
fn place(value: &Value<'_>) -> Option<Cursor> {
    let stream = value.get_str("stream")?.parse().ok()?;
    Some(Cursor { stream, next: value.get_u64("next")? })
}

/// The digest of what is before that place, if the broker says it.
fn digest(value: &Value<'_>) -> Option<Crc32> {
    u32::from_str_radix(value.get_str("digest")?, 16).ok().map(Crc32::after)
}

/// The name; one copy for as long as it stays the same.
fn share(last: &mut Option<Arc<str>>, name: &str) -> Arc<str> {
    match last {
        Some(last) if **last == *name => Arc::clone(last),
        _ => Arc::clone(last.insert(name.into())),
    }
}
