//! A simulated disk: it keeps what was synced, loses what a test wants to lose, and fails on
//! command.
//!
//! Processes see every write at once, as with a page cache. A power cut leaves what was synced, and
//! any part of the rest. After a failed sync the cache counts its pages as written, as Linux does:
//! the next sync succeeds and writes nothing.

use super::super::storage::{Directory, File};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

/// What a journal may ask of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Call {
    Names,
    Open,
    Create,
    Rename,
    Remove,
    SyncDirectory,
    Size,
    Read,
    Write,
    SetSize,
    Sync,
}

/// What happens instead of a call.
#[derive(Debug, Clone, Copy)]
pub(in super::super) enum Fault {
    /// It fails and changes nothing; a failed sync loses what it was to write.
    Error(io::ErrorKind),
    /// A write takes no more than so many bytes, and says so.
    Short(usize),
    /// The process dies before the call, and so does every later call.
    Kill,
    /// The process panics.
    Panic,
}

/// A disk with one directory; clones are the same disk.
#[derive(Clone, Default)]
pub(in super::super) struct SimulatedDisk(Arc<Mutex<State>>);

#[derive(Clone, Default)]
struct State {
    files: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    unsynced_names: Vec<NameChange>,
    calls: Vec<Call>,
    /// Which calls fail: the n-th of a kind, or of all, counted from 1.
    faults: Vec<(Option<Call>, usize, Fault)>,
    is_dead: bool,
    /// How often its machine was started.
    starts: u32,
    /// How many bytes all files may have, if there is a limit.
    capacity: Option<usize>,
}

#[derive(Clone, Default)]
struct Inode {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Size(usize),
}

#[derive(Clone)]
enum NameChange {
    Create(String, usize),
    Rename(String, String),
    Remove(String),
}

impl Change {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Change::Write { offset, bytes } => {
                let end = offset + bytes.len();
                file.resize(file.len().max(end), 0);
                file[*offset..end].copy_from_slice(bytes);
            }
            Change::Size(size) => file.resize(*size, 0),
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            NameChange::Create(name, inode) => drop(names.insert(name.clone(), *inode)),
            NameChange::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            NameChange::Remove(name) => drop(names.remove(name)),
        }
    }
}

impl State {
    /// Counts a call, and does to it what was planned.
    fn call(&mut self, call: Call) -> io::Result<Option<usize>> {
        self.calls.push(call);
        let of_kind = self.calls.iter().filter(|made| **made == call).count();
        let planned = self.faults.iter().find(|(kind, number, _)| match kind {
            Some(kind) => *kind == call && *number == of_kind,
            None => *number == self.calls.len(),
        });
        let fault = planned.map(|(_, _, fault)| *fault);
        if matches!(fault, Some(Fault::Kill)) {
            self.is_dead = true;
        }
        if self.is_dead {
            return Err(io::Error::other("killed"));
        }
        match fault {
            Some(Fault::Error(kind)) => Err(kind.into()),
            Some(Fault::Panic) => panic!("a planned panic"),
            Some(Fault::Short(count)) => Ok(Some(count)),
            Some(Fault::Kill) | None => Ok(None),
        }
    }

    fn inode(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl SimulatedDisk {
    /// A disk that holds one file, durably.
    pub(in super::super) fn with(name: &str, bytes: &[u8]) -> SimulatedDisk {
        let disk = SimulatedDisk::default();
        disk.put(name, bytes);
        disk
    }

    /// Puts a file there, durably.
    pub(in super::super) fn put(&self, name: &str, bytes: &[u8]) {
        let mut state = self.state();
        let inode = state.files.len();
        let (bytes, durable) = (bytes.to_vec(), bytes.to_vec());
        state.files.push(Inode { bytes, durable, unsynced: Vec::new() });
        state.names.insert(name.to_owned(), inode);
        state.durable_names.insert(name.to_owned(), inode);
    }

    /// What processes see in a file.
    pub(in super::super) fn read(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        Some(state.files[*state.names.get(name)?].bytes.clone())
    }

    /// The files that processes see, but for the reserve.
    pub(in super::super) fn names(&self) -> Vec<String> {
        let names = self.state().names.keys().cloned().collect::<Vec<_>>();
        names.into_iter().filter(|name| name != "journal.reserve").collect()
    }

    /// Limits the bytes of all files.
    pub(in super::super) fn limit(&self, capacity: Option<usize>) {
        self.state().capacity = capacity;
    }

    /// Removes a file, durably.
    pub(in super::super) fn lose(&self, name: &str) {
        let mut state = self.state();
        state.names.remove(name);
        state.durable_names.remove(name);
    }

    /// Plans a fault for the n-th call of a kind, or of any kind, from now on.
    pub(in super::super) fn plan(&self, call: Option<Call>, number: usize, fault: Fault) {
        let mut state = self.state();
        state.calls.clear();
        state.faults.push((call, number, fault));
    }

    /// The calls since the last plan.
    pub(in super::super) fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// The disk as the next process finds it after this one was killed; nothing is planned.
    pub(in super::super) fn after_kill(&self) -> SimulatedDisk {
        let mut state = self.state().clone();
        state.calls.clear();
        state.faults.clear();
        state.is_dead = false;
        SimulatedDisk(Arc::new(Mutex::new(state)))
    }

    /// The disks that a power cut may leave: what was synced, and any subset of the rest.
    pub(in super::super) fn after_power_cuts(&self) -> Vec<SimulatedDisk> {
        let state = self.after_kill().state().clone();
        let changes = state.files.iter().map(|file| file.unsynced.len()).sum::<usize>();
        let names = state.unsynced_names.len();
        assert!(changes + names < 12, "too many states to try: {changes} and {names} changes");
        let subsets = 0..1_usize << (changes + names);
        subsets.map(|subset| state.after_power_cut(|bit| subset >> bit & 1 == 1)).collect()
    }

    /// The disks that a power cut may leave that tears the only unsynced write: cut off at every
    /// byte, and with every run of sectors lost.
    pub(in super::super) fn after_torn_writes(&self) -> Vec<SimulatedDisk> {
        let state = self.after_kill().state().clone();
        let unsynced: Vec<_> = state
            .files
            .iter()
            .enumerate()
            .flat_map(|(inode, file)| file.unsynced.iter().map(move |change| (inode, change)))
            .collect();
        let &[(inode, Change::Write { offset, bytes })] = unsynced.as_slice() else {
            return Vec::new();
        };
        let cut = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut state = state.clone();
            let mut bytes = bytes.clone();
            change(&mut bytes);
            state.files[inode].unsynced = vec![Change::Write { offset: *offset, bytes }];
            state.after_power_cut(|_| true)
        };
        let mut disks: Vec<_> =
            (0..bytes.len()).map(|size| cut(&|bytes| bytes.truncate(size))).collect();
        let sectors = offset / 512..(offset + bytes.len()).div_ceil(512);
        for first in sectors.clone() {
            for end in first + 1..=sectors.end {
                let from = (first * 512).saturating_sub(*offset);
                let to = (end * 512 - offset).min(bytes.len());
                // One byte alone in its sector cannot be told from damage.
                if to - from > 1 {
                    disks.push(cut(&|bytes| bytes[from..to].fill(0)));
                }
            }
        }
        disks
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A planned panic must not keep the test from looking at the disk.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    fn after_power_cut(&self, is_kept: impl Fn(usize) -> bool) -> SimulatedDisk {
        let mut state = self.clone();
        let mut bit = 0;
        for file in &mut state.files {
            for change in std::mem::take(&mut file.unsynced) {
                if is_kept(bit) {
                    change.apply(&mut file.durable);
                }
                bit += 1;
            }
            file.bytes.clone_from(&file.durable);
        }
        for change in std::mem::take(&mut state.unsynced_names) {
            if is_kept(bit) {
                change.apply(&mut state.durable_names);
            }
            bit += 1;
        }
        state.names.clone_from(&state.durable_names);
        state.starts += 1;
        SimulatedDisk(Arc::new(Mutex::new(state)))
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.unsynced_names.push(change);
    }
}

impl Directory for SimulatedDisk {
    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("simulated").join(name)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.call(Call::Names)?;
        Ok(state.names.keys().cloned().collect())
    }

    fn boot_id(&self) -> Option<String> {
        Some(format!("start-{}", self.state().starts))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut state = self.state();
        state.call(Call::Open)?;
        Ok(Box::new(SimulatedFile { disk: self.clone(), inode: state.inode(name)? }))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut state = self.state();
        state.call(Call::Create)?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.files.len();
        state.files.push(Inode::default());
        state.change_name(NameChange::Create(name.to_owned(), inode));
        Ok(Box::new(SimulatedFile { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.call(Call::Rename)?;
        state.inode(from)?;
        state.change_name(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.call(Call::Remove)?;
        state.inode(name)?;
        state.change_name(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        state.call(Call::SyncDirectory)?;
        state.unsynced_names.clear();
        state.durable_names = state.names.clone();
        Ok(())
    }
}

struct SimulatedFile {
    disk: SimulatedDisk,
    inode: usize,
}

impl SimulatedFile {
    fn change(&self, call: Call, change: Change) -> io::Result<usize> {
        let mut state = self.disk.state();
        let limit = state.call(call)?;
        if let (Change::Write { offset, bytes }, Some(capacity)) = (&change, state.capacity) {
            let of = |inode: &usize| state.files[*inode].bytes.len();
            let used: usize = state.names.values().map(of).sum();
            let grown = (offset + bytes.len()).saturating_sub(of(&self.inode));
            if used + grown > capacity {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        let file = &mut state.files[self.inode];
        let (change, count) = match change {
            Change::Write { offset, mut bytes } => {
                bytes.truncate(limit.unwrap_or(usize::MAX));
                let count = bytes.len();
                (Change::Write { offset, bytes }, count)
            }
            size => (size, 0),
        };
        change.apply(&mut file.bytes);
        file.unsynced.push(change);
        Ok(count)
    }
}

impl File for SimulatedFile {
    fn again(&self) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(SimulatedFile { disk: self.disk.clone(), inode: self.inode }))
    }

    fn size(&self) -> io::Result<u64> {
        let mut state = self.disk.state();
        state.call(Call::Size)?;
        Ok(state.files[self.inode].bytes.len() as u64)
    }

    fn read_all_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.call(Call::Read)?;
        let file = &state.files[self.inode].bytes;
        let rest = file.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let found = rest.get(..bytes.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        bytes.copy_from_slice(found);
        Ok(())
    }

    /// As the real one: what one call does not take, another gets.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let offset = usize::try_from(offset).unwrap() + done;
            let rest = bytes[done..].to_vec();
            match self.change(Call::Write, Change::Write { offset, bytes: rest }) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        let size = Change::Size(usize::try_from(size).unwrap());
        self.change(Call::SetSize, size).map(drop)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let called = state.call(Call::Sync);
        let Inode { durable, unsynced, .. } = &mut state.files[self.inode];
        match called {
            Ok(_) => unsynced.drain(..).for_each(|change| change.apply(durable)),
            // The size survives in the cache, the pages are taken for written.
            Err(ref error) if error.to_string() != "killed" => unsynced.clear(),
            Err(_) => {}
        }
        called.map(drop)
    }
}
