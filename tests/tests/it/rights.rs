//! Rights: every route, command and door, tried with every kind of token.

use common::json::Value;
use std::fs;
use std::path::PathBuf;
use tests::raw::Raw;
use tests::wait::{DEADLINE, wait_until};
use tests::{Folder, System};

/// A kind of token, what it may do, and whether only to topics under `a/`.
const TOKENS: [(&str, &[&str], bool); 7] = [
    ("all", &["read", "write", "admin"], false),
    ("reader", &["read"], false),
    ("writer", &["write"], false),
    ("boss", &["admin"], false),
    ("reads and writes", &["read", "write"], false),
    ("limited", &["read", "write", "admin"], true),
    ("limited reader", &["read"], true),
];

fn token_file() -> String {
    let line = |(token, rights, is_limited): &(&str, &[&str], bool)| {
        let pattern = if *is_limited { "\ta/**\tc" } else { "" };
        format!("{token}\t{}{pattern}\n", rights.join(","))
    };
    let lines: String = TOKENS.iter().skip(1).map(line).collect();
    // One without rights may do everything.
    format!("all\n\n{lines}")
}

/// What a request is about.
#[derive(Clone, Copy, PartialEq)]
enum About {
    /// Nothing that a token protects.
    Open,
    /// A topic under `a/`, or not.
    Topic(bool),
    /// Whatever the token may see.
    Any,
    /// The broker as a whole.
    Broker,
}

fn may(token: &str, right: &str, about: About) -> bool {
    let (_, rights, is_limited) = TOKENS.into_iter().find(|(name, ..)| *name == token).unwrap();
    match about {
        About::Open => true,
        About::Topic(is_chosen) => rights.contains(&right) && (!is_limited || is_chosen),
        About::Any => rights.contains(&right),
        About::Broker => rights.contains(&right) && !is_limited,
    }
}

struct Guarded {
    system: System,
    path: PathBuf,
    _folder: Folder,
}

fn guarded() -> Guarded {
    let folder = Folder::temporary("rights");
    folder.write("tokens.txt", token_file());
    let path = folder.path().join("tokens.txt");
    let system = System::start_with(&["--token-file", path.to_str().unwrap()]);
    Guarded { system, path, _folder: folder }
}

/// Sends a request with a token, and reads the head of its answer.
fn status(system: &System, token: Option<&str>, request: &str, body: &str) -> u16 {
    let mut raw = Raw::connect(&system.address());
    let token = token.map_or(String::new(), |it| format!("Authorization: Bearer {it}\r\n"));
    let size = match body {
        "" => String::new(),
        body => format!("Content-Length: {}\r\n", body.len()),
    };
    raw.send(format!("{request} HTTP/1.1\r\nHost: localhost\r\n{token}{size}\r\n{body}"));
    raw.answer_to_head().status
}

#[test]
fn every_route_asks_for_its_right() {
    let Guarded { system, .. } = guarded();
    let rows = |topic: &str, encoded: &str, is_chosen: bool| {
        let about = About::Topic(is_chosen);
        let publish = format!("{{\"topic\":\"{topic}\",\"message\":\"x\"}}");
        [
            (format!("PUT /topics/{encoded}"), String::new(), "admin", about),
            ("POST /publish".to_owned(), publish, "write", about),
            (format!("POST /topics/{encoded}"), "x".to_owned(), "write", about),
            (format!("GET /messages?topic={encoded}"), String::new(), "read", about),
            (format!("HEAD /messages?topic={encoded}"), String::new(), "read", about),
            (format!("GET /events?topic={encoded}"), String::new(), "read", about),
            (format!("GET /events?topic=a/y&topic={encoded}"), String::new(), "read", about),
            (format!("GET /topics/{encoded}"), String::new(), "read", about),
            (format!("DELETE /topics/{encoded}/messages?before=0"), String::new(), "admin", about),
            (format!("DELETE /topics/{encoded}"), String::new(), "admin", about),
            (format!("OPTIONS /topics/{encoded}"), String::new(), "", About::Open),
        ]
    };
    let others = [
        ("GET /topics", "read", About::Any),
        ("GET /metrics", "read", About::Any),
        ("GET /", "", About::Open),
        ("GET /livez", "", About::Open),
        ("GET /readyz", "", About::Open),
        ("OPTIONS /publish", "", About::Open),
    ]
    .map(|(request, right, about)| (request.to_owned(), String::new(), right, about));
    let rows = rows("a/x", "a%2Fx", true).into_iter().chain(rows("b", "b", false)).chain(others);
    for (request, body, right, about) in rows {
        for token in [None, Some("wrong"), Some("reader "), Some("limited\tread")] {
            let status = status(&system, token, &request, &body);
            let is_known = token == Some("reader ");
            assert_eq!(status == 401, about != About::Open && !is_known, "{request} {token:?}");
        }
        for (token, ..) in TOKENS {
            let status = status(&system, Some(token), &request, &body);
            let expected = may(token, right, about);
            assert_eq!(status != 403, expected, "{request} by {token}: {status}");
            assert_ne!(status, 401, "{request} by {token}");
        }
    }
}

#[test]
fn every_command_asks_for_its_right() {
    let Guarded { system, .. } = guarded();
    let rows = |key: &str, topic: &str, is_chosen: bool| {
        let about = About::Topic(is_chosen);
        let command = |name: &str, more: &str| {
            format!("{{\"command\":\"{name}\",\"{key}\":\"{topic}\"{more}}}")
        };
        let mut rows = vec![
            (command("publish", ",\"message\":\"x\""), "write", about),
            (command("subscribe", ""), "read", about),
            (command("unsubscribe", ""), "read", about),
        ];
        if key == "topic" {
            rows.extend([
                (command("create_topic", ""), "admin", about),
                (command("subscribe", &format!(",\"subscriber\":\"{topic}\"")), "read", about),
                (command("ack", ",\"subscriber\":\"s\",\"offset\":0"), "read", about),
                (command("unsubscribe", ",\"subscriber\":\"new\""), "read", about),
                (command("pull", ""), "read", about),
                (command("trim_topic", ",\"before\":0"), "admin", about),
                (command("delete_topic", ""), "admin", about),
                (command("query_topic", ""), "admin", about),
                (command("add_topic", ",\"host\":\"h\",\"port\":1"), "admin", about),
                (command("delete_topic", ",\"host\":\"h\",\"port\":1"), "admin", about),
                (command("something_new", ""), "admin", About::Broker),
                // A topic that stands beside such a command changes nothing.
                (command("list_peers", ""), "admin", About::Broker),
                (command("path", ""), "admin", About::Broker),
                (command("register_peer", ",\"host\":\"h\",\"port\":2"), "admin", About::Broker),
                (command("unregister_peer", ",\"host\":\"h\",\"port\":2"), "admin", About::Broker),
            ]);
        }
        rows
    };
    let others = ["register_peer", "unregister_peer", "told_topics", "list_peers", "path", "new"]
        .map(|name| format!("{{\"command\":\"{name}\",\"host\":\"h\",\"port\":1}}"))
        .map(|command| (command, "admin", About::Broker));
    let rows = [
        rows("topic", "a/x", true),
        rows("topic", "b", false),
        rows("channel", "a/x", true),
        rows("channel", "b", false),
        others.to_vec(),
    ];
    for (token, ..) in TOKENS {
        for (command, right, about) in rows.iter().flatten() {
            let mut raw = Raw::connect(&system.address());
            raw.send(format!("{{\"command\":\"auth\",\"token\":\"{token}\",\"topic\":\"\"}}"));
            assert!(raw.line().contains("Authenticated"));
            raw.send(command);
            raw.end_sending();
            let said = String::from_utf8(raw.rest()).unwrap();
            let is_refused = said.contains("this token may not do this");
            assert_eq!(is_refused, !may(token, right, *about), "{command} by {token}: {said}");
            if is_refused && command.contains("\"topic\"") {
                assert!(said.contains("\"code\":403"), "{said}");
            }
        }
    }
}

/// Whoever took the name would keep its topics from the one who may read them.
#[test]
fn a_name_with_topics_that_a_token_may_not_read_is_not_taken_over() {
    let Guarded { system, .. } = guarded();
    let mut boss = Raw::connect(&system.address());
    boss.send(r#"{"command":"auth","token":"all"}"#);
    for topic in ["a/x", "b"] {
        boss.send(format!(r#"{{"command":"subscribe","topic":"{topic}","subscriber":"boss"}}"#));
    }
    (0..3).for_each(|_| assert!(boss.line().contains("success")));
    let sent = |text: &str| {
        let mut raw = Raw::connect(&system.address());
        raw.send(text);
        raw.end_sending();
        String::from_utf8(raw.rest()).unwrap()
    };
    let auth = r#"{"command":"auth","token":"limited reader"}"#;
    for subject in [r#""topic":"a/x""#, r#""pattern":"**""#] {
        let said =
            sent(&format!(r#"{auth}{{"command":"subscribe",{subject},"subscriber":"boss"}}"#));
        assert!(said.contains("\"code\":403"), "{subject}: {said}");
    }
    let said = sent("AUTH limited reader\nSUBSCRIBE a/x boss\n");
    assert!(said.contains("ERROR this token may not do this"), "{said}");
    let events = "GET /events?topic=a/x&subscriber=boss";
    assert_eq!(status(&system, Some("limited reader"), events, ""), 403);
    let publish = r#"{"topic":"b","message":"still here"}"#;
    assert_eq!(status(&system, Some("all"), "POST /publish", publish), 200);
    let line = boss.line();
    assert!(line.contains("still here"), "{line}");
    // Nor can it acknowledge what that one has not read.
    let publish = r#"{"topic":"a/x","message":"unread"}"#;
    assert_eq!(status(&system, Some("all"), "POST /publish", publish), 200);
    let acknowledge = r#"{"command":"ack","topic":"a/x","subscriber":"boss","offset":0}"#;
    let said = sent(&format!("{auth}{acknowledge}"));
    assert!(said.contains("\"code\":403"), "{said}");
}

/// A reader could end what others are to be sent, by its topic or by a pattern.
#[test]
fn a_name_of_another_connection_is_ended_by_administrators_only() {
    let Guarded { system, .. } = guarded();
    let session = |token: &str, command: &str| {
        let mut raw = Raw::connect(&system.address());
        raw.send(format!(r#"{{"command":"auth","token":"{token}"}}{command}"#));
        assert!(raw.line().contains("Authenticated"));
        let line = raw.line();
        (raw, line)
    };
    for subject in [r#""topic":"a/x""#, r#""pattern":"a/*""#] {
        let subscribe = r#"{"command":"subscribe","topic":"a/x","subscriber":"boss"}"#;
        let (mut boss, line) = session("all", subscribe);
        assert!(line.contains("Subscribed"), "{line}");
        let end = format!(r#"{{"command":"unsubscribe",{subject},"subscriber":"boss"}}"#);
        let (_reader, line) = session("reader", &end);
        assert!(line.contains("\"code\":403"), "{subject}: {line}");
        let (_other, line) = session("all", &end);
        assert!(line.contains("Unsubscribed"), "{subject}: {line}");
        let line = boss.line();
        assert!(line.contains("\"event\":\"unsubscribed\""), "{subject}: {line}");
    }
}

#[test]
fn every_text_line_asks_for_its_right() {
    let Guarded { system, .. } = guarded();
    for (token, ..) in TOKENS {
        for (topic, is_chosen) in [("a/x", true), ("b", false)] {
            for (line, right) in [
                (format!("PUBLISH {topic} x ann"), "write"),
                (format!("SUBSCRIBE {topic} of-{topic}"), "read"),
                (format!("UNSUBSCRIBE {topic} new"), "read"),
            ] {
                let mut raw = Raw::connect(&system.address());
                raw.send(format!("AUTH {token}\n{line}\n"));
                raw.end_sending();
                let said = String::from_utf8(raw.rest()).unwrap();
                let is_refused = said.contains("ERROR this token may not do this");
                let expected = may(token, right, About::Topic(is_chosen));
                assert_eq!(is_refused, !expected, "{line} by {token}: {said}");
            }
        }
    }
}

/// Asks for something with a token.
fn get(system: &System, token: &str, target: &str) -> tests::raw::Answer {
    let mut raw = Raw::connect(&system.address());
    raw.send(format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
    ));
    raw.answer()
}

#[test]
fn lists_show_only_what_a_token_may_read() {
    let Guarded { system, .. } = guarded();
    for topic in ["a%2Fx", "b", "c"] {
        assert_eq!(status(&system, Some("all"), &format!("PUT /topics/{topic}"), ""), 201);
    }
    for (token, expected) in [
        ("all", &["a/x", "b", "c"][..]),
        ("limited reader", &["a/x", "c"]),
        ("limited", &["a/x", "c"]),
    ] {
        let answer = get(&system, token, "/topics");
        let list = answer.json();
        let mut names: Vec<_> = list
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|topic| topic.get("topic").and_then(Value::as_str))
            .collect();
        names.sort_unstable();
        assert_eq!(names, expected, "{token}");
    }
}

#[test]
fn options_name_the_methods_that_a_token_may_use() {
    let Guarded { system, .. } = guarded();
    let allow = |lines: &str, topic: &str| {
        let mut raw = Raw::connect(&system.address());
        let head = format!("OPTIONS /topics/{topic} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n");
        raw.send(head);
        raw.answer().field("allow").unwrap().to_owned()
    };
    let by = |token: &str, topic: &str| allow(&format!("Authorization: Bearer {token}\r\n"), topic);
    let all = "GET, HEAD, POST, PUT, DELETE, OPTIONS";
    assert_eq!(allow("", "b"), all, "who shows no token is told what there is");
    assert_eq!(by("all", "b"), all);
    assert_eq!(by("reader", "b"), "GET, HEAD, OPTIONS");
    assert_eq!(by("writer", "b"), "POST, OPTIONS");
    assert_eq!(by("boss", "b"), "PUT, DELETE, OPTIONS");
    assert_eq!(by("limited", "b"), "OPTIONS");
    assert_eq!(by("limited", "a%2Fb"), all);
}

/// A browser's `EventSource` can send no header.
#[test]
fn an_event_stream_and_nothing_else_takes_the_token_in_the_query() {
    let Guarded { system, .. } = guarded();
    for (target, expected) in [
        ("GET /events?topic=b&token=reader", 200),
        ("GET /events?token=reads%20and+writes&topic=b", 200),
        ("GET /events?topic=b&token=wrong", 401),
        ("GET /events?topic=b&token=limited", 403),
        ("GET /messages?topic=b&token=reader", 401),
        ("GET /topics?token=reader", 401),
        ("GET /metrics?token=reader", 401),
    ] {
        assert_eq!(status(&system, None, target, ""), expected, "{target}");
    }
    // The header wins.
    assert_eq!(status(&system, Some("wrong"), "GET /events?topic=b&token=reader", ""), 401);
}

#[test]
fn a_file_that_changes_counts_and_sessions_of_a_token_that_is_gone_end() {
    let Guarded { mut system, path, _folder } = guarded();
    let open = |token: &str| {
        let mut raw = Raw::connect(&system.address());
        raw.send(format!("{{\"command\":\"auth\",\"token\":\"{token}\",\"topic\":\"\"}}"));
        assert!(raw.line().contains("Authenticated"));
        raw.send("{\"command\":\"subscribe\",\"topic\":\"b\"}");
        assert!(raw.line().contains("Subscribed"));
        raw
    };
    let (mut gone, mut stays) = (open("reader"), open("all"));
    let mut text = Raw::connect(&system.address());
    text.send("AUTH reader\nSUBSCRIBE b ann\nnonsense\n");
    assert!(text.line().starts_with("ERROR expected"));
    let mut events = Raw::connect(&system.address());
    events.send("GET /events?topic=b&token=reader HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(events.stream_head().status, 200);
    let mut wait = Raw::connect(&system.address());
    wait.send(
        "GET /messages?topic=b&wait=60 HTTP/1.1\r\nHost: localhost\r\n\
         Authorization: Bearer reader\r\n\r\n",
    );

    fs::write(&path, "all\nnew\tread\n").unwrap();
    gone.end();
    text.end();
    while !events.rest().is_empty() {}
    let _ = wait.try_answer();
    assert_eq!(status(&system, Some("reader"), "GET /topics", ""), 401);
    assert_eq!(status(&system, Some("new"), "GET /topics", ""), 200);
    stays.send("{\"command\":\"publish\",\"topic\":\"b\",\"message\":\"x\"}");
    assert!(stays.line().contains("Message published"), "its token is still there");

    // What cannot be used changes nothing, and the operator is told.
    for (text, told) in [
        ("", "there is no token in it"),
        ("all\nnew\tred\n", "line 2: rights are read, write and admin"),
    ] {
        fs::write(&path, text).unwrap();
        wait_until(DEADLINE, told, || system.broker().errors().contains(told));
        assert_eq!(status(&system, Some("new"), "GET /topics", ""), 200);
        assert_eq!(status(&system, None, "GET /topics", ""), 401, "it is never open");
    }
    fs::remove_file(&path).unwrap();
    let told = "the file cannot be read";
    wait_until(DEADLINE, told, || system.broker().errors().contains(told));
    assert_eq!(status(&system, Some("new"), "GET /topics", ""), 200);
    fs::write(&path, "last\n").unwrap();
    wait_until(DEADLINE, "the last token", || {
        status(&system, Some("last"), "GET /topics", "") == 200
    });
    assert!(!system.broker().errors().contains("reader"), "no token is shown");
}

#[test]
fn what_a_token_may_not_do_is_in_the_log_without_the_token() {
    let folder = Folder::temporary("rights");
    folder.write("tokens.txt", "secret-reader\tread\n");
    let path = folder.path().join("tokens.txt");
    let flags = ["--token-file", path.to_str().unwrap(), "--log", "-"];
    let mut system = System::start_with(&flags);
    assert_eq!(status(&system, Some("secret-reader"), "DELETE /topics/t", ""), 403);
    let line = "asked \"DELETE /topics/t\" refused=403 ";
    wait_until(DEADLINE, line, || system.broker().output().contains(line));
    assert!(!system.broker().output().contains("secret"));
}
