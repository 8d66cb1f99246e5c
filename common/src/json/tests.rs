//! The rules of RFC 8259, one document each, and rules for any bytes at all.

use super::*;
use crate::limits::JSON_DEPTH_MAX;
use std::borrow::Cow;

/// Each with the JSON that comes out when it is written again.
const VALID: &[(&[u8], &str)] = &[
    // Any value can be a document (§2), with white space around it.
    (b"null", "null"),
    (b"true", "true"),
    (b"false", "false"),
    (b"0", "0"),
    (b"\"\"", "\"\""),
    (b"[]", "[]"),
    (b"{}", "{}"),
    (b" \t\n\r[ \t\n\r] \t\n\r", "[]"),
    (b" { \"a\" : 1 , \"b\" : [ 2 , 3 ] } ", r#"{"a":1,"b":[2,3]}"#),
    // Objects and arrays (§4, §5).
    (b"[1,null,true,\"\",[],{}]", "[1,null,true,\"\",[],{}]"),
    (b"{\"a\":1,\"a\":2}", r#"{"a":1,"a":2}"#),
    (b"{\"\":0,\"a b\":{\"\":{}}}", r#"{"":0,"a b":{"":{}}}"#),
    // Numbers (§6).
    (
        b"[-0,-1,10,0.0,-0.10,1e1,1E1,1e+1,1e-1,0e0,0E+00]",
        "[-0,-1,10,0.0,-0.10,1e1,1E1,1e+1,1e-1,0e0,0E+00]",
    ),
    (
        b"[123456789012345678901234567890,1e400,-1e-400]",
        "[123456789012345678901234567890,1e400,-1e-400]",
    ),
    (b"0.000000000000000000000000000001 ", "0.000000000000000000000000000001"),
    // Strings (§7).
    (br#""\"\\\/\b\f\n\r\t""#, r#""\"\\/\b\f\n\r\t""#),
    (br#""\u0041\u00e9\u2603\uFFFF\u0000""#, "\"Aé☃\u{ffff}\\u0000\""),
    (br#""\uD83D\uDE00\ud83d\ude00\uD800\uDC00\uDBFF\uDFFF""#, "\"😀😀\u{10000}\u{10ffff}\""),
    (br#""\\u0041\\\u0041""#, r#""\\u0041\\A""#),
    (br#"{"\u0061":"\\"}"#, r#"{"a":"\\"}"#),
    (
        "\"\u{7f}\u{80}é\u{7ff}\u{800}\u{d7ff}\u{e000}\u{feff}\u{ffff}\u{10000}\u{10ffff}\""
            .as_bytes(),
        "\"\u{7f}\u{80}é\u{7ff}\u{800}\u{d7ff}\u{e000}\u{feff}\u{ffff}\u{10000}\u{10ffff}\"",
    ),
    (b"\"/* no */ // comment\"", "\"/* no */ // comment\""),
];

/// Each with the place and the reason.
const INVALID: &[(&[u8], usize, &str)] = &[
    // What is no value.
    (b"nul1", 3, "expected true, false or null"),
    (b"nan", 1, "expected true, false or null"),
    (b"True", 0, "expected a value"),
    (b"NaN", 0, "expected a value"),
    (b"-Infinity", 1, "expected a digit"),
    (b"undefined", 0, "expected a value"),
    (b"'a'", 0, "expected a value"),
    (b"// comment\n1", 0, "expected a value"),
    (b"\\u0031", 0, "expected a value"),
    (b"\0", 0, "expected a value"),
    // White space is these four alone (§2).
    (b"\x0b1", 0, "expected a value"),
    (b"[1\x0c]", 2, "expected ',' or ']'"),
    (b"\xC2\xA01", 0, "expected a value"),
    (b"[1,\xE2\x80\xA82]", 3, "expected a value"),
    // Byte order marks (§8.1).
    (b"\xEF\xBB\xBF{}", 0, "byte order mark instead of a value"),
    (b"{\xEF\xBB\xBF}", 1, "expected a key in double quotes"),
    (b"\xFE\xFF\0{\0}", 0, "expected a value"),
    (b"{\0}\0", 1, "expected a key in double quotes"),
    // Arrays.
    (b"]", 0, "expected a value"),
    (b"[,1]", 1, "expected a value"),
    (b"[1,]", 3, "expected a value"),
    (b"[1,,2]", 3, "expected a value"),
    (b"[1 2]", 3, "expected ',' or ']'"),
    (b"[1:2]", 2, "expected ',' or ']'"),
    (b"[1}", 2, "expected ',' or ']'"),
    (b"[\"a\"\"b\"]", 4, "expected ',' or ']'"),
    // Objects.
    (b"{,}", 1, "expected a key in double quotes"),
    (b"{a:1}", 1, "expected a key in double quotes"),
    (b"{'a':1}", 1, "expected a key in double quotes"),
    (b"{1:1}", 1, "expected a key in double quotes"),
    (b"{\"a\":1,}", 7, "expected a key in double quotes"),
    (b"{\"a\"}", 4, "expected ':'"),
    (b"{\"a\",1}", 4, "expected ':'"),
    (b"{\"a\"::1}", 5, "expected a value"),
    (b"{\"a\":}", 5, "expected a value"),
    (b"{\"a\":1 \"b\":2}", 7, "expected ',' or '}'"),
    (b"{\"a\":1]", 6, "expected ',' or '}'"),
    // Numbers.
    (b"+1", 0, "expected a value"),
    (b".5", 0, "expected a value"),
    (b"--1", 1, "expected a digit"),
    (b"-a", 1, "expected a digit"),
    (b"00", 1, "digit after a leading zero"),
    (b"-01", 2, "digit after a leading zero"),
    (b"1. ", 2, "expected a digit"),
    (b"1.e1", 2, "expected a digit"),
    (b"-.5", 1, "expected a digit"),
    (b"1e ", 2, "expected a digit"),
    (b"1e+-1", 3, "expected a digit"),
    (b"1ee1", 2, "expected a digit"),
    (b"[0x1]", 2, "expected ',' or ']'"),
    (b"[1_000]", 2, "expected ',' or ']'"),
    (b"[1.2.3]", 4, "expected ',' or ']'"),
    (b"[1e1.5]", 4, "expected ',' or ']'"),
    (b"[\xEF\xBC\x91]", 1, "expected a value"),
    // Strings.
    (b"\"a\nb\"", 2, "control character in a string"),
    (b"\"\0\"", 1, "control character in a string"),
    (b"\"\x1f\"", 1, "control character in a string"),
    (b"{\"\t\":1}", 2, "control character in a string"),
    (br#""\a""#, 2, "unknown escape"),
    (br#""\'""#, 2, "unknown escape"),
    (br#""\U0041""#, 2, "unknown escape"),
    (br#""\x41""#, 2, "unknown escape"),
    (br#""\012""#, 2, "unknown escape"),
    (b"\"\\\n\"", 2, "unknown escape"),
    (b"\"\\\xC3\xA9\"", 2, "unknown escape"),
    (br#""\u004""#, 6, "expected a hexadecimal digit"),
    (br#""\u+041""#, 3, "expected a hexadecimal digit"),
    (br#""\u{41}""#, 3, "expected a hexadecimal digit"),
    (br#""\u00G1""#, 5, "expected a hexadecimal digit"),
    // Surrogates (§8.2 leaves them to us).
    (br#""\uD800""#, 7, "expected the second half of a surrogate pair"),
    (br#""\uD800a""#, 7, "expected the second half of a surrogate pair"),
    (br#""\uD800\n""#, 8, "expected the second half of a surrogate pair"),
    (br#""\uD800\u0041""#, 12, "half a surrogate pair"),
    (br#""\uD800\uD800\uDC00""#, 12, "half a surrogate pair"),
    (br#""\uD800\uE000""#, 12, "half a surrogate pair"),
    (br#""\uDC00""#, 6, "half a surrogate pair"),
    (br#""\uDFFF\uD800""#, 6, "half a surrogate pair"),
    // UTF-8 (§8.1): lone, cut, overlong, surrogate, past the last character.
    (b"\"a\x80\"", 2, "invalid UTF-8"),
    (b"\"\xFF\"", 1, "invalid UTF-8"),
    (b"\"ab\xC3\"", 3, "invalid UTF-8"),
    (b"\"\xE2\x98\"", 1, "invalid UTF-8"),
    (b"\"\xC3\\u00A9\"", 1, "invalid UTF-8"),
    (b"\"\\n\xC0\xAF\"", 3, "invalid UTF-8"),
    (b"\"\xED\xA0\x80\"", 1, "invalid UTF-8"),
    (b"\"\xF4\x90\x80\x80\"", 1, "invalid UTF-8"),
    (b"{\"\xE9\":1}", 2, "invalid UTF-8"),
];

/// Invalid as one document, but for [`parse_prefix`] a document and something after it.
const FOLLOWED: &[(&[u8], usize)] = &[
    (b"{} {}", 3),
    (b"{}}", 2),
    (b"[]]", 2),
    (b"[],", 2),
    (b"true false", 5),
    (b"truex", 4),
    (b"\"a\"b", 3),
    (b"1 2", 2),
    (b"1a", 1),
    (b"0x1", 1),
    (b"1.5.", 3),
    (b"{}\0", 2),
    (b"{}\xEF\xBB\xBF", 2),
    (b"{}#", 2),
    (b"[1] // comment", 4),
];

const PARTIAL: &[&[u8]] = &[
    b"",
    b" \r\n\t",
    b"n",
    b"fals",
    b"-",
    b"1.",
    b"1e",
    b"1E+",
    b"\"",
    b"\"a",
    b"\"\\",
    b"\"\\\"",
    b"\"\\u",
    b"\"\\u004",
    b"\"\\uD83D",
    b"\"\\uD83D\\",
    b"\"\\uD83D\\uDE0",
    b"\"\xE2\x98",
    b"[",
    b"[1",
    b"[1,",
    b"[[]",
    b"{",
    b"{\"",
    b"{\"a\"",
    b"{\"a\":",
    b"{\"a\":1",
    b"{\"a\":1,",
    b"{\"a\":1,\"b\"",
];

fn nested(depth: usize) -> Vec<u8> {
    [b"[".repeat(depth), b"]".repeat(depth)].concat()
}

#[test]
fn what_the_rfc_allows_is_parsed_and_written_again() {
    for (input, written) in VALID {
        let shown = input.escape_ascii();
        let value = parse(input).unwrap_or_else(|error| panic!("{shown}: {error}"));
        assert_eq!(value.to_string(), *written, "{shown}");
        assert_eq!(parse(written.as_bytes()), Ok(value), "{shown}");
    }
}

#[test]
fn what_the_rfc_forbids_is_refused_at_the_byte_that_breaks_it() {
    for (input, offset, reason) in INVALID {
        let error = Error::Invalid { offset: *offset, reason };
        assert_eq!(parse(input), Err(error), "{}", input.escape_ascii());
        assert_eq!(parse_prefix(input), Err(error), "{}", input.escape_ascii());
    }
}

#[test]
fn what_follows_a_document_is_refused_or_left_alone() {
    for (input, offset) in FOLLOWED {
        let error = Error::Invalid { offset: *offset, reason: "more after the value" };
        assert_eq!(parse(input), Err(error), "{}", input.escape_ascii());
        let size = input[..*offset].trim_ascii_end().len();
        let (value, consumed) = parse_prefix(input).unwrap();
        assert_eq!(
            (Ok(value), consumed),
            (parse(&input[..size]), size),
            "{}",
            input.escape_ascii()
        );
    }
}

#[test]
fn what_ends_too_early_is_partial() {
    for input in PARTIAL {
        assert_eq!(parse(input), Err(Error::Partial), "{}", input.escape_ascii());
        assert_eq!(parse_prefix(input), Err(Error::Partial), "{}", input.escape_ascii());
    }
}

#[test]
fn a_number_is_complete_where_its_document_ends_but_a_stream_may_go_on() {
    assert_eq!(parse(b" 12"), Ok(Value::Number("12")));
    assert_eq!(parse_prefix(b" 12"), Err(Error::Partial));
    assert_eq!(parse_prefix(b" 12\n"), Ok((Value::Number("12"), 3)));
}

#[test]
fn objects_that_touch_are_parsed_one_by_one() {
    let mut stream: &[u8] = b"{\"a\":1}{\"a\":2} \n{\"a\":3}\r\n";
    let mut seen = Vec::new();
    while let Ok((value, size)) = parse_prefix(stream) {
        seen.push(value.get("a").and_then(Value::as_u64).unwrap());
        stream = &stream[size..];
    }
    assert_eq!((seen, stream), (vec![1, 2, 3], b"\r\n".as_slice()));
}

#[test]
fn strings_borrow_unless_they_hold_an_escape() {
    for (input, borrows) in [("\"plain ☃\"", true), ("\"\"", true), (r#""a\n""#, false)] {
        let Ok(Value::String(text)) = parse(input.as_bytes()) else { panic!("{input}") };
        assert_eq!(matches!(text, Cow::Borrowed(_)), borrows, "{input}");
    }
}

#[test]
fn brackets_nest_to_the_limit_and_no_deeper() {
    let too_deep = Error::Invalid { offset: JSON_DEPTH_MAX, reason: "nested more than 64 deep" };
    assert!(parse(&nested(JSON_DEPTH_MAX)).is_ok());
    assert_eq!(parse(&nested(JSON_DEPTH_MAX + 1)), Err(too_deep));
    assert_eq!(parse(&b"[".repeat(100_000)), Err(too_deep));
    assert_eq!(parse_prefix(&b"[".repeat(JSON_DEPTH_MAX + 1)), Err(too_deep));

    let objects =
        |depth: usize| [b"{\"\":".repeat(depth), b"0".to_vec(), b"}".repeat(depth)].concat();
    assert!(parse(&objects(JSON_DEPTH_MAX)).is_ok());
    assert!(matches!(parse(&objects(JSON_DEPTH_MAX + 1)), Err(Error::Invalid { .. })));

    // Siblings do not add up.
    let siblings = [b"[".to_vec(), b"[],{},".repeat(100), b"0]".to_vec()].concat();
    assert!(parse(&siblings).is_ok());
}

#[test]
fn errors_say_what_and_where() {
    assert_eq!(
        parse(b"{\"a\":1 ").unwrap_err().to_string(),
        "the input ends before the JSON value does"
    );
    assert_eq!(parse(b"{\"a\":1;").unwrap_err().to_string(), "expected ',' or '}' at byte 6");
}

#[test]
fn every_proper_prefix_of_an_object_is_partial() {
    for (input, _) in VALID.iter().filter(|(_, written)| written.starts_with(['{', '['])) {
        let whole = input.trim_ascii_end();
        for end in 0..whole.len() {
            assert_eq!(
                parse_prefix(&whole[..end]),
                Err(Error::Partial),
                "{}",
                whole.escape_ascii()
            );
        }
        let (_, size) = parse_prefix(input).unwrap();
        assert_eq!(size, whole.len());
    }
}

/// Marsaglia's xorshift: the same sequence on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

/// What holds for any bytes whatever.
fn check(input: &[u8]) {
    let shown = input.escape_ascii();
    match parse_prefix(input) {
        Ok((value, size)) => {
            assert!(size <= input.len(), "{shown}");
            assert_eq!(parse(&input[..size]).as_ref(), Ok(&value), "{shown}");
            assert_eq!(parse(value.to_string().as_bytes()), Ok(value), "{shown}");
            if matches!(input.trim_ascii_start().first(), Some(b'{' | b'[')) {
                assert_eq!(Boundary::default().find(input), Some(size), "{shown}");
                for end in 0..size {
                    assert_eq!(
                        parse_prefix(&input[..end]),
                        Err(Error::Partial),
                        "{shown} to {end}"
                    );
                    assert_eq!(Boundary::default().find(&input[..end]), None, "{shown} to {end}");
                }
            }
        }
        Err(Error::Partial) => {
            // A number at the end is a document, but not yet the first of a stream.
            assert!(matches!(parse(input), Err(Error::Partial) | Ok(Value::Number(_))), "{shown}");
        }
        Err(Error::Invalid { offset, .. }) => {
            assert!(offset < input.len(), "{shown}");
            assert!(parse(input).is_err(), "{shown}");
        }
    }
}

#[test]
fn no_bytes_break_the_promises() {
    const ALPHABET: &[u8] =
        b"{}[]:,\"\\u0Dd8cnflse-+.tr \n\x00\x1f\x7f\x80\xC3\xA9\xE2\x98\x83\xF0\xEF";
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let seeds: Vec<&[u8]> = VALID.iter().map(|(input, _)| *input).collect();
    for _ in 0..20_000 {
        let mut input = seeds[random.below(seeds.len())].to_vec();
        for _ in 0..random.below(4) {
            let at = random.below(input.len() + 1);
            let byte = ALPHABET[random.below(ALPHABET.len())];
            match random.below(4) {
                0 => input.insert(at, byte),
                1 => drop(input.splice(at.., [])),
                2 => input.get_mut(at).into_iter().for_each(|old| *old = byte),
                _ => input.get_mut(at).into_iter().for_each(|old| *old ^= 1 << (byte % 8)),
            }
        }
        check(&input);
    }
}
