//! Requests and responses that must be read, and those that must not.

use super::*;

const HOST_LINE: &str = "Host: localhost:9000\r\n";

/// The request in `input`, which has nothing after its head.
fn accept(input: &[u8]) -> Request<'_> {
    for size in 0..input.len() {
        let prefix = request(&input[..size]);
        assert_eq!(prefix, Ok(Progress::Partial), "{}", input[..size].escape_ascii());
    }
    match request(input) {
        Ok(Progress::Complete { value, size }) if size == input.len() => value,
        other => panic!("{other:?} for {}", input.escape_ascii()),
    }
}

/// The error of `input`, which once given is not taken back.
fn refuse(input: &[u8]) -> Error {
    let prefixes = (0..=input.len()).map(|size| request(&input[..size]));
    let mut after_partial = prefixes.skip_while(|prefix| *prefix == Ok(Progress::Partial));
    match after_partial.next() {
        Some(Err(error)) => {
            assert!(after_partial.all(|prefix| prefix == Err(error)), "{}", input.escape_ascii());
            error
        }
        other => panic!("{other:?} for {}", input.escape_ascii()),
    }
}

/// A request that begins with this line.
fn with_line(line: &str) -> Vec<u8> {
    format!("{line}\r\n{HOST_LINE}\r\n").into_bytes()
}

/// A `POST` with these header lines and `Host`.
fn with_fields(lines: &[u8]) -> Vec<u8> {
    [b"POST /publish HTTP/1.1\r\n", lines, HOST_LINE.as_bytes(), b"\r\n"].concat()
}

#[test]
fn a_plain_request_is_read() {
    let request = with_line("GET /messages?topic=a HTTP/1.1");
    let request = accept(&request);
    assert_eq!((request.method, request.path, request.query), ("GET", "/messages", "topic=a"));
    assert_eq!(request.authority, Some("localhost:9000"));
    assert_eq!((request.minor_version, request.body), (1, Body::None));
    assert!(request.keep_alive && !request.expects_continue);
}
