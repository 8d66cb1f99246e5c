//! Why a call fails, and why an attempt does.

use crate::flags::one_line;
use crate::{connect, connection};
use std::{error, fmt};

/// Why a call failed. Attempts that may succeed later are repeated inside, so this is final.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The broker will not do it.
    Refused {
        /// Where the broker is.
        address: String,
        /// What it is about; empty where it is about no topic.
        topic: String,
        /// What kind of refusal it is: an HTTP status.
        code: u16,
        /// What the broker said.
        reason: String,
    },
    /// No attempt succeeded for as long as [`Broker::patience`](super::Broker::patience) said.
    GaveUp {
        /// Where the broker is.
        address: String,
        /// What the last attempt met.
        trouble: Trouble,
    },
    /// The broker no longer has what a [resuming](super::Publisher::resuming) publisher had
    /// published: it is for whoever has the messages to begin again there.
    Forgotten {
        /// Where the broker is.
        address: String,
        /// The topic.
        topic: String,
        /// The number that the broker expects next.
        expected: u64,
    },
}

/// Why one attempt failed that may succeed later.
#[derive(Debug)]
#[non_exhaustive]
pub enum Trouble {
    /// There is no connection.
    Connect(connect::Error),
    /// The connection failed, or the broker did not answer in time.
    Connection(connection::Error),
    /// The broker closed the connection.
    Closed,
    /// The broker said that it cannot at present.
    Answer(String),
    /// The broker said what it should not have.
    Invalid(&'static str),
}

/// How one attempt failed.
#[derive(Debug)]
pub(super) enum Failure {
    Passing(Trouble),
    Final(Error),
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Failure {
        Failure::Passing(trouble)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Final(error)
    }
}

impl From<connection::Error> for Trouble {
    fn from(cause: connection::Error) -> Trouble {
        Trouble::Connection(cause)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Refused { address, topic, code, reason } => {
                write!(f, "the broker at {address} refused")?;
                if !topic.is_empty() {
                    write!(f, " topic {topic:?}")?;
                }
                write!(f, ": {code}, {reason}")
            }
            Error::GaveUp { address, trouble: Trouble::Answer(reason) } => {
                write!(f, "the broker at {address} cannot at present: {reason}")
            }
            Error::GaveUp { address, .. } => write!(f, "no success with the broker at {address}"),
            Error::Forgotten { address, topic, expected } => write!(
                f,
                "the broker at {address} has lost what was published to {topic:?}: it expects \
                 number {expected}"
            ),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Error::GaveUp { trouble: Trouble::Answer(_), .. }
            | Error::Refused { .. }
            | Error::Forgotten { .. } => None,
            Error::GaveUp { trouble, .. } => Some(trouble),
        }
    }
}

impl fmt::Display for Trouble {
    /// With its causes, since it mostly stands within a sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Connect(cause) => f.write_str(&one_line(cause)),
            Trouble::Connection(cause) => f.write_str(&one_line(cause)),
            Trouble::Closed => f.write_str("the broker closed the connection"),
            Trouble::Answer(reason) => f.write_str(reason),
            Trouble::Invalid(what) => f.write_str(what),
        }
    }
}

impl error::Error for Trouble {}
