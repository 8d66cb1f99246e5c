//! Where lasting subscriptions stand, for all brokers: a stream with a record for each.
//!
//! A name has one record more, its *hold*, which says which broker took it last. The servers send
//! a hold to all brokers when it is stored. Its sequence is the fence of the name: places are
//! stored only if it is still there. So nothing lands late that was written before somebody else
//! took the name, or before a subscription ended.
//!
//! # Guarantee
//!
//! What is read of a name that was taken is all that was kept of it: an answer without the new hold
//! is that of a leader which is none any more, and is not believed.

use super::api::{Info, about, next};
use super::names::{HOLD, unescape};
use super::stored::Stored;
use super::storing::{BATCH_COUNT_MAX, expecting};
use super::tables::Table;
use super::{Attempt, NatsHome};
use crate::home::deadline;
use crate::push::{Key, SharedPositions, Standing};
use crate::refusal::Result;
use crate::store::{Cursor, StreamId};
use std::sync::Arc;
use std::time::Duration;

/// Before something is tried again.
const PAUSE: Duration = Duration::from_millis(20);

impl Attempt<'_> {
    /// Where a name stands, as the leader says. With a fence, nothing where the leader does not
    /// know of that.
    fn places(&self, name: &str, fence: Option<u64>) -> Result<Option<Vec<Standing>>> {
        let (subject, mut from) = (self.names.place(Some(name), None), 1);
        let (mut places, mut is_known) = (Vec::new(), fence.is_none());
        loop {
            let Some(record) = self.record(&next(&subject, from))? else {
                return Ok(is_known.then_some(places));
            };
            from = record.at + 1;
            is_known |= fence == Some(record.at);
            places.extend(standing(&record));
        }
    }

    /// One record; nothing where there is none.
    fn record(&self, which: &[u8]) -> Result<Option<Stored>> {
        self.ask_for(&["STREAM.MSG.GET", &self.names.places()], which, Stored::of)
    }

    /// The fence of a name; 0 where nobody has taken it.
    fn fence(&self, name: &str) -> Result<u64> {
        let hold = self.record(&about("last_by_subj", &self.names.hold(Some(name))))?;
        Ok(hold.map_or(0, |hold| hold.at))
    }

    /// The sequence behind all places.
    pub(super) fn places_end(&self) -> Result<u64> {
        let info = self.ask_for(&["STREAM.INFO", &self.names.places()], b"", Info::of)?;
        Ok(info.map_or(0, |info| info.next + 1))
    }

    /// Removes the places in a topic that were written before a sequence.
    pub(super) fn remove_places(&self, topic: &str, before: u64) -> Result<()> {
        match before {
            0 => Ok(()),
            _ => self.purge(&self.names.places(), &self.names.place(None, Some(topic)), before),
        }
    }
}

/// What a record says of a place, if it is one.
fn standing(record: &Stored) -> Option<Standing> {
    let mut parts = record.subject.rsplit('.');
    let (topic, name) = (parts.next().filter(|topic| *topic != HOLD)?, parts.next()?);
    let key = Key { name: unescape(name)?.into(), topic: unescape(topic)?.into() };
    let (cursor, seen) = (cursor_of(record)?, record.time);
    Some(Standing { key, cursor, is_connected: false, seen, lag: 0 })
}

fn cursor_of(place: &Stored) -> Option<Cursor> {
    str::from_utf8(&place.payload).ok()?.parse().ok()
}

impl SharedPositions for NatsHome {
    fn take(&self, name: &str) -> Result<(u64, Vec<Standing>)> {
        let attempt = self.attempt(deadline());
        let hold = [(self.names.hold(Some(name)), self.id.as_bytes().to_vec())];
        loop {
            let Some(fence) = attempt.store_records(Table::Places, &hold, "")? else { continue };
            match attempt.places(name, Some(fence))? {
                Some(places) => return Ok((fence, places)),
                None => attempt.pause(PAUSE, "the leader of the stream is cut off")?,
            }
        }
    }

    fn standings(&self, name: Option<&str>) -> Result<Vec<Standing>> {
        let attempt = self.attempt(deadline());
        if let Some(name) = name {
            return Ok(attempt.places(name, None)?.unwrap_or_default());
        }
        let (mut all, lists) = (Vec::new(), attempt.listed()?);
        let (places, subject) = (self.names.places(), self.names.place(None, None));
        attempt.collect_all(&places, &subject, 1, |stored| {
            all.extend(standing(&stored).map(|mut standing| {
                if let Some(list) = lists.get(&*standing.key.topic) {
                    let is_here = standing.cursor.stream == list.stream;
                    let next = if is_here { standing.cursor.next } else { 0 };
                    standing.lag = list.next.saturating_sub(next.max(list.first));
                }
                standing
            }));
            true
        })?;
        Ok(all)
    }

    fn keep(&self, name: &str, fence: u64, positions: &[(Arc<str>, Cursor)]) -> Result<bool> {
        let attempt = self.attempt(deadline());
        let first = expecting(fence, Some(&self.names.hold(Some(name))));
        let record = |(topic, cursor): &(Arc<str>, Cursor)| {
            (self.names.place(Some(name), Some(topic)), cursor.to_string().into_bytes())
        };
        for records in positions.chunks(BATCH_COUNT_MAX) {
            let records: Vec<_> = records.iter().map(record).collect();
            while attempt.store_records(Table::Places, &records, &first)?.is_none() {
                if attempt.fence(name)? != fence {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn acknowledge(&self, name: &str, topic: &str, cursor: Cursor) -> Result<Option<Cursor>> {
        let attempt = self.attempt(deadline());
        loop {
            let fence = attempt.fence(name)?;
            let place = attempt
                .record(&about("last_by_subj", &self.names.place(Some(name), Some(topic))))?;
            let Some(known) = place.and_then(|place| cursor_of(&place)) else { return Ok(None) };
            if known.stream == cursor.stream && known.next >= cursor.next {
                return Ok(Some(known));
            }
            if self.keep(name, fence, &[(topic.into(), cursor)])? {
                return Ok(Some(cursor));
            }
            attempt.pause(PAUSE, "the name is being taken")?;
        }
    }

    fn end(&self, name: &str, topics: &[Arc<str>]) -> Result<(usize, Option<u64>)> {
        let (fence, places) = self.take(name)?;
        let stream = self.names.places();
        let ended = places.iter().filter(|place| topics.contains(&place.key.topic));
        let ended: Vec<_> = ended.map(|place| &place.key.topic).collect();
        let is_over = ended.len() == places.len();
        if is_over {
            let all = self.names.place(Some(name), None);
            self.attempt(deadline()).purge(&stream, &all, fence + 1)?;
        } else {
            for topic in &ended {
                let place = self.names.place(Some(name), Some(topic));
                self.attempt(deadline()).purge(&stream, &place, fence)?;
            }
        }
        Ok((ended.len(), (!is_over).then_some(fence)))
    }

    fn is_present(&self, topic: &str, list: StreamId) -> Result<bool> {
        Ok(self.attempt(deadline()).find(topic)? == Some(list))
    }
}
