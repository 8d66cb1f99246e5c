//! Group commit: changes that wait at the same time go to disk together.
//!
//! There is no thread of its own for the journal. Whoever finds it free leads: it takes all changes
//! that wait, writes them as one frame, syncs once, makes them visible, and hands the journal to
//! the first of those that came meanwhile.
//!
//! # Guarantee
//!
//! Nothing is answered, and nothing is visible, before it is on disk (or, with `--sync os`, with
//! the operating system). Changes become visible in the order of the journal.

use crate::metrics::Histogram;
use crate::store::change::{Change, Outcome, Pending};
use crate::store::journal::{Frame, Journal};
use std::io::{self, Write};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Instant;

/// The most that goes into one frame, beyond the first change, in bytes.
const GROUP_SIZE_MAX: usize = 32 << 20;

/// Changes on their way to disk.
pub(crate) struct Commits {
    line: Mutex<Line>,
    meter: Meter,
}

/// What is counted of the journal.
#[derive(Debug)]
pub(crate) struct Meter {
    /// Bytes of the journal.
    pub(crate) size: AtomicU64,
    /// To write a group of changes, and sync it where that is asked.
    pub(crate) time: Histogram,
}

/// Invariant: while `scribe` is here, nobody waits.
struct Line {
    /// The journal, unless somebody leads.
    scribe: Option<Box<Scribe>>,
    /// In the order in which they came.
    waiting: Vec<Arc<Ticket>>,
}

/// The journal, and the frame that is being put together.
struct Scribe {
    journal: Journal,
    frame: Frame,
}

/// A change that waits.
struct Ticket {
    state: Mutex<State>,
    /// Told when the change has its outcome, or is to lead.
    changed: Condvar,
}

/// What a leader and whoever waits tell each other.
struct State {
    pending: Pending,
    /// Whether the outcome may be told: the change is on disk and visible, or taken back.
    told: bool,
    /// Whoever waits for this change leads.
    scribe: Option<Box<Scribe>>,
}

/// What a leader does with changes beside writing them.
pub(crate) trait Store {
    /// Decides about a change, and puts what is accepted into the frame.
    fn accept(&self, pending: &mut Pending, frame: &mut Frame);
    /// Makes an accepted change visible.
    fn publish(&self, pending: &mut Pending);
    /// Takes accepted changes back, of which none is in the journal. The last comes first.
    fn undo(&self, pending: &mut Pending, reason: &str);
}

impl Commits {
    /// Commits to this journal.
    pub(crate) fn new(journal: Journal) -> Commits {
        let meter = Meter { size: AtomicU64::new(journal.size()), time: Histogram::default() };
        let scribe = Some(Box::new(Scribe { journal, frame: Frame::default() }));
        Commits { line: Mutex::new(Line { scribe, waiting: Vec::new() }), meter }
    }

    /// What is counted of the journal.
    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Brings a change to disk and makes it visible. Gives it back with its outcome.
    pub(crate) fn commit(&self, change: Change, store: &impl Store) -> (Change, Outcome) {
        let pending = Pending::new(change);
        let state = Mutex::new(State { pending, told: false, scribe: None });
        let ticket = Arc::new(Ticket { state, changed: Condvar::new() });
        let mut line = lock(&self.line);
        line.waiting.push(Arc::clone(&ticket));
        let scribe = line.scribe.take();
        drop(line);
        // Nobody steps aside for those who may come and could join the group: beside programs that
        // compute, a thread that yields waits for all of their time slices (row busy of the
        // benchmark: a quarter as fast).
        if let Some(scribe) = scribe.or_else(|| ticket.wait()) {
            self.lead(scribe, store);
        }
        let pending = &mut ticket.lock().pending;
        let change = std::mem::replace(&mut pending.change, Change::Places(Vec::new()));
        let outcome = pending.outcome.take();
        (change, outcome.expect("whoever led took every change that waited, this one among them"))
    }

    /// Commits all changes that wait, the caller's own among them.
    fn lead(&self, mut scribe: Box<Scribe>, store: &impl Store) {
        let _guard = AbortOnPanic;
        let tickets = std::mem::take(&mut lock(&self.line).waiting);
        let mut rest = tickets.as_slice();
        while !rest.is_empty() {
            let (group, later) = rest.split_at(group_size(rest));
            scribe.store(group, store, &self.meter);
            rest = later;
        }
        // First the answers: whoever has one may be back before the next group is taken (row 5).
        for ticket in tickets {
            ticket.lock().told = true;
            ticket.changed.notify_one();
        }
        let mut line = lock(&self.line);
        match line.waiting.first() {
            Some(next) => {
                next.lock().scribe = Some(scribe);
                next.changed.notify_one();
            }
            None => line.scribe = Some(scribe),
        }
    }
}

/// How many of these changes make the next frame.
fn group_size(tickets: &[Arc<Ticket>]) -> usize {
    let mut size = 0;
    let mut count = 0;
    for ticket in tickets {
        let change = &ticket.lock().pending.change;
        // What follows a deletion is judged by what the deletion leaves: it goes alone.
        let alone = matches!(change, Change::Delete { .. });
        size += change.size();
        if count > 0 && (alone || size > GROUP_SIZE_MAX) {
            break;
        }
        count += 1;
        if alone {
            break;
        }
    }
    count
}

impl Scribe {
    /// Writes a group of changes as one frame, and makes them visible or takes them back.
    fn store(&mut self, group: &[Arc<Ticket>], store: &impl Store, meter: &Meter) {
        self.frame.clear();
        for ticket in group {
            store.accept(&mut ticket.lock().pending, &mut self.frame);
        }
        let begun = Instant::now();
        let stored = self.journal.append(&mut self.frame);
        meter.time.observe(begun.elapsed(), 1);
        meter.size.store(self.journal.size(), Ordering::Relaxed);
        match stored {
            Ok(()) => group.iter().for_each(|ticket| store.publish(&mut ticket.lock().pending)),
            Err(error) if error.is_fatal() => {
                // Whether it is on disk cannot be known: the next start finds out. Nobody is
                // answered.
                let _ = writeln!(io::stderr(), "broker: {}", common::flags::one_line(&error));
                process::exit(1);
            }
            Err(error) => {
                let reason = common::flags::one_line(&error);
                group
                    .iter()
                    .rev()
                    .for_each(|ticket| store.undo(&mut ticket.lock().pending, &reason));
            }
        }
    }
}

impl Ticket {
    /// Waits for the outcome; or for the journal, when it is this thread's turn to lead.
    fn wait(&self) -> Option<Box<Scribe>> {
        let waits = |state: &mut State| !state.told && state.scribe.is_none();
        let state = self.changed.wait_while(self.lock(), waits);
        state.unwrap_or_else(|_| process::abort()).scribe.take()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|_| process::abort())
}
