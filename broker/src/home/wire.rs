//! Commands to another broker, over its JSON door.

use crate::objects::{Next, Objects};
use crate::refusal::Refusal;
use common::connect;
use common::connection::{self, Connection};
use common::flags;
use common::json::{self, Value};
use common::limits::BODY_SIZE_MAX;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a broker may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Connections to one broker on which commands are sent, in use or kept for the next. Enough to
/// keep it busy: what waits for one of its syncs shares it.
const WIRES_MAX: usize = 64;

/// The largest object that another broker sends: a message of the greatest `--max-message`, half
/// a body, in which every byte is escaped as six.
const OBJECT_SIZE_MAX: usize = 4 * BODY_SIZE_MAX;

/// Why another broker cannot be asked that asks for a token.
const NO_TOKEN: &str = "it asks for a token, and this broker was not started with that in \
                        BROKER_TOKEN";

/// One connection to another broker.
pub(super) struct Wire {
    connection: Connection,
    objects: Objects,
}

impl Wire {
    /// The socket.
    pub(super) fn stream(&self) -> &Arc<TcpStream> {
        self.connection.stream()
    }

    /// Waits for bytes, and hands on every object that is whole.
    ///
    /// # Errors
    ///
    /// After [`connection::Error::TimedOut`] it may be called again.
    pub(super) fn receive(
        &mut self,
        deadline: Instant,
        mut take: impl FnMut(&Value<'_>),
    ) -> Result<(), connection::Error> {
        if self.connection.fill(Some(deadline))? == 0 {
            return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
        }
        let input = self.connection.buffered();
        let mut used = 0;
        let unfinished = loop {
            match self.objects.next(input.get(used..).unwrap_or_default()) {
                Next::Object(object, size) => {
                    used += size;
                    take(&object);
                }
                Next::Partial { size } => break size,
                Next::Invalid => return Err(io::Error::from(ErrorKind::InvalidData).into()),
            }
        };
        if unfinished > OBJECT_SIZE_MAX {
            return Err(io::Error::from(ErrorKind::InvalidData).into());
        }
        self.connection.consume(used);
        Ok(())
    }

    /// Sends commands and takes as many answers.
    fn exchange(
        &mut self,
        commands: &[u8],
        count: usize,
        deadline: Instant,
        mut take: impl FnMut(&Value<'_>),
    ) -> Result<(), connection::Error> {
        self.connection.write_all(commands, Some(deadline))?;
        let mut answers = 0;
        while answers < count {
            self.receive(deadline, |answer| {
                answers += 1;
                take(answer);
            })?;
        }
        Ok(())
    }

    /// Whether the other side has neither closed the connection nor said anything unasked.
    fn is_quiet(&self) -> bool {
        let stream = self.stream();
        let peeked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
        let waits = peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        stream.set_nonblocking(false).is_ok() && waits
    }
}

/// Another broker, and connections to it.
pub(super) struct Wires {
    /// `HOST:PORT`.
    address: String,
    token: Option<String>,
    state: Mutex<State>,
    /// Told when a turn ends.
    freed: Condvar,
}

/// Held to take or to give back; never across I/O.
///
/// Invariant: a connection is opened by whoever has a turn and finds none idle, so there are never
/// more connections than turns.
#[derive(Default)]
struct State {
    /// Nobody uses these now.
    idle: Vec<Wire>,
    /// How many commands are under way.
    turns: usize,
}

/// The right to use a connection; it ends when it is dropped.
struct Turn<'a>(&'a Wires);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.state().turns -= 1;
        self.0.freed.notify_one();
    }
}

impl Wires {
    /// No connections yet.
    pub(super) fn new(address: String, token: Option<String>) -> Wires {
        Wires { address, token, state: Mutex::default(), freed: Condvar::new() }
    }

    /// `HOST:PORT`.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// A connection on which commands may be sent.
    pub(super) fn open(&self, deadline: Instant) -> Result<Wire, Refusal> {
        let time = deadline.saturating_duration_since(Instant::now());
        if time.is_zero() {
            // Those who waited for a turn until now would each connect in vain.
            return Err(self.unreachable(&io::Error::from(ErrorKind::TimedOut)));
        }
        let connection = connect::connect(&self.address, time.min(CONNECT_TIMEOUT));
        let connection = connection.map_err(|error| self.unreachable(&error))?;
        let mut wire = Wire { connection, objects: Objects::new(OBJECT_SIZE_MAX) };
        if let Some(token) = &self.token {
            let mut command = b"{\"command\":\"auth\",\"token\":".to_vec();
            json::write_string_ascii(&mut command, token);
            command.extend_from_slice(b"}\n");
            let mut refused = None;
            self.exchange(&mut wire, &command, 1, deadline, |answer| refused = refusal(answer))?;
            if let Some(refusal) = refused {
                return Err(self.unreachable(&refusal));
            }
        }
        Ok(wire)
    }

    /// Sends commands on a connection that is the caller's, and takes as many answers.
    ///
    /// # Errors
    ///
    /// Also where the other broker asks for a token that this one was not given. That is nothing
    /// which this one's own clients could mend, so they are not told as if it were asked of them.
    pub(super) fn exchange(
        &self,
        wire: &mut Wire,
        commands: &[u8],
        count: usize,
        deadline: Instant,
        mut take: impl FnMut(&Value<'_>),
    ) -> Result<(), Refusal> {
        let mut is_stranger = false;
        let exchanged = wire.exchange(commands, count, deadline, |answer| {
            match answer.get("code").and_then(Value::as_u64) {
                Some(401) => is_stranger = true,
                _ => take(answer),
            }
        });
        let reason = match exchanged {
            _ if is_stranger => NO_TOKEN.to_owned(),
            Err(error) => flags::one_line(&error),
            Ok(()) => return Ok(()),
        };
        Err(Refusal::Unreachable { broker: self.address.clone(), reason })
    }

    /// Sends commands and takes as many answers. Whether an unanswered command was carried out
    /// is not known.
    pub(super) fn ask(
        &self,
        commands: &[u8],
        count: usize,
        deadline: Instant,
        take: impl FnMut(&Value<'_>),
    ) -> Result<(), Refusal> {
        // Ends after the connection was kept or closed.
        let _turn = self.turn(deadline)?;
        let mut wire = match self.take_idle() {
            Some(wire) => wire,
            None => self.open(deadline)?,
        };
        let asked = self.exchange(&mut wire, commands, count, deadline, take);
        let mut state = self.state();
        match asked {
            Ok(()) => state.idle.push(wire),
            // What befell this one has most likely befallen the others.
            Err(_) => state.idle.clear(),
        }
        drop(state);
        asked
    }

    /// Waits until another command may be under way.
    fn turn(&self, deadline: Instant) -> Result<Turn<'_>, Refusal> {
        let time = deadline.saturating_duration_since(Instant::now());
        let is_full = |state: &mut State| state.turns >= WIRES_MAX;
        let waited = self.freed.wait_timeout_while(self.state(), time, is_full);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        if state.turns >= WIRES_MAX {
            return Err(self.unreachable(&io::Error::from(ErrorKind::TimedOut)));
        }
        state.turns += 1;
        Ok(Turn(self))
    }

    /// Sends one command; its refusal is this one's.
    pub(super) fn command(&self, command: &[u8], deadline: Instant) -> Result<(), Refusal> {
        let mut refused = None;
        self.ask(command, 1, deadline, |answer| refused = refusal(answer))?;
        refused.map_or(Ok(()), Err)
    }

    /// A connection that was used before and can be used again.
    fn take_idle(&self) -> Option<Wire> {
        loop {
            let wire = self.state().idle.pop()?;
            if wire.is_quiet() {
                return Some(wire);
            }
        }
    }

    /// What a client is told when this broker cannot be asked.
    pub(super) fn unreachable(&self, error: &dyn Error) -> Refusal {
        Refusal::Unreachable { broker: self.address.clone(), reason: flags::one_line(error) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A list and a count are whole after any panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The refusal that an answer is, if it is one.
pub(super) fn refusal(answer: &Value<'_>) -> Option<Refusal> {
    if answer.get("status").and_then(Value::as_str) == Some("success") {
        return None;
    }
    let number = |key| answer.get(key).and_then(Value::as_u64);
    let text = answer.get("message").and_then(Value::as_str).unwrap_or("no reason given");
    let status = number("code").and_then(|code| u16::try_from(code).ok());
    // This broker's clients are told the same, so it has to be a refusal.
    let status = status.filter(|status| (400..=599).contains(status)).unwrap_or(502);
    Some(match (number("expected"), number("epoch"), number("code")) {
        (Some(expected), _, Some(409)) => Refusal::Gap { expected },
        (_, Some(present), Some(403)) => Refusal::OldEpoch { present },
        _ => Refusal::Home { status, text: text.to_owned() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    #[test]
    fn commands_to_one_broker_have_so_many_connections_and_the_rest_wait() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let wires = Wires::new(silent.local_addr().unwrap().to_string(), None);
        let deadline = Instant::now() + Duration::from_secs(1);
        thread::scope(|scope| {
            for _ in 0..WIRES_MAX + 8 {
                scope.spawn(|| {
                    assert_eq!(wires.command(b"{}", deadline).unwrap_err().status(), 503)
                });
            }
        });
        silent.set_nonblocking(true).unwrap();
        let accepted = std::iter::from_fn(|| silent.accept().ok()).count();
        assert!(accepted <= WIRES_MAX, "{accepted} connections");
        assert_eq!(wires.state().turns, 0);
        assert!(wires.turn(Instant::now()).is_ok());
    }

    #[test]
    fn a_refusal_has_the_status_of_one() {
        for (code, status) in [
            ("400", 400),
            ("599", 599),
            ("0", 502),
            ("200", 502),
            ("399", 502),
            ("600", 502),
            ("65936", 502),
            ("-1", 502),
            ("\"404\"", 502),
        ] {
            let answer = format!("{{\"status\":\"error\",\"message\":\"no\",\"code\":{code}}}");
            let answer = json::parse(answer.as_bytes()).unwrap();
            assert_eq!(refusal(&answer).unwrap().status(), status, "{code}");
        }
        let answer = json::parse(b"{\"status\":\"success\",\"code\":500}").unwrap();
        assert!(refusal(&answer).is_none());
    }
}
