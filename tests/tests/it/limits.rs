//! Every limit, at it and one past it. The refusal names the limit and the flag that raises it, if
//! there is one. Limits on the bytes of a request are in `http_cases`.

use common::json::Value;
use tests::raw::{Answer, Raw};
use tests::{System, publish_body};

/// What a refusal says.
#[track_caller]
fn detail(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status, status, "{answer:?}");
    let json = answer.json();
    json.get("detail").and_then(Value::as_str).expect("a refusal says what is wrong").to_owned()
}

#[track_caller]
fn assert_names(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{text:?} does not name {word:?}");
    }
}

/// A JSON command that publishes to the topic `t`.
fn command(message: &str) -> String {
    format!(r#"{{"command":"publish","topic":"t","message":"{message}"}}"#)
}

#[test]
fn every_limit_on_a_request_is_named_where_it_is_passed() {
    let system = System::start();
    let line = |size: usize| "a".repeat(size);
    for (request, status, words) in [
        (format!("GET /{} HTTP/1.1\r\n", line(17_000)), 414, &["request line", "16384"][..]),
        (format!("{} / HTTP/1.1\r\n", line(33)), 501, &["method", "32"]),
        ("\r\n".repeat(9) + "GET", 400, &["empty lines", "8"]),
        (format!("GET / HTTP/1.1\r\nX: {}\r\n", line(33_000)), 431, &["header lines", "32768"]),
        (
            format!("GET / HTTP/1.1\r\n{}", format!("X: {}\r\n", line(8000)).repeat(5)),
            431,
            &["header lines", "32768"],
        ),
        (format!("GET / HTTP/1.1\r\n{}", "X:\r\n".repeat(101)), 431, &["header lines", "100"]),
        (
            String::from(
                "POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8388609\r\n\r\n",
            ),
            413,
            &["body", "8388608"],
        ),
        (chunked("800001\r\n"), 413, &["body", "8388608"]),
        (chunked(&format!("1;{}\r\n", line(1024))), 413, &["chunk extensions", "1024"]),
        (chunked(&format!("0\r\nX:{}\r\n\r\n", line(4096))), 431, &["trailers", "4096"]),
    ] {
        let mut raw = Raw::connect(&system.address());
        raw.send_as_far_as_taken(request.as_bytes());
        assert_names(&detail(&raw.answer(), status), words);
    }
}

/// A publish whose chunked body begins so.
fn chunked(body: &str) -> String {
    format!("POST /publish HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

#[test]
fn a_message_has_its_limit_at_every_door() {
    let system = System::start_with(&["--max-message", "100"]);
    let (fits, too_long) = ("x".repeat(100), "x".repeat(101));
    let words = ["101", "100", "--max-message"];

    assert_eq!(system.request("POST", "/publish", publish_body("t", &fits)).status, 200);
    let answer = system.request("POST", "/publish", publish_body("t", &too_long));
    assert_names(&detail(&answer, 413), &words);

    let lines = format!("{fits}\nshort\n{too_long}\n");
    assert_names(&detail(&system.request("POST", "/topics/t", lines), 413), &["line 3", "101"]);

    let mut json = Raw::connect(&system.address());
    json.send(command(&fits) + &command(&too_long));
    assert_names(&json.line(), &["success"]);
    assert_names(&json.line(), &words);

    let mut text = Raw::connect(&system.address());
    text.send(format!("PUBLISH t {fits} id\nPUBLISH t {too_long} id\n"));
    assert_names(&text.line(), &words);
    assert_eq!(system.messages("t"), [fits.as_str(); 3]);
}

/// A message is measured as it is, not as JSON writes it.
#[test]
fn escapes_do_not_make_a_message_longer() {
    let system = System::start_with(&["--max-message", "100"]);
    let body = format!(r#"{{"topic":"t","message":"{}"}}"#, r"\u0041".repeat(100));
    assert_eq!(system.request("POST", "/publish", body).status, 200);
    assert_eq!(system.messages("t"), ["A".repeat(100)]);
}

/// F17; control bytes are in G03 of `http_cases`.
#[test]
fn names_have_255_bytes_at_most() {
    let system = System::start();
    let mut json = Raw::connect(&system.address());
    for (size, fits) in [(255, true), (256, false)] {
        let name = "n".repeat(size);
        let publish = system.request("POST", "/publish", publish_body(&name, "x"));
        let create = system.request("PUT", &format!("/topics/{name}"), "");
        let body = format!(r#"{{"topic":"t","message":"x","publisher":"{name}"}}"#);
        let named = system.request("POST", "/publish", body);
        json.send(format!(r#"{{"command":"subscribe","topic":"t","subscriber":"{name}"}}"#));
        let subscribed = json.line();
        if fits {
            assert_eq!((publish.status, create.status, named.status), (200, 200, 200));
            assert_names(&subscribed, &["success"]);
        } else {
            assert_names(&detail(&publish, 400), &["'topic'", "255"]);
            assert_names(&detail(&create, 400), &["'topic'", "255"]);
            assert_names(&detail(&named, 400), &["'publisher'", "255"]);
            assert_names(&subscribed, &["'subscriber'", "255"]);
        }
    }
}

/// Whatever is said of a topic: names that cannot be one are neither kept nor passed on.
#[test]
fn every_command_about_a_topic_has_the_same_limit_on_its_name() {
    let system = System::start();
    let mut json = Raw::connect(&system.address());
    json.send(r#"{"command":"register_peer","host":"localhost","port":9001}"#);
    assert_names(&json.line(), &["success"]);
    let peer = r#","host":"localhost","port":9001"#;
    let acknowledged = r#","subscriber":"s","offset":0"#;
    for (command, more) in [
        ("publish", r#","message":"x""#),
        ("create_topic", ""),
        ("pull", ""),
        ("subscribe", ""),
        ("ack", acknowledged),
        ("unsubscribe", ""),
        ("delete_topic", ""),
        ("add_topic", peer),
        ("query_topic", ""),
        ("delete_topic", peer),
    ] {
        let mut say = |size: usize| {
            let topic = "n".repeat(size);
            json.send(format!(r#"{{"command":"{command}","topic":"{topic}"{more}}}"#));
            json.line()
        };
        assert!(!say(255).contains("'topic'"), "{command} takes a name of 255 bytes");
        assert_names(&say(256), &["\"'topic' is longer than 255 bytes\"", "\"code\":400"]);
    }
    for command in ["SUBSCRIBE", "UNSUBSCRIBE"] {
        let channel = "n".repeat(256);
        json.send(format!(r#"{{"command":"{command}","channel":"{channel}"}}"#));
        assert_names(&json.line(), &["ERROR", "'topic' is longer than 255 bytes"]);
    }
}

/// At the limit, the longest id of a stream still fits into the header line that gives it back.
#[test]
fn an_event_stream_has_200_topics_at_most() {
    let system = System::start();
    let query = |count: usize| {
        let topics: Vec<_> = (0..count).map(|number| format!("topic={number}")).collect();
        topics.join("&")
    };
    let answer = system.get(&format!("/events?{}", query(201)));
    assert_names(&detail(&answer, 400), &["event stream", "200 topics"]);

    let places: Vec<_> = (1..=200).map(|list| format!("{}@{list:016x}", u64::MAX)).collect();
    let mut raw = Raw::connect(&system.address());
    raw.send(format!(
        "GET /events?{} HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: {}\r\n\r\n",
        query(200),
        places.join(",")
    ));
    assert_eq!(raw.stream_head().status, 200);
    assert_eq!(raw.line(), "retry: 1000");
}

#[test]
fn json_nests_64_deep_at_most() {
    let system = System::start();
    let nested = |depth: usize| {
        let inner = depth - 1;
        let value = "[".repeat(inner) + &"]".repeat(inner);
        format!(r#"{{"topic":"t","message":"x","deep":{value}}}"#)
    };
    assert_eq!(system.request("POST", "/publish", nested(64)).status, 200);
    let answer = system.request("POST", "/publish", nested(65));
    assert_names(&detail(&answer, 400), &["64"]);
    let mut json = Raw::connect(&system.address());
    let command = |body: &str| body.replacen('{', r#"{"command":"publish","#, 1);
    json.send(command(&nested(64)));
    assert_names(&json.line(), &["success"]);
    json.send(command(&nested(65)));
    assert_names(&json.line(), &["Invalid JSON format"]);
    json.end();
}

#[test]
fn a_json_object_has_eight_mebibytes_at_most() {
    const SIZE_MAX: usize = 8 << 20;
    let system = System::start();
    let of_size = |size: usize| {
        let object = command("x");
        let filler = size - object.len();
        object.replacen(',', &format!("{},", " ".repeat(filler)), 1)
    };
    let mut json = Raw::connect(&system.address());
    json.send(of_size(SIZE_MAX));
    assert_names(&json.line(), &["success"]);
    json.send_as_far_as_taken(of_size(SIZE_MAX + 1).as_bytes());
    assert_names(&json.line(), &["larger", "8388608"]);
    json.end();
    assert_eq!(system.messages("t"), ["x"]);
}

#[test]
fn a_text_line_has_room_for_a_message_and_a_kibibyte() {
    let system = System::start_with(&["--max-message", "100"]);
    let line = |size: usize| format!("PUBLISH t{}x id", " ".repeat(size - "PUBLISH tx id".len()));
    let mut text = Raw::connect(&system.address());
    text.send(line(1124) + "\n");
    // It is read, and refused for its message.
    assert_names(&text.line(), &["ERROR", "'message' has"]);
    text.send(line(1125) + "\n");
    assert_names(&text.line(), &["ERROR", "1124", "--max-message"]);
    text.end();
    let mut unfinished = Raw::connect(&system.address());
    unfinished.send(line(1125));
    assert_names(&unfinished.line(), &["ERROR", "1124", "--max-message"]);
    unfinished.end();
}

#[test]
fn a_full_broker_says_how_to_make_room_and_deleting_makes_it() {
    let system = System::start_with(&["--max-memory", "1000000"]);
    let message = "x".repeat(10_000);
    let mut raw = Raw::connect(&system.address());
    let mut stored = 0;
    let refusal = loop {
        raw.request("POST", "/publish", publish_body("t", &message));
        match raw.answer() {
            answer if answer.status == 200 => stored += 1,
            refusal => break refusal,
        }
    };
    let words = ["1000000", "delete or trim a topic", "--max-memory"];
    assert_names(&detail(&refusal, 507), &words);
    assert!((90..100).contains(&stored), "{stored} messages of 10 kB in 1 MB");
    assert_eq!(system.messages("t").len(), stored, "what was acknowledged stays");

    let mut json = Raw::connect(&system.address());
    json.send(command(&message));
    assert_names(&json.line(), &words);
    let mut text = Raw::connect(&system.address());
    text.send(format!("PUBLISH t {message} id\n"));
    assert_names(&text.line(), &words);

    assert_eq!(system.request("DELETE", "/topics/t", "").status, 204);
    for _ in 0..stored {
        raw.request("POST", "/publish", publish_body("u", &message));
        assert_eq!(raw.answer().status, 200);
    }
}

/// F17.
#[test]
fn there_are_100_000_topics_at_most() {
    const TOPICS_MAX: usize = 100_000;
    let system = System::start();
    let mut raw = Raw::connect(&system.address());
    for first in (0..TOPICS_MAX).step_by(1000) {
        let create = |number| format!("PUT /topics/{number} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        raw.send((first..first + 1000).map(create).collect::<String>());
        for _ in 0..1000 {
            assert_eq!(raw.answer().status, 201);
        }
    }
    let words = ["100000", "delete one"];
    raw.request("PUT", "/topics/more", "");
    assert_names(&detail(&raw.answer(), 507), &words);
    raw.request("POST", "/publish", publish_body("more", "x"));
    assert_names(&detail(&raw.answer(), 507), &words);
    raw.request("POST", "/publish", publish_body("7", "x"));
    assert_eq!(raw.answer().status, 200, "what is there can be published to");
    raw.request("DELETE", "/topics/8", "");
    assert_eq!(raw.answer().status, 204);
    raw.request("PUT", "/topics/more", "");
    assert_eq!(raw.answer().status, 201);
}

#[test]
fn there_are_100_000_lasting_subscriptions_at_most_and_a_connection_begins_10_000() {
    const SHARE: usize = 10_000;
    let system = System::start();
    let mut first = Raw::connect(&system.address());
    let begin = |number: usize| {
        let ids = number * SHARE..(number + 1) * SHARE;
        ids.map(|id| format!("SUBSCRIBE t {id}\n")).collect::<String>()
    };
    first.send(begin(0));
    first.send("SUBSCRIBE t more\n");
    assert_names(&first.line(), &["ERROR a connection", "10000", "broker forget"]);
    let others: Vec<Raw> = (1..10)
        .map(|number| {
            let mut raw = Raw::connect(&system.address());
            raw.send(begin(number));
            raw.send("HELLO\n");
            assert!(raw.line().starts_with("ERROR expected"), "the others were begun");
            raw
        })
        .collect();
    let mut last = Raw::connect(&system.address());
    last.send("SUBSCRIBE t more\n");
    assert_names(&last.line(), &["ERROR all together", "100000"]);
    last.send("SUBSCRIBE t 7\nUNSUBSCRIBE t 8\nSUBSCRIBE t more\nSUBSCRIBE t even-more\n");
    assert_names(&last.line(), &["ERROR all together", "100000"]);
    last.end_sending();
    last.end();
    drop(others);
}

/// An answer to `pull` is bounded too, and says where to go on.
#[test]
fn a_long_list_is_pulled_in_parts() {
    let system = System::start();
    let message = "x".repeat(1 << 20);
    for _ in 0..10 {
        system.publish("t", &message);
    }
    let mut json = Raw::connect(&system.address());
    let mut from = 0;
    let mut parts = 0;
    while from < 10 {
        json.send(format!(r#"{{"command":"pull","topic":"t","from":{from}}}"#));
        let line = json.line();
        let answer = common::json::parse(line.as_bytes()).unwrap();
        let messages = answer.get("messages").and_then(Value::as_array).unwrap();
        assert!(!messages.is_empty() && line.len() < 10 << 20, "{} bytes", line.len());
        assert!(messages.iter().all(|it| it.as_str() == Some(&message)));
        from += messages.len() as u64;
        assert_eq!(answer.get("next").and_then(Value::as_u64), Some(from));
        parts += 1;
    }
    assert!(parts > 1);
}
