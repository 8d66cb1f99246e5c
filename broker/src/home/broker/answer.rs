//! What another broker answers: a success, or why not.

use crate::refusal::Refusal;
use crate::store::admission::Receipt;
use crate::store::stream::StreamId;
use common::json::Value;

/// Why another broker does not do what it was asked.
pub(super) struct Rejection {
    pub(super) reason: Reason,
    /// What a client of this broker is told.
    pub(super) refusal: Refusal,
}

/// Reasons that are acted upon. This is the one place that knows their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    Token,
    NotFound,
    Exists,
    OtherList,
    Away,
    Ring,
    Other,
}

impl Reason {
    fn of(code: u16) -> Reason {
        match code {
            401 => Reason::Token,
            404 => Reason::NotFound,
            409 => Reason::Exists,
            410 | 412 | 416 => Reason::OtherList,
            503 => Reason::Away,
            508 => Reason::Ring,
            _ => Reason::Other,
        }
    }
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Rejection {
        Rejection { reason: Reason::Other, refusal }
    }
}

/// The rejection that an answer is, if it is one.
pub(super) fn rejection(answer: &Value<'_>) -> Option<Rejection> {
    if text(answer, "status") == Some("success") {
        return None;
    }
    let code = number(answer, "code").and_then(|code| u16::try_from(code).ok());
    // This broker's clients are told the same, so it has to be a refusal.
    let status = code.filter(|status| (400..=599).contains(status)).unwrap_or(502);
    let refusal = match (status, number(answer, "expected"), number(answer, "epoch")) {
        (409, Some(expected), _) => Refusal::Gap { expected },
        (403, _, Some(present)) => Refusal::OldEpoch { present },
        (508, ..) => Refusal::Ring,
        _ => {
            let text = text(answer, "message").unwrap_or("no reason given").to_owned();
            Refusal::Home { status, text }
        }
    };
    Some(Rejection { reason: Reason::of(status), refusal })
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
        created: false,
    }
}

/// The stream that an answer or an event names.
pub(super) fn stream(object: &Value<'_>) -> Option<StreamId> {
    text(object, "stream").and_then(|text| text.parse().ok())
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
            assert_eq!(rejection(&answer).unwrap().refusal.status(), status, "{code}");
        }
        let answer = json::parse(b"{\"status\":\"success\",\"code\":500}").unwrap();
        assert!(rejection(&answer).is_none());
    }
}
