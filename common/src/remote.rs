//! The broker that a program talks to over HTTP: one connection that is made when it is needed and
//! kept while it is good.
//!
//! # Not here
//!
//! Repeating what failed: only the caller knows whether that is safe, and until when.

use crate::http::client::{self, Client, Head};
use crate::json::{self, Value};
use crate::location::{Location, WRONG_TOKEN};
use std::io;
use std::time::{Duration, Instant};

/// How long a host may take to answer a connection attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A broker, and the connection to it.
#[derive(Debug)]
pub struct Remote {
    /// `HOST:PORT`.
    address: String,
    /// The value of `Authorization`.
    authorization: Option<String>,
    client: Option<Client>,
    /// Whether the connection can be used again after the answer that is being read.
    keep_alive: bool,
}

impl From<Location> for Remote {
    fn from(Location { address, token }: Location) -> Remote {
        let authorization = token.map(|token| format!("Bearer {token}"));
        Remote { authorization, ..Remote::new(address) }
    }
}

impl Remote {
    /// The broker at `address`, which asks for no token.
    #[must_use]
    pub fn new(address: String) -> Remote {
        Remote { address, authorization: None, client: None, keep_alive: false }
    }

    /// `HOST:PORT`, for messages to the user.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether the next request goes over the connection of the last one.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.client.is_some() && self.keep_alive
    }

    /// Sends a request and receives the head of its answer, which has to begin within `patience`.
    ///
    /// # Errors
    ///
    /// As the connection fails; the next request makes a new one.
    pub fn ask(
        &mut self,
        method: &str,
        target: &str,
        body: &[u8],
        patience: Duration,
    ) -> Result<Head, client::Error> {
        // Taken out, so that a connection that fails is not there to be used again.
        let mut client = match self.client.take() {
            Some(client) if self.keep_alive => client,
            _ => Client::connect(&self.address, CONNECT_TIMEOUT.min(patience))?,
        };
        let mut fields = Vec::with_capacity(2);
        if let Some(authorization) = &self.authorization {
            fields.push(("Authorization", authorization.as_str()));
        }
        if !body.is_empty() {
            fields.push(("Content-Type", "application/json"));
        }
        client.send(method, target, &fields, body)?;
        let head = client.receive(method == "HEAD", Instant::now() + patience)?;
        self.keep_alive = head.keep_alive;
        self.client = Some(client);
        Ok(head)
    }

    /// Passes the body of the last answer to `sink`, piece by piece, as it comes. Each piece has
    /// to come within `patience`, so that a body of any length can be read.
    ///
    /// # Errors
    ///
    /// As the connection fails, or [`client::Error::Sink`]; the next request makes a new one.
    pub fn body(
        &mut self,
        patience: Duration,
        mut sink: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), client::Error> {
        let mut client = self.client.take().ok_or(client::Error::Closed)?;
        while let Some(piece) = client.piece(Instant::now() + patience)? {
            sink(piece).map_err(client::Error::Sink)?;
        }
        self.client = Some(client);
        Ok(())
    }

    /// The beginning of the last answer's body, as far as it could be read: enough for whatever
    /// a program reads as a whole.
    pub fn short_body(&mut self, patience: Duration) -> Vec<u8> {
        const SIZE_MAX: usize = 64 << 10;
        let mut body = Vec::new();
        // A body that is longer, or cut, ends the connection; what was read is still of use.
        let _ = self.body(patience, |piece| {
            body.extend_from_slice(piece);
            if body.len() > SIZE_MAX { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(()) }
        });
        body
    }

    /// Ends the connection, and with it whatever is still to come of an answer.
    pub fn hang_up(&mut self) {
        self.client = None;
    }
}

/// Whether an answer with this status says "not now": the same request may succeed later.
#[must_use]
pub fn is_passing(status: u16) -> bool {
    // RFC 9110 §15.5.9 and RFC 6585 §4: these two are no judgement on the request.
    matches!(status, 408 | 429 | 500..)
}

/// What an answer that is not a success says, in one line: its status, and the detail of an
/// `application/problem+json` body (RFC 9457) where there is one.
#[must_use]
pub fn refusal(status: u16, body: &[u8]) -> String {
    if status == 401 {
        return WRONG_TOKEN.to_owned();
    }
    let problem = json::parse(body).unwrap_or(Value::Null);
    let said = ["detail", "title"].iter().find_map(|key| problem.get(key)?.as_str());
    match said {
        // Another program's words: nothing in them may move the cursor of the terminal.
        Some(words) => format!("{status}, {}", words.replace(char::is_control, " ")),
        None => format!("status {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_the_broker_passes_and_a_fault_of_the_request_does_not() {
        for status in [408, 429, 500, 501, 503, 507, 599] {
            assert!(is_passing(status), "{status}");
        }
        for status in [200, 301, 400, 401, 403, 404, 409, 410, 413, 416, 421, 422, 499] {
            assert!(!is_passing(status), "{status}");
        }
    }

    #[test]
    fn a_refusal_is_told_in_the_words_of_the_broker() {
        let body = br#"{"status":413,"title":"Too Large","detail":"too\nlong"}"#;
        assert_eq!(refusal(413, body), "413, too long");
        assert_eq!(refusal(404, br#"{"title":"Not Found"}"#), "404, Not Found");
        assert_eq!(refusal(500, b"<html>"), "status 500");
        assert_eq!(refusal(502, b""), "status 502");
        assert!(refusal(401, body).contains("BROKER_TOKEN"));
    }
}
