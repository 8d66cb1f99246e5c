//! C: where a body ends (RFC 9112 §6).

use super::{BODY, Case, close, end, get, keep, post, publish, run};
use tests::System;

/// The body in one chunk.
const CHUNKED: &str = "1b\r\n{\"topic\":\"t\",\"message\":\"x\"}\r\n0\r\n\r\n";

const LENGTH: &str = "Content-Length: 27\r\n";
const CODED: &str = "Transfer-Encoding: chunked\r\n";

fn coding(value: impl AsRef<[u8]>) -> Vec<u8> {
    post([b"Transfer-Encoding: ", value.as_ref(), b"\r\n"].concat(), CHUNKED)
}

pub(super) fn cases() -> Vec<Case> {
    let both = format!("{LENGTH}{CODED}");
    let hidden = format!("0\r\n\r\n{}", get(""));
    let mut cases = vec![
        keep("C01", post(LENGTH, BODY), 200).stores(&["x"]),
        close("C02", post(&both, CHUNKED), 400),
        close("C02", post(format!("{CODED}{LENGTH}"), CHUNKED), 400),
        close("C03", post(format!("Content-Length: 5\r\n{CODED}"), &hidden), 400),
        close("C03", post(format!("{CODED}Content-Length: {}\r\n", hidden.len()), &hidden), 400),
        close("C04", post("Content-Length: 27\r\nContent-Length: 28\r\n", BODY), 400),
        close("C05", post("Content-Length: 27\r\nContent-Length: 27\r\n", BODY), 400),
        close("C05", post("Content-Length: 27, 27\r\n", BODY), 400),
        close("C06", post("Content-Length: 27, 28\r\n", BODY), 400),
    ];
    for length in [
        "+27", "-27", "-0", "0x1b", "27.0", "27e0", "2_7", "2 7", "２７", "27;", "\"27\"", "27,",
        ",27", "0b11", "twenty", "1b",
    ] {
        cases.push(close("C07", post(format!("Content-Length: {length}\r\n"), BODY), 400));
    }
    cases.extend([
        close("C08", post("Content-Length:\r\n", BODY), 400),
        close("C08", post("Content-Length: \t\r\n", BODY), 400),
        keep("C09", post("Content-Length: 0000000000000000000000000027\r\n", BODY), 200)
            .stores(&["x"]),
        keep("C09", post("Content-Length: 027\r\n", BODY), 200).stores(&["x"]),
    ]);
    for length in [
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "18446744073709551643",
        &"9".repeat(400),
    ] {
        cases.push(close("C10", post(format!("Content-Length: {length}\r\n"), BODY), 413));
    }
    let size_max: usize = 8 << 20;
    let largest = format!("{BODY}{}", " ".repeat(size_max - BODY.len()));
    let junk = [post(LENGTH, BODY), b"junk\r\n\r\n".to_vec()].concat();
    cases.extend([
        close("C11", post(format!("Content-Length: {}\r\n", size_max + 1), ""), 413),
        keep("C11", publish("", largest), 200).stores(&["x"]),
        end("C12", post("Content-Length: 28\r\n", BODY), &[]),
        end("C12", post(LENGTH, ""), &[]),
        close("C13", junk, 0).answers(&[200, 400]).stores(&["x"]),
        keep("C14", post("", ""), 400),
        keep("C14", post("Content-Length: 0\r\n", ""), 400),
    ]);
    for method in ["GET", "HEAD", "OPTIONS"] {
        let start = format!("{method} /messages?topic=t HTTP/1.1\r\nHost: localhost\r\n");
        cases.push(close("C15", format!("{start}Content-Length: 5\r\n\r\nhello"), 400));
        cases.push(close("C15", format!("{start}{CODED}\r\n0\r\n\r\n"), 400));
        cases.push(close("C15", format!("{start}Content-Length: 5\r\n\r\n"), 400));
    }
    cases.extend([
        keep("C16", get("Content-Length: 0\r\n"), 200),
        close("C17", coding("gzip, chunked"), 501),
        close("C17", post("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", ""), 400),
        close("C18", coding("chunked, gzip"), 400),
        close("C18", coding("chunked, identity"), 400),
        close("C19", coding("chunked, chunked"), 400),
        close("C19", post(format!("{CODED}{CODED}"), CHUNKED), 400),
        close("C20", coding("identity"), 501),
        close("C20", coding("xchunked"), 501),
        close("C20", coding("chunked-x"), 501),
        close("C20", coding("x"), 501),
        close("C21", coding(""), 400),
        close("C21", coding(",chunked"), 400),
        close("C21", coding("chunked,"), 400),
        close("C21", coding("chunked,,"), 400),
        close("C22", coding("chunked;q=1"), 400),
        close("C22", coding("chunked;"), 400),
        keep("C23", coding("CHUNKED"), 200).stores(&["x"]),
        keep("C23", coding("\tchunked \t"), 200).stores(&["x"]),
    ]);
    for byte in [b"\x0b", b"\x0c", b"\0", b"\x1f"] {
        cases.push(close("C24", coding([b"chunked", &byte[..]].concat()), 400));
        cases.push(close("C24", coding([&byte[..], b"chunked"].concat()), 400));
    }
    let old = |lines: &str, body: &str| {
        format!("POST /publish HTTP/1.0\r\nHost: localhost\r\n{lines}\r\n{body}")
    };
    cases.extend([
        close("C25", post("Transfer-Encoding : chunked\r\n", CHUNKED), 400),
        close("C25", post("Transfer-Encoding:\r\n chunked\r\n", CHUNKED), 400),
        close("C25", post("X: v\r\n Transfer-Encoding: chunked\r\n", CHUNKED), 400),
        close("C26", old(CODED, CHUNKED), 400),
        close("C26", old("Transfer-Encoding: identity\r\n", BODY), 400),
        close("C26", old(LENGTH, BODY), 200).stores(&["x"]),
        keep("C27", publish("Content-Encoding: gzip\r\n", BODY), 415)
            .with("accept-encoding", "identity"),
        keep("C27", publish("Content-Encoding: identity, br\r\n", BODY), 415),
        keep("C27", publish("Content-Encoding: Identity\r\n", BODY), 200).stores(&["x"]),
    ]);
    cases
}

#[test]
fn a_body_has_one_length_or_is_refused() {
    run(&System::start(), &cases());
}
