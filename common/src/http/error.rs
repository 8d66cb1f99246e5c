//! The reasons to refuse a head, each with its status.

use crate::limits::{
    EMPTY_LINES_MAX, HEADER_LINE_SIZE_MAX, HEADERS_MAX, HEADERS_SIZE_MAX, METHOD_SIZE_MAX,
    REQUEST_LINE_SIZE_MAX,
};
use std::{error, fmt};

/// Why a head is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// A line does not end with CR LF.
    LineEnd,
    /// More empty lines before a request than [`EMPTY_LINES_MAX`].
    TooManyEmptyLines,
    /// The method is empty, or has a byte that a token cannot have.
    Method,
    /// The method is longer than [`METHOD_SIZE_MAX`].
    MethodTooLong,
    /// The method is `CONNECT`, which asks for a tunnel.
    MethodNotSupported,
    /// The target is empty, of a form that the method does not have, or not a URI's.
    Target,
    /// The request line is longer than [`REQUEST_LINE_SIZE_MAX`].
    RequestLineTooLong,
    /// The version is not of the form `HTTP/1.1`.
    Version,
    /// The major version is not 1.
    VersionNotSupported,
    /// The first line of a response has no status.
    StatusLine,
    /// The first line of a response is longer than [`REQUEST_LINE_SIZE_MAX`].
    StatusLineTooLong,
    /// A header line is folded, or has no colon directly after a name.
    FieldName,
    /// A header's value has a control byte, or is not text where it has to be.
    FieldValue,
    /// A header line is longer than [`HEADER_LINE_SIZE_MAX`].
    FieldTooLong,
    /// All header lines together are larger than [`HEADERS_SIZE_MAX`].
    FieldsTooLarge,
    /// There are more header lines than [`HEADERS_MAX`].
    TooManyFields,
    /// A field that a message may have once is there twice.
    Repeated(&'static str),
    /// A request in HTTP/1.1 has no `Host`.
    HostMissing,
    /// `Host` is not a host with an optional port.
    Host,
    /// `Content-Length` is not a number.
    ContentLength,
    /// `Content-Length` is beyond 64 bits.
    ContentLengthTooLarge,
    /// There are both `Content-Length` and `Transfer-Encoding`.
    TwoLengths,
    /// `Transfer-Encoding` does not end with one plain `chunked`, or is in HTTP/1.0.
    TransferEncoding,
    /// `Transfer-Encoding` asks for a coding other than `chunked`.
    TransferEncodingNotSupported,
    /// A method that has no use for a body has one.
    BodyNotAllowed,
    /// `Expect` asks for something other than `100-continue`.
    Expectation,
}

impl Error {
    /// The status of the answer to a request that is refused for this reason.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.answer().0
    }

    /// The status, and what is wrong.
    fn answer(&self) -> (u16, String) {
        match self {
            Error::LineEnd => (400, "a line does not end with CR LF".into()),
            Error::Method => (400, "the method is not a token followed by one space".into()),
            Error::MethodNotSupported => (501, "this method is not supported".into()),
            Error::Target => (400, "the request target is not valid".into()),
            Error::Version => (400, "the version is not of the form HTTP/1.1".into()),
            Error::VersionNotSupported => (505, "only HTTP/1.1 and HTTP/1.0 are supported".into()),
            Error::StatusLine => (400, "the first line of the response has no status".into()),
            Error::FieldName => (400, "a header line is not a name, a colon and a value".into()),
            Error::FieldValue => (400, "a header's value has a byte that is not allowed".into()),
            Error::HostMissing => (400, "the Host header is missing".into()),
            Error::Host => (400, "the Host header is not a host with an optional port".into()),
            Error::ContentLength => (400, "the Content-Length header is not one number".into()),
            Error::ContentLengthTooLarge => {
                (413, "the Content-Length header is beyond 64 bits".into())
            }
            Error::TwoLengths => {
                (400, "there are both Content-Length and Transfer-Encoding headers".into())
            }
            Error::TransferEncoding => (400, "the Transfer-Encoding header is not valid".into()),
            Error::TransferEncodingNotSupported => {
                (501, "the only transfer coding supported is chunked".into())
            }
            Error::BodyNotAllowed => (400, "a request with this method cannot have a body".into()),
            Error::Expectation => (417, "the only expectation supported is 100-continue".into()),
            Error::Repeated(name) => (400, format!("there is more than one {name} header")),
            Error::TooManyEmptyLines => {
                (400, format!("more than {EMPTY_LINES_MAX} empty lines before the request"))
            }
            Error::MethodTooLong => {
                (501, format!("the method is longer than {METHOD_SIZE_MAX} bytes"))
            }
            Error::RequestLineTooLong => {
                (414, format!("the request line is longer than {REQUEST_LINE_SIZE_MAX} bytes"))
            }
            Error::StatusLineTooLong => {
                (400, format!("the status line is longer than {REQUEST_LINE_SIZE_MAX} bytes"))
            }
            Error::FieldTooLong => {
                (431, format!("a header line is longer than {HEADER_LINE_SIZE_MAX} bytes"))
            }
            Error::FieldsTooLarge => {
                (431, format!("the header lines are more than {HEADERS_SIZE_MAX} bytes"))
            }
            Error::TooManyFields => {
                (431, format!("there are more than {HEADERS_MAX} header lines"))
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.answer().1)
    }
}

impl error::Error for Error {}
