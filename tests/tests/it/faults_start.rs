//! Starts: two brokers in one directory, copies, foreign files, and journals of older versions.

use crate::faults_kill::{durable, full_load, numbered};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;
use tests::wait::{DEADLINE, wait_for, wait_until};
use tests::{Folder, Process, System, program};

/// The first file of a journal that holds messages.
const SEGMENT: &str = "journal-00000001";

/// A broker that is to end by itself: what it said.
#[track_caller]
fn refused(arguments: &[&str]) -> String {
    ended(1, arguments)
}

/// A broker that is to end because its data is damaged: what it said.
#[track_caller]
fn damaged(arguments: &[&str]) -> String {
    ended(3, arguments)
}

/// A broker that is to end with this status: what it said.
#[track_caller]
fn ended(status: i32, arguments: &[&str]) -> String {
    let mut command = program::command("broker");
    command.args(arguments);
    let mut broker = Process::start("broker", command, &Folder::temporary("refused"));
    assert_eq!(broker.wait().code(), Some(status));
    assert_eq!(broker.output(), "", "it never served");
    let errors = broker.errors();
    // It may have said before that it waits for what another process has.
    let why = errors.lines().filter(|line| !line.contains("another process has "));
    assert_eq!(why.clone().count(), 1, "{errors}");
    why.collect()
}

/// The directory of a broker's journal, as text.
fn data_of(system: &System) -> String {
    system.folder().path().join("data").to_str().unwrap().to_owned()
}

/// What `broker verify` or `broker repair` prints, and whether it is content.
fn look(command: &str, directory: &str) -> (bool, String) {
    let (status, said) = status_of(command, directory);
    (status == Some(0), said)
}

/// The same with the exit status.
fn status_of(command: &str, directory: &str) -> (Option<i32>, String) {
    let output = program::command("broker").args([command, directory]).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

/// A new directory with a journal of three messages whose broker was killed.
fn three_messages() -> (System, String) {
    let mut system = durable();
    for message in ["one", "two", "three"] {
        system.publish("t", message);
    }
    system.kill_broker();
    let data = data_of(&system);
    (system, data)
}

#[test]
fn l01_a_second_broker_on_a_directory_ends_and_the_first_goes_on() {
    let system = durable();
    let data = data_of(&system);
    system.publish("t", "x");
    let before = fs::read(format!("{data}/{SEGMENT}")).unwrap();
    let errors = refused(&["--port=0", "--data", &data]);
    assert!(errors.contains(&data) && errors.contains("in use"), "{errors}");
    assert_eq!(fs::read(format!("{data}/{SEGMENT}")).unwrap(), before);
    system.publish("t", "y");
    assert_eq!(system.messages("t"), ["x", "y"]);
}

#[test]
fn l02_so_it_does_through_a_link() {
    let system = durable();
    let link = system.folder().path().join("link");
    symlink(data_of(&system), &link).unwrap();
    assert!(refused(&["--port=0", "--data", link.to_str().unwrap()]).contains("in use"));
}

#[test]
fn l03_of_twenty_brokers_at_once_one_serves() {
    let folder = Folder::temporary("twenty");
    let data = folder.path().join("data");
    let mut brokers: Vec<_> = (0..20)
        .map(|number| {
            let mut command = program::command("broker");
            command.arg("--port=0").arg("--data").arg(&data);
            let name = format!("broker {number}");
            Process::start(&name, command, &Folder::temporary("one of twenty"))
        })
        .collect();
    wait_until(DEADLINE, "nineteen to end", || {
        brokers.iter_mut().filter_map(|broker| broker.is_running().then_some(())).count() == 1
    });
    let served: Vec<_> =
        brokers.iter_mut().filter(|broker| broker.output().starts_with("Broker running")).collect();
    assert!(served.len() <= 1);
    let mut last = brokers.into_iter().find_map(|mut it| it.is_running().then_some(it)).unwrap();
    assert!(last.first_line().starts_with("Broker running"));
}

#[test]
fn l04_a_killed_owner_leaves_the_directory_to_the_next() {
    let mut system = durable();
    for _ in 0..10 {
        system.publish("t", "x");
        system.restart_broker();
    }
    assert_eq!(system.messages("t").len(), 10);
}

/// The journal is locked as well, so that not even this lets two brokers write one file.
#[test]
fn l05_a_removed_lock_does_not_let_a_second_broker_in() {
    let system = durable();
    let data = data_of(&system);
    system.publish("t", "x");
    fs::remove_file(format!("{data}/LOCK")).unwrap();
    let errors = refused(&["--port=0", "--data", &data]);
    assert!(errors.contains(&data), "{errors}");
    system.publish("t", "y");
    assert_eq!(system.messages("t"), ["x", "y"]);
}

#[test]
fn l07_l08_a_broker_whose_port_is_taken_leaves_no_trace_in_its_directory() {
    let system = durable();
    let port = system.port().to_string();
    let folder = Folder::temporary("other");
    let data = folder.path().join("data");
    let errors = refused(&["--port", &port, "--data", data.to_str().unwrap()]);
    assert!(errors.contains(&port), "{errors}");
    assert!(!data.exists());
    // And where both are taken, it says one of the two.
    refused(&["--port", &port, "--data", &data_of(&system)]);
}

#[test]
fn c11_a_directory_that_vanished_is_made_anew_and_said_so_its_parent_is_not() {
    let (mut system, data) = three_messages();
    fs::remove_dir_all(&data).unwrap();
    system.start_broker();
    let errors = system.broker().errors();
    assert!(errors.contains("journal") && errors.contains("new and empty"), "{errors}");
    assert_eq!(system.messages("t"), [""; 0]);
    let errors = refused(&["--port=0", "--data", &format!("{data}/of/nobody")]);
    assert!(errors.contains(&format!("{data}/of/nobody")), "{errors}");
}

#[test]
fn c09_a_journal_that_is_gone_with_a_new_one_beside_it_is_not_started_empty() {
    let (_system, data) = three_messages();
    fs::rename(format!("{data}/journal"), format!("{data}/journal.tmp")).unwrap();
    assert!(damaged(&["--port=0", "--data", &data]).contains(SEGMENT));
    assert!(Path::new(&format!("{data}/journal.tmp")).exists());
}

#[test]
fn d01_a_torn_end_is_cut_kept_and_told() {
    let (mut system, data) = three_messages();
    let path = format!("{data}/{SEGMENT}");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let (is_good, said) = look("verify", &data);
    assert!(is_good && said.contains("cut short"), "{said}");
    system.start_broker();
    assert_eq!(system.messages("t"), ["one", "two"]);
    let errors = system.broker().errors();
    assert!(errors.contains("cut off") && errors.contains("torn-"), "{errors}");
    system.publish("t", "four");
    system.restart_broker();
    assert_eq!(system.broker().errors(), "", "nothing is left to cut");
    assert_eq!(system.messages("t"), ["one", "two", "four"]);
}

#[test]
fn d03_d15_damage_is_refused_by_name_and_offset_until_it_is_repaired() {
    let (mut system, data) = three_messages();
    let path = format!("{data}/{SEGMENT}");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(4).position(|bytes| bytes == b"two\n").unwrap();
    bytes[at] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let errors = damaged(&["--port=0", "--data", &data]);
    let (status, said) = status_of("verify", &data);
    assert_eq!(status, Some(3));
    for text in [&errors, &said] {
        assert!(text.contains(&path) && text.contains("at byte"), "{text}");
    }
    assert_eq!(fs::read(&path).unwrap(), bytes, "neither changes anything");

    let (is_good, said) = look("repair", &data);
    assert!(is_good && said.contains("1 topic may have lost messages"), "{said}");
    assert!(look("verify", &data).0);
    system.start_broker();
    assert_eq!(system.messages("t"), ["one", "three"], "what is good behind it is kept");
    let aside = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path());
    let aside = aside.filter(|path| path.to_str().unwrap().contains("damaged-")).last().unwrap();
    assert_eq!(fs::read(aside).unwrap(), bytes, "the damaged file is kept");
}

#[test]
fn d03_where_nothing_can_be_repaired_the_status_says_that_it_is_damage() {
    let folder = Folder::temporary("foreign");
    folder.write("journal", "something else altogether\n");
    let data = folder.path().to_str().unwrap();
    let errors = damaged(&["--port=0", "--data", data]);
    for verb in ["verify", "repair"] {
        let (status, said) = status_of(verb, data);
        assert!(status == Some(3) && said.contains("journal"), "{verb}: {status:?} {said}");
    }
    assert!(errors.contains("is not a journal"), "{errors}");
}

#[test]
fn verify_says_what_is_there() {
    let (_system, data) = three_messages();
    let (is_good, said) = look("verify", &data);
    assert!(is_good && said.starts_with("good: ") && said.contains("3 messages"), "{said}");
    let (is_good, said) = look("verify", &format!("{data}/nowhere"));
    assert!(!is_good && said.contains("nowhere"), "{said}");
    assert!(!Path::new(&format!("{data}/nowhere")).exists(), "it makes nothing");
}

/// A copy that is handed on, or a disk that was mounted to be looked at.
#[test]
fn verify_needs_to_write_nothing() {
    let (_system, data) = three_messages();
    fs::remove_file(format!("{data}/LOCK")).unwrap();
    let allow = |name: &str, mode| {
        fs::set_permissions(format!("{data}/{name}"), Permissions::from_mode(mode)).unwrap();
    };
    allow("journal", 0o444);
    allow(SEGMENT, 0o444);
    allow("", 0o555);
    let (is_good, said) = look("verify", &data);
    allow("", 0o755);
    assert!(is_good && said.contains("3 messages"), "{said}");
    assert!(!Path::new(&format!("{data}/LOCK")).exists(), "it makes nothing");
}

#[test]
fn d13_stray_files_are_left_alone_and_a_left_over_one_is_removed() {
    let (mut system, data) = three_messages();
    for name in
        ["torn-28", "journal~", ".journal.swp", "notes.txt", "journal.tmp", "journal-00000007.tmp"]
    {
        fs::write(format!("{data}/{name}"), "stray").unwrap();
    }
    system.start_broker();
    assert_eq!(system.messages("t"), ["one", "two", "three"]);
    for name in ["torn-28", "journal~", ".journal.swp", "notes.txt"] {
        assert_eq!(fs::read(format!("{data}/{name}")).unwrap(), b"stray");
    }
    assert!(!Path::new(&format!("{data}/journal.tmp")).exists());
    assert!(!Path::new(&format!("{data}/journal-00000007.tmp")).exists());
}

#[test]
fn a_directory_without_a_journal_is_named_and_left_empty() {
    let folder = Folder::temporary("empty");
    let data = folder.path().to_str().unwrap();
    for verb in ["verify", "repair", "promote"] {
        let (status, said) = status_of(verb, data);
        assert_eq!(status, Some(1), "{verb}: {said}");
        assert!(said.contains(&format!("there is no {data}/journal")), "{verb}: {said}");
    }
    assert_eq!(fs::read_dir(data).unwrap().count(), 0);
}

#[test]
fn a_repair_without_the_first_files_keeps_the_others_and_says_so() {
    let mut system = System::reserve_with(&["--data", "data", "--segment", "65536"]);
    system.start_broker();
    let line = "x".repeat(70_000);
    (0..4).for_each(|_| system.publish("t", &line));
    system.kill_broker();
    let data = data_of(&system);
    fs::remove_file(format!("{data}/journal")).unwrap();
    fs::remove_file(format!("{data}/{SEGMENT}")).unwrap();
    let (is_good, said) = look("repair", &data);
    assert!(is_good && said.ends_with("\nrepaired\n"), "{said}");
    assert!(said.contains("1 topic may have lost messages"), "{said}");
    system.start_broker();
    assert_eq!(system.messages("t").len(), 3);

    system.kill_broker();
    let segments = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path());
    let segments = segments.filter(|path| path.to_str().unwrap().contains("/journal-"));
    segments.for_each(|path| fs::remove_file(path).unwrap());
    let (status, said) = status_of("repair", &data);
    assert!(status == Some(3) && said.contains("but no segment of it"), "{said}");
}

#[test]
fn d14_a_journal_that_is_no_file_is_refused_and_nobody_waits() {
    let folder = Folder::temporary("no file");
    let data = folder.path().to_str().unwrap();
    let journal = format!("{data}/journal");
    let is_refused = || {
        let errors = refused(&["--port=0", "--data", data]);
        assert!(errors.contains(&journal), "{errors}");
        assert!(!look("verify", data).0);
        assert!(!look("repair", data).0);
    };
    fs::create_dir(&journal).unwrap();
    is_refused();
    fs::remove_dir(&journal).unwrap();
    for target in ["/dev/zero", "elsewhere"] {
        symlink(target, &journal).unwrap();
        is_refused();
        fs::remove_file(&journal).unwrap();
    }
    assert!(Command::new("mkfifo").arg(&journal).status().unwrap().success());
    is_refused();
}

#[test]
fn s02_a_large_journal_is_served_after_a_start_and_takes_memory_once() {
    const BATCH: usize = 1000;
    let mut system = durable();
    let filler = "x".repeat(1000);
    let count = 32;
    for batch in 0..count {
        let lines: String =
            (0..BATCH).map(|number| format!("{batch} {number} {filler}\n")).collect();
        assert_eq!(system.request("POST", "/topics/t", lines).status, 200);
    }
    system.restart_broker();
    let topic = system.get("/topics/t");
    let messages = topic.json().get("messages").and_then(|count| count.as_u64());
    assert_eq!(messages, Some((count * BATCH) as u64));
    let last = system.get(&format!("/messages?topic=t&from={}", count * BATCH - 1));
    assert_eq!(last.text(), format!("{} {} {filler}\n", count - 1, BATCH - 1));
    // Messages are in memory once, with what it takes to keep them.
    let status = fs::read_to_string(format!("/proc/{}/status", system.broker().id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: usize = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 3 * 32 * 1024, "{peak} KiB at most for 32 MiB of messages");
}

/// The journal of version 1, as the first broker wrote it, and what it must always give.
#[test]
fn s05_a_journal_of_every_version_opens() {
    let kept = program::workspace().join("tests/data/journal-version-1");
    let folder = Folder::temporary("version");
    fs::create_dir(folder.path().join("data")).unwrap();
    fs::copy(kept, folder.path().join("data/journal")).unwrap();
    let mut system = System::reserve_with(&["--data", "data"]).in_folder(folder);
    system.start_broker();
    let errors = system.broker().errors();
    assert!(errors.lines().count() == 1 && errors.contains("taken over"), "{errors}");
    assert_eq!(system.messages("t"), ["one", "", "three ü😀", "four", "five"]);
    assert_eq!(system.messages("made"), [""; 0]);
    assert_eq!(system.messages("other topic/ü"), ["a batch", "of two"]);
    let topics = system.get("/topics");
    assert!(topics.text().contains("\"made\"") && !topics.text().contains("\"deleted\""));
    // The numbers of a publisher are kept with its messages.
    for (sequence, offset) in [(0, 3), (1, 4)] {
        let again = system.request("POST", "/publish", numbered("ann", sequence, "again"));
        assert!(again.text().contains("\"duplicate\":true"), "{again:?}");
        assert!(again.text().contains(&format!("\"offset\":{offset}")), "{again:?}");
    }
    assert_eq!(system.request("POST", "/publish", numbered("ann", 3, "gap")).status, 409);
    system.publish("t", "six");
    system.restart_broker();
    assert_eq!(system.broker().errors(), "", "it is taken over once");
    assert_eq!(system.messages("t").last().map(String::as_str), Some("six"));
}

#[test]
fn s05_a_directory_that_an_older_broker_wrote_to_afterwards_is_refused() {
    let (_system, data) = three_messages();
    let older = program::workspace().join("tests/data/journal-version-1");
    fs::copy(older, format!("{data}/journal")).unwrap();
    let errors = damaged(&["--port=0", "--data", &data]);
    assert!(errors.contains("older broker") && errors.contains(SEGMENT), "{errors}");
}

#[test]
fn s05_a_journal_of_a_newer_version_is_refused() {
    let folder = Folder::temporary("version");
    // The checksum is that of the bytes before it: this is a whole header, of version 3.
    folder.write("journal", newer_header());
    let before = folder.read("journal");
    let errors = refused(&["--port=0", "--data", folder.path().to_str().unwrap()]);
    assert!(errors.contains("version 3"), "{errors}");
    assert_eq!(folder.read("journal"), before);
}

fn newer_header() -> String {
    let text = "topic journal 0003 ";
    let checksum = common::crc32::crc32(text.as_bytes());
    format!("{text}{checksum:08x}\n")
}

/// Whoever copies the directory of a broker that runs has all messages up to some moment.
#[test]
fn s06_a_copy_taken_under_load_holds_the_beginning_of_every_topic() {
    let system = durable();
    let load = full_load(&system, Duration::ZERO);
    let mut copies = Vec::new();
    for _ in 0..5 {
        thread::sleep(Duration::from_millis(40));
        let folder = Folder::temporary("copy");
        fs::create_dir(folder.path().join("data")).unwrap();
        for name in ["journal", SEGMENT] {
            let copied = folder.path().join("data").join(name);
            fs::copy(system.folder().path().join("data").join(name), copied).unwrap();
        }
        copies.push(folder);
    }
    let counts = load.finish();
    assert!(counts.is_clean(), "{counts}");
    for folder in copies {
        let mut copy = System::reserve_with(&["--data", "data"]).in_folder(folder);
        copy.start_broker();
        for topic in ["even", "odd"] {
            let (whole, copied) = (system.messages(topic), copy.messages(topic));
            assert!(whole.starts_with(&copied), "{} of {topic}", copied.len());
        }
    }
}

/// What an operator does: asks for a stop, and starts again at once.
#[test]
fn s01_a_broker_that_is_restarted_by_the_dozen_serves_each_time() {
    let mut system = durable();
    for round in 0..20 {
        system.publish("t", &round.to_string());
        system.broker().signal("TERM");
        system.broker().wait();
        system.kill_broker();
        system.start_broker();
        let list = wait_for(DEADLINE, "the list", || Some(system.messages("t")));
        assert_eq!(list.len(), round + 1);
    }
}
