//! The doors: one protocol each, all in front of the same topics.
//!
//! There is one port. The first bytes of a connection choose its door; white space before them
//! does not count.

mod http;

use crate::broker::Broker;
use crate::room::Seat;
use common::connection::Connection;
use common::limits::HEAD_TIMEOUT;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

/// White space that may come before the first bytes that count.
const BLANK_SIZE_MAX: usize = 256;

/// A protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Http,
}

/// Serves a connection until it ends. One that ends without a byte leaves no trace.
pub(crate) fn attend(stream: Arc<TcpStream>, mut seat: Seat, broker: &Broker) {
    let mut connection = Connection::new(stream);
    let mut deadline = None;
    loop {
        match connection.fill(deadline) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let blank = connection.buffered().iter().all(u8::is_ascii_whitespace);
        if blank && connection.buffered().len() <= BLANK_SIZE_MAX {
            continue;
        }
        if deadline.is_none() {
            if !seat.spoke() {
                return;
            }
            deadline = Some(Instant::now() + HEAD_TIMEOUT);
        }
        match choose(connection.buffered()) {
            None => {}
            Some(Door::Http) => return http::serve(connection, broker),
        }
    }
}

/// The door that these bytes ask for, once they are enough to tell.
fn choose(_input: &[u8]) -> Option<Door> {
    Some(Door::Http)
}
