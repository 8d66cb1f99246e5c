//! The reasons why the subscriber ends.

use common::client;
use common::flags::one_line;
use std::path::Path;
use std::{error, fmt, io};

/// A failure that another attempt cannot change.
#[derive(Debug)]
pub enum Error {
    /// The client library failed.
    Client(client::Error),
    /// Anything else: words for the user, and the system's error.
    Failed(String, Option<io::Error>),
}

impl Error {
    /// Something is wrong with a file.
    pub(crate) fn of(path: &Path, what: &str) -> Error {
        Error::Failed(format!("{} {what}", path.display()), None)
    }

    /// It is a folder, a pipe or a device, where a file is needed.
    pub(crate) fn not_a_file(path: &Path) -> Error {
        Error::of(path, "is not a regular file: move it away")
    }

    pub(crate) fn file(path: &Path, cause: io::Error) -> Error {
        Error::Failed(format!("{} cannot be used", path.display()), Some(cause))
    }

    /// Messages cannot be written to a file, or to standard output.
    pub(crate) fn write(path: Option<&Path>, cause: io::Error) -> Error {
        let place = path.map_or("standard output".to_owned(), |path| path.display().to_string());
        Error::Failed(format!("messages cannot be written to {place}"), Some(cause))
    }

    /// Whether the reader of standard output has closed it, because it has seen enough.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Error::Failed(_, Some(it)) if it.kind() == io::ErrorKind::BrokenPipe)
    }
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
            Error::Failed(text, _) => f.write_str(text),
        }
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
