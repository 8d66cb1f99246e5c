//! NATS: the core, and `JetStream`.

use super::{Adapter, Owed, Taken, line, number_behind};
use crate::wire::Wire;
use std::io::{self, Write};

/// Subscriptions of a connection, by number: those to messages begin with the second.
const INBOX: u64 = 1;
const MESSAGES: u64 = 2;

/// Messages that a consumer that pulls asks for at once; so many more are always on their way.
const PULL_COUNT: u64 = 5_000;

/// The client protocol of NATS.
pub(crate) struct Nats {
    /// Whether messages go through a stream.
    stream: Option<Stream>,
    owed: Owed,
    /// Tells this connection's answers from those of others.
    pub(super) inbox: String,
    /// What asks for more messages; nothing where they are pushed.
    pull: Vec<u8>,
    /// Messages since it was last asked.
    pulled: u64,
}

/// How a stream is kept, and read.
#[derive(Clone, Copy)]
struct Stream {
    on_disk: bool,
    pull: bool,
}

impl Nats {
    pub(crate) fn core() -> Nats {
        Nats {
            stream: None,
            owed: Owed::default(),
            inbox: String::new(),
            pull: Vec::new(),
            pulled: 0,
        }
    }

    pub(crate) fn jet_stream(on_disk: bool, pull: bool) -> Nats {
        Nats { stream: Some(Stream { on_disk, pull }), ..Nats::core() }
    }

    /// Asks the stream's keeper.
    pub(super) fn request(&self, subject: &str, body: &str, wire: &mut Wire) -> io::Result<String> {
        let (inbox, size) = (&self.inbox, body.len());
        let request = format!("PUB $JS.API.{subject} {inbox}.0 {size}\r\n{body}\r\n");
        let answer = wire.ask(request.as_bytes(), "}\r\n")?;
        if answer.contains("\"error\"") { Err(io::Error::other(answer)) } else { Ok(answer) }
    }

    /// How many messages a stream has, asked on a connection of its own.
    pub(super) fn stored_in(&self, stream: &str, port: u16) -> io::Result<Option<u64>> {
        let mut wire = Wire::connect(port, 16 << 10)?;
        let mut other = Nats { stream: self.stream, ..Nats::core() };
        other.greet(&mut wire)?;
        let answer = other.request(&format!("STREAM.INFO.{stream}"), "", &mut wire)?;
        Ok(number_behind(&answer, "\"messages\":"))
    }

    /// Takes answers to publishes for which these are owed.
    pub(super) fn take_answers(input: &[u8], owed: &mut Owed) -> Result<Taken, String> {
        let mut taken = Taken::default();
        while let Some((head, size)) = line(&input[taken.size..]) {
            if head.starts_with(b"PONG") {
                taken.size += size;
                taken.count += owed.settle();
            } else if head.starts_with(b"MSG ") {
                let body_size = last_number(head);
                let Some(body) = input.get(taken.size + size..taken.size + size + body_size + 2)
                else {
                    break;
                };
                if !body.starts_with(b"{\"stream\"") {
                    return Err(String::from_utf8_lossy(body).into_owned());
                }
                taken.size += size + body_size + 2;
                taken.count += owed.settle();
            } else if head.starts_with(b"-ERR") || head.starts_with(b"HMSG") {
                return Err(String::from_utf8_lossy(head).into_owned());
            } else {
                taken.size += size;
            }
        }
        Ok(taken)
    }
}

impl Adapter for Nats {
    fn greet(&mut self, wire: &mut Wire) -> io::Result<()> {
        let port = wire.stream().local_addr()?.port();
        self.inbox = format!("_INBOX.{port}");
        let inbox = match self.stream {
            Some(_) => format!("SUB {}.* {INBOX}\r\n", self.inbox),
            None => String::new(),
        };
        let options = "{\"verbose\":false,\"pedantic\":false,\"headers\":true}";
        let greeting = format!("CONNECT {options}\r\n{inbox}PING\r\n");
        wire.ask(greeting.as_bytes(), "PONG\r\n").map(drop)
    }

    fn prepare(&mut self, topic: &str, wire: &mut Wire) -> io::Result<()> {
        let Some(stream) = self.stream else { return Ok(()) };
        let storage = if stream.on_disk { "file" } else { "memory" };
        let body = format!(
            "{{\"name\":\"{topic}\",\"subjects\":[\"{topic}\"],\"storage\":\"{storage}\",\
             \"retention\":\"limits\",\"max_msgs\":-1,\"num_replicas\":1}}"
        );
        self.request(&format!("STREAM.CREATE.{topic}"), &body, wire).map(drop)
    }

    fn publish(&mut self, topic: &str, message: &[u8], out: &mut Vec<u8>) {
        self.owed.add();
        out.extend_from_slice(b"PUB ");
        out.extend_from_slice(topic.as_bytes());
        if self.stream.is_some() {
            out.push(b' ');
            out.extend_from_slice(self.inbox.as_bytes());
            out.extend_from_slice(b".1");
            self.owed.close();
        }
        if message.len() == 100 {
            out.extend_from_slice(b" 100\r\n");
        } else {
            write!(out, " {}\r\n", message.len()).expect("a vector takes everything");
        }
        out.extend_from_slice(message);
        out.extend_from_slice(b"\r\n");
    }

    fn flush(&mut self, _topic: &str, out: &mut Vec<u8>) {
        // The core answers no publish, but it answers this behind them.
        if self.owed.close() > 0 {
            out.extend_from_slice(b"PING\r\n");
        }
    }

    fn answered(&mut self, input: &[u8]) -> Result<Taken, String> {
        Nats::take_answers(input, &mut self.owed)
    }

    fn subscribe(&mut self, topics: &[String], wire: &mut Wire) -> io::Result<()> {
        let Some(Stream { pull, .. }) = self.stream else {
            let subscribe = |(number, topic)| format!("SUB {topic} {number}\r\n");
            let requests: String = (MESSAGES..).zip(topics).map(subscribe).collect();
            return wire.ask(format!("{requests}PING\r\n").as_bytes(), "PONG\r\n").map(drop);
        };
        let subject = format!("_DELIVER{}", self.inbox.replace("_INBOX", ""));
        let to = match pull {
            true => String::new(),
            false => format!("\"deliver_subject\":\"{subject}\","),
        };
        let body = format!(
            "\"config\":{{{to}\"ack_policy\":\"none\",\"deliver_policy\":\"all\",\
             \"replay_policy\":\"instant\"}}"
        );
        for topic in topics {
            let body = format!("{{\"stream_name\":\"{topic}\",{body}}}");
            let answer = self.request(&format!("CONSUMER.CREATE.{topic}"), &body, wire)?;
            if pull {
                let name =
                    answer.split("\"name\":\"").nth(1).and_then(|rest| rest.split('"').next());
                let name = name.ok_or_else(|| io::Error::other(answer.clone()))?;
                let next = format!("$JS.API.CONSUMER.MSG.NEXT.{topic}.{name}");
                let body = format!("{{\"batch\":{PULL_COUNT}}}");
                let request = format!("PUB {next} {subject} {}\r\n{body}\r\n", body.len());
                self.pull = request.into_bytes();
            }
        }
        // Messages follow at once, and are not to be taken for part of an answer.
        write!(wire.output, "SUB {subject} {MESSAGES}\r\n")?;
        wire.output.extend_from_slice(&self.pull.repeat(2));
        wire.send()
    }

    fn received(
        &mut self,
        input: &[u8],
        each: &mut dyn FnMut(&[u8]),
        reply: &mut Vec<u8>,
    ) -> usize {
        let mut used = 0;
        while let Some((head, size)) = line(&input[used..]) {
            if head.starts_with(b"MSG ") {
                let body_size = last_number(head);
                let start = used + size;
                if input.len() < start + body_size + 2 {
                    break;
                }
                each(&input[start..start + body_size]);
                used = start + body_size + 2;
                self.pulled += 1;
                if self.pulled == PULL_COUNT {
                    self.pulled = 0;
                    reply.extend_from_slice(&self.pull);
                }
            } else {
                if head.starts_with(b"PING") {
                    reply.extend_from_slice(b"PONG\r\n");
                }
                used += size;
            }
        }
        used
    }

    fn stored(&mut self, topic: &str, port: u16) -> io::Result<Option<u64>> {
        if self.stream.is_none() {
            return Ok(None);
        }
        self.stored_in(topic, port)
    }
}

/// The number at the end of a line.
fn last_number(line: &[u8]) -> usize {
    let digits = line.iter().rev().take_while(|byte| byte.is_ascii_digit());
    digits
        .zip(0..)
        .fold(0, |number, (digit, place)| number + usize::from(digit - b'0') * 10_usize.pow(place))
}
