//! The dialect `topic`: every command is answered, in order.

use super::{Dialect, Json};
use crate::access::Right;
use crate::door::{ANSWERS_SIZE, Commands, Fields, as_digest, bounds, member, summary};
use crate::push::{Beginning, Format, Range};
use crate::refusal::{Refusal, Result};
use crate::store::{Begin, Cursor, Extent, Place, Summary, TopicChange};
use common::json::{self, Array, Charset, Object, Value};
use common::limits::PULL_SIZE;

impl Commands<'_, Json> {
    pub(super) fn subscribe(&mut self, arguments: &Value<'_>) -> Result<()> {
        if let Some(pattern) = arguments.pattern()? {
            return self.subscribe_by_pattern(pattern, arguments);
        }
        let topic = arguments.required("topic")?;
        if let Err(refusal) = self.subscribe_to(topic, arguments) {
            self.broker.metrics.refused(refusal.status());
            self.broker.log.note("subscribed", topic, Some(&refusal));
            // Whoever subscribes to many topics at once has to know which one this is.
            Dialect::Topic.refuse(&mut self.answers, &refusal, Some(topic));
        }
        Ok(())
    }

    pub(super) fn create(&mut self, arguments: &Value<'_>) -> Result<()> {
        let topic = arguments.topic("topic")?;
        let change = bounds::change(arguments)?;
        self.broker.change(topic, &TopicChange::Create)?;
        self.broker.change(topic, &TopicChange::SetBounds(change))?;
        let stream = self.broker.push.topics.end(topic).stream;
        self.succeed(&format!("Topic '{topic}' created"), |answer| answer.field("stream", stream))
    }

    pub(super) fn set_bounds(&mut self, arguments: &Value<'_>) -> Result<()> {
        let topic = arguments.topic("topic")?;
        self.broker.change(topic, &TopicChange::SetBounds(bounds::change(arguments)?))?;
        // Only the home may know of it yet.
        self.broker.homes.prepare(topic)?;
        let Summary { limits, .. } = self.broker.push.topics.summary(topic)?;
        let text = format!("Topic '{topic}' changed");
        self.succeed(&text, |answer| summary::write_limits(answer, limits))
    }

    pub(super) fn delete(&mut self, arguments: &Value<'_>) -> Result<()> {
        if arguments.get("host").is_some() {
            return self.remove_from_index(arguments);
        }
        let topic = arguments.topic("topic")?;
        self.broker.change(topic, &TopicChange::Delete)?;
        self.succeed(&format!("Topic '{topic}' deleted"), |answer| answer)?;
        // Those who follow the topic are told after whoever deleted it.
        self.send();
        self.broker.push.announce(topic);
        Ok(())
    }

    fn subscribe_to(&mut self, topic: &str, arguments: &Value<'_>) -> Result<()> {
        self.grant()?.check(Right::Read, topic)?;
        let (from, stream) = (arguments.begin()?.unwrap_or(Begin::Now), arguments.stream()?);
        let name = arguments.text("subscriber")?;
        name.map_or(Ok(()), |name| self.subscriber.check_lasting(name, self.grant()?))?;
        self.broker.prepare_for(&self.subscriber, topic)?;
        let (tells_digest, digest) = digest(arguments)?;
        // Another broker lets go what this one has let go.
        let tells_first = member(arguments, "first")?.is_some();
        // And has no room for more than the newest part of a topic.
        let room = arguments.number("room")?;
        let push = &self.broker.push;
        let topics = &push.topics;
        let cursor = match self.subscriber.cursor(topic) {
            Some(known) if name.is_none() => known,
            known => {
                let begin = push.resume(topic, from, digest, stream, room.is_none())?;
                let within = |room| topics.see(topic, |view, _| view.within(begin, room));
                let mut places = [Beginning::asked(topic, room.map_or(begin, within))];
                // A name that is known goes on at its own place.
                name.map_or(Ok(()), |name| self.subscriber.lasting(name, &mut places))?;
                let [Beginning { cursor, .. }] = places;
                // The name has another topic, for when it has a connection of its own.
                known.unwrap_or(cursor)
            }
        };
        self.succeed(&format!("Subscribed to topic '{topic}'"), |answer| {
            answer.field("next", cursor.next).field("stream", cursor.stream);
            answer.field("end", topics.end(topic).next).field("topic", topic);
            if tells_first {
                let Summary { first, limits, .. } = topics.see(topic, |it, own| it.summary(own));
                summary::write_limits(answer.field("first", first), limits);
                let before =
                    topics.read(topic, cursor.stream, |view| view.text_before(cursor.next));
                answer.optional("before", before.ok());
            }
            if tells_first || tells_digest {
                write_digest(answer, push.digest(topic, cursor));
            }
            answer
        })?;
        let places = vec![Beginning::asked(topic, cursor)];
        self.subscriber.subscribe(Vec::new(), places, Format::Topic, name, &mut self.answers);
        Ok(())
    }

    pub(super) fn unsubscribe(&mut self, arguments: &Value<'_>) -> Result<()> {
        if let Some(pattern) = arguments.pattern()? {
            return self.unsubscribe_by_pattern(&pattern, arguments);
        }
        let topic = arguments.topic("topic")?;
        let (name, grant) = (arguments.text("subscriber")?, self.grant()?);
        let end = |name| self.subscriber.end_lasting(name, grant, |it| it == topic);
        let has_ended = name.map_or(Ok(false), end)?;
        if !has_ended {
            grant.check(Right::Read, topic)?;
        }
        if !self.subscriber.unsubscribe(topic) && !has_ended {
            return Err(Refusal::NotSubscribed(topic.to_owned()));
        }
        self.succeed(&format!("Unsubscribed from topic '{topic}'"), |answer| answer)
    }

    pub(super) fn pull(&mut self, arguments: &Value<'_>) -> Result<()> {
        let topic = arguments.topic("topic")?;
        let from = arguments.begin()?.unwrap_or(Begin::First);
        loop {
            match self.pull_from(from, topic, arguments) {
                // What it was about to begin with was let go since.
                Err(Refusal::Trimmed { .. }) if !matches!(from, Begin::Offset(_)) => {}
                pulled => return pulled,
            }
        }
    }

    /// Answers with what there is now, or has answered nothing.
    fn pull_from(&mut self, from: Begin, topic: &str, arguments: &Value<'_>) -> Result<()> {
        self.broker.homes.prepare(topic)?;
        let push = &self.broker.push;
        push.topics.summary(topic)?;
        let ((tells_digest, digest), stream) = (digest(arguments)?, arguments.stream()?);
        let limit = arguments.number("limit")?.unwrap_or(u64::MAX);
        let begin = push.resume(topic, from, digest, stream, limit > 0)?;
        // Looked at after that: before it, all up to a later beginning may have been let go.
        let end = push.topics.end(topic).next;
        let last = end.min(begin.next.saturating_add(limit));
        // Another broker takes whole entries, in pieces of a size that it says.
        let size = arguments.number("entries")?;
        let (key, format) = match size {
            Some(_) => ("entries", Format::Entry),
            None => ("messages", Format::Element),
        };
        let last = last.min(push.after_text(topic, begin, size.unwrap_or(PULL_SIZE as u64))?);
        let before = self.answers.len();
        success_begin(&mut self.answers, &format!("Pulled from topic '{topic}'"))
            .optional("from", size.map(|_| begin.next))
            .raw(key, b"[");
        let mut range = Range::new(push, topic, begin, last, Some(format));
        while !range.is_read() {
            if let Err(refusal) = range.read(&mut self.answers) {
                if range.place() == Place::before(begin) {
                    self.answers.truncate(before);
                    return Err(refusal);
                }
                // What was to come was let go, or the topic deleted: `next` says how far this is.
                // Only a message that was begun cannot be made whole.
                if range.place().inside > 0 {
                    self.subscriber.session().close();
                }
                break;
            }
            if !self.subscriber.answer_in_part(&mut self.answers) {
                return Ok(());
            }
        }
        let Cursor { next, stream } = range.place().cursor;
        self.answers.push(b']');
        let mut answer = Object::resume(&mut self.answers, Charset::Ascii);
        answer.field("next", next).field("stream", stream);
        if tells_digest {
            write_digest(&mut answer, push.digest(topic, begin));
        }
        answer.end_line();
        self.broker.push.delivered.add(next - begin.next);
        self.broker.log.read(topic, begin.next, next - begin.next);
        Ok(())
    }

    /// Answers that a command was carried out, and what else `more` has to say.
    pub(super) fn succeed(
        &mut self,
        text: &str,
        more: impl for<'a, 'o> FnOnce(&'a mut Object<'o>) -> &'a mut Object<'o>,
    ) -> Result<()> {
        more(&mut success_begin(&mut self.answers, text)).end_line();
        Ok(())
    }

    /// Answers with a list of items, each of which `write` adds.
    pub(super) fn answer_with_list<T>(
        &mut self,
        text: &str,
        key: &'static str,
        items: impl Iterator<Item = T>,
        write: impl Fn(&mut Array<'_>, T),
    ) {
        success_begin(&mut self.answers, text).raw(key, b"[");
        for item in items {
            write(&mut Array::resume(&mut self.answers, Charset::Ascii), item);
            if self.answers.len() >= ANSWERS_SIZE
                && !self.subscriber.answer_in_part(&mut self.answers)
            {
                return;
            }
        }
        self.answers.push(b']');
        Object::resume(&mut self.answers, Charset::Ascii).end_line();
    }

    pub(super) fn trim(&mut self, arguments: &Value<'_>) -> Result<()> {
        let topic = arguments.topic("topic")?;
        self.broker.change(topic, &TopicChange::Trim(arguments.upto()?))?;
        let Extent { first, end } = self.broker.push.topics.extent(topic);
        self.succeed(&format!("Topic '{topic}' trimmed"), |answer| {
            answer.field("first", first).field("next", end.next)
        })
    }

    pub(super) fn acknowledge(&mut self, arguments: &Value<'_>) -> Result<()> {
        let topic = arguments.topic("topic")?;
        let name = arguments.required("subscriber")?;
        let offset =
            arguments.number("offset")?.ok_or_else(|| Refusal::field("offset", "is missing"))?;
        let push = &self.broker.push;
        let end = push.topics.end(topic);
        if arguments.stream()?.is_some_and(|stream| stream != end.stream) {
            return Err(Refusal::OtherStream);
        }
        if offset >= end.next {
            // It may have been read from another broker, whose mirror is further.
            match push.begin(topic, Begin::Offset(offset.saturating_add(1)), None) {
                Err(Refusal::PastEnd { .. } | Refusal::Home { status: 416, .. }) => {
                    return Err(Refusal::PastEnd { from: offset, next: end.next });
                }
                begun => begun.map(drop)?,
            }
        }
        self.subscriber.check_lasting(name, self.grant()?)?;
        let place = Cursor { next: offset + 1, ..end };
        match push.acknowledge(name, topic, place)? {
            Some(_) => self.succeed("Acknowledged", |answer| answer),
            None => Err(Refusal::NotSubscribed(topic.to_owned())),
        }
    }
}

/// Whether a client wants to know the digest of what is before the offset that it asks for, and
/// what it must be if the client has read that.
fn digest(arguments: &Value<'_>) -> Result<(bool, Option<u32>)> {
    Ok(match member(arguments, "digest")? {
        None | Some(Value::Bool(false)) => (false, None),
        Some(Value::Bool(true)) => (true, None),
        Some(value) => (true, Some(as_digest(value.as_str().unwrap_or_default())?)),
    })
}

/// Writes a digest that is known.
fn write_digest(answer: &mut Object<'_>, digest: Result<Option<u32>>) {
    answer.optional("digest", digest.ok().flatten().map(|digest| format!("{digest:08x}")));
}

/// Begins the answer to a publish. To have the text formatted shows where there are many topics.
pub(super) fn begin_confirmation(out: &mut Vec<u8>, topic: &str) {
    let mut answer = Object::ascii(out);
    answer.field("status", "success").raw("message", b"\"Message published on topic '");
    json::write_part(out, topic, Charset::Ascii);
    out.extend_from_slice(b"'\"");
}

fn success_begin<'o>(out: &'o mut Vec<u8>, text: &str) -> Object<'o> {
    let mut answer = Object::ascii(out);
    answer.field("status", "success").field("message", text);
    answer
}
