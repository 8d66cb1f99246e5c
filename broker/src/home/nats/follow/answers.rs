//! What the servers answer about topics, and tell of them by themselves.

use super::topic::{Question, Topic};
use super::{ADVISORIES, Follower, HOLDS, MISSING_TIME, RECORDS};
use crate::home::nats::api::Info;
use crate::home::nats::connection::ANSWERS;
use crate::home::nats::failure::{answered, unanswered};
use crate::home::nats::names::unescape;
use crate::home::nats::retention::Kept;
use crate::home::nats::stored::{Stored, entry_of};
use crate::home::nats::streams::{foreign, streams};
use crate::home::nats::wire::{self, Message};
use crate::home::{Event, News, Start};
use crate::refusal::Refusal;
use crate::store::{Cursor, Limits, StreamId};
use common::json::Value;
use std::sync::Arc;
use std::time::Instant;

impl Follower<'_> {
    pub(super) fn take(&mut self, message: Message) {
        let number = match message.sid {
            ADVISORIES => return self.take_advisory(message.subject()),
            RECORDS => return self.take_change(&message),
            HOLDS => return self.take_hold(&message),
            ANSWERS => message.answers().unwrap_or(0),
            subscription => subscription,
        };
        let Some(name) = self.numbers.get(&number).cloned() else { return };
        if message.sid != ANSWERS {
            return self.message(&name, &message);
        }
        let asked = self.topics.get(&name).and_then(|topic| topic.asked);
        let Some(asked) = asked.filter(|asked| asked.number == number) else {
            self.numbers.remove(&number);
            return;
        };
        if matches!(asked.question, Question::Messages) && message.status().is_none() {
            return self.message(&name, &message);
        }
        self.numbers.remove(&number);
        if let Some(topic) = self.topics.get_mut(&name) {
            (topic.asked, topic.touched) = (None, Some(Instant::now()));
        }
        match asked.question {
            Question::List => self.take_list(&name, &message),
            Question::Record => self.take_record(&name, &message),
            Question::Info => self.take_info(&name, asked.next, &message),
            Question::Messages => {
                let is_more = message.number("Nats-Num-Pending").is_some_and(|count| count > 0);
                let is_gone = !matches!(message.status(), Some(204 | 404));
                let next = self.topics.get(&name).map_or(0, |topic| topic.next);
                let is_more = is_more && next > asked.next;
                self.want(&name, is_gone.then_some(Question::List));
                self.want(&name, is_more.then_some(Question::Messages));
            }
        }
    }

    /// One message of a topic, by whichever way.
    fn message(&mut self, name: &Arc<str>, message: &Message) {
        let Some((topic, offset)) = self.topics.get_mut(name).zip(message.offset()) else { return };
        let stream = topic.list;
        if !topic.is_confirmed || stream.is_none() || offset < topic.next {
            return;
        }
        let entry = match entry_of(message) {
            Ok(entry) => entry,
            Err(text) if offset == topic.next => return self.distrust(name, text),
            Err(_) => return,
        };
        topic.touched = Some(Instant::now());
        if offset > topic.next && message.sid == ANSWERS {
            // What was read begins later than what was asked for.
            topic.is_stuck = true;
            return self.want(name, [Question::Record, Question::Info]);
        }
        if offset > topic.next {
            topic.keep_ahead(offset, entry);
            return self.want(name, [Question::Messages]);
        }
        topic.ahead.push_front((offset, entry));
        while let Some((offset, entry)) = topic.take_next() {
            (self.handle)(Event::Topic(name, News::Message { offset, stream, entry }));
        }
    }

    /// A stream has come or gone: where a topic may have another now, it is looked up.
    fn take_advisory(&mut self, subject: &str) {
        let Some(list) = subject.rsplit('.').next().and_then(|name| self.home.names.list(name))
        else {
            return;
        };
        let concerned = self.topics.iter().filter(|(_, topic)| match topic.list {
            None => subject.contains(".CREATED.") || subject.contains(".UPDATED."),
            Some(known) => known == list,
        });
        let concerned: Vec<Arc<str>> = concerned.map(|(name, _)| Arc::clone(name)).collect();
        let is_deleted = subject.contains(".DELETED.");
        for name in concerned {
            if let Some(topic) = self.topics.get_mut(&name) {
                topic.is_deleted |= is_deleted;
            }
            self.want(&name, [Question::List]);
        }
    }

    /// What a list keeps was asked for.
    fn take_record(&mut self, name: &Arc<str>, message: &Message) {
        let Some(list) = self.topics.get(name).and_then(|topic| topic.list) else { return };
        match answered(message, Kept::answered) {
            Ok(kept) => self.keep(name, list, kept),
            Err(failure) if failure.is_missing() => self.keep(name, list, Kept::default()),
            Err(failure) if failure.is_unclear() => {
                return self.want(name, [Question::Record]);
            }
            Err(failure) => return self.refuse(name, failure.into()),
        }
        self.want(name, []);
    }

    /// What a list keeps was changed.
    fn take_change(&mut self, message: &Message) {
        let id = message.subject().rsplit('.').next().and_then(|id| id.parse::<StreamId>().ok());
        let kept = Stored::sent(message).and_then(|record| Kept::of(&record));
        let Some((id, kept)) = id.zip(kept) else { return };
        let is_followed = |topic: &Topic| topic.list == Some(id) && topic.is_confirmed;
        let followed = self.topics.iter().find(|(_, topic)| is_followed(topic));
        match followed.map(|(name, _)| Arc::clone(name)) {
            Some(name) => self.keep(&name, id, kept),
            None => _ = self.home.note(id, kept),
        }
    }

    /// A name was taken.
    fn take_hold(&mut self, message: &Message) {
        let name = message.subject().rsplit('.').next().and_then(unescape);
        if let Some((name, fence)) = name.zip(message.number("Nats-Sequence"))
            && message.payload() != self.home.id.as_bytes()
        {
            (self.handle)(Event::Taken(&name, fence));
        }
    }

    /// A list keeps so much: what it has let go is not waited for.
    fn keep(&mut self, name: &Arc<str>, list: StreamId, kept: Kept) {
        let kept = self.home.note(list, kept);
        let Some(topic) = self.topics.get_mut(name).filter(|topic| topic.is_confirmed) else {
            return;
        };
        topic.go_to(kept.first);
        let told = std::mem::replace(&mut topic.told, kept);
        if kept.first > told.first {
            self.hand_on(name, News::Trimmed(None, kept.first, None));
        }
        if kept.limits != told.limits {
            self.hand_on(name, News::Keeps(kept.limits));
        }
    }

    /// A topic's stream was looked up.
    fn take_list(&mut self, name: &Arc<str>, message: &Message) {
        let first = |answer: &Value<'_>| Some(streams(answer).next().map(str::to_owned));
        let Ok(stream) = answered(message, first) else { return };
        let found = stream.as_ref().and_then(|stream| self.home.names.list(stream));
        if let (Some(stream), None) = (&stream, found) {
            return self.refuse(name, foreign(stream));
        }
        let Some(topic) = self.topics.get_mut(name) else { return };
        let before = topic.list;
        let known = before.or(topic.wanted).filter(|list| *list != StreamId::NONE);
        let is_deleted = std::mem::take(&mut topic.is_deleted);
        if found.is_some() || known.is_none() {
            topic.missing = None;
        } else if !is_deleted
            && topic.missing.get_or_insert_with(Instant::now).elapsed() < MISSING_TIME
        {
            return;
        }
        match before {
            Some(_) if before == found => {
                let is_new = !topic.is_confirmed;
                return self.want(name, is_new.then_some(Question::Info));
            }
            Some(_) => {
                topic.wanted = found;
                self.end_subscription(name);
                if found.is_none() {
                    self.home.streams.lock().remove(&**name);
                }
                self.hand_on(name, found.map_or(News::Deleted, |list| News::Reset(Some(list))));
            }
            None if known.is_some() && found != known => {
                return self.refuse(name, Refusal::OtherStream);
            }
            None => {}
        }
        let Some(topic) = self.topics.get_mut(name) else { return };
        match found {
            None => self.confirm_none(name),
            Some(list) => {
                self.last += 1;
                (topic.list, topic.subscription) = (Some(list), self.last);
                self.home.note_list(name, list);
                self.numbers.insert(self.last, Arc::clone(name));
                let subject = self.home.names.republished(list);
                wire::subscribe(&mut self.out, &subject, self.last);
                self.want(name, [Question::Record, Question::Info]);
            }
        }
    }

    /// A stream says from where to where it goes. When it was asked, `next` was the next offset
    /// here.
    fn take_info(&mut self, name: &Arc<str>, next: u64, message: &Message) {
        let info = match answered(message, Info::of) {
            Ok(info) => info,
            Err(failure) if failure.is_unclear() || failure.is_missing() => {
                return self.want(name, [Question::List]);
            }
            Err(failure) => return self.refuse(name, failure.into()),
        };
        if next > info.next {
            // The mirror holds more than the stream.
            let cut_off = || unanswered("the leader of the stream is cut off");
            let refusal = if info.is_vouched { Refusal::OtherStream } else { cut_off() };
            return self.refuse(name, refusal);
        }
        let Some(topic) = self.topics.get_mut(name) else { return };
        let Some(stream) = topic.list else { return };
        if !info.is_open && topic.wanted != Some(stream) {
            self.end_subscription(name);
            return self.confirm_none(name);
        }
        topic.told = self.home.kept(stream);
        let limits = topic.told.limits;
        let first = info.first.max(topic.told.first);
        if std::mem::take(&mut topic.is_stuck) && topic.next == next && first <= next {
            let text = format!("sequence {} of its stream is missing", next + 1);
            return self.distrust(name, text);
        }
        // A mirror is the newest part of its list: what there is no memory for is read when
        // somebody asks for it.
        let fitting = topic.room / info.message_size.max(1);
        let is_bounded = topic.room > 0 && !topic.is_confirmed;
        let begin = if is_bounded { info.next.saturating_sub(fitting) } else { 0 };
        topic.is_confirmed = true;
        topic.go_to(first.max(begin));
        let end = Cursor { stream, next: info.next.max(topic.next) };
        let begin = topic.next;
        self.confirm(name, first, begin, end);
        if limits != Limits::default() {
            self.hand_on(name, News::Keeps(limits));
        }
        self.want(name, (begin < info.next).then_some(Question::Messages));
    }

    /// There is no list of this topic.
    fn confirm_none(&mut self, name: &Arc<str>) {
        let Some(topic) = self.topics.get_mut(name) else { return };
        topic.wanted = Some(StreamId::NONE);
        if !std::mem::replace(&mut topic.is_confirmed, true) {
            self.confirm(name, 0, 0, Cursor { stream: StreamId::NONE, next: 0 });
        }
    }

    fn confirm(&mut self, name: &Arc<str>, first: u64, begin: u64, end: Cursor) {
        let begin = Start { offset: begin, digest: None, text: None };
        self.hand_on(name, News::Confirmed { first, begin, end });
    }
}
