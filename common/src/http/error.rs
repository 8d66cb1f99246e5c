//! The reasons to refuse a head or a chunked body, each with its status.

use crate::limits::{
    CHUNK_EXTENSIONS_SIZE_MAX, EMPTY_LINES_MAX, HEADERS_MAX, HEADERS_SIZE_MAX, METHOD_SIZE_MAX,
    REQUEST_LINE_SIZE_MAX, TRAILERS_SIZE_MAX,
};
use std::{error, fmt};

/// Why a head or a body is not accepted. The number is the status of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// In these words.
    Syntax(u16, &'static str),
    /// Something is larger than its limit: the words before the limit, and what it counts.
    Limit(u16, &'static str, u64, &'static str),
    /// A field that a message may have once is there twice.
    Repeated(&'static str),
}

/// A bad request.
const fn bad(reason: &'static str) -> Error {
    Error::Syntax(400, reason)
}

const fn limit(status: u16, what: &'static str, limit: usize) -> Error {
    Error::Limit(status, what, limit as u64, "bytes")
}

/// Refuses a message where something is wrong with it.
pub(super) fn refuse_if(is_wrong: bool, error: Error) -> Result<(), Error> {
    if is_wrong { Err(error) } else { Ok(()) }
}

impl Error {
    pub(super) const LINE_END: Error = bad("a line does not end with CR LF");
    pub(super) const TOO_MANY_EMPTY_LINES: Error =
        Error::Limit(400, "more than", EMPTY_LINES_MAX as u64, "empty lines before the request");
    pub(super) const METHOD: Error = bad("the method is not a token followed by one space");
    pub(super) const METHOD_TOO_LONG: Error =
        limit(501, "the method is longer than", METHOD_SIZE_MAX);
    /// `CONNECT`, which asks for a tunnel.
    pub(super) const METHOD_NOT_SUPPORTED: Error =
        Error::Syntax(501, "this method is not supported");
    pub(super) const TARGET: Error = bad("the request target is not valid");
    pub(super) const REQUEST_LINE_TOO_LONG: Error =
        limit(414, "the request line is longer than", REQUEST_LINE_SIZE_MAX);
    pub(super) const VERSION: Error = bad("the version is not of the form HTTP/1.1");
    pub(super) const VERSION_NOT_SUPPORTED: Error =
        Error::Syntax(505, "only HTTP/1.1 and HTTP/1.0 are supported");
    pub(super) const STATUS_LINE: Error = bad("the first line of the response has no status");
    pub(super) const STATUS_LINE_TOO_LONG: Error =
        limit(400, "the status line is longer than", REQUEST_LINE_SIZE_MAX);
    /// Also a folded line.
    pub(super) const FIELD_NAME: Error = bad("a header line is not a name, a colon and a value");
    pub(super) const FIELD_VALUE: Error = bad("a header's value has a byte that is not allowed");
    pub(super) const FIELDS_TOO_LARGE: Error =
        limit(431, "the header lines are more than", HEADERS_SIZE_MAX);
    pub(super) const TOO_MANY_FIELDS: Error =
        Error::Limit(431, "there are more than", HEADERS_MAX as u64, "header lines");
    pub(super) const HOST_MISSING: Error = bad("the Host header is missing");
    pub(super) const HOST: Error = bad("the Host header is not a host with an optional port");
    pub(super) const CONTENT_LENGTH: Error = bad("the Content-Length header is not one number");
    pub(super) const CONTENT_LENGTH_TOO_LARGE: Error =
        Error::Syntax(413, "the Content-Length header is beyond 64 bits");
    pub(super) const TWO_LENGTHS: Error =
        bad("there are both Content-Length and Transfer-Encoding headers");
    /// It does not end with one plain `chunked`, or is in HTTP/1.0.
    pub(super) const TRANSFER_ENCODING: Error = bad("the Transfer-Encoding header is not valid");
    pub(super) const TRANSFER_ENCODING_NOT_SUPPORTED: Error =
        Error::Syntax(501, "the only transfer coding supported is chunked");
    pub(super) const BODY_NOT_ALLOWED: Error = bad("a request with this method cannot have a body");
    pub(super) const EXPECTATION: Error =
        Error::Syntax(417, "the only expectation supported is 100-continue");

    /// The size of a chunk is not 1 to 16 digits, followed by an extension or CR LF.
    pub(super) const SIZE: Error = bad("a chunk's size is not a hexadecimal number");
    pub(super) const EXTENSION: Error = bad("a chunk's extension is not valid");
    pub(super) const EXTENSIONS_TOO_LARGE: Error =
        limit(413, "chunk extensions are larger than", CHUNK_EXTENSIONS_SIZE_MAX);
    pub(super) const CONTENT_END: Error = bad("a chunk does not end where its size says");
    pub(super) const TRAILER: Error = bad("a trailer is not a name, a colon and a value");
    pub(super) const TRAILERS_TOO_LARGE: Error =
        limit(431, "trailers are larger than", TRAILERS_SIZE_MAX);

    pub(super) const fn too_large(limit: u64) -> Error {
        Error::Limit(413, "the body is larger than", limit, "bytes")
    }

    /// The status of the answer to a request that is refused for this reason.
    pub fn status(&self) -> u16 {
        match self {
            Error::Syntax(status, _) | Error::Limit(status, ..) => *status,
            Error::Repeated(_) => 400,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Syntax(_, reason) => f.write_str(reason),
            Error::Limit(_, what, limit, unit) => write!(f, "{what} {limit} {unit}"),
            Error::Repeated(name) => write!(f, "there is more than one {name} header"),
        }
    }
}

impl error::Error for Error {}
