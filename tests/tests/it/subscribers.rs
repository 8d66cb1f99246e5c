//! Lasting subscriptions as operators look after them: who is subscribed, how far behind, and how
//! that ends.

use common::json::Value;
use tests::raw::{Raw, metric};
use tests::wait::{DEADLINE, wait_until};
use tests::{Folder, System, program};

/// Sends a command of the dialect of topics, and gives its answer.
#[track_caller]
fn ask(raw: &mut Raw, command: &str) -> String {
    raw.send(command);
    raw.line()
}

/// A connection that has subscribed to a topic under a name, from offset 0 if that is new.
#[track_caller]
fn subscribed(system: &System, name: &str, topic: &str) -> (Raw, u64) {
    let mut raw = Raw::connect(&system.address());
    let command =
        format!(r#"{{"command":"subscribe","topic":"{topic}","subscriber":{name:?},"from":0}}"#);
    let answer = ask(&mut raw, &command);
    let answer = common::json::parse(answer.as_bytes()).unwrap();
    (raw, answer.get("next").and_then(Value::as_u64).unwrap())
}

/// What `GET /subscribers` says of each: subscriber, topic, next, lag, and whether it is connected.
#[track_caller]
fn listed(system: &System, query: &str) -> Vec<String> {
    let answer = system.get(&format!("/subscribers{query}"));
    assert_eq!(answer.status, 200);
    let line = |item: &Value<'_>| {
        let text = |key| item.get(key).and_then(Value::as_str).unwrap();
        let [next, lag, seen] =
            ["next", "lag", "last_seen"].map(|key| item.get(key).and_then(Value::as_u64).unwrap());
        let now = common::clock::unix_milliseconds();
        assert!(seen <= now && now - seen < 600_000, "{seen} is not just before {now}");
        assert!(text("stream").len() == 16);
        let connected = matches!(item.get("connected"), Some(Value::Bool(true)));
        format!("{} {} {next} {lag} {connected}", text("subscriber"), text("topic"))
    };
    answer.json().as_array().unwrap().iter().map(line).collect()
}

#[test]
fn an_operator_sees_who_is_subscribed_and_how_far_behind() {
    let mut system = System::start_with(&["--data", "data"]);
    system.publish_batch("a", ["1", "2", "3"].iter());
    let (mut ann, _) = subscribed(&system, "ann", "a");
    let (_bob, _) = subscribed(&system, "bob \"b\"", "b");
    for _ in 0..3 {
        ann.line();
    }
    let acknowledge = r#"{"command":"ack","topic":"a","subscriber":"ann","offset":0}"#;
    assert!(ask(&mut ann, acknowledge).contains("success"));
    let mut text = Raw::connect(&system.address());
    text.send("SUBSCRIBE a ann2\nUNSUBSCRIBE nothing ann2\nEND\n");
    assert!(text.line().starts_with("ERROR "), "all was handled");
    system.publish("a", "4");
    assert!(text.line().starts_with("DELIVER a 4"));
    let all = ["ann a 1 3 true", "ann2 a 4 0 true", "bob \"b\" b 0 0 true"];
    wait_until(DEADLINE, "what was written to be acknowledged", || listed(&system, "") == all);
    assert_eq!(listed(&system, "?subscriber=ann"), all[..1]);
    assert_eq!(listed(&system, "?topic=b"), all[2..]);
    let lag = |labels: &str| {
        metric(&system.address(), &format!("broker_subscription_lag_messages{{{labels}}}"))
    };
    assert_eq!(lag(r#"subscriber="ann",topic="a""#), 3.0);
    assert_eq!(lag(r#"subscriber="bob \"b\"",topic="b""#), 0.0);
    // What was let go comes no more.
    assert_eq!(system.request("DELETE", "/topics/a/messages?before=2", "").status, 200);
    assert_eq!(listed(&system, "?subscriber=ann"), ["ann a 1 2 true"]);
    drop((ann, text));
    let gone = || listed(&system, "?topic=a") == ["ann a 1 2 false", "ann2 a 4 0 false"];
    wait_until(DEADLINE, "two to be gone", gone);
    // Acknowledgements are kept within a second or so.
    std::thread::sleep(std::time::Duration::from_secs(2));
    system.restart_broker();
    let all = ["ann a 1 2 false", "ann2 a 4 0 false", "bob \"b\" b 0 0 false"];
    assert_eq!(listed(&system, ""), all);
    assert_eq!(system.request("DELETE", "/topics/a", "").status, 204);
    assert_eq!(listed(&system, ""), all[2..], "they are gone with their topic");
}

#[test]
fn whoever_loses_a_lasting_subscription_is_told() {
    let system = System::start();
    let event = "{\"event\":\"unsubscribed\",\"topic\":\"a\",\"subscriber\":\"ann\"}";
    let (mut first, _) = subscribed(&system, "ann", "a");
    let (mut second, _) = subscribed(&system, "ann", "a");
    assert_eq!(first.line(), event);
    assert_eq!(system.request("DELETE", "/subscribers/ann", "").status, 204);
    assert_eq!(second.line(), event);
    assert_eq!(system.request("DELETE", "/subscribers/ann", "").status, 404);
    let mut text = Raw::connect(&system.address());
    text.send("SUBSCRIBE a bob\nSUBSCRIBE b bob\n");
    wait_until(DEADLINE, "both", || listed(&system, "?subscriber=bob").len() == 2);
    assert_eq!(system.request("DELETE", "/subscribers/bob?topic=b", "").status, 204);
    assert_eq!(text.line(), "ERROR bob is not subscribed to b here any more");
    assert_eq!(listed(&system, ""), ["bob a 0 0 true"]);
    // What it ends itself, and what is gone with the topic, it is not told of.
    let unsubscribe = r#"{"command":"unsubscribe","topic":"a","subscriber":"ann"}"#;
    subscribed(&system, "ann", "a");
    let (mut third, _) = subscribed(&system, "ann", "a");
    assert!(ask(&mut third, unsubscribe).contains("success"));
    system.publish("a", "1");
    assert!(text.line().starts_with("DELIVER a 1"));
    assert!(third.is_silent() && first.is_silent() && second.is_silent());
}

/// The place before it is far behind that at which it begins again.
#[test]
fn an_end_by_an_operator_is_on_disk_before_it_is_answered() {
    let mut system = System::start_with(&["--data", "data"]);
    system.publish_batch("t", (0..80).map(|number| number.to_string()));
    for round in 0..6 {
        let (mut raw, next) = subscribed(&system, "ann", "t");
        assert_eq!(next, 0, "round {round}");
        assert!((0..80).all(|_| raw.line().contains("message")));
        let acknowledge = r#"{"command":"ack","topic":"t","subscriber":"ann","offset":69}"#;
        assert!(ask(&mut raw, acknowledge).contains("success"));
        std::thread::sleep(std::time::Duration::from_millis(250 * round));
        assert_eq!(system.request("DELETE", "/subscribers/ann", "").status, 204);
        system.restart_broker();
        assert_eq!(listed(&system, ""), [""; 0], "round {round}");
    }
}

#[test]
fn those_who_are_away_for_long_are_forgotten() {
    // With a cluster it takes two hours more.
    let arguments = ["--data", "data", "--forget-subscribers", "2s"];
    let mut system = System::reserve_with(&arguments).alone();
    system.start_broker();
    let (here, _) = subscribed(&system, "here", "t");
    let (away, _) = subscribed(&system, "away", "t");
    drop(away);
    wait_until(DEADLINE, "one to be forgotten", || listed(&system, "") == ["here t 0 0 true"]);
    system.restart_broker();
    drop(here);
    // Who was connected before has the time to come back.
    let (_here, _) = subscribed(&system, "here", "t");
    std::thread::sleep(std::time::Duration::from_secs(4));
    assert_eq!(listed(&system, ""), ["here t 0 0 true"]);
    system.restart_broker();
    wait_until(DEADLINE, "nobody to be left", || listed(&system, "").is_empty());
    system.restart_broker();
    assert!(listed(&system, "").is_empty());
}

#[test]
fn only_administrators_end_the_subscriptions_of_others() {
    let folder = Folder::temporary("rights");
    folder.write("tokens", "boss\tadmin,read\ta*\nreader\tread\nall\n");
    let path = folder.path().join("tokens");
    let system = System::start_with(&["--token-file", path.to_str().unwrap()]);
    let session = |token: &str| {
        let mut raw = Raw::connect(&system.address());
        assert!(
            ask(&mut raw, &format!(r#"{{"command":"auth","token":"{token}"}}"#))
                .contains("success")
        );
        raw
    };
    let subscribe =
        |topic: &str| format!(r#"{{"command":"subscribe","topic":"{topic}","subscriber":"ann"}}"#);
    let unsubscribe = |topic: &str| {
        format!(r#"{{"command":"unsubscribe","topic":"{topic}","subscriber":"ann"}}"#)
    };
    let mut ann = session("reader");
    for topic in ["a1", "a2", "b"] {
        assert!(ask(&mut ann, &subscribe(topic)).contains("success"));
    }
    let mut other = session("reader");
    assert!(ask(&mut other, &unsubscribe("a1")).contains("\"code\":403"));
    let mut text = Raw::connect(&system.address());
    text.send("AUTH reader\nUNSUBSCRIBE a1 ann\n");
    assert!(text.line().contains("'admin'"));
    assert!(ask(&mut ann, &unsubscribe("a1")).contains("success"), "its own");
    let request = |token: &str, method: &str, target: &str| {
        let mut raw = Raw::connect(&system.address());
        let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n");
        raw.send(format!("{head}Authorization: Bearer {token}\r\n\r\n"));
        let answer = raw.answer();
        (answer.status, answer.text().to_owned())
    };
    assert_eq!(request("reader", "DELETE", "/subscribers/ann").0, 403);
    let (status, list) = request("boss", "GET", "/subscribers");
    assert!(status == 200 && list.contains("\"a2\"") && !list.contains("\"b\""), "{list}");
    let metrics = request("boss", "GET", "/metrics").1;
    assert!(metrics.contains("topic=\"a2\"") && !metrics.contains("topic=\"b\""), "{metrics}");
    assert_eq!(request("boss", "DELETE", "/subscribers/ann?topic=b").0, 404);
    assert_eq!(request("boss", "DELETE", "/subscribers/ann").0, 204);
    let left = request("all", "GET", "/subscribers").1;
    assert!(!left.contains("\"a2\"") && left.contains("\"b\""), "what it may not end goes on");
    assert!(ask(&mut session("all"), &unsubscribe("b")).contains("success"));
}

#[test]
fn verbs_list_and_end_lasting_subscriptions() {
    let system = System::start();
    let (_ann, _) = subscribed(&system, "ann", "a/b c");
    system.publish("a/b c", "1");
    let said = |arguments: &[&str]| {
        let mut command = program::command("broker");
        let output = command.args(arguments).args(["--broker", &system.address()]).output();
        let output = output.unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    };
    let (status, lines) = said(&["subscribers"]);
    let fields: Vec<&str> = lines.trim_end().split('\t').collect();
    assert_eq!((status, &fields[..5]), (0, &["ann", "a/b c", "0", "1", "true"][..]));
    assert!(fields[5].starts_with("20"), "{lines}");
    let (_, json) = said(&["subscribers", "--json"]);
    assert!(json.contains("\"subscriber\":\"ann\",\"topic\":\"a/b c\",\"next\":0,"), "{json}");
    let (status, line) = said(&["forget", "bob"]);
    assert!(status == 1 && line.contains("'bob'") && line.lines().count() == 1, "{line}");
    assert_eq!(said(&["forget", "ann"]), (0, "ended\n".to_owned()));
    assert_eq!(said(&["subscribers"]), (0, String::new()));
    assert_eq!(said(&["forget"]).0, 2);
}

#[test]
fn a_full_memory_is_told_until_there_is_room() {
    let mut system = System::reserve_with(&["--max-memory", "300000"]).alone();
    system.start_broker();
    let ready = || system.get("/readyz");
    system.publish("small", "x");
    assert_eq!(ready().status, 200);
    let mut raw = Raw::connect(&system.address());
    let mut publish = |size: usize| {
        raw.request("POST", "/topics/large", "x".repeat(size));
        raw.answer().status
    };
    assert_eq!(publish(400_000), 507);
    assert_eq!(ready().status, 200, "that never fits, and others do");
    while publish(10_000) == 200 {}
    let answer = ready();
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("memory for messages is full"), "{}", answer.text());
    assert_eq!(system.get("/livez").status, 200);
    assert_eq!(system.request("DELETE", "/topics/large/messages?before=2", "").status, 200);
    assert_eq!(ready().status, 200);
    assert_eq!(publish(10_000), 200);
}
