//! Files and pipes, published line by line.

use std::fs::File;
use std::io::Write;
use std::process::Stdio;
use std::time::Instant;
use tests::wait::{DEADLINE, wait_until};
use tests::{Fate, Folder, Process, Proxy, System, program, tools};

/// The line with this number: long enough that a file is not sent before the first answer.
fn numbered(number: usize) -> String {
    format!("line {number} of a file that takes a while to be published")
}

/// A folder whose `file.txt` holds so many lines.
fn folder_with_lines(count: usize) -> Folder {
    let folder = Folder::temporary("file");
    let lines: String = (0..count).map(|number| numbered(number) + "\n").collect();
    folder.write("file.txt", lines);
    folder
}

/// A publisher of `file.txt` to the topic `t`.
fn publisher(system: &System, folder: &Folder, arguments: &[&str]) -> Process {
    let mut command = program::command("publisher");
    command.args(["--topic", "t", "--file", "file.txt"]).args(arguments);
    system.introduce(&mut command);
    Process::start("publisher", command, folder)
}

/// How many messages the topic `t` has.
fn count(system: &System) -> usize {
    let head = system.request("HEAD", "/messages?topic=t", "");
    usize::try_from(head.number("stream-next-offset")).unwrap()
}

/// The topic `t` holds each line once, in order.
#[track_caller]
fn assert_holds(system: &System, count: usize) {
    let messages = system.messages("t");
    let wrong = messages.iter().enumerate().find(|(number, text)| **text != numbered(*number));
    assert_eq!(wrong, None);
    assert_eq!(messages.len(), count);
}

#[test]
fn every_line_of_a_file_is_a_message() {
    let system = System::start();
    let folder = Folder::temporary("file");
    let long = "x".repeat(600_000);
    for (text, expected) in [
        ("", &[][..]),
        ("one\ntwo\n", &["one", "two"]),
        ("one\ntwo", &["one", "two"]),
        ("one\r\ntwo\r\n", &["one", "two"]),
        ("\n\n a \n", &["", "", " a "]),
        ("\u{fc}n\u{ef}\n\u{feff}\n", &["\u{fc}n\u{ef}", "\u{feff}"]),
        (&format!("a\n{long}\nb\n"), &["a", &long, "b"]),
    ] {
        folder.write("file.txt", text);
        let mut publisher = publisher(&system, &folder, &[]);
        publisher.succeed();
        assert_eq!((publisher.output(), publisher.errors()), (String::new(), String::new()));
        assert!(system.messages("t") == expected, "{} bytes", text.len());
        let _ = system.request("DELETE", "/topics/t", "");
    }
}

#[test]
fn a_redirected_file_and_a_pipe_are_published_too() {
    const COUNT: usize = 50_000;
    let system = System::start();
    let folder = folder_with_lines(COUNT);
    for is_piped in [false, true] {
        let mut command = program::command("publisher");
        command.args(["--topic", "t"]);
        system.introduce(&mut command);
        if is_piped {
            command.stdin(Stdio::piped());
        } else {
            command.stdin(File::open(folder.path().join("file.txt")).unwrap());
        }
        let mut publisher = command.spawn().unwrap();
        if let Some(mut pipe) = publisher.stdin.take() {
            pipe.write_all(&folder.read("file.txt")).unwrap();
        }
        assert!(publisher.wait().unwrap().success());
        assert_holds(&system, COUNT);
        let _ = system.request("DELETE", "/topics/t", "");
    }
}

/// `tail -f log | publisher --topic log`: a line does not wait for the next one.
#[test]
fn a_line_of_a_slow_pipe_is_published_at_once() {
    let system = System::start();
    let mut publisher = system.run_with_input("publisher", &["--topic", "t"]);
    let mut expected = Vec::new();
    for line in ["one", "two", "three"] {
        publisher.write(&format!("{line}\nhalf of "));
        expected.push(line.to_owned());
        wait_until(DEADLINE, line, || system.messages("t") == expected);
        publisher.write(&format!("{line}\n"));
        expected.push(format!("half of {line}"));
        wait_until(DEADLINE, "its other half", || system.messages("t") == expected);
    }
    publisher.end_input();
    publisher.succeed();
}

#[test]
fn with_an_id_a_second_run_appends_only_what_is_missing() {
    const COUNT: usize = 200_000;
    let mut system = System::start();
    let folder = folder_with_lines(COUNT);
    // One connection on which some answers pass, and then none any more.
    let proxy = Proxy::start(system.port(), |connection| match connection {
        0 => Fate::Cut { answered: 2_000 },
        _ => Fate::Refuse,
    });
    let port = system.port();
    system.tell("127.0.0.1", proxy.port());
    let mut first = publisher(&system, &folder, &["--wait=0", "ann"]);
    assert_eq!(first.wait().code(), Some(1));
    system.tell("127.0.0.1", port);
    let before = count(&system);
    assert!(0 < before && before < COUNT, "{before} were published by the first run");

    // Nobody has told the first run how far it came; the broker knows.
    for _ in 0..2 {
        publisher(&system, &folder, &["ann"]).succeed();
        assert_holds(&system, COUNT);
    }
}

#[test]
fn a_publisher_may_be_killed_at_any_time_and_started_again() {
    const COUNT: usize = 100_000;
    let system = System::start();
    let folder = folder_with_lines(COUNT);
    for part in 1..6 {
        let mut publisher = publisher(&system, &folder, &["ann"]);
        wait_until(DEADLINE, "a part", || {
            count(&system) > part * COUNT / 10 || !publisher.is_running()
        });
        publisher.kill();
    }
    publisher(&system, &folder, &["ann"]).succeed();
    assert_holds(&system, COUNT);
}

#[test]
fn a_broker_may_be_killed_at_any_time_and_started_again() {
    const COUNT: usize = 300_000;
    for arguments in [&["--data", "data"][..], &[]] {
        let mut system = System::reserve_with(arguments);
        system.start_broker();
        let folder = folder_with_lines(COUNT);
        let mut publisher = publisher(&system, &folder, &["ann"]);
        for part in 1..4 {
            wait_until(DEADLINE, "a part", || {
                count(&system) > part * COUNT / 20 || !publisher.is_running()
            });
            system.restart_broker();
        }
        publisher.succeed();
        // A broker that has lost its memory gets the file from its start.
        assert_holds(&system, COUNT);
        let has_lost = publisher.errors().contains("lost messages");
        let forgets = arguments.is_empty() && System::nats().is_none();
        assert_eq!(has_lost, forgets, "{}", publisher.errors());
    }
}

#[test]
fn a_file_that_has_grown_is_gone_on_with_and_any_other_is_refused() {
    let system = System::start();
    let folder = Folder::temporary("file");
    let published = || system.messages("t");
    let mut expected = Vec::new();
    for text in ["one\ntwo\n", "one\ntwo\nthree\n", "one\ntwo\nthree\n4\n5"] {
        folder.write("file.txt", text);
        for _ in 0..2 {
            publisher(&system, &folder, &["ann"]).succeed();
            expected = text.lines().collect();
            assert_eq!(published(), expected);
        }
    }
    for text in ["one\n2wo\nthree\n4\n5\n6\n", "one\ntwo\n", "", "one\ntwo\nthree\n4\n56\n"] {
        folder.write("file.txt", text);
        let mut refused = publisher(&system, &folder, &["ann"]);
        assert_eq!(refused.wait().code(), Some(1), "{text:?}");
        assert!(refused.errors().contains("another id"), "{}", refused.errors());
        assert_eq!(published(), expected, "{text:?}");
    }
    // Another id publishes all of it; without one, every run does.
    publisher(&system, &folder, &["bob"]).succeed();
    expected.extend(["one", "two", "three", "4", "56"]);
    assert_eq!(published(), expected);
    publisher(&system, &folder, &[]).succeed();
    assert_eq!(published().len(), 15);
    // In between others, what was published under an id is found.
    folder.write("file.txt", "one\ntwo\nthree\n4\n56\n7\n");
    publisher(&system, &folder, &["bob"]).succeed();
    assert_eq!(published().len(), 16);
    assert_eq!(published().last().map(String::as_str), Some("7"));
    // What the topic begins with may be another's lines.
    folder.write("file.txt", "three\n4\n");
    publisher(&system, &folder, &["eve"]).succeed();
    folder.write("file.txt", "one\ntwo\nthree\n");
    assert_eq!(publisher(&system, &folder, &["eve"]).wait().code(), Some(1));
    assert_eq!(published().len(), 18);
}

#[test]
fn a_file_is_gone_on_with_though_the_topic_has_removed_its_first_lines() {
    let system = System::start_with(&["--keep-messages", "2"]);
    let folder = Folder::temporary("file");
    let run = |text: &str, id| {
        folder.write("file.txt", text);
        let mut publisher = publisher(&system, &folder, &[id]);
        (publisher.wait().code(), publisher.errors())
    };
    for text in ["one\ntwo\nthree\n", "one\ntwo\nthree\n", "one\ntwo\nthree\n4\n"] {
        assert_eq!(run(text, "ann"), (Some(0), String::new()), "{text:?}");
    }
    assert_eq!(system.messages("t"), ["three", "4"]);
    assert_eq!(system.request("DELETE", "/topics/t/messages?before=4", "").status, 200);
    assert_eq!(run("one\ntwo\nthree\n4\n5\n", "ann").0, Some(0));
    assert_eq!(system.messages("t"), ["5"]);
    // The topic's digest counts the lines of all: what is gone of several is not known.
    assert_eq!(run("a\nb\nc\n", "bob").0, Some(0));
    for (text, id) in [("one\n2\nthree\n4\n5\n6\n", "ann"), ("a\nb\nc\nd\n", "bob")] {
        let (code, errors) = run(text, id);
        assert_eq!(code, Some(1));
        assert!(errors.contains("publish those after them under another id"), "{errors}");
    }
    assert_eq!(system.messages("t"), ["b", "c"]);
}

#[test]
fn of_a_pipe_what_cannot_be_a_message_is_named_and_left_out() {
    let system = System::start_with(&["--max-message", "100"]);
    let mut publisher = system.run_with_input("publisher", &["--topic", "t", "--file", "-"]);
    let long = "x".repeat(101);
    let endless = "y".repeat(17 << 20);
    // As JSON it is longer than a command.
    let quotes = "\"".repeat(5 << 20);
    let input = [
        b"one\n\xff\ntwo\na\0b\na\rb\n",
        long.as_bytes(),
        b"\nthree\n",
        endless.as_bytes(),
        b"\nfour\n",
        long.as_bytes(),
        b"\nfive\n",
        quotes.as_bytes(),
        b"\n",
    ];
    publisher.write_bytes(&input.concat());
    publisher.end_input();
    assert_eq!(publisher.wait().code(), Some(1));
    assert_eq!(system.messages("t"), ["one", "two", "three", "four", "five"]);
    let errors = publisher.errors();
    for line in [2, 4, 5, 6, 8, 10, 12] {
        assert_eq!(errors.matches(&format!("line {line}")).count(), 1, "{line}: {errors}");
    }
    assert!(errors.ends_with("publisher: 7 lines were not published\n"), "{errors}");
    assert_eq!(errors.lines().count(), 8, "{errors}");
}

#[test]
fn a_line_that_cannot_be_a_message_is_named_and_those_before_it_are_published() {
    let system = System::start_with(&["--max-message", "100"]);
    let folder = Folder::temporary("file");
    let long = "x".repeat(101);
    // As JSON it is longer than a command.
    let quotes = "\"".repeat(5 << 20);
    for (line, word) in [
        (&b"\xff"[..], "UTF-8"),
        (b"a\0b", "NUL"),
        (b"a\rb", "carriage return"),
        (long.as_bytes(), "100"),
        (quotes.as_bytes(), "command"),
    ] {
        for arguments in [&[][..], &["ann"]] {
            folder.write("file.txt", [b"one\ntwo\n", line, b"\nfour\n"].concat());
            let mut publisher = publisher(&system, &folder, arguments);
            assert_eq!(publisher.wait().code(), Some(1));
            let errors = publisher.errors();
            assert!(errors.contains("line 3") && errors.contains(word), "{errors}");
            assert_eq!(errors.lines().count(), 1, "{errors}");
            assert_eq!(system.messages("t"), ["one", "two"]);
            let _ = system.request("DELETE", "/topics/t", "");
        }
    }
}

#[test]
fn what_stands_before_an_endless_line_is_published() {
    let system = System::start();
    let folder = Folder::temporary("file");
    folder.write("file.txt", [b"one\ntwo\n", "x".repeat(17 << 20).as_bytes()].concat());
    let mut publisher = publisher(&system, &folder, &[]);
    assert_eq!(publisher.wait().code(), Some(1));
    assert_eq!(system.messages("t"), ["one", "two"]);
    assert_eq!(
        publisher.errors(),
        "publisher: line 3 is longer than 8 MiB; 2 messages were published before\n"
    );
}

#[test]
fn what_cannot_be_read_is_named() {
    let system = System::start();
    let folder = Folder::temporary("file");
    for arguments in [&[][..], &["ann"]] {
        let mut publisher = publisher(&system, &folder, arguments);
        assert_eq!(publisher.wait().code(), Some(1));
        assert!(publisher.errors().contains("file.txt"), "{}", publisher.errors());
    }
}

#[test]
fn whoever_watches_sees_how_far_it_is() {
    let system = System::start();
    let folder = folder_with_lines(20_000);
    let program = program::path("publisher");
    let line = format!("'{}' --topic t --file file.txt", program.display());
    let Some(mut command) = tools::terminal(&line) else { return };
    system.introduce(&mut command);
    let mut watched = Process::start("terminal", command, &folder);
    watched.succeed();
    assert!(watched.output().contains("20,000 messages in"), "{}", watched.output());
    assert_holds(&system, 20_000);
}

#[test]
fn what_went_wrong_does_not_stand_behind_how_far_it_is() {
    let system = System::start();
    let folder = folder_with_lines(20_000);
    let file = folder.path().join("file.txt");
    let lines = std::fs::read(&file).unwrap();
    std::fs::write(&file, [&lines[..], b"\xff\n"].concat()).unwrap();
    let program = program::path("publisher");
    let line = format!("'{}' --topic t --file file.txt", program.display());
    let Some(mut command) = tools::terminal(&line) else { return };
    system.introduce(&mut command);
    let mut watched = Process::start("terminal", command, &folder);
    assert_eq!(watched.wait().code(), Some(1));
    let said = "\r\x1b[Kpublisher: line 20001 is not UTF-8; 20000 messages were published before";
    assert!(watched.output().contains(said), "{:?}", watched.output());
}

#[test]
fn messages_are_repeated_to_every_topic_until_it_is_stopped() {
    let system = System::start();
    let begun = Instant::now();
    let every = ["--every", "20ms", "--topic", "t", "--topic", "u"];
    let mut counting = system.run("publisher", &every);
    let mut saying = system.run("publisher", &["--every=20ms", "--topic=v", "tick", "tock"]);
    wait_until(DEADLINE, "five rounds", || {
        ["t", "u"].iter().all(|topic| system.messages(topic).len() >= 5)
            && system.messages("v").len() >= 10
    });
    assert!(begun.elapsed().as_millis() >= 80, "there are pauses between rounds");
    assert!(counting.is_running() && saying.is_running());
    assert_eq!(system.messages("u")[..3], ["message 1", "message 2", "message 3"]);
    assert_eq!(system.messages("v")[..4], ["tick", "tock", "tick", "tock"]);
}
