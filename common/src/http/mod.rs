//! HTTP/1.1 (RFC 9110 and 9112): the part that a broker and its clients need, read strictly.
//!
//! - [`parse`]: bytes to a request or a response; no I/O
//! - [`chunked`]: the chunked transfer coding
//! - [`percent`]: percent-encoding and query strings
//! - [`client`]: the client side of a connection
//!
//! A recipient may accept bare line feeds, folded lines or repeated lengths; this one does not.
//! Requests are smuggled where two programs read the same bytes differently.
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

pub use error::Error;
