//! `GET /messages`: a topic as plain text, one message a line.
//!
//! The end of the answer is fixed before the first byte is sent, so the answer has a length. The
//! list is copied and sent piece by piece; publishers are not held up.

use super::{Door, Head, LINES, Stop, TEXT};
use crate::door::{Fields, Query, as_digest};
use crate::push::{Format, Range};
use crate::refusal::{Refusal, Result};
use crate::store::{Begin, Cursor, Extent, StreamId};
use common::http::parse::Request;
use common::limits::{INPUT_END_GRACE, LOOK_INTERVAL, WAIT_SECONDS_MAX};
use std::str;
use std::time::{Duration, Instant};

/// The query of `GET /messages`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MessagesQuery {
    pub(super) topic: String,
    /// Where to begin; at the first message where it is missing.
    from: Option<Begin>,
    /// How many messages at most.
    limit: Option<u64>,
    /// How long to wait where there is nothing yet.
    wait: Option<Duration>,
    /// The list that `from` belongs to.
    stream: Option<StreamId>,
    /// The digest of the messages before `from`.
    digest: Option<u32>,
    /// Whether each line is an object that says all about a message.
    is_json: bool,
}

impl MessagesQuery {
    pub(super) fn of(request: &Request<'_>) -> Result<MessagesQuery> {
        let query = Query::of(request.query)?;
        let seconds = |number: u64| Duration::from_secs(number.min(WAIT_SECONDS_MAX));
        let query = MessagesQuery {
            topic: query.topic("topic")?.to_owned(),
            from: query.begin()?,
            limit: query.number("limit")?,
            wait: query.number("wait")?.map(seconds),
            stream: query.stream()?,
            digest: query.text("digest")?.map(as_digest).transpose()?,
            is_json: match query.text("format")? {
                None => prefers_lines(request),
                Some("json") => true,
                Some("text") => false,
                Some(_) => return Err(Refusal::field("format", "is neither json nor text")),
            },
        };
        match query.from {
            Some(Begin::Offset(_)) => Ok(query),
            _ if query.digest.is_some() => Err(Refusal::field("digest", "goes with 'from'")),
            _ => Ok(query),
        }
    }
}

/// Whether a client would rather have lines of JSON than plain text (RFC 9110 §12.5.1).
fn prefers_lines(request: &Request<'_>) -> bool {
    let mut best = (0.0, false);
    let members = request.fields.members("Accept");
    for member in members.filter_map(|member| str::from_utf8(member).ok()) {
        let (kind, parameters) = member.split_once(';').unwrap_or((member, ""));
        let is_lines = kind.trim().eq_ignore_ascii_case(LINES);
        let quality = parameters.split(';').find_map(|it| it.trim().strip_prefix("q="));
        let quality = quality.map_or(1.0, |quality| quality.parse().unwrap_or(0.0));
        if quality > best.0 && (is_lines || kind.trim().eq_ignore_ascii_case("text/plain")) {
            best = (quality, is_lines);
        }
    }
    best.1
}

impl Door<'_> {
    /// Answers `GET /messages`.
    pub(super) fn messages(&mut self, query: &MessagesQuery) -> Result<(), Stop> {
        if query.wait.is_some() {
            self.broker.access.end_with(&self.grant, self.connection.stream());
            // What was answered before must not wait with this one.
            self.send()?;
        }
        let names_first = matches!(query.from, Some(Begin::Offset(_)));
        loop {
            match self.read(query) {
                // What it was about to begin with was let go since.
                Err(Stop::Refused(Refusal::Trimmed { .. }, _)) if !names_first => {}
                Err(Stop::Refused(refusal, _)) => {
                    let extent = self.broker.push.topics.extent(&query.topic);
                    return Err(Stop::Refused(refusal, Some(extent)));
                }
                done => return done,
            }
        }
    }

    /// Answers with what there is now, or has answered nothing.
    fn read(&mut self, query: &MessagesQuery) -> Result<(), Stop> {
        let (topic, push) = (&query.topic, &self.broker.push);
        let (begin, extent, size) = self.range(query)?;
        let end = extent.end.next;
        let body = if query.is_json { (LINES, None) } else { (TEXT, size) };
        let format = query.is_json.then_some(Format::Line);
        let head = Head { status: 200, body: Some(body), extent: Some(extent), ..Head::default() };
        let mut range = Range::new(push, topic, begin, end, format);
        self.body(head, |out| range.read(out).map(|()| !range.is_read()))?;
        if !self.answers.manner.head_only {
            push.delivered.add(end - begin.next);
            self.broker.log.read(topic, begin.next, end - begin.next);
        }
        Ok(())
    }

    /// Where the answer begins; where the topic begins, and the answer ends; and the size of the
    /// answer, where not only the topic's home knows it.
    fn range(&mut self, query: &MessagesQuery) -> Result<(Cursor, Extent, Option<u64>)> {
        let (topic, push) = (&query.topic, &self.broker.push);
        self.broker.homes.prepare(topic)?;
        let begin = push.begin(topic, query.from.unwrap_or(Begin::First), query.stream)?;
        let from = begin.next;
        // Looked at after that: before it, all up to a later beginning may have been let go.
        let mut end = push.topics.end(topic);
        if ![StreamId::NONE, end.stream].contains(&begin.stream) {
            return Err(Refusal::OtherStream);
        }
        if let Some(digest) = query.digest
            && push.digest(topic, Cursor { next: from, ..end })? != Some(digest)
        {
            return Err(Refusal::OtherDigest);
        }
        if let Some(wait) = query.wait
            && from == end.next
            && query.limit != Some(0)
        {
            end = self.wait(topic, end, Instant::now() + wait)?;
        }
        let last = end.next.min(from.saturating_add(query.limit.unwrap_or(u64::MAX)));
        let first = push.topics.extent(topic).first;
        let size = match push.topics.read(topic, end.stream, |view| view.text_size(from, last)) {
            Err(Refusal::NotHere) => None,
            // Where the topic was deleted meanwhile, the head would be wrong.
            size => Some(size?),
        };
        let extent = Extent { first, end: Cursor { next: last, ..end } };
        Ok((Cursor { next: from, ..end }, extent, size))
    }

    /// Waits until a topic goes on behind `end`, the deadline passes, or the client has left. Gives
    /// the topic's end.
    fn wait(&mut self, topic: &str, end: Cursor, mut deadline: Instant) -> Result<Cursor> {
        let Door { connection, broker, .. } = self;
        let waiting = broker.push.listeners.join(topic);
        let mut has_ended = false;
        loop {
            let now = broker.push.topics.end(topic);
            if now.stream != end.stream && end.stream != StreamId::NONE {
                return Err(Refusal::OtherStream);
            }
            let time = Instant::now();
            if now.next > end.next || time >= deadline {
                return Ok(now);
            }
            if waiting.wait(deadline.min(time + LOOK_INTERVAL)) || has_ended {
                continue;
            }
            // A client that has gone reads no answer.
            let Ok(ended) = connection.has_ended() else { return Ok(now) };
            has_ended = ended;
            if has_ended {
                deadline = deadline.min(Instant::now() + INPUT_END_GRACE);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::http::parse::{self, Progress};

    fn read(query: &str) -> Result<MessagesQuery> {
        let head = format!("GET /messages?{query} HTTP/1.1\r\nHost: a\r\n\r\n");
        match parse::request(head.as_bytes()) {
            Ok(Progress::Complete { value, .. }) => MessagesQuery::of(&value),
            _ => panic!("{query:?} is no query"),
        }
    }

    #[test]
    fn a_query_is_read_whole() {
        let query = read("topic=a%2Fb+c&from=7&limit=1&wait=90&digest=00ff00FF&other=1").unwrap();
        assert_eq!(query.topic, "a/b c");
        assert_eq!(
            (query.from, query.limit, query.digest),
            (Some(Begin::Offset(7)), Some(1), Some(0x00ff_00ff))
        );
        assert_eq!(query.wait, Some(Duration::from_secs(60)), "the longest wait");
    }

    #[test]
    fn lines_of_json_come_where_they_are_preferred() {
        for (accept, is_json) in [
            ("application/x-ndjson", true),
            ("Application/X-NDJSON;q=0.5", true),
            ("application/json, application/x-ndjson", true),
            ("*/*\r\nAccept: application/x-ndjson", true),
            ("application/x-ndjson, text/plain", true),
            ("text/plain, application/x-ndjson", false),
            ("text/plain; q=0.5, application/x-ndjson; q=0.8", true),
            ("text/plain, application/x-ndjson;q=0.1", false),
            ("application/x-ndjson;q=0", false),
            ("application/x-ndjson2", false),
            ("application/json", false),
            ("*/*", false),
        ] {
            let head =
                format!("GET /messages?topic=a HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n");
            let Ok(Progress::Complete { value, .. }) = parse::request(head.as_bytes()) else {
                panic!("{accept:?}")
            };
            assert_eq!(MessagesQuery::of(&value).unwrap().is_json, is_json, "{accept:?}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for query in [
            "",
            "topic=",
            "topic=a&topic=a",
            "topic=%ff",
            "topic=%0a",
            "topic=a&from=",
            "topic=a&from=+1",
            "topic=a&from=%2B1",
            "topic=a&from=--1",
            "topic=a&from=-",
            "topic=a&from=-%2B1",
            "topic=a&from=1&since=1",
            "topic=a&from=1x",
            "topic=a&from=18446744073709551616",
            "topic=a&limit=1.0",
            "topic=a&stream=1",
            "topic=a&digest=00000000",
            "topic=a&from=0&digest=+0000000",
        ] {
            assert!(read(query).is_err(), "{query:?}");
        }
    }
}
