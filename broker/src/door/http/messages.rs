//! `GET /messages`: a topic as plain text, one message a line.
//!
//! The end of the answer is fixed before the first byte is sent, so the answer has a length. The
//! list is copied and sent piece by piece; publishers are not held up.

use super::answer::{Head, Type};
use super::route::MessagesQuery;
use super::{Door, End, Manner};
use crate::broker::Broker;
use crate::push::format::Format;
use crate::push::range::Range;
use crate::refusal::Refusal;
use crate::store::entry;
use crate::store::stream::{Begin, Cursor, Extent, Place, StreamId};
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
            self.broker.access.end_with(&self.grant, self.connection.stream());
            // What was answered before must not wait with this one.
            self.send()?;
        }
        let (begin, end) = match self.range(query) {
            Ok(range) => range,
            Err(refusal) => {
                let extent = self.broker.push.topics.extent(&query.topic);
                self.decline(&refusal, Some(extent), manner);
                return Ok(());
            }
        };
        let push = &self.broker.push;
        let topics = &push.topics;
        let extent = topics.extent(&query.topic);
        let size = match topics.text_size(&query.topic, begin.stream, begin.next, end) {
            Ok(size) => Some(size),
            // Nobody here knows how much it is.
            Err(Refusal::NotHere) => None,
            // What it was about to begin with was let go since.
            Err(Refusal::Trimmed { .. }) if query.from.is_none() => {
                return self.messages(query, manner);
            }
            // Deleted since: nothing is sent yet, but what the head would say is wrong now.
            Err(refusal) => {
                self.decline(&refusal, Some(topics.extent(&query.topic)), manner);
                return Ok(());
            }
        };
        let end_of_list = Cursor { next: end, ..begin };
        let extent = Extent { end: end_of_list, ..extent };
        match (size, query.json) {
            (_, Some(true)) => self.lines(query, begin, extent, Format::Line, manner)?,
            (None, _) => self.lines(query, begin, extent, Format::Plain, manner)?,
            (Some(size), _) => self.text(query, begin, extent, size, manner)?,
        }
        if !manner.head_only {
            self.broker.push.delivered.add(end - begin.next);
            self.broker.log.read(&query.topic, begin.next, end - begin.next);
        }
        Ok(())
    }

    /// Answers with the messages as they are.
    fn text(
        &mut self,
        query: &MessagesQuery,
        begin: Cursor,
        extent: Extent,
        size: u64,
        manner: Manner<'_>,
    ) -> Result<(), End> {
        let body = Some((Type::Text, Some(size)));
        let head = Head { status: 200, body, extent: Some(extent), ..Head::default() };
        self.answers.head(head, manner);
        if manner.head_only {
            return Ok(());
        }
        let (push, end) = (&self.broker.push, extent.end.next);
        let mut place = Place::before(begin);
        while place.cursor.next < end {
            // What is deleted or let go under way cannot be told after a head: the connection ends
            // short.
            let out = self.answers.buffer();
            let copied = push.copy(&query.topic, place, end, PIECE_SIZE, out, entry::message);
            place = copied.map_err(|_| End)?;
            if place.cursor.next < end {
                self.send()?;
            }
        }
        Ok(())
    }

    /// Answers with a message a line, in a form whose length nobody knows before it was written.
    fn lines(
        &mut self,
        query: &MessagesQuery,
        begin: Cursor,
        extent: Extent,
        format: Format,
        manner: Manner<'_>,
    ) -> Result<(), End> {
        let push = &self.broker.push;
        let mut range = Range::new(push, &query.topic, begin, extent.end.next, format);
        let kind = if format == Format::Line { Type::Lines } else { Type::Text };
        let head =
            Head { status: 200, body: Some((kind, None)), extent: Some(extent), ..Head::default() };
        self.body(head, manner, |piece| {
            if !range.is_read() {
                range.read(piece).map_err(|_| End)?;
            }
            Ok(!range.is_read())
        })
    }

    /// Where the answer begins, and the offset before which it ends.
    fn range(&mut self, query: &MessagesQuery) -> Result<(Cursor, u64), Refusal> {
        self.broker.prepare(&query.topic)?;
        let (from, mut end) = check(self.broker, query)?;
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
        let waiting = broker.push.listeners.join(topic);
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

/// The offset that the query begins at, and where the list ends that it lies in.
fn check(broker: &Arc<Broker>, query: &MessagesQuery) -> Result<(u64, Cursor), Refusal> {
    let push = &broker.push;
    let end = push.topics.end(&query.topic);
    let from = query.from.unwrap_or(Begin::First);
    let from = push.begin(&query.topic, from, query.stream)?.next;
    if let Some(digest) = query.digest
        && push.digest(&query.topic, Cursor { next: from, ..end })? != Some(digest)
    {
        return Err(Refusal::OtherDigest);
    }
    Ok((from, end))
}
