//! What one broker says to another, as bytes: the dialect of topics, and what it has for rings.

use crate::push::Push;
use crate::refusal::Refusal;
use crate::store::stream::{Cursor, StreamId};
use common::json;
use std::io::Write;
use std::time::Duration;

/// A command about a topic.
pub(super) fn about(command: &str, topic: &str) -> Vec<u8> {
    let mut text = format!("{{\"command\":\"{command}\",\"topic\":").into_bytes();
    json::write_string_ascii(&mut text, topic);
    text.extend_from_slice(b"}\n");
    text
}

/// What another broker says of a path: most likely that it closes a ring.
pub(super) fn ring_or(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Home { status: 508, .. } => Refusal::Ring,
        other => other,
    }
}

/// The command that asks whether the path from here leads back to a broker in `seen`, and how
/// long the answer may take.
pub(super) fn path(seen: &[String], time: Duration) -> Vec<u8> {
    let mut command = b"{\"command\":\"path\",\"seen\":[".to_vec();
    for (index, id) in seen.iter().enumerate() {
        command.extend_from_slice(if index > 0 { b"," } else { b"" });
        json::write_string_ascii(&mut command, id);
    }
    // Writing to a vector cannot fail.
    let _ = writeln!(command, "],\"milliseconds\":{}}}", time.as_millis());
    command
}

/// The command that takes a topic up at the end of its mirror.
pub(super) fn subscribe(topic: &str, push: &Push) -> Vec<u8> {
    // What is not a mirror is of no concern to the home.
    let end = push.topics.end(topic);
    let Cursor { stream, next } =
        if push.topics.is_mirror(topic) { end } else { Cursor { stream: StreamId::NONE, next: 0 } };
    let mut command = b"{\"command\":\"subscribe\",\"topic\":".to_vec();
    json::write_string_ascii(&mut command, topic);
    let _ = writeln!(command, ",\"from\":{next},\"stream\":\"{stream}\"}}");
    command
}
