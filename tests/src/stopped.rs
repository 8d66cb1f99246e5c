//! A process that is stopped for a while.

use crate::process::{Process, send_signal};
use crate::wait::{DEADLINE, wait_until};
use std::fs;

/// A process that does nothing until this value ends: as one of a machine that hangs, it takes
/// connections and says nothing.
#[derive(Debug)]
pub struct Stopped {
    id: u32,
}

impl Stopped {
    /// Stops a process. Returns when all its threads stand still, which is not so yet when the
    /// signal has been sent.
    ///
    /// # Panics
    ///
    /// When one of them goes on for longer than [`DEADLINE`].
    #[must_use]
    #[track_caller]
    pub fn new(process: &Process) -> Stopped {
        let stopped = Stopped { id: process.id() };
        send_signal(stopped.id, "STOP");
        wait_until(DEADLINE, "a process to stop", || stopped.stands_still());
        stopped
    }

    /// Whether no thread can do anything: it is stopped (T, or t under a tracer) or has ended.
    /// Where there is no `/proc` to ask, that is taken on trust.
    fn stands_still(&self) -> bool {
        let Ok(mut threads) = fs::read_dir(format!("/proc/{}/task", self.id)) else { return true };
        threads.all(|thread| {
            let stat = thread.and_then(|thread| fs::read_to_string(thread.path().join("stat")));
            // Behind the name in brackets, which may hold anything. What has ended has no state.
            stat.ok().is_none_or(|stat| {
                let rest = stat.rsplit(')').next().unwrap_or_default();
                rest.trim_start().starts_with(['T', 't', 'Z', 'X'])
            })
        })
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        send_signal(self.id, "CONT");
    }
}
