//! The refusals: why the broker does not do what a client asks.
//!
//! Each is stated once, in a table: what it is, its HTTP status, and its text for every door.

use common::json::Object;
use common::limits::RATE_MIN;
use common::{http, json};
use std::{error, fmt};

/// Declares [`Refusal`] from a table: each variant with its status and its text.
macro_rules! refusals {
    ($($(#[$about:meta])* $name:ident
        $(($($part:ident: $of:ty),*))? $({$($field:ident: $type:ty),*})?
        => $status:expr, $text:literal;)*) => {
        /// A refusal. `Display` is one line that says what is wrong and, where it helps, what to
        /// do.
        #[derive(Debug, Clone)]
        pub(crate) enum Refusal {
            $($(#[$about])* $name $(($($of),*))? $({$($field: $type),*})?,)*
        }

        impl Refusal {
            /// The HTTP status, and the text.
            #[expect(unused_variables, reason = "not every text says all that is known")]
            fn answer(&self) -> (u16, String) {
                match self {
                    $(Refusal::$name $(($($part),*))? $({$($field),*})? => {
                        ($status, format!($text))
                    })*
                }
            }
        }
    };
}

refusals! {
    /// The bytes are not the HTTP/1.1 that is accepted here.
    Http(cause: http::Error) => cause.status(), "{cause}";
    /// A body or an object is not JSON.
    Json(cause: json::Error) => 400, "not JSON: {cause}";
    /// A field is missing, of the wrong type, or holds what it must not.
    Field { field: String, reason: &'static str } => 400, "'{field}' {reason}";
    /// A message is longer than `--max-message`.
    MessageSize { size: usize, size_max: usize } =>
        413, "'message' has {size} bytes, the limit is {size_max} (broker --max-message)";
    /// A body is longer than the limit.
    BodySize { size_max: usize } =>
        413, "the body is larger than the limit of {size_max} bytes";
    /// A line of a bulk body is refused; nothing of the body was appended.
    Line { number: usize, cause: Box<Refusal> } => cause.status(), "line {number}: {cause}";
    /// There is nothing under this path.
    UnknownPath =>
        404, "there is nothing at this path; use /publish, /messages, /events, /topics, \
              /subscribers, /metrics, /livez, /readyz, or / in a browser";
    /// The path is there, the method is not; these are.
    Method { allow: &'static str } => 405, "this path takes {allow}";
    /// No path has this method.
    UnknownMethod => 501, "no path takes this method";
    /// The body is encoded in a way that is not read here.
    ContentEncoding => 415, "send the body without a content coding";
    /// The body is a form with parts, as of a page that uploads a file.
    Form =>
        415, "a form cannot be stored: send the file itself as the body of POST /topics/T, each \
              line a message (curl --data-binary @FILE)";
    /// The body of a `PUT` is no JSON object.
    NoBounds =>
        415, "PUT creates a topic and takes no body but bounds as a JSON object; POST publishes, \
              each line of the body a message (curl --data-binary @FILE)";
    /// A request has a body that nothing is done with.
    UnusedBody => 400, "this request takes no body";
    /// Nobody published to this topic, and nobody created it.
    UnknownTopic(topic: String) => 404, "Topic '{topic}' not found";
    /// The topic to be created is there already.
    TopicExists => 409, "Topic already exists";
    /// The topic to be deleted is not there.
    NoTopic => 404, "Topic does not exist";
    /// No peer that is there is the home of this topic; perhaps one that is away.
    NotIndexed { is_away: bool } => if *is_away { 503 } else { 404 }, "Topic not found";
    /// The peer that is the home of this topic is not there.
    Away(topic: String) => 503, "Topic '{topic}' not found: its home is away";
    /// There is no such subscription.
    NotSubscribed(topic: String) => 404, "Not subscribed to topic '{topic}'";
    /// This subscriber has no lasting subscription, or none to this topic.
    NoSubscriber(name: String) => 404, "'{name}' has no such lasting subscription";
    /// There is no such subscription to a pattern.
    NotFollowed(pattern: String) => 404, "Not subscribed to pattern '{pattern}'";
    /// No such command.
    UnknownCommand => 400, "Unknown command";
    /// A line of text is no command: what was expected.
    Command(expected: &'static str) => 400, "{expected}";
    /// What a JSON connection sends is not JSON.
    InvalidJson => 400, "Invalid JSON format";
    /// A text line is longer than `--max-message` allows.
    LineSize { size_max: usize } =>
        413, "the line is longer than {size_max} bytes (--max-message)";
    /// A JSON object is longer than the limit.
    ObjectSize { size_max: usize } =>
        413, "the object is larger than the limit of {size_max} bytes";
    /// The offset lies past the end of the list.
    PastEnd { from: u64, next: u64 } =>
        416, "offset {from} is past the end: the next offset is {next}";
    /// The offset lies before the first message that is still there.
    Trimmed { first: u64, next: u64 } =>
        410, "messages before offset {first} are gone: read from offset {first}";
    /// A mirror does not hold the message: its home has to be asked.
    NotHere =>
        503, "only the topic's home holds messages as old as these, and it is out of reach: try \
              again later";
    /// The topic is not the one that the cursor was given for: it was deleted and made again, or
    /// the broker lost its memory.
    OtherStream => 410, "the topic was deleted and created again: read it from its first message";
    /// The digest is not that of the first messages.
    OtherDigest => 412, "the digest is not that of the topic's first messages";
    /// A number was left out before this one.
    Gap { expected: u64 } => 409, "'sequence' leaves a gap: expected {expected}";
    /// The same publisher has a newer epoch.
    OldEpoch { present: u64 } => 403, "'epoch' is old: this publisher is at {present}";
    /// An epoch so far above the present one that few would be left above it.
    HighEpoch { present: u64 } =>
        400, "'epoch' is too high: this publisher is at {present}; use the number after it, or \
              Unix time in milliseconds";
    /// Memory for messages is used up.
    Full { bytes_max: u64 } =>
        507, "memory for messages is full ({bytes_max} bytes): delete or trim a topic, or start \
              the broker with a larger --max-memory";
    /// The journal could not be written; nothing of the publish is in it.
    NotStored { reason: String } =>
        507, "not stored: {reason}; delete or trim a topic, or make room on the disk";
    /// The home of a topic refuses, in its own words.
    Home { status: u16, text: String } => *status, "{text}";
    /// Another broker that is needed is out of reach.
    Unreachable { broker: String, reason: String } =>
        503, "the broker {broker} is out of reach: {reason}";
    /// Brokers that are each other's upstream.
    Ring =>
        508, "the upstream leads back to this broker: brokers must not form a ring; start one of \
              them without --upstream";
    /// There are as many topics as there may be.
    TooManyTopics { topics_max: usize } =>
        507, "there are {topics_max} topics, which is the limit: delete one";
    /// An event stream of more topics than one may have.
    TooManyEventTopics { topics_max: usize } =>
        400, "an event stream has at most {topics_max} topics: open another for the others";
    /// There are as many peers as there may be of a kind, or of one address.
    TooManyPeers { whose: String, peers_max: usize } =>
        507, "{peers_max} peers may be registered {whose}: unregister one";
    /// There are as many lasting subscriptions as there may be, or as a connection may begin.
    TooManySubscribers { who: &'static str, subscribers_max: usize } =>
        507, "{who} {subscribers_max} lasting subscriptions: end some (broker subscribers, broker \
              forget)";
    /// The name by which the broker was called is not one of its own.
    Misdirected =>
        421, "this broker serves its own machine only: use the name localhost, or start the \
              broker with --host or --allow-host";
    /// A web page of another origin sent the request.
    Origin =>
        403, "web pages of this origin may not use this broker unless it is started with \
              --allow-origin";
    /// The token is missing, or over HTTP perhaps wrong; this is how to send it.
    Token { how: &'static str, is_guess: bool } => 401, "this broker asks for a token: {how}";
    /// A session sent a wrong token.
    WrongToken { how: &'static str } => 401, "this token is wrong: {how}";
    /// So many wrong tokens came from the client's address that no more are looked at for now.
    TooManyGuesses =>
        429, "too many wrong tokens came from this address: try again in a second";
    /// The token is good, but not for this.
    Forbidden { right: &'static str } =>
        403, "this token may not do this: it needs the right '{right}'";
    /// A connection follows as many patterns as it may.
    TooManyPatterns { who: &'static str, max: usize } =>
        503, "{who} may have {max} patterns: try again when others have ended";
    /// There are as many subscriptions as there may be, or as a connection may have.
    TooManySubscriptions { who: &'static str, subscriptions_max: usize } =>
        503, "{who} may have {subscriptions_max} subscriptions: try again when others have ended";
    /// There are as many connections as there may be.
    NoRoom => 503, "no room for more connections now";
    /// The journal is being read: how far that is.
    Starting { status: String } => 503, "{status}";
    /// Publishes are not taken at present, and why.
    NotReady(reason: &'static str) => 503, "{reason}";
    /// Others are sending so much at the same time that there is no memory for more.
    Busy { bytes_max: u64 } =>
        503, "clients are sending more than {bytes_max} bytes at once: try again, or start the \
              broker with a larger --max-memory";
    /// The head of a request did not arrive in time.
    HeadTimeout { seconds: u64 } =>
        408, "the head of the request did not arrive within {seconds} s (broker --head-timeout)";
    /// Something that was begun arrives too slowly.
    NoProgress { what: &'static str, seconds: u64 } =>
        408, "the {what} arrives too slowly: after {seconds} s (broker --body-timeout) at least \
              {RATE_MIN} bytes a second must arrive";
}

/// What a client gets, or why it does not get it.
pub(crate) type Result<T, E = Refusal> = std::result::Result<T, E>;

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
