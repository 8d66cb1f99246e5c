//! HTTP/1.1: the broker, nginx with nchan, and a file served by nginx.

use super::{Adapter, Owed, Taken, line, number_behind};
use crate::wire::Wire;
use std::io::{self, Write};

/// Whose paths to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Site {
    /// `POST /publish`, `GET /events`.
    Broker,
    /// `POST /topics/T` with so many lines, `GET /messages`.
    Lines(usize),
    /// `POST /publish`, `GET /T`, of a file that was there before.
    Bare,
    /// `POST /pub/T`, `GET /sub/T`.
    Nchan,
    /// `GET /T`, of a file that was there before.
    File,
}

/// Requests, one after another.
pub(crate) struct Http {
    site: Site,
    owed: Owed,
    /// Lines that wait for their request to be full.
    lines: Vec<u8>,
    /// Whether the head of an answer that is all messages is still to come.
    in_head: bool,
}

impl Http {
    pub(crate) fn new(site: Site) -> Http {
        Http { site, owed: Owed::default(), lines: Vec::new(), in_head: true }
    }
}

impl Adapter for Http {
    fn publish(&mut self, topic: &str, message: &[u8], out: &mut Vec<u8>) {
        let count = self.owed.add();
        match self.site {
            Site::Broker | Site::Bare => {
                let size = message.len() + topic.len() + r#"{"topic":"","message":""}"#.len();
                post(out, "/publish", "", size);
                for part in [b"{\"topic\":\"", topic.as_bytes(), b"\",\"message\":\"", message] {
                    out.extend_from_slice(part);
                }
                out.extend_from_slice(b"\"}");
                self.owed.close();
            }
            Site::Lines(full) => {
                self.lines.extend_from_slice(message);
                self.lines.push(b'\n');
                if count == full as u64 {
                    self.flush(topic, out);
                }
            }
            Site::Nchan => {
                post(out, "/pub/", topic, message.len());
                out.extend_from_slice(message);
                self.owed.close();
            }
            Site::File => unreachable!("nobody publishes to a file"),
        }
    }

    fn flush(&mut self, topic: &str, out: &mut Vec<u8>) {
        if self.owed.close() > 0 {
            post(out, "/topics/", topic, self.lines.len());
            out.append(&mut self.lines);
        }
    }

    fn answered(&mut self, input: &[u8]) -> Result<Taken, String> {
        let mut taken = Taken::default();
        while let Some(answer) = Answer::of(&input[taken.size..]) {
            if !matches!(answer.status, 200..=202) {
                return Err(format!("status {}", answer.status));
            }
            taken.count += self.owed.settle();
            taken.size += answer.size;
        }
        Ok(taken)
    }

    fn subscribe(&mut self, topics: &[String], wire: &mut Wire) -> io::Result<()> {
        let path = match self.site {
            Site::Broker => "/events?topic=",
            Site::Lines(_) => "/messages?topic=",
            Site::Nchan => "/sub/",
            Site::Bare | Site::File => "/",
        };
        let target = format!("{path}{}", topics.join("&topic="));
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        if matches!(self.site, Site::Lines(_) | Site::Bare | Site::File) {
            // The messages follow at once.
            wire.output.extend_from_slice(request.as_bytes());
            return wire.send();
        }
        // The broker sends a first block of its own; nchan a head alone.
        wire.ask(request.as_bytes(), "\r\n\r\n").map(drop)
    }

    fn received(
        &mut self,
        input: &[u8],
        each: &mut dyn FnMut(&[u8]),
        _reply: &mut Vec<u8>,
    ) -> usize {
        let mut used = 0;
        while let Some((line, size)) = line(&input[used..]) {
            used += size;
            let message = match self.site {
                Site::Lines(_) | Site::Bare | Site::File if self.in_head => {
                    self.in_head = !line.is_empty();
                    None
                }
                Site::Bare | Site::File => Some(line),
                // The lengths of chunks are short lines.
                Site::Lines(_) | Site::Nchan => Some(line).filter(|line| line.len() > 8),
                Site::Broker => line.strip_prefix(b"data: ").and_then(|event| {
                    let key = b"\"message\":\"";
                    let at = event.windows(key.len()).position(|window| window == key)?;
                    Some(&event[at + key.len()..])
                }),
            };
            if let Some(message) = message {
                each(message);
            }
        }
        used
    }

    fn stored(&mut self, topic: &str, port: u16) -> io::Result<Option<u64>> {
        match self.site {
            Site::Bare | Site::Nchan | Site::File => Ok(None),
            _ => stored_by_broker(topic, port),
        }
    }
}

/// How many messages the broker says that a topic holds.
pub(super) fn stored_by_broker(topic: &str, port: u16) -> io::Result<Option<u64>> {
    let mut wire = Wire::connect(port, 4096)?;
    let request = "GET /topics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answer = wire.ask(request.as_bytes(), "]\n")?;
    let of_topic = answer.split_once(&format!("\"{topic}\"")).map_or("", |(_, rest)| rest);
    Ok(Some(number_behind(of_topic, "\"messages\":").unwrap_or(0)))
}

fn post(out: &mut Vec<u8>, path: &str, topic: &str, size: usize) {
    write!(out, "POST {path}{topic} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n")
        .expect("a vector takes everything");
}

/// A whole answer.
struct Answer {
    status: u16,
    size: usize,
}

impl Answer {
    fn of(input: &[u8]) -> Option<Answer> {
        let (first, mut size) = line(input)?;
        let status = std::str::from_utf8(first.get(9..12)?).ok()?.parse().ok()?;
        let mut body_size = 0;
        loop {
            let (field, field_size) = line(&input[size..])?;
            size += field_size;
            if field.is_empty() {
                break;
            }
            let name = b"content-length:";
            if field.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)) {
                let value = std::str::from_utf8(&field[name.len()..]).ok()?;
                body_size = value.trim().parse().ok()?;
            }
        }
        let size = size + body_size;
        (input.len() >= size).then_some(Answer { status, size })
    }
}
