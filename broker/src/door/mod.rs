//! The doors: each speaks one protocol, and all lead to the same topics.
//!
//! There is one port. The first bytes of a connection choose its door; leading white space is
//! ignored.

mod bounds;
mod chosen;
mod commands;
mod fields;
pub(crate) mod http;
mod json;
mod publish;
mod summary;
mod text;

use commands::{Commands, Next, Protocol};
use fields::{Field, Fields, Query, as_digest, as_pattern, decoded, member};
use publish::{BATCH_MAX, Confirmations};

use crate::broker::Broker;
use crate::log;
use crate::server::connection_limit::Slot;
use common::connection::Connection;
use common::limits::{LINGER_SIZE_MAX, LINGER_TIMEOUT};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Instant;

/// Answers are sent when they have this many bytes. So a client that asks for much and reads little
/// causes no work in advance.
const ANSWERS_SIZE: usize = 64 << 10;

/// White space that may come before the first bytes that count.
const BLANK_SIZE_MAX: usize = 256;

/// What some libraries send before the first text (.NET's `StreamWriter`). It means nothing.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Http,
    Json,
    Text,
}

/// Serves a connection until it ends. One that ends without a byte leaves no trace.
pub(crate) fn serve(stream: Arc<TcpStream>, mut slot: Slot, broker: &Arc<Broker>) {
    if broker.log.is_on() {
        log::work_for(&stream);
    }
    let mut connection = Connection::new(stream);
    let [undecided, http, json, text] = &broker.metrics.connections;
    let undecided = undecided.count();
    let mut begun = None;
    loop {
        let deadline = begun.map(|begun| begun + broker.timeouts.head);
        let Ok(1..) = connection.fill(deadline) else { return };
        let blank = connection.buffered().iter().all(u8::is_ascii_whitespace);
        if blank && connection.buffered().len() <= BLANK_SIZE_MAX {
            continue;
        }
        let begun = match begun {
            Some(begun) => begun,
            None if slot.spoke() => *begun.insert(Instant::now()),
            None => return,
        };
        let door = match choose(connection.buffered()) {
            Some(door) => door,
            // No door takes so much white space; this one says so.
            None if blank => Door::Http,
            None => continue,
        };
        drop(undecided);
        let activity = Arc::clone(&slot.activity);
        let blank = connection.buffered().len() - connection.buffered().trim_ascii_start().len();
        let input = connection.buffered().get(blank..).unwrap_or_default();
        if door != Door::Http && input.starts_with(BYTE_ORDER_MARK) {
            connection.consume(blank + BYTE_ORDER_MARK.len());
        }
        // Two of them are kept out of line: with room for all doors at once, the stack of each
        // connection would take a page more (row `idle` of the benchmark).
        return match door {
            Door::Http => http.during(|| http::serve(connection, activity, broker, begun)),
            Door::Json => json.during(|| json::serve(connection, activity, broker)),
            Door::Text => text.during(|| text::serve(connection, activity, broker)),
        };
    }
}

/// The door that these bytes ask for, once they are enough to tell.
fn choose(input: &[u8]) -> Option<Door> {
    let input = input.trim_ascii_start();
    let undecided = BYTE_ORDER_MARK.starts_with(input);
    let input = input.strip_prefix(BYTE_ORDER_MARK).unwrap_or(input);
    if input.starts_with(b"{") {
        return Some(Door::Json);
    }
    let verbs = [&b"SUBSCRIBE "[..], b"UNSUBSCRIBE ", b"PUBLISH ", b"AUTH "];
    if verbs.iter().any(|verb| input.starts_with(verb)) {
        return Some(Door::Text);
    }
    let undecided = undecided || verbs.iter().any(|verb| verb.starts_with(input));
    if undecided { None } else { Some(Door::Http) }
}

/// Ends a connection in stages (RFC 9112 §9.6): what the client still sends is read for a moment,
/// or the kernel would reset the connection, and the last answer could be lost.
fn linger(connection: &mut Connection) {
    let _ = connection.stream().shutdown(Shutdown::Write);
    let deadline = Instant::now() + LINGER_TIMEOUT;
    let mut discarded = 0;
    while discarded < LINGER_SIZE_MAX {
        connection.consume(connection.buffered().len());
        let Ok(size @ 1..) = connection.fill(Some(deadline)) else { break };
        discarded += size;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_choose_the_door() {
        for (input, door) in [
            (&b"{"[..], Some(Door::Json)),
            (b" \r\n\t{", Some(Door::Json)),
            (b"SUBSCRIBE ", Some(Door::Text)),
            (b"\nPUBLISH a", Some(Door::Text)),
            (b"UNSUBSCRIBE a", Some(Door::Text)),
            (b"AUTH a", Some(Door::Text)),
            (b"PUBLISH", None),
            (b"S", None),
            (b"PUT", Some(Door::Http)),
            (b"GET /", Some(Door::Http)),
            (b"SUBSCRIBE\t", Some(Door::Http)),
            (b"\x16\x03", Some(Door::Http)),
            (b"\xEF\xBB", None),
            (b"\xEF\xBB\xBF", None),
            (b"\xEF\xBB\xBF{", Some(Door::Json)),
            (b"\xEF\xBB\xBFPUBLISH a", Some(Door::Text)),
            (b"\xEF\xBB\xBFGET /", Some(Door::Http)),
        ] {
            assert_eq!(choose(input), door, "{input:?}");
        }
    }
}
