//! Rows of D and E in which time passes. All deadlines are one second. The tests show that they are
//! kept, and that a client that is slow on purpose cannot extend them.

use super::{BODY, get, post};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};
use tests::raw::{Answer, Raw};
use tests::resources::Resources;
use tests::wait::DEADLINE;
use tests::{System, publish_body};

/// Sends a byte now and then until there is an answer, and gives it.
fn trickle(raw: &mut Raw, bytes: impl IntoIterator<Item = u8>) -> Answer {
    let start = Instant::now();
    for byte in bytes {
        if !raw.is_silent() {
            break;
        }
        raw.send([byte]);
        thread::sleep(Duration::from_millis(50));
    }
    let answer = raw.answer();
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    answer
}

/// D18, F03.
#[test]
fn a_body_that_trickles_in_is_given_up_at_its_deadline() {
    let system = System::start_with(&["--body-timeout", "1"]);
    let chunks = std::iter::once(*b"1\r\n \r\n").cycle().flatten();
    let sized = std::iter::repeat(b' ');
    for (lines, body) in [
        ("Transfer-Encoding: chunked\r\n", &mut chunks.clone() as &mut dyn Iterator<Item = u8>),
        ("Content-Length: 5000\r\n", &mut sized.clone()),
    ] {
        let mut raw = Raw::connect(&system.address());
        raw.send(post(lines, ""));
        let answer = trickle(&mut raw, body);
        assert_eq!(answer.status, 408);
        assert!(answer.text().contains("--body-timeout"), "{answer:?}");
        assert_eq!(answer.field("connection"), Some("close"));
        raw.end();
    }
    assert!(system.messages("t").is_empty());
}

/// F02: counted from the first byte, whichever door it might have been for.
#[test]
fn a_head_that_trickles_in_is_given_up_at_its_deadline() {
    let system = System::start_with(&["--head-timeout", "1"]);
    for start in ["GET / HTTP/1.1\r\nX: ", "POST /publish HTTP/1.1\r\n\u{58}: "] {
        let mut raw = Raw::connect(&system.address());
        raw.send(start);
        let answer = trickle(&mut raw, std::iter::repeat(b'a'));
        assert_eq!(answer.status, 408);
        assert!(answer.text().contains("--head-timeout"), "{answer:?}");
        raw.end();
    }
}

/// A head has its own time each, however often the connection was used.
#[test]
fn a_later_head_has_as_much_time_as_the_first() {
    let system = System::start_with(&["--head-timeout", "1", "--idle-timeout", "60"]);
    let mut raw = Raw::connect(&system.address());
    for _ in 0..3 {
        raw.send("GET /livez HTTP/1.1\r\n");
        thread::sleep(Duration::from_millis(400));
        raw.send("Host: localhost\r\n\r\n");
        assert_eq!(raw.answer().status, 200);
        thread::sleep(Duration::from_millis(700));
    }
}

/// F05.
#[test]
fn an_idle_connection_is_closed_without_a_word_and_a_session_is_not() {
    let system = System::start_with(&["--idle-timeout", "1"]);
    let mut json = Raw::connect(&system.address());
    json.send(r#"{"command":"subscribe","topic":"t"}"#);
    assert!(json.line().contains("success"));
    let mut text = Raw::connect(&system.address());
    text.send("SUBSCRIBE t id\n");
    let silent = Raw::connect(&system.address());
    let mut idle = Raw::connect(&system.address());
    idle.request("GET", "/livez", "");
    assert_eq!(idle.answer().status, 200);
    idle.end();
    thread::sleep(Duration::from_millis(300));
    system.publish("t", "x");
    assert!(json.line().contains("\"x\""));
    assert!(text.line().starts_with("DELIVER t x"));
    assert!(silent.is_silent());
}

/// E05, F04: what cannot be answered is not read either, so a client that does not read costs one
/// buffer; and it is closed when it has taken nothing for too long.
#[test]
fn a_client_that_does_not_read_costs_little_and_is_closed() {
    let mut system = System::start_with(&["--answer-timeout", "1"]);
    let message = "x".repeat(1000);
    assert_eq!(system.request("POST", "/publish", publish_body("t", &message)).status, 200);
    let broker = system.broker().id();
    let before = Resources::of(broker);

    let mut stream = TcpStream::connect(system.address()).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let requests = get("").repeat(100_000);
    let mut rest = requests.as_bytes();
    let start = Instant::now();
    let mut memory_max = 0;
    let ended = loop {
        assert!(start.elapsed() < DEADLINE, "it is never closed");
        match stream.write(rest) {
            // All requests fit into the buffers between the two: go on asking.
            Ok(size) if size == rest.len() => rest = requests.as_bytes(),
            Ok(size) => rest = &rest[size..],
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => break error,
        }
        memory_max = memory_max.max(Resources::of(broker).memory);
    };
    assert!(
        matches!(ended.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
        "closed, not {ended}"
    );
    let grown = memory_max.saturating_sub(before.memory);
    assert!(grown < 8 << 20, "{grown} bytes for a client that does not read");
    assert_eq!(system.request("POST", "/publish", BODY).status, 200);
}

/// What makes progress may take longer than any time-out: bodies, objects, lines.
#[test]
fn what_arrives_slowly_is_taken_whole() {
    let system = System::start_with(&["--body-timeout", "1"]);
    let message = "m".repeat(12_000);
    let body = format!(r#"{{"topic":"t","message":"{message}"}}"#);
    let json = format!(r#"{{"command":"publish",{}"#, &body[1..]);
    let kinds = [
        post(format!("Content-Length: {}\r\n", body.len()), &body),
        json.into_bytes(),
        format!("PUBLISH t {message} ann\n").into_bytes(),
    ];
    thread::scope(|scope| {
        for kind in &kinds {
            scope.spawn(|| {
                let mut raw = Raw::connect(&system.address());
                // Three seconds at least, at twice the least rate.
                for piece in kind.chunks(1000) {
                    raw.send(piece);
                    thread::sleep(Duration::from_millis(250));
                }
                raw.end_sending();
                let _ = raw.rest();
            });
        }
    });
    assert_eq!(system.messages("t"), vec![message; 3]);
}

/// F03 for the other doors; between two commands they may be silent for ever.
#[test]
fn a_command_that_was_begun_is_given_up_where_it_makes_no_progress() {
    let system = System::start_with(&["--body-timeout", "1"]);
    for (whole, begun) in [
        (&b"{\"command\":\"list_peers\"}\n"[..], &b"{\"command\":"[..]),
        (b"SUBSCRIBE t ann\n", b"PUBLISH t "),
    ] {
        let mut silent = Raw::connect(&system.address());
        silent.send(whole);
        let mut raw = Raw::connect(&system.address());
        raw.send(whole);
        raw.send(begun);
        let sent = String::from_utf8(raw.rest()).unwrap();
        assert!(sent.contains("arrives too slowly") && sent.contains("--body-timeout"), "{sent}");
        silent.send(whole);
        thread::sleep(Duration::from_secs(2));
        silent.send(b"\n");
        silent.send(begun);
        silent.send(b"\n");
        if whole[0] == b'{' {
            assert!(silent.line().contains("success") && silent.line().contains("success"));
        } else {
            assert!(silent.line().starts_with("ERROR"), "it still answers");
        }
    }
    assert!(system.messages("t").is_empty());
}

/// The system takes more of an answer in steps that are further apart than the time-out.
#[test]
fn an_answer_that_is_read_slowly_is_sent_whole() {
    let system = System::start_with(&["--answer-timeout", "3"]);
    let message = "x".repeat(1 << 20);
    for _ in 0..9 {
        system.publish("t", &message);
    }
    let mut stream = TcpStream::connect(system.address()).unwrap();
    stream.write_all(get("Connection: close\r\n").as_bytes()).unwrap();
    let mut size = 0;
    let mut piece = vec![0; 25_000];
    let start = Instant::now();
    loop {
        let read = stream.read(&mut piece).unwrap();
        if read == 0 {
            break;
        }
        size += read;
        if start.elapsed() < Duration::from_secs(20) {
            thread::sleep(Duration::from_millis(100));
        }
    }
    assert!(size > 9 << 20, "only {size} bytes");
}
