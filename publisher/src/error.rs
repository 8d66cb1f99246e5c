//! What the user hears of messages that were not published, and of input that cannot be read.

use common::client::{self, Trouble};
use common::flags::Error;
use std::io;
use std::path::Path;

/// The client library failed, at this line of the input, after so many messages.
pub(crate) fn of_client(cause: &client::Error, line: Option<u64>, published: u64) -> Error {
    let text = match (cause, line) {
        (client::Error::GaveUp { address, trouble: Trouble::Answer(reason) }, _) => {
            format!("the broker at {address} cannot take messages: {reason}")
        }
        (client::Error::GaveUp { address, trouble }, _) => format!(
            "no answer from the broker at {address} ({trouble}): start it, name another with \
             --broker, or give it longer with --wait"
        ),
        (cause, Some(line)) => format!("line {line}: {cause}"),
        (cause, None) => cause.to_string(),
    };
    Error::new(text + &before(published))
}

/// A line of the input cannot be a message.
pub(crate) fn of_line(number: u64, reason: &str, published: u64) -> Error {
    Error::new(format!("line {number} {reason}{}", before(published)))
}

/// A file, or standard input, cannot be read.
pub(crate) fn unreadable(path: Option<&Path>, cause: io::Error) -> Error {
    let name = path.map_or("standard input".to_owned(), |path| path.display().to_string());
    Error::new(format!("{name} cannot be read")).because(cause)
}

/// How many messages were published before an error.
fn before(published: u64) -> String {
    match published {
        0 => String::new(),
        1 => "; 1 message was published before".to_owned(),
        _ => format!("; {published} messages were published before"),
    }
}
