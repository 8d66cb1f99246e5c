//! Printed lines against brokers that answer by script.

use super::*;
use crate::fixture::{bare, broker, list, status};

/// Runs a round for each answer of a scripted broker. Gives the last round's result, what was
/// printed, and what was asked.
fn print(
    from: Option<u64>,
    count: Option<u64>,
    answers: Vec<String>,
) -> (Result<Pace, Failure>, String, Vec<String>) {
    let rounds = answers.len();
    let (remote, thread) = broker(answers);
    let mut printer = Printer {
        remote,
        topic: "t".to_owned(),
        cursor: from.map(|next| Cursor { next, stream: None }),
        left: count,
        output: Vec::new(),
        path: None,
    };
    let result = (0..rounds).map(|_| printer.round()).last().unwrap();
    printer.remote.hang_up();
    (result, String::from_utf8(printer.output).unwrap(), thread.join().unwrap())
}

#[test]
fn from_now_begins_where_the_list_ends() {
    let (result, printed, asked) = print(None, None, vec![list("5", 7, ""), list("5", 8, "h\n")]);
    assert_eq!(result.unwrap(), Pace::AtOnce);
    assert_eq!(printed, "h\n");
    let follow = "GET /messages?topic=t&from=7&stream=5&wait=30";
    assert_eq!(asked, ["HEAD /messages?topic=t", follow]);
}

#[test]
fn a_count_is_asked_for_and_counted_down() {
    let answers = vec![list("5", 2, "a\nb\n"), list("5", 3, "c\n")];
    let (_, printed, asked) = print(Some(0), Some(3), answers);
    assert_eq!(printed, "a\nb\nc\n");
    assert_eq!(asked[0], "GET /messages?topic=t&from=0&limit=3&wait=30");
    assert_eq!(asked[1], "GET /messages?topic=t&from=2&limit=1&stream=5&wait=30");
}

#[test]
fn a_broker_that_answers_with_nothing_at_once_is_not_asked_at_once() {
    // At once is not always soon on a busy machine.
    let is_later = |_| print(Some(3), None, vec![list("5", 3, "")]).0.unwrap() == Pace::Later;
    assert!((0..100).any(is_later));
}

#[test]
fn nothing_is_asked_when_all_is_printed() {
    let (remote, _) = broker(Vec::new());
    let mut printer = Printer {
        remote,
        topic: "t".to_owned(),
        cursor: None,
        left: Some(0),
        output: Vec::new(),
        path: None,
    };
    assert_eq!(printer.round().unwrap(), Pace::Never);
}

#[test]
fn after_a_cut_it_goes_on_with_the_first_line_that_was_not_whole() {
    let cut = "HTTP/1.1 200 OK\r\nStream-Next-Offset: 2\r\nStream-Id: 5\r\n\
               Transfer-Encoding: chunked\r\n\r\n3\r\na\nb\r\n";
    let (_, printed, asked) = print(Some(0), None, vec![cut.to_owned(), list("5", 2, "bb\n")]);
    assert_eq!(printed, "a\nbb\n");
    assert_eq!(asked[1], "GET /messages?topic=t&from=1&stream=5&wait=30");
}

#[test]
fn a_topic_that_was_made_anew_is_printed_from_its_start() {
    let answers = vec![list("5", 1, "a\n"), status(410), list("6", 1, "b\n")];
    let (_, printed, asked) = print(Some(0), None, answers);
    assert_eq!(printed, "a\nb\n");
    assert_eq!(asked[2], "GET /messages?topic=t&from=0&wait=30");
}

#[test]
fn an_offset_past_the_end_is_an_error_of_the_user() {
    let (result, _, _) = print(Some(9), None, vec![status(416)]);
    assert!(matches!(result, Err(Failure::Final(Error::Refused { .. }))));
}

#[test]
fn a_broker_without_offsets_is_named_with_the_way_out() {
    let (result, _, _) = print(None, None, vec![bare("a\n")]);
    let Err(Failure::Final(error)) = result else { panic!("{result:?}") };
    assert!(error.to_string().contains("without --topic"), "{error}");
}
