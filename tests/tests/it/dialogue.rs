//! Lines that people type, and the answers of a broker.

use common::json::{self, Value};
use tests::raw::Raw;
use tests::wait::{DEADLINE, wait_until};
use tests::{Folder, Process, System, program, tools};

/// A subscriber that is subscribed to these topics.
fn subscriber(system: &System, id: &str, topics: &[&str]) -> Process {
    let mut subscriber = system.run_with_input("subscriber", &[id]);
    for topic in topics {
        let before = listeners(system, topic);
        subscriber.write(&format!("subscribe {topic}\n"));
        wait_until_listened_to(system, topic, before + 1);
    }
    subscriber
}

/// How many connections are subscribed to a topic, as whoever joins them is told.
fn listeners(system: &System, topic: &str) -> u64 {
    let mut session = Raw::connect(&system.address());
    session.send(format!(r#"{{"command":"SUBSCRIBE","channel":"{topic}"}}"#));
    let line = session.line();
    let answer = json::parse(line.as_bytes()).unwrap();
    session.send(format!(r#"{{"command":"UNSUBSCRIBE","channel":"{topic}"}}"#));
    while !session.line().contains("UNSUBSCRIBE") {}
    answer.get("count").and_then(Value::as_u64).unwrap() - 1
}

#[track_caller]
fn wait_until_listened_to(system: &System, topic: &str, count: u64) {
    let what = format!("{count} subscribers of {topic}");
    wait_until(DEADLINE, &what, || listeners(system, topic) == count);
}

/// Waits until a subscriber has printed exactly these; each has a date behind it.
#[track_caller]
fn assert_delivered(subscriber: &Process, expected: &[&str]) {
    let what = format!("{expected:?}");
    wait_until(DEADLINE, &what, || subscriber.lines().len() >= expected.len());
    let undated = |line: &str| {
        let line = line.strip_prefix(">> DELIVER ").unwrap_or_else(|| panic!("{line:?}"));
        let (rest, date) = line.split_at(line.len() - " 1970-01-01 00:00:00".len());
        let digits = date.chars().map(|c| if c.is_ascii_digit() { '0' } else { c });
        assert_eq!(digits.collect::<String>(), " 0000-00-00 00:00:00", "{line:?}");
        rest.to_owned()
    };
    let delivered: Vec<_> = subscriber.lines().iter().map(|line| undated(line)).collect();
    assert_eq!(delivered, expected);
}

#[test]
fn what_one_types_the_other_reads() {
    let system = System::start();
    let mut bob = subscriber(&system, "bob", &["news", "sport"]);
    let mut ann = system.run_with_input("publisher", &["ann"]);
    ann.write("news two  words\n");
    assert_delivered(&bob, &["news two  words ann"]);
    ann.write("sport 2:1 \u{26bd}\r\nweather rain\n");
    assert_delivered(&bob, &["news two  words ann", "sport 2:1 \u{26bd} ann"]);

    bob.write("unsubscribe news\n");
    wait_until_listened_to(&system, "news", 0);
    ann.write("news unheard\nsport heard\n");
    assert_delivered(&bob, &["news two  words ann", "sport 2:1 \u{26bd} ann", "sport heard ann"]);
    ann.end_input();
    ann.succeed();
    assert_eq!((ann.output(), ann.errors()), (String::new(), String::new()));
    assert_eq!(bob.errors(), "");
    assert_eq!(system.messages("weather"), ["rain"]);
}

/// Other programs rely on nothing but these lines.
#[test]
fn programs_and_plain_sockets_understand_each_other() {
    let system = System::start();
    let mut plain = Raw::connect(&system.address());
    plain.send("SUBSCRIBE t carl\n");
    wait_until_listened_to(&system, "t", 1);
    let bob = subscriber(&system, "bob", &["t"]);
    let mut ann = system.run_with_input("publisher", &["ann"]);
    ann.write("t from a program\n");
    assert_delivered(&bob, &["t from a program ann"]);
    assert!(plain.line().starts_with("DELIVER t from a program ann "));
    plain.send("PUBLISH t from a socket carl\n");
    assert_delivered(&bob, &["t from a program ann", "t from a socket carl"]);
    assert!(plain.line().starts_with("DELIVER t from a socket carl "));
}

#[test]
fn what_is_published_while_a_subscriber_is_away_is_kept_for_it() {
    let system = System::start();
    let mut bob = subscriber(&system, "bob", &["t"]);
    bob.kill();
    wait_until_listened_to(&system, "t", 0);
    system.publish("t", "missed");
    // Any subscription brings the others back.
    let bob = subscriber(&system, "bob", &["u"]);
    assert_delivered(&bob, &["t missed -"]);
    system.publish("u", "live");
    assert_delivered(&bob, &["t missed -", "u live -"]);
}

#[test]
fn a_subscription_is_ended_through_a_pipe() {
    let system = System::start();
    let mut bob = subscriber(&system, "bob", &["t"]);
    bob.kill();
    wait_until_listened_to(&system, "t", 0);
    let mut end = system.run_with_input("subscriber", &["bob"]);
    end.write("unsubscribe t\n");
    end.end_input();
    end.succeed();
    assert_eq!((end.output(), end.errors()), (String::new(), String::new()));
    system.publish("t", "unheard");
    let bob = subscriber(&system, "bob", &["u"]);
    system.publish("u", "heard");
    assert_delivered(&bob, &["u heard -"]);
}

#[test]
fn a_subscriber_goes_on_after_a_restart_of_the_broker() {
    for arguments in [&["--data", "data"][..], &[]] {
        let mut system = System::reserve_with(arguments);
        system.start_broker();
        let mut bob = subscriber(&system, "bob", &["t", "u"]);
        system.publish("t", "before");
        assert_delivered(&bob, &["t before -"]);
        system.kill_broker();
        bob.write("unsubscribe u\n");
        system.start_broker();
        wait_until_listened_to(&system, "t", 1);
        wait_until_listened_to(&system, "u", 0);
        system.publish("u", "unheard");
        system.publish("t", "after");
        wait_until(DEADLINE, "what came after", || bob.output().contains("DELIVER t after - "));
        // How far a name has read is kept on disk lazily: a crash may repeat some.
        assert!(bob.output().lines().count() <= 3, "{}", bob.output());
        assert!(!bob.output().contains("unheard"), "{}", bob.output());
    }
}

#[test]
fn a_publisher_goes_on_after_a_restart_of_the_broker() {
    let mut system = System::reserve_with(&["--data", "data"]);
    system.start_broker();
    let mut ann = system.run_with_input("publisher", &["ann"]);
    ann.write("t one\n");
    wait_until(DEADLINE, "the first line", || system.messages("t") == ["one"]);
    system.kill_broker();
    ann.write("t two\nt three\n");
    ann.end_input();
    system.start_broker();
    ann.succeed();
    assert_eq!(system.messages("t"), ["one", "two", "three"]);
}

/// The end of input ends a publisher when all is acknowledged, and not before.
#[test]
fn lines_from_a_pipe_are_all_there_when_the_publisher_has_ended() {
    const COUNT: usize = 20_000;
    let system = System::start();
    let mut ann = system.run_with_input("publisher", &["ann"]);
    let lines: String = (0..COUNT).map(|number| format!("t{} {number}\n", number % 3)).collect();
    ann.write(&lines);
    ann.end_input();
    ann.succeed();
    for topic in 0..3 {
        let expected: Vec<_> =
            (0..COUNT).filter(|number| number % 3 == topic).map(|it| it.to_string()).collect();
        assert!(system.messages(&format!("t{topic}")) == expected, "t{topic}");
    }
}

#[test]
fn a_line_that_is_refused_is_told_and_the_others_are_published() {
    let system = System::start_with(&["--max-message", "100"]);
    let mut ann = system.run_with_input("publisher", &["ann"]);
    ann.write(&format!("t one\nhello\n\nt {}\nt two\n", "x".repeat(101)));
    ann.end_input();
    assert_eq!(ann.wait().code(), Some(1));
    let errors = ann.errors();
    assert_eq!(errors.lines().count(), 3, "{errors}");
    for words in ["write <TOPIC> <MESSAGE>", "the limit is 100", "2 lines were not published"] {
        assert!(errors.contains(words), "{errors}");
    }
    assert_eq!(system.messages("t"), ["one", "two"]);
}

#[test]
fn a_subscriber_goes_on_after_its_input_if_there_is_anything_to_go_on_with() {
    let system = System::start();
    let mut bob = subscriber(&system, "bob", &["t"]);
    bob.end_input();
    system.publish("t", "still there");
    assert_delivered(&bob, &["t still there -"]);
    assert!(bob.is_running());
    let mut idle = system.run_with_input("subscriber", &["idle"]);
    idle.end_input();
    idle.succeed();
}

#[test]
fn a_command_that_is_none_is_told() {
    let system = System::start();
    let mut bob = system.run_with_input("subscriber", &["bob"]);
    bob.write_bytes(b"subscribe \xff\n");
    bob.write(&format!("subscribe\nsubscribe {}\nsubscribe t\n", "x".repeat(256)));
    wait_until_listened_to(&system, "t", 1);
    wait_until(DEADLINE, "all complaints", || bob.errors().lines().count() == 3);
    let errors = bob.errors();
    assert!(errors.contains("a line is not UTF-8"), "{errors}");
    assert!(errors.contains("write subscribe <TOPIC>"), "{errors}");
    assert!(errors.contains("the broker says: 'topic' is longer than 255 bytes"), "{errors}");
    system.publish("t", "heard");
    assert_delivered(&bob, &["t heard -"]);
}

#[test]
fn the_token_is_shown_and_a_wrong_one_is_final() {
    let folder = Folder::temporary("token");
    folder.write("token.txt", "a-secret");
    let path = folder.path().join("token.txt");
    let system = System::start_with(&["--token-file", path.to_str().unwrap()]);
    let run = |name: &str, id: &str, token: &str, input: &str| {
        let mut command = program::command(name);
        command.arg(id).env("BROKER_TOKEN", token);
        system.introduce(&mut command);
        let mut process = Process::start_with_input(name, command, &Folder::temporary(name));
        process.write(input);
        process
    };
    let mut bob = run("subscriber", "bob", "a-secret", "subscribe t\n");
    for (name, input) in [("subscriber", "subscribe t\n"), ("publisher", "t hello\n")] {
        let mut stranger = run(name, "eve", "guess", input);
        stranger.end_input();
        assert_eq!(stranger.wait().code(), Some(1), "{name}");
        assert!(stranger.errors().contains("BROKER_TOKEN"), "{}", stranger.errors());
        assert_eq!(stranger.errors().lines().count(), 1, "{}", stranger.errors());
        assert!(!stranger.errors().contains("guess"), "{}", stranger.errors());
    }
    let mut ann = run("publisher", "ann", "a-secret", "");
    wait_until(DEADLINE, "the right token to be enough", || {
        ann.write("t hello\n");
        bob.output().contains(">> DELIVER t hello ann ")
    });
    ann.end_input();
    ann.succeed();
    assert!(bob.is_running());
}

#[test]
fn whoever_types_sees_a_prompt() {
    let system = System::start();
    for (name, line) in [("publisher", "t hello"), ("subscriber", "subscribe t")] {
        let program = program::path(name);
        let command_line = format!("'{}' ann", program.display());
        let Some(mut command) = tools::terminal(&command_line) else { return };
        system.introduce(&mut command);
        let folder = Folder::temporary(name);
        let mut typed = Process::start_with_input(name, command, &folder);
        typed.write(&format!("{line}\n"));
        wait_until(DEADLINE, "a second prompt", || typed.output().matches("> ").count() >= 2);
        // What ends the input of a terminal ends the program.
        typed.end_input();
        typed.succeed();
    }
    assert_eq!(system.messages("t"), ["hello"]);
}
