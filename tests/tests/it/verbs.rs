//! The verbs of the broker: commands to a running broker.

use std::process::Output;
use tests::{Folder, System, program, tools};

/// Runs a verb on the broker at `address`.
fn broker(address: &str, arguments: &[&str]) -> Output {
    program::command("broker").args(arguments).args(["--broker", address]).output().unwrap()
}

/// What a verb that succeeds prints.
#[track_caller]
fn said(address: &str, arguments: &[&str]) -> String {
    let output = broker(address, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    assert!(output.stderr.is_empty(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The exit status of a verb that fails, and its one line.
#[track_caller]
fn failed(address: &str, arguments: &[&str]) -> (i32, String) {
    let output = broker(address, arguments);
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!((line.matches('\n').count(), output.stdout.len()), (1, 0), "{line}");
    (output.status.code().unwrap(), line)
}

#[test]
fn a_topic_is_created_listed_and_deleted() {
    let system = System::start();
    let address = &system.address();
    assert_eq!(said(address, &["topics"]), "");
    assert_eq!(said(address, &["create", "a b/ö"]), "created\n");
    assert_eq!(said(address, &["create", "a b/ö"]), "was there already\n");
    let bounded = said(address, &["create", "a b/ö", "--keep-messages", "none"]);
    assert_eq!(bounded, "was there already; its bounds are those given now\n");
    system.publish("t", "four");
    let lines = said(address, &["topics"]);
    let fields: Vec<Vec<&str>> = lines.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(fields.len(), 2, "{lines}");
    assert_eq!(fields[0], ["a b/ö", "0", "0", "0", "0", "-", "-", "-", "-"]);
    assert_eq!(fields[1][..5], ["t", "0", "1", "1", "5"]);
    assert!(fields[1][5].starts_with("20"), "the time of its last message: {lines}");
    let json = said(address, &["topics", "--json"]);
    assert_eq!(json, system.request("GET", "/topics", "").text());
    assert_eq!(said(address, &["delete", "a b/ö"]), "deleted\n");
    let (status, line) = failed(address, &["delete", "a b/ö"]);
    assert_eq!(status, 1);
    assert!(line.contains("a b/ö") && line.contains("404"), "{line}");
}

#[test]
fn what_is_missing_or_too_much_is_wrong_usage() {
    for (arguments, says) in [
        (&["create", ""][..], "create needs the name of a topic"),
        (&["forget", ""], "forget needs the name of a subscriber"),
        (&["delete", "a", "b"], "unexpected argument \"b\""),
        (&["verify"], "verify needs the directory of a journal"),
        (&["promote", ""], "promote needs the directory of a journal"),
        (&["repair", "a", "b"], "unexpected argument \"b\""),
        (&["--data", ""], "flag --data needs a value: --data=<directory>"),
    ] {
        let (status, line) = failed("localhost:9", arguments);
        assert_eq!((status, line.contains(says)), (2, true), "{arguments:?}: {line}");
    }
}

#[test]
fn a_topic_is_bound_and_trimmed() {
    let system = System::start();
    let address = &system.address();
    assert_eq!(said(address, &["create", "t", "--keep-for", "7d"]), "created\n");
    system.publish_batch("t", ["1", "2", "3", "4", "5"].into_iter());
    let fields = |line: String| line.trim_end().split('\t').map(str::to_owned).collect::<Vec<_>>();
    let kept = fields(said(address, &["keep", "t", "--keep-messages", "4", "--keep-bytes", "1M"]));
    assert_eq!(kept[..5], ["t", "1", "5", "4", "8"]);
    assert_eq!(kept[6..], ["4", "1048576", "7d"]);
    let kept = fields(said(address, &["keep", "t", "--keep-messages", "none"]));
    assert_eq!(kept[6..], ["-", "1048576", "7d"]);
    let trimmed = fields(said(address, &["trim", "t", "--before", "3"]));
    assert_eq!(trimmed[..5], ["t", "3", "5", "2", "4"]);
    let json = said(address, &["trim", "t", "--before=4", "--json"]);
    assert!(json.contains("\"first\":4"), "{json}");
    let (status, line) = failed(address, &["keep", "mistyped", "--keep-messages=1"]);
    assert!(status == 1 && line.contains("404"), "{line}");
    assert!(!said(address, &["topics"]).contains("mistyped"), "it is not created");
    let (status, line) = failed(address, &["keep", "t", "--keep-for=soon"]);
    assert!(status == 1 && line.contains("keep_for"), "{line}");
}

#[test]
fn a_person_reads_a_table() {
    let system = System::start();
    system.publish("t", "four");
    let path = program::command("broker").get_program().to_str().unwrap().to_owned();
    let line = format!("{path} topics --broker {}", system.address());
    let Some(mut terminal) = tools::terminal(&line) else { return };
    let output = terminal.output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = output.lines().map(|line| line.trim_end()).collect();
    assert!(lines[0].starts_with("TOPIC  FIRST  NEXT  MESSAGES  "), "{output}");
    assert!(lines[1].starts_with("t      0      1     1         "), "{output}");
}

#[test]
fn health_is_told_by_the_exit_status() {
    let mut system = System::reserve();
    let address = system.address();
    let (status, line) = failed(&address, &["health"]);
    assert_eq!(status, 1);
    assert!(line.contains(&address), "{line}");
    system.start_broker();
    assert_eq!(said(&address, &["health"]), "ok\n");
}

#[test]
fn a_verb_sends_the_token_that_the_environment_holds() {
    let folder = Folder::temporary("token");
    folder.write("token", "secret-1\n");
    let path = folder.path().join("token");
    let system = System::start_with(&["--token-file", path.to_str().unwrap()]);
    let address = &system.address();
    let (status, line) = failed(address, &["topics"]);
    assert_eq!(status, 1);
    assert!(line.contains("set BROKER_TOKEN"), "{line}");
    let mut command = program::command("broker");
    command.args(["create", "t", "--broker", address]).env("BROKER_TOKEN", "secret-1");
    assert_eq!(command.output().unwrap().stdout, b"created\n");
    assert_eq!(said(address, &["health"]), "ok\n", "health needs no token");
}

#[test]
fn what_does_not_go_with_a_verb_is_named() {
    for (arguments, reason) in [
        (&["create"][..], "create needs the name of a topic"),
        (&["keep", "t"], "keep needs --keep-messages"),
        (&["trim", "t"], "trim needs --before"),
        (&["delete", "t", "--keep-messages", "1"], "--keep-messages does not work with delete"),
        (&["health", "now"], "unexpected argument \"now\""),
        (&["fly"], "unexpected argument \"fly\""),
        (&["topics", "--data", "d"], "--data does not work with topics"),
        (&["--json"], "--json needs a verb"),
        (&["promote", "--dry-run", "d"], "--dry-run does not work with promote"),
        (&["verify", "d", "--data", "d"], "--data does not work with verify"),
        (&["--dry-run"], "--dry-run needs repair"),
        (&["--segment", "1M"], "--segment needs --data"),
        (&["--keep-for", "0s"], "--keep-for cannot be \"0s\""),
    ] {
        let output = program::command("broker").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let line = String::from_utf8(output.stderr).unwrap();
        assert!(line.contains(reason), "{arguments:?}: {line}");
    }
}
