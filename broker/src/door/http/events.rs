//! `GET /events`: the messages of topics as server-sent events (WHATWG HTML, chapter 9.2).
//!
//! The id of an event is a cursor for every topic of the stream. So `Last-Event-ID` continues right
//! after the last event, in all topics.

use super::answer::{Head, Type};
use super::route::EventsQuery;
use super::{Door, End, Manner};
use crate::broker::Broker;
use crate::push::format::Format;
use crate::push::subscriber::Subscriber;
use crate::refusal::Refusal;
use crate::store::stream::{Begin, Cursor, Extent, StreamId};
use common::connection::Error;
use common::limits::INPUT_END_GRACE;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a comment is sent, so that nothing between broker and client takes the stream for
/// dead, and a client that is gone is found out.
const HEARTBEAT_TIME: Duration = Duration::from_secs(15);

/// How soon a client is to come back, in milliseconds.
const RETRY_MILLISECONDS: u64 = 1000;

impl Door<'_> {
    /// Answers `GET /events`; does not return before the stream ends, if one is begun.
    pub(super) fn events(&mut self, query: &EventsQuery, manner: Manner<'_>) -> Result<(), End> {
        let room = self.broker.push.listeners.check_room(0, query.topics.len());
        let room = room.map_err(|refusal| (refusal, None));
        let begin = match room.and_then(|()| places(self.broker, query)) {
            Ok(begin) => begin,
            Err((refusal, extent)) => {
                for topic in &query.topics {
                    self.broker.log.note("subscribed", topic, &Err(refusal.clone()));
                }
                self.decline(&refusal, extent, manner);
                return Ok(());
            }
        };
        let head = Head {
            status: 200,
            body: Some((Type::Events, None)),
            // Proxies would hold events back until they have a buffer full (nginx).
            fields: &[("X-Accel-Buffering", "no")],
            ..Head::default()
        };
        let keep_alive = manner.keep_alive && manner.head_only;
        self.answers.head(head, Manner { keep_alive, ..manner });
        if manner.head_only {
            return Ok(());
        }
        self.send()?;
        let stream = Arc::clone(self.connection.stream());
        self.broker.access.end_with(&self.grant, &stream);
        let activity = Arc::clone(&self.activity);
        let subscriber = Subscriber::new(stream, activity, &self.broker.push);
        let mut first = Vec::new();
        let id = begin.iter().fold(String::new(), |mut id, cursor| {
            let comma = if id.is_empty() { "" } else { "," };
            let _ = write!(id, "{comma}{cursor}");
            id
        });
        // Before anything else, so that a client that has seen no event can come back as well.
        let _ = write!(first, "retry: {RETRY_MILLISECONDS}\nid: {id}\n\n");
        let format = if manner.chunked { Format::ChunkedEvent } else { Format::Event };
        format.frame(&mut first);
        let topics = query.topics.iter().map(String::as_str).zip(begin);
        subscriber.subscribe(topics, format, None, &mut first);
        let mut alive = subscriber.answer(&mut first);
        let mut heartbeat = Instant::now() + HEARTBEAT_TIME;
        while alive {
            // Whatever the client sends is read and means nothing.
            self.connection.consume(self.connection.buffered().len());
            match self.connection.fill(Some(heartbeat)) {
                Ok(0) => {
                    subscriber.session().sleep(INPUT_END_GRACE);
                    break;
                }
                Ok(_) => continue,
                Err(Error::TimedOut) => {}
                Err(_) => break,
            }
            if self.broker.tcp_table.has_vanished(self.connection.stream()) {
                break;
            }
            let mut comment = b":\n\n".to_vec();
            format.frame(&mut comment);
            alive = subscriber.answer(&mut comment);
            heartbeat = Instant::now() + HEARTBEAT_TIME;
        }
        Err(End)
    }
}

/// Where the stream begins in each of its topics.
///
/// # Errors
///
/// Why not, and where that topic begins and ends.
fn places(
    broker: &Arc<Broker>,
    query: &EventsQuery,
) -> Result<Vec<Cursor>, (Refusal, Option<Extent>)> {
    let plain = |refusal| (refusal, None);
    query.topics.iter().try_for_each(|topic| broker.prepare(topic)).map_err(plain)?;
    let Some(last) = &query.last else {
        let from = query.from.unwrap_or(Begin::Now);
        let begin = |topic: &String| {
            let place = broker.push.begin(topic, from, None);
            place.map_err(|refusal| (refusal, Some(broker.push.topics.extent(topic))))
        };
        return query.topics.iter().map(begin).collect();
    };
    if last.len() != query.topics.len() {
        return Err(plain(Refusal::field("Last-Event-ID", "is not of a stream of these topics")));
    }
    let begin = |(topic, &cursor): (&String, &Cursor)| {
        let end = broker.push.topics.end(topic);
        // What was read from a longer list, perhaps before an older copy of it was put back, is no
        // beginning of this one: the stream says `reset` and goes on with this list, as it does for
        // a cursor of another. A mirror may only be behind its home; there the stream waits.
        let is_ahead = cursor.stream == end.stream && cursor.next > end.next;
        if is_ahead && !broker.push.topics.is_mirror(topic) {
            Cursor { stream: StreamId::random(), ..cursor }
        } else {
            cursor
        }
    };
    Ok(query.topics.iter().zip(last).map(begin).collect())
}
