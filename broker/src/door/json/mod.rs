//! The JSON door: one object after another in, one line for each out.
//!
//! An object is handled as soon as it is complete; line breaks between objects do not matter. There
//! are two dialects, `channel.rs` and `topic.rs`; the key that names the topic tells which.

mod channel;
mod index;
mod pattern;
mod topic;

use super::{Commands, Confirmations, Fields, Next, Protocol, publish};
use crate::access::Right;
use crate::activity::Activity;
use crate::broker::Broker;
use crate::home::{Address, Presence};
use crate::objects::{self, Objects};
use crate::refusal::{Refusal, Result};
use crate::server::input_budget::DocumentSize;
use crate::store::Outcome;
use common::connection::Connection;
use common::json::{Object, Value};
use common::limits::BODY_SIZE_MAX;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Serves a connection whose first byte, white space aside, is `{`.
pub(crate) fn serve(mut connection: Connection, activity: Arc<Activity>, broker: &Arc<Broker>) {
    let (objects, dialect) = (Objects::new(BODY_SIZE_MAX), Dialect::Topic);
    let confirmations = Confirmations::new(topic::begin_confirmation);
    let (size, is_broker, follows, presences, dialects) = Default::default();
    let protocol =
        Json { objects, size, is_broker, follows, presences, dialect, dialects, confirmations };
    let mut commands = Commands::new(&connection, activity, broker, protocol);
    commands.run(&mut connection);
    // The peers that were registered for as long as this connection lasts are away.
    for (address, _presence) in commands.protocol.presences.drain() {
        broker.log.note("away", &address.to_string(), None);
    }
    commands.end(connection);
}

/// How long a peer may be silent before it is away. It says something every five seconds.
const PRESENCE_TIMEOUT: Duration = Duration::from_secs(15);

/// How long any other broker may be silent. One that follows topics says something every five
/// seconds; a connection that it keeps for later is made again when it is needed.
const BROKER_TIMEOUT: Duration = Duration::from_secs(60);

/// A command, and what carries it out.
type Command = (&'static str, Need, fn(&mut Commands<'_, Json>, &Value<'_>) -> Result<()>);

/// What a client needs to be allowed to for a command.
#[derive(Clone, Copy)]
enum Need {
    /// It is looked at where it is done: a refusal says which topic it is, and a name may be
    /// another connection's.
    Own,
    /// A right to the topic that is named; without one to any topic if it is read, else to all.
    Topic(Right),
    /// To administer the broker as a whole, whatever topic is named.
    All,
}

/// The commands of the dialect `topic`, beside `auth` and `publish`.
const TOPIC_COMMANDS: [Command; 17] = [
    ("subscribe", Need::Own, |it, with| it.subscribe(with)),
    ("unsubscribe", Need::Own, |it, with| it.unsubscribe(with)),
    ("pull", Need::Topic(Right::Read), |it, with| it.pull(with)),
    ("ack", Need::Topic(Right::Read), |it, with| it.acknowledge(with)),
    ("list_topics", Need::Topic(Right::Read), |it, with| it.list_topics(with)),
    ("create_topic", Need::Topic(Right::Admin), |it, with| it.create(with)),
    ("delete_topic", Need::Topic(Right::Admin), |it, with| it.delete(with)),
    ("trim_topic", Need::Topic(Right::Admin), |it, with| it.trim(with)),
    ("set_bounds", Need::Topic(Right::Admin), |it, with| it.set_bounds(with)),
    ("add_topic", Need::Topic(Right::Admin), |it, with| it.add_to_index(with)),
    ("query_topic", Need::Topic(Right::Admin), |it, with| it.query(with)),
    ("query_topics", Need::All, |it, with| it.query_all(with)),
    ("told_topics", Need::All, |it, with| it.told(with)),
    ("register_peer", Need::All, |it, with| it.register(with)),
    ("unregister_peer", Need::All, |it, with| it.unregister(with)),
    ("list_peers", Need::All, |it, with| it.list_peers(with)),
    ("path", Need::All, |it, with| it.path(with)),
];

/// Those of the dialect `channel`.
const CHANNEL_COMMANDS: [Command; 2] = [
    ("subscribe", Need::Own, |it, with| it.subscribe_to_channel(with)),
    ("unsubscribe", Need::Own, |it, with| it.leave_channel(with)),
];

/// How a command is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Channel,
    Topic,
}

impl Dialect {
    /// The key that names the topic, and the commands.
    fn words(self) -> (&'static str, &'static [Command]) {
        match self {
            Dialect::Channel => ("channel", &CHANNEL_COMMANDS),
            Dialect::Topic => ("topic", &TOPIC_COMMANDS),
        }
    }

    /// Writes that the token was right.
    fn write_authenticated(self, out: &mut Vec<u8>) {
        let (key, value) = match self {
            Dialect::Channel => ("type", "AUTH"),
            Dialect::Topic => ("status", "success"),
        };
        Object::ascii(out).field(key, value).field("message", "Authenticated").end_line();
    }

    /// Writes a refusal, in the dialect of topics with what a program may want to know of it.
    fn refuse(self, out: &mut Vec<u8>, refusal: &Refusal, topic: Option<&str>) {
        let mut answer = Object::ascii(out);
        let text = refusal.to_string();
        match self {
            Dialect::Channel => {
                answer.field("type", "ERROR").field("error", text);
            }
            Dialect::Topic => {
                answer.field("status", "error").field("message", text);
                refusal.write_details(&mut answer);
                answer.optional("topic", topic);
                if !matches!(refusal, Refusal::InvalidJson | Refusal::ObjectSize { .. }) {
                    answer.field("code", refusal.status());
                }
            }
        }
        answer.end_line();
    }
}

/// What a connection of this door keeps.
struct Json {
    objects: Objects,
    /// The memory of the object that is not complete yet.
    size: DocumentSize,
    /// Whether another broker is at the other end.
    is_broker: bool,
    /// Whether that one has said who it is: it follows topics on this connection.
    follows: bool,
    /// Peers that are registered with this broker's index for as long as the connection lasts.
    presences: HashMap<Address, Presence>,
    /// The dialect of the last command that showed one.
    dialect: Dialect,
    /// How each publish of the batch is answered.
    dialects: VecDeque<Dialect>,
    confirmations: Confirmations,
}

impl Protocol for Json {
    const NAME: &'static str = "json";
    const COMMAND: &'static str = "object";
    const HOW_TO_AUTHENTICATE: &'static str =
        "send {\"command\":\"auth\",\"token\":\"<token>\"} first";

    fn next(commands: &mut Commands<'_, Json>, input: &[u8]) -> Next {
        match commands.protocol.objects.next(input) {
            objects::Next::Object(object, size) => {
                commands.protocol.size = DocumentSize::default();
                commands.command(&object);
                Next::Handled { size }
            }
            objects::Next::Partial { size } if size > BODY_SIZE_MAX => {
                commands.refuse(&Refusal::ObjectSize { size_max: BODY_SIZE_MAX });
                Next::End
            }
            objects::Next::Partial { .. } => Next::Unfinished,
            objects::Next::Invalid => {
                commands.refuse(&Refusal::InvalidJson);
                Next::End
            }
        }
    }

    fn finish(commands: &mut Commands<'_, Json>, rest: &[u8]) {
        if !rest.trim_ascii_start().is_empty() {
            commands.refuse(&Refusal::InvalidJson);
        }
    }

    fn memory(&mut self, unfinished: &[u8]) -> usize {
        self.size.of(unfinished)
    }

    /// Another broker's connection does not end by itself where its machine has crashed.
    fn deadline(&self) -> Option<Instant> {
        let timeout = match self.is_broker {
            _ if !self.presences.is_empty() => PRESENCE_TIMEOUT,
            true => BROKER_TIMEOUT,
            false => return None,
        };
        Some(Instant::now() + timeout)
    }

    fn write_outcome(&mut self, out: &mut Vec<u8>, topic: &Arc<str>, outcome: &Outcome) {
        let dialect = self.dialects.pop_front().unwrap_or(self.dialect);
        match (dialect, outcome) {
            (Dialect::Channel, Ok(_)) => {}
            (Dialect::Topic, Ok(receipt)) => self.confirmations.write(out, topic, receipt),
            (dialect, Err(refusal)) => dialect.refuse(out, refusal, None),
        }
    }

    fn write_refusal(&self, out: &mut Vec<u8>, refusal: &Refusal) {
        self.dialect.refuse(out, refusal, None);
    }
}

impl Commands<'_, Json> {
    /// Handles one object.
    fn command(&mut self, object: &Value<'_>) {
        if !matches!(object, Value::Object(_)) {
            return self.refuse(&Refusal::InvalidJson);
        }
        let arguments = match object.get("args") {
            Some(arguments @ Value::Object(_)) => arguments,
            _ => object,
        };
        let has = |key| arguments.get(key).is_some();
        if has("channel") {
            self.protocol.dialect = Dialect::Channel;
        } else if has("topic") || has("pattern") {
            self.protocol.dialect = Dialect::Topic;
        }
        let command = object.required("command").unwrap_or_default();
        if let Err(refusal) = self.carry_out(command, arguments) {
            self.refuse(&refusal);
        }
    }

    fn carry_out(&mut self, command: &str, arguments: &Value<'_>) -> Result<()> {
        let dialect = self.protocol.dialect;
        let (key, commands) = dialect.words();
        if let Some(grant) = &self.granted
            && command.eq_ignore_ascii_case("publish")
        {
            let size_max = self.broker.message_size_max;
            publish::add(arguments, key, &mut self.batch, size_max, grant)?;
            self.protocol.dialects.push_back(dialect);
            self.bound_batch();
            return Ok(());
        }
        self.append();
        let command = command.to_ascii_lowercase();
        if command == "auth" || self.granted.is_none() {
            let token = arguments.text("token").ok().flatten();
            self.authenticate(token.filter(|_| command == "auth"))?;
            dialect.write_authenticated(&mut self.answers);
            return Ok(());
        }
        let known = commands.iter().find(|(name, ..)| *name == command);
        let Some((_, need, action)) = known else {
            self.grant()?.check_all(Right::Admin)?;
            return Err(Refusal::UnknownCommand);
        };
        self.check(*need, arguments)?;
        if dialect == Dialect::Topic {
            // Whatever the command, it has no place beside a topic.
            arguments.pattern()?;
        }
        action(self, arguments)
    }

    /// Checks whether the client may give a command that needs this.
    fn check(&self, need: Need, arguments: &Value<'_>) -> Result<()> {
        let right = match need {
            Need::Own => return Ok(()),
            Need::All => return self.grant()?.check_all(Right::Admin),
            Need::Topic(right) => right,
        };
        match arguments.text("topic")? {
            Some(topic) => self.grant()?.check(right, topic),
            None if right == Right::Read => self.grant()?.check_any(right),
            None => self.grant()?.check_all(right),
        }
    }
}
