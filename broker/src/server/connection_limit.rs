//! The limit of connections: how many there may be, what bounds them, and which is closed for a new
//! one.

use common::limits::CONNECTIONS_MAX;
use std::collections::BTreeMap;
use std::fs;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Descriptors that are not connections: standard streams, listener, data files, one to spare,
/// and those of clients that are being turned away. Where there are few descriptors at all, half
/// of them, but never fewer than a broker needs that works alone.
const OTHER_DESCRIPTORS: usize = 64;
const OTHER_DESCRIPTORS_MIN: usize = 16;

/// Threads that are not connections'.
const OTHER_THREADS: usize = 64;

/// How many connections may be open, and which are.
pub(crate) struct ConnectionLimit {
    max: usize,
    state: Mutex<State>,
}

/// Invariant: `silent` holds connections that are counted in `open`.
#[derive(Default)]
struct State {
    open: usize,
    /// Connections that have sent nothing yet, oldest first.
    silent: BTreeMap<u64, Arc<TcpStream>>,
    /// The number of the next connection.
    next: u64,
}

/// A connection that is counted; it is no longer when this is dropped.
pub(crate) struct Slot {
    limit: Arc<ConnectionLimit>,
    number: u64,
    /// Whether the connection has sent something, and so is not closed for another.
    spoke: bool,
}

impl ConnectionLimit {
    /// At most `max` connections.
    pub(crate) fn new(max: usize) -> ConnectionLimit {
        ConnectionLimit { max, state: Mutex::default() }
    }

    /// Counts a connection. At the limit, the oldest connection that has sent nothing yet is closed
    /// for it; where there is no such connection, there is no slot.
    pub(crate) fn enter(self: &Arc<ConnectionLimit>, stream: &Arc<TcpStream>) -> Option<Slot> {
        let mut state = self.lock();
        let mut evicted = None;
        if state.open >= self.max {
            evicted = Some(state.silent.pop_first()?.1);
            state.open -= 1;
        }
        let number = state.next;
        state.next += 1;
        state.open += 1;
        state.silent.insert(number, Arc::clone(stream));
        drop(state);
        if let Some(evicted) = evicted {
            // Its thread wakes up with the end of input; if it is gone already, so much the better.
            let _ = evicted.shutdown(Shutdown::Both);
        }
        Some(Slot { limit: Arc::clone(self), number, spoke: false })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A count and a map are whole after any panic of a thread that held them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Notes that the connection has sent something: it will not be closed for a new one. False
    /// where it was closed just before.
    pub(crate) fn spoke(&mut self) -> bool {
        self.spoke = self.limit.lock().silent.remove(&self.number).is_some();
        self.spoke
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.limit.lock();
        // What is neither silent nor has spoken was closed for another, and is not counted any more.
        if state.silent.remove(&self.number).is_some() || self.spoke {
            state.open -= 1;
        }
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
    let number = |path| fs::read_to_string(path).ok()?.trim().parse::<usize>().ok();
    [
        number("/proc/sys/vm/max_map_count").map(|mappings| mappings / 5),
        number("/sys/fs/cgroup/pids.max"),
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

    #[test]
    fn a_silent_connection_that_ends_is_not_counted_any_more() {
        let limit = Arc::new(ConnectionLimit::new(1));
        let (stream, _client) = pair();
        drop(limit.enter(&stream).unwrap());
        let state = limit.lock();
        assert_eq!((state.open, state.silent.len()), (0, 0));
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
