//! A topic's messages as lines, as they come: `subscriber --topic`.
//!
//! # Guarantee
//!
//! Each message of the list is printed once and in order, also when the broker is restarted or
//! the connection is cut. Where the topic was deleted and created again, it says so and prints the
//! new list from its start.

use crate::PROGRAM;
use crate::error::Error;
use common::client::{Broker, Event, Start, Subscriber};
use common::terminal::escaped;
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is written at once where messages come in bulk.
const BUFFER_SIZE: usize = 64 << 10;

/// Prints `count` messages, or all that ever come, to the file or to standard output.
///
/// A reader that has closed standard output has seen enough: that is a success.
pub(crate) fn print(
    broker: Broker,
    topic: &str,
    from: Option<u64>,
    count: Option<u64>,
    path: Option<PathBuf>,
) -> Result<(), Error> {
    let path = path.filter(|path| path.as_os_str() != "-");
    let is_terminal = path.is_none() && io::stdout().is_terminal();
    let output: Box<dyn Write> = match &path {
        Some(path) => {
            let fail = |cause| Error::File { path: path.clone(), cause };
            Box::new(File::create(path).map_err(fail)?)
        }
        None => Box::new(io::stdout()),
    };
    match print_to(
        output,
        is_terminal,
        path.as_deref(),
        Subscriber::new(broker),
        topic,
        from,
        count,
    ) {
        Err(Error::Write { cause, .. }) if cause.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn print_to(
    output: impl Write,
    is_terminal: bool,
    path: Option<&Path>,
    mut subscriber: Subscriber,
    topic: &str,
    from: Option<u64>,
    count: Option<u64>,
) -> Result<(), Error> {
    let fail = |cause| Error::Write { path: path.map(Path::to_owned), cause };
    let mut output = BufWriter::with_capacity(BUFFER_SIZE, output);
    let mut left = count.unwrap_or(u64::MAX);
    if left > 0 {
        subscriber.subscribe(topic, from.map_or(Start::Now, Start::Offset))?;
    }
    while left > 0 {
        // What has come is printed together; nothing that was printed waits for what comes.
        let mut event = subscriber.next_within(Duration::ZERO)?;
        if event.is_none() {
            output.flush().map_err(fail)?;
            event = subscriber.next().transpose()?;
        }
        match event {
            Some(Event::Message(message)) => {
                let text = &message.text;
                let text = if is_terminal { escaped(text) } else { text.into() };
                writeln!(output, "{text}").map_err(fail)?;
                left -= 1;
            }
            Some(Event::Reset { .. }) => {
                PROGRAM.say("the topic was deleted and created again: here it is from its start");
            }
            None => break,
        }
    }
    output.flush().map_err(fail)
}
