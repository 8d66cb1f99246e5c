//! A follower with a name: it acknowledges a lasting subscription, ends it, and begins it again.
//!
//! It may get messages again that it did not acknowledge. It must never miss one: the subscription
//! continues at most after what it acknowledged, and at least where it began.

use super::follow::Following;
use super::{Link, chance};
use common::json;
use std::io;
use std::sync::atomic::Ordering;

/// It acknowledges one message in so many.
const ACKNOWLEDGE_EVERY: u64 = 7;

/// It ends its subscription after one message in so many, and begins another.
const END_EVERY: u64 = 40;

/// What is known of the subscription.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bounds {
    /// The first offset that it may go on at.
    begin: u64,
    /// The last offset that it may go on at: the one behind what was acknowledged.
    end: u64,
    /// It was to be ended, and the answer did not come: it may have been ended or not.
    may_have_ended: bool,
}

impl Following<'_> {
    /// Follows its first topic under a name, until the connection breaks or it leaves.
    pub(super) fn lasting(&mut self) -> io::Result<()> {
        let Some((topic, from)) = self.topics().into_iter().next() else { return Ok(()) };
        let mut link = self.connect()?;
        self.begin(&mut link, &topic, from)?;
        loop {
            let line = link.line()?;
            if line.starts_with("{\"status\":\"error\"") {
                return self.refused(code(&line), &line);
            }
            if !line.starts_with("{\"event\":") {
                continue;
            }
            self.message(None, &line)?;
            let Some((_, next)) = self.topics().into_iter().next() else { return Ok(()) };
            if chance(&mut self.chance).is_multiple_of(ACKNOWLEDGE_EVERY) {
                self.bounds.end = self.bounds.end.max(next);
                let offset = next.saturating_sub(1);
                link.send(self.command("ack", &topic, &format!(",\"offset\":{offset}")))?;
            }
            let may_end = !self.shared.publishing_is_over.load(Ordering::Relaxed);
            if may_end && chance(&mut self.chance).is_multiple_of(END_EVERY) {
                self.end(&mut link, &topic, next)?;
            }
        }
    }

    /// Subscribes, and sees where the subscription goes on.
    fn begin(&mut self, link: &mut Link, topic: &str, from: u64) -> io::Result<()> {
        link.send(self.command("subscribe", topic, &format!(",\"from\":{from}")))?;
        let line = self.answer(link)?;
        let parsed = json::parse(line.as_bytes()).map_err(io::Error::other)?;
        let Some(next) = parsed.get("next").and_then(json::Value::as_u64) else {
            return self.refused(code(&line), &line);
        };
        let Bounds { begin, end, may_have_ended } = self.bounds;
        let is_right = next >= begin && (next <= end || may_have_ended && next == from);
        if !is_right {
            self.bounds = Bounds { begin: next, end: next, may_have_ended: false };
            return self.refused(code(&line), &line);
        }
        self.bounds = Bounds { begin, end: end.max(next), may_have_ended: false };
        self.go_on_at(topic, next);
        Ok(())
    }

    /// Ends the subscription, and begins another at an earlier place.
    fn end(&mut self, link: &mut Link, topic: &str, next: u64) -> io::Result<()> {
        let from = next - chance(&mut self.chance) % next.clamp(1, 50);
        self.bounds.may_have_ended = true;
        link.send(self.command("unsubscribe", topic, ""))?;
        self.waits = true;
        let line = self.answer(link);
        self.waits = false;
        let line = line?;
        if line.starts_with("{\"status\":\"error\"") {
            return self.refused(code(&line), &line);
        }
        self.go_on_at(topic, from);
        self.bounds = Bounds { begin: from, end: from, may_have_ended: false };
        self.begin(link, topic, from)?;
        self.shared.ended_subscriptions.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The next answer; messages that come before it are taken in.
    fn answer(&mut self, link: &mut Link) -> io::Result<String> {
        loop {
            let line = link.line()?;
            if line.starts_with("{\"event\":") {
                self.message(None, &line)?;
            } else if !line.contains("\"Acknowledged\"") {
                return Ok(line);
            }
        }
    }

    fn command(&self, command: &str, topic: &str, rest: &str) -> String {
        let name = self.name;
        format!(
            "{{\"command\":\"{command}\",\"topic\":\"{topic}\",\"subscriber\":\"{name}\"{rest}}}\n"
        )
    }
}

/// The status that an answer of the JSON door carries where it is an error.
fn code(line: &str) -> Option<u64> {
    json::parse(line.as_bytes()).ok()?.get("code")?.as_u64()
}
