//! The JSON door: one object after another in, one line each out.
//!
//! An object is handled as soon as it is complete; line breaks between objects mean nothing. All
//! complete objects of the read buffer are handled together: publishes that follow one another
//! become one batch, and all answers leave with one write.
//!
//! There are two dialects, told apart by the key that names the topic: `channel.rs` and
//! `topic.rs`.

mod channel;
mod index;
mod topic;

use super::ANSWERS_SIZE;
use super::entrance::Entrance;
use super::publish::{self, BATCH_MAX};
use crate::broker::Broker;
use crate::home::index::{Address, Presence};
use crate::objects::{Next, Objects};
use crate::push::subscriber::Subscriber;
use crate::refusal::Refusal;
use crate::server::input_budget::DocumentSize;
use crate::store::batch::Batch;
use crate::store::ledger::Receipt;
use common::connection::Connection;
use common::json::{Object, Value};
use common::limits::BODY_SIZE_MAX;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use topic::Confirmations;

/// Serves a connection whose first byte, white space aside, is `{`.
pub(crate) fn serve(mut connection: Connection, broker: &Arc<Broker>) {
    let mut desk = Desk {
        broker,
        subscriber: Subscriber::new(Arc::clone(connection.stream()), &broker.push),
        entrance: Entrance::new(&broker.access),
        presences: HashMap::new(),
        dialect: Dialect::Topic,
        batch: Batch::default(),
        dialects: Vec::new(),
        confirmations: Confirmations::default(),
        answers: Vec::new(),
    };
    let mut objects = Objects::new(BODY_SIZE_MAX);
    let mut share = broker.input_budget.share();
    let mut size = DocumentSize::default();
    let ending = 'session: loop {
        let input = connection.buffered();
        let mut used = 0;
        let unfinished = loop {
            match objects.next(input.get(used..).unwrap_or_default()) {
                Next::Object(object, size) => {
                    used += size;
                    desk.command(&object);
                    if desk.answers.len() >= ANSWERS_SIZE && !desk.send() {
                        break 'session None;
                    }
                }
                Next::Partial { size } => break Some(size),
                Next::Invalid => break None,
            }
        };
        desk.flush();
        if desk.entrance.is_shut() {
            break None;
        }
        let Some(unfinished) = unfinished else { break Some(INVALID) };
        if unfinished > BODY_SIZE_MAX {
            break Some(TOO_LARGE);
        }
        if used > 0 {
            share.give_back();
            size = DocumentSize::default();
        }
        if let Err(refusal) = share.grow(size.of(input.get(used..).unwrap_or_default())) {
            desk.refuse(desk.dialect, &refusal);
            break None;
        }
        connection.consume(used);
        match connection.fill(desk.patience()) {
            Ok(size) if size > 0 => {}
            Ok(_) if unfinished > 0 => break Some(INVALID),
            _ => break None,
        }
    };
    if let Some(text) = ending {
        broker.metrics.refused(if text == TOO_LARGE { 413 } else { 400 });
        desk.dialect.error(&mut desk.answers, text);
    }
    desk.leave();
    desk.subscriber.finish(&mut desk.answers);
    super::linger(&mut connection);
}

/// What is said of what is not JSON.
const INVALID: &str = "Invalid JSON format";

/// What is said of an object that does not end.
const TOO_LARGE: &str = "the object is larger than the limit of 8388608 bytes";

const _: () = assert!(BODY_SIZE_MAX == 8_388_608);

/// How long a peer may be silent before it is away. It says something every five seconds.
const PRESENCE_TIMEOUT: Duration = Duration::from_secs(15);

/// How the token is shown in this door.
const HOW: &str = "send {\"command\":\"auth\",\"token\":\"<token>\"} first";

/// How a command is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Channel,
    Topic,
}

impl Dialect {
    /// The key that names the topic.
    fn key(self) -> &'static str {
        match self {
            Dialect::Channel => "channel",
            Dialect::Topic => "topic",
        }
    }

    /// Writes that the token was right.
    fn authenticated(self, out: &mut Vec<u8>) {
        let (key, value) = match self {
            Dialect::Channel => ("type", "AUTH"),
            Dialect::Topic => ("status", "success"),
        };
        Object::ascii(out).field(key, value).field("message", "Authenticated").end_line();
    }

    /// Writes an error.
    fn error(self, out: &mut Vec<u8>, text: &str) {
        let mut answer = Object::ascii(out);
        match self {
            Dialect::Channel => answer.field("type", "ERROR").field("error", text),
            Dialect::Topic => answer.field("status", "error").field("message", text),
        }
        .end_line();
    }
}

/// What a session has on hand between two reads.
struct Desk<'a> {
    broker: &'a Arc<Broker>,
    subscriber: Subscriber,
    entrance: Entrance,
    /// Peers that are registered with this broker's index for as long as the session lasts.
    presences: HashMap<Address, Presence>,
    /// The dialect of the last command that showed one.
    dialect: Dialect,
    /// Publishes that were read and not yet appended.
    batch: Batch,
    /// How each publish of the batch is answered.
    dialects: Vec<Dialect>,
    confirmations: Confirmations,
    /// What was not yet sent; the answers of the batch come after it.
    answers: Vec<u8>,
}

impl Desk<'_> {
    /// Until when the client has to say something. A session may be silent for as long as it
    /// likes, but a peer's that has crashed with its machine does not end by itself.
    fn patience(&self) -> Option<Instant> {
        (!self.presences.is_empty()).then(|| Instant::now() + PRESENCE_TIMEOUT)
    }

    /// The peers that were registered for as long as this session lasts are away.
    fn leave(&mut self) {
        for (address, _presence) in self.presences.drain() {
            self.broker.log.note("away", &address.to_string(), &Ok(()));
        }
    }

    /// Handles one object.
    fn command(&mut self, object: &Value<'_>) {
        if !matches!(object, Value::Object(_)) {
            self.append();
            self.broker.metrics.refused(400);
            return self.dialect.error(&mut self.answers, INVALID);
        }
        let arguments = match object.get("args") {
            Some(arguments @ Value::Object(_)) => arguments,
            _ => object,
        };
        for dialect in [Dialect::Channel, Dialect::Topic] {
            if arguments.get(dialect.key()).is_some() {
                self.dialect = dialect;
                break;
            }
        }
        let dialect = self.dialect;
        let command = publish::required_text(object, "command").unwrap_or_default();
        if self.entrance.is_open() && command.eq_ignore_ascii_case("publish") {
            let size_max = self.broker.message_size_max;
            match publish::add(arguments, dialect.key(), &mut self.batch, size_max) {
                Ok(()) => self.dialects.push(dialect),
                Err(refusal) => self.refuse(dialect, &refusal),
            }
            if self.dialects.len() >= BATCH_MAX {
                self.append();
            }
            return;
        }
        let command = command.to_ascii_lowercase();
        if command == "auth" || !self.entrance.is_open() {
            return self.authenticate(dialect, &command, arguments);
        }
        self.append();
        let done = match dialect {
            Dialect::Channel => self.channel_command(&command, arguments),
            Dialect::Topic => self.topic_command(&command, arguments),
        };
        if let Err(refusal) = done {
            self.refuse(dialect, &refusal);
        }
    }

    /// Handles a command that has to be the token, and may be anything.
    fn authenticate(&mut self, dialect: Dialect, command: &str, arguments: &Value<'_>) {
        if self.entrance.is_shut() {
            return;
        }
        self.append();
        let token = publish::text(arguments, "token").ok().flatten();
        let token = token.filter(|_| command == "auth");
        match self.entrance.show(&self.broker.access, token, HOW) {
            Ok(()) => dialect.authenticated(&mut self.answers),
            Err(refusal) => self.refuse(dialect, &refusal),
        }
    }

    /// Answers with a refusal, behind the answers of what came before.
    fn refuse(&mut self, dialect: Dialect, refusal: &Refusal) {
        self.append();
        self.broker.metrics.refused(refusal.status());
        match dialect {
            Dialect::Channel => dialect.error(&mut self.answers, &refusal.to_string()),
            Dialect::Topic => topic::refuse(&mut self.answers, refusal, None),
        }
    }

    /// Appends what is in the batch, sends its answers, and then delivers it.
    fn append(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let outcomes = self.broker.publish(&mut self.batch);
        let publishes = self.batch.publishes.iter().zip(self.dialects.drain(..));
        for ((publish, dialect), outcome) in publishes.zip(&outcomes) {
            let answers = &mut self.answers;
            match (dialect, outcome) {
                (Dialect::Channel, Ok(Receipt { .. })) => {}
                (Dialect::Channel, Err(refusal)) => dialect.error(answers, &refusal.to_string()),
                (Dialect::Topic, Ok(receipt)) => {
                    self.confirmations.write(answers, &publish.topic, receipt);
                }
                (Dialect::Topic, Err(refusal)) => topic::refuse(answers, refusal, None),
            }
        }
        self.send();
        self.broker.push.announce_batch(&self.batch);
        self.batch.clear();
    }

    /// Appends and sends all there is.
    fn flush(&mut self) {
        self.append();
        self.send();
    }

    /// Sends the answers, and waits while many of them wait to be read. False when the session is
    /// over, which its next read notices as well.
    fn send(&mut self) -> bool {
        self.subscriber.answer(&mut self.answers)
    }
}
