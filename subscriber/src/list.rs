//! A topic's list, as `GET /messages` gives it.

use common::client::{Broker, Refusal, Trouble};
use common::crc32::Crc32;
use common::http::client::Client;
use common::http::percent;
use common::limits::BODY_SIZE_MAX;
use common::stream::StreamId;
use std::io;
use std::time::Duration;

/// How long the broker is asked to wait for the next message. Short enough that what stands between
/// may not take the connection for a dead one.
pub(crate) const WAIT: Duration = Duration::from_secs(30);

/// How long the next bytes of an answer may take, beyond what the broker was asked to wait.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The list of one topic, and the connection over which it is read.
#[derive(Debug)]
pub(crate) struct List {
    pub(crate) client: Client,
    topic: String,
}

/// What the head of an answer says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The offset after its messages, to ask for next.
    pub(crate) next: u64,
    /// The list's own id.
    pub(crate) stream: Option<StreamId>,
    /// The first offset that the list still has.
    pub(crate) first: u64,
}

impl List {
    pub(crate) fn new(broker: &Broker, topic: &str) -> List {
        List { client: broker.http(), topic: topic.to_owned() }
    }

    /// Asks for messages, and reads the answer's head: the place after them, unless the broker does
    /// not know places; or the refusal. With a [`position`], from there on; else all of them. The
    /// broker may have been asked to wait.
    pub(crate) fn ask(
        &mut self,
        position: &str,
        wait: Duration,
    ) -> Result<Result<Option<Answer>, Refusal>, Trouble> {
        let target = format!("/messages?topic={}{position}", percent::encode(&self.topic));
        let head = self.client.request("GET", &target, b"", wait + PATIENCE)?;
        let offset = |name| head.field(name).and_then(|offset| offset.parse().ok());
        let first = offset("Stream-First-Offset");
        if !(200..300).contains(&head.status) {
            let refusal = Refusal::of_http(head.status, &self.client.short_body(PATIENCE));
            return Ok(Err(Refusal { first, ..refusal }));
        }
        let stream = head.field("Stream-Id").and_then(|stream| stream.parse().ok());
        let first = first.unwrap_or(0);
        Ok(Ok(offset("Stream-Next-Offset").map(|next| Answer { next, stream, first })))
    }

    /// Reads the messages of the answer, and passes on whole lines, as many at once as came.
    pub(crate) fn read(
        &mut self,
        mut sink: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), Trouble> {
        let mut lines = WholeLines::default();
        self.client.body(PATIENCE, |piece| lines.take(piece, &mut sink))
    }
}

/// Where to continue in a list: the first offset to give, the list that it belongs to, and the
/// digest of the messages before it. Only brokers that give an [`Answer`] know it. They wait if
/// there are no messages yet.
pub(crate) fn position(from: u64, stream: Option<StreamId>, digest: Option<u32>) -> String {
    let stream = stream.map(|stream| format!("&stream={stream}")).unwrap_or_default();
    let digest = digest.map(|digest| format!("&digest={digest:08x}")).unwrap_or_default();
    format!("&from={from}{stream}{digest}&wait={}", WAIT.as_secs())
}

/// The beginning of a line whose end has not arrived yet.
#[derive(Debug, Default)]
pub(crate) struct WholeLines {
    partial: Vec<u8>,
}

impl WholeLines {
    /// Takes the next piece, and passes to `sink` in one go all lines that it completes.
    ///
    /// # Errors
    ///
    /// Those of `sink`, or that a line is longer than any body that a broker takes.
    pub(crate) fn take(
        &mut self,
        piece: &[u8],
        mut sink: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let end = piece.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        let (whole, rest) = piece.split_at(end);
        if self.partial.is_empty() && !whole.is_empty() {
            sink(whole)?;
        } else if !whole.is_empty() {
            self.partial.extend_from_slice(whole);
            sink(&self.partial)?;
            self.partial.clear();
        }
        if rest.len() > BODY_SIZE_MAX - self.partial.len() {
            return Err(io::Error::other(format!("a line is longer than {BODY_SIZE_MAX} bytes")));
        }
        self.partial.extend_from_slice(rest);
        Ok(())
    }
}

/// Finds new messages in a list, for brokers that only give the whole list. It is compared with a
/// file as it arrives, by the file's digest. So neither is kept in memory.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// Bytes of the list that are still to be compared.
    size_left: u64,
    crc: Crc32,
    digest: u32,
}

impl Comparison {
    /// Compares with a file of this size and digest.
    pub(crate) fn new(size: u64, digest: u32) -> Comparison {
        Comparison { size_left: size, crc: Crc32::default(), digest }
    }

    /// Takes the next piece of the list, and gives the part of it that is not in the file yet. That
    /// is empty if the list does not begin with the contents of the file.
    pub(crate) fn new_part<'a>(&mut self, piece: &'a [u8]) -> &'a [u8] {
        let size = usize::try_from(self.size_left).unwrap_or(usize::MAX).min(piece.len());
        let (known, new) = piece.split_at(size);
        self.size_left -= size as u64;
        self.crc.update(known);
        if self.continues() { new } else { &[] }
    }

    /// Whether the list, as far as it has arrived, begins with the contents of the file.
    pub(crate) fn continues(&self) -> bool {
        self.size_left == 0 && self.crc.value() == self.digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::crc32::crc32;

    #[test]
    fn a_request_may_continue_at_a_position_in_a_list() {
        assert_eq!(position(0, None, None), "&from=0&wait=30");
        assert_eq!(
            position(7, "0123456789abcdef".parse().ok(), Some(0xBEEF)),
            "&from=7&stream=0123456789abcdef&digest=0000beef&wait=30"
        );
    }

    fn batches(pieces: &[&str]) -> Vec<String> {
        let mut lines = WholeLines::default();
        let mut batches = Vec::new();
        for piece in pieces {
            let mut sink = |batch: &[u8]| {
                batches.push(String::from_utf8(batch.to_vec()).unwrap());
                Ok(())
            };
            lines.take(piece.as_bytes(), &mut sink).unwrap();
        }
        batches
    }

    #[test]
    fn only_whole_lines_are_passed_on_and_as_many_at_once_as_came() {
        assert_eq!(batches(&["a\nb\n"]), ["a\nb\n"]);
        assert_eq!(batches(&["a\nb", "", "c", "\nd\ne"]), ["a\n", "bc\nd\n"]);
        assert_eq!(batches(&["\n", "\n\n"]), ["\n", "\n\n"]);
        assert_eq!(batches(&["a", "b"]), [""; 0]);
    }

    #[test]
    fn a_line_may_be_as_long_as_a_body_and_no_longer() {
        let mut lines = WholeLines::default();
        lines.take(&vec![b'x'; BODY_SIZE_MAX], |_| unreachable!()).unwrap();
        assert!(lines.take(b"x", |_| unreachable!()).is_err());
    }

    /// What is new in a list that comes in two pieces, if it continues the file.
    fn new(file: &str, list: &str, cut: usize) -> Option<String> {
        let mut comparison = Comparison::new(file.len() as u64, crc32(file.as_bytes()));
        let (first, second) = list.as_bytes().split_at(cut);
        let mut new = comparison.new_part(first).to_vec();
        new.extend(comparison.new_part(second));
        comparison.continues().then(|| String::from_utf8(new).unwrap())
    }

    #[test]
    fn what_lies_behind_the_file_is_new_however_the_list_is_cut() {
        for (file, list, expected) in [
            ("", "", Some("")),
            ("", "a\n", Some("a\n")),
            ("a\n", "a\n", Some("")),
            ("a\n", "a\nb\nc\n", Some("b\nc\n")),
            ("a\n", "b\n", None),
            ("a\n", "b\na\n", None),
            ("a\nb\n", "a\n", None),
            ("a\n", "", None),
        ] {
            for cut in 0..=list.len() {
                let found = new(file, list, cut);
                assert_eq!(found.as_deref(), expected, "{file:?} {list:?} cut at {cut}");
            }
        }
    }
}
