//! Requests and their answers, of all threads over one connection at a time.
//!
//! Whoever finds no connection makes one. A server that has left somebody without an answer is
//! given up for new requests; those that wait for it still hear its answers.

use super::connection::{Link, Servers, Writer};
use super::wire::Message;
use common::lock::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// How often a thread that reads looks whether it is still needed.
const TICK: Duration = Duration::from_millis(500);

/// The connection on which requests are made.
pub(super) struct Requests {
    pub(super) servers: Servers,
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
    /// By the number of the first request of each.
    calls: BTreeMap<u64, Call>,
    /// Why no more answers come, once that is so.
    ended: Option<String>,
    /// What the server complained of last.
    complaint: Option<String>,
}

/// Requests that were written together. Their caller is woken once, when all are answered.
struct Call {
    caller: Thread,
    count: u64,
    /// Whether more than one message answers each, the last of which has a status.
    has_many: bool,
    /// How many are not wholly answered.
    open: u64,
    /// By the places of their requests among these; where many answer one, in their order.
    answers: BTreeMap<u64, Message>,
}

impl Requests {
    /// No connection yet.
    pub(super) fn new(servers: Servers) -> Requests {
        Requests { servers, state: Mutex::default(), changed: Condvar::new() }
    }

    /// The connection for the next request.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(super) fn live(&self, deadline: Instant) -> Result<Arc<Live>, String> {
        let left = deadline.saturating_duration_since(Instant::now());
        let is_awaited = |state: &mut State| state.is_opening && state.usable().is_none();
        let waited = self.changed.wait_timeout_while(self.state.lock(), left, is_awaited);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        if let Some(live) = state.usable() {
            return Ok(live);
        }
        if state.is_opening {
            return Err("no server answers".to_owned());
        }
        state.is_opening = true;
        drop(state);
        let opened = self.servers.open().map_err(|it| it.reason).and_then(Live::begin);
        let mut state = self.state.lock();
        (state.is_opening, state.live) = (false, opened.as_ref().ok().cloned());
        drop(state);
        self.changed.notify_all();
        opened
    }
}

impl State {
    fn usable(&self) -> Option<Arc<Live>> {
        self.live.clone().filter(|live| live.is_usable())
    }
}

impl Live {
    /// Starts to read answers.
    fn begin(link: Link) -> Result<Arc<Live>, String> {
        let live = Arc::new(Live {
            writer: Arc::clone(&link.writer),
            inbox: link.inbox.clone(),
            last: AtomicU64::new(0),
            waiting: Mutex::default(),
            is_retired: AtomicBool::new(false),
        });
        let reader = Arc::clone(&live);
        let spawned = thread::Builder::new().spawn(move || reader.read(link));
        spawned.map(|_| live).map_err(|error| format!("no thread: {error}"))
    }

    fn is_usable(&self) -> bool {
        !self.is_retired.load(Ordering::Relaxed) && self.waiting.lock().ended.is_none()
    }

    /// Lets the next request go to another server.
    pub(super) fn retire(&self) {
        self.is_retired.store(true, Ordering::Relaxed);
    }

    /// Writes a request, and waits for its answer. `write` is given the subject of the answer.
    ///
    /// # Errors
    ///
    /// Why there is no answer: what was asked for may have been done, or may be done later. The
    /// same holds for the other two.
    pub(super) fn request(
        &self,
        deadline: Instant,
        write: impl FnOnce(&str, &mut Vec<u8>),
    ) -> Result<Message, String> {
        let (mut answers, lost) = self.call(1, false, deadline, |inbox, number, out| {
            write(&format!("{inbox}.{number}"), out);
        });
        answers.pop_first().map(|(_, answer)| answer).ok_or(lost)
    }

    /// The same where several messages answer. Says whether somebody was there who could.
    pub(super) fn collect(
        &self,
        deadline: Instant,
        write: impl FnOnce(&str, &mut Vec<u8>),
    ) -> Result<(Vec<Message>, bool), String> {
        let (mut answers, lost) = self.call(1, true, deadline, |inbox, number, out| {
            write(&format!("{inbox}.{number}"), out);
        });
        let status = answers.pop_last().and_then(|(_, last)| last.status()).ok_or(lost)?;
        Ok((answers.into_values().collect(), status != 503))
    }

    /// Writes so many requests, and waits for the answer to each. The answers to them are sent to
    /// the inbox that `write` is given, under one number after the other from the one it is given.
    pub(super) fn request_each(
        &self,
        count: usize,
        deadline: Instant,
        write: impl FnOnce(&str, u64, &mut Vec<u8>),
    ) -> Vec<Result<Message, String>> {
        let count = count as u64;
        let (mut answers, lost) = self.call(count, false, deadline, write);
        (0..count).map(|place| answers.remove(&place).ok_or_else(|| lost.clone())).collect()
    }

    /// Writes so many requests together, and waits until all are answered. Gives the answers, and
    /// why there are no more.
    fn call(
        &self,
        count: u64,
        has_many: bool,
        deadline: Instant,
        write: impl FnOnce(&str, u64, &mut Vec<u8>),
    ) -> (BTreeMap<u64, Message>, String) {
        let first = self.last.fetch_add(count, Ordering::Relaxed);
        let (caller, open) = (thread::current(), count);
        let call = Call { caller, count, has_many, open, answers: BTreeMap::new() };
        self.waiting.lock().calls.insert(first, call);
        let mut out = Vec::new();
        write(&self.inbox, first, &mut out);
        self.writer.write(&out);
        let mut waiting = self.waiting.lock();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let is_answered = waiting.calls.get(&first).is_none_or(|call| call.open == 0);
            if is_answered || waiting.ended.is_some() || left.is_zero() {
                break;
            }
            drop(waiting);
            thread::park_timeout(left);
            waiting = self.waiting.lock();
        }
        let call = waiting.calls.remove(&first);
        let why = waiting.ended.clone().or_else(|| waiting.complaint.clone());
        if call.as_ref().is_some_and(|call| call.open > 0) {
            self.retire();
        }
        let lost = why.unwrap_or_else(|| "no answer in time".to_owned());
        (call.map(|call| call.answers).unwrap_or_default(), lost)
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
            let mut waiting = self.waiting.lock();
            if let Some(complaint) = link.complaint.take() {
                waiting.complaint = Some(complaint);
            }
            let answered = message.and_then(|message| waiting.take(message));
            let is_idle = waiting.calls.is_empty();
            drop(waiting);
            // Not before: it would wait for the lock at once.
            if let Some(caller) = answered {
                caller.unpark();
            }
            if is_idle && self.is_retired.load(Ordering::Relaxed) {
                break "it was given up".to_owned();
            }
        };
        let mut waiting = self.waiting.lock();
        waiting.ended = Some(ended);
        waiting.calls.values().for_each(|call| call.caller.unpark());
        drop(waiting);
        self.writer.close();
    }
}

impl Waiting {
    /// Takes an answer, which somebody may no longer wait for. Gives the thread to be woken where
    /// it was the last of a call.
    fn take(&mut self, message: Message) -> Option<Thread> {
        let number = message.answers()?;
        let (first, call) = self.calls.range_mut(..=number).next_back()?;
        let place = number - first;
        if place >= call.count || call.open == 0 {
            return None;
        }
        if !call.has_many || message.status().is_some() {
            call.open -= 1;
        }
        let place = if call.has_many { call.answers.len() as u64 } else { place };
        call.answers.insert(place, message);
        (call.open == 0).then(|| call.caller.clone())
    }
}
