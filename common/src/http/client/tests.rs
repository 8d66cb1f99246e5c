//! The client against servers of a few lines each.

use super::*;
use crate::http::Error;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

/// Long enough for a busy machine; no test waits for it to pass.
const LONG: Duration = Duration::from_secs(60);

/// The rest of the last answer's body.
fn body(client: &mut Client) -> Result<String, Trouble> {
    let mut body = Vec::new();
    client.body(LONG, |piece| body.write_all(piece))?;
    Ok(String::from_utf8(body).unwrap())
}

/// A server for one connection: for each of `answers` it reads a request without a body, then
/// writes the answer; then it closes. Gives back all that it read.
fn serve(answers: &'static [&'static str]) -> (Client, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut requests = Vec::new();
        for (count, answer) in answers.iter().enumerate() {
            let ends = |requests: &[u8]| requests.windows(4).filter(|w| w == b"\r\n\r\n").count();
            while ends(&requests) <= count {
                let mut piece = [0; 1000];
                match stream.read(&mut piece).unwrap() {
                    0 => break,
                    size => requests.extend_from_slice(&piece[..size]),
                }
            }
            stream.write_all(answer.as_bytes()).unwrap();
        }
        String::from_utf8(requests).unwrap()
    });
    (Client::new(&address, Some("s3cret")), server)
}

/// What one `GET` is answered by a server that says this and closes.
fn get(answer: &'static [&'static str]) -> Result<(Head, String), Trouble> {
    let (mut client, server) = serve(answer);
    let head = client.request("GET", "/", b"", LONG);
    let result = head.and_then(|head| Ok((head, body(&mut client)?)));
    server.join().unwrap();
    result
}

#[test]
fn a_request_has_host_token_and_a_length_where_there_is_a_body() {
    let (mut client, server) = serve(&["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]);
    client.request("POST", "/publish", b"{}", LONG).unwrap();
    let request = server.join().unwrap();
    let host = client.address;
    let head =
        format!("POST /publish HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer s3cret\r\n");
    let rest = "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(request, head + rest);
}

#[test]
fn bodies_end_by_length_by_chunks_or_by_the_end_of_input() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;a=b\r\nllo\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\nServer: SimpleHTTP/0.6 Python/3.12\r\n\r\nhello",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        let (head, body) = get(Vec::leak(vec![answer])).unwrap();
        assert_eq!((head.status, body.as_str()), (200, "hello"), "{answer}");
    }
}

#[test]
fn an_answer_without_a_body_ends_with_its_head() {
    for status in ["204 No Content", "304 Not Modified"] {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\nX: y\r\n\r\n");
        let (head, body) = get(Vec::leak(vec![answer.leak() as &str])).unwrap();
        assert_eq!((body.as_str(), head.field("x")), ("", Some("y")));
        assert!(head.keep_alive);
    }
    let (mut client, _server) = serve(&["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"]);
    let head = client.request("HEAD", "/", b"", LONG).unwrap();
    let body = body(&mut client).unwrap();
    assert_eq!((head.field("content-length"), body.as_str()), (Some("5"), ""));
}

#[test]
fn answers_share_a_connection_and_an_unread_body_is_skipped() {
    let (mut client, server) = serve(&[
        "HTTP/1.1 201 Created\r\nContent-Length: 7\r\n\r\nskipped",
        "HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlast",
    ]);
    let heads = ["/1", "/2", "/3"].map(|it| client.request("GET", it, b"", LONG).unwrap());
    assert_eq!(heads.each_ref().map(|head| head.status), [201, 202, 200]);
    assert_eq!(heads.map(|head| head.keep_alive), [true, true, false]);
    assert_eq!(body(&mut client).unwrap(), "last");
    assert!(!client.is_connected());
    assert_eq!(server.join().unwrap().matches("GET /").count(), 3);
}

#[test]
fn a_cut_answer_is_never_taken_for_a_whole_one() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 100 Continue\r\n\r\n",
    ] {
        let result = get(Vec::leak(vec![answer]));
        assert!(matches!(result, Err(Trouble::Invalid(CUT))), "{answer}: {result:?}");
    }
    assert!(matches!(get(&[""]), Err(Trouble::Invalid(CLOSED))));
}

#[test]
fn broken_answers_are_errors() {
    let result = get(&["HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"]);
    assert!(matches!(result, Err(Trouble::Http(_, Error::CONTENT_LENGTH))));
    let result = get(&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx"]);
    assert!(matches!(result, Err(Trouble::Http(_, Error::SIZE))));
}

#[test]
fn an_answer_that_does_not_come_ends_the_connection_at_its_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = Client::new(&listener.local_addr().unwrap().to_string(), None);
    let patience = Duration::from_millis(20);
    let begin = Instant::now();
    let result = client.request("GET", "/", b"", patience);
    assert!(matches!(result, Err(Trouble::TimedOut)));
    assert!(begin.elapsed() >= patience && !client.is_connected());
}

#[test]
fn a_refusal_in_the_middle_of_a_request_is_an_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 100]).unwrap();
        stream.write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let mut client = Client::new(&address, None);
    // More than the sockets take unread.
    let body = vec![b'x'; 64 << 20];
    let head = client.request("POST", "/publish", &body, LONG).unwrap();
    assert_eq!(head.status, 413);
    server.join().unwrap();
}

#[test]
fn a_request_that_would_mean_something_else_is_not_sent() {
    let line_break = Client::new("nowhere:1", Some("b\r\nC: d"));
    let good = Client::new("nowhere:1", Some("b"));
    for (client, method, target) in [
        (&good, "G T", "/"),
        (&good, "", "/"),
        (&good, "GET", ""),
        (&good, "GET", "/a b"),
        (&good, "GET", "/\r\n"),
        (&good, "GET", "/é"),
        (&line_break, "GET", "/"),
    ] {
        let result = client.encode(method, target, b"");
        assert!(matches!(result, Err(Trouble::Invalid(REQUEST))), "{method} {target}");
    }
}
