//! Lasting subscriptions that the brokers of a cluster share.

use super::broker_of;
use crate::brokers::number;
use std::thread;
use std::time::Duration;
use tests::raw::Raw;
use tests::wait::{DEADLINE, wait_for, wait_until};
use tests::{NatsServers, Stopped, System};

/// A session of `ann` in the topic `t`, and where it begins.
#[track_caller]
fn subscribe(broker: &System) -> (Raw, u64) {
    let mut session = Raw::connect(&broker.address());
    let next = subscribe_to("t", &mut session);
    (session, next)
}

#[track_caller]
fn subscribe_to(topic: &str, session: &mut Raw) -> u64 {
    session.send(format!(
        "{{\"command\":\"subscribe\",\"topic\":\"{topic}\",\"subscriber\":\"ann\",\"from\":0}}"
    ));
    // Messages of other topics may come first.
    number(&wait_for_line(session, "\"Subscribed to topic"), "next")
}

#[track_caller]
fn wait_for_line(session: &mut Raw, part: &str) -> String {
    wait_for(DEADLINE, part, || Some(session.line()).filter(|line| line.contains(part)))
}

/// Reads messages, the first of which stands at `first`, and acknowledges the last.
#[track_caller]
fn read(session: &mut Raw, first: u64, count: u64) {
    for offset in first..first + count {
        let line = session.line();
        assert!(line.contains(&format!("\"offset\":{offset},")), "{line}");
    }
    acknowledge(session, first + count - 1);
}

#[track_caller]
fn acknowledge(session: &mut Raw, offset: u64) {
    session.send(format!(
        "{{\"command\":\"ack\",\"topic\":\"t\",\"subscriber\":\"ann\",\"offset\":{offset}}}"
    ));
    wait_for_line(session, "\"Acknowledged\"");
}

/// What `GET /subscribers` says.
fn list(broker: &System) -> String {
    broker.get("/subscribers").text().to_owned()
}

#[track_caller]
fn wait_for_place(broker: &System, next: u64) {
    wait_until(DEADLINE, "the place", || list(broker).contains(&format!("\"next\":{next},")));
}

fn messages(count: u64) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("m{number}"))
}

#[test]
fn a_name_goes_on_through_any_broker_and_door_where_it_acknowledged() {
    let Some(servers) = NatsServers::start(1) else { return };
    let [mut one, other] = [broker_of(&servers), broker_of(&servers)];
    one.publish_batch("t", messages(20));
    let (mut session, next) = subscribe(&one);
    assert_eq!(next, 0);
    read(&mut session, 0, 5);
    // Kept when the connection ends, and a second later.
    drop(session);
    wait_for_place(&other, 5);
    let (mut session, next) = subscribe(&other);
    assert_eq!(next, 5);
    read(&mut session, 5, 3);
    wait_for_place(&one, 8);
    drop(session);
    let (mut session, _) = subscribe(&one);
    read(&mut session, 8, 1);
    wait_for_place(&other, 9);
    one.kill_broker();
    drop(session);
    // An acknowledgement needs no subscription.
    let mut stranger = Raw::connect(&other.address());
    acknowledge(&mut stranger, 9);
    // What is written to a text session is acknowledged.
    let mut text = Raw::connect(&other.address());
    text.send("SUBSCRIBE t ann\n");
    assert!(text.line().starts_with("DELIVER t m10 "));
    wait_for_place(&other, 20);
    drop(text);
    one.start_broker();
    other.publish("t", "m20");
    let mut events = Raw::connect(&one.address());
    events.request("GET", "/events?topic=t&subscriber=ann", "");
    assert_eq!(events.stream_head().status, 200);
    wait_for_line(&mut events, "\"offset\":20");
}

#[test]
fn a_subscription_begins_although_somebody_listens_to_all_subjects() {
    let Some(servers) = NatsServers::start(1) else { return };
    let mut listener = Raw::connect(&servers.address(0));
    listener.send("CONNECT {\"verbose\":false}\r\nSUB > 1\r\nPING\r\n");
    wait_for_line(&mut listener, "PONG");
    let broker = broker_of(&servers);
    broker.publish_batch("t", messages(3));
    let (mut session, next) = subscribe(&broker);
    assert_eq!(next, 0);
    read(&mut session, 0, 3);
    assert_eq!(broker.request("PUT", "/topics/t", "{\"keep_messages\":2}").status, 200);
}

#[test]
fn an_end_of_one_subscription_leaves_what_the_others_acknowledged() {
    let Some(servers) = NatsServers::start(1) else { return };
    let broker = broker_of(&servers);
    broker.publish_batch("t", messages(5));
    let (mut session, _) = subscribe(&broker);
    read(&mut session, 0, 4);
    subscribe_to("u", &mut session);
    session.send("{\"command\":\"unsubscribe\",\"topic\":\"u\",\"subscriber\":\"ann\"}");
    wait_for_line(&mut session, "Unsubscribed");
    drop(session);
    wait_for_place(&broker, 4);
    assert_eq!(subscribe(&broker).1, 4);
}

#[test]
fn the_newest_connection_has_a_name_through_whichever_broker_it_came() {
    let Some(servers) = NatsServers::start(3) else { return };
    let brokers = [broker_of(&servers), broker_of(&servers)];
    brokers[0].publish_batch("t", messages(50));
    brokers[0].publish("u", "m0");
    let mut sessions = Vec::new();
    for round in 0..6 {
        let broker = &brokers[round % 2];
        let first = 5 * u64::try_from(round).unwrap();
        let (mut session, next) = subscribe(broker);
        assert!(next <= first, "{next} instead of {first}");
        read(&mut session, next, first + 5 - next);
        wait_for_place(&brokers[1 - round % 2], first + 5);
        if let Some(mut before) = sessions.pop() {
            wait_for_line(&mut before, "\"event\":\"unsubscribed\"");
            // Late, and of an earlier connection: it moves the place forward or not at all.
            acknowledge(&mut before, first);
            thread::sleep(Duration::from_millis(50));
        }
        sessions.push(session);
    }
    let mut session = sessions.pop().unwrap();
    acknowledge(&mut session, 40);
    wait_for_place(&brokers[0], 41);
    // Topics of a name are its connection's, and no other's.
    assert_eq!(subscribe_to("u", &mut Raw::connect(&brokers[0].address())), 0);
    wait_for_line(&mut session, "\"event\":\"unsubscribed\"");
    assert_eq!(subscribe(&brokers[1]).1, 41);
}

#[test]
fn an_end_is_an_end_for_every_broker() {
    let Some(servers) = NatsServers::start(1) else { return };
    let [one, other] = [broker_of(&servers), broker_of(&servers)];
    one.publish_batch("t", messages(9));
    let (mut session, _) = subscribe(&one);
    read(&mut session, 0, 5);
    subscribe_to("u", &mut session);
    wait_for_place(&other, 5);
    assert!(list(&other).contains("\"lag\":4,\"connected\":false"), "{}", list(&other));
    assert!(list(&one).contains("\"lag\":4,\"connected\":true"), "{}", list(&one));
    assert_eq!(other.request("DELETE", "/subscribers/ann?topic=t", "").status, 204);
    assert_eq!(other.request("DELETE", "/subscribers/ann?topic=t", "").status, 404);
    wait_for_line(&mut session, "\"event\":\"unsubscribed\"");
    // Nothing that is acknowledged late brings it back.
    session.send("{\"command\":\"ack\",\"topic\":\"t\",\"subscriber\":\"ann\",\"offset\":7}");
    wait_for_line(&mut session, "Not subscribed");
    drop(session);
    assert!(!list(&one).contains("\"t\"") && list(&one).contains("\"u\""), "{}", list(&one));
    let (mut session, next) = subscribe(&one);
    assert_eq!(next, 0);
    read(&mut session, 0, 2);
    session.send("{\"command\":\"unsubscribe\",\"topic\":\"t\",\"subscriber\":\"ann\"}");
    wait_for_line(&mut session, "Unsubscribed");
    assert_eq!(subscribe_to("t", &mut Raw::connect(&other.address())), 0);
    // A topic takes its subscriptions along.
    assert_eq!(one.request("DELETE", "/topics/t", "").status, 204);
    wait_until(DEADLINE, "the end", || !list(&other).contains("\"t\""));
    assert_eq!(one.request("DELETE", "/subscribers/ann", "").status, 204);
    assert_eq!(list(&other).trim(), "[]");
    other.publish_batch("t", messages(3));
    let (_session, next) = subscribe(&one);
    assert_eq!(next, 0);
}

#[test]
fn a_place_that_a_server_missed_is_not_skipped_to_nor_forgotten() {
    let Some(mut servers) = NatsServers::start(3) else { return };
    let any = broker_of(&servers);
    any.publish_batch("t", messages(300));
    let (session, _) = subscribe(&any);
    drop(session);
    let leader = servers.leader_of("ps-places");
    for round in 1..3 {
        let follower = (leader + round) % 3;
        let behind = System::start_with(&["--nats", &servers.address(follower)]);
        assert_eq!(behind.get("/topics/t").status, 200);
        let (mut session, _) = subscribe(&any);
        let stopped = Stopped::new(servers.process(follower));
        let acknowledged = 50 * u64::try_from(round).unwrap();
        acknowledge(&mut session, acknowledged);
        drop(session);
        wait_for_place(&any, acknowledged + 1);
        drop(stopped);
        // The server that was away answers before it knows what it has missed.
        let answer = wait_for(DEADLINE, "a subscription", || {
            let mut session = Raw::connect(&behind.address());
            session.send("{\"command\":\"subscribe\",\"topic\":\"t\",\"subscriber\":\"ann\"}");
            let answer = session.line();
            answer.contains("\"success\"").then_some(answer)
        });
        assert_eq!(number(&answer, "next"), acknowledged + 1, "{answer}");
    }
}

#[test]
fn a_name_or_a_topic_that_is_a_star_is_one_and_not_all() {
    let Some(servers) = NatsServers::start(1) else { return };
    let [one, other] = [broker_of(&servers), broker_of(&servers)];
    for topic in ["t", "*"] {
        one.publish(topic, "m0");
    }
    let (mut session, _) = subscribe(&one);
    read(&mut session, 0, 1);
    drop(session);
    wait_for_place(&other, 1);
    assert_eq!(one.request("DELETE", "/topics/%2A", "").status, 204);
    assert!(list(&other).contains("\"next\":1,"), "after the topic: {}", list(&other));
    assert_eq!(one.request("DELETE", "/subscribers/%2A", "").status, 404);
    assert!(list(&other).contains("\"next\":1,"), "after the name: {}", list(&other));
    for publisher in ["ann", "*"] {
        let publish = format!(
            "{{\"topic\":\"t\",\"message\":\"m\",\"publisher\":\"{publisher}\",\"epoch\":1,\
             \"sequence\":0}}"
        );
        let answer = one.request("POST", "/publish", publish);
        assert!(answer.text().contains("\"appended\":1"), "{publisher}: {answer:?}");
    }
}
