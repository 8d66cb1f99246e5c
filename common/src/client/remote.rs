//! The broker over HTTP: one connection that is made when it is needed and kept while it works.
//!
//! It uses only what the simplest brokers know: `POST /publish` and `GET /messages`.
//!
//! # Not here
//!
//! Repeating a failed request: only the caller knows whether that is safe, and until when.

use super::broker::Broker;
use crate::connect::CONNECT_TIMEOUT;
use crate::http::client::{self, Client, Head};
use std::io;
use std::time::{Duration, Instant};

/// A broker, and the connection to it.
#[derive(Debug)]
pub struct Remote {
    address: String,
    /// The value of `Authorization`.
    authorization: Option<String>,
    client: Option<Client>,
    /// Whether the connection can be used again after the answer that is being read.
    keep_alive: bool,
}

impl Remote {
    /// The way to this broker. It connects when it is asked for something.
    #[must_use]
    pub fn new(broker: &Broker) -> Remote {
        let authorization = broker.token.as_ref().map(|token| format!("Bearer {token}"));
        let address = broker.address.clone();
        Remote { address, authorization, client: None, keep_alive: false }
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
    pub fn request(
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
        let head = client.request(method, target, &fields, body, patience)?;
        let coding = head.field("Content-Encoding");
        if coding.is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
            return Err(client::Error::Coding);
        }
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
