//! `GET /events`: the messages of topics as server-sent events (WHATWG HTML, chapter 9.2).
//!
//! The id of an event is a cursor for every topic of the stream. So `Last-Event-ID` continues right
//! after the last event, in all topics.

use super::{Door, EVENTS, Head, Stop};
use crate::broker::Broker;
use crate::door::{Fields, Query, as_pattern, chosen};
use crate::push::{Beginning, Format, Interest, Subscriber};
use crate::refusal::{Refusal, Result};
use crate::store::{Begin, Cursor, Extent, StreamId, entry};
use common::http::parse::Request;
use common::limits::{EVENT_TOPICS_MAX, INPUT_END_GRACE, PATTERNS_MAX};
use common::pattern::Pattern;
use common::trouble::Trouble;
use std::collections::HashSet;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a comment is sent, so that nothing between broker and client takes the stream for
/// dead, and a client that is gone is found out.
const HEARTBEAT_TIME: Duration = Duration::from_secs(15);

/// The query of `GET /events`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EventsQuery {
    pub(super) topics: Vec<String>,
    /// These choose topics too.
    patterns: Vec<Pattern>,
    /// The lasting subscriptions that the stream goes on with.
    name: Option<String>,
    /// Where to begin in each topic; from now where it is missing.
    from: Option<Begin>,
    /// The places to go on at, by their lists: they win over `from`.
    last: Vec<Cursor>,
}

impl EventsQuery {
    pub(super) fn of(request: &Request<'_>) -> Result<EventsQuery> {
        let query = Query::of(request.query)?;
        if query.all("topic").count() > EVENT_TOPICS_MAX {
            return Err(Refusal::TooManyEventTopics { topics_max: EVENT_TOPICS_MAX });
        }
        if query.all("pattern").count() > PATTERNS_MAX {
            return Err(Refusal::TooManyPatterns { who: "a connection", max: PATTERNS_MAX });
        }
        let topics: Vec<String> = query.all("topic").map(str::to_owned).collect();
        topics.iter().try_for_each(|topic| entry::check_topic(topic))?;
        if topics.iter().collect::<HashSet<_>>().len() < topics.len() {
            return Err(Refusal::field("topic", "is given twice"));
        }
        let patterns = query.all("pattern").map(as_pattern).collect::<Result<Vec<_>, _>>()?;
        if topics.is_empty() && patterns.is_empty() {
            return Err(Refusal::field("topic", "is missing, and there is no 'pattern'"));
        }
        let name = query.text("subscriber")?.map(str::to_owned);
        name.iter().try_for_each(|name| entry::check_name("subscriber", name))?;
        // Clients that cannot set a header send it in the query, in one of these spellings. An
        // empty one is what a browser sends after an empty id: it says nothing.
        let header = request.fields.get("Last-Event-ID").filter(|last| !last.is_empty());
        let last = header.or_else(|| query.last_of(&["lastEventId", "Last-Event-ID"]));
        let last = last.filter(|last| !last.is_empty()).map(|last| last.split(','));
        let last: Result<Vec<Cursor>, _> = last.into_iter().flatten().map(str::parse).collect();
        let wrong = || Refusal::field("Last-Event-ID", "was not given here");
        let last = last.map_err(|_| wrong())?;
        let mut lists = HashSet::new();
        let mut is_new = |list| list == StreamId::NONE || lists.insert(list);
        match last.iter().all(|cursor| is_new(cursor.stream)) {
            true => Ok(EventsQuery { topics, patterns, name, from: query.begin()?, last }),
            false => Err(wrong()),
        }
    }
}

impl Door<'_> {
    /// Answers `GET /events`; does not return before the stream ends, if one is begun.
    pub(super) fn events(&mut self, query: &EventsQuery) -> Result<(), Stop> {
        let format = Format::Event { chunked: self.answers.manner.chunked };
        let found = self.begin(query, format).inspect_err(|stop| {
            if let Stop::Refused(refusal, _) = stop {
                for topic in &query.topics {
                    self.broker.log.note("subscribed", topic, Some(refusal));
                }
            }
        });
        let (interests, mut places) = found?;
        let head = Head {
            status: 200,
            body: Some((EVENTS, None)),
            // Proxies would hold events back until they have a buffer full (nginx).
            fields: &[("X-Accel-Buffering", "no")],
            ..Head::default()
        };
        if self.answers.manner.head_only {
            self.answers.head(head);
            return Ok(());
        }
        self.answers.manner.keep_alive = false;
        self.send()?;
        let stream = Arc::clone(self.connection.stream());
        self.broker.access.end_with(&self.grant, &stream);
        let activity = Arc::clone(&self.activity);
        let subscriber = Subscriber::new(stream, activity, &self.broker.push);
        // Before the head: a browser comes back for ever to a stream that began and ended.
        if let Some(name) = &query.name
            && let Err(refusal) = take_up(self.broker, query, &subscriber, name, &mut places)
        {
            self.decline(&refusal, None);
            subscriber.finish(&mut self.answers.bytes);
            return Err(Stop::End);
        }
        self.answers.head(head);
        let (name, answers) = (query.name.as_deref(), &mut self.answers.bytes);
        subscriber.subscribe(interests, places, format, name, answers);
        let mut alive = subscriber.answer(&mut self.answers.bytes);
        let mut heartbeat = Instant::now() + HEARTBEAT_TIME;
        while alive {
            // What the client sends is read and ignored.
            self.connection.consume(self.connection.buffered().len());
            match self.connection.fill(Some(heartbeat)) {
                Ok(0) => {
                    subscriber.session().sleep(INPUT_END_GRACE);
                    break;
                }
                Ok(_) => continue,
                Err(Trouble::TimedOut)
                    if !self.broker.tcp_table.has_vanished(self.connection.stream()) => {}
                Err(_) => break,
            }
            let mut comment = b":\n\n".to_vec();
            format.frame(&mut comment);
            alive = subscriber.answer(&mut comment);
            heartbeat = Instant::now() + HEARTBEAT_TIME;
        }
        Err(Stop::End)
    }

    /// What the stream follows by pattern, and where it begins in each topic that it asks for, or
    /// that is there and chosen.
    fn begin(
        &self,
        query: &EventsQuery,
        format: Format,
    ) -> Result<(Vec<Interest>, Vec<Beginning>), Stop> {
        let (broker, name) = (self.broker, query.name.as_deref());
        let push = &broker.push;
        name.map_or(Ok(()), |name| push.check_name(name, &self.grant))?;
        let interest = |pattern: &Pattern| {
            chosen::interest(broker, pattern.clone(), &self.grant, format, name)
        };
        let interests = query.patterns.iter().map(interest).collect::<Result<Vec<_>, _>>()?;
        query.topics.iter().try_for_each(|topic| broker.homes.prepare(topic))?;
        let from = query.from.unwrap_or(Begin::Now);
        let mut chosen = chosen::places(broker, &interests, from)?;
        let asked = query.topics.iter().map(|topic| push.topics.end(topic).stream);
        let asked: Vec<StreamId> = asked.collect();
        let chosen_lists = chosen.iter().map(|place| &place.cursor.stream);
        let present: HashSet<&StreamId> = asked.iter().chain(chosen_lists).collect();
        let is_lost = query.last.iter().any(|it| it.next > 0 && !present.contains(&it.stream));
        // Where more topics are missing than the id says, it does not tell which of them were read.
        let missing = asked.iter().filter(|list| **list == StreamId::NONE).count();
        let unborn = query.last.iter().filter(|it| it.stream == StreamId::NONE).count();
        let is_told = |list: StreamId| list != StreamId::NONE || missing <= unborn;
        let asked = |topic: &String| {
            let cursor = match resume(broker, query, topic) {
                Some(cursor) if is_told(cursor.stream) => cursor,
                // What was read before is a list that is gone, most likely of this topic. An id at
                // 0 would say that nothing was read. Only a name may have read of this list since.
                _ if is_lost => {
                    Cursor { stream: StreamId::random(), next: u64::from(name.is_none()) }
                }
                // It came into being since.
                _ if !query.last.is_empty() => Cursor { next: 0, ..push.topics.end(topic) },
                _ => push
                    .begin(topic, from, None)
                    .map_err(|refusal| Stop::Refused(refusal, Some(push.topics.extent(topic))))?,
            };
            Ok(Beginning::asked(topic, cursor))
        };
        let mut places = query.topics.iter().map(asked).collect::<Result<Vec<_>, Stop>>()?;
        for Beginning { topic, cursor, .. } in &mut chosen {
            match resume(broker, query, topic) {
                Some(place) => *cursor = place,
                None if !query.last.is_empty() => cursor.next = 0,
                None => {}
            }
        }
        places.append(&mut chosen);
        push.listeners.check_room(0, places.len())?;
        push.patterns.lock().check_room(0, interests.len())?;
        Ok((interests, places))
    }
}

/// Where a stream goes on in a topic, if the id that it comes back with says so.
fn resume(broker: &Broker, query: &EventsQuery, topic: &str) -> Option<Cursor> {
    let end = broker.push.topics.end(topic);
    let cursor = *query.last.iter().find(|cursor| cursor.stream == end.stream)?;
    // What was read from a longer list, perhaps before an older copy of it was put back, is no
    // beginning of this one: the stream says `reset` and goes on with this list, as it does for
    // a cursor of another. A mirror may only be behind its home, which is asked; where that is out
    // of reach, the stream waits.
    let asked = || broker.push.begin(topic, Begin::Offset(cursor.next), Some(cursor.stream));
    let is_ahead = cursor.next > end.next
        && matches!(asked(), Err(Refusal::PastEnd { .. } | Refusal::Home { status: 416, .. }));
    Some(if is_ahead { Cursor { stream: StreamId::random(), ..cursor } } else { cursor })
}

/// Has a name go on with topics, behind what its last stream acknowledged by the id that it comes
/// back with.
fn take_up(
    broker: &Broker,
    query: &EventsQuery,
    subscriber: &Subscriber,
    name: &str,
    places: &mut [Beginning],
) -> Result<()> {
    let push = &broker.push;
    // What was read of another list is no place of a name; the stream says `reset` all the same.
    let lost = |place: &mut Beginning| {
        let Extent { first, end } = push.topics.extent(&place.topic);
        let (begin, list) = (Cursor { next: first, ..end }, place.cursor.stream);
        let is_lost = list != StreamId::NONE && list != end.stream;
        is_lost.then(|| (mem::replace(&mut place.cursor, begin), begin))
    };
    let lost: Vec<_> = places.iter_mut().map(lost).collect();
    subscriber.lasting(name, places)?;
    for (Beginning { topic, cursor, .. }, lost) in places.iter_mut().zip(lost) {
        let last = query.last.iter().find(|last| last.stream == cursor.stream);
        let known = || push.lasting.acknowledge(name, topic, *last?);
        // A name that stands further on has read of this list, and lost another topic's.
        let is_told = |(lost, begin): &(Cursor, Cursor)| lost.next > 0 || cursor == begin;
        let lost = lost.filter(is_told).map(|(lost, _)| lost);
        *cursor = lost.or_else(known).unwrap_or(*cursor);
    }
    Ok(())
}
