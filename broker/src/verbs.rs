//! The verbs: what a person or a script asks of a broker that runs, one request over HTTP each.
//!
//! A table on a terminal, tab-separated lines through a pipe, and what the broker said with
//! `--json`. Nothing is repeated: whoever calls knows whether to wait.
//!
//! # Not here
//!
//! `verify` and `repair`, which work on a directory and need no broker (`store/journal`).

use common::client::{self, Broker, Refusal, Remote, Trouble};
use common::flags::{self, Arguments, Error, Flag};
use common::http::percent;
use common::json::{self, Value};
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
pub(crate) const USAGE: [&str; 4] = [
    "broker topics [--broker <host:port>] [--json]",
    "broker create <topic>",
    "broker delete <topic>",
    "broker health",
];

/// The flags that go with verbs.
pub(crate) const FLAGS: [Flag; 2] = [
    Flag {
        help: "With topics, create, delete and health: the broker that is asked. Default: \
               PEER_BROKER_HOST and PEER_BROKER_PORT, else this machine at PORT or 9000.",
        ..location::FLAG
    },
    Flag {
        name: "json",
        value: "",
        repeats: false,
        help: "With topics: print what the broker answers, and no table.",
    },
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
    Create(String),
    Delete(String),
    Health,
}

impl Call {
    /// Reads a verb, the flags that go with it, and the environment.
    pub(crate) fn from(arguments: &Arguments) -> Result<Call, Error> {
        let words: Vec<&str> = arguments.ordinary().iter().map(String::as_str).collect();
        let verb = match words.as_slice() {
            ["topics"] => Verb::Topics,
            ["create", topic] => Verb::Create((*topic).to_owned()),
            ["delete", topic] => Verb::Delete((*topic).to_owned()),
            ["health"] => Verb::Health,
            [verb @ ("create" | "delete")] => {
                return Err(Error::Combination(format!("{verb} needs the name of a topic")));
            }
            ["topics" | "health", other, ..] | ["create" | "delete", _, other, ..] => {
                return Err(Error::UnexpectedArgument((*other).to_owned()));
            }
            other => {
                let first = other.first().copied().unwrap_or_default();
                return Err(Error::UnexpectedArgument(first.to_owned()));
            }
        };
        if let Some(flag) = arguments.names().find(|name| !FLAGS.iter().any(|f| f.name == *name)) {
            let verb = words.first().copied().unwrap_or_default();
            return Err(Error::Combination(format!("--{flag} does not go with {verb}")));
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
        match &self.verb {
            Verb::Topics => self.topics(),
            Verb::Create(topic) => {
                let status = self.ask("PUT", topic)?;
                flags::print(if status == 201 { "created" } else { "was there already" });
                Ok(())
            }
            Verb::Delete(topic) => {
                self.ask("DELETE", topic)?;
                flags::print("deleted");
                Ok(())
            }
            Verb::Health => {
                self.request("GET", "/readyz", "", PATIENCE_FOR_HEALTH, |_| Ok(()))?;
                flags::print("ok");
                Ok(())
            }
        }
    }

    fn topics(&self) -> Result<(), client::Error> {
        if self.json {
            let print = |piece: &[u8]| io::stdout().write_all(piece);
            return self.request("GET", "/topics", "", PATIENCE, print).map(drop);
        }
        let mut body = Vec::new();
        let take = |piece: &[u8]| {
            body.extend_from_slice(piece);
            Ok(())
        };
        self.request("GET", "/topics", "", PATIENCE, take)?;
        let list = json::parse(&body);
        let topics = list.as_ref().ok().and_then(Value::as_array);
        let topics = topics.ok_or_else(|| self.failed(Trouble::Invalid("it sent no list")))?;
        let mut table = Table::new(&["TOPIC", "MESSAGES", "BYTES", "STREAM"]);
        for topic in topics {
            table.add(["topic", "messages", "bytes", "stream"].map(|key| cell(topic.get(key))));
        }
        let mut out = io::stdout();
        // Nobody has to read it.
        let _ = table.write(&mut out, io::stdout().is_terminal());
        Ok(())
    }

    /// Asks for something that is about one topic, and gives the status of the answer.
    fn ask(&self, method: &str, topic: &str) -> Result<u16, client::Error> {
        let target = format!("/topics/{}", percent::encode(topic));
        self.request(method, &target, topic, PATIENCE, |_| Ok(()))
    }

    /// Sends one request, and passes the body of its answer to `sink` where it is a success.
    fn request(
        &self,
        method: &str,
        target: &str,
        topic: &str,
        patience: Duration,
        sink: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<u16, client::Error> {
        let broker = Broker::from(self.location.clone());
        let mut remote = Remote::new(&broker);
        let failed = |cause| self.failed(Trouble::Connection(cause));
        let head = remote.request(method, target, b"", patience).map_err(failed)?;
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

/// A member of an object as a table shows it.
fn cell(value: Option<&Value<'_>>) -> String {
    match value {
        Some(Value::Null) | None => "-".to_owned(),
        Some(value) => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
    }
}
