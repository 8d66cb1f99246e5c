//! What is asked of the broker, and what it answers: `GET /messages`.

use common::http::client;
use common::http::percent;
use common::remote::{Remote, is_passing, refusal};
use std::fmt::Write as _;
use std::time::Duration;

/// How long the broker is asked to wait for the next message, in seconds. Short enough that what
/// stands between may not take the connection for a dead one.
const WAIT_SECONDS: u64 = 30;

/// How long the next bytes of an answer may take, beyond what the broker was asked to wait.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// One request. All but the topic is known only to brokers whose answers carry a [`Cursor`].
#[derive(Debug, Default)]
pub(crate) struct Question<'a> {
    pub(crate) topic: &'a str,
    /// The first offset to give.
    pub(crate) from: Option<u64>,
    /// The most messages to give.
    pub(crate) limit: Option<u64>,
    /// The list that `from` belongs to.
    pub(crate) stream: Option<&'a str>,
    /// The digest of the messages before `from`.
    pub(crate) digest: Option<u32>,
    /// Whether to wait where there is nothing to give yet.
    pub(crate) wait: bool,
}

/// A place in a list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The offset to ask for next.
    pub(crate) next: u64,
    /// The list's own id.
    pub(crate) stream: Option<String>,
}

/// An answer's head.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The messages follow. With the place behind them, unless the broker knows no such thing.
    List(Option<Cursor>),
    /// The list is not the one that was asked about: another stream, another digest, or shorter.
    OtherList(String),
    /// The broker will not, whenever it is asked.
    Refused(String),
    /// The broker cannot at present.
    Later(String),
}

impl Question<'_> {
    /// Asks, and reads the answer's head; the list itself is in [`Remote::body`].
    pub(crate) fn ask(&self, remote: &mut Remote, method: &str) -> Result<Answer, client::Error> {
        let wait = Duration::from_secs(if self.wait { WAIT_SECONDS } else { 0 });
        let head = remote.ask(method, &self.target(), b"", wait + PATIENCE)?;
        if (200..300).contains(&head.status) {
            let next = head.field("Stream-Next-Offset").and_then(|next| next.parse().ok());
            let stream = head.field("Stream-Id").map(str::to_owned);
            return Ok(Answer::List(next.map(|next| Cursor { next, stream })));
        }
        let body = remote.short_body(PATIENCE);
        Ok(Answer::not_a_list(head.status, &body))
    }

    fn target(&self) -> String {
        let mut target = format!("/messages?topic={}", percent::encode(self.topic));
        let mut add = |name, value: &dyn std::fmt::Display| {
            // Writing to a string does not fail.
            let _ = write!(target, "&{name}={value}");
        };
        if let Some(from) = self.from {
            add("from", &from);
        }
        if let Some(limit) = self.limit {
            add("limit", &limit);
        }
        if let Some(stream) = self.stream {
            add("stream", &percent::encode(stream));
        }
        if let Some(digest) = self.digest {
            add("digest", &format_args!("{digest:08x}"));
        }
        if self.wait {
            add("wait", &WAIT_SECONDS);
        }
        target
    }
}

impl Answer {
    /// What any status but a success means.
    fn not_a_list(status: u16, body: &[u8]) -> Answer {
        let reason = refusal(status, body);
        match status {
            410 | 412 | 416 => Answer::OtherList(reason),
            status if is_passing(status) => Answer::Later(reason),
            _ => Answer::Refused(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bare_question_names_the_topic_and_nothing_else() {
        let bare = |topic| Question { topic, ..Question::default() }.target();
        assert_eq!(bare("alpha"), "/messages?topic=alpha");
        assert_eq!(bare("a b&c=d/é+%"), "/messages?topic=a%20b%26c%3Dd%2F%C3%A9%2B%25");
    }

    #[test]
    fn the_full_question_names_a_place_in_a_list() {
        let question = Question {
            topic: "t",
            from: Some(7),
            limit: Some(2),
            stream: Some("0123456789abcdef"),
            digest: Some(0xBEEF),
            wait: true,
        };
        assert_eq!(
            question.target(),
            "/messages?topic=t&from=7&limit=2&stream=0123456789abcdef&digest=0000beef&wait=30"
        );
    }

    #[test]
    fn a_status_tells_what_to_do_next() {
        for status in [410, 412, 416] {
            assert!(matches!(Answer::not_a_list(status, b""), Answer::OtherList(_)), "{status}");
        }
        for status in [408, 429, 500, 503, 507] {
            assert!(matches!(Answer::not_a_list(status, b""), Answer::Later(_)), "{status}");
        }
        for status in [301, 400, 401, 404, 421] {
            assert!(matches!(Answer::not_a_list(status, b""), Answer::Refused(_)), "{status}");
        }
    }
}
