//! The system from outside: real processes, real sockets, nothing shared with the product but
//! its reader of JSON.
//!
//! - [`access`]: who may come in
//! - [`four_nodes`]: a broker, a publisher and two subscribers, whatever happens to them
//! - [`publish`]: what is stored, what is refused, and what is not stored twice
//! - [`http_cases`]: HTTP at its edges, byte by byte
//! - [`limits`]: every limit, at it and one past it
//! - [`load`]: many clients, slow ones, and such as break off
//! - [`messages`]: the list of a topic, whole, in pieces and as it grows
//! - [`programs`]: how the programs begin, end, and say what is wrong
//! - [`faults_kill`], [`faults_retry`], [`faults_start`], [`faults_errors`]: what the broker keeps,
//!   whatever happens to it
//! - [`tidy`]: the rules that every file keeps

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that panics fails, and its helpers are tests too")]

mod access;
mod faults_errors;
mod faults_kill;
mod faults_retry;
mod faults_start;
mod four_nodes;
mod http_cases;
mod limits;
mod load;
mod messages;
mod programs;
mod publish;
mod push;
mod tidy;
