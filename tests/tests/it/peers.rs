//! Peers with an index: who is the home of a topic when peers come and go.

use crate::brokers::{Crowd, Reader, Session, ask, succeed, wait_for_success};
use std::thread;
use std::time::{Duration, Instant};
use tests::raw::Raw;
use tests::wait::{DEADLINE, holds_within, wait_until};
use tests::{Folder, Process, Stopped, System, program};

pub(crate) fn peer_of(index: &System) -> System {
    peer_with(index, &[])
}

/// A peer of `index`, registered with it, on a port that it keeps.
pub(crate) fn peer_with(index: &System, arguments: &[&str]) -> System {
    let address = index.address();
    let mut peer = System::reserve_with(&[&["--index", &address], arguments].concat());
    peer.start_broker();
    wait_until(DEADLINE, "the peer to be registered", || is_listed(index, &peer));
    peer
}

pub(crate) fn is_listed(index: &System, peer: &System) -> bool {
    let port = format!("\"port\":{}}}", peer.port());
    ask(index, "{\"command\":\"list_peers\"}").contains(&port)
}

pub(crate) fn command(command: &str, topic: &str) -> String {
    format!("{{\"command\":\"{command}\",\"topic\":\"{topic}\"}}")
}

pub(crate) fn publish(topic: &str, message: &str) -> String {
    format!("{{\"command\":\"publish\",\"topic\":\"{topic}\",\"message\":\"{message}\"}}")
}

/// The code and the text of an error.
#[track_caller]
pub(crate) fn error(broker: &System, command: &str) -> (u64, String) {
    let answer = ask(broker, command);
    let value = common::json::parse(answer.as_bytes()).unwrap();
    let get = |key| value.get(key).unwrap_or_else(|| panic!("no {key} in {answer}"));
    (get("code").as_u64().unwrap(), get("message").as_str().unwrap().to_owned())
}

#[test]
fn a_topic_created_on_one_peer_is_used_on_all() {
    let index = System::start();
    let (one, two, three) = (peer_of(&index), peer_of(&index), peer_of(&index));
    let unknown = (404, "Topic 'Sports' not found".to_owned());
    for name in ["subscribe", "pull"] {
        assert_eq!(error(&two, &command(name, "Sports")), unknown);
    }
    assert_eq!(error(&two, &publish("Sports", "too early")), unknown);
    succeed(&one, &command("create_topic", "Sports"));
    for peer in [&one, &two] {
        let again = error(peer, &command("create_topic", "Sports"));
        assert_eq!(again, (409, "Topic already exists".to_owned()));
    }
    assert!(succeed(&two, &command("pull", "Sports")).contains("\"messages\":[]"));
    let found = succeed(&index, &command("query_topic", "Sports"));
    assert!(found.contains(&format!("\"host\":\"127.0.0.1\",\"port\":{}", one.port())), "{found}");

    let mut reader = Raw::connect(&two.address());
    reader.send(command("subscribe", "Sports"));
    assert!(reader.line().contains("\"message\":\"Subscribed to topic 'Sports'\""));
    succeed(&three, &publish("Sports", "goal"));
    assert!(reader.line().contains("\"offset\":0,\"message\":\"goal\""));
    for peer in [&one, &two, &three] {
        assert!(succeed(peer, &command("pull", "Sports")).contains("\"messages\":[\"goal\"]"));
        assert_eq!(peer.messages("Sports"), ["goal"]);
    }
    succeed(&three, &command("delete_topic", "Sports"));
    for peer in [&three, &one] {
        assert_eq!(error(peer, &command("pull", "Sports")), unknown);
        let gone = error(peer, &command("delete_topic", "Sports"));
        assert_eq!(gone, (404, "Topic does not exist".to_owned()));
    }
    assert!(reader.line().contains("\"event\":\"deleted\""));
    assert_eq!(error(&index, &command("query_topic", "Sports")).0, 404);
}

#[test]
fn a_peer_follows_what_was_subscribed_to_when_the_subscriber_has_gone() {
    let index = System::start();
    let (one, two) = (peer_of(&index), peer_of(&index));
    succeed(&one, &command("create_topic", "t"));
    succeed(&two, &command("subscribe", "t"));
    succeed(&one, &publish("t", "one"));
    let listed = || two.get("/topics").text().contains("\"messages\":1");
    wait_until(DEADLINE, "the mirror", listed);
}

#[test]
fn a_topic_made_again_on_another_peer_takes_the_place_of_the_old_one_everywhere() {
    let index = System::start();
    let (one, two, three) = (peer_of(&index), peer_of(&index), peer_of(&index));
    succeed(&one, &command("create_topic", "t"));
    succeed(&three, &publish("t", "old"));
    assert_eq!(two.messages("t"), ["old"]);
    let mut reader = Raw::connect(&three.address());
    reader.send(command("subscribe", "t"));
    assert!(reader.line().contains("\"next\":1"));
    for (home, message) in [(&two, "new"), (&three, "newer"), (&one, "newest")] {
        succeed(&one, &command("delete_topic", "t"));
        // The word of it may be on its way still, and must not hit the new one.
        wait_for_success(home, &command("create_topic", "t"));
        wait_for_success(&one, &publish("t", message));
        for peer in [&one, &two, &three] {
            let is_there =
                || ask(peer, &command("pull", "t")).contains(&format!("[\"{message}\"]"));
            wait_until(DEADLINE, message, is_there);
        }
        let mut line = reader.line();
        while line.contains("\"event\":\"deleted\"") || line.contains("\"event\":\"reset\"") {
            line = reader.line();
        }
        assert!(line.contains(&format!("\"offset\":0,\"message\":\"{message}\"")), "{line}");
    }
}

#[test]
fn a_peer_that_is_away_keeps_its_topics_until_it_is_unregistered() {
    let index = System::start();
    let mut one = peer_with(&index, &["--data", "data"]);
    let (two, three) = (peer_of(&index), peer_of(&index));
    succeed(&one, &command("create_topic", "t"));
    succeed(&two, &publish("t", "one"));
    one.kill_broker();
    wait_until(DEADLINE, "the peer to be away", || !is_listed(&index, &one));
    assert_eq!(error(&index, &command("query_topic", "t")), (503, "Topic not found".to_owned()));
    assert_eq!(error(&three, &command("pull", "t")).0, 503, "no mirror, no home");
    assert_eq!(error(&two, &publish("t", "two")).0, 503);
    assert_eq!(error(&two, &command("create_topic", "t")).0, 409);
    assert_eq!(two.messages("t"), ["one"], "the mirror is served");
    assert_eq!(two.request("POST", "/publish", tests::publish_body("t", "two")).status, 503);

    one.start_broker();
    wait_for_success(&two, &publish("t", "two"));
    wait_for_success(&three, &publish("t", "three"));
    assert_eq!(three.messages("t"), ["one", "two", "three"]);
    one.kill_broker();
    wait_until(DEADLINE, "the peer to be away", || !is_listed(&index, &one));
    let unregister = format!(
        "{{\"command\":\"unregister_peer\",\"host\":\"127.0.0.1\",\"port\":{}}}",
        one.port()
    );
    succeed(&index, &unregister);
    // It may not have noticed yet that the other is gone.
    wait_for_success(&two, &command("create_topic", "t"));
    succeed(&two, &publish("t", "new"));
    wait_for_success(&three, &publish("t", "newer"));
    assert_eq!(three.messages("t"), ["new", "newer"]);

    // What comes back with an older list of the name is not a second home.
    one.start_broker();
    let told = holds_within(DEADLINE, || one.broker().errors().contains("the index says"));
    assert!(told);
    assert_eq!(error(&one, &publish("t", "lost?")).0, 409);
    assert_eq!(one.get("/messages?topic=t").status, 409);
    succeed(&one, &command("delete_topic", "t"));
    assert_eq!(one.messages("t"), ["new", "newer"]);
    assert_eq!(two.messages("t"), ["new", "newer"]);
}

#[test]
fn peers_go_on_without_the_index_and_tell_it_again_when_it_is_back() {
    let mut index = System::reserve();
    index.start_broker();
    let (one, two) = (peer_of(&index), peer_of(&index));
    for topic in ["t", "deleted"] {
        succeed(&one, &command("create_topic", topic));
    }
    succeed(&two, &publish("t", "one"));
    index.kill_broker();
    succeed(&two, &publish("t", "two"));
    assert_eq!(two.messages("t"), ["one", "two"]);
    assert_eq!(error(&two, &command("create_topic", "new")).0, 503);
    assert_eq!(error(&two, &command("pull", "unknown")).0, 503);
    succeed(&one, &command("delete_topic", "deleted"));
    index.start_broker();
    for peer in [&one, &two] {
        wait_until(DEADLINE, "the peers to be back", || is_listed(&index, peer));
    }
    wait_for_success(&index, &command("query_topic", "t"));
    // Until every peer has said what it has, the home of what nobody has may be one of them.
    wait_until(DEADLINE, "all that is known", || {
        error(&index, &command("query_topic", "deleted")).0 == 404
    });
    wait_for_success(&two, &command("create_topic", "deleted"));
}

#[test]
fn a_bare_client_may_speak_for_peers_and_its_word_stays() {
    let index = System::start();
    let peer = "\"host\":\"peer.example\",\"port\":7000";
    let mut session = Session::open(&index.address()).unwrap();
    let answers = [
        (format!("{{\"command\":\"add_topic\",{peer},\"topic\":\"t\"}}"), "not registered"),
        (format!("{{\"command\":\"register_peer\",{peer}}}"), "Peer peer.example:7000 registered"),
        (format!("{{\"command\":\"add_topic\",{peer},\"topic\":\"t\"}}"), "Topic 't' added"),
    ];
    for (command, part) in answers {
        let answer = session.ask(&command).unwrap();
        assert!(answer.contains(part), "{command}: {answer}");
    }
    drop(session);
    let found = succeed(&index, &command("query_topic", "t"));
    assert!(found.contains(&peer.replace(' ', "")), "{found}");
    for host in ["", "a\\nb", &"x".repeat(256)] {
        let command = format!("{{\"command\":\"register_peer\",\"host\":\"{host}\",\"port\":1}}");
        assert_eq!(error(&index, &command).0, 400, "{host}");
    }
    assert_eq!(error(&index, &format!("{{\"command\":\"told_topics\",{peer}1}}")).0, 400);
    succeed(&index, &format!("{{\"command\":\"unregister_peer\",{peer}}}"));
    assert_eq!(error(&index, &command("query_topic", "t")), (404, "Topic not found".to_owned()));
    // A home that is nobody's, or the asking peer by another name, harms nobody.
    let mut one = peer_of(&index);
    for (host, port) in [("localhost", one.port()), ("127.0.0.1", 1)] {
        let peer = format!("\"host\":\"{host}\",\"port\":{port}");
        succeed(&index, &format!("{{\"command\":\"register_peer\",{peer}}}"));
        succeed(&index, &format!("{{\"command\":\"add_topic\",{peer},\"topic\":\"{host}\"}}"));
        let code = error(&one, &publish(host, "astray")).0;
        assert!(matches!(code, 503 | 508), "{host}: {code}");
        assert!(error(&one, &command("pull", host)).0 >= 500);
    }
    succeed(&one, &command("create_topic", "own"));
    assert!(one.broker().is_running());
}

#[test]
fn a_peer_that_hangs_keeps_nobody_waiting_for_long() {
    let index = System::start();
    let (mut one, two) = (peer_of(&index), peer_of(&index));
    succeed(&one, &command("create_topic", "t"));
    succeed(&two, &publish("t", "one"));
    let stopped = Stopped::new(one.broker());
    let begun = Instant::now();
    assert_eq!(error(&two, &publish("t", "two")).0, 503);
    assert_eq!(two.messages("t"), ["one"]);
    let waited = begun.elapsed();
    drop(stopped);
    assert!(waited < Duration::from_secs(20), "waited {waited:?}");
}

#[test]
fn a_peer_says_where_it_is_reached() {
    let index = System::start();
    let mut command = program::command("broker");
    command.args(["--host", "0.0.0.0", "--port", "0", "--index", &index.address()]);
    let mut peer = Process::start("broker", command, &Folder::temporary("peer"));
    assert_eq!(peer.wait().code(), Some(1));
    assert!(peer.errors().contains("--advertise <host:port>"), "{}", peer.errors());

    let mut told = System::reserve_with(&["--host", "0.0.0.0", "--index", &index.address()]);
    let advertised = format!("localhost:{}", told.port());
    told = System::reserve_with(&["--index", &index.address(), "--advertise", &advertised]);
    told.start_broker();
    let is_told = || ask(&index, "{\"command\":\"list_peers\"}").contains("\"host\":\"localhost\"");
    wait_until(DEADLINE, "the peer to be registered", is_told);
}

#[test]
fn a_topic_that_is_created_twice_at_once_is_created_once() {
    let index = System::start();
    let peers = [peer_of(&index), peer_of(&index)];
    for round in 0..10 {
        let topic = format!("t{round}");
        let create = |peer: &System| {
            let answer = ask(peer, &command("create_topic", &topic));
            let created = answer.contains("\"status\":\"success\"");
            if created {
                succeed(peer, &publish(&topic, "first"));
            }
            u32::from(created)
        };
        let created: u32 = thread::scope(|scope| {
            let threads: Vec<_> = [&peers[0], &peers[1], &peers[0], &peers[1]]
                .map(|peer| scope.spawn(|| create(peer)))
                .into_iter()
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(created, 1);
        for peer in &peers {
            assert_eq!(peer.messages(&topic), ["first"]);
        }
    }
}

#[test]
fn nothing_is_lost_doubled_or_reordered_when_index_and_peers_are_killed_once() {
    let mut index = System::reserve();
    index.start_broker();
    let mut one = peer_with(&index, &["--data", "data"]);
    let mut two = peer_with(&index, &["--data", "data"]);
    let mut three = peer_of(&index);
    succeed(&one, &command("create_topic", "first"));
    succeed(&two, &command("create_topic", "second"));

    let mut crowd = Crowd::new();
    crowd.publish(&one, "first", "one");
    crowd.publish(&three, "first", "three");
    crowd.publish(&two, "second", "two");
    crowd.publish(&one, "second", "also");
    let readers = [
        ("first", Reader::json(&three, "first")),
        ("first", Reader::events(&two, "first")),
        ("second", Reader::json(&three, "second")),
        ("second", Reader::events(&one, "second")),
    ];
    let keeper = three.subscribe("first");
    crowd.wait_for_more();
    for broker in [&mut one, &mut two, &mut three, &mut index] {
        crowd.restart(broker);
    }
    let mut lists = Vec::new();
    let count = crowd.check(|topic| {
        let home = if topic == "first" { &one } else { &two };
        lists.push((topic.to_owned(), home.messages(topic)));
        lists[lists.len() - 1].1.clone()
    });
    assert!(count >= 400, "only {count} messages");
    for (topic, list) in &lists {
        readers
            .iter()
            .filter(|(read, _)| read == topic)
            .for_each(|(_, reader)| reader.expect(list));
        for peer in [&one, &two, &three] {
            assert_eq!(&peer.messages(topic), list);
        }
        if topic == "first" {
            keeper.expect(list);
        }
    }
}
