//! One socket with its read buffer and absolute deadlines.
//!
//! # Guarantee
//!
//! No call lasts longer than its deadline, however slowly the peer sends or reads. The timeout of a
//! socket bounds only one system call, so it is set again before each call to the time that is
//! left. A connection that waits has no buffer; after a large read it keeps one for a moment.
//!
//! # Not here
//!
//! The meaning of the bytes.

use crate::trouble::Trouble;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The buffer of a connection that waits; most requests fit.
const BUFFER_SIZE_MIN: usize = 2 << 10;

/// How many times larger the room for a read is after one that was filled: from the smallest to
/// the largest in three reads.
const GROWTH: usize = 8;

/// The most that is asked of one read.
const READ_SIZE_MAX: usize = 256 << 10;

/// How long an empty buffer is kept after a large read.
const KEPT_TIME: Duration = Duration::from_millis(1 << 9);

/// The longest socket timeout, as a power of two of milliseconds: some 12 days.
const MILLISECONDS_LOG_MAX: u32 = 30;

/// A socket and the bytes that were read from it and not yet used.
///
/// The socket has to be blocking. Its read timeout belongs to this connection, and its write
/// timeout to the callers of [`write_all`](Connection::write_all): a holder of the same socket
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
    /// The size of the last read; 0 once nothing came for a while.
    last_size: usize,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
}

impl Connection {
    /// A connection over a new socket, which has no timeouts yet.
    pub fn new(stream: Arc<TcpStream>) -> Connection {
        let read_size = BUFFER_SIZE_MIN;
        let (buffer, start, end, last_size, read_timeout, write_timeout) = Default::default();
        Connection { stream, buffer, start, end, read_size, last_size, read_timeout, write_timeout }
    }

    /// The socket, for others that write to it or shut it down.
    pub fn stream(&self) -> &Arc<TcpStream> {
        &self.stream
    }

    /// The bytes that were read and not yet used.
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

    /// Whether the peer has ended its input, as far as is known now. Bytes that it sent before are
    /// appended to the buffer. If that is large already, nothing is read, and an end is not seen.
    ///
    /// # Errors
    ///
    /// The connection failed: the peer is gone.
    pub fn has_ended(&mut self) -> Result<bool, Trouble> {
        if self.buffered().len() >= READ_SIZE_MAX {
            return Ok(false);
        }
        self.stream.set_nonblocking(true)?;
        let read = self.read();
        self.stream.set_nonblocking(false)?;
        match read {
            Ok(size) => Ok(size == 0),
            Err(cause) if is_passing(&cause) => Ok(false),
            Err(cause) => Err(cause.into()),
        }
    }

    /// Waits for bytes and appends those of one read; 0 is the end of input. Without a deadline
    /// it waits for ever.
    ///
    /// # Errors
    ///
    /// [`Trouble::TimedOut`] if nothing came in time, after which it may be called again.
    pub fn fill(&mut self, deadline: Option<Instant>) -> Result<usize, Trouble> {
        loop {
            let mut timeout = timeout(deadline)?;
            if self.start == self.end && !self.needs_no_buffer() {
                timeout = Some(timeout.map_or(KEPT_TIME, |timeout| timeout.min(KEPT_TIME)));
            }
            if timeout != self.read_timeout {
                self.stream.set_read_timeout(timeout)?;
                self.read_timeout = timeout;
            }
            match self.read() {
                Ok(size) => return Ok(size),
                Err(cause) if is_passing(&cause) => self.last_size = 0,
                Err(cause) => return Err(cause.into()),
            }
        }
    }

    /// Appends the bytes of one read.
    fn read(&mut self) -> io::Result<usize> {
        let (size, room_size) = if self.needs_no_buffer() {
            self.buffer = Vec::new();
            (self.start, self.end) = (0, 0);
            let mut room = [0; BUFFER_SIZE_MIN];
            let size = (&*self.stream).read(&mut room)?;
            self.buffer.extend_from_slice(room.get(..size).unwrap_or_default());
            (size, room.len())
        } else {
            self.make_room();
            let room_end = self.buffer.len().min(self.end + READ_SIZE_MAX);
            let room = self.buffer.get_mut(self.end..room_end).unwrap_or_default();
            let room_size = room.len();
            ((&*self.stream).read(room)?, room_size)
        };
        self.end += size;
        self.last_size = size;
        self.read_size =
            if size == room_size { READ_SIZE_MAX.min(room_size * GROWTH) } else { BUFFER_SIZE_MIN };
        Ok(size)
    }

    /// Writes all bytes. Without a deadline it waits for ever.
    ///
    /// # Errors
    ///
    /// After any error, nobody knows how much was written.
    pub fn write_all(&mut self, bytes: &[u8], deadline: Option<Instant>) -> Result<(), Trouble> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let size = self.write(rest, deadline)?;
            rest = rest.get(size..).unwrap_or_default();
        }
        Ok(())
    }

    /// Writes as many of these bytes as the system takes now. Gives how many.
    ///
    /// # Errors
    ///
    /// [`Trouble::TimedOut`] if it took none in time, after which it may be called again.
    pub fn write(&mut self, bytes: &[u8], deadline: Option<Instant>) -> Result<usize, Trouble> {
        loop {
            let timeout = timeout(deadline)?;
            if timeout != self.write_timeout {
                self.stream.set_write_timeout(timeout)?;
                self.write_timeout = timeout;
            }
            match (&*self.stream).write(bytes) {
                Ok(0) if !bytes.is_empty() => {
                    return Err(io::Error::from(ErrorKind::WriteZero).into());
                }
                Ok(size) => return Ok(size),
                Err(cause) if is_passing(&cause) => {}
                Err(cause) => return Err(cause.into()),
            }
        }
    }

    /// Whether it may be long until the next byte: a buffer would keep the allocator from giving
    /// back what lies below it. A client that sent in bulk sends more (row `bulk` of the
    /// benchmark).
    fn needs_no_buffer(&self) -> bool {
        self.start == self.end && self.last_size < BUFFER_SIZE_MIN.max(self.buffer.len() / 16)
    }

    /// Makes room after the unused bytes for the next read, and gives back memory that is no
    /// longer needed.
    fn make_room(&mut self) {
        let unused = self.end - self.start;
        if self.start >= unused {
            // Moving costs no more than the bytes that were used since the last move.
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, unused);
        }
        let size = self.end + self.read_size;
        let size_kept = size.max(READ_SIZE_MAX);
        if self.buffer.len() < size {
            self.buffer.resize(size, 0);
        } else if self.buffer.len() / 4 > size_kept && self.buffer.len() / 16 > self.last_size {
            self.buffer.truncate(size_kept);
            self.buffer.shrink_to_fit();
        }
    }
}

/// The socket timeout for a deadline: what is left of it, rounded down to a power of two of
/// milliseconds. Successive requests so find the right timeout set already, which saves a system
/// call each; in return a wait that lasts wakes up a few times before its deadline.
fn timeout(deadline: Option<Instant>) -> Result<Option<Duration>, Trouble> {
    let Some(deadline) = deadline else { return Ok(None) };
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Trouble::TimedOut);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Shutdown, TcpListener};
    use std::sync::mpsc::{self, RecvTimeoutError};
    use std::thread;

    /// A connection and the socket at its other end.
    fn pair() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Connection::new(Arc::new(listener.accept().unwrap().0)), peer)
    }

    fn soon() -> Option<Instant> {
        Some(Instant::now() + Duration::from_millis(20))
    }

    #[test]
    fn what_was_read_stays_until_it_is_used() {
        let (mut connection, mut peer) = pair();
        assert_eq!(connection.buffered(), b"");
        peer.write_all(b"abc").unwrap();
        assert_eq!(connection.fill(None).unwrap(), 3);
        connection.consume(1);
        assert_eq!(connection.buffered(), b"bc");
        peer.write_all(b"de").unwrap();
        assert_eq!(connection.fill(None).unwrap(), 2);
        assert_eq!(connection.take(3), b"bcd");
        assert_eq!(connection.take(3), b"e");
        assert_eq!(connection.take(3), b"");
    }

    #[test]
    fn the_end_of_input_is_a_read_of_nothing() {
        let (mut connection, mut peer) = pair();
        peer.write_all(b"abc").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(connection.fill(None).unwrap(), 3);
        assert_eq!(connection.fill(None).unwrap(), 0);
        assert_eq!(connection.buffered(), b"abc");
        connection.write_all(b"answer", None).unwrap();
        let mut answer = [0; 6];
        peer.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"answer");
    }

    #[test]
    fn an_end_of_input_is_seen_without_waiting_for_it() {
        let (mut connection, mut peer) = pair();
        assert!(!connection.has_ended().unwrap());
        peer.write_all(b"abc").unwrap();
        assert_eq!(connection.fill(None).unwrap(), 3);
        peer.write_all(b"de").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !connection.has_ended().unwrap() && Instant::now() < deadline {
            thread::yield_now();
        }
        assert!(connection.has_ended().unwrap());
        assert_eq!(connection.buffered(), b"abcde");
        assert_eq!(connection.fill(None).unwrap(), 0, "it blocks again, and finds the end");
    }

    #[test]
    fn bytes_keep_their_order_however_they_are_used() {
        let sent: Vec<u8> = (0..3_000_000_u32).flat_map(|n| n.to_le_bytes()).collect();
        let (mut connection, mut peer) = pair();
        let writer = thread::spawn({
            let sent = sent.clone();
            move || peer.write_all(&sent)
        });
        let mut used = 0;
        for round in 0.. {
            if connection.fill(None).unwrap() == 0 {
                break;
            }
            // Nothing for a while, then all, then parts.
            let count = match round % 50 {
                0..25 => 0,
                25 => usize::MAX,
                _ => connection.buffered().len() * 2 / 3,
            };
            let taken = connection.take(count);
            assert_eq!(taken, &sent[used..used + taken.len()]);
            used += taken.len();
        }
        assert_eq!(connection.buffered(), &sent[used..]);
        writer.join().unwrap().unwrap();
    }

    #[test]
    fn a_connection_that_waits_holds_little_memory() {
        let (mut connection, mut peer) = pair();
        assert_eq!(connection.buffer.capacity(), 0);
        let writer = thread::spawn(move || peer.write_all(&vec![0; 1 << 20]).map(|()| peer));
        while connection.buffered().len() < 1 << 20 {
            connection.fill(None).unwrap();
        }
        let mut peer = writer.join().unwrap().unwrap();
        connection.consume(usize::MAX);
        for _ in 0..2 {
            peer.write_all(b"a").unwrap();
            connection.fill(None).unwrap();
            connection.consume(1);
            assert!(matches!(connection.fill(soon()), Err(Trouble::TimedOut)));
            assert_eq!(connection.buffer.capacity(), 0);
        }
    }

    #[test]
    fn a_read_ends_at_its_deadline_and_can_be_repeated() {
        let (mut connection, mut peer) = pair();
        for _ in 0..2 {
            let deadline = soon();
            assert!(matches!(connection.fill(deadline), Err(Trouble::TimedOut)));
            assert!(Some(Instant::now()) >= deadline);
        }
        assert!(matches!(connection.fill(Some(Instant::now())), Err(Trouble::TimedOut)));
        peer.write_all(b"abc").unwrap();
        assert_eq!(connection.fill(None).unwrap(), 3);
    }

    #[test]
    fn a_peer_that_takes_a_little_now_and_then_does_not_move_the_deadline() {
        let (mut connection, mut peer) = pair();
        let (stop, stopped) = mpsc::channel::<()>();
        let reader = thread::spawn(move || {
            let mut piece = [0; 1000];
            while stopped.recv_timeout(Duration::from_millis(1)) == Err(RecvTimeoutError::Timeout) {
                peer.read_exact(&mut piece).unwrap();
            }
        });
        let deadline = Some(Instant::now() + Duration::from_millis(100));
        // At a megabyte a second, this would take minutes.
        let result = connection.write_all(&vec![0; 256 << 20], deadline);
        assert!(matches!(result, Err(Trouble::TimedOut)));
        drop(stop);
        reader.join().unwrap();
    }

    #[test]
    fn a_reset_connection_is_an_error_with_its_cause() {
        let (mut connection, peer) = pair();
        connection.write_all(b"never read", None).unwrap();
        // Closing with unread input resets.
        peer.peek(&mut [0]).unwrap();
        drop(peer);
        let error = connection.fill(None).unwrap_err();
        let Trouble::System(_, cause) = error else { panic!("{error}") };
        assert_eq!(cause.kind(), ErrorKind::ConnectionReset);
    }

    #[test]
    fn the_socket_timeout_never_passes_the_deadline_and_seldom_changes() {
        let timeout_of = |seconds| timeout(Some(Instant::now() + Duration::from_secs(seconds)));
        for seconds in [67, 75, 130] {
            let expected = Duration::from_millis(1 << 16);
            assert_eq!(timeout_of(seconds).unwrap(), Some(expected), "{seconds}");
        }
        assert!(timeout_of(u64::from(u32::MAX)).unwrap() > Some(Duration::from_secs(86_400)));
        assert_eq!(timeout(None).unwrap(), None);
        assert!(matches!(timeout(Some(Instant::now())), Err(Trouble::TimedOut)));
    }
}
