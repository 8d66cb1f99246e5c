//! Changes of a topic's bounds, as fields of JSON: `keep_messages`, `keep_bytes`, `keep_for`.

use super::member;
use crate::refusal::{Refusal, Result};
use crate::store::{Bound, BoundsChange};
use common::json::Value;
use common::units;

/// The fields.
pub(super) const NAMES: [&str; 3] = ["keep_messages", "keep_bytes", "keep_for"];

/// The bounds that an object names. A field that is missing leaves a bound as it is, `null` is
/// none, `"default"` goes back to the broker's.
pub(super) fn change(object: &Value<'_>) -> Result<BoundsChange> {
    let count = "is neither a whole number above 0, null nor \"default\"";
    let bytes = "is neither a size above 0 such as 1000 or \"64M\", null nor \"default\"";
    let times = "is neither a time above 0 such as \"90s\" or \"7d\", null nor \"default\"";
    Ok(BoundsChange {
        messages: bound(object, "keep_messages", count, |value| value.as_u64())?,
        bytes: bound(object, "keep_bytes", bytes, |value| {
            value.as_u64().or_else(|| units::size(value.as_str()?).ok())
        })?,
        // A plain number is seconds, as on the command line.
        age: bound(object, "keep_for", times, |value| match value.as_u64() {
            Some(seconds) => seconds.checked_mul(1000),
            None => units::milliseconds(value.as_str()?).ok(),
        })?,
    })
}

fn bound(
    object: &Value<'_>,
    name: &str,
    wrong: &'static str,
    read: impl FnOnce(&Value<'_>) -> Option<u64>,
) -> Result<Option<Bound>> {
    match member(object, name)? {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(Bound::None)),
        Some(value) if value.as_str() == Some("default") => Ok(Some(Bound::Default)),
        Some(value) => match read(value) {
            Some(bound) if bound > 0 => Ok(Some(Bound::At(bound))),
            _ => Err(Refusal::field(name, wrong)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::json;

    fn read(text: &str) -> Result<BoundsChange> {
        change(&json::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn bounds_are_read_as_people_write_them() {
        let none = BoundsChange::default();
        let (at, bound) = (|bound| Some(Bound::At(bound)), |bound| Some(bound));
        for (text, change) in [
            ("{}", none),
            (r#"{"keep_messages":5}"#, BoundsChange { messages: at(5), ..none }),
            (r#"{"keep_messages":null}"#, BoundsChange { messages: bound(Bound::None), ..none }),
            (r#"{"keep_bytes":"64M"}"#, BoundsChange { bytes: at(64 << 20), ..none }),
            (r#"{"keep_bytes":100}"#, BoundsChange { bytes: at(100), ..none }),
            (r#"{"keep_for":"7d"}"#, BoundsChange { age: at(604_800_000), ..none }),
            (r#"{"keep_for":90}"#, BoundsChange { age: at(90_000), ..none }),
            (r#"{"keep_for":"default"}"#, BoundsChange { age: bound(Bound::Default), ..none }),
        ] {
            assert_eq!(read(text).unwrap(), change, "{text}");
        }
        for text in [
            r#"{"keep_messages":0}"#,
            r#"{"keep_messages":-1}"#,
            r#"{"keep_messages":1.5}"#,
            r#"{"keep_messages":"5"}"#,
            r#"{"keep_bytes":0}"#,
            r#"{"keep_bytes":"0M"}"#,
            r#"{"keep_bytes":true}"#,
            r#"{"keep_for":"0s"}"#,
            r#"{"keep_for":"soon"}"#,
            r#"{"keep_for":99999999999999999999}"#,
            r#"{"keep_messages":5,"keep_messages":6}"#,
        ] {
            assert_eq!(read(text).unwrap_err().status(), 400, "{text}");
        }
    }
}
