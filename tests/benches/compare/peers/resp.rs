//! Redis: streams, and publish/subscribe.

use super::{Adapter, Taken, line, number_behind};
use crate::wire::Wire;
use std::io::{self, Write};

/// The most that is asked of one `XREAD` or `XRANGE`.
const READ_COUNT: u32 = 1000;

/// The Redis serialisation protocol, version 2.
pub(crate) struct Resp {
    mode: Mode,
    topics: Vec<String>,
    /// The id of the last message read of each topic.
    last: Vec<Vec<u8>>,
    /// Topics of the present reply that are still to come.
    topics_left: u64,
    /// Messages of the present topic that are still to come, and where it stands in `topics`.
    left: u64,
    topic: usize,
}

/// Which commands to use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `XADD`, `XREAD`.
    Read,
    /// `XADD`, `XRANGE` of one topic.
    Range,
    /// `PUBLISH`, `SUBSCRIBE`.
    PublishSubscribe,
}

impl Resp {
    pub(crate) fn new(mode: Mode) -> Resp {
        Resp { mode, topics: Vec::new(), last: Vec::new(), topics_left: 0, left: 0, topic: 0 }
    }

    /// Asks for the messages behind the last ones.
    fn read_on(&self, out: &mut Vec<u8>) {
        let count = READ_COUNT.to_string();
        let count = count.as_bytes();
        if self.mode == Mode::Range {
            let from = [b"(", self.last[0].as_slice()].concat();
            return command(
                out,
                &[b"XRANGE", self.topics[0].as_bytes(), &from, b"+", b"COUNT", count],
            );
        }
        let mut words: Vec<&[u8]> = vec![b"XREAD", b"COUNT", count, b"BLOCK", b"0", b"STREAMS"];
        words.extend(self.topics.iter().map(|topic| topic.as_bytes()));
        words.extend(self.last.iter().map(|last| last.as_slice()));
        command(out, &words);
    }

    /// One message of a stream: its id, its text, and how many bytes both took.
    fn entry(input: &[u8]) -> Option<(&[u8], &[u8], usize)> {
        let mut reader = Reader { input, used: 0 };
        reader.line()?;
        let id = reader.bulk()?;
        reader.line()?;
        reader.bulk()?;
        let message = reader.bulk()?;
        Some((id, message, reader.used))
    }

    /// Takes what comes before the next message in the reply to `XREAD` or `XRANGE`: how many
    /// bytes that is.
    fn begin(&mut self, input: &[u8]) -> Option<usize> {
        let mut reader = Reader { input, used: 0 };
        if self.mode == Mode::Range {
            self.left = reader.number()? as u64;
            return Some(reader.used);
        }
        let topics_left = match self.topics_left {
            0 => reader.number()? as u64,
            left => left,
        };
        reader.line()?;
        let name = reader.bulk()?;
        self.left = reader.number()? as u64;
        self.topics_left = topics_left - 1;
        // Topics come in the order in which they were named.
        while self.topics[self.topic].as_bytes() != name {
            self.topic = (self.topic + 1) % self.topics.len();
        }
        Some(reader.used)
    }
}

impl Adapter for Resp {
    fn publish(&mut self, topic: &str, message: &[u8], out: &mut Vec<u8>) {
        if self.mode != Mode::PublishSubscribe {
            out.extend_from_slice(b"*5\r\n$4\r\nXADD\r\n");
            bulk(out, topic.as_bytes());
            out.extend_from_slice(b"$1\r\n*\r\n$1\r\nm\r\n");
        } else {
            out.extend_from_slice(b"*3\r\n$7\r\nPUBLISH\r\n");
            bulk(out, topic.as_bytes());
        }
        bulk(out, message);
    }

    fn answered(&mut self, input: &[u8]) -> Result<Taken, String> {
        let mut taken = Taken::default();
        let mut reader = Reader { input, used: 0 };
        while let Some(kind) = input.get(taken.size) {
            let whole = match kind {
                b'$' => reader.bulk().is_some(),
                b':' => reader.line().is_some(),
                _ => return Err(String::from_utf8_lossy(&input[taken.size..]).into_owned()),
            };
            if !whole {
                break;
            }
            taken.count += 1;
            taken.size = reader.used;
        }
        Ok(taken)
    }

    fn subscribe(&mut self, topics: &[String], wire: &mut Wire) -> io::Result<()> {
        if self.mode == Mode::PublishSubscribe {
            for (number, topic) in (1..).zip(topics) {
                let request = format!("*2\r\n$9\r\nSUBSCRIBE\r\n${}\r\n{topic}\r\n", topic.len());
                wire.ask(request.as_bytes(), &format!(":{number}\r\n"))?;
            }
            return Ok(());
        }
        self.topics = topics.to_vec();
        self.last = vec![b"0-0".to_vec(); topics.len()];
        let mut request = Vec::new();
        self.read_on(&mut request);
        wire.output.append(&mut request);
        // Answered with the first message.
        wire.send()
    }

    fn received(
        &mut self,
        input: &[u8],
        each: &mut dyn FnMut(&[u8]),
        reply: &mut Vec<u8>,
    ) -> usize {
        let mut used = 0;
        if self.mode == Mode::PublishSubscribe {
            loop {
                let mut reader = Reader { input: &input[used..], used: 0 };
                let message = (|| {
                    reader.line()?;
                    reader.bulk()?;
                    reader.bulk()?;
                    reader.bulk()
                })();
                let Some(message) = message else { return used };
                each(message);
                used += reader.used;
            }
        }
        loop {
            if self.left == 0 {
                let Some(size) = self.begin(&input[used..]) else { return used };
                used += size;
                if self.left == 0 {
                    continue;
                }
            }
            let Some((id, message, size)) = Resp::entry(&input[used..]) else { return used };
            each(message);
            used += size;
            self.left -= 1;
            if self.left == 0 {
                self.last[self.topic] = id.to_vec();
                if self.topics_left == 0 {
                    self.read_on(reply);
                }
            }
        }
    }

    fn stored(&mut self, topic: &str, port: u16) -> io::Result<Option<u64>> {
        if self.mode == Mode::PublishSubscribe {
            return Ok(None);
        }
        let mut wire = Wire::connect(port, 4096)?;
        let request = format!("*2\r\n$4\r\nXLEN\r\n${}\r\n{topic}\r\n", topic.len());
        let answer = wire.ask(request.as_bytes(), "\r\n")?;
        if answer.starts_with('-') {
            return Err(io::Error::other(answer));
        }
        Ok(number_behind(&answer, ":"))
    }
}

/// Writes a command.
fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    write!(out, "*{}\r\n", words.len()).expect("a vector takes everything");
    words.iter().for_each(|word| bulk(out, word));
}

fn bulk(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'$');
    match text.len() {
        // The usual ones, without the cost of formatting: the benchmark shares the machine.
        size @ 0..10 => out.push(b'0' + u8::try_from(size).expect("one digit")),
        100 => out.extend_from_slice(b"100"),
        size => write!(out, "{size}").expect("a vector takes everything"),
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

/// Takes elements from the front.
struct Reader<'a> {
    input: &'a [u8],
    used: usize,
}

impl<'a> Reader<'a> {
    fn line(&mut self) -> Option<&'a [u8]> {
        let (line, size) = line(&self.input[self.used..])?;
        self.used += size;
        Some(line)
    }

    /// The number of a `*` or `$`.
    fn number(&mut self) -> Option<usize> {
        let digits = self.line()?.get(1..)?;
        Some(digits.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0')))
    }

    /// Nothing is taken where it is not whole.
    fn bulk(&mut self) -> Option<&'a [u8]> {
        let before = self.used;
        let size = self.number()?;
        let text = self.input.get(self.used..self.used + size);
        if self.input.len() < self.used + size + 2 {
            self.used = before;
            return None;
        }
        self.used += size + 2;
        text
    }
}
