//! Redis: streams, and publish/subscribe.

use super::{Adapter, Taken, line, number_behind};
use crate::wire::Wire;
use std::io::{self, Write};

/// The most that is asked of one `XREAD`.
const READ_COUNT: u32 = 1000;

/// The Redis serialisation protocol, version 2.
pub(crate) struct Resp {
    streams: bool,
    topic: String,
    /// The id of the last message read.
    last: Vec<u8>,
    /// Messages of the present reply that are still to come.
    left: u64,
}

impl Resp {
    pub(crate) fn streams() -> Resp {
        Resp { streams: true, topic: String::new(), last: b"0-0".to_vec(), left: 0 }
    }

    pub(crate) fn publish_subscribe() -> Resp {
        Resp { streams: false, ..Resp::streams() }
    }

    fn read_on(&self, out: &mut Vec<u8>) {
        let count = READ_COUNT.to_string();
        let words =
            [b"XREAD", b"COUNT", count.as_bytes(), b"BLOCK", b"0", b"STREAMS"].map(|word| word);
        write!(out, "*{}\r\n", words.len() + 2).expect("a vector takes everything");
        for word in words.into_iter().chain([self.topic.as_bytes(), &self.last]) {
            bulk(out, word);
        }
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

    /// The beginning of a reply to `XREAD`: how many messages follow, and how many bytes it took.
    fn beginning(input: &[u8]) -> Option<(u64, usize)> {
        let mut reader = Reader { input, used: 0 };
        reader.line()?;
        reader.line()?;
        reader.bulk()?;
        let count = reader.number()?;
        Some((count as u64, reader.used))
    }
}

impl Adapter for Resp {
    fn publish(&mut self, topic: &str, message: &[u8], out: &mut Vec<u8>) {
        if self.streams {
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

    fn subscribe(&mut self, topic: &str, wire: &mut Wire) -> io::Result<()> {
        self.topic = topic.to_owned();
        if self.streams {
            let mut request = Vec::new();
            self.read_on(&mut request);
            wire.output.extend_from_slice(&request);
            // Answered with the first message.
            wire.send()
        } else {
            let request = format!("*2\r\n$9\r\nSUBSCRIBE\r\n${}\r\n{topic}\r\n", topic.len());
            wire.ask(request.as_bytes(), ":1\r\n").map(drop)
        }
    }

    fn received(
        &mut self,
        input: &[u8],
        each: &mut dyn FnMut(&[u8]),
        reply: &mut Vec<u8>,
    ) -> usize {
        let mut used = 0;
        if !self.streams {
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
                let Some((count, size)) = Resp::beginning(&input[used..]) else { return used };
                self.left = count;
                used += size;
            }
            let Some((id, message, size)) = Resp::entry(&input[used..]) else { return used };
            each(message);
            used += size;
            self.left -= 1;
            if self.left == 0 {
                self.last = id.to_vec();
                self.read_on(reply);
            }
        }
    }

    fn stored(&mut self, topic: &str, port: u16) -> io::Result<Option<u64>> {
        if !self.streams {
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
