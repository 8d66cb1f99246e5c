//! One request to the broker after another, until one cannot get better by trying again.

use crate::PROGRAM;
use crate::error::{Error, Failure};
use common::retry::Outage;
use std::thread;
use std::time::{Duration, Instant};

/// Between two requests to a broker that does not wait for messages itself.
const POLL_PAUSE: Duration = Duration::from_millis(250);

/// When the next attempt is due.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    AtOnce,
    Later,
    /// All is done.
    Never,
}

impl Pace {
    /// After a request in which the broker was asked to wait until there is something to give.
    pub(crate) fn after_wait(asked: Instant, has_given: bool) -> Pace {
        // Only a broker that does not wait answers with nothing at once.
        if has_given || asked.elapsed() >= POLL_PAUSE { Pace::AtOnce } else { Pace::Later }
    }
}

/// Calls `attempt` at the pace that it gives, with growing pauses after what failed in passing,
/// of which the user hears now and then.
pub(crate) fn repeat(
    address: &str,
    mut attempt: impl FnMut() -> Result<Pace, Failure>,
) -> Result<(), Error> {
    let mut outage = Outage::default();
    loop {
        match attempt() {
            Ok(Pace::AtOnce) => outage.end(),
            Ok(Pace::Later) => {
                outage.end();
                thread::sleep(POLL_PAUSE);
            }
            Ok(Pace::Never) => return Ok(()),
            Err(Failure::Passing(trouble)) => {
                outage.wait(Duration::MAX, || PROGRAM.say(trouble.line(address)));
            }
            Err(Failure::Final(error)) => return Err(error),
        }
    }
}
