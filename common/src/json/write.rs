//! Writes JSON: strings, and objects and arrays one member after another.
//!
//! Commas, keys and brackets are written only here. Nothing is stored between two calls: the last
//! byte tells whether a comma is needed. So one function may begin an object and another may
//! continue it, and a common beginning can be written once and copied.

use super::scan;
use crate::bytes;

#[cfg(test)]
mod tests;

/// How texts are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// As the UTF-8 that they are, but for what must have an escape (RFC 8259 §7).
    Utf8,
    /// In printable ASCII: whatever lies above 0x7E becomes one or two `\u` escapes, so that a
    /// reader may cut the bytes anywhere and still decode them.
    Ascii,
}

/// Appends a part of a string, without the quotes around it.
#[inline]
pub fn write_part(out: &mut Vec<u8>, text: &str, charset: Charset) {
    match charset {
        Charset::Utf8 => write_runs(out, text, scan::ordinary),
        Charset::Ascii => write_runs(out, text, scan::ordinary_ascii),
    }
}

/// Writes runs of ordinary bytes as they are, and what ends each as an escape. A run ends before a
/// whole character.
#[inline(always)]
fn write_runs(out: &mut Vec<u8>, text: &str, ordinary: impl Fn(&[u8]) -> usize) {
    let mut rest = text;
    loop {
        let (run, special) = rest.split_at(ordinary(rest.as_bytes()));
        out.extend_from_slice(run.as_bytes());
        let mut chars = special.chars();
        let Some(char) = chars.next() else { break };
        match char {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            _ => char.encode_utf16(&mut [0; 2]).iter().for_each(|unit| write_unit(out, *unit)),
        }
        rest = chars.as_str();
    }
}

/// Appends one UTF-16 unit as a `\u` escape.
#[expect(clippy::indexing_slicing, reason = "four bits choose among sixteen digits")]
fn write_unit(out: &mut Vec<u8>, unit: u16) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |shift: u16| DIGITS[usize::from(unit >> shift & 0xF)];
    out.extend_from_slice(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]);
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
    pub fn of_lines(self) -> Array<'a> {
        Array { separator: b",\n", ..self }
    }

    /// How many bytes there are, whatever stands before the array included.
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
    fn write(&self, out: &mut Vec<u8>, charset: Charset) {
        // Most texts need no escape: this is then the only growth.
        out.reserve(self.len() + 2);
        out.push(b'"');
        write_part(out, self, charset);
        out.push(b'"');
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
