//! The errors of a journal, each with what to do about it.

use std::path::{Path, PathBuf};
use std::{error, fmt, io};

/// Why a journal cannot be opened, checked or repaired. Nothing was cut off.
#[derive(Debug)]
pub(crate) enum Error {
    /// Another process has this directory.
    InUse(PathBuf),
    /// The files are not those of a journal, or of another version of the broker: says what to do.
    Unusable { text: String, is_damage: bool },
    /// What was once acknowledged is no longer as it was written: `offset` is the first byte that
    /// cannot be relied on.
    Damaged { path: PathBuf, offset: u64, problem: &'static str },
    /// The file system refused to do something with a file or a directory.
    Io { action: &'static str, path: PathBuf, cause: io::Error },
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
        matches!(self, Error::Damaged { .. } | Error::Unusable { is_damage: true, .. })
    }

    /// There is something of a journal that is not a whole one.
    pub(super) fn foreign(text: String) -> Error {
        Error::Unusable { text, is_damage: true }
    }

    /// There is no journal.
    pub(super) fn absent(journal: &Path) -> Error {
        let text = format!("there is no {}: name the directory of --data", journal.display());
        Error::Unusable { text, is_damage: false }
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
            Error::InUse(directory) => write!(
                f,
                "{} is in use by another broker; stop it or choose another directory",
                directory.display()
            ),
            Error::Unusable { text, .. } => f.write_str(text),
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
