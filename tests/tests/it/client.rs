//! The client library, across restarts of the broker and networks that lose things.

use common::client::{Broker, Error, Event, Message, Publisher, Start, Subscriber};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tests::wait::{DEADLINE, wait_until};
use tests::{Fate, Folder, Process, Proxy, System, program};

fn broker(system: &System) -> Broker {
    Broker::at(system.address())
}

/// A broker whose notices are kept.
fn heard(broker: Broker) -> (Broker, Arc<Mutex<Vec<String>>>) {
    let notices = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&notices);
    (broker.on_notice(move |notice| told.lock().unwrap().push(notice.to_string())), notices)
}

/// A subscriber of the topic `t`.
fn subscriber(broker: Broker, start: Start) -> Subscriber {
    let mut subscriber = Subscriber::new(broker);
    subscriber.subscribe("t", start).unwrap();
    subscriber
}

/// The next event, which has to be a message.
#[track_caller]
fn message(subscriber: &mut Subscriber) -> Message {
    match subscriber.next() {
        Some(Ok(Event::Message(message))) => message,
        other => panic!("{other:?} is no message"),
    }
}

#[track_caller]
fn text(subscriber: &mut Subscriber) -> String {
    message(subscriber).text
}

#[track_caller]
fn assert_reset(subscriber: &mut Subscriber) {
    match subscriber.next() {
        Some(Ok(Event::Reset { topic })) => assert_eq!(&*topic, "t"),
        other => panic!("{other:?} is no reset"),
    }
}

/// The message with this number.
fn numbered(number: usize) -> String {
    format!("message {number}")
}

/// A network that lets a few kilobytes of answers through before it cuts a connection, and after
/// so many connections everything.
fn cutting(system: &System, connections_max: usize) -> Proxy {
    Proxy::start(system.port(), move |connection| match connection % 3 {
        _ if connection >= connections_max => Fate::Pass,
        0 => Fate::Cut { answered: 2_000 + 977 * connection },
        1 => Fate::Cut { answered: 150 * connection },
        _ => Fate::Refuse,
    })
}

#[test]
fn a_pattern_ends_with_the_topics_that_nothing_else_chooses() {
    let system = System::start();
    let mut publisher = Publisher::new(broker(&system));
    let mut subscriber = Subscriber::new(broker(&system));
    for pattern in ["a/*", "**/x"] {
        subscriber.subscribe_pattern(pattern, Start::Offset(0)).unwrap();
    }
    for topic in ["a/1", "a/2", "a/x"] {
        publisher.publish(topic, "one").unwrap();
        assert_eq!(text(&mut subscriber), "one");
    }
    subscriber.subscribe("a/2", Start::Now).unwrap();
    subscriber.unsubscribe_pattern("a/*").unwrap();

    for topic in ["a/1", "a/2", "a/3", "a/x", "a/2"] {
        publisher.publish(topic, "two").unwrap();
    }
    let topics = [(); 3].map(|()| message(&mut subscriber).topic.to_string());
    assert_eq!(topics, ["a/2", "a/x", "a/2"]);

    subscriber.unsubscribe_pattern("a/*").unwrap();
    subscriber.unsubscribe_pattern("**/x").unwrap();
    subscriber.unsubscribe("a/2").unwrap();
    assert!(subscriber.next().is_none(), "nothing is subscribed to any more");
}

#[test]
fn a_topic_that_was_left_does_not_come_back_with_a_pattern() {
    let mut system = System::reserve_with(&["--data", "data"]);
    system.start_broker();
    for topic in ["a/left", "a/other", "a/again"] {
        system.publish(topic, "before");
    }
    let mut subscriber = Subscriber::new(broker(&system));
    subscriber.subscribe_pattern("a/*", Start::Now).unwrap();
    subscriber.subscribe("a/left", Start::Now).unwrap();
    subscriber.unsubscribe("a/left").unwrap();
    subscriber.unsubscribe("a/again").unwrap();
    subscriber.subscribe("a/again", Start::Now).unwrap();
    for round in ["over the same connection", "over another", "and over another"] {
        for topic in ["a/left", "a/other", "a/left", "a/again"] {
            system.publish(topic, round);
        }
        // Over a new connection, the topics come in any order.
        let read = [(); 2].map(|()| message(&mut subscriber));
        let mut read = read.map(|message| (message.topic.to_string(), message.text));
        read.sort();
        let expected = ["a/again", "a/other"].map(|topic| (topic.to_owned(), round.to_owned()));
        assert_eq!(read, expected);
        system.restart_broker();
    }
    subscriber.subscribe_pattern("*/left", Start::Offset(0)).unwrap();
    assert_eq!(text(&mut subscriber), "before");
}

#[test]
fn a_message_arrives_with_all_that_is_known_about_it() {
    let system = System::start();
    let mut subscriber = subscriber(broker(&system), Start::Now);
    let mut publisher = Publisher::named(broker(&system), "ann");
    let receipt = publisher.publish("t", "h\u{e9} \"\\").unwrap();
    let message = message(&mut subscriber);
    assert_eq!((&*message.topic, message.offset), ("t", 0));
    assert_eq!(message.text, "h\u{e9} \"\\");
    assert_eq!(message.publisher.as_deref(), Some("ann"));
    assert_eq!((message.stream, message.offset), (receipt.stream, receipt.offset.unwrap()));
    assert!(message.time > 1_700_000_000_000);
    assert!(!receipt.is_durable, "it is in memory only");
}

#[test]
fn messages_are_sent_in_order_and_together() {
    let system = System::start();
    let mut publisher = Publisher::new(broker(&system));
    for number in 0..100_000 {
        publisher.send("t", &numbered(number)).unwrap();
    }
    let receipt = publisher.publish_together("t", &["one", "two"]).unwrap();
    assert_eq!(receipt.offset, Some(100_000));
    assert_eq!(publisher.acknowledged(), 100_002);
    let mut subscriber = subscriber(broker(&system), Start::Offset(0));
    for number in 0..100_000 {
        let message = message(&mut subscriber);
        assert_eq!((message.offset, message.text), (number as u64, numbered(number)));
    }
    assert_eq!(text(&mut subscriber), "one");
}

#[test]
fn one_subscriber_reads_several_topics_and_leaves_them_again() {
    let system = System::start();
    let mut subscriber = Subscriber::new(broker(&system));
    for topic in ["a", "b", "a"] {
        subscriber.subscribe(topic, Start::Offset(0)).unwrap();
    }
    for topic in ["a", "b"] {
        system.publish(topic, topic);
        assert_eq!(text(&mut subscriber), topic);
    }
    subscriber.unsubscribe("a").unwrap();
    system.publish("a", "unheard");
    system.publish("b", "heard");
    assert_eq!(text(&mut subscriber), "heard");
    subscriber.unsubscribe("b").unwrap();
    assert!(subscriber.next().is_none());
}

#[test]
fn a_subscription_begins_where_it_is_asked_to() {
    let system = System::start();
    system.publish_batch("t", (0..10).map(numbered));
    let first = message(&mut subscriber(broker(&system), Start::Offset(7)));
    assert_eq!(first.text, numbered(7));
    let second = message(&mut subscriber(broker(&system), Start::Cursor(first.next())));
    assert_eq!(second.text, numbered(8));
    let mut live = subscriber(broker(&system), Start::Now);
    assert!(live.next_within(Duration::from_millis(10)).unwrap().is_none());
    system.publish("t", "now");
    assert_eq!(text(&mut live), "now");

    let past_end = Subscriber::new(broker(&system)).subscribe("t", Start::Offset(12));
    assert!(matches!(past_end, Err(Error::Refused { code: 416, .. })), "{past_end:?}");
    let other_list = "3@00c0ffee00c0ffee".parse().unwrap();
    let mut moved = subscriber(broker(&system), Start::Cursor(other_list));
    assert_reset(&mut moved);
    assert_eq!(text(&mut moved), numbered(0));
}

#[test]
fn a_refused_message_is_named_and_the_others_are_published() {
    let system = System::start_with(&["--max-message", "100"]);
    let mut publisher = Publisher::new(broker(&system));
    let long = "x".repeat(101);
    for message in ["one", "two", &long, "three", "line\nbreak", "four"] {
        publisher.send("t", message).unwrap();
    }
    let refused: Vec<_> = std::iter::from_fn(|| publisher.flush().err()).collect();
    let codes: Vec<_> = refused
        .iter()
        .map(|error| match error {
            Error::Refused { code, .. } => *code,
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(codes, [413, 400]);
    assert_eq!(publisher.acknowledged(), 4);
    publisher.publish("t", "five").unwrap();
    assert_eq!(system.messages("t"), ["one", "two", "three", "four", "five"]);
}

#[test]
fn a_network_that_cuts_connections_neither_loses_nor_doubles_what_is_published() {
    const COUNT: usize = 60_000;
    let system = System::start();
    let proxy = cutting(&system, 30);
    let through = Broker::at(format!("127.0.0.1:{}", proxy.port()));
    let mut publisher = Publisher::new(through);
    for number in 0..COUNT {
        // Batches of all sizes, so that connections are cut at all kinds of places.
        publisher.send("t", &numbered(number)).unwrap();
        if number % 97 == 0 {
            publisher.flush().unwrap();
        }
    }
    publisher.flush().unwrap();
    assert!(proxy.connections() > 10, "not much was lost");
    let expected: Vec<_> = (0..COUNT).map(numbered).collect();
    assert!(system.messages("t") == expected, "each once, in order");
}

#[test]
fn a_network_that_cuts_connections_neither_hides_nor_repeats_what_is_read() {
    const COUNT: usize = 5_000;
    let system = System::start();
    let proxy = cutting(&system, 30);
    let through = Broker::at(format!("127.0.0.1:{}", proxy.port()));
    // The topic is not there yet: what list it is, is learned with its first message.
    let mut subscriber = subscriber(through, Start::Now);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut publisher = Publisher::new(broker(&system));
            for number in 0..COUNT {
                publisher.publish("t", &numbered(number)).unwrap();
            }
        });
        for number in 0..COUNT {
            assert_eq!(text(&mut subscriber), numbered(number));
        }
    });
    assert!(proxy.connections() > 10, "not much was lost");
}

/// A broker that keeps its messages is killed again and again under one publisher and one
/// subscriber, who notice nothing.
#[test]
fn restarts_of_a_broker_with_a_journal_are_not_noticed() {
    const COUNT: usize = 40_000;
    let mut system = System::reserve_with(&["--data", "data"]);
    system.start_broker();
    let at = broker(&system);
    let (reading, notices) = heard(at.clone());
    let mut subscriber = subscriber(reading, Start::Now);
    let publishing = thread::spawn(move || {
        let (at, notices) = heard(at);
        let mut publisher = Publisher::new(at);
        for number in 0..COUNT {
            publisher.send("t", &numbered(number)).unwrap();
            if number % 200 == 0 {
                publisher.flush().unwrap();
            }
        }
        publisher.flush().unwrap();
        assert!(!notices.lock().unwrap().iter().any(|notice| notice.contains("lost")));
    });
    for number in 0..COUNT {
        assert_eq!(text(&mut subscriber), numbered(number));
        if number % 8_000 == 5_000 {
            system.restart_broker();
        }
    }
    publishing.join().unwrap();
    assert_eq!(system.messages("t").len(), COUNT);
    assert!(!notices.lock().unwrap().iter().any(|notice| notice.contains("lost")));
}

#[test]
fn a_broker_that_lost_its_memory_is_noticed_and_both_sides_go_on() {
    let mut system = System::reserve().alone();
    system.start_broker();
    let (at, notices) = heard(broker(&system));
    let mut publisher = Publisher::new(at.clone());
    let mut subscriber = subscriber(at, Start::Offset(0));
    for number in 0..10 {
        publisher.publish("t", &numbered(number)).unwrap();
        assert_eq!(text(&mut subscriber), numbered(number));
    }
    system.restart_broker();
    for number in 10..20 {
        publisher.publish("t", &numbered(number)).unwrap();
    }
    assert_reset(&mut subscriber);
    for number in 10..20 {
        let message = message(&mut subscriber);
        assert_eq!((message.offset, message.text), (number as u64 - 10, numbered(number)));
    }
    let notices = notices.lock().unwrap();
    assert_eq!(notices.iter().filter(|notice| notice.contains("lost")).count(), 1, "{notices:?}");
}

#[test]
fn a_topic_that_is_made_anew_under_a_subscriber_is_read_from_its_start() {
    let system = System::start();
    system.publish("t", "old");
    let mut subscriber = subscriber(broker(&system), Start::Offset(0));
    assert_eq!(text(&mut subscriber), "old");
    assert_eq!(system.request("DELETE", "/topics/t", "").status, 204);
    system.publish("t", "new");
    assert_reset(&mut subscriber);
    let new = message(&mut subscriber);
    assert_eq!((new.offset, new.text.as_str()), (0, "new"));
}

#[test]
fn a_name_goes_on_behind_what_it_acknowledged() {
    let mut system = System::reserve_with(&["--data", "data"]);
    system.start_broker();
    let at = broker(&system);
    let mut first = subscriber(at.clone(), Start::Name("n".to_owned()));
    system.publish_batch("t", (0..10).map(numbered));
    let four: Vec<_> = (0..4).map(|_| message(&mut first)).collect();
    first.acknowledge(&four[1]).unwrap();
    drop(first);
    let mut second = subscriber(at.clone(), Start::Name("n".to_owned()));
    assert_eq!(text(&mut second), numbered(2));
    system.restart_broker();
    // What was read is not read again, although nothing of it was acknowledged.
    assert_eq!(text(&mut second), numbered(3));
    second.unsubscribe("t").unwrap();
    let mut third = subscriber(at, Start::Name("n".to_owned()));
    system.publish("t", "after the end of its first life");
    assert_eq!(text(&mut third), "after the end of its first life");
}

/// Two subscribers of one name do not take it from each other for ever.
#[test]
fn whoever_loses_a_name_is_told_so() {
    let system = System::start();
    let mut first = subscriber(broker(&system), Start::Name("n".into()));
    let mut second = subscriber(broker(&system), Start::Name("n".into()));
    let lost = first.next().unwrap();
    assert!(matches!(lost, Err(Error::Refused { code: 409, .. })), "{lost:?}");
    assert!(first.next().is_none());
    system.publish("t", "one");
    assert_eq!(text(&mut second), "one");
}

#[test]
fn a_name_that_the_broker_has_forgotten_misses_nothing_of_the_new_list() {
    let mut system = System::reserve().alone();
    system.start_broker();
    let mut subscriber = subscriber(broker(&system), Start::Name("n".to_owned()));
    system.publish("t", "before");
    let before = message(&mut subscriber);
    system.restart_broker();
    system.publish("t", "after");
    assert_reset(&mut subscriber);
    let after = message(&mut subscriber);
    assert_eq!(after.text, "after");
    // Of a list that is gone, nothing needs to be acknowledged.
    subscriber.acknowledge(&before).unwrap();
    subscriber.acknowledge(&after).unwrap();
}

#[test]
fn the_token_is_shown_and_a_wrong_one_is_final() {
    let folder = Folder::temporary("token");
    folder.write("token.txt", "a-secret");
    let path = folder.path().join("token.txt");
    let system = System::start_with(&["--token-file", path.to_str().unwrap()]);
    let right = broker(&system).token("a-secret");
    Publisher::new(right.clone()).publish("t", "hello").unwrap();
    assert_eq!(text(&mut subscriber(right, Start::Offset(0))), "hello");
    for wrong in [broker(&system), broker(&system).token("guess")] {
        let result = Publisher::new(wrong.clone()).publish("t", "hello");
        assert!(matches!(result, Err(Error::Refused { code: 401, .. })), "{result:?}");
        let result = Subscriber::new(wrong).subscribe("t", Start::Now);
        assert!(matches!(result, Err(Error::Refused { code: 401, .. })), "{result:?}");
    }
}

#[test]
fn two_people_chat_and_the_broker_may_go_and_come_back() {
    let mut system = System::reserve();
    system.start_broker();
    let join = |name: &str| {
        let mut command = program::example("chat");
        command.arg(name);
        system.introduce(&mut command);
        Process::start_with_input(name, command, &Folder::temporary(name))
    };
    let (mut ann, mut bob) = (join("ann"), join("bob"));
    let says = |one: &mut Process, other: &Process, name: &str, text: &str| {
        // Until both are there, what is said may be heard by nobody.
        wait_until(DEADLINE, text, || {
            one.write(&format!("{text}\n"));
            other.output().contains(&format!("{name}: {text}\n"))
        });
        assert!(!one.output().contains(text), "nobody hears their own words");
    };
    says(&mut ann, &bob, "ann", "hello");
    ann.write(&format!("{}\n", "x".repeat(2 << 20)));
    wait_until(DEADLINE, "the refusal of a long line", || ann.errors().contains("413"));
    says(&mut bob, &ann, "bob", "hello yourself");
    says(&mut ann, &bob, "ann", "as I was saying");
    system.restart_broker();
    says(&mut ann, &bob, "ann", "still there?");
    says(&mut bob, &ann, "bob", "yes");
    ann.end_input();
    ann.succeed();
}

/// The newest publisher of a name has it; the older one is told, and does not take it back.
#[test]
fn of_two_publishers_of_one_name_the_newer_has_it() {
    let system = System::start();
    let mut older = Publisher::named(broker(&system), "ann");
    older.publish("t", "one").unwrap();
    thread::sleep(Duration::from_millis(2));
    let mut newer = Publisher::named(broker(&system), "ann");
    newer.publish("t", "two").unwrap();
    for _ in 0..2 {
        let result = older.publish("t", "three");
        assert!(matches!(result, Err(Error::Refused { code: 403, .. })), "{result:?}");
    }
    newer.publish("t", "four").unwrap();
    assert_eq!(system.messages("t"), ["one", "two", "four"]);
}
