//! A file whose lines are published, and the name that its lines are numbered under.

use crate::error::Error;
use common::crc32::Crc32;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

/// What is read of the file at once for its checksum.
const PIECE_SIZE: usize = 256 << 10;

/// A regular file that can be published in several runs.
#[derive(Debug)]
pub(crate) struct Resumable {
    path: PathBuf,
    file: File,
    /// What the system said of the file before it was read.
    metadata: Metadata,
    /// `ID CRC-32 length`: other content has another name, so its lines are never taken for those
    /// of this file.
    pub(crate) name: String,
}

impl Resumable {
    /// Opens a file, and reads it once for its checksum.
    pub(crate) fn open(path: &Path, id: &str) -> Result<Resumable, Error> {
        let mut file = open(path)?;
        let fail = |cause| Error::file(path, cause);
        let metadata = file.metadata().map_err(fail)?;
        if !metadata.is_file() {
            return Err(Error::NotResumable(path.to_owned()));
        }
        let mut crc = Crc32::default();
        let mut size = 0;
        let mut piece = vec![0; PIECE_SIZE];
        loop {
            match file.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => {
                    crc.update(piece.get(..read).unwrap_or_default());
                    size += read as u64;
                }
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(fail(cause)),
            }
        }
        let name = format!("{id} {:08x} {size}", crc.value());
        Ok(Resumable { path: path.to_owned(), file, metadata, name })
    }

    /// Its length when it was opened, in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.metadata.len()
    }

    /// The file from its start.
    pub(crate) fn rewound(&self) -> Result<&File, Error> {
        let mut file = &self.file;
        file.rewind().map_err(|cause| Error::file(&self.path, cause))?;
        Ok(file)
    }

    /// Makes sure that the file is what it was when its checksum was made.
    pub(crate) fn check_unchanged(&self) -> Result<(), Error> {
        let now = self.file.metadata().map_err(|cause| Error::file(&self.path, cause))?;
        let is_same = now.len() == self.metadata.len()
            && now.modified().ok() == self.metadata.modified().ok();
        if is_same { Ok(()) } else { Err(Error::Changed(self.path.clone())) }
    }
}

/// Opens a file to be read.
pub(crate) fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|cause| Error::file(path, cause))
}

/// How many bytes a regular file still has to be read.
pub(crate) fn bytes_left(mut file: &File) -> Option<u64> {
    let metadata = file.metadata().ok().filter(Metadata::is_file)?;
    Some(metadata.len().saturating_sub(file.stream_position().ok()?))
}

/// How many bytes standard input still has, where it is a regular file.
#[cfg(unix)]
pub(crate) fn bytes_on_standard_input() -> Option<u64> {
    use std::os::fd::AsFd;
    let file = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
    bytes_left(&file)
}

/// How many bytes standard input still has: not known on this system.
#[cfg(not(unix))]
pub(crate) fn bytes_on_standard_input() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::random::random;
    use std::{env, fs};

    /// A file that is gone with the test.
    struct Text(PathBuf);

    impl Text {
        fn new(text: &str) -> Text {
            let path = env::temp_dir().join(format!("publisher-{:016x}", random()));
            fs::write(&path, text).unwrap();
            Text(path)
        }
    }

    impl Drop for Text {
        fn drop(&mut self) {
            fs::remove_file(&self.0).unwrap();
        }
    }

    #[test]
    fn a_file_is_named_by_what_it_holds() {
        let text = Text::new("123456789");
        let resumable = Resumable::open(&text.0, "ann").unwrap();
        assert_eq!(resumable.name, "ann cbf43926 9");
        assert_eq!(resumable.size(), 9);
        let mut again = String::new();
        resumable.rewound().unwrap().read_to_string(&mut again).unwrap();
        assert_eq!(again, "123456789");
        assert_eq!(bytes_left(&resumable.file), Some(0));
    }

    #[test]
    fn a_file_that_changed_meanwhile_is_noticed() {
        let text = Text::new("one\n");
        let resumable = Resumable::open(&text.0, "ann").unwrap();
        resumable.check_unchanged().unwrap();
        fs::write(&text.0, "one\ntwo\n").unwrap();
        assert!(matches!(resumable.check_unchanged(), Err(Error::Changed(_))));
    }

    #[test]
    fn what_is_no_regular_file_cannot_be_resumed() {
        let folder = env::temp_dir();
        let result = Resumable::open(&folder, "ann");
        assert!(matches!(result, Err(Error::NotResumable(_) | Error::File { .. })));
        assert!(matches!(open(Path::new("/nonexistent/file")), Err(Error::File { .. })));
    }
}
