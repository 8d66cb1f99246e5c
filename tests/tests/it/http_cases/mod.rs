//! HTTP at its edges: each row sends bytes to a live broker and says what must come back.
//!
//! A row has the bytes, the status of every answer, and whether the connection then takes another
//! request or ends. [`run`] checks more of every row, so that no row has to say it:
//!
//! - there is exactly one answer for each request, in order, and no other byte
//! - every answer has a `Date` and, unless it is a 204, a length; the last one before an end says
//!   `Connection: close`
//! - the topic `t` holds what the row says is stored, and nothing else
//! - good input is also good when it arrives in two pieces, cut anywhere
//!
//! Sections have letters: A the request line, B header fields, C the framing of bodies, D chunks, E
//! the connection, G paths, bodies and browsers. F, load, is in `load.rs` and `shortage.rs`; H,
//! event streams, in `events.rs`.

mod chunks;
mod connection;
mod fields;
mod framing;
mod paths;
mod request_line;
mod timing;

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;
use tests::System;
use tests::raw::{Answer, Raw};

/// The body that publishes `x` to the topic `t`.
const BODY: &str = r#"{"topic":"t","message":"x"}"#;

/// What is sent to see whether the connection still works.
const GOOD: &str = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// One row, or one variant of it.
struct Case {
    /// The row: its section's letter and a number. Variants share it.
    row: &'static str,
    sent: Vec<u8>,
    /// The status of each answer.
    answers: Vec<u16>,
    then: Then,
    /// What the topic `t` has more afterwards.
    stored: Vec<&'static str>,
    /// A field that the last answer has, and its value.
    field: Option<(&'static str, &'static str)>,
    /// What must not be in any answer.
    hidden: Option<&'static str>,
    is_head: bool,
}

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// It takes another request.
    Keep,
    /// The broker ends it.
    Close,
    /// The client says that it will send no more, and the broker ends it.
    End,
}

/// A row that is answered so, and whose connection goes on.
fn keep(row: &'static str, sent: impl AsRef<[u8]>, status: u16) -> Case {
    let is_head = sent.as_ref().starts_with(b"HEAD");
    Case {
        row,
        sent: sent.as_ref().to_vec(),
        answers: vec![status],
        then: Then::Keep,
        stored: Vec::new(),
        field: None,
        hidden: None,
        is_head,
    }
}

/// A row that is answered so, and whose connection ends.
fn close(row: &'static str, sent: impl AsRef<[u8]>, status: u16) -> Case {
    Case { then: Then::Close, ..keep(row, sent, status) }
}

/// A row after which the client ends its side.
fn end(row: &'static str, sent: impl AsRef<[u8]>, answers: &[u16]) -> Case {
    Case { then: Then::End, ..keep(row, sent, 0) }.answers(answers)
}

impl Case {
    /// Several answers, or none.
    fn answers(self, answers: &[u16]) -> Case {
        Case { answers: answers.to_vec(), ..self }
    }

    /// What is stored.
    fn stores(self, messages: &[&'static str]) -> Case {
        Case { stored: messages.to_vec(), ..self }
    }

    /// A field of the last answer.
    fn with(self, name: &'static str, value: &'static str) -> Case {
        Case { field: Some((name, value)), ..self }
    }

    /// What no answer may hold.
    fn without(self, text: &'static str) -> Case {
        Case { hidden: Some(text), ..self }
    }

    /// Whether it can be sent in two parts and still has to succeed.
    fn is_good(&self) -> bool {
        self.then != Then::End
            && !self.answers.is_empty()
            && self.answers.iter().all(|&it| it < 300)
    }

    /// Where a good case is cut: everywhere, unless it is long.
    fn cuts(&self) -> Vec<usize> {
        const NEAR_AN_END: usize = 50;
        let size = self.sent.len();
        let is_near = |cut: usize| cut < NEAR_AN_END || size - cut < NEAR_AN_END;
        match size {
            ..=1000 => (1..size).collect(),
            1001..=100_000 => (1..size).filter(|&cut| is_near(cut) || cut % 499 == 0).collect(),
            _ => vec![1, size / 2, size - 1],
        }
    }

    /// Reads all answers. Where the client waits for its body to be asked for, that may happen.
    #[track_caller]
    fn check(&self, raw: &mut Raw, may_be_asked: bool) {
        let sent = String::from_utf8_lossy(&self.sent);
        let sent: String = sent.chars().take(300).collect();
        let context = format!("{}: {sent:?}", self.row);
        if self.then == Then::End {
            raw.end_sending();
        }
        for (index, &status) in self.answers.iter().enumerate() {
            let answer = self.answer(raw, may_be_asked);
            assert_eq!(answer.status, status, "{context} was answered {answer:?}");
            check_form(&answer, &context);
            if let Some(hidden) = self.hidden {
                let text = format!("{:?} {}", answer.fields, String::from_utf8_lossy(&answer.body));
                assert!(!text.contains(hidden), "{context} was answered {answer:?}");
            }
            if index + 1 < self.answers.len() {
                continue;
            }
            let says_close = answer.field("connection") == Some("close");
            assert_eq!(says_close, self.then == Then::Close, "{context} was answered {answer:?}");
            if let Some((name, value)) = self.field {
                assert_eq!(answer.field(name), Some(value), "{context} was answered {answer:?}");
            }
        }
        if self.then == Then::Keep {
            raw.send(GOOD);
            let answer = raw.answer();
            assert_eq!((answer.status, answer.text()), (200, "ok\n"), "{context}: {answer:?}");
            raw.end_sending();
        }
        raw.end();
    }

    /// The next answer, or the one behind a `100 Continue`.
    #[track_caller]
    fn answer(&self, raw: &mut Raw, may_be_asked: bool) -> Answer {
        loop {
            let answer = if self.is_head { raw.answer_to_head() } else { raw.answer() };
            if answer.status != 100 || !may_be_asked {
                return answer;
            }
        }
    }
}

/// What is true of every answer (RFC 9110 §6.6.1, §8.6).
#[track_caller]
fn check_form(answer: &Answer, context: &str) {
    let date = answer.field("date").unwrap_or_else(|| panic!("{context}: no date: {answer:?}"));
    assert!(is_date(date), "{context}: {date:?}");
    let has_length = answer.field("content-length").is_some();
    let may_have_length = answer.status >= 200 && answer.status != 204;
    assert_eq!(has_length, may_have_length, "{context}: {answer:?}");
    assert_eq!(answer.field("transfer-encoding"), None, "{context}: {answer:?}");
}

/// Whether a date is like `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7).
fn is_date(date: &str) -> bool {
    let form: String = date
        .chars()
        .map(|it| match it {
            'A'..='Z' => 'A',
            'a'..='z' => 'a',
            '0'..='9' => '0',
            other => other,
        })
        .collect();
    form == "Aaa, 00 Aaa 0000 00:00:00 AAA" && date.ends_with("GMT")
}

/// Sends every case to `system`, and the good ones in two parts as well.
#[track_caller]
fn run(system: &System, cases: &[Case]) {
    run_with(system, "", cases);
}

/// Does what [`run`] does; `lines` are header lines that let the table itself in.
#[track_caller]
fn run_with(system: &System, lines: &str, cases: &[Case]) {
    for case in cases {
        let before = messages(system, lines).len();
        let mut raw = Raw::connect(&system.address());
        raw.send_as_far_as_taken(&case.sent);
        case.check(&mut raw, false);
        check_stored(system, lines, case, before, 1);
    }
    let rows: BTreeSet<_> = cases.iter().map(|case| case.row).collect();
    println!("{} rows in {} cases", rows.len(), cases.len());
    let mut cuts = 0;
    for case in cases.iter().filter(|case| case.is_good()) {
        cuts += run_cut(system, lines, case);
    }
    println!("{cuts} times cut in two");
}

/// Sends a good case in two parts, once for each place where it can be cut.
#[track_caller]
fn run_cut(system: &System, lines: &str, case: &Case) -> usize {
    let before = messages(system, lines).len();
    let mut cut: Vec<_> = case
        .cuts()
        .into_iter()
        .map(|cut| {
            let (first, second) = case.sent.split_at(cut);
            let mut raw = Raw::connect(&system.address());
            raw.send(first);
            (raw, second)
        })
        .collect();
    // Long enough for the broker to read the first part alone, most of the time.
    thread::sleep(Duration::from_millis(50));
    let expects = case.sent.windows(12).any(|bytes| bytes == b"100-continue");
    // A case that ends the connection may go on behind what ends it.
    let answers_early = expects || case.answers.len() > 1 || case.then == Then::Close;
    for (raw, second) in &mut cut {
        assert!(answers_early || raw.is_silent(), "{}: answered before its end", case.row);
        raw.send(second);
    }
    for (raw, _) in &mut cut {
        case.check(raw, expects);
    }
    check_stored(system, lines, case, before, cut.len());
    cut.len()
}

/// All messages of the topic `t`.
#[track_caller]
fn messages(system: &System, lines: &str) -> Vec<String> {
    let mut raw = Raw::connect(&system.address());
    raw.send(get(lines));
    let answer = raw.answer();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.text().lines().map(str::to_owned).collect()
}

#[track_caller]
fn check_stored(system: &System, lines: &str, case: &Case, before: usize, times: usize) {
    let mut messages = messages(system, lines).split_off(before);
    let mut expected = case.stored.repeat(times);
    if times > 1 {
        // Several connections stored them, in any order.
        messages.sort();
        expected.sort_unstable();
    }
    assert_eq!(messages, expected, "{}: stored", case.row);
}

/// A request for the topic `t` with more header lines, each with its line end.
fn get(lines: &str) -> String {
    format!("GET /messages?topic=t HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n")
}

/// A publish of `body` with these header lines, which have to tell its length.
fn post(lines: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Vec<u8> {
    let start = b"POST /publish HTTP/1.1\r\nHost: localhost\r\n";
    [start, lines.as_ref(), b"\r\n", body.as_ref()].concat()
}

/// A publish of `body` with a right length and more header lines.
fn publish(lines: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    post(format!("Content-Length: {}\r\n{lines}", body.as_ref().len()), body)
}

/// Rows that need more than bytes: time, a second connection, or a broker of another kind.
const ELSEWHERE: [&str; 14] = [
    "A02", "A25", "B07a", "B21", "D18", "E05", "E09", "E10", "E11", "E12", "E19", "E21", "E22",
    "G09",
];

#[test]
fn there_is_a_case_for_every_row() {
    let numbers = |letter, count| (1..=count).map(move |number| format!("{letter}{number:02}"));
    let mut rows: BTreeSet<String> = numbers('A', 33)
        .chain(numbers('B', 28).filter(|row| row != "B25"))
        .chain(numbers('C', 27))
        .chain(numbers('D', 18))
        .chain(numbers('E', 24).filter(|row| row != "E20"))
        .chain(numbers('G', 19))
        .collect();
    rows.extend(["B07a".to_owned(), "G12a".to_owned()]);
    let sections = [
        request_line::cases(),
        fields::cases(),
        framing::cases(),
        chunks::cases(),
        connection::cases(),
        paths::cases(),
        paths::cases_with_a_token(),
    ];
    let cases: usize = sections.iter().map(Vec::len).sum();
    let tested: BTreeSet<String> = sections
        .iter()
        .flatten()
        .map(|case| case.row)
        .chain(ELSEWHERE)
        .map(str::to_owned)
        .collect();
    println!("{} rows, {cases} cases of bytes", rows.len());
    assert_eq!(tested, rows);
}
