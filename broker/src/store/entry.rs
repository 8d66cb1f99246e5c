//! An entry: a message and its stamp in one line of text each.
//!
//! `message` `\n` `time` or `message` `\n` `time` ` ` `publisher`, where the time is in Unix
//! milliseconds. No message holds a line break, so the first one ends it; no stamp holds one
//! either, so entries laid one after another, each ended by a line break, can be told apart.

use crate::refusal::{Refusal, Result};
use common::bytes;
use common::limits::{PEER_NAME_SIZE_MAX, TOPIC_NAME_SIZE_MAX};

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// The text that was published.
    pub(crate) message: &'a str,
    /// When, in Unix milliseconds: the digits, as [`stamp`] wrote them, which most readers are
    /// given as they are.
    pub(crate) time: &'a str,
    /// By whom, where that was said.
    pub(crate) publisher: Option<&'a str>,
}

impl<'a> Entry<'a> {
    /// Takes an entry apart.
    pub(crate) fn of(entry: &'a str) -> Entry<'a> {
        let (message, stamp) = entry.split_once('\n').unwrap_or((entry, "0"));
        Entry::new(message, stamp)
    }

    /// The entry of a message and its stamp.
    pub(crate) fn new(message: &'a str, stamp: &'a str) -> Entry<'a> {
        match stamp.split_once(' ') {
            Some((time, publisher)) => Entry { message, time, publisher: Some(publisher) },
            None => Entry { message, time: stamp, publisher: None },
        }
    }

    /// When, as a number.
    pub(crate) fn milliseconds(&self) -> u64 {
        self.time.parse().unwrap_or_default()
    }
}

/// Bytes of a stamp that names no publisher, until the year 2286.
const PLAIN_STAMP_SIZE: usize = "\n1767225600000".len();

/// The message of an entry.
pub(crate) fn message(entry: &str) -> &str {
    let bytes = entry.as_bytes();
    let usual = bytes.len().wrapping_sub(PLAIN_STAMP_SIZE);
    // An entry has one line break, and most stamps have the same size: one look finds it. Else it
    // is searched for from the back, as a message may be long.
    let end = match bytes.get(usual) {
        Some(b'\n') => Some(usual),
        _ => bytes.iter().rposition(|byte| *byte == b'\n'),
    };
    end.and_then(|end| entry.get(..end)).unwrap_or(entry)
}

/// The first place at or behind so many bytes where a text may be cut.
pub(crate) fn boundary(text: &str, at: usize) -> usize {
    (at..text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len())
}

/// What follows the message of an entry.
pub(crate) fn stamp_of(entry: &str) -> &str {
    entry.get(message(entry).len()..).unwrap_or_default()
}

/// Bytes of the messages of entries that have the same stamp, each with a line break.
pub(crate) fn text_size(entries: &[String]) -> u64 {
    let stamp = entries.first().map_or(0, |entry| stamp_of(entry).len());
    entries.iter().map(|entry| (entry.len() + 1 - stamp) as u64).sum()
}

/// The second line of an entry, with the line break before it.
pub(crate) fn stamp(time: u64, publisher: Option<&str>) -> String {
    match publisher {
        Some(publisher) => format!("\n{time} {publisher}"),
        None => format!("\n{time}"),
    }
}

/// Puts an entry together; it takes exactly the memory that it needs.
pub(crate) fn compose(message: &str, stamp: &str) -> String {
    let mut entry = String::with_capacity(message.len() + stamp.len());
    entry.push_str(message);
    entry.push_str(stamp);
    entry
}

/// Whether `message` may be stored: one line, no NUL, at most `size_max` bytes.
pub(crate) fn check_message(message: &str, size_max: usize) -> Result<()> {
    if message.len() > size_max {
        return Err(Refusal::MessageSize { size: message.len(), size_max });
    }
    if !bytes::is_one_line(message) {
        return Err(Refusal::field("message", "holds a line break or NUL; it must be one line"));
    }
    Ok(())
}

/// Whether `name` may name a topic.
pub(crate) fn check_topic(name: &str) -> Result<()> {
    check_name("topic", name)
}

/// Whether `name` may name a topic, a publisher or a subscriber; `field` is where it was given.
pub(crate) fn check_name(field: &'static str, name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Refusal::field(field, "is empty"));
    }
    if name.len() > TOPIC_NAME_SIZE_MAX {
        return Err(Refusal::field(field, "is longer than 255 bytes"));
    }
    if name.chars().any(char::is_control) {
        return Err(Refusal::field(field, "holds a control character"));
    }
    Ok(())
}

const _: () = assert!(TOPIC_NAME_SIZE_MAX == 255 && PEER_NAME_SIZE_MAX == 255);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_apart_as_it_was_put_together() {
        for publisher in [None, Some("ann"), Some("two words")] {
            for text in ["", "plain", " 1 2 ", "ünï\u{1F600}"] {
                let composed = compose(text, &stamp(17, publisher));
                assert_eq!(Entry::of(&composed), Entry { message: text, time: "17", publisher });
                assert_eq!(message(&composed), text);
                let usual = compose(text, &stamp(1_767_225_600_000, publisher));
                assert_eq!(message(&usual), text);
                assert_eq!(composed.capacity(), composed.len());
            }
        }
    }

    #[test]
    fn a_message_is_one_line_within_its_limit() {
        assert!(check_message("", 0).is_ok());
        assert!(check_message("four", 4).is_ok());
        assert!(check_message("four+", 4).is_err());
        for bad in ["a\nb", "\r", "nul\0"] {
            assert!(check_message(bad, 100).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_topic_is_named_by_1_to_255_bytes_without_control_characters() {
        for good in ["a", "/", "..", "with space", "ü", &"x".repeat(255)] {
            assert!(check_topic(good).is_ok(), "{good:?}");
        }
        for bad in ["", "a\tb", "\u{7f}", "\u{85}", &"x".repeat(256)] {
            assert!(check_topic(bad).is_err(), "{bad:?}");
        }
    }
}
