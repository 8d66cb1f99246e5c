//! The HTTP door: requests in, answers out, one connection at a time.
//!
//! All complete requests of the read buffer are handled together: publishes that follow one
//! another become one batch, and all answers leave with one write. A connection is closed after
//! any answer that was given before its request was wholly read (RFC 9112 §9.6).

mod answer;
mod events;
mod messages;
mod page;
mod route;
mod topics;

use self::answer::Answers;
use self::route::Route;
use super::{linger, publish};
use crate::batch::Batch;
use crate::broker::Broker;
use crate::refusal::Refusal;
use common::connection::{Connection, Error};
use common::http::chunked::Decoder;
use common::http::parse::{self, Body, Progress, Request};
use common::json;
use common::limits::{ANSWER_TIMEOUT, BODY_SIZE_MAX, BODY_TIMEOUT, HEAD_TIMEOUT, IDLE_TIMEOUT};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Answers are sent when so many bytes of them have come together.
const ANSWERS_SIZE: usize = 64 << 10;

/// Publishes that are appended under one lock.
const BATCH_MAX: usize = 1024;

/// Serves a connection on which the first bytes of a request have arrived.
pub(crate) fn serve(connection: Connection, broker: &Arc<Broker>) {
    let mut door =
        Door { connection, broker, used: 0, batch: Batch::default(), answers: Answers::default() };
    // The end of a connection needs no word: the client has left, or was told.
    let _ = door.run();
}

/// A connection of this door.
struct Door<'a> {
    connection: Connection,
    broker: &'a Arc<Broker>,
    /// Bytes at the front of the connection's buffer that were handled.
    used: usize,
    /// Publishes that were read and not yet appended. All of them keep the connection alive.
    batch: Batch,
    /// What was not yet sent; the answers of the batch come after it.
    answers: Answers,
}

/// The connection is over: the client is gone, or too slow, or was told all there is to say.
struct End;

/// What the front of the buffer holds.
enum Next {
    /// A request that is not a publish, or one that is refused.
    Request(Route, Manner),
    /// A publish, which is in the batch now.
    Publish(Manner),
    /// The beginning of a head.
    Partial,
    /// A whole head of this size, and not the whole body; whether the client waits for a word.
    Body { head_size: usize, body: Body, expects_continue: bool },
}

/// How a request is to be answered.
#[derive(Debug, Clone, Copy)]
struct Manner {
    /// `HEAD`: the answer's head alone.
    head_only: bool,
    keep_alive: bool,
}

impl Door<'_> {
    fn run(&mut self) -> Result<(), End> {
        let mut head_begun = Instant::now();
        loop {
            let next = match self.next() {
                Ok(Next::Body { head_size, body, expects_continue }) => {
                    self.flush()?;
                    match self.gather(head_size, body, expects_continue)? {
                        Ok((head, body)) => match parse::request(&head) {
                            Ok(Progress::Complete { value, .. }) => {
                                take(&value, &body, &mut self.batch, self.broker.message_size_max)
                            }
                            // It was complete before it was copied.
                            _ => return Err(End),
                        },
                        Err(refusal) => return self.refuse(&refusal),
                    }
                }
                Ok(next) => next,
                Err(refusal) => return self.refuse(&refusal),
            };
            let keep_alive = match next {
                Next::Publish(manner) => {
                    if !manner.keep_alive || self.batch.publishes.len() >= BATCH_MAX {
                        self.append(manner.keep_alive)?;
                    }
                    manner.keep_alive
                }
                Next::Request(route, manner) => {
                    self.append(true)?;
                    self.act(route, manner)?;
                    manner.keep_alive
                }
                Next::Partial | Next::Body { .. } => {
                    self.await_head(&mut head_begun)?;
                    continue;
                }
            };
            if !keep_alive {
                self.flush()?;
                return self.finish();
            }
            if self.answers.size() >= ANSWERS_SIZE {
                self.send()?;
            }
            head_begun = Instant::now();
        }
    }

    /// Looks at the front of the buffer, and uses it up where it is a whole request.
    ///
    /// # Errors
    ///
    /// A refusal after which the connection has to be closed.
    fn next(&mut self) -> Result<Next, Refusal> {
        let input = self.connection.buffered().get(self.used..).unwrap_or_default();
        let (request, head_size) = match parse::request(input).map_err(Refusal::Http)? {
            Progress::Partial => return Ok(Next::Partial),
            Progress::Complete { value, size } => (value, size),
        };
        route::admit(&request)?;
        let after_head = input.get(head_size..).unwrap_or_default();
        let body = match request.body {
            Body::None | Body::UntilClose => Some(&[][..]),
            Body::Sized(size) => after_head.get(..route::body_size(size)?),
            Body::Chunked => None,
        };
        if let Some(body) = body {
            self.used += head_size + body.len();
            return Ok(take(&request, body, &mut self.batch, self.broker.message_size_max));
        }
        // What is refused is refused before the body is awaited.
        route::of(&request)?;
        let (body, expects_continue) = (request.body, request.expects_continue);
        Ok(Next::Body { head_size, body, expects_continue })
    }

    /// Waits for a body that has not wholly arrived; gives the request's head and its body.
    fn gather(
        &mut self,
        head_size: usize,
        body: Body,
        expects_continue: bool,
    ) -> Result<Result<(Vec<u8>, Vec<u8>), Refusal>, End> {
        let head = self.connection.buffered().get(..head_size).unwrap_or_default().to_vec();
        self.connection.consume(head_size);
        let deadline = Instant::now() + BODY_TIMEOUT;
        if expects_continue && self.connection.buffered().is_empty() {
            let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
            self.connection.write_all(interim, Some(deadline)).map_err(|_| End)?;
        }
        let mut gathered = Vec::new();
        let mut decoder = Decoder::new(BODY_SIZE_MAX as u64);
        loop {
            let input = self.connection.buffered();
            let (consumed, finished) = match body {
                Body::Sized(size) => {
                    let missing = size - gathered.len() as u64;
                    let taken = input.len().min(usize::try_from(missing).unwrap_or(usize::MAX));
                    gathered.extend_from_slice(input.get(..taken).unwrap_or_default());
                    (taken, taken as u64 == missing)
                }
                Body::Chunked => match decoder.decode(input, &mut gathered) {
                    Ok(decoded) => (decoded.consumed, decoded.finished),
                    Err(error) => return Ok(Err(Refusal::Chunked(error))),
                },
                Body::None | Body::UntilClose => (0, true),
            };
            self.connection.consume(consumed);
            if finished {
                return Ok(Ok((head, gathered)));
            }
            self.fill("body of the request", BODY_TIMEOUT, deadline)?;
        }
    }

    /// Sends what is ready and waits for more of a head.
    fn await_head(&mut self, head_begun: &mut Instant) -> Result<(), End> {
        self.flush()?;
        if !self.connection.buffered().is_empty() {
            return self.fill("head of the request", HEAD_TIMEOUT, *head_begun + HEAD_TIMEOUT);
        }
        match self.connection.fill(Some(Instant::now() + IDLE_TIMEOUT)) {
            Ok(size) if size > 0 => {
                *head_begun = Instant::now();
                Ok(())
            }
            // An idle connection is closed without a word.
            _ => Err(End),
        }
    }

    /// Reads more of something that has to be whole by `deadline`.
    fn fill(
        &mut self,
        what: &'static str,
        timeout: Duration,
        deadline: Instant,
    ) -> Result<(), End> {
        match self.connection.fill(Some(deadline)) {
            Ok(size) if size > 0 => Ok(()),
            Err(Error::TimedOut) => {
                self.refuse(&Refusal::TooSlow { what, seconds: timeout.as_secs() })?;
                Err(End)
            }
            _ => Err(End),
        }
    }

    /// Does what a request asks, and writes its answer.
    fn act(&mut self, route: Route, manner: Manner) -> Result<(), End> {
        match route {
            Route::Refuse(refusal) => self.answers.refusal(&refusal, &[], manner),
            Route::Page => self.page(manner),
            Route::Alive => self.answers.text("ok\n", manner),
            Route::Options { allow } => self.answers.options(allow, manner),
            Route::Messages(query) => self.messages(&query, manner)?,
            Route::Events(query) => self.events(&query, manner)?,
            Route::Topics(call) => self.topics(&call, manner)?,
            // These are in the batch.
            Route::Publish | Route::Lines { .. } => {}
        }
        Ok(())
    }

    /// Appends what is in the batch, sends its answers, and then tells those who wait.
    fn append(&mut self, keep_alive: bool) -> Result<(), End> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let outcomes = self.broker.publish(&mut self.batch);
        let durable = self.broker.topics.is_durable();
        let last = outcomes.len().saturating_sub(1);
        for (index, (publish, outcome)) in self.batch.publishes.iter().zip(&outcomes).enumerate() {
            let keep_alive = keep_alive || index < last;
            let manner = Manner { head_only: false, keep_alive };
            self.answers.publish(&publish.topic, outcome, durable, manner);
        }
        let sent = self.send();
        self.broker.announce_batch(&self.batch);
        self.batch.clear();
        sent
    }

    /// Appends and sends all there is, and forgets the bytes that were used.
    fn flush(&mut self) -> Result<(), End> {
        self.append(true)?;
        self.send()?;
        self.connection.consume(self.used);
        self.used = 0;
        Ok(())
    }

    fn send(&mut self) -> Result<(), End> {
        let bytes = self.answers.bytes();
        if bytes.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        let sent = self.connection.write_all(bytes, Some(deadline));
        self.answers.clear();
        sent.map_err(|_| End)
    }

    /// Answers with a refusal and ends the connection.
    fn refuse(&mut self, refusal: &Refusal) -> Result<(), End> {
        self.append(true)?;
        let manner = Manner { head_only: false, keep_alive: false };
        self.answers.refusal(refusal, &[], manner);
        self.send()?;
        self.finish()
    }

    /// Ends the connection in stages (RFC 9112 §9.6).
    fn finish(&mut self) -> Result<(), End> {
        linger(&mut self.connection);
        Ok(())
    }
}

/// Takes a whole request: a publish goes into the batch, anything else is routed.
fn take(request: &Request<'_>, body: &[u8], batch: &mut Batch, message_size_max: usize) -> Next {
    let manner = Manner { head_only: request.method == "HEAD", keep_alive: request.keep_alive };
    let route = route::of(request).and_then(|route| {
        match &route {
            Route::Publish => {
                let object = json::parse(body).map_err(Refusal::Json)?;
                publish::add(&object, "topic", batch, message_size_max)?;
            }
            Route::Lines { topic } => topics::read_lines(topic, body, batch, message_size_max)?,
            _ => {}
        }
        Ok(route)
    });
    match route {
        Ok(Route::Publish | Route::Lines { .. }) => Next::Publish(manner),
        Ok(route) => Next::Request(route, manner),
        Err(refusal) => Next::Request(Route::Refuse(refusal), manner),
    }
}
