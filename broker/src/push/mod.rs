//! Push: new messages go to those who follow their topic, and nobody waits for a slow reader.
//!
//! A subscriber is a cursor, never a queue: the offset that it needs next. Replay and live are the
//! same code.
//!
//! Modules in reading order:
//!
//! - `listeners`: who waits for which topic
//! - `subscriber`: what a connection follows; `names`: subscriptions that outlive a connection
//! - `session`: the one writer of a socket, and what it has to write; `subscriptions`: its topics
//! - `work`: what a thread that writes to many sessions shares among them; `format`: the bytes
//! - `catch_up`: threads for sessions that are behind

pub(crate) mod catch_up;
#[cfg(test)]
mod fixture;
pub(crate) mod format;
pub(crate) mod listeners;
pub(crate) mod names;
pub(crate) mod session;
pub(crate) mod subscriber;
pub(crate) mod subscriptions;
pub(crate) mod work;
