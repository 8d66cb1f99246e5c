//! The kernel's table of connections: how much written data has not arrived yet, and which clients
//! have vanished.
//!
//! The kernel buffers megabytes for a client that does not read. It does the same for minutes if
//! the client's machine is gone without a word. Its table of connections (`/proc/net/tcp`, `tcp6`)
//! shows the queued bytes, and whether data or probes were sent again without an answer. A client
//! that is alive acknowledges both, even if it does not read.
//!
//! There is no thread for this: one of the threads that ask reads the table for all of them.
//!
//! # Not here
//!
//! Systems without such a table. There all written data counts as arrived, and TCP closes the
//! connection of a vanished client after about a quarter of an hour.

use common::lock::Mutex;
use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How old what is known of queues may be, and of clients that have vanished.
const QUEUE_AGE_MAX: Duration = Duration::from_millis(500);
const VANISHED_AGE_MAX: Duration = Duration::from_secs(5);

/// For how long a client may acknowledge nothing.
const UNACKNOWLEDGED_TIME: Duration = Duration::from_secs(60);

/// The table as it was read last.
#[derive(Default)]
pub(crate) struct TcpTable(Mutex<State>);

/// Held to look something up or to note it, never while the table is read.
#[derive(Default)]
struct State {
    read: Option<Instant>,
    /// Connections on which something is not acknowledged.
    busy: HashMap<Ends, Busy>,
}

/// The addresses of the broker's end of a connection and of its client's.
type Ends = (SocketAddr, SocketAddr);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Busy {
    /// Bytes that were written and are not acknowledged.
    queued: usize,
    /// Since when the client has not reacted to anything.
    mute_since: Option<Instant>,
}

impl TcpTable {
    /// How many bytes that were written to a connection its client has not acknowledged.
    pub(crate) fn queued(&self, stream: &TcpStream) -> usize {
        self.look_up(stream, QUEUE_AGE_MAX).map_or(0, |busy| busy.queued)
    }

    /// Whether the client of a connection has acknowledged nothing for a minute.
    pub(crate) fn has_vanished(&self, stream: &TcpStream) -> bool {
        let mute_since = self.look_up(stream, VANISHED_AGE_MAX).and_then(|busy| busy.mute_since);
        mute_since.is_some_and(|since| since.elapsed() >= UNACKNOWLEDGED_TIME)
    }

    fn look_up(&self, stream: &TcpStream, age_max: Duration) -> Option<Busy> {
        let ends = (stream.local_addr().ok()?, stream.peer_addr().ok()?);
        let now = Instant::now();
        let mut state = self.0.lock();
        if state.read.is_none_or(|read| now - read >= age_max) {
            // The others go on with what is known, meanwhile.
            state.read = Some(now);
            drop(state);
            let mut busy = read_table(now);
            state = self.0.lock();
            for (ends, found) in &mut busy {
                let before = state.busy.get(ends).and_then(|before| before.mute_since);
                found.mute_since = found.mute_since.and(before).or(found.mute_since);
            }
            state.busy = busy;
        }
        state.busy.get(&ends).copied()
    }
}

fn read_table(now: Instant) -> HashMap<Ends, Busy> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let tables = tables.map(|path| fs::read_to_string(path).unwrap_or_default());
    let lines = tables.iter().flat_map(|table| table.lines());
    lines.filter_map(|line| parse(line, now)).collect()
}

/// A line of the table, if something is not acknowledged.
///
/// The fields: number, local address, peer, state, queues, timer, retransmissions, user, probes
/// that were not answered, and more.
fn parse(line: &str, now: Instant) -> Option<(Ends, Busy)> {
    let mut fields = line.split_ascii_whitespace();
    let (own, peer) = (fields.nth(1)?, fields.next()?);
    let (queued, _) = fields.nth(1)?.split_once(':')?;
    let queued = usize::from_str_radix(queued, 16).ok().filter(|queued| *queued > 0)?;
    let retransmissions = u64::from_str_radix(fields.nth(1)?, 16).ok()?;
    let probes: u64 = fields.nth(1)?.parse().ok()?;
    let mute_since = (retransmissions + probes > 0).then_some(now);
    Some(((address(own)?, address(peer)?), Busy { queued, mute_since }))
}

/// An address as the table has it: words of 32 bits, each as the machine keeps it, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let words = host
        .as_bytes()
        .chunks(8)
        .map(|word| Some(u32::from_str_radix(str::from_utf8(word).ok()?, 16).ok()?.to_ne_bytes()));
    let bytes = words.collect::<Option<Vec<_>>>()?.concat();
    let host = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(bytes) => IpAddr::from(bytes),
        Err(_) => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
    };
    Some(SocketAddr::new(host, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    #[test]
    #[cfg(target_endian = "little")]
    fn the_table_tells_what_is_not_acknowledged_and_who_does_not_react() {
        let now = Instant::now();
        let line =
            |peer: &str, rest: &str| format!("   1: 0100007F:2328 {peer} 01 {rest} 0 5231 1");
        for (rest, expected) in [
            ("00000000:00000000 00:00000000 00000000  1000        0", None),
            ("00000012:00000000 01:00000015 00000000  1000        0", Some((0x12, false))),
            ("00000012:00000000 01:00000015 00000005  1000        0", Some((0x12, true))),
            ("003A0000:00000000 04:00000015 00000000  1000        0", Some((0x003a_0000, false))),
            ("003A0000:00000000 04:00000015 00000000  1000        3", Some((0x003a_0000, true))),
        ] {
            let ends = ["127.0.0.1:9000", "192.168.0.2:54321"].map(|text| text.parse().unwrap());
            let expected = expected.map(|(queued, is_mute)| {
                (ends.into(), Busy { queued, mute_since: is_mute.then_some(now) })
            });
            assert_eq!(parse(&line("0200A8C0:D431", rest), now), expected, "{rest}");
        }
        let rest = "00000012:00000000 01:00000015 00000005  1000        0";
        let six = line("B80D0120000000000000000001000000:D431", rest);
        let ((_, peer), _) = parse(&six, now).unwrap();
        assert_eq!(peer, "[2001:db8::1]:54321".parse().unwrap());
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt";
        assert_eq!(parse(head, now), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_a_client_has_not_read_is_found_in_the_table() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut stream = listener.accept().unwrap().0;
        assert_eq!(TcpTable::default().queued(&stream), 0);
        stream.set_nonblocking(true).unwrap();
        while stream.write(&[0; 1 << 16]).is_ok() {}
        assert!(TcpTable::default().queued(&stream) > 1 << 16);
        drop(client);
    }
}
