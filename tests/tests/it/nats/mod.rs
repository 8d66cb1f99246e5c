//! Brokers before NATS servers.
//!
//! - here: doors, topics, numbers, bounds
//! - `faults`: whatever happens to servers and brokers; `limits`: what servers do not take or allow
//! - `lasting`: lasting subscriptions that brokers share

mod faults;
mod lasting;
mod limits;

use crate::brokers::{Session, number, succeed};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use tests::raw::{Answer, Raw};
use tests::wait::{DEADLINE, wait_for, wait_until};
use tests::{NatsServers, System};

/// A broker before these servers.
fn broker_of(servers: &NatsServers) -> System {
    System::start_with(&["--nats", &servers.addresses()])
}

/// Publishes numbered messages through a broker.
fn publish(broker: &System, epoch: u64, sequence: u64, messages: &[String]) -> Answer {
    let messages: Vec<String> = messages.iter().map(|message| format!("\"{message}\"")).collect();
    let messages = messages.join(",");
    let body = format!(
        "{{\"topic\":\"t\",\"messages\":[{messages}],\"publisher\":\"ann\",\"epoch\":{epoch},\
         \"sequence\":{sequence}}}"
    );
    broker.request("POST", "/publish", body)
}

/// The same until it is answered: who is told to try again does so, and `refused` counts it.
fn publish_until_answered(
    broker: &System,
    epoch: u64,
    sequence: u64,
    messages: &[String],
    refused: &AtomicU64,
) -> Answer {
    wait_for(DEADLINE, "an answer", || {
        let answer = publish(broker, epoch, sequence, messages);
        if answer.status == 503 {
            refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(answer)
    })
}

fn lines(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("m{number}")).collect()
}

#[test]
fn every_door_of_a_broker_leads_to_the_servers_and_to_the_other_brokers() {
    let Some(servers) = NatsServers::start(1) else { return };
    let (one, other) = (broker_of(&servers), broker_of(&servers));
    let mut channel = Raw::connect(&other.address());
    channel.send("{\"command\":\"SUBSCRIBE\",\"args\":{\"channel\":\"t\"}}");
    assert_eq!(channel.line(), "{\"type\":\"SUBSCRIBE\",\"channel\":\"t\",\"count\":1}");
    let mut text = Raw::connect(&other.address());
    text.send("SUBSCRIBE t ann\nnonsense\n");
    assert!(text.line().starts_with("ERROR "));

    one.publish("t", "over HTTP");
    assert!(channel.line().ends_with("\"message\":\"over HTTP\"}"));
    assert!(text.line().starts_with("DELIVER t over HTTP - "));
    text.send("PUBLISH t over text ann\n");
    assert!(channel.line().ends_with("\"message\":\"over text\"}"));
    channel
        .send("{\"command\":\"PUBLISH\",\"args\":{\"channel\":\"t\",\"message\":\"by channel\"}}");
    assert!(channel.line().ends_with("\"message\":\"by channel\"}"));
    succeed(&one, "{\"command\":\"publish\",\"topic\":\"t\",\"message\":\"by topic\"}");
    let bulk = one.request("POST", "/topics/t", "one\ntwo\n");
    assert!(bulk.text().contains("\"offset\":4,\"appended\":2"), "{}", bulk.text());
    let all = ["over HTTP", "over text", "by channel", "by topic", "one", "two"];
    for broker in [&one, &other, &broker_of(&servers)] {
        wait_until(DEADLINE, "the topic", || broker.messages("t") == all);
    }
    assert_eq!(one.get("/topics/t").text(), other.get("/topics/t").text(), "offsets and digest");
    let as_json = "/messages?topic=t&format=json";
    assert_eq!(one.get(as_json).text(), other.get(as_json).text(), "times and publishers");
    assert!(one.get(as_json).text().contains("\"publisher\":\"ann\""));
}

#[test]
fn topics_are_created_once_and_deleted_everywhere_whatever_they_are_called() {
    let Some(servers) = NatsServers::start(1) else { return };
    let (one, other) = (broker_of(&servers), broker_of(&servers));
    let long = "x".repeat(255);
    for (path, name) in [("a%20b%2F%C3%BC", "a b/ü"), ("*.%3E", "*.>"), (&*long, &*long)] {
        let path = format!("/topics/{path}");
        assert_eq!(one.request("PUT", &path, "").status, 201, "{name}");
        assert_eq!(other.request("PUT", &path, "").status, 200, "{name}");
        assert_eq!(other.get(&path).status, 200, "an empty topic is there as well");
        other.publish(name, "one");
        wait_until(DEADLINE, "the message", || one.messages(name) == ["one"]);
        let mut reader = Raw::connect(&other.address());
        reader.send(format!("{{\"command\":\"subscribe\",\"topic\":\"{name}\"}}"));
        assert!(reader.line().contains("\"next\":1"));
        assert_eq!(one.request("DELETE", &path, "").status, 204);
        assert_eq!(one.get(&path).status, 404);
        assert!(reader.line().contains("\"event\":\"deleted\""));
        assert_eq!(other.request("DELETE", &path, "").status, 404);
        one.publish(name, "new");
        assert!(reader.line().contains("\"event\":\"reset\""));
        assert!(reader.line().contains("\"offset\":0,\"message\":\"new\""));
    }
}

#[test]
fn a_number_is_stored_once_through_however_many_brokers_it_comes() {
    let Some(servers) = NatsServers::start(1) else { return };
    let brokers = [broker_of(&servers), broker_of(&servers)];
    let (appended, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    let publish = |broker, epoch, sequence, messages: &[String]| {
        publish_until_answered(broker, epoch, sequence, messages, &refused)
    };
    thread::scope(|scope| {
        for racer in 0..6 {
            let (broker, appended) = (&brokers[racer % 2], &appended);
            scope.spawn(move || {
                for sequence in 0..50 {
                    let answer = publish(broker, 1, sequence, &[format!("m{sequence}")]);
                    assert_eq!(answer.status, 200, "{answer:?}");
                    assert_eq!(number(answer.text(), "offset"), sequence, "{answer:?}");
                    appended.fetch_add(number(answer.text(), "appended"), Ordering::Relaxed);
                }
            });
        }
    });
    // What was refused may have been stored all the same.
    let (appended, in_doubt) = (appended.into_inner(), refused.load(Ordering::Relaxed));
    assert!((50_u64.saturating_sub(in_doubt)..=50).contains(&appended), "{appended}, {in_doubt}");
    assert_eq!(brokers[0].messages("t"), lines(50));
    let gap = publish(&brokers[1], 1, 60, &lines(1));
    assert!(gap.status == 409 && gap.text().contains("\"expected\":50"), "{gap:?}");
    assert_eq!(publish(&brokers[0], 2, 0, &lines(1)).status, 200);
    let old = publish(&brokers[1], 1, 50, &lines(1));
    assert!(old.status == 403 && old.text().contains("\"epoch\":2"), "{old:?}");
}

#[test]
fn a_batch_is_stored_whole_and_a_large_one_of_a_publisher_is_gone_on_with() {
    let Some(servers) = NatsServers::start(1) else { return };
    let broker = broker_of(&servers);
    let all = lines(2500);
    let answer = publish(&broker, 1, 0, &all[..1500]);
    assert!(answer.text().contains("\"offset\":0,\"appended\":1500"), "{}", answer.text());
    let answer = publish(&broker, 1, 0, &all);
    assert!(answer.text().contains("\"offset\":1500,\"appended\":1000"), "{}", answer.text());
    for sequence in [0, 1, 1499, 2499] {
        let place = usize::try_from(sequence).unwrap();
        let again = publish(&broker, 1, sequence, &all[place..=place]);
        assert!(again.text().contains("\"duplicate\":true"), "{}", again.text());
        assert_eq!(number(again.text(), "offset"), sequence);
    }
    assert_eq!(broker.messages("t"), all);
    let bulk = |count: usize| broker.request("POST", "/topics/u", lines(count).join("\n"));
    assert_eq!(bulk(1000).status, 200);
    let refused = bulk(1001);
    assert!(refused.status == 413 && refused.text().contains("1000"), "{refused:?}");
    assert_eq!(broker.messages("u").len(), 1000);
}

#[test]
fn a_bound_that_somebody_sets_moves_the_first_offset_and_readers_are_told() {
    let Some(servers) = NatsServers::start(1) else { return };
    let (one, other) = (broker_of(&servers), broker_of(&servers));
    one.publish_batch("t", lines(10).into_iter());
    assert_eq!(other.messages("t"), lines(10));
    let stream = servers.stream_of("t");
    servers.update(&stream, |config| {
        let config = config.replace("\"max_msgs\":-1", "\"max_msgs\":4");
        config.replace("\"discard\":\"new\"", "\"discard\":\"old\"")
    });
    for broker in [&one, &other, &broker_of(&servers)] {
        wait_until(DEADLINE, "the bound", || broker.messages("t") == lines(10)[6..]);
        let gone = broker.get("/messages?topic=t&from=0");
        assert_eq!((gone.status, gone.number("stream-first-offset")), (410, 6), "{gone:?}");
    }
    one.publish("t", "m10");
    wait_until(DEADLINE, "the next", || other.messages("t").contains(&"m10".to_owned()));
    servers.update(&stream, |config| {
        let config = config.replace("\"max_age\":0", "\"max_age\":1000000000");
        config.replace("\"duplicate_window\":120000000000", "\"duplicate_window\":1000000000")
    });
    for broker in [&one, &other] {
        wait_until(DEADLINE, "the age", || broker.messages("t").is_empty());
        let gone = broker.get("/messages?topic=t&from=0");
        assert_eq!((gone.status, gone.number("stream-first-offset")), (410, 11), "{gone:?}");
    }
}

#[test]
fn bounds_and_trims_hold_through_every_broker_and_nothing_is_stored_twice() {
    let Some(servers) = NatsServers::start(1) else { return };
    let (one, mut other) = (broker_of(&servers), broker_of(&servers));
    assert_eq!(one.request("PUT", "/topics/t", "{\"keep_messages\":4}").status, 201);
    assert_eq!(publish(&other, 1, 0, &lines(3)).status, 200);
    let mut session = Session::open(&one.address()).unwrap();
    let begun = session.ask("{\"command\":\"subscribe\",\"topic\":\"t\"}").unwrap();
    assert_eq!(publish(&one, 1, 0, &lines(10)).status, 200);
    assert_eq!(one.messages("t"), lines(10)[6..], "at the publish that passes the bound");
    assert!(one.get("/topics/t").text().contains("\"first\":6,\"next\":10"));
    let fresh = broker_of(&servers);
    for broker in [&other, &fresh] {
        wait_until(DEADLINE, "the bound", || broker.messages("t") == lines(10)[6..]);
        let gone = broker.get("/messages?topic=t&from=5");
        assert_eq!((gone.status, gone.number("stream-first-offset")), (410, 6), "{gone:?}");
        assert!(broker.get("/topics/t").text().contains("\"keep_messages\":4"));
    }
    // By hand, down to nothing: the number of the publisher outlives its messages.
    let trimmed = other.request("DELETE", "/topics/t/messages?before=10", "");
    assert!(trimmed.text().contains("\"first\":10,\"next\":10"), "{}", trimmed.text());
    let past = other.request("DELETE", "/topics/t/messages?before=11", "");
    assert_eq!(past.status, 416, "{past:?}");
    for broker in [&one, &other, &fresh] {
        wait_until(DEADLINE, "the trim", || broker.messages("t").is_empty());
        let again = publish(broker, 1, 9, &lines(10)[9..]);
        assert!(again.text().contains("\"duplicate\":true"), "{}", again.text());
        assert!(!again.text().contains("\"offset\""), "its message is gone: {}", again.text());
    }
    // What was let go is removed from the servers, but for the publisher's last message.
    let stream = servers.stream_of("t");
    wait_until(DEADLINE, "room", || {
        servers.ask(&format!("STREAM.INFO.{stream}"), "").contains("\"messages\":1,")
    });
    other.restart_broker();
    assert_eq!(publish(&other, 1, 10, &["m10".to_owned()]).status, 200);
    assert_eq!(other.messages("t"), ["m10"], "and nothing steps back");
    assert!(one.get("/topics/t").text().contains("\"first\":10,\"next\":11"));
    // A reader gets what it was too slow for, or a word that it is gone.
    // It may have begun before what another broker was told, of which this one had not heard yet.
    let (mut next, mut seen) = (number(&begun, "next"), Vec::new());
    while next < 11 {
        let line = session.line().unwrap();
        if line.contains("\"event\":\"trimmed\"") {
            next = number(&line, "next");
            continue;
        }
        assert_eq!(number(&line, "offset"), next, "{line}");
        seen.push(next);
        next += 1;
    }
    assert!(seen.ends_with(&[10]), "{seen:?}");
}

#[test]
fn sizes_and_ages_bound_topics_and_a_broker_gives_its_own_to_those_it_creates() {
    let Some(servers) = NatsServers::start(1) else { return };
    let other = broker_of(&servers);
    let one = System::start_with(&["--nats", &servers.addresses(), "--keep-bytes", "12"]);
    one.publish_batch("t", lines(10).into_iter());
    for broker in [&one, &other] {
        wait_until(DEADLINE, "the bound", || broker.messages("t") == lines(10)[6..]);
        assert!(broker.get("/topics/t").text().contains("\"keep_bytes\":12,"));
    }
    let bounds = "{\"keep_bytes\":null,\"keep_for\":\"2s\"}";
    assert_eq!(other.request("PUT", "/topics/t", bounds).status, 200);
    assert_eq!(one.messages("t"), lines(10)[6..]);
    wait_until(DEADLINE, "the age", || {
        one.messages("t") == ["m9"] && other.messages("t") == ["m9"]
    });
    one.publish("t", "new");
    let first = other.get("/messages?topic=t");
    assert!(first.text().ends_with("new\n"), "{first:?}");
    let cleared = one.request("PUT", "/topics/t", "{\"keep_for\":null}");
    assert!(cleared.text().contains("\"keep_for\":null"), "{}", cleared.text());
}

#[test]
fn a_topic_that_is_larger_than_the_mirror_is_bounded_as_well() {
    let Some(servers) = NatsServers::start(1) else { return };
    let small = System::start_with(&["--nats", &servers.addresses(), "--max-memory", "400k"]);
    let all: Vec<String> = (0..8000).map(|number| format!("{number:0>100}")).collect();
    all.chunks(1000).for_each(|lines| small.publish_batch("t", lines.iter()));
    let first = |wanted: u64| {
        wait_until(DEADLINE, "the bound", || {
            small.get("/messages?topic=t&limit=1").number("stream-first-offset") >= wanted
        });
        let found = small.get("/messages?topic=t&limit=1");
        (found.number("stream-first-offset"), found.text().trim().to_owned())
    };
    assert_eq!(small.request("PUT", "/topics/t", "{\"keep_messages\":7000}").status, 200);
    assert_eq!(first(1000), (1000, all[1000].clone()));
    assert_eq!(small.messages("t"), all[1000..]);
    assert_eq!(small.request("PUT", "/topics/t", "{\"keep_bytes\":505000}").status, 200);
    let (offset, _) = first(2000);
    assert!((2900..3100).contains(&offset), "about so many bytes: {offset}");
    assert_eq!(small.request("PUT", "/topics/t", "{\"keep_for\":\"1s\"}").status, 200);
    assert_eq!(first(7999), (7999, all[7999].clone()), "the newest stays");
}

#[test]
fn a_topic_whose_creator_was_killed_before_it_was_done_is_finished_by_the_next() {
    let Some(servers) = NatsServers::start(1) else { return };
    let broker = broker_of(&servers);
    let name = "ps-00000000000000aa";
    let begun = format!("{{\"name\":\"{name}\",\"subjects\":[\"ps.t.t\"],\"allow_direct\":true}}");
    assert!(!servers.ask(&format!("STREAM.CREATE.{name}"), &begun).contains("\"error\""));
    assert_eq!(broker.request("PUT", "/topics/t", "").status, 200);
    assert_eq!(publish(&broker, 1, 0, &lines(3)).status, 200);
    assert_eq!(broker.messages("t"), lines(3));
}

#[test]
fn the_cluster_lists_its_topics_and_patterns_choose_among_them() {
    let Some(servers) = NatsServers::start(1) else { return };
    let one = broker_of(&servers);
    let mut session = Session::open(&one.address()).unwrap();
    let answer = session.ask("{\"command\":\"subscribe\",\"pattern\":\"a/*\"}").unwrap();
    assert!(answer.contains("\"topics\":0") || answer.contains("success"), "{answer}");
    let other = broker_of(&servers);
    for topic in ["a/1", "a/2", "b"] {
        other.publish(topic, "m0");
    }
    let mut told = Vec::new();
    while told.len() < 4 {
        told.push(session.line().unwrap());
    }
    for topic in ["a/1", "a/2"] {
        let of =
            |kind: &str| told.iter().filter(|it| it.contains(kind) && it.contains(topic)).count();
        assert_eq!((of("\"subscribed\""), of("\"m0\"")), (1, 1), "{told:?}");
    }
    // A broker that has read nothing knows of them too.
    let fresh = broker_of(&servers);
    let listed = fresh.get("/topics?pattern=a/*").text().to_owned();
    assert!(listed.contains("a/1") && listed.contains("a/2") && !listed.contains("\"b\""));
    assert!(listed.contains("\"first\":0,\"next\":1"), "{listed}");
    assert_eq!(fresh.get("/topics").text().matches("\"topic\"").count(), 3);
    assert_eq!(fresh.request("PUT", "/topics/c", "").status, 201);
    assert!(fresh.get("/topics").text().contains("\"c\""), "what it has created is there at once");
}

#[test]
fn what_a_broker_has_no_memory_for_is_read_from_the_servers() {
    let Some(servers) = NatsServers::start(1) else { return };
    let large = broker_of(&servers);
    let all: Vec<String> = (0..10_000).map(|number| format!("{number:0>100}")).collect();
    all.chunks(1000).for_each(|lines| large.publish_batch("t", lines.iter()));
    let small = ["--nats", &servers.addresses(), "--max-memory", "400k"];
    for broker in [System::start_with(&small), System::start_with(&small)] {
        let mut session = Session::open(&broker.address()).unwrap();
        let subscribed = "{\"command\":\"subscribe\",\"topic\":\"t\",\"from\":0}";
        assert!(session.ask(subscribed).unwrap().contains("\"next\":0"));
        assert_eq!(broker.messages("t"), all);
        for target in ["from=0&limit=3", "from=5000&limit=700", "from=-3", "since=1d&limit=5"] {
            let target = format!("/messages?topic=t&{target}");
            assert_eq!(broker.get(&target).text(), large.get(&target).text(), "{target}");
        }
        assert_eq!(broker.get("/messages?topic=t&from=10001").status, 416);
        for (offset, message) in all.iter().enumerate() {
            let line = session.line().unwrap();
            assert_eq!(number(&line, "offset"), offset as u64, "{line}");
            assert!(line.contains(message.as_str()), "{line}");
        }
    }
}
