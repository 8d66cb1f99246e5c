//! The publisher against brokers that follow a script.

use super::*;
use crate::client::fixture::{READ, broker, nobody};
use crate::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const STORED: &str = r#"{"status":"success","message":"m","offset":7,"appended":1,"stream":"00000000000000ff","durable":true}"#;
const NOT_NOW: &str = r#"{"status":"error","message":"full","code":507}"#;
const TOO_LONG: &str = r#"{"status":"error","message":"too long","code":413}"#;
const NOTHING_THERE: &str = r#"{"status":"error","message":"gap","expected":0,"code":409}"#;

/// Epoch, sequence and messages of each command.
fn sequences(commands: &[String]) -> Vec<String> {
    let read = |line: &String| {
        let command = json::parse(line.as_bytes()).unwrap();
        let field = |key| command.get(key).unwrap();
        format!("{} {} {}", field("epoch"), field("sequence"), field("messages"))
    };
    commands.iter().map(read).collect()
}

/// What `refused` says of a topic.
#[track_caller]
fn assert_refused(result: Result<impl std::fmt::Debug, Error>, expected: u16) {
    match result {
        Err(Error::Refused { code, .. }) => assert_eq!(code, expected),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_publish_is_answered_with_its_receipt() {
    let (broker, thread) = broker(&[&[READ, STORED]]);
    let receipt = Publisher::new(broker).publish("t", "a").unwrap();
    let expected =
        Receipt { stream: "00000000000000ff".parse().unwrap(), offset: Some(7), is_durable: true };
    assert_eq!(receipt, expected);
    assert_eq!(sequences(&thread.join().unwrap()), [r#"0 0 ["a"]"#]);
}

#[test]
fn what_was_not_answered_is_sent_again_under_the_same_number() {
    let (broker, thread) = broker(&[&[READ, STORED, READ], &[READ, NOT_NOW], &[READ, STORED]]);
    let mut publisher = Publisher::new(broker);
    publisher.publish("t", "a").unwrap();
    publisher.publish("t", "b").unwrap();
    assert_eq!(publisher.acknowledged(), 2);
    let expected = [r#"0 0 ["a"]"#, r#"0 1 ["b"]"#, r#"0 1 ["b"]"#, r#"0 1 ["b"]"#];
    assert_eq!(sequences(&thread.join().unwrap()), expected);
}

#[test]
fn a_broker_that_has_forgotten_gets_a_new_epoch_and_the_user_is_told_once() {
    let (broker, thread) =
        broker(&[&[READ, STORED, READ, NOTHING_THERE], &[READ, STORED, READ, STORED]]);
    let notices = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&notices);
    let broker = broker.on_notice(move |notice| told.lock().unwrap().push(notice.to_string()));
    let mut publisher = Publisher::new(broker);
    for message in ["a", "b", "c"] {
        publisher.publish("t", message).unwrap();
    }
    let expected = [r#"0 0 ["a"]"#, r#"0 1 ["b"]"#, r#"1 0 ["b"]"#, r#"1 1 ["c"]"#];
    assert_eq!(sequences(&thread.join().unwrap()), expected);
    let notices = notices.lock().unwrap();
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(notices[0].contains("lost"), "{notices:?}");
}

#[test]
fn a_refused_message_is_found_out_and_those_around_it_are_published() {
    let (broker, thread) =
        broker(&[&[READ, TOO_LONG], &[READ, STORED, READ, TOO_LONG], &[READ, STORED]]);
    let mut publisher = Publisher::new(broker);
    for message in ["a", "b", "c"] {
        publisher.send("t", message).unwrap();
    }
    assert_refused(publisher.flush(), 413);
    assert_eq!(publisher.acknowledged(), 1);
    publisher.flush().unwrap();
    let commands = sequences(&thread.join().unwrap());
    assert_eq!(commands[0], r#"0 0 ["a","b","c"]"#);
    assert_eq!(commands[1..3], [r#"0 0 ["a"]"#, r#"0 1 ["b"]"#]);
    assert_eq!(commands[3], r#"1 0 ["c"]"#);
}

#[test]
fn what_belongs_together_is_refused_together() {
    let (broker, thread) = broker(&[&[READ, TOO_LONG], &[READ, STORED]]);
    let mut publisher = Publisher::new(broker);
    assert_refused(publisher.publish_together("t", &["a", "b"]), 413);
    publisher.publish("t", "c").unwrap();
    assert_eq!(sequences(&thread.join().unwrap()), [r#"0 0 ["a","b"]"#, r#"1 0 ["c"]"#]);
}

#[test]
fn what_no_command_can_hold_is_refused_before_it_is_sent() {
    let mut publisher = Publisher::new(nobody());
    let long = "\u{1}".repeat(BODY_SIZE_MAX / 5);
    assert_refused(publisher.publish("t", &long), 413);
    assert_refused(publisher.send("t", &long), 413);
    assert_refused(publisher.publish_together("t", &[""; 0]), 400);
}

#[test]
fn a_name_that_no_topic_can_have_is_refused_before_it_is_sent() {
    let mut publisher = Publisher::new(nobody());
    let long = "t".repeat(TOPIC_NAME_SIZE_MAX + 1);
    assert_refused(publisher.publish(&long, "m"), 400);
    assert_refused(publisher.publish_together(&long, &["m", "n"]), 400);
    assert_refused(publisher.send(&long, "m"), 400);
    assert_refused(publisher.next_sequence(&long), 400);
    assert!(publisher.queue.is_empty());
    publisher.send(&long[1..], "m").unwrap();
    assert!(!publisher.queue.is_empty());
}

#[test]
fn a_name_that_was_used_before_begins_a_newer_epoch() {
    let older = r#"{"status":"error","message":"old","epoch":9000000000000,"code":403}"#;
    let (broker, thread) = broker(&[&[READ, older], &[READ, STORED, READ, older]]);
    let mut publisher = Publisher::named(broker, "ann");
    publisher.publish("t", "a").unwrap();
    // From here on it is somebody else who has the name.
    assert_refused(publisher.publish("t", "b"), 403);
    let commands = sequences(&thread.join().unwrap());
    assert_eq!(commands[1..], [r#"9000000000001 0 ["a"]"#, r#"9000000000001 1 ["b"]"#]);
}

#[test]
fn what_may_be_stored_is_not_published_again_in_a_newer_epoch() {
    let older = r#"{"status":"error","message":"old","epoch":9000000000000,"code":403}"#;
    // The first answer is lost, and by the second attempt somebody else has the name.
    let (broker, thread) = broker(&[&[READ], &[READ, older]]);
    let mut publisher = Publisher::named(broker.patience(Duration::from_secs(10)), "ann");
    assert_refused(publisher.publish("t", "a"), 403);
    assert_eq!(thread.join().unwrap().len(), 2);
}

#[test]
fn a_name_at_its_last_epoch_is_refused() {
    let last = r#"{"status":"error","message":"old","epoch":18446744073709551615,"code":403}"#;
    let (broker, thread) = broker(&[&[READ, last]]);
    assert_refused(Publisher::named(broker, "ann").publish("t", "a"), 403);
    thread.join().unwrap();
}

#[test]
fn a_refusal_ends_an_outage() {
    let (broker, thread) = broker(&[&[READ], &[READ, TOO_LONG], &[READ], &[READ, STORED]]);
    let patience = Duration::from_millis(200);
    let mut publisher = Publisher::new(broker.patience(patience));
    assert_refused(publisher.publish("t", "a"), 413);
    std::thread::sleep(2 * patience);
    publisher.publish("t", "b").unwrap();
    thread.join().unwrap();
}

#[test]
fn a_resuming_publisher_asks_for_the_next_sequence_and_goes_on_there() {
    let at_five = r#"{"status":"error","message":"gap","expected":5,"code":409}"#;
    let at_two = r#"{"status":"error","message":"gap","expected":2,"code":409}"#;
    let (broker, thread) = broker(&[&[READ, at_five, READ, STORED, READ, at_two]]);
    let mut publisher = Publisher::resuming(broker, "file");
    assert_eq!(publisher.next_sequence("t").unwrap(), 5);
    publisher.publish("t", "a").unwrap();
    let result = publisher.publish("t", "b");
    assert!(matches!(result, Err(Error::Forgotten { expected: 2, .. })), "{result:?}");
    let commands = thread.join().unwrap();
    let request = json::parse(commands[0].as_bytes()).unwrap();
    assert_eq!(request.get("sequence").and_then(Value::as_u64), Some(u64::MAX));
    assert_eq!(sequences(&commands[1..]), [r#"0 5 ["a"]"#, r#"0 6 ["b"]"#]);
}

#[test]
fn the_token_comes_first_on_every_connection() {
    const WELCOME: &str = r#"{"status":"success","message":"Authenticated"}"#;
    let (broker, thread) = broker(&[&[READ, WELCOME, READ], &[READ, WELCOME, READ, STORED]]);
    Publisher::new(broker.token("s3\"cret")).publish("t", "a").unwrap();
    let commands = thread.join().unwrap();
    for command in [&commands[0], &commands[2]] {
        assert_eq!(command, r#"{"command":"auth","token":"s3\"cret"}"#);
    }
}

#[test]
fn a_wrong_token_is_final() {
    const WRONG: &str = r#"{"status":"error","message":"wrong token","code":401}"#;
    let (broker, thread) = broker(&[&[READ, WRONG]]);
    assert_refused(Publisher::new(broker.token("x")).publish("t", "a"), 401);
    thread.join().unwrap();
}

#[test]
fn without_a_broker_it_gives_up_when_patience_ends() {
    let mut publisher = Publisher::new(nobody().patience(Duration::from_millis(50)));
    let result = publisher.publish("t", "a");
    assert!(matches!(result, Err(Error::GaveUp { .. })), "{result:?}");
}

#[test]
fn an_address_that_is_none_is_not_tried_for_ever() {
    let result = Publisher::new(Broker::at("nonsense")).publish("t", "a");
    assert!(matches!(result, Err(Error::GaveUp { .. })), "{result:?}");
}
