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

use super::NatsHome;
use super::api::{Info, Stored, about, object, pause};
use super::names::{HOLD, unescape};
use super::storing::{BATCH_COUNT_MAX, expecting};
use super::tables::Table;
use crate::home::deadline;
use crate::push::{Key, SharedPositions, Standing};
use crate::refusal::Result;
use crate::store::{Cursor, StreamId};
use common::clock;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Before something is tried again.
const PAUSE: Duration = Duration::from_millis(20);

impl NatsHome {
    /// Where a name stands, as the leader says. With a fence, nothing where the leader does not
    /// know of that.
    fn places(
        &self,
        name: &str,
        fence: Option<u64>,
        deadline: Instant,
    ) -> Result<Option<Vec<Standing>>> {
        let question = format!("STREAM.MSG.GET.{}", self.names.places());
        let (subject, mut from) = (self.names.place(name, "*"), 1);
        let (mut places, mut is_known) = (Vec::new(), fence.is_none());
        loop {
            let body = object(|object| {
                object.field("seq", from).field("next_by_subj", &*subject);
            });
            match self.ask(&question, &body, deadline, Stored::of)? {
                Ok(Stored { at, subject, payload, time, .. }) => {
                    from = at + 1;
                    is_known |= fence == Some(at);
                    places.extend(standing(&subject, &payload, time));
                }
                Err(error) if error.is_missing() => return Ok(is_known.then_some(places)),
                Err(error) => return Err(error.refusal()),
            }
        }
    }

    /// One record; nothing where there is none.
    fn record(&self, subject: &str, deadline: Instant) -> Result<Option<Stored>> {
        let question = format!("STREAM.MSG.GET.{}", self.names.places());
        match self.ask(&question, &about("last_by_subj", subject), deadline, Stored::of)? {
            Ok(stored) => Ok(Some(stored)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error.refusal()),
        }
    }

    /// The fence of a name; 0 where nobody has taken it.
    fn fence(&self, name: &str, deadline: Instant) -> Result<u64> {
        Ok(self.record(&self.names.hold(name), deadline)?.map_or(0, |hold| hold.at))
    }

    /// The sequence behind all places.
    pub(super) fn places_end(&self, deadline: Instant) -> Result<u64> {
        let question = format!("STREAM.INFO.{}", self.names.places());
        match self.ask(&question, b"", deadline, Info::of)? {
            Ok(info) => Ok(info.next + 1),
            Err(error) if error.is_missing() => Ok(0),
            Err(error) => Err(error.refusal()),
        }
    }

    /// Removes the places in a topic that were written before a sequence.
    pub(super) fn remove_places(&self, topic: &str, before: u64, deadline: Instant) -> Result<()> {
        match before {
            0 => Ok(()),
            _ => self.purge(&self.names.places(), &self.names.place("*", topic), before, deadline),
        }
    }
}

/// What a record says of a place, if it is one.
fn standing(subject: &str, payload: &[u8], seen: u64) -> Option<Standing> {
    let mut parts = subject.rsplit('.');
    let (topic, name) = (parts.next().filter(|topic| *topic != HOLD)?, parts.next()?);
    let key = Key { name: unescape(name)?.into(), topic: unescape(topic)?.into() };
    let cursor = str::from_utf8(payload).ok()?.parse().ok()?;
    Some(Standing { key, cursor, is_connected: false, seen, lag: 0 })
}

impl SharedPositions for NatsHome {
    fn take(&self, name: &str) -> Result<(u64, Vec<Standing>)> {
        let (deadline, id) = (deadline(), self.id.as_bytes().to_vec());
        let hold = [(self.names.hold(name), id)];
        loop {
            let Some(fence) = self.store_records(Table::Places, &hold, "", deadline)? else {
                continue;
            };
            match self.places(name, Some(fence), deadline)? {
                Some(places) => return Ok((fence, places)),
                None => pause(PAUSE, deadline, "the leader of the stream is cut off")?,
            }
        }
    }

    fn standings(&self, name: Option<&str>) -> Result<Vec<Standing>> {
        let deadline = deadline();
        if let Some(name) = name {
            return Ok(self.places(name, None, deadline)?.unwrap_or_default());
        }
        let (mut all, lists) = (Vec::new(), self.listed(deadline)?);
        let (places, subject) = (self.names.places(), self.names.place("*", "*"));
        self.collect_all(&places, &subject, 1, deadline, |_, message| {
            let subject = message.header("Nats-Subject").unwrap_or_default();
            let time = message.header("Nats-Time-Stamp").and_then(|it| clock::moment(it, 0).ok());
            let place = standing(subject, message.payload(), time.unwrap_or(0));
            all.extend(place.map(|mut standing| {
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
        let (deadline, hold) = (deadline(), self.names.hold(name));
        let first = expecting(fence, Some(&hold));
        let record = |(topic, cursor): &(Arc<str>, Cursor)| {
            (self.names.place(name, topic), cursor.to_string().into_bytes())
        };
        for records in positions.chunks(BATCH_COUNT_MAX) {
            let records: Vec<_> = records.iter().map(record).collect();
            while self.store_records(Table::Places, &records, &first, deadline)?.is_none() {
                if self.fence(name, deadline)? != fence {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn acknowledge(&self, name: &str, topic: &str, cursor: Cursor) -> Result<Option<Cursor>> {
        let deadline = deadline();
        loop {
            let fence = self.fence(name, deadline)?;
            let place = self.record(&self.names.place(name, topic), deadline)?;
            let known =
                place.and_then(|it| str::from_utf8(&it.payload).ok()?.parse::<Cursor>().ok());
            let Some(known) = known else { return Ok(None) };
            if known.stream == cursor.stream && known.next >= cursor.next {
                return Ok(Some(known));
            }
            if self.keep(name, fence, &[(topic.into(), cursor)])? {
                return Ok(Some(cursor));
            }
            pause(PAUSE, deadline, "the name is being taken")?;
        }
    }

    fn end(&self, name: &str, topics: &[Arc<str>]) -> Result<(usize, Option<u64>)> {
        let (fence, places) = self.take(name)?;
        let stream = self.names.places();
        let ended = places.iter().filter(|place| topics.contains(&place.key.topic));
        let ended: Vec<_> = ended.map(|place| &place.key.topic).collect();
        let is_over = ended.len() == places.len();
        if is_over {
            self.purge(&stream, &self.names.place(name, "*"), fence + 1, deadline())?;
        } else {
            for topic in &ended {
                self.purge(&stream, &self.names.place(name, topic), fence, deadline())?;
            }
        }
        Ok((ended.len(), (!is_over).then_some(fence)))
    }

    fn is_present(&self, topic: &str, list: StreamId) -> Result<bool> {
        Ok(self.find(topic, deadline())? == Some(list))
    }
}
