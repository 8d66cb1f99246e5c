//! How the programs begin and end, and what their errors say.

use common::flags::{Arguments, Command as Asked, Error, Program};
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use tests::raw::Raw;
use tests::wait::{DEADLINE, holds_within, wait_until};
use tests::{Folder, Process, System, program};

const PROGRAMS: [&str; 3] = ["broker", "publisher", "subscriber"];

/// What a program that ends by itself leaves behind.
struct End {
    status: Option<i32>,
    output: String,
    errors: String,
}

/// Runs a program in an empty folder until it ends.
fn end_of(name: &str, arguments: &[&str]) -> End {
    let mut command = program::command(name);
    command.args(arguments);
    end_of_command(name, command)
}

fn end_of_command(name: &str, command: Command) -> End {
    let mut process = Process::start(name, command, &Folder::temporary(name));
    let status = process.wait().code();
    End { status, output: process.output(), errors: process.errors() }
}

/// One line on standard error, with every one of these words in it, and nothing else anywhere.
#[track_caller]
fn assert_fails(end: &End, status: i32, words: &[&str]) {
    assert_eq!(end.status, Some(status), "{}", end.errors);
    assert_eq!(end.output, "", "errors belong on standard error");
    assert_eq!(end.errors.lines().count(), 1, "{:?}", end.errors);
    for word in words {
        assert!(end.errors.contains(word), "{:?} does not name {word:?}", end.errors);
    }
    assert!(!end.errors.contains('\x1b'), "no colour where nobody sees it");
}

#[test]
fn help_is_printed_and_is_not_an_error() {
    for name in PROGRAMS {
        for flag in ["--help", "-h"] {
            let end = end_of(name, &[flag]);
            assert_eq!((end.status, end.errors.as_str()), (Some(0), ""), "{name} {flag}");
            for part in ["Usage:", "Options:", "Examples:", "Exit status:", name] {
                assert!(end.output.contains(part), "{name} {flag} lacks {part}");
            }
            let widest =
                end.output.lines().map(|line| line.chars().count()).max().unwrap_or_default();
            assert!(widest <= 80, "{name} {flag} has a line of {widest} columns");
        }
    }
}

/// The arguments of a command line to a program, as a shell hands them over.
fn arguments(name: &str, line: &str) -> Vec<OsString> {
    let folder = Folder::temporary("example");
    let script = format!("{name}() {{ printf '%s\\n' \"$@\" >arguments; }}; {line}");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).current_dir(folder.path()).output().unwrap();
    let arguments = fs::read_to_string(folder.path().join("arguments")).unwrap();
    arguments.lines().filter(|argument| !argument.is_empty()).map(OsString::from).collect()
}

/// Checks the command lines in a program's help by the program's own rules.
fn check_examples<T>(program: &Program, rules: impl Fn(&Arguments) -> Result<T, Error>) {
    let (_, examples) = program.help.split_once("Examples:\n\n").unwrap();
    for example in examples.lines() {
        match program.parse(arguments(program.name, example)) {
            Ok(Asked::Run(arguments)) => drop(rules(&arguments).expect(example)),
            other => panic!("{example}: {other:?}"),
        }
    }
}

#[test]
fn the_examples_in_the_help_are_right() {
    check_examples(&broker::PROGRAM, broker::Task::from);
    check_examples(&publisher::PROGRAM, publisher::Config::from);
    check_examples(&subscriber::PROGRAM, subscriber::Config::from);
}

#[test]
fn version_is_one_line() {
    for name in PROGRAMS {
        let end = end_of(name, &["--version"]);
        assert_eq!((end.status, end.errors.as_str()), (Some(0), ""));
        assert_eq!(end.output, format!("{name} {}\n", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn wrong_usage_is_one_line_and_status_two() {
    for (name, arguments, word) in [
        ("broker", &["--prot", "9000"][..], "--port"),
        ("broker", &["--port"], "--port"),
        ("broker", &["--port", "x"], "write a whole number"),
        ("broker", &["--max-memory", "much"], "write it as"),
        ("broker", &["--segment", "64K"], "--segment needs --data"),
        ("broker", &["--data", "unused", "--segment", "x"], "write it as"),
        ("broker", &["--port", "65536"], "--port"),
        ("broker", &["--port=1", "--port=2"], "--port"),
        ("broker", &["--sync", "sometimes"], "--sync"),
        ("broker", &["--max-connections", "0"], "--max-connections"),
        ("broker", &["--nonsense"], "--nonsense"),
        ("broker", &["nonsense"], "nonsense"),
        ("publisher", &["--nonsense"], "--nonsense"),
        ("publisher", &["--broker", "a:99999", "--topic", "t", "x"], "--broker"),
        ("publisher", &["--wait", "x", "--topic", "t", "x"], "write it as"),
        ("subscriber", &["--nonsense"], "--nonsense"),
        ("subscriber", &["--from", "x", "--topic", "t"], "write a whole number"),
        ("subscriber", &["--broker", "a:99999", "--topic", "t"], "--broker"),
    ] {
        assert_fails(&end_of(name, arguments), 2, &[name, word]);
    }
}

#[test]
fn a_port_that_is_not_one_is_wrong_usage_wherever_it_stands() {
    let mut command = program::command("broker");
    command.env("PORT", "http");
    assert_fails(&end_of_command("broker", command), 2, &["PORT", "http"]);
    for name in ["publisher", "subscriber"] {
        let mut command = program::command(name);
        command.env("PEER_BROKER_HOST", "localhost").env("PEER_BROKER_PORT", "http");
        assert_fails(&end_of_command(name, command), 2, &["PEER_BROKER_PORT", "http"]);
    }
}

#[test]
fn a_broker_whose_port_is_taken_says_so_and_ends() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    assert_port_is_taken(taken.local_addr().unwrap().port());
}

/// A broker that was just killed would give the port back: that is waited for, and said.
#[track_caller]
fn assert_port_is_taken(port: u16) {
    let port = port.to_string();
    let End { status, output, errors } = end_of("broker", &["--port", &port]);
    let line = format!("broker: another process has 127.0.0.1:{port}: waiting up to 3 s for it\n");
    let errors = errors.strip_prefix(&line).unwrap_or_else(|| panic!("{errors}")).to_owned();
    assert_fails(&End { status, output, errors }, 1, &[&port]);
}

#[test]
fn a_second_broker_on_the_same_port_leaves_the_first_alone() {
    let system = System::start();
    assert_port_is_taken(system.port());
    system.publish("t", "x");
    assert_eq!(system.messages("t"), ["x"]);
}

#[test]
fn the_flag_comes_before_the_variable() {
    let mut command = program::command("broker");
    command.env("PORT", "1").arg("--port=0");
    let mut broker = Process::start("broker", command, &Folder::temporary("broker"));
    let line = broker.first_line();
    assert!(line.starts_with("Broker running on http://0.0.0.0:"), "{line}");
    assert!(!line.starts_with("Broker running on http://0.0.0.0:1 "), "{line}");
}

/// A line on standard output is a promise: whoever reads it can connect at once.
#[test]
fn a_broker_that_says_it_is_running_accepts_connections() {
    for _ in 0..5 {
        let mut system = System::start();
        let mut raw = Raw::connect(&system.address());
        raw.request("GET", "/livez", "");
        assert_eq!(raw.answer().status, 200);
        let line = system.broker().first_line();
        assert!(line.starts_with("Broker running on http://127.0.0.1:"), "{line}");
        assert_eq!(system.broker().errors(), "");
    }
}

#[test]
fn a_subscriber_without_a_topic_says_what_to_write_where() {
    let end = end_of("subscriber", &[]);
    assert_fails(&end, 1, &["topic.txt"]);
    for topic in ["", " \r\n", "two\nlines\n"] {
        let folder = Folder::temporary("subscriber");
        folder.write("topic.txt", topic);
        let mut process = Process::start("subscriber", program::command("subscriber"), &folder);
        assert_eq!(process.wait().code(), Some(1), "{topic:?}");
        assert!(process.errors().contains("topic.txt"), "{:?}", process.errors());
        assert_eq!(process.errors().lines().count(), 1);
    }
}

/// Files that can never be what the subscriber needs: never a hang, a busy loop, or gigabytes.
#[cfg(unix)]
#[test]
fn a_subscriber_names_files_that_it_cannot_use() {
    let system = System::start();
    let end = |prepare: &dyn Fn(&Folder)| {
        let folder = Folder::temporary("subscriber");
        folder.write("topic.txt", "t");
        prepare(&folder);
        let mut command = program::command("subscriber");
        system.introduce(&mut command);
        let mut process = Process::start("subscriber", command, &folder);
        let status = process.wait().code();
        End { status, output: process.output(), errors: process.errors() }
    };
    let link = |folder: &Folder, target: &str, name: &str| {
        let path = folder.path().join(name);
        let _ = fs::remove_file(&path);
        std::os::unix::fs::symlink(target, path).unwrap();
    };
    for name in ["topic.txt", "received.txt"] {
        for device in ["/dev/zero", "/dev/null", "/tmp"] {
            assert_fails(&end(&|folder| link(folder, device, name)), 1, &[name, "regular file"]);
        }
        let pipe = |folder: &Folder| {
            let path = folder.path().join(name);
            let _ = fs::remove_file(&path);
            assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        };
        assert_fails(&end(&pipe), 1, &[name, "regular file"]);
    }
    for topic in ["a\tb".to_owned(), "x".repeat(256), "x".repeat(1 << 20)] {
        assert_fails(&end(&|folder| folder.write("topic.txt", &topic)), 1, &["topic.txt"]);
    }
}

#[test]
fn what_a_person_may_write_for_a_broker_is_understood_or_named() {
    let system = System::start();
    let port = system.port().to_string();
    let publish = |host: &str, port: &str| {
        let mut command = program::command("publisher");
        command.env("PEER_BROKER_HOST", host).env("PEER_BROKER_PORT", port);
        command.args(["--wait=10s", "--topic=t", "x"]);
        end_of_command("publisher", command)
    };
    for host in ["http://localhost", "http://127.0.0.1/", &format!("localhost:{port}")] {
        assert_eq!(publish(host, &port).status, Some(0), "{host}");
    }
    assert_fails(&publish("https://localhost", &port), 2, &["PEER_BROKER_HOST"]);
    assert_fails(&publish("localhost:1", &port), 2, &["PEER_BROKER_HOST", &port]);
}

#[test]
fn a_publisher_gives_up_when_it_was_told_how_long_to_wait() {
    let system = System::reserve();
    for wait in ["--wait=0", "--wait=1"] {
        let mut publisher = system.run("publisher", &[wait, "--topic", "t", "hello"]);
        assert_eq!(publisher.wait().code(), Some(1));
        let errors = publisher.errors();
        // After a second, a publisher that still waits says so; then it says that it gave up.
        assert!((1..=2).contains(&errors.lines().count()), "{errors:?}");
        let last = errors.lines().last().unwrap();
        assert!(last.contains(&system.address()), "{last:?}");
    }
}

#[test]
fn the_messages_of_a_command_line_are_published_in_order() {
    let system = System::start();
    let broker = system.address();
    let end = end_of(
        "publisher",
        &["--broker", &broker, "--topic=t", "one", "two three", "--", "--four"],
    );
    assert_eq!(end.status, Some(0), "{}", end.errors);
    assert_eq!(system.messages("t"), ["one", "two three", "--four"]);
}

#[test]
fn a_subscriber_prints_lines_and_ends_after_count() {
    let system = System::start();
    for message in ["zero", "one", "two", "three"] {
        system.publish("t", message);
    }
    let arguments = ["--topic", "t", "--from", "1", "--count", "2"];
    let mut subscriber = system.run("subscriber", &arguments);
    subscriber.succeed();
    assert_eq!(subscriber.output(), "one\ntwo\n");
    assert_eq!(subscriber.errors(), "");

    let arguments = ["--topic", "t", "--from", "0", "--count", "4", "--output", "lines.txt"];
    let mut subscriber = system.run("subscriber", &arguments);
    subscriber.succeed();
    assert_eq!(subscriber.output(), "");
    assert_eq!(subscriber.folder().read("lines.txt"), b"zero\none\ntwo\nthree\n");
}

#[test]
fn a_subscriber_prints_new_lines_as_they_come() {
    let system = System::start();
    system.publish("t", "before");
    let subscriber = system.run("subscriber", &["--topic", "t", "--from", "1"]);
    for line in ["first\n", "first\nsecond\n"] {
        system.publish("t", line.lines().last().unwrap());
        wait_until(DEADLINE, line, || subscriber.output() == line);
    }
}

/// Many messages at once are read as a list, and few as events.
#[test]
fn a_subscriber_prints_each_message_once_however_many_come_at_once() {
    let system = System::start();
    let mut expected = String::new();
    let mut publish = |count: usize| {
        let first = expected.lines().count();
        let messages = (first..first + count).map(|number| format!("m{number}"));
        system.publish_batch("t", messages.clone());
        messages.for_each(|message| expected += &(message + "\n"));
        expected.clone()
    };
    publish(2_500);
    let subscriber = system.run("subscriber", &["--topic", "t", "--from", "0"]);
    for count in [1, 2_500, 1_000, 1, 999, 5_000, 2] {
        let expected = publish(count);
        wait_until(DEADLINE, "all lines", || subscriber.output() == expected);
    }
    assert_eq!(system.request("DELETE", "/topics/t", "").status, 204);
    system.publish_batch("t", (0..1_500).map(|number| format!("new {number}")));
    let end = "new 1499\n";
    wait_until(DEADLINE, "the new list", || subscriber.output().ends_with(end));
    let new: String = (0..1_500).map(|number| format!("new {number}\n")).collect();
    assert_eq!(subscriber.output(), publish(0) + &new);
    assert!(subscriber.errors().contains("deleted and created again"), "{}", subscriber.errors());
}

/// `subscriber … | head -1`: the reader leaves, and that is no failure.
#[test]
fn a_reader_that_leaves_ends_a_subscriber_quietly() {
    let system = System::start();
    system.publish("t", "first");
    let folder = Folder::temporary("subscriber");
    let errors = fs::File::create(folder.path().join("errors.txt")).unwrap();
    let mut command = program::command("subscriber");
    command.args(["--topic", "t", "--from", "0"]).stdin(Stdio::null());
    system.introduce(command.stdout(Stdio::piped()).stderr(errors));
    let mut subscriber = command.spawn().unwrap();
    let mut output = BufReader::new(subscriber.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    drop(output);

    let mut status = None;
    let ended = holds_within(DEADLINE, || {
        system.publish("t", "more");
        status = subscriber.try_wait().unwrap();
        status.is_some()
    });
    if !ended {
        subscriber.kill().unwrap();
        subscriber.wait().unwrap();
    }
    assert_eq!(line, "first\n");
    assert!(ended, "it goes on for nobody");
    assert_eq!(status.unwrap().code(), Some(0));
    assert_eq!(folder.read("errors.txt"), b"");
}

#[test]
fn a_subscriber_prints_several_topics_with_all_that_is_known() {
    let system = System::start();
    system.publish("a b", "one");
    system.publish("c", "two\u{1b}");
    let topics = ["--topic=a b", "--topic=c", "--from=0", "--count=2"];
    let sorted = |more: &[&str]| {
        let mut subscriber = system.run("subscriber", &[&topics[..], more].concat());
        subscriber.succeed();
        let mut lines: Vec<String> = subscriber.output().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&[]), ["a b\tone", "c\ttwo\u{1b}"]);
    let json = sorted(&["--json"]);
    assert!(
        json[0].starts_with(r#"{"topic":"a b","offset":0,"message":"one","time":1"#),
        "{json:?}"
    );
    assert!(json[0].ends_with(r#","publisher":null}"#), "{json:?}");
    let timed = sorted(&["--time"]);
    assert!(
        timed[0].starts_with("20") && timed[0].len() > "2026-01-01 00:00:00\ta b\tone".len() - 1
    );
}

#[test]
fn a_subscriber_of_a_topic_that_is_not_there_says_so_and_which_is_near() {
    let system = System::start();
    system.publish("orders", "one");
    let mut subscriber =
        system.run("subscriber", &["--topic", "order", "--from", "0", "--count", "1"]);
    wait_until(DEADLINE, "a word", || subscriber.errors().lines().count() == 1);
    let errors = subscriber.errors();
    assert!(errors.contains("\"order\"") && errors.contains("\"orders\""), "{errors}");
    system.publish("order", "hello");
    subscriber.succeed();
    assert_eq!(subscriber.output(), "hello\n");
}

#[test]
fn a_subscriber_prints_the_last_messages_or_those_since_a_time() {
    let system = System::start();
    system.publish_batch("t", (0..5).map(|number| format!("m{number}")));
    let printed = |arguments: &[&str]| {
        let mut subscriber = system.run("subscriber", &[&["--topic=t"], arguments].concat());
        subscriber.succeed();
        subscriber.output()
    };
    assert_eq!(printed(&["--last=2", "--count=2"]), "m3\nm4\n");
    assert_eq!(printed(&["--last=99", "--count=1"]), "m0\n");
    for since in ["1h", "0", "2001-01-01T00:00:00Z"] {
        assert_eq!(printed(&["--since", since, "--count=1"]), "m0\n", "{since}");
    }
    let mut wrong = system.run("subscriber", &["--topic=t", "--since=yesterday"]);
    assert_eq!(wrong.wait().code(), Some(1));
    assert!(wrong.errors().contains("write 10m"), "{}", wrong.errors());
}
