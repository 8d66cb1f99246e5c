//! What a cluster is asked about streams, in JSON.
//!
//! Questions of this kind change nothing twice: they are asked again until they are answered.

use super::failure::{Failure, Reason, answered, unanswered};
use super::requests::Live;
use super::stored::Stored;
use super::wire::{self, Message};
use super::{Attempt, NatsHome};
use crate::refusal::Result;
use crate::store::{Sequence, StreamId};
use common::clock;
use common::json::{Object, Value};
use std::thread;
use std::time::{Duration, Instant};

/// How long one server may take to answer before another is asked.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Before a question is asked again.
const PAUSE: Duration = Duration::from_millis(50);

/// Replicas that were heard of within this time vouch for their leader, which hears of them every
/// second. One that was cut off answers reads for ten seconds, and another is elected after four;
/// when it is back, the next word of a replica tells it.
const VOUCH_TIME: Duration = Duration::from_millis(1500);

/// The last message of a publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Last {
    /// The sequence in the stream; 0 where there is none.
    pub(super) at: u64,
    pub(super) number: Option<Sequence>,
}

/// What a stream says of itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Info {
    /// The first offset that is there.
    pub(super) first: u64,
    /// The offset after the last.
    pub(super) next: u64,
    /// Bytes of its messages with their headers.
    pub(super) bytes: u64,
    /// About how many of them a message takes.
    pub(super) message_size: u64,
    /// Whether it takes messages: else its creator is not done with it, and may give way to
    /// another.
    pub(super) is_open: bool,
    /// Whether no other server has it.
    is_alone: bool,
    /// Whether most of its servers have been heard of by its leader lately.
    pub(super) is_vouched: bool,
}

/// How much is asked for at once.
const READ_COUNT: u64 = 1000;
pub(super) const READ_SIZE: u64 = 1 << 20;

/// An object of the API.
pub(super) fn object(
    members: impl for<'o, 'b> FnOnce(&'o mut Object<'b>) -> &'o mut Object<'b>,
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut object = Object::new(&mut out);
    members(&mut object).end();
    out
}

/// A question about one subject.
pub(super) fn about(key: &'static str, subject: &str) -> Vec<u8> {
    object(|object| object.field(key, subject))
}

/// A question about the first message of a subject from a place on.
pub(super) fn next(subject: &str, at: u64) -> Vec<u8> {
    object(|object| object.field("seq", at).field("next_by_subj", subject))
}

/// A question about several messages, of at most so many bytes. `begin` writes which is the first.
pub(super) fn several(
    size_max: u64,
    begin: impl for<'o, 'b> FnOnce(&'o mut Object<'b>) -> &'o mut Object<'b>,
) -> Vec<u8> {
    object(|object| begin(object).field("batch", READ_COUNT).field("max_bytes", size_max))
}

impl Info {
    /// What an answer says.
    pub(super) fn of(answer: &Value<'_>) -> Option<Info> {
        let state = answer.get("state")?;
        let number = |key| state.get_u64(key).unwrap_or(0);
        let replicas =
            answer.get("cluster").map_or(&[][..], |cluster| cluster.get_array("replicas"));
        let is_heard = |replica: &&Value<'_>| {
            let silence = replica.get_u64("active").map(Duration::from_nanos);
            replica.is_true("current") && silence.is_some_and(|silence| silence < VOUCH_TIME)
        };
        let heard = 1 + replicas.iter().filter(is_heard).count();
        let is_vouched = heard * 2 > replicas.len() + 1;
        let first = number("first_seq").saturating_sub(1);
        let bytes = number("bytes");
        let message_size = bytes / number("messages").max(1);
        let is_alone = replicas.is_empty();
        let is_open = answer.get("config").is_some_and(|it| it.get_array("subjects").len() > 1);
        let next = number("last_seq");
        Some(Info { first, next, bytes, message_size, is_open, is_alone, is_vouched })
    }
}

impl NatsHome {
    /// The settings of a stream with these subjects, whose messages are sent once more: from the
    /// first subject of `republish` to the second.
    pub(super) fn settings(
        &self,
        name: &str,
        subjects: &[String],
        republish: [String; 2],
        more: impl for<'o, 'b> FnOnce(&'o mut Object<'b>) -> &'o mut Object<'b>,
    ) -> Vec<u8> {
        let [src, dest] = republish;
        let republish = object(|object| object.field("src", src).field("dest", dest));
        object(|object| {
            object.field("name", name).array("subjects", |all| {
                for subject in subjects {
                    all.element(subject);
                }
            });
            object.field("storage", "file").field("num_replicas", self.replicas);
            object.field("allow_direct", true).field("allow_atomic", true);
            more(object.raw("republish", &republish))
        })
    }
}

impl Attempt<'_> {
    /// The deadline of a step that may take at most so long.
    pub(super) fn within(&self, time: Duration) -> Instant {
        self.deadline.min(Instant::now() + time)
    }

    /// Waits before something is tried again.
    ///
    /// # Errors
    ///
    /// There is no time left: why it was not done.
    pub(super) fn pause(&self, time: Duration, why: impl Into<Failure>) -> Result<(), Failure> {
        if Instant::now() + time >= self.deadline {
            return Err(why.into());
        }
        thread::sleep(time);
        Ok(())
    }

    /// Asks until there is an answer: the words of the question are the parts of its subject.
    /// `read` takes from the answer what is wanted.
    pub(super) fn ask<T>(
        &self,
        question: &[&str],
        body: &[u8],
        read: impl Fn(&Value<'_>) -> Option<T>,
    ) -> Result<T, Failure> {
        let subject = format!("$JS.API.{}", question.join("."));
        loop {
            let live = self.requests.live(self.deadline)?;
            let answer = live.request(self.within(ANSWER_TIMEOUT), |reply, out| {
                wire::publish(out, &subject, Some(reply), "", body);
            });
            match live.outcome(answer, &read) {
                Err(failure) if failure.is_passing() => self.pause(PAUSE, failure)?,
                outcome => return outcome,
            }
        }
    }

    /// The same; nothing where what is asked about is missing.
    pub(super) fn ask_for<T>(
        &self,
        question: &[&str],
        body: &[u8],
        read: impl Fn(&Value<'_>) -> Option<T>,
    ) -> Result<Option<T>> {
        match self.ask(question, body, read) {
            Err(failure) if failure.is_missing() => Ok(None),
            asked => Ok(Some(asked?)),
        }
    }

    /// Removes the messages of a subject that stand before a sequence.
    pub(super) fn purge(&self, stream: &str, subject: &str, before: u64) -> Result<()> {
        let body = object(|object| object.field("filter", subject).field("seq", before));
        self.ask_for(&["STREAM.PURGE", stream], &body, |_| Some(())).map(drop)
    }

    /// Messages that a server of a stream has, perhaps not the newest. Says whether there is one.
    pub(super) fn collect(
        &self,
        stream: &str,
        body: &[u8],
    ) -> Result<(Vec<Message>, bool), Failure> {
        let subject = format!("$JS.API.DIRECT.GET.{stream}");
        let answers = self.requests.live(self.deadline)?.collect(self.deadline, |reply, out| {
            wire::publish(out, &subject, Some(reply), "", body);
        });
        Ok(answers?)
    }

    /// From where to where a stream goes, as its leader says; nothing where it is gone.
    pub(super) fn info(&self, list: StreamId) -> Result<Option<Info>> {
        self.ask_for(&["STREAM.INFO", &self.names.stream(list)], b"", Info::of)
    }

    /// Whether the leader of a stream is no leader that was cut off: what it has said of the past
    /// may be answered to a client. Most replicas have to be heard of by it after that.
    pub(super) fn vouch(&self, list: StreamId) -> Result<()> {
        if self.info(list)?.is_some_and(|info| info.is_alone) {
            return Ok(());
        }
        thread::sleep(VOUCH_TIME.min(self.deadline.saturating_duration_since(Instant::now())));
        if self.info(list)?.is_some_and(|info| info.is_vouched) {
            return Ok(());
        }
        if let Ok(live) = self.requests.live(self.deadline) {
            live.retire();
        }
        Err(unanswered("the leader of the stream is cut off"))
    }

    /// Has another server lead a stream.
    pub(super) fn replace_leader(&self, list: StreamId) -> Result<()> {
        let question = ["STREAM.LEADER.STEPDOWN", &self.names.stream(list)];
        match self.ask(&question, b"", |_| Some(())) {
            Err(failure) if failure.is_passing() => Err(failure.into()),
            // A single server has none.
            _ => Ok(()),
        }
    }

    /// The last message of a subject, as the stream's leader has it; nothing where the stream is
    /// gone.
    pub(super) fn last(&self, list: StreamId, subject: &str) -> Result<Option<Last>> {
        self.message(list, &about("last_by_subj", subject))
    }

    /// The first message of a subject from a place on, in the same way.
    pub(super) fn first(&self, list: StreamId, subject: &str, from: u64) -> Result<Option<Last>> {
        self.message(list, &next(subject, from))
    }

    /// The place of the first message of a time or later, in Unix milliseconds, in the same way.
    pub(super) fn first_since(&self, list: StreamId, time: u64) -> Result<Option<u64>> {
        let found = self.message(list, &about("start_time", &written(time)))?;
        Ok(found.map(|last| last.at).filter(|at| *at > 0))
    }

    /// Place and number of one message.
    fn message(&self, list: StreamId, body: &[u8]) -> Result<Option<Last>> {
        let found = self.ask(&["STREAM.MSG.GET", &self.names.stream(list)], body, |answer| {
            let Stored { at, number, .. } = Stored::of(answer)?;
            Some(Last { at, number })
        });
        match found {
            Err(failure) if failure.reason() == Reason::NoMessage => Ok(Some(Last::default())),
            Err(failure) if failure.reason() == Reason::NoStream => Ok(None),
            found => Ok(Some(found?)),
        }
    }
}

impl Live {
    /// What an answer on this connection says.
    pub(super) fn outcome<T>(
        &self,
        answer: Result<Message, String>,
        read: impl Fn(&Value<'_>) -> Option<T>,
    ) -> Result<T, Failure> {
        let outcome = answered(&answer?, read);
        if outcome.as_ref().is_err_and(|failure| failure.reason() == Reason::NotHere) {
            self.retire();
        }
        outcome
    }
}

/// A time in Unix milliseconds, as the servers read it.
pub(super) fn written(time: u64) -> String {
    let (date, milliseconds) = (clock::plain_date(time), time % 1000);
    format!("{}.{milliseconds:03}Z", date.replace(' ', "T"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::json;

    #[test]
    fn a_time_is_written_as_the_servers_read_it() {
        assert_eq!(written(784_111_777_042), "1994-11-06T08:49:37.042Z");
    }

    #[test]
    fn a_leader_that_has_not_heard_of_most_replicas_is_not_vouched_for() {
        let info = |replicas: &str| {
            let text = format!(
                "{{\"state\":{{\"first_seq\":1,\"last_seq\":7}},\
                 \"cluster\":{{\"replicas\":[{replicas}]}}}}"
            );
            Info::of(&json::parse(text.as_bytes()).unwrap()).unwrap()
        };
        let near = "{\"current\":true,\"active\":1000}";
        let far = "{\"current\":true,\"active\":5000000000}";
        let lagging = "{\"current\":false,\"active\":1000}";
        assert!(info("").is_vouched);
        assert!(info(&format!("{near},{far}")).is_vouched);
        assert!(!info(&format!("{far},{lagging}")).is_vouched);
        assert!(!info(far).is_vouched, "two servers: both are needed");
        assert_eq!((info("").first, info("").next), (0, 7));
    }
}
