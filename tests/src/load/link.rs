//! A connection that may break at any time, without a panic.

use common::random::random;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long an answer is waited for: longer than any disturbance lasts.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a link that waits looks whether it is over.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A connection, and what came that was not used yet.
pub(super) struct Link {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Set when nobody waits for anything any more.
    is_over: Option<Arc<AtomicBool>>,
}

/// An answer over HTTP.
pub(super) struct Answer {
    pub(super) status: u16,
    /// The first offset of the topic, where the answer names it.
    pub(super) first: Option<u64>,
    pub(super) text: String,
}

impl Link {
    /// Connects to any of these addresses, with commas between them. `is_over` ends all waiting.
    pub(super) fn connect(addresses: &str, is_over: Option<Arc<AtomicBool>>) -> io::Result<Link> {
        let count = addresses.split(',').count() as u64;
        let chosen = usize::try_from(random() % count).unwrap_or_default();
        let address = addresses.split(',').nth(chosen).unwrap_or_default();
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(LOOK_EVERY))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Link { stream, buffer: Vec::new(), is_over })
    }

    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Sends a request and reads its answer.
    pub(super) fn request(&mut self, method: &str, target: &str, body: &str) -> io::Result<Answer> {
        self.send(crate::raw::request(method, target, body))?;
        self.answer()
    }

    /// The next answer.
    pub(super) fn answer(&mut self) -> io::Result<Answer> {
        let head = self.head()?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let field = |wanted: &str| {
            head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case(wanted).then(|| value.trim().parse().ok())?
            })
        };
        let (size, first) = (field("content-length"), field("stream-first-offset"));
        let (Some(status), Some(size)) = (status, size) else {
            return Err(io::Error::new(ErrorKind::InvalidData, head));
        };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        while self.buffer.len() < size {
            self.fill()?;
        }
        Ok(Answer { status, first, text: text(self.buffer.drain(..size).collect())? })
    }

    /// The next head of an answer, with the empty line that ends it.
    pub(super) fn head(&mut self) -> io::Result<String> {
        let mut head = String::new();
        while !head.ends_with("\n\n") {
            head += &self.line()?;
            head.push('\n');
        }
        Ok(head)
    }

    /// The next line, without its end.
    pub(super) fn line(&mut self) -> io::Result<String> {
        let mut looked = 0;
        loop {
            let rest = self.buffer.get(looked..).unwrap_or_default();
            if let Some(at) = rest.iter().position(|&byte| byte == b'\n') {
                let mut line: Vec<_> = self.buffer.drain(..=looked + at).collect();
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return text(line);
            }
            looked = self.buffer.len();
            self.fill()?;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut piece = [0; 1 << 14];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(size) => {
                    self.buffer.extend_from_slice(piece.get(..size).unwrap_or_default());
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => {
                    let is_over = |flag: &Arc<AtomicBool>| flag.load(Ordering::Relaxed);
                    if self.is_over.as_ref().is_some_and(is_over) || Instant::now() > deadline {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}
