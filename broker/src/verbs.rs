//! The verbs: what a person or a script asks of a broker that runs, one request over HTTP each.
//!
//! A table on a terminal, tab-separated lines through a pipe, and what the broker said with
//! `--json`. Nothing is repeated: whoever calls knows whether to wait.
//!
//! # Not here
//!
//! `verify` and `repair`, which work on a directory and need no broker (`store/journal`).

use common::client::{self, Broker, Refusal, Remote, Trouble};
use common::clock;
use common::flags::{self, Arguments, Error, Flag};
use common::http::percent;
use common::json::{self, Object, Value};
use common::location::{self, Location};
use std::env;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

mod table;

use table::Table;

/// How long the broker may take to begin an answer, or to send the next piece of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whoever asks for health asks again soon.
const PATIENCE_FOR_HEALTH: Duration = Duration::from_secs(5);

/// The form of each verb, for the help.
pub(crate) const USAGE: [&str; 6] = [
    "broker topics [--broker <host:port>] [--json]",
    "broker create <name> [--keep-messages <n>] [--keep-bytes <n>] [--keep-for <t>]",
    "broker keep <topic> [--keep-messages <n>] [--keep-bytes <n>] [--keep-for <t>]",
    "broker trim <topic> --before <offset>",
    "broker delete <topic>",
    "broker health",
];

/// The flags that go with verbs alone.
pub(crate) const FLAGS: [Flag; 3] = [
    Flag {
        help: "With a verb, such as topics or health: the broker that is asked. Default: \
               PEER_BROKER_HOST and PEER_BROKER_PORT, else this machine at PORT or 9000.",
        ..location::FLAG
    },
    Flag {
        name: "before",
        value: "<offset>",
        repeats: false,
        help: "With trim: let go of all messages before this offset, for ever.",
    },
    Flag {
        name: "json",
        value: "",
        repeats: false,
        help: "With topics, keep and trim: print what the broker answers, and no table.",
    },
];

/// The flags that bound what a topic keeps, and the fields of the broker's JSON.
const BOUNDS: [(&str, &str); 3] =
    [("keep-messages", "keep_messages"), ("keep-bytes", "keep_bytes"), ("keep-for", "keep_for")];

/// What a table says of a topic.
const COLUMNS: [(&str, &str); 9] = [
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

/// A verb, and the broker that it is said to.
#[derive(Debug, Clone)]
pub struct Call {
    location: Location,
    json: bool,
    verb: Verb,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Verb {
    Topics,
    /// With the bounds of the topic, as JSON.
    Create(String, String),
    Keep(String, String),
    Trim(String, u64),
    Delete(String),
    Health,
}

impl Call {
    /// Reads a verb, the flags that go with it, and the environment.
    pub(crate) fn from(arguments: &Arguments) -> Result<Call, Error> {
        let words: Vec<&str> = arguments.ordinary().iter().map(String::as_str).collect();
        let owned = |text: &str| text.to_owned();
        let wrong = |reason: String| Err(Error::Combination(reason));
        let bounds = bounds(arguments);
        let (verb, flags) = match words.as_slice() {
            ["topics"] => (Verb::Topics, &["json"][..]),
            ["create", topic] => {
                (Verb::Create(owned(topic), bounds), &BOUNDS.map(|(flag, _)| flag)[..])
            }
            ["keep", _] if bounds.is_empty() => {
                return wrong("keep needs --keep-messages, --keep-bytes or --keep-for".to_owned());
            }
            ["keep", topic] => (
                Verb::Keep(owned(topic), bounds),
                &["keep-messages", "keep-bytes", "keep-for", "json"][..],
            ),
            ["trim", topic] => match arguments.number("before")? {
                Some(before) => (Verb::Trim(owned(topic), before), &["before", "json"][..]),
                None => return wrong("trim needs --before=<offset>".to_owned()),
            },
            ["delete", topic] => (Verb::Delete(owned(topic)), &[][..]),
            ["health"] => (Verb::Health, &[][..]),
            [verb @ ("create" | "keep" | "trim" | "delete")] => {
                return wrong(format!("{verb} needs the name of a topic"));
            }
            ["topics" | "health", other, ..]
            | ["create" | "keep" | "trim" | "delete", _, other, ..]
            | [other, ..] => return Err(Error::UnexpectedArgument(owned(other))),
            [] => return wrong("there is no verb".to_owned()),
        };
        let goes = |name: &str| name == location::FLAG.name || flags.contains(&name);
        if let Some(flag) = arguments.names().find(|name| !goes(name)) {
            let verb = words.first().copied().unwrap_or_default();
            return wrong(format!("--{flag} does not go with {verb}"));
        }
        let mut location = Location::from(arguments)?;
        // In the container of a broker, its own port is meant.
        let peer = ["PEER_BROKER_HOST", "PEER_BROKER_PORT"].iter().find_map(env::var_os);
        if let (false, None, Ok(port)) = (arguments.has("broker"), peer, env::var("PORT")) {
            location.address = format!("127.0.0.1:{}", port.trim());
        }
        Ok(Call { location, json: arguments.has("json"), verb })
    }

    /// Refuses a broker that is to serve where a flag is for verbs.
    pub(crate) fn check_absent(arguments: &Arguments) -> Result<(), Error> {
        match arguments.names().find(|name| FLAGS.iter().any(|flag| flag.name == *name)) {
            Some(flag) => Err(Error::Combination(format!("--{flag} goes with a verb"))),
            None => Ok(()),
        }
    }

    /// Asks the broker, and prints its answer.
    pub(crate) fn make(&self) -> Result<(), client::Error> {
        let of = |topic: &str| format!("/topics/{}", percent::encode(topic));
        match &self.verb {
            Verb::Topics => self.show("GET", "/topics", "", ""),
            Verb::Create(topic, bounds) => {
                let ignored = |_: &[u8]| Ok(());
                let status = self.request("PUT", &of(topic), bounds, topic, PATIENCE, ignored)?;
                flags::print(if status == 201 { "created" } else { "was there already" });
                Ok(())
            }
            Verb::Keep(topic, bounds) => {
                // Bounds alone would create the topic, where its name was mistyped.
                self.request("GET", &of(topic), "", topic, PATIENCE, |_| Ok(()))?;
                self.show("PUT", &of(topic), bounds, topic)
            }
            Verb::Trim(topic, before) => {
                self.show("DELETE", &format!("{}/messages?before={before}", of(topic)), "", topic)
            }
            Verb::Delete(topic) => {
                self.request("DELETE", &of(topic), "", topic, PATIENCE, |_| Ok(()))?;
                flags::print("deleted");
                Ok(())
            }
            Verb::Health => {
                self.request("GET", "/readyz", "", "", PATIENCE_FOR_HEALTH, |_| Ok(()))?;
                flags::print("ok");
                Ok(())
            }
        }
    }

    /// Asks for topics, or for one, and shows them.
    fn show(
        &self,
        method: &str,
        target: &str,
        body: &str,
        topic: &str,
    ) -> Result<(), client::Error> {
        if self.json {
            let print = |piece: &[u8]| io::stdout().write_all(piece);
            return self.request(method, target, body, topic, PATIENCE, print).map(drop);
        }
        let mut answer = Vec::new();
        self.request(method, target, body, topic, PATIENCE, |piece| {
            answer.extend_from_slice(piece);
            Ok(())
        })?;
        let answer = json::parse(&answer);
        let answer = answer.map_err(|_| self.failed(Trouble::Invalid("it sent no JSON")))?;
        let mut table = Table::new(&COLUMNS.map(|(head, _)| head));
        for topic in answer.as_array().unwrap_or(std::slice::from_ref(&answer)) {
            table.add(COLUMNS.map(|(_, key)| cell(key, topic.get(key))));
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
        topic: &str,
        patience: Duration,
        sink: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<u16, client::Error> {
        let broker = Broker::from(self.location.clone());
        let mut remote = Remote::new(&broker);
        let failed = |cause| self.failed(Trouble::Connection(cause));
        let head = remote.request(method, target, body.as_bytes(), patience).map_err(failed)?;
        if head.status < 300 {
            remote.body(patience, sink).map_err(failed)?;
            return Ok(head.status);
        }
        Err(broker.refused(topic, Refusal::of_http(head.status, &remote.short_body(patience))))
    }

    fn failed(&self, trouble: Trouble) -> client::Error {
        client::Error::GaveUp { address: self.location.address.clone(), trouble }
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
        ("last", Some(value)) => value.as_u64().map(clock::plain_date).unwrap_or_default(),
        (_, Some(value)) => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
    }
}
