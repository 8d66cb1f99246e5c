//! The broker that a program talks to over HTTP: where it is, the token it asks for, and one
//! connection that is made when it is needed and kept while it is good.
//!
//! # Not here
//!
//! Repeating what failed: only the caller knows whether that is safe, and until when.

use crate::flags::{Arguments, Error, Flag};
use crate::http::client::{self, Client, Head};
use crate::http::parse;
use crate::json::{self, Value};
use std::env;
use std::io;
use std::time::{Duration, Instant};

/// The port of a broker where nothing else is said.
const PORT: u16 = 9000;

/// How long a host may take to answer a connection attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The flag that says where the broker is.
pub const FLAG: Flag = Flag {
    name: "broker",
    value: "<host:port>",
    repeats: false,
    help: "Talk to this broker. Default: PEER_BROKER_HOST and PEER_BROKER_PORT, else \
           127.0.0.1:9000.",
};

/// The variables that [`Remote::from`] reads, for help.
pub const ENVIRONMENT: &[(&str, &str)] = &[
    ("PEER_BROKER_HOST, PEER_BROKER_PORT", "Where the broker is, unless --broker says so."),
    ("BROKER_TOKEN", "The token that the broker asks for, if it does."),
];

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

impl Remote {
    /// The broker that [`FLAG`] and the environment name.
    ///
    /// # Errors
    ///
    /// An address or a token that cannot be one.
    pub fn from(arguments: &Arguments) -> Result<Remote, Error> {
        // An empty variable counts as none: that is how many tools unset one.
        let variable = |name| env::var(name).ok().filter(|value| !value.trim().is_empty());
        let address = match arguments.value(FLAG.name) {
            Some(address) => {
                let wrong = || Error::value(FLAG.name, address, "write it as HOST:PORT");
                address_of_flag(address).ok_or_else(wrong)?
            }
            None => {
                let host = variable("PEER_BROKER_HOST");
                let port = variable("PEER_BROKER_PORT");
                address_of_environment(host.as_deref(), port.as_deref())?
            }
        };
        let authorization = variable("BROKER_TOKEN").map(|token| authorization(token.trim()));
        Ok(Remote { authorization: authorization.transpose()?, ..Remote::new(address) })
    }

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

/// What an answer that is not a success says, in one line: its status, and the detail of an
/// `application/problem+json` body (RFC 9457) where there is one.
#[must_use]
pub fn refusal(status: u16, body: &[u8]) -> String {
    let problem = json::parse(body).unwrap_or(Value::Null);
    let said = ["detail", "title"].iter().find_map(|key| problem.get(key)?.as_str());
    match said {
        // Another program's words: nothing in them may move the cursor of the terminal.
        Some(words) => format!("{status}, {}", words.replace(char::is_control, " ")),
        None => format!("status {status}"),
    }
}

/// The address in a flag's value. What a browser shows is understood too.
fn address_of_flag(value: &str) -> Option<String> {
    let value = value.strip_prefix("http://").unwrap_or(value);
    let (host, port) = parse::authority(value.strip_suffix('/').unwrap_or(value))?;
    Some(format!("{host}:{}", port.unwrap_or(PORT)))
}

fn address_of_environment(host: Option<&str>, port: Option<&str>) -> Result<String, Error> {
    let host = host.unwrap_or("127.0.0.1").trim();
    let port = match port {
        Some(port) => port
            .trim()
            .parse()
            .map_err(|_| Error::Combination(format!("PEER_BROKER_PORT is {port:?}, not a port")))?,
        None => PORT,
    };
    let is_bare_ipv6 = host.contains(':') && !host.starts_with('[');
    let host = if is_bare_ipv6 { format!("[{host}]") } else { host.to_owned() };
    match parse::authority(&host) {
        Some((_, None)) => Ok(format!("{host}:{port}")),
        _ => Err(Error::Combination(format!("PEER_BROKER_HOST is {host:?}, not a host"))),
    }
}

fn authorization(token: &str) -> Result<String, Error> {
    if token.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(format!("Bearer {token}"))
    } else {
        // The token itself is not shown: this line may end up in a log.
        let reason = "BROKER_TOKEN holds a byte that is not printable ASCII";
        Err(Error::Combination(reason.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_names_host_and_port_or_leaves_the_port_out() {
        for (value, address) in [
            ("example.net:80", "example.net:80"),
            ("example.net", "example.net:9000"),
            ("[::1]:80", "[::1]:80"),
            ("[::1]", "[::1]:9000"),
            ("http://127.0.0.1:9000", "127.0.0.1:9000"),
            ("http://127.0.0.1:9000/", "127.0.0.1:9000"),
        ] {
            assert_eq!(address_of_flag(value).as_deref(), Some(address), "{value}");
        }
        for value in ["", ":80", "a b:80", "a:port", "a:70000", "https://a", "a/b", "::1"] {
            assert_eq!(address_of_flag(value), None, "{value}");
        }
    }

    #[test]
    fn the_environment_fills_in_what_it_leaves_out() {
        let address = |host, port| address_of_environment(host, port).map_err(|e| e.to_string());
        assert_eq!(address(None, None).as_deref(), Ok("127.0.0.1:9000"));
        assert_eq!(address(Some("broker"), None).as_deref(), Ok("broker:9000"));
        assert_eq!(address(None, Some("80")).as_deref(), Ok("127.0.0.1:80"));
        assert_eq!(address(Some("::1"), Some("80")).as_deref(), Ok("[::1]:80"));
        assert_eq!(address(Some("[::1]"), Some("80")).as_deref(), Ok("[::1]:80"));
        assert_eq!(address(None, Some("x")).unwrap_err(), "PEER_BROKER_PORT is \"x\", not a port");
        assert!(address(Some("a b"), None).unwrap_err().starts_with("PEER_BROKER_HOST"));
    }

    #[test]
    fn a_token_that_would_break_the_header_is_refused_and_not_shown() {
        assert_eq!(authorization("s3cret").as_deref(), Ok("Bearer s3cret"));
        let error = authorization("s3cret\nX: y").unwrap_err().to_string();
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[test]
    fn a_refusal_is_told_in_the_words_of_the_broker() {
        let body = br#"{"status":413,"title":"Too Large","detail":"too\nlong"}"#;
        assert_eq!(refusal(413, body), "413, too long");
        assert_eq!(refusal(404, br#"{"title":"Not Found"}"#), "404, Not Found");
        assert_eq!(refusal(500, b"<html>"), "status 500");
        assert_eq!(refusal(502, b""), "status 502");
    }
}
