//! The reasons why the subscriber ends.

use common::client;
use common::flags::one_line;
use std::path::PathBuf;
use std::{error, fmt, io};

/// What cannot get better by trying again.
#[derive(Debug)]
pub enum Error {
    /// What the client library met.
    Client(client::Error),
    /// There is no file that names the topic.
    NoTopicFile(PathBuf),
    /// A file does not hold what it should.
    Contents {
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
    /// It is a folder, a pipe or a device, where a file is needed.
    NotAFile(PathBuf),
    /// Another subscriber keeps the same file.
    InUse(PathBuf),
    /// Messages cannot be written to the file, or to standard output.
    Write {
        /// The file; `None` for standard output.
        path: Option<PathBuf>,
        /// What the system said.
        cause: io::Error,
    },
    /// The broker will not deliver.
    Refused {
        /// Where the broker is.
        address: String,
        /// What the broker said.
        reason: String,
    },
}

impl From<client::Error> for Error {
    fn from(cause: client::Error) -> Error {
        Error::Client(cause)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Client(cause) => f.write_str(&one_line(cause)),
            Error::NoTopicFile(path) => {
                let path = path.display();
                write!(f, "there is no {path} here: write the topic's name into it ")?;
                write!(f, "(echo alpha > {path}), or name one with --topic")
            }
            Error::Contents { path, reason } => write!(f, "{} {reason}", path.display()),
            Error::File { path, .. } => write!(f, "{} cannot be used", path.display()),
            Error::NotAFile(path) => {
                write!(f, "{} is not a regular file: move it away", path.display())
            }
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
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Error::File { cause, .. } | Error::Write { cause, .. } => Some(cause),
            _ => None,
        }
    }
}
