//! Requests and their answers, of all threads over one connection at a time.
//!
//! Whoever finds no connection makes one. A server that has left somebody without an answer is
//! given up for new requests; those that wait for it still hear its answers.

use super::connection::{Link, Servers, Unusable, Writer};
use super::wire::Message;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How often a thread that reads looks whether it is still needed.
const TICK: Duration = Duration::from_millis(500);

/// The connection on which requests are made.
pub(super) struct Requests {
    servers: Arc<Servers>,
    state: Mutex<State>,
    /// Told when somebody has connected, or could not.
    changed: Condvar,
}

/// Held to look or to note; never across I/O.
#[derive(Default)]
struct State {
    live: Option<Arc<Live>>,
    /// Whether somebody is connecting.
    is_opening: bool,
}

/// A connection, and who waits for an answer on it.
pub(super) struct Live {
    writer: Arc<Writer>,
    inbox: String,
    last: AtomicU64,
    waiting: Mutex<Waiting>,
    /// Whether new requests go elsewhere.
    is_retired: AtomicBool,
}

/// Held to look or to note; never across I/O.
#[derive(Default)]
struct Waiting {
    /// Each with whether more than one message answers it, the last of which has a status.
    answers: HashMap<u64, (Sender<Message>, bool)>,
    /// Why no more answers come, once that is so.
    ended: Option<String>,
    /// What the server complained of last.
    complaint: Option<String>,
}

/// There is no answer: what was asked for may have been done, or may be done later.
pub(super) struct Unanswered(pub(super) String);

impl Requests {
    /// No connection yet.
    pub(super) fn new(servers: Arc<Servers>) -> Requests {
        Requests { servers, state: Mutex::default(), changed: Condvar::new() }
    }

    /// The connection for the next request.
    pub(super) fn live(&self, deadline: Instant) -> Result<Arc<Live>, Unusable> {
        let mut state = self.state();
        while state.live.as_ref().is_none_or(|live| !live.is_usable()) {
            if state.is_opening {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    let reason = "no server answers".to_owned();
                    return Err(Unusable { reason, is_lasting: false });
                }
                let waited = self.changed.wait_timeout(state, left);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            state.is_opening = true;
            drop(state);
            let opened = self.servers.open().and_then(Live::begin);
            state = self.state();
            state.is_opening = false;
            self.changed.notify_all();
            state.live = Some(opened?);
        }
        state.live.clone().ok_or_else(|| Unusable { reason: String::new(), is_lasting: false })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Two small values are whole after any panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    /// Starts to read answers.
    fn begin(link: Link) -> Result<Arc<Live>, Unusable> {
        let live = Arc::new(Live {
            writer: Arc::clone(&link.writer),
            inbox: link.inbox.clone(),
            last: AtomicU64::new(0),
            waiting: Mutex::default(),
            is_retired: AtomicBool::new(false),
        });
        let reader = Arc::clone(&live);
        let spawned = thread::Builder::new().spawn(move || reader.read(link));
        let failed = |error| Unusable { reason: format!("no thread: {error}"), is_lasting: false };
        spawned.map_err(failed)?;
        Ok(live)
    }

    fn is_usable(&self) -> bool {
        !self.is_retired.load(Ordering::Relaxed) && self.waiting().ended.is_none()
    }

    /// Lets the next request go to another server.
    pub(super) fn retire(&self) {
        self.is_retired.store(true, Ordering::Relaxed);
    }

    /// Writes a request, and waits for its answer. `write` is given the subject of the answer.
    pub(super) fn request(
        &self,
        deadline: Instant,
        write: impl FnOnce(&str, &mut Vec<u8>),
    ) -> Result<Message, Unanswered> {
        let (number, receiver) = self.send(1, false, |inbox, number, out| {
            write(&format!("{inbox}.{number}"), out);
        })?;
        self.receive(number, &receiver, deadline)
    }

    /// The same where several messages answer. Says whether somebody was there who could.
    pub(super) fn collect(
        &self,
        deadline: Instant,
        write: impl FnOnce(&str, &mut Vec<u8>),
    ) -> Result<(Vec<Message>, bool), Unanswered> {
        let (number, receiver) = self.send(1, true, |inbox, number, out| {
            write(&format!("{inbox}.{number}"), out);
        })?;
        let mut answers = Vec::new();
        loop {
            let message = self.receive(number, &receiver, deadline)?;
            if let Some(status) = message.status() {
                return Ok((answers, status != 503));
            }
            answers.push(message);
        }
    }

    /// Writes so many requests, and waits for the answer to each. The answers to them are sent to
    /// the inbox that `write` is given, under one number after the other from the one it is given.
    pub(super) fn request_each(
        &self,
        count: usize,
        deadline: Instant,
        write: impl FnOnce(&str, u64, &mut Vec<u8>),
    ) -> Vec<Result<Message, Unanswered>> {
        let mut answers: Vec<_> = (0..count).map(|_| None).collect();
        let mut lost = "no answer in time".to_owned();
        match self.send(count as u64, false, write) {
            Ok((first, receiver)) => {
                let numbers = first..first + count as u64;
                for number in numbers.clone() {
                    match self.receive(number, &receiver, deadline) {
                        Ok(message) => {
                            let index = number_of(&message).and_then(|it| it.checked_sub(first));
                            let index = index.and_then(|it| usize::try_from(it).ok());
                            if let Some(answer) = index.and_then(|it| answers.get_mut(it)) {
                                *answer = Some(message);
                            }
                        }
                        Err(Unanswered(reason)) => lost = reason,
                    }
                }
                // The one that was given up last need not be one without an answer.
                self.waiting().answers.retain(|number, _| !numbers.contains(number));
            }
            Err(Unanswered(reason)) => lost = reason,
        }
        answers.into_iter().map(|it| it.ok_or_else(|| Unanswered(lost.clone()))).collect()
    }

    fn send(
        &self,
        count: u64,
        has_many: bool,
        write: impl FnOnce(&str, u64, &mut Vec<u8>),
    ) -> Result<(u64, Receiver<Message>), Unanswered> {
        let first = self.last.fetch_add(count, Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel();
        let mut waiting = self.waiting();
        if let Some(reason) = &waiting.ended {
            return Err(Unanswered(reason.clone()));
        }
        let numbers = first..first + count;
        waiting.answers.extend(numbers.map(|number| (number, (sender.clone(), has_many))));
        drop((waiting, sender));
        let mut out = Vec::new();
        write(&self.inbox, first, &mut out);
        self.writer.write(&out);
        Ok((first, receiver))
    }

    fn receive(
        &self,
        number: u64,
        receiver: &Receiver<Message>,
        deadline: Instant,
    ) -> Result<Message, Unanswered> {
        let answer = receiver.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        answer.map_err(|_| {
            self.retire();
            let mut waiting = self.waiting();
            waiting.answers.remove(&number);
            let complaint = waiting.ended.clone().or_else(|| waiting.complaint.clone());
            Unanswered(complaint.unwrap_or_else(|| "no answer in time".to_owned()))
        })
    }

    /// The life of the thread that reads.
    fn read(&self, mut link: Link) {
        let ended = loop {
            let message = match link.next(Instant::now() + TICK) {
                Ok(message) => message,
                Err(reason) => break reason,
            };
            if link.is_leaving {
                self.retire();
            }
            let mut waiting = self.waiting();
            if let Some(complaint) = link.complaint.take() {
                waiting.complaint = Some(complaint);
            }
            let number = message.as_ref().and_then(number_of);
            if let (Some(number), Some(message)) = (number, message) {
                let is_last = message.status().is_some();
                if let Some((sender, has_many)) = waiting.answers.get(&number) {
                    let is_done = is_last || !has_many;
                    // Whoever waited may have given up.
                    let _ = sender.send(message);
                    if is_done {
                        waiting.answers.remove(&number);
                    }
                }
            }
            if self.is_retired.load(Ordering::Relaxed) && waiting.answers.is_empty() {
                break "it was given up".to_owned();
            }
        };
        let mut waiting = self.waiting();
        waiting.ended = Some(ended);
        // Their receivers find that nobody is left to answer.
        waiting.answers.clear();
        drop(waiting);
        self.writer.close();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // A map and two texts are whole after any panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which request a message answers.
fn number_of(message: &Message) -> Option<u64> {
    message.subject.rsplit('.').next()?.parse().ok()
}
