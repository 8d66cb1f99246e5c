//! Why a call failed, and the answer that says so.

use crate::flags::{self, one_line};
use crate::json::{self, Value};
use crate::retry;
use crate::trouble::Trouble;
use std::{error, fmt};

/// Why the broker refused a command or a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// An HTTP status.
    pub code: u16,
    /// The broker's own words; empty if it gave none.
    pub reason: String,
    /// The sequence that the broker expects.
    pub expected: Option<u64>,
    /// The present epoch of the publisher's name.
    pub epoch: Option<u64>,
    /// The first offset of the topic, if an older one was asked for.
    pub first: Option<u64>,
}

impl Refusal {
    /// A refusal by the library itself, which did not ask the broker.
    pub(super) fn new(code: u16, reason: impl Into<String>) -> Refusal {
        Refusal { code, reason: reason.into(), expected: None, epoch: None, first: None }
    }

    /// Reads an HTTP answer that is not a success. Its body may be `application/problem+json`
    /// (RFC 9457).
    pub fn of_http(status: u16, body: &[u8]) -> Refusal {
        Refusal::read(status, &json::parse(body).unwrap_or(Value::Null))
    }

    fn read(code: u16, object: &Value<'_>) -> Refusal {
        let said = ["message", "detail", "title"].iter().find_map(|key| object.get_str(key));
        Refusal {
            code,
            // Text of another program: it must not move the cursor of the terminal.
            reason: said.unwrap_or_default().replace(char::is_control, " "),
            expected: object.get_u64("expected"),
            epoch: object.get_u64("epoch"),
            first: object.get_u64("first"),
        }
    }

    /// Whether the same command may succeed later: the broker has a problem, or the status is one
    /// of two that do not blame the request (RFC 9110 §15.5.9, RFC 6585 §4).
    pub fn is_passing(&self) -> bool {
        matches!(self.code, 408 | 429 | 500..)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.reason.as_str()) {
            (code, "") => write!(f, "status {code}"),
            (code, reason) => write!(f, "{code}, {reason}"),
        }
    }
}

/// Reads the answer to a command: the object of a success, or the refusal. `None` if the object is
/// not an answer.
pub(super) fn read_answer(object: Value<'_>) -> Option<Result<Value<'_>, Refusal>> {
    if object.get_str("status")? == "success" {
        return Some(Ok(object));
    }
    // An error without a code is not about a command: it says that the session is over.
    let code = object.get_u64("code").and_then(|code| code.try_into().ok()).unwrap_or(400);
    Some(Err(Refusal::read(code, &object)))
}

/// Why a call failed. The call has already repeated attempts that may succeed later.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The broker refused.
    Refused {
        /// Where the broker is.
        address: String,
        /// The topic; empty if there is none.
        topic: String,
        /// The kind of refusal: an HTTP status.
        code: u16,
        /// The broker's words.
        reason: String,
    },
    /// No attempt succeeded for as long as [`Broker::patience`](super::Broker::patience) said.
    GaveUp {
        /// Where the broker is.
        address: String,
        /// Why the last attempt failed.
        trouble: Trouble,
    },
    /// The broker has lost messages of a [resuming](super::Publisher::resuming) publisher. The
    /// caller, who has the messages, may publish them again from `expected` on.
    Forgotten {
        /// Where the broker is.
        address: String,
        /// The topic.
        topic: String,
        /// The number that the broker expects next.
        expected: u64,
    },
}

/// How one attempt failed.
pub type Failure = retry::Failure<Error>;

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Final(error)
    }
}

impl From<Error> for flags::Error {
    fn from(error: Error) -> flags::Error {
        flags::Error::new(one_line(&error))
    }
}

impl From<flags::Error> for retry::Failure<flags::Error> {
    fn from(error: flags::Error) -> Self {
        retry::Failure::Final(error)
    }
}

impl From<Refusal> for Trouble {
    /// For one that [is passing](Refusal::is_passing).
    fn from(refusal: Refusal) -> Trouble {
        Trouble::Answer(refusal.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Refused { address, topic, code, reason } => {
                write!(f, "the broker at {address} refused")?;
                if !topic.is_empty() {
                    write!(f, " topic {topic:?}")?;
                }
                write!(f, ": {}", Refusal::new(*code, reason))
            }
            Error::GaveUp { address, trouble: Trouble::Answer(reason) } => {
                write!(f, "the broker at {address} cannot do it now: {reason}")
            }
            Error::GaveUp { address, .. } => write!(f, "gave up on the broker at {address}"),
            Error::Forgotten { address, topic, expected } => write!(
                f,
                "the broker at {address} has lost messages of {topic:?}: it expects number {expected}"
            ),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Error::GaveUp { trouble: Trouble::Answer(_), .. } => None,
            Error::GaveUp { trouble, .. } => Some(trouble),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(line: &str) -> Refusal {
        read_answer(json::parse(line.as_bytes()).unwrap()).unwrap().unwrap_err()
    }

    #[test]
    fn an_answer_is_told_by_its_status() {
        let success = json::parse(br#"{"status":"success","message":"m","offset":7}"#).unwrap();
        let Some(Ok(value)) = read_answer(success) else { panic!() };
        assert_eq!(value.get("offset").and_then(Value::as_u64), Some(7));
        let other = json::parse(br#"{"event":"message","topic":"t"}"#).unwrap();
        assert!(read_answer(other).is_none());
    }

    #[test]
    fn a_refusal_says_why_and_what_was_expected() {
        let gap = r#"{"status":"error","message":"a\u001bgap","expected":3,"code":409}"#;
        let expected = Refusal { expected: Some(3), ..Refusal::new(409, "a gap") };
        assert_eq!(refusal(gap), expected);
        assert_eq!(refusal(r#"{"status":"error","epoch":5,"code":403}"#).epoch, Some(5));
        assert_eq!(refusal(r#"{"status":"error","first":7,"code":410}"#).first, Some(7));
        assert_eq!(refusal(r#"{"status":"error","message":"Invalid JSON format"}"#).code, 400);
    }

    #[test]
    fn a_fault_of_the_broker_passes_and_a_fault_of_the_request_does_not() {
        for status in [408, 429, 500, 501, 503, 507, 599] {
            assert!(Refusal::of_http(status, b"").is_passing(), "{status}");
        }
        for status in [200, 301, 400, 401, 403, 404, 409, 410, 413, 416, 421, 422, 499] {
            assert!(!Refusal::of_http(status, b"").is_passing(), "{status}");
        }
    }

    #[test]
    fn a_refusal_is_told_in_the_words_of_the_broker() {
        let refusal = |status, body| Refusal::of_http(status, body).to_string();
        let body = br#"{"status":413,"title":"Too Large","detail":"too\nlong"}"#;
        assert_eq!(refusal(413, body), "413, too long");
        assert_eq!(refusal(404, br#"{"title":"Not Found"}"#), "404, Not Found");
        assert_eq!(refusal(500, b"<html>"), "status 500");
        assert_eq!(refusal(502, b""), "status 502");
    }
}
