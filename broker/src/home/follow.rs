//! Keeps the mirrors of one home up to date.
//!
//! One thread for each home takes what comes from it, appends it to the mirrors and delivers it to
//! this broker's own subscribers. After the connection was lost, each topic is taken up again at
//! the mirror's end. What arrives of a topic that is not followed, or not yet confirmed, is left
//! alone: it belongs to an earlier subscription. So the names of topics are those that clients
//! here have asked for, and were looked at then.

use super::following::{Link, Phase, RETRY_TIME_MAX};
use super::mirrors::Mirrors;
use super::remote::{Event, MirrorEnd, News, Start};
use crate::notify;
use crate::refusal::Refusal;
use crate::store::{Cursor, Limits, Mirrored, StreamId, Upto, entry, memory};
use common::crc32::Crc32;
use common::flags;
use common::retry::Pauses;
use std::mem;
use std::time::{Duration, Instant};
use std::{process, thread};

/// How long a connection lasts before its loss is a new outage, after which the home is asked
/// again at once.
const STABLE_TIME: Duration = Duration::from_secs(10);

/// How long the home may take to answer that a topic is sent. Then the connection is made again.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// How often the home is asked where its lists begin.
const COMPARE_TIME: Duration = Duration::from_secs(5);

/// For how many topics at once; for more it is asked more seldom.
const COMPARED_AT_ONCE: usize = 1000;

/// How long a topic is followed that does not exist and that nobody asks for.
const UNUSED_TIME: Duration = Duration::from_secs(60);

/// Messages that are appended together.
const RUN_COUNT_MAX: usize = 1000;
const RUN_SIZE_MAX: u64 = 1 << 20;

/// What the thread knows of the present connection.
struct Connection {
    run: Run,
    tidied: Instant,
    compared: Instant,
    /// Whether the user was told that the home sends what is no message.
    is_distrusted: bool,
}

/// Messages that follow one another, and are not yet appended.
#[derive(Default)]
struct Run {
    messages: Mirrored,
    /// Memory that they take.
    size: u64,
}

impl Run {
    /// Whether the message of this offset belongs to it.
    fn goes_on(&self, topic: &str, offset: u64) -> bool {
        let Mirrored { topic: own, from, entries } = &self.messages;
        own == topic
            && from.next + entries.len() as u64 == offset
            && entries.len() < RUN_COUNT_MAX
            && self.size < RUN_SIZE_MAX
    }
}

impl Mirrors {
    /// The life of the thread that follows this home.
    pub(super) fn run(&self) {
        let mut pauses = Pauses::default();
        let (mut outage, mut was_there) = (notify::Outage::default(), false);
        loop {
            let now = Instant::now();
            let (run, is_distrusted) = Default::default();
            let mut connection = Connection { run, tidied: now, compared: now, is_distrusted };
            let lost = self.home.listen(&mut |event| {
                if matches!(event, Event::Connected) {
                    was_there = true;
                    outage.is_over(format_args!("{} is back", self.home.address()));
                }
                self.handle(event, &mut connection);
            });
            if now.elapsed() >= STABLE_TIME {
                pauses.reset();
            }
            let is_ring = matches!(lost, Refusal::Ring);
            let is_over = self.lose(self.for_clients(lost.clone()));
            let patience = if is_ring || is_over { Duration::ZERO } else { notify::PATIENCE };
            let more = if is_ring { "" } else { "; trying again until it is back" };
            outage.failed(patience, format_args!("{lost}{more}"));
            // The broker that came last gives way; one that has clients stays, and refuses.
            if is_ring && self.locations.is_none() && !was_there {
                process::exit(1);
            }
            if is_over {
                return;
            }
            thread::sleep(pauses.next());
        }
    }

    /// Notes that there is no connection. True where nothing is left to follow.
    fn lose(&self, lost: Refusal) -> bool {
        let topics = self.following.set_link(Link::Lost(lost.clone()));
        // Publishers may be waiting for the mirror.
        topics.iter().for_each(|topic| self.push.announce(topic));
        let mut state = self.following.lock();
        let is_over = state.topics.is_empty() && self.locations.is_some();
        if is_over {
            state.link = Link::Over(lost);
        }
        is_over
    }

    fn handle(&self, event: Event<'_>, connection: &mut Connection) {
        if let Event::Topic(topic, News::Message { offset, stream, entry }) = event {
            if !connection.run.goes_on(topic, offset) {
                self.append(mem::take(&mut connection.run));
                let stream = stream.unwrap_or_else(|| self.push.topics.end(topic).stream);
                let (topic, from) = (topic.to_owned(), Cursor { stream, next: offset });
                connection.run.messages = Mirrored { topic, from, entries: Vec::new() };
            }
            connection.run.size += memory::entry_size(&entry);
            connection.run.messages.entries.push(entry);
            return;
        }
        self.append(mem::take(&mut connection.run));
        match event {
            Event::Connected => {
                self.push.lasting.confirm_names();
                self.follow(self.following.set_link(Link::Open));
            }
            Event::Taken(name, fence) => self.push.lose_name(name, fence),
            Event::Pause => self.look_after(connection),
            Event::Topic(topic, News::Nonsense(refusal)) => {
                if self.following.lock().wants(topic) {
                    self.distrust(topic, &refusal, connection);
                }
            }
            Event::Topic(topic, news) => {
                if self.following.lock().topics.contains_key(topic) {
                    self.heard(topic, news);
                }
            }
        }
    }

    /// Something is heard of a topic that is followed.
    fn heard(&self, topic: &str, news: News) {
        match news {
            News::Confirmed { first, begin, end } => self.confirmed(topic, first, begin, end),
            News::Keeps(limits) => self.keep(topic, limits),
            News::Trimmed(stream, next, digest) => {
                // It may be the first that is heard of the list.
                if stream.is_none_or(|stream| self.begin(topic, stream)) {
                    self.let_go(topic, next, digest);
                }
            }
            News::Deleted => {
                if self.locations.is_some() {
                    // What comes of it from there from now on is a copy of another home's.
                    self.leave(topic);
                }
                self.deleted(topic);
            }
            News::Reset(stream) => {
                if self.replace(topic)
                    && let Some(stream) = stream
                    && self.begin(topic, stream)
                {
                    self.push.lasting.settle(topic, Cursor { stream, next: u64::MAX });
                }
            }
            News::Refused(refusal) => self.refused(topic, refusal),
            News::Message { .. } | News::Nonsense(_) => {}
        }
    }

    /// Asks for topics from the ends of their mirrors on.
    pub(super) fn follow(&self, topics: impl IntoIterator<Item = String>) {
        let topics: Vec<String> = topics.into_iter().collect();
        let among = topics.len() as u64;
        let mirrors: Vec<_> = topics.into_iter().map(|topic| self.end(topic, among)).collect();
        if !mirrors.is_empty() {
            self.home.follow(mirrors);
        }
    }

    /// Where the mirror of a topic ends, one of so many that are asked for at once.
    pub(super) fn end(&self, topic: String, among: u64) -> MirrorEnd {
        let topics = &self.push.topics;
        let room = topics.mirror_room(&topic, among);
        let Cursor { stream, next } = topics.end(&topic);
        // What is not a mirror is of no concern to the home.
        if topics.is_mirror(&topic)
            && let Ok(digest) = topics.digest(&topic, stream, next)
        {
            return MirrorEnd { topic, next, stream: Some(stream), digest, room };
        }
        MirrorEnd { topic, next: 0, stream: Some(StreamId::NONE), digest: None, room }
    }

    /// Asks once more for the topics whose mirrors stopped, and leaves those that nobody needs.
    fn look_after(&self, connection: &mut Connection) {
        let now = Instant::now();
        let mut state = self.following.lock();
        let (mut due, mut is_silent) = (Vec::new(), false);
        for (topic, followed) in &mut state.topics {
            match &mut followed.phase {
                // Publishers go on being refused as before until the answer is here.
                Phase::Stopped { retry_at, .. } if *retry_at <= now => {
                    *retry_at = now + RETRY_TIME_MAX;
                    due.push(topic.clone());
                }
                Phase::Asked { since } => is_silent |= since.elapsed() >= ANSWER_TIME_MAX,
                _ => {}
            }
        }
        drop(state);
        if is_silent {
            return self.home.disconnect();
        }
        self.follow(due);
        // Whoever waits for what could not be fetched tries again.
        self.push.pieces.take_failed().iter().for_each(|topic| self.push.announce(topic));
        let share = u32::try_from(self.following.lock().topics.len() / COMPARED_AT_ONCE);
        if connection.compared.elapsed() >= COMPARE_TIME * (1 + share.unwrap_or(0)) {
            connection.compared = Instant::now();
            self.compare();
        }
        if connection.tidied.elapsed() >= UNUSED_TIME {
            connection.tidied = Instant::now();
            self.leave_unused();
        }
    }

    /// Has the topics that are up to date confirmed once more: so what their home has let go is let
    /// go here.
    fn compare(&self) {
        let live = self.following.topics(|_, followed| matches!(followed.phase, Phase::Live));
        let end = |topic: String| {
            let Cursor { stream, next } = self.push.topics.end(&topic);
            let (stream, digest, room) = (Some(stream), None, 0);
            (next > 0).then_some(MirrorEnd { topic, next, stream, digest, room })
        };
        let ends: Vec<_> = live.into_iter().filter_map(end).collect();
        if !ends.is_empty() {
            self.home.follow(ends);
        }
    }

    /// Leaves the topics that do not exist and that nobody has asked for in a while: whoever asks
    /// for one name after another must not make the home remember them all.
    fn leave_unused(&self) {
        let unused = self.following.topics(|topic, followed| {
            followed.used.elapsed() >= UNUSED_TIME
                && self.push.topics.summary(topic).is_err()
                && self.push.listeners.of(topic).is_none()
        });
        unused.iter().for_each(|topic| self.leave(topic));
    }

    /// The home sends a topic from `begin` on; its list goes from `first` to `end`.
    fn confirmed(&self, topic: &str, first: u64, begin: Start, end: Cursor) {
        let topics = &self.push.topics;
        let before = topics.end(topic);
        if topics.is_mirror(topic) && before.next > 0 && before.stream != end.stream {
            // The home's list begins with what the mirror holds, and has another id.
            self.home.leave(topic);
            return self.refused(topic, Refusal::OtherStream);
        }
        if end.stream != StreamId::NONE && !self.begin(topic, end.stream) {
            return;
        }
        self.push.lasting.settle(topic, end);
        topics.home_begins(topic, first, None);
        let own = topics.end(topic);
        if begin.offset > own.next && !self.following.lock().wants(topic) {
            // What lies between is not sent: it is more than there is room for, or was let go.
            self.go_on(topic, Cursor { next: begin.offset, ..own }, begin.digest);
        }
        self.let_go(topic, first, None);
        if topics.end(topic).next == begin.offset {
            topics.home_begins(topic, first, begin.text);
        }
        // A pattern may choose it.
        self.push.announce(topic);
        if self.following.set(topic, Phase::Behind(end)).is_some() {
            self.following.reached(topic, topics.end(topic));
        }
    }

    /// Begins the mirror of a list, if it is not there yet. False where that fails.
    fn begin(&self, topic: &str, stream: StreamId) -> bool {
        let begun = self.push.topics.begin_mirror(topic, stream);
        begun.map_err(|refusal| self.fail(topic, refusal)).is_ok()
    }

    /// Keeps no more of a topic than this.
    pub(super) fn keep(&self, topic: &str, limits: Limits) {
        self.push.topics.home_keeps(topic, limits);
        self.push.announce(topic);
    }

    /// Lets go what the home has let go, which may say the digest there.
    pub(super) fn let_go(&self, topic: &str, first: u64, digest: Option<u32>) {
        let topics = &self.push.topics;
        // Before the journal is told.
        topics.home_begins(topic, first, None);
        if first > topics.see(topic, |view, _| view.start()) {
            self.go_on(topic, Cursor { next: first, ..topics.end(topic) }, digest);
        }
        self.push.announce(topic);
    }

    /// Lets the mirror of a topic begin at a cursor, which may lie behind its end.
    fn go_on(&self, topic: &str, first: Cursor, digest: Option<u32>) {
        if let Err(refusal) = self.push.topics.trim(topic, Upto::Home { first, digest }) {
            self.fail(topic, refusal);
        }
    }

    /// Appends messages to a mirror that is followed, and delivers them.
    fn append(&self, Run { messages, size }: Run) {
        if messages.entries.is_empty() || !self.following.lock().wants(&messages.topic) {
            return;
        }
        let topics = &self.push.topics;
        topics.make_room(size, true);
        let (Mirrored { topic, from, entries }, mut stored) = topics.mirror(messages);
        let (topic, Cursor { stream, next }) = (topic.as_str(), from);
        if matches!(stored, Err(Refusal::Full { .. })) && topics.begin_mirror(topic, stream).is_ok()
        {
            // There is no room for any of it: the mirror goes on behind it, with nothing in it.
            let digest = topics.digest(topic, stream, next).ok().flatten();
            let digest = digest.map(|digest| {
                let mut digest = Crc32::after(digest);
                entries.iter().for_each(|entry| digest.update_line(entry::message(entry)));
                digest.value()
            });
            let first = Cursor { stream, next: next + entries.len() as u64 };
            stored = topics.trim(topic, Upto::Home { first, digest });
        }
        match stored {
            Ok(()) => {
                self.push.announce(topic);
                self.following.reached(topic, topics.end(topic));
            }
            Err(refusal) => self.fail(topic, refusal),
        }
    }

    /// The home sends what no broker stores. Its other topics are not to suffer from that.
    fn distrust(&self, topic: &str, refusal: &Refusal, connection: &mut Connection) {
        let address = self.home.address();
        let text = format!("the broker {address} sends what is no message: {refusal}");
        if !mem::replace(&mut connection.is_distrusted, true) {
            notify::warn(format_args!("the mirror of {topic:?} stops: {text}"));
        }
        self.stop(topic, Refusal::Home { status: 502, text }, true);
    }

    /// A mirror could not be changed as the home says.
    pub(super) fn fail(&self, topic: &str, refusal: Refusal) {
        match refusal {
            // Something was missed: it is taken up again at the mirror's end.
            Refusal::OtherStream => {
                self.stop(topic, self.behind(), true);
            }
            // It was created here meanwhile.
            Refusal::TopicExists => self.leave(topic),
            // There is no room for it.
            _ => {
                let line = flags::one_line(&refusal);
                if matches!(self.stop(topic, refusal, false), Some(Phase::Live)) {
                    notify::warn(format_args!("the mirror of {topic:?} stops: {line}"));
                }
            }
        }
    }

    /// Takes no more of a topic until it is asked for again; says how far it was.
    pub(super) fn stop(&self, topic: &str, refusal: Refusal, is_nonsense: bool) -> Option<Phase> {
        self.home.leave(topic);
        let before = self.following.stop(topic, refusal, is_nonsense);
        // Publishers may be waiting for it.
        self.push.announce(topic);
        before
    }
}
