//! Writes the answers of the HTTP door.
//!
//! One function writes every head, another one every refusal. Every answer has a `Date` (RFC 9110
//! §6.6.1) and a length. Nothing that a client sent gets into a head.

use super::Manner;
use super::metrics;
use super::route::NDJSON;
use crate::door::publish::write_rest_of_receipt;
use crate::metrics::Metrics;
use crate::refusal::Refusal;
use crate::store::admission::Receipt;
use crate::store::stream::Extent;
use common::json::Object;
use common::{bytes, clock};

/// How long a browser may remember what a path takes: the longest that any does.
const PREFLIGHT_SECONDS: &str = "7200";

/// What a page of another origin may read beside the body.
const EXPOSED: &str =
    "Stream-First-Offset, Stream-Next-Offset, Stream-Id, Retry-After, WWW-Authenticate";

/// Answers that were not sent yet.
pub(super) struct Answers<'a> {
    metrics: &'a Metrics,
    bytes: Vec<u8>,
    /// Whether answers depend on the origin that asks.
    vary: bool,
    /// The second that `date` was written for; it is the same for thousands of answers.
    second: u64,
    date: String,
    body: Vec<u8>,
}

/// What a body is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Type {
    Text,
    Html,
    Metrics,
    Json,
    Problem,
    Events,
    Lines,
}

impl Type {
    fn name(self) -> &'static str {
        match self {
            Type::Text => "text/plain; charset=utf-8",
            Type::Html => "text/html; charset=utf-8",
            Type::Metrics => metrics::TYPE,
            Type::Json => "application/json",
            Type::Problem => "application/problem+json",
            Type::Events => "text/event-stream",
            Type::Lines => NDJSON,
        }
    }
}

impl<'a> Answers<'a> {
    /// No answers yet. `vary` is whether they depend on the origin that asks.
    pub(super) fn new(vary: bool, metrics: &'a Metrics) -> Answers<'a> {
        Answers {
            metrics,
            bytes: Vec::new(),
            vary,
            second: 0,
            date: String::new(),
            body: Vec::new(),
        }
    }

    /// How many bytes wait to be sent.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// A body that is all there, and what its head says beside the usual.
    pub(super) fn content(
        &mut self,
        status: u16,
        kind: Type,
        body: &[u8],
        fields: &[(&str, &str)],
        manner: Manner<'_>,
    ) {
        self.head(status, Some((kind, Some(body.len() as u64))), fields, manner);
        if !manner.head_only {
            self.bytes.extend_from_slice(body);
        }
    }

    /// Done, and nothing to say.
    pub(super) fn empty(&mut self, manner: Manner<'_>) {
        self.head(204, None, &[], manner);
    }

    /// The head of an event stream, which goes on until the connection ends.
    pub(super) fn events(&mut self, chunked: bool, manner: Manner<'_>) {
        // Proxies would hold events back until they have a buffer full (nginx).
        let fields = [("X-Accel-Buffering", "no"), ("Transfer-Encoding", "chunked")];
        let fields = if chunked { &fields[..] } else { &fields[..1] };
        let keep_alive = manner.keep_alive && manner.head_only;
        self.head(200, Some((Type::Events, None)), fields, Manner { keep_alive, ..manner });
    }

    /// What a path takes. A page of an allowed origin is told what it may send there.
    pub(super) fn options(&mut self, allow: &str, manner: Manner<'_>) {
        let preflight = [
            ("Allow", allow),
            ("Access-Control-Allow-Methods", allow),
            (
                "Access-Control-Allow-Headers",
                "Authorization, Cache-Control, Content-Type, Last-Event-ID",
            ),
            ("Access-Control-Max-Age", PREFLIGHT_SECONDS),
        ];
        let count = if manner.origin.is_some() { preflight.len() } else { 1 };
        self.head(204, None, preflight.get(..count).unwrap_or_default(), manner);
    }

    /// The head of a list of `size` bytes, which follows. It says where the list goes on.
    pub(super) fn list(&mut self, size: u64, extent: Extent, manner: Manner<'_>) {
        let fields = extent_fields(extent);
        let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
        self.head(200, Some((Type::Text, Some(size))), &fields, manner);
    }

    /// The same of a list of objects, whose size nobody knows yet.
    pub(super) fn lines(&mut self, extent: Extent, chunked: bool, manner: Manner<'_>) {
        let [first, next, stream] = &extent_fields(extent);
        let coding = ("Transfer-Encoding", "chunked");
        let fields = [coding, (first.0, &*first.1), (next.0, &*next.1), (stream.0, &*stream.1)];
        let fields = if chunked { &fields[..] } else { &fields[1..] };
        self.head(200, Some((Type::Lines, None)), fields, manner);
    }

    /// Where the list goes whose head was written.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// What became of a publish.
    pub(super) fn publish(
        &mut self,
        topic: &str,
        outcome: &Result<Receipt, Refusal>,
        manner: Manner<'_>,
    ) {
        let receipt = match outcome {
            Ok(receipt) => receipt,
            Err(refusal) => return self.problem(refusal, &[], manner),
        };
        let mut body = std::mem::take(&mut self.body);
        let mut object = Object::new(&mut body);
        write_rest_of_receipt(
            object.field("topic", topic).optional("offset", receipt.offset),
            receipt,
        );
        self.content(200, Type::Json, &body, &[], manner);
        body.clear();
        self.body = body;
    }

    /// A refusal of anything but a publish that was tried, which is counted where it is tried.
    pub(super) fn refusal(&mut self, refusal: &Refusal, more: &[(&str, &str)], manner: Manner<'_>) {
        self.metrics.refused(refusal.status());
        self.problem(refusal, more, manner);
    }

    /// A refusal, as RFC 9457 has it.
    fn problem(&mut self, refusal: &Refusal, more: &[(&str, &str)], manner: Manner<'_>) {
        let status = refusal.status();
        let mut body = Vec::new();
        let mut problem = Object::new(&mut body);
        problem.field("status", status).field("title", title(status));
        refusal.write_details(problem.field("detail", refusal.to_string()));
        problem.end_line();
        let mut fields = more.to_vec();
        match refusal {
            Refusal::Method { allow } => fields.push(("Allow", allow)),
            Refusal::ContentEncoding => fields.push(("Accept-Encoding", "identity")),
            Refusal::Token { .. } => fields.push(("WWW-Authenticate", "Bearer")),
            _ => {}
        }
        if status == 503 {
            fields.push(("Retry-After", "1"));
        }
        self.content(status, Type::Problem, &body, &fields, manner);
    }

    /// A refusal that says where the topic begins and ends now.
    pub(super) fn refusal_with_extent(
        &mut self,
        refusal: &Refusal,
        extent: Extent,
        manner: Manner<'_>,
    ) {
        let fields = extent_fields(extent);
        let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
        self.refusal(refusal, &fields, manner);
    }

    fn head(
        &mut self,
        status: u16,
        body: Option<(Type, Option<u64>)>,
        fields: &[(&str, &str)],
        manner: Manner<'_>,
    ) {
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
            put(out, &["Content-Type: ", kind.name(), "\r\n"]);
            if let Some(size) = size {
                put(out, &["Content-Length: "]);
                bytes::write_decimal(out, size);
                put(out, &["\r\n"]);
            }
            if !matches!(kind, Type::Html) {
                // Clients wrote what stands in it: no browser may take it for a page or keep it.
                put(out, &["X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n"]);
            }
        }
        for (name, value) in fields {
            put(out, &[name, ": ", value, "\r\n"]);
        }
        if self.vary {
            put(out, &["Vary: Origin\r\n"]);
        }
        if let Some(origin) = manner.origin {
            put(out, &["Access-Control-Allow-Origin: ", origin, "\r\n"]);
            put(out, &["Access-Control-Expose-Headers: ", EXPOSED, "\r\n"]);
        }
        if !manner.keep_alive {
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

/// The fields that say where a topic goes on.
fn extent_fields(extent: Extent) -> [(&'static str, String); 3] {
    let Extent { first, end } = extent;
    [
        ("Stream-First-Offset", first.to_string()),
        ("Stream-Next-Offset", end.next.to_string()),
        ("Stream-Id", end.stream.to_string()),
    ]
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
