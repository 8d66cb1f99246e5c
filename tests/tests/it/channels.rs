//! Clients of the dialect of channels, written in another language.

use tests::wait::{DEADLINE, wait_until};
use tests::{Folder, Process, System, tools};

/// A client in Python; nothing where there is no Python. `form` is how it writes a command.
fn client(system: &System, form: &str) -> Option<Process> {
    let mut command = tools::python3()?;
    command.env("PYTHONUTF8", "1").arg("-c").arg(include_str!("../../peers/channels.py"));
    command.args(["127.0.0.1", &system.port().to_string(), form]);
    Some(Process::start_with_input("channels.py", command, &Folder::temporary("channels")))
}

/// Waits until the client has heard exactly these lines.
#[track_caller]
fn assert_hears(client: &Process, lines: &[&str]) {
    let expected: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
    wait_until(DEADLINE, &expected, || client.output().len() >= expected.len());
    assert_eq!(client.output(), expected);
}

#[test]
fn two_people_talk_to_each_other() {
    let system = System::start();
    let (Some(mut ann), Some(mut bob)) = (client(&system, "args"), client(&system, "flat")) else {
        return;
    };
    let mut heard_by_ann = vec!["SUBSCRIBE channel=room count=1"];
    ann.write("subscribe room\n");
    assert_hears(&ann, &heard_by_ann);
    let mut heard_by_bob = vec!["SUBSCRIBE channel=room count=2"];
    bob.write("subscribe room\n");
    assert_hears(&bob, &heard_by_bob);

    ann.write("publish room how are you?\n");
    heard_by_ann.push("MESSAGE channel=room message=how are you?");
    heard_by_bob.push("MESSAGE channel=room message=how are you?");
    assert_hears(&bob, &heard_by_bob);
    bob.write("publish room sch\u{f6}n \u{1f600}\n");
    heard_by_ann.push("MESSAGE channel=room message=sch\u{f6}n \u{1f600}");
    heard_by_bob.push("MESSAGE channel=room message=sch\u{f6}n \u{1f600}");
    assert_hears(&ann, &heard_by_ann);
    assert_hears(&bob, &heard_by_bob);

    bob.write("unsubscribe room\n");
    heard_by_bob.push("UNSUBSCRIBE channel=room count=1");
    assert_hears(&bob, &heard_by_bob);
    ann.write("publish room still there?\n");
    heard_by_ann.push("MESSAGE channel=room message=still there?");
    assert_hears(&ann, &heard_by_ann);
    assert_hears(&bob, &heard_by_bob);
}

#[test]
fn a_publisher_that_loops_is_heard_in_every_channel() {
    let system = System::start();
    let Some(mut client) = client(&system, "args") else { return };
    client.write("subscribe a\nsubscribe b\n");
    assert_hears(&client, &["SUBSCRIBE channel=a count=1", "SUBSCRIBE channel=b count=1"]);
    let every = ["--every", "50ms", "--topic", "a", "--topic", "b"];
    let publisher = system.run("publisher", &every);
    // Each channel has its order; between channels there is one only where one broker keeps them.
    let heard = |channel: &str| {
        let begin = format!("MESSAGE channel={channel} message=message ");
        let lines = client.lines().into_iter();
        lines.filter_map(|line| Some(line.strip_prefix(&begin)?.to_owned())).collect::<Vec<_>>()
    };
    for channel in ["a", "b"] {
        wait_until(DEADLINE, "three rounds", || heard(channel).len() >= 3);
        assert_eq!(heard(channel)[..3], ["1", "2", "3"], "{channel}");
    }
    drop(publisher);
    if System::nats().is_none() {
        let expected = ["a 1", "b 1", "a 2", "b 2", "a 3", "b 3"].map(|round| {
            let (channel, number) = round.split_once(' ').unwrap();
            format!("MESSAGE channel={channel} message=message {number}")
        });
        assert_eq!(client.lines()[2..8], expected);
    }
}

#[test]
fn a_mistake_is_answered_and_does_not_end_the_session() {
    let system = System::start();
    let Some(mut client) = client(&system, "flat") else { return };
    client.write(&format!("subscribe {}\nsubscribe room\n", "x".repeat(256)));
    let error = "ERROR error='topic' is longer than 255 bytes";
    assert_hears(&client, &[error, "SUBSCRIBE channel=room count=1"]);
}
