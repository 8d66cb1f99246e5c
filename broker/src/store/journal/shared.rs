//! The state that appending threads share with the cleaning thread.

use super::{
    Directory, Error, Failure, Index, JournalId, Manifest, Reserve, Segment, Settings, Sync,
    cleaning,
};
use crate::notify;
use common::lock::or_abort;
use std::io;
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// How often to look whether anything was cancelled, and, while there is, for something to clean.
const LOOK_TIME: Duration = Duration::from_millis(100);
const BUSY_LOOK_TIME: Duration = Duration::from_millis(20);

/// How long nothing is appended before what was not synced is.
const IDLE_TIME: Duration = Duration::from_secs(5);

/// How long cleaning waits after a failure, such as a full disk.
const FAILURE_TIME: Duration = Duration::from_secs(1);

/// How long nothing is cancelled before segments are cleaned of which a part is alive. While more
/// is cancelled, waiting saves work: soon nothing may be left of them.
const CALM_TIME: Duration = Duration::from_secs(1);

/// Of ten parts of the time, cleaning rests in so many; in fewer where the row is large.
const REST: u32 = 9;

/// The longest that one append waits for cleaning that cannot keep up.
const WAIT_TIME: Duration = Duration::from_millis(200);

/// How much is appended meanwhile, in bytes for each millisecond.
const WAIT_RATE: u64 = 100_000;

/// How much longer it waits with each quarter of a segment more that the row is too large.
const WAIT_GROWTH: u32 = 4;

/// Shared by the journal and the thread that cleans it.
///
/// Lock order: each is taken alone. `index` is held to look something up or to note it, never
/// across I/O; `manifest` and `reserve` stand for their files and are held while those are written.
pub(super) struct Shared {
    pub(super) directory: Arc<dyn Directory>,
    pub(super) id: JournalId,
    pub(super) settings: Settings,
    index: Mutex<Index>,
    /// Told when something was cleaned.
    cleaned: Condvar,
    /// The thread that cleans, which is woken when a segment was closed.
    cleaner: OnceLock<Thread>,
    /// The last segment.
    last: Mutex<Segment>,
    manifest: Mutex<Manifest>,
    /// Appends that were not synced.
    unsynced: AtomicU64,
    /// Bytes of all segments but the last.
    pub(super) closed_size: AtomicU64,
    /// Whether the disk had no room for the last append.
    is_full: AtomicBool,
    /// Bytes of the largest segment that was closed.
    largest: AtomicU64,
    reserve: Mutex<Reserve>,
    /// Whether the last segment is to be closed, because most of it is dead.
    is_last_dead: AtomicBool,
    /// By how many bytes the row is larger than it may be, where cleaning helps.
    behind: AtomicU64,
}

impl Shared {
    pub(super) fn new(
        directory: Arc<dyn Directory>,
        settings: Settings,
        index: Index,
        last: Segment,
        manifest: Manifest,
        reserve: Reserve,
    ) -> Shared {
        Shared {
            directory,
            id: manifest.id,
            settings,
            index: Mutex::new(index),
            cleaned: Condvar::new(),
            cleaner: OnceLock::new(),
            last: Mutex::new(last),
            manifest: Mutex::new(manifest),
            unsynced: AtomicU64::new(0),
            closed_size: AtomicU64::new(0),
            is_full: AtomicBool::new(false),
            largest: AtomicU64::new(0),
            reserve: Mutex::new(reserve),
            is_last_dead: AtomicBool::new(false),
            behind: AtomicU64::new(0),
        }
    }

    /// What counts in the row.
    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        or_abort(&self.index)
    }

    /// Notes which segment is the last one now.
    pub(super) fn set_last(&self, last: Segment) {
        *or_abort(&self.last) = last;
        self.is_last_dead.store(false, Ordering::Relaxed);
        self.cleaner.get().inspect(|thread| thread.unpark());
    }

    /// Puts what is known in other memory: in the heap of this thread. The last segment is there.
    pub(super) fn reallocate(&self, last: Segment) {
        *or_abort(&self.last) = last;
        let mut index = self.index();
        *index = index.clone();
    }

    /// Notes that a segment of so many bytes was closed.
    pub(super) fn add_closed(&self, size: u64) {
        self.closed_size.fetch_add(size, Ordering::Relaxed);
        self.largest.fetch_max(size, Ordering::Relaxed);
    }

    /// Whether the last segment is to be closed, because most of it is dead.
    pub(super) fn is_last_dead(&self) -> bool {
        self.is_last_dead.load(Ordering::Relaxed)
    }

    /// Notes whether the disk had no room for an append.
    pub(super) fn set_full(&self, is_full: bool) {
        if self.is_full.swap(is_full, Ordering::Relaxed) != is_full {
            self.index().cancellations += 1;
        }
    }

    /// Whether the disk had no room for the last append.
    pub(super) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// Makes the reserve as large as it has to be beside a last segment of so many bytes.
    pub(super) fn ensure_reserve(&self, size: u64) -> Result<(), Error> {
        let largest = self.largest.load(Ordering::Relaxed).max(size);
        or_abort(&self.reserve).ensure(&*self.directory, largest.min(self.settings.segment_size))
    }

    /// Does something that frees room, on a full disk with what the reserve gives.
    pub(super) fn with_reserve(
        &self,
        mut act: impl FnMut() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let done = act();
        let is_full = done.as_ref().is_err_and(Failure::is_full);
        if is_full && or_abort(&self.reserve).give_up() { act() } else { done }
    }

    /// Syncs the last segment, where appends do not.
    pub(super) fn sync_last(&self) -> Result<(), Error> {
        if self.settings.sync == Sync::Always {
            return Ok(());
        }
        let last = or_abort(&self.last).clone();
        last.file.sync().map_err(last.failed("sync"))
    }

    /// Writes another manifest, if this gives one.
    fn change_manifest(
        &self,
        change: impl FnOnce(&Manifest) -> Option<Manifest>,
    ) -> Result<(), Error> {
        let mut manifest = or_abort(&self.manifest);
        if let Some(changed) = change(&manifest) {
            changed.write(&*self.directory)?;
            *manifest = changed;
        }
        Ok(())
    }

    /// Notes in the manifest how far the journal reaches, and that all of it is on disk.
    pub(super) fn set_reached(&self, number: u32, size: u64) -> Result<(), Error> {
        let reached = (number, size);
        self.change_manifest(|it| Some(Manifest { reached, unsynced: None, ..*it }))
    }

    /// Notes in the manifest, before an append that is not synced, that one follows.
    pub(super) fn mark_unsynced(&self) -> Result<(), Error> {
        let run = || self.directory.boot_id().unwrap_or_else(|| "unknown".to_owned());
        self.change_manifest(|it| {
            self.unsynced.fetch_add(1, Ordering::Relaxed);
            it.unsynced.is_none().then(|| Manifest { unsynced: Some(run()), ..*it })
        })
    }

    /// Syncs what was appended, and notes that it is on disk; unless more comes meanwhile.
    fn unmark(&self) -> Result<(), Error> {
        if or_abort(&self.manifest).unsynced.is_none() {
            return Ok(());
        }
        let before = self.unsynced.load(Ordering::Relaxed);
        self.sync_last()?;
        self.change_manifest(|it| {
            let is_synced = self.unsynced.load(Ordering::Relaxed) == before;
            is_synced.then_some(Manifest { unsynced: None, ..*it })
        })
    }

    /// Before so many bytes are appended, waits a moment where the row is as large as it may be:
    /// the longer, the larger it is, so that cleaning keeps up on any disk.
    pub(super) fn wait_for_cleaning(&self, size: usize) {
        let behind = || self.behind.load(Ordering::Relaxed);
        let quarters = behind() * 4 / self.settings.segment_size;
        if behind() > 0 {
            let time = Duration::from_millis(1 + size as u64 / WAIT_RATE);
            let time = (time * WAIT_GROWTH.pow(quarters.min(4) as u32)).min(WAIT_TIME);
            drop(self.cleaned.wait_timeout_while(self.index(), time, |_| behind() > 0));
        }
    }

    /// By how many bytes the row is larger than twice what is alive. It may be a segment: the
    /// reserve and what is being written beside the row take up to half of one each, and the
    /// directory may have two.
    fn excess(&self, index: &Index) -> u64 {
        let (size, alive) = index.sizes();
        size.saturating_sub(2 * alive)
    }

    /// Notes by how much the row is too large, where cleaning helps.
    fn set_behind(&self, excess: u64) {
        let behind = excess.saturating_sub(self.settings.segment_size);
        self.behind.store(behind, Ordering::Relaxed);
    }

    /// Rests after a piece of cleaning: the less, the closer the row is to where appends wait.
    pub(super) fn rest(&self, begun: Instant) {
        let excess = self.excess(&self.index());
        self.set_behind(excess);
        let half = self.settings.segment_size / 2;
        let left = self.settings.segment_size.saturating_sub(excess).min(half);
        thread::sleep((begun.elapsed() * REST).mul_f64(left as f64 / half as f64));
    }

    /// Looks for something to clean, and cleans it. Says whether there was something. Where
    /// `is_calm` is not set, only what has to be done now.
    pub(super) fn clean_next(&self, is_calm: bool) -> Result<bool, Failure> {
        let segment_size = self.settings.segment_size;
        let index = self.index();
        // On a full disk every byte helps.
        let dead_min = if self.is_full() { 1 } else { segment_size / 16 };
        let excess = self.excess(&index);
        // Earlier it would be copied more often, and most of it is soon dead.
        let copies = is_calm || self.is_full() || excess > segment_size / 8 * 5;
        let candidate = index.candidate(copies, dead_min, segment_size / 2);
        let is_last_dead = copies && index.is_last_dead(dead_min);
        drop(index);
        self.is_last_dead.store(is_last_dead, Ordering::Relaxed);
        self.set_behind(candidate.as_ref().map_or(0, |_| excess));
        let Some(numbers) = candidate else { return Ok(false) };
        self.with_reserve(|| cleaning::clean(self, numbers.clone()))?;
        Ok(true)
    }
}

/// Starts the thread that cleans, which ends with the journal.
pub(super) fn spawn(shared: &Arc<Shared>) -> io::Result<()> {
    let weak = Arc::downgrade(shared);
    let thread = thread::Builder::new().name("journal cleaning".to_owned());
    let thread = thread.spawn(move || attend(&weak))?;
    shared.cleaner.get_or_init(|| thread.thread().clone());
    Ok(())
}

/// Cleans what there is to clean, again and again.
fn attend(shared: &Weak<Shared>) {
    let (mut seen, mut changed) = (0, (0, Instant::now()));
    let mut unsynced = (0, Instant::now());
    let mut pause = LOOK_TIME;
    loop {
        thread::park_timeout(pause);
        let Some(shared) = shared.upgrade() else { return };
        let changes = shared.index().cancellations;
        if changes != changed.0 {
            changed = (changes, Instant::now());
        }
        let is_calm = changed.1.elapsed() >= CALM_TIME;
        if changes != seen {
            match shared.clean_next(is_calm) {
                Ok(false) if is_calm => seen = changes,
                Ok(_) => {}
                Err(Failure::NotDone(error)) => {
                    say("the journal was not cleaned", &error);
                    shared.behind.store(0, Ordering::Relaxed);
                    thread::sleep(FAILURE_TIME);
                }
                Err(Failure::Unknown(error)) => end(&error),
            }
            shared.cleaned.notify_all();
        }
        pause = match (changes == seen, shared.behind.load(Ordering::Relaxed)) {
            (true, _) => LOOK_TIME,
            (_, 0) => BUSY_LOOK_TIME,
            _ => Duration::ZERO,
        };
        let count = shared.unsynced.load(Ordering::Relaxed);
        if count != unsynced.0 {
            unsynced = (count, Instant::now());
        } else if unsynced.1.elapsed() >= IDLE_TIME
            && let Err(error) = shared.unmark()
        {
            end(&error);
        }
    }
}

/// After an error that leaves it open what is on disk, the process ends.
fn end(error: &Error) -> ! {
    say("the journal cannot be used", error);
    process::exit(1)
}

fn say(what: &str, error: &Error) {
    notify::warn(format_args!("{what}: {}", common::flags::one_line(error)));
}
