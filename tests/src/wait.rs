//! Waits for conditions, with a deadline.

use std::thread;
use std::time::{Duration, Instant};

/// Long enough for any condition on a machine that is busy with other things. A test that passes
/// never waits so long.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(3);

/// Looks until the condition holds.
///
/// # Panics
///
/// When it does not hold within `deadline`; `what` then says what was waited for.
#[track_caller]
pub fn wait_until(deadline: Duration, what: &str, condition: impl FnMut() -> bool) {
    assert!(holds_within(deadline, condition), "waited {} s for {what}", deadline.as_secs());
}

/// Looks until there is something, and gives it.
///
/// # Panics
///
/// When there is nothing within `deadline`; `what` then says what was waited for.
#[track_caller]
pub fn wait_for<T>(deadline: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    let _ = holds_within(deadline, || {
        found = look();
        found.is_some()
    });
    found.unwrap_or_else(|| panic!("waited {} s for {what}", deadline.as_secs()))
}

/// Looks until the condition holds; false when it does not within `deadline`.
#[must_use]
pub fn holds_within(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    loop {
        // The time is taken first: a look that began before the end is believed.
        let is_last = Instant::now() >= end;
        if condition() {
            return true;
        }
        if is_last {
            return false;
        }
        thread::sleep(PAUSE);
    }
}
