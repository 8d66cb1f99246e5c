//! The broker: topics of messages, behind one port.
//!
//! Modules in reading order:
//!
//! - `config`: the command line
//! - `server`: the accept loop, a thread for each connection; `room`: how many of them
//! - `door`: the protocols; each turns bytes into calls on [`broker`](Broker)
//! - `broker`: what all connections share
//! - `topics`: the messages; `facts`, `numbers`, `stream`: what is known beside them
//! - `batch`, `entry`: messages on their way in, and as they are kept
//! - `listeners`: who waits for messages
//! - `memory`, `refusal`: limits, and what a client is told

#![forbid(unsafe_code)]

mod batch;
mod broker;
mod config;
mod door;
mod entry;
mod facts;
mod journal;
mod listeners;
mod memory;
mod numbers;
mod refusal;
mod room;
mod server;
mod stream;
mod topics;

pub use config::{Config, PROGRAM};

use broker::Broker;
use room::Room;
use std::io::{self, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::{error, fmt};

/// Why the broker could not start.
#[derive(Debug)]
pub enum Error {
    /// The address could not be bound.
    Bind {
        /// The address and port that were asked for.
        address: String,
        /// What the system said.
        cause: io::Error,
    },
}

/// Binds the address, says so on standard output, and serves until the process ends.
///
/// # Errors
///
/// What kept it from starting.
pub fn run(config: Config) -> Result<(), Error> {
    let Config { host, port, connections_max, message_size_max, memory_max } = config;
    let bind = |cause| Error::Bind { address: format!("{host}:{port}"), cause };
    let listener = TcpListener::bind((host.as_str(), port)).map_err(bind)?;
    let address = listener.local_addr().map_err(bind)?;
    let (connections, bound) = room::capacity(connections_max);
    let reach = if address.ip().is_loopback() {
        "for programs on this machine only"
    } else {
        "for everybody who can reach this machine"
    };
    // Nobody has to read this: a closed standard output does not keep the broker from serving.
    let _ = writeln!(
        io::stdout(),
        "Broker running on http://{address} {reach}, in memory: a restart forgets all messages\n\
         Room for {connections} connections ({bound}) and {} MiB of messages",
        memory_max >> 20
    );
    let broker = Arc::new(Broker::new(message_size_max, memory_max));
    server::serve(&listener, &broker, &Arc::new(Room::new(connections)))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Bind { address, cause } if cause.kind() == io::ErrorKind::AddrInUse => write!(
                f,
                "{address} is taken: is a broker running already? Choose another with --port"
            ),
            Error::Bind { address, .. } => write!(f, "cannot listen on {address}"),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Error::Bind { cause, .. } => Some(cause),
        }
    }
}
