//! Brokers before NATS servers, whatever happens to either.

use crate::brokers::{Crowd, Reader, Session, number, succeed, wait_for_success};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use tests::raw::{Answer, Raw};
use tests::wait::{DEADLINE, wait_for, wait_until};
use tests::{Folder, NatsServers, Process, Stopped, System, program, publish_body, tools};

/// A broker before these servers.
fn broker_of(servers: &NatsServers) -> System {
    System::start_with(&["--nats", &servers.addresses()])
}

/// A broker that is the user `ann` of these servers, and its address.
fn broker_of_ann(servers: &NatsServers) -> (Process, String) {
    let mut command = program::command("broker");
    command.args(["--port", "0", "--nats", &servers.addresses()]);
    command.env("NATS_USER", "ann").env("NATS_PASSWORD", "secret");
    let mut broker = Process::start("broker", command, &Folder::temporary("broker"));
    let line = broker.first_line();
    let address = line.split_once("http://").unwrap().1.split(' ').next().unwrap();
    (broker, address.to_owned())
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

/// Starts a broker that has to end at once, and gives what it says.
fn refused(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let mut command = program::command("broker");
    command.args(["--port", "0"]).args(arguments).envs(environment.iter().copied());
    let mut broker = Process::start("broker", command, &Folder::temporary("broker"));
    assert_eq!(broker.wait().code(), Some(1));
    broker.errors()
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
fn a_publish_that_lands_after_its_broker_was_killed_is_a_duplicate_through_another() {
    let Some(mut servers) = NatsServers::start(1) else { return };
    let (mut one, other) = (broker_of(&servers), broker_of(&servers));
    for (first, count) in [(1, 1), (2, 3)] {
        // Both follow the topic, and know the publisher.
        for broker in [&one, &other] {
            assert_eq!(publish(broker, 1, 0, &lines(1)).status, 200);
        }
        let messages = lines(count);
        let stopped = Stopped::new(servers.process(0));
        let mut client = Raw::connect(&one.address());
        let quoted: Vec<String> = messages.iter().map(|it| format!("\"{it}\"")).collect();
        client.send(format!(
            "{{\"command\":\"publish\",\"topic\":\"t\",\"messages\":[{}],\"publisher\":\"ann\",\
             \"epoch\":1,\"sequence\":{first}}}",
            quoted.join(",")
        ));
        // Nothing tells when the broker has written what the server does not read.
        thread::sleep(Duration::from_millis(300));
        one.kill_broker();
        drop(stopped);
        wait_until(DEADLINE, "the late publish", || {
            other.messages("t").len() == usize::try_from(first).unwrap() + count
        });
        let again = publish(&other, 1, first, &messages);
        assert!(again.text().contains("\"duplicate\":true"), "{}", again.text());
        assert_eq!(number(again.text(), "offset"), first);
        one.start_broker();
    }
    assert_eq!(publish(&one, 1, 5, &lines(1)).status, 200);
    let all = ["m0", "m0", "m0", "m1", "m2", "m0"];
    wait_until(DEADLINE, "the last", || other.messages("t") == all);
}

#[test]
fn a_stream_that_somebody_deletes_is_told_to_readers_and_made_anew() {
    let Some(servers) = NatsServers::start(1) else { return };
    let (one, other) = (broker_of(&servers), broker_of(&servers));
    assert_eq!(publish(&one, 1, 0, &lines(3)).status, 200);
    assert_eq!(publish(&other, 1, 2, &["m2".to_owned()]).status, 200);
    let before = one.get("/messages?topic=t").field("stream-id").unwrap().to_owned();
    let mut reader = Raw::connect(&one.address());
    reader.send("{\"command\":\"subscribe\",\"topic\":\"t\"}");
    assert!(reader.line().contains("\"next\":3"));
    let stream = servers.stream_of("t");
    assert!(servers.ask(&format!("STREAM.DELETE.{stream}"), "").contains("\"success\":true"));
    // This broker still means the old list, and must not land in another.
    let answer = publish(&other, 1, 3, &lines(1));
    assert!(answer.status == 409 && answer.text().contains("\"expected\":0"), "{answer:?}");
    assert_eq!(publish(&other, 2, 0, &lines(1)).status, 200);
    let told = [reader.line(), reader.line()];
    assert!(told.iter().any(|line| line.contains("\"event\":\"reset\"")), "{told:?}");
    wait_until(DEADLINE, "the new list", || one.messages("t") == ["m0"]);
    let gone = one.get(&format!("/messages?topic=t&from=3&stream={before}"));
    assert_eq!(gone.status, 410, "{gone:?}");
}

#[test]
fn what_is_missed_is_read_from_the_stream_within_a_moment() {
    let Some(servers) = NatsServers::start(1) else { return };
    let (one, other) = (broker_of(&servers), broker_of(&servers));
    one.publish("t", "m0");
    assert_eq!(other.messages("t"), ["m0"]);
    // Without this, every message is one that was lost on its way.
    let stream = servers.stream_of("t");
    servers.update(&stream, |config| {
        let (before, rest) = config.split_once("\"republish\":{").unwrap();
        format!("{before}{}", rest.split_once("},").unwrap().1)
    });
    let mut reader = Raw::connect(&other.address());
    reader.send("{\"command\":\"subscribe\",\"topic\":\"t\"}");
    assert!(reader.line().contains("\"next\":1"));
    for round in 1..4 {
        one.publish("t", &format!("m{round}"));
        assert_eq!(one.messages("t").len(), round + 1, "read your own writes");
        assert!(reader.line().contains(&format!("\"message\":\"m{round}\"")));
    }
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
fn what_no_broker_stores_stops_its_topic_and_no_other() {
    let Some(servers) = NatsServers::start(1) else { return };
    let broker = broker_of(&servers);
    broker.publish("t", "one");
    broker.publish("u", "one");
    let id = servers.stream_of("t").replace("ps-", "");
    servers.request(&format!("ps.m.{id}.u"), "", "two\nlines");
    let named = || broker.request("POST", "/publish", publish_body("t", "three"));
    wait_until(DEADLINE, "the topic to stop", || {
        let answer = named();
        answer.status == 502 && answer.text().contains("sequence 2")
    });
    broker.publish("u", "two");
    assert_eq!(broker.messages("t"), ["one"]);
    assert_eq!(broker.messages("u"), ["one", "two"]);
}

#[test]
fn a_cluster_that_cannot_be_the_home_of_topics_is_refused_in_one_line() {
    let settings = "authorization { user: ann, password: secret }";
    let Some(servers) = NatsServers::start_with(1, settings, "") else { return };
    let address = servers.addresses();
    let wrong = [("NATS_USER", "ann"), ("NATS_PASSWORD", "wrong")];
    let said = refused(&["--nats", &address], &wrong);
    assert!(said.contains("Authorization Violation") && said.lines().count() == 1, "{said}");
    let right = [("NATS_USER", "ann"), ("NATS_PASSWORD", "secret")];
    let said = refused(&["--nats", &address, "--nats-replicas", "3"], &right);
    assert!(said.contains("--nats-replicas 1"), "{said}");

    let Some(servers) = NatsServers::start(1) else { return };
    let foreign = "{\"name\":\"orders\",\"subjects\":[\"ps.>\"],\"no_ack\":true}";
    assert!(!servers.ask("STREAM.CREATE.orders", foreign).contains("\"error\""));
    let said = refused(&["--nats", &servers.addresses()], &[]);
    assert!(said.contains("\"orders\"") && said.contains("--nats-prefix"), "{said}");
    let broker = System::start_with(&["--nats", &servers.addresses(), "--nats-prefix", "px"]);
    broker.publish("t", "one");

    let mut command = tools::nats_server().unwrap();
    let port = System::reserve().port().to_string();
    command.args(["-a", "127.0.0.1", "-p", &port]);
    let _without = Process::start("nats-server", command, &Folder::temporary("nats"));
    let address = format!("127.0.0.1:{port}");
    wait_until(DEADLINE, "the server", || std::net::TcpStream::connect(&address).is_ok());
    let said = refused(&["--nats", &address], &[]);
    assert!(said.contains("JetStream is off"), "{said}");
}

#[test]
fn a_token_is_taken_from_the_environment() {
    let settings = "authorization { token: secret }";
    let Some(servers) = NatsServers::start_with(1, settings, "") else { return };
    let mut command = program::command("broker");
    command.args(["--port", "0", "--nats", &servers.addresses()]).env("NATS_TOKEN", "secret");
    let mut broker = Process::start("broker", command, &Folder::temporary("broker"));
    assert!(broker.first_line().contains("in NATS at"));
}

#[test]
fn messages_may_be_as_long_as_the_servers_take_them() {
    let Some(servers) = NatsServers::start_with(1, "max_payload: 5000", "") else { return };
    let broker = broker_of(&servers);
    let mut client = Raw::connect(&broker.address());
    let long = "x".repeat(5000 - 1024);
    client.request("POST", "/publish", publish_body("t", &long));
    assert_eq!(client.answer().status, 200);
    client.request("POST", "/publish", publish_body("t", &format!("{long}x")));
    assert_eq!(client.answer().status, 413, "and the connection is kept");
    let body = format!(
        "{{\"topic\":\"t\",\"messages\":[\"{long}\",\"{long}\"],\"publisher\":\"{}\",\"epoch\":1,\
         \"sequence\":0}}",
        "ü".repeat(127)
    );
    client.request("POST", "/publish", body);
    assert_eq!(client.answer().status, 200, "headers have their own room");
}

#[test]
fn a_full_cluster_is_told_as_one_and_a_deletion_makes_room() {
    let settings = "accounts { A { jetstream: { max_file: 1M, max_streams: 2 }, \
                    users: [ { user: ann, password: secret } ] } }";
    let Some(servers) = NatsServers::start_with(1, settings, "") else { return };
    let (_broker, address) = broker_of_ann(&servers);
    let mut client = Raw::connect(&address);
    let mut publish = |topic: &str, size: usize| {
        client.request("POST", "/publish", publish_body(topic, &"x".repeat(size)));
        client.answer()
    };
    while publish("t", 100_000).status == 200 {}
    let full = publish("t", 100_000);
    assert!(full.status == 507 && full.text().contains("10002"), "{full:?}");
    let mut other = Raw::connect(&address);
    other.request("DELETE", "/topics/t", "");
    assert_eq!(other.answer().status, 204);
    assert_eq!(publish("t", 100).status, 200);
    assert_eq!(publish("u", 100).status, 200);
    let many = publish("v", 100);
    assert!(many.status == 507 && many.text().contains("10027"), "{many:?}");
}

#[test]
fn a_sealed_stream_takes_no_more_and_says_so() {
    let Some(servers) = NatsServers::start(1) else { return };
    let broker = broker_of(&servers);
    broker.publish("t", "one");
    let stream = servers.stream_of("t");
    servers.update(&stream, |config| config.replace("\"sealed\":false", "\"sealed\":true"));
    let answer = broker.request("POST", "/publish", publish_body("t", "two"));
    assert!(answer.status == 507 && answer.text().contains("sealed"), "{answer:?}");
    assert_eq!(broker.messages("t"), ["one"]);
}

#[test]
fn while_no_server_is_there_mirrors_are_served_and_publishes_refused() {
    let Some(mut servers) = NatsServers::start(1) else { return };
    let broker = broker_of(&servers);
    broker.publish("t", "one");
    let mut reader = Raw::connect(&broker.address());
    reader.send("{\"command\":\"subscribe\",\"topic\":\"t\"}");
    assert!(reader.line().contains("\"next\":1"));
    servers.kill(0);
    let refused = broker.request("POST", "/publish", publish_body("t", "two"));
    assert_eq!((refused.status, refused.field("retry-after")), (503, Some("1")), "{refused:?}");
    assert_eq!(broker.messages("t"), ["one"]);
    assert_eq!(broker.get("/messages?topic=u").status, 503);
    // A broker may be started before its servers.
    let early = broker_of(&servers);
    servers.restart(0);
    for broker in [&broker, &early] {
        wait_for_success(broker, "{\"command\":\"publish\",\"topic\":\"t\",\"message\":\"two\"}");
    }
    assert!(reader.line().contains("\"offset\":1,\"message\":\"two\""), "push resumes");
    assert_eq!(early.messages("t"), ["one", "two", "two"]);
}

#[test]
fn nothing_is_lost_doubled_or_moved_while_servers_and_brokers_come_and_go() {
    let Some(mut servers) = NatsServers::start(3) else { return };
    let mut brokers = [broker_of(&servers), broker_of(&servers)];
    let mut crowd = Crowd::new();
    crowd.publish(&brokers[0], "t", "ann");
    crowd.publish(&brokers[1], "t", "bob");
    crowd.publish(&brokers[1], "u", "cleo");
    crowd.wait_for_more();
    let readers = [Reader::json(&brokers[0], "t"), Reader::events(&brokers[1], "t")];
    let stream = servers.stream_of("t");
    // The leader is killed, a follower is, the leader hangs, it is told to end, all are killed.
    let leader = servers.leader_of(&stream);
    servers.kill(leader);
    crowd.wait_for_more();
    servers.restart(leader);
    let follower = (servers.leader_of(&stream) + 1) % 3;
    servers.kill(follower);
    crowd.wait_for_more();
    servers.restart(follower);
    let leader = servers.leader_of(&stream);
    let stopped = Stopped::new(servers.process(leader));
    crowd.wait_for_more();
    drop(stopped);
    crowd.restart(&mut brokers[0]);
    let leader = servers.leader_of(&stream);
    servers.process(leader).signal("TERM");
    servers.process(leader).wait();
    crowd.wait_for_more();
    servers.restart(leader);
    (0..3).for_each(|index| servers.kill(index));
    (0..3).for_each(|index| servers.begin(index));
    crowd.wait_for_more();
    crowd.restart(&mut brokers[1]);
    let list = |topic: &str| {
        let lists = brokers.each_ref().map(|broker| broker.messages(topic));
        assert_eq!(lists[0], lists[1]);
        lists[0].clone()
    };
    crowd.check(list);
    readers.iter().for_each(|reader| reader.expect(&brokers[0].messages("t")));
}

#[test]
fn a_leader_that_is_cut_off_refuses_nothing_falsely_and_stores_nothing_twice() {
    let Some(servers) = NatsServers::start_partible() else { return };
    let any = broker_of(&servers);
    assert_eq!(publish(&any, 1, 0, &lines(5)).status, 200);
    let leader = servers.leader_of(&servers.stream_of("t"));
    let there = System::start_with(&["--nats", &servers.address(leader)]);
    let others =
        format!("{},{}", servers.address((leader + 1) % 3), servers.address((leader + 2) % 3));
    let elsewhere = System::start_with(&["--nats", &others]);
    for broker in [&there, &elsewhere] {
        assert!(publish(broker, 1, 4, &lines(5)[4..]).text().contains("\"duplicate\":true"));
    }
    servers.part(leader, true);
    // This one may have come before the cut, or land late.
    let answer = publish(&there, 1, 5, &["m5".to_owned()]);
    assert!([200, 503].contains(&answer.status), "{answer:?}");
    for sequence in 5..10 {
        wait_until(DEADLINE, "another leader", || {
            let answer = publish(&elsewhere, 1, sequence, &[format!("m{sequence}")]);
            assert!([200, 503].contains(&answer.status), "{answer:?}");
            answer.status == 200
        });
    }
    // What the old leader knows is old: neither a gap nor an old epoch may be told.
    for (epoch, sequence) in [(1, 10), (1, 7), (0, 9)] {
        let answer = publish(&there, epoch, sequence, &[format!("m{sequence}")]);
        assert_eq!(answer.status, 503, "{epoch} {sequence}: {answer:?}");
    }
    // Nor that there is no such offset: a reader may have it from another broker.
    let ahead = there.get("/messages?topic=t&from=8");
    assert_eq!(ahead.status, 503, "{ahead:?}");
    servers.part(leader, false);
    for broker in [&there, &elsewhere, &any] {
        wait_until(DEADLINE, "one list", || {
            let answer = publish(broker, 1, 10, &["m10".to_owned()]);
            assert!([200, 503].contains(&answer.status), "{answer:?}");
            answer.status == 200
        });
        wait_until(DEADLINE, "the mirror", || broker.messages("t").len() >= 11);
        assert_eq!(broker.messages("t"), lines(11));
    }
}

#[test]
fn a_broker_that_is_too_slow_for_the_servers_gets_every_message_all_the_same() {
    let settings = "write_deadline: \"500ms\"\nmax_pending: 3000000";
    let Some(mut servers) = NatsServers::start_with(1, settings, "") else { return };
    let (one, mut slow) = (broker_of(&servers), broker_of(&servers));
    one.publish("t", "0");
    let mut session = Session::open(&slow.address()).unwrap();
    session.ask("{\"command\":\"subscribe\",\"topic\":\"t\",\"from\":0}").unwrap();
    let stopped = Stopped::new(slow.broker());
    let all: Vec<String> = (1..9000).map(|number| format!("{number:0>2000}")).collect();
    all.chunks(500).for_each(|lines| one.publish_batch("t", lines.iter()));
    wait_until(DEADLINE, "a slow consumer", || {
        servers.process(0).errors().contains("Slow Consumer Detected")
    });
    drop(stopped);
    for offset in 0..9000 {
        assert_eq!(number(&session.line().unwrap(), "offset"), offset);
    }
}

#[test]
fn a_permission_that_is_missing_is_named() {
    let denied =
        "{ user: ann, password: secret, permissions: { publish: { deny: [\"ps.m.>\"] } } }";
    let settings = format!("authorization {{ users: [ {denied} ] }}");
    let Some(servers) = NatsServers::start_with(1, &settings, "") else { return };
    let (_broker, address) = broker_of_ann(&servers);
    let mut client = Raw::connect(&address);
    client.request("POST", "/publish", publish_body("t", "one"));
    let answer = client.answer();
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.text().contains("Permissions Violation") && answer.text().contains("ps.m."));
}

#[test]
fn more_batches_at_once_than_the_servers_take_are_all_stored() {
    let Some(servers) = NatsServers::start(1) else { return };
    let brokers = [broker_of(&servers), broker_of(&servers)];
    brokers[0].publish("t", "first");
    thread::scope(|scope| {
        for racer in 0..60 {
            let broker = &brokers[racer % 2];
            scope.spawn(move || {
                let body = lines(300).join("\n");
                wait_until(DEADLINE, "room", || {
                    let answer = broker.request("POST", "/topics/t", &body);
                    assert!([200, 503].contains(&answer.status), "{answer:?}");
                    answer.status == 200
                });
            });
        }
    });
    // Who was told to try again may have been stored all the same, even later, but never in part.
    let lists = || [0, 1].map(|index: usize| brokers[index].messages("t"));
    wait_until(DEADLINE, "one list", || lists()[0] == lists()[1]);
    let stored = brokers[0].messages("t");
    let whole = stored[1..].chunks(300).all(|batch| batch == lines(300));
    assert!(whole && stored.len() > 60 * 300, "{}", stored.len());
}

#[test]
fn with_most_servers_gone_publishes_are_refused_and_reads_served() {
    let Some(mut servers) = NatsServers::start(3) else { return };
    let broker = broker_of(&servers);
    broker.publish("t", "one");
    let five = System::start_with(&["--nats", &servers.addresses(), "--nats-replicas", "5"]);
    let refused = five.request("POST", "/publish", publish_body("u", "one"));
    assert!(refused.status == 507 && refused.text().contains("--nats-replicas"), "{refused:?}");
    let answer = broker.request("POST", "/publish", publish_body("t", "two"));
    assert!(answer.text().contains("\"durable\":false,\"replicas\":3"), "{}", answer.text());
    assert_eq!(broker.get("/readyz").status, 200);
    (1..3).for_each(|index| servers.kill(index));
    let refused = broker.request("POST", "/publish", publish_body("t", "three"));
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(broker.messages("t"), ["one", "two"]);
    servers.kill(0);
    wait_until(DEADLINE, "the loss", || broker.get("/readyz").status == 503);
    assert!(broker.get("/metrics").text().contains("\nbroker_home_in_reach 0\n"));
    (0..3).for_each(|index| servers.begin(index));
    wait_until(DEADLINE, "the servers", || {
        broker.request("POST", "/publish", publish_body("t", "four")).status == 200
    });
    assert_eq!(broker.get("/readyz").status, 200);
    assert!(broker.get("/metrics").text().contains("\nbroker_home_replicas 3\n"));
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
