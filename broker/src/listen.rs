//! Opens the socket that clients connect to, and waits for it if necessary.
//!
//! A broker that was just killed keeps its port until the system has closed it. At boot, the
//! network may get its address after the broker has started. The broker waits for both, and says
//! so.

use crate::notify;
use common::flags::Error;
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

/// How long a broker that was just killed may hold what this one needs: to give back gigabytes
/// takes the system a second or so.
const HANDOVER_TIME: Duration = Duration::from_secs(3);
const HANDOVER_PAUSE: Duration = Duration::from_millis(10);

/// Between two attempts to bind an address that this machine does not have yet.
const ADDRESS_PAUSE: Duration = Duration::from_millis(500);

/// How long something may be held before the operator hears of it.
const QUIET_TIME: Duration = Duration::from_millis(100);

/// Binds `HOST:PORT`.
pub(crate) fn bind(host: &str, port: u16) -> Result<TcpListener, Error> {
    let address = format!("{host}:{port}");
    let is_taken = |error: &io::Error| error.kind() == ErrorKind::AddrInUse;
    let attempt = || patiently(&address, is_taken, || TcpListener::bind((host, port)));
    let has_no_address = |bound: &io::Result<TcpListener>| {
        bound.as_ref().is_err_and(|error| error.kind() == ErrorKind::AddrNotAvailable)
    };
    let mut bound = attempt();
    if has_no_address(&bound) {
        notify::warn(format_args!("this machine has no address {host} yet: waiting for it"));
    }
    while has_no_address(&bound) {
        thread::sleep(ADDRESS_PAUSE);
        bound = attempt();
    }
    bound.map_err(|cause| match is_taken(&cause) {
        true => Error::new(format!(
            "{address} is taken: is a broker running already? Choose another with --port"
        )),
        false => Error::new(format!("cannot listen on {address}")).because(cause),
    })
}

/// Tries for a moment to get what another process holds, and says so.
pub(crate) fn patiently<T, E>(
    what: &str,
    is_held: impl Fn(&E) -> bool,
    mut attempt: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let begun = Instant::now();
    let mut said = false;
    loop {
        let result = attempt();
        let held = result.as_ref().is_err_and(&is_held);
        if !held || begun.elapsed() >= HANDOVER_TIME {
            return result;
        }
        if !said && begun.elapsed() >= QUIET_TIME {
            let seconds = HANDOVER_TIME.as_secs();
            notify::warn(format_args!(
                "another process has {what}: waiting up to {seconds} s for it"
            ));
            said = true;
        }
        thread::sleep(HANDOVER_PAUSE);
    }
}
