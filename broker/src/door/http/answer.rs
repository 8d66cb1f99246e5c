//! Writes the answers of the HTTP door.
//!
//! One function writes every head, another one every refusal. Every answer has a `Date` (RFC 9110
//! §6.6.1) and a length. Nothing that a client sent gets into a head.

use crate::door::Confirmations;
use crate::refusal::Refusal;
use crate::store::{Extent, Outcome};
use common::http::parse::Request;
use common::json::Object;
use common::{bytes, clock};
use std::io::Write as _;
use std::sync::Arc;

/// What a body is.
pub(super) const TEXT: &str = "text/plain; charset=utf-8";
pub(super) const HTML: &str = "text/html; charset=utf-8";
pub(super) const JSON: &str = "application/json";
pub(super) const LINES: &str = "application/x-ndjson";
pub(super) const EVENTS: &str = "text/event-stream";
const PROBLEM: &str = "application/problem+json";

/// How long a browser may remember what a path takes: the longest that any does.
const PREFLIGHT_SECONDS: &str = "7200";

/// What a page of another origin may read beside the body.
const EXPOSED: &str =
    "Stream-First-Offset, Stream-Next-Offset, Stream-Id, Retry-After, WWW-Authenticate";

/// How a request is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Manner<'a> {
    /// `HEAD`: the answer's head alone.
    pub(super) head_only: bool,
    pub(super) keep_alive: bool,
    /// Whether the client knows the chunked transfer coding.
    pub(super) chunked: bool,
    /// What the answer says of the origins that may read it, where the request came from one.
    pub(super) origin: Option<&'a str>,
}

impl Manner<'_> {
    /// With the body, on a connection that goes on, to a program that is no browser.
    pub(super) const PLAIN: Manner<'static> =
        Manner { head_only: false, keep_alive: true, chunked: true, origin: None };

    pub(super) fn of(request: &Request<'_>) -> Manner<'static> {
        Manner {
            head_only: request.method == "HEAD",
            keep_alive: request.keep_alive,
            chunked: request.minor_version > 0,
            ..Manner::PLAIN
        }
    }
}

/// What the head of an answer says beside the usual.
#[derive(Clone, Copy, Default)]
pub(super) struct Head<'h> {
    pub(super) status: u16,
    /// What its body is, and how long where that is known.
    pub(super) body: Option<(&'h str, Option<u64>)>,
    /// Where the topic begins and ends that it is about.
    pub(super) extent: Option<Extent>,
    pub(super) fields: &'h [(&'h str, &'h str)],
}

/// Answers that were not sent yet.
pub(super) struct Answers<'a> {
    /// Where a body goes whose head was written.
    pub(super) bytes: Vec<u8>,
    /// How the request is to be answered that is answered now.
    pub(super) manner: Manner<'a>,
    /// Whether answers depend on the origin that asks.
    vary: bool,
    /// The second that `date` was written for; it is the same for thousands of answers.
    second: u64,
    date: String,
    confirmations: Confirmations,
    body: Vec<u8>,
}

impl Answers<'_> {
    /// No answers yet. `vary` is whether they depend on the origin that asks.
    pub(super) fn new(vary: bool) -> Self {
        let (bytes, date, body) = Default::default();
        let confirmations = Confirmations::new(|out, topic| {
            Object::new(out).field("topic", topic);
        });
        Answers { bytes, manner: Manner::PLAIN, vary, second: 0, date, confirmations, body }
    }

    /// An answer whose body is all there.
    pub(super) fn content(&mut self, status: u16, kind: &str, body: &[u8]) {
        let head = Head { status, body: Some((kind, None)), ..Head::default() };
        self.whole(head, body);
    }

    /// The same with a head that says more.
    pub(super) fn whole(&mut self, mut head: Head<'_>, body: &[u8]) {
        if let Some((_, size)) = &mut head.body {
            *size = Some(body.len() as u64);
        }
        self.head(head);
        if !self.manner.head_only {
            self.bytes.extend_from_slice(body);
        }
    }

    /// That it is done.
    pub(super) fn done(&mut self) {
        self.head(Head { status: 204, ..Head::default() });
    }

    /// What a path takes. A page of an allowed origin is told what it may send there.
    pub(super) fn options(&mut self, allow: &str) {
        let headers = "Authorization, Cache-Control, Content-Type, Last-Event-ID";
        let fields = [
            ("Allow", allow),
            ("Access-Control-Allow-Methods", allow),
            ("Access-Control-Allow-Headers", headers),
            ("Access-Control-Max-Age", PREFLIGHT_SECONDS),
        ];
        let fields = if self.manner.origin.is_some() { &fields[..] } else { &fields[..1] };
        self.head(Head { status: 204, fields, ..Head::default() });
    }

    /// A part of a body whose head was written; an empty one ends it.
    pub(super) fn part(&mut self, part: &[u8]) {
        if !self.manner.chunked {
            return self.bytes.extend_from_slice(part);
        }
        // Writing to a vector cannot fail.
        let _ = write!(self.bytes, "{:x}\r\n", part.len());
        self.bytes.extend_from_slice(part);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// What became of a publish.
    pub(super) fn publish(&mut self, topic: &Arc<str>, outcome: &Outcome) {
        let receipt = match outcome {
            Ok(receipt) => receipt,
            Err(refusal) => return self.problem(refusal, None),
        };
        let mut body = std::mem::take(&mut self.body);
        self.confirmations.write(&mut body, topic, receipt);
        self.content(200, JSON, &body);
        body.clear();
        self.body = body;
    }

    /// A refusal, as RFC 9457 has it, and where the topic begins and ends that it is about.
    pub(super) fn problem(&mut self, refusal: &Refusal, extent: Option<Extent>) {
        let status = refusal.status();
        let mut body = Vec::new();
        let mut problem = Object::new(&mut body);
        problem.field("status", status).field("title", title(status));
        refusal.write_details(problem.field("detail", refusal.to_string()));
        problem.end_line();
        let field = match refusal {
            Refusal::Method { allow } => Some(("Allow", *allow)),
            Refusal::ContentEncoding => Some(("Accept-Encoding", "identity")),
            Refusal::Token { .. } => Some(("WWW-Authenticate", "Bearer")),
            _ if matches!(status, 429 | 503) => Some(("Retry-After", "1")),
            _ => None,
        };
        let head = Head { status, body: Some((PROBLEM, None)), extent, fields: field.as_slice() };
        self.whole(head, &body);
    }

    /// The head of an answer. A body of which nobody knows the size comes in chunks, where the
    /// client knows them, and else ends with the connection.
    pub(super) fn head(&mut self, Head { status, body, extent, fields }: Head<'_>) {
        let now = clock::unix_milliseconds();
        if self.date.is_empty() || now / 1000 != self.second {
            self.second = now / 1000;
            // In the memory of the one before: what lives long is not to stand between entries.
            clock::http_date(now).clone_into(&mut self.date);
        }
        let out = &mut self.bytes;
        put(out, &["HTTP/1.1 "]);
        bytes::write_decimal(out, u64::from(status));
        put(out, &[" ", title(status), "\r\nDate: ", &self.date, "\r\n"]);
        if let Some((kind, size)) = body {
            put(out, &["Content-Type: ", kind, "\r\n"]);
            match size {
                Some(size) => put_number(out, "Content-Length", size),
                None if self.manner.chunked => put(out, &["Transfer-Encoding: chunked\r\n"]),
                None => {}
            }
            if kind != HTML {
                // Clients wrote what stands in it: no browser may take it for a page or keep it.
                put(out, &["X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n"]);
            }
        }
        if let Some(Extent { first, end }) = extent {
            put_number(out, "Stream-First-Offset", first);
            put_number(out, "Stream-Next-Offset", end.next);
            put(out, &["Stream-Id: ", &end.stream.to_string(), "\r\n"]);
        }
        for (name, value) in fields {
            put(out, &[name, ": ", value, "\r\n"]);
        }
        if self.vary {
            put(out, &["Vary: Origin\r\n"]);
        }
        if let Some(origin) = self.manner.origin {
            put(out, &["Access-Control-Allow-Origin: ", origin, "\r\n"]);
            put(out, &["Access-Control-Expose-Headers: ", EXPOSED, "\r\n"]);
        }
        if !self.manner.keep_alive {
            put(out, &["Connection: close\r\n"]);
        }
        put(out, &["\r\n"]);
    }
}

/// Appends these parts. To have them formatted takes four times as long, which row
/// `http-connections` of the benchmark shows.
fn put(out: &mut Vec<u8>, parts: &[&str]) {
    parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
}

fn put_number(out: &mut Vec<u8>, name: &str, number: u64) {
    put(out, &[name, ": "]);
    bytes::write_decimal(out, number);
    put(out, &["\r\n"]);
}

/// The name of a status (RFC 9110 §15).
fn title(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        _ => "Error",
    }
}
