//! The requests of the kept file: `GET /messages`.

use common::client::{Refusal, Trouble};
use common::http::client::Client;
use common::http::percent;
use std::time::Duration;

/// How long the broker is asked to wait for the next message, in seconds. Short enough that what
/// stands between may not take the connection for a dead one.
const WAIT_SECONDS: u64 = 30;

/// How long the next bytes of an answer may take, beyond what the broker was asked to wait.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

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

/// Asks for a topic's messages, and reads the answer's head. The messages themselves are in
/// [`Client::body`]. With a [`position`], from there on; without, all of them.
pub(crate) fn ask(
    client: &mut Client,
    topic: &str,
    position: Option<&str>,
) -> Result<Answer, Trouble> {
    let mut target = format!("/messages?topic={}", percent::encode(topic));
    target.push_str(position.unwrap_or_default());
    let wait = Duration::from_secs(if position.is_some() { WAIT_SECONDS } else { 0 });
    let head = client.request("GET", &target, b"", wait + PATIENCE)?;
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

/// Where to continue in a list: the first offset to give, the list that it belongs to, and the
/// digest of the messages before it. Only brokers whose answers carry a [`Cursor`] know it. They
/// wait if there are no messages yet.
pub(crate) fn position(from: u64, stream: Option<&str>, digest: Option<u32>) -> String {
    let stream = stream.map(|stream| format!("&stream={}", percent::encode(stream)));
    let digest = digest.map(|digest| format!("&digest={digest:08x}"));
    let (stream, digest) = (stream.unwrap_or_default(), digest.unwrap_or_default());
    format!("&from={from}{stream}{digest}&wait={WAIT_SECONDS}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_may_continue_at_a_position_in_a_list() {
        assert_eq!(position(0, None, None), "&from=0&wait=30");
        assert_eq!(
            position(7, Some("0123456789abcdef"), Some(0xBEEF)),
            "&from=7&stream=0123456789abcdef&digest=0000beef&wait=30"
        );
    }
}
