//! The command line of the broker.

use crate::access::{Origins, Token};
use crate::home::NatsSettings;
use crate::store::journal::{SEGMENT_SIZE, Settings, Sync};
use crate::store::{Limits, memory};
use crate::verbs::Call;
use common::flags::{Arguments, Error, Program};
use common::http::parse;
use common::limits::{
    ANSWER_TIMEOUT, BODY_SIZE_MAX, BODY_TIMEOUT, HEAD_TIMEOUT, IDLE_TIMEOUT, MESSAGE_SIZE_MAX,
};
use std::env;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

/// The port where neither a flag nor the environment names one.
const PORT: u16 = 9000;

/// Smaller files would be made faster than they can be cleaned.
const SEGMENT_SIZE_MIN: u64 = 64 << 10;

const AT_LEAST_1: &str = "it must be at least 1";

/// The broker's flags and help.
pub const PROGRAM: Program = Program { name: "broker", help: include_str!("help.txt") };

/// How a broker works with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Not at all: it is the home of its topics.
    Alone,
    /// As a leaf of the broker at this `HOST:PORT`.
    Leaf(String),
    /// As a peer.
    Peer {
        /// The index, `HOST:PORT`.
        index: String,
        /// Where others reach this broker, if that is not where it listens.
        advertise: Option<(String, u16)>,
    },
    /// Before a cluster of NATS.
    Nats(NatsSettings),
}

impl Role {
    fn from(arguments: &Arguments) -> Result<Role, Error> {
        let given = |flag| arguments.value(flag).map(|text| host_and_port(flag, text)).transpose();
        let text = |(host, port): (String, u16)| format!("{host}:{port}");
        let nats = nats(arguments)?;
        match (given("upstream")?, given("index")?, given("advertise")?, nats) {
            (_, None, Some(_), _) => Err(Error::new("--advertise needs --index")),
            (Some(upstream), None, None, None) => Ok(Role::Leaf(text(upstream))),
            (None, Some(index), advertise, None) => {
                Ok(Role::Peer { index: text(index), advertise })
            }
            (None, None, None, Some(nats)) => Ok(Role::Nats(nats)),
            (None, None, None, None) => Ok(Role::Alone),
            _ => Err(Error::new("--upstream, --index and --nats exclude one another")),
        }
    }
}

/// The cluster of NATS, where one is named.
fn nats(arguments: &Arguments) -> Result<Option<NatsSettings>, Error> {
    let Some(list) = arguments.value("nats") else {
        let others = ["nats-replicas", "nats-prefix", "nats-synced"];
        return match others.iter().find(|flag| arguments.has(flag)) {
            Some(flag) => Err(Error::new(format!("--{flag} needs --nats"))),
            None => Ok(None),
        };
    };
    let server = |text: &str| host_and_port("nats", text.trim()).map(|_| text.trim().to_owned());
    let servers = list.split(',').map(server).collect::<Result<_, _>>()?;
    let replicas = arguments.number::<u64>("nats-replicas")?;
    let is_wrong = replicas.is_some_and(|count| !(1..=5).contains(&count));
    refuse_if(is_wrong, arguments, "nats-replicas", "it is 1 to 5")?;
    let prefix = arguments.value("nats-prefix").unwrap_or("ps").to_owned();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let is_right = (1..=32).contains(&prefix.len()) && prefix.bytes().all(is_plain);
    let reason = "it is 1 to 32 letters, digits, '_' and '-'";
    refuse_if(!is_right, arguments, "nats-prefix", reason)?;
    let (is_synced, limits) = (arguments.has("nats-synced"), limits(arguments)?);
    Ok(Some(NatsSettings { servers, replicas, prefix, is_synced, limits }))
}

fn host_and_port(flag: &'static str, text: &str) -> Result<(String, u16), Error> {
    match parse::authority(text) {
        Some((host, Some(port))) => Ok((host.to_owned(), port)),
        _ => Err(Error::value(flag, text, "it is not <host:port>")),
    }
}

/// Refuses the value of a flag where it is wrong, as it was given.
fn refuse_if(
    is_wrong: bool,
    arguments: &Arguments,
    flag: &'static str,
    reason: impl Display,
) -> Result<(), Error> {
    let value = arguments.value(flag).unwrap_or_default();
    if is_wrong { Err(Error::value(flag, value, reason)) } else { Ok(()) }
}

/// What the broker is to do.
#[derive(Debug, Clone)]
pub enum Task {
    /// Serve.
    Serve(Box<Config>),
    /// Check the journal in this directory, and say what it holds.
    Verify(PathBuf),
    /// Keep what is good of a damaged journal.
    Repair {
        /// Where it is.
        directory: PathBuf,
        /// Whether it is only to be said what would be done.
        dry_run: bool,
    },
    /// Make the copies of another broker's topics in this directory its own.
    Promote(PathBuf),
    /// Ask a broker that runs.
    Ask(Call),
}

impl Task {
    /// Reads the command line and the environment.
    ///
    /// # Errors
    ///
    /// What cannot be used, and why.
    pub fn from(arguments: &Arguments) -> Result<Task, Error> {
        match arguments.ordinary() {
            [] => {
                Call::check_absent(arguments)?;
                if arguments.has("dry-run") {
                    return Err(Error::new("--dry-run needs repair"));
                }
                Ok(Task::Serve(Box::new(Config::from(arguments)?)))
            }
            [verb, rest @ ..] if ["verify", "repair", "promote"].contains(&verb.as_str()) => {
                let directory = match rest {
                    [directory] if !directory.is_empty() => directory.into(),
                    [_, other, ..] => return Err(Error::unexpected(other)),
                    _ => {
                        return Err(Error::new(format!("{verb} needs the directory of a journal")));
                    }
                };
                let goes = |flag: &&str| *flag == "dry-run" && verb == "repair";
                if let Some(flag) = arguments.names().find(|flag| !goes(flag)) {
                    return Err(Error::new(format!("--{flag} does not work with {verb}")));
                }
                Ok(match verb.as_str() {
                    "verify" => Task::Verify(directory),
                    "repair" => Task::Repair { directory, dry_run: arguments.has("dry-run") },
                    _ => Task::Promote(directory),
                })
            }
            _ => Call::from(arguments).map(Task::Ask),
        }
    }
}

/// How the broker is to serve.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address to bind, without the port.
    pub host: String,
    /// The port to bind; 0 for a free one.
    pub port: u16,
    /// Where messages are kept on disk, if they are.
    pub data: Option<PathBuf>,
    /// How they are kept there.
    pub(crate) journal: Settings,
    /// With which other brokers it works.
    pub role: Role,
    /// The most connections, where that was said.
    pub connections_max: Option<usize>,
    /// The longest message, in bytes.
    pub message_size_max: usize,
    /// Memory for messages, in bytes.
    pub memory_max: u64,
    /// What topics keep that have no bounds of their own.
    pub(crate) limits: Limits,
    /// After how long an absent subscriber's lasting subscriptions end, if they do.
    pub(crate) forget_after: Option<Duration>,
    /// The token of the environment: brokers that it works with ask for it, and clients have to
    /// send it where there is no file.
    pub token: Option<Token>,
    /// The file of the tokens that clients may send.
    pub token_file: Option<PathBuf>,
    /// The web pages that may use the broker beside its own.
    pub origins: Origins,
    /// Names by which clients may call a broker on a loopback address.
    pub hosts: Vec<String>,
    /// Where it is noted who does what, if it is; `-` is standard output.
    pub log: Option<PathBuf>,
    /// Whether reads are noted there too.
    pub log_reads: bool,
    /// How long HTTP clients may take.
    pub timeouts: Timeouts,
}

/// How long an HTTP client may take for each thing that it does.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// From the first byte of a request to the end of its head.
    pub head: Duration,
    /// From the end of a head to the end of its body.
    pub body: Duration,
    /// For an answer, or a piece of a large one, to be taken.
    pub answer: Duration,
    /// Between an answer and the next request.
    pub idle: Duration,
}

impl Config {
    fn from(arguments: &Arguments) -> Result<Config, Error> {
        // An empty variable is how many shells and files of settings leave it out.
        let deployed = env::var("PORT").ok().filter(|port| !port.trim().is_empty());
        let port = match (arguments.number("port")?, &deployed) {
            (Some(port), _) => port,
            (None, Some(port)) => port
                .trim()
                .parse()
                .map_err(|_| Error::new(format!("PORT is {port:?}, not a port")))?,
            (None, None) => PORT,
        };
        let host = match (arguments.value("host"), deployed) {
            // An address of IPv6 may be written as in a URL.
            (Some(host), _) => {
                let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
                inner.unwrap_or(host).to_owned()
            }
            (None, Some(_)) => "0.0.0.0".to_owned(),
            (None, None) => "127.0.0.1".to_owned(),
        };
        let connections_max = arguments.number("max-connections")?;
        refuse_if(connections_max == Some(0), arguments, "max-connections", AT_LEAST_1)?;
        let message_size_max = arguments.size("max-message")?.unwrap_or(MESSAGE_SIZE_MAX);
        let reason = format!("a message may have {} bytes at most", BODY_SIZE_MAX / 2);
        refuse_if(message_size_max > BODY_SIZE_MAX / 2, arguments, "max-message", reason)?;
        let sync = match arguments.value("sync") {
            Some("os") => Sync::Os,
            Some("always") | None => Sync::Always,
            Some(other) => return Err(Error::value("sync", other, "it is always or os")),
        };
        let segment_size = arguments.size("segment")?.unwrap_or(SEGMENT_SIZE);
        let reason = format!("it must be at least {SEGMENT_SIZE_MIN}");
        refuse_if(segment_size < SEGMENT_SIZE_MIN, arguments, "segment", reason)?;
        let data = arguments.value("data").map(PathBuf::from);
        let of_data = ["sync", "segment"].into_iter().find(|flag| arguments.has(flag));
        if let (None, Some(flag)) = (&data, of_data) {
            return Err(Error::new(format!("--{flag} needs --data")));
        }
        let mut origins = Origins::default();
        for origin in arguments.values("allow-origin") {
            let add = origins.add(origin);
            add.map_err(|reason| Error::value("allow-origin", origin, reason))?;
        }
        let mut hosts = vec![host.clone()];
        for name in arguments.values("allow-host") {
            match parse::authority(name) {
                Some((host, None)) => hosts.push(host.trim_end_matches('.').to_owned()),
                _ => return Err(Error::value("allow-host", name, "it is a name without a port")),
            }
        }
        Ok(Config {
            hosts,
            host,
            port,
            data,
            journal: Settings { sync, segment_size },
            role: Role::from(arguments)?,
            connections_max,
            message_size_max,
            memory_max: arguments.size("max-memory")?.unwrap_or_else(memory::default_max),
            limits: limits(arguments)?,
            forget_after: above_0(arguments, "forget-subscribers")?,
            token: token()?,
            token_file: arguments.value("token-file").map(PathBuf::from),
            origins,
            log: arguments.value("log").map(PathBuf::from),
            log_reads: arguments.has("log-reads"),
            timeouts: Timeouts::from(arguments)?,
        })
    }
}

/// What topics keep, where that is bounded.
fn limits(arguments: &Arguments) -> Result<Limits, Error> {
    let above_0 = |flag: &'static str, bound: Option<u64>| {
        let reason = "must be at least 1; leave it out to keep all";
        refuse_if(bound == Some(0), arguments, flag, reason).map(|()| bound)
    };
    let age = arguments.time("keep-for")?;
    let age = age.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    Ok(Limits {
        messages: above_0("keep-messages", arguments.number("keep-messages")?)?,
        bytes: above_0("keep-bytes", arguments.size("keep-bytes")?)?,
        age: above_0("keep-for", age)?,
    })
}

/// The token of the environment. An empty variable is refused: a broker that was meant to ask for
/// a token must not run without.
fn token() -> Result<Option<Token>, Error> {
    let Some(text) = env::var_os("BROKER_TOKEN") else { return Ok(None) };
    let token = Token::new(&text.to_string_lossy());
    let wrong = |why: &str| Error::new(format!("BROKER_TOKEN cannot be used: {why}"));
    token.map(Some).map_err(wrong)
}

/// The value of a flag as a length of time that is not 0.
fn above_0(arguments: &Arguments, flag: &'static str) -> Result<Option<Duration>, Error> {
    let time = arguments.time(flag)?;
    refuse_if(time == Some(Duration::ZERO), arguments, flag, AT_LEAST_1).map(|()| time)
}

impl Timeouts {
    fn from(arguments: &Arguments) -> Result<Timeouts, Error> {
        let seconds = |flag, default| Ok::<_, Error>(above_0(arguments, flag)?.unwrap_or(default));
        Ok(Timeouts {
            head: seconds("head-timeout", HEAD_TIMEOUT)?,
            body: seconds("body-timeout", BODY_TIMEOUT)?,
            answer: seconds("answer-timeout", ANSWER_TIMEOUT)?,
            idle: seconds("idle-timeout", IDLE_TIMEOUT)?,
        })
    }
}
