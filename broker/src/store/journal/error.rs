//! What can go wrong with a journal, and what to do about it.

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

/// Why a frame was not appended.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// Nothing of the frame is in the journal: refuse what it holds, and go on. Later frames are
    /// tried again.
    NotWritten {
        /// The journal.
        path: PathBuf,
        /// Why it could not be written.
        cause: io::Error,
    },
    /// Whether the frame is on disk cannot be known: end the process without an answer. The next
    /// start finds out.
    Unknown {
        /// The journal.
        path: PathBuf,
        /// What failed.
        action: &'static str,
        /// What the system said.
        cause: io::Error,
    },
    /// What was written does not follow on what was there: end the process. The next start refuses
    /// the journal.
    Inconsistent {
        /// The journal.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An earlier append ended as [`Self::Unknown`], or in a panic: end the process.
    Closed {
        /// The journal.
        path: PathBuf,
    },
}

impl Error {
    pub(super) fn io(action: &'static str, path: PathBuf, cause: io::Error) -> Error {
        Error::Io { action, path, cause }
    }

    /// What failed, with which file, and why.
    fn parts(self) -> (&'static str, PathBuf, io::Error) {
        match self {
            Error::Io { action, path, cause } => (action, path, cause),
            error => ("use", PathBuf::new(), io::Error::other(error)),
        }
    }
}

impl AppendError {
    /// The same, where it is known that nothing was written.
    pub(super) fn not_written(error: Error) -> AppendError {
        let (_, path, cause) = error.parts();
        AppendError::NotWritten { path, cause }
    }

    /// The same, where it is not known what was written.
    pub(super) fn unknown(error: Error) -> AppendError {
        let (action, path, cause) = error.parts();
        AppendError::Unknown { path, action, cause }
    }

    /// Whether the process has to end.
    pub(crate) fn is_fatal(&self) -> bool {
        match self {
            AppendError::NotWritten { .. } => false,
            AppendError::Unknown { .. }
            | AppendError::Inconsistent { .. }
            | AppendError::Closed { .. } => true,
        }
    }
}

/// What a start could not append keeps it from coming up.
impl From<AppendError> for Error {
    fn from(error: AppendError) -> Error {
        match error {
            AppendError::NotWritten { path, cause } => Error::io("write", path, cause),
            AppendError::Unknown { path, action, cause } => Error::io(action, path, cause),
            AppendError::Inconsistent { path, problem } => {
                Error::Damaged { path, offset: 0, problem }
            }
            AppendError::Closed { path } => {
                Error::io("write", path, io::Error::other("an earlier append failed"))
            }
        }
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
            Error::InUse { .. }
            | Error::Missing { .. }
            | Error::TwoJournals { .. }
            | Error::Foreign { .. }
            | Error::Version { .. }
            | Error::Damaged { .. } => None,
        }
    }
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AppendError::NotWritten { path, .. } => {
                write!(f, "cannot write {}; nothing was stored", path.display())
            }
            AppendError::Unknown { path, action, .. } => write!(
                f,
                "cannot {action} {}, so it is not known what is on disk; start again to find out",
                path.display()
            ),
            AppendError::Inconsistent { path, problem } => {
                write!(f, "{} cannot be used any more: {problem}", path.display())
            }
            AppendError::Closed { path } => {
                write!(f, "{} takes no more after an earlier failure; start again", path.display())
            }
        }
    }
}

impl error::Error for AppendError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            AppendError::NotWritten { cause, .. } | AppendError::Unknown { cause, .. } => {
                Some(cause)
            }
            AppendError::Inconsistent { .. } | AppendError::Closed { .. } => None,
        }
    }
}
