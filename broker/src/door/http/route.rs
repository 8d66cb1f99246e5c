//! Routes a request: from its head to what it asks for.

use super::events::EventsQuery;
use super::messages::MessagesQuery;
use crate::access::{Grant, Right};
use crate::door::fields::{Fields, Query, decoded};
use crate::refusal::Refusal;
use crate::store::change::Upto;
use crate::store::entry;
use crate::store::retention::BoundsChange;
use common::http::parse::Request;
use common::limits::BODY_SIZE_MAX;
use common::pattern::Pattern;

/// What a request asks for, nothing borrowed from it.
#[derive(Debug)]
pub(super) enum Route {
    /// `POST /publish`.
    Publish,
    /// `POST /topics/T`: each line of the body is a message, or the whole body.
    Lines { topic: String, is_whole: bool },
    /// `GET /messages`.
    Messages(MessagesQuery),
    /// `GET /events`.
    Events(EventsQuery),
    /// `GET /topics`: those whose names match, or all.
    List(Option<Pattern>),
    /// `GET /topics/T`.
    Show(String),
    /// `PUT /topics/T`: creates it, or changes what it keeps.
    Create(String, BoundsChange),
    /// `DELETE /topics/T`.
    Delete(String),
    /// `DELETE /topics/T/messages`: lets messages go.
    Trim(String, Upto),
    /// `GET /subscribers`: all lasting subscriptions, or those of a subscriber or to a topic.
    Subscribers { subscriber: Option<String>, topic: Option<String> },
    /// `DELETE /subscribers/NAME`: ends those of a subscriber, or one of them.
    Forget { subscriber: String, topic: Option<String> },
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
            Route::Events(query) => {
                grant.check_any(Right::Read)?;
                query.topics.iter().try_for_each(|topic| grant.check(Right::Read, topic))?;
            }
            Route::Messages(MessagesQuery { topic, .. }) | Route::Show(topic) => {
                grant.check(Right::Read, topic)?;
            }
            Route::Lines { topic, .. } => grant.check(Right::Write, topic)?,
            Route::Create(topic, _) | Route::Delete(topic) | Route::Trim(topic, _) => {
                grant.check(Right::Admin, topic)?;
            }
            Route::List(_) | Route::Subscribers { .. } | Route::Metrics => {
                grant.check_any(Right::Read)?;
            }
            Route::Forget { .. } => grant.check_any(Right::Admin)?,
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

/// Methods that some path takes, or that are refused for a path and not in general.
pub(super) const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];

/// What a topic takes, and the broker as a whole.
const ALL: &str = "GET, HEAD, POST, PUT, DELETE, OPTIONS";

/// The size of a body that says its size.
pub(super) fn body_size(size: u64) -> Result<usize, Refusal> {
    let size = usize::try_from(size).ok().filter(|size| *size <= BODY_SIZE_MAX);
    size.ok_or(Refusal::BodySize { size_max: BODY_SIZE_MAX })
}

/// What a request asks for.
pub(super) fn of(request: &Request<'_>) -> Result<Route, Refusal> {
    let Request { method, path, query, .. } = *request;
    let below = |folder: &str| path.strip_prefix(folder).filter(|name| !name.is_empty());
    let (topic, subscriber) = (below("/topics/"), below("/subscribers/"));
    let allow = match path {
        "*" => ALL,
        "/publish" => "POST, OPTIONS",
        "/" | "/messages" | "/events" | "/topics" | "/subscribers" | "/metrics" | "/livez"
        | "/readyz" => "GET, HEAD, OPTIONS",
        _ if subscriber.is_some() => "DELETE, OPTIONS",
        _ if topic.is_some() => ALL,
        _ => return Err(Refusal::UnknownPath),
    };
    if method == "OPTIONS" {
        let topic = topic.and_then(|topic| decoded("topic", topic).ok());
        return Ok(Route::Options { allow: allow.to_owned(), topic });
    }
    if !allow.split(", ").any(|allowed| allowed == method) {
        return Err(Refusal::Method { allow });
    }
    if matches!(method, "POST" | "PUT") {
        check_type(request)?;
    }
    if let Some(topic) = topic {
        return of_topic(method, topic, query);
    }
    let of_query = |query: &Query<'_>, name| Ok(query.text(name)?.map(str::to_owned));
    if let Some(subscriber) = subscriber {
        let subscriber = decoded("subscriber", subscriber)?;
        return Ok(Route::Forget { subscriber, topic: of_query(&Query::of(query)?, "topic")? });
    }
    Ok(match path {
        "/publish" => Route::Publish,
        "/messages" => Route::Messages(MessagesQuery::of(request)?),
        "/events" => Route::Events(EventsQuery::of(request)?),
        "/topics" => Route::List(Query::of(query)?.pattern()?),
        "/subscribers" => {
            let query = Query::of(query)?;
            let subscriber = of_query(&query, "subscriber")?;
            Route::Subscribers { subscriber, topic: of_query(&query, "topic")? }
        }
        "/" => Route::Page,
        "/metrics" => Route::Metrics,
        "/readyz" => Route::Ready,
        _ => Route::Alive,
    })
}

/// Refuses a body that is encoded or is a form with parts.
fn check_type(request: &Request<'_>) -> Result<(), Refusal> {
    let mut codings = request.fields.members("Content-Encoding");
    if codings.any(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
        return Err(Refusal::ContentEncoding);
    }
    let kind = request.fields.get("Content-Type").unwrap_or_default();
    match kind.get(..10).is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/")) {
        true => Err(Refusal::Form),
        false => Ok(()),
    }
}

/// What a request to `/topics/T` asks for.
fn of_topic(method: &str, encoded: &str, query: &str) -> Result<Route, Refusal> {
    // Without a query it is about a topic whose name ends so.
    let messages = encoded.strip_suffix("/messages");
    let messages = messages.filter(|_| method == "DELETE" && !query.is_empty());
    let topic = decoded("topic", messages.unwrap_or(encoded))?;
    entry::check_topic(&topic)?;
    Ok(match method {
        _ if messages.is_some() => Route::Trim(topic, Query::of(query)?.upto()?),
        "POST" => match Query::of(query)?.text("whole")? {
            None | Some("0") => Route::Lines { topic, is_whole: false },
            Some("1") => Route::Lines { topic, is_whole: true },
            Some(_) => return Err(Refusal::field("whole", "is neither 0 nor 1")),
        },
        "PUT" => Route::Create(topic, BoundsChange::default()),
        "DELETE" => Route::Delete(topic),
        _ => Route::Show(topic),
    })
}
