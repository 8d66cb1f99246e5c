//! A connection to the broker that is made when it is needed, and again after it failed.
//!
//! # Not here
//!
//! Sending commands again that were lost with a connection: only the caller knows them.

use super::{ATTEMPT_MIN, Broker, Error, Failure, Outage, Refusal, read_answer};
use crate::connect::{CONNECT_TIMEOUT, connect};
use crate::connection::Connection;
use crate::http::client::CLOSED;
use crate::json::{self, Object, Value};
use crate::limits::{ANSWER_SIZE_MAX, ANSWER_TIMEOUT, allowance};
use crate::retry::repeat;
use crate::trouble::Trouble;
use std::io::BufRead;
use std::time::{Duration, Instant};

/// The way to one broker.
#[derive(Debug)]
pub(super) struct Link {
    connection: Option<Connection>,
    /// How many bytes of an unfinished line were searched for its end.
    looked: usize,
    pub(super) outage: Outage,
    /// How long the broker may take for an answer.
    pub(super) answer_timeout: Duration,
}

impl Link {
    pub(super) fn new(broker: Broker) -> Link {
        let (outage, answer_timeout) = (Outage::new(broker), ANSWER_TIMEOUT);
        Link { connection: None, looked: 0, outage, answer_timeout }
    }

    pub(super) fn broker(&self) -> &Broker {
        self.outage.broker()
    }

    pub(super) fn is_open(&self) -> bool {
        self.connection.is_some()
    }

    /// Connects if there is no connection, by the deadline or a little later. True if the
    /// connection is new.
    pub(super) fn open(&mut self, deadline: Option<Instant>) -> Result<bool, Failure> {
        if self.is_open() {
            return Ok(false);
        }
        let left = deadline.map_or(Duration::MAX, |deadline| {
            deadline.saturating_duration_since(Instant::now()).max(ATTEMPT_MIN)
        });
        let timeout = CONNECT_TIMEOUT.min(self.attempt_timeout()).min(left);
        self.connection = Some(connect(&self.broker().address, timeout)?);
        self.looked = 0;
        if let Some(token) = &self.broker().token {
            let mut command = Vec::new();
            Object::new(&mut command).field("command", "auth").field("token", token).end_line();
            self.send(&command)?;
            let patience = self.attempt_timeout().min(left);
            if let Err(refusal) = self.judgement(|_| Some(()), patience)? {
                return Err(self.broker().refused("", refusal).into());
            }
        }
        Ok(true)
    }

    /// Gives a command until it is answered, and reads the answer as [`answer`](Link::answer) does.
    pub(super) fn ask<T>(
        &mut self,
        command: &[u8],
        read: impl Fn(&Value<'_>) -> Option<T>,
    ) -> Result<Result<T, Refusal>, Error> {
        repeat(self, Link::failed, |link| {
            link.open(None)?;
            link.send(command)?;
            Ok(link.answer(command.len(), &read)?)
        })
    }

    /// Sends bytes. After any error the connection cannot be used any more.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let deadline = Instant::now() + self.attempt_timeout() + allowance(bytes.len());
        let connection = self.connection.as_mut().ok_or(Trouble::Invalid(CLOSED))?;
        connection.write_all(bytes, Some(deadline))
    }

    /// Waits for the answer to a command of `size` bytes, which may still be on their way. `read`
    /// takes the result out of a success. Any answer ends the outage, a refusal too.
    pub(super) fn answer<T>(
        &mut self,
        size: usize,
        read: impl Fn(&Value<'_>) -> Option<T>,
    ) -> Result<Result<T, Refusal>, Trouble> {
        let patience = self.attempt_timeout() + allowance(size);
        let answer = self.judgement(read, patience)?;
        self.outage.succeeded();
        Ok(answer)
    }

    /// The same within `patience`, but the outage goes on. An answer that says "not now" counts as
    /// a failure. After any error the connection cannot be used any more.
    fn judgement<T>(
        &mut self,
        read: impl Fn(&Value<'_>) -> Option<T>,
        patience: Duration,
    ) -> Result<Result<T, Refusal>, Trouble> {
        let deadline = Instant::now() + patience;
        let size = loop {
            match self.line_size() {
                Some(size) => break size,
                None => self.fill(deadline)?,
            }
        };
        let line = self.take(size);
        match json::parse(line).ok().and_then(read_answer) {
            Some(Ok(value)) => read(&value).map(Ok).ok_or(INVALID),
            Some(Err(refusal)) if refusal.is_passing() => Err(Trouble::Answer(refusal.reason)),
            Some(Err(refusal)) => Ok(Err(refusal)),
            None => Err(invalid(line)),
        }
    }

    /// The size of the next line, with its end, if all of it has arrived.
    pub(super) fn line_size(&mut self) -> Option<usize> {
        let input = self.connection.as_ref()?.buffered();
        let size = input.get(self.looked..).and_then(line_size);
        let size = size.map(|size| self.looked + size);
        self.looked = if size.is_some() { 0 } else { input.len() };
        size
    }

    /// Takes bytes that have arrived.
    pub(super) fn take(&mut self, size: usize) -> &[u8] {
        self.connection.as_mut().map(|connection| connection.take(size)).unwrap_or_default()
    }

    /// Waits for bytes until the deadline. After any error but a passed deadline, the connection
    /// cannot be used any more.
    pub(super) fn fill(&mut self, deadline: Instant) -> Result<(), Trouble> {
        let connection = self.connection.as_mut().ok_or(Trouble::Invalid(CLOSED))?;
        if connection.buffered().len() > ANSWER_SIZE_MAX {
            return Err(INVALID);
        }
        match connection.fill(Some(deadline))? {
            0 => Err(Trouble::Invalid(CLOSED)),
            _ => Ok(()),
        }
    }

    /// How long the broker may take for the next answer.
    fn attempt_timeout(&mut self) -> Duration {
        self.outage.attempt_timeout().min(self.answer_timeout)
    }

    /// Ends the connection. Answers that have not arrived are lost.
    pub(super) fn hang_up(&mut self) {
        self.connection = None;
    }

    /// An attempt failed: ends the connection, and sleeps before the next attempt.
    ///
    /// # Errors
    ///
    /// [`Error::GaveUp`] when the patience is over.
    pub(super) fn failed(&mut self, trouble: Trouble) -> Result<(), Error> {
        self.hang_up();
        self.outage.failed(trouble)
    }
}

/// The answer is not one that a broker gives.
pub(super) const INVALID: Trouble = Trouble::Invalid("the answer is not one of a broker");

/// The trouble with a line that no broker writes.
pub(super) fn invalid(line: &[u8]) -> Trouble {
    // The head of an HTTP answer, or a page that says what was wrong with the request.
    if line.starts_with(b"HTTP/") || line.starts_with(b"<") { Trouble::NoSessions } else { INVALID }
}

/// Bytes of the first line, with its end.
fn line_size(bytes: &[u8]) -> Option<usize> {
    // The standard library's own search for a byte, which is faster than a loop.
    let size = { bytes }.skip_until(b'\n').ok()?;
    bytes.get(..size)?.ends_with(b"\n").then_some(size)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{READ, broker};
    use super::super::{Publisher, Start, Subscriber};
    use super::*;

    #[test]
    fn a_broker_that_does_not_answer_is_left_and_asked_again() {
        const DONE: &str = r#"{"status":"success","message":"m","next":0,"offset":0,"durable":true,"stream":"00000000000000aa"}"#;
        // Over the first connection, it reads until the client has ended it. On a busy machine,
        // some of the other answers may come too late.
        let mut scripts = [&[READ, DONE] as &[&str]; 100];
        scripts[0] = &[READ, READ];
        let at = || broker(&scripts).0;
        let timeout = Duration::from_millis(50);

        let mut publisher = Publisher::new(at());
        publisher.link.answer_timeout = timeout;
        assert_eq!(publisher.publish("t", "a").unwrap().offset, Some(0));

        let mut subscriber = Subscriber::new(at());
        subscriber.link.answer_timeout = timeout;
        subscriber.subscribe("t", Start::Now).unwrap();
        assert_eq!(subscriber.cursor("t").unwrap().next, 0);
    }

    #[test]
    fn a_line_ends_with_its_line_end() {
        for (bytes, size) in
            [(&b""[..], None), (b"a", None), (b"\n", Some(1)), (b"ab\nc\n", Some(3))]
        {
            assert_eq!(line_size(bytes), size, "{bytes:?}");
        }
    }
}
