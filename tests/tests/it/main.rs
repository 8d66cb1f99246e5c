//! The system from outside: real processes, real sockets, nothing shared with the product but
//! its reader of JSON.
//!
//! - [`access`]: who may come in
//! - [`channels`]: clients of the dialect of channels, written in another language
//! - [`client`]: the client library, across restarts and networks that lose things
//! - [`dialogue`]: lines that people type, and those that a broker answers with
//! - [`four_nodes`]: a broker, a publisher and two subscribers, whatever happens to them
//! - [`publish`]: what is stored, what is refused, and what is not stored twice
//! - [`http_cases`]: HTTP at its edges, byte by byte
//! - [`limits`]: every limit, at it and one past it
//! - [`lines`]: files and pipes, published line by line
//! - [`load`]: many clients, slow ones, and such as break off
//! - [`messages`]: the list of a topic, whole, in pieces and as it grows
//! - [`programs`]: how the programs begin, end, and say what is wrong
//! - [`push`]: messages that are pushed, through every door
//! - [`qos`]: at most once, at least once, exactly once: publishing and subscribing
//! - [`tidy`]: the rules that every file keeps

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that panics fails, and its helpers are tests too")]

mod access;
mod channels;
mod client;
mod dialogue;
mod four_nodes;
mod http_cases;
mod limits;
mod lines;
mod load;
mod messages;
mod programs;
mod publish;
mod push;
mod qos;
mod tidy;
