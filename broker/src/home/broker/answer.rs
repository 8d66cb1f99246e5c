//! The answer of another broker: a success, or the reason why not.

use crate::home::remote;
use crate::push::Piece;
use crate::refusal::{Refusal, Result};
use crate::store::{Entry, Limits, Receipt, StreamId};
use common::json::Value;
use common::units;

/// Why another broker does not do what it was asked, where an answer says that: what a client of
/// this broker is told.
pub(super) fn refusal(answer: &Value<'_>) -> Option<Refusal> {
    if answer.get_str("status") == Some("success") {
        return None;
    }
    let code = answer.get_u64("code").and_then(|code| u16::try_from(code).ok());
    let status = code.filter(|status| (400..=599).contains(status)).unwrap_or(502);
    Some(match status {
        409 if let Some(expected) = answer.get_u64("expected") => Refusal::Gap { expected },
        403 if let Some(present) = answer.get_u64("epoch") => Refusal::OldEpoch { present },
        410 if let Some(first) = answer.get_u64("first") => {
            Refusal::Trimmed { first, next: answer.get_u64("next").unwrap_or(first) }
        }
        508 => Refusal::Ring,
        _ => {
            let text = answer.get_str("message").unwrap_or("no reason given").to_owned();
            Refusal::Home { status, text }
        }
    })
}

/// What the home says of a publish that it took.
pub(super) fn receipt(answer: &Value<'_>) -> Receipt {
    Receipt {
        stream: stream(answer).unwrap_or(StreamId::NONE),
        offset: answer.get_u64("offset"),
        appended: answer.get_u64("appended").unwrap_or(0),
        duplicate: answer.is_true("duplicate"),
        durable: answer.is_true("durable"),
        replicas: answer.get_u64("replicas"),
        created: false,
    }
}

/// The entries of an answer, of which the first stands where it says.
///
/// # Errors
///
/// Where they are none.
pub(super) fn piece(answer: &Value<'_>) -> Result<Piece> {
    let entry = |value: &Value<'_>| {
        let Entry { message, time, publisher } = Entry::of(value.as_str().unwrap_or_default());
        let time = time.parse().map_err(|_| Refusal::field("time", "is no time"))?;
        remote::entry(message, time, publisher)
    };
    let first = answer.get_u64("from").ok_or_else(|| Refusal::field("from", "is missing"));
    let entries = answer.get_array("entries").iter().map(entry).collect::<Result<_>>();
    let piece =
        first.and_then(|first| Ok(Piece { first, entries: entries?, digest: digest(answer) }));
    piece.map_err(|refusal| Refusal::Home {
        status: 502,
        text: format!("the topic's home sends what are no messages: {refusal}"),
    })
}

/// What a topic keeps.
pub(super) fn limits(answer: &Value<'_>) -> Limits {
    let age = answer.get_str("keep_for").and_then(|age| units::milliseconds(age).ok());
    let (messages, bytes) = (answer.get_u64("keep_messages"), answer.get_u64("keep_bytes"));
    Limits { messages, bytes, age }
}

/// The digest that stands under a key.
pub(super) fn digest(answer: &Value<'_>) -> Option<u32> {
    answer.get_str("digest").and_then(|digest| u32::from_str_radix(digest, 16).ok())
}

/// The stream that an answer or an event names.
pub(super) fn stream(object: &Value<'_>) -> Option<StreamId> {
    object.get_str("stream").and_then(|text| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::json;

    #[test]
    fn a_refusal_has_the_status_of_one() {
        for (code, status) in [
            ("400", 400),
            ("599", 599),
            ("0", 502),
            ("200", 502),
            ("399", 502),
            ("600", 502),
            ("65936", 502),
            ("-1", 502),
            ("\"404\"", 502),
        ] {
            let answer = format!("{{\"status\":\"error\",\"message\":\"no\",\"code\":{code}}}");
            let answer = json::parse(answer.as_bytes()).unwrap();
            assert_eq!(refusal(&answer).unwrap().status(), status, "{code}");
        }
        let answer = json::parse(b"{\"status\":\"success\",\"code\":500}").unwrap();
        assert!(refusal(&answer).is_none());
    }
}
