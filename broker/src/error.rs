//! The reasons why the broker does not run.

use crate::store::journal;
use common::client;
use std::{error, fmt};

/// Why the broker could not do what it was asked: one line for the user.
#[derive(Debug)]
pub enum Error {
    /// What it was asked does not fit the system, the data or the network that are there.
    Unfit(String),
    /// Something could not be had.
    Failed {
        /// What, and what to do.
        what: String,
        /// Why.
        cause: Box<dyn error::Error + Send + Sync>,
    },
    /// The journal could not be opened, or is not whole.
    Journal {
        /// What is wrong with it.
        cause: Box<dyn error::Error + Send + Sync>,
        /// Whether it is damaged: to start again does not help.
        is_damaged: bool,
    },
    /// Another broker was asked, and did not do it.
    Ask(client::Error),
}

impl Error {
    /// Something could not be had.
    pub(crate) fn failed(
        what: impl Into<String>,
        cause: impl Into<Box<dyn error::Error + Send + Sync>>,
    ) -> Error {
        Error::Failed { what: what.into(), cause: cause.into() }
    }

    /// The exit status that says so.
    #[must_use]
    pub fn status(&self) -> u8 {
        if matches!(self, Error::Journal { is_damaged: true, .. }) { 3 } else { 1 }
    }
}

impl From<journal::Error> for Error {
    fn from(error: journal::Error) -> Error {
        let is_damaged = error.is_damage();
        Error::Journal { cause: Box::new(error), is_damaged }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unfit(text) | Error::Failed { what: text, .. } => f.write_str(text),
            Error::Journal { cause, .. } => cause.fmt(f),
            Error::Ask(cause) => cause.fmt(f),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Error::Unfit(_) => None,
            Error::Failed { cause, .. } => Some(&**cause),
            Error::Journal { cause, .. } => cause.source(),
            Error::Ask(cause) => cause.source(),
        }
    }
}
