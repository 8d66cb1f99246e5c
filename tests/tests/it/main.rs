//! The system from outside: real processes, real sockets, nothing shared with the product but
//! its reader of JSON.
//!
//! - [`access`]: who may come in
//! - [`brokers`]: what the tests of several brokers have in common
//! - [`hub`]: a hub, its leaves, and theirs
//! - [`peers`]: peers with an index
//! - [`log`]: who did what
//! - [`four_nodes`]: a broker, a publisher and two subscribers, whatever happens to them
//! - [`publish`]: what is stored, what is refused, and what is not stored twice
//! - [`http_cases`]: HTTP at its edges, byte by byte
//! - [`limits`]: every limit, at it and one past it
//! - [`load`]: many clients, slow ones, and such as break off
//! - [`messages`]: the list of a topic, whole, in pieces and as it grows
//! - [`programs`]: how the programs begin, end, and say what is wrong
//! - [`tidy`]: the rules that every file keeps

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that panics fails, and its helpers are tests too")]

mod access;
mod brokers;
mod four_nodes;
mod http_cases;
mod hub;
mod limits;
mod load;
mod log;
mod messages;
mod peers;
mod programs;
mod publish;
mod push;
mod tidy;
