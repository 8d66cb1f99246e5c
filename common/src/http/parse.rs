//! Parses the head of a request or a response: bytes in, a head out, no I/O.
//!
//! The input is everything received so far. The result is the head and its size,
//! [`Progress::Partial`] if the end has not come yet, or an [`Error`] as soon as one is certain.
//! Later bytes never change an error, and no prefix of a good head is an error. Limits bound a head
//! to about 40 KiB, so parsing it again for each byte of a slow client costs little.
//!
//! # Guarantee
//!
//! An accepted head has one meaning: one length, one host, one line end. A head that two programs
//! might read differently is refused, and its connection must be closed.
//!
//! # Not here
//!
//! The body ([`chunked`](super::chunked)), and what a path or a method means (the server).

use super::error::refuse_if;
use super::scan::{self, HOST, Scanner, Stop, TARGET, TEXT, TOKEN};
use crate::limits::{EMPTY_LINES_MAX, METHOD_SIZE_MAX, REQUEST_LINE_SIZE_MAX};
use crate::units::{TOO_LARGE, whole_number};
use std::net::Ipv6Addr;
use std::str;

pub use super::error::Error;
pub use super::fields::Fields;

#[cfg(test)]
mod tests;

/// How far the input went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress<T> {
    /// All of a head was there.
    Complete {
        /// The head.
        value: T,
        /// Its size in bytes, with the empty line that ends it; the body comes next.
        size: usize,
    },
    /// The input is a good beginning.
    Partial,
}

/// The head of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// As sent: a token of at most [`METHOD_SIZE_MAX`] bytes, known or not.
    pub method: &'a str,
    /// Begins with `/`, is not decoded, and has no query; or `*`, in `OPTIONS` alone.
    pub path: &'a str,
    /// What follows the first `?`, not decoded.
    pub query: &'a str,
    /// `HOST` or `HOST:PORT`, of an absolute target, else of the `Host` field; see [`authority`].
    /// Only a request in HTTP/1.0 may be without.
    pub authority: Option<&'a str>,
    /// 0 or 1; a higher minor version is treated as 1 (RFC 9110 §6.2).
    pub minor_version: u8,
    /// All header fields.
    pub fields: Fields<'a>,
    /// What follows the head.
    pub body: Body,
    /// Whether the client can send another request; never in HTTP/1.0.
    pub keep_alive: bool,
    /// Whether the client holds its body back until it is told `100 Continue`.
    pub expects_continue: bool,
}

/// The head of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response<'a> {
    /// 100 to 999.
    pub status: u16,
    /// All header fields.
    pub fields: Fields<'a>,
    /// What follows the head.
    pub body: Body,
    /// Whether the server takes another request.
    pub keep_alive: bool,
}

/// How the length of a body is known (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    None,
    /// So many bytes.
    Sized(u64),
    /// In chunks, for [`chunked`](super::chunked).
    Chunked,
    /// All bytes until the server closes; never of a request.
    UntilClose,
}

/// Parses the head of a request.
///
/// # Errors
///
/// The reason for which the request has to be refused, and the connection closed.
pub fn request(input: &[u8]) -> Result<Progress<Request<'_>>, Error> {
    parse(input, read_request)
}

/// Parses the head of a response; `to_head` says whether it answers a `HEAD`, which has no body.
///
/// # Errors
///
/// The reason for which nothing more can be read from this connection.
pub fn response(input: &[u8], to_head: bool) -> Result<Progress<Response<'_>>, Error> {
    parse(input, |scanner| read_response(scanner, to_head))
}

/// Splits `HOST` or `HOST:PORT`. The host keeps the brackets of an IPv6 address.
///
/// A host is a name or address without escapes; user names, lists and empty hosts are not valid.
pub fn authority(text: &str) -> Option<(&str, Option<u16>)> {
    let host_size = match text.strip_prefix('[') {
        Some(bracketed) => bracketed.find(']')? + 2,
        None => text.find(':').unwrap_or(text.len()),
    };
    let (host, port) = text.split_at_checked(host_size)?;
    let is_host = match host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(inner) => {
            // RFC 6874: the zone of a link-local address, which some clients send along.
            let (address, zone) = inner.split_once('%').unwrap_or((inner, "zone"));
            let is_zone = |byte| scan::is(byte, HOST) || byte == b'%';
            let is_zone = !zone.is_empty() && zone.bytes().all(is_zone);
            address.parse::<Ipv6Addr>().is_ok() && is_zone
        }
        None => !host.is_empty() && scan::are(host.as_bytes(), HOST),
    };
    let port = match port {
        // RFC 3986 §3.2.3: a colon without a port is the default port.
        "" | ":" => None,
        _ => Some(whole_number(port.strip_prefix(':')?).ok()?),
    };
    is_host.then_some((host, port))
}

fn parse<'a, T>(
    input: &'a [u8],
    read: impl FnOnce(&mut Scanner<'a>) -> Result<T, Stop>,
) -> Result<Progress<T>, Error> {
    let mut scanner = Scanner::new(input);
    match read(&mut scanner) {
        Ok(value) => Ok(Progress::Complete { value, size: input.len() - scanner.rest().len() }),
        Err(Stop::Partial) => Ok(Progress::Partial),
        Err(Stop::Refused(error)) => Err(error),
    }
}

fn read_request<'a>(scanner: &mut Scanner<'a>) -> Result<Request<'a>, Stop> {
    skip_empty_lines(scanner)?;
    let (method, target, minor_version) = read_request_line(scanner)?;
    let (target_authority, path, query) = split_target(method, target)?;
    let fields = Fields::read(scanner)?;

    let host = fields.only("Host")?;
    refuse_if(host.is_none() && minor_version > 0, Error::HOST_MISSING)?;
    // An absolute target makes the value of Host void, but not its syntax (RFC 9112 §3.2.2).
    let is_void = |host: &str| host.is_empty() && target_authority.is_some();
    refuse_if(host.is_some_and(|host| !is_void(host) && authority(host).is_none()), Error::HOST)?;
    for name in ["Authorization", "Origin"] {
        // Whoever checks the first must not miss the second.
        fields.only(name)?;
    }

    let body = announced_body(&fields, minor_version)?.unwrap_or(Body::None);
    let has_body = !matches!(body, Body::None | Body::Sized(0));
    // RFC 9110 §9.3.1: a body means nothing here, so it is an error or an attempt to smuggle.
    refuse_if(has_body && matches!(method, "GET" | "HEAD" | "OPTIONS"), Error::BODY_NOT_ALLOWED)?;
    let expects_continue = minor_version > 0 && reads_expectation(&fields)? && has_body;
    Ok(Request {
        method,
        path,
        query,
        authority: target_authority.or(host),
        minor_version,
        body,
        keep_alive: minor_version > 0 && !says_close(&fields),
        expects_continue,
        fields,
    })
}

/// RFC 9112 §2.2: old clients send a line end after a body.
fn skip_empty_lines(scanner: &mut Scanner<'_>) -> Result<(), Stop> {
    let mut left = EMPTY_LINES_MAX;
    while scanner.peek()? == b'\r' {
        left = left.checked_sub(1).ok_or(Error::TOO_MANY_EMPTY_LINES)?;
        scanner.line_end()?;
    }
    Ok(())
}

/// Reads the method, the target and the minor version.
fn read_request_line<'a>(scanner: &mut Scanner<'a>) -> Result<(&'a str, &'a str, u8), Stop> {
    let method = scanner.take(TOKEN, METHOD_SIZE_MAX, Error::METHOD_TOO_LONG)?;
    refuse_if(method.is_empty(), Error::METHOD)?;
    scanner.expect(b' ', Error::METHOD)?;

    let size_max = REQUEST_LINE_SIZE_MAX - method.len() - " ".len() - " HTTP/1.1".len();
    let target = scanner.take(TARGET, size_max, Error::REQUEST_LINE_TOO_LONG)?;
    refuse_if(target.is_empty(), Error::TARGET)?;
    // HTTP/0.9 ends here.
    refuse_if(matches!(scanner.peek()?, b'\r' | b'\n'), Error::VERSION)?;
    scanner.expect(b' ', Error::TARGET)?;

    let version = scanner.take_like(b"HTTP/0.0", Error::VERSION)?;
    scanner.line_end()?;
    Ok((ascii(method), ascii(target), minor_version(version)?))
}

fn minor_version(version: [u8; 8]) -> Result<u8, Error> {
    match version {
        [.., b'1', b'.', b'0'] => Ok(0),
        [.., b'1', b'.', _] => Ok(1),
        _ => Err(Error::VERSION_NOT_SUPPORTED),
    }
}

/// Splits a target (RFC 9112 §3.2) into its authority, if it has one, its path and its query.
fn split_target<'a>(
    method: &str,
    target: &'a str,
) -> Result<(Option<&'a str>, &'a str, &'a str), Error> {
    refuse_if(method == "CONNECT", Error::METHOD_NOT_SUPPORTED)?;
    if target == "*" && method == "OPTIONS" {
        return Ok((None, target, ""));
    }
    let (origin, query) = target.split_once('?').unwrap_or((target, ""));
    if origin.starts_with('/') {
        return Ok((None, origin, query));
    }
    let (scheme, rest) = origin.split_once("://").ok_or(Error::TARGET)?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    refuse_if(!scheme.eq_ignore_ascii_case("http") || authority(host).is_none(), Error::TARGET)?;
    Ok((Some(host), if path.is_empty() { "/" } else { path }, query))
}

fn read_response<'a>(scanner: &mut Scanner<'a>, to_head: bool) -> Result<Response<'a>, Stop> {
    let version = scanner.take_like(b"HTTP/0.0", Error::VERSION)?;
    scanner.expect(b' ', Error::STATUS_LINE)?;
    let status = scanner.take_like(b"000", Error::STATUS_LINE)?;
    let status = status.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    // The space before the reason is a must of RFC 9112 §4 that some servers forget.
    if scanner.peek()? != b'\r' {
        scanner.expect(b' ', Error::STATUS_LINE)?;
    }
    let around_reason = "HTTP/1.1 200 ".len();
    scanner.take(TEXT, REQUEST_LINE_SIZE_MAX - around_reason, Error::STATUS_LINE_TOO_LONG)?;
    scanner.line_end()?;
    let minor_version = minor_version(version)?;
    refuse_if(status < 100, Error::STATUS_LINE)?;

    let fields = Fields::read(scanner)?;
    let body = match status {
        _ if to_head => Body::None,
        100..200 | 204 | 304 => Body::None,
        _ => announced_body(&fields, minor_version)?.unwrap_or(Body::UntilClose),
    };
    Ok(Response {
        status,
        body,
        keep_alive: minor_version > 0 && body != Body::UntilClose && !says_close(&fields),
        fields,
    })
}

/// What the fields say about the body; `None` where they say nothing.
fn announced_body(fields: &Fields<'_>, minor_version: u8) -> Result<Option<Body>, Error> {
    let length = fields.only("Content-Length")?;
    let codings = fields.only("Transfer-Encoding")?;
    match (length, codings) {
        (None, None) => Ok(None),
        (Some(length), None) => match whole_number(length) {
            Ok(length) => Ok(Some(Body::Sized(length))),
            Err(TOO_LARGE) => Err(Error::CONTENT_LENGTH_TOO_LARGE),
            Err(_) => Err(Error::CONTENT_LENGTH),
        },
        (Some(_), Some(_)) => Err(Error::TWO_LENGTHS),
        // RFC 9112 §6.1: whoever added the field did not understand the message.
        (None, Some(_)) if minor_version == 0 => Err(Error::TRANSFER_ENCODING),
        (None, Some(codings)) => only_chunked(codings).map(|()| Some(Body::Chunked)),
    }
}

/// Checks that the codings are `chunked` alone: the one coding that frames a message, and that
/// must therefore come once and last (RFC 9112 §6.3, §7.1).
fn only_chunked(codings: &str) -> Result<(), Error> {
    let (mut others, mut is_chunked) = (false, false);
    for coding in codings.split(',') {
        let name = coding.split(';').next().unwrap_or_default().trim_ascii();
        let is_token = !name.is_empty() && scan::are(name.as_bytes(), TOKEN);
        let was_last = is_chunked;
        is_chunked = name.eq_ignore_ascii_case("chunked");
        refuse_if(
            !is_token || was_last || (is_chunked && coding.contains(';')),
            Error::TRANSFER_ENCODING,
        )?;
        others |= !is_chunked;
    }
    refuse_if(others, Error::TRANSFER_ENCODING_NOT_SUPPORTED)
}

/// Whether the client waits for `100 Continue`; anything else that it might expect is an error.
fn reads_expectation(fields: &Fields<'_>) -> Result<bool, Error> {
    let mut members = fields.members("Expect").filter(|member| !member.is_empty());
    let is_known = |member: &[u8]| member.eq_ignore_ascii_case(b"100-continue");
    members.try_fold(false, |_, member| is_known(member).then_some(true)).ok_or(Error::EXPECTATION)
}

fn says_close(fields: &Fields<'_>) -> bool {
    fields.members("Connection").any(|member| member.eq_ignore_ascii_case(b"close"))
}

fn ascii(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("tokens and targets are made of ASCII bytes")
}
