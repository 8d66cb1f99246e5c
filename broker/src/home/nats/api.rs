//! What a cluster is asked about streams, in JSON, and what its errors are to clients.
//!
//! Questions of this kind change nothing twice: they are asked again until they are answered.

use super::requests::Live;
use super::wire::{self, Message};
use super::{Attempt, NatsHome};
use crate::refusal::{Refusal, Result};
use crate::store::{Sequence, StreamId};
use common::clock;
use common::json::{self, Object, Value};
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

/// Why the cluster does not do what it was asked.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    /// The servers' number for it, [`UNANSWERED`] or [`NOBODY`].
    code: u64,
    text: String,
}

/// No answer, or none that makes sense.
const UNANSWERED: u64 = u64::MAX;

/// The status of an answer which says that nobody was there who could.
const NOBODY: u64 = 503;

/// Failures that are acted upon. This is the one place that knows their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// What was asked for may have been done, or may be done later.
    Unanswered,
    /// Nobody was there who could do it.
    Nobody,
    /// There is no such stream.
    NoStream,
    /// There is no such message.
    NoMessage,
    /// Another stream holds the subject.
    Overlap,
    /// There is such a stream, with other settings.
    NameInUse,
    /// Somebody else came first, or nothing was stored for another reason that passes.
    Passing,
    /// A server cannot do it now; another may.
    NotHere,
    /// The cluster has fewer servers than are to store it.
    TooFew,
    Other,
}

/// The last message of a publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Last {
    /// The sequence in the stream; 0 where there is none.
    pub(super) at: u64,
    pub(super) number: Option<Sequence>,
}

/// A message as a server of its stream has it.
pub(super) struct Stored {
    pub(super) at: u64,
    pub(super) subject: String,
    headers: String,
    pub(super) payload: Vec<u8>,
    /// When it was stored, in Unix milliseconds.
    pub(super) time: u64,
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

impl Failure {
    /// The error in an answer, if there is one.
    fn of(answer: &Value<'_>) -> Option<Failure> {
        let error = answer.get("error")?;
        let code = error.get_u64("err_code").unwrap_or(0);
        let text = error.get_str("description").unwrap_or("no reason given");
        Some(Failure { code, text: text.to_owned() })
    }

    /// Whether it says that there is no such thing.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self.reason(), Reason::NoStream | Reason::NoMessage)
    }

    /// Whether nobody has said what was asked.
    pub(super) fn is_unclear(&self) -> bool {
        matches!(self.reason(), Reason::Unanswered | Reason::Nobody)
    }

    /// Whether another server may answer, or this one later.
    pub(super) fn is_passing(&self) -> bool {
        self.is_unclear() || self.reason() == Reason::NotHere
    }

    /// Whether a message was not stored, and may be sent again.
    pub(super) fn is_unstored(&self) -> bool {
        self.finds_nobody() || matches!(self.reason(), Reason::Passing | Reason::NotHere)
    }

    /// Whether nobody holds the subject of a message.
    pub(super) fn finds_nobody(&self) -> bool {
        matches!(self.reason(), Reason::Nobody | Reason::NoStream)
    }

    pub(super) fn reason(&self) -> Reason {
        match self.code {
            UNANSWERED => Reason::Unanswered,
            NOBODY => Reason::Nobody,
            10059 => Reason::NoStream,
            10037 => Reason::NoMessage,
            10065 => Reason::Overlap,
            10058 => Reason::NameInUse,
            10060 | 10071 | 10164 | 10167 | 10176 | 10210 => Reason::Passing,
            10008 | 10009 | 10118 => Reason::NotHere,
            // A server of the cluster may be away.
            10005 | 10074 if !self.text.contains("offline") => Reason::TooFew,
            _ => Reason::Other,
        }
    }
}

impl From<String> for Failure {
    /// There is no answer, and why.
    fn from(text: String) -> Failure {
        Failure { code: UNANSWERED, text }
    }
}

impl From<&str> for Failure {
    fn from(text: &str) -> Failure {
        text.to_owned().into()
    }
}

impl From<Failure> for Refusal {
    /// What a client is told.
    fn from(failure: Failure) -> Refusal {
        let Failure { code, text } = &failure;
        let (status, advice) = match *code {
            UNANSWERED | NOBODY => {
                let text = format!("NATS does not answer: {text}; try again");
                return Refusal::Home { status: 503, text };
            }
            10054 => (413, ""),
            10005 | 10074 if failure.reason() == Reason::TooFew => {
                (507, ": fewer servers are up than --nats-replicas says")
            }
            // Limits of servers, accounts and streams, and a stream that takes no more.
            10002 | 10023 | 10026..=10028 | 10047 | 10077 | 10109 => (507, ""),
            _ => (503, ""),
        };
        Refusal::Home { status, text: format!("NATS refuses: {text} ({code}){advice}") }
    }
}

/// What clients are told while nobody knows what has become of a request.
pub(super) fn unanswered(reason: impl Into<Failure>) -> Refusal {
    reason.into().into()
}

/// What an answer says. `read` takes from it what is wanted.
pub(super) fn answered<T>(
    answer: &Message,
    read: impl Fn(&Value<'_>) -> Option<T>,
) -> Result<T, Failure> {
    if answer.status().is_some() {
        return Err(Failure { code: NOBODY, text: "no server is there for it".to_owned() });
    }
    let answer = json::parse(answer.payload()).ok();
    match answer.as_ref().map(|it| (Failure::of(it), read(it))) {
        Some((Some(error), _)) => Err(error),
        Some((None, Some(found))) => Ok(found),
        _ => Err("its answer makes no sense".into()),
    }
}

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
    /// When to wait no longer for what may take so long.
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

    /// Messages that a server of a stream has, perhaps not the newest. Says whether it answered.
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
            let Stored { at, headers, .. } = Stored::of(answer)?;
            Some(Last { at, number: wire::header(&headers, "N").and_then(number) })
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

impl Stored {
    /// A message that was sent as it is.
    pub(super) fn sent(message: &Message) -> Option<Stored> {
        let subject = message.header("Nats-Subject").unwrap_or_else(|| message.subject());
        Some(Stored {
            at: message.number("Nats-Sequence")?,
            subject: subject.to_owned(),
            headers: String::new(),
            payload: message.payload().to_vec(),
            time: message.time().unwrap_or(0),
        })
    }

    /// The message in an answer.
    pub(super) fn of(answer: &Value<'_>) -> Option<Stored> {
        let message = answer.get("message")?;
        let text = |key| message.get_str(key).unwrap_or_default();
        let bytes = |key| base64(text(key));
        let (headers, payload) = (String::from_utf8(bytes("hdrs")?).ok()?, bytes("data")?);
        let at = message.get_u64("seq")?;
        let time = clock::moment(text("time"), 0).unwrap_or(0);
        Some(Stored { at, subject: text("subject").to_owned(), headers, payload, time })
    }
}

/// A time in Unix milliseconds, as the servers read it.
pub(super) fn written(time: u64) -> String {
    let (date, milliseconds) = (clock::plain_date(time), time % 1000);
    format!("{}.{milliseconds:03}Z", date.replace(' ', "T"))
}

/// Epoch and sequence, as the header `N` has them.
fn number(text: &str) -> Option<Sequence> {
    let (epoch, sequence) = text.split_once(' ')?;
    Some(Sequence { epoch: epoch.parse().ok()?, sequence: sequence.parse().ok()? })
}

/// The bytes of a text in base64.
fn base64(text: &str) -> Option<Vec<u8>> {
    let (mut out, mut bits, mut count) = (Vec::with_capacity(text.len() / 4 * 3), 0_u32, 0);
    for digit in text.trim_end_matches('=').bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 255) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_the_servers_read_it() {
        assert_eq!(written(784_111_777_042), "1994-11-06T08:49:37.042Z");
    }

    #[test]
    fn headers_in_base64_are_read() {
        let headers = base64("TkFUUy8xLjANCk46IDAgMA0KDQo=").unwrap();
        let headers = String::from_utf8(headers).unwrap();
        assert_eq!(headers, "NATS/1.0\r\nN: 0 0\r\n\r\n");
        let first = Sequence { epoch: 0, sequence: 0 };
        assert_eq!(number(wire::header(&headers, "N").unwrap()), Some(first));
        assert_eq!(base64("a*b"), None);
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

    #[test]
    fn limits_of_the_cluster_are_told_as_a_full_store() {
        for (code, status) in [(10023, 507), (10027, 507), (10005, 507), (10054, 413), (1, 503)] {
            let refusal = Refusal::from(Failure { code, text: "why".to_owned() });
            assert_eq!(refusal.status(), status, "{code}");
            assert!(refusal.to_string().contains("why"));
        }
    }
}
