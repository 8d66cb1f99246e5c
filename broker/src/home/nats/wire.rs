//! NATS's text protocol as bytes: what a server says is parsed, what a client says is written.
//!
//! # Guarantee
//!
//! No I/O: whatever the bytes are cut into, the same operations come out, and nothing is taken
//! from an operation that has not wholly arrived.

use common::bytes::write_decimal;
use common::clock;
use std::ops::Range;
use std::str;

/// The longest line of a server: INFO names every other server.
const LINE_SIZE_MAX: usize = 64 << 10;

/// The largest message with its headers: an answer of the API holds a message as base64.
const MESSAGE_SIZE_MAX: usize = 16 << 20;

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// What the server is, as JSON.
    Info(String),
    Message(Message),
    Ping,
    Pong,
    /// A word that asks for nothing.
    Ok,
    /// What the server complains of.
    Error(String),
}

/// A message, with headers or without.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// The subscription that it came by.
    pub(super) sid: u64,
    /// The subject, behind it the headers as they came (a version and perhaps a status, then a line
    /// for each), and the payload: one piece of memory, for there are many messages.
    bytes: Vec<u8>,
    subject_size: usize,
    /// Of both.
    head_size: usize,
}

/// What no server says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Message {
    fn text(&self, range: Range<usize>) -> &str {
        self.bytes.get(range).and_then(|text| str::from_utf8(text).ok()).unwrap_or_default()
    }

    pub(super) fn subject(&self) -> &str {
        self.text(0..self.subject_size)
    }

    fn headers(&self) -> &str {
        self.text(self.subject_size..self.head_size)
    }

    pub(super) fn payload(&self) -> &[u8] {
        self.bytes.get(self.head_size..).unwrap_or_default()
    }

    /// The number that ends its subject: which request it answers.
    pub(super) fn answers(&self) -> Option<u64> {
        self.subject().rsplit('.').next()?.parse().ok()
    }

    /// The status, where this is an answer without content.
    pub(super) fn status(&self) -> Option<u16> {
        self.headers().lines().next()?.split(' ').nth(1)?.parse().ok()
    }

    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        header(self.headers(), name)
    }

    /// The offset at which it was stored, where that is said.
    pub(super) fn offset(&self) -> Option<u64> {
        self.number("Nats-Sequence")?.checked_sub(1)
    }

    /// When it was stored, in Unix milliseconds, where that is said.
    pub(super) fn time(&self) -> Option<u64> {
        clock::moment(self.header("Nats-Time-Stamp")?, 0).ok()
    }

    /// A header that is a number.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.parse().ok()
    }
}

/// The value of a header among others.
pub(super) fn header<'h>(headers: &'h str, name: &str) -> Option<&'h str> {
    let mut lines = headers.split('\n').skip(1);
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// Takes the first operation from the front of `input`, and says how many bytes it has; nothing
/// where it has not wholly arrived.
pub(super) fn parse(input: &[u8]) -> Result<Option<(Operation, usize)>, Malformed> {
    let line = input.get(..LINE_SIZE_MAX).unwrap_or(input);
    let Some(end) = line.iter().position(|byte| *byte == b'\n') else {
        return if input.len() < LINE_SIZE_MAX { Ok(None) } else { Err(Malformed) };
    };
    let size = end + 1;
    let line = line.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(Malformed)?;
    let line = str::from_utf8(line).map_err(|_| Malformed)?;
    let (word, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    // Most operations are messages.
    let has_headers = word.eq_ignore_ascii_case("HMSG");
    if has_headers || word.eq_ignore_ascii_case("MSG") {
        return message(rest, has_headers, input, size);
    }
    let operation = match word.to_ascii_uppercase().as_str() {
        "INFO" => Operation::Info(rest.to_owned()),
        "PING" => Operation::Ping,
        "PONG" => Operation::Pong,
        "+OK" => Operation::Ok,
        "-ERR" => Operation::Error(rest.trim().trim_matches('\'').to_owned()),
        _ => return Err(Malformed),
    };
    Ok(Some((operation, size)))
}

/// A message whose line is `line` and whose content begins at `start`.
fn message(
    line: &str,
    has_headers: bool,
    input: &[u8],
    start: usize,
) -> Result<Option<(Operation, usize)>, Malformed> {
    let mut fields = line.split_ascii_whitespace();
    let (subject, sid) = (fields.next().ok_or(Malformed)?, fields.next().ok_or(Malformed)?);
    let size = fields.next_back().ok_or(Malformed)?;
    let head = if has_headers { fields.next_back().ok_or(Malformed)? } else { "0" };
    // What is left is where an answer is to go.
    if fields.count() > 1 {
        return Err(Malformed);
    }
    let number = |text: &str| text.parse::<usize>().map_err(|_| Malformed);
    let (head, size) = (number(head)?, number(size)?);
    if head > size || size > MESSAGE_SIZE_MAX {
        return Err(Malformed);
    }
    let Some(content) = input.get(start..start + size + 2) else { return Ok(None) };
    let content = content.strip_suffix(b"\r\n").ok_or(Malformed)?;
    let (headers, payload) = content.split_at_checked(head).ok_or(Malformed)?;
    let headers = String::from_utf8_lossy(headers);
    let bytes = [subject.as_bytes(), headers.as_bytes(), payload].concat();
    let sid = sid.parse().map_err(|_| Malformed)?;
    let subject_size = subject.len();
    let message = Message { sid, bytes, subject_size, head_size: subject_size + headers.len() };
    Ok(Some((Operation::Message(message), start + size + 2)))
}

/// Writes a publish. `headers` are lines, each with its end.
pub(super) fn publish(
    out: &mut Vec<u8>,
    subject: &str,
    reply: Option<&str>,
    headers: &str,
    payload: &[u8],
) {
    let (word, version, end) = match headers {
        "" => ("PUB", "", ""),
        _ => ("HPUB", "NATS/1.0\r\n", "\r\n"),
    };
    for word in [word, subject].into_iter().chain(reply) {
        out.extend_from_slice(word.as_bytes());
        out.push(b' ');
    }
    let head = version.len() + headers.len() + end.len();
    if head > 0 {
        write_decimal(out, head as u64);
        out.push(b' ');
    }
    write_decimal(out, (head + payload.len()) as u64);
    for part in ["\r\n", version, headers, end] {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// Writes a subscription.
pub(super) fn subscribe(out: &mut Vec<u8>, subject: &str, sid: u64) {
    out.extend_from_slice(format!("SUB {subject} {sid}\r\n").as_bytes());
}

/// Writes the end of a subscription.
pub(super) fn unsubscribe(out: &mut Vec<u8>, sid: u64) {
    out.extend_from_slice(format!("UNSUB {sid}\r\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headed(head: &str, payload: &str) -> String {
        let (head_size, size) = (head.len(), head.len() + payload.len());
        format!("HMSG a.b 9 _INBOX.x.2 {head_size} {size}\r\n{head}{payload}\r\n")
    }

    /// Every operation of some bytes that arrive in two pieces.
    fn operations(input: &[u8], cut: usize) -> Vec<Operation> {
        let (mut found, mut from) = (Vec::new(), 0);
        for end in [cut, input.len()] {
            while let Some((operation, size)) = parse(&input[from..end]).unwrap() {
                found.push(operation);
                from += size;
            }
        }
        assert_eq!(from, input.len());
        found
    }

    #[test]
    fn operations_are_the_same_wherever_their_bytes_are_cut() {
        let mut input = "INFO {\"max_payload\":1048576} \r\nPING\r\nPONG\r\n+OK\r\n\
                         -ERR 'Authorization Violation'\r\nMSG a.b 7 5\r\nhe\r\no\r\n\
                         msg a.b 7 _INBOX.x.1 0\r\n\r\n"
            .to_owned();
        input += &headed("NATS/1.0\r\nN: 3 14\r\n\r\n", "hi");
        input += &headed("NATS/1.0 503 No Responders\r\n\r\n", "");
        let input = input.into_bytes();
        let whole = operations(&input, input.len());
        assert_eq!(whole.len(), 9);
        assert_eq!(whole[4], Operation::Error("Authorization Violation".to_owned()));
        let [.., Operation::Message(numbered), Operation::Message(status)] = whole.as_slice()
        else {
            panic!("{whole:?}");
        };
        assert_eq!((numbered.header("N"), numbered.status()), (Some("3 14"), None));
        assert_eq!((numbered.payload(), numbered.sid), (&b"hi"[..], 9));
        assert_eq!((status.status(), status.payload().len()), (Some(503), 0));
        for cut in 0..input.len() {
            assert_eq!(operations(&input, cut), whole, "cut at {cut}");
        }
    }

    #[test]
    fn what_no_server_says_is_refused_and_nothing_waits_for_ever() {
        for bad in [
            "HELLO\r\n",
            "MSG a\r\n",
            "MSG a x 1\r\na\r\n",
            "MSG a 1 -1\r\n",
            "MSG a 1 99999999999\r\n",
            "HMSG a 1 5 4\r\nabcd\r\n",
            "MSG a 1 1\r\nabc\r\n",
            "\u{0}\r\n",
        ] {
            assert_eq!(parse(bad.as_bytes()), Err(Malformed), "{bad:?}");
        }
        assert_eq!(parse(&[b'a'; LINE_SIZE_MAX - 1]), Ok(None));
        assert_eq!(parse(&[b'a'; LINE_SIZE_MAX]), Err(Malformed));
    }

    #[test]
    fn publishes_are_written_with_the_sizes_of_what_follows() {
        let mut out = Vec::new();
        publish(&mut out, "a", None, "", b"hi");
        publish(&mut out, "a.b", Some("_INBOX.x"), "N: 0 1\r\n", b"hi");
        let text = "PUB a 2\r\nhi\r\n\
                    HPUB a.b _INBOX.x 20 22\r\nNATS/1.0\r\nN: 0 1\r\n\r\nhi\r\n";
        assert_eq!(str::from_utf8(&out), Ok(text));
    }
}
