//! A server in the broker's frame that does nothing else: a thread for each connection, blocking
//! sockets, answers and events of the broker's size. Nothing is parsed or stored, so no broker in
//! this frame can be faster.
//!
//! It runs as a process of its own, as every server here does.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The flag that makes this program the bare server, before its port.
pub(crate) const FLAG: &str = "--bare";

/// Room for what one connection is sent at once.
const ROOM: usize = 256 << 10;

const HTTP_ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nDate: Sat, 28 Nov 2026 21:11:37 GMT\r\n\
    Content-Type: application/json\r\nContent-Length: 89\r\nX-Content-Type-Options: nosniff\r\n\
    Cache-Control: no-store\r\n\r\n{\"topic\":\"t0\",\"offset\":1000000,\"appended\":1,\
    \"stream\":\"5200324a7302a56f\",\"durable\":false}\n";

const ANSWER: &[u8] = b"{\"status\":\"success\",\"message\":\"Message published on topic 't0'\",\
    \"offset\":1000000,\"appended\":1,\"stream\":\"5200324a7302a56f\",\"durable\":false}\n";

/// What a publish to the topic `t0` has before its message, and what its event has around it.
const SUBSCRIBE: &[u8] = b"{\"command\":\"subscribe\"";
const PUBLISH: &[u8] = b"{\"command\":\"publish\",\"topic\":\"t0\",\"message\":\"";
const EVENT: [&[u8]; 2] = [
    b"{\"event\":\"message\",\"topic\":\"t0\",\"offset\":1000000,\"message\":\"",
    b"\",\"time\":1795243112334,\"publisher\":null}\n",
];

/// Serves until it is killed.
pub(crate) fn serve(port: &str) -> io::Result<Infallible> {
    let port = port.parse().map_err(io::Error::other)?;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let subscribers = Arc::default();
    loop {
        let (stream, _) = listener.accept()?;
        let subscribers = Arc::clone(&subscribers);
        // However a connection ends, nobody has to know.
        thread::spawn(move || drop(attend(stream, &subscribers)));
    }
}

fn attend(mut stream: TcpStream, subscribers: &Mutex<Vec<TcpStream>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut input, mut end) = (vec![0; ROOM], 0);
    let (mut answers, mut events) = (Vec::new(), Vec::new());
    loop {
        let size = stream.read(&mut input[end..])?;
        if size == 0 {
            return Ok(());
        }
        end += size;
        if input[0] == b'P' {
            // One request is on its way, and came whole.
            stream.write_all(HTTP_ANSWER)?;
            end = 0;
            continue;
        }
        let mut others = subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        if input.starts_with(SUBSCRIBE) {
            others.push(stream.try_clone()?);
            stream.write_all(ANSWER)?;
            end = 0;
            continue;
        }
        let whole = input[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        answers.clear();
        events.clear();
        if others.is_empty() {
            let count = input[..whole].iter().filter(|byte| **byte == b'\n').count();
            (0..count).for_each(|_| answers.extend_from_slice(ANSWER));
        } else {
            for line in input[..whole].split_inclusive(|byte| *byte == b'\n') {
                answers.extend_from_slice(ANSWER);
                let message = line.get(PUBLISH.len()..line.len() - 3).unwrap_or_default();
                for part in [EVENT[0], message, EVENT[1]] {
                    events.extend_from_slice(part);
                }
            }
        }
        stream.write_all(&answers)?;
        for other in &mut *others {
            other.write_all(&events)?;
        }
        drop(others);
        input.copy_within(whole..end, 0);
        end -= whole;
    }
}
