//! `/topics` and `/topics/T`: topics as resources.

use super::{Door, JSON, Stop};
use crate::door::{BYTE_ORDER_MARK, Fields, Query, bounds, summary};
use crate::refusal::{Refusal, Result};
use crate::store::{Batch, BoundsChange, Summary, TopicChange, Upto};
use common::json::{self, Object, Value};
use common::{bytes, pattern::Pattern};
use std::borrow::Cow;
use std::str;

impl Door<'_> {
    /// Answers with all topics that the client may read, or those of them that match.
    pub(super) fn list_topics(&mut self, pattern: Option<&Pattern>) -> Result<(), Stop> {
        let topics = summary::topics(self.broker, pattern, &self.grant);
        self.list(topics, |list, (topic, summary)| {
            list.object(|object| summary::write(object, &topic, &summary, None));
        })
    }

    pub(super) fn show(&mut self, topic: &str) -> Result<(), Stop> {
        self.broker.homes.prepare(topic)?;
        let summary = self.broker.push.topics.summary(topic)?;
        self.topic(200, topic, &summary);
        Ok(())
    }

    pub(super) fn create(&mut self, topic: &str, change: BoundsChange) -> Result<(), Stop> {
        let status = match self.broker.change(topic, &TopicChange::Create) {
            Ok(()) => 201,
            Err(Refusal::TopicExists) => 200,
            Err(refusal) => return Err(refusal.into()),
        };
        self.broker.change(topic, &TopicChange::SetBounds(change))?;
        self.broker.homes.prepare(topic)?;
        // A topic without messages has no mirror yet.
        let summary = self.broker.push.topics.summary(topic).unwrap_or_default();
        self.topic(status, topic, &summary);
        Ok(())
    }

    pub(super) fn delete(&mut self, topic: &str) -> Result<(), Stop> {
        match self.broker.change(topic, &TopicChange::Delete) {
            Err(Refusal::NoTopic) => return Err(Refusal::UnknownTopic(topic.to_owned()).into()),
            deleted => deleted?,
        }
        self.answers.done();
        // Those who follow the topic are told after whoever deleted it.
        let sent = self.send();
        self.broker.push.announce(topic);
        Ok(sent?)
    }

    pub(super) fn trim(&mut self, topic: &str, upto: Upto) -> Result<(), Stop> {
        self.broker.change(topic, &TopicChange::Trim(upto))?;
        self.show(topic)
    }

    fn topic(&mut self, status: u16, topic: &str, summary: &Summary) {
        let digest = self.broker.push.topics.digest(topic, summary.stream, summary.next);
        let mut body = Vec::new();
        let mut object = Object::new(&mut body);
        summary::write(&mut object, topic, summary, digest.unwrap_or_default());
        object.end_line();
        self.answers.content(status, JSON, &body);
    }
}

/// Whether the whole body of a `POST` is one message.
pub(super) fn is_whole(query: &Query<'_>) -> Result<bool> {
    match query.text("whole")? {
        None | Some("0") => Ok(false),
        Some("1") => Ok(true),
        Some(_) => Err(Refusal::field("whole", "is neither 0 nor 1")),
    }
}

/// The bounds that the body of a `PUT` names, which is a JSON object.
pub(super) fn read_bounds(body: &[u8]) -> Result<BoundsChange> {
    let object = json::parse(body).map_err(|_| Refusal::NoBounds)?;
    let Value::Object(members) = &object else { return Err(Refusal::NoBounds) };
    // A name that is mistyped must not look as if it counted.
    match members.iter().find(|(key, _)| !bounds::NAMES.contains(&&**key)) {
        Some((key, _)) => Err(Refusal::field(key, "is not a bound of a topic")),
        None => bounds::change(&object),
    }
}

/// Reads the body of `POST /topics/T` and adds it to the batch as one publish: a message a line, or
/// one message.
pub(super) fn read_lines(
    topic: &str,
    is_whole: bool,
    body: &[u8],
    batch: &mut Batch,
    size_max: usize,
) -> Result<()> {
    // Editors of some systems begin a file with a byte order mark; it is no part of its first line.
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let of_line = |number, cause| Refusal::Line { number, cause: Box::new(cause) };
    let text = str::from_utf8(body).map_err(|error| {
        let cause = Refusal::field("message", "is not UTF-8");
        let before = body.get(..error.valid_up_to()).unwrap_or_default();
        if is_whole { cause } else { of_line(1 + bytes::count(before, |it| it == b'\n'), cause) }
    })?;
    if is_whole {
        return batch.publish(topic, None, [&*whole(text)?].into_iter(), size_max);
    }
    let mut number = 0;
    let lines = text.split_terminator('\n').map(|line| {
        number += 1;
        line.strip_suffix('\r').unwrap_or(line)
    });
    let added = batch.publish(topic, None, lines, size_max);
    // What is wrong with a message is wrong with the line that was looked at last.
    added.map_err(|cause| if number > 0 { of_line(number, cause) } else { cause })
}

/// A text as one message. Line breaks within it are folded where it is JSON, in which they are
/// white space between two others.
fn whole(text: &str) -> Result<Cow<'_, str>> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if !text.contains(['\n', '\r']) {
        return Ok(text.into());
    }
    let reason = "has several lines and is not JSON, so they cannot become one; without whole=1, \
                  each is a message";
    json::parse(text.as_bytes()).map_err(|_| Refusal::field("message", reason))?;
    Ok(text.split(['\n', '\r']).map(str::trim).collect::<String>().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &[u8]) -> Result<Vec<String>> {
        let mut batch = Batch::default();
        read_lines("a", false, body, &mut batch, 10)?;
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
            read_lines("a", true, body.as_bytes(), &mut batch, 20)?;
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
