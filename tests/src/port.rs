//! Ports that stay free between two runs of a broker.
//!
//! The kernel may give a port that it chose to an outgoing connection as soon as the broker is
//! gone. These ports lie below the range of outgoing connections.

use std::net::{Ipv4Addr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

/// A port on which nobody listens, never given twice by this process.
pub(crate) fn free() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test programs that run at once begin at different places.
    let start = process::id().wrapping_mul(97) % u32::from(COUNT);
    for _ in 0..COUNT {
        let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u32::from(FIRST) + (start + step) % u32::from(COUNT);
        let port = u16::try_from(port).expect("first and count together stay below 2^16");
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port from {FIRST} on");
}
