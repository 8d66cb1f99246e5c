//! The streams of topics: found, created, listed and deleted.
//!
//! # Guarantee
//!
//! A topic has one stream, whoever creates it. A stream takes messages only when it is known to be
//! the only one of its topic. Where its creator was killed before that, the next broker that
//! publishes to it finishes it.

use super::Attempt;
use super::api::{Info, about, object};
use super::failure::Reason;
use super::retention::Kept;
use crate::home::List;
use crate::refusal::{Refusal, Result};
use crate::store::{Limits, StreamId, Summary, entry};
use common::clock;
use common::json::Value;
use common::random::random;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Before somebody looks again who has given way.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a list of all topics is good enough.
const LIST_TIME: Duration = Duration::from_millis(500);

/// All topics in short, when they were listed last.
pub(super) type Listed = Option<(Instant, List)>;

/// What a client is told whose topic's name is held by a stream that is not this broker's.
pub(super) fn foreign(name: &str) -> Refusal {
    let text = format!(
        "the stream {name:?} of NATS, which is not this broker's, holds the topic's name: choose \
         other names with --nats-prefix"
    );
    Refusal::Home { status: 503, text }
}

/// The names in an answer that lists streams.
pub(super) fn streams<'v>(answer: &'v Value<'_>) -> impl Iterator<Item = &'v str> {
    answer.get_array("streams").iter().filter_map(Value::as_str)
}

impl Attempt<'_> {
    /// The stream of a topic, as the cluster says now.
    pub(super) fn find(&self, topic: &str) -> Result<Option<StreamId>> {
        Ok(self.lists(topic)?.first().copied())
    }

    /// The streams that hold the name of a topic.
    fn lists(&self, topic: &str) -> Result<Vec<StreamId>> {
        let claim = self.names.claim(topic);
        self.ask(&["STREAM.NAMES"], &about("subject", &claim), |answer| {
            let list = |name| self.names.list(name).ok_or_else(|| foreign(name));
            Some(streams(answer).map(list).collect())
        })?
    }

    /// Creates the stream of a topic; nothing where there is one.
    pub(super) fn create_stream(&self, topic: &str) -> Result<Option<StreamId>> {
        let list = StreamId::random();
        // It takes no messages until it is known to be the only one: a leader that was elected just
        // now may not have known of another, and a single server may make two at once.
        let create = ["STREAM.CREATE", &self.names.stream(list)];
        match self.ask(&create, &self.settings_of(topic, list, false), |_| Some(())) {
            Err(failure) if failure.reason() == Reason::Overlap => return Ok(None),
            created => created?,
        }
        if self.lists(topic)? != [list] {
            self.delete_stream(list)?;
            // Not in step with the other, which may give way as well.
            thread::sleep(PAUSE * u32::try_from(random() % 8).unwrap_or(0));
            return Ok(None);
        }
        self.open_stream(topic, list)?;
        Ok(Some(list))
    }

    /// Finishes a stream whose creator was killed.
    pub(super) fn finish_stream(&self, topic: &str, list: StreamId) -> Result<()> {
        let info = self.info(list)?;
        if info.is_some_and(|info| !info.is_open) && self.lists(topic)? == [list] {
            self.open_stream(topic, list)?;
        }
        Ok(())
    }

    /// Lets a stream take messages.
    fn open_stream(&self, topic: &str, list: StreamId) -> Result<()> {
        if self.limits != Limits::default() {
            let default = Kept { limits: self.limits, ..Kept::default() };
            self.change_kept(list, |kept| if kept.at > 0 { kept } else { default })?;
        }
        let update = ["STREAM.UPDATE", &self.names.stream(list)];
        let updated = self.ask(&update, &self.settings_of(topic, list, true), |_| Some(()));
        self.forget_listed();
        Ok(updated?)
    }

    fn settings_of(&self, topic: &str, list: StreamId, takes_messages: bool) -> Vec<u8> {
        let names = &self.names;
        let mut subjects = vec![names.claim(topic)];
        if takes_messages {
            subjects.extend([names.unnumbered(list), names.numbered(list, None)]);
        }
        let republish = [names.messages(list), names.republished(list)];
        self.settings(&names.stream(list), &subjects, republish, |object| {
            object.field("retention", "limits").field("discard", "new");
            // An offset names one message for ever. What is let go is purged.
            object.field("deny_delete", true).raw("metadata", &about("topic", topic))
        })
    }

    /// Deletes a stream, if it is there.
    pub(super) fn delete_stream(&self, list: StreamId) -> Result<()> {
        let delete = ["STREAM.DELETE", &self.names.stream(list)];
        let deleted = self.ask_for(&delete, b"", |_| Some(()));
        self.forget_listed();
        deleted.map(drop)
    }

    /// What was listed is no longer so.
    fn forget_listed(&self) {
        *self.listed.lock() = None;
    }

    /// All topics in short, as the cluster had them a moment ago. Their bytes are those of the
    /// servers, which count headers as well.
    pub(super) fn listed(&self) -> Result<List> {
        let listed = self.listed.lock().clone();
        if let Some((at, topics)) = listed
            && at.elapsed() < LIST_TIME
        {
            return Ok(topics);
        }
        let kept = self.all_kept()?;
        let (mut topics, mut count, mut total) = (BTreeMap::new(), 0, 1);
        while count < total {
            let all = self.names.claims();
            let body = object(|object| object.field("subject", all).field("offset", count));
            let page = self.ask(&["STREAM.LIST"], &body, |answer| {
                let items = answer.get_array("streams");
                let found = items.iter().filter_map(|item| self.summary(item, &kept));
                Some((found.collect::<Vec<_>>(), items.len() as u64, answer.get_u64("total")?))
            });
            let (found, read, all) = page?;
            topics.extend(found);
            count += read;
            total = if read == 0 { 0 } else { all };
        }
        let topics = Arc::new(topics);
        let listed = Some((Instant::now(), Arc::clone(&topics)));
        *self.listed.lock() = listed;
        Ok(topics)
    }

    /// A topic in short, as its stream is listed; nothing where that is not open, or of another.
    fn summary(
        &self,
        item: &Value<'_>,
        kept: &HashMap<StreamId, Kept>,
    ) -> Option<(String, Summary)> {
        let config = item.get("config")?;
        let stream = self.names.list(config.get_str("name")?)?;
        let topic = config.get("metadata")?.get_str("topic")?;
        entry::check_topic(topic).ok()?;
        let Info { first, next, bytes, .. } = Info::of(item).filter(|info| info.is_open)?;
        let Kept { first: begin, limits, .. } = kept.get(&stream).copied().unwrap_or_default();
        let last = clock::moment(item.get("state")?.get_str("last_ts")?, 0);
        let (first, last) = (first.max(begin), last.ok().filter(|_| next > 0));
        Some((topic.to_owned(), Summary { stream, first, next, bytes, last, limits }))
    }
}
