//! The value of a document, and ways to read it.

use std::borrow::Cow;

/// A JSON value that borrows from the bytes it was parsed from.
///
/// Equality is that of the document: order and repeated keys count, and so does the spelling of a
/// number, but not whether a string was borrowed.
// The representation is for speed: a value is moved by words then. Without it the kind is one byte,
// and the rest is moved from the byte after it, in pieces that overlap words which were only just
// written, on which processors stumble: a fifth of the time of a parser (rows `in-flight`, `bulk`
// and `end-to-end`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[repr(usize)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// The text of a number, as the grammar of RFC 8259 §6 has it. Kept as text because no type
    /// holds them all.
    Number(&'a str),
    /// The text of a string, unescaped; borrowed unless it held an escape.
    String(Cow<'a, str>),
    /// The elements of an array.
    Array(Vec<Value<'a>>),
    /// The members of an object, in their order. A key may repeat (RFC 8259 §4 leaves it to us);
    /// see [`Value::all`].
    Object(Vec<(Cow<'a, str>, Value<'a>)>),
}

impl<'a> Value<'a> {
    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if this is one that is written as a plain sequence of digits and fits. `1.0`,
    /// `1e3` and `-0` are not: nobody who means an offset writes them.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Value::Number(digits) => digits.parse().ok(),
            _ => None,
        }
    }

    /// The truth, if this is `true` or `false`.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    /// The elements, if this is an array.
    pub fn as_array(&self) -> Option<&[Value<'a>]> {
        match self {
            Value::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// The value of the first member named `key`; `None` if there is no such member, or if this is
    /// not an object.
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.all(key).next()
    }

    /// The text of a member, if that is a string.
    pub fn get_str(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// The number of a member, if that is one: see [`Value::as_u64`].
    pub fn get_u64(&self, key: &str) -> Option<u64> {
        self.get(key)?.as_u64()
    }

    /// Whether a member is `true`.
    pub fn is_true(&self, key: &str) -> bool {
        self.get(key) == Some(&Value::Bool(true))
    }

    /// The elements of a member; none if that is not an array.
    pub fn get_array(&self, key: &str) -> &[Value<'a>] {
        self.get(key).and_then(Value::as_array).unwrap_or_default()
    }

    /// The values of all members named `key`.
    pub fn all(&self, key: &str) -> impl Iterator<Item = &Value<'a>> {
        let members = match self {
            Value::Object(members) => members.as_slice(),
            _ => &[],
        };
        members.iter().filter(move |(name, _)| name == key).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    #[test]
    fn a_value_is_only_what_it_is() {
        let value = parse(br#"[null, true, 7, "text", [1], {"a": 1}]"#).unwrap();
        let elements = value.as_array().unwrap();
        let which = |asks: fn(&Value<'_>) -> bool| -> Vec<usize> {
            (0..elements.len()).filter(|&index| asks(&elements[index])).collect()
        };
        assert_eq!(which(|value| *value == Value::Null), [0]);
        assert_eq!(which(|value| value.as_bool() == Some(true)), [1]);
        assert_eq!(which(|value| value.as_u64() == Some(7)), [2]);
        assert_eq!(which(|value| value.as_str() == Some("text")), [3]);
        assert_eq!(which(|value| value.as_array().is_some()), [4]);
        assert_eq!(which(|value| value.get("a").is_some()), [5]);
        assert_eq!(which(|value| value.get_u64("a") == Some(1)), [5]);
        assert!(!elements[5].is_true("a") && elements[5].get_str("a").is_none());
        assert!(elements[5].get_array("a").is_empty());
    }

    #[test]
    fn only_plain_digits_that_fit_are_whole_numbers() {
        for (text, number) in [
            ("0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("-1", None),
            ("-0", None),
            ("1.0", None),
            ("1e3", None),
        ] {
            assert_eq!(Value::Number(text).as_u64(), number, "{text}");
        }
    }

    #[test]
    fn a_repeated_key_is_kept() {
        let value = parse(br#"{"a": 1, "b": 2, "\u0061": 3}"#).unwrap();
        assert_eq!(value.get("a"), Some(&Value::Number("1")));
        let numbers: Vec<_> = value.all("a").filter_map(Value::as_u64).collect();
        assert_eq!(numbers, [1, 3]);
    }
}
