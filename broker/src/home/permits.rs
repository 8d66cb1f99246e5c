//! A bound on how many threads do something at once.

use common::lock::Mutex;
use std::sync::{Condvar, PoisonError};
use std::time::Instant;

/// A fixed number of permits. Whoever finds none left waits.
pub(super) struct Permits {
    count: usize,
    /// How many are taken. Locked to take one or to give one back.
    taken: Mutex<usize>,
    returned: Condvar,
}

/// One of them. It is given back when it is dropped.
pub(super) struct Permit<'a>(&'a Permits);

impl Permits {
    /// So many, none of which is taken.
    pub(super) fn new(count: usize) -> Permits {
        Permits { count, taken: Mutex::default(), returned: Condvar::new() }
    }

    /// Waits for a permit; `None` if there is none until the deadline.
    pub(super) fn take(&self, deadline: Instant) -> Option<Permit<'_>> {
        let time = deadline.saturating_duration_since(Instant::now());
        let is_none_left = |taken: &mut usize| *taken >= self.count;
        let waited = self.returned.wait_timeout_while(self.taken.lock(), time, is_none_left);
        let (mut taken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return None;
        }
        *taken += 1;
        Some(Permit(self))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *self.0.taken.lock() -= 1;
        self.0.returned.notify_one();
    }
}
