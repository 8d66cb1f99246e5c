//! `subscriber ID`: a person types topics, and their messages are printed.
//!
//! One thread reads the typed lines, the other one reads deliveries of the text door.
//! The subscriptions belong to the id: the broker keeps messages while nobody is there, and the
//! subscriptions continue when the id is back.

use crate::PROGRAM;
use crate::desired_topics::DesiredTopics;
use crate::error;
use common::client::{Broker, Outage, Trouble};
use common::connect::{CONNECT_TIMEOUT, connect};
use common::connection::Connection;
use common::flags::Error;
use common::http::client::CLOSED;
use common::limits::{BODY_SIZE_MAX, TEXT_LINE_OVERHEAD};
use common::retry;
use common::terminal::{above_prompt, escaped, show};
use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, str, thread};

#[cfg(test)]
mod tests;

/// How long a host may take to take what it is sent.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the broker may be silent before something is sent, by which a connection that is no
/// longer one is found out.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How long after a complaint the broker may close because of it.
const COMPLAINT_PAUSE: Duration = Duration::from_millis(100);

/// The longest line of a broker, whatever its limit for messages.
const LINE_SIZE_MAX: usize = BODY_SIZE_MAX + TEXT_LINE_OVERHEAD;

/// How a connection failed.
type Failure = retry::Failure<Error>;

/// Subscribes to the typed topics, and prints their messages. Without a terminal it continues after
/// the end of standard input, if there is a subscription.
pub(crate) fn converse(broker: Broker, id: &str) -> Result<(), Error> {
    let is_typed = io::stdin().is_terminal() && io::stdout().is_terminal();
    let prompt = if is_typed { "> " } else { "" };
    if is_typed {
        let address = broker.address();
        show(&format!(
            "You are {id} at the broker {address}: {HELP}\n\
             (To print the messages of a topic: subscriber --topic {id})\n"
        ));
    }
    let topics = Arc::new(DesiredTopics::new(id.to_owned()));
    let typed = Arc::clone(&topics);
    thread::spawn(move || listen(io::stdin().lock(), &typed, prompt));
    let broker = broker.on_notice(move |notice| tell(prompt, notice));
    let mut dialogue = Dialogue::new(broker, topics, io::stdout(), io::stdout().is_terminal());
    dialogue.prompt = prompt;
    let failed = |dialogue: &mut Dialogue<_>, trouble| Ok(dialogue.outage.failed(trouble)?);
    retry::repeat(&mut dialogue, failed, Dialogue::run)
}

/// Takes typed lines, until the end of input.
fn listen(typed: impl BufRead, topics: &DesiredTopics, prompt: &str) {
    let mut lines = typed.split(b'\n');
    loop {
        show(prompt);
        let Some(Ok(line)) = lines.next() else { break };
        let Ok(line) = str::from_utf8(&line) else {
            PROGRAM.say("a line is not UTF-8");
            continue;
        };
        let words: Vec<_> = line.split_whitespace().collect();
        let verb = words.first().map(|verb| verb.to_ascii_lowercase()).unwrap_or_default();
        match (verb.as_str(), words.as_slice()) {
            (_, []) => {}
            (verb @ ("subscribe" | "unsubscribe"), [_, topic]) => {
                let is_wanted = verb == "subscribe";
                let (before, after) = if is_wanted { ("", "") } else { ("not ", " any more") };
                if !prompt.is_empty() {
                    show(&format!("{before}subscribed to {topic:?}{after}\n"));
                }
                if let (line, Some(stream)) = topics.set(topic, is_wanted) {
                    // A lost line is sent again on the next connection.
                    let _ = (&*stream).write_all(line.as_bytes());
                }
            }
            ("quit" | "exit", [_]) => break,
            _ => PROGRAM.say(HELP),
        }
    }
    topics.complete(!prompt.is_empty());
}

/// Tells something while a line is waited for.
fn tell(prompt: &str, line: impl fmt::Display) {
    if prompt.is_empty() {
        PROGRAM.say(line);
    } else {
        let line = above_prompt(&format!("{}: {line}", PROGRAM.name), prompt);
        let _ = write!(io::stderr(), "{line}");
    }
}

/// What can be typed.
const HELP: &str =
    "write subscribe <TOPIC>, unsubscribe <TOPIC>, help or quit; a topic is one word";

/// The deliveries of the topics that a person types.
struct Dialogue<W> {
    outage: Outage,
    topics: Arc<DesiredTopics>,
    output: W,
    /// Whether the output is a terminal, which control characters of messages could change.
    is_terminal: bool,
    /// The text after the printed lines.
    prompt: &'static str,
    /// The last line, if the broker complained in it and may be about to close.
    complaint: Option<String>,
}

impl<W: Write> Dialogue<W> {
    fn new(broker: Broker, topics: Arc<DesiredTopics>, output: W, is_terminal: bool) -> Self {
        let outage = Outage::new(broker);
        Dialogue { outage, topics, output, is_terminal, prompt: "", complaint: None }
    }

    /// One connection, unless there is nothing more to ask for.
    fn run(&mut self) -> Result<(), Failure> {
        if !self.topics.wait() {
            return Ok(());
        }
        self.complaint = None;
        let received = self.receive();
        self.topics.disconnected();
        received?;
        Err(match &self.complaint {
            // The broker closes after a complaint if nothing can follow.
            Some(reason) => self.refused(reason),
            None => Trouble::Invalid(CLOSED).into(),
        })
    }

    /// Prints what is delivered over a new connection until the broker closes it.
    fn receive(&mut self) -> Result<(), Failure> {
        let broker = self.outage.broker();
        let mut connection = connect(broker.address(), CONNECT_TIMEOUT)?;
        let token = broker.shown_token().map(|token| format!("AUTH {token}\n"));
        let token = token.unwrap_or_default();
        let stream = Arc::clone(connection.stream());
        let tell = |lines: &str| send(&mut connection, (token + lines).as_bytes());
        self.topics.connected(stream, tell)?;
        loop {
            let patience = if self.complaint.is_some() { COMPLAINT_PAUSE } else { SILENCE_MAX };
            match connection.fill(Some(Instant::now() + patience)) {
                Ok(0) => return Ok(()),
                Ok(_) => {
                    let end = connection.buffered().iter().rposition(|&byte| byte == b'\n');
                    if self.take(connection.take(end.map_or(0, |end| end + 1)))? {
                        self.outage.succeeded();
                    }
                    if connection.buffered().len() > LINE_SIZE_MAX {
                        return Ok(());
                    }
                }
                Err(Trouble::TimedOut) if self.complaint.is_some() => self.complain(),
                // An empty line means nothing, and has to arrive.
                Err(Trouble::TimedOut) => send(&mut connection, b"\n")?,
                Err(trouble) => return Err(trouble.into()),
            }
        }
    }

    /// Takes whole lines. True if one of them is a delivery.
    fn take(&mut self, lines: &[u8]) -> Result<bool, Failure> {
        let mut text = Vec::new();
        let mut lacks_token = false;
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            self.complain();
            if line.starts_with(b"DELIVER ") {
                if self.is_terminal {
                    let line = String::from_utf8_lossy(line);
                    let line = format!(">> {}", escaped(line.trim_end_matches('\n')));
                    let shown = match self.prompt {
                        "" => line + "\n",
                        prompt => above_prompt(&line, prompt),
                    };
                    text.extend_from_slice(shown.as_bytes());
                } else {
                    text.extend_from_slice(b">> ");
                    text.extend_from_slice(line);
                }
            } else if let Some(reason) = line.strip_prefix(b"ERROR ") {
                let reason = String::from_utf8_lossy(reason);
                // Nothing will be delivered, also after another attempt.
                lacks_token = reason.contains(" AUTH ");
                if lacks_token {
                    break;
                }
                self.complaint = Some(escaped(reason.trim_end()).into_owned());
            }
        }
        if !text.is_empty() {
            let written = self.output.write_all(&text).and_then(|()| self.output.flush());
            written.map_err(|cause| error::unwritable(None, cause))?;
        }
        if lacks_token {
            return Err(self.refused(self.outage.broker().token_advice()));
        }
        Ok(!text.is_empty())
    }

    fn refused(&self, reason: &str) -> Failure {
        let text = format!("the broker at {} refused: {reason}", self.outage.broker().address());
        Failure::Final(Error::new(text))
    }

    /// Tells the user about a complaint of the broker.
    fn complain(&mut self) {
        if let Some(reason) = self.complaint.take() {
            tell(self.prompt, format_args!("the broker says: {reason}"));
        }
    }
}

fn send(connection: &mut Connection, bytes: &[u8]) -> Result<(), Trouble> {
    connection.write_all(bytes, Some(Instant::now() + SEND_TIMEOUT))
}
