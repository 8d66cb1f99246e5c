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

/// How much time the start is given from each word on, in microseconds. Words come about once a
/// second, so only a start that stands still runs out of it.
const MORE_TIME: u32 = 60_000_000;

/// Tells the operator something in a line on standard error. Nobody has to read it.
pub(crate) fn warn(line: impl Display) {
    let _ = writeln!(io::stderr(), "broker: {line}");
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
    let Some(path) = env::var_os("NOTIFY_SOCKET") else { return };
    let Some(address) = address(&path) else { return };
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
