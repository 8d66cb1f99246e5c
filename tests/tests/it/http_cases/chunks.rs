//! D: bodies in chunks (RFC 9112 §7.1).

use super::{BODY, Case, close, end, get, keep, post, run};
use tests::System;

/// A publish whose chunked body is these bytes.
fn coded(body: impl AsRef<[u8]>) -> Vec<u8> {
    post("Transfer-Encoding: chunked\r\n", body)
}

/// A publish whose first chunk has this line, and the whole body behind it.
fn first_line(line: impl AsRef<[u8]>) -> Vec<u8> {
    coded([line.as_ref(), b"\r\n", BODY.as_bytes(), b"\r\n0\r\n\r\n"].concat())
}

/// A publish with this after the line of its last chunk.
fn last(trailers: impl AsRef<[u8]>) -> Vec<u8> {
    coded([b"1b\r\n", BODY.as_bytes(), b"\r\n0\r\n", trailers.as_ref()].concat())
}

pub(super) fn cases() -> Vec<Case> {
    let bytes: String = BODY.chars().map(|byte| format!("1\r\n{byte}\r\n")).collect();
    let (first, second) = BODY.split_at(10);
    let mut cases = vec![
        keep("D01", first_line("1b"), 200).stores(&["x"]),
        keep("D01", first_line("1B"), 200).stores(&["x"]),
        keep("D01", first_line("0000000000001b"), 200).stores(&["x"]),
        keep("D01", coded(format!("{bytes}0\r\n\r\n")), 200).stores(&["x"]),
        keep("D01", coded(format!("a\r\n{first}\r\n11\r\n{second}\r\n000\r\n\r\n")), 200)
            .stores(&["x"]),
        keep("D02", coded("0\r\n\r\n"), 400),
    ];
    for size in ["", "g", "0x1b", "+1b", "-1b", "1_b", " 1b", "1b ", "1bh", "\t1b", "1b\t", "１"] {
        cases.push(close("D03", first_line(size), 400));
    }
    cases.extend([
        close("D04", first_line("1000000000000001b"), 400),
        close("D04", first_line("ffffffffffffffff"), 413),
        close("D04", first_line("8000000000000000"), 413),
        close("D04", first_line("ffffffffffffffffffffffff"), 400),
        close("D05", first_line("0000000000000001b"), 400),
        keep("D05", first_line("000000000000001b"), 200).stores(&["x"]),
        close("D06", coded("800001\r\n"), 413),
        close("D06", coded(format!("1b\r\n{BODY}\r\n7fffe6\r\n")), 413),
        keep("D07", first_line("1b;a"), 200).stores(&["x"]),
        keep("D07", first_line("1b;a=b"), 200).stores(&["x"]),
        keep("D07", first_line("1b;a=\"b;c\""), 200).stores(&["x"]),
        keep("D07", first_line("1b;a=b;c;d=\"e\""), 200).stores(&["x"]),
        close("D08", first_line("1b;a\nb"), 400),
        close("D08", first_line("1b;a\rb"), 400),
        close("D08", first_line("1b;a\0b"), 400),
        close("D08", first_line("1b;a\u{1}"), 400),
        close("D08", first_line("1b;"), 400),
        close("D08", first_line("1b;=b"), 400),
        close("D08", first_line("1b;a="), 400),
        close("D08", first_line("1b;a=;b"), 400),
        close("D08", first_line("1b;a b"), 400),
        close("D08", first_line("1b;a=b c"), 400),
        close("D08", first_line("1b;a=b=c"), 400),
        close("D08", first_line("1b;a=\"b"), 400),
        close("D08", first_line("1b;a=\"b\"c"), 400),
        close("D08", first_line("1b;a=\"b\\"), 400),
        close("D08", first_line("1b;a=[b]"), 400),
        close("D08", first_line("1b;;a"), 400),
        keep("D07", first_line("1b; a = b ; c=\"\\\"\"\t;d "), 200).stores(&["x"]),
        close("D09", first_line(format!("1b;a={}", "b".repeat(64 << 10))), 413),
        close("D09", coded(format!("{}0\r\n\r\n", "1;a\r\n \r\n".repeat(10_000))), 413),
        // `;a=` counts.
        close("D09", first_line(format!("1b;a={}", "b".repeat(1022))), 413),
        keep("D09", first_line(format!("1b;a={}", "b".repeat(1021))), 200).stores(&["x"]),
        close("D10", coded(format!("1b\n{BODY}\r\n0\r\n\r\n")), 400),
        close("D10", coded(format!("1b\r{BODY}\r\n0\r\n\r\n")), 400),
        close("D10", coded(format!("1b\r\n{BODY}\r\n0\n\n")), 400),
        close("D10", coded(format!("1b\r\n{BODY}\r\n0\r\n\n")), 400),
        close("D11", coded(format!("1b\r\n{BODY}xx0\r\n\r\n")), 400),
        close("D11", coded(format!("1b\r\n{BODY}\n0\r\n\r\n")), 400),
        close("D11", coded(format!("1b\r\n{BODY}\r0\r\n\r\n")), 400),
        close("D11", coded(format!("1b\r\n{BODY} \r\n0\r\n\r\n")), 400),
        close("D11", coded(format!("1a\r\n{BODY}\r\n0\r\n\r\n")), 400),
        end("D12", last(""), &[]),
        end("D12", last("X:"), &[]),
        end("D12", last("\r"), &[]),
        end("D13", coded(format!("1b\r\n{first}")), &[]),
        end("D13", coded(format!("1b\r\n{BODY}")), &[]),
        end("D13", coded("1b"), &[]),
        keep("D14", last("X-Name: v\r\nY:\r\n\r\n"), 200).stores(&["x"]),
        keep("D14", last(format!("X: {}\r\n\r\n", "a".repeat(4091))), 200).stores(&["x"]),
    ]);
    for trailer in [
        "Content-Length: 5",
        "Host: example.net",
        "Authorization: Bearer wrong",
        "Transfer-Encoding: gzip",
        "Connection: close",
        "Content-Encoding: gzip",
        "Origin: http://example.net",
    ] {
        cases.push(keep("D15", last(format!("{trailer}\r\n\r\n")), 200).stores(&["x"]));
    }
    let good = [first_line("1b"), get("").into_bytes()].concat();
    let bad = [first_line("1a"), get("").into_bytes()].concat();
    cases.extend([
        close("D16", last("no colon\r\n\r\n"), 400),
        close("D16", last(" X: v\r\n\r\n"), 400),
        close("D16", last("X : v\r\n\r\n"), 400),
        close("D16", last(": v\r\n\r\n"), 400),
        close("D16", last("X: a\nb\r\n\r\n"), 400),
        close("D16", last("X: a\0\r\n\r\n"), 400),
        close("D16", last("X: v\r\n folded\r\n\r\n"), 400),
        close("D16", last(format!("X: {}\r\n\r\n", "a".repeat(4092))), 431),
        close("D16", last("X: v\r\n".repeat(10_000)), 431),
        close("D17", bad, 400),
        keep("D17", good, 0).answers(&[200, 200]).stores(&["x"]),
    ]);
    cases
}

#[test]
fn chunks_are_joined_or_refused() {
    run(&System::start(), &cases());
}
