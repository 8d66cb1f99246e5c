//! Mirrors that hold the newest part of a topic: whoever reads what lies before it is served from
//! the home.

use crate::brokers::{Crowd, Reader, Session, ask, number, succeed, wait_for_success};
use crate::peers::{command, error, peer_of, peer_with, publish};
use common::crc32::crc32;
use tests::System;
use tests::wait::{DEADLINE, wait_until};

/// What a leaf has for messages, and how many of a hundred bytes are ten times as much.
const MEMORY: &str = "400k";
const COUNT: usize = 25_000;

/// A message that tells its number.
fn message(number: usize) -> String {
    format!("{number:0>100}")
}

fn fill(home: &System, topic: &str, count: usize) -> Vec<String> {
    let messages: Vec<_> = (0..count).map(message).collect();
    for batch in messages.chunks(10_000) {
        home.publish_batch(topic, batch.iter());
    }
    messages
}

/// A leaf of `hub` that has room for a part of a large topic.
fn small_leaf(hub: &System, arguments: &[&str]) -> System {
    let address = hub.address();
    let mut leaf = System::reserve_with(
        &[&["--upstream", &address, "--max-memory", MEMORY], arguments].concat(),
    );
    leaf.start_broker();
    leaf
}

/// Waits until a leaf serves what its home has.
fn wait_for_mirror(leaf: &System, hub: &System, topic: &str) {
    wait_for_success(leaf, &command("pull", topic));
    wait_until(DEADLINE, "the mirror", || {
        leaf.get(&format!("/topics/{topic}")).text() == hub.get(&format!("/topics/{topic}")).text()
    });
}

fn subscribe(broker: &System, from: usize) -> Session {
    let mut session = Session::open(&broker.address()).unwrap();
    let answer = session
        .ask(&format!("{{\"command\":\"subscribe\",\"topic\":\"t\",\"from\":{from}}}"))
        .unwrap();
    assert!(answer.contains("\"status\":\"success\""), "{answer}");
    session
}

/// Reads messages that follow one another until something else comes, or `end`; gives what came.
#[track_caller]
fn read_on(session: &mut Session, mut next: usize, end: usize) -> (usize, String) {
    while next < end {
        let line = session.line().unwrap();
        if !line.contains("\"event\":\"message\"") {
            return (next, line);
        }
        assert_eq!(number(&line, "offset"), next as u64, "{line}");
        assert!(line.contains(&message(next)), "{line}");
        next += 1;
    }
    (next, String::new())
}

/// Asks for a topic in every way, of a broker that holds a part of it.
fn check_every_way(broker: &System, home: &System, messages: &[String]) {
    let count = messages.len();
    assert_eq!(broker.messages("t"), messages);
    for target in [
        "/messages?topic=t&from=0&limit=3".to_owned(),
        format!("/messages?topic=t&from={}&limit=700", count / 2),
        "/messages?topic=t&from=-3".to_owned(),
        format!("/messages?topic=t&from=-{}&limit=5", count - 7),
        "/messages?topic=t&since=1d&limit=5".to_owned(),
        "/messages?topic=t&from=5&limit=5&format=json".to_owned(),
        "/messages?topic=t&from=0&limit=0".to_owned(),
        "/topics/t".to_owned(),
    ] {
        let (here, there) = (broker.get(&target), home.get(&target));
        assert_eq!((here.status, here.text()), (there.status, there.text()), "{target}");
        for name in ["Stream-First-Offset", "Stream-Next-Offset", "Stream-Id"] {
            assert_eq!(here.field(name), there.field(name), "{target}");
        }
    }
    let all = broker.get("/messages?topic=t&format=json");
    assert_eq!(all.text().lines().count(), count);
    let text: String = messages.iter().take(100).map(|message| format!("{message}\n")).collect();
    let digest = crc32(text.as_bytes());
    for (digest, status) in [(digest, 200), (digest + 1, 412)] {
        let target = format!("/messages?topic=t&from=100&limit=1&digest={digest:08x}");
        assert_eq!(broker.get(&target).status, status);
    }
    let pull = ask(broker, "{\"command\":\"pull\",\"topic\":\"t\",\"from\":7,\"limit\":2}");
    assert!(pull.contains(&format!("[\"{}\",\"{}\"]", message(7), message(8))), "{pull}");
    let (next, _) = read_on(&mut subscribe(broker, 0), 0, count);
    assert_eq!(next, count);
}

#[test]
fn a_leaf_with_a_tenth_of_the_memory_serves_all_of_a_topic_beside_live_messages() {
    let hub = System::start();
    let mut messages = fill(&hub, "t", COUNT);
    let leaf = small_leaf(&hub, &[]);
    let below = small_leaf(&leaf, &[]);
    wait_for_mirror(&leaf, &hub, "t");
    wait_for_mirror(&below, &hub, "t");
    check_every_way(&leaf, &hub, &messages);
    check_every_way(&below, &hub, &messages);

    let mut crowd = Crowd::new();
    crowd.publish(&leaf, "t", "live");
    crowd.publish(&hub, "t", "there");
    let readers =
        [&leaf, &below].map(|broker| [Reader::json(broker, "t"), Reader::events(broker, "t")]);
    crowd.wait_for_more();
    crowd.check(|_| {
        let all = hub.messages("t");
        let live = all.get(COUNT..).unwrap().to_vec();
        messages.extend(live.iter().cloned());
        live
    });
    for reader in readers.iter().flatten() {
        reader.expect(&messages);
    }
}

#[test]
fn a_mirror_on_disk_is_a_part_of_the_topic_as_well() {
    let hub = System::start();
    let messages = fill(&hub, "t", COUNT);
    let mut leaf = small_leaf(&hub, &["--data", "data"]);
    wait_for_mirror(&leaf, &hub, "t");
    leaf.restart_broker();
    wait_for_mirror(&leaf, &hub, "t");
    check_every_way(&leaf, &hub, &messages);
    // What is published meanwhile is more than the leaf can hold.
    leaf.kill_broker();
    let more: Vec<_> = (COUNT..2 * COUNT).map(message).collect();
    more.chunks(10_000).for_each(|batch| hub.publish_batch("t", batch.iter()));
    leaf.start_broker();
    wait_for_mirror(&leaf, &hub, "t");
    check_every_way(&leaf, &hub, &[messages, more].concat());
}

#[test]
fn readers_at_one_place_share_what_is_fetched() {
    const READERS: usize = 10;
    let hub = System::start_with(&["--log", "log", "--log-reads"]);
    fill(&hub, "t", COUNT);
    let leaf = small_leaf(&hub, &[]);
    wait_for_mirror(&leaf, &hub, "t");
    let fetched = || {
        let log = std::fs::read_to_string(hub.folder().path().join("log")).unwrap_or_default();
        log.lines().filter(|line| line.contains(" read \"t\" ")).count()
    };
    let before = fetched();
    read_on(&mut subscribe(&leaf, 0), 0, COUNT);
    wait_until(DEADLINE, "the log", || fetched() > before + 10);
    let alone = fetched() - before;
    let before = fetched();
    let mut sessions: Vec<_> = (0..READERS).map(|_| subscribe(&leaf, 0)).collect();
    std::thread::scope(|scope| {
        for session in &mut sessions {
            scope.spawn(|| assert_eq!(read_on(session, 0, COUNT).0, COUNT));
        }
    });
    let together = fetched() - before;
    assert!(together < alone * READERS / 2, "{together} pieces, and {alone} for one alone");
}

#[test]
fn while_the_home_is_away_what_the_mirror_holds_is_served() {
    let mut hub = System::reserve_with(&["--data", "data"]);
    hub.start_broker();
    fill(&hub, "t", COUNT);
    let leaf = small_leaf(&hub, &[]);
    wait_for_mirror(&leaf, &hub, "t");
    // Neither has read what follows when the home goes away.
    let mut slow = subscribe(&leaf, 0);
    let mut live = subscribe(&leaf, COUNT);
    assert_eq!(read_on(&mut slow, 0, 100).0, 100);
    hub.kill_broker();
    let pull = "{\"command\":\"pull\",\"topic\":\"t\",\"from\":0}";
    wait_until(DEADLINE, "the loss", || ask(&leaf, pull).contains("\"code\":503"));
    assert_eq!(leaf.request("POST", "/topics/t", "x").status, 503);
    for target in ["/messages?topic=t", "/messages?topic=t&from=1", "/events?topic=t&from=2"] {
        assert_eq!(leaf.get(target).status, 503, "{target}");
    }
    for refused in ["pull", "subscribe"] {
        let from = format!("{{\"command\":\"{refused}\",\"topic\":\"t\",\"from\":0}}");
        assert_eq!(error(&leaf, &from).0, 503);
    }
    let newest = leaf.get("/messages?topic=t&from=-2");
    assert_eq!(newest.text().lines().collect::<Vec<_>>(), [message(COUNT - 2), message(COUNT - 1)]);
    let near = subscribe(&leaf, COUNT - 10);
    assert_eq!(read_on(&mut { near }, COUNT - 10, COUNT).0, COUNT);
    hub.start_broker();
    wait_for_success(&leaf, &publish("t", &message(COUNT)));
    assert_eq!(read_on(&mut live, COUNT, COUNT + 1).0, COUNT + 1);
    assert_eq!(read_on(&mut slow, 100, COUNT + 1).0, COUNT + 1);
}

#[test]
fn what_the_home_lets_go_or_loses_is_never_served_from_the_wrong_list() {
    let hub = System::start();
    fill(&hub, "t", COUNT);
    let leaf = small_leaf(&hub, &[]);
    wait_for_mirror(&leaf, &hub, "t");
    let mut reader = subscribe(&leaf, 0);
    succeed(&hub, "{\"command\":\"trim_topic\",\"topic\":\"t\",\"before\":15000}");
    let gone = leaf.get("/messages?topic=t&from=10000");
    assert_eq!((gone.status, gone.number("Stream-First-Offset")), (410, 15_000));
    let (_, told) = read_on(&mut reader, 0, COUNT);
    assert!(told.contains("\"event\":\"trimmed\""), "{told}");
    assert_eq!(number(&told, "next"), 15_000);
    assert_eq!(read_on(&mut reader, 15_000, COUNT).0, COUNT);
    assert_eq!(leaf.messages("t"), (15_000..COUNT).map(message).collect::<Vec<_>>());

    let mut reader = subscribe(&leaf, 15_000);
    let stream = leaf.get("/topics/t").field("Stream-Id").map(str::to_owned);
    assert_eq!(hub.request("DELETE", "/topics/t", "").status, 204);
    fill(&hub, "t", COUNT);
    let (next, told) = read_on(&mut reader, 15_000, COUNT + 1);
    assert!(next <= COUNT && told.contains("\"deleted\"") || told.contains("\"reset\""), "{told}");
    let mut told = told;
    while !told.contains("\"event\":\"reset\"") {
        told = reader.line().unwrap();
    }
    let next = usize::try_from(number(&told, "next")).unwrap();
    assert_eq!((next, read_on(&mut reader, 0, COUNT).0), (0, COUNT));
    wait_for_mirror(&leaf, &hub, "t");
    assert_ne!(
        leaf.get("/topics/t").field("Stream-Id").map(str::to_owned),
        stream.or(Some(String::new()))
    );
}

#[test]
fn a_leaf_without_room_for_a_message_passes_it_on() {
    let hub = System::start();
    let leaf = System::start_with(&["--upstream", &hub.address(), "--max-memory", "300000"]);
    let mut reader = subscribe(&leaf, 0);
    let large = ["x".repeat(400_000), "y".repeat(1000), "z".repeat(500_000)];
    for topic in ["t", "other"] {
        large.iter().for_each(|message| leaf.publish(topic, message));
        hub.publish_batch(topic, large.iter());
    }
    let all = [&large[..], &large[..]].concat();
    for topic in ["t", "other"] {
        wait_until(DEADLINE, "all of it", || leaf.messages(topic) == all);
        // But for the time of the last message, which a mirror without any cannot tell.
        let list = |broker: &System| {
            let list = broker.get(&format!("/topics/{topic}"));
            let list = list.json();
            let part = |key| list.get(key).map(|value| format!("{value:?}"));
            ["first", "next", "bytes", "digest"].map(part)
        };
        wait_until(DEADLINE, "the digest", || list(&leaf) == list(&hub));
    }
    for (offset, message) in all.iter().enumerate() {
        let line = reader.line().unwrap();
        assert!(number(&line, "offset") == offset as u64 && line.contains(message));
    }
}

#[test]
fn mirrors_of_a_peer_make_way_for_what_lives_there() {
    let index = System::start();
    let home = peer_of(&index);
    let small = peer_with(&index, &["--max-memory", MEMORY]);
    succeed(&home, &command("create_topic", "t"));
    let messages = fill(&home, "t", COUNT);
    wait_for_mirror(&small, &home, "t");
    check_every_way(&small, &home, &messages);
    // More than half of its memory.
    succeed(&small, &command("create_topic", "own"));
    let own: Vec<_> = (0..1_500).map(message).collect();
    for batch in own.chunks(100) {
        small.publish_batch("own", batch.iter());
    }
    assert_eq!(small.messages("own"), own);
    check_every_way(&small, &home, &messages);
}

/// Where two lists begin to differ cannot be found before the window: nobody has both there.
#[test]
fn a_lasting_subscription_skips_nothing_of_a_list_that_differs_before_the_window() {
    let mut hub = System::reserve_with(&[]).alone();
    hub.start_broker();
    fill(&hub, "t", COUNT);
    let mut leaf = small_leaf(&hub, &["--data", "data"]);
    wait_for_mirror(&leaf, &hub, "t");
    let subscribe = "{\"command\":\"subscribe\",\"topic\":\"t\",\"subscriber\":\"ann\"}";
    let acknowledge = format!(
        "{{\"command\":\"ack\",\"topic\":\"t\",\"subscriber\":\"ann\",\"offset\":{}}}",
        COUNT - 11
    );
    succeed(&leaf, subscribe);
    succeed(&leaf, &acknowledge);
    let mut go_on_in = |same: usize, others: usize| {
        leaf.kill_broker();
        hub.kill_broker();
        hub.start_broker();
        fill(&hub, "t", same);
        hub.publish_batch("t", (0..others).map(|other| format!("other {other}")));
        leaf.start_broker();
        wait_for_mirror(&leaf, &hub, "t");
        number(&succeed(&leaf, subscribe), "next")
    };
    // The subscription began at the end: that was kept at once, what is acknowledged is later.
    let place = COUNT as u64 - 100;
    assert_eq!(go_on_in(COUNT - 100, 200), place, "the lists differ in the window");
    assert_eq!(go_on_in(0, COUNT / 2), 0, "they differ before it, and this one is shorter");
}
