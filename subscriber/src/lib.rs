//! The subscriber: a topic's messages, in a file that is kept or on standard output.
//!
//! Modules in reading order:
//!
//! - `config`: the command line
//! - `topic_file`: the topic's name in `topic.txt`
//! - `keep`: a file that equals a topic, for ever
//! - `received`: that file, and how it is found after a crash
//! - `list`: a topic's list over HTTP
//! - `print`: messages to standard output, as they come
//! - `dialogue`: topics that a person types, and their deliveries; `desired_topics`: the list of
//!   these topics
//! - `error`: what is wrong with a file, in words for the user

#![forbid(unsafe_code)]

mod config;
mod desired_topics;
mod dialogue;
mod error;
#[cfg(test)]
mod fixture;
mod keep;
mod list;
mod print;
mod received;
mod topic_file;

pub use common::flags::Error;
pub use config::{Config, Form, PROGRAM};
pub use print::Print;

use std::path::Path;

/// The file that names the topic, in the working directory.
const TOPIC_FILE: &str = "topic.txt";

/// The file that is kept equal to the topic, in the working directory.
const RECEIVED_FILE: &str = "received.txt";

/// Does what the command line asks for. It ends only if a number of messages was given.
///
/// # Errors
///
/// A failure that another attempt cannot change.
pub fn run(config: Config) -> Result<(), Error> {
    let Config { broker, form } = config;
    let broker = broker.on_notice(|notice| PROGRAM.say(notice));
    let result = match form {
        Form::Keep => {
            let topic = topic_file::read(Path::new(TOPIC_FILE))?;
            keep::keep(broker, topic, Path::new(RECEIVED_FILE))
        }
        Form::Dialogue { id } => dialogue::converse(broker, &id),
        Form::Print(print) => print.run(&broker),
    };
    match result {
        // A reader that has closed standard output has seen enough.
        Err(error) if error.is_closed_pipe() => Ok(()),
        result => result,
    }
}
