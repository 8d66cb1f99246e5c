//! Why the broker refuses what a client asks, and what each refusal is in HTTP.
//!
//! Every door shows the same text; [`Refusal::status`] is the one place that gives it a number.

use common::json::Object;
use common::{http, json};
use std::{error, fmt};

/// A refusal. `Display` is one line that says what is wrong and, where it helps, what to do.
#[derive(Debug, Clone)]
pub(crate) enum Refusal {
    /// The bytes are not the HTTP/1.1 that is accepted here.
    Http(http::parse::Error),
    /// A chunked body is broken or too large.
    Chunked(http::chunked::Error),
    /// A body or an object is not JSON.
    Json(json::Error),
    /// A field is missing, of the wrong type, or holds what it must not.
    Field { field: String, reason: &'static str },
    /// A message is longer than `--max-message`.
    MessageSize { size: usize, size_max: usize },
    /// A body is longer than the limit.
    BodySize { size_max: usize },
    /// A line of a bulk body is refused; nothing of the body was appended.
    Line { number: usize, cause: Box<Refusal> },
    /// There is nothing under this path.
    UnknownPath,
    /// The path is there, the method is not; these are.
    Method { allow: &'static str },
    /// No path has this method.
    UnknownMethod,
    /// The body is encoded in a way that is not read here.
    ContentEncoding,
    /// Nobody published to this topic, and nobody created it.
    UnknownTopic(String),
    /// The topic to be created is there already.
    TopicExists,
    /// The topic to be deleted is not there.
    NoTopic,
    /// No peer that is there is the home of this topic; perhaps one that is away.
    NotIndexed { is_away: bool },
    /// The peer that is the home of this topic is not there.
    Away(String),
    /// There is no such subscription.
    NotSubscribed(String),
    /// No such command.
    UnknownCommand,
    /// A line of text is no command: what was expected.
    Command(&'static str),
    /// What a JSON connection sends is not JSON.
    InvalidJson,
    /// A text line is longer than `--max-message` allows.
    LineSize { size_max: usize },
    /// A JSON object is longer than the limit.
    ObjectSize { size_max: usize },
    /// The offset lies past the end of the list.
    PastEnd { from: u64, next: u64 },
    /// The topic is not the one that the cursor was given for: it was deleted and made again,
    /// or the broker lost its memory.
    OtherStream,
    /// The digest is not that of the first messages.
    OtherDigest,
    /// A number was left out before this one.
    Gap { expected: u64 },
    /// A newer run of the same publisher is at work.
    OldEpoch { present: u64 },
    /// Memory for messages is used up.
    Full { bytes_max: u64 },
    /// The journal could not be written; nothing of the publish is in it.
    NotStored { reason: String },
    /// The home of a topic refuses, in its own words.
    Home { status: u16, text: String },
    /// Another broker that is needed is out of reach.
    Unreachable { broker: String, reason: String },
    /// Brokers that are each other's upstream.
    Ring,
    /// There are as many topics as there may be.
    TooManyTopics { topics_max: usize },
    /// An event stream of more topics than one may have.
    TooManyEventTopics { topics_max: usize },
    /// There are as many lasting subscriptions as there may be.
    TooManySubscribers { subscribers_max: usize },
    /// The name by which the broker was called is not one of its own.
    Misdirected,
    /// A web page of another origin sent the request.
    Origin,
    /// The token is missing or wrong; this is how to send it.
    Token { how: &'static str },
    /// There are as many subscriptions as there may be, of all connections together.
    TooManySubscriptions { subscriptions_max: usize },
    /// The last publish could not be stored.
    NotReady,
    /// Others are sending so much at the same time that there is no memory for more.
    Busy { bytes_max: u64 },
    /// The request's head or body did not arrive in time.
    TooSlow { what: &'static str, seconds: u64, flag: &'static str },
}

impl Refusal {
    /// A refusal of one field.
    pub(crate) fn field(field: &str, reason: &'static str) -> Refusal {
        Refusal::Field { field: field.to_owned(), reason }
    }

    /// Writes what a program may want to know of it, beside the text.
    pub(crate) fn write_details(&self, answer: &mut Object<'_>) {
        match self {
            Refusal::Gap { expected } => answer.field("expected", *expected),
            Refusal::OldEpoch { present } => answer.field("epoch", *present),
            _ => answer,
        };
    }

    /// The HTTP status. No `_` arm: a new variant has to choose.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Refusal::Http(cause) => cause.status(),
            Refusal::Chunked(cause) => cause.status(),
            Refusal::Json(_)
            | Refusal::Field { .. }
            | Refusal::TooManyEventTopics { .. }
            | Refusal::UnknownCommand
            | Refusal::Command(_)
            | Refusal::InvalidJson => 400,
            Refusal::MessageSize { .. }
            | Refusal::BodySize { .. }
            | Refusal::LineSize { .. }
            | Refusal::ObjectSize { .. } => 413,
            Refusal::Line { cause, .. } => cause.status(),
            Refusal::UnknownPath
            | Refusal::UnknownTopic(_)
            | Refusal::NoTopic
            | Refusal::NotIndexed { is_away: false }
            | Refusal::NotSubscribed(_) => 404,
            Refusal::Method { .. } => 405,
            Refusal::UnknownMethod => 501,
            Refusal::ContentEncoding => 415,
            Refusal::PastEnd { .. } => 416,
            Refusal::OtherStream => 410,
            Refusal::OtherDigest => 412,
            Refusal::Gap { .. } | Refusal::TopicExists => 409,
            Refusal::OldEpoch { .. } | Refusal::Origin => 403,
            Refusal::Token { .. } => 401,
            Refusal::Misdirected => 421,
            Refusal::Full { .. }
            | Refusal::NotStored { .. }
            | Refusal::TooManyTopics { .. }
            | Refusal::TooManySubscribers { .. } => 507,
            Refusal::Home { status, .. } => *status,
            Refusal::Unreachable { .. }
            | Refusal::Away(_)
            | Refusal::NotIndexed { is_away: true } => 503,
            Refusal::Ring => 508,
            Refusal::TooSlow { .. } => 408,
            Refusal::Busy { .. } | Refusal::NotReady | Refusal::TooManySubscriptions { .. } => 503,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Http(cause) => cause.fmt(f),
            Refusal::Chunked(cause) => cause.fmt(f),
            Refusal::Json(cause) => write!(f, "not JSON: {cause}"),
            Refusal::Field { field, reason } => write!(f, "'{field}' {reason}"),
            Refusal::MessageSize { size, size_max } => write!(
                f,
                "'message' has {size} bytes, the limit is {size_max} (broker --max-message)"
            ),
            Refusal::BodySize { size_max } => {
                write!(f, "the body is larger than the limit of {size_max} bytes")
            }
            Refusal::Line { number, cause } => write!(f, "line {number}: {cause}"),
            Refusal::UnknownPath => f.write_str(
                "nothing is served under this path; there are /publish, /messages, /events, \
                 /topics, /metrics, /livez, /readyz, and / for people",
            ),
            Refusal::Method { allow } => write!(f, "this path takes {allow}"),
            Refusal::UnknownMethod => f.write_str("no path takes this method"),
            Refusal::ContentEncoding => f.write_str("send the body without a content coding"),
            Refusal::UnknownTopic(topic) => write!(f, "Topic '{topic}' not found"),
            Refusal::TopicExists => f.write_str("Topic already exists"),
            Refusal::NoTopic => f.write_str("Topic does not exist"),
            Refusal::NotIndexed { .. } => f.write_str("Topic not found"),
            Refusal::Away(topic) => write!(f, "Topic '{topic}' not found: its home is away"),
            Refusal::NotSubscribed(topic) => write!(f, "Not subscribed to topic '{topic}'"),
            Refusal::UnknownCommand => f.write_str("Unknown command"),
            Refusal::Command(expected) => f.write_str(expected),
            Refusal::InvalidJson => f.write_str("Invalid JSON format"),
            Refusal::LineSize { size_max } => {
                write!(f, "the line is longer than {size_max} bytes (--max-message)")
            }
            Refusal::ObjectSize { size_max } => {
                write!(f, "the object is larger than the limit of {size_max} bytes")
            }
            Refusal::PastEnd { from, next } => {
                write!(f, "offset {from} is past the end: the next offset is {next}")
            }
            Refusal::OtherStream => f.write_str(
                "the topic is another stream now: it was made anew; read it from its start",
            ),
            Refusal::OtherDigest => {
                f.write_str("the digest is not that of the topic's first messages")
            }
            Refusal::Gap { expected } => {
                write!(f, "'sequence' leaves a gap: expected {expected}")
            }
            Refusal::OldEpoch { present } => {
                write!(f, "'epoch' is old: this publisher is at {present}")
            }
            Refusal::Full { bytes_max } => write!(
                f,
                "memory for messages is full ({bytes_max} bytes): delete a topic, or start the \
                 broker with a larger --max-memory"
            ),
            Refusal::Home { text, .. } => f.write_str(text),
            Refusal::Unreachable { broker, reason } => {
                write!(f, "the broker {broker} is out of reach: {reason}")
            }
            Refusal::Ring => f.write_str(
                "the upstream leads back to this broker: brokers must not form a ring; \
                 start one of them without --upstream",
            ),
            Refusal::NotStored { reason } => {
                write!(f, "not stored: {reason}; make room on the disk")
            }
            Refusal::TooManyTopics { topics_max } => {
                write!(f, "there are {topics_max} topics, as many as there may be: delete one")
            }
            Refusal::TooManyEventTopics { topics_max } => write!(
                f,
                "an event stream has {topics_max} topics at most: open another for the others"
            ),
            Refusal::TooManySubscribers { subscribers_max } => write!(
                f,
                "there are {subscribers_max} named subscribers, as many as there may be: \
                 unsubscribe one"
            ),
            Refusal::Misdirected => f.write_str(
                "this broker serves its own machine only, under names such as localhost: call it \
                 so, or start it with --host",
            ),
            Refusal::Origin => f.write_str(
                "web pages of this origin may not use this broker unless it is started with \
                 --allow-origin",
            ),
            Refusal::Token { how } => write!(f, "this broker asks for a token: {how}"),
            Refusal::TooManySubscriptions { subscriptions_max } => write!(
                f,
                "there are {subscriptions_max} subscriptions, as many as there may be: try again \
                 when others have left"
            ),
            Refusal::NotReady => {
                f.write_str("the last publish could not be stored: make room on the disk")
            }
            Refusal::Busy { bytes_max } => write!(
                f,
                "clients are sending more than {bytes_max} bytes at once: try again, or \
                 start the broker with a larger --max-memory"
            ),
            Refusal::TooSlow { what, seconds, flag } => {
                write!(f, "the {what} did not arrive within {seconds} s (broker --{flag})")
            }
        }
    }
}

impl error::Error for Refusal {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Refusal::Http(cause) => Some(cause),
            Refusal::Chunked(cause) => Some(cause),
            Refusal::Json(cause) => Some(cause),
            Refusal::Line { cause, .. } => Some(cause),
            _ => None,
        }
    }
}
