//! Retention with several brokers: a mirror lets go of messages when its home does.

use crate::brokers::{ask, succeed, wait_for_success};
use crate::peers::{command, peer_of, publish};
use std::process::Command;
use tests::System;
use tests::wait::{DEADLINE, wait_until};

fn listed(system: &System, topic: &str, part: &str) -> bool {
    system.get(&format!("/topics/{topic}")).text().contains(part)
}

fn trim(topic: &str, before: u64) -> String {
    format!("{{\"command\":\"trim_topic\",\"topic\":\"{topic}\",\"before\":{before}}}")
}

#[test]
fn a_mirror_begins_where_its_home_begins_and_lets_go_what_that_lets_go() {
    let mut hub = System::start();
    hub.publish_batch("t", (0..10).map(|number| number.to_string()));
    succeed(&hub, &trim("t", 4));
    let mut leaf = System::reserve_with(&["--upstream", &hub.address(), "--data", "data"]);
    leaf.start_broker();
    let below = System::start_with(&["--upstream", &leaf.address()]);
    for broker in [&leaf, &below] {
        wait_for_success(broker, "{\"command\":\"pull\",\"topic\":\"t\"}");
        wait_until(DEADLINE, "the mirror", || {
            broker.messages("t") == ["4", "5", "6", "7", "8", "9"]
        });
        assert_eq!(broker.get("/messages?topic=t&from=0").status, 410);
        assert_eq!(broker.get("/topics/t").text(), hub.get("/topics/t").text(), "digest as well");
    }
    // What the home lets go by itself is let go everywhere within seconds.
    succeed(&hub, &trim("t", 7));
    for broker in [&leaf, &below] {
        wait_until(DEADLINE, "the trim", || broker.messages("t") == ["7", "8", "9"]);
    }
    leaf.kill_broker();
    hub.publish("t", "10");
    succeed(&hub, &trim("t", 11));
    hub.publish("t", "11");
    leaf.start_broker();
    for broker in [&leaf, &below] {
        wait_until(DEADLINE, "what is left", || broker.messages("t") == ["11"]);
        assert_eq!(broker.get("/topics/t").text(), hub.get("/topics/t").text());
    }
    wait_for_success(&below, &publish("t", "12"));
    assert_eq!(leaf.messages("t"), ["11", "12"]);
    // Without its home it knows that nothing is missing here.
    hub.kill_broker();
    leaf.restart_broker();
    wait_until(DEADLINE, "the mirror alone", || {
        let answer = leaf.get("/messages?topic=t");
        answer.status == 200 && answer.text() == "11\n12\n"
    });
    assert_eq!(leaf.get("/messages?topic=t&from=4").status, 410);
}

#[test]
fn what_a_leaf_is_asked_to_let_go_or_keep_happens_at_the_hub() {
    let hub = System::start();
    let leaf = System::start_with(&["--upstream", &hub.address()]);
    for number in 0..5 {
        leaf.publish("t", &number.to_string());
    }
    let answer = succeed(&leaf, &trim("t", 2));
    assert!(answer.contains("\"first\":2,\"next\":5"), "{answer}");
    assert_eq!(leaf.messages("t"), ["2", "3", "4"], "for the next request");
    assert_eq!(hub.messages("t"), ["2", "3", "4"]);
    assert!(ask(&leaf, &trim("t", 9)).contains("\"code\":416"));
    let bounds = "{\"command\":\"create_topic\",\"topic\":\"bounded\",\"keep_messages\":2}";
    succeed(&leaf, bounds);
    assert!(listed(&hub, "bounded", "\"keep_messages\":2"));
    for message in ["a", "b", "c"] {
        leaf.publish("bounded", message);
    }
    assert_eq!(hub.messages("bounded"), ["b", "c"]);
    wait_until(DEADLINE, "the mirror", || leaf.messages("bounded") == ["b", "c"]);
    let answer = leaf.request("PUT", "/topics/t", "{\"keep_for\":\"7d\"}");
    assert!(answer.status == 200 && answer.text().contains("\"keep_for\":\"7d\""), "{answer:?}");
    assert!(listed(&hub, "t", "\"keep_for\":\"7d\""), "{}", hub.get("/topics/t").text());
}

#[test]
fn a_leaf_tells_what_its_hub_keeps_and_leaves_it_to_that() {
    let hub = System::start_with(&["--keep-for", "7d"]);
    let leaf = System::start_with(&["--upstream", &hub.address()]);
    hub.publish("other", "message");
    let change = "{\"command\":\"set_bounds\",\"topic\":\"other\",\"keep_messages\":2}";
    let bounds = "\"keep_messages\":2,\"keep_bytes\":null,\"keep_for\":\"7d\"";
    assert!(succeed(&leaf, change).contains(bounds));
    let below = System::start_with(&["--upstream", &leaf.address()]);
    let answer = below.request("PUT", "/topics/t", "{\"keep_bytes\":100}");
    below.publish_batch("t", ["a", "b", "c"].into_iter());
    let bounds = "\"keep_messages\":null,\"keep_bytes\":100,\"keep_for\":\"7d\"";
    assert!(answer.text().contains(bounds), "{answer:?}");
    assert!(listed(&leaf, "t", bounds), "{}", leaf.get("/topics/t").text());
    let _ = hub.request("PUT", "/topics/t", "{\"keep_bytes\":200}");
    for broker in [&leaf, &below] {
        let changed = bounds.replace("100", "200");
        wait_until(DEADLINE, "the bounds of the hub", || listed(broker, "t", &changed));
        assert_eq!(broker.messages("t"), ["a", "b", "c"]);
    }
}

#[test]
fn a_batch_of_which_the_hub_keeps_a_part_begins_a_topic_through_a_leaf() {
    let hub = System::start_with(&["--keep-messages", "2"]);
    let leaf = System::start_with(&["--upstream", &hub.address()]);
    for batch in [["a", "b", "c"], ["d", "e", "f"]] {
        leaf.publish_batch("t", batch.into_iter());
        wait_until(DEADLINE, "what is kept", || leaf.messages("t") == batch[1..]);
    }
    let gone = leaf.get("/messages?topic=t&from=0");
    assert_eq!((gone.status, gone.number("Stream-First-Offset")), (410, 4));
    let digest = |broker: &System| {
        broker.get("/topics/t").text().split_once("\"digest\"").map(|it| it.1.to_owned())
    };
    assert_eq!(digest(&leaf).unwrap(), digest(&hub).unwrap());
}

/// The limit of a file's size stands for a full disk: where the signal is ignored, a write fails.
#[test]
fn a_leaf_on_a_full_disk_has_its_hub_let_go() {
    let hub = System::start();
    let full = ["sh", "-c", "trap '' XFSZ; ulimit -S -f 100; exec \"$0\" \"$@\""];
    let mut leaf =
        System::reserve_with(&["--upstream", &hub.address(), "--data", "data"]).under(&full);
    leaf.start_broker();
    leaf.publish("t", "first");
    hub.publish_batch("t", (0..200).map(|_| "x".repeat(1000)));
    wait_until(DEADLINE, "a full disk", || leaf.get("/readyz").status == 503);
    let answer = leaf.request("DELETE", "/topics/t/messages?before=190", "");
    assert_eq!((answer.status, hub.messages("t").len()), (200, 11), "{answer:?}");
    let answer = leaf.request("PUT", "/topics/t", "{\"keep_messages\":5}");
    assert_eq!((answer.status, hub.messages("t").len()), (200, 5), "{answer:?}");
    let broker = leaf.broker().id().to_string();
    let larger = ["--fsize=unlimited", "--pid", &broker];
    assert!(Command::new("prlimit").args(larger).status().unwrap().success());
    wait_until(DEADLINE, "the mirror", || leaf.messages("t").len() == 5);
}

#[test]
fn a_topic_that_is_created_through_a_leaf_has_the_bounds_of_that() {
    // Before a cluster it would know of a topic only once that has messages.
    let mut hub = System::reserve_with(&["--keep-for", "7d"]).alone();
    hub.start_broker();
    let leaf = System::start_with(&["--upstream", &hub.address(), "--keep-messages", "2"]);
    hub.publish_batch("old", ["a", "b", "c"].into_iter());
    for topic in ["new", "old"] {
        leaf.publish_batch(topic, ["d", "e", "f"].into_iter());
    }
    assert_eq!((hub.messages("old").len(), hub.messages("new").len()), (6, 2));
    let gap =
        "{\"topic\":\"gap\",\"message\":\"a\",\"publisher\":\"p\",\"epoch\":0,\"sequence\":1}";
    assert_eq!(leaf.request("POST", "/publish", gap).status, 409);
    assert_eq!(hub.get("/topics/gap").status, 404, "nothing was published");
    for (topic, given, keeps) in [("t", "", "2"), ("u", "{\"keep_messages\":null}", "null")] {
        let answer = leaf.request("PUT", &format!("/topics/{topic}"), given);
        let bounds = format!("\"keep_messages\":{keeps},\"keep_bytes\":null,\"keep_for\":\"7d\"");
        assert!(answer.status == 201 && answer.text().contains(&bounds), "{answer:?}");
        assert!(listed(&hub, topic, &bounds), "{}", hub.get("/topics").text());
    }
}

#[test]
fn a_peer_lets_go_at_the_home_of_the_topic() {
    let index = System::start();
    let (home, other) = (peer_of(&index), peer_of(&index));
    succeed(&home, &command("create_topic", "t"));
    for message in ["a", "b", "c"] {
        succeed(&other, &publish("t", message));
    }
    succeed(&other, &trim("t", 2));
    for peer in [&home, &other] {
        assert_eq!(peer.messages("t"), ["c"]);
    }
}
