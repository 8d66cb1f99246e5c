//! The publisher: messages to a broker, each exactly once and in order.
//!
//! Modules in reading order:
//!
//! - `config`: the command line
//! - `sender`: the messages of the command line, one after another, over HTTP
//! - `feed`: messages on their way, many at a time
//! - `dialogue`: lines that name their topics
//! - `lines`: every line of a file or of standard input; `file`: one that is published in several
//!   runs; `line_reader`: lines in large pieces; `progress`: how far it is
//! - `repeat`: the same messages again and again
//! - `error`: what the user hears of messages that were not published, and of input that cannot be
//!   read

#![forbid(unsafe_code)]

mod config;
mod dialogue;
mod error;
mod feed;
mod file;
mod line_reader;
mod lines;
mod progress;
mod repeat;
mod sender;

pub use common::flags::Error;
pub use config::{Config, Form, PROGRAM};

use sender::Sender;
use std::fmt;
use std::io::{self, IsTerminal, Write};

/// Publishes what the command line asks for.
///
/// # Errors
///
/// The first message that could not be published, and why.
pub fn run(config: Config) -> Result<(), Error> {
    let Config { broker, form, wait } = config;
    let broker = broker.on_notice(|notice| say(notice)).patience(wait);
    match form {
        Form::Messages(messages) => {
            let mut sender = Sender::new(broker);
            messages.iter().try_for_each(|(topic, message)| sender.publish(topic, message))
        }
        Form::Dialogue { id } => dialogue::converse(broker, &id),
        Form::Lines { topic, file: Some(file), id: Some(id) } => {
            lines::resume(broker, &topic, &file, &id)
        }
        Form::Lines { topic, file, .. } => lines::publish(broker, &topic, file.as_deref()),
        Form::Repeat { topics, messages, period } => {
            repeat::repeat(broker, &topics, &messages, period)
        }
    }
}

/// Tells the user something, in the place of a progress bar that may stand there.
fn say(line: impl fmt::Display) {
    if io::stderr().is_terminal() {
        // Nobody has to see it.
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    PROGRAM.say(line);
}
