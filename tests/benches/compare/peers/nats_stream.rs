//! A client that uses the streams of the broker's topics in NATS, and not the broker.

use super::nats::Nats;
use super::{Adapter, Owed, Taken, line};
use crate::wire::Wire;
use std::io::{self, Write};

/// Subscriptions of a connection, by number.
const MESSAGES: u64 = 2;

/// Messages in each answer to a direct request.
const PIECE: u64 = 1000;

/// Publishes and reads as the broker does.
pub(crate) struct NatsStream {
    nats: Nats,
    owed: Owed,
    /// Messages that are stored together.
    batch: u64,
    batches: u64,
    /// The stream that is read from its beginning, where one is.
    read: Option<String>,
    /// Messages that were read.
    count: u64,
}

impl NatsStream {
    /// Single messages, followed as they come.
    pub(crate) fn single() -> NatsStream {
        NatsStream::batches(1)
    }

    /// So many messages together, and the whole stream read with direct requests.
    pub(crate) fn batches(batch: usize) -> NatsStream {
        let (nats, owed) = (Nats::jet_stream(true, false), Owed::default());
        NatsStream { nats, owed, batch: batch as u64, batches: 0, read: None, count: 0 }
    }

    fn ask_for_more(&self, stream: &str, out: &mut Vec<u8>) {
        let first = self.count + 1;
        let body = format!("{{\"seq\":{first},\"batch\":{PIECE},\"max_bytes\":1048576}}");
        let (size, inbox) = (body.len(), &self.nats.inbox);
        write!(out, "PUB $JS.API.DIRECT.GET.ps-{stream} {inbox}.2 {size}\r\n{body}\r\n")
            .expect("a vector takes everything");
    }
}

/// The id of a topic's stream.
fn id(topic: &str) -> String {
    let digits: String = topic.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{digits:0>16}")
}

impl Adapter for NatsStream {
    fn greet(&mut self, wire: &mut Wire) -> io::Result<()> {
        self.nats.greet(wire)
    }

    fn prepare(&mut self, topic: &str, wire: &mut Wire) -> io::Result<()> {
        let id = id(topic);
        let body = format!(
            "{{\"name\":\"ps-{id}\",\"subjects\":[\"ps.t.{topic}\",\"ps.m.{id}.u\",\"ps.m.{id}.n.*\"],\
             \"storage\":\"file\",\"retention\":\"limits\",\"discard\":\"new\",\"num_replicas\":1,\
             \"allow_direct\":true,\"allow_atomic\":true,\"deny_delete\":true,\
             \"republish\":{{\"src\":\"ps.m.{id}.>\",\"dest\":\"ps.r.{id}.>\"}},\
             \"metadata\":{{\"topic\":\"{topic}\"}}}}"
        );
        self.nats.request(&format!("STREAM.CREATE.ps-{id}"), &body, wire).map(drop)
    }

    fn publish(&mut self, topic: &str, message: &[u8], out: &mut Vec<u8>) {
        let place = self.owed.add();
        let is_last = place == self.batch;
        let reply = if is_last { format!(" {}.1", self.nats.inbox) } else { String::new() };
        let (id, size) = (id(topic), message.len());
        let head = if self.batch == 1 {
            format!("PUB ps.m.{id}.u{reply} {size}\r\n")
        } else {
            let commit = if is_last { "Nats-Batch-Commit: 1\r\n" } else { "" };
            let (batch, inbox) = (self.batches, &self.nats.inbox);
            let headers = format!(
                "NATS/1.0\r\nNats-Batch-Id: {inbox}{batch}\r\nNats-Batch-Sequence: {place}\r\n\
                 {commit}\r\n"
            );
            let size = size + headers.len();
            format!("HPUB ps.m.{id}.u{reply} {} {size}\r\n{headers}", headers.len())
        };
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(message);
        out.extend_from_slice(b"\r\n");
        if is_last {
            self.owed.close();
            self.batches += 1;
        }
    }

    fn answered(&mut self, input: &[u8]) -> Result<Taken, String> {
        Nats::take_answers(input, &mut self.owed)
    }

    fn subscribe(&mut self, topics: &[String], wire: &mut Wire) -> io::Result<()> {
        if self.batch > 1 {
            let [topic] = topics else { return Err(io::Error::other("it reads one topic")) };
            let (stream, mut out) = (id(topic), std::mem::take(&mut wire.output));
            self.ask_for_more(&stream, &mut out);
            self.read = Some(stream);
            wire.output = out;
            return wire.send();
        }
        let subscribe = |topic: &String| format!("SUB ps.r.{}.> {MESSAGES}\r\n", id(topic));
        let requests: String = topics.iter().map(subscribe).collect();
        wire.ask(format!("{requests}PING\r\n").as_bytes(), "PONG\r\n").map(drop)
    }

    fn received(
        &mut self,
        input: &[u8],
        each: &mut dyn FnMut(&[u8]),
        reply: &mut Vec<u8>,
    ) -> usize {
        let mut used = 0;
        while let Some((head, size)) = line(&input[used..]) {
            used += size;
            if head.starts_with(b"PING") {
                reply.extend_from_slice(b"PONG\r\n");
            }
            if !head.starts_with(b"HMSG ") {
                continue;
            }
            let text = String::from_utf8_lossy(head);
            let mut sizes = text.rsplit(' ').map(|word| word.parse().unwrap_or(0));
            let (all, headers) = (sizes.next().unwrap_or(0), sizes.next().unwrap_or(0));
            let Some(content) = input.get(used..used + all + 2) else { return used - size };
            used += all + 2;
            // The end of an answer has a status.
            if content.starts_with(b"NATS/1.0\r\n") {
                self.count += 1;
                each(&content[headers..all]);
            } else if let Some(stream) = &self.read {
                self.ask_for_more(stream, reply);
            }
        }
        used
    }

    fn stored(&mut self, topic: &str, port: u16) -> io::Result<Option<u64>> {
        self.nats.stored_in(&format!("ps-{}", id(topic)), port)
    }
}
