//! The text door: `SUBSCRIBE topic id`, `UNSUBSCRIBE topic id`, `PUBLISH topic message… id`, and
//! `AUTH token` first if a token is needed.
//!
//! A subscription belongs to the id, and writing a message acknowledges it. So it outlives the
//! connection: the next SUBSCRIBE by that id resumes all its topics, and sends what was published
//! in the meantime. A line is answered only if it cannot be read or is refused.

use super::{Commands, Next, Protocol};
use crate::access::Right;
use crate::activity::Activity;
use crate::broker::Broker;
use crate::push::{Beginning, Format};
use crate::refusal::{Refusal, Result};
use crate::store::{Outcome, Publisher};
use common::connection::Connection;
use common::limits::TEXT_LINE_OVERHEAD;
use std::io::Write;
use std::str;
use std::sync::Arc;

/// Serves a connection whose first word is a verb of this door.
#[inline(never)] // For the stack's sake: see `door::serve`.
pub(crate) fn serve(mut connection: Connection, activity: Arc<Activity>, broker: &Arc<Broker>) {
    let mut commands = Commands::new(&connection, activity, broker, Text::default());
    commands.run(&mut connection);
    commands.end(connection);
}

/// What a connection of this door keeps.
#[derive(Default)]
struct Text {
    /// Bytes of an unfinished line in which there is no line break.
    scanned: usize,
}

impl Protocol for Text {
    const NAME: &'static str = "text";
    const COMMAND: &'static str = "line";
    const HOW_TO_AUTHENTICATE: &'static str = "send AUTH <token> first";

    fn next(commands: &mut Commands<'_, Text>, input: &[u8]) -> Next {
        let scanned = commands.protocol.scanned;
        let rest = input.get(scanned..).unwrap_or_default();
        let end = rest.iter().position(|&byte| byte == b'\n').map(|end| scanned + end);
        let line = input.get(..end.unwrap_or(input.len())).unwrap_or_default();
        let size_max = commands.broker.message_size_max + TEXT_LINE_OVERHEAD;
        if line.len() > size_max {
            commands.refuse(&Refusal::LineSize { size_max });
            return Next::End;
        }
        if end.is_none() {
            commands.protocol.scanned = line.len();
            return Next::Unfinished;
        }
        commands.protocol.scanned = 0;
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        if is_http(text) {
            commands.refuse(&Refusal::Command("this is HTTP, and this session takes text lines"));
            return Next::End;
        }
        commands.line(text);
        Next::Handled { size: line.len() + 1 }
    }

    /// A last line may lack its line break.
    fn finish(commands: &mut Commands<'_, Text>, rest: &[u8]) {
        commands.line(rest);
    }

    fn memory(&mut self, unfinished: &[u8]) -> usize {
        unfinished.len()
    }

    /// Only refusals are answered.
    fn write_outcome(&mut self, out: &mut Vec<u8>, _: &Arc<str>, outcome: &Outcome) {
        if let Err(refusal) = outcome {
            self.write_refusal(out, refusal);
        }
    }

    fn write_refusal(&self, out: &mut Vec<u8>, refusal: &Refusal) {
        // Writing to a vector cannot fail.
        let _ = writeln!(out, "ERROR {refusal}");
    }
}

/// A line that was understood.
#[derive(Debug, PartialEq, Eq)]
enum Command<'a> {
    Authenticate { token: &'a str },
    Subscribe { topic: &'a str, id: &'a str },
    Unsubscribe { topic: &'a str, id: &'a str },
    Publish { topic: &'a str, message: &'a str, id: &'a str },
}

impl Commands<'_, Text> {
    fn line(&mut self, line: &[u8]) {
        let text = str::from_utf8(line).map_err(|_| "the line is not UTF-8");
        let done = match text.map(|text| (text, parse(text))) {
            Ok((text, _)) if text.trim().is_empty() => return,
            Ok((_, Ok(command))) => self.command(&command),
            _ if self.granted.is_none() => self.authenticate(None),
            Ok((_, Err(reason))) | Err(reason) => Err(Refusal::Command(reason)),
        };
        if let Err(refusal) = done {
            self.refuse(&refusal);
        }
    }

    fn command(&mut self, command: &Command<'_>) -> Result<()> {
        match *command {
            Command::Authenticate { token } => self.authenticate(Some(token)),
            _ if self.granted.is_none() => self.authenticate(None),
            Command::Publish { topic, message, id } => {
                self.grant()?.check(Right::Write, topic)?;
                let publisher = Publisher { name: id, sequence: None };
                let size_max = self.broker.message_size_max;
                self.batch.publish(topic, Some(publisher), [message].into_iter(), size_max)?;
                self.bound_batch();
                Ok(())
            }
            Command::Subscribe { topic, id } => {
                self.append();
                self.subscriber.check_lasting(id, self.grant()?)?;
                self.subscribe(topic, id)?;
                let all = self.broker.push.lasting.of(id);
                all.iter().try_for_each(|key| self.subscribe(&key.topic, id))
            }
            Command::Unsubscribe { topic, id } => {
                self.append();
                match self.subscriber.end_lasting(id, self.grant()?, |it| it == topic)? {
                    true => Ok(()),
                    false => self.grant()?.check(Right::Read, topic),
                }
            }
        }
    }

    fn subscribe(&mut self, topic: &str, id: &str) -> Result<()> {
        let begin = || {
            self.grant()?.check(Right::Read, topic)?;
            self.broker.prepare_for(&self.subscriber, topic)?;
            let mut places = vec![Beginning::asked(topic, self.broker.push.topics.end(topic))];
            self.subscriber.lasting(id, &mut places).map(|()| places)
        };
        let places = begin().inspect_err(|refusal| {
            self.broker.log.note("subscribed", topic, Some(refusal));
        })?;
        self.subscriber.subscribe(Vec::new(), places, Format::Text, Some(id), &mut self.answers);
        Ok(())
    }
}

/// Whether a line stands in the head of an HTTP request. A web page can send one whose method is a
/// verb of this door, and whose body is what somebody wants to publish.
fn is_http(line: &[u8]) -> bool {
    let version = line
        .last_chunk()
        .is_some_and(|end: &[u8; 9]| end.starts_with(b" HTTP/") && end.get(7) == Some(&b'.'));
    version || line.first_chunk().is_some_and(|name: &[u8; 5]| name.eq_ignore_ascii_case(b"host:"))
}

/// Takes a line apart. A message is all that stands between the topic and the last word; blanks
/// elsewhere may be any number.
fn parse(line: &str) -> Result<Command<'_>, &'static str> {
    let (verb, rest) = word(line);
    match verb {
        "AUTH" => Ok(Command::Authenticate { token: rest.trim() }),
        "PUBLISH" => {
            let form = "expected PUBLISH topic message id";
            let (topic, rest) = rest.split_once(' ').ok_or(form)?;
            let (message, id) = rest.rsplit_once(' ').ok_or(form)?;
            Ok(Command::Publish { topic, message, id })
        }
        "SUBSCRIBE" | "UNSUBSCRIBE" => match word(rest.trim()) {
            (topic, id) if !id.is_empty() && !id.contains(' ') => Ok(match verb {
                "SUBSCRIBE" => Command::Subscribe { topic, id },
                _ => Command::Unsubscribe { topic, id },
            }),
            _ if verb == "SUBSCRIBE" => Err("expected SUBSCRIBE topic id"),
            _ => Err("expected UNSUBSCRIBE topic id"),
        },
        _ => Err("expected SUBSCRIBE, UNSUBSCRIBE or PUBLISH"),
    }
}

/// The first word of a text and what stands behind it, without the blanks around either.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_matches(' ');
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    (word, rest.trim_start_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_apart() {
        assert_eq!(parse("SUBSCRIBE a b"), Ok(Command::Subscribe { topic: "a", id: "b" }));
        assert_eq!(parse("UNSUBSCRIBE a b "), Ok(Command::Unsubscribe { topic: "a", id: "b" }));
        assert_eq!(parse("AUTH a "), Ok(Command::Authenticate { token: "a" }));
        for line in ["PUBLISH a two  words b", " PUBLISH  a two  words b "] {
            assert_eq!(
                parse(line),
                Ok(Command::Publish { topic: "a", message: "two  words", id: "b" })
            );
        }
        assert_eq!(parse("SUBSCRIBE  a   b"), Ok(Command::Subscribe { topic: "a", id: "b" }));
        let empty = Command::Publish { topic: "a", message: "", id: "b" };
        assert_eq!(parse("PUBLISH a  b"), Ok(empty));
    }

    #[test]
    fn a_line_of_an_http_head_is_none_of_this_door() {
        for line in ["SUBSCRIBE /x HTTP/1.1", "PUBLISH / HTTP/1.0", "Host: a", "host:a"] {
            assert!(is_http(line.as_bytes()), "{line}");
        }
        for line in ["", "PUBLISH a HTTP/1.1 ann", "PUBLISH a Host: ann", " Host: a", "HTTP/1.1"] {
            assert!(!is_http(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn what_is_no_command_says_what_was_expected() {
        for (line, word) in [
            ("SUBSCRIBE", "SUBSCRIBE topic id"),
            ("SUBSCRIBE a", "SUBSCRIBE topic id"),
            ("UNSUBSCRIBE a b c", "UNSUBSCRIBE topic id"),
            ("PUBLISH a", "PUBLISH topic message id"),
            ("PUBLISH a b", "PUBLISH topic message id"),
            ("subscribe a b", "SUBSCRIBE, UNSUBSCRIBE or PUBLISH"),
        ] {
            assert!(parse(line).unwrap_err().contains(word), "{line}");
        }
    }
}
