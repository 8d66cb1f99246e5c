//! What the broker, the publisher and the subscriber share.
//!
//! Standard library only. Modules in reading order:
//!
//! - [`limits`]: every size, count and timeout, each with its reason
//! - [`clock`]: Unix milliseconds, and the two ways in which they are written for people
//! - [`crc32`]: the checksum of digests and of the journal
//! - [`bytes`]: numbers and lines as bytes, quickly
//! - [`json`]: RFC 8259, parsed without copying and written in one go
//! - [`http`]: HTTP/1.1, a pure parser and the client side over it
//! - [`trouble`]: why an exchange with another program failed
//! - [`connect`]: how a connection is made
//! - [`connection`]: one socket: what was read and not yet used, and absolute deadlines
//! - [`deadline`]: for a peer that may be slow but has to make progress
//! - [`stream`]: which list an offset belongs to
//! - [`units`]: sizes, times and counts as people write them
//! - [`terminal`]: text on a terminal
//! - [`lock`]: a mutex that a panic does not poison
//! - [`flags`]: `--name value` for all three programs, and their help
//! - [`pattern`]: patterns that choose topics by name
//! - [`random`]: random numbers
//! - [`retry`]: repeating what failed, with growing pauses
//! - [`client`]: the client library: publishing to a broker, and reading from it

#![forbid(unsafe_code)]

pub mod bytes;
pub mod client;
pub mod clock;
pub mod connect;
pub mod connection;
pub mod crc32;
pub mod deadline;
pub mod flags;
pub mod http;
pub mod json;
pub mod limits;
pub mod lock;
pub mod pattern;
pub mod random;
pub mod retry;
pub mod stream;
pub mod terminal;
pub mod trouble;
pub mod units;
