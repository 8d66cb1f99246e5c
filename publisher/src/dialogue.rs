//! `publisher ID`: each line of standard input is a topic and a message.
//!
//! A person types the lines, or they come through a pipe. Lines that arrive together are sent
//! together. A refused line is reported, and the next ones continue.

use crate::error::unreadable;
use crate::feed::{Feed, Source};
use crate::line_reader::LineReader;
use common::client::{Broker, Publisher};
use common::flags::Error;
use common::limits::BODY_SIZE_MAX;
use common::terminal::show;
use std::io::{self, IsTerminal};
use std::str;

/// How a line has to look.
const FORM: &str = "write <TOPIC> <MESSAGE>";

/// Publishes line after line under this id until the end of standard input.
pub(crate) fn converse(broker: Broker, id: &str) -> Result<(), Error> {
    let is_typed = io::stdin().is_terminal() && io::stdout().is_terminal();
    if is_typed {
        let address = broker.address();
        show(&format!(
            "You are {id} at the broker {address}: {FORM}, help or quit\n\
             (To publish to one topic: publisher --topic {id} <message>)\n"
        ));
    }
    let mut feed = Feed::new(Publisher::named(broker, id), Source::Dialogue);
    let mut lines = LineReader::new(io::stdin().lock(), BODY_SIZE_MAX);
    loop {
        if is_typed {
            show("> ");
        }
        let Some(line) = lines.next().map_err(|cause| unreadable(None, cause))? else {
            if is_typed {
                show("\n");
            }
            break;
        };
        let before = feed.publisher.acknowledged();
        match (line.text.map(<[u8]>::trim_ascii), line.text) {
            (Some(b"quit" | b"exit"), _) if is_typed => break,
            (Some(b"help"), _) if is_typed => show(&format!("{FORM}, help or quit\n")),
            (_, text) => match text.ok_or("a line is longer than 8 MiB").and_then(parse) {
                Ok(Some((topic, message))) => feed.send(0, topic, message)?,
                Ok(None) => {}
                Err(reason) => feed.leave_out(0, reason)?,
            },
        }
        if line.is_last_for_now {
            feed.flush()?;
        }
        if is_typed && feed.publisher.acknowledged() > before {
            show("published\n");
        }
    }
    feed.end()
}

/// Topic and message of a line; `None` if it is blank.
fn parse(line: &[u8]) -> Result<Option<(&str, &str)>, &'static str> {
    let line = str::from_utf8(line).map_err(|_| "a line is not UTF-8")?;
    let line = line.strip_suffix('\r').unwrap_or(line).trim_start();
    if line.trim_end().is_empty() {
        return Ok(None);
    }
    match line.split_once(' ') {
        Some((topic, message)) if !message.trim_end().is_empty() => Ok(Some((topic, message))),
        _ => Err(FORM),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_topic_and_a_message() {
        for (line, expected) in [
            ("t hello", Ok(Some(("t", "hello")))),
            ("t two  words ", Ok(Some(("t", "two  words ")))),
            ("  t hello\r", Ok(Some(("t", "hello")))),
            ("ü ü", Ok(Some(("ü", "ü")))),
            ("", Ok(None)),
            (" \r", Ok(None)),
            ("t", Err(FORM)),
            ("t ", Err(FORM)),
        ] {
            assert_eq!(parse(line.as_bytes()), expected, "{line:?}");
        }
        assert!(parse(b"t \xff").is_err());
    }
}
