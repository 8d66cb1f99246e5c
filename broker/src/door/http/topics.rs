//! `/topics` and `/topics/T`: topics as resources.

use super::answer::{Head, Type};
use super::route::TopicsCall;
use super::{Door, End, Manner};
use crate::access::Right;
use crate::door::{ANSWERS_SIZE, BYTE_ORDER_MARK, bounds, summary};
use crate::home::TopicChange;
use crate::refusal::Refusal;
use crate::store::batch::Batch;
use crate::store::retention::BoundsChange;
use crate::store::view::Summary;
use common::bytes;
use common::json::{self, Array, Charset, Object, Value};
use common::pattern::Pattern;
use std::borrow::Cow;
use std::{mem, str};

/// How many topics are looked at under one lock.
const LISTED_AT_ONCE: usize = 128;

impl Door<'_> {
    /// Answers a request about one topic, or all.
    pub(super) fn topics(&mut self, call: &TopicsCall, manner: Manner<'_>) -> Result<(), End> {
        let done = match call {
            TopicsCall::List(pattern) => return self.list_topics(pattern.as_ref(), manner),
            TopicsCall::Show(topic) => self.show(topic, manner),
            TopicsCall::Create(topic, change) => self.create(topic, change, manner),
            TopicsCall::Trim(topic, upto) => self
                .broker
                .change(topic, &TopicChange::Trim(*upto))
                .and_then(|()| self.show(topic, manner)),
            TopicsCall::Delete(topic) => {
                let deleted =
                    self.broker.change(topic, &TopicChange::Delete).map_err(
                        |refusal| match refusal {
                            Refusal::NoTopic => Refusal::UnknownTopic(topic.clone()),
                            other => other,
                        },
                    );
                if deleted.is_ok() {
                    self.answers.head(Head { status: 204, ..Head::default() }, manner);
                    self.send()?;
                    self.broker.push.announce(topic);
                }
                deleted
            }
        };
        if let Err(refusal) = done {
            self.decline(&refusal, None, manner);
        }
        Ok(())
    }

    /// All topics that the client may read, or those of them that match.
    fn list_topics(&mut self, pattern: Option<&Pattern>, manner: Manner<'_>) -> Result<(), End> {
        let (broker, grant) = (self.broker, self.grant.clone());
        let mut behind = String::new();
        self.list(manner, |list| {
            let topics = broker.push.topics.list(&behind, LISTED_AT_ONCE);
            for (topic, summary) in &topics {
                let is_chosen = pattern.is_none_or(|pattern| pattern.matches(topic));
                if is_chosen && grant.allows(Right::Read, topic) {
                    list.object(|object| summary::write(object, topic, summary, None));
                }
            }
            let last = topics.into_iter().nth(LISTED_AT_ONCE - 1);
            last.map(|(last, _)| behind = last).is_some()
        })
    }

    /// Answers with a list, to which `add` adds items, and says whether there are more.
    pub(super) fn list(
        &mut self,
        manner: Manner<'_>,
        mut add: impl FnMut(&mut Array<'_>) -> bool,
    ) -> Result<(), End> {
        let head = Head { status: 200, body: Some((Type::Json, None)), ..Head::default() };
        let mut is_first = true;
        self.body(head, manner, |piece| {
            let charset = Charset::Utf8;
            let list = match mem::take(&mut is_first) {
                true => Array::begin(piece, charset),
                false => Array::resume(piece, charset),
            };
            let mut list = list.of_lines();
            while list.size() < ANSWERS_SIZE {
                if !add(&mut list) {
                    list.end_line();
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }

    fn show(&mut self, topic: &str, manner: Manner<'_>) -> Result<(), Refusal> {
        self.broker.prepare(topic)?;
        let summary = self.broker.push.topics.summary(topic)?;
        let digest = self.broker.push.topics.digest(topic, summary.stream, summary.next)?;
        let mut body = Vec::new();
        let mut object = Object::new(&mut body);
        summary::write(&mut object, topic, &summary, digest);
        object.end_line();
        self.answers.content(200, Type::Json, &body, manner);
        Ok(())
    }

    fn create(
        &mut self,
        topic: &str,
        change: &BoundsChange,
        manner: Manner<'_>,
    ) -> Result<(), Refusal> {
        let status = match self.broker.change(topic, &TopicChange::Create) {
            Ok(()) => 201,
            Err(Refusal::TopicExists) => 200,
            Err(refusal) => return Err(refusal),
        };
        if *change != BoundsChange::default() {
            self.broker.change(topic, &TopicChange::SetBounds(*change))?;
        }
        let mut body = Vec::new();
        self.broker.prepare(topic)?;
        // A topic without messages has no mirror yet.
        let summary = self.broker.push.topics.summary(topic).unwrap_or(Summary::EMPTY);
        let mut object = Object::new(&mut body);
        summary::write(&mut object, topic, &summary, None);
        object.end_line();
        self.answers.content(status, Type::Json, &body, manner);
        Ok(())
    }
}

/// The bounds that the body of a `PUT` names, which is a JSON object.
pub(super) fn read_bounds(body: &[u8]) -> Result<BoundsChange, Refusal> {
    let Ok(object) = json::parse(body) else { return Err(Refusal::NoBounds) };
    let Value::Object(members) = &object else { return Err(Refusal::NoBounds) };
    // A name that is mistyped must not look as if it counted.
    match members.iter().find(|(key, _)| !bounds::NAMES.contains(&&**key)) {
        Some((key, _)) => Err(Refusal::field(key, "is not a bound of a topic")),
        None => bounds::change(&object),
    }
}

/// Reads a bulk body, a message a line, and adds it to the batch as one publish.
pub(super) fn read_lines(
    topic: &str,
    body: &[u8],
    batch: &mut Batch,
    size_max: usize,
) -> Result<(), Refusal> {
    // Editors of some systems begin a file with a byte order mark; it is no part of its first line.
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let text = str::from_utf8(body).map_err(|error| {
        let before = body.get(..error.valid_up_to()).unwrap_or_default();
        let number = 1 + bytes::count(before, |byte| byte == b'\n');
        Refusal::Line { number, cause: Box::new(Refusal::field("message", "is not UTF-8")) }
    })?;
    let mut number = 0;
    let lines = text.split_terminator('\n').map(|line| {
        number += 1;
        line.strip_suffix('\r').unwrap_or(line)
    });
    let added = batch.publish(topic, None, lines, size_max);
    added.map_err(|cause| match cause {
        // What is wrong with a message is wrong with the line that was looked at last.
        cause if number > 0 => Refusal::Line { number, cause: Box::new(cause) },
        cause => cause,
    })
}

/// Reads a body that is one message, and adds it to the batch. Line breaks within it are folded
/// where it is JSON, in which they are white space between two others.
pub(super) fn read_whole(
    topic: &str,
    body: &[u8],
    batch: &mut Batch,
    size_max: usize,
) -> Result<(), Refusal> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let text = str::from_utf8(body).map_err(|_| Refusal::field("message", "is not UTF-8"))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let mut text = Cow::from(text.strip_suffix('\r').unwrap_or(text));
    if text.contains(['\n', '\r']) {
        if json::parse(text.as_bytes()).is_err() {
            let reason = "has several lines and is not JSON, so they cannot become one; without \
                          whole=1, each is a message";
            return Err(Refusal::field("message", reason));
        }
        text = text.split(['\n', '\r']).map(str::trim).collect::<String>().into();
    }
    batch.publish(topic, None, [&*text].into_iter(), size_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &[u8]) -> Result<Vec<String>, Refusal> {
        let mut batch = Batch::default();
        read_lines("a", body, &mut batch, 10)?;
        let messages =
            batch.entries.iter().map(|entry| crate::store::entry::message(entry).to_owned());
        Ok(messages.collect())
    }

    #[test]
    fn every_line_is_a_message() {
        assert_eq!(read(b"one\ntwo\r\n\nfour").unwrap(), ["one", "two", "", "four"]);
        assert!(read(b"").unwrap().is_empty());
        assert_eq!(read(b"\n").unwrap(), [""]);
        assert_eq!(read(b"\xEF\xBB\xBFone\r\n\xEF\xBB\xBF").unwrap(), ["one", "\u{feff}"]);
    }

    #[test]
    fn a_whole_body_is_one_message_on_one_line() {
        let read = |body: &str| {
            let mut batch = Batch::default();
            read_whole("a", body.as_bytes(), &mut batch, 20)?;
            let [entry] = batch.entries.as_slice() else { panic!("{:?}", batch.entries) };
            Ok::<_, Refusal>(crate::store::entry::message(entry).to_owned())
        };
        for (body, message) in [
            ("", ""),
            ("one\r\n", "one"),
            ("{\r\n  \"a b\": [\n    1,\n 2 ]\n}\n", r#"{"a b": [1,2 ]}"#),
            (r#"["\n  x"]"#, r#"["\n  x"]"#),
            ("\u{feff}\"\u{e9}\"\r\n\r\n", "\"\u{e9}\""),
        ] {
            assert_eq!(read(body).unwrap(), message, "{body:?}");
        }
        for bad in ["one\ntwo", "{\n}x\n", "[\"\n\"]", "a\0", "[\n1,\n\"longer than twenty\"]"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_error_names_the_line() {
        for (body, line) in [
            (&b"one\nt\rwo"[..], 2),
            (b"one\n\nlonger than ten\nfour", 3),
            (b"one\ntwo\n\xff\n", 3),
            (b"\0", 1),
        ] {
            let refusal = read(body).unwrap_err();
            assert!(matches!(refusal, Refusal::Line { number, .. } if number == line), "{refusal}");
        }
    }
}
