//! Finds clients that have vanished: their machine, or the way to it, is gone without a word.
//!
//! On an event stream the client sends nothing, and what the broker writes goes into buffers of the
//! kernel for minutes. So the kernel is asked: its table of connections (`/proc/net/tcp`, `tcp6`)
//! shows those to which something was sent again and not acknowledged, or that do not answer
//! whether they have room. A client that is alive and does not read does both.
//!
//! There is no thread for it: each stream asks from time to time, and one of them reads the table
//! for all.
//!
//! # Not here
//!
//! Systems without such a table: there TCP itself gives up, after a quarter of an hour or so.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often the table is read at most.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// For how long a client may acknowledge nothing.
const UNACKNOWLEDGED_TIME: Duration = Duration::from_secs(60);

/// What the last looks at the table found.
#[derive(Default)]
pub(crate) struct Vanished(Mutex<State>);

#[derive(Default)]
struct State {
    looked: Option<Instant>,
    /// Since when a client has acknowledged nothing.
    troubled: HashMap<Ends, Instant>,
}

impl Vanished {
    /// Whether the client of a connection has acknowledged nothing for a minute.
    pub(crate) fn is_gone(&self, stream: &TcpStream) -> bool {
        let now = Instant::now();
        let mut state = self.lock();
        if state.looked.is_none_or(|looked| now - looked >= LOOK_INTERVAL) {
            state.looked = Some(now);
            drop(state);
            let found = look();
            state = self.lock();
            let since = |ends| (ends, state.troubled.get(&ends).copied().unwrap_or(now));
            state.troubled = found.into_iter().map(since).collect();
        }
        if state.troubled.is_empty() {
            return false;
        }
        let (Ok(own), Ok(peer)) = (stream.local_addr(), stream.peer_addr()) else { return true };
        state.troubled.get(&(own, peer)).is_some_and(|since| now - *since >= UNACKNOWLEDGED_TIME)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What was found once can be found again.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connections whose clients do not acknowledge what is sent to them.
fn look() -> Vec<Ends> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let tables = tables.map(|path| fs::read_to_string(path).unwrap_or_default());
    tables.iter().flat_map(|table| table.lines()).filter_map(unacknowledged).collect()
}

/// The addresses of the broker's end of a connection and of its client's.
type Ends = (SocketAddr, SocketAddr);

/// The connection of a line of the table, if its client does not acknowledge what is sent to it.
///
/// The fields: number, local address, peer, state, queues, timer, retransmissions, user, probes
/// that were not answered, and more.
fn unacknowledged(line: &str) -> Option<Ends> {
    let mut fields = line.split_ascii_whitespace();
    let (own, peer) = (fields.nth(1)?, fields.next()?);
    let retransmissions = fields.nth(3)?;
    let probes = fields.nth(1)?;
    let is_some = |text, radix| u64::from_str_radix(text, radix).is_ok_and(|count| count > 0);
    if !is_some(retransmissions, 16) && !is_some(probes, 10) {
        return None;
    }
    Some((address(own)?, address(peer)?))
}

/// An address as the table has it: words of 32 bits, each as the machine keeps it, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let word = |index: usize| {
        let digits = host.get(8 * index..8 * (index + 1))?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let host = match host.len() {
        8 => IpAddr::from(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (index, chunk) in bytes.chunks_mut(4).enumerate() {
                chunk.copy_from_slice(&word(index)?);
            }
            IpAddr::from(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(host, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn the_table_names_peers_that_acknowledge_nothing() {
        let line =
            |peer: &str, rest: &str| format!("   1: 0100007F:2328 {peer} 01 {rest} 0 5231 1");
        for (rest, is_troubled) in [
            ("00000000:00000000 00:00000000 00000000  1000        0", false),
            ("00000012:00000000 01:00000015 00000000  1000        0", false),
            ("00000012:00000000 01:00000015 00000005  1000        0", true),
            ("003A0000:00000000 04:00000015 00000000  1000        0", false),
            ("003A0000:00000000 04:00000015 00000000  1000        3", true),
        ] {
            let found = unacknowledged(&line("0200A8C0:D431", rest));
            let ends = ["127.0.0.1:9000", "192.168.0.2:54321"].map(|text| text.parse().unwrap());
            assert_eq!(found, is_troubled.then_some(ends.into()), "{rest}");
        }
        let rest = "00000012:00000000 01:00000015 00000005  1000        0";
        let six = line("B80D0120000000000000000001000000:D431", rest);
        let (_, peer) = unacknowledged(&six).unwrap();
        assert_eq!(peer, "[2001:db8::1]:54321".parse().unwrap());
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt";
        assert_eq!(unacknowledged(head), None);
    }
}
