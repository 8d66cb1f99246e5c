//! The reasons why the broker does not run.

use crate::access::TokenError;
use crate::store::journal;
use common::client;
use std::path::PathBuf;
use std::{error, fmt, io};

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
    /// Limits leave room for no connection at all.
    NoRoom {
        /// The one to raise.
        bound: &'static str,
    },
    /// The journal holds more than there is memory for.
    Memory {
        /// Where the journal is.
        directory: PathBuf,
        /// About how many bytes it needs.
        needed: u64,
        /// How many there are.
        free: u64,
    },
    /// The journal could not be opened, or is not whole.
    Journal {
        /// What is wrong with it.
        cause: Box<dyn error::Error + Send + Sync>,
        /// Whether it is damaged: to start again does not help.
        is_damaged: bool,
    },
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
    /// The cluster of NATS cannot be the home of topics, for this reason.
    Nats(String),
    /// The log cannot be written.
    Log {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The system has no thread to spare.
    Thread(io::Error),
    /// Another broker was asked, and did not do it.
    Ask(client::Error),
    /// The token's file holds no token.
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: TokenError,
    },
}

impl Error {
    /// The exit status that says so.
    #[must_use]
    pub fn status(&self) -> u8 {
        if matches!(self, Error::Journal { is_damaged: true, .. }) { 3 } else { 1 }
    }
}

impl From<journal::Error> for Error {
    fn from(error: journal::Error) -> Error {
        let is_damaged = error.is_damage();
        Error::Journal { cause: Box::new(error), is_damaged }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Bind { address, cause } if cause.kind() == io::ErrorKind::AddrInUse => write!(
                f,
                "{address} is taken: is a broker running already? Choose another with --port"
            ),
            Error::Bind { address, .. } => write!(f, "cannot listen on {address}"),
            Error::NoRoom { bound } => {
                write!(f, "no room for a single connection: raise {bound}")
            }
            Error::Memory { directory, needed, free } => write!(
                f,
                "{} needs about {} MB of memory, and {} MB are free here: start the broker where \
                 there is more, or raise the limit of its container or service",
                directory.display(),
                needed / 1_000_000,
                free / 1_000_000
            ),
            Error::Journal { cause, .. } => cause.fmt(f),
            Error::Ask(cause) => cause.fmt(f),
            Error::OwnTopics { topic } => write!(
                f,
                "the data directory has topics of its own, such as {topic:?}, and a leaf may have \
                 none: choose another --data"
            ),
            Error::Mirrors { topic } => write!(
                f,
                "the data directory has copies of another broker's topics, such as {topic:?}: use \
                 --upstream or --index as before, or choose another --data"
            ),
            Error::Advertise => f.write_str(
                "this peer listens on all addresses: name the one that other peers use with \
                 --advertise <host:port>",
            ),
            Error::Log { path, .. } => write!(f, "cannot write the log {}", path.display()),
            Error::Nats(reason) => write!(f, "--nats: {reason}"),
            Error::Thread(_) => f.write_str("the system gives no thread"),
            Error::Token { path, .. } => write!(f, "cannot use the tokens in {}", path.display()),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Error::Bind { cause, .. } | Error::Thread(cause) => Some(cause),
            Error::Journal { cause, .. } => cause.source(),
            Error::Ask(cause) => cause.source(),
            Error::Log { cause, .. } => Some(cause),
            Error::NoRoom { .. }
            | Error::Memory { .. }
            | Error::OwnTopics { .. }
            | Error::Mirrors { .. }
            | Error::Nats(_)
            | Error::Advertise => None,
            Error::Token { cause, .. } => Some(cause),
        }
    }
}
