//! The file that is kept equal to a topic: one message per line.
//!
//! # Guarantee
//!
//! Whenever the process ends, the file holds whole lines; a torn last line is cut off when the file
//! is opened again. Nothing else is ever removed from it. If a file belongs to another list, it is
//! renamed to `.old`, `.old.2` and so on, and no such file is overwritten.
//!
//! If the file begins later than offset 0, a file with `.from` added to its name is beside it,
//! written before the first line: the offset of the first line, the stream id, and the digest
//! there.

use crate::error;
use common::bytes;
use common::crc32::Crc32;
use common::flags::Error;
use common::limits::PIECE_SIZE;
use common::stream::StreamId;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

/// The file, and what is known about its contents.
#[derive(Debug)]
pub(crate) struct Received {
    path: PathBuf,
    file: File,
    beginning: Beginning,
    contents: Contents,
}

/// The place of the file's first line in the topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Beginning {
    pub(crate) offset: u64,
    /// The list; `None` if the file begins at offset 0, or the topic is gone.
    pub(crate) stream: Option<StreamId>,
    /// The digest of the messages before it; `None` if the broker did not say it.
    pub(crate) digest: Option<u32>,
}

impl Beginning {
    /// Reads `OFFSET STREAM DIGEST`, where the digest may be `-`.
    fn parse(text: &str) -> Option<Beginning> {
        let mut words = text.split_whitespace();
        let offset = words.next()?.parse().ok()?;
        let stream = Some(words.next()?.parse().ok()?);
        let digest = match words.next()? {
            "-" => None,
            digest => Some(u32::from_str_radix(digest, 16).ok()?),
        };
        words.next().is_none().then_some(Beginning { offset, stream, digest })
    }
}

impl fmt::Display for Beginning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.offset, self.stream.unwrap_or_default())?;
        match self.digest {
            Some(digest) => write!(f, "{digest:08x}"),
            None => f.write_str("-"),
        }
    }
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
        let fail = |cause| error::unusable(path, cause);
        error::check_file(path)?;
        let file =
            OpenOptions::new().read(true).append(true).create(true).open(path).map_err(fail)?;
        // Locks bind nobody on Unix but those who ask for them. Where they would keep readers
        // from the file, and on file systems that have none, one subscriber is taken on trust.
        if cfg!(unix) && matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            let path = path.display();
            return Err(Error::new(format!(
                "another subscriber keeps {path}: run this one in a folder of its own"
            )));
        }
        let from = with(path, ".from");
        let beginning = match fs::read_to_string(&from) {
            Ok(text) => Beginning::parse(&text).ok_or_else(|| {
                Error::of(&from, "cannot be understood: move it and the file that it is about away")
            })?,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Beginning::default(),
            Err(cause) => return Err(error::unusable(&from, cause)),
        };
        let crc = beginning.digest.map_or_else(Crc32::default, Crc32::after);
        let contents = recover(&file, crc).map_err(fail)?;
        Ok(Received { path: path.to_owned(), file, beginning, contents })
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How many messages it holds.
    pub(crate) fn lines(&self) -> u64 {
        self.contents.lines
    }

    /// The offset of the next message.
    pub(crate) fn next(&self) -> u64 {
        self.beginning.offset + self.contents.lines
    }

    /// The list that the file was begun with, if known.
    pub(crate) fn stream(&self) -> Option<StreamId> {
        self.beginning.stream
    }

    /// Whether nothing is known about its topic: it is empty, and begins at offset 0.
    pub(crate) fn is_blank(&self) -> bool {
        self.contents.size == 0 && self.beginning == Beginning::default()
    }

    /// Its size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.contents.size
    }

    /// The digest of the topic after its messages; `None` if that at its beginning is not known.
    /// For a file that begins at offset 0 it is the CRC-32 of the file.
    pub(crate) fn digest(&self) -> Option<u32> {
        let is_known = self.beginning.offset == 0 || self.beginning.digest.is_some();
        is_known.then(|| self.contents.crc.value())
    }

    /// Appends whole lines, in one write.
    ///
    /// # Errors
    ///
    /// If not all of them could be written. Then the file is unchanged.
    pub(crate) fn append(&mut self, whole_lines: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(whole_lines) {
            // Should this fail too, the torn line is cut when the file is opened again.
            let _ = self.file.set_len(self.contents.size);
            return Err(error);
        }
        self.contents.add(whole_lines);
        Ok(())
    }

    /// Begins an empty file. The present one is kept under another name, which is returned, unless
    /// it is empty.
    pub(crate) fn set_aside(&mut self) -> Result<Option<PathBuf>, Error> {
        let from = with(&self.path, ".from");
        let mut old = None;
        if self.size() > 0 {
            let name = free_name(&self.path)?;
            // A copy first: whenever the process is killed, each file has its beginning beside it.
            if from.exists() {
                let copy = with(&name, ".from");
                fs::copy(&from, &copy).map_err(|cause| error::unusable(&copy, cause))?;
            }
            rename(&self.path, &name)?;
            old = Some(name);
        }
        if from.exists() {
            fs::remove_file(&from).map_err(|cause| error::unusable(&from, cause))?;
        }
        self.reopen()?;
        Ok(old)
    }

    /// Lets the file, which has to be empty, begin here.
    pub(crate) fn begin_at(&mut self, beginning: &Beginning) -> Result<(), Error> {
        let (from, new) = (with(&self.path, ".from"), with(&self.path, ".from.new"));
        let fail = |cause| error::unwritable(Some(&from), cause);
        fs::write(&new, format!("{beginning}\n")).map_err(fail)?;
        rename(&new, &from)?;
        self.reopen()
    }

    /// Opens the file again if another program has changed or removed it. True if so.
    pub(crate) fn reopen_if_changed(&mut self) -> Result<bool, Error> {
        if fs::metadata(&self.path).is_ok_and(|found| found.len() == self.size()) {
            return Ok(false);
        }
        self.reopen()?;
        Ok(true)
    }

    fn reopen(&mut self) -> Result<(), Error> {
        // Our own lock would be in the way. Where it cannot be lifted, opening says so.
        let _ = self.file.unlock();
        *self = Received::open(&self.path)?;
        Ok(())
    }
}

/// The first of the names `.old`, `.old.2` and so on that no file has, taken by an empty file, so
/// that nobody else takes it.
fn free_name(path: &Path) -> Result<PathBuf, Error> {
    let mut number = 1_u64;
    loop {
        let ending = if number == 1 { ".old" } else { &format!(".old.{number}") };
        let name = with(path, ending);
        number += 1;
        if with(&name, ".from").exists() {
            continue;
        }
        match OpenOptions::new().write(true).create_new(true).open(&name) {
            Ok(_) => return Ok(name),
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
            Err(cause) => return Err(error::unusable(&name, cause)),
        }
    }
}

/// The path with something added to its name.
fn with(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(|cause| error::unusable(to, cause))
}

/// Reads a file, and cuts off what follows its last whole line. `crc` is the digest at its
/// beginning.
fn recover(file: &File, crc: Crc32) -> io::Result<Contents> {
    let mut whole = Contents { crc, ..Contents::default() };
    // The digest of everything read: that of the whole lines, and of a line not yet whole.
    let mut read = whole;
    let mut input = BufReader::with_capacity(PIECE_SIZE, file);
    loop {
        let piece = input.fill_buf()?;
        let size = piece.len();
        if size == 0 {
            break;
        }
        let end = piece.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        let (ended, rest) = piece.split_at(end);
        read.add(ended);
        if !ended.is_empty() {
            whole = read;
        }
        read.add(rest);
        input.consume(size);
    }
    if read.size > whole.size {
        file.set_len(whole.size)?;
    }
    Ok(whole)
}

#[cfg(test)]
mod tests;
