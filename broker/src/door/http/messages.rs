//! `GET /messages`: a topic as plain text, a message a line.
//!
//! The end is fixed before the first byte is sent, so the answer has a length; the list itself is
//! copied and sent piece by piece, and publishers go on meanwhile.

use super::route::MessagesQuery;
use super::{Door, End, Manner};
use crate::broker::Broker;
use crate::refusal::Refusal;
use crate::store::stream::{self, Cursor, StreamId};
use common::limits::{INPUT_END_GRACE, LOOK_INTERVAL, PIECE_SIZE};
use std::sync::Arc;
use std::time::Instant;

impl Door<'_> {
    /// Answers `GET /messages`.
    pub(super) fn messages(
        &mut self,
        query: &MessagesQuery,
        manner: Manner<'_>,
    ) -> Result<(), End> {
        if query.wait.is_some() {
            // What was answered before must not wait with this one.
            self.send()?;
        }
        let (begin, end) = match self.range(query) {
            Ok(range) => range,
            Err(refusal) => {
                let end = self.broker.push.topics.end(&query.topic);
                self.answers.refusal_with_cursor(&refusal, end, manner);
                return Ok(());
            }
        };
        let topics = &self.broker.push.topics;
        let Ok(size) = topics.text_size(&query.topic, begin.stream, begin.next, end) else {
            // Deleted since: nothing is sent yet, but what the head would say is wrong now.
            let end = topics.end(&query.topic);
            self.answers.refusal_with_cursor(&Refusal::OtherStream, end, manner);
            return Ok(());
        };
        self.answers.list(size, Cursor { next: end, ..begin }, manner);
        if manner.head_only {
            return Ok(());
        }
        let mut cursor = begin;
        while cursor.next < end {
            // A topic deleted under way cannot be told after a head: the connection ends short.
            let out = self.answers.buffer();
            let copied = topics.copy_messages(&query.topic, cursor, end, PIECE_SIZE, out);
            cursor.next = copied.map_err(|_| End)?;
            if cursor.next < end {
                self.send()?;
            }
        }
        self.broker.push.delivered.add(end - begin.next);
        self.broker.log.read(&query.topic, begin.next, end - begin.next);
        Ok(())
    }

    /// Where the answer begins, and the offset before which it ends.
    fn range(&mut self, query: &MessagesQuery) -> Result<(Cursor, u64), Refusal> {
        self.broker.prepare(&query.topic)?;
        let from = query.from.unwrap_or(0);
        let mut end = self.broker.push.topics.end(&query.topic);
        check(self.broker, query, end)?;
        if let Some(wait) = query.wait
            && from == end.next
            && query.limit != Some(0)
        {
            end = self.wait(&query.topic, end, Instant::now() + wait)?;
        }
        let last = end.next.min(from.saturating_add(query.limit.unwrap_or(u64::MAX)));
        Ok((Cursor { stream: end.stream, next: from }, last))
    }

    /// Waits until a topic goes on behind `end`, the deadline passes, or the client has left. Gives
    /// the topic's end.
    fn wait(&mut self, topic: &str, end: Cursor, deadline: Instant) -> Result<Cursor, Refusal> {
        let Door { connection, broker, .. } = self;
        let waiting = broker.push.wait_for(topic);
        let mut deadline = deadline;
        let mut has_ended = false;
        loop {
            let now = broker.push.topics.end(topic);
            if now.stream != end.stream && end.stream != StreamId::NONE {
                return Err(Refusal::OtherStream);
            }
            let time = Instant::now();
            if now.next > end.next || time >= deadline {
                return Ok(now);
            }
            if waiting.wait(deadline.min(time + LOOK_INTERVAL)) || has_ended {
                continue;
            }
            match connection.has_ended() {
                Ok(ended) => has_ended = ended,
                // It reads no answer, whatever that is.
                Err(_) => return Ok(now),
            }
            if has_ended {
                deadline = deadline.min(Instant::now() + INPUT_END_GRACE);
            }
        }
    }
}

/// Whether the query's place is in the list that ends at `end`.
fn check(broker: &Arc<Broker>, query: &MessagesQuery, end: Cursor) -> Result<(), Refusal> {
    let from = query.from.unwrap_or(0);
    stream::begin(end, from, query.stream)?;
    match query.digest {
        Some(digest) if broker.push.topics.digest(&query.topic, end.stream, from)? != digest => {
            Err(Refusal::OtherDigest)
        }
        _ => Ok(()),
    }
}
