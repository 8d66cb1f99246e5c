//! The connection to the broker: made when it is needed, and made again when it failed.
//!
//! # Not here
//!
//! What has to be sent again over a new connection: only the caller knows.

use super::answer::{Answer, Refusal};
use super::broker::{Broker, Notice};
use super::error::{Error, Failure, Trouble};
use crate::connect::{self, connect};
use crate::connection::Connection;
use crate::json::{self, Value};
use crate::limits::{ANSWER_SIZE_MAX, ANSWER_TIMEOUT};
use crate::retry::Outage;
use std::io::BufRead;
use std::time::{Duration, Instant};

/// How long a host may take to answer a connection attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The shortest time in which an attempt can be expected to succeed, however little is left.
const ATTEMPT_MIN: Duration = Duration::from_secs(1);

/// The way to one broker.
#[derive(Debug)]
pub(super) struct Link {
    broker: Broker,
    connection: Option<Connection>,
    /// Bytes of an unfinished line in which there is no line end.
    looked: usize,
    outage: Outage,
    /// Since when nothing has succeeded; `None` while all is well.
    failing_since: Option<Instant>,
}

impl Link {
    pub(super) fn new(broker: Broker) -> Link {
        Link { broker, connection: None, looked: 0, outage: Outage::default(), failing_since: None }
    }

    pub(super) fn broker(&self) -> &Broker {
        &self.broker
    }

    pub(super) fn is_open(&self) -> bool {
        self.connection.is_some()
    }

    /// Connects, unless there is a connection: by the deadline, or little later. True when there
    /// is a new one.
    pub(super) fn open(&mut self, deadline: Option<Instant>) -> Result<bool, Failure> {
        if self.is_open() {
            return Ok(false);
        }
        let left = deadline.map_or(Duration::MAX, |deadline| {
            deadline.saturating_duration_since(Instant::now()).max(ATTEMPT_MIN)
        });
        let timeout = CONNECT_TIMEOUT.min(self.attempt()).min(left);
        let connection = connect(&self.broker.address, timeout).map_err(Trouble::Connect)?;
        self.connection = Some(connection);
        self.looked = 0;
        if let Some(token) = &self.broker.token {
            let mut command = b"{\"command\":\"auth\",\"token\":".to_vec();
            json::write_string(&mut command, token);
            command.extend_from_slice(b"}\n");
            self.send(&command)?;
            self.authenticate(left)?;
        }
        Ok(true)
    }

    /// Reads what the broker says to the token.
    fn authenticate(&mut self, patience: Duration) -> Result<(), Failure> {
        match self.judgement(|_| Some(()), patience)? {
            Ok(()) => Ok(()),
            Err(Refusal { code, reason, .. }) => Err(self.refused("", code, reason)),
        }
    }

    /// Sends bytes. After any error the connection is of no further use.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let deadline = Instant::now() + self.attempt();
        let connection = self.connection.as_mut().ok_or(Trouble::Closed)?;
        Ok(connection.write_all(bytes, Some(deadline))?)
    }

    /// What the broker says to a command, of which `read` takes what is wanted of a success. Ends
    /// the outage: a refusal is an answer as well.
    pub(super) fn answer<T>(
        &mut self,
        read: impl Fn(&Value<'_>) -> Option<T>,
    ) -> Result<Result<T, Refusal>, Trouble> {
        let answer = self.judgement(read, Duration::MAX)?;
        self.succeeded();
        Ok(answer)
    }

    /// The same while nothing has succeeded yet. An answer that says "not now" is no judgement.
    fn judgement<T>(
        &mut self,
        read: impl Fn(&Value<'_>) -> Option<T>,
        patience: Duration,
    ) -> Result<Result<T, Refusal>, Trouble> {
        match json::parse(self.line(patience)?).ok().and_then(Answer::read) {
            Some(Answer::Success(value)) => read(&value).map(Ok).ok_or(INVALID),
            Some(Answer::Refusal(refusal)) if refusal.is_passing() => {
                Err(Trouble::Answer(refusal.reason))
            }
            Some(Answer::Refusal(refusal)) => Ok(Err(refusal)),
            None => Err(INVALID),
        }
    }

    /// The next line, with its end, which has to come in the time that an answer may take, and
    /// within `patience`. After any error the connection is of no further use.
    fn line(&mut self, patience: Duration) -> Result<&[u8], Trouble> {
        let deadline = Instant::now() + self.attempt().min(patience);
        loop {
            if let Some(size) = self.line_size() {
                return Ok(self.take(size));
            }
            self.fill(deadline)?;
        }
    }

    /// Bytes of the next line, with its end, if all of it has come.
    pub(super) fn line_size(&mut self) -> Option<usize> {
        let input = self.connection.as_ref()?.buffered();
        let size = input.get(self.looked..).and_then(line_size);
        let size = size.map(|size| self.looked + size);
        self.looked = if size.is_some() { 0 } else { input.len() };
        size
    }

    /// Takes bytes that have come.
    pub(super) fn take(&mut self, size: usize) -> &[u8] {
        self.connection.as_mut().map(|connection| connection.take(size)).unwrap_or_default()
    }

    /// Waits for bytes until the deadline. After any error but a deadline that passed, the
    /// connection is of no further use.
    pub(super) fn fill(&mut self, deadline: Instant) -> Result<(), Trouble> {
        let connection = self.connection.as_mut().ok_or(Trouble::Closed)?;
        if connection.buffered().len() > ANSWER_SIZE_MAX {
            return Err(INVALID);
        }
        match connection.fill(Some(deadline))? {
            0 => Err(Trouble::Closed),
            _ => Ok(()),
        }
    }

    /// Something succeeded: the next failure begins a new outage.
    pub(super) fn succeeded(&mut self) {
        if self.failing_since.take().is_some() {
            self.outage.end();
        }
    }

    /// Ends the connection, and with it whatever is still to come of answers.
    pub(super) fn hang_up(&mut self) {
        self.connection = None;
    }

    /// An attempt failed: ends the connection, and sleeps before the next attempt.
    ///
    /// # Errors
    ///
    /// [`Error::GaveUp`] when patience is at its end.
    pub(super) fn failed(&mut self, trouble: Trouble) -> Result<(), Error> {
        self.hang_up();
        self.failing_since.get_or_insert_with(Instant::now);
        let left = self.patience_left();
        let hopeless = matches!(trouble, Trouble::Connect(connect::Error::Address));
        let address = &self.broker.address;
        if left.is_zero() || hopeless {
            return Err(Error::GaveUp { address: address.clone(), trouble });
        }
        let notice = Notice::Trouble { address, trouble: &trouble };
        self.outage.wait(left, || self.broker.notify(&notice));
        Ok(())
    }

    /// The error that says that the broker will not.
    pub(super) fn refused<E: From<Error>>(&self, topic: &str, code: u16, reason: String) -> E {
        let (address, topic) = (self.broker.address.clone(), topic.to_owned());
        Error::Refused { address, topic, code, reason }.into()
    }

    /// How long one attempt may take.
    fn attempt(&self) -> Duration {
        self.patience_left().clamp(ATTEMPT_MIN, ANSWER_TIMEOUT)
    }

    fn patience_left(&self) -> Duration {
        let Some(patience) = self.broker.patience else { return Duration::MAX };
        let failing = self.failing_since.map_or(Duration::ZERO, |since| since.elapsed());
        patience.saturating_sub(failing)
    }
}

/// What is said of a broker that says what it should not.
pub(super) const INVALID: Trouble = Trouble::Invalid("the answer is not one of a broker");

/// Bytes of the first line, with its end.
fn line_size(bytes: &[u8]) -> Option<usize> {
    // The standard library's own search for a byte, which is faster than a loop.
    let size = { bytes }.skip_until(b'\n').ok()?;
    bytes.get(..size)?.ends_with(b"\n").then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_with_its_line_end() {
        for (bytes, size) in
            [(&b""[..], None), (b"a", None), (b"\n", Some(1)), (b"ab\nc\n", Some(3))]
        {
            assert_eq!(line_size(bytes), size, "{bytes:?}");
        }
    }
}
