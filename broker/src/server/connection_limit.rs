//! The connection limit: how many connections there may be, and which one is closed for a new one.

use crate::activity::{Activity, Role};
use crate::control_group;
use common::limits::CONNECTIONS_MAX;
use common::lock::Mutex;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Descriptors that are not connections: standard streams, listener, data files, one to spare,
/// and those of clients that are being turned away. Where there are few descriptors at all, half
/// of them, but never fewer than a broker needs that works alone.
const OTHER_DESCRIPTORS: usize = 64;
const OTHER_DESCRIPTORS_MIN: usize = 16;

/// Threads that are not connections'.
const OTHER_THREADS: usize = 64;

/// A session without a subscription that was silent for so long may be closed for a new connection.
const SESSION_SILENCE: Duration = Duration::from_secs(60);

/// So may a subscriber that was silent, and was sent no message, for so long.
const SUBSCRIBER_SILENCE: Duration = Duration::from_secs(3600);

/// How many connections may be open, and which are.
pub(crate) struct ConnectionLimit {
    max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Oldest first.
    open: BTreeMap<u64, Open>,
    /// The number of the next connection.
    next: u64,
}

struct Open {
    stream: Arc<TcpStream>,
    activity: Arc<Activity>,
    /// Whether it has sent something.
    spoke: bool,
}

/// A connection that is counted; it is no longer when this is dropped.
pub(crate) struct Slot {
    limit: Arc<ConnectionLimit>,
    number: u64,
    pub(crate) activity: Arc<Activity>,
}

impl ConnectionLimit {
    /// At most `max` connections.
    pub(crate) fn new(max: usize) -> ConnectionLimit {
        ConnectionLimit { max, state: Mutex::default() }
    }

    /// Counts a connection. At the limit one that is not used is closed for it; where there is no
    /// such connection, there is no slot.
    pub(crate) fn enter(self: &Arc<ConnectionLimit>, stream: &Arc<TcpStream>) -> Option<Slot> {
        let mut state = self.state.lock();
        let mut closed = None;
        if state.open.len() >= self.max {
            let unused = state.unused()?;
            closed = state.open.remove(&unused);
        }
        let number = state.next;
        state.next += 1;
        let activity = Arc::new(Activity::default());
        let (stream, shared) = (Arc::clone(stream), Arc::clone(&activity));
        state.open.insert(number, Open { stream, activity: shared, spoke: false });
        drop(state);
        if let Some(closed) = closed {
            // Its thread wakes up with the end of input; if it is gone already, so much the better.
            let _ = closed.stream.shutdown(Shutdown::Both);
        }
        Some(Slot { limit: Arc::clone(self), number, activity })
    }
}

impl State {
    /// The connection that is closed first for another: the oldest that has sent nothing yet; else,
    /// of those that are past their time, the session that was silent for longest; else the
    /// subscriber.
    fn unused(&self) -> Option<u64> {
        let rank = |Open { activity, spoke, .. }: &Open| match activity.role() {
            _ if !spoke => Some((2, Duration::ZERO)),
            Role::Bounded => None,
            Role::Session => Some((1, activity.silent())).filter(|it| it.1 >= SESSION_SILENCE),
            Role::Subscriber => {
                Some((0, activity.unused())).filter(|it| it.1 >= SUBSCRIBER_SILENCE)
            }
        };
        let open = self.open.iter().filter_map(|(number, open)| Some((rank(open)?, number)));
        open.max_by_key(|(rank, number)| (*rank, Reverse(**number))).map(|(_, number)| *number)
    }
}

impl Slot {
    /// Notes that the connection has sent something. False where it was closed for another just
    /// before.
    pub(crate) fn spoke(&mut self) -> bool {
        self.activity.heard();
        let mut state = self.limit.state.lock();
        let open = state.open.get_mut(&self.number);
        open.map(|open| open.spoke = true).is_some()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // One that was closed for another is not there any more.
        self.limit.state.lock().open.remove(&self.number);
    }
}

/// How many connections there may be, and what bounds them.
pub(crate) fn capacity(wanted: Option<usize>) -> (usize, &'static str) {
    let bounds = [
        match wanted {
            Some(wanted) => (wanted, "--max-connections"),
            None => (CONNECTIONS_MAX, "the default of --max-connections"),
        },
        (connections_of(descriptors()), "the open-file limit (ulimit -n)"),
        // An eighth is kept for threads that catch up.
        ((threads() / 8 * 7).saturating_sub(OTHER_THREADS), "the thread limit"),
    ];
    bounds.into_iter().min_by_key(|bound| bound.0).unwrap_or((CONNECTIONS_MAX, ""))
}

/// How many threads are left to catch up beside those of `connections`.
pub(crate) fn catch_up_threads(connections: usize) -> usize {
    threads().saturating_sub(connections + OTHER_THREADS).min(connections).max(1)
}

/// How many of so many descriptors are for connections.
fn connections_of(descriptors: usize) -> usize {
    let others = OTHER_DESCRIPTORS.min(descriptors / 2).max(OTHER_DESCRIPTORS_MIN);
    descriptors.saturating_sub(others)
}

/// How many files this process may have open.
fn descriptors() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    soft.unwrap_or(usize::MAX)
}

/// How many threads this process may have. The standard library maps memory four times for each,
/// and aborts the process where the kernel allows no more mappings.
fn threads() -> usize {
    let least = control_group::least("pids", "pids.max", "pids.max");
    let number = |path| fs::read_to_string(path).ok()?.trim().parse::<usize>().ok();
    [
        number("/proc/sys/vm/max_map_count").map(|mappings| mappings / 5),
        least.and_then(|least| usize::try_from(least).ok()),
        number("/proc/sys/kernel/threads-max"),
    ]
    .into_iter()
    .flatten()
    .min()
    .unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;

    fn pair() -> (Arc<TcpStream>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Arc::new(listener.accept().unwrap().0), client)
    }

    #[test]
    fn the_oldest_silent_connection_is_closed_for_a_new_one() {
        let limit = Arc::new(ConnectionLimit::new(2));
        let (first, mut first_client) = pair();
        let (other, _other_client) = pair();
        let mut first_slot = limit.enter(&first).unwrap();
        let mut second_slot = limit.enter(&other).unwrap();
        let mut third_slot = limit.enter(&other).unwrap();
        assert_eq!(first_client.read(&mut [0]).unwrap(), 0, "the first was closed");
        assert!(!first_slot.spoke());
        assert!(second_slot.spoke() && third_slot.spoke());
        assert!(limit.enter(&other).is_none(), "nobody is silent any more");
        drop(first_slot);
        assert!(limit.enter(&other).is_none(), "the first was not counted any more");
        drop(second_slot);
        assert!(limit.enter(&other).is_some());
    }

    /// The session that was silent for longest goes first, then the subscriber that was.
    #[test]
    fn connections_that_are_not_used_are_closed_for_new_ones_in_order() {
        let limit = Arc::new(ConnectionLimit::new(6));
        let seconds = Duration::from_secs;
        let roles = [
            ("subscriber, 61 minutes", Role::Subscriber, seconds(3660)),
            ("subscriber, 59 minutes", Role::Subscriber, seconds(3540)),
            ("HTTP", Role::Bounded, seconds(7200)),
            ("session, 62 s", Role::Session, seconds(62)),
            ("session, 59 s", Role::Session, seconds(59)),
            ("session, 70 s", Role::Session, seconds(70)),
        ];
        let mut open: Vec<_> = roles
            .map(|(name, role, age)| {
                let (stream, client) = pair();
                let mut slot = limit.enter(&stream).unwrap();
                assert!(slot.spoke());
                slot.activity.set_role(role);
                slot.activity.age(age);
                (name, slot, client)
            })
            .into();
        let (other, _client) = pair();
        let mut newer = Vec::new();
        for expected in ["session, 70 s", "session, 62 s", "subscriber, 61 minutes"] {
            let mut slot = limit.enter(&other).unwrap();
            slot.spoke();
            newer.push(slot);
            let is_closed = |(_, slot, _): &mut (_, Slot, _)| {
                !slot.limit.state.lock().open.contains_key(&slot.number)
            };
            let closed: Vec<_> = open.extract_if(.., is_closed).collect();
            assert_eq!(closed.iter().map(|(name, ..)| *name).collect::<Vec<_>>(), [expected]);
        }
        assert!(limit.enter(&other).is_none(), "the others are in use");
    }

    /// A subscriber that is sent messages is in use, even if it says nothing.
    #[test]
    fn a_subscriber_that_is_sent_messages_is_in_use() {
        let limit = Arc::new(ConnectionLimit::new(1));
        let (stream, _client) = pair();
        let mut slot = limit.enter(&stream).unwrap();
        slot.spoke();
        slot.activity.set_role(Role::Subscriber);
        slot.activity.age(Duration::from_secs(7200));
        slot.activity.delivered();
        assert!(limit.enter(&stream).is_none());
    }

    #[test]
    fn a_silent_connection_that_ends_is_not_counted_any_more() {
        let limit = Arc::new(ConnectionLimit::new(1));
        let (stream, _client) = pair();
        drop(limit.enter(&stream).unwrap());
        assert!(limit.state.lock().open.is_empty());
    }

    #[test]
    fn the_smallest_bound_counts_and_is_named() {
        assert_eq!(capacity(Some(3)), (3, "--max-connections"));
        assert!(capacity(None).0 <= CONNECTIONS_MAX);
        for (descriptors, connections) in
            [(1, 0), (16, 0), (17, 1), (40, 20), (64, 32), (128, 64), (1024, 960)]
        {
            assert_eq!(connections_of(descriptors), connections);
        }
    }
}
