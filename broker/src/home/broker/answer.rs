//! The answer of another broker: a success, or the reason why not.

use crate::home::remote;
use crate::push::Piece;
use crate::refusal::{Refusal, Result};
use crate::store::{Entry, Receipt, StreamId};
use common::json::Value;

/// Why another broker does not do what it was asked, where an answer says that: what a client of
/// this broker is told.
pub(super) fn refusal(answer: &Value<'_>) -> Option<Refusal> {
    if text(answer, "status") == Some("success") {
        return None;
    }
    let code = number(answer, "code").and_then(|code| u16::try_from(code).ok());
    let status = code.filter(|status| (400..=599).contains(status)).unwrap_or(502);
    let detail = |key| number(answer, key);
    Some(match status {
        409 if let Some(expected) = detail("expected") => Refusal::Gap { expected },
        403 if let Some(present) = detail("epoch") => Refusal::OldEpoch { present },
        410 if let Some(first) = detail("first") => {
            Refusal::Trimmed { first, next: detail("next").unwrap_or(first) }
        }
        508 => Refusal::Ring,
        _ => {
            let text = text(answer, "message").unwrap_or("no reason given").to_owned();
            Refusal::Home { status, text }
        }
    })
}

/// What the home says of a publish that it took.
pub(super) fn receipt(answer: &Value<'_>) -> Receipt {
    let count = |key| number(answer, key).unwrap_or(0);
    let flag = |key| answer.get(key).and_then(Value::as_bool).unwrap_or(false);
    Receipt {
        stream: stream(answer).unwrap_or(StreamId::NONE),
        offset: number(answer, "offset"),
        appended: count("appended"),
        duplicate: flag("duplicate"),
        durable: flag("durable"),
        replicas: number(answer, "replicas"),
        created: false,
    }
}

/// The entries of an answer, of which the first stands where it says.
///
/// # Errors
///
/// Where they are none.
pub(super) fn piece(answer: &Value<'_>) -> Result<Piece> {
    let texts = array(answer, "entries");
    let entry = |value: &Value<'_>| {
        let Entry { message, time, publisher } = Entry::of(value.as_str().unwrap_or_default());
        let time = time.parse().map_err(|_| Refusal::field("time", "is no time"))?;
        remote::entry(message, time, publisher)
    };
    let first = number(answer, "from").ok_or_else(|| Refusal::field("from", "is missing"));
    let entries = texts.iter().map(entry).collect::<Result<_>>();
    let piece =
        first.and_then(|first| Ok(Piece { first, entries: entries?, digest: digest(answer) }));
    piece.map_err(|refusal| Refusal::Home {
        status: 502,
        text: format!("the topic's home sends what are no messages: {refusal}"),
    })
}

/// The digest that stands under a key.
pub(super) fn digest(answer: &Value<'_>) -> Option<u32> {
    text(answer, "digest").and_then(|digest| u32::from_str_radix(digest, 16).ok())
}

/// The stream that an answer or an event names.
pub(super) fn stream(object: &Value<'_>) -> Option<StreamId> {
    text(object, "stream").and_then(|text| text.parse().ok())
}

pub(super) fn array<'v, 'a>(object: &'v Value<'a>, key: &str) -> &'v [Value<'a>] {
    object.get(key).and_then(Value::as_array).unwrap_or_default()
}

pub(super) fn text<'v>(object: &'v Value<'_>, key: &str) -> Option<&'v str> {
    object.get(key).and_then(Value::as_str)
}

pub(super) fn number(object: &Value<'_>, key: &str) -> Option<u64> {
    object.get(key).and_then(Value::as_u64)
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
