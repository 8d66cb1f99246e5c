//! Routes a request: from its head to what is done, if its client may.

use super::{ALIVE, Door, EventsQuery, MessagesQuery, Stop, TEXT, page, topics};
use crate::access::{Grant, Right};
use crate::door::{Fields, Query, decoded};
use crate::refusal::{Refusal, Result};
use crate::store::entry;
use common::http::parse::Request;

/// What a request asks for, nothing borrowed from it.
pub(super) enum Route {
    /// `POST /publish`. Whether its client may is known once the topic is.
    Publish,
    /// `POST /topics/T`: each line of the body is a message, or the whole body.
    Lines { topic: String, is_whole: bool },
    /// `PUT /topics/T`: creates it; the body says what it keeps.
    Create(String),
    /// Anything else, which takes no body.
    Act(Action),
}

/// Answers a request.
pub(super) type Action = Box<dyn FnOnce(&mut Door<'_>) -> Result<(), Stop>>;

fn act(action: impl FnOnce(&mut Door<'_>) -> Result<(), Stop> + 'static) -> Route {
    Route::Act(Box::new(action))
}

/// Methods that some path takes, or that are refused for a path and not in general.
pub(super) const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];

/// What a topic takes, and the broker as a whole.
const ALL: &str = "GET, HEAD, POST, PUT, DELETE, OPTIONS";

/// What a request asks for, and whether its client may.
pub(super) fn of(request: &Request<'_>, grant: &Grant) -> Result<Route> {
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
        let may_use = |method: &&str| match &topic {
            Some(topic) if *method != "OPTIONS" => grant.allows(right(method), topic),
            _ => true,
        };
        let allow = allow.split(", ").filter(may_use).collect::<Vec<_>>().join(", ");
        return Ok(act(move |door| {
            door.answers.options(&allow);
            Ok(())
        }));
    }
    if !allow.split(' ').any(|allowed| allowed.trim_end_matches(',') == method) {
        return Err(Refusal::Method { allow });
    }
    if matches!(method, "POST" | "PUT") {
        check_type(request)?;
    }
    if let Some(topic) = topic {
        return of_topic(method, topic, query, grant);
    }
    let of_query = |name| Ok::<_, Refusal>(Query::of(query)?.text(name)?.map(str::to_owned));
    if let Some(subscriber) = subscriber {
        let (subscriber, topic) = (decoded("subscriber", subscriber)?, of_query("topic")?);
        grant.check_any(Right::Admin)?;
        return Ok(act(move |door| door.forget(&subscriber, topic.as_deref())));
    }
    Ok(match path {
        "/publish" => Route::Publish,
        "/messages" => {
            let query = MessagesQuery::of(request)?;
            grant.check(Right::Read, &query.topic)?;
            act(move |door| door.messages(&query))
        }
        "/events" => {
            let query = EventsQuery::of(request)?;
            grant.check_any(Right::Read)?;
            query.topics.iter().try_for_each(|topic| grant.check(Right::Read, topic))?;
            act(move |door| door.events(&query))
        }
        "/topics" => {
            let pattern = Query::of(query)?.pattern()?;
            grant.check_any(Right::Read)?;
            act(move |door| door.list_topics(pattern.as_ref()))
        }
        "/subscribers" => {
            let (subscriber, topic) = (of_query("subscriber")?, of_query("topic")?);
            grant.check_any(Right::Read)?;
            act(move |door| door.subscribers(subscriber.as_deref(), topic.as_deref()))
        }
        "/metrics" => {
            grant.check_any(Right::Read)?;
            act(|door| door.metrics())
        }
        "/" => act(|door| {
            door.answers.whole(page::HEAD, page::PAGE.as_bytes());
            Ok(())
        }),
        _ => {
            let is_ready = path == "/readyz";
            act(move |door| {
                if is_ready {
                    door.broker.homes.check_ready()?;
                }
                door.answers.content(200, TEXT, ALIVE);
                Ok(())
            })
        }
    })
}

/// What a client needs to use a method on a topic.
fn right(method: &str) -> Right {
    match method {
        "GET" | "HEAD" => Right::Read,
        "POST" => Right::Write,
        _ => Right::Admin,
    }
}

/// Refuses a body that is encoded or is a form with parts.
fn check_type(request: &Request<'_>) -> Result<()> {
    let mut codings = request.fields.members("Content-Encoding");
    if codings.any(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
        return Err(Refusal::ContentEncoding);
    }
    let kind = request.fields.get("Content-Type").unwrap_or_default();
    let is_form = kind.get(..10).is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/"));
    if is_form { Err(Refusal::Form) } else { Ok(()) }
}

/// What a request to `/topics/T` asks for.
fn of_topic(method: &str, encoded: &str, query: &str, grant: &Grant) -> Result<Route> {
    // Without a query it is about a topic whose name ends so.
    let messages = encoded.strip_suffix("/messages");
    let messages = messages.filter(|_| method == "DELETE" && !query.is_empty());
    let topic = decoded("topic", messages.unwrap_or(encoded))?;
    entry::check_topic(&topic)?;
    let upto = messages.map(|_| Query::of(query)?.upto()).transpose()?;
    let is_whole = method == "POST" && topics::is_whole(&Query::of(query)?)?;
    grant.check(right(method), &topic)?;
    Ok(match (method, upto) {
        ("POST", _) => Route::Lines { topic, is_whole },
        ("PUT", _) => Route::Create(topic),
        (_, Some(upto)) => act(move |door| door.trim(&topic, upto)),
        ("DELETE", None) => act(move |door| door.delete(&topic)),
        _ => act(move |door| door.show(&topic)),
    })
}
