//! The common part of the JSON and the text door: a connection that sends commands one after
//! another.
//!
//! All complete commands of the read buffer are handled together: successive publishes become one
//! batch, and all answers are sent with one write, in the order of the commands.
//!
//! # Not here
//!
//! The form of a command, and what it does: each door is a [`Protocol`].

use super::{ANSWERS_SIZE, BATCH_MAX};
use crate::access::{Client, Grant};
use crate::activity::{Activity, Role};
use crate::broker::Broker;
use crate::push::Subscriber;
use crate::refusal::{Refusal, Result};
use crate::store::{Batch, Outcome};
use common::connection::Connection;
use common::deadline::ProgressDeadline;
use common::trouble::Trouble;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a silent client is looked for: one that has vanished acknowledges nothing.
const LOOK_TIME: Duration = Duration::from_secs(33);

/// A language of commands, and what a connection keeps for it.
pub(super) trait Protocol: Sized {
    /// What the log calls a connection of it.
    const NAME: &'static str;

    /// How a client is told to send the token.
    const HOW_TO_AUTHENTICATE: &'static str;

    /// Handles the command at the front of `input`.
    fn next(commands: &mut Commands<'_, Self>, input: &[u8]) -> Next;

    /// Handles what the client left unfinished when it ended its input.
    fn finish(commands: &mut Commands<'_, Self>, rest: &[u8]);

    /// Memory that an unfinished command takes.
    fn memory(&mut self, unfinished: &[u8]) -> usize;

    /// What a command is called.
    const COMMAND: &'static str;

    /// Until when the client has to say something; by default it may be silent for ever.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Writes the answer of a publish, in the order in which they came.
    fn write_outcome(&mut self, out: &mut Vec<u8>, topic: &Arc<str>, outcome: &Outcome);

    /// Writes a refusal.
    fn write_refusal(&self, out: &mut Vec<u8>, refusal: &Refusal);
}

/// What stood at the front of the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A command of so many bytes.
    Handled { size: usize },
    /// The beginning of one, or nothing.
    Unfinished,
    /// What ends the connection; the client was told.
    End,
}

/// A connection, and what it has on hand between two reads.
pub(super) struct Commands<'a, P> {
    pub(super) broker: &'a Arc<Broker>,
    pub(super) subscriber: Subscriber,
    activity: Arc<Activity>,
    pub(super) stream: Arc<TcpStream>,
    pub(super) client: Client,
    /// What the client may do, once it has authenticated.
    pub(super) granted: Option<Grant>,
    /// Publishes that were read and not yet appended.
    pub(super) batch: Batch,
    /// What was not yet sent; the answers of the batch come after it.
    pub(super) answers: Vec<u8>,
    pub(super) protocol: P,
}

impl<'a, P: Protocol> Commands<'a, P> {
    /// A connection that has said nothing yet.
    pub(super) fn new(
        connection: &Connection,
        activity: Arc<Activity>,
        broker: &'a Arc<Broker>,
        protocol: P,
    ) -> Self {
        activity.set_role(Role::Session);
        let stream = Arc::clone(connection.stream());
        let mut client = Client::of(&stream);
        Commands {
            broker,
            subscriber: Subscriber::new(Arc::clone(&stream), Arc::clone(&activity), &broker.push),
            activity,
            // Where no token is asked for, nothing is guessed.
            granted: broker.access.admit(None, &mut client).ok().flatten(),
            client,
            stream,
            batch: Batch::default(),
            answers: Vec::new(),
            protocol,
        }
    }

    /// Handles all commands, until there are no more.
    pub(super) fn run(&mut self, connection: &mut Connection) {
        let mut share = self.broker.input_budget.share();
        // Until when more of an unfinished command has to arrive.
        let mut progress: Option<ProgressDeadline> = None;
        loop {
            let input = connection.buffered();
            let mut used = 0;
            let next = loop {
                let next = P::next(self, input.get(used..).unwrap_or_default());
                let Next::Handled { size } = next else { break next };
                used += size;
                if self.granted.is_none() && self.client.has_failed() {
                    break Next::End;
                }
                if self.answers.len() >= ANSWERS_SIZE && !self.send() {
                    return;
                }
            };
            self.flush();
            if next == Next::End {
                return;
            }
            if used > 0 {
                share.give_back();
            }
            let unfinished = input.get(used..).unwrap_or_default();
            if let Err(refusal) = share.grow(self.protocol.memory(unfinished)) {
                return self.refuse(&refusal);
            }
            // Between two commands a client may be silent for ever.
            progress = match progress.filter(|_| used == 0) {
                _ if unfinished.trim_ascii().is_empty() => None,
                None => Some(ProgressDeadline::new(self.broker.timeouts.body)),
                progress => progress,
            };
            connection.consume(used);
            let progress_at = progress.map(|progress| progress.at());
            let look_at = Instant::now() + LOOK_TIME;
            let silent_until = self.protocol.deadline().unwrap_or(look_at);
            match connection.fill(progress_at.into_iter().chain([silent_until]).min()) {
                Ok(0) => {
                    P::finish(self, connection.buffered());
                    return self.flush();
                }
                Ok(size) => {
                    self.activity.heard();
                    if let Some(progress) = &mut progress {
                        progress.progressed(size);
                    }
                }
                Err(Trouble::TimedOut) if progress_at.is_some_and(|at| at <= Instant::now()) => {
                    let seconds = self.broker.timeouts.body.as_secs();
                    return self.refuse(&Refusal::NoProgress { what: P::COMMAND, seconds });
                }
                Err(Trouble::TimedOut)
                    if silent_until == look_at
                        && !self.broker.tcp_table.has_vanished(&self.stream) => {}
                // What had come of a command may be another by chance.
                Err(_) => return,
            }
        }
    }

    /// Ends the connection, once the client has taken what it was answered.
    pub(super) fn end(mut self, mut connection: Connection) {
        self.subscriber.finish(&mut self.answers);
        super::linger(&mut connection);
    }

    /// Answers with a refusal, behind the answers of what came before.
    pub(super) fn refuse(&mut self, refusal: &Refusal) {
        self.append();
        self.broker.metrics.refused(refusal.status());
        self.protocol.write_refusal(&mut self.answers, refusal);
    }

    /// Lets the client in if `token` is right. What was once right stays so for the connection.
    ///
    /// # Errors
    ///
    /// [`Refusal::Token`], [`Refusal::WrongToken`], [`Refusal::TooManyGuesses`].
    pub(super) fn authenticate(&mut self, token: Option<&str>) -> Result<()> {
        let how = P::HOW_TO_AUTHENTICATE;
        let done = match self.broker.access.admit(token, &mut self.client) {
            Ok(Some(grant)) => {
                self.broker.access.end_with(&grant, &self.stream);
                self.granted = Some(grant);
                Ok(())
            }
            Ok(None) if token.is_some() => Err(Refusal::WrongToken { how }),
            Ok(None) => Err(Refusal::Token { how, is_guess: false }),
            Err(refusal) => Err(refusal),
        };
        if done.is_err() {
            self.client.count_failure();
        }
        self.broker.log.note("authenticated", P::NAME, done.as_ref().err());
        done
    }

    /// What the client may do.
    ///
    /// # Errors
    ///
    /// [`Refusal::Token`] before it has authenticated.
    pub(super) fn grant(&self) -> Result<&Grant> {
        let missing = Refusal::Token { how: P::HOW_TO_AUTHENTICATE, is_guess: false };
        self.granted.as_ref().ok_or(missing)
    }

    /// Appends the batch where it is full.
    pub(super) fn bound_batch(&mut self) {
        if self.batch.publishes.len() >= BATCH_MAX {
            self.append();
        }
    }

    /// Appends what is in the batch, sends its answers, and then delivers it.
    pub(super) fn append(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let outcomes = self.broker.publish(&mut self.batch);
        for (publish, outcome) in self.batch.publishes.iter().zip(&outcomes) {
            self.protocol.write_outcome(&mut self.answers, &publish.topic, outcome);
            if self.answers.len() >= ANSWERS_SIZE {
                self.subscriber.answer(&mut self.answers);
            }
        }
        self.send();
        self.broker.push.announce_batch(&self.batch);
        self.batch.clear();
    }

    /// Appends and sends all there is.
    pub(super) fn flush(&mut self) {
        self.append();
        self.send();
    }

    /// Sends the answers, and waits while many of them wait to be read. False when the connection
    /// is over, which its next read notices as well.
    pub(super) fn send(&mut self) -> bool {
        self.subscriber.answer(&mut self.answers)
    }
}
