//! JSON as a live broker reads it, compared with another reader: what RFC 8259 accepts and refuses,
//! what it leaves open, and generated documents.

mod table;

use self::table::{ACCEPTED, DECIDED, REFUSED};
use common::json::{self, Value};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Stdio;
use tests::raw::Raw;
use tests::{System, tools};

/// G09: each as the value of a field that the broker does not know, and so must only parse.
#[test]
fn a_live_broker_accepts_and_refuses_what_the_rfc_wants() {
    let system = System::start();
    let accepted = ACCEPTED.iter().map(|&document| (document, true));
    let refused = REFUSED.iter().map(|&document| (document, false));
    let deep = [b"[".repeat(100_000), b"[{\"\":".repeat(50_000)];
    let deep = deep.iter().map(|document| (document.as_slice(), false));
    let cases = accepted.chain(refused).chain(deep).chain(DECIDED.iter().copied());
    let mut http = Raw::connect(&system.address());
    let mut stored = 0;
    for (document, is_good) in cases {
        let fields =
            [&b"\"topic\":\"t\",\"message\":\"x\",\"other\":"[..], document, b"}"].concat();
        let shown = document.get(..200).unwrap_or(document).escape_ascii();
        http.request("POST", "/publish", [b"{", fields.as_slice()].concat());
        let answer = http.answer();
        assert_eq!(answer.status, if is_good { 200 } else { 400 }, "{shown}: {answer:?}");
        assert!(is_good || answer.text().contains("not JSON"), "{shown}: {answer:?}");

        let mut session = Raw::connect(&system.address());
        session.send([b"{\"command\":\"publish\",", fields.as_slice()].concat());
        session.end_sending();
        let line = session.line();
        let word = if is_good { "success" } else { "Invalid JSON format" };
        // An object may be whole before the byte that makes the document a bad one.
        let ends_early = document.ends_with(b"}") || line.contains("success");
        assert!(line.contains(word) || ends_early, "{shown}: {line}");
        stored += usize::from(is_good) + usize::from(line.contains("success"));
    }
    assert_eq!(system.messages("t").len(), stored);
    println!("{} accepted, {} refused, {} decided", ACCEPTED.len(), REFUSED.len(), DECIDED.len());
}

/// Marsaglia's xorshift: the same documents on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }

    fn pick<'a>(&mut self, from: &[&'a [u8]]) -> &'a [u8] {
        from.get(self.below(from.len())).unwrap()
    }

    /// Appends a document that nests at most `depth` deep, in any spelling.
    fn document(&mut self, out: &mut Vec<u8>, depth: usize) {
        self.space(out);
        match self.below(if depth == 0 { 3 } else { 5 }) {
            0 => out.extend_from_slice(self.pick(&[b"null", b"true", b"false"])),
            1 => {
                for parts in [
                    &[&b""[..], b"-"][..],
                    &[b"0", b"7", b"10", b"18446744073709551616"],
                    &[b"", b".0", b".125"],
                    &[b"", b"e0", b"E+05", b"e-400"],
                ] {
                    out.extend_from_slice(self.pick(parts));
                }
            }
            2 => self.string(out),
            kind => {
                let (open, close) = if kind == 3 { (b'[', b']') } else { (b'{', b'}') };
                out.push(open);
                for index in 0..self.below(4) {
                    if index > 0 {
                        out.push(b',');
                    }
                    if kind == 4 {
                        self.space(out);
                        self.string(out);
                        self.space(out);
                        out.push(b':');
                    }
                    self.document(out, depth - 1);
                }
                self.space(out);
                out.push(close);
            }
        }
        self.space(out);
    }

    fn space(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.pick(&[b"", b"", b"", b" ", b"\n", b"\t\r"]));
    }

    fn string(&mut self, out: &mut Vec<u8>) {
        out.push(b'"');
        for _ in 0..self.below(5) {
            out.extend_from_slice(self.pick(&[
                b"a",
                b"key",
                b" ",
                b"/",
                b"\\\"",
                b"\\\\",
                b"\\/",
                b"\\b\\f\\n\\r\\t",
                b"\\u0041",
                b"\\u00e9",
                b"\\uD83D\\uDE00",
                b"\\u0000",
                b"\x7f",
                "\u{e9}".as_bytes(),
                "\u{2028}".as_bytes(),
                "\u{1f600}".as_bytes(),
            ]));
        }
        out.push(b'"');
    }

    /// Changes a few bytes, or none.
    fn damage(&mut self, document: &mut Vec<u8>) {
        const BYTES: &[u8] =
            b"{}[]:,\"\\u0Dd8cnflse-+.1tr \n\x00\x1f\x7f\x80\xc3\xa9\xed\xa0\xf0\xef\xbb\xbf/NI";
        for _ in 0..self.below(4) {
            let at = self.below(document.len() + 1);
            let byte = *BYTES.get(self.below(BYTES.len())).unwrap();
            match self.below(4) {
                0 => document.insert(at, byte),
                1 => drop(document.splice(at..(at + 2).min(document.len()), [])),
                2 => document.get_mut(at).into_iter().for_each(|old| *old = byte),
                _ => document.get_mut(at).into_iter().for_each(|old| *old ^= 1 << (byte % 8)),
            }
        }
    }
}

/// A document in a spelling that leaves nothing open: numbers as they stand, text as hexadecimal.
fn canonical(value: &Value<'_>, out: &mut String) {
    let text = |text: &str, out: &mut String| {
        out.push('"');
        for byte in text.bytes() {
            let _ = write!(out, "{byte:02x}");
        }
    };
    match value {
        Value::Null => out.push('n'),
        Value::Bool(truth) => out.push(if *truth { 't' } else { 'f' }),
        Value::Number(digits) => {
            let _ = write!(out, "#{digits}");
        }
        Value::String(string) => text(string, out),
        Value::Array(elements) => {
            out.push('[');
            elements.iter().for_each(|element| {
                canonical(element, out);
                out.push(',');
            });
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            members.iter().for_each(|(key, member)| {
                text(key, out);
                out.push(':');
                canonical(member, out);
                out.push(',');
            });
            out.push('}');
        }
    }
}

/// Reads a document per line, in hexadecimal, and writes what Python makes of it in the spelling
/// of [`canonical`]. Python is told to be as strict as the RFC: no NaN, no half surrogate pairs.
const PYTHON: &str = r#"
import json, sys

class Number(str):
    pass

def refuse(_):
    raise ValueError

def text(string):
    return '"' + string.encode('utf-8').hex()

def canonical(value):
    if value is None:
        return 'n'
    if isinstance(value, bool):
        return 't' if value else 'f'
    if isinstance(value, Number):
        return '#' + value
    if isinstance(value, str):
        return text(value)
    if isinstance(value, list):
        return '[' + ''.join(canonical(it) + ',' for it in value) + ']'
    return '{' + ''.join(text(k) + ':' + canonical(v) + ',' for k, v in value) + '}'

for line in sys.stdin:
    try:
        document = bytes.fromhex(line).decode('utf-8')
        print(canonical(json.loads(
            document, parse_int=Number, parse_float=Number, parse_constant=refuse,
            object_pairs_hook=tuple)))
    except ValueError:
        print('refused')
"#;

#[test]
fn python_reads_every_document_as_we_do() {
    const COUNT: usize = 20_000;
    let Some(mut python) = tools::python3() else { return };
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let documents: Vec<_> = (0..COUNT)
        .map(|_| {
            let mut document = Vec::new();
            random.document(&mut document, 4);
            random.damage(&mut document);
            document
        })
        .collect();
    let mut input = String::new();
    for document in &documents {
        document.iter().for_each(|byte| write!(input, "{byte:02x}").unwrap());
        input.push('\n');
    }
    python.args(["-c", PYTHON]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut python = python.spawn().unwrap();
    let mut stdin = python.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = python.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.lines().count(), COUNT);

    let mut good = 0;
    for (document, theirs) in documents.iter().zip(output.lines()) {
        let ours = match json::parse(document) {
            Ok(value) => {
                let mut text = String::new();
                canonical(&value, &mut text);
                good += 1;
                text
            }
            Err(_) => "refused".to_owned(),
        };
        assert_eq!(ours, theirs, "{}", document.escape_ascii());
    }
    println!("{good} of {COUNT} documents are good");
    assert!((COUNT / 5..COUNT * 4 / 5).contains(&good), "{good} of {COUNT} are good");
}
