//! Tells the operator what goes wrong, and the service manager how far the start is.
//!
//! The latter is the protocol of systemd's `Type=notify`: each report is one datagram to the socket
//! that `NOTIFY_SOCKET` names. Errors are ignored: the broker must not fail because of those who
//! look after it.

use std::env;
use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{self, Write};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// How long something may be lost before the operator hears of it: brokers that start together
/// need a moment to find each other.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// How long nothing may fail before the next failure is another outage: what comes back for a
/// moment is still lost.
const STABLE_TIME: Duration = Duration::from_secs(30);

/// How much time the start is given from each word on, in microseconds. Words come about once a
/// second, so only a start that stands still runs out of it.
const MORE_TIME: u32 = 60_000_000;

/// Tells the operator something in a line on standard error. Nobody has to read it.
pub(crate) fn warn(line: impl Display) {
    let _ = writeln!(io::stderr(), "broker: {line}");
}

/// Something that the broker needs, and that may be lost for a while.
#[derive(Default)]
pub(crate) struct Outage {
    /// When the first attempt failed, and when the last did, if any did.
    failed: Option<(Instant, Instant)>,
    is_told: bool,
}

impl Outage {
    /// An attempt failed: tells the operator once, if that goes on for so long.
    pub(crate) fn failed(&mut self, patience: Duration, line: impl Display) {
        let now = Instant::now();
        let known = self.failed.filter(|(_, last)| now.duration_since(*last) < STABLE_TIME);
        let since = known.map_or(now, |(since, _)| since);
        self.failed = Some((since, now));
        if !self.is_told && now.duration_since(since) >= patience {
            self.is_told = true;
            warn(line);
        }
    }

    /// An attempt succeeded: tells the operator, who heard that they fail.
    pub(crate) fn is_over(&mut self, line: impl Display) {
        if self.is_told {
            *self = Outage::default();
            warn(line);
        }
    }
}

/// The broker is starting, and has come so far.
pub(crate) fn starting(status: &str) {
    send(&format!("STATUS={status}\nEXTEND_TIMEOUT_USEC={MORE_TIME}"));
}

/// The broker serves.
pub(crate) fn ready(status: &str) {
    send(&format!("READY=1\nSTATUS={status}"));
}

fn send(words: &str) {
    let path = env::var_os("NOTIFY_SOCKET");
    let Some(address) = path.and_then(|path| address(&path)) else { return };
    if let Ok(socket) = UnixDatagram::unbound() {
        let _ = socket.send_to_addr(words.as_bytes(), &address);
    }
}

/// The address that the variable names: a path, or after `@` a name that is in no file system.
fn address(path: &OsStr) -> Option<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = path.as_encoded_bytes().strip_prefix(b"@") {
        use std::os::linux::net::SocketAddrExt;
        return SocketAddr::from_abstract_name(name).ok();
    }
    SocketAddr::from_pathname(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_hears_of_what_stays_lost_and_that_it_is_back() {
        let mut outage = Outage::default();
        outage.failed(Duration::MAX, "not yet");
        assert!(!outage.is_told);
        let (since, _) = outage.failed.unwrap();
        outage.is_over("back for a moment");
        outage.failed(Duration::MAX, "not yet");
        assert_eq!(outage.failed.unwrap().0, since, "it is the same outage");
        outage.failed(Duration::ZERO, "lost");
        assert!(outage.is_told);
        outage.is_over("back");
        assert!(!outage.is_told && outage.failed.is_none());
    }
}
