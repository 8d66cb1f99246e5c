//! Following topics: the servers send each message once more when it is stored, and what is missed
//! is read from the stream.
//!
//! One thread has one connection. For each topic it asks one question at a time: which stream it
//! is (`STREAM.NAMES`), what it keeps (`STREAM.MSG.GET`), from where to where it goes
//! (`STREAM.INFO`), and for messages (`DIRECT.GET`), which also fill a gap, and are asked for after
//! a second of silence. A stream that nobody answers for is looked up again; so its deletion is
//! seen.
//!
//! What is answered is taken in `answers`, and changes what is known of a `topic`. Messages are put
//! in order in `messages`.

mod answers;
mod messages;
mod topic;

pub(super) use messages::entry_of;

use super::NatsHome;
use super::api::{about, object, unanswered};
use super::connection::{ANSWERS, Link, Writer};
use super::wire;
use crate::home::{Event, MirrorEnd, News};
use crate::refusal::Refusal;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use topic::{Asked, Question, Topic};

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
    /// Which topic a subscription or a question is about.
    numbers: HashMap<u64, Arc<str>>,
    /// The last of these numbers.
    last: u64,
    /// What is to be written.
    out: Vec<u8>,
}

impl NatsHome {
    /// Follows until the connection ends; says why it did.
    pub(super) fn follow_until_lost(&self, handle: &mut dyn FnMut(Event<'_>)) -> Refusal {
        let mut link = match self.servers.open() {
            Ok(link) => link,
            Err(unusable) => return unanswered(unusable.reason),
        };
        self.follower.lock().writer = Some(Arc::clone(&link.writer));
        let mut follower = Follower {
            home: self,
            handle,
            writer: Arc::clone(&link.writer),
            inbox: link.inbox.clone(),
            topics: HashMap::new(),
            numbers: HashMap::new(),
            last: HOLDS,
            out: Vec::new(),
        };
        (follower.handle)(Event::Connected);
        unanswered(follower.run(&mut link))
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
                self.numbers.remove(&asked.number);
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
        self.numbers.insert(number, Arc::clone(name));
        let reply = format!("{}.{number}", self.inbox);
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
    fn distrust(&mut self, name: &Arc<str>, refusal: Refusal) {
        self.drop_topic(name);
        self.hand_on(name, News::Nonsense(refusal));
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
        if let Some((_, subscription)) = topic.list.take() {
            wire::unsubscribe(&mut self.out, subscription);
            self.numbers.remove(&subscription);
        }
        topic.next = 0;
        topic.ahead.clear();
    }
}
