//! Lists of messages as JSON, one object a line.

use common::json::{self, Value};
use tests::System;
use tests::raw::{Answer, Raw};

fn get(system: &System, target: &str, lines: &str) -> Answer {
    let mut raw = Raw::connect(&system.address());
    raw.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n"));
    raw.answer()
}

#[test]
fn a_list_of_objects_says_all_about_each_message() {
    let system = System::start();
    let body = "{\"topic\":\"t\",\"message\":\"\u{e9}\\\"\",\"publisher\":\"ann\"}";
    assert_eq!(system.request("POST", "/publish", body).status, 200);
    system.publish("t", "");
    let accept = "Accept: application/x-ndjson\r\n";
    for (target, lines) in [
        ("/messages?topic=t&format=json", ""),
        ("/messages?topic=t", accept),
        ("/messages?topic=t&format=json", "Accept: text/plain\r\n"),
    ] {
        let answer = get(&system, target, lines);
        assert_eq!(answer.field("content-type"), Some("application/x-ndjson"), "{answer:?}");
        assert_eq!(answer.number("stream-first-offset"), 0);
        assert_eq!(answer.number("stream-next-offset"), 2);
        assert!(answer.field("stream-id").is_some());
        let objects: Vec<_> =
            answer.text().lines().map(|line| json::parse(line.as_bytes()).unwrap()).collect();
        let text = |index: usize, key| objects.get(index).unwrap().get(key).and_then(Value::as_str);
        assert_eq!(objects.len(), 2);
        assert_eq!((text(0, "topic"), text(0, "message")), (Some("t"), Some("\u{e9}\"")));
        assert_eq!((text(0, "publisher"), text(1, "publisher")), (Some("ann"), None));
        assert_eq!(text(1, "message"), Some(""));
        let offset = |index: usize| objects.get(index).unwrap().get("offset").unwrap().as_u64();
        assert_eq!((offset(0), offset(1)), (Some(0), Some(1)));
        assert!(objects.iter().all(|object| object.get("time").unwrap().as_u64() > Some(0)));
    }
    let answer = get(&system, "/messages?topic=t&format=text", accept);
    assert_eq!(answer.text(), "\u{e9}\"\n\n", "the query wins");
    assert_eq!(get(&system, "/messages?topic=t&format=xml", "").status, 400);
    let empty = get(&system, "/messages?topic=unborn&format=json", "");
    assert_eq!((empty.status, empty.text()), (200, ""));
}

#[test]
fn a_list_of_objects_is_cut_as_any_other_and_comes_whole() {
    let system = System::start();
    let long = "x".repeat(100_000);
    for number in 0..30 {
        system.publish("t", &format!("{number} {long}"));
    }
    let offsets = |target: &str| {
        let answer = get(&system, target, "");
        let offset = |line: &str| {
            let value = json::parse(line.as_bytes()).unwrap();
            value.get("offset").and_then(Value::as_u64).unwrap()
        };
        answer.text().lines().map(offset).collect::<Vec<_>>()
    };
    let all: Vec<u64> = (0..30).collect();
    assert_eq!(offsets("/messages?topic=t&format=json"), all);
    assert_eq!(offsets("/messages?topic=t&format=json&from=7&limit=20"), all[7..27]);
    assert_eq!(offsets("/messages?topic=t&format=json&from=-3"), all[27..]);
    // On the same connection goes on what comes behind it; HTTP/1.0 has no chunks.
    let mut raw = Raw::connect(&system.address());
    let request = "GET /messages?topic=t&format=json HTTP/1.1\r\nHost: localhost\r\n\r\n";
    raw.send(request.repeat(2));
    assert_eq!(raw.answer().body, raw.answer().body);
    let mut raw = Raw::connect(&system.address());
    raw.send("GET /messages?topic=t&format=json HTTP/1.0\r\n\r\n");
    let answer = raw.answer();
    assert_eq!(answer.field("transfer-encoding"), None);
    assert_eq!(answer.text().lines().count(), 30);
}

#[test]
fn an_event_stream_begins_at_the_last_messages_or_says_where_the_topic_is() {
    let system = System::start();
    system.publish_batch("t", ["a", "b", "c", "d"].iter());
    let first = |query: &str| {
        let mut raw = Raw::connect(&system.address());
        raw.request("GET", &format!("/events?topic=t&{query}"), "");
        assert_eq!(raw.stream_head().status, 200);
        loop {
            let line = raw.line();
            if let Some(data) = line.strip_prefix("data: ") {
                let value = json::parse(data.as_bytes()).unwrap();
                return value.get("message").and_then(Value::as_str).unwrap().to_owned();
            }
        }
    };
    assert_eq!(first("from=-2"), "c");
    assert_eq!(first("from=-9"), "a", "as many as there are");
    assert_eq!(first("since=0"), "a");
    assert_eq!(system.get("/events?topic=t&from=0&since=0").status, 400);
    let past = system.get("/events?topic=t&from=5");
    assert_eq!((past.status, past.number("stream-next-offset")), (416, 4));
    assert_eq!(system.request("DELETE", "/topics/t/messages?before=2", "").status, 200);
    let gone = system.get("/events?topic=t&from=1");
    assert_eq!((gone.status, gone.number("stream-first-offset")), (410, 2));
    assert_eq!(gone.number("stream-next-offset"), 4);
    assert!(gone.field("stream-id").is_some());
    assert_eq!(first("from=-9"), "c");
}
