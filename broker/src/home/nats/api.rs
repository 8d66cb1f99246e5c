//! What a cluster is asked about streams, in JSON, and what its errors are to clients.
//!
//! Questions of this kind change nothing twice: they are asked again until they are answered.

use super::NatsHome;
use super::wire::{self, Message};
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
pub(super) struct ApiError {
    code: u64,
    text: String,
}

/// Errors that are acted upon. This is the one place that knows their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
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

/// A message as the leader of a stream has it.
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

impl ApiError {
    /// The error in an answer, if there is one.
    pub(super) fn of(answer: &Value<'_>) -> Option<ApiError> {
        let error = answer.get("error")?;
        let code = error.get("err_code").and_then(Value::as_u64).unwrap_or(0);
        let text = error.get("description").and_then(Value::as_str).unwrap_or("no reason given");
        Some(ApiError { code, text: text.to_owned() })
    }

    /// Whether it says that there is no such thing.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self.reason(), Reason::NoStream | Reason::NoMessage)
    }

    pub(super) fn reason(&self) -> Reason {
        match self.code {
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

    /// What a client is told.
    pub(super) fn refusal(&self) -> Refusal {
        let ApiError { code, text } = self;
        let (status, advice) = match code {
            10054 => (413, ""),
            10005 | 10074 if self.reason() == Reason::TooFew => {
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
pub(super) fn unanswered(reason: &str) -> Refusal {
    Refusal::Home { status: 503, text: format!("NATS does not answer: {reason}; try again") }
}

/// Waits before something is tried again.
///
/// # Errors
///
/// There is no time left: why it was not done.
pub(super) fn pause(time: Duration, deadline: Instant, why: &str) -> Result<()> {
    if Instant::now() + time >= deadline {
        return Err(unanswered(why));
    }
    thread::sleep(time);
    Ok(())
}

/// An object of the API.
pub(super) fn object(members: impl FnOnce(&mut Object<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    let mut object = Object::new(&mut out);
    members(&mut object);
    object.end();
    out
}

/// A question about one subject.
pub(super) fn about(key: &'static str, subject: &str) -> Vec<u8> {
    object(|object| {
        object.field(key, subject);
    })
}

impl Info {
    /// What an answer says.
    pub(super) fn of(answer: &Value<'_>) -> Option<Info> {
        let state = answer.get("state")?;
        let number = |key| state.get(key).and_then(Value::as_u64).unwrap_or(0);
        let replicas = answer.get("cluster").and_then(|it| it.get("replicas"));
        let replicas = replicas.and_then(Value::as_array).unwrap_or_default();
        let is_heard = |replica: &&Value<'_>| {
            replica.get("current").and_then(Value::as_bool) == Some(true)
                && replica
                    .get("active")
                    .and_then(Value::as_u64)
                    .is_some_and(|it| Duration::from_nanos(it) < VOUCH_TIME)
        };
        let heard = 1 + replicas.iter().filter(is_heard).count();
        let is_vouched = heard * 2 > replicas.len() + 1;
        let first = number("first_seq").saturating_sub(1);
        let bytes = number("bytes");
        let message_size = bytes / number("messages").max(1);
        let is_alone = replicas.is_empty();
        let subjects = answer.get("config").and_then(|config| config.get("subjects")?.as_array());
        let is_open = subjects.is_some_and(|subjects| subjects.len() > 1);
        let next = number("last_seq");
        Some(Info { first, next, bytes, message_size, is_open, is_alone, is_vouched })
    }
}

impl NatsHome {
    /// Asks until there is an answer. `read` takes from it what is wanted.
    pub(super) fn ask<T>(
        &self,
        question: &str,
        body: &[u8],
        deadline: Instant,
        read: impl Fn(&Value<'_>) -> Option<T>,
    ) -> Result<Result<T, ApiError>> {
        let subject = format!("$JS.API.{question}");
        loop {
            let live = self.requests.live(deadline).map_err(|it| unanswered(&it.reason))?;
            let until = deadline.min(Instant::now() + ANSWER_TIMEOUT);
            let answer = live.request(until, |reply, out| {
                wire::publish(out, &subject, Some(reply), "", body);
            });
            let why = match answer {
                Err(unanswered) => unanswered.0,
                Ok(message) if message.status().is_some() => "JetStream is not there".to_owned(),
                Ok(message) => {
                    let answer = json::parse(message.payload()).ok();
                    match answer.as_ref().map(|it| (ApiError::of(it), read(it))) {
                        Some((None, Some(found))) => return Ok(Ok(found)),
                        Some((Some(error), _)) if error.reason() != Reason::NotHere => {
                            return Ok(Err(error));
                        }
                        Some((Some(error), _)) => {
                            live.retire();
                            error.text
                        }
                        _ => "its answer makes no sense".to_owned(),
                    }
                }
            };
            pause(PAUSE, deadline, &why)?;
        }
    }

    /// Removes the messages of a subject that stand before a sequence.
    pub(super) fn purge(
        &self,
        stream: &str,
        subject: &str,
        before: u64,
        deadline: Instant,
    ) -> Result<()> {
        let body = object(|object| {
            object.field("filter", subject).field("seq", before);
        });
        match self.ask(&format!("STREAM.PURGE.{stream}"), &body, deadline, |_| Some(()))? {
            Err(error) if error.reason() != Reason::NoStream => Err(error.refusal()),
            _ => Ok(()),
        }
    }

    /// Messages that a server of a stream has, perhaps not the newest. Says whether it answered.
    pub(super) fn collect(
        &self,
        stream: &str,
        query: impl FnOnce(&mut Object<'_>),
        deadline: Instant,
    ) -> Result<(Vec<Message>, bool)> {
        let (subject, body) = (format!("$JS.API.DIRECT.GET.{stream}"), object(query));
        let live = self.requests.live(deadline).map_err(|it| unanswered(&it.reason))?;
        let answers = live.collect(deadline, |reply, out| {
            wire::publish(out, &subject, Some(reply), "", &body);
        });
        answers.map_err(|lost| unanswered(&lost.0))
    }

    /// From where to where a stream goes, as its leader says; nothing where it is gone.
    pub(super) fn info(&self, list: StreamId, deadline: Instant) -> Result<Option<Info>> {
        let question = format!("STREAM.INFO.{}", self.names.stream(list));
        match self.ask(&question, b"", deadline, Info::of)? {
            Ok(info) => Ok(Some(info)),
            Err(error) if error.reason() == Reason::NoStream => Ok(None),
            Err(error) => Err(error.refusal()),
        }
    }

    /// Whether the leader of a stream is no leader that was cut off: what it has said of the past
    /// may be answered to a client. Most replicas have to be heard of by it after that.
    pub(super) fn vouch(&self, list: StreamId, deadline: Instant) -> Result<()> {
        let is_alone = self.info(list, deadline)?.is_some_and(|info| info.is_alone);
        if is_alone {
            return Ok(());
        }
        thread::sleep(VOUCH_TIME.min(deadline.saturating_duration_since(Instant::now())));
        if self.info(list, deadline)?.is_some_and(|info| info.is_vouched) {
            return Ok(());
        }
        if let Ok(live) = self.requests.live(deadline) {
            live.retire();
        }
        Err(unanswered("the leader of the stream is cut off"))
    }

    /// Has another server lead a stream.
    pub(super) fn replace_leader(&self, list: StreamId, deadline: Instant) -> Result<()> {
        let question = format!("STREAM.LEADER.STEPDOWN.{}", self.names.stream(list));
        // A single server has none.
        self.ask(&question, b"", deadline, |_| Some(())).map(drop)
    }

    /// The last message of a publisher, as the stream's leader has it; nothing where the stream is
    /// gone.
    pub(super) fn last(
        &self,
        list: StreamId,
        publisher: &str,
        deadline: Instant,
    ) -> Result<Option<Last>> {
        let subject = self.names.numbered(list, publisher);
        self.message(list, &about("last_by_subj", &subject), deadline)
    }

    /// The first message of a publisher from a place on, in the same way.
    pub(super) fn first_from(
        &self,
        list: StreamId,
        publisher: &str,
        at: u64,
        deadline: Instant,
    ) -> Result<Option<Last>> {
        let subject = self.names.numbered(list, publisher);
        let body = object(|object| {
            object.field("seq", at).field("next_by_subj", &*subject);
        });
        self.message(list, &body, deadline)
    }

    /// The place of the first message of a time or later, in Unix milliseconds, in the same way.
    pub(super) fn first_since(
        &self,
        list: StreamId,
        time: u64,
        deadline: Instant,
    ) -> Result<Option<u64>> {
        let found = self.message(list, &about("start_time", &written(time)), deadline)?;
        Ok(found.map(|last| last.at).filter(|at| *at > 0))
    }

    /// Place and number of one message.
    fn message(&self, list: StreamId, body: &[u8], deadline: Instant) -> Result<Option<Last>> {
        let question = format!("STREAM.MSG.GET.{}", self.names.stream(list));
        let found = self.ask(&question, body, deadline, |answer| {
            let Stored { at, headers, .. } = Stored::of(answer)?;
            Some(Last { at, number: wire::header(&headers, "N").and_then(number) })
        })?;
        match found {
            Ok(last) => Ok(Some(last)),
            Err(error) if error.reason() == Reason::NoMessage => Ok(Some(Last::default())),
            Err(error) if error.reason() == Reason::NoStream => Ok(None),
            Err(error) => Err(error.refusal()),
        }
    }
}

impl Stored {
    /// The message in an answer.
    pub(super) fn of(answer: &Value<'_>) -> Option<Stored> {
        let message = answer.get("message")?;
        let bytes = |key| base64(message.get(key).and_then(Value::as_str).unwrap_or_default());
        let text = |key| message.get(key).and_then(Value::as_str).unwrap_or_default();
        let (headers, payload) = (String::from_utf8(bytes("hdrs")?).ok()?, bytes("data")?);
        let at = message.get("seq").and_then(Value::as_u64)?;
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
            let error = ApiError { code, text: "why".to_owned() };
            let refusal = error.refusal();
            assert_eq!(refusal.status(), status, "{code}");
            assert!(refusal.to_string().contains("why"));
        }
    }
}
