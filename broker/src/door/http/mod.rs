//! The HTTP door: reads requests and writes answers, one connection at a time.
//!
//! All complete requests of the read buffer are handled together: successive publishes become one
//! batch, and all answers are sent with one write. If a request is answered before it was read
//! completely, its connection is closed (RFC 9112 §9.6).

mod answer;
mod events;
mod head;
mod messages;
mod metrics;
mod page;
mod route;
mod subscribers;
mod topics;

use self::answer::{Answers, Head, Type};
use self::route::{Route, TopicsCall};
use super::authentication::Guesses;
use super::publish::{self, BATCH_MAX};
use super::{ANSWERS_SIZE, linger};
use crate::access::{Client, Grant};
use crate::activity::Activity;
use crate::broker::Broker;
use crate::refusal::Refusal;
use crate::server::input_budget::{self, DocumentSize, Share};
use crate::store::batch::Batch;
use crate::store::stream::Extent;
use common::connection::Connection;
use common::deadline::ProgressDeadline;
use common::http::chunked::Decoder;
use common::http::parse::{self, Body, Progress, Request};
use common::json;
use common::limits::{BODY_SIZE_MAX, LOOK_INTERVAL};
use common::trouble::Trouble;
use std::mem;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

/// Serves a connection on which the first bytes of a request arrived at `begun`.
#[inline(never)] // For the stack's sake: see `door::serve`.
pub(crate) fn serve(
    connection: Connection,
    activity: Arc<Activity>,
    broker: &Arc<Broker>,
    begun: Instant,
) {
    let answers = Answers::new(broker.access.origins.vary());
    let (batch, guesses) = (Batch::default(), Guesses::ALL);
    let grant = Grant::EVERYTHING;
    let client = Client::of(connection.stream());
    let mut door =
        Door { connection, activity, broker, used: 0, batch, answers, client, guesses, grant };
    // The end of a connection needs no word: the client has left, or was told.
    let _ = door.run(begun);
}

/// An answer to a client that is not served: a refusal, or that the process is alive.
pub(crate) fn lone_answer(refusal: Option<&Refusal>, head_only: bool) -> Vec<u8> {
    let mut answers = Answers::new(false);
    let manner = Manner { head_only, keep_alive: false, ..Manner::PLAIN };
    match refusal {
        Some(refusal) => answers.problem(refusal, None, manner),
        None => answers.content(200, Type::Text, ALIVE, manner),
    }
    answers.bytes().to_vec()
}

/// A connection of this door.
struct Door<'a> {
    connection: Connection,
    activity: Arc<Activity>,
    broker: &'a Arc<Broker>,
    /// Bytes at the front of the connection's buffer that were handled.
    used: usize,
    /// Publishes that were read and not yet appended. All but the last are answered in the
    /// plain manner.
    batch: Batch,
    /// What was not yet sent; the answers of the batch come after it.
    answers: Answers,
    client: Client,
    guesses: Guesses,
    /// What the client may do, by the token of the last request.
    grant: Grant,
}

/// What is said of a process that is there.
const ALIVE: &[u8] = b"ok\n";

/// The connection is over: the client is gone, or too slow, or was told all there is to say.
struct End;

/// What the front of the buffer holds.
enum Next<'a> {
    /// A request that is not a publish, or one that is refused.
    Request(Route, Manner<'a>),
    /// A publish, which is in the batch now.
    Publish(Manner<'a>),
    /// The beginning of a head.
    Partial,
    /// A whole head, and not the whole body.
    Body(Unfinished<'a>),
    /// Something after which the connection has to be closed.
    Close(Refusal, Manner<'a>),
}

/// A request whose body has not wholly arrived.
struct Unfinished<'a> {
    route: Route,
    head_size: usize,
    body: Body,
    /// Whether the client waits for a word before it sends the body.
    expects_continue: bool,
    manner: Manner<'a>,
}

/// How a request is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Manner<'a> {
    /// `HEAD`: the answer's head alone.
    head_only: bool,
    keep_alive: bool,
    /// Whether the client knows the chunked transfer coding.
    chunked: bool,
    /// What the answer says of the origins that may read it, where the request came from one.
    origin: Option<&'a str>,
}

impl Manner<'_> {
    /// With the body, on a connection that goes on, to a program that is no browser.
    const PLAIN: Manner<'static> =
        Manner { head_only: false, keep_alive: true, chunked: true, origin: None };

    fn of(request: &Request<'_>) -> Manner<'static> {
        Manner {
            head_only: request.method == "HEAD",
            keep_alive: request.keep_alive,
            chunked: request.minor_version > 0,
            ..Manner::PLAIN
        }
    }
}

impl<'a> Door<'a> {
    fn run(&mut self, begun: Instant) -> Result<(), End> {
        let mut head_begun = begun;
        loop {
            let next = match self.next() {
                Next::Body(unfinished) => self.gather(unfinished)?,
                next => next,
            };
            let manner = match next {
                Next::Publish(manner) => {
                    // What only the last of a batch can be is answered at once.
                    if manner != Manner::PLAIN || self.batch.publishes.len() >= BATCH_MAX {
                        self.append(manner)?;
                    }
                    manner
                }
                Next::Request(route, manner) => {
                    self.append(Manner::PLAIN)?;
                    if let Route::Refuse(refusal) = &route
                        && refusal.is_guess()
                    {
                        self.send()?;
                        self.guesses.count();
                        if self.guesses.are_used_up() {
                            return self.refuse(refusal, manner);
                        }
                    }
                    self.act(route, manner)?;
                    manner
                }
                Next::Partial | Next::Body(_) => {
                    self.await_head(&mut head_begun)?;
                    continue;
                }
                Next::Close(refusal, manner) => {
                    if refusal.is_guess() {
                        self.guesses.count();
                    }
                    return self.refuse(&refusal, manner);
                }
            };
            if !manner.keep_alive {
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
    fn next(&mut self) -> Next<'a> {
        let broker: &'a Broker = self.broker;
        let input = self.connection.buffered().get(self.used..).unwrap_or_default();
        let (request, head_size) = match parse::request(input) {
            Ok(Progress::Complete { value, size }) => (value, size),
            Ok(Progress::Partial) => return Next::Partial,
            Err(error) => {
                // No answer to `HEAD` has a body, whatever is wrong with the rest of the head.
                let head_only = input.trim_ascii_start().starts_with(b"HEAD ");
                return Next::Close(Refusal::Http(error), Manner { head_only, ..Manner::PLAIN });
            }
        };
        let mut manner = Manner::of(&request);
        let deny = |refusal: &Refusal| broker.log.denied(request.method, request.path, refusal);
        if let Err(refusal) = head::check_address(&request, &broker.access) {
            deny(&refusal);
            return Next::Close(refusal, manner);
        }
        let admitted = head::check_origin(&request, &broker.access).and_then(|origin| {
            manner.origin = origin;
            head::check_token(&request, &broker.access, &mut self.client)
        });
        let admitted = admitted.inspect_err(deny);
        let after_head = input.get(head_size..).unwrap_or_default();
        let body = match request.body {
            Body::None | Body::UntilClose => Some(&[][..]),
            Body::Sized(size) => match route::body_size(size) {
                Ok(size) => after_head.get(..size),
                Err(refusal) => return Next::Close(admitted.err().unwrap_or(refusal), manner),
            },
            Body::Chunked => None,
        };
        let route = admitted.and_then(|grant| {
            let route = route::of(&request).and_then(|route| route.permit(&grant))?;
            self.grant = grant;
            Ok(route)
        });
        if let Err(refusal @ Refusal::Forbidden { .. }) = &route {
            deny(refusal);
        }
        match (body, route) {
            (Some(body), Ok(route)) => {
                self.used += head_size + body.len();
                let mut share = broker.input_budget.share();
                take(route, body, manner, &mut self.batch, broker, &mut share, &self.grant)
            }
            (Some(body), Err(refusal)) => {
                self.used += head_size + body.len();
                Next::Request(Route::Refuse(refusal), manner)
            }
            (None, Ok(route)) => {
                let Request { body, expects_continue, .. } = request;
                Next::Body(Unfinished { route, head_size, body, expects_continue, manner })
            }
            // What is refused is refused before its body is awaited.
            (None, Err(refusal)) => Next::Close(refusal, manner),
        }
    }

    /// Reads the rest of a body, and takes the request then.
    fn gather(&mut self, unfinished: Unfinished<'a>) -> Result<Next<'a>, End> {
        self.flush()?;
        let Unfinished { route, head_size, body, expects_continue, manner } = unfinished;
        self.connection.consume(head_size);
        let mut share = self.broker.input_budget.share();
        if let Body::Sized(size) = body
            && let Err(refusal) = share.grow(usize::try_from(size).unwrap_or(usize::MAX))
        {
            return Ok(Next::Close(refusal, manner));
        }
        let timeout = self.broker.timeouts.body;
        let mut deadline = ProgressDeadline::new(timeout);
        if expects_continue && self.connection.buffered().is_empty() {
            let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
            self.connection.write_all(interim, Some(deadline.at())).map_err(|_| End)?;
        }
        // What was promised in one piece gets its memory in one piece (row `bulk` of the
        // benchmark); the system hands it out as it is written to.
        let promised = if let Body::Sized(size) = body { size } else { 0 };
        let mut gathered = Vec::with_capacity(usize::try_from(promised).unwrap_or(0));
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
                    Err(error) => return Ok(Next::Close(Refusal::Http(error), manner)),
                },
                Body::None | Body::UntilClose => (0, true),
            };
            self.connection.consume(consumed);
            if let Err(refusal) = share.grow(gathered.len()) {
                return Ok(Next::Close(refusal, manner));
            }
            if finished {
                break;
            }
            let seconds = timeout.as_secs();
            let refusal = Refusal::NoProgress { what: "body of the request", seconds };
            let size = self.fill(deadline.at(), &refusal, manner)?;
            deadline.progressed(size);
        }
        let Door { batch, broker, grant, .. } = self;
        Ok(take(route, &gathered, manner, batch, broker, &mut share, grant))
    }

    /// Sends what is ready and waits for more of a head.
    fn await_head(&mut self, head_begun: &mut Instant) -> Result<(), End> {
        self.flush()?;
        let timeouts = self.broker.timeouts;
        if !self.connection.buffered().is_empty() {
            let deadline = *head_begun + timeouts.head;
            let refusal = Refusal::HeadTimeout { seconds: timeouts.head.as_secs() };
            return self.fill(deadline, &refusal, Manner::PLAIN).map(drop);
        }
        match self.connection.fill(Some(Instant::now() + timeouts.idle)) {
            Ok(size) if size > 0 => {
                *head_begun = Instant::now();
                Ok(())
            }
            // An idle connection is closed without a word.
            _ => Err(End),
        }
    }

    /// Reads more of something, and refuses it where nothing comes until the deadline. Gives how
    /// many bytes came.
    fn fill(
        &mut self,
        deadline: Instant,
        refusal: &Refusal,
        manner: Manner<'_>,
    ) -> Result<usize, End> {
        match self.connection.fill(Some(deadline)) {
            Ok(size) if size > 0 => Ok(size),
            Err(Trouble::TimedOut) => {
                self.refuse(refusal, manner)?;
                Err(End)
            }
            _ => Err(End),
        }
    }

    /// Does what a request asks, and writes its answer.
    fn act(&mut self, route: Route, manner: Manner<'_>) -> Result<(), End> {
        match route {
            Route::Refuse(refusal) => self.decline(&refusal, None, manner),
            Route::Ready => match self.broker.push.topics.check_ready() {
                Ok(()) => self.answers.content(200, Type::Text, ALIVE, manner),
                Err(refusal) => self.decline(&refusal, None, manner),
            },
            Route::Page => {
                let kind = Some((Type::Html, None));
                let fields = &page::FIELDS;
                let head = Head { status: 200, body: kind, extent: None, fields };
                self.answers.whole(head, page::PAGE.as_bytes(), manner);
            }
            Route::Metrics => {
                let text = metrics::text(self.broker, &self.grant);
                self.answers.content(200, Type::Metrics, text.as_bytes(), manner);
            }
            Route::Alive => self.answers.content(200, Type::Text, ALIVE, manner),
            Route::Options { allow, .. } => self.answers.options(&allow, manner),
            Route::Messages(query) => self.messages(&query, manner)?,
            Route::Events(query) => self.events(&query, manner)?,
            Route::Topics(call) => self.topics(&call, manner)?,
            Route::Subscribers(call) => self.subscribers(&call, manner)?,
            // These are in the batch.
            Route::Publish | Route::Lines { .. } => {}
        }
        Ok(())
    }

    /// Appends what is in the batch, sends its answers, and then tells those who wait. `last` is
    /// how the last publish is answered.
    fn append(&mut self, last: Manner<'_>) -> Result<(), End> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let mut batch = mem::take(&mut self.batch);
        let outcomes = self.broker.publish(&mut batch);
        let mut sent = Ok(());
        for (index, (publish, outcome)) in batch.publishes.iter().zip(&outcomes).enumerate() {
            let is_last = index + 1 == outcomes.len();
            let manner = if is_last { last } else { Manner::PLAIN };
            self.answers.publish(&publish.topic, outcome, manner);
            if self.answers.size() >= ANSWERS_SIZE {
                sent = sent.and_then(|()| self.send());
            }
        }
        let sent = sent.and_then(|()| self.send());
        self.broker.push.announce_batch(&batch);
        batch.clear();
        self.batch = batch;
        sent
    }

    /// Appends and sends all there is, and forgets the bytes that were used.
    fn flush(&mut self) -> Result<(), End> {
        self.append(Manner::PLAIN)?;
        self.send()?;
        self.connection.consume(self.used);
        self.used = 0;
        Ok(())
    }

    /// Sends the answers, for as long as the client goes on taking them. The system takes them in
    /// large steps, minutes apart where the client is slow: so what counts is what its
    /// system has acknowledged.
    fn send(&mut self) -> Result<(), End> {
        if self.answers.size() >= ANSWERS_SIZE {
            // Others get the processor first: with hundreds of long answers, a publisher would wait
            // behind all of them.
            thread::yield_now();
        }
        let Door { connection, broker, answers, .. } = self;
        let mut rest = answers.bytes();
        let mut deadline = ProgressDeadline::new(broker.timeouts.answer);
        let mut queued = None;
        while !rest.is_empty() {
            let look = deadline.at().min(Instant::now() + LOOK_INTERVAL);
            let size = match connection.write(rest, Some(look)) {
                Ok(size) => size,
                Err(Trouble::TimedOut) => 0,
                Err(_) => return Err(End),
            };
            rest = rest.get(size..).unwrap_or_default();
            if size > 0 && queued.is_none() {
                deadline.progressed(size);
                continue;
            }
            // It is full, or was.
            let now = broker.tcp_table.queued(connection.stream());
            if let Some(before) = queued.replace(now) {
                deadline.progressed((before + size).saturating_sub(now));
            }
            if Instant::now() >= deadline.at() {
                return Err(End);
            }
        }
        answers.clear();
        Ok(())
    }

    /// Answers with a body that `write` appends to piece by piece, for as long as it says that
    /// there is more. A short one says its size.
    fn body(
        &mut self,
        head: Head<'_>,
        manner: Manner<'_>,
        mut write: impl FnMut(&mut Vec<u8>) -> Result<bool, End>,
    ) -> Result<(), End> {
        let mut piece = Vec::new();
        let mut has_more = write(&mut piece)?;
        if !has_more {
            self.answers.whole(head, &piece, manner);
            return Ok(());
        }
        self.answers.head(head, manner);
        if manner.head_only {
            return Ok(());
        }
        loop {
            if !piece.is_empty() {
                self.answers.part(&piece, manner);
                self.send()?;
            }
            if !has_more {
                self.answers.part(&[], manner);
                return Ok(());
            }
            piece.clear();
            has_more = write(&mut piece)?;
        }
    }

    /// Answers with a refusal of anything but a publish that was tried, which is counted where it
    /// is tried; and says where the topic begins and ends that it is about.
    fn decline(&mut self, refusal: &Refusal, extent: Option<Extent>, manner: Manner<'_>) {
        self.broker.metrics.refused(refusal.status());
        self.answers.problem(refusal, extent, manner);
    }

    /// Answers with a refusal and ends the connection.
    fn refuse(&mut self, refusal: &Refusal, manner: Manner<'_>) -> Result<(), End> {
        self.append(Manner::PLAIN)?;
        self.decline(refusal, None, Manner { keep_alive: false, ..manner });
        self.send()?;
        self.finish()
    }

    /// Ends the connection in stages (RFC 9112 §9.6).
    fn finish(&mut self) -> Result<(), End> {
        linger(&mut self.connection);
        Ok(())
    }
}

/// Takes a whole request: a publish goes into the batch. What a large body becomes on the way is on
/// the same account as the body.
fn take<'a>(
    mut route: Route,
    body: &[u8],
    manner: Manner<'a>,
    batch: &mut Batch,
    broker: &Broker,
    share: &mut Share<'_>,
    grant: &Grant,
) -> Next<'a> {
    let size_max = broker.message_size_max;
    let added = match &mut route {
        Route::Publish => share.grow(DocumentSize::default().of(body)).and_then(|()| {
            let object = json::parse(body).map_err(Refusal::Json)?;
            publish::add(&object, "topic", batch, size_max, grant)
        }),
        Route::Lines { topic, is_whole: true } => share
            .grow(DocumentSize::default().of(body))
            .and_then(|()| topics::read_whole(topic, body, batch, size_max)),
        Route::Lines { topic, .. } => share
            .grow(input_budget::lines_size(body))
            .and_then(|()| topics::read_lines(topic, body, batch, size_max)),
        // Nothing may be taken and dropped as if it had been stored.
        Route::Topics(TopicsCall::Create(_, change)) if !body.is_empty() => {
            match topics::read_bounds(body) {
                Ok(bounds) => {
                    *change = bounds;
                    return Next::Request(route, manner);
                }
                Err(refusal) => Err(refusal),
            }
        }
        _ if !body.is_empty() => Err(Refusal::UnusedBody),
        _ => return Next::Request(route, manner),
    };
    match added {
        Ok(()) if matches!(route, Route::Topics(_)) => Next::Request(route, manner),
        Ok(()) => Next::Publish(manner),
        Err(refusal) => Next::Request(Route::Refuse(refusal), manner),
    }
}
