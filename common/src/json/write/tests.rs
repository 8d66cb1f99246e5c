//! Strings, objects and arrays as they are written.

use super::*;
use crate::json::Value;
use crate::json::parse;

fn string(text: &str) -> String {
    let mut out = Vec::new();
    text.write(&mut out, Charset::Utf8);
    String::from_utf8(out).unwrap()
}

fn string_ascii(text: &str) -> String {
    let mut out = Vec::new();
    text.write(&mut out, Charset::Ascii);
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
    "a".write(&mut out, Charset::Utf8);
    "b".write(&mut out, Charset::Ascii);
    assert_eq!(out, br#"data: "a""b""#);
}

#[test]
fn values_are_written_without_white_space_and_in_order() {
    let text = r#"{"b":[null,true,false,-1.50e+07,"\n"],"a":{},"b":[],"":[[],{"c":0}]}"#;
    assert_eq!(parse(text.as_bytes()).unwrap().to_string(), text);
}

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
