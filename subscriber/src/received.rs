//! The file that is kept equal to a topic: one message per line.
//!
//! # Guarantee
//!
//! Whatever ends the process, the file holds whole lines, but for the last one, which is cut off
//! when the file is opened again. Nothing is ever taken away from it otherwise: a file that turns
//! out to belong to another list is kept beside the new one, under the name with `.old` added, or
//! `.old.2` and so on: what was set aside is never overwritten.

use crate::error::Error;
use common::bytes;
use common::crc32::Crc32;
use common::limits::PIECE_SIZE;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// The file, and what is known about what it holds.
#[derive(Debug)]
pub(crate) struct Received {
    path: PathBuf,
    file: File,
    contents: Contents,
}

/// A sequence of whole lines.
#[derive(Debug, Clone, Copy, Default)]
struct Contents {
    lines: u64,
    size: u64,
    crc: Crc32,
}

impl Contents {
    fn add(&mut self, whole_lines: &[u8]) {
        self.lines += bytes::count(whole_lines, |byte| byte == b'\n') as u64;
        self.size += whole_lines.len() as u64;
        self.crc.update(whole_lines);
    }
}

impl Received {
    /// Opens the file, or makes an empty one. A last line that is not whole is cut off.
    pub(crate) fn open(path: &Path) -> Result<Received, Error> {
        let fail = |cause| Error::File { path: path.to_owned(), cause };
        // A pipe would be waited for, and a device has no end.
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(Error::NotAFile(path.to_owned()));
        }
        let file =
            OpenOptions::new().read(true).append(true).create(true).open(path).map_err(fail)?;
        // Locks bind nobody on Unix but those who ask for them. Where they would keep readers
        // from the file, and on file systems that have none, one subscriber is taken on trust.
        if cfg!(unix) && matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            return Err(Error::InUse(path.to_owned()));
        }
        let contents = recover(&file).map_err(fail)?;
        Ok(Received { path: path.to_owned(), file, contents })
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How many messages it holds: the offset of the next one.
    pub(crate) fn lines(&self) -> u64 {
        self.contents.lines
    }

    /// Its size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.contents.size
    }

    /// The digest of its messages: the CRC-32 of the file.
    pub(crate) fn digest(&self) -> u32 {
        self.contents.crc.value()
    }

    /// Appends whole lines, in one write.
    ///
    /// # Errors
    ///
    /// When not all of them could be written; the file is as it was before then.
    pub(crate) fn append(&mut self, whole_lines: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(whole_lines) {
            // Should this fail too, the torn line is cut when the file is opened again.
            let _ = self.file.set_len(self.contents.size);
            return Err(error);
        }
        self.contents.add(whole_lines);
        Ok(())
    }

    /// Lets all further writes go to another file.
    #[cfg(test)]
    pub(crate) fn write_to(&mut self, file: File) {
        self.file = file;
    }

    /// Begins an empty file. What it holds now is kept under another name, which is given back;
    /// an empty file is not.
    pub(crate) fn set_aside(&mut self) -> Result<Option<PathBuf>, Error> {
        if self.size() == 0 {
            return Ok(None);
        }
        let old = free_name(&self.path)?;
        fs::rename(&self.path, &old).map_err(|cause| Error::File { path: old.clone(), cause })?;
        *self = Received::open(&self.path)?;
        Ok(Some(old))
    }

    /// Opens the file again where somebody else has changed or removed it, and says whether so.
    pub(crate) fn reopen_if_changed(&mut self) -> Result<bool, Error> {
        if fs::metadata(&self.path).is_ok_and(|found| found.len() == self.size()) {
            return Ok(false);
        }
        // Our own lock would be in the way. Where it cannot be lifted, opening says so.
        let _ = self.file.unlock();
        *self = Received::open(&self.path)?;
        Ok(true)
    }
}

/// The first of the names `.old`, `.old.2` and so on that no file has, taken by an empty file, so
/// that nobody else takes it.
fn free_name(path: &Path) -> Result<PathBuf, Error> {
    for number in 1_u64.. {
        let mut name = OsString::from(path);
        name.push(".old");
        if number > 1 {
            name.push(format!(".{number}"));
        }
        let name = PathBuf::from(name);
        match OpenOptions::new().write(true).create_new(true).open(&name) {
            Ok(_) => return Ok(name),
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
            Err(cause) => return Err(Error::File { path: name, cause }),
        }
    }
    Err(Error::NotAFile(path.to_owned()))
}

/// Reads a file, and cuts off what follows its last whole line.
fn recover(file: &File) -> io::Result<Contents> {
    let mut whole = Contents::default();
    // The digest of everything read: that of the whole lines, and of a line not yet whole.
    let mut read = Contents::default();
    let mut piece = vec![0; PIECE_SIZE];
    loop {
        let size = match (&mut &*file).read(&mut piece) {
            Ok(0) => break,
            Ok(size) => size,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let bytes = piece.get(..size).unwrap_or_default();
        let end = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        let (ended, rest) = bytes.split_at(end);
        read.add(ended);
        if !ended.is_empty() {
            whole = read;
        }
        read.add(rest);
    }
    if read.size > whole.size {
        file.set_len(whole.size)?;
    }
    Ok(whole)
}

#[cfg(test)]
mod tests;
