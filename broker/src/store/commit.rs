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
use crate::refusal::Refusal;
use crate::store::batch::{Batch, Publisher};
use crate::store::entry::{self, Entry};
use crate::store::journal::{Frame, Journal};
use crate::store::ledger::{Receipt, Undo};
use crate::store::stream::Cursor;
use std::io::{self, Write};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Instant;

/// A change of what the broker keeps.
#[derive(Debug)]
pub(crate) enum Change {
    /// Messages.
    Append(Batch),
    /// A topic is to be created.
    Create(String),
    /// A topic is to be deleted; with `mirror_only`, only where another broker is its home.
    Delete { topic: String, mirror_only: bool },
    /// More of a topic that another broker is the home of.
    Mirror(Mirrored),
    /// Lasting subscriptions moved, began or ended.
    Places(Vec<PlaceChange>),
}

/// Messages as another broker, their topic's home, has them.
#[derive(Debug)]
pub(crate) struct Mirrored {
    pub(crate) topic: String,
    /// Where the first of them stands.
    pub(crate) from: Cursor,
    pub(crate) entries: Vec<String>,
}

/// A change of a lasting subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlaceChange {
    pub(crate) subscriber: Arc<str>,
    pub(crate) topic: Arc<str>,
    /// Where it goes on; nothing when it ended.
    pub(crate) place: Option<Cursor>,
}

/// What became of a change.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// One answer for each publish of a batch.
    Batch(Vec<Result<Receipt, Refusal>>),
    /// Of any other change.
    Other(Result<(), Refusal>),
}

impl Outcome {
    /// Whether anything of the change was new, and so went to disk.
    pub(crate) fn is_stored(&self) -> bool {
        match self {
            Outcome::Batch(answers) => answers.iter().flatten().any(|receipt| receipt.appended > 0),
            Outcome::Other(done) => done.is_ok(),
        }
    }
}

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
pub(crate) struct Ticket {
    state: Mutex<State>,
    /// Told when the change has its outcome, or is to lead.
    changed: Condvar,
}

/// What is known of a change.
pub(crate) struct State {
    pub(crate) change: Change,
    pub(crate) outcome: Option<Outcome>,
    /// How to take back what was accepted.
    pub(crate) undo: Vec<Undo>,
    /// Whether a mirror was begun for it.
    pub(crate) created: bool,
    /// Whether the outcome may be told: the change is on disk and visible.
    told: bool,
    /// Whoever waits for this change leads.
    scribe: Option<Box<Scribe>>,
}

impl State {
    /// A change that nothing was done about.
    pub(crate) fn of(change: Change) -> State {
        State { change, outcome: None, undo: Vec::new(), created: false, told: false, scribe: None }
    }
}

/// What a leader does with changes beside writing them.
pub(crate) trait Store {
    /// Decides about a change, and puts what is accepted into the frame.
    fn accept(&self, state: &mut State, frame: &mut Frame);
    /// Makes an accepted change visible.
    fn publish(&self, state: &mut State);
    /// Takes accepted changes back, of which none is in the journal. The last comes first.
    fn undo(&self, state: &mut State, reason: &str);
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
        let state = Mutex::new(State::of(change));
        let ticket = Arc::new(Ticket { state, changed: Condvar::new() });
        let mut line = lock(&self.line);
        line.waiting.push(Arc::clone(&ticket));
        let scribe = line.scribe.take();
        drop(line);
        if let Some(scribe) = scribe {
            self.lead(scribe, store);
        } else if let Some(scribe) = ticket.wait() {
            // Clients that were just answered come back at about the same time: whoever is ready
            // to run goes first, and joins this group instead of waiting for the next (row 5 of
            // the benchmark).
            thread::yield_now();
            self.lead(scribe, store);
        }
        let mut state = ticket.lock();
        let change = std::mem::replace(&mut state.change, Change::Places(Vec::new()));
        let outcome = state.outcome.take();
        // Whoever led, this change was among those that it took.
        (change, outcome.unwrap_or(Outcome::Other(Ok(()))))
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
        let state = ticket.lock();
        // What follows a deletion is judged by what the deletion leaves: it goes alone.
        let alone = matches!(state.change, Change::Delete { .. });
        if let Change::Append(batch) = &state.change {
            size += batch.size();
        }
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
            store.accept(&mut ticket.lock(), &mut self.frame);
        }
        let begun = Instant::now();
        let stored = self.journal.append(&mut self.frame);
        meter.time.observe(begun.elapsed(), 1);
        meter.size.store(self.journal.size(), Ordering::Relaxed);
        match stored {
            Ok(()) => group.iter().for_each(|ticket| store.publish(&mut ticket.lock())),
            Err(error) if error.is_fatal() => {
                // Whether it is on disk cannot be known: the next start finds out. Nobody is
                // answered.
                let _ = writeln!(io::stderr(), "broker: {}", common::flags::one_line(&error));
                process::exit(1);
            }
            Err(error) => {
                let reason = common::flags::one_line(&error);
                group.iter().rev().for_each(|ticket| store.undo(&mut ticket.lock(), &reason));
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

/// Puts what was accepted of a batch into a frame.
pub(crate) fn write_batch(frame: &mut Frame, batch: &Batch, answers: &[Result<Receipt, Refusal>]) {
    let mut entries = batch.entries.as_slice();
    for (publish, answer) in batch.publishes.iter().zip(answers) {
        let (these, rest) = entries.split_at_checked(publish.count).unwrap_or_default();
        entries = rest;
        let Ok(Receipt { stream, appended, created, .. }) = answer else { continue };
        if *created {
            frame.create(&publish.topic, *stream);
        }
        let skip = publish.count - usize::try_from(*appended).unwrap_or(publish.count);
        let new = these.get(skip..).unwrap_or_default();
        let Some(first) = new.first() else { continue };
        let Entry { time, publisher, .. } = Entry::of(first);
        let number = publish.number.as_ref().map(|(_, number)| number.later(skip as u64));
        let publisher = publisher.map(|name| Publisher { name, number });
        frame.append(&publish.topic, time, publisher, new.iter().map(|it| entry::message(it)));
    }
}

/// Puts mirrored messages into a frame.
pub(crate) fn write_mirrored(frame: &mut Frame, mirrored: &Mirrored) {
    let same_stamp = |one: &String, other: &String| {
        let (one, other) = (Entry::of(one), Entry::of(other));
        (one.time, one.publisher) == (other.time, other.publisher)
    };
    for run in mirrored.entries.chunk_by(same_stamp) {
        let Some(Entry { time, publisher, .. }) = run.first().map(|entry| Entry::of(entry)) else {
            continue;
        };
        let publisher = publisher.map(|name| Publisher { name, number: None });
        let messages = run.iter().map(|entry| entry::message(entry));
        frame.append(&mirrored.topic, time, publisher, messages);
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
