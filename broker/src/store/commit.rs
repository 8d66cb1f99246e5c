//! Group commit: changes that wait at the same time are written to disk together.
//!
//! The journal has no thread. A thread that finds it free leads: it takes all waiting changes,
//! writes them as one frame, syncs once, makes them visible, and gives the journal to the first of
//! those that came meanwhile.
//!
//! # Guarantee
//!
//! Nothing is answered or visible before it is on disk (with `--sync os`: with the operating
//! system). Changes become visible in the order of the journal.

use crate::metrics::Histogram;
use crate::notify;
use crate::refusal::{Refusal, Result};
use crate::store::journal::{Failure, Frame, Journal};
use crate::store::{Change, Contents, Garbage};
use common::lock::or_abort;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use std::{mem, process, thread};

/// The most that goes into one frame, beyond the first change, in bytes.
const GROUP_SIZE_MAX: usize = 32 << 20;

/// How often a thread that does not commit asks for the journal, and how long it waits before.
const TRIES_MAX: u32 = 1000;
const TRY_TIME: Duration = Duration::from_millis(1);

/// Changes on their way to disk.
pub(crate) struct Commits {
    queue: Mutex<Queue>,
    pub(crate) meter: Meter,
}

/// What is counted of the journal.
#[derive(Debug)]
pub(crate) struct Meter {
    /// Bytes of the journal.
    pub(crate) size: AtomicU64,
    /// To write a group of changes, and sync it where that is asked.
    pub(crate) time: Histogram,
    /// Whether the last change that should have gone to disk did.
    pub(crate) is_healthy: AtomicBool,
}

/// Invariant: while `writer` is here, nobody waits.
struct Queue {
    /// The journal, unless somebody leads.
    writer: Option<Box<JournalWriter>>,
    /// In the order in which they came.
    waiting: Vec<Arc<Waiting<dyn Change>>>,
}

/// The journal, and the frame that is being put together.
struct JournalWriter {
    journal: Journal,
    frame: Frame,
}

/// A change that waits.
struct Waiting<C: ?Sized> {
    /// Told when the change is answered, or is to lead.
    changed: Condvar,
    state: Mutex<State<C>>,
}

/// What a leader and a waiting thread tell each other.
struct State<C: ?Sized> {
    /// Whether the change is on disk and visible, or undone.
    done: bool,
    /// Whoever waits for this change leads.
    writer: Option<Box<JournalWriter>>,
    answer: Result<()>,
    /// For the thread that waits to free, not for the one that leads.
    garbage: Garbage,
    change: C,
}

impl Commits {
    /// Commits to this journal.
    pub(crate) fn new(journal: Journal) -> Commits {
        let (size, is_healthy) = (AtomicU64::new(journal.size()), AtomicBool::new(true));
        let writer = Some(Box::new(JournalWriter { journal, frame: Frame::default() }));
        let meter = Meter { size, time: Histogram::default(), is_healthy };
        Commits { queue: Mutex::new(Queue { writer, waiting: Vec::new() }), meter }
    }

    /// Brings changes to disk together, and makes them visible.
    ///
    /// # Errors
    ///
    /// The refusal of the first that was refused.
    pub(crate) fn commit<C>(&self, changes: &mut [C], contents: &Contents) -> Result<()>
    where
        C: Change + Default + 'static,
    {
        let all: Vec<_> = changes.iter_mut().map(|it| Waiting::new(mem::take(it))).collect();
        let mut queue = or_abort(&self.queue);
        all.iter().for_each(|waiting| queue.waiting.push(waiting.clone()));
        let mut writer = if all.is_empty() { None } else { queue.writer.take() };
        drop(queue);
        let mut answer = Ok(());
        // Nobody steps aside for those who may come and could join the group: beside programs that
        // compute, a thread that yields waits for all of their time slices, and publishes take
        // four times as long.
        for (change, waiting) in changes.iter_mut().zip(all) {
            // They came at once, so whoever leads takes all of them: when one is done, all are.
            if let Some(writer) = writer.take().or_else(|| waiting.wait()) {
                self.lead(writer, contents);
            }
            let mut state = waiting.lock();
            *change = mem::take(&mut state.change);
            answer = answer.and(state.answer.clone());
            let garbage = mem::take(&mut state.garbage);
            drop(state);
            drop(garbage);
        }
        answer
    }

    /// Puts what belongs to the journal in the heap of this thread, as soon as nobody leads.
    pub(crate) fn reallocate(&self, contents: &Contents) {
        let writer = (0..TRIES_MAX).find_map(|_| {
            thread::sleep(TRY_TIME);
            or_abort(&self.queue).writer.take()
        });
        if let Some(mut writer) = writer {
            let _guard = AbortOnPanic;
            writer.frame = Frame::default();
            writer.journal.reallocate();
            self.lead(writer, contents);
        }
    }

    /// Commits all changes that wait, the caller's own among them.
    fn lead(&self, mut writer: Box<JournalWriter>, contents: &Contents) {
        let _guard = AbortOnPanic;
        let waiting = mem::take(&mut or_abort(&self.queue).waiting);
        let mut rest = waiting.as_slice();
        while !rest.is_empty() {
            let (group, later) = rest.split_at(group_size(rest));
            writer.write(group, contents, &self.meter);
            rest = later;
        }
        // First the answers: their clients may be back before the next group is taken.
        for waiting in waiting {
            waiting.lock().done = true;
            waiting.changed.notify_one();
        }
        let mut queue = or_abort(&self.queue);
        match queue.waiting.first() {
            Some(next) => {
                next.lock().writer = Some(writer);
                next.changed.notify_one();
            }
            None => queue.writer = Some(writer),
        }
    }
}

/// How many of these changes make the next frame.
fn group_size(waiting: &[Arc<Waiting<dyn Change>>]) -> usize {
    let mut size = 0;
    let together = waiting.iter().take_while(|waiting| {
        let change = &waiting.lock().change;
        size += change.size();
        size <= GROUP_SIZE_MAX && !change.is_alone()
    });
    together.count().max(1)
}

impl JournalWriter {
    /// Writes a group of changes as one frame, and applies or undoes them.
    fn write(&mut self, group: &[Arc<Waiting<dyn Change>>], contents: &Contents, meter: &Meter) {
        self.frame.clear();
        for waiting in group {
            let State { answer, change, .. } = &mut *waiting.lock();
            let frame = &mut self.frame;
            *answer = contents.with(|locked| change.accept(locked, Some(frame)));
        }
        let accepted = group.iter().map(|waiting| waiting.lock());
        let accepted = accepted.filter(|state| state.answer.is_ok());
        let begun = Instant::now();
        let stored = self.journal.append(&mut self.frame);
        meter.time.observe(begun.elapsed(), 1);
        meter.size.store(self.journal.size(), Ordering::Relaxed);
        match stored {
            Ok(()) => {
                // What was refused, or was there already, was not written: it shows nothing of
                // the disk.
                if self.frame.size() > 0 {
                    meter.is_healthy.store(true, Ordering::Relaxed);
                }
                for mut state in accepted {
                    let State { garbage, change, .. } = &mut *state;
                    *garbage = contents.with(|locked| change.apply(locked));
                }
            }
            Err(error @ Failure::Unknown(_)) => {
                // Whether it is on disk cannot be known: the next start finds out. Nobody is
                // answered.
                notify::warn(common::flags::one_line(&error));
                process::exit(1);
            }
            Err(error) => {
                meter.is_healthy.store(false, Ordering::Relaxed);
                let refusal = Refusal::NotStored { reason: common::flags::one_line(&error) };
                for mut state in accepted.rev() {
                    contents.with(|locked| state.change.undo(locked));
                    state.answer = Err(refusal.clone());
                }
            }
        }
    }
}

impl<C> Waiting<C> {
    fn new(change: C) -> Arc<Waiting<C>> {
        let (answer, garbage) = (Ok(()), Garbage::default());
        let state = Mutex::new(State { done: false, writer: None, answer, garbage, change });
        Arc::new(Waiting { changed: Condvar::new(), state })
    }

    /// Waits for the answer; or for the journal, when it is this thread's turn to lead.
    fn wait(&self) -> Option<Box<JournalWriter>> {
        let waits = |state: &mut State<C>| !state.done && state.writer.is_none();
        let state = self.changed.wait_while(self.lock(), waits);
        state.unwrap_or_else(|_| process::abort()).writer.take()
    }
}

impl<C: ?Sized> Waiting<C> {
    fn lock(&self) -> MutexGuard<'_, State<C>> {
        or_abort(&self.state)
    }
}

/// A leader that panics leaves others waiting for a journal in an unknown state: the process ends,
/// and the next start finds out.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            process::abort();
        }
    }
}
