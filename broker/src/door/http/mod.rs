//! The HTTP door: reads requests and writes answers, one connection at a time.
//!
//! All complete requests of the read buffer are handled together: successive publishes become one
//! batch, and all answers are sent with one write. If a request is answered before it was read
//! completely, its connection is closed (RFC 9112 §9.6).

mod answer;
mod body;
mod events;
mod head;
mod messages;
mod metrics;
mod page;
mod route;
mod subscribers;
mod topics;

use self::answer::{Answers, Head, JSON, Manner, TEXT};
use self::body::Unfinished;
use self::route::Route;
use super::authentication::Guesses;
use super::publish::{self, BATCH_MAX};
use super::{ANSWERS_SIZE, linger};
use crate::access::{Client, Grant};
use crate::activity::Activity;
use crate::broker::Broker;
use crate::home::TopicChange;
use crate::refusal::Refusal;
use crate::server::input_budget::{DocumentSize, Share, lines_size};
use crate::store::batch::Batch;
use crate::store::stream::Extent;
use common::connection::Connection;
use common::deadline::ProgressDeadline;
use common::http::parse::{self, Body, Progress, Request};
use common::json::{self, Array, Charset};
use common::limits::LOOK_INTERVAL;
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
    let mut door = Door {
        client: Client::of(connection.stream()),
        connection,
        activity,
        broker,
        used: 0,
        batch: Batch::default(),
        answers: Answers::new(broker.access.origins.vary()),
        guesses: Guesses::ALL,
        grant: Grant::EVERYTHING,
    };
    // The end of a connection needs no word: the client has left, or was told.
    let _ = door.run(begun);
}

/// An answer to a client that is not served: a refusal, or that the process is alive.
pub(crate) fn lone_answer(refusal: Option<&Refusal>, head_only: bool) -> Vec<u8> {
    let mut answers = Answers::new(false);
    let manner = Manner { head_only, keep_alive: false, ..Manner::PLAIN };
    match refusal {
        Some(refusal) => answers.problem(refusal, None, manner),
        None => answers.content(200, TEXT, ALIVE, manner),
    }
    answers.bytes
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
    /// A refusal after which the connection is closed.
    Close(Refusal, Manner<'a>),
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
                    self.act(&route, manner)?;
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
            if self.answers.bytes.len() >= ANSWERS_SIZE {
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
        let origin = broker.access.check_origin(request.fields.get("Origin"), request.authority);
        let admitted = origin.and_then(|origin| {
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
    fn act(&mut self, route: &Route, manner: Manner<'_>) -> Result<(), End> {
        match route {
            Route::Messages(query) => self.messages(query, manner)?,
            Route::Events(query) => self.events(query, manner)?,
            Route::List(pattern) => self.list_topics(pattern.as_ref(), manner)?,
            Route::Subscribers { subscriber, topic } => {
                self.subscribers(subscriber, topic, manner)?;
            }
            Route::Page => self.answers.whole(page::HEAD, page::PAGE.as_bytes(), manner),
            Route::Metrics => {
                let text = metrics::text(self.broker, &self.grant);
                self.answers.content(200, metrics::TYPE, text.as_bytes(), manner);
            }
            Route::Alive => self.answers.content(200, TEXT, ALIVE, manner),
            Route::Options { allow, .. } => self.answers.options(allow, manner),
            _ => match (self.attempt(route, manner), route) {
                (Err(refusal), _) => self.decline(&refusal, None, manner),
                (Ok(()), Route::Delete(topic)) => {
                    // Those who follow the topic are told after whoever deleted it.
                    let sent = self.send();
                    self.broker.push.announce(topic);
                    sent?;
                }
                (Ok(()), _) => {}
            },
        }
        Ok(())
    }

    /// Does what may be refused, and writes its answer.
    fn attempt(&mut self, route: &Route, manner: Manner<'_>) -> Result<(), Refusal> {
        match route {
            Route::Refuse(refusal) => return Err(refusal.clone()),
            Route::Show(topic) => return self.show(topic, manner),
            Route::Create(topic, change) => return self.create(topic, change, manner),
            Route::Trim(topic, upto) => {
                self.broker.change(topic, &TopicChange::Trim(*upto))?;
                return self.show(topic, manner);
            }
            Route::Delete(topic) => self.delete(topic)?,
            Route::Forget { subscriber, topic } => self.forget(subscriber, topic)?,
            Route::Ready => {
                self.broker.homes.check_ready()?;
                self.answers.content(200, TEXT, ALIVE, manner);
                return Ok(());
            }
            // Publishes are in the batch, and the rest cannot be refused.
            _ => return Ok(()),
        }
        self.answers.head(Head { status: 204, ..Head::default() }, manner);
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
            if self.answers.bytes.len() >= ANSWERS_SIZE {
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
        if self.answers.bytes.len() >= ANSWERS_SIZE {
            // Others get the processor first: with hundreds of long answers, a publisher would wait
            // behind all of them.
            thread::yield_now();
        }
        let Door { connection, broker, answers, .. } = self;
        let mut rest = answers.bytes.as_slice();
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
        answers.bytes.clear();
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
        if let Some((_, Some(_))) = head.body {
            self.answers.head(head, manner);
            while !manner.head_only && write(&mut self.answers.bytes)? {
                self.send()?;
            }
            return Ok(());
        }
        let mut piece = Vec::new();
        let mut has_more = write(&mut piece)?;
        if !has_more {
            self.answers.whole(head, &piece, manner);
            return Ok(());
        }
        self.answers.head(head, manner);
        while has_more && !manner.head_only {
            self.answers.part(&piece, manner);
            self.send()?;
            piece.clear();
            has_more = write(&mut piece)?;
            if !has_more {
                self.answers.part(&piece, manner);
                self.answers.part(&[], manner);
            }
        }
        Ok(())
    }

    /// Answers with a list of items, each of which `write` adds.
    fn list<T>(
        &mut self,
        mut items: impl Iterator<Item = T>,
        manner: Manner<'_>,
        write: impl Fn(&mut Array<'_>, T),
    ) -> Result<(), End> {
        let head = Head { status: 200, body: Some((JSON, None)), ..Head::default() };
        let mut is_first = true;
        self.body(head, manner, |piece| {
            let list = match mem::take(&mut is_first) {
                true => Array::begin(piece, Charset::Utf8),
                false => Array::resume(piece, Charset::Utf8),
            };
            let mut list = list.of_lines();
            while list.size() < ANSWERS_SIZE {
                let Some(item) = items.next() else {
                    list.end_line();
                    return Ok(false);
                };
                write(&mut list, item);
            }
            Ok(true)
        })
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
    let taken = match &mut route {
        Route::Publish => share.grow(DocumentSize::default().of(body)).and_then(|()| {
            let object = json::parse(body).map_err(Refusal::Json)?;
            publish::add(&object, "topic", batch, size_max, grant)
        }),
        Route::Lines { topic, is_whole } => {
            let size = if *is_whole { DocumentSize::default().of(body) } else { lines_size(body) };
            let room = share.grow(size);
            room.and_then(|()| topics::read_lines(topic, *is_whole, body, batch, size_max))
        }
        _ if body.is_empty() => Ok(()),
        // A body that is not used is refused: the client must not believe that it was stored.
        Route::Create(_, change) => topics::read_bounds(body).map(|bounds| *change = bounds),
        _ => Err(Refusal::UnusedBody),
    };
    match taken {
        Ok(()) if matches!(route, Route::Publish | Route::Lines { .. }) => Next::Publish(manner),
        Ok(()) => Next::Request(route, manner),
        Err(refusal) => Next::Request(Route::Refuse(refusal), manner),
    }
}
