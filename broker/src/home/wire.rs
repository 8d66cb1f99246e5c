//! Commands to another broker, over its JSON door.

use super::HOME_TIMEOUT;
use crate::refusal::Refusal;
use common::connect;
use common::connection::{self, Connection};
use common::json::{self, Value};
use common::limits::BODY_SIZE_MAX;
use std::io::{self, ErrorKind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a broker may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Connections that are kept for the next command.
const IDLE_MAX: usize = 64;

/// Another broker, and connections to it.
pub(super) struct Wires {
    /// `HOST:PORT`.
    address: String,
    token: Option<String>,
    /// Nobody uses these now.
    idle: Mutex<Vec<Connection>>,
}

impl Wires {
    /// No connections yet.
    pub(super) fn new(address: String, token: Option<String>) -> Wires {
        Wires { address, token, idle: Mutex::default() }
    }

    /// `HOST:PORT`.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// A connection on which commands may be sent.
    pub(super) fn open(&self) -> Result<Connection, Refusal> {
        let connection = connect::connect(&self.address, CONNECT_TIMEOUT);
        let mut connection = connection.map_err(|error| self.unreachable(&error))?;
        if let Some(token) = &self.token {
            let mut command = b"{\"command\":\"auth\",\"token\":".to_vec();
            json::write_string_ascii(&mut command, token);
            command.extend_from_slice(b"}\n");
            let deadline = Instant::now() + CONNECT_TIMEOUT;
            let mut refused = None;
            self.exchange(&mut connection, &command, 1, deadline, |answer| {
                refused = refusal(answer);
            })
            .map_err(|error| self.unreachable(&error))?;
            if let Some(refusal) = refused {
                return Err(refusal);
            }
        }
        Ok(connection)
    }

    /// Sends commands and takes as many answers. Whether an unanswered command was carried out
    /// is not known.
    pub(super) fn ask(
        &self,
        commands: &[u8],
        count: usize,
        timeout: Duration,
        take: impl FnMut(&Value<'_>),
    ) -> Result<(), Refusal> {
        let mut connection = match self.take_idle() {
            Some(connection) => connection,
            None => self.open()?,
        };
        let deadline = Instant::now() + timeout;
        self.exchange(&mut connection, commands, count, deadline, take)
            .map_err(|error| self.unreachable(&error))?;
        let mut idle = self.idle();
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
        Ok(())
    }

    /// Sends commands on a connection that is the caller's, and takes as many answers.
    pub(super) fn exchange_on(
        &self,
        connection: &mut Connection,
        commands: &[u8],
        count: usize,
        take: impl FnMut(&Value<'_>),
    ) -> Result<(), Refusal> {
        let deadline = Instant::now() + HOME_TIMEOUT;
        self.exchange(connection, commands, count, deadline, take)
            .map_err(|error| self.unreachable(&error))
    }

    fn exchange(
        &self,
        connection: &mut Connection,
        commands: &[u8],
        count: usize,
        deadline: Instant,
        mut take: impl FnMut(&Value<'_>),
    ) -> Result<(), connection::Error> {
        connection.write_all(commands, Some(deadline))?;
        let mut missing = count;
        while missing > 0 {
            let mut used = 0;
            let input = connection.buffered();
            while missing > 0 {
                match json::parse_prefix(input.get(used..).unwrap_or_default()) {
                    Ok((answer, size)) => {
                        used += size;
                        missing -= 1;
                        take(&answer);
                    }
                    Err(json::Error::Partial) if input.len() - used <= BODY_SIZE_MAX => break,
                    Err(_) => return Err(io::Error::from(ErrorKind::InvalidData).into()),
                }
            }
            connection.consume(used);
            if missing > 0 && connection.fill(Some(deadline))? == 0 {
                return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
            }
        }
        Ok(())
    }

    /// A connection that was used before and that the other side has not closed.
    fn take_idle(&self) -> Option<Connection> {
        loop {
            let connection = self.idle().pop()?;
            let stream = connection.stream();
            let waits = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
            let is_open = waits.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
            if stream.set_nonblocking(false).is_ok() && is_open {
                return Some(connection);
            }
        }
    }

    /// What a client is told when this broker cannot be asked.
    pub(super) fn unreachable(&self, error: &dyn std::error::Error) -> Refusal {
        Refusal::Unreachable {
            broker: self.address.clone(),
            reason: common::flags::one_line(error),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The refusal that an answer is, if it is one.
pub(super) fn refusal(answer: &Value<'_>) -> Option<Refusal> {
    if answer.get("status").and_then(Value::as_str) == Some("success") {
        return None;
    }
    let number = |key| answer.get(key).and_then(Value::as_u64);
    let text = answer.get("message").and_then(Value::as_str).unwrap_or("no reason given");
    Some(match (number("expected"), number("epoch"), number("code")) {
        (Some(expected), _, Some(409)) => Refusal::Gap { expected },
        (_, Some(present), Some(403)) => Refusal::OldEpoch { present },
        (_, _, code) => Refusal::Home {
            status: code.and_then(|code| u16::try_from(code).ok()).unwrap_or(502),
            text: text.to_owned(),
        },
    })
}
