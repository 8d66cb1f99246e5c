//! The heads of responses.

use crate::http::parse::{Body, Error, Progress, response};
use crate::limits::REQUEST_LINE_SIZE_MAX;

#[test]
fn responses_say_how_their_bodies_end() {
    use Body::{Chunked, None, Sized, UntilClose};
    for (input, to_head, body, keep_alive) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false, Sized(5), true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true, None, true),
        ("HTTP/1.1 200\r\ntransfer-encoding: Chunked\r\n\r\n", false, Chunked, true),
        ("HTTP/1.1 200 \r\nConnection: close\r\nContent-Length: 0\r\n\r\n", false, Sized(0), false),
        ("HTTP/1.1 200 OK\r\n\r\n", false, UntilClose, false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", false, Sized(5), false),
        ("HTTP/1.0 404 File not found\r\n\r\n", false, UntilClose, false),
        ("HTTP/1.1 100 Continue\r\n\r\n", false, None, true),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", false, None, true),
        ("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: gzip\r\n\r\n", false, None, true),
    ] {
        for size in 0..input.len() {
            assert_eq!(response(&input.as_bytes()[..size], to_head), Ok(Progress::Partial));
        }
        let Ok(Progress::Complete { value, size }) = response(input.as_bytes(), to_head) else {
            panic!("{input} is not read");
        };
        assert_eq!(size, input.len());
        assert_eq!((value.body, value.keep_alive), (body, keep_alive), "{input}");
        assert_eq!(value.status.to_string(), input[9..12]);
    }
}

#[test]
fn a_reason_is_any_text() {
    for reason in [&b" a b\t\xc3\xa9"[..], b" \xff", b""] {
        let line = [b"HTTP/1.1 200", reason, b"\r\n\r\n"].concat();
        let Ok(Progress::Complete { value, .. }) = response(&line, false) else { panic!() };
        assert_eq!(value.status, 200);
    }
}

#[test]
fn bad_responses_are_refused() {
    for (input, error) in [
        ("HTTP/2.0 200 OK\r\n\r\n", Error::VERSION_NOT_SUPPORTED),
        ("HTTP/1 200 OK\r\n\r\n", Error::VERSION),
        ("SSH-2.0-OpenSSH\r\n", Error::VERSION),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", Error::VERSION),
        ("HTTP/1.1  200 OK\r\n\r\n", Error::STATUS_LINE),
        ("HTTP/1.1 20 OK\r\n\r\n", Error::STATUS_LINE),
        ("HTTP/1.1 2000 OK\r\n\r\n", Error::STATUS_LINE),
        ("HTTP/1.1 099 OK\r\n\r\n", Error::STATUS_LINE),
        ("HTTP/1.1 200 OK\n\n", Error::LINE_END),
        ("HTTP/1.1 200 OK\r\nA\r\n\r\n", Error::FIELD_NAME),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Error::CONTENT_LENGTH),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            Error::TRANSFER_ENCODING_NOT_SUPPORTED,
        ),
    ] {
        assert_eq!(response(input.as_bytes(), false), Err(error), "{input}");
    }
    let line = |size: usize| format!("HTTP/1.1 200 {}\r\n\r\n", "a".repeat(size - 13));
    let at_limit = line(REQUEST_LINE_SIZE_MAX);
    assert!(matches!(response(at_limit.as_bytes(), false), Ok(Progress::Complete { .. })));
    let above = line(REQUEST_LINE_SIZE_MAX + 1);
    assert_eq!(response(above.as_bytes(), false), Err(Error::STATUS_LINE_TOO_LONG));
}
