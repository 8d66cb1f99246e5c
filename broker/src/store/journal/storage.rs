//! What the journal asks of a file system: two small traits, and the real one behind them.
//!
//! The traits exist so that tests can put a simulated disk there that loses what was not synced,
//! tears writes and fails on command.

use super::{Error, JOURNAL, Segment};
use std::fs::{self, DirBuilder, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Messages are for their readers, and not for everybody who has an account on the machine.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// What names that are about to be replaced end with.
pub(super) const TEMPORARY: &str = ".tmp";

/// A directory that holds a journal and belongs to one process at a time.
pub(super) trait Directory: Send + Sync {
    /// Where a file of this name is, for people.
    fn path(&self, name: &str) -> PathBuf;

    /// All names in the directory, in no order.
    fn names(&self) -> io::Result<Vec<String>>;

    /// The run of the machine: it changes when the machine starts. `None` where nothing says so.
    fn boot_id(&self) -> Option<String>;

    /// Opens a file for reading and writing; [`io::ErrorKind::InvalidInput`] where the name is
    /// that of something else: a directory, a link, a pipe, a device.
    fn open(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// Makes a new, empty file.
    fn create(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// Gives a file another name, in place of the file that has it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the names durable.
    fn sync(&self) -> io::Result<()>;
}

impl dyn Directory + '_ {
    /// All names in the directory, in no order.
    pub(super) fn list(&self) -> Result<Vec<String>, Error> {
        self.names().map_err(self.failed("list the directory of", JOURNAL))
    }

    /// Whether anything has this name.
    pub(super) fn has(&self, name: &str) -> Result<bool, Error> {
        Ok(self.list()?.iter().any(|it| it == name))
    }

    /// Makes the names durable; this is the one that was changed.
    pub(super) fn sync_names(&self, name: &str) -> Result<(), Error> {
        self.sync().map_err(self.failed("sync the directory of", name))
    }

    /// Writes a file in the place of the one that has the name, durably. A crash, or a failure
    /// before the new one is there, leaves the old one.
    pub(super) fn replace<T>(
        &self,
        name: &str,
        write: impl FnOnce(&dyn File) -> io::Result<T>,
    ) -> Result<T, Error> {
        let (_file, written) = self.write_beside(name, write)?;
        self.put_in_place(name)?;
        Ok(written)
    }

    /// Writes a file, durably, that is to take the place of the one that has the name. A failure
    /// leaves nothing. Gives the file, and what is said of it.
    pub(super) fn write_beside<T>(
        &self,
        name: &str,
        write: impl FnOnce(&dyn File) -> io::Result<T>,
    ) -> Result<(Box<dyn File>, T), Error> {
        let beside = format!("{name}{TEMPORARY}");
        if self.has(&beside)? {
            self.remove(&beside).map_err(self.failed("remove", &beside))?;
        }
        let file = self.create(&beside).map_err(self.failed("create", &beside))?;
        let written = write(&*file).map_err(self.failed("write", &beside)).and_then(|written| {
            file.sync().map_err(self.failed("sync", &beside))?;
            Ok(written)
        });
        if written.is_err() {
            // What cannot be removed now is removed by the next start.
            let _ = self.remove(&beside);
        }
        Ok((file, written?))
    }

    /// Gives what was written beside a file that file's name, durably.
    pub(super) fn put_in_place(&self, name: &str) -> Result<(), Error> {
        let beside = format!("{name}{TEMPORARY}");
        self.rename(&beside, name).map_err(self.failed("rename", &beside))?;
        self.sync_names(name)
    }

    /// What makes an [`Error`] of a failure to do something with a file of this directory.
    pub(super) fn failed(
        &self,
        action: &'static str,
        name: &str,
    ) -> impl FnOnce(io::Error) -> Error + use<> {
        let path = self.path(name);
        move |cause| Error::io(action, path, cause)
    }
}

/// An open file. Offsets and sizes are in bytes.
pub(super) trait File: Send + Sync {
    /// Bytes of the file.
    fn size(&self) -> io::Result<u64>;

    /// Fills `bytes` from the file.
    fn read_all_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes`, beyond the end of the file if need be; after an error, any part of
    /// them may have been written.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts the file off.
    fn set_size(&self, size: u64) -> io::Result<()>;

    /// Makes what was written durable, and the size with it.
    fn sync(&self) -> io::Result<()>;

    /// The same open file, in the heap of the calling thread.
    fn again(&self) -> io::Result<Arc<dyn File>>;
}

/// A directory of the real file system, locked for as long as this value lives.
#[derive(Debug)]
pub(super) struct Disk {
    directory: PathBuf,
    /// The lock is on the open file, so the kernel drops it however the process ends. The file is
    /// never removed, because a new file would have another lock.
    _lock: Option<fs::File>,
    /// Whether files are opened to be read and nothing else.
    reads_only: bool,
}

impl Disk {
    /// Locks a directory before anything in it is read. Where `create` is set, the last part of
    /// its path is made if it is not there; otherwise it must hold a journal already.
    pub(super) fn lock(directory: &Path, create: bool) -> Result<Disk, Error> {
        if create {
            let failed = |cause| Error::io("create", directory.to_owned(), cause);
            create_directory(directory).map_err(failed)?;
            make_private(directory, DIRECTORY_MODE);
        } else {
            let disk = Disk { directory: directory.to_owned(), _lock: None, reads_only: true };
            let is_ours = |name: &String| name == JOURNAL || Segment::number(name).is_some();
            if !(&disk as &dyn Directory).list()?.iter().any(is_ours) {
                return Err(Error::absent(&directory.join(JOURNAL)));
            }
        }
        let path = directory.join("LOCK");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
        let lock = options.open(&path).map_err(|cause| Error::io("open", path.clone(), cause))?;
        match lock.try_lock() {
            Ok(()) => {
                Ok(Disk { directory: directory.to_owned(), _lock: Some(lock), reads_only: false })
            }
            Err(TryLockError::WouldBlock) => Err(Error::InUse(directory.to_owned())),
            Err(TryLockError::Error(cause)) => Err(Error::io("lock", path, cause)),
        }
    }

    /// A directory to be looked at, where nothing can be made or changed: it may be a copy, or
    /// mounted to be read only. The lock of a running broker counts nevertheless.
    pub(super) fn look_at(directory: &Path) -> Result<Disk, Error> {
        let path = directory.join("LOCK");
        // Not there, or not for this user to read: then the journal's own lock has to do.
        let is_file = fs::symlink_metadata(&path).is_ok_and(|lock| lock.is_file());
        let lock = if is_file { fs::File::open(&path).ok() } else { None };
        if let Some(Err(TryLockError::WouldBlock)) = lock.as_ref().map(fs::File::try_lock_shared) {
            return Err(Error::InUse(directory.to_owned()));
        }
        Ok(Disk { directory: directory.to_owned(), _lock: lock, reads_only: true })
    }
}

/// Makes a directory, if it is not there, and its name durable.
fn create_directory(directory: &Path) -> io::Result<()> {
    let parent = match directory.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    match DirBuilder::new().mode(DIRECTORY_MODE).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // A start that was killed may have made it; but not in a parent that it may not open,
            // or that is of a file system where nothing can be made.
            use io::ErrorKind::{InvalidInput, PermissionDenied};
            match sync_directory(parent) {
                Err(error) if matches!(error.kind(), PermissionDenied | InvalidInput) => Ok(()),
                synced => synced,
            }
        }
        Err(error) => Err(error),
        Ok(()) => sync_directory(parent),
    }
}

/// Takes from everybody else what the owner may do. A directory of another owner stays as it is:
/// this user may have been let in on purpose.
fn make_private(path: &Path, mode: u32) {
    if fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o777 & !mode != 0) {
        let _ = fs::set_permissions(path, Permissions::from_mode(mode));
    }
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    fs::File::open(directory)?.sync_all()
}

/// Locks an open file as well, so that a removed `LOCK` lets no second broker in.
fn own(
    file: fs::File,
    lock: impl Fn(&fs::File) -> Result<(), TryLockError>,
) -> io::Result<Box<dyn File>> {
    match lock(&file) {
        Ok(()) => Ok(Box::new(file)),
        Err(TryLockError::WouldBlock) => {
            Err(io::Error::new(io::ErrorKind::ResourceBusy, "another broker has it open"))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

impl Directory for Disk {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(&self.directory)?;
        // A name that is not UTF-8 is none of the journal's.
        entries
            .filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose())
            .collect()
    }

    fn boot_id(&self) -> Option<String> {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let id = id.trim();
        let is_plain = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic());
        is_plain.then(|| id.to_owned())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let path = self.path(name);
        // Asked before it is opened: to open a pipe would wait for its other end, and to open a
        // device may do anything.
        if !fs::symlink_metadata(&path)?.is_file() {
            let problem = "it is a directory, a link, a pipe or a device";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        if self.reads_only {
            return own(fs::File::open(&path)?, fs::File::try_lock_shared);
        }
        make_private(&path, FILE_MODE);
        own(OpenOptions::new().read(true).write(true).open(path)?, fs::File::try_lock)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create_new(true).mode(FILE_MODE);
        own(options.open(self.path(name))?, fs::File::try_lock)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync(&self) -> io::Result<()> {
        sync_directory(&self.directory)
    }
}

impl File for fs::File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_all_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(bytes, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.set_len(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn again(&self) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(self.try_clone()?))
    }
}
