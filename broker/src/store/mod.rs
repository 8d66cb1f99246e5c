//! The store: topics, the messages in each, and how they come to disk and back.
//!
//! Modules in reading order:
//!
//! - `entry`: a message as it is kept; `stream`: which list an offset belongs to
//! - `batch`: messages on their way in
//! - `topic_state`: what is known of a topic beside its list; `view`: both together, as readers see
//!   them; `sequences`: what is known of its publishers; `retention`: what it keeps; `memory`: what
//!   all of it costs
//! - `admission`: what is accepted and what is refused, before it is in a list
//! - `change`: what can happen to all of that: accepted, applied or undone; `append`: publishes
//! - `contents`: the lists and what is known of them, behind their locks
//! - `commit`: one write and one sync for all who wait at the same time
//! - `journal`: the file; `replay`: from the file back into lists
//! - `topics`: all of it, as connections use it

pub(crate) mod admission;
mod append;
pub(crate) mod batch;
pub(crate) mod change;
pub(crate) mod commit;
mod contents;
pub(crate) mod entry;
pub(crate) mod journal;
pub(crate) mod memory;
pub(crate) mod replay;
pub(crate) mod retention;
pub(crate) mod sequences;
pub(crate) mod stream;
mod topic_state;
pub(crate) mod topics;
pub(crate) mod view;
