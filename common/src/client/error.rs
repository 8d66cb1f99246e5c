//! The errors of a call.

use super::answer::{Refusal, display_refusal};
use crate::flags::{self, one_line};
use crate::retry;
use crate::trouble::Trouble;
use std::{error, fmt};

/// Why a call failed. The call has already repeated attempts that may succeed later.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The broker refused.
    Refused {
        /// Where the broker is.
        address: String,
        /// The topic; empty if there is none.
        topic: String,
        /// The kind of refusal: an HTTP status.
        code: u16,
        /// The broker's words.
        reason: String,
    },
    /// No attempt succeeded for as long as [`Broker::patience`](super::Broker::patience) said.
    GaveUp {
        /// Where the broker is.
        address: String,
        /// Why the last attempt failed.
        trouble: Trouble,
    },
    /// The broker has lost messages of a [resuming](super::Publisher::resuming) publisher. The
    /// caller, who has the messages, may publish them again from `expected` on.
    Forgotten {
        /// Where the broker is.
        address: String,
        /// The topic.
        topic: String,
        /// The number that the broker expects next.
        expected: u64,
    },
}

/// How one attempt failed.
pub type Failure = retry::Failure<Trouble, Error>;

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Final(error)
    }
}

impl From<Error> for flags::Error {
    fn from(error: Error) -> flags::Error {
        flags::Error::new(one_line(&error))
    }
}

impl From<flags::Error> for retry::Failure<Trouble, flags::Error> {
    fn from(error: flags::Error) -> Self {
        retry::Failure::Final(error)
    }
}

impl From<Refusal> for Trouble {
    /// For one that [is passing](Refusal::is_passing).
    fn from(refusal: Refusal) -> Trouble {
        Trouble::Answer(refusal.to_string())
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
                f.write_str(": ")?;
                display_refusal(f, *code, reason)
            }
            Error::GaveUp { address, trouble: Trouble::Answer(reason) } => {
                write!(f, "the broker at {address} cannot do it now: {reason}")
            }
            Error::GaveUp { address, .. } => write!(f, "gave up on the broker at {address}"),
            Error::Forgotten { address, topic, expected } => write!(
                f,
                "the broker at {address} has lost messages of {topic:?}: it expects number {expected}"
            ),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Error::GaveUp { trouble: Trouble::Answer(_), .. } => None,
            Error::GaveUp { trouble, .. } => Some(trouble),
            _ => None,
        }
    }
}
