//! When a connection was last used: this decides which one is closed when there are too many.
//!
//! # Not here
//!
//! The decision (`server/connection_limit.rs`).

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Times are kept in milliseconds since a day before this, so that 0 is long ago.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);
const DAY: Duration = Duration::from_secs(86_400);

/// What a connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// HTTP, where requests and answers have deadlines; or nothing was sent yet.
    Bounded = 0,
    /// A JSON or text connection without a subscription.
    Session = 1,
    /// Messages are pushed to it, over whatever protocol.
    Subscriber = 2,
}

/// The activity of one connection. One thread at a time writes each field; a thread that needs a
/// slot reads them. No order between them is needed.
#[derive(Debug)]
pub(crate) struct Activity {
    role: AtomicU8,
    heard: AtomicU64,
    delivered: AtomicU64,
}

impl Default for Activity {
    fn default() -> Activity {
        Activity {
            role: AtomicU8::new(Role::Bounded as u8),
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
        self.role.store(role as u8, Ordering::Relaxed);
    }

    pub(crate) fn role(&self) -> Role {
        match self.role.load(Ordering::Relaxed) {
            1 => Role::Session,
            2 => Role::Subscriber,
            _ => Role::Bounded,
        }
    }

    /// For how long the client has sent nothing.
    pub(crate) fn silent(&self) -> Duration {
        since(&self.heard)
    }

    /// For how long the client has sent nothing and was sent no message.
    pub(crate) fn unused(&self) -> Duration {
        self.silent().min(since(&self.delivered))
    }

    /// Makes everything so far as if it were so much longer ago.
    #[cfg(test)]
    pub(crate) fn age(&self, time: Duration) {
        for then in [&self.heard, &self.delivered] {
            let milliseconds = u64::try_from(time.as_millis()).unwrap();
            then.store(
                then.load(Ordering::Relaxed).saturating_sub(milliseconds),
                Ordering::Relaxed,
            );
        }
    }
}

fn now() -> u64 {
    u64::try_from((START.elapsed() + DAY).as_millis()).unwrap_or(u64::MAX)
}

fn since(then: &AtomicU64) -> Duration {
    Duration::from_millis(now().saturating_sub(then.load(Ordering::Relaxed)))
}
