//! Sends bytes over a socket, and reads HTTP answers.
//!
//! It is for tests: it sends exactly what it is given, and panics on an answer that is not well
//! formed.

use crate::wait::DEADLINE;
use common::http::chunked::Decoder;
use common::json;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

/// A connection, and what was read from it and not yet used.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Takes the chunks off what is read, where a stream comes in chunks.
    chunks: Option<Decoder>,
}

/// An answer, its body decoded.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Names in lower case and values, in the order in which they came.
    pub fields: Vec<(String, String)>,
    /// The body; empty where there is none.
    pub body: Vec<u8>,
}

impl fmt::Debug for Answer {
    /// Shows the body as text, for people who read a failing test.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        write!(f, "{} {:?} {}", self.status, self.fields, shorten(&body))
    }
}

impl Answer {
    /// The value of a field that came once; nothing where it did not come.
    ///
    /// # Panics
    ///
    /// When it came more than once.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let first = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} came twice in {self:?}");
        first
    }

    /// The number in a field that has to be there.
    ///
    /// # Panics
    ///
    /// When the field is missing or holds no number.
    #[must_use]
    #[track_caller]
    pub fn number(&self, name: &str) -> u64 {
        let value = self.field(name).unwrap_or_else(|| panic!("no {name} in {self:?}"));
        value.parse().unwrap_or_else(|_| panic!("{name} is {value:?}"))
    }

    /// The body as text.
    ///
    /// # Panics
    ///
    /// When it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// When it is not JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> json::Value<'_> {
        json::parse(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", String::from_utf8_lossy(&self.body)))
    }
}

impl Raw {
    /// Connects to `HOST:PORT`.
    ///
    /// # Panics
    ///
    /// When nobody listens there.
    #[must_use]
    #[track_caller]
    pub fn connect(address: &str) -> Raw {
        let stream = TcpStream::connect(address)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        stream.set_read_timeout(Some(DEADLINE)).expect("the deadline is not zero");
        stream.set_nodelay(true).expect("a socket that is connected takes options");
        Raw { stream, buffer: Vec::new(), chunks: None }
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    ///
    /// When the other side takes no more.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the other side reads");
    }

    /// Sends bytes until the other side takes no more, which is for it to decide.
    pub fn send_as_far_as_taken(&mut self, bytes: &[u8]) {
        // Why it stopped shows in what it says.
        let _ = self.stream.write_all(bytes);
    }

    /// Whether nothing has come that was not read yet: no byte, and no end.
    ///
    /// # Panics
    ///
    /// When the connection was reset.
    #[must_use]
    #[track_caller]
    pub fn is_silent(&self) -> bool {
        self.stream.set_nonblocking(true).expect("a socket takes this option");
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).expect("a socket takes this option");
        match peeked {
            Ok(_) => false,
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.buffer.is_empty(),
            Err(error) => panic!("{error}"),
        }
    }

    /// Sends a whole HTTP/1.1 request.
    ///
    /// # Panics
    ///
    /// When the other side takes no more.
    #[track_caller]
    pub fn request(&mut self, method: &str, target: &str, body: impl AsRef<[u8]>) {
        self.send(request(method, target, body));
    }

    /// Says that nothing more will be sent; answers can still be read.
    pub fn end_sending(&mut self) {
        // The other side may have closed already.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Reads one answer to anything but `HEAD`.
    ///
    /// # Panics
    ///
    /// When none comes, or one that is not well formed.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        let mut answer = self.answer_to_head();
        let has_none = answer.status < 200 || answer.status == 204 || answer.status == 304;
        if has_none {
            assert_eq!(answer.field("content-length"), None, "RFC 9110 §8.6: {answer:?}");
        } else if answer.field("transfer-encoding") == Some("chunked") {
            answer.body = self.chunks();
        } else if answer.field("content-length").is_some() {
            let size = usize::try_from(answer.number("content-length")).expect("fits in memory");
            answer.body = self.take(size);
        } else {
            while self.fill() {}
            answer.body = std::mem::take(&mut self.buffer);
        }
        answer
    }

    /// Sends bytes to somebody who may be gone.
    pub fn send_or_lose(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Reads one answer to anything but `HEAD`; nothing where the connection ends before it
    /// begins.
    ///
    /// # Panics
    ///
    /// When an answer comes that is not whole.
    #[track_caller]
    pub fn try_answer(&mut self) -> Option<Answer> {
        let mut piece = [0; 1 << 10];
        if self.buffer.is_empty() {
            let Ok(size @ 1..) = self.stream.read(&mut piece) else { return None };
            self.buffer.extend_from_slice(piece.get(..size).unwrap_or_default());
        }
        Some(self.answer())
    }

    /// Reads one answer that has no body whatever its fields say: the answer to `HEAD`.
    ///
    /// # Panics
    ///
    /// When none comes, or one that is not well formed.
    #[track_caller]
    pub fn answer_to_head(&mut self) -> Answer {
        let head = self.head();
        let mut lines = head.split("\r\n");
        let first = lines.next().expect("a split gives one part at least");
        let status = first
            .strip_prefix("HTTP/1.1 ")
            .or_else(|| first.strip_prefix("HTTP/1.0 "))
            .and_then(|rest| rest.split(' ').next())
            .and_then(|status| status.parse().ok())
            .unwrap_or_else(|| panic!("not a status line: {first:?}"));
        let fields = lines
            .map(|line| {
                let (name, value) = line.split_once(':').expect("a field has a colon");
                (name.to_ascii_lowercase(), value.trim().to_owned())
            })
            .collect();
        Answer { status, fields, body: Vec::new() }
    }

    /// Reads the head of an answer that goes on for ever; what follows is read without the frames
    /// of its chunks.
    ///
    /// # Panics
    ///
    /// When none comes, or one that is not well formed.
    #[track_caller]
    pub fn stream_head(&mut self) -> Answer {
        let answer = self.answer_to_head();
        if answer.field("transfer-encoding") == Some("chunked") {
            let encoded = std::mem::take(&mut self.buffer);
            self.chunks = Some(Decoder::new(u64::MAX));
            self.add(&encoded);
        }
        answer
    }

    /// Adds what was read.
    #[track_caller]
    fn add(&mut self, bytes: &[u8]) {
        match &mut self.chunks {
            None => self.buffer.extend_from_slice(bytes),
            Some(decoder) => {
                let decoded = decoder.decode(bytes, &mut self.buffer).expect("good chunks");
                assert!(!decoded.finished, "a stream has no end");
            }
        }
    }

    /// Reads the next line without its end.
    ///
    /// # Panics
    ///
    /// When the connection ends before it does.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let end = self.find(b"\n");
        let line = self.take(end + 1);
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        String::from_utf8(line.to_vec()).expect("the line is UTF-8")
    }

    /// Whether a line comes before the other side ends the connection.
    ///
    /// # Panics
    ///
    /// When the connection is reset.
    #[track_caller]
    pub fn has_line(&mut self) -> bool {
        while !self.buffer.contains(&b'\n') {
            if !self.fill() {
                return false;
            }
        }
        true
    }

    /// Waits until the other side ends the connection, and fails if it says anything before.
    ///
    /// # Panics
    ///
    /// When more bytes come, or the connection is reset.
    #[track_caller]
    pub fn end(&mut self) {
        while self.fill() {}
        assert!(self.buffer.is_empty(), "unasked: {:?}", String::from_utf8_lossy(&self.buffer));
    }

    /// All that comes before the other side ends the connection.
    ///
    /// # Panics
    ///
    /// When the connection is reset.
    #[must_use]
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.buffer)
    }

    /// A head, without the empty line that ends it.
    #[track_caller]
    fn head(&mut self) -> String {
        let end = self.find(b"\r\n\r\n");
        let head = self.take(end + 4);
        let head = head.strip_suffix(b"\r\n\r\n").unwrap_or(&head);
        String::from_utf8(head.to_vec()).expect("the head is ASCII")
    }

    /// A body that comes in chunks, without trailers.
    #[track_caller]
    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = self.line();
            let size = usize::from_str_radix(&line, 16).expect("a chunk begins with its size");
            body.extend(self.take(size));
            assert_eq!(self.line(), "", "a chunk ends with an empty line");
            if size == 0 {
                return body;
            }
        }
    }

    /// Where `pattern` begins, once it is there.
    #[track_caller]
    fn find(&mut self, pattern: &[u8]) -> usize {
        let mut looked = 0;
        loop {
            let rest = self.buffer.get(looked..).unwrap_or_default();
            if let Some(at) = rest.windows(pattern.len()).position(|bytes| bytes == pattern) {
                return looked + at;
            }
            looked = self.buffer.len().saturating_sub(pattern.len() - 1);
            let more = self.fill();
            assert!(more, "ended after {:?}", String::from_utf8_lossy(&self.buffer));
        }
    }

    /// Exactly `size` bytes, once they are there.
    #[track_caller]
    fn take(&mut self, size: usize) -> Vec<u8> {
        while self.buffer.len() < size {
            let more = self.fill();
            assert!(more, "ended after {} of {size} bytes", self.buffer.len());
        }
        self.buffer.drain(..size).collect()
    }

    /// One read; false at the end of the connection.
    #[track_caller]
    fn fill(&mut self) -> bool {
        let mut piece = [0; 1 << 16];
        loop {
            match self.stream.read(&mut piece) {
                Ok(size) => {
                    self.add(piece.get(..size).unwrap_or_default());
                    return size > 0;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    panic!("{error} after {:?}", String::from_utf8_lossy(&self.buffer))
                }
            }
        }
    }
}

/// What the broker at `HOST:PORT` says of itself: a sample of its metrics that has no labels.
///
/// # Panics
///
/// When it does not answer, or has no such sample.
#[must_use]
#[track_caller]
pub fn metric(address: &str, name: &str) -> f64 {
    let mut raw = Raw::connect(address);
    raw.request("GET", "/metrics", "");
    let answer = raw.answer();
    let line = answer.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = line.and_then(|value| value.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in {answer:?}"))
}

/// The beginning of a text that may be long.
pub(crate) fn shorten(text: &str) -> String {
    const SHOWN: usize = 300;
    match text.char_indices().nth(SHOWN) {
        None => format!("{text:?}"),
        Some((end, _)) => {
            let (shown, _) = text.split_at(end);
            format!("{shown:?} … ({} bytes)", text.len())
        }
    }
}

/// The bytes of a whole HTTP/1.1 request.
#[must_use]
pub fn request(method: &str, target: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = match (method, body.len()) {
        ("GET" | "HEAD" | "DELETE" | "OPTIONS", 0) => String::new(),
        (_, size) => format!("Content-Length: {size}\r\n"),
    };
    let mut bytes = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n");
    bytes.reserve(body.len());
    let mut bytes = bytes.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}
