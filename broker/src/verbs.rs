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

/// How long the broker may take to begin an answer, or to send the next piece of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whoever asks for health asks again soon.
const PATIENCE_FOR_HEALTH: Duration = Duration::from_secs(5);

/// The flags that go with verbs alone.
const FLAGS: [&str; 4] = [Broker::FLAG, "before", "topic", "json"];

/// The flags that bound what a topic keeps, and the fields of the broker's JSON.
const BOUND_FLAGS: &[&str; 3] = &["keep-messages", "keep-bytes", "keep-for"];
const KEEP_FLAGS: &[&str] = &["keep-messages", "keep-bytes", "keep-for", "json"];
const BOUND_FIELDS: [&str; 3] = ["keep_messages", "keep_bytes", "keep_for"];

/// What a table says of an item: heads, and members of the broker's JSON.
type Columns = &'static [(&'static str, &'static str)];

const TOPIC: Columns = &[
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

/// The same of a lasting subscription.
const SUBSCRIPTION: Columns = &[
    ("SUBSCRIBER", "subscriber"),
    ("TOPIC", "topic"),
    ("NEXT", "next"),
    ("LAG", "lag"),
    ("CONNECTED", "connected"),
    ("LAST SEEN", "last_seen"),
];

/// What is said of a success.
#[derive(Debug, Clone, Copy)]
enum Says {
    Table(Columns),
    Word(&'static str),
}

/// A verb: the word, what it needs the name of, the flags that go with it, the method, the path
/// before the name, and what is said of a success.
type Verb = (&'static str, &'static str, &'static [&'static str], &'static str, &'static str, Says);

const VERBS: [Verb; 8] = [
    ("topics", "", &["json"], "GET", "/topics", Says::Table(TOPIC)),
    ("create", "topic", BOUND_FLAGS, "PUT", "/topics/", Says::Word("created")),
    ("keep", "topic", KEEP_FLAGS, "PUT", "/topics/", Says::Table(TOPIC)),
    ("trim", "topic", &["before", "json"], "DELETE", "/topics/", Says::Table(TOPIC)),
    ("delete", "topic", &[], "DELETE", "/topics/", Says::Word("deleted")),
    ("subscribers", "", &["json"], "GET", "/subscribers", Says::Table(SUBSCRIPTION)),
    ("forget", "subscriber", &["topic"], "DELETE", "/subscribers/", Says::Word("ended")),
    ("health", "", &[], "GET", "/readyz", Says::Word("ok")),
];

/// A verb as one request, and the broker that it is said to.
#[derive(Debug, Clone)]
pub struct Call {
    broker: Broker,
    word: &'static str,
    method: &'static str,
    target: String,
    /// The bounds of a topic, as JSON; else empty.
    body: String,
    says: Says,
    /// Whether the broker's own answer is printed in the place of a table.
    json: bool,
    /// The topic or the pattern; empty where the verb is about none.
    topic: String,
}

impl Call {
    /// Reads a verb, the flags that go with it, and the environment.
    pub(crate) fn from(arguments: &Arguments) -> Result<Call, Error> {
        let Some((word, rest)) = arguments.ordinary().split_first() else {
            return Err(Error::new("there is no verb"));
        };
        let unexpected = |argument: &str| Err(Error::unexpected(argument));
        let wrong = |reason: String| Err(Error::new(reason));
        let Some((word, of, flags, method, path, says)) =
            VERBS.into_iter().find(|verb| verb.0 == word)
        else {
            return unexpected(word);
        };
        let name = match (of, rest) {
            ("", []) => "",
            ("", [pattern]) if word == "topics" => pattern,
            ("", [other, ..]) | (_, [_, other, ..]) => return unexpected(other),
            (_, [name]) if !name.is_empty() => name,
            _ => return wrong(format!("{word} needs the name of a {of}")),
        };
        let (body, before) = (bounds(arguments), arguments.number::<u64>("before")?);
        if word == "keep" && body.is_empty() {
            return wrong("keep needs --keep-messages, --keep-bytes or --keep-for".to_owned());
        }
        if word == "trim" && before.is_none() {
            return wrong("trim needs --before=<offset>".to_owned());
        }
        let goes = |name: &str| name == Broker::FLAG || flags.contains(&name);
        if let Some(flag) = arguments.names().find(|name| !goes(name)) {
            return wrong(format!("--{flag} does not work with {word}"));
        }
        let encoded = percent::encode(name);
        let target = match (word, before, arguments.value("topic")) {
            ("topics", ..) if !name.is_empty() => format!("{path}?pattern={encoded}"),
            (_, Some(before), _) => format!("{path}{encoded}/messages?before={before}"),
            (.., Some(topic)) => format!("{path}{encoded}?topic={}", percent::encode(topic)),
            _ => format!("{path}{encoded}"),
        };
        let mut broker = Broker::from_arguments(arguments)?;
        // In the container of a broker, its own port is meant.
        let peer = ["PEER_BROKER_HOST", "PEER_BROKER_PORT"].iter().find_map(env::var_os);
        if let (false, None, Ok(port)) = (arguments.has(Broker::FLAG), peer, env::var("PORT")) {
            broker = broker.moved_to(format!("127.0.0.1:{}", port.trim()));
        }
        let topic = if of == "subscriber" { "" } else { name }.to_owned();
        let json = arguments.has("json");
        Ok(Call { broker, word, method, target, body, says, json, topic })
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
        if self.word == "keep" {
            // Bounds alone would create the topic, where its name was mistyped.
            self.request("GET", "", |_| Ok(()))?;
        }
        let request = |sink: &mut dyn FnMut(&[u8]) -> io::Result<()>| {
            self.request(self.method, &self.body, sink)
        };
        match self.says {
            Says::Word(done) => {
                let is_old = request(&mut |_| Ok(()))? != 201 && self.word == "create";
                flags::print(match is_old {
                    false => done,
                    true if self.body.is_empty() => "was there already",
                    true => "was there already; its bounds are those given now",
                });
            }
            Says::Table(_) if self.json => {
                request(&mut |piece| io::stdout().write_all(piece))?;
            }
            Says::Table(columns) => {
                let mut answer = Vec::new();
                request(&mut |piece| answer.write_all(piece))?;
                let invalid = |_| self.failed(Trouble::Invalid("it sent no JSON"));
                let answer = json::parse(&answer).map_err(invalid)?;
                let items = answer.as_array().unwrap_or(std::slice::from_ref(&answer)).iter();
                let cells = |item: &Value<'_>| {
                    columns.iter().map(|(_, key)| cell(key, item.get(key))).collect()
                };
                let rows: Vec<Vec<String>> = items.map(cells).collect();
                let head = columns.iter().map(|(head, _)| (*head).to_owned()).collect();
                let text = table::write(head, &rows, io::stdout().is_terminal());
                // Nobody has to read it.
                let _ = io::stdout().write_all(text.as_bytes());
            }
        }
        Ok(())
    }

    /// Sends a request, and passes the body of its answer to `sink` where it is a success. Gives
    /// the status.
    fn request(
        &self,
        method: &str,
        body: &str,
        sink: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<u16, client::Error> {
        let mut client = self.broker.http();
        let failed = |trouble| self.failed(trouble);
        let patience = if self.word == "health" { PATIENCE_FOR_HEALTH } else { PATIENCE };
        let head = client.request(method, &self.target, body.as_bytes(), patience);
        let head = head.map_err(failed)?;
        if head.status < 300 {
            client.body(patience, sink).map_err(failed)?;
            return Ok(head.status);
        }
        let refusal = Refusal::of_http(head.status, &client.short_body(patience));
        Err(self.broker.refused(&self.topic, refusal))
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
    for (flag, key) in BOUND_FLAGS.iter().zip(BOUND_FIELDS) {
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
        (_, Some(Value::Number(digits))) => (*digits).to_owned(),
        (_, Some(Value::Bool(truth))) => truth.to_string(),
        (_, Some(value)) => value.as_str().unwrap_or_default().to_owned(),
    }
}
