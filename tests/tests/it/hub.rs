//! A hub, its leaves, and leaves of leaves.

use crate::brokers::{Crowd, Reader, Session, ask, number, succeed, wait_for_success};
use std::time::{Duration, Instant};
use tests::raw::Raw;
use tests::resources::Resources;
use tests::wait::{DEADLINE, holds_within, wait_until};
use tests::{Fate, Proxy, Stopped, System, program};

/// A broker whose upstream is `hub`.
fn leaf_of(hub: &System) -> System {
    System::start_with(&["--upstream", &hub.address()])
}

#[test]
fn every_door_of_a_leaf_leads_to_the_hub() {
    let hub = System::start();
    let (leaf, other) = (leaf_of(&hub), leaf_of(&hub));
    let below = leaf_of(&leaf);
    let mut channel = Raw::connect(&below.address());
    channel.send("{\"command\":\"SUBSCRIBE\",\"args\":{\"channel\":\"t\"}}");
    assert_eq!(channel.line(), "{\"type\":\"SUBSCRIBE\",\"channel\":\"t\",\"count\":1}");
    let mut text = Raw::connect(&leaf.address());
    text.send("SUBSCRIBE t ann\n");
    let mut events = Raw::connect(&other.address());
    events.request("GET", "/events?topic=t", "");
    assert_eq!(events.stream_head().status, 200);
    while !events.line().starts_with("id: ") {}
    // A text subscription is not answered; an answer behind it says that it has begun.
    text.send("nonsense\n");
    assert!(text.line().starts_with("ERROR "));

    below.publish("t", "over HTTP");
    assert!(channel.line().ends_with("\"message\":\"over HTTP\"}"));
    assert!(text.line().starts_with("DELIVER t over HTTP - "));
    assert_eq!(events.line(), "");
    assert!(events.line().contains("\"offset\":0,\"message\":\"over HTTP\""));

    text.send("PUBLISH t over text ann\n");
    assert!(channel.line().ends_with("\"message\":\"over text\"}"));
    channel
        .send("{\"command\":\"PUBLISH\",\"args\":{\"channel\":\"t\",\"message\":\"by channel\"}}");
    assert!(channel.line().ends_with("\"message\":\"by channel\"}"));
    succeed(&other, "{\"command\":\"publish\",\"topic\":\"t\",\"message\":\"by topic\"}");
    let all = ["over HTTP", "over text", "by channel", "by topic"];
    for broker in [&hub, &other] {
        assert_eq!(broker.messages("t"), all);
    }
    for broker in [&leaf, &below] {
        wait_until(DEADLINE, "the mirror", || broker.messages("t") == all);
    }
    let at_hub = hub.get("/topics/t");
    assert_eq!(below.get("/topics/t").text(), at_hub.text(), "offsets, stream and digest");
}

#[test]
fn what_is_past_the_end_is_refused_as_the_hub_does() {
    let hub = System::start();
    let leaf = leaf_of(&hub);
    leaf.publish("t", "one");
    wait_until(DEADLINE, "the mirror", || leaf.messages("t") == ["one"]);
    let answers = |broker: &System| {
        let mut session = Raw::connect(&broker.address());
        let mut answer = |command: &str| {
            session.send(format!("{{{command},\"topic\":\"t\"}}"));
            session.line()
        };
        [
            answer("\"command\":\"pull\",\"from\":9"),
            answer("\"command\":\"subscribe\",\"from\":9"),
            answer("\"command\":\"ack\",\"subscriber\":\"ann\",\"offset\":9"),
            broker.get("/messages?topic=t&from=9").text().to_owned(),
        ]
    };
    let there = answers(&hub);
    assert!(there.iter().all(|it| it.contains("offset 9 is past the end")), "{there:?}");
    assert_eq!(answers(&leaf), there);
}

#[test]
fn the_answer_to_a_numbered_publish_is_the_hubs_own() {
    let hub = System::start();
    let leaf = leaf_of(&hub);
    let below = leaf_of(&leaf);
    let publish = |epoch: u64, sequence: u64| {
        let body = format!(
            "{{\"topic\":\"t\",\"messages\":[\"one\",\"two\"],\"publisher\":\"ann\",\
             \"epoch\":{epoch},\"sequence\":{sequence}}}"
        );
        let (here, there) =
            (below.request("POST", "/publish", &body), hub.request("POST", "/publish", body));
        (here.status, here.text().to_owned(), there.status)
    };
    let (status, text, again) = publish(1, 0);
    assert_eq!((status, again), (200, 200));
    assert!(text.contains("\"offset\":0,\"appended\":2"), "{text}");
    let (status, text, _) = publish(1, 0);
    assert!(status == 200 && text.contains("\"duplicate\":true"), "{text}");
    let (status, text, there) = publish(1, 7);
    assert_eq!((status, there), (409, 409));
    assert!(text.contains("\"expected\":2"), "{text}");
    assert_eq!(publish(2, 0).0, 200);
    let (status, text, there) = publish(1, 2);
    assert_eq!((status, there), (403, 403));
    assert!(text.contains("\"epoch\":2"), "{text}");
    assert_eq!(below.messages("t"), ["one", "two", "one", "two"]);
}

#[test]
fn what_a_leaf_creates_and_deletes_is_created_and_deleted_at_the_hub() {
    let hub = System::start();
    let leaf = leaf_of(&hub);
    assert_eq!(leaf.request("PUT", "/topics/t", "").status, 201);
    assert_eq!(leaf.request("PUT", "/topics/t", "").status, 200);
    assert_eq!(hub.get("/topics/t").status, 200);
    assert_eq!(leaf.get("/topics/t").status, 200, "an empty topic is there as well");
    leaf.publish("t", "one");
    assert_eq!(leaf.request("DELETE", "/topics/t", "").status, 204);
    assert_eq!(leaf.get("/topics/t").status, 404, "deleted for the next request");
    assert_eq!(hub.get("/topics/t").status, 404);
    assert_eq!(leaf.request("DELETE", "/topics/t", "").status, 404);
    let again = ask(&leaf, "{\"command\":\"delete_topic\",\"topic\":\"t\"}");
    assert!(again.contains("\"message\":\"Topic does not exist\""), "{again}");
}

#[test]
fn a_topic_that_is_deleted_and_made_again_is_mirrored_anew() {
    let hub = System::start();
    let leaf = leaf_of(&hub);
    hub.publish_batch("t", (0..10).map(|number| number.to_string()));
    let mut reader = Raw::connect(&leaf.address());
    reader.send("{\"command\":\"subscribe\",\"topic\":\"t\",\"from\":9}");
    assert!(reader.line().contains("\"next\":9"));
    assert!(reader.line().contains("\"offset\":9"));
    assert_eq!(hub.request("DELETE", "/topics/t", "").status, 204);
    hub.publish("t", "new");
    wait_until(DEADLINE, "the new list", || leaf.messages("t") == ["new"]);
    let mut line = reader.line();
    if line.contains("\"event\":\"deleted\"") {
        line = reader.line();
    }
    assert!(line.contains("\"event\":\"reset\""), "{line}");
    assert!(reader.line().contains("\"offset\":0,\"message\":\"new\""));
    assert_eq!(leaf.get("/topics/t").text(), hub.get("/topics/t").text());
}

#[test]
fn while_the_hub_is_away_mirrors_are_served_and_publishes_refused() {
    let mut hub = System::reserve_with(&["--data", "data"]);
    hub.start_broker();
    let leaf = leaf_of(&hub);
    leaf.publish("t", "one");
    let mut reader = Raw::connect(&leaf.address());
    reader.send("{\"command\":\"subscribe\",\"topic\":\"t\"}");
    assert!(reader.line().contains("\"next\":1"));
    hub.kill_broker();

    let begun = Instant::now();
    let refused = leaf.request("POST", "/publish", tests::publish_body("t", "two"));
    assert_eq!((refused.status, refused.field("retry-after")), (503, Some("1")), "{refused:?}");
    assert_eq!(leaf.messages("t"), ["one"]);
    let unknown = leaf.get("/messages?topic=not+mirrored");
    assert_eq!((unknown.status, unknown.field("retry-after")), (503, Some("1")));
    assert_eq!(leaf.request("DELETE", "/topics/t", "").status, 503);
    assert!(begun.elapsed() < Duration::from_secs(30));

    hub.start_broker();
    wait_for_success(&leaf, "{\"command\":\"publish\",\"topic\":\"t\",\"message\":\"two\"}");
    assert!(reader.line().contains("\"offset\":1,\"message\":\"two\""), "push resumes");
    assert_eq!(leaf.messages("t"), ["one", "two"]);
}

#[test]
fn a_hub_that_hangs_keeps_nobody_waiting_for_long() {
    let mut hub = System::start();
    let mut leaf = leaf_of(&hub);
    let below = leaf_of(&leaf);
    below.publish("t", "one");
    let stopped = Stopped::new(hub.broker());
    let begun = Instant::now();
    let mut raw = Raw::connect(&below.address());
    // All of them have one deadline together.
    for topic in ["t", "u", "t", "v"] {
        raw.request("POST", "/publish", tests::publish_body(topic, "two"));
    }
    for _ in 0..4 {
        assert_eq!(raw.answer().status, 503);
    }
    let waited = begun.elapsed();
    assert!(waited < Duration::from_secs(20), "waited {waited:?}");
    assert_eq!(below.messages("t"), ["one"], "the mirror is served");
    drop(stopped);
    wait_for_success(&below, "{\"command\":\"publish\",\"topic\":\"u\",\"message\":\"three\"}");
    assert!(leaf.broker().is_running());
}

#[test]
fn a_leaf_goes_on_with_the_mirrors_on_its_disk() {
    let mut hub = System::reserve();
    hub.start_broker();
    let mut leaf = System::reserve_with(&["--upstream", &hub.address(), "--data", "data"]);
    leaf.start_broker();
    leaf.publish("t", "one");
    leaf.kill_broker();
    hub.publish("t", "two");
    leaf.start_broker();
    // Nobody asks for the topic: it is followed because it is there.
    let listed = || leaf.get("/topics").text().contains("\"messages\":2");
    wait_until(DEADLINE, "the mirror to be brought up to date", listed);
    hub.kill_broker();
    leaf.restart_broker();
    assert_eq!(leaf.messages("t"), ["one", "two"], "served without the hub");
    // The hub kept nothing: its list is another one, and so is the mirror.
    hub.start_broker();
    hub.publish("t", "new");
    wait_until(DEADLINE, "the new list", || leaf.messages("t") == ["new"]);
}

#[test]
fn a_data_directory_is_not_used_in_a_role_that_it_does_not_fit() {
    let hub = System::start();
    let mut leaf = System::reserve_with(&["--upstream", &hub.address(), "--data", "data"]);
    leaf.start_broker();
    leaf.publish("t", "one");
    let data = leaf.broker().folder().path().join("data");
    leaf.kill_broker();
    let mut command = program::command("broker");
    let output = command.args(["--port", "0", "--data"]).arg(data).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("copies of another broker's topics, such as \"t\""), "{errors}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_ring_is_refused_by_the_broker_that_closes_it() {
    let mut first = System::reserve();
    let own = first.address();
    let mut command = program::command("broker");
    command.args(["--port", &first.port().to_string(), "--upstream", &own]);
    let mut alone = tests::Process::start("broker", command, &tests::Folder::temporary("ring"));
    assert_eq!(alone.wait().code(), Some(1));
    assert!(alone.errors().contains("must not form a ring"), "{}", alone.errors());

    first.start_broker();
    let second = leaf_of(&first);
    let mut third = leaf_of(&second);
    third.publish("t", "one");
    // Now the first comes back as a leaf of the last.
    first.kill_broker();
    let mut command = program::command("broker");
    command.args(["--port", &first.port().to_string(), "--upstream", &third.address()]);
    let mut closing = tests::Process::start("broker", command, &tests::Folder::temporary("ring"));
    assert_eq!(closing.wait().code(), Some(1));
    assert!(closing.errors().contains("must not form a ring"), "{}", closing.errors());
    assert!(third.broker().is_running(), "those that have clients stay");
    first.start_broker();
    wait_for_success(&third, "{\"command\":\"publish\",\"topic\":\"t\",\"message\":\"two\"}");
}

#[test]
fn messages_of_any_size_pass_through_a_leaf() {
    let hub = System::start_with(&["--max-message", "4194304"]);
    let leaf = System::start_with(&["--upstream", &hub.address(), "--max-message", "4194304"]);
    // Escaped, it takes six times its size.
    let message = "\u{1}".repeat(3 << 19);
    let mut body = message.clone().into_bytes();
    body.push(b'\n');
    assert_eq!(hub.request("POST", "/topics/t", body).status, 200);
    let is_there = || leaf.get("/messages?topic=t").text().trim_end_matches('\n') == message;
    wait_until(DEADLINE, "the message", is_there);
    let lines = "x\n".repeat(3 << 20);
    let refused = leaf.request("POST", "/topics/t", lines);
    assert_eq!(refused.status, 413, "{refused:?}");
    // A busy hub may take longer than a leaf waits: a number makes it safe to repeat.
    let many = format!(
        "{{\"topic\":\"t\",\"publisher\":\"p\",\"epoch\":0,\"sequence\":0,\
         \"messages\":[{}\"x\"]}}",
        "\"x\",".repeat((1 << 18) - 1)
    );
    let is_stored = || leaf.request("POST", "/publish", many.clone()).status == 200;
    wait_until(DEADLINE, "the batch", is_stored);
    assert_eq!(leaf.messages("t").len(), 1 + (1 << 18));
}

#[test]
fn nothing_is_lost_doubled_or_reordered_when_each_broker_is_killed_once() {
    let mut hub = System::reserve_with(&["--data", "data"]);
    hub.start_broker();
    let mut leaf = System::reserve_with(&["--upstream", &hub.address(), "--data", "data"]);
    leaf.start_broker();
    let mut other = System::reserve_with(&["--upstream", &hub.address()]);
    other.start_broker();
    let mut below = System::reserve_with(&["--upstream", &leaf.address()]);
    below.start_broker();

    let mut crowd = Crowd::new();
    for (broker, name) in [(&hub, "hub"), (&leaf, "leaf"), (&other, "other"), (&below, "below")] {
        crowd.publish(broker, "t", name);
    }
    let readers = [
        Reader::json(&below, "t"),
        Reader::json(&leaf, "t"),
        Reader::events(&other, "t"),
        Reader::events(&below, "t"),
    ];
    let keeper = below.subscribe("t");
    crowd.wait_for_more();
    for broker in [&mut hub, &mut leaf, &mut other, &mut below] {
        crowd.restart(broker);
    }
    let mut list = Vec::new();
    let count = crowd.check(|topic| {
        list = hub.messages(topic);
        list.clone()
    });
    assert!(count >= 400, "only {count} messages");
    for reader in &readers {
        reader.expect(&list);
    }
    keeper.expect(&list);
    for broker in [&leaf, &other, &below] {
        assert_eq!(broker.messages("t"), list);
    }
}

#[test]
fn whoever_asks_for_topics_that_are_not_there_does_not_fill_the_hub() {
    let hub = System::start();
    let leaf = leaf_of(&hub);
    for number in 0..100 {
        assert_eq!(leaf.get(&format!("/messages?topic=unknown{number}")).text(), "");
    }
    assert_eq!(hub.get("/topics").text().trim(), "[]");
    let mut session = Session::open(&leaf.address()).unwrap();
    let answer = session.ask("{\"command\":\"pull\",\"topic\":\"unknown1\"}").unwrap();
    assert_eq!(number(&answer, "code"), 404);
}

/// A hub that hears nothing of a lost connection would keep it, and its thread, for a minute.
#[test]
fn a_hub_closes_the_connection_of_a_leaf_that_has_made_another() {
    let mut hub = System::start();
    let network = Proxy::start(hub.port(), |_| Fate::Pass);
    let address = format!("127.0.0.1:{}", network.port());
    let mut leaf = System::reserve_with(&["--upstream", &address]);
    leaf.start_broker();
    let arrives = |hub: &System, leaf: &System, message: &str| {
        hub.publish("t", message);
        wait_until(DEADLINE, message, || {
            leaf.get("/messages?topic=t").text().ends_with(&format!("{message}\n"))
        });
    };
    arrives(&hub, &leaf, "first");
    let id = hub.broker().id();
    let before = Resources::of(id);
    for partition in 0..5 {
        network.part();
        arrives(&hub, &leaf, &partition.to_string());
    }
    let holds = || {
        let now = Resources::of(id);
        now.threads <= before.threads + 1 && now.descriptors <= before.descriptors + 1
    };
    assert!(holds_within(DEADLINE / 3, holds), "{before:?} {:?}", Resources::of(id));
}
