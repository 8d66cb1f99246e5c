//! What a cluster is asked about streams, in JSON, and what its errors are to clients.
//!
//! Questions of this kind change nothing twice: they are asked again until they are answered.

use super::NatsHome;
use super::wire;
use crate::refusal::Refusal;
use crate::store::batch::Sequence;
use crate::store::stream::StreamId;
use common::json::{self, Object, Value};
use common::random::random;
use std::thread;
use std::time::{Duration, Instant};

/// How long one server may take to answer before another is asked.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Before a question is asked again.
const PAUSE: Duration = Duration::from_millis(50);

/// Replicas that were heard of within this time vouch for their leader: one that was cut off
/// answers reads for ten seconds, and another is elected after four.
const VOUCH_TIME: u64 = 2_000_000_000;

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
    /// Somebody else came first, or nothing was stored for another reason that passes.
    Passing,
    /// A server cannot do it now; another may.
    NotHere,
    Other,
}

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
    /// About how many bytes a message takes there.
    pub(super) message_size: u64,
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

    pub(super) fn reason(&self) -> Reason {
        match self.code {
            10059 => Reason::NoStream,
            10037 => Reason::NoMessage,
            10065 => Reason::Overlap,
            10060 | 10071 | 10164 | 10167 | 10176 | 10210 => Reason::Passing,
            10008 | 10009 | 10118 => Reason::NotHere,
            _ => Reason::Other,
        }
    }

    /// What a client is told.
    pub(super) fn refusal(&self) -> Refusal {
        let ApiError { code, text } = self;
        let (status, advice) = match code {
            10054 => (413, ""),
            // A server of the cluster is away.
            10005 if text.contains("offline") => (503, ""),
            10005 | 10074 => (507, ": fewer servers are up than --nats-replicas says"),
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

/// What a client is told whose topic's name is held by a stream that is not this broker's.
pub(super) fn foreign(name: &str) -> Refusal {
    let text = format!(
        "the stream {name:?} of NATS, which is not this broker's, holds the topic's name: choose \
         other names with --nats-prefix"
    );
    Refusal::Home { status: 503, text }
}

/// An object of the API.
pub(super) fn object(members: impl FnOnce(&mut Object<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    let mut object = Object::new(&mut out);
    members(&mut object);
    object.end();
    out
}

/// The one subject of a question about streams.
pub(super) fn about(subject: &str) -> Vec<u8> {
    object(|object| {
        object.field("subject", subject);
    })
}

/// The names in an answer.
pub(super) fn streams<'v>(answer: &'v Value<'_>) -> impl Iterator<Item = &'v str> {
    let names = answer.get("streams").and_then(Value::as_array).unwrap_or_default();
    names.iter().filter_map(Value::as_str)
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
                && replica.get("active").and_then(Value::as_u64).is_some_and(|it| it < VOUCH_TIME)
        };
        let heard = 1 + replicas.iter().filter(is_heard).count();
        let is_vouched = heard * 2 > replicas.len() + 1;
        let first = number("first_seq").saturating_sub(1);
        let message_size = number("bytes") / number("messages").max(1);
        Some(Info { first, next: number("last_seq"), message_size, is_vouched })
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
    ) -> Result<Result<T, ApiError>, Refusal> {
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
                    let answer = json::parse(&message.payload).ok();
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
            if Instant::now() + PAUSE >= deadline {
                return Err(unanswered(&why));
            }
            thread::sleep(PAUSE);
        }
    }

    /// The stream of a topic, as the cluster says now.
    pub(super) fn find(&self, topic: &str, deadline: Instant) -> Result<Option<StreamId>, Refusal> {
        Ok(self.lists(topic, deadline)?.first().copied())
    }

    /// The streams that hold the name of a topic.
    fn lists(&self, topic: &str, deadline: Instant) -> Result<Vec<StreamId>, Refusal> {
        let claim = self.names.claim(topic);
        let found = self.ask("STREAM.NAMES", &about(&claim), deadline, |answer| {
            let list = |name| self.names.list(name).ok_or_else(|| foreign(name));
            Some(streams(answer).map(list).collect())
        })?;
        found.map_err(|error| error.refusal())?
    }

    /// Creates the stream of a topic; nothing where there is one.
    pub(super) fn create_stream(
        &self,
        topic: &str,
        deadline: Instant,
    ) -> Result<Option<StreamId>, Refusal> {
        let (list, names) = (StreamId::random(), &self.names);
        let name = names.stream(list);
        let settings = |takes_messages: bool| {
            object(|object| {
                object.field("name", &*name);
                object.array("subjects", |subjects| {
                    subjects.element(&*names.claim(topic));
                    if takes_messages {
                        subjects.element(&*names.unnumbered(list));
                        subjects.element(&*names.numbered(list, "*"));
                    }
                });
                object.field("storage", "file").field("retention", "limits");
                object.field("discard", "new").field("num_replicas", self.replicas);
                object.field("allow_direct", true).field("allow_atomic", true);
                // An offset names one message for ever.
                object.field("deny_delete", true).field("deny_purge", true);
                let (source, target) = (names.messages(list), names.republished(list));
                let republish = self::object(|object| {
                    object.field("src", &*source).field("dest", &*target);
                });
                object.raw("republish", &republish);
                let metadata = self::object(|object| {
                    object.field("topic", topic);
                });
                object.raw("metadata", &metadata);
            })
        };
        // It takes no messages until it is known to be the only one: a leader that was elected just
        // now may not have known of another, and a single server may make two at once.
        let create = format!("STREAM.CREATE.{name}");
        match self.ask(&create, &settings(false), deadline, |_| Some(()))? {
            Ok(()) => {}
            Err(error) if error.reason() == Reason::Overlap => return Ok(None),
            Err(error) => return Err(error.refusal()),
        }
        if self.lists(topic, deadline)? != [list] {
            self.delete_stream(list, deadline)?;
            // Not in step with the other, which may give way as well.
            thread::sleep(PAUSE * u32::try_from(random() % 8).unwrap_or(0));
            return Ok(None);
        }
        let update = format!("STREAM.UPDATE.{name}");
        let updated = self.ask(&update, &settings(true), deadline, |_| Some(()))?;
        updated.map(|()| Some(list)).map_err(|error| error.refusal())
    }

    /// Deletes a stream; says whether it was there.
    pub(super) fn delete_stream(&self, list: StreamId, deadline: Instant) -> Result<bool, Refusal> {
        let question = format!("STREAM.DELETE.{}", self.names.stream(list));
        match self.ask(&question, b"", deadline, |_| Some(()))? {
            Ok(()) => Ok(true),
            Err(error) if error.reason() == Reason::NoStream => Ok(false),
            Err(error) => Err(error.refusal()),
        }
    }

    /// From where to where a stream goes, as its leader says; nothing where it is gone.
    pub(super) fn info(&self, list: StreamId, deadline: Instant) -> Result<Option<Info>, Refusal> {
        let question = format!("STREAM.INFO.{}", self.names.stream(list));
        match self.ask(&question, b"", deadline, Info::of)? {
            Ok(info) => Ok(Some(info)),
            Err(error) if error.reason() == Reason::NoStream => Ok(None),
            Err(error) => Err(error.refusal()),
        }
    }

    /// Whether the leader of a stream is no leader that was cut off: what it says of the past may
    /// be answered to a client.
    pub(super) fn vouch(&self, list: StreamId, deadline: Instant) -> Result<(), Refusal> {
        if self.info(list, deadline)?.is_some_and(|info| info.is_vouched) {
            return Ok(());
        }
        if let Ok(live) = self.requests.live(deadline) {
            live.retire();
        }
        Err(unanswered("the leader of the stream is cut off"))
    }

    /// The last message of a publisher, as the stream's leader has it; nothing where the stream is
    /// gone.
    pub(super) fn last(
        &self,
        list: StreamId,
        publisher: &str,
        deadline: Instant,
    ) -> Result<Option<Last>, Refusal> {
        let subject = self.names.numbered(list, publisher);
        self.message(list, deadline, |object| {
            object.field("last_by_subj", &*subject);
        })
    }

    /// The first message of a publisher from a place on, in the same way.
    pub(super) fn first_from(
        &self,
        list: StreamId,
        publisher: &str,
        at: u64,
        deadline: Instant,
    ) -> Result<Option<Last>, Refusal> {
        let subject = self.names.numbered(list, publisher);
        self.message(list, deadline, |object| {
            object.field("seq", at).field("next_by_subj", &*subject);
        })
    }

    /// Place and number of one message.
    fn message(
        &self,
        list: StreamId,
        deadline: Instant,
        query: impl FnOnce(&mut Object<'_>),
    ) -> Result<Option<Last>, Refusal> {
        let question = format!("STREAM.MSG.GET.{}", self.names.stream(list));
        let found = self.ask(&question, &object(query), deadline, |answer| {
            let message = answer.get("message")?;
            let at = message.get("seq").and_then(Value::as_u64)?;
            let headers = base64(message.get("hdrs").and_then(Value::as_str).unwrap_or_default())?;
            let headers = String::from_utf8(headers).ok()?;
            Some(Last { at, number: Some(number(wire::header(&headers, "N")?)?) })
        })?;
        match found {
            Ok(last) => Ok(Some(last)),
            Err(error) if error.reason() == Reason::NoMessage => Ok(Some(Last::default())),
            Err(error) if error.reason() == Reason::NoStream => Ok(None),
            Err(error) => Err(error.refusal()),
        }
    }
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
