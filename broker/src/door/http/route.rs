//! Routes a request: from its head to what it asks for.

use crate::access::{Grant, Right};
use crate::door::fields;
use crate::refusal::Refusal;
use crate::store::change::Upto;
use crate::store::entry;
use crate::store::retention::BoundsChange;
use crate::store::stream::{Begin, Cursor, StreamId};
use common::http::parse::Request;
use common::http::percent;
use common::limits::{BODY_SIZE_MAX, EVENT_TOPICS_MAX, PATTERNS_MAX, WAIT_SECONDS_MAX};
use common::pattern::Pattern;
use std::collections::HashSet;
use std::time::Duration;

/// What a request asks for, nothing borrowed from it.
#[derive(Debug)]
pub(super) enum Route {
    /// `POST /publish`.
    Publish,
    /// `GET /messages`.
    Messages(MessagesQuery),
    /// `POST /topics/T`.
    Lines { topic: String, is_whole: bool },
    /// `GET /events`.
    Events(EventsQuery),
    /// The rest of `/topics`.
    Topics(TopicsCall),
    /// `/subscribers`.
    Subscribers(SubscribersCall),
    /// `GET /`.
    Page,
    /// `GET /metrics`.
    Metrics,
    /// `GET /livez`.
    Alive,
    /// `GET /readyz`.
    Ready,
    /// `OPTIONS`: these methods; of one topic, those that the client may use.
    Options { allow: String, topic: Option<String> },
    /// Nothing: it is refused.
    Refuse(Refusal),
}

impl Route {
    /// This, if it is permitted; a publish is looked at once its topic is known. No `_` arm: a new
    /// route has to choose.
    pub(super) fn permit(self, grant: &Grant) -> Result<Route, Refusal> {
        match &self {
            Route::Messages(query) => grant.check(Right::Read, &query.topic)?,
            Route::Events(query) => {
                grant.check_any(Right::Read)?;
                query.topics.iter().try_for_each(|topic| grant.check(Right::Read, topic))?;
            }
            Route::Lines { topic, .. } => grant.check(Right::Write, topic)?,
            Route::Topics(TopicsCall::Show(topic)) => grant.check(Right::Read, topic)?,
            Route::Topics(
                TopicsCall::Create(topic, _)
                | TopicsCall::Delete(topic)
                | TopicsCall::Trim(topic, _),
            ) => grant.check(Right::Admin, topic)?,
            Route::Topics(TopicsCall::List(_))
            | Route::Subscribers(SubscribersCall::List { .. })
            | Route::Metrics => grant.check_any(Right::Read)?,
            Route::Subscribers(SubscribersCall::End { .. }) => grant.check_any(Right::Admin)?,
            Route::Options { allow, topic: Some(topic) } => {
                let may_use = |method: &&str| match *method {
                    "GET" | "HEAD" => grant.allows(Right::Read, topic),
                    "POST" => grant.allows(Right::Write, topic),
                    "OPTIONS" => true,
                    _ => grant.allows(Right::Admin, topic),
                };
                let allow: Vec<&str> = allow.split(", ").filter(may_use).collect();
                return Ok(Route::Options { allow: allow.join(", "), topic: None });
            }
            Route::Publish
            | Route::Page
            | Route::Alive
            | Route::Ready
            | Route::Options { .. }
            | Route::Refuse(_) => {}
        }
        Ok(self)
    }
}

/// The query of `GET /messages`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct MessagesQuery {
    pub(super) topic: String,
    /// Where to begin; at the first message where it is missing.
    pub(super) from: Option<Begin>,
    /// How many messages at most.
    pub(super) limit: Option<u64>,
    /// How long to wait where there is nothing yet.
    pub(super) wait: Option<Duration>,
    /// The list that `from` belongs to.
    pub(super) stream: Option<StreamId>,
    /// The digest of the messages before `from`.
    pub(super) digest: Option<u32>,
    /// Whether each line is an object that says all about a message.
    pub(super) json: Option<bool>,
}

/// The query of `GET /events`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct EventsQuery {
    pub(super) topics: Vec<String>,
    /// These choose topics too.
    pub(super) patterns: Vec<Pattern>,
    /// The lasting subscriptions that the stream goes on with.
    pub(super) name: Option<String>,
    /// Where to begin in each topic; from now where it is missing.
    pub(super) from: Option<Begin>,
    /// The places to go on at, by their lists: they win over `from`.
    pub(super) last: Vec<Cursor>,
}

/// What is asked of topics as resources.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TopicsCall {
    /// Those whose names match, or all.
    List(Option<Pattern>),
    Show(String),
    /// Creates it, or changes what it keeps.
    Create(String, BoundsChange),
    Delete(String),
    /// Lets messages go.
    Trim(String, Upto),
}

/// What is asked of lasting subscriptions.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SubscribersCall {
    /// All of them, or those of a subscriber or to a topic.
    List { subscriber: Option<String>, topic: Option<String> },
    /// Ends those of a subscriber, or one of them.
    End { subscriber: String, topic: Option<String> },
}

/// Methods that some path takes, or that are refused for a path and not in general.
pub(super) const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];

/// The size of a body that says its size.
pub(super) fn body_size(size: u64) -> Result<usize, Refusal> {
    match usize::try_from(size) {
        Ok(size) if size <= BODY_SIZE_MAX => Ok(size),
        _ => Err(Refusal::BodySize { size_max: BODY_SIZE_MAX }),
    }
}

/// What a request asks for.
pub(super) fn of(request: &Request<'_>) -> Result<Route, Refusal> {
    let topic = request.path.strip_prefix("/topics/").filter(|topic| !topic.is_empty());
    let subscriber = request.path.strip_prefix("/subscribers/").filter(|name| !name.is_empty());
    let allow = match request.path {
        "*" => "GET, HEAD, POST, PUT, DELETE, OPTIONS",
        "/publish" => "POST, OPTIONS",
        "/" | "/messages" | "/events" | "/topics" | "/subscribers" | "/metrics" | "/livez"
        | "/readyz" => "GET, HEAD, OPTIONS",
        _ if subscriber.is_some() => "DELETE, OPTIONS",
        _ if topic.is_some() => "GET, HEAD, POST, PUT, DELETE, OPTIONS",
        _ => return Err(Refusal::UnknownPath),
    };
    if request.method == "OPTIONS" {
        let topic = topic.and_then(|topic| Some(percent::decode(topic, false).ok()?.into_owned()));
        return Ok(Route::Options { allow: allow.to_owned(), topic });
    }
    if !allow.split(", ").any(|method| method == request.method) {
        return Err(Refusal::Method { allow });
    }
    if matches!(request.method, "POST" | "PUT") {
        let mut codings = request.fields.members("Content-Encoding");
        if codings.any(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
            return Err(Refusal::ContentEncoding);
        }
        let kind = request.fields.get("Content-Type").unwrap_or_default();
        if kind.get(..10).is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/")) {
            return Err(Refusal::Form);
        }
    }
    if let Some(topic) = topic {
        // Without a query it is about a topic whose name ends so.
        let messages = topic.strip_suffix("/messages").filter(|_| !request.query.is_empty());
        return match messages {
            Some(topic) if request.method == "DELETE" => {
                Ok(Route::Topics(TopicsCall::Trim(topic_name(topic)?, upto(request.query)?)))
            }
            _ => of_topic(request, topic_name(topic)?),
        };
    }
    if let Some(subscriber) = subscriber {
        let subscriber = decoded("subscriber", subscriber)?;
        let topic = value_of("topic", request.query)?;
        return Ok(Route::Subscribers(SubscribersCall::End { subscriber, topic }));
    }
    match request.path {
        "/publish" => Ok(Route::Publish),
        "/messages" => messages_query(request.query).map(|query| {
            let accept = request.fields.get("Accept").unwrap_or_default();
            let json = query.json.unwrap_or(accept.starts_with(NDJSON));
            Route::Messages(MessagesQuery { json: Some(json), ..query })
        }),
        "/events" => events_query(request).map(Route::Events),
        "/topics" => Ok(Route::Topics(TopicsCall::List(list_pattern(request.query)?))),
        "/subscribers" => {
            let subscriber = value_of("subscriber", request.query)?;
            let topic = value_of("topic", request.query)?;
            Ok(Route::Subscribers(SubscribersCall::List { subscriber, topic }))
        }
        "/" => Ok(Route::Page),
        "/metrics" => Ok(Route::Metrics),
        "/readyz" => Ok(Route::Ready),
        _ => Ok(Route::Alive),
    }
}

/// A topic's name in a path, where it is encoded.
fn topic_name(encoded: &str) -> Result<String, Refusal> {
    let topic = decoded("topic", encoded)?;
    entry::check_topic(&topic)?;
    Ok(topic)
}

fn decoded(field: &str, encoded: &str) -> Result<String, Refusal> {
    let bad = |_| Refusal::field(field, BAD_ENCODING);
    Ok(percent::decode(encoded, false).map_err(bad)?.into_owned())
}

/// The last value that a query gives to a name.
fn value_of(wanted: &str, query: &str) -> Result<Option<String>, Refusal> {
    let mut found = None;
    for pair in percent::pairs(query) {
        let (name, value) = pair.map_err(|_| Refusal::field("query", BAD_ENCODING))?;
        if name == wanted {
            found = Some(value.into_owned());
        }
    }
    Ok(found)
}

/// What a request to `/topics/T` asks for.
fn of_topic(request: &Request<'_>, topic: String) -> Result<Route, Refusal> {
    Ok(match request.method {
        "POST" => Route::Lines { topic, is_whole: is_whole(request.query)? },
        "PUT" => Route::Topics(TopicsCall::Create(topic, BoundsChange::default())),
        "DELETE" => Route::Topics(TopicsCall::Delete(topic)),
        _ => Route::Topics(TopicsCall::Show(topic)),
    })
}

/// Whether the body of `POST /topics/T` is one message.
fn is_whole(query: &str) -> Result<bool, Refusal> {
    let mut found = false;
    for pair in percent::pairs(query) {
        let (name, value) = pair.map_err(|_| Refusal::field("query", BAD_ENCODING))?;
        if name == "whole" {
            found = match &*value {
                "1" => true,
                "0" => false,
                _ => return Err(Refusal::field("whole", "is neither 0 nor 1")),
            };
        }
    }
    Ok(found)
}

fn events_query(request: &Request<'_>) -> Result<EventsQuery, Refusal> {
    let mut found = EventsQuery::default();
    let mut last_in_query = None;
    for pair in percent::pairs(request.query) {
        let (name, value) = pair.map_err(|_| Refusal::field("query", BAD_ENCODING))?;
        match name.as_ref() {
            "topic" => {
                entry::check_topic(&value)?;
                if found.topics.iter().any(|topic| *topic == value) {
                    return Err(Refusal::field("topic", "is given twice"));
                }
                if found.topics.len() >= EVENT_TOPICS_MAX {
                    return Err(Refusal::TooManyEventTopics { topics_max: EVENT_TOPICS_MAX });
                }
                found.topics.push(value.into_owned());
            }
            "pattern" => {
                if found.patterns.len() >= PATTERNS_MAX {
                    let who = "a connection";
                    return Err(Refusal::TooManyPatterns { who, max: PATTERNS_MAX });
                }
                found.patterns.push(fields::as_pattern(&value)?);
            }
            "subscriber" if found.name.is_some() => {
                return Err(Refusal::field("subscriber", "is given twice"));
            }
            "subscriber" => {
                entry::check_peer("subscriber", &value)?;
                found.name = Some(value.into_owned());
            }
            "from" | "since" if found.from.is_some() => {
                return Err(Refusal::field("since", "excludes 'from', and either is given once"));
            }
            "from" => found.from = Some(begin(&value)?),
            "since" => found.from = Some(fields::since(&value)?),
            // Clients that cannot set a header send it so, in one of these spellings.
            name if ["lastEventId", "Last-Event-ID"]
                .iter()
                .any(|it| it.eq_ignore_ascii_case(name)) =>
            {
                last_in_query = Some(value);
            }
            _ => {}
        }
    }
    if found.topics.is_empty() && found.patterns.is_empty() {
        return Err(Refusal::field("topic", "is missing, and there is no 'pattern'"));
    }
    // An empty field is what a browser sends after an empty id: it says nothing.
    let last = request.fields.get("Last-Event-ID").filter(|last| !last.is_empty());
    if let Some(last) = last.or(last_in_query.as_deref().filter(|last| !last.is_empty())) {
        let places = last.split(',').map(str::parse).collect::<Result<Vec<_>, _>>();
        let wrong = || Refusal::field("Last-Event-ID", "was not given here");
        found.last = places.map_err(|_| wrong())?;
        let mut lists = HashSet::new();
        let mut is_new = |list| list == StreamId::NONE || lists.insert(list);
        if !found.last.iter().all(|cursor| is_new(cursor.stream)) {
            return Err(wrong());
        }
    }
    Ok(found)
}

/// The pattern that chooses what a list of topics shows.
fn list_pattern(query: &str) -> Result<Option<Pattern>, Refusal> {
    let mut found = None;
    for pair in percent::pairs(query) {
        let (name, value) = pair.map_err(|_| Refusal::field("query", BAD_ENCODING))?;
        if name == "pattern" && found.replace(fields::as_pattern(&value)?).is_some() {
            return Err(Refusal::field("pattern", "is given twice"));
        }
    }
    Ok(found)
}

fn messages_query(query: &str) -> Result<MessagesQuery, Refusal> {
    let mut found = MessagesQuery::default();
    let mut seen = Vec::new();
    for pair in percent::pairs(query) {
        let (name, value) = pair.map_err(|_| Refusal::field("query", BAD_ENCODING))?;
        let name = name.as_ref();
        if !matches!(
            name,
            "topic" | "from" | "since" | "limit" | "wait" | "stream" | "digest" | "format"
        ) {
            continue;
        }
        if seen.iter().any(|earlier| earlier == name) {
            return Err(Refusal::field(name, "is given twice"));
        }
        seen.push(name.to_owned());
        match name {
            "topic" => {
                entry::check_topic(&value)?;
                found.topic = value.into_owned();
            }
            "from" | "since" if found.from.is_some() => {
                return Err(Refusal::field("since", "excludes 'from'"));
            }
            "from" => found.from = Some(begin(&value)?),
            "since" => found.from = Some(fields::since(&value)?),
            "limit" => found.limit = Some(number(name, &value)?),
            "wait" => {
                let seconds = number(name, &value)?.min(WAIT_SECONDS_MAX);
                found.wait = Some(Duration::from_secs(seconds));
            }
            "stream" => found.stream = Some(stream(&value)?),
            "format" => {
                found.json = Some(match &*value {
                    "json" => true,
                    "text" => false,
                    _ => return Err(Refusal::field("format", "is neither json nor text")),
                });
            }
            _ => found.digest = Some(fields::digest(&value)?),
        }
    }
    if found.topic.is_empty() {
        return Err(Refusal::field("topic", "is missing"));
    }
    if found.digest.is_some() && !matches!(found.from, Some(Begin::Offset(_))) {
        return Err(Refusal::field("digest", "goes with 'from'"));
    }
    Ok(found)
}

/// An offset, or a minus sign and how many messages from the end.
fn begin(value: &str) -> Result<Begin, Refusal> {
    match value.strip_prefix('-') {
        Some(count) => Ok(Begin::Last(number("from", count)?)),
        None => Ok(Begin::Offset(number("from", value)?)),
    }
}

/// Which messages `DELETE /topics/T/messages` lets go.
fn upto(query: &str) -> Result<Upto, Refusal> {
    let mut found = None;
    for pair in percent::pairs(query) {
        let (name, value) = pair.map_err(|_| Refusal::field("query", BAD_ENCODING))?;
        let upto = match name.as_ref() {
            "before" => Upto::Offset(number("before", &value)?),
            "before_time" => Upto::Time(number("before_time", &value)?),
            _ => continue,
        };
        if found.replace(upto).is_some() {
            return Err(Refusal::field("before", "is given twice"));
        }
    }
    found.ok_or_else(|| Refusal::field("before", "is missing; or give 'before_time'"))
}

/// The type of lines of JSON.
pub(super) const NDJSON: &str = "application/x-ndjson";

/// What is said of bytes that are no text.
const BAD_ENCODING: &str = "is not percent-encoded UTF-8";

/// A number is digits and nothing else.
fn number(name: &str, value: &str) -> Result<u64, Refusal> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    match value.parse() {
        Ok(number) if digits => Ok(number),
        _ => Err(Refusal::field(name, "is not a whole number below 2^64")),
    }
}

fn stream(value: &str) -> Result<StreamId, Refusal> {
    value.parse().map_err(|_| Refusal::field("stream", "is not 16 hexadecimal digits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_whole() {
        let query = messages_query("topic=a%2Fb+c&from=7&limit=1&wait=90&digest=00ff00FF&other=1");
        let query = query.unwrap();
        assert_eq!(query.topic, "a/b c");
        assert_eq!(
            (query.from, query.limit, query.digest),
            (Some(Begin::Offset(7)), Some(1), Some(0x00ff_00ff))
        );
        assert_eq!(query.wait, Some(Duration::from_secs(60)), "the longest wait");
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
            "topic=a&from=--1",
            "topic=a&from=-",
            "topic=a&from=1&since=1",
            "topic=a&from=1x",
            "topic=a&from=18446744073709551616",
            "topic=a&limit=1.0",
            "topic=a&stream=1",
            "topic=a&digest=00000000",
            "topic=a&from=0&digest=+0000000",
        ] {
            assert!(messages_query(query).is_err(), "{query:?}");
        }
    }
}
