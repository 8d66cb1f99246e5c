//! What a publish stores, what it refuses, and what it does not store twice.

use common::json::Value;
use std::sync::Barrier;
use std::thread;
use tests::raw::{Answer, Raw};
use tests::{System, publish_body, tools};

/// Sends bodies to `POST /publish` on one connection: a refusal does not end it.
struct Publishing(Raw);

impl Publishing {
    fn to(system: &System) -> Publishing {
        Publishing(Raw::connect(&system.address()))
    }

    #[track_caller]
    fn send(&mut self, body: impl AsRef<[u8]>) -> Answer {
        self.0.request("POST", "/publish", body);
        self.0.answer()
    }

    /// Publishes under the name `ann` to the topic `t`.
    #[track_caller]
    fn numbered(&mut self, epoch: u64, sequence: u64, messages: &[&str]) -> Answer {
        self.send(format!(
            r#"{{"topic":"t","publisher":"ann","epoch":{epoch},"sequence":{sequence},"messages":{messages:?}}}"#
        ))
    }
}

#[track_caller]
fn field_of<'a>(answer: &'a Answer, name: &str) -> u64 {
    let json: Value<'a> = answer.json();
    json.get(name).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {name} in {answer:?}"))
}

fn is_duplicate(answer: &Answer) -> bool {
    answer.json().get("duplicate").and_then(Value::as_bool).unwrap_or(false)
}

/// Checks the form of every error (RFC 9457), and that its text names `word`.
#[track_caller]
fn assert_problem(answer: &Answer, status: u16, word: &str) {
    assert_eq!(answer.status, status, "{word:?}: {answer:?}");
    assert_eq!(answer.field("content-type"), Some("application/problem+json"));
    assert_eq!(field_of(answer, "status"), u64::from(status));
    let json = answer.json();
    let text = |name| json.get(name).and_then(Value::as_str).unwrap_or_default();
    assert_ne!(text("title"), "", "{answer:?}");
    assert!(text("detail").contains(word), "{:?} does not name {word:?}", text("detail"));
}

#[track_caller]
fn assert_published(answer: &Answer, offset: u64, appended: u64) {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.field("content-type"), Some("application/json"));
    assert_eq!(field_of(answer, "offset"), offset, "{}", answer.text());
    assert_eq!(field_of(answer, "appended"), appended, "{}", answer.text());
    assert_eq!(is_duplicate(answer), appended == 0, "{}", answer.text());
}

#[test]
fn a_publish_is_answered_with_its_offset() {
    let system = System::start();
    let mut publishing = Publishing::to(&system);
    for offset in 0..3 {
        let answer = publishing.send(publish_body("a topic", "a message"));
        assert_published(&answer, offset, 1);
        let json = answer.json();
        assert_eq!(json.get("topic").and_then(Value::as_str), Some("a topic"));
        assert_eq!(json.get("durable").and_then(Value::as_bool), Some(false), "memory only");
    }
    assert_eq!(system.messages("a topic"), ["a message"; 3]);
}

#[test]
fn every_text_of_one_line_comes_back_as_it_was() {
    let system = System::start();
    let messages =
        ["", " ", "\t", "\u{1}\u{1f}\u{7f}\u{85}\u{2028}", "\"\\/", "😀", "\u{10ffff}", "\u{feff}"];
    let mut publishing = Publishing::to(&system);
    for message in messages {
        assert_eq!(publishing.send(publish_body("t", message)).status, 200, "{message:?}");
    }
    let list: String = messages.iter().flat_map(|message| [message, "\n"]).collect();
    assert_eq!(system.get("/messages?topic=t").text(), list);
}

#[test]
fn what_json_allows_is_taken() {
    let system = System::start();
    let mut publishing = Publishing::to(&system);
    for body in [
        r#"{"topic":"t","message":"x"}"#,
        " {\r\n\t\"message\" : \"x\" , \"topic\" : \"t\" } \n",
        r#"{"\u0074opic":"\u0074","message":"\u0078"}"#,
        r#"{"topic":"t","message":"x","newer":{"field":[null,1e400,{"a":1,"a":2}]}}"#,
        r#"{"topic":"t","messages":["x"]}"#,
    ] {
        assert_eq!(publishing.send(body).status, 200, "{body}");
    }
    assert_eq!(system.messages("t"), ["x"; 5]);
}

/// The body decides, whatever its type is said to be: `curl -d` says that it is a form.
#[test]
fn any_content_type_or_none_is_taken() {
    let system = System::start();
    let mut raw = Raw::connect(&system.address());
    for field in [
        "",
        "Content-Type: application/json\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: text/plain; charset=latin1\r\n",
        "content-type:\r\n",
    ] {
        let body = r#"{"topic":"t","message":"x"}"#;
        let size = body.len();
        raw.send(format!(
            "POST /publish HTTP/1.1\r\nHost: localhost\r\n{field}Content-Length: {size}\r\n\r\n{body}"
        ));
        assert_eq!(raw.answer().status, 200, "{field}");
    }
    assert_eq!(system.messages("t").len(), 5);
}

#[test]
fn curl_publishes_and_reads() {
    let (Some(mut publish), Some(mut read)) = (tools::curl(), tools::curl()) else { return };
    let system = System::start();
    let address = system.address();
    let body = r#"{"topic":"t","message":"from a shell"}"#;
    publish.args(["-sS", "-d", body, &format!("http://{address}/publish")]);
    read.args(["-sS", "-G", "-d", "topic=t", &format!("http://{address}/messages")]);
    assert!(publish.output().unwrap().status.success());
    assert_eq!(read.output().unwrap().stdout, b"from a shell\n");
}

#[test]
fn a_bad_body_is_refused_by_name_and_nothing_is_stored() {
    let system = System::start();
    let mut publishing = Publishing::to(&system);
    let long = "x".repeat(256);
    let cases: &[(&[u8], &str)] = &[
        (b"", "JSON"),
        (b"hello", "JSON"),
        (b"{\"topic\":\"t\",\"message\":\"x\"", "JSON"),
        (b"{\"topic\":\"t\",\"message\":\"x\"}}", "JSON"),
        (b"{\"topic\":\"t\",\"message\":\"x\"} {}", "JSON"),
        (b"\xef\xbb\xbf{\"topic\":\"t\",\"message\":\"x\"}", "JSON"),
        (b"{'topic':'t','message':'x'}", "JSON"),
        (b"{\"topic\":\"t\",\"message\":\"\xff\"}", "JSON"),
        (b"{\"topic\":\"t\",\"message\":\"\xed\xa0\x80\"}", "JSON"),
        (br#"{"topic":"t","message":"\ud800"}"#, "JSON"),
        (br#"{"topic":"\udc00","message":"x"}"#, "JSON"),
        (b"{\"topic\":\"t\",\"message\":\"a\nb\"}", "JSON"),
        (b"[]", "'topic'"),
        (b"null", "'topic'"),
        (b"\"topic\"", "'topic'"),
        (br#"{"message":"x"}"#, "'topic'"),
        (br#"{"topic":"t"}"#, "'message'"),
        (b"{}", "'topic'"),
        (br#"{"topic":1,"message":"x"}"#, "'topic'"),
        (br#"{"topic":null,"message":"x"}"#, "'topic'"),
        (br#"{"topic":["t"],"message":"x"}"#, "'topic'"),
        (br#"{"topic":"","message":"x"}"#, "'topic'"),
        (br#"{"topic":"a\nb","message":"x"}"#, "'topic'"),
        (br#"{"topic":"a\u0000b","message":"x"}"#, "'topic'"),
        (br#"{"topic":"a\u007fb","message":"x"}"#, "'topic'"),
        (br#"{"topic":"t","topic":"u","message":"x"}"#, "'topic'"),
        (br#"{"topic":"t","message":1}"#, "'message'"),
        (br#"{"topic":"t","message":null}"#, "'message'"),
        (br#"{"topic":"t","message":{"a":1}}"#, "'message'"),
        (br#"{"topic":"t","message":"a\nb"}"#, "'message'"),
        (br#"{"topic":"t","message":"a\rb"}"#, "'message'"),
        (br#"{"topic":"t","message":"a\r\n"}"#, "'message'"),
        (br#"{"topic":"t","message":"a\u0000b"}"#, "'message'"),
        (br#"{"topic":"t","message":"x","message":"x"}"#, "'message'"),
        (br#"{"topic":"t","message":"x","messages":["x"]}"#, "'message"),
        (br#"{"topic":"t","messages":"x"}"#, "'messages'"),
        (br#"{"topic":"t","messages":null}"#, "'messages'"),
        (br#"{"topic":"t","messages":["x",1]}"#, "'message"),
        (br#"{"topic":"t","messages":["x","a\nb"]}"#, "'message"),
        (br#"{"topic":"t","message":"x","publisher":1}"#, "'publisher'"),
        (br#"{"topic":"t","message":"x","publisher":""}"#, "'publisher'"),
        (br#"{"topic":"t","message":"x","publisher":"a\nb"}"#, "'publisher'"),
        (br#"{"topic":"t","message":"x","publisher":"p","epoch":0}"#, "'sequence'"),
        (br#"{"topic":"t","message":"x","publisher":"p","sequence":0}"#, "'epoch'"),
        (br#"{"topic":"t","message":"x","epoch":0,"sequence":0}"#, "'publisher'"),
        (br#"{"topic":"t","message":"x","publisher":"p","epoch":"0","sequence":0}"#, "'epoch'"),
        (br#"{"topic":"t","message":"x","publisher":"p","epoch":-1,"sequence":0}"#, "'epoch'"),
        (br#"{"topic":"t","message":"x","publisher":"p","epoch":0,"sequence":0.5}"#, "'sequence'"),
        (
            br#"{"topic":"t","message":"x","publisher":"p","epoch":0,"sequence":18446744073709551616}"#,
            "'sequence'",
        ),
    ];
    for (body, word) in cases {
        assert_problem(&publishing.send(body), 400, word);
    }
    let named = format!(r#"{{"topic":"{long}","message":"x"}}"#);
    assert_problem(&publishing.send(named), 400, "'topic'");
    let named = format!(r#"{{"topic":"t","message":"x","publisher":"{long}"}}"#);
    assert_problem(&publishing.send(named), 400, "'publisher'");
    assert_problem(&publishing.send("[".repeat(100_000)), 400, "JSON");

    assert_eq!(system.messages("t"), [""; 0], "nothing was stored");
    let topics = system.get("/topics");
    assert!(!topics.text().contains("\"topic\""), "no topic was made: {}", topics.text());
}

#[test]
fn a_name_and_a_message_may_be_as_long_as_their_limits() {
    let system = System::start_with(&["--max-message", "1000"]);
    let mut publishing = Publishing::to(&system);
    let (topic, message) = ("t".repeat(255), "ü".repeat(500));
    assert_eq!(publishing.send(publish_body(&topic, &message)).status, 200);
    let answer = publishing.send(publish_body(&topic, &format!("{message}x")));
    assert_problem(&answer, 413, "1000");
    assert_eq!(system.messages(&topic), [message]);
}

#[test]
fn a_batch_is_appended_together_or_not_at_all() {
    let system = System::start();
    let mut publishing = Publishing::to(&system);
    publishing.send(publish_body("t", "zero"));
    let answer = publishing.send(r#"{"topic":"t","messages":["one","two","","four"]}"#);
    assert_published(&answer, 1, 4);
    let answer = publishing.send(r#"{"topic":"t","messages":["five","si\nx","seven"]}"#);
    assert_problem(&answer, 400, "'message");
    assert_eq!(system.messages("t"), ["zero", "one", "two", "", "four"]);
}

#[test]
fn a_body_can_be_one_message_whatever_its_lines() {
    let system = System::start();
    let post = |query: &str, body: &str| {
        system.request("POST", &format!("/topics/t?{query}"), body).status
    };
    assert_eq!(post("whole=1", "{\n  \"a\": [1,\r\n  2]\n}\n"), 200);
    assert_eq!(post("whole=1", "one line\n"), 200);
    assert_eq!(post("whole=0", "two\nlines\n"), 200);
    assert_eq!(system.messages("t"), ["{\"a\": [1,2]}", "one line", "two", "lines"]);
    let refused = system.request("POST", "/topics/t?whole=1", "two\nlines\n");
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("several lines and is not JSON"), "{}", refused.text());
    assert_eq!(post("whole=yes", "x"), 400);
    assert_eq!(system.messages("t").len(), 4, "nothing of what was refused was appended");
}

#[test]
fn the_lines_of_a_body_are_appended_together_or_not_at_all() {
    let system = System::start();
    let answer = system.request("POST", "/topics/a%2Fb", "one\ntwo\r\n\nfour");
    assert_published(&answer, 0, 4);
    let answer = system.request("POST", "/topics/a%2Fb", "five\nsix\0\n");
    assert_problem(&answer, 400, "line 2");
    let answer = system.request("POST", "/topics/a%2Fb", b"five\nsix\nse\xffven\n");
    assert_problem(&answer, 400, "line 3");
    assert_eq!(system.messages("a/b"), ["one", "two", "", "four"]);
}

#[test]
fn pipelined_publishes_are_stored_and_answered_in_order() {
    let system = System::start();
    let mut raw = Raw::connect(&system.address());
    let messages: Vec<_> = (0..1000).map(|number| format!("message {number}")).collect();
    let requests: Vec<u8> = messages
        .iter()
        .flat_map(|message| tests::raw::request("POST", "/publish", publish_body("t", message)))
        .collect();
    raw.send(requests);
    for offset in 0..1000 {
        assert_published(&raw.answer(), offset, 1);
    }
    assert_eq!(system.messages("t"), messages);
}

#[test]
fn a_number_is_appended_once() {
    let system = System::start();
    let mut publishing = Publishing::to(&system);
    assert_published(&publishing.numbered(0, 0, &["a"]), 0, 1);
    assert_published(&publishing.numbered(0, 0, &["a"]), 0, 0);
    assert_published(&publishing.numbered(0, 1, &["b"]), 1, 1);
    publishing.send(publish_body("t", "a stranger's"));
    assert_published(&publishing.numbered(0, 2, &["c"]), 3, 1);
    // However old: there is no window.
    for (sequence, offset) in [(0, 0), (1, 1), (2, 3)] {
        assert_published(&publishing.numbered(0, sequence, &["again"]), offset, 0);
    }
    assert_eq!(system.messages("t"), ["a", "b", "a stranger's", "c"]);
}

#[test]
fn a_gap_is_refused_and_names_the_number_expected() {
    let system = System::start();
    let mut publishing = Publishing::to(&system);
    assert_problem(&publishing.numbered(0, 1, &["b"]), 409, "expected 0");
    for sequence in 0..7 {
        publishing.numbered(0, sequence, &["x"]);
    }
    assert_problem(&publishing.numbered(0, 8, &["x"]), 409, "expected 7");
    assert_problem(&publishing.numbered(0, u64::MAX, &["x"]), 409, "expected 7");
    assert_eq!(system.messages("t").len(), 7);
}

#[test]
fn a_newer_epoch_starts_at_zero_and_ends_the_older() {
    let system = System::start();
    let mut publishing = Publishing::to(&system);
    assert_published(&publishing.numbered(3, 0, &["a", "b"]), 0, 2);
    assert_problem(&publishing.numbered(5, 2, &["c"]), 409, "expected 0");
    assert_published(&publishing.numbered(3, 2, &["c"]), 2, 1);
    assert_published(&publishing.numbered(5, 0, &["d"]), 3, 1);
    assert_problem(&publishing.numbered(3, 3, &["e"]), 403, "5");
    assert_problem(&publishing.numbered(4, 0, &["e"]), 403, "5");
    assert_published(&publishing.numbered(5, 1, &["e"]), 4, 1);
    assert_eq!(system.messages("t"), ["a", "b", "c", "d", "e"]);
}

#[test]
fn of_a_batch_that_is_there_in_part_the_rest_is_appended() {
    let system = System::start();
    let mut publishing = Publishing::to(&system);
    assert_published(&publishing.numbered(0, 0, &["a", "b"]), 0, 2);
    assert_published(&publishing.numbered(0, 0, &["a", "b", "c", "d"]), 2, 2);
    assert_published(&publishing.numbered(0, 1, &["b", "c"]), 1, 0);
    assert_published(&publishing.numbered(0, 3, &["d", "e"]), 4, 1);
    assert_published(&publishing.numbered(0, 5, &["f"]), 5, 1);
    assert_eq!(system.messages("t"), ["a", "b", "c", "d", "e", "f"]);
}

#[test]
fn numbers_belong_to_one_topic_and_one_publisher() {
    let system = System::start();
    let mut publishing = Publishing::to(&system);
    for topic in ["t", "u"] {
        for publisher in ["ann", "bob"] {
            let body = format!(
                r#"{{"topic":"{topic}","publisher":"{publisher}","epoch":0,"sequence":0,"message":"{publisher}"}}"#
            );
            assert!(!is_duplicate(&publishing.send(&body)), "{body}");
            assert!(is_duplicate(&publishing.send(&body)), "{body}");
        }
        assert_eq!(system.messages(topic), ["ann", "bob"]);
    }
}

#[test]
fn of_eight_copies_at_once_one_is_stored_and_seven_are_duplicates() {
    const COPIES: usize = 8;
    let system = System::start();
    let start = Barrier::new(COPIES);
    for sequence in 0..20 {
        let duplicates: usize = thread::scope(|scope| {
            let copies: Vec<_> = (0..COPIES)
                .map(|_| {
                    scope.spawn(|| {
                        let mut publishing = Publishing::to(&system);
                        start.wait();
                        let answer = publishing.numbered(0, sequence, &["x"]);
                        assert_eq!(field_of(&answer, "offset"), sequence);
                        usize::from(is_duplicate(&answer))
                    })
                })
                .collect();
            copies.into_iter().map(|copy| copy.join().unwrap()).sum()
        });
        assert_eq!(duplicates, COPIES - 1);
    }
    assert_eq!(system.messages("t").len(), 20);
}

/// A publish that never became whole is not there, and its number is not taken.
#[test]
fn a_body_that_is_cut_short_is_not_stored() {
    let system = System::start();
    let body = r#"{"topic":"t","publisher":"ann","epoch":0,"sequence":0,"message":"x"}"#;
    let whole = tests::raw::request("POST", "/publish", body);
    for missing in [1, 2, body.len() - 1, body.len()] {
        let mut raw = Raw::connect(&system.address());
        raw.send(&whole[..whole.len() - missing]);
        raw.end_sending();
        // The broker may say so, or just close.
    }
    assert_eq!(system.messages("t"), [""; 0]);
    assert_published(&Publishing::to(&system).send(body), 0, 1);
}
