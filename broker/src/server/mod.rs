//! The accept loop: a thread for each connection, and an answer for connections beyond the limit.
//!
//! - `connection_limit`: how many connections there may be
//! - `input_budget`: memory for incomplete input
//! - `tcp_table`: how much of an answer has arrived, and which clients have vanished

pub(crate) mod connection_limit;
pub(crate) mod input_budget;
pub(crate) mod tcp_table;

use crate::broker::Broker;
use crate::door;
use crate::door::http::lone_answer;
use crate::notify;
use crate::refusal::Refusal;
use connection_limit::ConnectionLimit;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// A connection's stack. It is mapped, not used: what counts is the pages that are touched. JSON
/// of the greatest depth takes the most, well below half of this.
const STACK_SIZE: usize = 256 << 10;

/// How many clients that were turned away are kept for a moment, so that what they still send
/// does not make the kernel take the answer back.
const TURNED_AWAY_MAX: usize = 32;

/// How long to wait where the system has no descriptor or no memory for a new connection.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(50);

/// Serves the connections of `listener` for ever, first those that waited for the start.
pub(crate) fn serve(
    listener: &TcpListener,
    waiting: Vec<TcpStream>,
    broker: &Arc<Broker>,
    limit: &Arc<ConnectionLimit>,
) -> ! {
    let mut turned_away = TurnedAway::default();
    // Given up for a moment where descriptors run out, so that a client can still be told.
    let mut spare = File::open("/dev/null").ok();
    for stream in waiting {
        welcome(stream, broker, limit, &mut turned_away);
    }
    loop {
        match listener.accept().map_err(|error| error.kind()) {
            Ok((stream, _)) => welcome(stream, broker, limit, &mut turned_away),
            // The client left before it was accepted, or a signal came.
            Err(ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
            Err(_) => {
                drop(spare.take());
                turned_away.0.clear();
                if let Ok((stream, _)) = listener.accept() {
                    turned_away.refuse(stream.into(), broker);
                    turned_away.0.clear();
                }
                spare = File::open("/dev/null").ok();
                thread::sleep(SHORTAGE_PAUSE);
            }
        }
    }
}

/// Starts a thread for a connection, or turns it away where there may be no more.
fn welcome(
    stream: TcpStream,
    broker: &Arc<Broker>,
    limit: &Arc<ConnectionLimit>,
    turned_away: &mut TurnedAway,
) {
    let stream = Arc::new(stream);
    let started = limit.enter(&stream).is_some_and(|slot| {
        let (broker, accepted) = (Arc::clone(broker), Arc::clone(&stream));
        let thread = thread::Builder::new().stack_size(STACK_SIZE);
        let serve = move || attend(&accepted, || door::serve(Arc::clone(&accepted), slot, &broker));
        thread.spawn(serve).is_ok()
    });
    if !started {
        turned_away.refuse(stream, broker);
    }
}

/// The life of a connection's thread. A panic while it is served ends this connection and no
/// other.
fn attend(stream: &TcpStream, serve: impl FnOnce()) {
    // Answers are written whole, so there is nothing to wait for before they are sent.
    let _ = stream.set_nodelay(true);
    if panic::catch_unwind(AssertUnwindSafe(serve)).is_err() {
        report_defect(stream);
    }
    let _ = stream.shutdown(Shutdown::Both);
}

/// Reports a panic, whose text is on standard error already. Not inlined, so that the stack of a
/// connection that waits has no room for it (the benchmark's row on idle connections).
#[cold]
#[inline(never)]
fn report_defect(stream: &TcpStream) {
    let peer = stream.peer_addr().map_or_else(|_| "a client".to_owned(), |it| it.to_string());
    notify::warn(format_args!("the connection of {peer} ended by a defect"));
}

/// Clients that got one answer and are not served.
#[derive(Default)]
pub(crate) struct TurnedAway(VecDeque<Arc<TcpStream>>);

impl TurnedAway {
    /// Answers a client, without ever waiting for it: its socket does not block.
    pub(crate) fn add(&mut self, stream: Arc<TcpStream>, answer: &[u8]) {
        // Errors do not matter: the client is not served anyway.
        let _ = (&*stream).write(answer);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = (&*stream).read(&mut [0; 4096]);
        if self.0.len() >= TURNED_AWAY_MAX {
            self.0.pop_front();
        }
        self.0.push_back(stream);
    }

    /// Tells a client that there are too many connections.
    fn refuse(&mut self, stream: Arc<TcpStream>, broker: &Broker) {
        broker.metrics.refused(Refusal::NoRoom.status());
        let _ = stream.set_nonblocking(true);
        self.add(stream, &lone_answer(Some(&Refusal::NoRoom), false));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// F14.
    #[test]
    fn a_panic_ends_its_own_connection_and_no_other() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let stream = Arc::new(listener.accept().unwrap().0);
        let limit = Arc::new(ConnectionLimit::new(1));
        let mut slot = limit.enter(&stream).unwrap();
        assert!(slot.spoke());
        assert!(limit.enter(&stream).is_none());
        attend(&stream, || {
            let _slot = slot;
            panic!("on purpose");
        });
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "the connection has ended");
        assert!(limit.enter(&stream).is_some(), "it is not counted any more");
    }
}
