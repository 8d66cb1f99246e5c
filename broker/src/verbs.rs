//! The verbs: commands to a running broker, each one request over HTTP.
//!
//! Output is a table on a terminal, tab-separated lines through a pipe, and the broker's own answer
//! with `--json`. Nothing is repeated: the caller knows whether to wait.
//!
//! # Not here
//!
//! `verify`, `repair` and `promote`, which work on a directory and need no broker
//! (`store/journal`).

use common::client::{self, Broker, Refusal, Trouble};
use common::clock;
use common::flags::{self, Arguments, Error};
use common::http::percent;
use common::json::{self, Object, Value};
use std::env;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

mod table;

use table::Table;

/// How long the broker may take to begin an answer, or to send the next piece of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whoever asks for health asks again soon.
const PATIENCE_FOR_HEALTH: Duration = Duration::from_secs(5);

/// The flags that go with verbs alone.
const FLAGS: [&str; 4] = [Broker::FLAG, "before", "topic", "json"];

/// The flags that bound what a topic keeps, and the fields of the broker's JSON.
const BOUNDS: [(&str, &str); 3] =
    [("keep-messages", "keep_messages"), ("keep-bytes", "keep_bytes"), ("keep-for", "keep_for")];

/// Each verb, what it needs the name of, and the flags that go with it.
const VERBS: [(&str, Verb, &str, &[&str]); 8] = [
    ("topics", Verb::Topics, "", &["json"]),
    ("create", Verb::Create, "topic", &["keep-messages", "keep-bytes", "keep-for"]),
    ("keep", Verb::Keep, "topic", &["keep-messages", "keep-bytes", "keep-for", "json"]),
    ("trim", Verb::Trim, "topic", &["before", "json"]),
    ("delete", Verb::Delete, "topic", &[]),
    ("subscribers", Verb::Subscribers, "", &["json"]),
    ("forget", Verb::Forget, "subscriber", &["topic"]),
    ("health", Verb::Health, "", &[]),
];

/// What a table says of a topic.
const TOPIC: [(&str, &str); 9] = [
    ("TOPIC", "topic"),
    ("FIRST", "first"),
    ("NEXT", "next"),
    ("MESSAGES", "messages"),
    ("BYTES", "bytes"),
    ("LAST", "last"),
    ("KEEP MESSAGES", "keep_messages"),
    ("KEEP BYTES", "keep_bytes"),
    ("KEEP FOR", "keep_for"),
];

/// What a table says of a lasting subscription.
const SUBSCRIPTION: [(&str, &str); 6] = [
    ("SUBSCRIBER", "subscriber"),
    ("TOPIC", "topic"),
    ("NEXT", "next"),
    ("LAG", "lag"),
    ("CONNECTED", "connected"),
    ("LAST SEEN", "last_seen"),
];

/// A verb, and the broker that it is said to.
#[derive(Debug, Clone)]
pub struct Call {
    broker: Broker,
    json: bool,
    verb: Verb,
    /// The topic, the subscriber or the pattern; empty where the verb is about none.
    name: String,
    /// Of the topic, as JSON; empty where none were given.
    bounds: String,
    /// The first offset that trim leaves.
    before: u64,
    /// The only topic that is meant of a subscriber's, if one is.
    topic: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Topics,
    Create,
    Keep,
    Trim,
    Delete,
    Subscribers,
    Forget,
    Health,
}

impl Call {
    /// Reads a verb, the flags that go with it, and the environment.
    pub(crate) fn from(arguments: &Arguments) -> Result<Call, Error> {
        let (word, rest) = match arguments.ordinary() {
            [word, rest @ ..] => (word.as_str(), rest),
            [] => return Err(Error::new("there is no verb")),
        };
        let unexpected = |argument: &str| Err(Error::unexpected(argument));
        let wrong = |reason: String| Err(Error::new(reason));
        let Some((_, verb, what, flags)) = VERBS.into_iter().find(|verb| verb.0 == word) else {
            return unexpected(word);
        };
        let name = match (what, rest) {
            ("", []) => String::new(),
            ("", [pattern]) if verb == Verb::Topics => pattern.clone(),
            (_, []) => return wrong(format!("{word} needs the name of a {what}")),
            ("", [other, ..]) | (_, [_, other, ..]) => return unexpected(other),
            (_, [name]) => name.clone(),
        };
        let (bounds, before) = (bounds(arguments), arguments.number("before")?);
        match verb {
            Verb::Keep if bounds.is_empty() => {
                return wrong("keep needs --keep-messages, --keep-bytes or --keep-for".to_owned());
            }
            Verb::Trim if before.is_none() => {
                return wrong("trim needs --before=<offset>".to_owned());
            }
            _ => {}
        }
        let goes = |name: &str| name == Broker::FLAG || flags.contains(&name);
        if let Some(flag) = arguments.names().find(|name| !goes(name)) {
            return wrong(format!("--{flag} does not work with {word}"));
        }
        let mut broker = Broker::from_arguments(arguments)?;
        // In the container of a broker, its own port is meant.
        let peer = ["PEER_BROKER_HOST", "PEER_BROKER_PORT"].iter().find_map(env::var_os);
        if let (false, None, Ok(port)) = (arguments.has(Broker::FLAG), peer, env::var("PORT")) {
            broker = broker.moved_to(format!("127.0.0.1:{}", port.trim()));
        }
        let (json, before) = (arguments.has("json"), before.unwrap_or_default());
        let topic = arguments.value("topic").map(str::to_owned);
        Ok(Call { broker, json, verb, name, bounds, before, topic })
    }

    /// Refuses a broker that is to serve where a flag is for verbs.
    pub(crate) fn check_absent(arguments: &Arguments) -> Result<(), Error> {
        match arguments.names().find(|name| FLAGS.contains(name)) {
            Some(flag) => Err(Error::new(format!("--{flag} needs a verb, such as topics"))),
            None => Ok(()),
        }
    }

    /// Asks the broker, and prints its answer.
    pub(crate) fn make(&self) -> Result<(), client::Error> {
        let name = percent::encode(&self.name);
        let topic = format!("/topics/{name}");
        match self.verb {
            Verb::Topics if name.is_empty() => self.show("GET", "/topics", "", &TOPIC),
            Verb::Topics => self.show("GET", &format!("/topics?pattern={name}"), "", &TOPIC),
            Verb::Create => {
                let status = self.request("PUT", &topic, &self.bounds, |_| Ok(()))?;
                flags::print(if status == 201 { "created" } else { "was there already" });
                Ok(())
            }
            Verb::Keep => {
                // Bounds alone would create the topic, where its name was mistyped.
                self.request("GET", &topic, "", |_| Ok(()))?;
                self.show("PUT", &topic, &self.bounds, &TOPIC)
            }
            Verb::Trim => {
                let messages = format!("{topic}/messages?before={}", self.before);
                self.show("DELETE", &messages, "", &TOPIC)
            }
            Verb::Delete => self.demand("DELETE", &topic, "deleted"),
            Verb::Subscribers => self.show("GET", "/subscribers", "", &SUBSCRIPTION),
            Verb::Forget => {
                let topic = self.topic.as_ref();
                let query = topic.map(|topic| format!("?topic={}", percent::encode(topic)));
                let query = query.unwrap_or_default();
                self.demand("DELETE", &format!("/subscribers/{name}{query}"), "ended")
            }
            Verb::Health => self.demand("GET", "/readyz", "ok"),
        }
    }

    /// Asks for something, and says in a word that it was done.
    fn demand(&self, method: &str, target: &str, done: &str) -> Result<(), client::Error> {
        self.request(method, target, "", |_| Ok(()))?;
        flags::print(done);
        Ok(())
    }

    /// Asks for a list, or for one item, and shows it.
    fn show<const N: usize>(
        &self,
        method: &str,
        target: &str,
        body: &str,
        columns: &[(&'static str, &str); N],
    ) -> Result<(), client::Error> {
        if self.json {
            let print = |piece: &[u8]| io::stdout().write_all(piece);
            return self.request(method, target, body, print).map(drop);
        }
        let mut answer = Vec::new();
        self.request(method, target, body, |piece| answer.write_all(piece))?;
        let answer = json::parse(&answer);
        let answer = answer.map_err(|_| self.failed(Trouble::Invalid("it sent no JSON")))?;
        let mut table = Table::new(&columns.map(|(head, _)| head));
        for item in answer.as_array().unwrap_or(std::slice::from_ref(&answer)) {
            table.add(columns.map(|(_, key)| cell(key, item.get(key))));
        }
        // Nobody has to read it.
        let _ = table.write(&mut io::stdout(), io::stdout().is_terminal());
        Ok(())
    }

    /// Sends one request, and passes the body of its answer to `sink` where it is a success.
    fn request(
        &self,
        method: &str,
        target: &str,
        body: &str,
        sink: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<u16, client::Error> {
        let mut client = self.broker.http();
        let failed = |trouble| self.failed(trouble);
        let patience = if self.verb == Verb::Health { PATIENCE_FOR_HEALTH } else { PATIENCE };
        let head = client.request(method, target, body.as_bytes(), patience).map_err(failed)?;
        if head.status < 300 {
            client.body(patience, sink).map_err(failed)?;
            return Ok(head.status);
        }
        let refusal = Refusal::of_http(head.status, &client.short_body(patience));
        let topic = if self.verb == Verb::Forget { "" } else { &self.name };
        Err(self.broker.refused(topic, refusal))
    }

    fn failed(&self, trouble: Trouble) -> client::Error {
        client::Error::GaveUp { address: self.broker.address().to_owned(), trouble }
    }
}

/// The bounds that flags name, as the broker's JSON: a count, a text that it understands, or
/// `none`. Empty where there is none.
fn bounds(arguments: &Arguments) -> String {
    let mut out = Vec::new();
    let mut object = Object::new(&mut out);
    let mut any = false;
    for (flag, key) in BOUNDS {
        let Some(value) = arguments.value(flag) else { continue };
        any = true;
        match value.parse::<u64>() {
            _ if value == "none" => object.field(key, None::<&str>),
            Ok(number) => object.field(key, number),
            Err(_) => object.field(key, value),
        };
    }
    object.end();
    if any { String::from_utf8(out).unwrap_or_default() } else { String::new() }
}

/// A member of an object as a table shows it.
fn cell(key: &str, value: Option<&Value<'_>>) -> String {
    match (key, value) {
        (_, Some(Value::Null) | None) => "-".to_owned(),
        ("last" | "last_seen", Some(value)) => {
            value.as_u64().map(clock::plain_date).unwrap_or_default()
        }
        (_, Some(value)) => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
    }
}
