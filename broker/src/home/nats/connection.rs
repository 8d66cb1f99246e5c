//! A connection to one server, and which of several servers it is made to.
//!
//! # Guarantee
//!
//! A server that says nothing is given up within [`SILENCE_MAX`]: it is asked for a sign of life
//! from time to time. A server that cannot be the home of topics is never used.

use super::wire::{self, Message, Operation};
use common::connection::Connection;
use common::json::{self, Object};
use common::lock::Mutex;
use common::random::random;
use common::trouble::Trouble;
use common::{connect, flags};
use std::env;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a server may take to accept a connection and to say that it is ready.
const OPEN_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a server may take none of what is written.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// After how long a silence a server is asked for a sign of life.
const PING_TIME: Duration = Duration::from_secs(1);

/// After how long a silence it is given up.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// The subscription of answers.
pub(super) const ANSWERS: u64 = 1;

/// Servers of this level and above know batches that are stored together (2.12); older ones
/// would store the messages of a batch one by one.
const API_LEVEL_MIN: u64 = 2;

/// The servers of a cluster, and how to sign on.
pub(super) struct Servers {
    /// `HOST:PORT` of each.
    addresses: Vec<String>,
    credentials: Credentials,
    /// The one to be tried first.
    first: AtomicUsize,
}

/// What a server is shown, where it asks.
#[derive(Default)]
pub(super) struct Credentials {
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
}

/// Why there is no connection.
#[derive(Debug, Clone)]
pub(super) struct Unusable {
    pub(super) reason: String,
    /// Whether it stays so until somebody changes the settings.
    pub(super) is_lasting: bool,
}

/// What a server says of itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Info {
    /// Messages and their headers may have so many bytes.
    pub(super) payload_max: usize,
    /// Whether it works with others.
    pub(super) is_clustered: bool,
}

/// A connection to a server.
pub(super) struct Link {
    connection: Connection,
    pub(super) writer: Arc<Writer>,
    pub(super) info: Info,
    /// What answers to this connection are sent to begins so.
    pub(super) inbox: String,
    heard: Instant,
    is_asked: bool,
    /// Whether the server is about to stop.
    pub(super) is_leaving: bool,
    /// What the server complained of last.
    pub(super) complaint: Option<String>,
}

/// The write side of a connection.
pub(super) struct Writer {
    /// Held for one write, so that nothing is written between the parts of another's operation.
    /// A write ends within [`WRITE_TIMEOUT`].
    stream: Mutex<Arc<TcpStream>>,
}

impl Writer {
    /// Writes operations. Whoever reads from a connection that cannot be written to finds its end.
    pub(super) fn write(&self, bytes: &[u8]) {
        let stream = self.stream.lock();
        if (&**stream).write_all(bytes).is_err() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Wakes the thread that reads: the server answers this.
    pub(super) fn wake(&self) {
        self.write(b"PING\r\n");
    }

    /// Ends the connection.
    pub(super) fn close(&self) {
        let _ = self.stream.lock().shutdown(Shutdown::Both);
    }
}

impl Servers {
    /// The servers at these addresses.
    pub(super) fn new(addresses: Vec<String>, credentials: Credentials) -> Servers {
        Servers { addresses, credentials, first: AtomicUsize::new(0) }
    }

    /// Connects to the first server that can be used. The next connection tries the one after it
    /// first.
    pub(super) fn open(&self) -> Result<Link, Unusable> {
        let count = self.addresses.len();
        let first = self.first.fetch_add(1, Ordering::Relaxed);
        let mut worst = Unusable::from("no server is named".to_owned());
        for address in (first..first + count).filter_map(|it| self.addresses.get(it % count)) {
            match Link::open(address, &self.credentials) {
                Ok(link) => return Ok(link),
                Err(Unusable { reason, is_lasting }) if !worst.is_lasting => {
                    worst = Unusable { reason: format!("{address}: {reason}"), is_lasting };
                }
                Err(_) => {}
            }
        }
        Err(worst)
    }
}

impl From<String> for Unusable {
    /// It may pass.
    fn from(reason: String) -> Unusable {
        Unusable { reason, is_lasting: false }
    }
}

impl Link {
    fn open(address: &str, credentials: &Credentials) -> Result<Link, Unusable> {
        let lasting = |reason| Unusable { reason, is_lasting: true };
        let silent = || "the server says nothing".to_owned();
        let connection = connect::connect(address, OPEN_TIMEOUT);
        let connection = connection.map_err(|error| flags::one_line(&error))?;
        let stream = Arc::clone(connection.stream());
        let limited = stream.set_write_timeout(Some(WRITE_TIMEOUT));
        limited.map_err(|error| flags::one_line(&error))?;
        let mut link = Link {
            connection,
            writer: Arc::new(Writer { stream: Mutex::new(stream) }),
            info: Info::default(),
            inbox: format!("_INBOX.{:016x}", random()),
            heard: Instant::now(),
            is_asked: false,
            is_leaving: false,
            complaint: None,
        };
        let deadline = Instant::now() + OPEN_TIMEOUT;
        let Operation::Info(info) = link.operation(deadline)?.ok_or_else(silent)? else {
            return Err(lasting("this is no NATS server".to_owned()));
        };
        link.info = judge(&info, credentials).map_err(lasting)?;
        let mut out = b"CONNECT ".to_vec();
        credentials.write(&mut out);
        out.extend_from_slice(b"\r\n");
        wire::subscribe(&mut out, &format!("{}.*", link.inbox), ANSWERS);
        out.extend_from_slice(b"PING\r\n");
        link.writer.write(&out);
        loop {
            match link.operation(deadline)?.ok_or_else(silent)? {
                Operation::Pong => return Ok(link),
                Operation::Error(error) => {
                    let how = "set NATS_USER and NATS_PASSWORD, or NATS_TOKEN, in the environment";
                    return Err(lasting(format!("the server says '{error}': {how}")));
                }
                _ => {}
            }
        }
    }

    /// The next operation; nothing where none came until the deadline.
    fn operation(&mut self, deadline: Instant) -> Result<Option<Operation>, String> {
        loop {
            let parsed = wire::parse(self.connection.buffered());
            let parsed = parsed.map_err(|_| "it does not speak the protocol of NATS".to_owned())?;
            if let Some((operation, size)) = parsed {
                self.connection.consume(size);
                return Ok(Some(operation));
            }
            if self.heard.elapsed() >= SILENCE_MAX {
                return Err("the server says nothing".to_owned());
            }
            if self.heard.elapsed() >= PING_TIME && !self.is_asked {
                self.is_asked = true;
                self.writer.wake();
            }
            match self.connection.fill(Some(deadline)) {
                Ok(0) => {
                    let closed = || "the server has closed the connection".to_owned();
                    return Err(self.complaint.take().unwrap_or_else(closed));
                }
                Ok(_) => (self.heard, self.is_asked) = (Instant::now(), false),
                Err(Trouble::TimedOut) => return Ok(None),
                Err(error) => return Err(flags::one_line(&error)),
            }
        }
    }

    /// The next message; nothing where none came until the deadline, or the server has answered
    /// [`Writer::wake`].
    ///
    /// # Errors
    ///
    /// Why the connection has ended.
    pub(super) fn next(&mut self, deadline: Instant) -> Result<Option<Message>, String> {
        loop {
            match self.operation(deadline)? {
                Some(Operation::Message(message)) => return Ok(Some(message)),
                Some(Operation::Pong) | None => return Ok(None),
                Some(Operation::Ping) => self.writer.write(b"PONG\r\n"),
                Some(Operation::Info(info)) => self.is_leaving |= info.contains("\"ldm\":true"),
                Some(Operation::Error(error)) => self.complaint = Some(error),
                Some(Operation::Ok) => {}
            }
        }
    }
}

impl Credentials {
    /// What the environment says.
    pub(super) fn given() -> Credentials {
        let [user, password, token] = ["NATS_USER", "NATS_PASSWORD", "NATS_TOKEN"]
            .map(|name| env::var(name).ok().filter(|value| !value.is_empty()));
        Credentials { user, password, token }
    }

    /// The arguments of CONNECT.
    fn write(&self, out: &mut Vec<u8>) {
        let mut object = Object::new(out);
        object.field("verbose", false).field("pedantic", false).field("lang", "rust");
        object.field("version", env!("CARGO_PKG_VERSION")).field("protocol", 1_u64);
        object.field("headers", true).field("no_responders", true);
        object.optional("user", self.user.as_deref());
        object.optional("pass", self.password.as_deref());
        object.optional("auth_token", self.token.as_deref());
        object.end();
    }

    fn are_given(&self) -> bool {
        self.user.is_some() || self.token.is_some()
    }
}

/// Whether a server can be the home of topics, as far as it says itself.
fn judge(info: &str, credentials: &Credentials) -> Result<Info, String> {
    let info = json::parse(info.as_bytes()).map_err(|_| "this is no NATS server".to_owned())?;
    if info.is_true("tls_required") {
        return Err("the server asks for TLS, which this broker cannot speak: let it listen \
                    without TLS for its brokers, or put a proxy before it"
            .to_owned());
    }
    if info.is_true("auth_required") && info.get("nonce").is_some() && !credentials.are_given() {
        return Err(
            "the server asks for an nkey or a JWT, which this broker cannot sign: give it \
                    a user and a password"
                .to_owned(),
        );
    }
    if info.get_u64("api_lvl").is_none_or(|level| level < API_LEVEL_MIN) {
        let version = info.get_str("version").unwrap_or("unknown");
        let jetstream = if info.is_true("jetstream") { "" } else { ", and JetStream is off" };
        return Err(format!("the server is of version {version}{jetstream}; 2.12 is needed"));
    }
    if !info.is_true("jetstream") {
        return Err("JetStream is off: start nats-server with -js".to_owned());
    }
    let payload_max =
        info.get_u64("max_payload").and_then(|max| usize::try_from(max).ok()).unwrap_or(0);
    Ok(Info { payload_max, is_clustered: info.get("cluster").is_some() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_cannot_be_used_are_refused_with_the_reason() {
        let none = Credentials::default();
        for (info, word) in [
            ("{\"api_lvl\":5,\"jetstream\":true,\"tls_required\":true}", "TLS"),
            ("{\"api_lvl\":5,\"auth_required\":true,\"nonce\":\"x\",\"jetstream\":true}", "nkey"),
            ("{\"version\":\"2.9.10\",\"jetstream\":true}", "2.12"),
            ("{\"api_lvl\":1,\"jetstream\":true}", "2.12"),
            ("{\"api_lvl\":5}", "-js"),
            ("no", "no NATS"),
        ] {
            let reason = judge(info, &none).unwrap_err();
            assert!(reason.contains(word), "{info}: {reason}");
        }
        let good = "{\"api_lvl\":2,\"jetstream\":true,\"max_payload\":1048576,\"cluster\":\"c\"}";
        let info = judge(good, &none).unwrap();
        assert_eq!((info.payload_max, info.is_clustered), (1 << 20, true));
    }
}
