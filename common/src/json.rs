//! RFC 8259, parsed without copying and written in one go.
//!
//! Bytes in, a [`Value`] out, that borrows from the bytes whatever it can: strings without escapes,
//! and all numbers, which stay text. Nothing here reads from a socket, and nothing is guessed: what
//! the grammar of the RFC does not allow is refused, with the byte where it went wrong.
//!
//! Three ways in, for three kinds of caller:
//!
//! - [`parse`]: the bytes are exactly one document, as in the body of a request
//! - [`parse_prefix`]: the bytes are a stream of documents that may end inside one
//! - [`Boundary`]: a large object comes in many pieces; finds its end, looking at each byte once
//!
//! And two ways out: the [`Display`](std::fmt::Display) of a value, and [`Object`], which writes
//! members one after another into bytes.
//!
//! # Guarantee
//!
//! Time is linear in the bytes consumed. Memory is at most about 32 times the document, and that
//! only for one that is all brackets and digits. The stack is bounded by
//! [`JSON_DEPTH_MAX`](crate::limits::JSON_DEPTH_MAX). What was written parses back to the same
//! value.
//!
//! # Not here
//!
//! The limit on the size of a document (whoever reads the bytes knows it), floating-point numbers,
//! and any mapping onto structs.

mod boundary;
mod object;
mod parse;
mod scan;
#[cfg(test)]
mod tests;
mod value;
mod write;

pub use boundary::Boundary;
pub use object::{Array, Charset, Json, Object};
pub use parse::{Error, parse, parse_prefix};
pub use value::Value;
pub use write::{write_string, write_string_ascii};
