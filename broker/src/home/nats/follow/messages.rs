//! The messages of a topic that is followed: put in order.

use super::Follower;
use super::topic::Question;
use crate::home::nats::connection::ANSWERS;
use crate::home::nats::names;
use crate::home::nats::wire::Message;
use crate::home::{Event, News, remote};
use crate::refusal::Refusal;
use common::http::percent;
use std::sync::Arc;
use std::time::Instant;

/// How many messages are kept that came while those before them are being read.
const AHEAD_MAX: usize = 2000;

impl Follower<'_> {
    /// One message of a topic, by whichever way.
    pub(super) fn message(&mut self, name: &Arc<str>, message: &Message) {
        let Some((topic, offset)) = self.topics.get_mut(name).zip(message.offset()) else { return };
        let stream = topic.list;
        if !topic.is_confirmed || stream.is_none() || offset < topic.next {
            return;
        }
        let entry = match entry_of(message) {
            Ok(entry) => entry,
            Err(text) if offset == topic.next => return self.distrust(name, text),
            Err(_) => return,
        };
        topic.touched = Some(Instant::now());
        if offset > topic.next {
            return self.keep_ahead(name, message.sid, offset, entry);
        }
        topic.ahead.push_front((offset, entry));
        while let Some((offset, entry)) = topic.take_next() {
            (self.handle)(Event::Topic(name, News::Message { offset, stream, entry }));
        }
    }

    /// Keeps a message until those before it are here, and asks for these.
    fn keep_ahead(&mut self, name: &Arc<str>, sid: u64, offset: u64, entry: String) {
        let Some(topic) = self.topics.get_mut(name) else { return };
        if sid == ANSWERS {
            // What was read begins later than what was asked for.
            topic.is_stuck = true;
            return self.want(name, [Question::Record, Question::Info]);
        }
        let end = topic.ahead.back().map(|(last, _)| last + 1);
        if end.is_some_and(|end| end != offset) || topic.ahead.len() >= AHEAD_MAX {
            topic.ahead.clear();
        }
        topic.ahead.push_back((offset, entry));
        self.want(name, [Question::Messages]);
    }
}

/// A message as this broker keeps it.
///
/// # Errors
///
/// Why it is none, in words.
pub(in crate::home::nats) fn entry_of(message: &Message) -> Result<String, String> {
    let subject = message.header("Nats-Subject").unwrap_or_else(|| message.subject());
    let publisher = names::publisher(subject)
        .or_else(|| percent::decode(message.header("P")?, false).ok().map(String::from));
    let text = str::from_utf8(message.payload());
    let text = text.map_err(|_| Refusal::field("message", "is not UTF-8"));
    let time = message.time().unwrap_or(0);
    let entry = text.and_then(|text| remote::entry(text, time, publisher.as_deref()));
    let sequence = message.number("Nats-Sequence").unwrap_or(0);
    entry.map_err(|refusal| format!("sequence {sequence} of its stream: {refusal}"))
}
