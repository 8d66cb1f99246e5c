//! The publisher: messages from the command line to a broker, each exactly once and in order.
//!
//! Modules in reading order:
//!
//! - `config`: the command line
//! - `sender`: one message after another, repeated until the broker has it
//! - `numbers`: what makes repeating safe
//! - `answer`: what the broker says to a publish
//! - `error`: why the publisher gives up

#![forbid(unsafe_code)]

mod answer;
mod config;
mod error;
mod numbers;
mod sender;

pub use config::{Config, PROGRAM};
pub use error::Error;

use sender::Sender;

/// Publishes the messages one after the other; each is in the broker before the next is sent.
///
/// # Errors
///
/// The first message that could not be published, and why.
pub fn run(config: Config) -> Result<(), Error> {
    let Config { location, messages, wait } = config;
    let mut sender = Sender::new(location.into(), wait);
    messages.iter().try_for_each(|(topic, message)| sender.publish(topic, message))
}
