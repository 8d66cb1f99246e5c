//! `subscriber --topic` and `--pattern`: prints messages as lines.
//!
//! # Guarantee
//!
//! Each message is printed once, and the messages of a topic in order, also if the broker is
//! restarted or the connection breaks. If a topic was deleted and created again, the program says
//! so and prints the new list from its start. If messages were removed before they were printed, it
//! says so and continues with the next one.

use crate::PROGRAM;
use crate::error;
use crate::list::{Answer, List};
use common::bytes;
use common::client::{Broker, Event, Message, Refusal, Start, Subscriber, Trouble};
use common::clock::plain_date;
use common::flags::{Error, nearest};
use common::http::percent;
use common::json::{self, Charset, Object};
use common::stream::{Cursor, StreamId};
use common::terminal::escaped;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

/// How much is written at once if many messages come.
const BUFFER_SIZE: usize = 64 << 10;

/// How many messages at once are read as a list rather than as events.
const MANY: u64 = 1_000;

/// How long the broker is asked to wait for a list with more messages.
const LIST_WAIT: Duration = Duration::from_secs(1);

/// How long the broker may take to list its topics, to find a mistyped one.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);

/// What is printed, and how.
#[derive(Debug, PartialEq, Eq)]
pub struct Print {
    /// The topics' names.
    pub topics: Vec<String>,
    /// Patterns that choose topics too.
    pub patterns: Vec<String>,
    /// The first message of each.
    pub start: Start,
    /// How many messages are still to be printed; `u64::MAX` for all that ever come.
    pub left: u64,
    /// The file to print to; `None` for standard output.
    pub output: Option<PathBuf>,
    /// Whether each message is a JSON object.
    pub is_json: bool,
    /// Whether the time stands before each message.
    pub has_time: bool,
    /// Whether a terminal shows them, which control characters could change.
    pub is_terminal: bool,
}

impl Print {
    /// Prints messages, up to their count.
    pub(crate) fn run(mut self, broker: &Broker) -> Result<(), Error> {
        let mut output: Box<dyn Write> = match &self.output {
            Some(path) => Box::new(File::create(path).map_err(|it| error::unusable(path, it))?),
            None => Box::new(io::stdout()),
        };
        while self.left > 0 {
            if self.is_plain() {
                self.print_lists(broker, &mut output)?;
            }
            if self.left > 0 {
                self.print_events(broker, &mut output)?;
            }
        }
        Ok(())
    }

    /// Whether a line is a message as it is, so that lists would do.
    fn is_plain(&self) -> bool {
        !self.has_topics() && !self.is_terminal && !self.is_json && !self.has_time
    }

    /// Whether lines are of several topics, and begin with their names.
    fn has_topics(&self) -> bool {
        self.topics.len() > 1 || !self.patterns.is_empty()
    }

    /// Prints messages of one topic as they are, while very many of them are there: a plain list
    /// needs a tenth of the processor time that events need. Whatever is unusual is left to the
    /// subscription that follows.
    fn print_lists(&mut self, broker: &Broker, output: &mut impl Write) -> Result<(), Error> {
        let Some(topic) = self.topics.first() else { return Ok(()) };
        let mut list = List::new(broker, topic);
        let start = match &self.start {
            Start::Now | Start::Name(_) => return Ok(()),
            Start::Offset(offset) => format!("&from={offset}"),
            Start::Last(count) => format!("&from=-{count}"),
            Start::Since(time) => format!("&since={}", percent::encode(time)),
            Start::Cursor(Cursor { next, stream }) => format!("&from={next}&stream={stream}"),
        };
        // Whatever follows would show a wrong token once more.
        let refused = |refusal| broker.refused("", refusal);
        let first = place(&mut list, &format!("{start}&limit=0"), Duration::ZERO);
        let Some(mut cursor) = first.map_err(refused)? else { return Ok(()) };
        loop {
            let before = cursor.next;
            let (Cursor { next, stream }, left, wait) = (cursor, self.left, LIST_WAIT.as_secs());
            let position = format!("&from={next}&stream={stream}&limit={left}&wait={wait}");
            let print = |lines: &[u8]| {
                let count = bytes::count(lines, |byte| byte == b'\n') as u64;
                (cursor.next, self.left) = (cursor.next + count, self.left.saturating_sub(count));
                output.write_all(lines)
            };
            let after = place(&mut list, &position, LIST_WAIT).map_err(refused)?;
            let result = after.map(|_| list.read(print));
            self.start = Start::Cursor(cursor);
            match result {
                Some(Err(Trouble::Sink(cause))) => {
                    return Err(error::unwritable(self.output.as_deref(), cause));
                }
                Some(Ok(())) if self.left > 0 && cursor.next >= before + MANY => {}
                _ => return Ok(()),
            }
        }
    }

    /// Prints messages as they come. Messages that have arrived are written together, and do not
    /// wait for later ones. Where lists would do, it ends when very many have arrived.
    fn print_events(&mut self, broker: &Broker, output: &mut impl Write) -> Result<(), Error> {
        let mut subscriber = Subscriber::new(broker.clone());
        self.subscribe(broker, &mut subscriber)?;
        let mut lines = Vec::new();
        // How many messages there were without a pause.
        let mut run = 0;
        while self.left > 0 {
            let event = subscriber.next_buffered();
            // Before an error too: what was read is printed.
            if !matches!(event, Ok(Some(_))) || lines.len() >= BUFFER_SIZE {
                self.write_lines(output, &mut lines)?;
            }
            let mut event = event?;
            if event.is_none() {
                run = 0;
                event = subscriber.next().transpose()?;
            }
            match event {
                Some(Event::Message(message)) => {
                    self.add_line(&mut lines, &message);
                    (self.left, run) = (self.left - 1, run + 1);
                    if run == MANY && self.is_plain() {
                        self.start = Start::Cursor(message.next());
                        break;
                    }
                }
                Some(event) => tell(&event),
                None => self.left = 0,
            }
        }
        self.write_lines(output, &mut lines)
    }

    fn write_lines(&self, output: &mut impl Write, lines: &mut Vec<u8>) -> Result<(), Error> {
        let written = output.write_all(lines).and_then(|()| output.flush());
        lines.clear();
        written.map_err(|cause| error::unwritable(self.output.as_deref(), cause))
    }

    fn subscribe(&self, broker: &Broker, subscriber: &mut Subscriber) -> Result<(), Error> {
        for pattern in &self.patterns {
            subscriber.subscribe_pattern(pattern, self.start.clone())?;
        }
        for topic in &self.topics {
            subscriber.subscribe(topic, self.start.clone())?;
            if subscriber.cursor(topic).is_none() {
                let near = near(broker, topic);
                let near = near.map(|name| format!("; there is {name:?}")).unwrap_or_default();
                PROGRAM.say(format_args!("there is no topic {topic:?} yet: waiting for it{near}"));
            }
        }
        Ok(())
    }

    /// Adds a message as a line.
    fn add_line(&self, line: &mut Vec<u8>, message: &Message) {
        let Message { topic, offset, text, time, publisher, .. } = message;
        if self.is_json {
            let charset = if self.is_terminal { Charset::Ascii } else { Charset::Utf8 };
            let mut object = Object::begin(line, charset);
            object.field("topic", &**topic).field("offset", *offset).field("message", text);
            object.field("time", *time).field("publisher", publisher.as_deref());
            object.end_line();
            return;
        }
        if self.has_time {
            line.extend_from_slice(plain_date(*time).as_bytes());
            line.push(b'\t');
        }
        if self.has_topics() {
            line.extend_from_slice(topic.as_bytes());
            line.push(b'\t');
        }
        let text = if self.is_terminal { escaped(text) } else { text.into() };
        line.extend_from_slice(text.as_bytes());
        line.push(b'\n');
    }
}

/// The place after the messages at a position of an existing topic, if the broker gives them.
///
/// # Errors
///
/// The broker does not take the token.
fn place(list: &mut List, position: &str, wait: Duration) -> Result<Option<Cursor>, Refusal> {
    match list.ask(position, wait) {
        Ok(Err(refusal)) if refusal.code == 401 => Err(refusal),
        Ok(Ok(Some(Answer { next, stream: Some(stream), .. }))) if stream != StreamId::NONE => {
            Ok(Some(Cursor { stream, next }))
        }
        _ => Ok(None),
    }
}

/// Tells the user about an event that is not a message.
fn tell(event: &Event) {
    let what = match event {
        Event::Trimmed { next, .. } => {
            &format!("no longer has the messages before offset {next}: it goes on there")
        }
        _ => "was deleted and created again: here it is from its start",
    };
    PROGRAM.say(format_args!("the topic {:?} {what}", event.topic()));
}

/// The name of an existing topic that is similar to a missing one.
fn near(broker: &Broker, topic: &str) -> Option<String> {
    let mut client = broker.http();
    let head = client.request("GET", "/topics", b"", LIST_TIMEOUT).ok()?;
    let list = client.short_body(LIST_TIMEOUT);
    let list = json::parse(&list).ok().filter(|_| head.status == 200)?;
    let names = list.as_array()?.iter().filter_map(|entry| entry.get_str("topic"));
    nearest(topic, names).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(topics: &[&str], is_json: bool, has_time: bool, is_terminal: bool) -> String {
        let print = Print {
            topics: topics.iter().map(|&topic| topic.to_owned()).collect(),
            patterns: Vec::new(),
            start: Start::Now,
            left: u64::MAX,
            output: None,
            is_json,
            has_time,
            is_terminal,
        };
        let message = Message {
            topic: "a b".into(),
            stream: "00000000000000aa".parse().unwrap(),
            offset: 7,
            text: "h\u{e9}\u{1b}".to_owned(),
            time: 1_000,
            publisher: None,
        };
        let mut line = Vec::new();
        print.add_line(&mut line, &message);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_message_is_a_line_with_what_was_asked_for_before_it() {
        assert_eq!(line(&["a b"], false, false, false), "h\u{e9}\u{1b}\n");
        assert_eq!(line(&["a b"], false, false, true), "h\u{e9}\\u{1b}\n");
        assert_eq!(line(&["a b"], false, true, false), "1970-01-01 00:00:01\th\u{e9}\u{1b}\n");
        assert_eq!(line(&["a b", "c"], false, false, false), "a b\th\u{e9}\u{1b}\n");
    }

    #[test]
    fn as_json_a_message_says_all_that_is_known() {
        assert_eq!(
            line(&["a b"], true, false, true),
            "{\"topic\":\"a b\",\"offset\":7,\"message\":\"h\\u00e9\\u001b\",\"time\":1000,\
             \"publisher\":null}\n"
        );
    }
}
