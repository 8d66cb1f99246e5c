//! Following topics: the servers send each message once more when it is stored, and what is missed
//! is read from the stream.
//!
//! One thread has one connection. For each topic it asks one question at a time: which stream it
//! is (`STREAM.NAMES`), what it keeps (`STREAM.MSG.GET`), from where to where it goes
//! (`STREAM.INFO`), and for messages (`DIRECT.GET`), which also fill a gap, and are asked for after
//! a second of silence. A stream that nobody answers for is looked up again; so its deletion is
//! seen.
//!
//! What is answered is taken in `answers`, and changes what is known of a `topic`, which puts its
//! messages in order.

mod answers;
mod topic;

use super::NatsHome;
use super::api::{READ_SIZE, about, several};
use super::connection::{ANSWERS, Link};
use super::wire;
use crate::home::{Event, MirrorEnd, News};
use crate::refusal::Refusal;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use topic::{Asked, Question, Topic};

/// How long the thread waits for something to happen.
const TICK: Duration = Duration::from_millis(100);

/// How long a stream has to be missing before it is taken for deleted, where no server has said so:
/// while leaders change, one may not know of it for a moment.
const MISSING_TIME: Duration = Duration::from_secs(5);

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
    link: Link,
    topics: HashMap<Arc<str>, Topic>,
    /// Which topic a subscription or a question is about.
    numbers: HashMap<u64, Arc<str>>,
    /// The last of these numbers.
    last: u64,
    /// What is to be written.
    out: Vec<u8>,
}

impl NatsHome {
    /// Follows until the connection ends; says why it did.
    pub(super) fn follow_until_lost(
        &self,
        handle: &mut dyn FnMut(Event<'_>),
    ) -> Result<Infallible, String> {
        let link = self.requests.servers.open().map_err(|unusable| unusable.reason)?;
        *self.follower.lock() = Some((Arc::clone(&link.writer), Vec::new()));
        let mut follower = Follower {
            home: self,
            handle,
            link,
            topics: HashMap::new(),
            numbers: HashMap::new(),
            last: HOLDS,
            out: Vec::new(),
        };
        (follower.handle)(Event::Connected);
        follower.run()
    }
}

impl Follower<'_> {
    /// Hands on what comes until the connection ends; says why it did.
    fn run(&mut self) -> Result<Infallible, String> {
        // Who may not hear this hears of it when a stream is silent.
        wire::subscribe(&mut self.out, "$JS.EVENT.ADVISORY.STREAM.>", ADVISORIES);
        wire::subscribe(&mut self.out, &self.home.names.record_again('*'), RECORDS);
        wire::subscribe(&mut self.out, &self.home.names.hold_again("*"), HOLDS);
        let mut looked = Instant::now();
        loop {
            let mut deadline = Instant::now() + TICK;
            while let Some(message) = self.link.next(deadline)? {
                self.take(message);
                // What has arrived together is handed on together.
                deadline = Instant::now();
            }
            (self.handle)(Event::Pause);
            let next = self.home.follower.lock().as_mut().map(|(_, next)| std::mem::take(next));
            next.into_iter().flatten().for_each(|command| self.obey(command));
            if looked.elapsed() >= TICK {
                looked = Instant::now();
                self.look_after()?;
            }
            if !self.out.is_empty() {
                self.link.writer.write(&self.out);
                self.out.clear();
            }
            if self.link.is_leaving {
                return Err("the server is about to stop".to_owned());
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Leave(topic) => self.drop_topic(&topic),
            Command::Look(topic) => {
                if let Some(topic) = self.topics.get_mut(&*topic) {
                    topic.is_deleted = true;
                }
                self.want(&Arc::from(topic), [Question::List]);
            }
            Command::Follow(MirrorEnd { topic, next, stream, room, .. }) => {
                let name: Arc<str> = Arc::from(topic);
                let is_known = |topic: &Topic| {
                    let is_there = topic.list.is_some() && topic.list == stream;
                    topic.is_confirmed && topic.next == next && is_there
                };
                if self.topics.get(&name).is_some_and(is_known) {
                    return self.want(&name, [Question::Record, Question::Info]);
                }
                self.drop_topic(&name);
                let topic = Topic { wanted: stream, next, room, ..Topic::default() };
                self.topics.insert(Arc::clone(&name), topic);
                self.want(&name, [Question::List]);
            }
        }
    }

    /// Asks once more where nothing was heard.
    fn look_after(&mut self) -> Result<(), String> {
        let silent = self.topics.iter().filter(|(_, topic)| topic.is_silent());
        let silent: Vec<_> = silent.map(|(name, _)| Arc::clone(name)).collect();
        for name in silent {
            let Some(topic) = self.topics.get_mut(&name) else { continue };
            topic.touched = Some(Instant::now());
            let mut looks = topic.list.is_none() || topic.missing.is_some();
            if let Some(Asked { number, question, .. }) = topic.asked.take() {
                if question == Question::List {
                    return Err("JetStream has no leader".to_owned());
                }
                self.numbers.remove(&number);
                // A stream whose leader does not answer may have been deleted.
                looks = true;
            }
            self.want(&name, looks.then_some(Question::List));
            self.want(&name, [Question::Messages]);
        }
        Ok(())
    }

    /// Notes what is to be asked of a topic, and asks the next question, unless one is open.
    fn want(&mut self, name: &Arc<str>, questions: impl IntoIterator<Item = Question>) {
        let Some(topic) = self.topics.get_mut(name) else { return };
        topic.wants.extend(questions);
        let Some(question) = topic.wants.first().copied() else { return };
        let names = &self.home.names;
        let (subject, body) = match (question, topic.list) {
            _ if topic.asked.is_some() => return,
            (Question::List, _) => {
                ("STREAM.NAMES".to_owned(), about("subject", &names.claim(name)))
            }
            (_, None) => return,
            (Question::Record, Some(list)) => {
                let body = about("last_by_subj", &names.record(list));
                (format!("STREAM.MSG.GET.{}", names.records()), body)
            }
            (Question::Info, Some(list)) => {
                (format!("STREAM.INFO.{}", names.stream(list)), Vec::new())
            }
            (Question::Messages, Some(list)) => {
                let body = several(READ_SIZE, |object| object.field("seq", topic.next + 1));
                (format!("DIRECT.GET.{}", names.stream(list)), body)
            }
        };
        topic.wants.remove(&question);
        self.last += 1;
        let (number, since, next) = (self.last, Instant::now(), topic.next);
        topic.asked = Some(Asked { number, question, since, next });
        self.numbers.insert(number, Arc::clone(name));
        let reply = format!("{}.{number}", self.link.inbox);
        wire::publish(&mut self.out, &format!("$JS.API.{subject}"), Some(&reply), "", &body);
    }

    fn hand_on(&mut self, name: &str, news: News) {
        (self.handle)(Event::Topic(name, news));
    }

    /// Follows a topic no longer, until it is asked for again.
    fn refuse(&mut self, name: &Arc<str>, refusal: Refusal) {
        self.drop_topic(name);
        self.hand_on(name, News::Refused(refusal));
    }

    /// The same where the stream holds what no broker stores.
    fn distrust(&mut self, name: &Arc<str>, text: String) {
        self.drop_topic(name);
        self.hand_on(name, News::Nonsense(Refusal::Home { status: 502, text }));
    }

    fn drop_topic(&mut self, name: &str) {
        self.end_subscription(name);
        if let Some(asked) = self.topics.remove(name).and_then(|topic| topic.asked) {
            self.numbers.remove(&asked.number);
        }
    }

    /// The list of a topic is not followed any more.
    fn end_subscription(&mut self, name: &str) {
        let Some(topic) = self.topics.get_mut(name) else { return };
        if topic.list.take().is_some() {
            wire::unsubscribe(&mut self.out, topic.subscription);
            self.numbers.remove(&topic.subscription);
        }
        topic.next = 0;
        topic.ahead.clear();
    }
}
