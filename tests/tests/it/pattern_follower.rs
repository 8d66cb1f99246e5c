//! A client that follows topics by pattern in a JSON session, and checks all that it is sent.

use common::json::{self, Value};
use std::collections::HashMap;
use tests::System;
use tests::raw::Raw;

/// What a client holds that follows topics by pattern in a JSON session.
pub(crate) struct Follower {
    pub(crate) session: Raw,
    /// The next offset of each topic that was announced, and its list.
    pub(crate) topics: HashMap<String, (u64, String)>,
    pub(crate) messages: Vec<(String, u64, String)>,
}

impl Follower {
    /// Subscribes; gives the number of topics that match.
    #[track_caller]
    pub(crate) fn begin(system: &System, fields: &str) -> (Follower, u64) {
        let mut follower = Follower::new(system);
        let count = follower.subscribe(fields);
        (follower, count)
    }

    pub(crate) fn new(system: &System) -> Follower {
        let session = Raw::connect(&system.address());
        Follower { session, topics: HashMap::new(), messages: Vec::new() }
    }

    #[track_caller]
    pub(crate) fn subscribe(&mut self, fields: &str) -> u64 {
        self.session.send(format!("{{\"command\":\"subscribe\",{fields}}}\n"));
        let answer = self.answer();
        let answer = json::parse(answer.as_bytes()).unwrap();
        answer.get("topics").and_then(Value::as_u64).unwrap_or_else(|| panic!("{answer:?}"))
    }

    /// The next answer to a command; what is pushed before it is taken.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> String {
        loop {
            let line = self.session.line();
            if line.starts_with("{\"status\"") {
                return line;
            }
            self.take(&line);
        }
    }

    /// Takes what was pushed, and checks that nothing is lost, doubled or out of order.
    #[track_caller]
    fn take(&mut self, line: &str) -> String {
        let object = json::parse(line.as_bytes()).unwrap();
        let text = |name| object.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |name| object.get(name).and_then(Value::as_u64);
        let (event, topic) = (text("event"), text("topic"));
        match event.as_str() {
            "subscribed" => {
                let begun = (number("next").unwrap(), text("stream"));
                let before = self.topics.insert(topic, begun);
                assert!(before.is_none(), "announced twice: {before:?}, {line}");
            }
            "deleted" => assert!(self.topics.remove(&topic).is_some(), "{line}"),
            "message" => {
                let next = &mut self.topics.get_mut(&topic).unwrap_or_else(|| panic!("{line}")).0;
                assert_eq!(number("offset"), Some(*next), "{line}");
                *next += 1;
                self.messages.push((topic, *next - 1, text("message")));
            }
            _ => panic!("{line}"),
        }
        event
    }

    #[track_caller]
    pub(crate) fn next(&mut self) -> String {
        let line = self.session.line();
        self.take(&line)
    }

    #[track_caller]
    pub(crate) fn wait_for(&mut self, messages: usize) {
        while self.messages.len() < messages {
            self.next();
        }
    }

    pub(crate) fn last(&self) -> (&str, u64, &str) {
        let (topic, offset, message) = self.messages.last().unwrap();
        (topic, *offset, message)
    }
}
