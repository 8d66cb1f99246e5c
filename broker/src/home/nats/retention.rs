//! What topics keep: their bounds, and the offset before which messages were let go.
//!
//! Both stand in one small record for each list, in a stream of their own. A record is changed only
//! if it is still the one that was read, so two brokers never undo each other's change. The servers
//! send it to all brokers when it is stored.
//!
//! # Guarantee
//!
//! The first offset of a topic never steps back. The last message of each publisher stays in the
//! stream, hidden below the first offset: so its number is known as long as the topic is there, and
//! a late copy of an older number is never stored again.
//!
//! # Not here
//!
//! When a topic is beyond its bounds: each mirror finds that out as any list does (`store`). Where
//! a broker was killed before it had removed what was let go, some of it may stay in the stream,
//! hidden, until its publisher is heard of again.

use super::api::{READ_SIZE, about, object, several};
use super::failure::unanswered;
use super::stored::Stored;
use super::storing::expecting;
use super::tables::Table;
use super::{Attempt, NatsHome};
use crate::refusal::{Refusal, Result};
use crate::store::{Cursor, Extent, Limits, StreamId, Topics, Upto};
use common::clock;
use common::json::{self, Value};
use std::collections::HashMap;
use std::time::Duration;

/// How long it may take to let go what is beyond the bounds of all topics.
pub(super) const TEND_TIME: Duration = Duration::from_secs(4);

/// What a list keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Kept {
    /// The sequence of this record among all; 0 where there is none.
    pub(super) at: u64,
    /// The first offset.
    pub(super) first: u64,
    pub(super) limits: Limits,
}

/// Messages that were let go and still have to be removed: those of a list from one offset to
/// another.
pub(super) type Removal = (StreamId, u64, u64);

impl Kept {
    /// The record in an answer.
    pub(super) fn answered(answer: &Value<'_>) -> Option<Kept> {
        Kept::of(&Stored::of(answer)?)
    }

    /// What a record says.
    pub(super) fn of(record: &Stored) -> Option<Kept> {
        let at = record.at;
        let record = json::parse(&record.payload).ok()?;
        let (messages, bytes) = (record.get_u64("keep_messages"), record.get_u64("keep_bytes"));
        let limits = Limits { messages, bytes, age: record.get_u64("keep_for") };
        Some(Kept { at, first: record.get_u64("first")?, limits })
    }

    fn write(&self) -> Vec<u8> {
        let Limits { messages, bytes, age } = self.limits;
        object(|object| {
            object.field("first", self.first).field("keep_messages", messages);
            object.field("keep_bytes", bytes).field("keep_for", age)
        })
    }
}

impl NatsHome {
    /// What a list keeps, as far as this broker has heard.
    pub(super) fn kept(&self, list: StreamId) -> Kept {
        self.records.lock().get(&list).copied().unwrap_or_default()
    }

    /// Notes what a list keeps; gives the newest that is known of it.
    pub(super) fn note(&self, list: StreamId, kept: Kept) -> Kept {
        let mut records = self.records.lock();
        if records.len() >= super::KEPT_MAX {
            records.clear();
        }
        let known = records.entry(list).or_default();
        if kept.at > known.at {
            *known = kept;
        }
        *known
    }
}

impl Attempt<'_> {
    /// What a list keeps, as the leader of the records says.
    fn ask_kept(&self, list: StreamId) -> Result<Kept> {
        let question = ["STREAM.MSG.GET", &self.names.records()];
        let body = about("last_by_subj", &self.names.record(list));
        let kept = self.ask_for(&question, &body, Kept::answered)?;
        Ok(kept.map_or(Kept::default(), |kept| self.note(list, kept)))
    }

    /// What all lists keep.
    pub(super) fn all_kept(&self) -> Result<HashMap<StreamId, Kept>> {
        let (subject, mut all) = (self.names.record('*'), HashMap::new());
        self.collect_all(&self.names.records(), &subject, 1, |record| {
            let list = record.subject.rsplit('.').next().and_then(|list| list.parse().ok());
            all.extend(list.zip(Kept::of(&record)));
            true
        })?;
        Ok(all)
    }

    /// Hands on the messages of a subject from a sequence on, as long as `take` wants more. Says
    /// whether a server answered.
    pub(super) fn collect_all(
        &self,
        stream: &str,
        subject: &str,
        mut from: u64,
        mut take: impl FnMut(Stored) -> bool,
    ) -> Result<bool> {
        loop {
            let query = several(READ_SIZE, |object| {
                object.field("seq", from).field("next_by_subj", subject)
            });
            let (messages, is_answered) = self.collect(stream, &query)?;
            let before = from;
            for stored in messages.iter().filter_map(Stored::sent) {
                from = stored.at + 1;
                if !take(stored) {
                    return Ok(true);
                }
            }
            if from == before {
                return Ok(is_answered);
            }
        }
    }

    /// Changes what a list keeps; gives that before and after.
    pub(super) fn change_kept(
        &self,
        list: StreamId,
        change: impl Fn(Kept) -> Kept,
    ) -> Result<(Kept, Kept)> {
        loop {
            let before = self.ask_kept(list)?;
            let after = change(before);
            if after == before {
                return Ok((before, after));
            }
            let record = [(self.names.record(list), after.write())];
            let expected = expecting(before.at, None);
            if let Some(at) = self.store_records(Table::Kept, &record, &expected)? {
                let after = Kept { at, ..after };
                self.note(list, after);
                return Ok((before, after));
            }
        }
    }

    /// Lets go what lies before an offset. It is removed when there is time.
    fn let_go(&self, list: StreamId, first: u64) -> Result<u64> {
        let (before, after) = self.change_kept(list, |kept| {
            let first = kept.first.max(first);
            Kept { first, ..kept }
        })?;
        if after.first > before.first {
            self.removals.lock().push((list, before.first, after.first));
        }
        Ok(after.first)
    }

    /// Lets messages go by hand. Gives the first offset.
    pub(super) fn trim(&self, topic: &str, list: StreamId, upto: Upto) -> Result<Cursor> {
        let info = self.info(list)?.ok_or_else(|| Refusal::UnknownTopic(topic.to_owned()))?;
        let first = match upto {
            Upto::Offset(from) if from > info.next => {
                return Err(Refusal::PastEnd { from, next: info.next });
            }
            Upto::Offset(offset) => offset,
            Upto::Time(time) => self.first_since(list, time)?.map_or(info.next, |at| at - 1),
            // No client asks for another.
            _ => 0,
        };
        let next = self.let_go(list, first.max(info.first))?;
        Ok(Cursor { stream: list, next })
    }

    /// Lets go what mirrors have found to be beyond the bounds, and removes what was let go.
    pub(super) fn keep_bounds(&self, topics: &Topics) {
        let known: Vec<_> =
            self.streams.lock().iter().map(|(it, list)| (it.clone(), *list)).collect();
        for (topic, list) in known {
            let kept = self.kept(list);
            if kept.limits == Limits::default() {
                continue;
            }
            // Whatever fails is tried again soon.
            if let Ok(first) = self.first_within(&topic, list, topics)
                && first > kept.first
            {
                let _ = self.let_go(list, first);
            }
        }
        let removals = std::mem::take(&mut *self.removals.lock());
        let failed = removals.into_iter().filter(|removal| self.remove(*removal).is_err());
        let failed: Vec<_> = failed.collect();
        self.removals.lock().extend(failed);
    }

    /// The offset from which on a list is within its bounds.
    fn first_within(&self, topic: &str, list: StreamId, topics: &Topics) -> Result<u64> {
        let Extent { mut first, end } = topics.extent(topic);
        let begin = topics.see(topic, |view, _| view.start());
        if end.stream != list || begin <= first {
            return Ok(if end.stream == list { first } else { 0 });
        }
        let limits = self.kept(list).limits;
        // The mirror is a part of the list: how old and how large the rest is has to be asked.
        if let Some(age) = limits.age {
            let time = clock::unix_milliseconds().saturating_sub(age);
            let since = self.first_since(list, time)?.map_or(end.next, |at| at - 1);
            first = first.max(since);
        }
        if let Some(keep) = limits.bytes {
            let text =
                topics.read(topic, list, |view| view.text_size(begin, end.next)).unwrap_or(0);
            let average = (text / (end.next - begin).max(1)).max(1);
            first = first.max(end.next.saturating_sub(keep / average));
        }
        Ok(first.min(end.next.saturating_sub(1)))
    }

    /// Removes what was let go from the stream, but for the last message of each publisher.
    fn remove(&self, (list, from, first): Removal) -> Result<()> {
        let (stream, numbered) = (self.names.stream(list), self.names.numbered(list, None));
        let mut last = HashMap::from([(self.names.unnumbered(list), first + 1)]);
        let is_read = self.collect_all(&stream, &numbered, from + 1, |stored| {
            let is_gone = stored.at <= first;
            if is_gone {
                last.insert(stored.subject, stored.at);
            }
            is_gone
        })?;
        for (subject, before) in &last {
            self.purge(&stream, subject, *before)?;
        }
        if is_read { Ok(()) } else { Err(unanswered("no server has the stream")) }
    }
}
