//! The reasons why the publisher ends.

use common::client::{self, Trouble};
use std::path::{Path, PathBuf};
use std::{error, fmt, io};

/// What kept a message from being published. `published` messages were, before it.
#[derive(Debug)]
pub enum Error {
    /// What the client library met.
    Client {
        /// What it was.
        cause: client::Error,
        /// The line of the input that it was met with, counted from 1.
        line: Option<u64>,
        /// How many messages are in the broker.
        published: u64,
    },
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
    /// What was published under the id before is not the beginning of the file, as far as can be
    /// shown.
    NotTheBeginning {
        /// The file.
        path: PathBuf,
        /// How many messages were published.
        count: u64,
    },
    /// The file was changed while it was published.
    Changed(PathBuf),
    /// So many lines of a dialogue were not published; the user was told of each.
    NotPublished(u64),
}

impl Error {
    pub(crate) fn file(path: &Path, cause: io::Error) -> Error {
        Error::File { path: path.to_owned(), cause }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let published = match self {
            Error::Client { cause, line, published } => {
                display_client(f, cause, *line)?;
                published
            }
            Error::Line { number, reason, published } => {
                write!(f, "line {number} {reason}")?;
                published
            }
            Error::Input(_) => return f.write_str("standard input cannot be read"),
            Error::File { path, .. } => return write!(f, "{} cannot be read", path.display()),
            Error::NotResumable(path) => {
                let path = path.display();
                return write!(
                    f,
                    "{path} is not a regular file: leave out the id to publish it once"
                );
            }
            Error::NotTheBeginning { path, count } => {
                let path = path.display();
                write!(f, "{path} does not begin with the {count} lines that this id published ")?;
                return f.write_str("before: publish it under another id (from its first line)");
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

/// What the client library met, with what the user can do about it.
fn display_client(
    f: &mut fmt::Formatter<'_>,
    cause: &client::Error,
    line: Option<u64>,
) -> fmt::Result {
    match (cause, line) {
        (client::Error::GaveUp { address, trouble: Trouble::Answer(reason) }, _) => {
            write!(f, "the broker at {address} cannot take messages: {reason}")
        }
        (client::Error::GaveUp { address, trouble }, _) => {
            write!(f, "no answer from the broker at {address} ({trouble}): ")?;
            f.write_str("start it, name another with --broker, or give it longer with --wait")
        }
        (cause, Some(line)) => write!(f, "line {line}: {cause}"),
        (cause, None) => write!(f, "{cause}"),
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Error::Input(cause) | Error::File { cause, .. } => Some(cause),
            _ => None,
        }
    }
}
