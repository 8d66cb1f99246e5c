//! Threads that serve slow subscribers, so that nobody else waits for them.
//!
//! A thread hands a session over if it is its writer and must not wait: the socket is full, or the
//! publisher's time is up. A few threads serve these sessions in order. When one has to wait for a
//! client, another takes its place. So there are about as many threads as full sockets, and a few
//! more.

use crate::push::{DeliveryPass, Progress, Push, Session};
use common::lock::or_abort;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A thread's stack; encoding needs little.
const STACK_SIZE: usize = 128 << 10;

/// How long a thread without work stays for the next.
const IDLE_TIME: Duration = Duration::from_secs(5);

/// How many threads take from the queue at once. It takes a few milliseconds to find out that a
/// socket is full, during which the thread does nothing: one alone would keep those who read
/// waiting behind all who do not.
const ACTIVE: usize = 8;

/// How long one session may have a thread before the next one's turn comes.
const TURN: Duration = Duration::from_millis(10);

/// The sessions that were handed over.
pub(crate) struct CatchUp {
    threads_max: usize,
    /// A panic under this lock would leave sessions without a writer.
    state: Mutex<State>,
    /// Told when a session joins the queue.
    queued: Condvar,
}

/// Invariant: while `queue` holds a session, some thread waits for no client, or there are as many
/// threads as there may be.
#[derive(Default)]
struct State {
    /// Sessions whose writer will be the thread that takes them.
    queue: VecDeque<Arc<Session>>,
    threads: usize,
    /// How many of them wait for the home of a topic.
    fetching: usize,
    /// Sessions that a thread waits for, oldest first.
    stalled: BTreeMap<u64, Arc<Session>>,
    /// The number of the next one to stall.
    next: u64,
}

impl CatchUp {
    /// At most so many threads.
    pub(crate) fn new(threads_max: usize) -> CatchUp {
        CatchUp { threads_max, state: Mutex::default(), queued: Condvar::new() }
    }

    /// Takes over a session whose writer the caller is.
    pub(crate) fn take(&self, session: Arc<Session>, push: &Arc<Push>) {
        let mut state = or_abort(&self.state);
        state.queue.push_back(session);
        self.ensure_progress(&mut state, push);
        self.queued.notify_one();
    }

    /// Keeps the invariant, with a few threads where they can be had. Where not even one can, the
    /// subscriber that has not read for the longest time is closed: its cursor, name or id takes
    /// it up again.
    fn ensure_progress(&self, state: &mut State, push: &Arc<Push>) {
        if state.queue.is_empty() || state.threads >= state.stalled.len() + state.fetching + ACTIVE
        {
            return;
        }
        if state.threads < self.threads_max {
            let push = Arc::clone(push);
            let thread = thread::Builder::new().stack_size(STACK_SIZE);
            if thread.spawn(move || push.catch_up.serve(&push)).is_ok() {
                state.threads += 1;
                return;
            }
        }
        if state.threads > state.stalled.len() {
            return;
        }
        match state.stalled.pop_first() {
            Some((_, oldest)) => oldest.close(),
            // There is not even one thread: what waits is closed instead of forgotten.
            None => state.queue.drain(..).for_each(|session| session.close()),
        }
    }

    /// The life of a thread.
    fn serve(&self, push: &Arc<Push>) {
        loop {
            let state = or_abort(&self.state);
            let waited =
                self.queued.wait_timeout_while(state, IDLE_TIME, |state| state.queue.is_empty());
            let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
            let Some(session) = state.queue.pop_front() else {
                state.threads -= 1;
                return;
            };
            drop(state);
            self.bring_up_to_date(&session, push);
        }
    }

    /// Serves a session until it is up to date, however long its client takes, or its turn is over.
    fn bring_up_to_date(&self, session: &Arc<Session>, push: &Arc<Push>) {
        let mut pass = DeliveryPass::new(push, Some(TURN));
        let mut stalled = None;
        loop {
            match session.write(&mut pass) {
                Progress::UpToDate => break,
                Progress::Late => {
                    self.take(Arc::clone(session), push);
                    break;
                }
                Progress::Full if stalled.is_none() => {
                    session.set_patient(true);
                    let mut state = or_abort(&self.state);
                    let number = state.next;
                    state.next += 1;
                    state.stalled.insert(number, Arc::clone(session));
                    stalled = Some(number);
                    self.ensure_progress(&mut state, push);
                    pass.deadline = None;
                }
                Progress::Full => {}
                Progress::NotHere(topic, cursor) => {
                    // Another thread takes the place of this one meanwhile.
                    let mut state = or_abort(&self.state);
                    state.fetching += 1;
                    self.ensure_progress(&mut state, push);
                    drop(state);
                    pass.fetch(&topic, cursor);
                    or_abort(&self.state).fetching -= 1;
                    pass.deadline = pass.deadline.map(|_| Instant::now() + TURN);
                }
            }
        }
        pass.given_up.into_iter().for_each(|topic| push.pieces.note_failed(topic));
        if let Some(number) = stalled {
            or_abort(&self.state).stalled.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::fixture::{FIRST, push_of, subscribe};
    use crate::store::{Batch, Memory, Topics};

    /// F19, where there are fewer threads than there are such sessions.
    #[test]
    fn those_who_do_not_read_have_no_more_threads_than_there_may_be() {
        const THREADS: usize = 3;
        const SESSIONS: usize = 10;
        let topics = Topics::new(Memory::new(u64::MAX));
        let push = Arc::new(push_of(topics, THREADS));
        // Together more than a socket takes.
        let message = "x".repeat(1 << 20);
        for _ in 0..20 {
            let mut batch = Batch::default();
            batch.publish("t", None, [message.as_str()].into_iter(), 1 << 20).unwrap();
            assert!(push.topics.append(&mut batch).iter().all(Result::is_ok));
        }
        let sessions: Vec<_> = (0..SESSIONS).map(|_| subscribe(&push)).collect();
        for (session, _) in &sessions {
            assert!(session.notify(FIRST, push.begin_announcement()));
            push.catch_up.take(Arc::clone(session), &push);
        }
        let open = || sessions.iter().filter(|(session, _)| !session.is_closed()).count();
        let end = Instant::now() + Duration::from_secs(60);
        while open() > THREADS && Instant::now() < end {
            assert!(or_abort(&push.catch_up.state).threads <= THREADS);
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(open(), THREADS, "the others made way");
        sessions.iter().for_each(|(session, _)| session.close());
    }
}
