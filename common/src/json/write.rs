//! Values and strings as JSON text, without white space.

use super::{Value, scan};
use std::fmt::{self, Write};

/// Appends `text` as a JSON string: quotes around it, and escapes for what must have them
/// (RFC 8259 §7). All else stays the UTF-8 that it is.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    // Most texts need no escape: this is then the only growth.
    out.reserve(text.len() + 2);
    out.push(b'"');
    for (run, escape) in Pieces(text) {
        out.extend_from_slice(run.as_bytes());
        out.extend_from_slice(escape.as_bytes());
    }
    out.push(b'"');
}

/// Appends `text` as a JSON string in printable ASCII: whatever lies above 0x7E becomes one or two
/// `\u` escapes, so that a reader may cut the bytes anywhere and still decode them.
pub fn write_string_ascii(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text;
    loop {
        let (run, special) = rest.split_at(scan::ordinary_ascii(rest.as_bytes()));
        out.extend_from_slice(run.as_bytes());
        let mut chars = special.chars();
        match chars.next() {
            None => break,
            Some(char @ ..='\\') => out.extend_from_slice(escape(char).as_bytes()),
            Some(char) => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    write_unit(out, *unit);
                }
            }
        }
        rest = chars.as_str();
    }
    out.push(b'"');
}

/// Appends a whole number, as `write!` does in several times as long: every message that is
/// answered or delivered has its offset.
pub fn write_number(out: &mut Vec<u8>, number: u64) {
    let start = out.len();
    let mut rest = number;
    loop {
        let digit = u8::try_from(rest % 10).expect("one digit fits in a byte");
        out.push(b'0' + digit);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    // The last digit came first.
    out.get_mut(start..).unwrap_or_default().reverse();
}

/// Appends one UTF-16 unit as a `\u` escape.
#[expect(clippy::indexing_slicing, reason = "four bits choose among sixteen digits")]
fn write_unit(out: &mut Vec<u8>, unit: u16) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |shift: u16| DIGITS[usize::from(unit >> shift & 0xF)];
    out.extend_from_slice(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]);
}

/// Writes JSON that parses back to the same value.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Bool(truth) => write!(f, "{truth}"),
            Value::Number(digits) => f.write_str(digits),
            Value::String(text) => display_string(f, text),
            Value::Array(elements) => {
                f.write_char('[')?;
                for (index, element) in elements.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { "," })?;
                    element.fmt(f)?;
                }
                f.write_char(']')
            }
            Value::Object(members) => {
                f.write_char('{')?;
                for (index, (key, value)) in members.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { "," })?;
                    display_string(f, key)?;
                    f.write_char(':')?;
                    value.fmt(f)?;
                }
                f.write_char('}')
            }
        }
    }
}

fn display_string(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for (run, escape) in Pieces(text) {
        f.write_str(run)?;
        f.write_str(escape)?;
    }
    f.write_char('"')
}

/// The text between the quotes of a string, in pairs: a run of ordinary bytes and the escape that
/// ends it. Either may be empty.
struct Pieces<'a>(&'a str);

impl<'a> Iterator for Pieces<'a> {
    type Item = (&'a str, &'static str);

    fn next(&mut self) -> Option<(&'a str, &'static str)> {
        if self.0.is_empty() {
            return None;
        }
        // A run ends before an ASCII character, so it never cuts a longer one in two.
        let (run, special) = self.0.split_at(scan::ordinary(self.0.as_bytes()));
        let mut chars = special.chars();
        let escape = chars.next().map_or("", escape);
        self.0 = chars.as_str();
        Some((run, escape))
    }
}

/// How `"`, `\` and the control characters are written.
fn escape(char: char) -> &'static str {
    const CONTROLS: [&str; 32] = [
        r"\u0000", r"\u0001", r"\u0002", r"\u0003", r"\u0004", r"\u0005", r"\u0006", r"\u0007",
        r"\b", r"\t", r"\n", r"\u000b", r"\f", r"\r", r"\u000e", r"\u000f", r"\u0010", r"\u0011",
        r"\u0012", r"\u0013", r"\u0014", r"\u0015", r"\u0016", r"\u0017", r"\u0018", r"\u0019",
        r"\u001a", r"\u001b", r"\u001c", r"\u001d", r"\u001e", r"\u001f",
    ];
    match char {
        '"' => r#"\""#,
        '\\' => r"\\",
        _ => CONTROLS.get(char as usize).expect("all else that is not ordinary is below a space"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    fn string(text: &str) -> String {
        let mut out = Vec::new();
        write_string(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    fn string_ascii(text: &str) -> String {
        let mut out = Vec::new();
        write_string_ascii(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_must_be_escaped_is_escaped_and_nothing_else() {
        for (text, utf8, ascii) in [
            ("", r#""""#, r#""""#),
            ("plain / text", r#""plain / text""#, r#""plain / text""#),
            ("\"\\", r#""\"\\""#, r#""\"\\""#),
            ("\u{8}\t\n\u{c}\r", r#""\b\t\n\f\r""#, r#""\b\t\n\f\r""#),
            ("\0a\u{1f} ", r#""\u0000a\u001f ""#, r#""\u0000a\u001f ""#),
            ("~\u{7f}", "\"~\u{7f}\"", r#""~\u007f""#),
            ("é☃", r#""é☃""#, r#""\u00e9\u2603""#),
            ("a😀b\u{10ffff}", "\"a😀b\u{10ffff}\"", r#""a\ud83d\ude00b\udbff\udfff""#),
        ] {
            assert_eq!(string(text), utf8, "{text:?}");
            assert_eq!(string_ascii(text), ascii, "{text:?}");
            assert_eq!(Value::String(text.into()).to_string(), utf8, "{text:?}");
        }
    }

    #[test]
    fn numbers_are_written_as_they_are_said() {
        for number in [0, 7, 10, 99, 100, 1_234_567_890, u64::MAX] {
            let mut out = b"offset ".to_vec();
            write_number(&mut out, number);
            assert_eq!(out, format!("offset {number}").into_bytes());
        }
    }

    #[test]
    fn every_character_is_read_back() {
        for char in
            ('\0'..=char::MAX).filter(|char| (*char as u32).is_multiple_of(7) || *char < '\u{900}')
        {
            let text = format!("{char}tail{char}");
            for written in [string(&text), string_ascii(&text)] {
                assert_eq!(parse(written.as_bytes()).unwrap().as_str(), Some(text.as_str()));
            }
            assert!(string_ascii(&text).bytes().all(|byte| (b' '..0x7F).contains(&byte)));
        }
    }

    #[test]
    fn strings_are_appended() {
        let mut out = b"data: ".to_vec();
        write_string(&mut out, "a");
        write_string_ascii(&mut out, "b");
        assert_eq!(out, br#"data: "a""b""#);
    }

    #[test]
    fn values_are_written_without_white_space_and_in_order() {
        let text = r#"{"b":[null,true,false,-1.50e+07,"\n"],"a":{},"b":[],"":[[],{"c":0}]}"#;
        assert_eq!(parse(text.as_bytes()).unwrap().to_string(), text);
    }
}
