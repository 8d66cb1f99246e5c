//! Threads that bring slow subscribers up to date, so that nobody else waits for them.
//!
//! A session is handed over by a thread that is its writer and will not wait: its socket is full,
//! or the publisher's time was up. One thread serves what is handed over, in order; when it has
//! to wait for a client, another takes its place. So there are about as many threads as there are
//! sockets that are full, and one more.

use crate::broker::Broker;
use crate::push::session::{Progress, Session};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// A thread's stack; encoding needs little.
const STACK_SIZE: usize = 128 << 10;

/// How long a thread without work stays for the next.
const IDLE_TIME: Duration = Duration::from_secs(5);

/// How long one session may have a thread before the next one's turn comes.
const TURN: Duration = Duration::from_millis(10);

/// The sessions that were handed over.
pub(crate) struct CatchUp {
    threads_max: usize,
    crew: Mutex<Crew>,
    /// Told when a session joins the queue.
    queued: Condvar,
}

/// Invariant: while `queue` holds a session, some thread waits for no client, or there are as many
/// threads as there may be.
#[derive(Default)]
struct Crew {
    /// Sessions whose writer will be the thread that takes them.
    queue: VecDeque<Arc<Session>>,
    threads: usize,
    /// Sessions that a thread waits for, oldest first.
    stalled: BTreeMap<u64, Arc<Session>>,
    /// The number of the next one to stall.
    next: u64,
}

impl CatchUp {
    /// At most so many threads.
    pub(crate) fn new(threads_max: usize) -> CatchUp {
        CatchUp { threads_max, crew: Mutex::default(), queued: Condvar::new() }
    }

    /// Takes over a session whose writer the caller is.
    pub(crate) fn take(&self, session: Arc<Session>, broker: &Arc<Broker>) {
        let mut crew = self.crew();
        crew.queue.push_back(session);
        self.ensure_progress(&mut crew, broker);
        self.queued.notify_one();
    }

    /// Keeps the invariant. Where it cannot be kept by one more thread, the subscriber that has
    /// not read for the longest time is closed: its cursor, name or id takes it up again.
    fn ensure_progress(&self, crew: &mut Crew, broker: &Arc<Broker>) {
        if crew.queue.is_empty() || crew.threads > crew.stalled.len() {
            return;
        }
        if crew.threads < self.threads_max {
            let broker = Arc::clone(broker);
            let thread = thread::Builder::new().stack_size(STACK_SIZE);
            if thread.spawn(move || broker.catch_up.serve(&broker)).is_ok() {
                crew.threads += 1;
                return;
            }
        }
        match crew.stalled.pop_first() {
            Some((_, oldest)) => oldest.close(),
            // There is not even one thread: what waits is closed instead of forgotten.
            None => crew.queue.drain(..).for_each(|session| session.close()),
        }
    }

    /// The life of a thread.
    fn serve(&self, broker: &Arc<Broker>) {
        loop {
            let crew = self.crew();
            let waited =
                self.queued.wait_timeout_while(crew, IDLE_TIME, |crew| crew.queue.is_empty());
            let mut crew = waited.unwrap_or_else(PoisonError::into_inner).0;
            let Some(session) = crew.queue.pop_front() else {
                crew.threads -= 1;
                return;
            };
            drop(crew);
            self.bring_up_to_date(&session, broker);
        }
    }

    fn bring_up_to_date(&self, session: &Arc<Session>, broker: &Arc<Broker>) {
        let mut work = broker.work(Some(TURN));
        match session.write(&mut work) {
            Progress::UpToDate => {}
            Progress::Late => self.take(Arc::clone(session), broker),
            Progress::Full => self.wait_for(session, broker),
        }
    }

    /// Serves one session until it is up to date, however long its client takes.
    fn wait_for(&self, session: &Arc<Session>, broker: &Arc<Broker>) {
        let mut crew = self.crew();
        let number = crew.next;
        crew.next += 1;
        crew.stalled.insert(number, Arc::clone(session));
        self.ensure_progress(&mut crew, broker);
        drop(crew);
        session.set_patient(true);
        let mut work = broker.work(None);
        while session.write(&mut work) != Progress::UpToDate {}
        self.crew().stalled.remove(&number);
    }

    fn crew(&self) -> MutexGuard<'_, Crew> {
        // A panic under this lock would leave sessions without a writer: start anew.
        self.crew.lock().unwrap_or_else(|_| std::process::abort())
    }
}
