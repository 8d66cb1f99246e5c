//! A connection to a server: sends bytes in bursts, and reads what comes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// No answer within this time is no answer: the run ends with an error, not never.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection, what is to be sent, and what was read and not yet used.
pub(crate) struct Wire {
    stream: TcpStream,
    /// What the next [`Wire::send`] sends.
    pub(crate) output: Vec<u8>,
    buffer: Vec<u8>,
    /// Unused bytes are `buffer[start..end]`.
    start: usize,
    end: usize,
}

impl Wire {
    /// Connects; at most `room` bytes are read at once.
    pub(crate) fn connect(port: u16, room: usize) -> io::Result<Wire> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Wire { stream, output: Vec::new(), buffer: vec![0; room], start: 0, end: 0 })
    }

    /// The socket.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// What was read and not yet used.
    pub(crate) fn input(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Drops bytes from the front of the input.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count;
    }

    /// Sends the output.
    pub(crate) fn send(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.output)?;
        self.output.clear();
        Ok(())
    }

    /// Waits for more input: one read.
    pub(crate) fn fill(&mut self) -> io::Result<()> {
        // What is left over is the beginning of an answer: short, but for the longest messages.
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.end * 2 > self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        loop {
            match self.stream.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(size) => {
                    self.end += size;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends `question` and waits until the input holds `sign`; gives the input and drops it.
    pub(crate) fn ask(&mut self, question: &[u8], sign: &str) -> io::Result<String> {
        self.output.extend_from_slice(question);
        self.send()?;
        loop {
            let input = String::from_utf8_lossy(self.input());
            if input.contains(sign) {
                let answer = input.into_owned();
                self.start = self.end;
                return Ok(answer);
            }
            self.fill()?;
        }
    }
}
