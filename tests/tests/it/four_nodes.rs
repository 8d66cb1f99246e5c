//! A broker, a publisher and two subscribers: each file becomes exactly equal to its topic, even if
//! a program starts late, dies, or knows only the bare contract.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use tests::raw::{self, Raw};
use tests::wait::{DEADLINE, wait_until};
use tests::{Fate, Folder, Process, Proxy, System, program, publish_body, tools};

const ALPHA: [&str; 3] = ["one", "two", "three"];
const BETA: [&str; 2] = ["red", "green"];

#[test]
fn two_subscribers_receive_their_topics_in_order() {
    let system = System::start();
    let (alpha, beta) = (system.subscribe("alpha\n"), system.subscribe("beta\n"));
    system.publish_the_five();
    alpha.expect(&ALPHA);
    beta.expect(&BETA);
    assert_eq!(system.messages("alpha"), ALPHA);
    assert_eq!(system.messages("beta"), BETA);
}

#[test]
fn the_demonstration_says_what_was_received_and_what_to_do_next() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_four_nodes"));
    command.env("CARGO", env!("CARGO")).stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("alpha: received.txt is exact, 3 lines"), "{said}");
    let next = format!("A broker to play with:\n  {}\n", program::path("broker").display());
    assert!(said.contains(&next), "{said}");
}

#[test]
fn subscribers_that_start_last_receive_what_was_there() {
    let system = System::start();
    system.publish_the_five();
    system.subscribe("alpha").expect(&ALPHA);
    system.subscribe("beta").expect(&BETA);
}

#[test]
fn the_broker_may_start_last() {
    let mut system = System::reserve();
    let (alpha, beta) = (system.subscribe("alpha\n"), system.subscribe("beta\n"));
    let mut publisher = system.run("publisher", &[]);
    wait_until(DEADLINE, "the publisher to say that it waits", || {
        publisher.errors().contains('\n')
    });
    assert!(publisher.is_running(), "it waits for ever");
    system.start_broker();
    publisher.succeed();
    alpha.expect(&ALPHA);
    beta.expect(&BETA);
}

#[test]
fn the_broker_may_be_given_by_name() {
    let mut system = System::start();
    system.tell("localhost", system.port());
    let (alpha, beta) = (system.subscribe("alpha\n"), system.subscribe("beta\n"));
    system.publish_the_five();
    alpha.expect(&ALPHA);
    beta.expect(&BETA);
}

#[test]
fn a_broker_that_is_deployed_with_a_port_serves_the_network() {
    let system = System::reserve();
    let mut command = program::command("broker");
    command.env("PORT", system.port().to_string());
    let mut broker = Process::start("broker", command, &Folder::temporary("broker"));
    let line = broker.first_line();
    let address = format!("http://0.0.0.0:{}", system.port());
    assert!(line.contains(&address), "{line:?} does not name {address}");
    let alpha = system.subscribe("alpha\n");
    system.publish_the_five();
    alpha.expect(&ALPHA);
}

#[test]
fn topic_names_are_taken_without_the_space_around_them() {
    let system = System::start();
    for (file, topic) in [
        ("\u{feff}alpha\r\n", "alpha"),
        ("  spaced out \t\n\n", "spaced out"),
        ("a/b/../c?d=e&f#g%20+", "a/b/../c?d=e&f#g%20+"),
        ("żółw 🐢", "żółw 🐢"),
    ] {
        let subscriber = system.subscribe(file);
        system.publish(topic, "żółty; ünïcode 🟡 \"quoted\" \\ \t tab");
        system.publish(topic, "");
        subscriber.expect(&["żółty; ünïcode 🟡 \"quoted\" \\ \t tab", ""]);
    }
}

/// Requests that the broker never saw, answers that the publisher never saw, and half answers.
#[test]
fn the_five_are_published_once_whatever_is_lost_on_the_way() {
    let mut system = System::start();
    let proxy = Proxy::start(system.port(), |connection| match connection {
        0 | 3 => Fate::Refuse,
        1 | 2 | 4 => Fate::Cut { answered: 0 },
        5 => Fate::Cut { answered: 20 },
        6 => Fate::Cut { answered: 400 },
        _ => Fate::Pass,
    });
    system.tell("127.0.0.1", proxy.port());
    system.publish_the_five();
    assert!(proxy.connections() > 5, "not much was lost");
    assert_eq!(system.messages("alpha"), ALPHA);
    assert_eq!(system.messages("beta"), BETA);
}

#[test]
fn files_are_exact_whatever_is_lost_on_the_way() {
    let mut system = System::start();
    let messages: Vec<_> = (0..200).map(|number| format!("message {number}")).collect();
    system.publish_batch("t", messages.iter());
    let proxy = Proxy::start(system.port(), |connection| match connection % 4 {
        _ if connection >= 12 => Fate::Pass,
        0 => Fate::Refuse,
        remainder => Fate::Cut { answered: 100 * connection + remainder },
    });
    system.tell("127.0.0.1", proxy.port());
    let subscriber = system.subscribe("t\n");
    subscriber.expect(&messages);
    system.publish("t", "more");
    subscriber.expect(&[messages, vec!["more".to_owned()]].concat());
    assert!(proxy.connections() > 4, "not much was lost");
}

#[test]
fn a_subscriber_that_was_killed_goes_on_where_it_stopped() {
    let system = System::start();
    let mut alpha = system.subscribe("alpha\n");
    system.publish_the_five();
    alpha.expect(&ALPHA);
    alpha.kill();
    system.publish("alpha", "four");
    system.restart(&mut alpha);
    alpha.expect(&["one", "two", "three", "four"]);
    system.publish("alpha", "five");
    alpha.expect(&["one", "two", "three", "four", "five"]);
    assert!(!has_old(&alpha), "a file that is right is not replaced");
}

#[test]
fn a_torn_last_line_is_healed() {
    let system = System::start();
    let mut alpha = system.subscribe("alpha\n");
    system.publish_the_five();
    alpha.expect(&ALPHA);
    alpha.kill();
    for torn in ["one\ntwo\nthr", "one\ntwo\nthree", "one\ntw", "o", ""] {
        alpha.folder().write("received.txt", torn);
        system.restart(&mut alpha);
        alpha.expect(&ALPHA);
        alpha.kill();
    }
}

#[test]
fn a_file_that_is_not_the_topics_is_replaced_and_kept() {
    let system = System::start();
    system.publish_the_five();
    for foreign in ["one\nzwei\n", "one\ntwo\nthree\nfour\n", "three\ntwo\none\n"] {
        let folder = Folder::temporary("subscriber");
        folder.write("received.txt", foreign);
        let alpha = system.subscribe_in(folder, "alpha\n");
        alpha.expect(&ALPHA);
        assert_eq!(alpha.folder().read("received.txt.old"), foreign.as_bytes());
    }
}

/// Without a journal the list is what was published since the restart, and the files follow it.
#[test]
fn files_follow_a_broker_that_lost_its_memory() {
    let mut system = System::reserve().alone();
    system.start_broker();
    let (alpha, beta) = (system.subscribe("alpha\n"), system.subscribe("beta\n"));
    system.publish_the_five();
    alpha.expect(&ALPHA);
    beta.expect(&BETA);

    system.restart_broker();
    system.publish("alpha", "four");
    alpha.expect(&["four"]);
    assert_eq!(alpha.folder().read("received.txt.old"), b"one\ntwo\nthree\n");

    system.publish_the_five();
    alpha.expect(&["four", "one", "two", "three"]);
    beta.expect(&BETA);
}

/// The broker dies with an answer to the publisher on its way, and comes back with nothing.
#[test]
fn a_publisher_goes_on_when_the_broker_lost_its_memory() {
    let mut system = System::reserve().alone();
    system.start_broker();
    let (alpha, beta) = (system.subscribe("alpha\n"), system.subscribe("beta\n"));
    let (restarted, is_restarted) = mpsc::channel();
    let proxy = Proxy::start(system.port(), move |connection| match connection {
        // One answer at least and two at most: each has more than 133 bytes and fewer than 400.
        0 => Fate::Cut { answered: 400 },
        _ => is_restarted.recv().map_or(Fate::Pass, |()| Fate::Pass),
    });
    system.tell("127.0.0.1", proxy.port());
    let mut publisher = system.run("publisher", &[]);
    wait_until(DEADLINE, "the publisher's second connection", || proxy.connections() > 1);
    assert!(!system.messages("alpha").is_empty(), "the broker dies in the middle");
    system.restart_broker();
    drop(restarted);
    publisher.succeed();

    // What the publisher knew to be published before is lost; all the rest is there, once.
    let list = system.messages("alpha");
    assert!(!list.is_empty() && list.len() < ALPHA.len(), "{list:?}");
    assert!(ALPHA.map(str::to_owned).ends_with(&list), "{list:?}");
    assert_eq!(system.messages("beta"), BETA);
    alpha.expect(&list);
    beta.expect(&BETA);
}

#[test]
fn twenty_subscribers_receive_two_thousand_messages() {
    const TOPICS: usize = 20;
    const MESSAGES: usize = 100;
    let system = System::start();
    let topic = |number: usize| format!("topic {number}");
    let subscribers: Vec<_> =
        (0..TOPICS).map(|number| system.subscribe(format!("{}\n", topic(number)))).collect();

    // Four publishers with five topics each, every message a request of its own.
    thread::scope(|scope| {
        for publisher in 0..4 {
            let address = system.address();
            scope.spawn(move || {
                let mut raw = Raw::connect(&address);
                for message in 0..MESSAGES {
                    for number in (publisher..TOPICS).step_by(4) {
                        let body = publish_body(&topic(number), &format!("{number}/{message}"));
                        raw.request("POST", "/publish", body);
                        assert_eq!(raw.answer().status, 200);
                    }
                }
            });
        }
    });

    for (number, subscriber) in subscribers.iter().enumerate() {
        let messages: Vec<_> = (0..MESSAGES).map(|message| format!("{number}/{message}")).collect();
        subscriber.expect(&messages);
    }
}

#[test]
fn our_nodes_work_with_a_broker_that_knows_the_bare_contract() {
    our_nodes_work_with_a_bare_broker(|_| {});
}

#[test]
fn our_nodes_work_with_a_broker_whose_lists_lack_the_last_newline() {
    our_nodes_work_with_a_bare_broker(|command| {
        command.env("JOINED", "1");
    });
}

fn our_nodes_work_with_a_bare_broker(prepare: impl Fn(&mut Command)) {
    let Some(mut command) = tools::python3() else { return };
    let system = System::reserve();
    let early = system.subscribe("alpha\n");
    command.arg("-c").arg(include_str!("../../peers/broker.py"));
    command.env("PORT", system.port().to_string());
    prepare(&mut command);
    let _broker = Process::start("bare broker", command, &Folder::temporary("bare-broker"));

    system.publish_the_five();
    early.expect(&ALPHA);
    system.subscribe("beta\n").expect(&BETA);

    // New messages still come, and a torn file is still healed.
    let mut alpha = system.subscribe("alpha\n");
    alpha.expect(&ALPHA);
    system.publish("alpha", "four");
    alpha.expect(&["one", "two", "three", "four"]);
    alpha.kill();
    alpha.folder().write("received.txt", "one\ntwo\nthr");
    system.restart(&mut alpha);
    alpha.expect(&["one", "two", "three", "four"]);
}

#[test]
fn our_nodes_follow_a_bare_broker_that_lost_its_memory() {
    let Some(_) = tools::python3() else { return };
    let system = System::reserve();
    let start = || {
        let mut command = tools::python3().expect("it was there a moment ago");
        command.arg("-c").arg(include_str!("../../peers/broker.py"));
        command.env("PORT", system.port().to_string());
        let broker = Process::start("bare broker", command, &Folder::temporary("bare-broker"));
        wait_until(DEADLINE, "the bare broker", || TcpStream::connect(system.address()).is_ok());
        broker
    };
    let mut broker = start();
    let alpha = system.subscribe("alpha\n");
    system.publish_the_five();
    alpha.expect(&ALPHA);

    broker.kill();
    let _broker = start();
    system.publish("alpha", "other");
    alpha.expect(&["other"]);
    assert_eq!(alpha.folder().read("received.txt.old"), b"one\ntwo\nthree\n");
}

#[test]
fn nodes_that_know_the_bare_contract_work_with_our_broker() {
    let (Some(mut publisher), Some(mut alpha), Some(mut beta)) =
        (tools::python3(), tools::python3(), tools::python3())
    else {
        return;
    };
    let system = System::start();
    let subscribe = |command: &mut Command, topic: &str| {
        let folder = Folder::temporary("bare-subscriber");
        folder.write("topic.txt", topic);
        system.introduce(command.arg("-c").arg(include_str!("../../peers/subscriber.py")));
        folder
    };
    let alpha_folder = subscribe(&mut alpha, "alpha\n");
    let beta_folder = subscribe(&mut beta, "beta\n");
    let _alpha = Process::start("bare subscriber", alpha, &alpha_folder);
    let _beta = Process::start("bare subscriber", beta, &beta_folder);

    system.introduce(publisher.arg("-c").arg(include_str!("../../peers/publisher.py")));
    let folder = Folder::temporary("bare-publisher");
    Process::start("bare publisher", publisher, &folder).succeed();
    let received = |folder: &Folder| folder.read("received.txt");
    wait_until(DEADLINE, "alpha", || received(&alpha_folder) == b"one\ntwo\nthree\n");
    wait_until(DEADLINE, "beta", || received(&beta_folder) == b"red\ngreen\n");
}

/// A client that only looks whether the port is open must not disturb anybody.
#[test]
fn a_port_check_leaves_no_trace() {
    let mut system = System::start();
    system.publish("alpha", "zero");
    let said = system.broker().output();
    for _ in 0..100 {
        drop(TcpStream::connect(system.address()).unwrap());
    }
    system.publish("alpha", "one");
    let mut raw = Raw::connect(&system.address());
    raw.send(raw::request("GET", "/messages?topic=alpha", ""));
    assert_eq!(raw.answer().text(), "zero\none\n");
    assert_eq!(system.broker().errors(), "");
    assert_eq!(system.broker().output(), said);
}

/// Whether the subscriber kept a file that it replaced.
fn has_old(subscriber: &tests::Subscriber) -> bool {
    subscriber.folder().path().join("received.txt.old").exists()
}
