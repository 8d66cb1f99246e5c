//! B: the header section (RFC 9112 §5).

use super::{Case, close, get, keep, post, run};
use tests::System;
use tests::raw::Raw;

const START: &str = "GET /messages?topic=t HTTP/1.1\r\n";

/// A request with these header lines alone.
fn only(lines: impl AsRef<[u8]>) -> Vec<u8> {
    [START.as_bytes(), lines.as_ref(), b"\r\n"].concat()
}

/// A request with `Host`, and a line of these bytes.
fn with(line: impl AsRef<[u8]>) -> Vec<u8> {
    only([b"Host: localhost\r\n", line.as_ref(), b"\r\n"].concat())
}

/// A header line of `size` bytes, without its end.
fn line_of_size(size: usize) -> String {
    let name = "X-Filler: ";
    format!("{name}{}", "a".repeat(size - name.len()))
}

/// Header lines of `size` bytes together, line ends included, beside `Host: localhost`.
fn section_of_size(size: usize) -> String {
    let host = "Host: localhost\r\n";
    let mut section = host.to_owned();
    while section.len() < size {
        // No line that is shorter than a name may be left for the end.
        let left = size - section.len();
        let line = if left > 2000 { 1000 } else { left };
        section.push_str(&line_of_size(line - 2));
        section.push_str("\r\n");
    }
    section
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        keep("B01", only("hOsT: \t localhost \t\r\nX-EMPTY:\r\nx-blank: \t \r\n"), 200),
        keep("B01", only("HOST:localhost\r\n!#$%&'*+-.^_`|~09az: v\r\n"), 200),
        close("B02", only(""), 400),
        close("B02", only("X-Host: localhost\r\n"), 400),
        close("B03", only("Host: localhost\r\nHost: localhost\r\n"), 400),
        close("B03", only("Host: localhost\r\nhost: example.net\r\n"), 400),
    ];
    for host in
        ["a, b", "a b", "a/x", "u@a", "a:99999", "a:x", "a:-1", "[::1", "[x]", "a:1:2", "%61"]
    {
        cases.push(close("B04", only(format!("Host: {host}\r\n")), 400));
    }
    cases.extend([
        close("B05", only("Host:\r\n"), 400),
        close("B05", only("Host: :80\r\n"), 400),
        keep("B06", only("Host: [::1]:9000\r\n"), 200),
        keep("B06", only("Host: 127.0.0.1:9000\r\n"), 200),
        keep("B06", only("Host: [::1%25lo]:9000\r\n"), 200),
        keep("B06", only("Host: [::1%lo]\r\n"), 200),
        close("B04", only("Host: [::1%]\r\n"), 400),
        close("B04", only("Host: [::1%a/b]\r\n"), 400),
        close("B07", only("Host: [fe80::1%25eth0]\r\n"), 421),
        keep("B06", only("Host: app.localhost.:9000\r\n"), 200),
        keep("B06", only("Host: 127.1\r\n"), 200),
        keep("B06", only("Host: LOCALHOST\r\n"), 200),
        close("B07", only("Host: example.net\r\n"), 421),
        close("B07", only("Host: example.net:9000\r\n"), 421),
        close("B07", only("Host: localhost.example.net\r\n"), 421),
        close("B07", only("Host: 192.168.0.1\r\n"), 421),
        close("B08", with("X-Name : v"), 400),
        close("B08", with("X-Name\t: v"), 400),
        close("B08", only("Host : localhost\r\n"), 400),
        close("B09", only(" Host: localhost\r\n"), 400),
        close("B09", only("\tX: v\r\nHost: localhost\r\n"), 400),
        close("B10", with("X-Name: v\r\n folded"), 400),
        close("B10", with("X-Name: v\r\n\tfolded"), 400),
        close("B11", with("no colon"), 400),
        close("B11", with("nocolon"), 400),
        close("B11", with(": x"), 400),
        close("B11", with(":"), 400),
    ]);
    for byte in [b'(', b'[', b'"', b'@', b',', b'/', 0, 1, 0x7f, 0x80, 0xff] {
        cases.push(close("B12", with([b"X", &[byte][..], b"Y: v"].concat()), 400));
    }
    for value in [&b"\0v"[..], b"v\0v", b"v\0", b"\0"] {
        cases.push(close("B13", with([b"X-Name: ", value].concat()), 400));
    }
    cases.extend([
        close("B14", with("X-Name: a\rb"), 400),
        close("B14", with("X-Name: a\r\r"), 400),
        close("B14", format!("{START}Host: localhost\r\n\rX"), 400),
        close("B15", format!("{START}Host: localhost\nX-Name: v\r\n\r\n"), 400),
        close("B15", format!("{START}Host: localhost\r\nX-Name: v\n\r\n"), 400),
        close("B15", format!("{START}Host: localhost\r\n\n"), 400),
    ]);
    for byte in (1..=8).chain([0xb, 0xc, 0xe, 0x1f, 0x7f]) {
        cases.push(close("B16", with([b"X-Name: a", &[byte][..], b"b"].concat()), 400));
    }
    cases.push(keep("B17", with(b"X-Name: \x80\xa0\xff caf\xe9"), 200));
    for bytes in [&b"\x85"[..], b"\xa0", b"\xc2\x85", b"\xc2\xa0"] {
        for (name, value) in [("Transfer-Encoding", "chunked"), ("Content-Length", "5")] {
            let before = [name.as_bytes(), b": ", bytes, value.as_bytes(), b"\r\n"].concat();
            let after = [name.as_bytes(), b": ", value.as_bytes(), bytes, b"\r\n"].concat();
            cases.push(close("B18", post(before, "hello"), 400));
            cases.push(close("B18", post(after, "hello"), 400));
        }
    }
    let many = |count| get(&"X: v\r\n".repeat(count));
    cases.extend([
        close("B19", with(line_of_size(32_769)), 431),
        close("B19", with("a".repeat(32_769)), 431),
        // `Host` is one of the 100.
        close("B20", many(100), 431),
        close("B20", many(10_000), 431),
        close("B20", only(section_of_size(32_769)), 431),
        keep("B22", format!("{}{}", "\r\n".repeat(8), get("")), 200),
        keep("B22", get("").replace("=t", &format!("=t&x={}", "a".repeat(16_351))), 200),
        keep("B22", with(line_of_size(32_700)), 200),
        keep("B22", many(99), 200),
        keep("B22", only(section_of_size(32_768)), 200),
        keep("B23", with("Transfer_Encoding: chunked\r\nContent_Length: 5"), 200),
        close("B24", with("Authorization: Bearer a\r\nAuthorization: Bearer a"), 400),
        close("B24", with("Authorization: Bearer a\r\nauthorization: Bearer b"), 400),
        keep("B26", with("Connection: Upgrade\r\nUpgrade: websocket"), 200),
        keep(
            "B26",
            with("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk"),
            200,
        ),
        close("B27", with("Connection: close"), 200),
        close("B27", with("Connection: CLOSE"), 200),
        close("B27", with("Connection: keep-alive, Close"), 200),
        close("B27", with("Connection: x\r\nConnection: y ,close\t, z"), 200),
        keep("B27", with("Connection: closed"), 200),
        keep("B28", with("Range: bytes=0-0\r\nIf-None-Match: *"), 200),
        keep("B28", with("Accept: image/x-nothing;q=2, , ;"), 200),
        keep("B28", with(format!("Cookie: a={}", "b".repeat(8000))), 200),
    ]);
    cases
}

#[test]
fn header_lines_mean_one_thing_or_are_refused() {
    run(&System::start(), &cases());
}

/// B07a: nodes reach a broker on the network under any name.
#[test]
fn a_broker_on_the_network_takes_any_valid_name() {
    let system = System::start_with(&["--host", "0.0.0.0"]);
    run(
        &system,
        &[
            keep("B07a", only("Host: example.net\r\n"), 200),
            keep("B07a", only("Host: 192.168.0.1:9000\r\n"), 200),
            keep("B07a", only("Host: localhost\r\n"), 200),
            close("B07a", only("Host: example.net/x\r\n"), 400),
        ],
    );
}

/// B21: the refusal comes at the limit, however much would follow.
#[test]
fn an_endless_header_line_is_refused_at_its_limit() {
    let system = System::start();
    let mut raw = Raw::connect(&system.address());
    raw.send(format!("{START}Host: localhost\r\nX-Name: "));
    // `Host` takes 17 bytes of all, the name, the colon and the space eight, and the line end two.
    raw.send("a".repeat(32_768 - 17 - 8 - 2));
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert!(raw.is_silent(), "refused below its limit");
    raw.send("a");
    let answer = raw.answer();
    assert_eq!(answer.status, 431);
    assert!(answer.text().contains("32768"), "the limit is named: {answer:?}");
    raw.end();
}
