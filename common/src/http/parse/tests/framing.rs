//! The target and the end of a request: hosts, lengths, codings, and whether the connection stays
//! open.

use super::{accept, refuse, with_fields, with_line};
use crate::http::parse::{Body, Error, authority};

#[test]
fn a_host_is_a_name_or_address_with_an_optional_port() {
    for (text, host, port) in [
        ("a", "a", None),
        ("A-b_c.d~:0", "A-b_c.d~", Some(0)),
        ("127.0.0.1:65535", "127.0.0.1", Some(65_535)),
        ("a:", "a", None),
        ("a:00080", "a", Some(80)),
        ("[::1]", "[::1]", None),
        ("[fe80::1:2]:9000", "[fe80::1:2]", Some(9000)),
        ("[fe80::1%25eth0]", "[fe80::1%25eth0]", None),
    ] {
        assert_eq!(authority(text), Some((host, port)), "{text}");
        let input = format!("GET / HTTP/1.1\r\nHost: {text}\r\n\r\n");
        assert_eq!(accept(input.as_bytes()).authority, Some(text));
    }
    for text in [
        "", ":80", "a, b", "a,b", "a b", "a/x", "u@a", "a:99999", "a:65536", "a:x", "a:+1", "a:-1",
        "a:1:2", "::1", "[::1", "::1]", "[]", "[a]", "[::1]a", "[::1]80", "[[::1]]", "[v1.a]",
        "a%2fb", "a\\b", "é", "a]", "[::1]]",
    ] {
        assert_eq!(authority(text), None, "{text}");
        for version in ["1.0", "1.1"] {
            let input = format!("GET / HTTP/{version}\r\nHost: {text}\r\n\r\n");
            assert_eq!(refuse(input.as_bytes()), Error::HOST, "{text}");
        }
    }
}

#[test]
fn an_absolute_target_outranks_the_host_field_but_not_its_syntax() {
    for host in ["a", "other:1", ""] {
        let input = format!("GET http://a:9/ HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(accept(input.as_bytes()).authority, Some("a:9"));
    }
    assert_eq!(refuse(b"GET http://a/ HTTP/1.1\r\nHost: a b\r\n\r\n"), Error::HOST);
    assert_eq!(refuse(b"OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n"), Error::HOST);
}

#[test]
fn fields_that_decide_something_come_once() {
    for (line, name) in [
        (&b"hOST: localhost:9000\r\n"[..], "Host"),
        (b"Host: b\r\n", "Host"),
        (b"Authorization: Bearer a\r\nauthorization: Bearer a\r\n", "Authorization"),
        (b"Origin: a\r\nOrigin: b\r\n", "Origin"),
        (b"Content-Length: 5\r\nContent-Length: 5\r\n", "Content-Length"),
        (b"Content-Length: 5\r\nContent-length: 6\r\n", "Content-Length"),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding"),
        (b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding"),
    ] {
        assert_eq!(refuse(&with_fields(line)), Error::Repeated(name));
    }
}

#[test]
fn a_length_is_digits_and_nothing_else() {
    for (text, size) in
        [("5", 5), ("0", 0), ("005", 5), ("18446744073709551615", u64::MAX), (" \t 7 \t", 7)]
    {
        let input = with_fields(format!("Content-Length:{text}\r\n").as_bytes());
        assert_eq!(accept(&input).body, Body::Sized(size), "{text}");
    }
    for text in [
        "",
        "+5",
        "-5",
        "-0",
        "0x5",
        "5.0",
        "5e0",
        "1_0",
        "5 5",
        "５",
        "5;",
        "\"5\"",
        "5, 5",
        "5, 6",
        "5,",
        "99999999999999999999x",
    ] {
        let input = with_fields(format!("Content-Length: {text}\r\n").as_bytes());
        assert_eq!(refuse(&input), Error::CONTENT_LENGTH, "{text}");
    }
    for text in [b"\x855", b"5\xa0"] {
        let input = with_fields(&[b"Content-Length: ", &text[..], b"\r\n"].concat());
        assert_eq!(refuse(&input).status(), 400);
    }
    for text in ["18446744073709551616", "18446744073709551621", &"9".repeat(400)] {
        let input = with_fields(format!("Content-Length: {text}\r\n").as_bytes());
        assert_eq!(refuse(&input), Error::CONTENT_LENGTH_TOO_LARGE, "{text}");
    }
}

#[test]
fn the_only_transfer_coding_is_chunked_and_it_is_exact() {
    for text in ["chunked", "CHUNKED", "chunked ", "\tchunked\t"] {
        let input = with_fields(format!("Transfer-Encoding:{text}\r\n").as_bytes());
        assert_eq!(accept(&input).body, Body::Chunked, "{text}");
    }
    for (text, status) in [
        (&b"gzip, chunked"[..], 501),
        (b"gzip;q=1, chunked", 501),
        (b"identity", 501),
        (b"xchunked", 501),
        (b"chunked-x", 501),
        (b"x", 501),
        (b"chunked, gzip", 400),
        (b"chunked, identity", 400),
        (b"chunked, chunked", 400),
        (b"", 400),
        (b",chunked", 400),
        (b"chunked,", 400),
        (b"gzip,,chunked", 400),
        (b"chunked;q=1", 400),
        (b"chunked;", 400),
        (b"chunked ;q=1", 400),
        (b";chunked", 400),
        (b"\"chunked\"", 400),
        (b"chunked\x0b", 400),
        (b"\x0cchunked", 400),
        (b"chunked\0", 400),
        (b"chunked\x85", 400),
        (b"\xa0chunked", 400),
        (b"chunked\xc2\xa0", 400),
        (b"chun ked", 400),
    ] {
        let input = with_fields(&[b"Transfer-Encoding: ", text, b"\r\n"].concat());
        assert_eq!(refuse(&input).status(), status, "{}", text.escape_ascii());
    }
}

#[test]
fn a_length_in_two_ways_is_no_length() {
    for lines in [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    ] {
        assert_eq!(refuse(&with_fields(lines)), Error::TWO_LENGTHS);
    }
    let old = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(refuse(old), Error::TRANSFER_ENCODING);
    let old = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n";
    assert_eq!(refuse(old).status(), 400);
}

#[test]
fn only_methods_that_have_a_use_for_a_body_may_have_one() {
    for method in ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "BREW"] {
        let with = |field: &str| with_line(&format!("{method} / HTTP/1.1\r\n{field}"));
        assert_eq!(accept(&with("Content-Length: 0")).body, Body::Sized(0));
        for (field, body) in
            [("Content-Length: 5", Body::Sized(5)), ("Transfer-Encoding: chunked", Body::Chunked)]
        {
            if ["GET", "HEAD", "OPTIONS"].contains(&method) {
                assert_eq!(refuse(&with(field)), Error::BODY_NOT_ALLOWED);
            } else {
                assert_eq!(accept(&with(field)).body, body);
            }
        }
    }
}

#[test]
fn a_client_may_ask_for_the_connection_to_end() {
    for (line, keep_alive) in [
        ("Connection: close", false),
        ("connection: CLOSE", false),
        ("Connection: keep-alive, Close", false),
        ("Connection: upgrade\r\nConnection: close ,x", false),
        ("Connection: closed", true),
        ("Connection: keep-alive", true),
        ("Connection:", true),
        ("X-Connection: close", true),
    ] {
        let input = with_fields(format!("{line}\r\n").as_bytes());
        assert_eq!(accept(&input).keep_alive, keep_alive, "{line}");
    }
}

#[test]
fn a_body_may_wait_for_a_go_ahead() {
    let expects = |input: &[u8]| accept(input).expects_continue;
    assert!(expects(&with_fields(b"Expect: 100-Continue\r\nContent-Length: 5\r\n")));
    assert!(expects(&with_fields(b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n")));
    assert!(!expects(&with_fields(b"Expect: 100-continue\r\nContent-Length: 0\r\n")));
    assert!(!expects(&with_fields(b"Expect: 100-continue\r\n")));
    assert!(!expects(&with_fields(b"Expect:\r\nContent-Length: 5\r\n")));
    assert!(!expects(&with_line("GET / HTTP/1.1\r\nExpect: 100-continue")));
    let old = "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5";
    assert!(!expects(&with_line(old)));

    for value in ["something-else", "100-continue, x", "100-continue;a=b", "100"] {
        let input = with_fields(format!("Expect: {value}\r\n").as_bytes());
        assert_eq!(refuse(&input), Error::EXPECTATION);
    }
}
