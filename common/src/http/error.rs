//! Every reason for which a head is refused, and its status.

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
        match self {
            Error::LineEnd
            | Error::TooManyEmptyLines
            | Error::Method
            | Error::Target
            | Error::Version
            | Error::StatusLine
            | Error::StatusLineTooLong
            | Error::FieldName
            | Error::FieldValue
            | Error::Repeated(_)
            | Error::HostMissing
            | Error::Host
            | Error::ContentLength
            | Error::TwoLengths
            | Error::TransferEncoding
            | Error::BodyNotAllowed => 400,
            Error::ContentLengthTooLarge => 413,
            Error::RequestLineTooLong => 414,
            Error::Expectation => 417,
            Error::FieldTooLong | Error::FieldsTooLarge | Error::TooManyFields => 431,
            Error::MethodTooLong
            | Error::MethodNotSupported
            | Error::TransferEncodingNotSupported => 501,
            Error::VersionNotSupported => 505,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::LineEnd => "a line does not end with CR LF",
            Error::Method => "the method is not a token followed by one space",
            Error::MethodNotSupported => "this method is not supported",
            Error::Target => "the request target is not valid",
            Error::Version => "the version is not of the form HTTP/1.1",
            Error::VersionNotSupported => "only HTTP/1.1 and HTTP/1.0 are supported",
            Error::StatusLine => "the first line of the response has no status",
            Error::FieldName => "a header line is not a name, a colon and a value",
            Error::FieldValue => "a header's value has a byte that is not allowed",
            Error::HostMissing => "the Host header is missing",
            Error::Host => "the Host header is not a host with an optional port",
            Error::ContentLength => "the Content-Length header is not one number",
            Error::ContentLengthTooLarge => "the Content-Length header is beyond 64 bits",
            Error::TwoLengths => "there are both Content-Length and Transfer-Encoding headers",
            Error::TransferEncoding => "the Transfer-Encoding header is not valid",
            Error::TransferEncodingNotSupported => "the only transfer coding supported is chunked",
            Error::BodyNotAllowed => "a request with this method cannot have a body",
            Error::Expectation => "the only expectation supported is 100-continue",
            Error::Repeated(name) => return write!(f, "there is more than one {name} header"),
            Error::TooManyEmptyLines => {
                return write!(f, "more than {EMPTY_LINES_MAX} empty lines before the request");
            }
            Error::MethodTooLong => {
                return write!(f, "the method is longer than {METHOD_SIZE_MAX} bytes");
            }
            Error::RequestLineTooLong => {
                return write!(f, "the request line is longer than {REQUEST_LINE_SIZE_MAX} bytes");
            }
            Error::StatusLineTooLong => {
                return write!(f, "the status line is longer than {REQUEST_LINE_SIZE_MAX} bytes");
            }
            Error::FieldTooLong => {
                return write!(f, "a header line is longer than {HEADER_LINE_SIZE_MAX} bytes");
            }
            Error::FieldsTooLarge => {
                return write!(f, "the header lines are more than {HEADERS_SIZE_MAX} bytes");
            }
            Error::TooManyFields => {
                return write!(f, "there are more than {HEADERS_MAX} header lines");
            }
        })
    }
}

impl error::Error for Error {}
