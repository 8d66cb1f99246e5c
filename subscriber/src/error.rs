//! What is wrong with a file, in words for the user.

use common::flags::Error;
use std::path::Path;
use std::{fs, io};

/// Refuses a folder, a pipe or a device where a file is needed: a pipe would be waited for, and a
/// device has no end.
pub(crate) fn check_file(path: &Path) -> Result<(), Error> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => {
            Err(Error::of(path, "is not a regular file: move it away"))
        }
        _ => Ok(()),
    }
}

pub(crate) fn unusable(path: &Path, cause: io::Error) -> Error {
    Error::of(path, "cannot be used").because(cause)
}

/// Messages cannot be written to a file, or to standard output.
pub(crate) fn unwritable(path: Option<&Path>, cause: io::Error) -> Error {
    let place = path.map_or("standard output".to_owned(), |path| path.display().to_string());
    Error::new(format!("messages cannot be written to {place}")).because(cause)
}
