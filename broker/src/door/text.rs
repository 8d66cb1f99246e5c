//! The text door: `SUBSCRIBE topic id`, `UNSUBSCRIBE topic id`, `PUBLISH topic message… id`, and
//! `AUTH token` first where a token is asked for.
//!
//! A subscription belongs to the id, and acknowledges what was written: it outlives the
//! connection, and the next SUBSCRIBE by that id brings all its topics back, with what was
//! published meanwhile. Only what does not parse is answered.

use super::ANSWERS_SIZE;
use super::entrance::Entrance;
use super::publish::BATCH_MAX;
use crate::broker::Broker;
use crate::push::format::Format;
use crate::push::subscriber::Subscriber;
use crate::refusal::Refusal;
use crate::store::batch::{Batch, Publisher};
use common::connection::Connection;
use common::limits::TEXT_LINE_OVERHEAD;
use std::io::Write;
use std::str;
use std::sync::Arc;

/// How the token is shown in this door.
const HOW: &str = "send AUTH <token> first";

/// Serves a connection whose first word is a verb of this door.
#[inline(never)] // For the stack's sake: see `attend`.
pub(crate) fn serve(mut connection: Connection, broker: &Arc<Broker>) {
    let mut desk = Desk {
        broker,
        subscriber: Subscriber::new(Arc::clone(connection.stream()), &broker.push),
        entrance: Entrance::new(&broker.access),
        batch: Batch::default(),
        answers: Vec::new(),
    };
    let line_size_max = broker.message_size_max + TEXT_LINE_OVERHEAD;
    let mut share = broker.input_budget.share();
    // Bytes of an unfinished line in which there is no line break.
    let mut scanned = 0;
    'session: loop {
        let input = connection.buffered();
        let mut used = 0;
        while let Some(size) =
            input.get(used + scanned..).and_then(|rest| rest.iter().position(|&it| it == b'\n'))
        {
            let line = input.get(used..used + scanned + size).unwrap_or_default();
            if line.len() > line_size_max {
                break;
            }
            used += line.len() + 1;
            scanned = 0;
            desk.line(line.strip_suffix(b"\r").unwrap_or(line));
            if desk.answers.len() >= ANSWERS_SIZE && !desk.send() {
                break 'session;
            }
        }
        desk.flush();
        if desk.entrance.is_shut() {
            break;
        }
        scanned = input.len() - used;
        if scanned > line_size_max {
            let _ = writeln!(
                desk.answers,
                "ERROR the line is longer than {line_size_max} bytes (--max-message)"
            );
            break;
        }
        if used > 0 {
            share.give_back();
        }
        if let Err(refusal) = share.grow(scanned) {
            let _ = writeln!(desk.answers, "ERROR {refusal}");
            break;
        }
        connection.consume(used);
        match connection.fill(None) {
            Ok(0) => {
                // A last line may lack its line break.
                desk.line(connection.buffered());
                desk.flush();
                break;
            }
            Ok(_) => {}
            // What had come of a line may be a command by chance.
            Err(_) => break,
        }
    }
    desk.subscriber.finish(&mut desk.answers);
    super::linger(&mut connection);
}

/// What a session has on hand between two reads.
struct Desk<'a> {
    broker: &'a Arc<Broker>,
    subscriber: Subscriber,
    entrance: Entrance,
    /// Publishes that were read and not yet appended.
    batch: Batch,
    answers: Vec<u8>,
}

/// A line that was understood.
#[derive(Debug, PartialEq, Eq)]
enum Command<'a> {
    Authenticate { token: &'a str },
    Subscribe { topic: &'a str, id: &'a str },
    Unsubscribe { topic: &'a str, id: &'a str },
    Publish { topic: &'a str, message: &'a str, id: &'a str },
}

impl Desk<'_> {
    fn line(&mut self, line: &[u8]) {
        if self.entrance.is_shut() {
            return;
        }
        let told = |refusal: Refusal| (refusal.status(), refusal.to_string());
        let text = str::from_utf8(line).map_err(|_| "the line is not UTF-8");
        let done = match text.map(|text| (text, parse(text))) {
            Ok((text, _)) if text.trim().is_empty() => return,
            Ok((_, Ok(command))) => self.command(&command).map_err(told),
            _ if !self.entrance.is_open() => {
                let shown = self.entrance.show(&self.broker.access, None, HOW);
                shown.map_err(told)
            }
            Ok((_, Err(reason))) | Err(reason) => Err((400, reason.to_owned())),
        };
        if let Err((status, reason)) = done {
            self.broker.metrics.refused(status);
            self.append();
            let _ = writeln!(self.answers, "ERROR {reason}");
        }
    }

    fn command(&mut self, command: &Command<'_>) -> Result<(), Refusal> {
        match *command {
            Command::Authenticate { token } => {
                self.entrance.show(&self.broker.access, Some(token), HOW)?;
            }
            _ if !self.entrance.is_open() => {
                self.entrance.show(&self.broker.access, None, HOW)?;
            }
            Command::Publish { topic, message, id } => {
                let publisher = Publisher { name: id, number: None };
                let size_max = self.broker.message_size_max;
                self.batch.publish(topic, Some(publisher), [message].into_iter(), size_max)?;
                if self.batch.publishes.len() >= BATCH_MAX {
                    self.append();
                }
            }
            Command::Subscribe { topic, id } => {
                self.append();
                self.subscribe(topic, id)?;
                for topic in self.broker.push.lasting.topics(id) {
                    self.subscribe(&topic, id)?;
                }
            }
            Command::Unsubscribe { topic, id } => {
                self.append();
                self.broker.push.end_lasting(id, topic)?;
            }
        }
        Ok(())
    }

    fn subscribe(&mut self, topic: &str, id: &str) -> Result<(), Refusal> {
        self.broker.prepare_for(&self.subscriber, topic)?;
        let begin = |end| self.subscriber.lasting(id, topic, end);
        let answers = &mut self.answers;
        self.subscriber.subscribe(topic, Format::Text, Some(id), begin, answers, |_, _| {})
    }

    /// Appends what is in the batch and delivers it; only refusals are answered.
    fn append(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        for outcome in self.broker.publish(&mut self.batch) {
            if let Err(refusal) = outcome {
                let _ = writeln!(self.answers, "ERROR {refusal}");
            }
        }
        self.broker.push.announce_batch(&self.batch);
        self.batch.clear();
    }

    fn flush(&mut self) {
        self.append();
        self.send();
    }

    /// Sends the answers, and waits while many of them wait to be read. False when the session is
    /// over, which its next read notices as well.
    fn send(&mut self) -> bool {
        self.subscriber.answer(&mut self.answers)
    }
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
