//! One socket: what was read from it and not yet used, and absolute deadlines.
//!
//! # Guarantee
//!
//! No call outlasts its deadline, however slowly the peer sends or takes bytes: the socket's own
//! timeout bounds one system call, so what is left until the deadline is computed before each.
//! A connection that waits with nothing in its buffer holds little memory.
//!
//! # Not here
//!
//! What the bytes mean.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{error, fmt};

/// The buffer of a connection that waits; most requests fit.
const BUFFER_SIZE_MIN: usize = 2 << 10;

/// How many times larger the room for a read is after one that was filled: from the smallest to
/// the largest in three reads.
const GROWTH: usize = 8;

/// The most that is asked of one read.
const READ_SIZE_MAX: usize = 256 << 10;

/// The longest socket timeout, as a power of two of milliseconds: some 12 days.
const MILLISECONDS_LOG_MAX: u32 = 30;

/// Why bytes could not be read or written.
#[derive(Debug)]
pub enum Error {
    /// The deadline passed.
    TimedOut,
    /// The socket failed.
    Io(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::TimedOut => "the deadline passed",
            Error::Io(_) => "the connection failed",
        })
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Error::TimedOut => None,
            Error::Io(cause) => Some(cause),
        }
    }
}

impl From<io::Error> for Error {
    fn from(cause: io::Error) -> Error {
        Error::Io(cause)
    }
}

/// A socket and the bytes that were read from it and not yet used.
///
/// The socket has to be blocking. Its read timeout belongs to this connection, and its write
/// timeout to whoever calls [`write_all`](Connection::write_all): a holder of the same socket
/// that sets a longer one makes the deadline late.
#[derive(Debug)]
pub struct Connection {
    stream: Arc<TcpStream>,
    /// All of it is initialised, so that no read has to clear it first.
    buffer: Vec<u8>,
    /// Unused bytes are `buffer[start..end]`.
    start: usize,
    end: usize,
    /// The least room to offer the next read: larger while reads fill what they are offered.
    read_size: usize,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
}

impl Connection {
    /// A connection over a new socket, which has no timeouts yet.
    #[must_use]
    pub fn new(stream: Arc<TcpStream>) -> Connection {
        Connection {
            stream,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            read_size: BUFFER_SIZE_MIN,
            read_timeout: None,
            write_timeout: None,
        }
    }

    /// The socket, for others that write to it or shut it down.
    #[must_use]
    pub fn stream(&self) -> &Arc<TcpStream> {
        &self.stream
    }

    /// What was read and not yet used.
    #[must_use]
    pub fn buffered(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Drops bytes from the front of the buffer: `count`, or all if there are fewer.
    pub fn consume(&mut self, count: usize) {
        self.take(count);
    }

    /// Takes bytes from the front of the buffer: `count`, or all if there are fewer.
    pub fn take(&mut self, count: usize) -> &[u8] {
        let from = self.start;
        self.start += count.min(self.end - self.start);
        self.buffer.get(from..self.start).unwrap_or_default()
    }

    /// Waits for bytes and appends what one read gives; 0 is the end of input. Without a deadline
    /// it waits for ever.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] if nothing came in time, after which it may be called again.
    pub fn fill(&mut self, deadline: Option<Instant>) -> Result<usize, Error> {
        self.make_room();
        loop {
            let timeout = timeout(deadline)?;
            if timeout != self.read_timeout {
                self.stream.set_read_timeout(timeout)?;
                self.read_timeout = timeout;
            }
            let room_end = self.buffer.len().min(self.end + READ_SIZE_MAX);
            let room = self.buffer.get_mut(self.end..room_end).unwrap_or_default();
            let room_size = room.len();
            match (&*self.stream).read(room) {
                Ok(size) => {
                    self.end += size;
                    self.read_size = if size == room_size {
                        READ_SIZE_MAX.min(room_size * GROWTH)
                    } else {
                        BUFFER_SIZE_MIN
                    };
                    return Ok(size);
                }
                Err(cause) if is_passing(&cause) => {}
                Err(cause) => return Err(Error::Io(cause)),
            }
        }
    }

    /// Writes all bytes. Without a deadline it waits for ever.
    ///
    /// # Errors
    ///
    /// After any error, nobody knows how much was written.
    pub fn write_all(&mut self, bytes: &[u8], deadline: Option<Instant>) -> Result<(), Error> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let timeout = timeout(deadline)?;
            if timeout != self.write_timeout {
                self.stream.set_write_timeout(timeout)?;
                self.write_timeout = timeout;
            }
            match (&*self.stream).write(rest) {
                Ok(0) => return Err(Error::Io(ErrorKind::WriteZero.into())),
                Ok(size) => rest = rest.get(size..).unwrap_or_default(),
                Err(cause) if is_passing(&cause) => {}
                Err(cause) => return Err(Error::Io(cause)),
            }
        }
        Ok(())
    }

    /// Makes room behind the unused bytes for the next read, and gives back memory that is no
    /// longer needed.
    fn make_room(&mut self) {
        let unused = self.end - self.start;
        if self.start >= unused {
            // Moving costs no more than what was used since the last move.
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, unused);
        }
        let size = self.end + self.read_size;
        // With nothing unused it may be long until the next byte; else the rest is on its way.
        let size_kept = if unused == 0 { size } else { size.max(READ_SIZE_MAX) };
        if self.buffer.len() < size {
            self.buffer.resize(size, 0);
        } else if self.buffer.len() / 4 > size_kept {
            self.buffer.truncate(size_kept);
            self.buffer.shrink_to_fit();
        }
    }
}

/// The socket timeout for a deadline: what is left of it, rounded down to a power of two of
/// milliseconds. Successive requests so find the right timeout set already, which saves a system
/// call each; in return a wait that lasts wakes up a few times before its deadline.
fn timeout(deadline: Option<Instant>) -> Result<Option<Duration>, Error> {
    let Some(deadline) = deadline else { return Ok(None) };
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Error::TimedOut);
    }
    let milliseconds = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1);
    Ok(Some(Duration::from_millis(1 << milliseconds.ilog2().min(MILLISECONDS_LOG_MAX))))
}

/// Whether the call has to be repeated, until the deadline: it was interrupted, or the socket's
/// timeout passed.
fn is_passing(cause: &io::Error) -> bool {
    // Systems differ in how they report a timeout.
    matches!(cause.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
