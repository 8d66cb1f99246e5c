//! The refusals: why the broker does not do what a client asks.
//!
//! Each has one text for every door and one HTTP status, both stated here.

use common::json::Object;
use common::limits::RATE_MIN;
use common::{http, json};
use std::{error, fmt};

/// A refusal. `Display` is one line that says what is wrong and, where it helps, what to do.
#[derive(Debug, Clone)]
pub(crate) enum Refusal {
    /// The bytes are not the HTTP/1.1 that is accepted here.
    Http(http::Error),
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
    /// The body is a form with parts, as of a page that uploads a file.
    Form,
    /// The body of a `PUT` is no JSON object.
    NoBounds,
    /// A request has a body that nothing is done with.
    UnusedBody,
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
    /// This subscriber has no lasting subscription, or none to this topic.
    NoSubscriber(String),
    /// The same of a pattern.
    NotFollowed(String),
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
    /// The offset lies before the first message that is still there.
    Trimmed { first: u64, next: u64 },
    /// A mirror does not hold the message: its home has to be asked.
    NotHere,
    /// The topic is not the one that the cursor was given for: it was deleted and made again,
    /// or the broker lost its memory.
    OtherStream,
    /// The digest is not that of the first messages.
    OtherDigest,
    /// A number was left out before this one.
    Gap { expected: u64 },
    /// The same publisher has a newer epoch.
    OldEpoch { present: u64 },
    /// An epoch so far above the present one that few would be left above it.
    HighEpoch { present: u64 },
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
    /// There are as many peers as there may be of a kind, or of one address.
    TooManyPeers { whose: String, peers_max: usize },
    /// There are as many lasting subscriptions as there may be, or as a connection may begin.
    TooManySubscribers { who: &'static str, subscribers_max: usize },
    /// The name by which the broker was called is not one of its own.
    Misdirected,
    /// A web page of another origin sent the request.
    Origin,
    /// The token is missing, or a wrong one was given; this is how to send it.
    Token { how: &'static str, is_guess: bool },
    /// So many wrong tokens came from the client's address that no more are looked at for now.
    TooManyGuesses,
    /// The token is good, but not for this.
    Forbidden { right: &'static str },
    /// A connection follows as many patterns as it may.
    TooManyPatterns { who: &'static str, max: usize },
    /// There are as many subscriptions as there may be, or as a connection may have.
    TooManySubscriptions { who: &'static str, subscriptions_max: usize },
    /// There are as many connections as there may be.
    NoRoom,
    /// The journal is being read: how far that is.
    Starting { status: String },
    /// Publishes are not taken at present, and why.
    NotReady(&'static str),
    /// Others are sending so much at the same time that there is no memory for more.
    Busy { bytes_max: u64 },
    /// The head of a request did not arrive in time.
    HeadTimeout { seconds: u64 },
    /// Something that was begun arrives too slowly.
    NoProgress { what: &'static str, seconds: u64 },
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
            Refusal::Trimmed { first, next } => answer.field("first", *first).field("next", *next),
            _ => answer,
        };
    }

    /// Whether somebody guesses a token.
    pub(crate) fn is_guess(&self) -> bool {
        matches!(self, Refusal::Token { is_guess: true, .. } | Refusal::TooManyGuesses)
    }

    /// The HTTP status.
    pub(crate) fn status(&self) -> u16 {
        self.answer().0
    }

    /// The HTTP status, and the text. No `_` arm: a new variant has to choose.
    fn answer(&self) -> (u16, String) {
        match self {
            Refusal::Http(cause) => (cause.status(), cause.to_string()),
            Refusal::Json(cause) => (400, format!("not JSON: {cause}")),
            Refusal::Field { field, reason } => (400, format!("'{field}' {reason}")),
            Refusal::MessageSize { size, size_max } => (
                413,
                format!(
                    "'message' has {size} bytes, the limit is {size_max} (broker --max-message)"
                ),
            ),
            Refusal::BodySize { size_max } => {
                (413, format!("the body is larger than the limit of {size_max} bytes"))
            }
            Refusal::Line { number, cause } => (cause.status(), format!("line {number}: {cause}")),
            Refusal::UnknownPath => (
                404,
                "there is nothing at this path; use /publish, /messages, /events, /topics, \
                 /subscribers, /metrics, /livez, /readyz, or / in a browser"
                    .into(),
            ),
            Refusal::Method { allow } => (405, format!("this path takes {allow}")),
            Refusal::UnknownMethod => (501, "no path takes this method".into()),
            Refusal::ContentEncoding => (415, "send the body without a content coding".into()),
            Refusal::Form => (
                415,
                "a form cannot be stored: send the file itself as the body of POST /topics/T, \
                 each line a message (curl --data-binary @FILE)"
                    .into(),
            ),
            Refusal::NoBounds => (
                415,
                "PUT creates a topic and takes no body but bounds as a JSON object; POST \
                 publishes, each line of the body a message (curl --data-binary @FILE)"
                    .into(),
            ),
            Refusal::UnusedBody => (400, "this request takes no body".into()),
            Refusal::UnknownTopic(topic) => (404, format!("Topic '{topic}' not found")),
            Refusal::TopicExists => (409, "Topic already exists".into()),
            Refusal::NoTopic => (404, "Topic does not exist".into()),
            Refusal::NotIndexed { is_away } => {
                (if *is_away { 503 } else { 404 }, "Topic not found".into())
            }
            Refusal::Away(topic) => (503, format!("Topic '{topic}' not found: its home is away")),
            Refusal::NotFollowed(pattern) => {
                (404, format!("Not subscribed to pattern '{pattern}'"))
            }
            Refusal::NotSubscribed(topic) => (404, format!("Not subscribed to topic '{topic}'")),
            Refusal::NoSubscriber(name) => {
                (404, format!("'{name}' has no such lasting subscription"))
            }
            Refusal::UnknownCommand => (400, "Unknown command".into()),
            Refusal::Command(expected) => (400, (*expected).into()),
            Refusal::InvalidJson => (400, "Invalid JSON format".into()),
            Refusal::LineSize { size_max } => {
                (413, format!("the line is longer than {size_max} bytes (--max-message)"))
            }
            Refusal::ObjectSize { size_max } => {
                (413, format!("the object is larger than the limit of {size_max} bytes"))
            }
            Refusal::PastEnd { from, next } => {
                (416, format!("offset {from} is past the end: the next offset is {next}"))
            }
            Refusal::Trimmed { first, .. } => {
                (410, format!("messages before offset {first} are gone: read from offset {first}"))
            }
            Refusal::NotHere => (
                503,
                "only the topic's home holds messages as old as these, and it is out of reach: \
                 try again later"
                    .into(),
            ),
            Refusal::OtherStream => {
                (410, "the topic was deleted and created again: read it from offset 0".into())
            }
            Refusal::OtherDigest => {
                (412, "the digest is not that of the topic's first messages".into())
            }
            Refusal::Gap { expected } => {
                (409, format!("'sequence' leaves a gap: expected {expected}"))
            }
            Refusal::OldEpoch { present } => {
                (403, format!("'epoch' is old: this publisher is at {present}"))
            }
            Refusal::HighEpoch { present } => (
                400,
                format!(
                    "'epoch' is too high: this publisher is at {present}; use the number after \
                     it, or Unix time in milliseconds"
                ),
            ),
            Refusal::Full { bytes_max } => (
                507,
                format!(
                    "memory for messages is full ({bytes_max} bytes): delete a topic, or start \
                     the broker with a larger --max-memory"
                ),
            ),
            Refusal::Home { status, text } => (*status, text.clone()),
            Refusal::Unreachable { broker, reason } => {
                (503, format!("the broker {broker} is out of reach: {reason}"))
            }
            Refusal::Ring => (
                508,
                "the upstream leads back to this broker: brokers must not form a ring; start \
                     one of them without --upstream"
                    .into(),
            ),
            Refusal::NotStored { reason } => {
                (507, format!("not stored: {reason}; make room on the disk"))
            }
            Refusal::TooManyTopics { topics_max } => {
                (507, format!("there are {topics_max} topics, which is the limit: delete one"))
            }
            Refusal::TooManyEventTopics { topics_max } => (
                400,
                format!(
                    "an event stream has at most {topics_max} topics: open another for the others"
                ),
            ),
            Refusal::TooManyPeers { whose, peers_max } => {
                (507, format!("{peers_max} peers may be registered {whose}: unregister one"))
            }
            Refusal::TooManySubscribers { who, subscribers_max } => (
                507,
                format!(
                    "{who} {subscribers_max} lasting subscriptions: end some (broker subscribers, \
                     broker forget)"
                ),
            ),
            Refusal::Misdirected => (
                421,
                "this broker serves its own machine only: use the name localhost, or start \
                 the broker with --host or --allow-host"
                    .into(),
            ),
            Refusal::Origin => (
                403,
                "web pages of this origin may not use this broker unless it is started with \
                     --allow-origin"
                    .into(),
            ),
            Refusal::Token { how, .. } => (401, format!("this broker asks for a token: {how}")),
            Refusal::TooManyGuesses => {
                (429, "too many wrong tokens came from this address: try again in a second".into())
            }
            Refusal::Forbidden { right } => {
                (403, format!("this token may not do this: it needs the right '{right}'"))
            }
            Refusal::TooManyPatterns { who, max } => {
                (503, format!("{who} may have {max} patterns: try again when others have ended"))
            }
            Refusal::TooManySubscriptions { who, subscriptions_max } => (
                503,
                format!(
                    "{who} may have {subscriptions_max} subscriptions: try again when others have \
                     ended"
                ),
            ),
            Refusal::NoRoom => (503, "no room for more connections now".into()),
            Refusal::Starting { status } => (503, status.clone()),
            Refusal::NotReady(reason) => (503, (*reason).into()),
            Refusal::Busy { bytes_max } => (
                503,
                format!(
                    "clients are sending more than {bytes_max} bytes at once: try again, or \
                     start the broker with a larger --max-memory"
                ),
            ),
            Refusal::HeadTimeout { seconds } => (
                408,
                format!(
                    "the head of the request did not arrive within {seconds} s (broker \
                     --head-timeout)"
                ),
            ),
            Refusal::NoProgress { what, seconds } => (
                408,
                format!(
                    "the {what} arrives too slowly: after {seconds} s (broker --body-timeout) at \
                     least {RATE_MIN} bytes a second must arrive"
                ),
            ),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.answer().1)
    }
}

impl error::Error for Refusal {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Refusal::Http(cause) => Some(cause),
            Refusal::Json(cause) => Some(cause),
            Refusal::Line { cause, .. } => Some(cause),
            _ => None,
        }
    }
}
