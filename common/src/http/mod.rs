//! HTTP/1.1 (RFC 9110 and 9112), as far as a broker and its clients need it, and strictly.
//!
//! - [`parse`]: bytes to a request or a response; no I/O
//! - [`chunked`]: the chunked transfer coding, decoded in whatever pieces it comes
//! - [`percent`]: percent-encoding and query strings
//! - [`client`]: the client side of a connection
//!
//! Where a recipient may be lenient (bare line feeds, folded lines, repeated lengths), this one
//! is not: two programs that read the same bytes differently are how requests are smuggled.
//!
//! # Not here
//!
//! Answers of the server (the broker writes those), TLS, HTTP/2, content codings, cookies.

pub mod chunked;
pub mod client;
mod error;
mod fields;
pub mod parse;
pub mod percent;
mod scan;
