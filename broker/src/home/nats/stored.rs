//! Messages as the servers of their stream have them, and as this broker keeps them.

use super::names;
use super::wire::{self, Message};
use crate::home::remote;
use crate::refusal::Refusal;
use crate::store::Sequence;
use common::clock;
use common::http::percent;
use common::json::Value;

/// A message as a server of its stream has it.
pub(super) struct Stored {
    pub(super) at: u64,
    pub(super) subject: String,
    /// The epoch and the sequence of its publisher, where it is numbered.
    pub(super) number: Option<Sequence>,
    pub(super) payload: Vec<u8>,
    /// When it was stored, in Unix milliseconds.
    pub(super) time: u64,
}

impl Stored {
    /// The message that came as a message of its own, with what is known of it in its headers.
    pub(super) fn sent(message: &Message) -> Option<Stored> {
        let subject = message.header("Nats-Subject").unwrap_or_else(|| message.subject());
        Some(Stored {
            at: message.number("Nats-Sequence")?,
            subject: subject.to_owned(),
            number: message.header("N").and_then(number),
            payload: message.payload().to_vec(),
            time: message.time().unwrap_or(0),
        })
    }

    /// The message within the JSON of an answer.
    pub(super) fn of(answer: &Value<'_>) -> Option<Stored> {
        let message = answer.get("message")?;
        let text = |key| message.get_str(key).unwrap_or_default();
        let bytes = |key| base64(text(key));
        let (headers, payload) = (String::from_utf8(bytes("hdrs")?).ok()?, bytes("data")?);
        let at = message.get_u64("seq")?;
        let time = clock::moment(text("time"), 0).unwrap_or(0);
        let number = wire::header(&headers, "N").and_then(number);
        Some(Stored { at, subject: text("subject").to_owned(), number, payload, time })
    }
}

/// A message as this broker keeps it.
///
/// # Errors
///
/// Why it is none, in words.
pub(super) fn entry_of(message: &Message) -> Result<String, String> {
    let subject = message.header("Nats-Subject").unwrap_or_else(|| message.subject());
    let publisher = names::publisher(subject)
        .or_else(|| percent::decode(message.header("P")?, false).ok().map(String::from));
    let text = str::from_utf8(message.payload());
    let text = text.map_err(|_| Refusal::field("message", "is not UTF-8"));
    let time = message.time().unwrap_or(0);
    let entry = text.and_then(|text| remote::entry(text, time, publisher.as_deref()));
    let sequence = message.number("Nats-Sequence").unwrap_or(0);
    entry.map_err(|refusal| format!("sequence {sequence} of its stream: {refusal}"))
}

/// Epoch and sequence, as the header `N` has them.
fn number(text: &str) -> Option<Sequence> {
    let (epoch, sequence) = text.split_once(' ')?;
    Some(Sequence { epoch: epoch.parse().ok()?, sequence: sequence.parse().ok()? })
}

/// The bytes of a text in base64.
fn base64(text: &str) -> Option<Vec<u8>> {
    let (mut out, mut bits, mut count) = (Vec::with_capacity(text.len() / 4 * 3), 0_u32, 0);
    for digit in text.trim_end_matches('=').bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 255) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_in_base64_are_read() {
        let headers = base64("TkFUUy8xLjANCk46IDAgMA0KDQo=").unwrap();
        let headers = String::from_utf8(headers).unwrap();
        assert_eq!(headers, "NATS/1.0\r\nN: 0 0\r\n\r\n");
        let first = Sequence { epoch: 0, sequence: 0 };
        assert_eq!(number(wire::header(&headers, "N").unwrap()), Some(first));
        assert_eq!(base64("a*b"), None);
    }
}
