//! Writes strings as JSON text.

use super::{Charset, scan};

/// Appends `text` as a JSON string: quotes around it, and escapes for what must have them
/// (RFC 8259 §7). All else stays the UTF-8 that it is.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    write_quoted(out, text, scan::ordinary);
}

/// Appends `text` as a JSON string in printable ASCII: whatever lies above 0x7E becomes one or two
/// `\u` escapes, so that a reader may cut the bytes anywhere and still decode them.
pub fn write_string_ascii(out: &mut Vec<u8>, text: &str) {
    write_quoted(out, text, scan::ordinary_ascii);
}

/// Appends a part of a string, without the quotes around it.
pub fn write_part(out: &mut Vec<u8>, text: &str, charset: Charset) {
    match charset {
        Charset::Utf8 => write_runs(out, text, scan::ordinary),
        Charset::Ascii => write_runs(out, text, scan::ordinary_ascii),
    }
}

#[inline(always)]
fn write_quoted(out: &mut Vec<u8>, text: &str, ordinary: impl Fn(&[u8]) -> usize) {
    // Most texts need no escape: this is then the only growth.
    out.reserve(text.len() + 2);
    out.push(b'"');
    write_runs(out, text, ordinary);
    out.push(b'"');
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Value, parse};

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
