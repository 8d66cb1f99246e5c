//! The store: topics, the messages in each, and how they come to disk and back.
//!
//! Modules in reading order:
//!
//! - `entry`: a message as it is kept; `stream`: which list an offset belongs to
//! - `batch`: messages on their way in
//! - `topics`: the shared lists; nothing else touches them
//! - `ledger`: what is accepted and what is refused, before it is in a list; `facts`, `numbers`,
//!   `memory`: what it knows of a topic, of its publishers, and of the room that is left
//! - `change`: what can happen to all of that, decided about, made visible, or taken back
//! - `commit`: one write and one sync for all who wait at the same time
//! - `journal`: the file; `replay`: from the file back into lists

pub(crate) mod batch;
pub(crate) mod change;
pub(crate) mod commit;
pub(crate) mod entry;
pub(crate) mod facts;
pub(crate) mod journal;
pub(crate) mod ledger;
pub(crate) mod memory;
mod numbers;
pub(crate) mod replay;
pub(crate) mod stream;
pub(crate) mod topics;
