//! The errors of a journal, each with what to do about it.

use std::path::PathBuf;
use std::{error, fmt, io};

/// Why a journal cannot be opened, checked or repaired. Nothing was cut off.
#[derive(Debug)]
pub(crate) enum Error {
    /// Another process has the directory.
    InUse {
        /// The directory.
        directory: PathBuf,
    },
    /// There is no journal, but something that belongs to one.
    Missing {
        /// The journal.
        path: PathBuf,
        /// What is there instead.
        instead: PathBuf,
    },
    /// An older broker has begun a journal beside that of a newer one.
    TwoJournals {
        /// The older broker's.
        path: PathBuf,
        /// A segment of the newer one.
        newer: PathBuf,
    },
    /// The file does not begin as a journal does.
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The journal was written by another version of the broker.
    Version {
        /// The journal.
        path: PathBuf,
        /// The version of its format.
        version: u32,
    },
    /// What was once acknowledged is no longer as it was written.
    Damaged {
        /// The journal.
        path: PathBuf,
        /// The first byte that cannot be relied on.
        offset: u64,
        /// What is wrong there.
        problem: &'static str,
    },
    /// The file system refused.
    Io {
        /// What was to be done.
        action: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// Why the journal was not changed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It is as it was: refuse what was to be done, and go on. It may be tried again later.
    NotDone(Error),
    /// What is on disk cannot be known, or cannot be used: end the process without an answer. The
    /// next start finds out.
    Unknown(Error),
}

impl Error {
    /// Whether what is on disk is not what was written there.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Error::Missing { .. }
            | Error::TwoJournals { .. }
            | Error::Foreign { .. }
            | Error::Damaged { .. } => true,
            Error::InUse { .. } | Error::Version { .. } | Error::Io { .. } => false,
        }
    }

    pub(super) fn io(action: &'static str, path: PathBuf, cause: io::Error) -> Error {
        Error::Io { action, path, cause }
    }

    /// Whether there is no room for more.
    pub(super) fn is_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        let Error::Io { cause, .. } = self else { return false };
        matches!(cause.kind(), StorageFull | QuotaExceeded)
    }
}

impl Failure {
    /// Whether there was no room for it.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Failure::NotDone(error) if error.is_full())
    }
}

/// What a start cannot write keeps it from coming up.
impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        let (Failure::NotDone(error) | Failure::Unknown(error)) = failure;
        error
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::InUse { directory } => write!(
                f,
                "{} is in use by another broker; stop it or choose another directory",
                directory.display()
            ),
            Error::Missing { path, instead } => write!(
                f,
                "{} is missing but {} is there; restore the missing file, or move the other away \
                 to start empty",
                path.display(),
                instead.display()
            ),
            Error::TwoJournals { path, newer } => write!(
                f,
                "{} was begun by an older broker while {} is the journal of a newer one; move one \
                 of the two away",
                path.display(),
                newer.display()
            ),
            Error::Foreign { path } => write!(
                f,
                "{} is not a journal (byte 0); choose another directory, or restore the file if \
                 it was one",
                path.display()
            ),
            Error::Version { path, version } => write!(
                f,
                "{} has format version {version}, which this broker does not know; start the \
                 version that wrote it",
                path.display()
            ),
            Error::Damaged { path, offset, problem } => write!(
                f,
                "{} is damaged at byte {offset}: {problem}; restore a copy, or keep what stands \
                 before that byte with broker repair",
                path.display()
            ),
            Error::Io { action, path, .. } => write!(f, "cannot {action} {}", path.display()),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Error::Io { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NotDone(error) => write!(f, "{error}; nothing was stored"),
            Failure::Unknown(error) => {
                write!(f, "{error}, so it is not known what is on disk; start again to find out")
            }
        }
    }
}

impl error::Error for Failure {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        let (Failure::NotDone(error) | Failure::Unknown(error)) = self;
        error.source()
    }
}
