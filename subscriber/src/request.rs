//! The requests of the kept file: `GET /messages`.

use common::client::{Refusal, Trouble};
use common::http::client::Client;
use common::http::percent;
use std::fmt::Write as _;
use std::time::Duration;

/// How long the broker is asked to wait for the next message, in seconds. Short enough that what
/// stands between may not take the connection for a dead one.
const WAIT_SECONDS: u64 = 30;

/// How long the next bytes of an answer may take, beyond what the broker was asked to wait.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Where to continue in a list. Only brokers whose answers carry a [`Cursor`] know it. They wait if
/// there are no messages yet.
#[derive(Debug)]
pub(crate) struct Position<'a> {
    /// The first offset to give.
    pub(crate) from: u64,
    /// The list that it belongs to.
    pub(crate) stream: Option<&'a str>,
    /// The digest of the messages before it.
    pub(crate) digest: Option<u32>,
}

/// The place after the messages of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The offset to ask for next.
    pub(crate) next: u64,
    /// The list's own id.
    pub(crate) stream: Option<String>,
    /// The first offset that it still has.
    pub(crate) first: u64,
}

/// The head of an answer before the messages: the place after them, unless the broker does not know
/// places; or the refusal.
pub(crate) type Answer = Result<Option<Cursor>, Refusal>;

/// Asks for a topic's messages from a position on, or for all of them, and reads the answer's
/// head. The messages themselves are in [`Client::body`].
pub(crate) fn ask(
    client: &mut Client,
    topic: &str,
    position: Option<&Position<'_>>,
) -> Result<Answer, Trouble> {
    let wait = Duration::from_secs(if position.is_some() { WAIT_SECONDS } else { 0 });
    let head = client.request("GET", &target(topic, position), b"", wait + PATIENCE)?;
    let offset = |name| head.field(name).and_then(|offset| offset.parse().ok());
    let first = offset("Stream-First-Offset");
    if !(200..300).contains(&head.status) {
        let refusal = Refusal::of_http(head.status, &client.short_body(PATIENCE));
        return Ok(Err(Refusal { first, ..refusal }));
    }
    let stream = head.field("Stream-Id").map(str::to_owned);
    let first = first.unwrap_or(0);
    Ok(Ok(offset("Stream-Next-Offset").map(|next| Cursor { next, stream, first })))
}

fn target(topic: &str, position: Option<&Position<'_>>) -> String {
    let mut target = format!("/messages?topic={}", percent::encode(topic));
    let Some(Position { from, stream, digest }) = position else { return target };
    let stream = stream.map(|stream| format!("&stream={}", percent::encode(stream)));
    let digest = digest.map(|digest| format!("&digest={digest:08x}"));
    let (stream, digest) = (stream.unwrap_or_default(), digest.unwrap_or_default());
    // Writing to a string does not fail.
    let _ = write!(target, "&from={from}{stream}{digest}&wait={WAIT_SECONDS}");
    target
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bare_request_names_the_topic_and_nothing_else() {
        assert_eq!(target("alpha", None), "/messages?topic=alpha");
        assert_eq!(target("a b&c=d/é+%", None), "/messages?topic=a%20b%26c%3Dd%2F%C3%A9%2B%25");
    }

    #[test]
    fn the_full_request_names_a_position_in_a_list() {
        let position = Position { from: 7, stream: Some("0123456789abcdef"), digest: Some(0xBEEF) };
        assert_eq!(
            target("t", Some(&position)),
            "/messages?topic=t&from=7&stream=0123456789abcdef&digest=0000beef&wait=30"
        );
    }
}
