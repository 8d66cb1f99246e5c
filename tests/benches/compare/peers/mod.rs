//! The servers that are compared, and an adapter for each protocol.

mod http;
mod json;
mod mqtt;
mod nats;
mod nats_stream;
mod resp;
mod server;

pub(crate) use server::{NotStarted, Server, all, processor_times};

use crate::wire::Wire;
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;

/// What a server does with a message before, or instead of, answering it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Promise {
    pub(crate) acknowledged: bool,
    pub(crate) stored: bool,
    pub(crate) synced: bool,
}

/// Where a server keeps messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disk {
    /// In memory.
    None,
    /// On disk, when the system gets to it.
    Lazy,
    /// On disk, synced before the answer.
    Synced,
}

/// One way to use one server.
#[derive(Debug, Clone)]
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) program: PathBuf,
}

/// The kinds of contenders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The broker's JSON door, its answering dialect.
    Json,
    /// The same, pushed to in the shorter dialect.
    Channel,
    /// The JSON door, with so many messages in each publish.
    JsonBatch(usize),
    /// The broker over HTTP.
    Http,
    /// Lines over HTTP, so many in each request; read with `GET /messages`.
    HttpLines(usize),
    /// `XADD`, `XREAD`.
    RedisStreams,
    /// `XADD`, `XRANGE`.
    RedisRange,
    /// `PUBLISH`, `SUBSCRIBE`.
    RedisPubSub,
    /// `PUB`, `SUB`.
    NatsCore,
    /// Persistent streams of the same server, and consumers that are pushed to.
    JetStream,
    /// The same, with a consumer that pulls.
    JetStreamPull,
    /// A stream as the broker makes it, used without the broker.
    NatsStream,
    /// The same, with so many messages stored together; read whole with direct requests.
    NatsBatches(usize),
    /// MQTT 3.1.1 with quality of service 1.
    Mosquitto,
    /// nginx with the module nchan.
    Nchan,
    /// nginx with a file that holds the messages: no server of messages, but what one is held
    /// against.
    File,
    /// The bare server, with so many messages in each line of JSON.
    BareJson(usize),
    /// The bare server over HTTP, with one message or so many lines in each request.
    BareHttp(usize),
}

impl Kind {
    /// Whether this is the broker that the others are compared with.
    pub(crate) fn is_ours(self) -> bool {
        use Kind::{Channel, Http, HttpLines, Json, JsonBatch};
        matches!(self, Json | Channel | JsonBatch(_) | Http | HttpLines(_))
    }

    /// Whether this shows what the machine can do, and is no server of messages.
    pub(crate) fn is_floor(self) -> bool {
        matches!(self, Kind::File | Kind::BareJson(_) | Kind::BareHttp(_))
    }

    /// What it promises, kept so.
    pub(crate) fn promise(self, disk: Disk) -> Promise {
        let (acknowledged, stored) = match self {
            Kind::RedisPubSub => (true, false),
            Kind::NatsCore => (false, false),
            Kind::Mosquitto | Kind::BareJson(_) | Kind::BareHttp(_) => (true, false),
            _ => (true, true),
        };
        Promise { acknowledged, stored, synced: stored && disk == Disk::Synced }
    }
}

impl Contender {
    /// A speaker of its protocol, for one connection.
    pub(crate) fn adapter(&self, disk: Disk) -> Box<dyn Adapter> {
        match self.kind {
            Kind::Json => Box::new(json::Json::new(1, false)),
            Kind::Channel => Box::new(json::Json::new(1, true)),
            Kind::JsonBatch(count) | Kind::BareJson(count) => {
                Box::new(json::Json::new(count, false))
            }
            Kind::Http => Box::new(http::Http::new(http::Site::Broker)),
            Kind::BareHttp(1) => Box::new(http::Http::new(http::Site::Bare)),
            Kind::HttpLines(count) | Kind::BareHttp(count) => {
                Box::new(http::Http::new(http::Site::Lines(count)))
            }
            Kind::RedisStreams => Box::new(resp::Resp::new(resp::Mode::Read)),
            Kind::RedisRange => Box::new(resp::Resp::new(resp::Mode::Range)),
            Kind::RedisPubSub => Box::new(resp::Resp::new(resp::Mode::PublishSubscribe)),
            Kind::NatsCore => Box::new(nats::Nats::core()),
            Kind::JetStream => Box::new(nats::Nats::jet_stream(disk != Disk::None, false)),
            Kind::JetStreamPull => Box::new(nats::Nats::jet_stream(disk != Disk::None, true)),
            Kind::NatsStream => Box::new(nats_stream::NatsStream::single()),
            Kind::NatsBatches(count) => Box::new(nats_stream::NatsStream::batches(count)),
            Kind::Mosquitto => Box::new(mqtt::Mqtt::new()),
            Kind::Nchan => Box::new(http::Http::new(http::Site::Nchan)),
            Kind::File => Box::new(http::Http::new(http::Site::File)),
        }
    }
}

/// What came to be known from input.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Messages that were answered.
    pub(crate) count: u64,
    /// Bytes that this took.
    pub(crate) size: usize,
}

/// A protocol, on one connection.
pub(crate) trait Adapter: Send {
    /// Says what has to be said first.
    fn greet(&mut self, wire: &mut Wire) -> io::Result<()> {
        let _ = wire;
        Ok(())
    }

    /// Makes a topic, where topics have to be made.
    fn prepare(&mut self, topic: &str, wire: &mut Wire) -> io::Result<()> {
        let _ = (topic, wire);
        Ok(())
    }

    /// Writes the publish of a message.
    fn publish(&mut self, topic: &str, message: &[u8], out: &mut Vec<u8>);

    /// Ends a burst: whatever was held back is written.
    fn flush(&mut self, topic: &str, out: &mut Vec<u8>) {
        let _ = (topic, out);
    }

    /// Takes answers to publishes from the front of `input`.
    ///
    /// # Errors
    ///
    /// An answer that is a refusal.
    fn answered(&mut self, input: &[u8]) -> Result<Taken, String>;

    /// Subscribes from now on (to empty topics, where nothing else can be said), and waits for the
    /// confirmation. Those that read what is stored ask for all of it instead.
    fn subscribe(&mut self, topics: &[String], wire: &mut Wire) -> io::Result<()>;

    /// Takes messages from the front of `input`: how many bytes that took. What has to be sent
    /// to get more goes to `reply`.
    fn received(&mut self, input: &[u8], each: &mut dyn FnMut(&[u8]), reply: &mut Vec<u8>)
    -> usize;

    /// How many messages the server says that a topic holds, where it can say so.
    fn stored(&mut self, topic: &str, port: u16) -> io::Result<Option<u64>> {
        let _ = (topic, port);
        Ok(None)
    }
}

/// How many messages each awaited answer stands for.
#[derive(Default)]
pub(crate) struct Owed {
    open: u64,
    counts: VecDeque<u64>,
}

impl Owed {
    /// One more message before the next [`Owed::close`].
    fn add(&mut self) -> u64 {
        self.open += 1;
        self.open
    }

    /// One answer will stand for the messages since the last call; how many they are.
    fn close(&mut self) -> u64 {
        if self.open > 0 {
            self.counts.push_back(self.open);
        }
        std::mem::take(&mut self.open)
    }

    /// An answer came.
    fn settle(&mut self) -> u64 {
        self.counts.pop_front().unwrap_or(0)
    }
}

/// The first line of `input`, without its end, and how many bytes it took.
fn line(input: &[u8]) -> Option<(&[u8], usize)> {
    let end = position(input, b'\n')?;
    Some((input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]), end + 1))
}

/// Where `byte` first stands.
fn position(input: &[u8], byte: u8) -> Option<usize> {
    // Sixteen at a time, which compilers turn into one comparison: lines are long, and the
    // benchmark shares the machine with what it measures.
    let mut offset = 0;
    for chunk in input.chunks_exact(16) {
        if chunk.iter().fold(false, |found, other| found | (*other == byte)) {
            break;
        }
        offset += 16;
    }
    input[offset..].iter().position(|other| *other == byte).map(|index| offset + index)
}

/// The number that stands behind `key` in a text, white space aside.
fn number_behind(text: &str, key: &str) -> Option<u64> {
    let rest = text.split_once(key)?.1.trim_start();
    let end = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}
