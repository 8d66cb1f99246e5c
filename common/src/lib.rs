//! What the broker, the publisher and the subscriber share.
//!
//! Standard library only. Modules in reading order:
//!
//! - [`limits`]: every size, count and timeout, each with its reason
//! - [`clock`]: Unix milliseconds, and the two ways in which they are written for people
//! - [`crc32`]: the checksum of digests and of the journal
//! - [`json`]: RFC 8259, parsed without copying and written in one go
//! - [`http`]: HTTP/1.1, a pure parser and the client side over it
//! - [`connection`]: one socket: what was read and not yet used, and absolute deadlines
//! - [`flags`]: `--name value` for all three programs, and their help
//! - [`random`]: numbers that nobody else draws
//! - [`retry`]: growing pauses between attempts
//! - [`remote`]: the broker that a program talks to, over a connection that is made as needed

#![forbid(unsafe_code)]

pub mod clock;
pub mod connection;
pub mod crc32;
pub mod flags;
pub mod http;
pub mod json;
pub mod limits;
pub mod random;
pub mod remote;
pub mod retry;
