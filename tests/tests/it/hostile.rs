//! Hostile clients and homes: their input costs the broker little, and is never mistaken for
//! something else.

use std::io::{BufRead, BufReader, Write};
use std::mem;
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;
use tests::System;
use tests::raw::{Raw, metric};
use tests::resources::Resources;
use tests::wait::{DEADLINE, wait_until};

/// Answers to commands that came together are sent before they pile up, and who does not read
/// them is not worked for; nor is who has gone.
#[test]
fn answers_that_nobody_reads_take_little_memory() {
    const PULLS: usize = 100;
    let mut system = System::start();
    system.publish("t", &"x".repeat(1 << 20));
    let id = system.broker().id();
    let mut waiting = Raw::connect(&system.address());
    let mut reset = Raw::connect(&system.address());
    for raw in [&mut waiting, &mut reset] {
        raw.send("{\"command\":\"pull\",\"topic\":\"t\"}\n".repeat(PULLS));
    }
    // A connection that is closed before all was read that came is reset.
    wait_until(DEADLINE, "an answer", || !reset.is_silent());
    drop(reset);
    let mut before = 0;
    wait_until(DEADLINE, "the broker to rest", || {
        let Resources { memory, processor_time, .. } = Resources::of(id);
        assert!(memory < 64 << 20, "{memory} bytes");
        thread::sleep(Duration::from_millis(100));
        mem::replace(&mut before, processor_time) == processor_time
    });
    for _ in 0..PULLS {
        assert!(waiting.line().len() > 1 << 20);
    }
}

/// Where a connection breaks off in the middle of a line, the line is no command; where the client
/// ends it, it is.
#[test]
fn a_line_that_was_cut_off_is_not_published() {
    let system = System::start();
    let mut cut = Raw::connect(&system.address());
    cut.send("SUBSCRIBE nonsense\nPUBLISH t one two");
    wait_until(DEADLINE, "an error", || !cut.is_silent());
    // What was not read makes it a reset.
    drop(cut);
    let sessions = "broker_connections{door=\"text\"}";
    wait_until(DEADLINE, "the session to end", || metric(&system.address(), sessions) == 0.0);
    assert!(system.messages("t").is_empty());

    let mut whole = Raw::connect(&system.address());
    whole.send("PUBLISH t one two");
    whole.end_sending();
    whole.end();
    assert_eq!(system.messages("t"), ["one"]);
}

/// Messages as no broker stores them, each under its topic; and one that is a message.
const SENT: [(&str, &str); 5] = [
    ("a", r#""message":"x","publisher":"p\tq""#),
    ("b", r#""message":"x\ny""#),
    ("c", r#""message":"x\u0000""#),
    ("d", r#""message":"x","publisher":"""#),
    ("good", r#""message":"x","publisher":"p""#),
];

/// A home that sends what stands in [`SENT`].
fn lie(stream: TcpStream) -> std::io::Result<()> {
    let mut out = stream.try_clone()?;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if line.contains("\"path\"") {
            out.write_all(b"{\"status\":\"success\"}\n")?;
        }
        let asked = |topic: &str| line.contains(&format!("\"topic\":\"{topic}\""));
        let found = SENT.iter().find(|(topic, _)| line.contains("\"subscribe\"") && asked(topic));
        if let Some((topic, message)) = found {
            let stream = r#""stream":"00000000000000aa""#;
            let mut text =
                format!("{{\"status\":\"success\",\"topic\":\"{topic}\",\"end\":1,{stream}}}\n");
            // Nobody has asked for this one.
            text += &format!("{{\"event\":\"reset\",\"topic\":\"e\\tf\",{stream}}}\n");
            text += "{\"event\":\"message\",\"offset\":0,\"time\":1,";
            text += &format!("\"topic\":\"{topic}\",{message},{stream}}}\n");
            out.write_all(text.as_bytes())?;
        }
    }
    Ok(())
}

/// What is no message would make records of the journal that cannot be read back.
#[test]
fn a_home_that_sends_what_is_no_message_is_not_believed() {
    let home = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = home.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in home.incoming().flatten() {
            thread::spawn(|| lie(stream));
        }
    });
    let mut leaf = System::reserve_with(&["--data", "data", "--upstream", &address]);
    leaf.start_broker();
    for (topic, _) in SENT {
        let answer = leaf.get(&format!("/messages?topic={topic}"));
        if topic == "good" {
            assert_eq!(answer.text(), "x\n");
        } else {
            assert_eq!(answer.status, 502, "{topic}: {answer:?}");
            assert!(answer.text().contains(&address), "{answer:?}");
        }
    }
    let told = leaf.broker().errors();
    assert_eq!(told.matches("what is no message").count(), 1, "{told}");
    leaf.restart_broker();
    assert_eq!(leaf.get("/messages?topic=good").text(), "x\n");
}
