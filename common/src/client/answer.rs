//! What the broker says to a command.

use crate::json::Value;
use crate::remote::is_passing;

/// An answer. What a success says beside that depends on the command.
pub(super) enum Answer<'a> {
    Success(Value<'a>),
    Refusal(Refusal),
}

/// Why the broker did not do what a command asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// An HTTP status.
    pub(super) code: u16,
    /// In the broker's words.
    pub(super) reason: String,
    /// The number that should have come.
    pub(super) expected: Option<u64>,
    /// The epoch that the publisher's name is at.
    pub(super) epoch: Option<u64>,
}

impl<'a> Answer<'a> {
    /// Reads an answer; nothing where the object is none.
    pub(super) fn read(object: Value<'a>) -> Option<Answer<'a>> {
        match object.get("status")?.as_str()? {
            "success" => Some(Answer::Success(object)),
            _ => Some(Answer::Refusal(Refusal::read(&object))),
        }
    }
}

impl Refusal {
    fn read(object: &Value<'_>) -> Refusal {
        let number = |key| object.get(key).and_then(Value::as_u64);
        let reason = object.get("message").and_then(Value::as_str).unwrap_or("no reason given");
        Refusal {
            // An error that is no judgement on a command says that the session is over.
            code: number("code").and_then(|code| code.try_into().ok()).unwrap_or(400),
            // Another program's words: nothing in them may move the cursor of the terminal.
            reason: reason.replace(char::is_control, " "),
            expected: number("expected"),
            epoch: number("epoch"),
        }
    }

    /// Whether the same command may succeed later.
    pub(super) fn is_passing(&self) -> bool {
        is_passing(self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn refusal(line: &str) -> Refusal {
        match Answer::read(json::parse(line.as_bytes()).unwrap()) {
            Some(Answer::Refusal(refusal)) => refusal,
            _ => panic!("{line}"),
        }
    }

    #[test]
    fn an_answer_is_told_by_its_status() {
        let success = json::parse(br#"{"status":"success","message":"m","offset":7}"#).unwrap();
        let Some(Answer::Success(value)) = Answer::read(success) else { panic!() };
        assert_eq!(value.get("offset").and_then(Value::as_u64), Some(7));
        let other = json::parse(br#"{"event":"message","topic":"t"}"#).unwrap();
        assert!(Answer::read(other).is_none());
    }

    #[test]
    fn a_refusal_says_why_and_what_was_expected() {
        let gap = r#"{"status":"error","message":"a\u001bgap","expected":3,"code":409}"#;
        let expected =
            Refusal { code: 409, reason: "a gap".to_owned(), expected: Some(3), epoch: None };
        assert_eq!(refusal(gap), expected);
        assert_eq!(refusal(r#"{"status":"error","epoch":5,"code":403}"#).epoch, Some(5));
        assert_eq!(refusal(r#"{"status":"error","message":"Invalid JSON format"}"#).code, 400);
    }
}
