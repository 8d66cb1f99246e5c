//! A mutex that goes on when a thread panics while it holds it.
//!
//! For state that is whole after each of its changes, or that can be learnt again. Where a change
//! in part would be wrong, take [`std::sync::Mutex`] and [`or_abort`].

use std::process;
use std::sync::{MutexGuard, PoisonError};

/// A [`std::sync::Mutex`] that is never poisoned.
#[derive(Debug, Default)]
pub struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// A mutex that nobody holds.
    pub const fn new(value: T) -> Mutex<T> {
        Mutex(std::sync::Mutex::new(value))
    }

    /// Waits until nobody holds it, then holds it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until nobody holds the mutex, then holds it. After a panic of its holder, what it guards
/// may not be whole: the process ends, and the next start reads what is on disk.
pub fn or_abort<T: ?Sized>(mutex: &std::sync::Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|_| process::abort())
}
