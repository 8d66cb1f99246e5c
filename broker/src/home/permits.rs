//! How many may do something at once.

use common::lock::Mutex;
use std::sync::{Condvar, PoisonError};
use std::time::Instant;

/// So many permits; whoever finds none waits.
pub(super) struct Permits {
    count: usize,
    /// How many are out. Held to take or to give back.
    out: Mutex<usize>,
    returned: Condvar,
}

/// The right to do it; it ends when it is dropped.
pub(super) struct Permit<'a>(&'a Permits);

impl Permits {
    /// So many, and none is out.
    pub(super) fn new(count: usize) -> Permits {
        Permits { count, out: Mutex::default(), returned: Condvar::new() }
    }

    /// Waits for a permit; nothing where there is none until the deadline.
    pub(super) fn take(&self, deadline: Instant) -> Option<Permit<'_>> {
        let time = deadline.saturating_duration_since(Instant::now());
        let is_none_left = |out: &mut usize| *out >= self.count;
        let waited = self.returned.wait_timeout_while(self.out.lock(), time, is_none_left);
        let (mut out, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return None;
        }
        *out += 1;
        Some(Permit(self))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *self.0.out.lock() -= 1;
        self.0.returned.notify_one();
    }
}
