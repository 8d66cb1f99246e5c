//! Reads an event stream as a browser does (WHATWG HTML, chapter 9.2).

use common::json::{self, Value};
use tests::System;
use tests::raw::Raw;

/// An open event stream.
pub(crate) struct Events {
    pub(crate) raw: Raw,
    /// The id of the last block that had one, as a browser keeps it.
    pub(crate) last_id: String,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// What `event:` says; empty where it is a message.
    pub(crate) kind: String,
    pub(crate) data: String,
}

impl Event {
    /// A text in its object.
    #[track_caller]
    pub(crate) fn text(&self, name: &str) -> String {
        let value = json::parse(self.data.as_bytes()).unwrap();
        value.get(name).and_then(Value::as_str).unwrap_or_else(|| panic!("{self:?}")).to_owned()
    }

    pub(crate) fn topic(&self) -> String {
        self.text("topic")
    }

    pub(crate) fn offset(&self) -> u64 {
        let value = json::parse(self.data.as_bytes()).unwrap();
        value.get("offset").and_then(Value::as_u64).unwrap_or_else(|| panic!("{self:?}"))
    }

    pub(crate) fn message(&self) -> String {
        self.text("message")
    }
}

impl Events {
    /// Opens a stream with more header lines, and reads its head and its first block.
    #[track_caller]
    pub(crate) fn open_with(system: &System, query: &str, lines: &str) -> Events {
        let mut raw = Raw::connect(&system.address());
        raw.send(format!("GET /events?{query} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n"));
        let head = raw.stream_head();
        assert_eq!(head.status, 200, "{head:?}");
        assert_eq!(head.field("content-type"), Some("text/event-stream"));
        assert_eq!(head.field("cache-control"), Some("no-store"));
        let mut events = Events { raw, last_id: String::new() };
        assert_eq!(events.raw.line(), "retry: 1000");
        assert!(events.block().is_none(), "the first block has an id and no data");
        assert_ne!(events.last_id, "");
        events
    }

    #[track_caller]
    pub(crate) fn open(system: &System, query: &str) -> Events {
        Events::open_with(system, query, "")
    }

    /// Comes back as a browser does.
    #[track_caller]
    pub(crate) fn reopen(self, system: &System, query: &str) -> Events {
        Events::open_with(system, query, &format!("Last-Event-ID: {}\r\n", self.last_id))
    }

    /// The next block, if it has data; its id is kept either way.
    #[track_caller]
    fn block(&mut self) -> Option<Event> {
        let mut event = None;
        let mut kind = String::new();
        loop {
            let line = self.raw.line();
            match line
                .split_once(':')
                .map(|(name, value)| (name, value.strip_prefix(' ').unwrap_or(value)))
            {
                None => {
                    assert_eq!(line, "");
                    return event.map(|data| Event { kind, data });
                }
                Some(("data", data)) => {
                    assert!(event.replace(data.to_owned()).is_none(), "one line of data each");
                }
                Some(("id", id)) => {
                    assert!(!id.contains('\0'), "a browser would not keep it");
                    id.clone_into(&mut self.last_id);
                }
                Some(("event", value)) => value.clone_into(&mut kind),
                Some(("", _comment)) => {}
                Some(_) => panic!("{line:?}"),
            }
        }
    }

    /// The next event; nothing where the stream ends.
    #[track_caller]
    pub(crate) fn try_next(&mut self) -> Option<Event> {
        while self.raw.has_line() {
            if let Some(event) = self.block() {
                return Some(event);
            }
        }
        None
    }

    /// The next event.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.block() {
                return event;
            }
        }
    }
}
