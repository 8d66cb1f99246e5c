//! The broker's JSON door.

use super::{Adapter, Owed, Taken, line};
use crate::wire::Wire;
use std::io;

/// One object after another.
pub(crate) struct Json {
    /// Messages in each publish.
    batch: u64,
    /// Whether to be pushed to in the shorter dialect.
    channel: bool,
    owed: Owed,
}

impl Json {
    pub(crate) fn new(batch: usize, channel: bool) -> Json {
        Json { batch: batch as u64, channel, owed: Owed::default() }
    }
}

impl Adapter for Json {
    fn publish(&mut self, topic: &str, message: &[u8], out: &mut Vec<u8>) {
        let count = self.owed.add();
        if count == 1 {
            out.extend_from_slice(b"{\"command\":\"publish\",\"topic\":\"");
            out.extend_from_slice(topic.as_bytes());
            let key: &[u8] =
                if self.batch == 1 { b"\",\"message\":\"" } else { b"\",\"messages\":[\"" };
            out.extend_from_slice(key);
        } else {
            out.extend_from_slice(b",\"");
        }
        out.extend_from_slice(message);
        out.push(b'"');
        if count == self.batch {
            self.flush(topic, out);
        }
    }

    fn flush(&mut self, _topic: &str, out: &mut Vec<u8>) {
        if self.owed.close() > 0 {
            let end: &[u8] = if self.batch == 1 { b"}\n" } else { b"]}\n" };
            out.extend_from_slice(end);
        }
    }

    fn answered(&mut self, input: &[u8]) -> Result<Taken, String> {
        let mut taken = Taken::default();
        while let Some((answer, size)) = line(&input[taken.size..]) {
            if !answer.starts_with(b"{\"status\":\"success\"") {
                return Err(String::from_utf8_lossy(answer).into_owned());
            }
            taken.count += self.owed.settle();
            taken.size += size;
        }
        Ok(taken)
    }

    fn subscribe(&mut self, topics: &[String], wire: &mut Wire) -> io::Result<()> {
        let key = if self.channel { "channel" } else { "topic" };
        for topic in topics {
            let command = format!("{{\"command\":\"subscribe\",\"{key}\":\"{topic}\"}}\n");
            wire.ask(command.as_bytes(), "}\n")?;
        }
        Ok(())
    }

    fn received(
        &mut self,
        input: &[u8],
        each: &mut dyn FnMut(&[u8]),
        _reply: &mut Vec<u8>,
    ) -> usize {
        let (head, key): (&[u8], &[u8]) = match self.channel {
            true => (br#"{"type":"MESSAGE","channel":""#, br#"","message":""#),
            false => (br#"{"event":"message","topic":""#, br#"","offset":"#),
        };
        let mut used = 0;
        while let Some((line, size)) = line(&input[used..]) {
            used += size;
            let Some(rest) = line.strip_prefix(head) else { continue };
            let topic_size = rest.iter().take_while(|byte| **byte != b'"').count();
            let mut rest = rest[topic_size..].strip_prefix(key).unwrap_or_default();
            if !self.channel {
                let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                rest = rest[digits..].strip_prefix(br#","message":""#).unwrap_or_default();
            }
            each(rest);
        }
        used
    }

    fn stored(&mut self, topic: &str, port: u16) -> io::Result<Option<u64>> {
        super::http::stored_by_broker(topic, port)
    }
}
