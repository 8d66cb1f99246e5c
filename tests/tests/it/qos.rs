//! At most once, at least once, exactly once: one test for each, publishing and subscribing.
//!
//! | | Publish | Subscribe |
//! |---|---|---|
//! | 0, at most once | dialect of channels, text door | live |
//! | 1, at least once | acknowledged, repeated until it is answered | a name, with `ack` |
//! | 2, exactly once | numbered | the reader stores its offset with its data |

use common::client::{Broker, Event, Message, Publisher, Start, Subscriber};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use tests::raw::Raw;
use tests::wait::{DEADLINE, wait_until};
use tests::{Fate, Proxy, System, publish_body, raw};

/// How many messages are published over a network that loses things.
const COUNT: usize = 60;

/// A network on which every other connection ends before an answer passes.
fn lossy(system: &System) -> Proxy {
    Proxy::start(system.port(), |connection| match connection % 2 {
        0 => Fate::Cut { answered: 0 },
        _ => Fate::Pass,
    })
}

fn numbered(number: usize) -> String {
    format!("message {number}")
}

/// How often each message stands in the topic `t`.
fn copies(system: &System) -> Vec<usize> {
    let mut counts = HashMap::new();
    for message in system.messages("t") {
        *counts.entry(message).or_default() += 1;
    }
    (0..COUNT).map(|number| counts.get(&numbered(number)).copied().unwrap_or(0)).collect()
}

/// Who publishes and never looks back loses what a broken connection took with it, and doubles
/// nothing.
#[test]
fn publish_0_each_message_is_there_once_or_not_at_all() {
    const THIRD: usize = COUNT / 3;
    for is_text in [false, true] {
        let mut system = System::reserve_with(&["--data", "data"]);
        system.start_broker();
        let mut numbers = 0..COUNT;
        let mut publish_a_third = |stream: &mut TcpStream| {
            for message in numbers.by_ref().take(THIRD).map(numbered) {
                // Whoever publishes so does not ask what became of it.
                let _ = if is_text {
                    writeln!(stream, "PUBLISH t {message} ann")
                } else {
                    let arguments = format!(r#"{{"channel":"t","message":"{message}"}}"#);
                    write!(stream, r#"{{"command":"PUBLISH","args":{arguments}}}"#)
                };
            }
        };
        let mut stream = TcpStream::connect(system.address()).unwrap();
        publish_a_third(&mut stream);
        wait_until(DEADLINE, "the first part", || system.messages("t").len() == THIRD);
        system.kill_broker();
        publish_a_third(&mut stream);
        system.start_broker();
        let mut stream = TcpStream::connect(system.address()).unwrap();
        publish_a_third(&mut stream);
        wait_until(DEADLINE, "the last part", || system.messages("t").len() == 2 * THIRD);
        let expected = [[1; THIRD], [0; THIRD], [1; THIRD]].concat();
        assert_eq!(copies(&system), expected);
    }
}

/// Who repeats a publish until it is answered loses nothing, and doubles what was stored when the
/// answer was lost.
#[test]
fn publish_1_each_message_is_there_once_or_more() {
    let system = System::start();
    let proxy = lossy(&system);
    for number in 0..COUNT {
        let request = raw::request("POST", "/publish", publish_body("t", &numbered(number)));
        let is_answered = || {
            let mut stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
            let mut first = [0];
            let sent = stream.write_all(&request).and_then(|()| stream.read(&mut first));
            sent.is_ok_and(|size| size > 0)
        };
        wait_until(DEADLINE, "an answer", is_answered);
    }
    let copies = copies(&system);
    assert!(copies.iter().all(|copies| *copies >= 1), "{copies:?}");
    assert!(copies.iter().any(|copies| *copies > 1), "nothing was repeated: {copies:?}");
}

/// Who numbers what it publishes may repeat it as often as it likes.
#[test]
fn publish_2_each_message_is_there_exactly_once() {
    let system = System::start();
    let proxy = lossy(&system);
    for number in 0..COUNT {
        // One connection for each, so that every other one is lost.
        let broker = Broker::at(format!("127.0.0.1:{}", proxy.port()));
        let mut publisher = Publisher::new(broker);
        publisher.publish("t", &numbered(number)).unwrap();
    }
    assert!(proxy.connections() > COUNT, "nothing was lost");
    assert_eq!(copies(&system), [1; COUNT]);
}

/// Who only listens hears each message once, and nothing of what is said while it is away.
#[test]
fn subscribe_0_each_message_comes_once_or_not_at_all() {
    let system = System::start();
    let listen = || {
        let mut session = Raw::connect(&system.address());
        session.send(r#"{"command":"SUBSCRIBE","args":{"channel":"t"}}"#);
        assert!(session.line().contains("SUBSCRIBE"));
        session
    };
    let mut session = listen();
    system.publish("t", "heard");
    assert!(session.line().contains("\"heard\""));
    drop(session);
    system.publish("t", "said to nobody");
    let mut session = listen();
    system.publish("t", "heard again");
    assert!(session.line().contains("\"heard again\""));
}

/// Who acknowledges what it has handled gets the rest again, however it ends.
#[test]
fn subscribe_1_each_message_comes_once_or_more() {
    let system = System::start();
    let broker = Broker::at(system.address());
    let begin = || {
        let mut subscriber = Subscriber::new(broker.clone());
        subscriber.subscribe("t", Start::Name("n".to_owned())).unwrap();
        subscriber
    };
    drop(begin());
    system.publish_batch("t", (0..COUNT).map(numbered));
    let mut copies = vec![0; COUNT];
    while copies.last() == Some(&0) {
        let mut subscriber = begin();
        // It handles ten messages, and ends without having acknowledged the last three of them.
        for handled in 1..=10 {
            let Ok(Some(event)) = subscriber.next_within(DEADLINE) else { panic!() };
            let message = message(event);
            copies[usize::try_from(message.offset).unwrap()] += 1;
            if handled == 7 {
                subscriber.acknowledge(&message).unwrap();
            }
            if message.offset + 1 == COUNT as u64 {
                break;
            }
        }
    }
    assert!(copies.iter().all(|copies| (1..=2).contains(copies)), "{copies:?}");
    assert!(copies.contains(&2), "nothing came again: {copies:?}");
}

/// Who keeps its place together with what it made of the messages handles each once, however it
/// ends. Here what is kept is a list of texts; in `subscriber` it is a file, whose lines are
/// themselves the place.
#[test]
fn subscribe_2_each_message_is_handled_exactly_once() {
    let system = System::start();
    let broker = Broker::at(system.address());
    system.publish_batch("t", (0..COUNT).map(numbered));
    let mut kept: (Vec<String>, Option<String>) = (Vec::new(), None);
    while kept.0.len() < COUNT {
        let start = match &kept.1 {
            Some(place) => Start::Cursor(place.parse().unwrap()),
            None => Start::Offset(0),
        };
        let mut subscriber = Subscriber::new(broker.clone());
        subscriber.subscribe("t", start).unwrap();
        for handled in 1..=10 {
            let Ok(Some(event)) = subscriber.next_within(DEADLINE) else { panic!() };
            let message = message(event);
            if handled == 10 {
                // It ends in the middle of its work: nothing of it was kept.
                break;
            }
            let place = message.next().to_string();
            kept.0.push(message.text);
            kept.1 = Some(place);
            if kept.0.len() == COUNT {
                break;
            }
        }
    }
    assert_eq!(kept.0, (0..COUNT).map(numbered).collect::<Vec<_>>());

    let mut program = system.subscribe("t");
    for number in COUNT..2 * COUNT {
        system.publish("t", &numbered(number));
        if number % 10 == 0 {
            program.kill();
            system.restart(&mut program);
        }
    }
    program.expect(&(0..2 * COUNT).map(numbered).collect::<Vec<_>>());
}

#[track_caller]
fn message(event: Event) -> Message {
    match event {
        Event::Message(message) => message,
        other => panic!("{other:?}: the list is the same"),
    }
}
