//! Writes objects and arrays, one member after another.
//!
//! Commas, keys and brackets are written only here. Nothing is stored between two calls: the last
//! byte tells whether a comma is needed. So one function may begin an object and another may
//! continue it, and a common beginning can be written once and copied.

use super::{Value, write_string, write_string_ascii};
use crate::bytes;
use std::{fmt, str};

/// How texts are written: what is not ASCII as it is, or as `\u` escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// As [`write_string`] does.
    Utf8,
    /// As [`write_string_ascii`] does.
    Ascii,
}

/// What a member or an element can be.
pub trait Json {
    /// Appends this value.
    fn write(&self, out: &mut Vec<u8>, charset: Charset);
}

/// An object that is being written.
///
/// ```
/// use common::json::Object;
///
/// let mut out = Vec::new();
/// let mut object = Object::ascii(&mut out);
/// object.field("topic", "caf\u{e9}").field("offset", 7_u64).field("publisher", None::<&str>);
/// object.optional("epoch", None::<u64>);
/// object.array("peers", |peers| {
///     peers.element("a").object(|peer| {
///         peer.field("port", 1_u16);
///     });
/// });
/// object.end();
/// let text = r#"{"topic":"caf\u00e9","offset":7,"publisher":null,"peers":["a",{"port":1}]}"#;
/// assert_eq!(String::from_utf8(out).unwrap(), text);
/// ```
#[derive(Debug)]
pub struct Object<'a> {
    out: &'a mut Vec<u8>,
    charset: Charset,
}

impl<'a> Object<'a> {
    /// Begins an object of UTF-8.
    pub fn new(out: &'a mut Vec<u8>) -> Object<'a> {
        Object::begin(out, Charset::Utf8)
    }

    /// Begins an object of ASCII.
    pub fn ascii(out: &'a mut Vec<u8>) -> Object<'a> {
        Object::begin(out, Charset::Ascii)
    }

    /// Begins an object.
    pub fn begin(out: &'a mut Vec<u8>, charset: Charset) -> Object<'a> {
        out.push(b'{');
        Object { out, charset }
    }

    /// Goes on with an object whose beginning is the end of `out`.
    pub fn resume(out: &'a mut Vec<u8>, charset: Charset) -> Object<'a> {
        Object { out, charset }
    }

    /// Writes a member. A key needs no escapes.
    #[inline]
    pub fn field(&mut self, key: &'static str, value: impl Json) -> &mut Self {
        let charset = self.charset;
        value.write(self.key(key), charset);
        self
    }

    /// Writes a member if it has a value.
    #[inline]
    pub fn optional(&mut self, key: &'static str, value: Option<impl Json>) -> &mut Self {
        match value {
            Some(value) => self.field(key, value),
            None => self,
        }
    }

    /// Writes a member whose value is JSON already; nothing, where the value is still to come.
    pub fn raw(&mut self, key: &'static str, value: &[u8]) -> &mut Self {
        self.key(key).extend_from_slice(value);
        self
    }

    /// Writes a member that is an array.
    pub fn array(&mut self, key: &'static str, elements: impl FnOnce(&mut Array<'_>)) -> &mut Self {
        let charset = self.charset;
        let mut array = Array::begin(self.key(key), charset);
        elements(&mut array);
        array.end();
        self
    }

    /// Ends the object.
    #[inline]
    pub fn end(&mut self) {
        self.out.push(b'}');
    }

    /// Ends the object and its line.
    #[inline]
    pub fn end_line(&mut self) {
        self.out.extend_from_slice(b"}\n");
    }

    /// Writes a key; the value comes next.
    #[inline]
    fn key(&mut self, key: &'static str) -> &mut Vec<u8> {
        separate(self.out, b"{", b",");
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }
}

/// An array that is being written.
#[derive(Debug)]
pub struct Array<'a> {
    out: &'a mut Vec<u8>,
    charset: Charset,
    separator: &'static [u8],
}

impl<'a> Array<'a> {
    /// Begins an array.
    pub fn begin(out: &'a mut Vec<u8>, charset: Charset) -> Array<'a> {
        out.push(b'[');
        Array::resume(out, charset)
    }

    /// Goes on with an array whose beginning is the end of `out`.
    pub fn resume(out: &'a mut Vec<u8>, charset: Charset) -> Array<'a> {
        Array { out, charset, separator: b"," }
    }

    /// The same with every further element on a line of its own.
    #[must_use]
    pub fn of_lines(self) -> Array<'a> {
        Array { separator: b",\n", ..self }
    }

    /// How many bytes there are, whatever stands before the array included.
    #[must_use]
    pub fn size(&self) -> usize {
        self.out.len()
    }

    /// Writes an element.
    #[inline]
    pub fn element(&mut self, value: impl Json) -> &mut Self {
        self.separate();
        value.write(self.out, self.charset);
        self
    }

    /// Writes an element that is an object.
    pub fn object(&mut self, members: impl FnOnce(&mut Object<'_>)) -> &mut Self {
        self.separate();
        let mut object = Object::begin(self.out, self.charset);
        members(&mut object);
        object.end();
        self
    }

    /// Ends the array.
    pub fn end(&mut self) {
        self.out.push(b']');
    }

    /// Ends the array and its line.
    pub fn end_line(&mut self) {
        self.out.extend_from_slice(b"]\n");
    }

    fn separate(&mut self) {
        separate(self.out, b"[", self.separator);
    }
}

/// Writes what stands between two members or elements, unless the bracket was just opened.
#[inline]
fn separate(out: &mut Vec<u8>, bracket: &[u8], separator: &[u8]) {
    if !out.ends_with(bracket) {
        out.extend_from_slice(separator);
    }
}

impl Json for str {
    #[inline]
    fn write(&self, out: &mut Vec<u8>, charset: Charset) {
        match charset {
            Charset::Utf8 => write_string(out, self),
            Charset::Ascii => write_string_ascii(out, self),
        }
    }
}

impl Json for String {
    #[inline]
    fn write(&self, out: &mut Vec<u8>, charset: Charset) {
        self.as_str().write(out, charset);
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Json for $number {
            #[inline]
            fn write(&self, out: &mut Vec<u8>, _: Charset) {
                // No size is beyond 64 bits.
                bytes::write_decimal(out, *self as u64);
            }
        }
    )*};
}

numbers!(u16, u64, usize);

impl Json for bool {
    #[inline]
    fn write(&self, out: &mut Vec<u8>, _: Charset) {
        out.extend_from_slice(if *self { b"true" } else { b"false" });
    }
}

impl<T: Json + ?Sized> Json for &T {
    #[inline]
    fn write(&self, out: &mut Vec<u8>, charset: Charset) {
        (**self).write(out, charset);
    }
}

/// What is missing is `null`.
impl<T: Json> Json for Option<T> {
    #[inline]
    fn write(&self, out: &mut Vec<u8>, charset: Charset) {
        match self {
            Some(value) => value.write(out, charset),
            None => out.extend_from_slice(b"null"),
        }
    }
}

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
                let mut object = Object::begin(out, charset);
                for (key, value) in members {
                    separate(object.out, b"{", b",");
                    key.write(object.out, charset);
                    object.out.push(b':');
                    value.write(object.out, charset);
                }
                object.end();
            }
        }
    }
}

/// Writes JSON that parses back to the same value.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::new();
        self.write(&mut out, Charset::Utf8);
        f.write_str(str::from_utf8(&out).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn commas_stand_between_members_and_nowhere_else() {
        assert_eq!(written(|out| Object::new(out).end_line()), "{}\n");
        assert_eq!(written(|out| Array::begin(out, Charset::Utf8).end()), "[]");
        let text = written(|out| {
            let mut object = Object::new(out);
            object.array("a", |inner| {
                inner.object(|inner| {
                    inner.field("b", true);
                });
            });
            object.array("c", |_| {}).field("e", "{").field("f", u64::MAX);
            object.field("g", "[".to_owned()).end();
        });
        assert_eq!(text, r#"{"a":[{"b":true}],"c":[],"e":"{","f":18446744073709551615,"g":"["}"#);
    }

    #[test]
    fn an_object_can_be_gone_on_with() {
        let mut head = Vec::new();
        Object::ascii(&mut head).field("topic", "\u{e9}");
        let text = written(|out| {
            for offset in [0_u64, 1] {
                out.extend_from_slice(&head);
                Object::resume(out, Charset::Ascii).field("offset", offset).end_line();
            }
        });
        assert_eq!(
            text,
            "{\"topic\":\"\\u00e9\",\"offset\":0}\n{\"topic\":\"\\u00e9\",\"offset\":1}\n"
        );
    }

    #[test]
    fn elements_can_stand_on_lines() {
        let text = written(|out| {
            let mut array = Array::begin(out, Charset::Utf8).of_lines();
            array.element(1_u16).element("[").element(2_usize).end();
        });
        assert_eq!(text, "[1,\n\"[\",\n2]");
    }

    #[test]
    fn both_charsets_reach_what_stands_inside() {
        for (charset, text) in [
            (Charset::Utf8, "{\"a\":[\"\u{e9}\",{\"b\":\"\u{e9}\"}]}"),
            (Charset::Ascii, r#"{"a":["\u00e9",{"b":"\u00e9"}]}"#),
        ] {
            let written = written(|out| {
                let mut object = Object::begin(out, charset);
                object.array("a", |array| {
                    array.element("\u{e9}").object(|inner| {
                        inner.field("b", Some("\u{e9}"));
                    });
                });
                object.end();
            });
            assert_eq!(written, text);
        }
    }
}
