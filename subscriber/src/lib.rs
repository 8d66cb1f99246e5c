//! The subscriber: a topic's messages, in a file that is kept or on standard output.
//!
//! Modules in reading order:
//!
//! - `config`: the command line
//! - `topic_file`: the topic's name in `topic.txt`
//! - `attempts`: one request after another, whatever fails
//! - `keep`: a file that equals a topic, for ever
//! - `received`: that file, and how it is found after a crash
//! - `print`: messages to standard output, as they come
//! - `dialogue`: topics that somebody types, and what is delivered; `wishes`: which they are
//! - `question`: what is asked of the broker, and what it answers
//! - `lines`: whole lines out of the pieces of a body; `comparison`: what of them is new
//! - `error`: why the subscriber ends, or tries again

#![forbid(unsafe_code)]

mod attempts;
mod comparison;
mod config;
mod dialogue;
mod error;
#[cfg(test)]
mod fixture;
mod keep;
mod lines;
mod print;
mod question;
mod received;
mod topic_file;
mod wishes;

pub use config::{Config, Form, PROGRAM};
pub use error::{Error, Trouble};

use std::path::Path;

/// The file that names the topic, in the working directory.
const TOPIC_FILE: &str = "topic.txt";

/// The file that is kept equal to the topic, in the working directory.
const RECEIVED_FILE: &str = "received.txt";

/// Does what the command line asks for: for ever, unless it says how many messages.
///
/// # Errors
///
/// What cannot get better by trying again.
pub fn run(config: Config) -> Result<(), Error> {
    let Config { location, form } = config;
    match form {
        Form::Keep => {
            let topic = topic_file::read(Path::new(TOPIC_FILE))?;
            keep::keep(location.into(), topic, Path::new(RECEIVED_FILE))
        }
        Form::Dialogue { id } => dialogue::converse(&location, &id),
        Form::Print { topic, from, count, output } => {
            print::print(location.into(), topic, from, count, output)
        }
    }
}
