//! A: the request line (RFC 9112 §3).

use super::{BODY, Case, close, get, keep, publish, run};
use tests::System;
use tests::raw::Raw;

const HOST: &str = "Host: localhost\r\n\r\n";

/// A request with this first line and one `Host`.
fn line(line: impl AsRef<[u8]>) -> Vec<u8> {
    [line.as_ref(), b"\r\n", HOST.as_bytes()].concat()
}

/// A request for a target, which may be any bytes.
fn target(target: impl AsRef<[u8]>) -> Vec<u8> {
    line([b"GET ", target.as_ref(), b" HTTP/1.1"].concat())
}

/// A request for the topic `t` whose target has `size` bytes.
fn target_of_size(size: usize) -> Vec<u8> {
    let start = "/messages?topic=t&x=";
    target(format!("{start}{}", "a".repeat(size - start.len())))
}

pub(super) fn cases() -> Vec<Case> {
    let good = get("");
    let mut cases = vec![
        keep("A01", &good, 200),
        keep("A03", format!("\r\n{good}"), 200),
        close("A04", format!("{}{good}", "\r\n".repeat(9)), 400),
        close("A04", "\r\n".repeat(100_000), 400),
        close("A04", " ".repeat(100_000), 400),
        close("A05", good.replace("\r\n", "\n"), 400),
        close("A05", "GET /messages?topic=t HTTP/1.1\nHost: localhost\r\n\r\n", 400),
        close("A06", "GET /messages?topic=t HTTP/1.1\rHost: localhost\r\n\r\n", 400),
        close("A06", "GET /messages?topic=t HTTP/1.1\r\r\nHost: localhost\r\n\r\n", 400),
        close("A06", "\rGET /messages?topic=t HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    ];
    for space in ["  ", "\t", "\u{b}", "\u{c}", " \t", "\t "] {
        cases.push(close("A07", line(format!("GET{space}/messages?topic=t HTTP/1.1")), 400));
        cases.push(close("A07", line(format!("GET /messages?topic=t{space}HTTP/1.1")), 400));
    }
    cases.extend([
        close("A08", line(" GET /messages?topic=t HTTP/1.1"), 400),
        close("A08", line("GET /messages?topic=t HTTP/1.1 "), 400),
        close("A08", line("GET /messages?topic=t HTTP/1.1\t"), 400),
        close("A09", line("GET HTTP/1.1"), 400),
        close("A09", line("GET  HTTP/1.1"), 400),
        close("A10", "GET /\r\n", 400),
        close("A10", "GET /messages?topic=t\r\n", 400),
        close("A11", target("/mess ages?topic=t"), 400),
        close("A11", target("/messages?topic=t t"), 400),
    ]);
    for byte in [0, 1, 8, 0x1f, 0x7f, 0x80, 0xa0, 0xff] {
        let bytes = [b"/messages?topic=t", &[byte][..]].concat();
        cases.push(close("A12", target(bytes), 400));
    }
    cases.extend([
        close("A13", target("/messages?topic=t#fragment"), 400),
        close("A13", target("#"), 400),
        // "GET " and " HTTP/1.1" are part of the line's 16384.
        close("A14", target_of_size(16_372), 414),
        close("A14", format!("GET /{}", "a".repeat(100_000)), 414),
        keep("A15", target_of_size(8000), 200),
        keep("A15", target_of_size(16_371), 200),
        close("A16", line(format!("{} / HTTP/1.1", "A".repeat(33))), 501),
        close("A16", line(format!("{} / HTTP/1.1", "A".repeat(32))), 501),
        close("A17", line("BREW /messages?topic=t HTTP/1.1"), 501),
        close("A17", line("PUBLISH-NOW / HTTP/1.1"), 501),
        close("A18", line("get /messages?topic=t HTTP/1.1"), 501),
        close("A18", line("Get /messages?topic=t HTTP/1.1"), 501),
        close("A19", line("G@T /messages?topic=t HTTP/1.1"), 400),
        close("A19", line("GE:T /messages?topic=t HTTP/1.1"), 400),
        close("A19", line("GET, /messages?topic=t HTTP/1.1"), 400),
        close("A19", line("\u{7f}GET /messages?topic=t HTTP/1.1"), 400),
        keep("A20", line("DELETE /publish HTTP/1.1"), 405).with("allow", "POST, OPTIONS"),
        keep("A20", line("GET /publish HTTP/1.1"), 405).with("allow", "POST, OPTIONS"),
        keep("A20", line("HEAD /publish HTTP/1.1"), 405).with("allow", "POST, OPTIONS"),
        keep("A20", line("PUT /messages HTTP/1.1"), 405).with("allow", "GET, HEAD, OPTIONS"),
        keep("A20", line("PATCH /topics/t HTTP/1.1"), 405),
        keep("A21", line("GET /messages?topic=t HTTP/1.2"), 200),
        keep("A21", line("GET /messages?topic=t HTTP/1.9"), 200),
    ]);
    for version in ["HTTP/2.0", "HTTP/3.0", "HTTP/9.9", "HTTP/0.9", "HTTP/0.0"] {
        cases.push(close("A22", line(format!("GET /messages?topic=t {version}")), 505));
    }
    cases.push(close("A23", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505));
    for version in [
        "http/1.1",
        "HTTP/1.10",
        "HTTP/01.1",
        "HTTP/1",
        "HTTP /1.1",
        "HTTP/4294967297.1",
        "HTTP/1.",
        "HTTP/.1",
        "HTTP/1,1",
        "HTTP/-1.1",
        "HTTP/1.x",
        "HTTPS/1.1",
        "ICY/1.1",
    ] {
        cases.push(close("A24", line(format!("GET /messages?topic=t {version}")), 400));
    }
    let all = "GET, HEAD, POST, PUT, DELETE, OPTIONS";
    let here = "GET http://localhost/messages?topic=t HTTP/1.1";
    let elsewhere = "GET http://example.net/messages?topic=t HTTP/1.1";
    cases.extend([
        keep("A26", line("OPTIONS * HTTP/1.1"), 204).with("allow", all),
        keep("A26", line("OPTIONS /publish HTTP/1.1"), 204).with("allow", "POST, OPTIONS"),
        close("A27", target("*"), 400),
        close("A27", line("POST * HTTP/1.1"), 400),
        close("A28", line("CONNECT localhost:80 HTTP/1.1"), 501),
        close("A29", "TRACE / HTTP/1.1\r\nHost: localhost\r\nX-Secret: shout\r\n\r\n", 501)
            .without("shout"),
        keep("A30", target("http://localhost/messages?topic=t"), 200),
        keep("A30", target("HTTP://LOCALHOST:9000/messages?topic=t"), 200),
        keep("A30", line("OPTIONS http://localhost HTTP/1.1"), 204),
        close("A31", format!("{elsewhere}\r\nHost: localhost\r\n\r\n"), 421),
        keep("A31", format!("{here}\r\nHost: example.net\r\n\r\n"), 200),
        close("A32", target("http://user@localhost/messages?topic=t"), 400),
        close("A32", target("http://user:password@localhost/messages?topic=t"), 400),
        close("A32", target("http:///messages?topic=t"), 400),
        close("A32", target("http://:80/messages?topic=t"), 400),
        close("A32", target("https://localhost/messages?topic=t"), 400),
        close("A32", target("ftp://localhost/messages?topic=t"), 400),
        close("A33", target("messages?topic=t"), 400),
        close("A33", target("localhost:80"), 400),
        close("A33", target("?topic=t"), 400),
    ]);
    cases
}

#[test]
fn request_lines_mean_one_thing_or_are_refused() {
    run(&System::start(), &cases());
}

/// A02: every proper part of a request waits for the rest, and nothing is said before.
#[test]
fn a_request_may_come_byte_by_byte() {
    let system = System::start();
    let mut raw = Raw::connect(&system.address());
    for byte in publish("", BODY).chunks(1) {
        assert!(raw.is_silent());
        raw.send(byte);
    }
    assert_eq!(raw.answer().status, 200);
    assert_eq!(system.messages("t"), ["x"]);
}

/// A25: whatever else it is, it is not HTTP, and nothing worse happens.
#[test]
fn bytes_of_other_protocols_are_refused() {
    let system = System::start();
    let client_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x9a\x8f";
    let mut raw = Raw::connect(&system.address());
    raw.send(client_hello);
    assert_eq!(raw.answer().status, 400);
    raw.end();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..300 {
        let bytes: Vec<u8> = (0..64)
            .map(|_| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random.to_le_bytes()[3]
            })
            .collect();
        let mut raw = Raw::connect(&system.address());
        raw.send(&bytes);
        raw.end_sending();
        let first = raw.rest();
        let refused = first.starts_with(b"HTTP/1.1 4") || first.starts_with(b"HTTP/1.1 501");
        assert!(refused || first.starts_with(b"{") || first.is_empty(), "{bytes:?}: {first:?}");
    }
    assert_eq!(system.get("/livez").status, 200);
}
