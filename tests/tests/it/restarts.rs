//! Three kinds of readers while brokers and topics come and go: the program `subscriber`, a client
//! of the event stream that reconnects as a browser does, and the client library.
//!
//! With `--data` a reader does not notice a kill: no message is missing, and none comes twice.
//! Without it, the list is a new one: each reader says so once and begins at its start.

use common::client::{Broker, Event, Publisher, Start, Subscriber};
use common::json::{self, Value};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tests::wait::{DEADLINE, holds_within, wait_until};
use tests::{Browser, Process, Stopped, System};

/// What a reader notes where it is told of another list.
const ANOTHER: &str = "(another list)";

/// What a reader has seen, until nobody wants to know any more.
type Seen = Arc<Mutex<Vec<String>>>;

/// Whether somebody still wants to know.
fn is_wanted(seen: &Seen) -> bool {
    Arc::strong_count(seen) > 1
}

/// A reader of each kind of one topic, from its start.
struct Readers {
    program: Process,
    events: Seen,
    library: Seen,
}

impl Readers {
    fn of(system: &System, topic: &'static str) -> Readers {
        let (events, library) = (Seen::default(), Seen::default());
        let (address, seen) = (system.address(), Arc::clone(&events));
        thread::spawn(move || read_events(&address, topic, &seen));
        let (broker, seen) =
            (Broker::at(system.address()).patience(DEADLINE), Arc::clone(&library));
        thread::spawn(move || read_with_library(broker, topic, &seen));
        let program = system.run("subscriber", &["--topic", topic, "--from", "0"]);
        Readers { program, events, library }
    }

    /// Waits until each has seen exactly this.
    #[track_caller]
    fn expect(&self, expected: &[impl AsRef<str>]) {
        let expected: Vec<&str> = expected.iter().map(AsRef::as_ref).collect();
        for (name, seen) in [("events", &self.events), ("library", &self.library)] {
            let all_seen = || seen.lock().unwrap().len() >= expected.len();
            let _ = holds_within(DEADLINE, all_seen);
            assert_eq!(*seen.lock().unwrap(), expected, "{name}");
        }
        let (others, messages): (Vec<&str>, Vec<&str>) =
            expected.iter().partition(|&&line| line == ANOTHER);
        let _ = holds_within(DEADLINE, || self.program.lines().len() >= messages.len());
        assert_eq!(self.program.lines(), messages);
        let errors = self.program.errors();
        assert_eq!(errors.matches("deleted and created again").count(), others.len(), "{errors}");
    }
}

/// Reads events, and comes back with the last id wherever the connection ends. HTTP/1.0, so that
/// the stream comes as it is.
fn read_events(address: &str, topic: &str, seen: &Seen) {
    let mut last_id = None;
    while is_wanted(seen) {
        // Nobody is there for a moment, or the connection ended: both are what this is about.
        let _ = read_some_events(address, topic, &mut last_id, seen);
        thread::sleep(Duration::from_millis(10));
    }
}

fn read_some_events(
    address: &str,
    topic: &str,
    last_id: &mut Option<String>,
    seen: &Seen,
) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    let last = last_id.as_ref().map(|id| format!("Last-Event-ID: {id}\r\n"));
    let request =
        format!("GET /events?topic={topic}&from=0 HTTP/1.0\r\n{}\r\n", last.unwrap_or_default());
    stream.write_all(request.as_bytes())?;
    let mut event = String::new();
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if let Some(kind) = line.strip_prefix("event: ") {
            kind.clone_into(&mut event);
        } else if let Some(data) = line.strip_prefix("data: ") {
            seen.lock().unwrap().push(text_of(&event, data));
        } else if let Some(id) = line.strip_prefix("id: ") {
            *last_id = Some(id.to_owned());
        } else if line.is_empty() {
            event.clear();
        }
    }
    Ok(())
}

/// What an event says: its message, or that there is another list.
fn text_of(event: &str, data: &str) -> String {
    if event == "reset" {
        return ANOTHER.to_owned();
    }
    let data = json::parse(data.as_bytes()).unwrap();
    data.get("message").and_then(Value::as_str).unwrap_or("(no message)").to_owned()
}

fn read_with_library(broker: Broker, topic: &str, seen: &Seen) {
    let mut subscriber = Subscriber::new(broker);
    subscriber.subscribe(topic, Start::Offset(0)).unwrap();
    for event in subscriber.take_while(|_| is_wanted(seen)) {
        seen.lock().unwrap().push(match event {
            Ok(Event::Message(message)) => message.text,
            Ok(Event::Reset { .. }) => ANOTHER.to_owned(),
            other => format!("{other:?}"),
        });
    }
}

#[test]
fn with_a_journal_no_reader_notices_that_the_broker_is_killed() {
    const KILLS: usize = 6;
    let mut system = System::reserve_with(&["--data", "data"]);
    system.start_broker();
    let readers = Readers::of(&system, "t");
    let address = system.address();
    let publishing = thread::spawn(move || {
        let mut publisher = Publisher::new(Broker::at(address));
        for number in 0..1_000 {
            publisher.publish("t", &number.to_string()).unwrap();
        }
    });
    for _ in 0..KILLS {
        thread::sleep(Duration::from_millis(20));
        system.restart_broker();
    }
    publishing.join().unwrap();
    let mut expected: Vec<_> = (0..1_000).map(|number| number.to_string()).collect();
    readers.expect(&expected);
    // And while all is quiet.
    for kill in 0..KILLS {
        let more = (0..3).map(|number| format!("{kill} {number}"));
        system.publish_batch("t", more.clone());
        expected.extend(more);
        if kill % 2 == 0 {
            readers.expect(&expected);
        }
        system.restart_broker();
    }
    readers.expect(&expected);
}

#[test]
fn without_one_every_reader_is_told_of_the_new_list_and_begins_at_its_start() {
    let mut system = System::reserve();
    system.start_broker();
    let readers = Readers::of(&system, "t");
    let mut expected = Vec::new();
    // Shorter than the list before, as long, and longer: an offset alone would mean something in
    // each of them but the first.
    for (round, count) in [5, 3, 3, 9].into_iter().enumerate() {
        let messages: Vec<_> = (0..count).map(|number| format!("{round} {number}")).collect();
        if round > 0 {
            system.restart_broker();
            expected.push(ANOTHER.to_owned());
        }
        system.publish_batch("t", messages.iter());
        expected.extend(messages);
        readers.expect(&expected);
    }
}

#[test]
fn a_topic_that_is_deleted_and_made_again_is_another_list_for_every_reader() {
    for arguments in [&["--data", "data"][..], &[]] {
        let mut system = System::reserve_with(arguments);
        system.start_broker();
        let readers = Readers::of(&system, "t");
        system.publish_batch("t", ["old", "older"].iter());
        readers.expect(&["old", "older"]);
        // The program finds out between two of its questions.
        let stopped = Stopped::new(&readers.program);
        assert_eq!(system.request("DELETE", "/topics/t", "").status, 204);
        system.publish_batch("t", ["new", "newer", "newest"].iter());
        drop(stopped);
        readers.expect(&["old", "older", ANOTHER, "new", "newer", "newest"]);
    }
}

/// The place of a reader that has seen nothing is the beginning, in whatever list comes first.
#[test]
fn a_reader_that_has_seen_nothing_yet_gets_the_first_message_after_a_kill() {
    for arguments in [&["--data", "data"][..], &[]] {
        let mut system = System::reserve_with(arguments);
        system.start_broker();
        system.publish("other", "x");
        let readers = Readers::of(&system, "unborn");
        for _ in 0..3 {
            wait_until(DEADLINE, "three readers", || listeners(&system) >= 3);
            system.restart_broker();
        }
        system.publish_batch("unborn", ["first", "second"].iter());
        readers.expect(&["first", "second"]);
    }
}

/// How many wait for messages.
fn listeners(system: &System) -> u64 {
    let metrics = system.get("/metrics");
    let line = metrics.text().lines().find_map(|line| line.strip_prefix("broker_subscriptions "));
    line.expect("it is counted").parse().unwrap()
}

/// A browser's own `EventSource`, which comes back by itself.
#[test]
fn the_event_source_of_a_browser_goes_on_after_a_kill() {
    let Some(mut browser) = Browser::start() else { return };
    for (arguments, expected) in [
        (&["--data", "data"][..], "one,two,three,four"),
        (&[], "one,two,(another list),three,four"),
    ] {
        let mut system = System::reserve_with(arguments);
        system.start_broker();
        system.publish("t", "one");
        browser.go(&format!("http://{}/", system.address()));
        browser.evaluate(
            "window.seen = [], \
             window.source = new EventSource('/events?topic=t&from=0'), \
             source.onmessage = event => seen.push(JSON.parse(event.data).message), \
             source.addEventListener('reset', () => seen.push('(another list)')), 0",
        );
        browser.wait_until("seen.length === 1");
        system.publish("t", "two");
        browser.wait_until("seen.length === 2");
        system.restart_broker();
        system.publish_batch("t", ["three", "four"].iter());
        browser.wait_until("seen.includes('four')");
        assert_eq!(browser.evaluate("seen.join()"), expected);
        browser.evaluate("source.close()");
        let _ = browser.console();
    }
}
