//! The broker: topics of messages, behind one port.
//!
//! Modules in reading order:
//!
//! - `config`: the command line; `access`: who may come in
//! - `server`: the accept loop, a thread for each connection; `room`: how many of them
//! - `door`: the protocols; each turns bytes into calls on `broker`
//! - `broker`: what all connections share
//! - `topics`: the messages; `facts`, `numbers`, `stream`: what is known beside them
//! - `batch`, `entry`: messages on their way in, and as they are kept
//! - `listeners`: who waits for messages
//! - `memory`, `arrivals`, `refusal`: limits, and what a client is told
//! - `metrics`: what is counted

#![forbid(unsafe_code)]

mod access;
mod arrivals;
mod batch;
mod broker;
mod catch_up;
mod commit;
mod config;
mod door;
mod entry;
mod facts;
mod format;
mod home;
mod journal;
mod ledger;
mod listeners;
mod log;
mod memory;
mod metrics;
mod names;
mod numbers;
mod objects;
mod refusal;
mod replay;
mod report;
mod room;
mod server;
mod session;
mod stream;
mod subscriber;
mod topics;
mod work;

pub use access::{Origins, Token, TokenError};
pub use config::{Config, PROGRAM, Role, Task, Timeouts, TokenSource};

use access::Access;
use arrivals::Arrivals;
use broker::Broker;
use home::index::Address;
use home::{Homes, Link, Peers};
use journal::{Journal, Sync};
use log::Log;
use memory::Memory;
use names::Names;
use replay::Replayed;
use room::Room;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{error, fmt, thread};
use topics::Topics;

/// Why the broker could not do what it was asked.
#[derive(Debug)]
pub enum Error {
    /// The address could not be bound.
    Bind {
        /// The address and port that were asked for.
        address: String,
        /// What the system said.
        cause: io::Error,
    },
    /// The journal could not be opened, or is not whole.
    Journal(Box<dyn error::Error + Send + std::marker::Sync>),
    /// A leaf would hide topics that it is the home of.
    OwnTopics {
        /// One of them.
        topic: String,
    },
    /// A broker on its own would go on with copies of another's topics under their stream ids, and
    /// nobody could tell the two apart.
    Mirrors {
        /// One of them.
        topic: String,
    },
    /// A peer listens on an address that others cannot call.
    Advertise,
    /// The log cannot be written.
    Log {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The system has no thread to spare.
    Thread(io::Error),
    /// The token's file holds no token.
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: TokenError,
    },
}

/// Does what the command line asks for.
///
/// # Errors
///
/// What kept it from that.
pub fn run(task: Task) -> Result<(), Error> {
    let journal = |error| Error::Journal(Box::new(error));
    match task {
        Task::Serve(config) => serve(*config),
        Task::Verify(directory) => {
            let summary = journal::verify(&directory).map_err(journal)?;
            say(&summary);
            Ok(())
        }
        Task::Repair(directory) => {
            let repaired = journal::repair(&directory).map_err(journal)?;
            say(&repaired);
            Ok(())
        }
    }
}

/// Binds the address, restores what was kept, says so on standard output, and serves until the
/// process ends.
fn serve(config: Config) -> Result<(), Error> {
    let token = match &config.token {
        None => None,
        Some(TokenSource::Given(token)) => Some(token.clone()),
        Some(TokenSource::File(path)) => {
            let unusable = |cause| Error::Token { path: path.clone(), cause };
            Some(Token::read(path).map_err(unusable)?)
        }
    };
    let Config { host, port, message_size_max, .. } = &config;
    let bind = |cause| Error::Bind { address: format!("{host}:{port}"), cause };
    let (connections, bound) = room::capacity(config.connections_max);
    // Bound before the journal is read, so that a taken port is found first; until then clients
    // are not accepted.
    let listener = TcpListener::bind((host.as_str(), *port)).map_err(bind)?;
    let address = listener.local_addr().map_err(bind)?;
    let memory = Memory::new(config.memory_max);
    let (topics, names, kept) = match &config.data {
        None => {
            let kept = "in memory: a restart forgets all messages".to_owned();
            (Topics::new(memory), Names::default(), kept)
        }
        Some(directory) => restore(directory, config.sync_always, memory)?,
    };
    let loopback_only = address.ip().is_loopback();
    let reach = match (loopback_only, &token) {
        (true, None) => "for programs on this machine only",
        (true, Some(_)) => "for programs on this machine only that send the token",
        (false, None) => "for everybody who can reach this machine, without a token",
        (false, Some(_)) => "for everybody who can reach this machine and sends the token",
    };
    let catch_up_threads = room::catch_up_threads(connections);
    let broker = Broker::new(topics, names, *message_size_max, catch_up_threads);
    let access = Access { loopback_only, origins: config.origins.clone(), token };
    let log = match &config.log {
        Some(path) => Log::open(path).map_err(|cause| Error::Log { path: path.clone(), cause })?,
        None => Log::default(),
    };
    let arrivals = Arrivals::new(config.memory_max);
    let timeouts = config.timeouts;
    let broker = Arc::new(Broker { access, arrivals, timeouts, log, ..broker });
    join(&config, &broker, address)?;
    if config.data.is_some() {
        let keeper = Arc::clone(&broker);
        let thread = thread::Builder::new();
        thread.spawn(move || keeper.keep_places()).map_err(Error::Thread)?;
        let clerk = Arc::clone(&broker);
        let thread = thread::Builder::new();
        thread.spawn(move || clerk.topics.attend()).map_err(Error::Thread)?;
    }
    say(&format_args!(
        "Broker running on http://{address} {reach}, {kept}\n\
         Room for {connections} connections ({bound}) and {} MiB of messages",
        config.memory_max >> 20
    ));
    server::serve(&listener, &broker, &Arc::new(Room::new(connections)))
}

/// Lets the broker work with others, as its role says.
fn join(config: &Config, broker: &Arc<Broker>, own: SocketAddr) -> Result<(), Error> {
    let token = config.peer_token.clone();
    let mirrors = broker.topics.names(true);
    let homes = match &config.role {
        Role::Alone => match mirrors.into_iter().next() {
            Some(topic) => return Err(Error::Mirrors { topic }),
            None => return Ok(()),
        },
        Role::Leaf(upstream) => {
            if let Some(topic) = broker.topics.names(false).into_iter().next() {
                return Err(Error::OwnTopics { topic });
            }
            let link = Link::new(upstream.clone(), token, true, broker).map_err(Error::Thread)?;
            Homes::Upstream(link)
        }
        Role::Peer { advertise: None, .. } if own.ip().is_unspecified() => {
            return Err(Error::Advertise);
        }
        Role::Peer { index, advertise } => {
            let (host, port) =
                advertise.clone().unwrap_or_else(|| (own.ip().to_string(), own.port()));
            Homes::Peers(Box::new(Peers::new(index.clone(), Address { host, port }, token)))
        }
    };
    // It is set here alone.
    let _ = broker.homes.set(homes);
    let joined = Arc::clone(broker);
    let attend = move || joined.homes().attend(mirrors, &joined);
    thread::Builder::new().spawn(attend).map(drop).map_err(Error::Thread)
}

/// The topics and lasting subscriptions that a directory holds, and a word about them.
fn restore(
    directory: &Path,
    sync_always: bool,
    memory: Memory,
) -> Result<(Topics, Names, String), Error> {
    let sync = if sync_always { Sync::Always } else { Sync::Os };
    let mut replayed = Replayed::new(memory);
    let opened = Journal::open(directory, sync, |record| replayed.apply(record));
    let (journal, notices) = opened.map_err(|error| Error::Journal(Box::new(error)))?;
    for notice in notices {
        let _ = writeln!(io::stderr(), "broker: {notice}");
    }
    let kept = format!(
        "on disk in {} ({}): {} messages found",
        directory.display(),
        if sync_always { "synced before they are acknowledged" } else { "synced by the system" },
        replayed.messages()
    );
    let names = std::mem::take(&mut replayed.names);
    Ok((Topics::restored(replayed, journal, sync_always), names, kept))
}

/// Prints a line. Nobody has to read it: a closed standard output does not keep a broker from
/// serving.
fn say(line: &dyn fmt::Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Bind { address, cause } if cause.kind() == io::ErrorKind::AddrInUse => write!(
                f,
                "{address} is taken: is a broker running already? Choose another with --port"
            ),
            Error::Bind { address, .. } => write!(f, "cannot listen on {address}"),
            Error::Journal(cause) => cause.fmt(f),
            Error::OwnTopics { topic } => write!(
                f,
                "the data directory holds topics of its own, such as {topic:?}: a leaf has none; \
                 start it with another --data"
            ),
            Error::Mirrors { topic } => write!(
                f,
                "the data directory holds copies of another broker's topics, such as {topic:?}: \
                 start it with --upstream or --index as before, or with another --data"
            ),
            Error::Advertise => f.write_str(
                "this peer listens on all addresses: say with --advertise <host:port> at which \
                 one the others reach it",
            ),
            Error::Log { path, .. } => write!(f, "cannot write the log {}", path.display()),
            Error::Thread(_) => f.write_str("the system has no thread to spare"),
            Error::Token { path, .. } => write!(f, "no token from {}", path.display()),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Error::Bind { cause, .. } | Error::Thread(cause) => Some(cause),
            Error::Journal(cause) => cause.source(),
            Error::Log { cause, .. } => Some(cause),
            Error::OwnTopics { .. } | Error::Mirrors { .. } | Error::Advertise => None,
            Error::Token { cause, .. } => Some(cause),
        }
    }
}
