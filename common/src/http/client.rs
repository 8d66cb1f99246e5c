//! The client side of HTTP: sends requests, receives answers, reads bodies in pieces.
//!
//! It works with any server that speaks HTTP/1.1 or 1.0. A connection is made when it is needed,
//! and used again while it works.
//!
//! # Not here
//!
//! Repeating failed requests ([`retry`](crate::retry)), redirects, cookies, proxies, TLS.

use super::chunked::Decoder;
use super::parse::{self, Body, Progress};
use super::scan::{self, TARGET, TEXT, TOKEN};
use crate::connect::{CONNECT_TIMEOUT, connect};
use crate::connection::Connection;
use crate::limits::{BODY_TIMEOUT, allowance};
use crate::trouble::Trouble;
use std::time::{Duration, Instant};
use std::{io, mem};

#[cfg(test)]
mod tests;

/// The server closed before the first byte of an answer, so it may not have seen the request.
pub const CLOSED: &str = "the server closed the connection without an answer";

/// The server closed in the middle of an answer.
const CUT: &str = "the server closed the connection within an answer";

/// The request has a byte that would change its meaning, such as a line end in a field.
const REQUEST: &str = "the request has a byte that HTTP does not allow there";

/// The head of an answer is not what HTTP allows.
const INVALID: &str = "the server's answer is not valid";

/// The body is in a coding that was not asked for.
const CODING: &str = "the answer is in a coding that was not asked for";

/// The head of an answer.
#[derive(Debug, Clone)]
pub struct Head {
    /// 200 to 999.
    pub status: u16,
    /// Whether the server takes another request on this connection.
    pub keep_alive: bool,
    /// All of it as it came.
    bytes: Vec<u8>,
}

impl Head {
    /// The value of the first field of this name (in any case), without the white space around
    /// it; `None` also where it is not UTF-8.
    pub fn field(&self, name: &str) -> Option<&str> {
        match parse::response(&self.bytes, true) {
            Ok(Progress::Complete { value, .. }) => value.fields.get(name),
            _ => None,
        }
    }
}

/// A server, and the connection to it.
#[derive(Debug)]
pub struct Client {
    /// `HOST:PORT`; each request says it in `Host`.
    address: String,
    token: Option<String>,
    connection: Option<Connection>,
    /// Whether the connection can be used again after the answer that is being read. Not after a
    /// failure.
    keep_alive: bool,
    /// What was not yet read of the last answer's body.
    unread: Body,
    /// Decodes a chunked body.
    decoder: Decoder,
    /// The content of a chunked body that was handed out last.
    piece: Vec<u8>,
}

impl Client {
    /// The way to `HOST:PORT`. It connects when it is asked for something, to each address of the
    /// host in turn, and shows the token if there is one.
    pub fn new(address: &str, token: Option<&str>) -> Client {
        let (address, token) = (address.to_owned(), token.map(str::to_owned));
        let (unread, decoder) = (Body::None, Decoder::new(u64::MAX));
        let (connection, keep_alive, piece) = Default::default();
        Client { address, token, connection, keep_alive, unread, decoder, piece }
    }

    /// Whether the next request goes over the connection of the last one.
    pub fn is_connected(&self) -> bool {
        self.keep_alive
    }

    /// Ends the connection, and with it whatever is still to come of an answer.
    pub fn hang_up(&mut self) {
        (self.connection, self.keep_alive) = (None, false);
    }

    /// Sends a request and receives the head of its answer, which has to come within `patience`
    /// after it; what was not read of the last answer's body is skipped. A body is JSON.
    ///
    /// # Errors
    ///
    /// Any; the next request makes a new connection then.
    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        body: &[u8],
        patience: Duration,
    ) -> Result<Head, Trouble> {
        let request = self.encode(method, target, body)?;
        if !mem::take(&mut self.keep_alive) {
            self.connection = Some(connect(&self.address, CONNECT_TIMEOUT.min(patience))?);
            self.unread = Body::None;
        }
        let deadline = Instant::now() + BODY_TIMEOUT + allowance(request.len());
        let sent = self.connection()?.write_all(&request, Some(deadline));
        // Much of the body may still be on its way.
        let deadline = Instant::now() + patience + allowance(body.len());
        let head = match sent {
            Ok(()) => self.receive(method == "HEAD", deadline)?,
            // A server may refuse a request, and close, before it has taken all of it.
            Err(cause @ Trouble::System(..)) => {
                self.receive(method == "HEAD", deadline).map_err(|_| cause)?
            }
            Err(trouble) => return Err(trouble),
        };
        let coding = head.field("Content-Encoding");
        if coding.is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
            return Err(Trouble::Invalid(CODING));
        }
        self.keep_alive = head.keep_alive;
        Ok(head)
    }

    /// Passes the body of the last answer to `sink`, piece by piece, as it comes. Each piece has
    /// to come within `patience`, so that a body of any length can be read.
    ///
    /// # Errors
    ///
    /// As the connection fails, or [`Trouble::Sink`]; the next request makes a new connection.
    pub fn body(
        &mut self,
        patience: Duration,
        mut sink: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), Trouble> {
        let keep_alive = mem::take(&mut self.keep_alive);
        while let Some(piece) = self.piece(Instant::now() + patience)? {
            sink(piece).map_err(Trouble::Sink)?;
        }
        self.keep_alive = keep_alive;
        Ok(())
    }

    /// The beginning of the last answer's body, as far as it could be read: enough for whatever
    /// a program reads as a whole, such as a list of topics.
    pub fn short_body(&mut self, patience: Duration) -> Vec<u8> {
        const SIZE_MAX: usize = 4 << 20;
        let mut body = Vec::new();
        // A body that is longer, or cut, ends the connection; what was read is still of use.
        let _ = self.body(patience, |piece| {
            body.extend_from_slice(piece);
            if body.len() > SIZE_MAX { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(()) }
        });
        body
    }

    fn connection(&mut self) -> Result<&mut Connection, Trouble> {
        self.connection.as_mut().ok_or(Trouble::Invalid(CLOSED))
    }

    /// A request. `Host` is added, and `Content-Length` where there is a body or the method is one
    /// that has bodies.
    fn encode(&self, method: &str, target: &str, body: &[u8]) -> Result<Vec<u8>, Trouble> {
        let is_token = !method.is_empty() && scan::are(method.as_bytes(), TOKEN);
        let is_target = !target.is_empty() && scan::are(target.as_bytes(), TARGET);
        let is_text = self.token.iter().all(|token| scan::are(token.as_bytes(), TEXT));
        if !is_token || !is_target || !is_text {
            return Err(Trouble::Invalid(REQUEST));
        }
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n", self.address);
        if let Some(token) = &self.token {
            request += &format!("Authorization: Bearer {token}\r\n");
        }
        if !body.is_empty() {
            request += "Content-Type: application/json\r\n";
        }
        if !body.is_empty() || matches!(method, "POST" | "PUT") {
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        Ok([request.as_bytes(), b"\r\n", body].concat())
    }

    /// Receives the head of the next answer; `to_head` says that the request was a `HEAD`.
    /// Interim answers (1xx) are skipped, and so is what was not read of the last answer's body.
    fn receive(&mut self, to_head: bool, deadline: Instant) -> Result<Head, Trouble> {
        while self.piece(deadline)?.is_some() {}
        let mut none = CLOSED;
        loop {
            let connection = self.connection()?;
            let parsed = parse::response(connection.buffered(), to_head);
            match parsed.map_err(|cause| Trouble::Http(INVALID, cause))? {
                Progress::Complete { value, size } => {
                    let (status, keep_alive, body) = (value.status, value.keep_alive, value.body);
                    let bytes = connection.take(size).to_vec();
                    if status < 200 {
                        none = CUT;
                        continue;
                    }
                    (self.unread, self.decoder) = (body, Decoder::new(u64::MAX));
                    return Ok(Head { status, keep_alive, bytes });
                }
                Progress::Partial => {
                    if !connection.buffered().is_empty() {
                        none = CUT;
                    }
                    if connection.fill(Some(deadline))? == 0 {
                        return Err(Trouble::Invalid(none));
                    }
                }
            }
        }
    }

    /// The next piece of the last answer's body, as it comes, never empty; `None` at its end.
    fn piece(&mut self, deadline: Instant) -> Result<Option<&[u8]>, Trouble> {
        let connection = self.connection.as_mut().ok_or(Trouble::Invalid(CLOSED))?;
        loop {
            let buffered = connection.buffered();
            match &mut self.unread {
                Body::None | Body::Sized(0) => return Ok(None),
                Body::Chunked => {
                    const WHAT: &str = "the body of the server's answer is not valid";
                    self.piece.clear();
                    let decoded = self.decoder.decode(buffered, &mut self.piece);
                    let decoded = decoded.map_err(|cause| Trouble::Http(WHAT, cause))?;
                    connection.consume(decoded.consumed);
                    if decoded.finished {
                        self.unread = Body::None;
                    }
                    if !self.piece.is_empty() {
                        return Ok(Some(&self.piece));
                    }
                    if decoded.finished {
                        return Ok(None);
                    }
                }
                _ if buffered.is_empty() => {}
                Body::Sized(left) => {
                    let size = usize::try_from(*left).unwrap_or(usize::MAX).min(buffered.len());
                    *left -= size as u64;
                    return Ok(Some(connection.take(size)));
                }
                Body::UntilClose => {
                    let size = buffered.len();
                    return Ok(Some(connection.take(size)));
                }
            }
            if connection.fill(Some(deadline))? == 0 {
                return match mem::replace(&mut self.unread, Body::None) {
                    Body::UntilClose => Ok(None),
                    _ => Err(Trouble::Invalid(CUT)),
                };
            }
        }
    }
}
