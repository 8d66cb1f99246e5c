//! The kept file against brokers that follow a script.

use super::*;
use crate::fixture::{Folder, bare, broker, list, status};
use std::fs;

/// Runs a round for each answer of a scripted broker, on a file that holds `before`. Gives what
/// the file holds in the end, what was kept as `.old`, and what was asked.
fn keep(before: &str, answers: Vec<String>) -> (String, Option<String>, Vec<String>) {
    let folder = Folder::new();
    fs::write(folder.file(), before).unwrap();
    let rounds = answers.len();
    let (broker, thread) = broker(answers);
    let received = Received::open(&folder.file()).unwrap();
    let mut keeper = Keeper::new(broker, "t".to_owned(), received);
    for _ in 0..rounds {
        match keeper.round() {
            Ok(_) | Err(Failure::Passing(_)) => {}
            Err(Failure::Final(error)) => panic!("{error}"),
        }
    }
    keeper.list.client.hang_up();
    let asked = thread.join().unwrap();
    let after = fs::read_to_string(folder.file()).unwrap();
    (after, fs::read_to_string(folder.old()).ok(), asked)
}

const BARE: &str = "GET /messages?topic=t";

#[test]
fn an_empty_file_takes_the_first_answer_and_goes_on_from_there() {
    let answers = vec![
        list("0000000000000005", 2, "a\nb\n"),
        list("0000000000000005", 3, "c\n"),
        list("0000000000000005", 3, ""),
    ];
    let (after, old, asked) = keep("", answers);
    assert_eq!(after, "a\nb\nc\n");
    assert_eq!(old, None);
    let follow =
        |from| format!("GET /messages?topic=t&from={from}&stream=0000000000000005&wait=30");
    assert_eq!(asked, [BARE.to_owned(), follow(2), follow(3)]);
}

#[test]
fn a_file_that_is_the_beginning_of_the_list_is_proved_by_its_digest_and_goes_on() {
    // The CRC-32 of "a\nb\n".
    let request = "GET /messages?topic=t&from=2&digest=18572a97&wait=30";
    let (after, old, asked) = keep(
        "a\nb\nc",
        vec![list("0000000000000005", 3, "a\nb\nc\n"), list("0000000000000005", 3, "c\n")],
    );
    assert_eq!(asked, [BARE, request]);
    assert_eq!(after, "a\nb\nc\n");
    assert_eq!(old, None);
}

#[test]
fn a_file_of_another_list_is_kept_and_begun_anew() {
    for other in [410, 412, 416] {
        let answers = vec![
            list("0000000000000005", 1, "x\n"),
            status(other),
            list("0000000000000005", 1, "x\n"),
        ];
        let (after, old, asked) = keep("a\nb\n", answers);
        assert_eq!(after, "x\n");
        assert_eq!(old.as_deref(), Some("a\nb\n"));
        assert_eq!(asked[2], "GET /messages?topic=t&from=0&digest=00000000&wait=30");
    }
}

#[test]
fn a_list_that_is_begun_anew_under_way_is_noticed_by_its_stream() {
    let answers = vec![
        list("0000000000000005", 1, "a\n"),
        status(410),
        list("0000000000000006", 1, "b\n"),
        list("0000000000000006", 1, ""),
    ];
    let (after, old, asked) = keep("", answers);
    assert_eq!(after, "b\n");
    assert_eq!(old.as_deref(), Some("a\n"));
    assert_eq!(asked[1], "GET /messages?topic=t&from=1&stream=0000000000000005&wait=30");
    assert_eq!(asked[3], "GET /messages?topic=t&from=1&stream=0000000000000006&wait=30");
}

#[test]
fn an_answer_that_is_cut_short_leaves_whole_lines_and_the_rest_is_asked_for() {
    let cut = "HTTP/1.1 200 OK\r\nStream-Next-Offset: 3\r\nStream-Id: 0000000000000005\r\n\
               Transfer-Encoding: chunked\r\n\r\n6\r\na\nb\nc_\r\n";
    let (after, old, asked) = keep("", vec![cut.to_owned(), list("0000000000000005", 3, "c_c\n")]);
    assert_eq!(after, "a\nb\nc_c\n");
    assert_eq!(old, None);
    // On a new connection the file is proved again.
    assert_eq!(asked[1], "GET /messages?topic=t&from=2&digest=18572a97&wait=30");
}

#[test]
fn no_failure_takes_anything_from_the_file() {
    let first = list("0000000000000005", 1, "a\n");
    let mut answers = vec![first];
    answers.extend([401, 404, 500, 503, 507].map(status));
    answers.push("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nb".to_owned());
    answers.push("not HTTP\r\n\r\n".to_owned());
    let (after, old, _) = keep("", answers);
    assert_eq!(after, "a\n");
    assert_eq!(old, None);
}

#[test]
fn bare_lists_are_compared_and_only_what_is_new_is_appended() {
    let answers = vec![bare(""), bare("a\n"), bare("a\n"), bare("a\nb\nc\n")];
    let (after, old, asked) = keep("", answers);
    assert_eq!(after, "a\nb\nc\n");
    assert_eq!(old, None);
    assert_eq!(asked, [BARE; 4]);
}

#[test]
fn a_broker_that_serves_one_connection_at_a_time_is_left_to_others() {
    let folder = Folder::new();
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na\n".to_owned();
    let (broker, thread) = broker(vec![answer; 2]);
    let mut other = broker.http();
    let received = Received::open(&folder.file()).unwrap();
    let mut keeper = Keeper::new(broker, "t".to_owned(), received);
    assert!(keeper.round().is_ok());
    let patience = Duration::from_secs(30);
    assert_eq!(other.request("GET", "/messages?topic=t", b"", patience).unwrap().status, 200);
    assert_eq!(thread.join().unwrap(), [BARE; 2]);
}

#[test]
fn a_bare_list_may_lack_the_last_line_end() {
    let (after, old, _) = keep("", vec![bare("a"), bare("a\nb"), bare("a\nb")]);
    assert_eq!(after, "a\nb\n");
    assert_eq!(old, None);
}

#[test]
fn a_bare_list_that_differs_once_may_have_been_cut_and_changes_nothing() {
    let answers = vec![bare("a\nb\n"), bare("a\n"), bare("a\nb\nc\n"), bare(""), status(500)];
    let (after, old, _) = keep("", answers);
    assert_eq!(after, "a\nb\nc\n");
    assert_eq!(old, None);
}

#[test]
fn a_bare_list_that_differs_twice_is_another_list() {
    let answers = vec![bare("a\nb\n"), bare("x\n"), bare("x\n"), bare("x\n")];
    let (after, old, _) = keep("", answers);
    assert_eq!(after, "x\n");
    assert_eq!(old.as_deref(), Some("a\nb\n"));
}

#[test]
fn a_broker_that_takes_the_place_of_another_is_asked_what_it_knows() {
    let answers = vec![
        list("0000000000000005", 1, "a\n"),
        bare("a\nb\n"),
        bare("a\nb\n"),
        list("0000000000000005", 3, "a\nb\nc\n"),
    ];
    let (after, old, asked) = keep("", answers);
    assert_eq!(after, "a\nb\n");
    assert_eq!(old, None);
    assert_eq!(asked[2..], [BARE, BARE]);
}

#[test]
fn a_file_that_somebody_removed_is_written_again() {
    let folder = Folder::new();
    let (broker, thread) =
        broker(vec![list("0000000000000005", 1, "a\n"), list("0000000000000005", 2, "a\nb\n")]);
    let received = Received::open(&folder.file()).unwrap();
    let mut keeper = Keeper::new(broker, "t".to_owned(), received);
    keeper.round().unwrap();
    fs::remove_file(folder.file()).unwrap();
    keeper.round().unwrap();
    assert_eq!(fs::read_to_string(folder.file()).unwrap(), "a\nb\n");
    assert_eq!(thread.join().unwrap()[1], "GET /messages?topic=t&from=0&digest=00000000&wait=30");
}

/// `/dev/full` takes no byte, as a disk without room.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_waited_for_and_the_file_goes_on_where_it_was() {
    let folder = Folder::new();
    let rest = || list("0000000000000005", 2, "b\n");
    let (broker, thread) =
        broker(vec![list("0000000000000005", 1, "a\n"), rest(), bare("a\nb\n"), rest()]);
    let mut keeper = Keeper::new(broker, "t".to_owned(), Received::open(&folder.file()).unwrap());
    keeper.round().unwrap();

    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    keeper.received.write_to(full);
    for knows_offsets in [true, false] {
        keeper.knows_offsets = knows_offsets;
        let Err(Failure::Passing(Trouble::Sink(cause))) = keeper.round() else {
            panic!("it goes on")
        };
        let line = disk_full(keeper.received.path(), &cause);
        assert!(line.starts_with("the disk is full: ") && line.contains("received.txt"), "{line}");
        assert_eq!(fs::read_to_string(folder.file()).unwrap(), "a\n");
    }

    let file = fs::OpenOptions::new().append(true).open(folder.file()).unwrap();
    keeper.received.write_to(file);
    keeper.knows_offsets = true;
    keeper.round().unwrap();
    assert_eq!(fs::read_to_string(folder.file()).unwrap(), "a\nb\n");
    assert!(thread.join().unwrap()[3].contains("from=1"));
}

#[test]
fn the_topic_is_encoded_in_a_request() {
    let folder = Folder::new();
    let (broker, thread) = broker(vec![bare("")]);
    let received = Received::open(&folder.file()).unwrap();
    let mut keeper = Keeper::new(broker, "a b&c=d/é+%".to_owned(), received);
    keeper.round().unwrap();
    keeper.list.client.hang_up();
    let asked = thread.join().unwrap();
    assert_eq!(asked, ["GET /messages?topic=a%20b%26c%3Dd%2F%C3%A9%2B%25"]);
}
