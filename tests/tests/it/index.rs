//! Which claims an index believes.

use crate::brokers::{Session, ask, succeed, wait_for_success};
use crate::peers::{command, error, is_listed, peer_of, peer_with, publish};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;
use tests::wait::{DEADLINE, wait_until};
use tests::{Folder, Process, System, program};

/// A command of a stranger in the name of a peer.
fn in_the_name_of(peer: &System, command: &str, more: &str) -> String {
    format!("{{\"command\":\"{command}\",\"host\":\"127.0.0.1\",\"port\":{}{more}}}", peer.port())
}

#[test]
fn a_peer_that_is_there_is_spoken_for_by_itself_alone() {
    let index = System::start();
    let (one, two) = (peer_of(&index), peer_of(&index));
    succeed(&one, &command("create_topic", "t"));
    let attacks = [
        in_the_name_of(&one, "unregister_peer", ""),
        in_the_name_of(&one, "register_peer", ""),
        in_the_name_of(&one, "register_peer", ",\"present\":true"),
        in_the_name_of(&one, "register_peer", ",\"present\":true,\"key\":\"0123456789abcdef\""),
        in_the_name_of(&one, "told_topics", ""),
        in_the_name_of(&one, "delete_topic", ",\"topic\":\"t\""),
        in_the_name_of(&one, "add_topic", ",\"topic\":\"forged\""),
        in_the_name_of(&two, "add_topic", ",\"topic\":\"t\""),
    ];
    for attack in attacks {
        // Its connection ends, which ends what was registered for as long as it lasts.
        let answer = Session::open(&index.address()).unwrap().ask(&attack).unwrap();
        let is_harmless = answer.contains("\"code\":403") || answer.contains("registered\"");
        assert!(is_harmless, "{attack}: {answer}");
        assert!(is_listed(&index, &one), "after {attack}");
        let found = succeed(&index, &command("query_topic", "t"));
        assert!(found.contains(&format!("\"port\":{}", one.port())), "after {attack}: {found}");
    }
    assert_eq!(error(&index, &command("query_topic", "forged")).0, 404);
    succeed(&two, &publish("t", "one"));
    assert_eq!(one.messages("t"), ["one"]);
}

#[test]
fn a_peer_that_comes_back_under_another_address_keeps_its_topics() {
    let index = System::start();
    let data = tests::Folder::temporary("moved");
    let data = data.path().join("data");
    let data = data.to_str().unwrap();
    let mut before = peer_with(&index, &["--data", data]);
    let other = peer_of(&index);
    succeed(&before, &command("create_topic", "t"));
    succeed(&other, &publish("t", "one"));
    before.kill_broker();
    let after = peer_with(&index, &["--data", data]);
    assert_ne!(before.port(), after.port());
    wait_for_success(&after, &publish("t", "two"));
    wait_for_success(&other, &publish("t", "three"));
    for peer in [&after, &other] {
        assert_eq!(peer.messages("t"), ["one", "two", "three"]);
    }
    let found = succeed(&index, &command("query_topic", "t"));
    assert!(found.contains(&format!("\"port\":{}", after.port())), "{found}");
}

#[test]
fn a_topic_is_never_unknown_while_peers_come_back_to_their_index() {
    let mut index = System::reserve();
    index.start_broker();
    let (one, two) = (peer_of(&index), peer_of(&index));
    for round in 0..20 {
        let topic = format!("t{round}");
        succeed(&one, &command("create_topic", &topic));
        index.restart_broker();
        let end = Instant::now() + DEADLINE;
        let mut answers = 0;
        loop {
            let answer = ask(&two, &command("pull", &topic));
            answers += 1;
            if answer.contains("\"status\":\"success\"") {
                break;
            }
            assert!(answer.contains("\"code\":503"), "after {answers} answers: {answer}");
            assert!(Instant::now() < end, "{answer}");
        }
    }
    wait_until(DEADLINE, "the index to know that there is none", || {
        ask(&two, &command("pull", "unknown")).contains("\"code\":404")
    });
}

#[test]
fn the_log_of_an_index_says_who_created_what_where() {
    let mut index = System::start_with(&["--log", "log"]);
    let one = peer_of(&index);
    succeed(&one, &command("create_topic", "t"));
    succeed(&one, &command("delete_topic", "t"));
    let at = format!("at=\"127.0.0.1:{}\" ok", one.port());
    let log = index.broker().folder().path().join("log");
    wait_until(DEADLINE, "the lines", || {
        let lines = std::fs::read_to_string(&log).unwrap_or_default();
        ["added \"t\" ", "removed \"t\" "].iter().all(|line| lines.contains(&format!("{line}{at}")))
    });
}

/// A peer that anybody may have named to the index. Gives what it is told.
fn listen_for_a_peer(index: &System, topic: &str) -> mpsc::Receiver<String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let peer = format!("\"host\":\"127.0.0.1\",\"port\":{port}");
    let mut session = Session::open(&index.address()).unwrap();
    for command in [
        "{\"command\":\"auth\",\"token\":\"the-secret\"}".to_owned(),
        format!("{{\"command\":\"register_peer\",{peer}}}"),
        format!("{{\"command\":\"add_topic\",{peer},\"topic\":\"{topic}\"}}"),
    ] {
        assert!(session.ask(&command).unwrap().contains("\"success\""), "{command}");
    }
    let (heard, hears) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut line = String::new();
            let _ = BufReader::new(stream).read_line(&mut line);
            let _ = heard.send(line);
        }
    });
    hears
}

#[test]
fn a_token_goes_to_peers_only_where_the_index_asks_for_it() {
    let secrets = Folder::temporary("token");
    let file = secrets.path().join("token");
    std::fs::write(&file, "the-secret\n").unwrap();
    let file = file.to_str().unwrap();
    for (guards, is_shown) in [(&[][..], false), (&["--token-file", file][..], true)] {
        let index = System::start_with(guards);
        let hears = listen_for_a_peer(&index, "t");
        let mut command = program::command("broker");
        command.args(["--port", "0", "--index", &index.address()]);
        command.env("BROKER_TOKEN", "the-secret");
        let mut peer = Process::start("broker", command, &Folder::temporary("peer"));
        let line = peer.first_line();
        let own = line.split_once("http://").unwrap().1.split(' ').next().unwrap();
        let mut session = Session::open(own).unwrap();
        session.ask("{\"command\":\"auth\",\"token\":\"the-secret\"}").unwrap();
        let answer = session.ask(&publish("t", "x")).unwrap();
        assert!(answer.contains("\"code\":503"), "{answer}");
        let hears = || hears.recv_timeout(DEADLINE).unwrap().contains("the-secret");
        if is_shown {
            // It may have asked before it knew.
            wait_until(DEADLINE, "the token", hears);
        } else {
            assert!(!hears() && !hears());
        }
    }
}

/// Or a peer finds out for anybody what there is at any address.
#[test]
fn clients_are_not_told_why_a_peer_cannot_be_reached() {
    let index = System::start();
    let mut one = peer_of(&index);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let open = other.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in other.incoming().flatten() {
            let _ = stream.write_all(b"SSH-2.0-other\r\n");
        }
    });
    let reasons = [closed, open].map(|port| {
        let peer = format!("\"host\":\"127.0.0.1\",\"port\":{port}");
        succeed(&index, &format!("{{\"command\":\"register_peer\",{peer}}}"));
        let topic = format!("t{port}");
        let add = format!("{{\"command\":\"add_topic\",{peer},\"topic\":\"{topic}\"}}");
        succeed(&index, &add);
        let (code, text) = error(&one, &publish(&topic, "x"));
        assert_eq!(code, 503);
        text.replace(&port.to_string(), "PORT")
    });
    assert_eq!(reasons[0], reasons[1]);
    wait_until(DEADLINE, "the reason", || one.broker().errors().contains(&closed.to_string()));
}
