//! A session: a connection that messages are pushed to.
//!
//! A subscriber is a cursor in each of its topics; it has no queue. A thread that finds a session
//! with something to send and no writer becomes its writer, until nothing is left. That may be the
//! session's own thread, a publisher's, or one that catches up. All others only leave a note. So a
//! socket has one writer at a time, and no thread waits for the client of another one.
//!
//! # Guarantee
//!
//! Each message after the beginning of a subscription is written exactly once, in order, after the
//! answer to the command that subscribed.

use crate::activity::{Activity, Role};
use crate::push::{
    Beginning, DeliveryPass, Format, Listener, Listeners, Outgoing, Subscription, Subscriptions,
    Unsent,
};
use crate::store::Cursor;
use common::limits::ENCODED_SIZE;
use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a publisher's thread waits for a full socket. The kernel rounds it up to a few
/// milliseconds; what matters is that the session is then somebody else's to serve.
const IMPATIENT: Duration = Duration::from_millis(1);

/// How long any other thread waits in one system call. It then tries again, for ever.
const PATIENT: Duration = Duration::from_secs(60);

/// Answers that may wait behind another thread's writing before the session's own thread waits
/// too, in bytes.
const OUTBOX_SIZE_MAX: usize = ENCODED_SIZE;

/// About the most that a session holds for a client that does not read.
pub(super) const HELD_SIZE_MAX: usize = 2 * OUTBOX_SIZE_MAX + 2 * ENCODED_SIZE;

/// Numbers are given once in the life of the process.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

/// The write side of a connection.
pub(crate) struct Session {
    /// Tells it from all other sessions.
    pub(super) number: u64,
    stream: Arc<TcpStream>,
    activity: Arc<Activity>,
    /// Changed by the writer only.
    patient: AtomicBool,
    /// Lock order: this, then those of `listeners.rs`, `lasting/` or `store/topics.rs`. Never held
    /// across I/O.
    state: Mutex<Outgoing>,
    /// Told when the writer stops, when the outbox was emptied, and when the session is closed.
    changed: Condvar,
}

/// What a writer came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing is left to write; the session has no writer now.
    UpToDate,
    /// The pass's time was up. The caller is still the writer, and has to find another.
    Late,
    /// The socket is full. The caller is still the writer, and has to find another.
    Full,
    /// What comes next at this place is at the topic's home alone. The caller is still the writer,
    /// and has to find another, or to fetch it.
    NotHere(Arc<str>, Cursor),
}

impl Session {
    /// A session over a connection's socket. From now on only the session writes to it.
    pub(super) fn new(stream: Arc<TcpStream>, activity: Arc<Activity>) -> Arc<Session> {
        // A socket that refuses this is about to fail anyway.
        let _ = stream.set_write_timeout(Some(IMPATIENT));
        Arc::new(Session {
            number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed),
            stream,
            activity,
            patient: AtomicBool::new(false),
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// Leaves answers to be sent, and takes them out of `answers`. Called by the session's own
    /// thread, which waits here while the client does not read what it asked for. `is_whole` says
    /// that the last answer ends here. True when the caller is the writer from now on, and has to
    /// call [`Session::write`].
    pub(crate) fn answer(&self, answers: &mut Vec<u8>, is_whole: bool) -> bool {
        let mut state = self.lock();
        if state.closed {
            answers.clear();
            return false;
        }
        state.outbox.append(answers);
        state.is_answering = !is_whole;
        while state.writing && !state.closed && state.outbox.len() > OUTBOX_SIZE_MAX {
            state.waiting += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        state.begin_writing()
    }

    /// Adds subscriptions, where a topic has none yet, and takes answers, which go out before their
    /// first message; a stream of events begins with them. Gives the indexes of those that are new:
    /// they are to be told that there may be messages, and are not read before.
    pub(super) fn subscribe(
        self: &Arc<Session>,
        listeners: &Listeners,
        places: impl IntoIterator<Item = Beginning>,
        format: Format,
        name: Option<Arc<str>>,
        answers: Option<&mut Vec<u8>>,
    ) -> Vec<usize> {
        let mut state = self.lock();
        let add = |place: Beginning| {
            let topic = listeners.name(&place.topic);
            let place = Beginning { topic: Arc::clone(&topic), ..place };
            let subscription = Subscription::new(place, format, name.clone());
            Some((state.subscriptions.add(subscription)?, topic))
        };
        let added: Vec<_> = places.into_iter().filter_map(add).collect();
        if let Some(answers) = answers {
            state.outbox.append(answers);
            if format.is_event() {
                let mut start = state.subscriptions.start(format);
                state.outbox.append(&mut start);
            }
        }
        if !added.is_empty() {
            self.activity.set_role(Role::Subscriber);
        }
        drop(state);
        let listen = |(index, topic)| {
            listeners.add(&topic, Listener::Session(Arc::clone(self), index));
            index
        };
        added.into_iter().map(listen).collect()
    }

    /// Looks at the subscriptions, or notes something of them. Nothing may be locked meanwhile.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut Subscriptions) -> T) -> T {
        look(&mut self.lock().subscriptions)
    }

    /// Ends a subscription: what is written from now on holds none of its messages. With a name,
    /// only the subscription that goes on with that name. Gives its format, if there was one.
    pub(super) fn unsubscribe(
        &self,
        listeners: &Listeners,
        topic: &str,
        name: Option<&str>,
    ) -> Option<Format> {
        let mut state = self.lock();
        let is_meant = |(_, it): &(_, &Subscription)| name.is_none() || it.name.as_deref() == name;
        let (index, &Subscription { format, .. }) =
            state.subscriptions.find(topic).filter(is_meant)?;
        state.subscriptions.remove(index);
        if state.subscriptions.len() == 0 {
            self.activity.set_role(Role::Session);
        }
        drop(state);
        listeners.end(topic, self.number, index);
        Some(format)
    }

    /// Leaves a note for the client, behind what is being written. Waits for nobody. True when the
    /// caller is the writer from now on, and has to call [`Session::write`].
    pub(super) fn tell_client(&self, note: &[u8]) -> bool {
        let mut state = self.lock();
        state.outbox.extend_from_slice(note);
        state.begin_writing()
    }

    /// Notes that a subscription's topic has the messages of this announcement. True when the
    /// caller is the writer from now on, and has to call [`Session::write`].
    ///
    /// A publisher may be late, and the index another subscription's by now: that one then looks
    /// for messages in vain.
    pub(super) fn notify(&self, index: usize, announced: u64) -> bool {
        let mut state = self.lock();
        state.subscriptions.note(index, announced);
        state.begin_writing()
    }

    /// Writes until nothing is left, the socket is full, or the pass's time is up. The caller has
    /// to be the writer.
    pub(super) fn write(&self, pass: &mut DeliveryPass<'_>) -> Progress {
        loop {
            let mut state = self.lock();
            let next = state.next(self.number, pass);
            let missing = pass.missing.take();
            let Some(mut unsent) = next else {
                if let Some((topic, cursor)) = missing.filter(|_| !state.closed) {
                    return Progress::NotHere(topic, cursor);
                }
                let is_closed = state.closed;
                if !is_closed && self.patient.load(Ordering::Relaxed) {
                    // Before the role is given up: the next writer may be a publisher.
                    drop(state);
                    self.set_patient(false);
                    continue;
                }
                state.writing = false;
                self.tell(state);
                if is_closed {
                    self.close();
                }
                return Progress::UpToDate;
            };
            // There is room in the outbox again.
            self.tell(state);
            if !self.send(&mut unsent) {
                self.lock().unsent = Some(unsent);
                return Progress::Full;
            }
            if unsent.count > 0 {
                pass.push.delivered.add(unsent.count);
                self.activity.delivered();
            }
            for (name, topic, cursor) in unsent.receipts {
                pass.push.lasting.sent(&name, &topic, cursor, self.number);
            }
            if pass.is_late() {
                return Progress::Late;
            }
        }
    }

    /// Sends what the socket takes. False when that is not all.
    fn send(&self, unsent: &mut Unsent) -> bool {
        loop {
            let rest = unsent.bytes.get(unsent.written..).unwrap_or_default();
            if rest.is_empty() {
                return true;
            }
            match (&*self.stream).write(rest).map_err(|error| error.kind()) {
                Ok(size @ 1..) => unsent.written += size,
                Err(ErrorKind::Interrupted) => {}
                Err(ErrorKind::WouldBlock | ErrorKind::TimedOut) => return false,
                _ => {
                    // Not acknowledged: the client never got it whole.
                    unsent.receipts.clear();
                    unsent.count = 0;
                    self.close();
                    return true;
                }
            }
        }
    }

    /// Lets the writer wait for a full socket, or not. Called by the writer.
    pub(crate) fn set_patient(&self, patient: bool) {
        if self.patient.swap(patient, Ordering::Relaxed) != patient {
            let timeout = if patient { PATIENT } else { IMPATIENT };
            let _ = self.stream.set_write_timeout(Some(timeout));
        }
    }

    /// Ends the session: nothing is written any more, and its own thread sees the end of input.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.tell(state);
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Waits until everything is written, the session is closed, or the time is over.
    pub(super) fn wait_until_written(&self, time: Duration) {
        self.wait_while(time, |state| state.writing && !state.closed);
    }

    /// Sleeps for `time`, or until the session is closed.
    pub(crate) fn sleep(&self, time: Duration) {
        self.wait_while(time, |state| !state.closed);
    }

    fn wait_while(&self, time: Duration, is_awaited: fn(&mut Outgoing) -> bool) {
        let mut state = self.lock();
        state.waiting += 1;
        let waited = self.changed.wait_timeout_while(state, time, is_awaited);
        waited.unwrap_or_else(PoisonError::into_inner).0.waiting -= 1;
    }

    /// Gives the lock back, and tells those who wait that something changed.
    fn tell(&self, state: MutexGuard<'_, Outgoing>) {
        let is_awaited = state.waiting > 0;
        drop(state);
        if is_awaited {
            self.changed.notify_all();
        }
    }

    /// A panic under this lock leaves at most one subscriber without a message that it never
    /// learns of; so it ends the session instead.
    fn lock(&self) -> MutexGuard<'_, Outgoing> {
        self.state.lock().unwrap_or_else(|poisoned| {
            let mut state = poisoned.into_inner();
            state.closed = true;
            state
        })
    }
}
