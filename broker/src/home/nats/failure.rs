//! Why a cluster does not do what it was asked: what can be done about it, and what clients are
//! told.

use super::wire::Message;
use crate::refusal::Refusal;
use common::json::{self, Value};

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

    /// Whether nobody has answered.
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
    if answer.status().map(u64::from) == Some(NOBODY) {
        return Err(Failure { code: NOBODY, text: "no server is there for it".to_owned() });
    }
    let answer = json::parse(answer.payload()).ok();
    match answer.as_ref().map(|it| (Failure::of(it), read(it))) {
        Some((Some(error), _)) => Err(error),
        Some((None, Some(found))) => Ok(found),
        _ => Err("its answer makes no sense".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_the_cluster_are_told_as_a_full_store() {
        for (code, status) in [(10023, 507), (10027, 507), (10005, 507), (10054, 413), (1, 503)] {
            let refusal = Refusal::from(Failure { code, text: "why".to_owned() });
            assert_eq!(refusal.status(), status, "{code}");
            assert!(refusal.to_string().contains("why"));
        }
    }
}
