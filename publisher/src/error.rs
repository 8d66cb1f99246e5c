//! The reasons why the publisher ends.

use common::client::{self, Trouble};
use std::path::Path;
use std::{error, fmt, io};

/// Why a message was not published.
#[derive(Debug)]
pub enum Error {
    /// The client library failed.
    Client {
        /// Why.
        cause: client::Error,
        /// The line of the input, counted from 1.
        line: Option<u64>,
        /// How many messages are in the broker.
        published: u64,
    },
    /// Anything else: words for the user, and the system's error.
    Failed(String, Option<io::Error>),
}

impl Error {
    pub(crate) fn file(path: &Path, cause: io::Error) -> Error {
        Error::Failed(format!("{} cannot be read", path.display()), Some(cause))
    }

    pub(crate) fn input(cause: io::Error) -> Error {
        Error::Failed("standard input cannot be read".to_owned(), Some(cause))
    }

    /// A line of the input cannot be a message.
    pub(crate) fn line(number: u64, reason: &str, published: u64) -> Error {
        Error::Failed(format!("line {number} {reason}{}", before(published)), None)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cause, line, published) = match self {
            Error::Failed(text, _) => return f.write_str(text),
            Error::Client { cause, line, published } => (cause, line, published),
        };
        match (cause, line) {
            (client::Error::GaveUp { address, trouble: Trouble::Answer(reason) }, _) => {
                write!(f, "the broker at {address} cannot take messages: {reason}")?;
            }
            (client::Error::GaveUp { address, trouble }, _) => {
                write!(f, "no answer from the broker at {address} ({trouble}): ")?;
                f.write_str("start it, name another with --broker, or give it longer with --wait")?;
            }
            (cause, Some(line)) => write!(f, "line {line}: {cause}")?,
            (cause, None) => write!(f, "{cause}")?,
        }
        f.write_str(&before(*published))
    }
}

/// How many messages were published before an error.
fn before(published: u64) -> String {
    match published {
        0 => String::new(),
        1 => "; 1 message was published before".to_owned(),
        _ => format!("; {published} messages were published before"),
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Error::Failed(_, Some(cause)) => Some(cause),
            _ => None,
        }
    }
}
