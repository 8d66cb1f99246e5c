//! A folder that belongs to one test.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, process};

/// A folder that whoever runs in it shares. The last one removes it, unless it is to be kept.
#[derive(Debug, Clone)]
pub struct Folder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    is_kept: bool,
}

impl Folder {
    /// An empty folder among the temporary ones, whose name ends in `name`.
    ///
    /// # Panics
    ///
    /// When it cannot be created.
    #[must_use]
    pub fn temporary(name: &str) -> Folder {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("node-{}-{count}-{name}", process::id()));
        Folder::create(path, false)
    }

    /// An empty folder that stays for somebody to look into. What was under `path` is removed.
    ///
    /// # Panics
    ///
    /// When it cannot be created.
    #[must_use]
    pub fn kept(path: PathBuf) -> Folder {
        Folder::create(path, true)
    }

    fn create(path: PathBuf, is_kept: bool) -> Folder {
        // A process of the same number may have been killed before it could tidy up.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path)
            .unwrap_or_else(|error| panic!("cannot create {}: {error}", path.display()));
        Folder(Arc::new(Inner { path, is_kept }))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// What a file in it holds; nothing where there is no such file.
    ///
    /// # Panics
    ///
    /// When the file is there and cannot be read.
    #[must_use]
    pub fn read(&self, file: &str) -> Vec<u8> {
        match fs::read(self.path().join(file)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => panic!("cannot read {file}: {error}"),
        }
    }

    /// Writes a whole file into it.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn write(&self, file: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path().join(file), bytes)
            .unwrap_or_else(|error| panic!("cannot write {file}: {error}"));
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !self.is_kept {
            // What cannot be removed now is left to the machine's own cleaning.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_owner_removes_a_temporary_folder() {
        let folder = Folder::temporary("folder");
        let path = folder.path().to_owned();
        folder.write("file", "text");
        drop(folder.clone());
        assert_eq!(folder.read("file"), b"text");
        assert_eq!(folder.read("no such file"), b"");
        drop(folder);
        assert!(!path.exists());
    }
}
