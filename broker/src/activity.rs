//! When a connection was last used: this decides which one is closed when there are too many.
//!
//! # Not here
//!
//! The decision (`server/connection_limit.rs`).

use common::lock::Mutex;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Times are kept in milliseconds since a day before this, so that 0 is long ago.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);
const DAY: Duration = Duration::from_secs(86_400);

/// What a connection does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Role {
    /// HTTP, where requests and answers have deadlines; or nothing was sent yet.
    #[default]
    Bounded,
    /// A JSON or text connection without a subscription.
    Session,
    /// Messages are pushed to it, over whatever protocol.
    Subscriber,
}

/// The activity of one connection. One thread at a time writes each field; a thread that needs a
/// slot reads them. No order between them is needed.
#[derive(Debug)]
pub(crate) struct Activity {
    role: Mutex<Role>,
    heard: AtomicU64,
    delivered: AtomicU64,
}

impl Default for Activity {
    fn default() -> Activity {
        Activity {
            role: Mutex::default(),
            heard: AtomicU64::new(now()),
            delivered: AtomicU64::new(0),
        }
    }
}

impl Activity {
    /// Notes that the client sent something.
    pub(crate) fn heard(&self) {
        self.heard.store(now(), Ordering::Relaxed);
    }

    /// Notes that messages were written to the client.
    pub(crate) fn delivered(&self) {
        self.delivered.store(now(), Ordering::Relaxed);
    }

    /// Notes what the connection does from now on.
    pub(crate) fn set_role(&self, role: Role) {
        *self.role.lock() = role;
    }

    pub(crate) fn role(&self) -> Role {
        *self.role.lock()
    }

    /// For how long the client has sent nothing.
    pub(crate) fn silent(&self) -> Duration {
        since(&self.heard)
    }

    /// For how long the client has sent nothing and was sent no message.
    pub(crate) fn unused(&self) -> Duration {
        self.silent().min(since(&self.delivered))
    }
}

fn now() -> u64 {
    u64::try_from((START.elapsed() + DAY).as_millis()).unwrap_or(u64::MAX)
}

fn since(then: &AtomicU64) -> Duration {
    Duration::from_millis(now().saturating_sub(then.load(Ordering::Relaxed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Activity {
        /// Makes everything so far as if it were so much longer ago.
        pub(crate) fn age(&self, time: Duration) {
            let milliseconds = u64::try_from(time.as_millis()).unwrap();
            for then in [&self.heard, &self.delivered] {
                let earlier = then.load(Ordering::Relaxed).saturating_sub(milliseconds);
                then.store(earlier, Ordering::Relaxed);
            }
        }
    }
}
