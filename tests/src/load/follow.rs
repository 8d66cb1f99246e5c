//! A follower that reconnects and continues where it was.

use super::lasting::Bounds;
use super::{Link, PAUSE, Place, Shared, chance};
use common::{json, random};
use std::io::{self, ErrorKind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// It leaves after one message in so many.
const LEAVE_EVERY: u64 = 200;

/// It stays for so long: where there is much to read, it would else never come to the end.
const STAY: Duration = Duration::from_millis(50);

/// How a follower reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follower {
    /// `GET /messages` that waits for more, of its first topic.
    Poll,
    /// `GET /events`, back with `Last-Event-ID`.
    Events,
    /// `subscribe` in a JSON session.
    Json,
    /// `subscribe` under this name, which is acknowledged and ended now and then; its first topic.
    Lasting(&'static str),
}

/// One follower's state.
pub(super) struct Following<'a> {
    address: &'a str,
    place: &'a Place,
    pub(super) shared: &'a Shared,
    /// The name of its lasting subscription.
    pub(super) name: &'static str,
    /// Where that subscription may go on.
    pub(super) bounds: Bounds,
    /// It waits for an answer, and does not leave meanwhile: a command of a connection that was
    /// left may be carried out after those of the next one.
    pub(super) waits: bool,
    /// The last id of an event.
    last_id: Option<String>,
    pub(super) chance: u64,
    /// When it came the last time.
    came: Instant,
}

pub(super) fn run(follower: Follower, address: &str, place: &Place, shared: &Arc<Shared>) {
    let chance = random::random() | 1;
    let came = Instant::now();
    let name = if let Follower::Lasting(name) = follower { name } else { "" };
    let bounds = Bounds::default();
    let mut following = Following {
        address,
        place,
        shared,
        name,
        bounds,
        waits: false,
        last_id: None,
        chance,
        came,
    };
    while !shared.is_over.load(Ordering::Relaxed) {
        // How it ended does not matter: it comes back, or it is over.
        let _ = match follower {
            Follower::Poll => following.poll(),
            Follower::Events => following.events(),
            Follower::Json => following.json(),
            Follower::Lasting(_) => following.lasting(),
        };
        thread::sleep(PAUSE);
    }
}

impl Following<'_> {
    pub(super) fn connect(&mut self) -> io::Result<Link> {
        self.came = Instant::now();
        Link::connect(self.address, Some(Arc::clone(&self.shared.is_over)))
    }

    pub(super) fn topics(&self) -> Vec<(String, u64)> {
        let place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        place.iter().map(|(topic, next)| (topic.clone(), *next)).collect()
    }

    /// Stands at another offset from now on.
    pub(super) fn go_on_at(&mut self, topic: &str, next: u64) {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        place.insert(topic.to_owned(), next);
    }

    /// Takes a message in. An error is the wish to leave.
    fn see(&mut self, topic: &str, offset: u64, message: &str) -> io::Result<()> {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = place.get(topic).copied().unwrap_or_default();
        if offset != expected {
            eprintln!(
                "a follower at {} got {topic:?} {offset} where it expected {expected}; its last id \
                 is {:?}",
                self.address, self.last_id
            );
            self.shared.checker().contradicted();
        }
        self.shared.checker().seen(topic, offset, message);
        place.insert(topic.to_owned(), offset + 1);
        // In the end it stays, and so comes to the end.
        let is_over = self.shared.publishing_is_over.load(Ordering::Relaxed);
        let leaves = chance(&mut self.chance).is_multiple_of(LEAVE_EVERY);
        if !is_over && !self.waits && leaves && self.came.elapsed() >= STAY {
            return Err(io::Error::other("left on purpose"));
        }
        Ok(())
    }

    fn poll(&mut self) -> io::Result<()> {
        let mut link = self.connect()?;
        loop {
            let Some((topic, next)) = self.topics().into_iter().next() else { return Ok(()) };
            let target = format!("/messages?topic={topic}&from={next}&wait=1&limit=100");
            let answer = link.request("GET", &target, "")?;
            if answer.status == 410 {
                self.trimmed(&topic, answer.first, Some(410), &answer.text)?;
                continue;
            }
            if answer.status != 200 {
                return self.refused(Some(answer.status.into()), &answer.text);
            }
            for (offset, message) in (next..).zip(answer.text.lines()) {
                self.see(&topic, offset, message)?;
            }
            if self.shared.is_over.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
    }

    fn events(&mut self) -> io::Result<()> {
        let mut link = self.connect()?;
        let topics = self.topics().into_iter().map(|(topic, _)| format!("topic={topic}"));
        let query = topics.collect::<Vec<_>>().join("&");
        let last = match &self.last_id {
            Some(id) => format!("Last-Event-ID: {id}\r\n"),
            None => String::new(),
        };
        // Without chunks, which may end inside a line.
        link.send(format!("GET /events?{query}&from=0 HTTP/1.0\r\nHost: localhost\r\n{last}\r\n"))?;
        let head = link.head()?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        if status != Some(200) {
            return self.refused(status, &head);
        }
        let (mut data, mut new_id, mut kind) = (None, None, None);
        loop {
            let line = link.line()?;
            if let Some(text) = line.strip_prefix("data: ") {
                data = Some(text.to_owned());
            } else if let Some(text) = line.strip_prefix("event: ") {
                kind = Some(text.to_owned());
            } else if let Some(id) = line.strip_prefix("id: ") {
                new_id = Some(id.to_owned());
            } else if line.is_empty() {
                // Only now: of what is cut off before, nothing counts.
                self.last_id = new_id.take().or(self.last_id.take());
                let kind = kind.take();
                if let Some(data) = data.take() {
                    self.message(kind.as_deref(), &data)?;
                }
            }
        }
    }

    fn json(&mut self) -> io::Result<()> {
        let mut link = self.connect()?;
        for (topic, next) in self.topics() {
            link.send(format!(
                "{{\"command\":\"subscribe\",\"topic\":\"{topic}\",\"from\":{next}}}\n"
            ))?;
        }
        loop {
            let line = link.line()?;
            if line.starts_with("{\"status\":\"error\"") {
                let parsed = json::parse(line.as_bytes()).map_err(io::Error::other)?;
                let topic = parsed.get("topic").and_then(json::Value::as_str).unwrap_or_default();
                let first = parsed.get("first").and_then(json::Value::as_u64);
                let code = parsed.get("code").and_then(json::Value::as_u64);
                self.trimmed(topic, first, code, &line)?;
                // What it asks for is there now; it subscribes again.
                return Ok(());
            }
            if line.starts_with("{\"event\":") {
                self.message(None, &line)?;
            }
        }
    }

    /// The broker has let go of what comes next: it goes on at `first`. Anything else is refused.
    fn trimmed(
        &mut self,
        topic: &str,
        first: Option<u64>,
        status: Option<u64>,
        text: &str,
    ) -> io::Result<()> {
        let next = self.topics().iter().find(|(name, _)| name == topic).map(|(_, next)| *next);
        match (first, next) {
            (Some(first), Some(next)) if first > next => {
                self.go_on_at(topic, first);
                Ok(())
            }
            _ => self.refused(status, text),
        }
    }

    /// A message as an object, or something that must not come. `kind` is what is said of it
    /// outside of the object.
    pub(super) fn message(&mut self, kind: Option<&str>, text: &str) -> io::Result<()> {
        let parsed = json::parse(text.as_bytes())
            .map_err(|error| io::Error::new(ErrorKind::InvalidData, error.to_string()))?;
        let field = |name| parsed.get(name).and_then(json::Value::as_str);
        let number = |name| parsed.get(name).and_then(json::Value::as_u64);
        let offset = number("offset");
        if let (Some("trimmed"), Some(topic)) = (field("event").or(kind), field("topic")) {
            return self.trimmed(topic, number("next"), None, text);
        }
        match (field("topic"), offset, field("message")) {
            (Some(topic), Some(offset), Some(message)) => self.see(topic, offset, message),
            _ => self.refused(None, text),
        }
    }

    /// A follower's place is never refused, because what it saw is there. Only two answers may ask
    /// it to come again: 503 while the broker reads its journal, and 507 while the disk has no room
    /// for a new lasting subscription.
    pub(super) fn refused(&self, status: Option<u64>, text: &str) -> io::Result<()> {
        if !matches!(status, Some(503 | 507)) {
            eprintln!("a follower was told: {text}");
            self.shared.checker().contradicted();
        }
        Err(io::Error::other(text.to_owned()))
    }
}
