//! Bodies are used or refused, never ignored.

use tests::System;
use tests::raw::{Answer, Raw};

/// Sends a request with more header lines and a body.
fn send(system: &System, head: &str, lines: &str, body: impl AsRef<[u8]>) -> Answer {
    let body = body.as_ref();
    let mut raw = Raw::connect(&system.address());
    let size = body.len();
    raw.send(format!(
        "{head} HTTP/1.1\r\nHost: localhost\r\n{lines}Content-Length: {size}\r\n\r\n"
    ));
    raw.send(body);
    raw.answer()
}

/// `curl -T f host/topics/t`.
#[test]
fn a_put_with_a_body_publishes_nothing_and_says_what_does() {
    let system = System::start();
    for body in [&b"one\ntwo\n"[..], b" ", b"[]", b"7", b"{", b"\xff\0", &[b'x'; 100_000]] {
        let answer = send(&system, "PUT /topics/t", "", body);
        assert_eq!(answer.status, 415, "{answer:?}");
        assert!(answer.text().contains("POST publishes"), "{answer:?}");
    }
    let answer = send(&system, "PUT /topics/t", "", "{\"keep\":1}");
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.text().contains("'keep' is not a bound"), "{answer:?}");
    assert_eq!(system.get("/topics/t").status, 404, "nothing was created");
    for body in ["", "{}", " {\n}\n"] {
        assert!(matches!(send(&system, "PUT /topics/t", "", body).status, 200 | 201), "{body:?}");
    }
}

#[test]
fn a_put_in_chunks_or_with_a_coding_is_no_other_than_one_with_a_size() {
    let system = System::start();
    let mut raw = Raw::connect(&system.address());
    let head = "PUT /topics/t HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    raw.send(head.to_owned() + "3\r\none\r\n0\r\n\r\n");
    assert_eq!(raw.answer().status, 415);
    raw.send(head.to_owned() + "0\r\n\r\n");
    assert_eq!(raw.answer().status, 201);
    let answer = send(&system, "PUT /topics/t", "Content-Encoding: gzip\r\n", "{}");
    assert_eq!((answer.status, answer.field("accept-encoding")), (415, Some("identity")));
}

#[test]
fn a_body_that_nothing_is_done_with_is_refused() {
    let system = System::start();
    system.publish("t", "x");
    let answer = send(&system, "DELETE /topics/t", "", "{}");
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(system.messages("t"), ["x"]);
    assert_eq!(send(&system, "DELETE /topics/t", "", "").status, 204);
}

/// `curl -F file=@f`.
#[test]
fn a_form_upload_is_refused_and_not_stored_with_its_boundary_lines() {
    let system = System::start();
    let form = "--x\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\none\r\n--x--\r\n";
    for kind in ["multipart/form-data; boundary=x", "Multipart/Mixed; boundary=x", "MULTIPART/x"] {
        for target in ["POST /topics/t", "PUT /topics/t", "POST /publish"] {
            let answer = send(&system, target, &format!("Content-Type: {kind}\r\n"), form);
            assert_eq!(answer.status, 415, "{target}: {answer:?}");
            assert!(answer.text().contains("--data-binary"), "{answer:?}");
        }
    }
    assert!(system.messages("t").is_empty());
    // What `curl --data-binary @f` says of its body.
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    assert_eq!(send(&system, "POST /topics/t", kind, "one\ntwo\n").status, 200);
    assert_eq!(system.messages("t"), ["one", "two"]);
}

#[test]
fn a_file_of_an_editor_that_writes_byte_order_marks_is_published_without() {
    let system = System::start();
    assert_eq!(send(&system, "POST /topics/t", "", "\u{feff}one\r\ntwo\r\n").status, 200);
    assert_eq!(system.messages("t"), ["one", "two"]);
    // UTF-16 is not taken for text.
    let utf16: Vec<u8> = "\u{feff}one\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(send(&system, "POST /topics/t", "", utf16).status, 400);
}

#[test]
fn what_clients_wrote_is_neither_guessed_at_nor_kept_by_a_browser() {
    let system = System::start();
    system.publish("t", "<script>");
    for target in ["/messages?topic=t", "/topics", "/topics/t", "/metrics", "/nothing", "/livez"] {
        let answer = system.get(target);
        assert_eq!(answer.field("x-content-type-options"), Some("nosniff"), "{target}");
        assert_eq!(answer.field("cache-control"), Some("no-store"), "{target}");
    }
    let answer = system.request("POST", "/topics/t", "x");
    assert_eq!(answer.field("x-content-type-options"), Some("nosniff"));
    assert_eq!(system.get("/").field("cache-control"), Some("no-cache"), "the page is nobody's");
}
