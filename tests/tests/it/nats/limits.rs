//! What servers do not take, or do not allow.

use super::{broker_of, lines};
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;
use tests::raw::Raw;
use tests::wait::{DEADLINE, wait_until};
use tests::{Folder, NatsServers, Process, System, program, publish_body, tools};

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

/// Starts a broker that has to end at once, and gives what it says.
fn refused(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let mut command = program::command("broker");
    command.args(["--port", "0"]).args(arguments).envs(environment.iter().copied());
    let mut broker = Process::start("broker", command, &Folder::temporary("broker"));
    assert_eq!(broker.wait().code(), Some(1));
    broker.errors()
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

    let settings = "accounts { A { users: [ { user: ann, password: secret } ] } }";
    let Some(servers) = NatsServers::start_with(1, settings, "") else { return };
    let said = refused(&["--nats", &servers.addresses()], &right);
    assert!(said.contains("10039") && said.lines().count() == 1, "{said}");

    let Some(servers) = NatsServers::start(3) else { return };
    let said = refused(&["--nats", &servers.addresses(), "--nats-replicas", "5"], &[]);
    assert!(said.contains("--nats-replicas") && said.lines().count() == 1, "{said}");

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
    let account = "accounts { A { jetstream: { max_file: 1M, max_streams: 2 }, \
                   users: [ { user: ann, password: secret } ] } }";
    let server = "authorization { user: ann, password: secret }";
    for (settings, jetstream, code) in [(account, "", "10002"), (server, "max_file: 1M", "10023")] {
        let Some(servers) = NatsServers::start_with(1, settings, jetstream) else { return };
        expect_full(&servers, code);
    }
}

fn expect_full(servers: &NatsServers, code: &str) {
    let (_broker, address) = broker_of_ann(servers);
    let mut client = Raw::connect(&address);
    let mut publish = |topic: &str, size: usize| {
        client.request("POST", "/publish", publish_body(topic, &"x".repeat(size)));
        client.answer()
    };
    let full = (0..20).map(|_| publish("t", 100_000)).find(|answer| answer.status != 200);
    let full = full.expect("there is room for a megabyte");
    assert!(full.status == 507 && full.text().contains(code), "{full:?}");
    let mut other = Raw::connect(&address);
    other.request("DELETE", "/topics/t", "");
    assert_eq!(other.answer().status, 204);
    assert_eq!(publish("t", 100).status, 200);
    assert_eq!(publish("u", 100).status, 200);
    if code == "10002" {
        let many = publish("v", 100);
        assert!(many.status == 507 && many.text().contains("10027"), "{many:?}");
    }
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
fn a_password_that_is_changed_is_told_until_it_is_right_again() {
    let settings = "authorization { user: ann, password: secret }";
    let Some(mut servers) = NatsServers::start_with(1, settings, "") else { return };
    let (_broker, address) = broker_of_ann(&servers);
    let publish = || {
        let mut client = Raw::connect(&address);
        client.request("POST", "/publish", publish_body("t", "one"));
        client.answer()
    };
    assert_eq!(publish().status, 200);
    for (before, after, status) in [("secret", "other", 503), ("other", "secret", 200)] {
        servers.kill(0);
        servers.set(0, |settings| settings.replace(before, after));
        servers.restart(0);
        wait_until(DEADLINE, "what the password is for", || {
            let answer = publish();
            let is_named = answer.text().contains("Authorization Violation");
            answer.status == status && is_named == (status == 503)
        });
    }
}

#[test]
fn a_queue_of_the_api_that_is_full_delays_and_doubles_nothing() {
    let Some(mut servers) = NatsServers::start_with(1, "", "request_queue_limit: 10") else {
        return;
    };
    let broker = broker_of(&servers);
    broker.publish("t", "one");
    let is_over = AtomicBool::new(false);
    let publish = |sequence: u64| {
        let body = format!(
            "{{\"topic\":\"u\",\"message\":\"m{sequence}\",\"publisher\":\"ann\",\"epoch\":1,\
             \"sequence\":{sequence}}}"
        );
        let answer = broker.request("POST", "/publish", body);
        assert!([200, 503].contains(&answer.status), "{answer:?}");
        answer.status == 200
    };
    let address = servers.address(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut flood = TcpStream::connect(&address).unwrap();
                flood.write_all(b"CONNECT {\"verbose\":false}\r\n").unwrap();
                let requests = "PUB $JS.API.STREAM.LIST _INBOX.x 0\r\n\r\n".repeat(100);
                let begun = Instant::now();
                while !is_over.load(Ordering::Relaxed) && begun.elapsed() < DEADLINE {
                    flood.write_all(requests.as_bytes()).unwrap();
                }
            });
        }
        wait_until(DEADLINE, "a full queue", || {
            servers.process(0).errors().contains("queue limit reached")
        });
        // A new topic takes several questions.
        let _ = publish(0);
        is_over.store(true, Ordering::Relaxed);
    });
    for sequence in 0..2 {
        wait_until(DEADLINE, "room in the queue", || publish(sequence));
    }
    assert_eq!(broker.messages("u"), ["m0", "m1"]);
}
