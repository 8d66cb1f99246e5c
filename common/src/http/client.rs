//! The client side of a connection: sends requests, receives answers, reads bodies in pieces.
//!
//! It works with any server that speaks HTTP/1.1 or 1.0.
//!
//! # Not here
//!
//! Repeating failed requests ([`retry`](crate::retry)), redirects, cookies, proxies, TLS.

use super::chunked::{self, Decoder};
use super::fields::Fields;
use super::parse::{self, Body, Progress};
use super::scan::{self, TARGET, TEXT, TOKEN};
use crate::connect::{self, connect};
use crate::connection::{self, Connection};
use crate::limits::{BODY_TIMEOUT, allowance};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{error, fmt, io, mem};

#[cfg(test)]
mod tests;

/// Why an exchange with the server failed. After any error the connection is of no further use,
/// but for [`Error::TimedOut`] while an answer is read.
#[derive(Debug)]
pub enum Error {
    /// There is no connection.
    Connect(connect::Error),
    /// The request has a byte that would change its meaning, such as a line end in a field.
    Request,
    /// The deadline passed.
    TimedOut,
    /// The connection failed.
    Io(io::Error),
    /// The server closed before the first byte of an answer, so it may not have seen the request.
    Closed,
    /// The server closed in the middle of an answer.
    Cut,
    /// The answer's head cannot be read.
    Head(parse::Error),
    /// The answer's chunks cannot be read.
    Chunk(chunked::Error),
    /// The body is in a coding that was not asked for.
    Coding,
    /// The body could not be passed on.
    Sink(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Connect(cause) => cause.fmt(f),
            Error::Request => f.write_str("the request has a byte that HTTP does not allow there"),
            Error::TimedOut => f.write_str("the deadline passed"),
            Error::Io(_) => f.write_str("the connection failed"),
            Error::Closed => f.write_str("the server closed the connection without an answer"),
            Error::Cut => f.write_str("the server closed the connection within an answer"),
            Error::Head(_) => f.write_str("the server's answer is not valid"),
            Error::Chunk(_) => f.write_str("the body of the server's answer is not valid"),
            Error::Coding => f.write_str("the answer is in a coding that was not asked for"),
            Error::Sink(_) => f.write_str("the answer could not be passed on"),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Error::Connect(cause) => cause.source(),
            Error::Io(cause) | Error::Sink(cause) => Some(cause),
            Error::Head(cause) => Some(cause),
            Error::Chunk(cause) => Some(cause),
            _ => None,
        }
    }
}

impl From<connect::Error> for Error {
    fn from(cause: connect::Error) -> Error {
        Error::Connect(cause)
    }
}

impl From<connection::Error> for Error {
    fn from(cause: connection::Error) -> Error {
        match cause {
            connection::Error::TimedOut => Error::TimedOut,
            connection::Error::Io(cause) => Error::Io(cause),
        }
    }
}

/// The head of an answer.
#[derive(Debug, Clone)]
pub struct Head {
    /// 200 to 999.
    pub status: u16,
    /// Whether the server takes another request on this connection.
    pub keep_alive: bool,
    /// The header lines as they came, which were found to be good.
    section: Vec<u8>,
}

impl Head {
    /// The value of the first field of this name (in any case), without the white space around
    /// it; `None` also where it is not UTF-8.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        Fields::parse(&self.section)?.get(name)
    }
}

/// One connection to a server.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    /// What every request says in `Host`: the address as it was given.
    host: String,
    unread: Unread,
    /// The content of a chunked body that was handed out last.
    piece: Vec<u8>,
}

/// What was not yet read of the last answer's body.
#[derive(Debug)]
enum Unread {
    Sized(u64),
    Chunked(Decoder),
    UntilClose,
}

impl Unread {
    const NOTHING: Unread = Unread::Sized(0);
}

impl Client {
    /// Connects to `HOST:PORT`: to each address of the host in turn, until one takes the
    /// connection. `timeout` is for all of them together, but not for finding the addresses,
    /// which the system does at its own pace.
    ///
    /// # Errors
    ///
    /// [`Error::Connect`].
    pub fn connect(address: &str, timeout: Duration) -> Result<Client, Error> {
        Ok(Client {
            connection: connect(address, timeout)?,
            host: address.to_owned(),
            unread: Unread::NOTHING,
            piece: Vec::new(),
        })
    }

    /// The socket, for another thread that shuts it down.
    #[must_use]
    pub fn stream(&self) -> &Arc<TcpStream> {
        self.connection.stream()
    }

    /// Sends a request and receives the head of its answer, which has to come within `patience`
    /// after it; what was not read of the last answer's body is skipped.
    ///
    /// # Errors
    ///
    /// Any; the connection is of no further use then.
    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: &[u8],
        patience: Duration,
    ) -> Result<Head, Error> {
        let sent = self.send(method, target, fields, body);
        // Much of the body may still be on its way.
        let deadline = Instant::now() + patience + allowance(body.len());
        match sent {
            Ok(()) => self.receive(method == "HEAD", deadline),
            // A server may refuse a request, and close, before it has taken all of it.
            Err(Error::Io(cause)) => {
                self.receive(method == "HEAD", deadline).map_err(|_| Error::Io(cause))
            }
            Err(error) => Err(error),
        }
    }

    /// Sends a request in one write. `Host` is added, and `Content-Length` where there is a body
    /// or the method is one that has bodies. The server has [`BODY_TIMEOUT`] to take it, and more
    /// for a large one.
    ///
    /// # Errors
    ///
    /// [`Error::Request`] before anything was sent, else as the connection fails.
    fn send(
        &mut self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Result<(), Error> {
        let is_token = |text: &str| !text.is_empty() && scan::are(text.as_bytes(), TOKEN);
        let is_field =
            |(name, value): &(&str, &str)| is_token(name) && scan::are(value.as_bytes(), TEXT);
        let is_target = !target.is_empty() && scan::are(target.as_bytes(), TARGET);
        if !(is_token(method) && is_target && fields.iter().all(is_field)) {
            return Err(Error::Request);
        }
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n", self.host);
        for (name, value) in fields {
            request.extend([name, ": ", value, "\r\n"]);
        }
        if !body.is_empty() || matches!(method, "POST" | "PUT") {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        let deadline = Instant::now() + BODY_TIMEOUT + allowance(bytes.len());
        self.connection.write_all(&bytes, Some(deadline))?;
        Ok(())
    }

    /// Receives the head of the next answer; `to_head` says that the request was a `HEAD`.
    /// Interim answers (1xx) are skipped, and so is what was not read of the last answer's body.
    ///
    /// # Errors
    ///
    /// After [`Error::TimedOut`] it may be called again; after others the connection is of no use.
    fn receive(&mut self, to_head: bool, deadline: Instant) -> Result<Head, Error> {
        while self.piece(deadline)?.is_some() {}
        let mut none = Error::Closed;
        loop {
            match parse::response(self.connection.buffered(), to_head).map_err(Error::Head)? {
                Progress::Complete { value, size } => {
                    let (status, keep_alive, body) = (value.status, value.keep_alive, value.body);
                    let head = self.connection.take(size);
                    if status < 200 {
                        none = Error::Cut;
                        continue;
                    }
                    let lines = head.iter().position(|&byte| byte == b'\n').unwrap_or(0) + 1;
                    let section = head.get(lines..).unwrap_or_default().to_vec();
                    self.unread = match body {
                        Body::None => Unread::NOTHING,
                        Body::Sized(size) => Unread::Sized(size),
                        Body::Chunked => Unread::Chunked(Decoder::new(u64::MAX)),
                        Body::UntilClose => Unread::UntilClose,
                    };
                    return Ok(Head { status, keep_alive, section });
                }
                Progress::Partial => {
                    if !self.connection.buffered().is_empty() {
                        none = Error::Cut;
                    }
                    if self.connection.fill(Some(deadline))? == 0 {
                        return Err(none);
                    }
                }
            }
        }
    }

    /// The next piece of the last answer's body, as it comes, never empty; `None` at its end.
    ///
    /// # Errors
    ///
    /// After [`Error::TimedOut`] it may be called again; after others the connection is of no use.
    pub fn piece(&mut self, deadline: Instant) -> Result<Option<&[u8]>, Error> {
        loop {
            let buffered = self.connection.buffered();
            match &mut self.unread {
                Unread::Sized(0) => return Ok(None),
                Unread::Chunked(decoder) => {
                    self.piece.clear();
                    let decoded =
                        decoder.decode(buffered, &mut self.piece).map_err(Error::Chunk)?;
                    self.connection.consume(decoded.consumed);
                    if decoded.finished {
                        self.unread = Unread::NOTHING;
                    }
                    if !self.piece.is_empty() {
                        return Ok(Some(&self.piece));
                    }
                    if decoded.finished {
                        return Ok(None);
                    }
                }
                _ if buffered.is_empty() => {}
                Unread::Sized(left) => {
                    let size = usize::try_from(*left).unwrap_or(usize::MAX).min(buffered.len());
                    *left -= size as u64;
                    return Ok(Some(self.connection.take(size)));
                }
                Unread::UntilClose => {
                    let size = buffered.len();
                    return Ok(Some(self.connection.take(size)));
                }
            }
            if self.connection.fill(Some(deadline))? == 0 {
                return match mem::replace(&mut self.unread, Unread::NOTHING) {
                    Unread::UntilClose => Ok(None),
                    Unread::Sized(_) | Unread::Chunked(_) => Err(Error::Cut),
                };
            }
        }
    }
}
