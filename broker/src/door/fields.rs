//! Reads the fields of a command: text, numbers, topics.
//!
//! A missing field is no error by itself. A field of the wrong type is one, and a field that occurs
//! twice.

use crate::refusal::Refusal;
use crate::store::entry;
use crate::store::stream::Begin;
use common::clock;
use common::json::Value;
use common::pattern::Pattern;

/// A field of an object, which may not stand there twice.
pub(super) fn field<'a, 'b>(
    object: &'a Value<'b>,
    name: &str,
) -> Result<Option<&'a Value<'b>>, Refusal> {
    let mut values = object.all(name);
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Refusal::field(name, "is given twice")),
        (value, None) => Ok(value),
    }
}

/// A field that holds text, if it is there.
pub(super) fn text<'a>(object: &'a Value<'_>, name: &str) -> Result<Option<&'a str>, Refusal> {
    as_text(name, field(object, name)?)
}

/// A field that holds text, and has to be there.
pub(super) fn required_text<'a>(object: &'a Value<'_>, name: &str) -> Result<&'a str, Refusal> {
    text(object, name)?.ok_or_else(|| Refusal::field(name, "is missing"))
}

/// The topic that a command is about. It may be unknown, but is a name that a topic can have, so
/// it may be kept and passed on.
pub(super) fn topic<'a>(object: &'a Value<'_>, key: &str) -> Result<&'a str, Refusal> {
    let topic = required_text(object, key)?;
    entry::check_topic(topic)?;
    Ok(topic)
}

/// The pattern that a command gives, if it gives one. It goes in place of a topic.
pub(super) fn pattern(object: &Value<'_>) -> Result<Option<Pattern>, Refusal> {
    match text(object, "pattern")? {
        Some(_) if field(object, "topic")?.is_some() => {
            Err(Refusal::field("pattern", "excludes 'topic'"))
        }
        text => text.map(as_pattern).transpose(),
    }
}

/// This text as a pattern.
pub(super) fn as_pattern(text: &str) -> Result<Pattern, Refusal> {
    let wrong = || Refusal::field("pattern", "is not 1 to 255 bytes without control characters");
    Pattern::new(text).ok_or_else(wrong)
}

/// A field that holds a whole number, if it is there.
pub(super) fn number(object: &Value<'_>, name: &str) -> Result<Option<u64>, Refusal> {
    as_number(name, field(object, name)?)
}

/// Where an object says to begin: `from`, an offset or `-N` for the last N messages, or `since`, a
/// moment.
pub(super) fn begin(object: &Value<'_>) -> Result<Option<Begin>, Refusal> {
    match (field(object, "from")?, field(object, "since")?) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(Refusal::field("since", "excludes 'from'")),
        (Some(Value::Number(number)), None) if number.starts_with('-') => {
            let count = number.trim_start_matches('-').parse();
            let count = count.map_err(|_| Refusal::field("from", "is not a whole number"))?;
            Ok(Some(Begin::Last(count)))
        }
        (from, None) => Ok(as_number("from", from)?.map(Begin::Offset)),
        (None, Some(Value::Number(text))) => since(text).map(Some),
        (None, text) => as_text("since", text)?.map(since).transpose(),
    }
}

/// The first message since a moment.
pub(super) fn since(text: &str) -> Result<Begin, Refusal> {
    let moment = clock::moment(text, clock::unix_milliseconds());
    moment.map(Begin::Since).map_err(|how| Refusal::field("since", how))
}

/// This value as text; `name` is its field.
pub(super) fn as_text<'v>(
    name: &str,
    value: Option<&'v Value<'_>>,
) -> Result<Option<&'v str>, Refusal> {
    let text = |value: &'v Value<'_>| {
        value.as_str().ok_or_else(|| Refusal::field(name, "is not a string"))
    };
    value.map(text).transpose()
}

/// This value as a whole number; `name` is its field.
pub(super) fn as_number(name: &str, value: Option<&Value<'_>>) -> Result<Option<u64>, Refusal> {
    let number = |value: &Value<'_>| {
        let wrong = || Refusal::field(name, "is not a whole number below 2^64");
        value.as_u64().ok_or_else(wrong)
    };
    value.map(number).transpose()
}

pub(super) fn digest(value: &str) -> Result<u32, Refusal> {
    let digits = value.len() == 8 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    match u32::from_str_radix(value, 16) {
        Ok(digest) if digits => Ok(digest),
        _ => Err(Refusal::field("digest", "is not 8 hexadecimal digits")),
    }
}
