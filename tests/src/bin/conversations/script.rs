//! The script of a conversation.

use crate::dice::Dice;
use std::fmt;

/// Stands for the last stream id that the broker named.
pub(crate) const STREAM: &str = "@STREAM@";

/// What a client does, on the connection of this number.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Sends bytes. A connection is opened by the first of them.
    Send(usize, Vec<u8>),
    /// Reads until this text has come so many times since the connection began.
    Until(usize, String, usize),
    /// Sends nothing more, and reads until the broker ends the connection.
    End(usize),
    /// Goes away.
    Leave(usize),
}

/// What the clients of one conversation do, in order.
#[derive(Debug)]
pub(crate) struct Script {
    /// The number of the conversation, which its topics begin with.
    pub(crate) index: u64,
    pub(crate) steps: Vec<Step>,
}

impl Script {
    /// One in which nothing is done yet.
    pub(crate) fn new(index: u64) -> Script {
        Script { index, steps: Vec::new() }
    }

    /// The name of a topic that no other conversation has.
    pub(crate) fn topic(&self, name: &str) -> String {
        format!("c{}-{name}", self.index)
    }

    pub(crate) fn send(&mut self, connection: usize, bytes: impl AsRef<[u8]>) {
        self.steps.push(Step::Send(connection, bytes.as_ref().to_vec()));
    }

    /// Sends bytes in two pieces.
    pub(crate) fn send_cut(&mut self, connection: usize, bytes: &[u8], at: usize) {
        let (head, tail) = bytes.split_at(at.min(bytes.len()));
        self.send(connection, head);
        self.send(connection, tail);
    }

    /// Sends a request in two pieces, cut in its first line: a broker that refuses a request
    /// closes the connection or does not, as the body has come or has not.
    pub(crate) fn send_line_cut(&mut self, connection: usize, bytes: &[u8], dice: &mut Dice) {
        let line = bytes.windows(2).position(|end| end == b"\r\n").unwrap_or(bytes.len());
        self.send_cut(connection, bytes, dice.below(line));
    }

    pub(crate) fn until(&mut self, connection: usize, text: &str, times: usize) {
        self.steps.push(Step::Until(connection, text.to_owned(), times));
    }

    pub(crate) fn end(&mut self, connection: usize) {
        self.steps.push(Step::End(connection));
    }

    pub(crate) fn leave(&mut self, connection: usize) {
        self.steps.push(Step::Leave(connection));
    }

    /// Sends bytes on a connection of their own, and waits for its end.
    pub(crate) fn say(&mut self, connection: usize, bytes: impl AsRef<[u8]>) {
        self.send(connection, bytes);
        self.end(connection);
    }
}

impl fmt::Display for Script {
    /// For people who look for the reason of a difference.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--- conversation {}", self.index)?;
        for step in &self.steps {
            match step {
                Step::Send(connection, bytes) => {
                    write!(f, "\n{connection}> {:.1000}", bytes.escape_ascii().to_string())?;
                }
                Step::Until(connection, text, times) => {
                    write!(f, "\n{connection}  until {text:?} came {times} times")?;
                }
                Step::End(connection) => write!(f, "\n{connection}  ends its input")?,
                Step::Leave(connection) => write!(f, "\n{connection}  leaves")?,
            }
        }
        Ok(())
    }
}
