//! H: event streams (WHATWG HTML, chapter 9.2), as a browser reads them.

use crate::event_stream::Events;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tests::raw::Raw;
use tests::{System, publish_body};

/// H01: a browser's `onopen` has not to wait for a message.
#[test]
fn a_stream_begins_before_there_is_anything_to_say() {
    let system = System::start();
    let mut events = Events::open(&system, "topic=t");
    system.publish("t", "x");
    let event = events.next();
    assert_eq!((event.kind.as_str(), event.offset()), ("", 0));
    assert_eq!((event.topic(), event.message()), ("t".to_owned(), "x".to_owned()));
}

#[test]
fn a_stream_is_live_unless_it_is_asked_for_more() {
    let system = System::start();
    system.publish_batch("t", ["a", "b"].iter());
    let mut live = Events::open(&system, "topic=t");
    let mut all = Events::open(&system, "topic=t&from=0");
    let mut later = Events::open(&system, "topic=t&from=1");
    system.publish("t", "c");
    assert_eq!(live.next().message(), "c");
    assert_eq!([all.next(), all.next(), all.next()].map(|it| it.message()), ["a", "b", "c"]);
    assert_eq!([later.next(), later.next()].map(|it| it.message()), ["b", "c"]);
}

/// H03.
#[test]
fn no_message_can_write_a_line_of_its_own() {
    let system = System::start();
    let messages = [
        " begins with a space",
        "",
        "id: 7",
        "event: reset",
        "retry: 1",
        "data: x",
        ":",
        "\u{2028}\u{2029}\u{85}",
        "\u{feff}\u{1f600}",
        r#"{"topic":"other"}\n\r"#,
    ];
    let mut events = Events::open(&system, "topic=t");
    for message in messages {
        system.publish("t", message);
        let event = events.next();
        assert_eq!((event.kind.as_str(), event.message().as_str()), ("", message));
    }
    // The publisher's name is text of somebody else too.
    let body = r#"{"topic":"t","message":"x","publisher":"id: 7"}"#;
    assert_eq!(system.request("POST", "/publish", body).status, 200);
    let event = events.next();
    assert_eq!(event.text("publisher"), "id: 7");
}

/// H04, H05: with one topic and with several, however often the stream is cut.
#[test]
fn a_client_that_comes_back_goes_on_right_behind_its_last_event() {
    const MESSAGES: usize = 60;
    let system = System::start();
    for topics in [&["a"][..], &["b", "c,d", "e@f"]] {
        let query: Vec<_> = topics
            .iter()
            .map(|topic| format!("topic={}", common::http::percent::encode(topic)))
            .collect();
        let query = query.join("&");
        let mut events = Events::open(&system, &query);
        let mut seen: Vec<Vec<u64>> = vec![Vec::new(); topics.len()];
        for number in 0..MESSAGES {
            let topic = topics.iter().cycle().nth(number).unwrap();
            system.publish(topic, &number.to_string());
            // Some are read at once, some after a return, some come while nobody listens.
            if number % 3 > 0 {
                let event = events.next();
                let index = topics.iter().position(|topic| *topic == event.topic()).unwrap();
                seen.get_mut(index).unwrap().push(event.offset());
            }
            if number % 2 > 0 {
                events = events.reopen(&system, &query);
            }
        }
        while seen.iter().map(Vec::len).sum::<usize>() < MESSAGES {
            let event = events.next();
            let index = topics.iter().position(|topic| *topic == event.topic()).unwrap();
            seen.get_mut(index).unwrap().push(event.offset());
        }
        for offsets in seen {
            assert_eq!(offsets, (0..offsets.len() as u64).collect::<Vec<_>>(), "{topics:?}");
        }
    }
}

/// A client that has seen no event has an id as well: from the first block.
#[test]
fn a_client_that_has_seen_nothing_comes_back_to_where_it_began() {
    let system = System::start();
    system.publish("t", "before");
    let events = Events::open(&system, "topic=t&topic=unborn");
    system.publish("t", "missed");
    system.publish("unborn", "missed");
    let mut events = events.reopen(&system, "topic=t&topic=unborn&from=0");
    let mut seen = [events.next(), events.next()].map(|it| (it.topic(), it.message()));
    seen.sort();
    let missed = |topic: &str| (topic.to_owned(), "missed".to_owned());
    assert_eq!(seen, [missed("t"), missed("unborn")], "the id wins over `from`");
}

/// H06.
#[test]
fn an_id_that_was_not_given_here_is_refused() {
    let system = System::start();
    system.publish("t", "x");
    let stream = system.get("/messages?topic=t").field("stream-id").unwrap().to_owned();
    let mut raw = Raw::connect(&system.address());
    let wrong = [
        "x".to_owned(),
        "1".to_owned(),
        format!("-1@{stream}"),
        format!("+1@{stream}"),
        format!("@{stream}"),
        format!("18446744073709551616@{stream}"),
        format!("1@{stream}x"),
        "1@".to_owned(),
        "1@xyz".to_owned(),
        format!("1@{stream},"),
        format!("1@{stream},1@{stream}"),
        ",".to_owned(),
        "\u{e9}".to_owned(),
        "9".repeat(8000),
    ];
    for id in &wrong {
        raw.send(format!(
            "GET /events?topic=t HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: {id}\r\n\r\n"
        ));
        let answer = raw.answer();
        assert_eq!(answer.status, 400, "{id}: {answer:?}");
    }
    let mut events = Events::open_with(&system, "topic=t&from=0", "Last-Event-ID:\r\n");
    assert_eq!(events.next().message(), "x", "an empty one says nothing");
}

/// A list that is shorter than what was read from it is another: an older copy of the data was put
/// back, or a disk lost the end of it.
#[test]
fn an_id_that_is_ahead_of_the_list_is_told_so_and_gets_the_list() {
    let mut home = System::reserve().alone();
    home.start_broker();
    let leaf = System::start_with(&["--upstream", &home.address()]);
    for (number, next) in ["3", "18446744073709551615", "3", "4"].into_iter().enumerate() {
        let system = if number < 2 { &home } else { &leaf };
        let topic = number.to_string();
        home.publish_batch(&topic, ["a", "b"].iter());
        let query = format!("topic={topic}");
        let list = system.get(&format!("/messages?{query}"));
        let stream = list.field("stream-id").unwrap();
        let line = format!("Last-Event-ID: {next}@{stream}\r\n");
        let mut events = Events::open_with(system, &query, &line);
        let reset = events.next();
        assert_eq!(reset.kind, "reset");
        assert_eq!(reset.text("stream"), stream);
        assert_eq!([events.next(), events.next()].map(|it| it.message()), ["a", "b"]);
        let mut events = events.reopen(system, &query);
        home.publish(&topic, "c");
        assert_eq!(events.next().message(), "c", "told once");
    }
}

/// A name has a place in the list that is there: an id of another neither moves it nor ends it.
#[test]
fn a_named_stream_goes_on_in_the_list_that_is_there() {
    let system = System::start();
    system.publish_batch("t", ["a", "b"].iter());
    let query = "topic=t&subscriber=ann&from=0";
    let mut events = Events::open(&system, query);
    assert_eq!([events.next(), events.next()].map(|it| it.message()), ["a", "b"]);
    let mut events = events.reopen(&system, query);
    let stream = system.get("/messages?topic=t").field("stream-id").unwrap().to_owned();
    events.last_id = format!("9@{stream}");
    let mut events = events.reopen(&system, query);
    assert_eq!(events.next().kind, "reset");
    system.publish("t", "c");
    assert_eq!(events.next().message(), "c", "although it is before the id");
    assert_eq!(system.request("DELETE", "/topics/t", "").status, 204);
    system.publish("t", "new");
    let mut events = events.reopen(&system, query);
    assert_eq!(events.next().kind, "reset");
    assert_eq!(events.next().message(), "new");
}

/// Clients that cannot set a header send the id in the query.
#[test]
fn the_id_may_come_in_the_query_and_the_header_wins() {
    let system = System::start();
    system.publish_batch("t", ["a", "b", "c"].iter());
    let stream = system.get("/messages?topic=t").field("stream-id").unwrap().to_owned();
    for name in ["lastEventId", "lastEventID", "Last-Event-ID", "last-event-id"] {
        let query = format!("topic=t&{name}=1%40{stream}");
        assert_eq!(Events::open(&system, &query).next().message(), "b", "{name}");
        let header = format!("Last-Event-ID: 2@{stream}\r\n");
        assert_eq!(Events::open_with(&system, &query, &header).next().message(), "c", "{name}");
    }
    let mut events = Events::open(&system, "topic=t&from=0&lastEventId=");
    assert_eq!(events.next().message(), "a", "an empty one says nothing");
    assert_eq!(system.get("/events?topic=t&lastEventId=x").status, 400);
}

/// What stands between broker and client must neither hold events back nor lose their frames.
#[test]
fn a_stream_comes_in_chunks_where_the_client_knows_them() {
    let system = System::start();
    let mut raw = Raw::connect(&system.address());
    raw.request("GET", "/events?topic=t", "");
    let head = raw.answer_to_head();
    assert_eq!(head.field("transfer-encoding"), Some("chunked"));
    assert_eq!(head.field("x-accel-buffering"), Some("no"));
    assert_eq!(head.field("x-content-type-options"), Some("nosniff"));
    let mut chunk = || {
        let size = usize::from_str_radix(&raw.line(), 16).unwrap();
        let mut text = String::new();
        while text.len() < size {
            text += &(raw.line() + "\n");
        }
        assert_eq!((text.len(), raw.line().as_str()), (size, ""));
        text
    };
    assert!(chunk().starts_with("retry: 1000\nid: "));
    for message in ["one", "two"] {
        system.publish("t", message);
        let event = chunk();
        assert!(event.starts_with("data: ") && event.contains(message), "{event}");
        assert!(event.ends_with("\n\n"), "{event:?}");
    }

    let mut old = Raw::connect(&system.address());
    old.send("GET /events?topic=t&from=0 HTTP/1.0\r\n\r\n");
    let head = old.answer_to_head();
    assert_eq!(head.field("transfer-encoding"), None, "RFC 9112 §6.1");
    assert_eq!(old.line(), "retry: 1000");
}

/// H07.
#[test]
fn a_silent_stream_shows_that_it_is_alive() {
    let system = System::start();
    let mut events = Events::open(&system, "topic=t");
    let start = Instant::now();
    assert_eq!(events.raw.line(), ":");
    assert!(start.elapsed() > Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!(events.raw.line(), "");
}

/// H08, without a disk: the client is told that what it had is gone, and misses nothing new.
#[test]
fn a_client_of_a_broker_that_lost_its_memory_is_told_to_begin_anew() {
    let mut system = System::reserve().alone();
    system.start_broker();
    system.publish_batch("t", ["a", "b", "c"].iter());
    let mut events = Events::open(&system, "topic=t&topic=u&from=0");
    assert_eq!([events.next(), events.next()].map(|it| it.message()), ["a", "b"]);
    system.restart_broker();
    system.publish("t", "new");
    let mut events = events.reopen(&system, "topic=t&topic=u");
    let reset = events.next();
    assert_eq!((reset.kind.as_str(), reset.topic().as_str()), ("reset", "t"));
    let stream = system.get("/messages?topic=t").field("stream-id").unwrap().to_owned();
    assert_eq!(reset.text("stream"), stream);
    assert_eq!(events.next().message(), "new");
    let mut events = events.reopen(&system, "topic=t&topic=u");
    system.publish("u", "first");
    let first = events.next();
    assert_eq!((first.kind.as_str(), first.message().as_str()), ("", "first"), "told once");
}

/// H08, with a disk.
#[test]
fn a_client_of_a_broker_that_was_killed_misses_nothing_that_was_acknowledged() {
    let mut system = System::reserve_with(&["--data", "data"]);
    system.start_broker();
    system.publish_batch("t", ["a", "b", "c"].iter());
    let mut events = Events::open(&system, "topic=t&from=0");
    assert_eq!(events.next().message(), "a");
    system.restart_broker();
    system.publish("t", "d");
    let mut events = events.reopen(&system, "topic=t");
    assert_eq!(
        [events.next(), events.next(), events.next()].map(|it| it.message()),
        ["b", "c", "d"]
    );
}

#[test]
fn a_topic_that_is_deleted_under_a_stream_is_told_when_there_is_another() {
    let system = System::start();
    system.publish("t", "old");
    let mut events = Events::open(&system, "topic=t&from=0");
    assert_eq!(events.next().message(), "old");
    assert_eq!(system.request("DELETE", "/topics/t", "").status, 204);
    system.publish("t", "new");
    assert_eq!(events.next().kind, "reset");
    assert_eq!(events.next().message(), "new");
    // However often the reader comes back while there is none.
    assert_eq!(system.request("DELETE", "/topics/t", "").status, 204);
    for _ in 0..3 {
        events = events.reopen(&system, "topic=t");
    }
    system.publish("t", "newer");
    assert_eq!(events.next().kind, "reset");
    assert_eq!(events.next().message(), "newer");
    // Also where the last event before that is another topic's.
    let mut events = events.reopen(&system, "topic=t&topic=other");
    for is_there in [false, true] {
        assert_eq!(system.request("DELETE", "/topics/t", "").status, 204);
        system.publish("other", "message");
        assert_eq!(events.next().message(), "message");
        if is_there {
            system.publish("t", "newest");
        }
        events = events.reopen(&system, "topic=t&topic=other");
        if !is_there {
            system.publish("t", "newest");
        }
        assert_eq!(events.next().kind, "reset");
        assert_eq!(events.next().message(), "newest");
    }
    // Also where another topic never was.
    let mut events = Events::open(&system, "topic=t&topic=unborn&from=0");
    assert_eq!(events.next().message(), "newest");
    assert_eq!(system.request("DELETE", "/topics/t", "").status, 204);
    events = events.reopen(&system, "topic=t&topic=unborn");
    system.publish("t", "last");
    assert_eq!(events.next().kind, "reset");
    assert_eq!(events.next().message(), "last");
}

/// H09.
#[test]
fn a_large_message_of_wide_characters_comes_whole() {
    let system = System::start();
    let message = "\u{1f600}\u{10ffff}".repeat(1 << 17);
    assert_eq!(message.len(), 1 << 20);
    let mut events = Events::open(&system, "topic=t");
    system.publish("t", &message);
    system.publish("t", "after");
    assert!(events.next().message() == message, "not the same text");
    assert_eq!(events.next().message(), "after");
}

/// H10: whatever is published while somebody subscribes is either before the place that the
/// stream says it begins at, or comes.
#[test]
fn a_message_that_races_with_a_subscription_comes_once_or_was_before_it() {
    const WORKERS: usize = 4;
    let rounds: usize = System::scaled(10_000);
    let system = System::start();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| publish_until(&stop, &system, "t"));
        let _stop = OnDrop(&stop);
        thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| (0..rounds / WORKERS).for_each(|_| subscribe_for_a_moment(&system)));
            }
        });
    });
}

/// H10: an event that comes while a stream still begins names a place in all of its topics, or
/// its id would be refused for ever after.
#[test]
fn the_first_events_of_a_stream_name_all_of_its_topics() {
    const TOPICS: usize = 60;
    let rounds: usize = System::scaled(1_000);
    let system = System::start();
    let stop = AtomicBool::new(false);
    let topics: Vec<_> = (0..TOPICS).map(|index| format!("topic=t{index}")).collect();
    let query = topics.join("&");
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| publish_until(&stop, &system, "t0"));
        }
        let _stop = OnDrop(&stop);
        for round in 0..rounds {
            let mut events = Events::open(&system, &query);
            for _ in 0..2 {
                events.next();
                let places = events.last_id.split(',').count();
                assert_eq!(places, TOPICS, "in round {round}: {}", events.last_id);
            }
        }
    });
}

fn publish_until(stop: &AtomicBool, system: &System, topic: &str) {
    let mut raw = Raw::connect(&system.address());
    while !stop.load(Ordering::Relaxed) {
        raw.request("POST", "/publish", publish_body(topic, "x"));
        assert_eq!(raw.answer().status, 200);
    }
}

/// Sets a flag when it is dropped, also by a test that fails.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[track_caller]
fn subscribe_for_a_moment(system: &System) {
    let mut events = Events::open(system, "topic=t");
    let (next, _) = events.last_id.split_once('@').unwrap();
    let begin: u64 = next.parse().unwrap();
    for offset in begin..begin + 3 {
        assert_eq!(events.next().offset(), offset);
    }
}
