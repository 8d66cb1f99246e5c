//! Writes a parsed value, for tests.

use super::{Array, Charset, Json, Value};
use std::{fmt, str};

impl Json for Value<'_> {
    fn write(&self, out: &mut Vec<u8>, charset: Charset) {
        match self {
            Value::Null => out.extend_from_slice(b"null"),
            Value::Bool(truth) => truth.write(out, charset),
            Value::Number(digits) => out.extend_from_slice(digits.as_bytes()),
            Value::String(text) => text.write(out, charset),
            Value::Array(elements) => {
                let mut array = Array::begin(out, charset);
                for element in elements {
                    array.element(element);
                }
                array.end();
            }
            Value::Object(members) => {
                out.push(b'{');
                for (place, (key, value)) in members.iter().enumerate() {
                    out.extend_from_slice(if place == 0 { b"" } else { b"," });
                    key.write(out, charset);
                    out.push(b':');
                    value.write(out, charset);
                }
                out.push(b'}');
            }
        }
    }
}

/// Writes JSON that parses back to the same value.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::new();
        self.write(&mut out, Charset::Utf8);
        f.write_str(str::from_utf8(&out).unwrap())
    }
}
