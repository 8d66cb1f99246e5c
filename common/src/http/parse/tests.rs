//! Heads to read and heads to refuse. This file tests single lines; the files beside it test how
//! lines work together.

use super::*;
use crate::limits::{HEADERS_MAX, HEADERS_SIZE_MAX};

mod arbitrary;
mod framing;
mod responses;

const HOST_LINE: &str = "Host: localhost:9000\r\n";

/// Where to cut an input: everywhere, or at many places if it is long.
fn cuts(size: usize) -> impl Iterator<Item = usize> {
    (0..size).filter(move |cut| size < 1000 || cut % 61 == 0 || size - cut < 40)
}

/// The request in `input`, which has nothing after its head.
fn accept(input: &[u8]) -> Request<'_> {
    for cut in cuts(input.len()) {
        let prefix = request(&input[..cut]);
        assert_eq!(prefix, Ok(Progress::Partial), "{}", input[..cut].escape_ascii());
    }
    match request(input) {
        Ok(Progress::Complete { value, size }) if size == input.len() => value,
        other => panic!("{other:?} for {}", input.escape_ascii()),
    }
}

/// The error of `input`, which once given is not taken back.
fn refuse(input: &[u8]) -> Error {
    let prefixes = cuts(input.len()).chain([input.len()]).map(|cut| request(&input[..cut]));
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

/// A request whose header section has just this size, in lines of at most 1,000 bytes.
fn with_section_of(size: usize) -> Vec<u8> {
    let mut lines = HOST_LINE.to_owned();
    while lines.len() < size {
        let line_size = (size - lines.len()).min(1000);
        let line_size =
            if size - lines.len() - line_size < 10 { size - lines.len() } else { line_size };
        lines.extend(["A:", &"v".repeat(line_size - 4), "\r\n"]);
    }
    assert_eq!(lines.len(), size);
    format!("GET / HTTP/1.1\r\n{lines}\r\n").into_bytes()
}

#[test]
fn a_plain_request_is_read() {
    let input = with_line("GET /messages?topic=a HTTP/1.1");
    let request = accept(&input);
    assert_eq!((request.method, request.path, request.query), ("GET", "/messages", "topic=a"));
    assert_eq!(request.authority, Some("localhost:9000"));
    assert_eq!((request.minor_version, request.body), (1, Body::None));
    assert!(request.keep_alive && !request.expects_continue);
}

#[test]
fn what_follows_a_head_is_left_alone() {
    let mut input = with_fields(b"Content-Length: 5\r\n");
    let head_size = input.len();
    input.extend_from_slice(b"hello\x00 and a bad request");
    let Ok(Progress::Complete { value, size }) = request(&input) else { panic!("not read") };
    assert_eq!((value.body, size), (Body::Sized(5), head_size));
}

#[test]
fn targets_are_split_but_not_decoded() {
    for (line, authority, path, query) in [
        ("GET / HTTP/1.1", "localhost:9000", "/", ""),
        ("GET /a?b?c HTTP/1.1", "localhost:9000", "/a", "b?c"),
        ("GET /? HTTP/1.1", "localhost:9000", "/", ""),
        ("GET //a/../%61?b=%zz HTTP/1.1", "localhost:9000", "//a/../%61", "b=%zz"),
        ("GET /?u=http://a HTTP/1.1", "localhost:9000", "/", "u=http://a"),
        ("GET /a:b@c|[]{}^`\\ HTTP/1.1", "localhost:9000", "/a:b@c|[]{}^`\\", ""),
        ("OPTIONS * HTTP/1.1", "localhost:9000", "*", ""),
        ("GET http://a:1/b?c HTTP/1.1", "a:1", "/b", "c"),
        ("GET HTTP://[::1]:80 HTTP/1.1", "[::1]:80", "/", ""),
        ("GET http://a?b/c HTTP/1.1", "a", "/", "b/c"),
        ("BREW / HTTP/1.1", "localhost:9000", "/", ""),
        ("get / HTTP/1.1", "localhost:9000", "/", ""),
    ] {
        let input = with_line(line);
        let request = accept(&input);
        assert_eq!((request.authority, request.path), (Some(authority), path), "{line}");
        assert_eq!(request.query, query, "{line}");
    }
}

#[test]
fn bad_request_lines_are_refused() {
    for (line, error) in [
        (" GET / HTTP/1.1", Error::METHOD),
        ("G@T / HTTP/1.1", Error::METHOD),
        ("GE:T / HTTP/1.1", Error::METHOD),
        ("GET", Error::METHOD),
        ("GET\t/ HTTP/1.1", Error::METHOD),
        ("\x16\x03\x01\x02\x00\x01", Error::METHOD),
        ("\0", Error::METHOD),
        ("\n", Error::METHOD),
        ("CONNECT host:80 HTTP/1.1", Error::METHOD_NOT_SUPPORTED),
        ("GET  / HTTP/1.1", Error::TARGET),
        ("GET  HTTP/1.1", Error::TARGET),
        ("GET HTTP/1.1", Error::VERSION),
        ("GET /", Error::VERSION),
        ("GET /\n", Error::VERSION),
        ("GET /\t HTTP/1.1", Error::TARGET),
        ("GET /a#b HTTP/1.1", Error::TARGET),
        ("GET /\0 HTTP/1.1", Error::TARGET),
        ("GET /\x7f HTTP/1.1", Error::TARGET),
        ("GET /é HTTP/1.1", Error::TARGET),
        ("GET /\" HTTP/1.1", Error::TARGET),
        ("GET /<> HTTP/1.1", Error::TARGET),
        ("GET * HTTP/1.1", Error::TARGET),
        ("OPTIONS *? HTTP/1.1", Error::TARGET),
        ("GET messages HTTP/1.1", Error::TARGET),
        ("GET ?a HTTP/1.1", Error::TARGET),
        ("GET http:///a HTTP/1.1", Error::TARGET),
        ("GET http:// HTTP/1.1", Error::TARGET),
        ("GET http://u@a/ HTTP/1.1", Error::TARGET),
        ("GET http://a:b/ HTTP/1.1", Error::TARGET),
        ("GET https://a/ HTTP/1.1", Error::TARGET),
        ("GET ftp://a/ HTTP/1.1", Error::TARGET),
        ("GET http:/a HTTP/1.1", Error::TARGET),
        ("GET / a HTTP/1.1", Error::VERSION),
        ("GET /  HTTP/1.1", Error::VERSION),
        ("GET /\x20\tHTTP/1.1", Error::VERSION),
        ("GET / http/1.1", Error::VERSION),
        ("GET / HTTP/1", Error::VERSION),
        ("GET / HTTP /1.1", Error::VERSION),
        ("GET / HTTP/01.1", Error::VERSION),
        ("GET / HTTP/4294967297.1", Error::VERSION),
        ("GET / HTTP/1.10", Error::LINE_END),
        ("GET / HTTP/1.1 ", Error::LINE_END),
        ("GET / HTTP/1.1\r", Error::LINE_END),
        ("GET / HTTP/1.1\rA: b", Error::LINE_END),
        ("GET / HTTP/1.1\nA: b", Error::LINE_END),
        ("GET / HTTP/2.0", Error::VERSION_NOT_SUPPORTED),
        ("GET / HTTP/3.0", Error::VERSION_NOT_SUPPORTED),
        ("GET / HTTP/9.9", Error::VERSION_NOT_SUPPORTED),
        ("GET / HTTP/0.9", Error::VERSION_NOT_SUPPORTED),
        ("PRI * HTTP/2.0", Error::VERSION_NOT_SUPPORTED),
    ] {
        assert_eq!(refuse(&with_line(line)), error, "{line:?}");
    }
}

#[test]
fn a_few_empty_lines_may_come_first() {
    let input = "\r\n".repeat(EMPTY_LINES_MAX) + "GET / HTTP/1.0\r\n\r\n";
    accept(input.as_bytes());
    assert_eq!(refuse(format!("\r\n{input}").as_bytes()), Error::TOO_MANY_EMPTY_LINES);
    assert_eq!(refuse(b"\r\r\nGET / HTTP/1.0\r\n\r\n"), Error::LINE_END);
}

#[test]
fn a_request_line_is_read_up_to_its_limits() {
    accept(&with_line(&format!("{} / HTTP/1.1", "M".repeat(METHOD_SIZE_MAX))));
    let method = "M".repeat(METHOD_SIZE_MAX + 1);
    assert_eq!(refuse(&with_line(&format!("{method} / HTTP/1.1"))), Error::METHOD_TOO_LONG);
    assert_eq!(refuse(method.as_bytes()), Error::METHOD_TOO_LONG);

    let target = "/".repeat(REQUEST_LINE_SIZE_MAX - "GET  HTTP/1.1".len());
    assert!(target.len() >= 8000, "RFC 9112 §3");
    accept(&with_line(&format!("GET {target} HTTP/1.1")));
    let too_long = refuse(&with_line(&format!("GET {target}/ HTTP/1.1")));
    assert_eq!(too_long, Error::REQUEST_LINE_TOO_LONG);
    assert_eq!(refuse(format!("GET {target}/").as_bytes()), Error::REQUEST_LINE_TOO_LONG);
}

#[test]
fn versions_differ_in_host_and_connection() {
    let minor_version = |line: &str| accept(&with_line(line)).minor_version;
    assert_eq!(minor_version("GET / HTTP/1.2"), 1);
    assert_eq!(minor_version("GET / HTTP/1.9"), 1);
    assert_eq!(minor_version("GET / HTTP/1.0"), 0);

    let old = accept(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!((old.authority, old.keep_alive), (None, false));
    assert_eq!(refuse(b"GET / HTTP/1.1\r\nConnection: keep-alive\r\n\r\n"), Error::HOST_MISSING);
    assert_eq!(refuse(b"GET http://a/ HTTP/1.1\r\n\r\n"), Error::HOST_MISSING);
}

#[test]
fn fields_are_found_in_any_case_and_trimmed() {
    let input = with_fields(
        b"aCCept: \t text/plain \t\r\nEMPTY:\r\nX-!#$%&'*+.^_`|~9:a  b\r\nlatin: \xe9\xff\r\n\
          Transfer_Encoding: chunked\r\nContent_Length: 5\r\nAccept:b\r\nUpgrade: h2c\r\n",
    );
    let request = accept(&input);
    let fields = &request.fields;
    assert_eq!(request.body, Body::None);
    assert_eq!(fields.get("Accept"), Some("text/plain"));
    assert_eq!(fields.all("accept").collect::<Vec<_>>(), [&b"text/plain"[..], b"b"]);
    assert_eq!(fields.get("Empty"), Some(""));
    assert_eq!(fields.get("x-!#$%&'*+.^_`|~9"), Some("a  b"));
    assert_eq!(fields.get("latin"), None);
    assert_eq!(fields.all("Latin").next(), Some(&b"\xe9\xff"[..]));
    assert_eq!(fields.get("absent"), None);
    assert_eq!(fields.lines.first(), Some(&(&b"aCCept"[..], &b"text/plain"[..])));
    assert_eq!(fields.lines.len(), 9);
}

#[test]
fn bad_header_lines_are_refused() {
    for (line, error) in [
        (&b"A : b\r\n"[..], Error::FIELD_NAME),
        (b"A\t: b\r\n", Error::FIELD_NAME),
        (b" A: b\r\n", Error::FIELD_NAME),
        (b"\tA: b\r\n", Error::FIELD_NAME),
        (b"A: b\r\n c\r\n", Error::FIELD_NAME),
        (b"A: b\r\n\tc\r\n", Error::FIELD_NAME),
        (b"Transfer-Encoding : chunked\r\n", Error::FIELD_NAME),
        (b"Transfer-Encoding:\r\n chunked\r\n", Error::FIELD_NAME),
        (b"A\r\n", Error::FIELD_NAME),
        (b": b\r\n", Error::FIELD_NAME),
        (b":\r\n", Error::FIELD_NAME),
        (b"A(: b\r\n", Error::FIELD_NAME),
        (b"A[: b\r\n", Error::FIELD_NAME),
        (b"A\": b\r\n", Error::FIELD_NAME),
        (b"A@: b\r\n", Error::FIELD_NAME),
        (b"A\x01: b\r\n", Error::FIELD_NAME),
        (b"A\0: b\r\n", Error::FIELD_NAME),
        (b"\xe9: b\r\n", Error::FIELD_NAME),
        (b"\nA: b\r\n", Error::FIELD_NAME),
        (b"A: b\rc\r\n", Error::LINE_END),
        (b"A: b\r\r\n", Error::LINE_END),
        (b"A: b\n", Error::LINE_END),
        (b"\r\rX", Error::LINE_END),
        (b"\rX", Error::LINE_END),
        (b"A:\0b\r\n", Error::FIELD_VALUE),
        (b"A: b\0c\r\n", Error::FIELD_VALUE),
        (b"A: b\0\r\n", Error::FIELD_VALUE),
        (b"Origin: http://\xff\r\n", Error::FIELD_VALUE),
        (b"Authorization: \xff\r\n", Error::FIELD_VALUE),
        (b"Host: \xff\r\n", Error::FIELD_VALUE),
    ] {
        // As a first and as a second line.
        if !line.starts_with(b"Host") {
            assert_eq!(refuse(&with_fields(line)), error, "{}", line.escape_ascii());
        }
        let input = [b"GET / HTTP/1.0\r\nB: c\r\n", line, b"\r\n"].concat();
        assert_eq!(refuse(&input), error, "{}", line.escape_ascii());
    }
    for byte in (0..b' ').chain([0x7f]).filter(|byte| !b"\t\r\n".contains(byte)) {
        let line = [b"A: b", &[byte][..], b"c\r\n"].concat();
        assert_eq!(refuse(&with_fields(&line)), Error::FIELD_VALUE, "{byte}");
    }
}

#[test]
fn a_header_line_is_read_up_to_its_limit() {
    let size_max = HEADERS_SIZE_MAX - HOST_LINE.len() - "\r\n".len();
    let line = format!("A: {}", "v".repeat(size_max - 3));
    accept(&with_fields(format!("{line}\r\n").as_bytes()));
    assert_eq!(refuse(&with_fields(format!("{line}v\r\n").as_bytes())), Error::FIELDS_TOO_LARGE);
    let name = "A".repeat(size_max - 1);
    accept(&with_fields(format!("{name}:\r\n").as_bytes()));
    assert_eq!(refuse(&with_fields(format!("{name}A:\r\n").as_bytes())), Error::FIELDS_TOO_LARGE);
}

#[test]
fn an_endless_header_line_ends_at_the_limit() {
    for byte in [b'a', b' '] {
        let line = [b"A:".to_vec(), vec![byte; HEADERS_SIZE_MAX]].concat();
        assert_eq!(refuse(&[b"GET / HTTP/1.1\r\n", &line[..]].concat()), Error::FIELDS_TOO_LARGE);
    }
}

#[test]
fn header_lines_are_read_up_to_their_number_and_size() {
    let lines = |count: usize| with_fields("A: b\r\n".repeat(count - 1).as_bytes());
    accept(&lines(HEADERS_MAX));
    assert_eq!(refuse(&lines(HEADERS_MAX + 1)), Error::TOO_MANY_FIELDS);

    for size in HEADERS_SIZE_MAX - 3..=HEADERS_SIZE_MAX {
        let input = with_section_of(size);
        assert!(matches!(request(&input), Ok(Progress::Complete { .. })));
    }
    for size in HEADERS_SIZE_MAX + 1..HEADERS_SIZE_MAX + 9 {
        assert_eq!(request(&with_section_of(size)), Err(Error::FIELDS_TOO_LARGE));
    }
    // What is refused whole is refused in parts, and not before the limit.
    let input = with_section_of(HEADERS_SIZE_MAX + 1);
    let head_size_max = "GET / HTTP/1.1\r\n".len() + HEADERS_SIZE_MAX;
    assert_eq!(request(&input[..head_size_max - 2]), Ok(Progress::Partial));
    assert_eq!(request(&input[..head_size_max]), Err(Error::FIELDS_TOO_LARGE));
}

#[test]
fn an_error_that_passed_a_limit_names_it() {
    for (error, limit) in [
        (Error::TOO_MANY_EMPTY_LINES, EMPTY_LINES_MAX),
        (Error::METHOD_TOO_LONG, METHOD_SIZE_MAX),
        (Error::REQUEST_LINE_TOO_LONG, REQUEST_LINE_SIZE_MAX),
        (Error::STATUS_LINE_TOO_LONG, REQUEST_LINE_SIZE_MAX),
        (Error::FIELDS_TOO_LARGE, HEADERS_SIZE_MAX),
        (Error::TOO_MANY_FIELDS, HEADERS_MAX),
    ] {
        assert!(error.to_string().contains(&limit.to_string()), "{error}");
    }
}
