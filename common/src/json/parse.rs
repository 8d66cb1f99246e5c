//! Parses bytes to a [`Value`], by the grammar of RFC 8259.
//!
//! It makes one pass, by recursive descent. Only strings may hold bytes above 0x7F, so only strings
//! are checked for UTF-8.

use super::{Value, scan};
use crate::limits::JSON_DEPTH_MAX;
use std::borrow::Cow;
use std::{error, fmt, str};

/// The value of a document that is all of `input`, apart from white space around it.
///
/// # Errors
///
/// [`Error::Partial`] if `input` ends too early, [`Error::Invalid`] if it is no JSON: also for a
/// byte order mark, for invalid UTF-8, for half a surrogate pair, and for brackets more than
/// [`JSON_DEPTH_MAX`] deep.
///
/// ```
/// let value = common::json::parse(br#"{"topic": "orders", "message": "42"}"#)?;
/// assert_eq!(value.get("topic").and_then(|topic| topic.as_str()), Some("orders"));
/// # Ok::<(), common::json::Error>(())
/// ```
pub fn parse(input: &[u8]) -> Result<Value<'_>, Error> {
    let mut parser = Parser::new(input);
    let mut value = Value::Null;
    parser.value(JSON_DEPTH_MAX, &mut value).map_err(|Stop| parser.error)?;
    match parser.token() {
        Err(Stop) => Ok(value), // Nothing follows.
        Ok(_) => {
            let Stop = parser.invalid("more after the value");
            Err(parser.error)
        }
    }
}

/// The value of the first document in `input`, and how many bytes it took, with the white space
/// before it. What comes after it is not looked at.
///
/// # Errors
///
/// As [`parse`]. [`Error::Partial`] means that more bytes may complete it; a number at the very end
/// is partial as well, since more digits may come.
///
/// ```
/// use common::json::{Error, parse_prefix};
///
/// let (value, size) = parse_prefix(br#" {"a": 1} {"b""#)?;
/// assert_eq!((value.get("a").and_then(|a| a.as_u64()), size), (Some(1), 9));
/// assert_eq!(parse_prefix(br#" {"b""#), Err(Error::Partial));
/// # Ok::<(), Error>(())
/// ```
pub fn parse_prefix(input: &[u8]) -> Result<(Value<'_>, usize), Error> {
    let mut parser = Parser::new(input);
    let mut value = Value::Null;
    parser.value(JSON_DEPTH_MAX, &mut value).map_err(|Stop| parser.error)?;
    match value {
        Value::Number(_) if parser.offset == input.len() => Err(Error::Partial),
        _ => Ok((value, parser.offset)),
    }
}

/// The string at the very front of `input`, and what follows it: for lines of a known form, where a
/// [`Value`] would cost more than what it holds.
pub fn string_prefix(input: &[u8]) -> Option<(Cow<'_, str>, &[u8])> {
    let mut parser = Parser::new(input.strip_prefix(b"\"")?);
    let text = parser.string().ok()?;
    Some((text, parser.rest()))
}

/// Why bytes were not parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The input ends inside the document, or before it.
    Partial,
    /// The input is not JSON, whatever may follow.
    Invalid {
        /// The first byte that is wrong, counted from 0.
        offset: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Partial => f.write_str("the input ends before the JSON value does"),
            Error::Invalid { offset, reason } => write!(f, "{reason} at byte {offset}"),
        }
    }
}

impl error::Error for Error {}

/// Takes bytes from the front; all errors but those of UTF-8 are about the byte taken last.
struct Parser<'a> {
    input: &'a [u8],
    /// How many bytes were taken, never more than there are.
    offset: usize,
    /// What a [`Stop`] is about: the end of the input, unless something else was said.
    error: Error,
}

/// The parser's `error` says why. Apart from it, because what fails seldom should not make what
/// succeeds larger than two registers (row `bulk` of the benchmark).
struct Stop;

impl<'a> Parser<'a> {
    fn new(input: &'a [u8]) -> Parser<'a> {
        Parser { input, offset: 0, error: Error::Partial }
    }

    /// A value, with white space before it, in which brackets may nest `levels` deep. It is made
    /// in its place: to move it there costs a fifth of the time (see [`Value`]).
    fn value(&mut self, levels: usize, place: &mut Value<'a>) -> Result<(), Stop> {
        *place = match self.token()? {
            b'"' => Value::String(self.string()?),
            first => self.other_value(first, levels)?,
        };
        Ok(())
    }

    /// A value that is no string, of which the first character was taken. Apart, because most
    /// values are strings, and need less of the stack (row `in-flight` of the benchmark).
    fn other_value(&mut self, first: u8, levels: usize) -> Result<Value<'a>, Stop> {
        match first {
            b'{' => self.object(levels),
            b'[' => self.array(levels),
            first @ (b'-' | b'0'..=b'9') => self.number(first).map(Value::Number),
            b't' => self.rest_of_word(b"rue", Value::Bool(true)),
            b'f' => self.rest_of_word(b"alse", Value::Bool(false)),
            b'n' => self.rest_of_word(b"ull", Value::Null),
            0xEF if self.input.starts_with(b"\xEF\xBB\xBF") => {
                Err(self.invalid("byte order mark instead of a value"))
            }
            _ => Err(self.invalid("expected a value")),
        }
    }

    /// One level less, at the beginning of a bracket.
    fn descend(&mut self, levels: usize) -> Result<usize, Stop> {
        const _: () = assert!(JSON_DEPTH_MAX == 64, "the reason below names it");
        levels.checked_sub(1).ok_or_else(|| self.invalid("nested more than 64 deep"))
    }

    fn object(&mut self, levels: usize) -> Result<Value<'a>, Stop> {
        let levels = self.descend(levels)?;
        let mut token = self.token()?;
        if token == b'}' {
            return Ok(Value::Object(Vec::new()));
        }
        // Room for a command, a topic and a message. The four that `Vec` would begin with are
        // mostly too many, and would increase what a hostile document of small objects makes of
        // memory.
        let mut members = Vec::with_capacity(3);
        loop {
            if token != b'"' {
                return Err(self.invalid("expected a key in double quotes"));
            }
            let key = self.string()?;
            if self.token()? != b':' {
                return Err(self.invalid("expected ':'"));
            }
            members.push((key, Value::Null));
            if let Some((_, value)) = members.last_mut() {
                self.value(levels, value)?;
            }
            match self.token()? {
                b',' => token = self.token()?,
                b'}' => return Ok(Value::Object(members)),
                _ => return Err(self.invalid("expected ',' or '}'")),
            }
        }
    }

    fn array(&mut self, levels: usize) -> Result<Value<'a>, Stop> {
        let levels = self.descend(levels)?;
        self.skip_white_space();
        if self.take(|byte| byte == b']') {
            return Ok(Value::Array(Vec::new()));
        }
        // Room for one, for the same reason: the worst of documents is `[[[[…`.
        let mut elements = Vec::with_capacity(1);
        loop {
            elements.push(Value::Null);
            if let Some(element) = elements.last_mut() {
                self.value(levels, element)?;
            }
            match self.token()? {
                b',' => {}
                b']' => return Ok(Value::Array(elements)),
                _ => return Err(self.invalid("expected ',' or ']'")),
            }
        }
    }

    /// `true`, `false` or `null`, of which the first letter was taken.
    fn rest_of_word(&mut self, letters: &[u8], value: Value<'a>) -> Result<Value<'a>, Stop> {
        for letter in letters {
            if self.next()? != *letter {
                return Err(self.invalid("expected true, false or null"));
            }
        }
        Ok(value)
    }

    /// A number, of which the first character was taken.
    fn number(&mut self, first: u8) -> Result<&'a str, Stop> {
        let start = self.offset - 1;
        let first_digit = if first == b'-' { self.digit()? } else { first };
        if first_digit != b'0' {
            self.skip_digits();
        } else if self.take(|byte| byte.is_ascii_digit()) {
            return Err(self.invalid("digit after a leading zero"));
        }
        if self.take(|byte| byte == b'.') {
            self.digit()?;
            self.skip_digits();
        }
        if self.take(|byte| matches!(byte, b'e' | b'E')) {
            self.take(|byte| matches!(byte, b'+' | b'-'));
            self.digit()?;
            self.skip_digits();
        }
        self.text(start)
    }

    fn digit(&mut self) -> Result<u8, Stop> {
        match self.next()? {
            digit @ b'0'..=b'9' => Ok(digit),
            _ => Err(self.invalid("expected a digit")),
        }
    }

    fn skip_digits(&mut self) {
        while self.take(|byte| byte.is_ascii_digit()) {}
    }

    /// A string, of which the opening quote was taken. Inline, so that it is made in its place.
    #[inline(always)]
    fn string(&mut self) -> Result<Cow<'a, str>, Stop> {
        let run = self.run()?;
        if self.take(|byte| byte == b'"') { Ok(Cow::Borrowed(run)) } else { self.escaped(run) }
    }

    /// The rest of a string that begins with `run` and goes on with something else.
    fn escaped(&mut self, run: &str) -> Result<Cow<'a, str>, Stop> {
        let mut text = run.to_owned();
        loop {
            match self.next()? {
                b'"' => return Ok(Cow::Owned(text)),
                b'\\' => {
                    text.push(self.escape()?);
                    text.push_str(self.run()?);
                }
                _ => return Err(self.invalid("control character in a string")),
            }
        }
    }

    /// The part of a string that stands for itself: up to a quote, an escape or an error.
    #[inline(always)]
    fn run(&mut self) -> Result<&'a str, Stop> {
        let start = self.offset;
        let rest = self.rest();
        let size = scan::ordinary(rest);
        self.offset += size;
        // The end of the input may have cut a character in two.
        if size == rest.len() { Err(Stop) } else { self.text(start) }
    }

    /// The character that an escape stands for, of which the backslash was taken.
    fn escape(&mut self) -> Result<char, Stop> {
        match self.next()? {
            b'u' => self.unicode_escape(),
            b'n' => Ok('\n'),
            b'"' => Ok('"'),
            b'\\' => Ok('\\'),
            b'/' => Ok('/'),
            b't' => Ok('\t'),
            b'r' => Ok('\r'),
            b'b' => Ok('\u{8}'),
            b'f' => Ok('\u{c}'),
            _ => Err(self.invalid("unknown escape")),
        }
    }

    /// One `\uXXXX`, or the two that a character above U+FFFF takes. The first `\u` was taken.
    fn unicode_escape(&mut self) -> Result<char, Stop> {
        let mut units = [self.utf16_unit()?, 0];
        if let [0xD800..=0xDBFF, second] = &mut units {
            if self.next()? != b'\\' || self.next()? != b'u' {
                return Err(self.invalid("expected the second half of a surrogate pair"));
            }
            *second = self.utf16_unit()?;
        }
        match char::decode_utf16(units).next() {
            Some(Ok(char)) => Ok(char),
            _ => Err(self.invalid("half a surrogate pair")),
        }
    }

    fn utf16_unit(&mut self) -> Result<u16, Stop> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = char::from(self.next()?).to_digit(16);
            let digit = digit.ok_or_else(|| self.invalid("expected a hexadecimal digit"))?;
            unit = unit << 4 | digit;
        }
        Ok(u16::try_from(unit).expect("four hexadecimal digits are sixteen bits"))
    }

    /// The next byte that is not white space.
    fn token(&mut self) -> Result<u8, Stop> {
        self.skip_white_space();
        self.next()
    }

    fn skip_white_space(&mut self) {
        while self.take(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')) {}
    }

    fn next(&mut self) -> Result<u8, Stop> {
        let byte = self.rest().first().ok_or(Stop)?;
        self.offset += 1;
        Ok(*byte)
    }

    /// Takes the next byte if it is wanted.
    fn take(&mut self, is_wanted: impl Fn(u8) -> bool) -> bool {
        let taken = self.rest().first().is_some_and(|byte| is_wanted(*byte));
        self.offset += usize::from(taken);
        taken
    }

    #[expect(clippy::indexing_slicing, reason = "the offset never passes the end")]
    fn rest(&self) -> &'a [u8] {
        &self.input[self.offset..]
    }

    /// The bytes since `start`, if they are UTF-8.
    #[expect(clippy::indexing_slicing, reason = "the offset never passes the end")]
    fn text(&mut self, start: usize) -> Result<&'a str, Stop> {
        str::from_utf8(&self.input[start..self.offset]).map_err(|error| {
            let offset = start + error.valid_up_to();
            self.error = Error::Invalid { offset, reason: "invalid UTF-8" };
            Stop
        })
    }

    /// The byte taken last is wrong.
    #[cold]
    fn invalid(&mut self, reason: &'static str) -> Stop {
        self.error = Error::Invalid { offset: self.offset - 1, reason };
        Stop
    }
}
