//! The subscriber against brokers that follow a script.

use super::*;
use crate::client::fixture::{READ, broker};
use crate::limits::ANSWER_TIMEOUT;

const CONFIRMED: &str =
    r#"{"status":"success","message":"m","next":3,"stream":"00000000000000aa"}"#;
const DONE: &str = r#"{"status":"success","message":"m"}"#;
const THREE: &str =
    r#"{"event":"message","topic":"t","offset":3,"message":"three","time":1,"publisher":"p"}"#;
const FOUR: &str =
    r#"{"event":"message","topic":"t","offset":4,"message":"four","time":2,"publisher":"p"}"#;

fn text(event: Option<Result<Event, Error>>) -> String {
    match event {
        Some(Ok(Event::Message(message))) => message.text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn messages_go_on_after_a_connection_was_lost() {
    let (broker, thread) = broker(&[&[READ, CONFIRMED, THREE], &[READ, CONFIRMED, FOUR]]);
    let mut subscriber = Subscriber::new(broker);
    subscriber.subscribe("t", Start::Now).unwrap();
    assert_eq!(text(subscriber.next()), "three");
    assert_eq!(text(subscriber.next()), "four");
    let commands = thread.join().unwrap();
    assert_eq!(
        commands[1],
        r#"{"command":"subscribe","topic":"t","from":4,"stream":"00000000000000aa","digest":true}"#
    );
}

#[test]
fn what_comes_while_an_answer_is_waited_for_is_kept() {
    let (broker, thread) = broker(&[&[READ, CONFIRMED, READ, THREE, CONFIRMED, READ, FOUR, DONE]]);
    let mut subscriber = Subscriber::new(broker);
    subscriber.subscribe("t", Start::Now).unwrap();
    subscriber.subscribe("u", Start::Now).unwrap();
    subscriber.unsubscribe("u").unwrap();
    assert_eq!(text(subscriber.next()), "three");
    assert_eq!(text(subscriber.next()), "four");
    thread.join().unwrap();
}

#[test]
fn the_iterator_ends_when_nothing_is_subscribed_to() {
    let (broker, thread) = broker(&[&[READ, CONFIRMED, READ, THREE, DONE]]);
    let mut subscriber = Subscriber::new(broker);
    assert!(subscriber.next().is_none());
    subscriber.subscribe("t", Start::Now).unwrap();
    subscriber.unsubscribe("t").unwrap();
    assert!(subscriber.next().is_none());
    thread.join().unwrap();
}

#[test]
fn an_acknowledgement_names_the_message_and_goes_its_own_way() {
    let (broker, thread) = broker(&[&[READ, CONFIRMED, THREE], &[READ, DONE]]);
    let mut subscriber = Subscriber::new(broker);
    subscriber.subscribe("t", Start::Name("n".to_owned())).unwrap();
    let Some(Ok(Event::Message(message))) = subscriber.next() else { panic!() };
    assert_eq!(message.next().to_string(), "4@00000000000000aa");
    subscriber.acknowledge(&message).unwrap();
    let commands = thread.join().unwrap();
    let expected =
        r#"{"command":"ack","topic":"t","subscriber":"n","offset":3,"stream":"00000000000000aa"}"#;
    assert_eq!(commands[1], expected);
    let stranger = Message { topic: "u".into(), ..message };
    assert!(matches!(subscriber.acknowledge(&stranger), Err(Error::Refused { code: 400, .. })));
}

#[test]
fn a_wait_for_the_next_event_ends_in_time() {
    let (broker, thread) = broker(&[&[READ, CONFIRMED, READ, DONE]]);
    let mut subscriber = Subscriber::new(broker);
    subscriber.subscribe("t", Start::Now).unwrap();
    assert!(subscriber.next_within(Duration::from_millis(20)).unwrap().is_none());
    subscriber.unsubscribe("t").unwrap();
    thread.join().unwrap();
}

#[test]
fn a_wait_for_the_next_event_ends_in_time_with_a_broker_that_does_not_answer() {
    let (broker, thread) = broker(&[&[READ, DONE, READ, CONFIRMED], &[READ, READ]]);
    let mut subscriber = Subscriber::new(broker.token("secret"));
    subscriber.subscribe("t", Start::Now).unwrap();
    // On a busy machine the time may be over before there is a second connection.
    while !thread.is_finished() {
        let began = Instant::now();
        assert!(subscriber.next_within(Duration::from_millis(20)).unwrap().is_none());
        assert!(began.elapsed() < ANSWER_TIMEOUT / 2, "{:?}", began.elapsed());
    }
    thread.join().unwrap();
}

#[test]
fn a_broker_that_is_silent_for_long_is_asked_for_a_sign() {
    let (broker, thread) = broker(&[&[READ, CONFIRMED, READ, DONE, THREE]]);
    let mut subscriber = Subscriber::new(broker);
    subscriber.silence_max = Duration::from_millis(20);
    subscriber.subscribe("t", Start::Now).unwrap();
    assert_eq!(text(subscriber.next()), "three");
    assert_eq!(thread.join().unwrap()[1], r#"{"command":"pull","topic":"t","limit":0}"#);
}

#[test]
fn a_broker_that_cannot_at_present_is_not_waited_for_beyond_patience() {
    const BUSY: &str = r#"{"status":"error","message":"busy","code":503}"#;
    let (broker, _) = broker(&[&[READ, BUSY] as &[&str]; 50]);
    let mut subscriber = Subscriber::new(broker.patience(Duration::from_millis(50)));
    let result = subscriber.subscribe("t", Start::Now);
    assert!(
        matches!(result, Err(Error::GaveUp { trouble: Trouble::Answer(_), .. })),
        "the pauses began again with every attempt: {result:?}"
    );
}

#[test]
fn an_answer_has_its_time_from_the_request_on() {
    let (broker, thread) = broker(&[&[READ, CONFIRMED, READ, CONFIRMED]]);
    let mut subscriber = Subscriber::new(broker.patience(Duration::from_millis(50)));
    subscriber.subscribe("t", Start::Now).unwrap();
    // The program was busy with other things for longer than an answer may take.
    subscriber.heard = Instant::now().checked_sub(2 * ANSWER_TIMEOUT).unwrap();
    subscriber.subscribe("u", Start::Now).unwrap();
    thread.join().unwrap();
}

#[test]
fn after_a_refusal_the_iteration_is_over() {
    const REFUSED: &str = r#"{"status":"error","message":"Topic 't' not found","code":404}"#;
    let (broker, thread) = broker(&[&[READ, CONFIRMED], &[READ, REFUSED]]);
    let mut subscriber = Subscriber::new(broker);
    subscriber.subscribe("t", Start::Now).unwrap();
    assert!(matches!(subscriber.next(), Some(Err(Error::Refused { code: 404, .. }))));
    assert!(subscriber.next().is_none());
    thread.join().unwrap();
}

#[test]
fn a_server_that_knows_http_alone_is_not_asked_for_ever() {
    for line in ["HTTP/1.1 400 Bad Request", "<!DOCTYPE HTML>"] {
        let (broker, thread) = broker(&[&[READ, line]]);
        let error = Subscriber::new(broker).subscribe("t", Start::Now).unwrap_err();
        assert!(crate::flags::one_line(&error).contains("without --topic"), "{error:?}");
        thread.join().unwrap();
    }
}
