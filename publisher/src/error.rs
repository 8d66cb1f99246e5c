//! Why the publisher gives up.

use common::flags::one_line;
use common::http::client;
use std::{error, fmt};

/// What kept a message from being published. `published` messages were, before it.
#[derive(Debug)]
pub enum Error {
    /// The broker will not have it.
    Refused {
        /// Where the broker is.
        address: String,
        /// The topic of the message.
        topic: String,
        /// What the broker said.
        reason: String,
        /// How many messages are in the broker.
        published: u64,
    },
    /// No attempt succeeded in the time that was given.
    GaveUp {
        /// What the last attempt met.
        trouble: Trouble,
        /// Where the broker is.
        address: String,
        /// How many messages are in the broker.
        published: u64,
    },
}

/// Why one attempt failed that may succeed later.
#[derive(Debug)]
pub enum Trouble {
    /// There was no answer.
    Connection(client::Error),
    /// The broker said that it cannot at present.
    Answer(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let published = match self {
            Error::Refused { address, topic, reason, published } => {
                write!(f, "the broker at {address} refused a message to {topic:?}: {reason}")?;
                published
            }
            Error::GaveUp { trouble: Trouble::Answer(reason), address, published } => {
                write!(f, "the broker at {address} cannot take messages: {reason}")?;
                published
            }
            Error::GaveUp { trouble: Trouble::Connection(cause), address, published } => {
                // The cause stands before the advice, so it is told here and not as a source.
                let cause = one_line(cause);
                write!(f, "no answer from the broker at {address} ({cause}): ")?;
                f.write_str("start it, name another with --broker, or give it longer with --wait")?;
                published
            }
        };
        match published {
            0 => Ok(()),
            1 => f.write_str("; 1 message was published before"),
            _ => write!(f, "; {published} messages were published before"),
        }
    }
}

impl error::Error for Error {}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Connection(cause) => f.write_str(&one_line(cause)),
            Trouble::Answer(reason) => f.write_str(reason),
        }
    }
}
