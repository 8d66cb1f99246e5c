//! Following topics: the servers send each message once more when it is stored, and what is missed
//! is read from the stream.
//!
//! One thread has one connection. For each topic it asks one question at a time: which stream it
//! is (`STREAM.NAMES`), what it keeps (`STREAM.MSG.GET`), from where to where it goes
//! (`STREAM.INFO`), and for messages (`DIRECT.GET`), which also fill a gap, and are asked for after
//! a second of silence. A stream that nobody answers for is looked up again; so its deletion is
//! seen.
//!
//! Messages are put in order in `messages`.

mod messages;

pub(super) use messages::entry_of;

use super::NatsHome;
use super::api::{ApiError, Info, Reason, about, object, unanswered};
use super::connection::{ANSWERS, Link, Writer};
use super::names::unescape;
use super::retention::Kept;
use super::streams::{foreign, streams};
use super::wire::{self, Message};
use crate::home::{Event, MirrorEnd, News, Place};
use crate::refusal::Refusal;
use crate::store::{Cursor, Limits, StreamId};
use common::json;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the thread waits for something to happen.
const TICK: Duration = Duration::from_millis(100);

/// After how long a silence of a topic it is asked for more.
const SILENCE: Duration = Duration::from_secs(1);

/// How long a question may be without an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a stream has to be missing before it is taken for deleted, where no server has said so:
/// while leaders change, one may not know of it for a moment.
const MISSING_TIME: Duration = Duration::from_secs(5);

/// How much is asked for at once.
const READ_COUNT: u64 = 1000;
const READ_SIZE: u64 = 1 << 20;

/// The subscription to what the servers say of streams that come and go.
const ADVISORIES: u64 = ANSWERS + 1;

/// The subscription to what lists keep.
const RECORDS: u64 = ANSWERS + 2;

/// The subscription to who takes names.
const HOLDS: u64 = ANSWERS + 3;

/// What the thread that follows is asked to do.
pub(super) enum Command {
    Follow(MirrorEnd),
    Leave(String),
    /// The stream of a topic may be another.
    Look(String),
}

/// The thread that follows, and what it knows of its present connection.
struct Follower<'a> {
    home: &'a NatsHome,
    handle: &'a mut dyn FnMut(Event<'_>),
    writer: Arc<Writer>,
    inbox: String,
    topics: HashMap<Arc<str>, Topic>,
    /// Which topic a subscription is for.
    subscriptions: HashMap<u64, Arc<str>>,
    /// Which topic a question is about.
    questions: HashMap<u64, Arc<str>>,
    /// The number of the last subscription or question.
    last: u64,
    /// What is to be written.
    out: Vec<u8>,
}

#[derive(Default)]
struct Topic {
    /// The list that the mirror has; nothing where any will do.
    wanted: Option<StreamId>,
    /// The list that is there, and the subscription to it.
    list: Option<(StreamId, u64)>,
    /// The offset that is handed on next.
    next: u64,
    is_confirmed: bool,
    /// What was told of what its list keeps.
    told: Kept,
    /// About how much text the mirror has memory for; 0 where nobody said it.
    room: u64,
    /// Messages that follow one another, and come later than the next.
    ahead: VecDeque<(u64, String)>,
    asked: Option<Asked>,
    wants_list: bool,
    wants_record: bool,
    wants_info: bool,
    wants_messages: bool,
    /// Whether what was read began later than what was asked for.
    is_stuck: bool,
    /// Since when its stream is missing.
    missing: Option<Instant>,
    /// Whether a server, or a client of this broker, says that its stream was deleted.
    is_deleted: bool,
    /// When it was heard of or asked for last.
    touched: Option<Instant>,
}

/// A question that is not wholly answered.
#[derive(Clone, Copy)]
struct Asked {
    number: u64,
    question: Question,
    since: Instant,
    /// The offset that was next.
    next: u64,
}

#[derive(Clone, Copy)]
enum Question {
    List,
    Record,
    Info,
    Messages,
}

impl NatsHome {
    /// Follows until the connection ends; says why it did.
    pub(super) fn follow_until_lost(&self, handle: &mut dyn FnMut(Event<'_>)) -> Refusal {
        let mut link = match self.servers.open() {
            Ok(link) => link,
            Err(unusable) => return unanswered(&unusable.reason),
        };
        self.follower.lock().writer = Some(Arc::clone(&link.writer));
        let mut follower = Follower {
            home: self,
            handle,
            writer: Arc::clone(&link.writer),
            inbox: link.inbox.clone(),
            topics: HashMap::new(),
            subscriptions: HashMap::new(),
            questions: HashMap::new(),
            last: HOLDS,
            out: Vec::new(),
        };
        (follower.handle)(Event::Connected);
        unanswered(&follower.run(&mut link))
    }
}

impl Topic {
    /// Goes on at an offset, if that is later.
    fn go_to(&mut self, next: u64) {
        self.next = self.next.max(next);
        while self.ahead.front().is_some_and(|(ahead, _)| *ahead < self.next) {
            self.ahead.pop_front();
        }
    }
}

impl Follower<'_> {
    /// Hands on what comes until the connection ends; says why it did.
    fn run(&mut self, link: &mut Link) -> String {
        // Who may not hear this hears of it when a stream is silent.
        wire::subscribe(&mut self.out, "$JS.EVENT.ADVISORY.STREAM.>", ADVISORIES);
        wire::subscribe(&mut self.out, &self.home.names.record_again('*'), RECORDS);
        wire::subscribe(&mut self.out, &self.home.names.holds_again(), HOLDS);
        let mut looked = Instant::now();
        loop {
            let mut deadline = Instant::now() + TICK;
            loop {
                match link.next(deadline) {
                    Ok(Some(message)) => self.take(message),
                    Ok(None) => break,
                    Err(lost) => return lost,
                }
                // What has arrived together is handed on together.
                deadline = Instant::now();
            }
            (self.handle)(Event::Pause);
            let commands = std::mem::take(&mut self.home.follower.lock().commands);
            commands.into_iter().for_each(|command| self.obey(command));
            if looked.elapsed() >= TICK {
                looked = Instant::now();
                if let Err(lost) = self.look_after() {
                    return lost;
                }
            }
            if !self.out.is_empty() {
                self.writer.write(&self.out);
                self.out.clear();
            }
            if link.is_leaving {
                return "the server is about to stop".to_owned();
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Leave(topic) => self.drop_topic(&topic),
            Command::Look(topic) => {
                self.want(&Arc::from(topic), |topic| {
                    (topic.is_deleted, topic.wants_list) = (true, true);
                });
            }
            Command::Follow(MirrorEnd { topic, next, stream, room, .. }) => {
                let name: Arc<str> = Arc::from(topic);
                let is_known = self.topics.get(&name).is_some_and(|topic| {
                    topic.is_confirmed
                        && topic.next == next
                        && topic.list.is_some_and(|(list, _)| Some(list) == stream)
                });
                if is_known {
                    return self.want(&name, |topic| {
                        (topic.wants_record, topic.wants_info) = (true, true);
                    });
                }
                self.drop_topic(&name);
                let topic =
                    Topic { wanted: stream, next, room, wants_list: true, ..Topic::default() };
                self.topics.insert(Arc::clone(&name), topic);
                self.want(&name, |_| {});
            }
        }
    }

    /// Asks once more where nothing was heard.
    fn look_after(&mut self) -> Result<(), String> {
        let mut silent = Vec::new();
        for (name, topic) in &self.topics {
            match topic.asked {
                Some(asked) if asked.since.elapsed() >= ANSWER_TIMEOUT => {
                    if matches!(asked.question, Question::List) {
                        return Err("JetStream has no leader".to_owned());
                    }
                    silent.push(Arc::clone(name));
                }
                None if topic.touched.is_some_and(|at| at.elapsed() >= SILENCE) => {
                    silent.push(Arc::clone(name));
                }
                _ => {}
            }
        }
        for name in silent {
            if let Some(asked) = self.topics.get(&name).and_then(|topic| topic.asked) {
                self.questions.remove(&asked.number);
            }
            self.want(&name, |topic| {
                // A stream whose leader does not answer may have been deleted.
                let is_silent = topic.asked.take().is_some();
                topic.wants_list = is_silent || topic.list.is_none() || topic.missing.is_some();
                topic.wants_messages = true;
                topic.touched = Some(Instant::now());
            });
        }
        Ok(())
    }

    /// Notes what is wanted of a topic, and asks the next question, unless one is open.
    fn want(&mut self, name: &Arc<str>, note: impl FnOnce(&mut Topic)) {
        let Some(topic) = self.topics.get_mut(name) else { return };
        note(topic);
        if topic.asked.is_some() {
            return;
        }
        let names = &self.home.names;
        let (question, subject, body) = match topic.list {
            _ if std::mem::take(&mut topic.wants_list) => {
                (Question::List, "STREAM.NAMES".to_owned(), about("subject", &names.claim(name)))
            }
            None => return,
            Some((list, _)) if std::mem::take(&mut topic.wants_record) => {
                let body = about("last_by_subj", &names.record(list));
                (Question::Record, format!("STREAM.MSG.GET.{}", names.records()), body)
            }
            Some((list, _)) if std::mem::take(&mut topic.wants_info) => {
                (Question::Info, format!("STREAM.INFO.{}", names.stream(list)), Vec::new())
            }
            Some((list, _)) if std::mem::take(&mut topic.wants_messages) => {
                let body = object(|object| {
                    object.field("seq", topic.next + 1).field("batch", READ_COUNT);
                    object.field("max_bytes", READ_SIZE);
                });
                (Question::Messages, format!("DIRECT.GET.{}", names.stream(list)), body)
            }
            Some(_) => return,
        };
        self.last += 1;
        let (number, since, next) = (self.last, Instant::now(), topic.next);
        topic.asked = Some(Asked { number, question, since, next });
        self.questions.insert(number, Arc::clone(name));
        let reply = format!("{}.{number}", self.inbox);
        wire::publish(&mut self.out, &format!("$JS.API.{subject}"), Some(&reply), "", &body);
    }

    fn take(&mut self, message: Message) {
        match message.sid {
            ADVISORIES => return self.take_advisory(message.subject()),
            RECORDS => return self.take_change(&message),
            HOLDS => return self.take_hold(&message),
            _ => {}
        }
        if message.sid != ANSWERS {
            if let Some(name) = self.subscriptions.get(&message.sid).cloned() {
                self.message(&name, &message);
            }
            return;
        }
        let Some(number) = message.answers() else { return };
        let Some(name) = self.questions.get(&number).cloned() else { return };
        let asked = self.topics.get(&name).and_then(|topic| topic.asked);
        let Some(asked) = asked.filter(|asked| asked.number == number) else {
            self.questions.remove(&number);
            return;
        };
        if matches!(asked.question, Question::Messages) && message.status().is_none() {
            return self.message(&name, &message);
        }
        self.questions.remove(&number);
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
                self.want(&name, |topic| {
                    topic.wants_messages |= is_more && topic.next > asked.next;
                    topic.wants_list |= is_gone;
                });
            }
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
            Some((known, _)) => known == list,
        });
        let concerned: Vec<Arc<str>> = concerned.map(|(name, _)| Arc::clone(name)).collect();
        let is_deleted = subject.contains(".DELETED.");
        for name in concerned {
            self.want(&name, |topic| {
                topic.is_deleted |= is_deleted;
                topic.wants_list = true;
            });
        }
    }

    /// What a list keeps was asked for.
    fn take_record(&mut self, name: &Arc<str>, message: &Message) {
        let Some((list, _)) = self.topics.get(name).and_then(|topic| topic.list) else { return };
        let answer = json::parse(&message.payload).ok();
        let error = answer.as_ref().and_then(ApiError::of);
        let kept = match (&answer, &error) {
            (Some(answer), None) => Kept::answered(answer),
            (_, Some(error)) if error.is_missing() => Some(Kept::default()),
            _ => None,
        };
        match (kept, error) {
            (Some(kept), _) => self.keep(name, list, kept),
            (None, Some(error)) => return self.refuse(name, error.refusal()),
            (None, None) => self.want(name, |topic| topic.wants_record = true),
        }
        self.want(name, |_| {});
    }

    /// What a list keeps was changed.
    fn take_change(&mut self, message: &Message) {
        let id = message.subject().rsplit('.').next().and_then(|id| id.parse::<StreamId>().ok());
        let kept = message.number("Nats-Sequence").and_then(|at| Kept::of(at, &message.payload));
        let Some((id, kept)) = id.zip(kept) else { return };
        let followed = self.topics.iter().find(|(_, topic)| {
            topic.list.is_some_and(|(list, _)| list == id) && topic.is_confirmed
        });
        match followed.map(|(name, _)| Arc::clone(name)) {
            Some(name) => self.keep(&name, id, kept),
            None => {
                self.home.note(id, kept);
            }
        }
    }

    /// A name was taken.
    fn take_hold(&mut self, message: &Message) {
        let name = message.subject().rsplit('.').next().and_then(unescape);
        if let Some((name, fence)) = name.zip(message.number("Nats-Sequence"))
            && message.payload != self.home.id.as_bytes()
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
            self.hand_on(name, News::Trimmed(kept.first));
        }
        if kept.limits != told.limits {
            self.hand_on(name, News::Keeps(kept.limits));
        }
    }

    /// A topic's stream was looked up.
    fn take_list(&mut self, name: &Arc<str>, message: &Message) {
        let Ok(answer) = json::parse(&message.payload) else { return };
        if ApiError::of(&answer).is_some() {
            return;
        }
        let found = match streams(&answer).next().map(|name| (name, self.home.names.list(name))) {
            Some((stream, None)) => return self.refuse(name, foreign(stream)),
            found => found.and_then(|(_, list)| list),
        };
        let Some(topic) = self.topics.get_mut(name) else { return };
        let before = topic.list.map(|(list, _)| list);
        let known = before.or(topic.wanted).filter(|list| *list != StreamId::NONE);
        let is_deleted = std::mem::take(&mut topic.is_deleted);
        if found.is_some() || known.is_none() {
            topic.missing = None;
        } else if !is_deleted
            && topic.missing.get_or_insert_with(Instant::now).elapsed() < MISSING_TIME
        {
            return;
        }
        if before.is_some() && before == found {
            return self.want(name, |topic| topic.wants_info |= !topic.is_confirmed);
        }
        if before.is_none() {
            if known.is_some() && found != known {
                return self.refuse(name, Refusal::OtherStream);
            }
        } else {
            topic.wanted = found;
            self.end_subscription(name);
            let news = match found {
                None => {
                    self.home.streams.lock().remove(&**name);
                    News::Deleted
                }
                Some(list) => News::Reset(Some(list)),
            };
            self.hand_on(name, news);
        }
        let Some(topic) = self.topics.get_mut(name) else { return };
        match found {
            None => self.confirm_none(name),
            Some(list) => {
                self.last += 1;
                topic.list = Some((list, self.last));
                self.home.note_list(name, list);
                self.subscriptions.insert(self.last, Arc::clone(name));
                let subject = self.home.names.republished(list);
                wire::subscribe(&mut self.out, &subject, self.last);
                self.want(name, |topic| (topic.wants_record, topic.wants_info) = (true, true));
            }
        }
    }

    /// A stream says from where to where it goes. When it was asked, `next` was the next offset
    /// here.
    fn take_info(&mut self, name: &Arc<str>, next: u64, message: &Message) {
        let Ok(answer) = json::parse(&message.payload) else {
            return self.want(name, |topic| topic.wants_list = true);
        };
        let Some(info) = Info::of(&answer) else {
            return match ApiError::of(&answer) {
                Some(error) if error.reason() != Reason::NoStream => {
                    self.refuse(name, error.refusal());
                }
                _ => self.want(name, |topic| topic.wants_list = true),
            };
        };
        if next > info.next {
            // The mirror holds more than the stream.
            let cut_off = || unanswered("the leader of the stream is cut off");
            let refusal = if info.is_vouched { Refusal::OtherStream } else { cut_off() };
            return self.refuse(name, refusal);
        }
        let Some(topic) = self.topics.get_mut(name) else { return };
        let Some((stream, _)) = topic.list else { return };
        if !info.is_open && topic.wanted != Some(stream) {
            self.end_subscription(name);
            return self.confirm_none(name);
        }
        topic.told = self.home.kept(stream);
        let limits = topic.told.limits;
        let first = info.first.max(topic.told.first);
        if std::mem::take(&mut topic.is_stuck) && topic.next == next && first <= next {
            let text = format!("sequence {} of its stream is missing", next + 1);
            return self.distrust(name, Refusal::Home { status: 502, text });
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
        self.want(name, |topic| topic.wants_messages |= topic.next < info.next);
    }

    fn hand_on(&mut self, name: &str, news: News) {
        (self.handle)(Event::Topic(name, news));
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
        let begin = Place { offset: begin, digest: None, text: None };
        self.hand_on(name, News::Confirmed { first, begin, end });
    }

    /// Follows a topic no longer, until it is asked for again.
    fn refuse(&mut self, name: &Arc<str>, refusal: Refusal) {
        self.drop_topic(name);
        self.hand_on(name, News::Refused(refusal));
    }

    /// The same where the stream holds what no broker stores.
    fn distrust(&mut self, name: &Arc<str>, refusal: Refusal) {
        self.drop_topic(name);
        self.hand_on(name, News::Nonsense(refusal));
    }

    fn drop_topic(&mut self, name: &str) {
        self.end_subscription(name);
        if let Some(asked) = self.topics.remove(name).and_then(|topic| topic.asked) {
            self.questions.remove(&asked.number);
        }
    }

    /// The list of a topic is not followed any more.
    fn end_subscription(&mut self, name: &str) {
        let Some(topic) = self.topics.get_mut(name) else { return };
        if let Some((_, subscription)) = topic.list.take() {
            wire::unsubscribe(&mut self.out, subscription);
            self.subscriptions.remove(&subscription);
        }
        topic.next = 0;
        topic.ahead.clear();
    }
}
