//! JSON (RFC 8259), parsed without copying and written directly into bytes.
//!
//! A [`Value`] borrows from its bytes: strings without escapes, and numbers, which stay text.
//! Nothing here reads from a socket. What the grammar does not allow is refused, with the byte
//! where it went wrong.
//!
//! To read:
//!
//! - [`parse`]: the bytes are exactly one document, as in the body of a request
//! - [`parse_prefix`]: the bytes are a stream of documents, and may end inside one
//! - [`Boundary`]: finds the end of a large object that comes in many pieces; looks at each byte
//!   once
//!
//! To write: [`Object`] and [`Array`], one member or element after another.
//!
//! # Guarantee
//!
//! Time is linear in the bytes. Memory is at most about 32 times the document, which only a
//! document of nothing but brackets and digits needs.
//! [`JSON_DEPTH_MAX`](crate::limits::JSON_DEPTH_MAX) bounds the stack. What is written parses back
//! to the same values.
//!
//! # Not here
//!
//! A limit on the size of a document (whoever reads the bytes knows it), floating-point numbers,
//! conversion to structs, and writing a [`Value`] again.

mod boundary;
#[cfg(test)]
mod fixture;
mod parse;
mod scan;
#[cfg(test)]
mod tests;
mod value;
mod write;

pub use boundary::Boundary;
pub use parse::{Error, parse, parse_prefix, string_prefix};
pub use value::Value;
pub use write::{Array, Charset, Json, Object, write_part};
