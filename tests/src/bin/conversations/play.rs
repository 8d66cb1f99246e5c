//! Plays a conversation with a running broker.

use crate::script::{STREAM, Script, Step};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// How long a broker may take for an answer. A conversation in which it takes longer says so.
const DEADLINE: Duration = Duration::from_secs(20);

/// What is noted where something that was waited for did not come.
pub(crate) const IN_VAIN: &str = "[waited in vain";

/// Has the conversation with the broker at `address`: what came on each connection.
pub(crate) fn play(script: &Script, address: &str) -> BTreeMap<usize, Vec<u8>> {
    let mut clients: BTreeMap<usize, Client> = BTreeMap::new();
    for step in &script.steps {
        match step {
            Step::Send(number, bytes) => {
                let stream = last_stream(&clients);
                let client = clients.entry(*number).or_insert_with(|| Client::connect(address));
                client.send(&with_stream(bytes, &stream));
            }
            Step::Until(number, text, times) => {
                if let Some(client) = clients.get_mut(number) {
                    client.read_until(text.as_bytes(), *times);
                }
            }
            Step::End(number) => {
                if let Some(client) = clients.get_mut(number) {
                    client.end();
                }
            }
            Step::Leave(number) => {
                if let Some(client) = clients.get_mut(number) {
                    client.stream = None;
                }
            }
        }
    }
    clients.into_iter().map(|(number, client)| (number, client.received)).collect()
}

struct Client {
    /// Nothing once the connection is over.
    stream: Option<TcpStream>,
    received: Vec<u8>,
}

impl Client {
    fn connect(address: &str) -> Client {
        let stream = TcpStream::connect(address).expect("the broker listens");
        stream.set_nodelay(true).expect("a socket that is connected takes options");
        Client { stream: Some(stream), received: Vec::new() }
    }

    fn send(&mut self, bytes: &[u8]) {
        // Why the broker takes no more shows in what it answers.
        let _ = self.stream.as_mut().map(|stream| stream.write_all(bytes));
    }

    fn read_until(&mut self, text: &[u8], times: usize) {
        let deadline = Instant::now() + DEADLINE;
        while count(&self.received, text) < times {
            if !self.read(deadline) {
                self.note(&format!("{IN_VAIN} for {}]", text.escape_ascii()));
                return;
            }
        }
    }

    fn end(&mut self) {
        let deadline = Instant::now() + DEADLINE;
        // The broker may have closed already.
        let _ = self.stream.as_mut().map(|stream| stream.shutdown(Shutdown::Write));
        while self.read(deadline) {}
        if self.stream.is_some() {
            self.note(&format!("{IN_VAIN} for the end]"));
        }
    }

    /// One read; false where nothing more comes.
    fn read(&mut self, deadline: Instant) -> bool {
        let Some(stream) = &mut self.stream else { return false };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        stream.set_read_timeout(Some(left)).expect("the time left is not zero");
        let mut piece = [0; 1 << 16];
        match stream.read(&mut piece) {
            Ok(0) => self.stream = None,
            Ok(size) => self.received.extend(piece.iter().take(size)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return false;
            }
            Err(error) => {
                self.note(&format!("[{}]", error.kind()));
                self.stream = None;
            }
        }
        self.stream.is_some()
    }

    fn note(&mut self, what: &str) {
        self.received.extend_from_slice(format!("\n{what}\n").as_bytes());
    }
}

/// How often `text` stands in `bytes`.
fn count(bytes: &[u8], text: &[u8]) -> usize {
    bytes.windows(text.len().max(1)).filter(|window| *window == text).count()
}

/// The last stream id that the broker named on any connection.
fn last_stream(clients: &BTreeMap<usize, Client>) -> String {
    let mut found = clients.values().filter_map(|client| {
        let text = String::from_utf8_lossy(&client.received).into_owned();
        let after = text.rsplit_once("\"stream\":\"").map(|(_, after)| after.to_owned());
        let after = after.or_else(|| Some(text.rsplit_once("Stream-Id: ")?.1.to_owned()))?;
        Some(after.chars().take(16).collect::<String>())
    });
    found.next_back().unwrap_or_else(|| "0".repeat(16))
}

fn with_stream(bytes: &[u8], stream: &str) -> Vec<u8> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.replace(STREAM, stream).into_bytes(),
        Err(_) => bytes.to_vec(),
    }
}
