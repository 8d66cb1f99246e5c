//! The log: who did what, and how it ended.

use crate::brokers::{ask, succeed};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use tests::raw::Raw;
use tests::wait::{DEADLINE, wait_until};
use tests::{Folder, System};

/// The lines of a broker's log file without their times and ports.
fn lines(broker: &mut System) -> Vec<String> {
    let text = String::from_utf8(broker.broker().folder().read("log.txt")).unwrap();
    let action = |line: &str| {
        let (date, rest) = line.split_at_checked("2026-11-21 05:20:07.341Z ".len()).unwrap();
        assert!(date.ends_with("Z ") && date.is_ascii(), "{line}");
        let (client, rest) = rest.split_once(' ').unwrap();
        assert!(client.starts_with("127.0.0.1:"), "{line}");
        rest.to_owned()
    };
    text.lines().map(action).collect()
}

#[test]
fn every_action_is_a_line_that_nobody_can_forge() {
    let mut broker = System::start_with(&["--log", "log.txt"]);
    succeed(&broker, "{\"command\":\"create_topic\",\"topic\":\"a\"}");
    ask(&broker, "{\"command\":\"create_topic\",\"topic\":\"a\"}");
    let mut raw = Raw::connect(&broker.address());
    raw.send("{\"command\":\"subscribe\",\"topic\":\"\u{e9}\\\" ok\"}");
    raw.line();
    raw.end_sending();
    raw.end();
    broker.publish_batch("a", ["one", "two"].iter());
    assert_eq!(broker.request("DELETE", "/topics/a", "").status, 204);
    let peer = "\"host\":\"peer\",\"port\":1";
    let mut raw = Raw::connect(&broker.address());
    raw.send(format!("{{\"command\":\"register_peer\",{peer},\"present\":true}}"));
    raw.line();
    raw.end_sending();
    raw.end();
    succeed(&broker, &format!("{{\"command\":\"unregister_peer\",{peer}}}"));
    let expected = [
        r#"created "a" ok"#,
        r#"created "a" refused=409 "Topic already exists""#,
        r#"subscribed "\u00e9\" ok" ok"#,
        r#"unsubscribed "\u00e9\" ok" ok"#,
        r#"published "a" messages=2 offset=0 ok"#,
        r#"deleted "a" ok"#,
        r#"registered "peer:1" ok"#,
        r#"away "peer:1" ok"#,
        r#"unregistered "peer:1" ok"#,
    ];
    wait_until(DEADLINE, "the log", || lines(&mut broker).len() >= expected.len());
    assert_eq!(lines(&mut broker), expected);
}

/// What was tried in vain is what an operator looks for first.
#[test]
fn what_is_refused_is_a_line_too() {
    let mut broker = {
        let folder = Folder::temporary("token");
        folder.write("token.txt", "a-secret");
        let path = folder.path().join("token.txt");
        System::start_with(&["--token-file", path.to_str().unwrap(), "--log", "log.txt"])
    };
    let ask = |target: &str, lines: &str| {
        let mut raw = Raw::connect(&broker.address());
        raw.send(format!("GET {target} HTTP/1.1\r\n{lines}\r\n"));
        raw.answer().status
    };
    let host = "Host: localhost\r\n";
    assert_eq!(ask("/messages?topic=t&token=secret", host), 401);
    assert_eq!(ask("/topics", &format!("{host}Authorization: Bearer guess\r\n")), 401);
    assert_eq!(ask("/topics", &format!("{host}Origin: http://example.net\r\n")), 403);
    assert_eq!(ask("/", "Host: example.net\r\n"), 421);
    let mut raw = Raw::connect(&broker.address());
    raw.send("{\"command\":\"auth\",\"token\":\"guess\"}");
    raw.line();
    raw.send("{\"command\":\"auth\",\"token\":\"a-secret\"}");
    raw.line();
    raw.send("{\"command\":\"subscribe\",\"topic\":\"t\",\"from\":7}");
    assert!(raw.line().contains("past the end"));
    raw.send("{\"command\":\"SUBSCRIBE\",\"channel\":\"\\n\"}");
    raw.line();
    let expected = [
        "asked \"GET /messages\" refused=401 ",
        "asked \"GET /topics\" refused=401 ",
        "asked \"GET /topics\" refused=403 ",
        "asked \"GET /\" refused=421 ",
        "authenticated \"json\" refused=401 ",
        "authenticated \"json\" ok",
        "subscribed \"t\" refused=416 ",
    ];
    wait_until(DEADLINE, "the log", || lines(&mut broker).len() >= expected.len());
    for (line, expected) in lines(&mut broker).iter().zip(expected) {
        assert!(line.starts_with(expected), "{line:?} is not {expected:?}");
    }
    assert!(!lines(&mut broker).concat().contains("secret"), "no token is in the log");
}

#[test]
fn reads_are_lines_where_they_are_asked_for() {
    for (flags, expected) in [
        (&["--log", "log.txt"][..], &[][..]),
        (
            &["--log", "log.txt", "--log-reads"],
            &["read \"t\" messages=2 offset=1 ok", "read \"t\" messages=3 offset=0 ok"],
        ),
    ] {
        let mut broker = System::start_with(flags);
        broker.publish_batch("t", ["a", "b", "c"].iter());
        assert_eq!(broker.get("/messages?topic=t&from=1").status, 200);
        succeed(&broker, "{\"command\":\"pull\",\"topic\":\"t\"}");
        broker.publish("u", "last");
        let last = "published \"u\" messages=1 offset=0 ok";
        wait_until(DEADLINE, "the log", || {
            lines(&mut broker).last().is_some_and(|line| line == last)
        });
        let reads: Vec<_> =
            lines(&mut broker).into_iter().filter(|line| line.starts_with("read")).collect();
        assert_eq!(reads, expected);
    }
}

/// What `logrotate` does.
#[test]
fn a_file_that_was_moved_away_is_followed_by_a_new_one() {
    let mut broker = System::start_with(&["--log", "log.txt"]);
    let folder = broker.broker().folder().path().to_owned();
    let (path, moved) = (folder.join("log.txt"), folder.join("log.txt.1"));
    broker.publish("t", "one");
    wait_until(DEADLINE, "the first line", || lines(&mut broker).len() == 1);
    fs::rename(&path, &moved).unwrap();
    wait_until(DEADLINE, "a new file", || path.exists());
    broker.publish("t", "two");
    wait_until(DEADLINE, "the line in it", || lines(&mut broker).len() == 1);
    assert!(lines(&mut broker).concat().contains("offset=1"));
    assert!(fs::read_to_string(moved).unwrap().contains("offset=0"));
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path) & !0o640, 0, "others may not read it");
}

#[test]
fn a_file_that_an_older_version_made_is_closed_to_others() {
    let folder = Folder::temporary("log");
    folder.write("log.txt", "");
    let path = folder.path().join("log.txt");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let broker = System::start_with(&["--log", path.to_str().unwrap()]);
    broker.publish("t", "one");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
}

/// A pipe whose reader is not there yet.
#[test]
fn a_pipe_without_a_reader_does_not_hang_the_start() {
    let folder = Folder::temporary("pipe");
    let path = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let broker = System::start_with(&["--log", path.to_str().unwrap()]);
    broker.publish("t", "one");
    let mut reader = BufReader::new(File::open(&path).unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.ends_with("published \"t\" messages=1 offset=0 ok\n"), "{line}");
}

#[test]
fn a_peer_that_registers_again_and_again_goes_away_once() {
    let mut broker = System::start_with(&["--log", "log.txt"]);
    let mut raw = Raw::connect(&broker.address());
    let register =
        |port| format!(r#"{{"command":"register_peer","host":"a","port":{port},"present":true}}"#);
    raw.send(register(1).repeat(3) + &register(2));
    raw.send(r#"{"command":"unregister_peer","host":"a","port":2}"#);
    raw.end_sending();
    while !raw.line().contains("unregistered") {}
    raw.end();
    let registered = r#"registered "a:1" ok"#;
    let expected = [
        registered,
        registered,
        registered,
        r#"registered "a:2" ok"#,
        r#"unregistered "a:2" ok"#,
        r#"away "a:1" ok"#,
    ];
    wait_until(DEADLINE, "the log", || lines(&mut broker).len() >= expected.len());
    assert_eq!(lines(&mut broker), expected);
}

#[test]
fn what_is_forwarded_says_where_to() {
    let hub = System::start();
    let mut leaf = System::start_with(&["--upstream", &hub.address(), "--log", "-"]);
    leaf.publish("t", "one");
    let line = format!("forwarded \"t\" to=\"{}\" messages=1 offset=0 ok\n", hub.address());
    wait_until(DEADLINE, "the log", || leaf.broker().output().ends_with(&line));
}

#[test]
fn a_log_that_cannot_be_written_keeps_nobody_from_publishing() {
    let mut broker = System::start_with(&["--log", "/dev/full"]);
    broker.publish("t", "one");
    let told = "the log cannot be written";
    wait_until(DEADLINE, told, || broker.broker().errors().contains(told));
    broker.publish("t", "two");
    assert_eq!(broker.messages("t"), ["one", "two"]);
}
