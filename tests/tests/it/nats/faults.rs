//! Whatever happens to servers and brokers, nothing is lost, doubled or moved.

use super::{broker_of, lines, publish, publish_until_answered};
use crate::brokers::{Crowd, Reader, Session, number, wait_for_success};
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use tests::network::{self, Link};
use tests::raw::Raw;
use tests::wait::{DEADLINE, wait_until};
use tests::{NatsServers, Stopped, System, program, publish_body};

/// Whether the test that calls this, of this name, is in a network and among disks of its own. If
/// not, it is run once more there, where the system has them.
#[track_caller]
fn is_in_own_network(test: &str) -> bool {
    if !network::is_own()
        && let Some(mut again) = network::again(["--exact", test, "--nocapture"])
    {
        // What it leaves ends with it.
        let output = again.env("TMPDIR", "/run").output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }
    network::is_own()
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
    let lame_duck = "lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"1s\"";
    let Some(mut servers) = NatsServers::start_with(3, lame_duck, "") else { return };
    let mut brokers = [broker_of(&servers), broker_of(&servers)];
    let mut crowd = Crowd::new();
    crowd.publish(&brokers[0], "t", "ann");
    crowd.publish(&brokers[1], "t", "bob");
    crowd.publish(&brokers[1], "u", "cleo");
    crowd.wait_for_more();
    let readers = [Reader::json(&brokers[0], "t"), Reader::events(&brokers[1], "t")];
    let stream = servers.stream_of("t");
    // The leader is killed, a follower is, each hangs, the leader is told to end at once and by and
    // by, all are killed.
    let leader = servers.leader_of(&stream);
    servers.kill(leader);
    crowd.wait_for_more();
    servers.restart(leader);
    let follower = (servers.leader_of(&stream) + 1) % 3;
    servers.kill(follower);
    crowd.wait_for_more();
    servers.restart(follower);
    for index in 0..3 {
        let _stopped = Stopped::new(servers.process(index));
        crowd.wait_for_more();
    }
    crowd.restart(&mut brokers[0]);
    for signal in ["TERM", "USR2"] {
        let leader = servers.leader_of(&stream);
        servers.process(leader).signal(signal);
        crowd.wait_for_more();
        servers.kill(leader);
        servers.restart(leader);
    }
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
    let this =
        "nats::faults::a_leader_that_is_cut_off_refuses_nothing_falsely_and_stores_nothing_twice";
    if !is_in_own_network(this) {
        return;
    }
    let Some(servers) = NatsServers::start(3) else { return };
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
    servers.cut(leader, Link::Nodes, true);
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
    servers.cut(leader, Link::Nodes, false);
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
fn with_most_servers_gone_publishes_are_refused_and_reads_served() {
    let Some(mut servers) = NatsServers::start(3) else { return };
    let broker = broker_of(&servers);
    broker.publish("t", "one");
    // This one has no memory for the whole topic.
    let small = System::start_with(&["--nats", &servers.addresses(), "--max-memory", "400k"]);
    let all: Vec<String> = (0..10_000).map(|number| format!("{number:0>100}")).collect();
    all.chunks(1000).for_each(|lines| small.publish_batch("u", lines.iter()));
    let answer = broker.request("POST", "/publish", publish_body("t", "two"));
    assert!(answer.text().contains("\"durable\":false,\"replicas\":3"), "{}", answer.text());
    assert_eq!(broker.get("/readyz").status, 200);
    (1..3).for_each(|index| servers.kill(index));
    let refused = broker.request("POST", "/publish", publish_body("t", "three"));
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(broker.messages("t"), ["one", "two"]);
    let wanted = all[..2000].join("\n") + "\n";
    wait_until(DEADLINE, "the server that is left to be read from", || {
        let read = small.get("/messages?topic=u&from=0&limit=2000");
        assert!([200, 503].contains(&read.status), "{read:?}");
        read.status == 200 && read.text() == wanted
    });
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
fn a_broker_that_is_killed_in_a_batch_leaves_nothing_of_it() {
    let Some(mut servers) = NatsServers::start(1) else { return };
    let (mut one, other) = (broker_of(&servers), broker_of(&servers));
    assert_eq!(publish(&one, 1, 0, &lines(1)).status, 200);
    // More than the two sockets take, so some of it never leaves the broker.
    let all: Vec<String> = (0..250).map(|number| format!("{number:0>30000}")).collect();
    let stopped = Stopped::new(servers.process(0));
    let body = format!(
        "{{\"command\":\"publish\",\"topic\":\"t\",\"messages\":[\"{}\"],\"publisher\":\"ann\",\
         \"epoch\":1,\"sequence\":1}}",
        all.join("\",\"")
    );
    let mut client = Raw::connect(&one.address());
    client.send(body);
    // Nothing tells when the broker has written what the server does not read.
    thread::sleep(Duration::from_millis(500));
    one.kill_broker();
    drop(stopped);
    let refused = AtomicU64::new(0);
    let again = publish_until_answered(&other, 1, 1, &all, &refused);
    assert!(again.text().contains("\"offset\":1,\"appended\":250"), "{}", again.text());
    assert_eq!(other.messages("t")[1..], all);
}

#[test]
fn a_batch_is_whole_or_absent_whichever_server_leads() {
    let Some(servers) = NatsServers::start(3) else { return };
    let (broker, refused, is_over) =
        (broker_of(&servers), AtomicU64::new(0), AtomicBool::new(false));
    assert_eq!(publish(&broker, 1, 0, &lines(300)).status, 200);
    let stream = servers.stream_of("t");
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..10 {
                thread::sleep(Duration::from_millis(200));
                servers.ask(&format!("STREAM.LEADER.STEPDOWN.{stream}"), "");
            }
            is_over.store(true, Ordering::Relaxed);
        });
        let mut sequence = 300;
        while !is_over.load(Ordering::Relaxed) {
            let answer = publish_until_answered(&broker, 1, sequence, &lines(300), &refused);
            assert_eq!(answer.status, 200, "{answer:?}");
            assert!([0, 300].contains(&number(answer.text(), "appended")), "{answer:?}");
            sequence += 300;
        }
        let stored = broker.messages("t");
        assert_eq!(stored.len() as u64, sequence);
        assert!(stored.chunks(300).all(|batch| batch == lines(300)));
    });
}

#[test]
fn a_server_that_is_behind_hides_nothing_from_who_has_published() {
    let Some(mut servers) = NatsServers::start(3) else { return };
    let any = broker_of(&servers);
    assert_eq!(publish(&any, 1, 0, &lines(1)).status, 200);
    let leader = servers.leader_of(&servers.stream_of("t"));
    let refused = AtomicU64::new(0);
    for round in 1..3 {
        let follower = (leader + round) % 3;
        // Its mirror begins only when its server was away.
        let behind = System::start_with(&["--nats", &servers.address(follower)]);
        let stopped = Stopped::new(servers.process(follower));
        let first = 10 * round as u64 - 9;
        for sequence in first..first + 9 {
            let message = [format!("m{sequence}")];
            let answer = publish_until_answered(&any, 1, sequence, &message, &refused);
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        drop(stopped);
        let sequence = first + 9;
        let message = [format!("m{sequence}")];
        let answer = publish_until_answered(&behind, 1, sequence, &message, &refused);
        assert_eq!(number(answer.text(), "offset"), sequence, "{answer:?}");
        let wanted = lines(usize::try_from(sequence).unwrap() + 1);
        assert_eq!(behind.messages("t"), wanted);
    }
}

#[test]
fn a_full_disk_of_a_server_loses_and_doubles_nothing() {
    if !is_in_own_network("nats::faults::a_full_disk_of_a_server_loses_and_doubles_nothing") {
        return;
    }
    let Some(mut servers) = NatsServers::start(3) else { return };
    let (broker, refused) = (broker_of(&servers), AtomicU64::new(0));
    let mut all = Vec::new();
    let mut publish_more = |count: usize| {
        for _ in 0..count {
            let message = format!("{:0>60000}", all.len());
            let sequence = all.len() as u64;
            let sent = std::slice::from_ref(&message);
            let answer = publish_until_answered(&broker, 1, sequence, sent, &refused);
            assert_eq!(answer.status, 200, "{answer:?}");
            all.push(message);
        }
        all.clone()
    };
    publish_more(1);
    let stream = servers.stream_of("t");
    let full = (servers.leader_of(&stream) + 1) % 3;
    servers.kill(full);
    servers.resize_disk(full, "6m");
    servers.restart(full);
    assert_ne!(servers.leader_of(&stream), full);
    // The broker's own server may have been that one.
    publish_more(1);
    let before = refused.load(Ordering::Relaxed);
    publish_more(150);
    let is_full = |servers: &mut NatsServers| {
        let said = servers.process(full).errors();
        assert!(said.contains("critical write error"), "{said}");
    };
    is_full(&mut servers);
    assert_eq!(refused.load(Ordering::Relaxed), before, "nobody notices");
    servers.kill(full);
    servers.resize_disk(full, "20m");
    servers.restart(full);
    let preferred = format!("{{\"placement\":{{\"preferred\":\"n{full}\"}}}}");
    wait_until(DEADLINE, "the other leader", || {
        servers.ask(&format!("STREAM.LEADER.STEPDOWN.{stream}"), &preferred);
        servers.leader_of(&stream) == full
    });
    let all = publish_more(300);
    is_full(&mut servers);
    assert_eq!(broker.messages("t"), all);
    let fresh = broker_of(&servers);
    wait_until(DEADLINE, "a mirror", || fresh.get("/messages?topic=t&limit=1").status == 200);
    assert_eq!(fresh.messages("t"), all);
}

#[test]
fn a_clock_that_is_years_off_moves_no_offset() {
    let Some(servers) = NatsServers::start(1) else { return };
    let (one, other) = (broker_of(&servers), broker_of(&servers));
    one.publish("t", "m0");
    let id = servers.stream_of("t").replace("ps-", "");
    // As a leader with another clock would say that it has stored it.
    for (number, year) in [(1, 2001), (2, 2050), (3, 1970)] {
        let time = format!("Nats-Time-Stamp: {year}-01-02T03:04:05Z\r\n");
        servers.request(&format!("ps.m.{id}.u"), &time, &format!("m{number}"));
    }
    let all = [lines(4), vec!["now".to_owned()]].concat();
    wait_until(DEADLINE, "all of them", || one.messages("t") == lines(4));
    one.publish("t", "now");
    for broker in [&one, &other, &broker_of(&servers)] {
        wait_until(DEADLINE, "the last", || broker.messages("t") == all);
        let read = broker.get("/messages?topic=t&format=json");
        for time in ["978404645000", "2524705445000", "97445000"] {
            assert!(read.text().contains(&format!("\"time\":{time},")), "{}", read.text());
        }
        assert!(broker.get("/topics/t").text().contains("\"next\":5"));
    }
}

#[test]
fn the_table_of_faults_is_whole_and_names_tests_that_are_there() {
    let table = fs::read_to_string(program::workspace().join("broker/src/home/nats/faults.md"));
    let table = table.unwrap();
    let sources = ["tests/tests/it/nats", "broker/src/home/nats"].map(|folder| {
        let files = fs::read_dir(program::workspace().join(folder)).unwrap();
        let paths = files.map(|file| file.unwrap().path()).filter(|path| path.is_file());
        paths.map(|path| fs::read_to_string(path).unwrap()).collect::<String>()
    });
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let rows: Vec<_> = rows.filter(|(number, _)| number.parse::<u64>().is_ok()).collect();
    let numbers: Vec<usize> = rows.iter().map(|(number, _)| number.parse().unwrap()).collect();
    assert_eq!(numbers, (1..=36).collect::<Vec<_>>());
    for (number, row) in rows {
        let shown = row.split(" | ").last().unwrap();
        let named: Vec<_> = shown.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "fault {number} is shown by nothing");
        for name in named {
            let test = format!("#[test]\nfn {name}(");
            let is_there = |text: &String| text.replace("    ", "").contains(&test);
            assert!(sources.iter().any(is_there), "fault {number}: there is no test {name}");
        }
    }
}
