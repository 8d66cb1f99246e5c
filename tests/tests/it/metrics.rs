//! The metrics, as Prometheus reads them.

use std::fs::File;
use std::process::Stdio;
use tests::raw::Raw;
use tests::wait::{DEADLINE, wait_until};
use tests::{Folder, System, publish_body, tools};

/// The value of one series.
#[track_caller]
fn value(system: &System, series: &str) -> f64 {
    let answer = system.get("/metrics");
    assert_eq!(answer.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    find(answer.text(), series).unwrap_or_else(|| panic!("no {series} in\n{}", answer.text()))
}

/// The value of a series, if there is such a one.
fn find(text: &str, series: &str) -> Option<f64> {
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map(|value| value.parse().unwrap())
}

#[test]
fn prometheus_has_nothing_to_say_against_the_metrics() {
    let Some(mut command) = tools::promtool() else { return };
    let system = System::start_with(&["--data", "data"]);
    system.publish("t\"\n\\".replace('\n', "").as_str(), "one");
    assert_eq!(system.get("/nothing").status, 404);
    let folder = Folder::temporary("metrics");
    folder.write("metrics", system.get("/metrics").body);
    let text = File::open(folder.path().join("metrics")).unwrap();
    let output = command.args(["check", "metrics"]).stdin(Stdio::from(text)).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn what_is_published_and_delivered_is_counted_once() {
    let system = System::start();
    let mut stream = Raw::connect(&system.address());
    stream.send("{\"command\":\"subscribe\",\"topic\":\"t\"}");
    wait_until(DEADLINE, "a subscription", || value(&system, "broker_subscriptions") == 1.0);
    system.publish("t", "zero");
    system.publish_batch("t", (1..10).map(|number| number.to_string()));
    assert_eq!(value(&system, "broker_messages_published_total"), 10.0);
    assert_eq!(value(&system, "broker_publish_duration_seconds_count"), 2.0);
    assert_eq!(value(&system, "broker_topics"), 1.0);
    assert!(value(&system, "broker_store_size_bytes") > 500.0);
    let delivered = || value(&system, "broker_messages_delivered_total");
    wait_until(DEADLINE, "a delivery", || delivered() == 10.0);
    assert_eq!(system.messages("t").len(), 10);
    assert_eq!(system.get("/messages?topic=t&from=3&limit=2").text(), "3\n4\n");
    assert_eq!(delivered(), 22.0);
}

#[test]
fn refusals_are_counted_whatever_the_door() {
    let system = System::start();
    // What was never refused is not there.
    let refused = |status: u16| {
        let series = format!("broker_refusals_total{{status=\"{status}\"}}");
        find(system.get("/metrics").text(), &series).unwrap_or_default()
    };
    assert_eq!(system.get("/nothing").status, 404);
    assert_eq!(refused(404), 1.0);
    let mut raw = Raw::connect(&system.address());
    raw.send("{\"command\":\"pull\",\"topic\":\"nothing\"}");
    wait_until(DEADLINE, "a refusal", || refused(404) == 2.0);
    // A gap, which is found when the publish is tried.
    let body = publish_body("t", "x");
    let body = String::from_utf8(body)
        .unwrap()
        .replace('}', r#","publisher":"a","epoch":1,"sequence":7}"#);
    assert_eq!(system.request("POST", "/publish", body).status, 409);
    assert_eq!(refused(409), 1.0);
    Raw::connect(&system.address()).send("PUBLISH\nPUBLISH x\n");
    wait_until(DEADLINE, "two lines that are none", || refused(400) >= 1.0);
}

#[test]
fn connections_are_counted_by_their_door() {
    let system = System::start();
    let open = |door| value(&system, &format!("broker_connections{{door=\"{door}\"}}"));
    let mut clients: Vec<_> = (0..5).map(|_| Raw::connect(&system.address())).collect();
    wait_until(DEADLINE, "five connections", || open("undecided") == 5.0);
    clients[0].send("{");
    clients[1].send("SUBSCRIBE a b\n");
    clients[2].send("GET");
    wait_until(DEADLINE, "three doors", || {
        [open("json"), open("text"), open("undecided")] == [1.0, 1.0, 2.0] && open("http") >= 2.0
    });
    clients.clear();
    wait_until(DEADLINE, "their ends", || {
        [open("json"), open("text"), open("undecided")] == [0.0, 0.0, 0.0]
    });
    assert_eq!(value(&system, "broker_connections_opened_total{door=\"json\"}"), 1.0);
}

#[test]
fn the_journal_is_measured_where_there_is_one() {
    let system = System::start_with(&["--data", "data"]);
    let empty = value(&system, "broker_journal_size_bytes");
    system.publish("t", "one");
    assert!(value(&system, "broker_journal_size_bytes") > empty);
    assert_eq!(value(&system, "broker_journal_healthy"), 1.0);
    assert!(value(&system, "broker_journal_commit_duration_seconds_count") >= 1.0);
    assert!(!System::start().get("/metrics").text().contains("journal"));
}

#[test]
fn metrics_are_for_those_with_the_token() {
    let folder = Folder::temporary("token");
    folder.write("token", "secret-1");
    let path = folder.path().join("token");
    let system = System::start_with(&["--token-file", path.to_str().unwrap()]);
    assert_eq!(system.get("/metrics").status, 401);
}
