//! What the broker says to a publish.
//!
//! A success is told by its status alone: a broker that knows no numbers may answer any 2xx with
//! any body, and a duplicate is stored as well as a message that was appended now.

use common::json;
use common::remote::{is_passing, refusal};

/// An answer, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The message is in the list.
    Stored,
    /// The broker expects a number that it has taken before: it has forgotten what it was sent.
    MemoryLost,
    /// Not now: the same request may succeed later. With what the broker said.
    Later(String),
    /// Not this request, of which a broker with fewer fields may understand less. With what the
    /// broker said.
    NotUnderstood(String),
    /// Never. With what the broker said.
    Refused(String),
}

impl Answer {
    /// Reads the answer to a message with this sequence number.
    pub(crate) fn read(status: u16, body: &[u8], sequence: u64) -> Answer {
        match status {
            200..300 => Answer::Stored,
            409 if expected(body).is_some_and(|expected| expected < sequence) => Answer::MemoryLost,
            status if is_passing(status) => Answer::Later(refusal(status, body)),
            400 | 422 => Answer::NotUnderstood(refusal(status, body)),
            _ => Answer::Refused(refusal(status, body)),
        }
    }
}

/// The number that a broker says it expected.
fn expected(body: &[u8]) -> Option<u64> {
    json::parse(body).ok()?.get("expected")?.as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_2xx_with_any_body_is_a_success() {
        for (status, body) in [(200, "{\"duplicate\":true}"), (201, "ok"), (204, "")] {
            assert_eq!(Answer::read(status, body.as_bytes(), 1), Answer::Stored);
        }
    }

    #[test]
    fn a_number_that_was_taken_before_means_that_memory_was_lost() {
        let gap = |expected| format!("{{\"status\":409,\"expected\":{expected}}}");
        assert_eq!(Answer::read(409, gap(0).as_bytes(), 2), Answer::MemoryLost);
        assert_eq!(Answer::read(409, gap(1).as_bytes(), 2), Answer::MemoryLost);
        assert!(matches!(Answer::read(409, gap(0).as_bytes(), 0), Answer::Refused(_)));
        assert!(matches!(Answer::read(409, gap(3).as_bytes(), 2), Answer::Refused(_)));
        assert!(matches!(Answer::read(409, b"conflict", 2), Answer::Refused(_)));
    }

    #[test]
    fn a_fault_of_the_broker_passes_and_a_fault_of_the_request_does_not() {
        for status in [408, 429, 500, 501, 502, 503, 504, 507] {
            assert!(matches!(Answer::read(status, b"", 0), Answer::Later(_)), "{status}");
        }
        for status in [400, 422] {
            assert!(matches!(Answer::read(status, b"", 0), Answer::NotUnderstood(_)), "{status}");
        }
        for status in [301, 401, 403, 404, 405, 413, 421] {
            assert!(matches!(Answer::read(status, b"", 0), Answer::Refused(_)), "{status}");
        }
    }
}
