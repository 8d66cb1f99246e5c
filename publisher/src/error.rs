//! Why the publisher gives up.

use common::client;
use common::flags::one_line;
use common::location::WRONG_TOKEN;
use std::path::{Path, PathBuf};
use std::{error, fmt, io};

/// What kept a message from being published. `published` messages were, before it.
#[derive(Debug)]
pub enum Error {
    /// The broker will not have it.
    Refused {
        /// Where the broker is.
        address: String,
        /// The topic of the message.
        topic: String,
        /// The line of the input that it was, counted from 1.
        line: Option<u64>,
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
    /// Anything else that the client library met.
    Client(client::Error),
    /// A line of the input cannot be a message.
    Line {
        /// Which one, counted from 1.
        number: u64,
        /// What is wrong with it.
        reason: &'static str,
        /// How many messages are in the broker.
        published: u64,
    },
    /// Standard input cannot be read.
    Input(io::Error),
    /// A file cannot be used.
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// With an id, but no regular file: what was read of it once cannot be read again.
    NotResumable(PathBuf),
    /// The file was changed while it was published.
    Changed(PathBuf),
    /// So many lines of a dialogue were not published; the user was told of each.
    NotPublished(u64),
}

/// Why one attempt failed that may succeed later.
#[derive(Debug)]
pub enum Trouble {
    /// There was no answer, and why.
    Connection(String),
    /// The broker said that it cannot at present.
    Answer(String),
}

impl Error {
    /// What the client library met with a message that stands in this line of the input.
    pub(crate) fn of_client(cause: client::Error, line: Option<u64>, published: u64) -> Error {
        match cause {
            client::Error::Refused { address, topic, code, reason } => {
                let reason = match code {
                    401 => WRONG_TOKEN.to_owned(),
                    _ => format!("{code}, {reason}"),
                };
                Error::Refused { address, topic, line, reason, published }
            }
            client::Error::GaveUp { address, trouble } => {
                let trouble = match trouble {
                    client::Trouble::Answer(reason) => Trouble::Answer(reason),
                    trouble => Trouble::Connection(trouble.to_string()),
                };
                Error::GaveUp { trouble, address, published }
            }
            cause => Error::Client(cause),
        }
    }

    pub(crate) fn file(path: &Path, cause: io::Error) -> Error {
        Error::File { path: path.to_owned(), cause }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let published = match self {
            Error::Refused { address, topic, line, reason, published } => {
                write!(f, "the broker at {address} refused")?;
                match line {
                    Some(line) => write!(f, " line {line} for {topic:?}: {reason}")?,
                    None if topic.is_empty() => write!(f, ": {reason}")?,
                    None => write!(f, " a message to {topic:?}: {reason}")?,
                }
                published
            }
            Error::GaveUp { trouble: Trouble::Answer(reason), address, published } => {
                write!(f, "the broker at {address} cannot take messages: {reason}")?;
                published
            }
            Error::GaveUp { trouble: Trouble::Connection(cause), address, published } => {
                write!(f, "no answer from the broker at {address} ({cause}): ")?;
                f.write_str("start it, name another with --broker, or give it longer with --wait")?;
                published
            }
            Error::Client(cause) => return f.write_str(&one_line(cause)),
            Error::Line { number, reason, published } => {
                write!(f, "line {number} {reason}")?;
                published
            }
            Error::Input(_) => return f.write_str("standard input cannot be read"),
            Error::File { path, .. } => return write!(f, "{} cannot be read", path.display()),
            Error::NotResumable(path) => {
                let path = path.display();
                return write!(f, "{path} is no regular file: leave out the id to publish it once");
            }
            Error::Changed(path) => {
                let path = path.display();
                return write!(
                    f,
                    "{path} was changed while it was published: publish a copy of it"
                );
            }
            Error::NotPublished(1) => return f.write_str("1 line was not published"),
            Error::NotPublished(count) => return write!(f, "{count} lines were not published"),
        };
        match published {
            0 => Ok(()),
            1 => f.write_str("; 1 message was published before"),
            _ => write!(f, "; {published} messages were published before"),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Error::Input(cause) | Error::File { cause, .. } => Some(cause),
            Error::Refused { .. }
            | Error::GaveUp { .. }
            | Error::Client(_)
            | Error::Line { .. }
            | Error::NotResumable(_)
            | Error::Changed(_)
            | Error::NotPublished(_) => None,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Connection(reason) | Trouble::Answer(reason) => f.write_str(reason),
        }
    }
}
