//! The state that appending threads share with the cleaning thread.

use super::{
    Directory, Error, Failure, Index, JournalId, Manifest, Reserve, Segment, Settings, Sync,
    cleaning,
};
use crate::notify;
use common::lock::or_abort;
use std::io;
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// How often to look for something to clean; sooner where a segment is closed.
const LOOK_TIME: Duration = Duration::from_millis(100);

/// How long nothing is appended before what was not synced is.
const IDLE_TIME: Duration = Duration::from_secs(5);

/// How long cleaning waits after a failure, such as a full disk.
const FAILURE_TIME: Duration = Duration::from_secs(1);

/// How long nothing is cancelled before segments are cleaned of which a part is alive. While more
/// is cancelled, waiting saves work: soon nothing may be left of them.
const CALM_TIME: Duration = Duration::from_secs(1);

/// Of ten parts of the time, cleaning rests in so many, unless it cannot keep up.
const REST: u32 = 9;

/// By how many segments the directory may be too large before appends wait.
const BEHIND_MAX: u32 = 1;

/// The longest that one append waits for cleaning that cannot keep up.
const WAIT_TIME: Duration = Duration::from_millis(200);

/// How much is appended meanwhile, in bytes for each millisecond.
const WAIT_RATE: u64 = 10_000;

/// How much longer it waits with each segment more that the directory is too large.
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
    /// By how many segments the directory is larger than it should be, where cleaning helps.
    behind: AtomicU32,
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
            behind: AtomicU32::new(0),
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

    /// Before so many bytes are appended, waits a moment where the directory is as large as it
    /// may be: the longer, the larger it is, so that cleaning keeps up on any disk. To wait
    /// earlier made one publish in a hundred take 30 ms while something was cleaned, not 5 to 20,
    /// and the directory was as large.
    pub(super) fn wait_for_cleaning(&self, size: usize) {
        let more = || self.behind.load(Ordering::Relaxed).saturating_sub(BEHIND_MAX);
        if more() > 0 {
            let time = Duration::from_millis(1 + size as u64 / WAIT_RATE);
            let time = (time * WAIT_GROWTH.pow(more().clamp(1, 5) - 1)).min(WAIT_TIME);
            drop(self.cleaned.wait_timeout_while(self.index(), time, |_| more() > 0));
        }
    }

    /// By how many bytes the journal is larger than twice what is alive.
    fn excess(&self, index: &Index) -> u64 {
        let (size, alive) = index.sizes();
        size.saturating_sub(2 * alive)
    }

    /// The same in segments. It may be two; at one, what is alive is copied out of segments that
    /// are mostly dead. Earlier it would be copied more often, and most of it is soon dead.
    fn segments_behind(&self, index: &Index) -> u32 {
        u32::try_from(self.excess(index) / self.settings.segment_size).unwrap_or(u32::MAX)
    }

    /// Rests after a piece of cleaning, for as long as it can keep up.
    pub(super) fn rest(&self, begun: Instant) {
        let behind = self.segments_behind(&self.index());
        self.behind.store(behind, Ordering::Relaxed);
        if behind == 0 {
            thread::sleep(begun.elapsed() * REST);
        }
    }

    /// Looks for something to clean, and cleans it. Says whether there was something. Where
    /// `is_calm` is not set, only what has to be done now.
    pub(super) fn clean_next(&self, is_calm: bool) -> Result<bool, Failure> {
        let segment_size = self.settings.segment_size;
        let index = self.index();
        // On a full disk every byte helps.
        let dead_min = if self.is_full() { 1 } else { segment_size / 16 };
        let copies = is_calm || self.is_full() || self.excess(&index) > segment_size;
        let candidate = index.candidate(copies, dead_min, segment_size / 2);
        let is_last_dead = index.is_last_dead(copies, dead_min);
        let behind = self.segments_behind(&index);
        drop(index);
        self.is_last_dead.store(is_last_dead, Ordering::Relaxed);
        self.behind.store(if candidate.is_some() { behind } else { 0 }, Ordering::Relaxed);
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
        let keeps_up = shared.behind.load(Ordering::Relaxed) == 0;
        pause = if keeps_up { LOOK_TIME } else { Duration::ZERO };
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
