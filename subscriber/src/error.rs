//! Why the subscriber ends, or tries again.

use common::flags::one_line;
use common::http::client;
use std::path::{Path, PathBuf};
use std::{error, fmt, io};

/// What cannot get better by trying again.
#[derive(Debug)]
pub enum Error {
    /// There is no file that names the topic.
    NoTopicFile(PathBuf),
    /// The file that should name the topic does not.
    TopicFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file cannot be used.
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Another subscriber keeps the same file.
    InUse(PathBuf),
    /// Messages cannot be written to the file, or to standard output.
    Write {
        /// The file; `None` for standard output.
        path: Option<PathBuf>,
        /// What the system said.
        cause: io::Error,
    },
    /// The broker will not give the messages.
    Refused {
        /// Where the broker is.
        address: String,
        /// What the broker said.
        reason: String,
    },
    /// The broker asks for a token, and was shown none or another; this is what it said.
    Token(String),
    /// The broker gives whole lists alone, without offsets.
    NoOffsets {
        /// Where the broker is.
        address: String,
    },
}

/// Why one attempt failed that may succeed later.
#[derive(Debug)]
pub enum Trouble {
    /// There was no answer, or not all of it.
    Connection(client::Error),
    /// What the broker said instead of giving messages.
    Answer(String),
    /// There is no room for more messages in the file.
    DiskFull {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

impl Trouble {
    /// What the user hears of it, where `address` is that of the broker.
    pub(crate) fn line(&self, address: &str) -> String {
        match self {
            Trouble::Connection(_) | Trouble::Answer(_) => {
                format!("cannot read from {address} ({self}); trying again")
            }
            Trouble::DiskFull { .. } => format!("{self}; trying again"),
        }
    }
}

/// How one attempt failed.
#[derive(Debug)]
pub(crate) enum Failure {
    Passing(Trouble),
    Final(Error),
}

impl Failure {
    /// A body could not be read, or not be written to the file or to standard output.
    pub(crate) fn of_body(error: client::Error, path: Option<&Path>) -> Failure {
        match error {
            client::Error::Sink(cause) => {
                Failure::Final(Error::Write { path: path.map(Path::to_owned), cause })
            }
            error => Failure::Passing(Trouble::Connection(error)),
        }
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Failure {
        Failure::Passing(Trouble::Connection(error))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Final(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoTopicFile(path) => {
                let path = path.display();
                write!(f, "there is no {path} here: write the topic's name into it ")?;
                write!(f, "(echo alpha > {path}), or name one with --topic")
            }
            Error::TopicFile { path, reason } => write!(f, "{} {reason}", path.display()),
            Error::File { path, .. } => write!(f, "{} cannot be used", path.display()),
            Error::InUse(path) => write!(
                f,
                "another subscriber keeps {}: run this one in a folder of its own",
                path.display()
            ),
            Error::Write { path: Some(path), .. } => {
                write!(f, "messages cannot be written to {}", path.display())
            }
            Error::Write { path: None, .. } => {
                f.write_str("messages cannot be written to standard output")
            }
            Error::Refused { address, reason } => {
                write!(f, "the broker at {address} refused: {reason}")
            }
            Error::Token(reason) => {
                write!(f, "set BROKER_TOKEN to the token that the broker asks for: {reason}")
            }
            Error::NoOffsets { address } => write!(
                f,
                "the broker at {address} knows no offsets: run subscriber without --topic, \
                 with the topic's name in topic.txt"
            ),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Error::File { cause, .. } | Error::Write { cause, .. } => Some(cause),
            Error::NoTopicFile(_)
            | Error::TopicFile { .. }
            | Error::InUse(_)
            | Error::Refused { .. }
            | Error::Token(_)
            | Error::NoOffsets { .. } => None,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Connection(cause) => f.write_str(&one_line(cause)),
            Trouble::Answer(reason) => f.write_str(reason),
            Trouble::DiskFull { path, cause } => {
                write!(f, "the disk is full: {} cannot be written ({cause})", path.display())
            }
        }
    }
}
