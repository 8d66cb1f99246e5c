//! Why an exchange with another program failed.

use crate::http;
use std::{error, fmt, io};

/// Why one attempt failed. Another attempt may succeed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Trouble {
    /// The address is not `HOST:PORT`.
    Address,
    /// The deadline passed.
    TimedOut,
    /// The system reports an error: what failed, and why.
    System(&'static str, io::Error),
    /// What came could not be passed on.
    Sink(io::Error),
    /// The other side closed the connection too early, or sent what it should not.
    Invalid(&'static str),
    /// The other side sent HTTP that is not valid: what, and why.
    Http(&'static str, http::Error),
    /// The broker said that it cannot do it now.
    Answer(String),
    /// What listens there knows only HTTP.
    NoSessions,
}

impl From<io::Error> for Trouble {
    fn from(cause: io::Error) -> Trouble {
        Trouble::System("the connection failed", cause)
    }
}

impl fmt::Display for Trouble {
    /// Includes the cause, because it mostly stands within a sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Address => f.write_str("the address is not of the form HOST:PORT"),
            Trouble::TimedOut => f.write_str("the deadline passed"),
            Trouble::System(what, cause) => write!(f, "{what}: {cause}"),
            Trouble::Sink(cause) => write!(f, "the answer could not be passed on: {cause}"),
            Trouble::Invalid(what) => f.write_str(what),
            Trouble::Http(what, cause) => write!(f, "{what}: {cause}"),
            Trouble::Answer(reason) => f.write_str(reason),
            Trouble::NoSessions => {
                f.write_str("it understands only HTTP: use publisher or subscriber without --topic")
            }
        }
    }
}

impl error::Error for Trouble {}
