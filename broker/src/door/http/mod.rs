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

use answer::{Answers, EVENTS, HTML, Head, JSON, LINES, Manner, TEXT};
use events::EventsQuery;
use messages::MessagesQuery;
use route::{Action, METHODS, Route};

use super::{ANSWERS_SIZE, BATCH_MAX, linger};
use crate::access::{Client, Grant};
use crate::activity::Activity;
use crate::broker::Broker;
use crate::refusal::{Refusal, Result};
use crate::store::{Batch, Extent};
use common::connection::Connection;
use common::deadline::ProgressDeadline;
use common::http::parse::{self, Progress, Request};
use common::json::{Array, Charset};
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
        grant: Grant::EVERYTHING,
    };
    // The end of a connection needs no word: the client has left, or was told.
    let _ = door.run(begun);
}

/// An answer to a client that is not served: a refusal, or that the process is alive.
pub(crate) fn lone_answer(refusal: Option<&Refusal>, head_only: bool) -> Vec<u8> {
    let mut answers = Answers::new(false);
    answers.manner = Manner { head_only, keep_alive: false, ..Manner::PLAIN };
    match refusal {
        Some(refusal) => answers.problem(refusal, None),
        None => answers.content(200, TEXT, ALIVE),
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
    answers: Answers<'a>,
    client: Client,
    /// What the client may do, by the token of the last request.
    grant: Grant,
}

/// What is said of a process that is there.
const ALIVE: &[u8] = b"ok\n";

/// The connection is over: the client is gone, or too slow, or was told all there is to say.
struct End;

/// Why a request is not answered as it asks.
enum Stop {
    End,
    /// It is refused; where the topic begins and ends that it is about.
    Refused(Refusal, Option<Extent>),
}

impl From<End> for Stop {
    fn from(End: End) -> Stop {
        Stop::End
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        Stop::Refused(refusal, None)
    }
}

/// A request that has wholly come, and how it is to be answered: what does so, nothing for a
/// publish, which is in the batch, or why it is refused.
type Taken<'a> = (Result<Option<Action>>, Manner<'a>);

/// A request that is refused, after which the connection is closed.
fn closing(refusal: Refusal, manner: Manner<'_>) -> Taken<'_> {
    (Err(refusal), Manner { keep_alive: false, ..manner })
}

impl<'a> Door<'a> {
    fn run(&mut self, begun: Instant) -> Result<(), End> {
        // Nothing where it begins with what was read already.
        let mut head_begun = Some(begun);
        loop {
            let (request, manner) = match self.next()? {
                Some(taken) => taken,
                None => match self.await_head(&mut head_begun)? {
                    Some(refusal) => closing(refusal, Manner::PLAIN),
                    None => continue,
                },
            };
            if !self.answer(request, manner)? {
                self.flush()?;
                linger(&mut self.connection);
                return Ok(());
            }
            if self.answers.bytes.len() >= ANSWERS_SIZE {
                self.send()?;
            }
            head_begun = None;
        }
    }

    /// Takes the next request, and reads the rest of its body; nothing where its head has not
    /// wholly come.
    fn next(&mut self) -> Result<Option<Taken<'a>>, End> {
        let broker: &'a Broker = self.broker;
        let input = self.connection.buffered().get(self.used..).unwrap_or_default();
        let (request, head_size) = match parse::request(input) {
            Ok(Progress::Complete { value, size }) => (value, size),
            Ok(Progress::Partial) => return Ok(None),
            Err(error) => {
                // No answer to `HEAD` has a body, whatever is wrong with the rest of the head.
                let head_only = input.trim_ascii_start().starts_with(b"HEAD ");
                let manner = Manner { head_only, ..Manner::PLAIN };
                return Ok(Some(closing(Refusal::Http(error), manner)));
            }
        };
        let mut manner = Manner::of(&request);
        let promised = body::promised(request.body);
        let is_here = head::check_address(&request, &broker.access);
        // What cannot be for this broker is not looked at any further.
        let is_over = is_here.is_err();
        let route = is_here.and_then(|()| {
            let Request { authority, ref fields, .. } = request;
            manner.origin = broker.access.check_origin(fields.get("Origin"), authority)?;
            let grant = head::check_token(&request, &broker.access, &mut self.client)?;
            promised.clone()?;
            let route = route::of(&request, &grant)?;
            self.grant = grant;
            Ok(route)
        });
        if let Err(refusal) = &route
            && matches!(refusal.status(), 401 | 403 | 421 | 429 | 501)
        {
            // Without its query, which may hold a token.
            let asked = [request.method, " ", request.path].concat();
            broker.log.note("asked", &asked, Some(refusal));
        }
        let end = promised.ok().flatten().map(|size| head_size + size);
        let taken = match (end.and_then(|end| input.get(head_size..end)), route) {
            (Some(body), route) if !is_over => {
                self.used += head_size + body.len();
                let mut share = broker.input_budget.share();
                let take = |route: Route| {
                    route.take(body, &mut self.batch, broker, &mut share, &self.grant)
                };
                (route.and_then(take), manner)
            }
            // What is refused is refused before its body is awaited.
            (_, Err(refusal)) => closing(refusal, manner),
            (_, Ok(route)) => {
                let Request { body, expects_continue, .. } = request;
                self.flush()?;
                self.connection.consume(head_size);
                self.gather(route, body, expects_continue, manner)?
            }
        };
        Ok(Some(taken))
    }

    /// Sends what is ready and waits for more of a head. Gives why it is waited for no longer.
    fn await_head(&mut self, head_begun: &mut Option<Instant>) -> Result<Option<Refusal>, End> {
        self.flush()?;
        let timeouts = self.broker.timeouts;
        if self.connection.buffered().is_empty() {
            // An idle connection is closed without a word.
            self.fill(Instant::now() + timeouts.idle)?.ok_or(End)?;
            *head_begun = None;
            return Ok(None);
        }
        let seconds = timeouts.head.as_secs();
        let begun = *head_begun.get_or_insert_with(Instant::now);
        let came = self.fill(begun + timeouts.head)?;
        Ok(came.is_none().then_some(Refusal::HeadTimeout { seconds }))
    }

    /// Reads more of something. Gives how many bytes came, if any did before the deadline.
    fn fill(&mut self, deadline: Instant) -> Result<Option<usize>, End> {
        match self.connection.fill(Some(deadline)) {
            Ok(size) if size > 0 => Ok(Some(size)),
            Err(Trouble::TimedOut) => Ok(None),
            _ => Err(End),
        }
    }

    /// Does what a request asks, and writes its answer. Gives whether the connection goes on.
    fn answer(&mut self, request: Result<Option<Action>>, manner: Manner<'a>) -> Result<bool, End> {
        let Some(request) = request.transpose() else {
            // What only the last of a batch can be is answered at once.
            if manner != Manner::PLAIN || self.batch.publishes.len() >= BATCH_MAX {
                self.append(manner)?;
            }
            return Ok(manner.keep_alive);
        };
        self.append(Manner::PLAIN)?;
        self.answers.manner = manner;
        match request.map_err(Stop::from).and_then(|action| action(self)) {
            Ok(()) => {}
            Err(Stop::End) => return Err(End),
            Err(Stop::Refused(refusal, extent)) => {
                if refusal.is_guess() {
                    self.send()?;
                    self.client.count_failure();
                    self.answers.manner.keep_alive &= !self.client.has_failed();
                }
                self.decline(&refusal, extent);
            }
        }
        Ok(self.answers.manner.keep_alive)
    }

    /// Appends what is in the batch, sends its answers, and then tells those who wait. `last` is
    /// how the last publish is answered.
    fn append(&mut self, last: Manner<'a>) -> Result<(), End> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let mut batch = mem::take(&mut self.batch);
        let outcomes = self.broker.publish(&mut batch);
        let mut sent = Ok(());
        for (index, (publish, outcome)) in batch.publishes.iter().zip(&outcomes).enumerate() {
            let is_last = index + 1 == outcomes.len();
            self.answers.manner = if is_last { last } else { Manner::PLAIN };
            self.answers.publish(&publish.topic, outcome);
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
    /// there is more. A short one says its size. Where the first piece is refused, nothing is
    /// answered yet. Later that cannot be told after a head: the connection ends short.
    fn body(
        &mut self,
        head: Head<'_>,
        mut write: impl FnMut(&mut Vec<u8>) -> Result<bool>,
    ) -> Result<(), Stop> {
        let head_only = self.answers.manner.head_only;
        if let Some((_, Some(_))) = head.body {
            let before = self.answers.bytes.len();
            self.answers.head(head);
            let mut has_more = !head_only
                && write(&mut self.answers.bytes)
                    .inspect_err(|_| self.answers.bytes.truncate(before))?;
            while has_more {
                self.send()?;
                has_more = write(&mut self.answers.bytes).map_err(|_| End)?;
            }
            return Ok(());
        }
        let mut piece = Vec::new();
        if !write(&mut piece)? {
            self.answers.whole(head, &piece);
            return Ok(());
        }
        self.answers.head(head);
        if head_only {
            return Ok(());
        }
        let mut has_more = true;
        // Without chunks, an answer that is cut off must not look whole: the last byte of a piece,
        // which may end a line, is sent with the next piece.
        let holds_last = !self.answers.manner.chunked;
        while has_more {
            let last = piece.pop_if(|_| holds_last);
            self.answers.part(&piece);
            self.send()?;
            piece.clear();
            piece.extend(last);
            has_more = write(&mut piece).map_err(|_| End)?;
        }
        self.answers.part(&piece);
        self.answers.part(&[]);
        Ok(())
    }

    /// Answers with a list of items, each of which `write` adds.
    fn list<T>(
        &mut self,
        mut items: impl Iterator<Item = T>,
        write: impl Fn(&mut Array<'_>, T),
    ) -> Result<(), Stop> {
        let head = Head { status: 200, body: Some((JSON, None)), ..Head::default() };
        let mut is_first = true;
        self.body(head, |piece| {
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
    fn decline(&mut self, refusal: &Refusal, extent: Option<Extent>) {
        self.broker.metrics.refused(refusal.status());
        self.answers.problem(refusal, extent);
    }
}
