//! E: between requests and around them (RFC 9112 §9, RFC 9110 §10.1.1).

use super::{BODY, Case, close, end, get, keep, post, publish, run};
use tests::System;
use tests::raw::Raw;

const EXPECT: &str = "Expect: 100-continue\r\n";

/// A publish of one message to the topic `t`.
fn message(text: &str) -> Vec<u8> {
    publish("", format!(r#"{{"topic":"t","message":"{text}"}}"#))
}

pub(super) fn cases() -> Vec<Case> {
    let good = get("");
    let bad = good.replace("Host", "Host ");
    let last = get("Connection: close\r\n");
    let old = |lines: &str| format!("GET /messages?topic=t HTTP/1.0\r\n{lines}\r\n");
    let old_post =
        format!("POST /publish HTTP/1.0\r\n{EXPECT}Content-Length: {}\r\n\r\n{BODY}", BODY.len());
    let injected = r#"{"topic":"t\r\nX-Injected: v","message":"x"}"#;
    vec![
        keep("E01", good.repeat(3), 0).answers(&[200; 3]),
        keep("E02", [message("a"), message("b"), message("c")].concat(), 0)
            .answers(&[200; 3])
            .stores(&["a", "b", "c"]),
        close("E03", format!("{good}{bad}{good}"), 0).answers(&[200, 400]),
        close("E03", [message("a"), bad.into_bytes(), message("b")].concat(), 0)
            .answers(&[200, 400])
            .stores(&["a"]),
        close("E04", format!("{last}{good}"), 200),
        close("E04", [publish("Connection: close\r\n", BODY), message("b")].concat(), 200)
            .stores(&["x"]),
        close("E06", old("Host: localhost\r\n"), 200),
        close("E07", old("Host: localhost\r\nConnection: keep-alive\r\n"), 200),
        close("E08", old(""), 200),
        keep("E14", publish(EXPECT, BODY), 200).stores(&["x"]),
        close("E15", old_post, 200).stores(&["x"]),
        keep("E15", post(format!("{EXPECT}Content-Length: 0\r\n"), ""), 400),
        keep("E15", post(EXPECT, ""), 400),
        close("E16", publish("Expect: something-else\r\n", BODY), 417),
        close("E16", publish("Expect: 100-continue, something-else\r\n", BODY), 417),
        close("E16", get("Expect: something-else\r\n"), 417),
        keep("E17", get(EXPECT), 200),
        end("E18", &good, &[200]),
        end("E18", message("a"), &[200]).stores(&["a"]),
        end("E18", good.repeat(3), &[200; 3]),
        keep("E24", publish("", injected), 400).without("Injected"),
        keep("E24", get("").replace("=t", "=t%0d%0aX-Injected:%20v"), 400).without("Injected"),
        keep("E24", get("").replace("messages?topic=t", "topics/t%0d%0aX-Injected:v"), 400)
            .without("Injected"),
    ]
}

#[test]
fn requests_on_one_connection_are_answered_in_order_or_not_at_all() {
    run(&System::start(), &cases());
}

/// E09: the end of the connection is the only end of a body that HTTP/1.0 knows of.
#[test]
fn a_stream_for_an_old_client_is_not_chunked() {
    let system = System::start();
    system.publish("t", "x");
    let mut raw = Raw::connect(&system.address());
    raw.send("GET /events?topic=t&from=0 HTTP/1.0\r\n\r\n");
    let head = raw.answer_to_head();
    assert_eq!(head.status, 200);
    assert_eq!(head.field("transfer-encoding"), None);
    assert_eq!(head.field("connection"), Some("close"));
    while !raw.line().starts_with("data:") {}
}

/// E10: the answer to `HEAD` is that to `GET` without its body.
#[test]
fn head_is_get_without_the_body() {
    let system = System::start();
    system.publish("t", "x");
    let mut raw = Raw::connect(&system.address());
    for (target, status) in [
        ("/messages?topic=t", 200),
        ("/messages?topic=nothing", 200),
        ("/messages?topic=t&from=7", 416),
        ("/messages", 400),
        ("/topics", 200),
        ("/topics/t", 200),
        ("/topics/nothing", 404),
        ("/", 200),
        ("/livez", 200),
        ("/readyz", 200),
        ("/nothing", 404),
    ] {
        raw.request("GET", target, "");
        let get = raw.answer();
        raw.request("HEAD", target, "");
        let head = raw.answer_to_head();
        assert_eq!((get.status, head.status), (status, status), "{target}");
        assert!(!get.body.is_empty() || target.ends_with("nothing"), "{target}");
        let fields = |answer: &tests::raw::Answer| {
            let fields = answer.fields.iter().filter(|(name, _)| name != "date");
            fields.cloned().collect::<Vec<_>>()
        };
        assert_eq!(fields(&get), fields(&head), "{target}");
    }
}

/// E11: there is nothing to wait for.
#[test]
fn head_of_a_stream_is_answered_at_once_and_keeps_the_connection() {
    let system = System::start();
    let mut raw = Raw::connect(&system.address());
    for _ in 0..2 {
        raw.request("HEAD", "/events?topic=t", "");
        let head = raw.answer_to_head();
        assert_eq!(head.status, 200);
        assert_eq!(head.field("content-type"), Some("text/event-stream"));
        assert_eq!(head.field("connection"), None);
    }
    raw.request("GET", "/livez", "");
    assert_eq!(raw.answer().status, 200);
}

/// E12: the client holds its body back until it is asked for it.
#[test]
fn a_body_that_is_held_back_is_asked_for() {
    let system = System::start();
    let mut raw = Raw::connect(&system.address());
    for _ in 0..2 {
        raw.send(post(format!("{EXPECT}Content-Length: {}\r\n", BODY.len()), ""));
        let interim = raw.answer();
        assert_eq!((interim.status, interim.fields), (100, Vec::new()));
        raw.send(BODY);
        assert_eq!(raw.answer().status, 200);
    }
    raw.send(post(format!("{EXPECT}Transfer-Encoding: chunked\r\n"), ""));
    assert_eq!(raw.answer().status, 100);
    raw.send(format!("1b\r\n{BODY}\r\n0\r\n\r\n"));
    assert_eq!(raw.answer().status, 200);
    assert_eq!(system.messages("t"), ["x"; 3]);
}

/// E13, without a token: what is refused by its head is refused without asking for the body.
#[test]
fn a_body_that_would_be_refused_is_not_asked_for() {
    let system = System::start();
    for (request, status) in [
        (post(format!("{EXPECT}Content-Length: 8388609\r\n"), ""), 413),
        (post(format!("{EXPECT}Content-Length: 5\r\nContent-Encoding: br\r\n"), ""), 415),
        (post(format!("{EXPECT}Content-Length: 5\r\nOrigin: null\r\n"), ""), 403),
    ] {
        let mut raw = Raw::connect(&system.address());
        raw.send(request);
        assert_eq!(raw.answer().status, status);
        raw.end();
    }
}

/// E19: a client that sends first and reads then still reads why it was refused.
#[test]
fn a_refusal_reaches_a_client_that_is_still_sending() {
    let system = System::start();
    for size in [8_388_609, 9_000_000] {
        let mut raw = Raw::connect(&system.address());
        raw.send(post(format!("Content-Length: {size}\r\n"), ""));
        raw.send(vec![b' '; 1 << 20]);
        let answer = raw.answer();
        assert_eq!(answer.status, 413, "{answer:?}");
        assert!(answer.text().contains("8388608"), "the limit is named: {answer:?}");
        raw.end();
    }
}
