//! A connection to another broker: commands out, answers and events in.

use super::{answer, command};
use crate::objects::{Next, Objects};
use crate::refusal::{Refusal, Result};
use common::connect;
use common::connection::Connection;
use common::flags;
use common::json::Value;
use common::limits::BODY_SIZE_MAX;
use common::trouble::Trouble;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a broker may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The largest object that another broker sends: a message of the greatest `--max-message`, half
/// a body, in which every byte is escaped as six.
const OBJECT_SIZE_MAX: usize = 4 * BODY_SIZE_MAX;

/// Why another broker cannot be asked that asks for a token.
const NO_TOKEN: &str = "it asks for a token, and this broker was not started with that in \
                        BROKER_TOKEN";

/// The same where it is a peer.
const TOKEN_NOT_SHOWN: &str = "it asks for a token, and the index does not: start the index with \
                               that token, too";

/// Where another broker is reached, and what it is told first.
pub(super) struct Target {
    /// `HOST:PORT`.
    pub(super) address: String,
    pub(super) token: Option<String>,
    /// Whether the token is shown. It is not where nobody knows that the other side has it.
    pub(super) shows_token: Arc<AtomicBool>,
}

/// A connection to another broker.
pub(super) struct BrokerConnection {
    target: Arc<Target>,
    connection: Connection,
    objects: Objects,
}

impl Target {
    /// Whether the broker asks for a token.
    ///
    /// # Errors
    ///
    /// It cannot be asked.
    pub(super) fn asks_for_token(self: &Arc<Target>, deadline: Instant) -> Result<bool> {
        let asked =
            self.open(deadline)?.answers(&command::path(&[], Duration::ZERO), 1, deadline, |_| {});
        asked.map_err(|error| self.unreachable(&error))
    }

    /// A new connection on which commands may be sent.
    pub(super) fn connect(self: &Arc<Target>, deadline: Instant) -> Result<BrokerConnection> {
        let mut connection = self.open(deadline)?;
        if let Some(token) = self.token.as_ref().filter(|_| self.shows_token()) {
            let authenticate = command::write("auth", |object| object.field("token", token));
            let shown = connection.command(&authenticate, deadline, |_| {});
            shown.map_err(|refusal| match refusal {
                Refusal::Unreachable { .. } => refusal,
                refusal => self.unreachable(&refusal),
            })?;
        }
        // So the other side knows that it is a broker, which says something or is gone.
        connection.exchange(&command::path(&[], Duration::ZERO), 1, deadline, |_| {})?;
        Ok(connection)
    }

    fn shows_token(&self) -> bool {
        self.shows_token.load(Ordering::Relaxed)
    }

    fn open(self: &Arc<Target>, deadline: Instant) -> Result<BrokerConnection> {
        let time = deadline.saturating_duration_since(Instant::now());
        if time.is_zero() {
            // Those who waited for a permit until now would each connect in vain.
            return Err(self.timed_out());
        }
        let connection = connect::connect(&self.address, time.min(CONNECT_TIMEOUT));
        let connection = connection.map_err(|error| self.unreachable(&error))?;
        let (target, objects) = (Arc::clone(self), Objects::new(OBJECT_SIZE_MAX));
        Ok(BrokerConnection { target, connection, objects })
    }

    /// What a client is told when the broker cannot be asked.
    pub(super) fn unreachable(&self, error: &dyn Error) -> Refusal {
        Refusal::Unreachable { broker: self.address.clone(), reason: flags::one_line(error) }
    }

    /// The same where it does not answer in time.
    pub(super) fn timed_out(&self) -> Refusal {
        self.unreachable(&io::Error::from(ErrorKind::TimedOut))
    }
}

impl BrokerConnection {
    /// The socket.
    pub(super) fn stream(&self) -> &Arc<TcpStream> {
        self.connection.stream()
    }

    /// Sends commands and takes as many answers.
    ///
    /// # Errors
    ///
    /// Also where the other broker asks for a token that this one was not given. That is nothing
    /// which this one's own clients could mend, so they are not told as if it were asked of them.
    pub(super) fn exchange(
        &mut self,
        commands: &[u8],
        count: usize,
        deadline: Instant,
        take: impl FnMut(Result<&Value<'_>>),
    ) -> Result<()> {
        let answered = self.answers(commands, count, deadline, take);
        let target = &self.target;
        let reason = match answered {
            Ok(false) => return Ok(()),
            Ok(true) if target.token.is_some() && !target.shows_token() => {
                TOKEN_NOT_SHOWN.to_owned()
            }
            Ok(true) => NO_TOKEN.to_owned(),
            Err(error) => flags::one_line(&error),
        };
        Err(Refusal::Unreachable { broker: target.address.clone(), reason })
    }

    /// Sends one command. `read` takes what is wanted from its answer, where that is a success.
    pub(super) fn command<T>(
        &mut self,
        command: &[u8],
        deadline: Instant,
        read: impl Fn(&Value<'_>) -> T,
    ) -> Result<T> {
        let mut answered = Err(self.target.timed_out());
        self.exchange(command, 1, deadline, |answer| answered = answer.map(&read))?;
        answered
    }

    /// Waits for bytes, and hands on every object that is whole.
    ///
    /// # Errors
    ///
    /// After [`Trouble::TimedOut`] it may be called again.
    pub(super) fn receive(
        &mut self,
        deadline: Instant,
        mut take: impl FnMut(&Value<'_>),
    ) -> Result<(), Trouble> {
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

    /// The same. True where the other broker asks for a token instead.
    fn answers(
        &mut self,
        commands: &[u8],
        count: usize,
        deadline: Instant,
        mut take: impl FnMut(Result<&Value<'_>>),
    ) -> Result<bool, Trouble> {
        self.connection.write_all(commands, Some(deadline))?;
        let (mut answers, mut lacks_token) = (0, false);
        while answers < count {
            let received = self.receive(deadline, |answer| {
                answers += 1;
                match answer::refusal(answer) {
                    Some(refusal) if refusal.status() == 401 => lacks_token = true,
                    refusal => take(refusal.map_or(Ok(answer), Err)),
                }
            });
            if lacks_token {
                return Ok(true);
            }
            received?;
        }
        Ok(false)
    }

    /// Whether the other side has neither closed the connection nor said anything unasked.
    pub(super) fn is_quiet(&self) -> bool {
        let stream = self.stream();
        let peeked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
        let waits = peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        stream.set_nonblocking(false).is_ok() && waits
    }
}
