//! Helpers for the tests of this crate: a temporary folder, a broker that follows a script.

use common::client::Broker;
use common::random::random;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::{env, fs};

/// A folder that is gone with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        let path = env::temp_dir().join(format!("subscriber-{:016x}", random()));
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("received.txt")
    }

    pub(crate) fn old(&self) -> PathBuf {
        self.0.join("received.txt.old")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A broker that gives these answers, one to each request, and then nothing more. What was asked
/// is given back. It keeps a connection open after an answer that has a length.
pub(crate) fn broker(answers: Vec<String>) -> (Broker, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let broker = Broker::at(listener.local_addr().unwrap().to_string());
    let thread = thread::spawn(move || {
        let mut asked = Vec::new();
        let mut connection: Option<BufReader<TcpStream>> = None;
        for answer in answers {
            // The client may have hung up: then it is on a new connection.
            let (request, mut open) = loop {
                let mut open = match connection.take() {
                    Some(open) => open,
                    None => BufReader::new(listener.accept().unwrap().0),
                };
                if let Some(request) = request_line(&mut open) {
                    break (request, open);
                }
            };
            asked.push(request);
            open.get_mut().write_all(answer.as_bytes()).unwrap();
            connection = answer.contains("Content-Length").then_some(open);
        }
        asked
    });
    (broker, thread)
}

/// Method and target of the next request; `None` where the connection ends instead.
fn request_line(open: &mut BufReader<TcpStream>) -> Option<String> {
    let mut lines = open.lines();
    let first = lines.next()?.ok()?;
    while !lines.next()?.ok()?.is_empty() {}
    first.strip_suffix(" HTTP/1.1").map(str::to_owned)
}

/// An answer of a broker that knows offsets.
pub(crate) fn list(stream: &str, next: u64, body: &str) -> String {
    let size = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nStream-Next-Offset: {next}\r\n\
         Stream-Id: {stream}\r\n\r\n{body}"
    )
}

/// A refusal.
pub(crate) fn status(status: u16) -> String {
    format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n")
}

/// The answer of a broker that knows nothing but lists, over HTTP/1.0 and without a length.
pub(crate) fn bare(body: &str) -> String {
    format!("HTTP/1.0 200 OK\r\nContent-type: text/plain\r\n\r\n{body}")
}
