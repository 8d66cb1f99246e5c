//! The store: topics with their messages, to disk and back.
//!
//! Modules in reading order:
//!
//! - `entry`: a stored message; `stream`: the id of a list
//! - `batch`: messages on their way in
//! - `topic_state`: the state of a topic beside its list; `view`: both together, as readers see
//!   them; `sequences`: the numbers of its publishers; `retention`: what it keeps; `memory`: what
//!   all of it costs; `mover`: how memory comes back
//! - `admission`: accepts or refuses publishes
//! - `change`: everything that can happen: accepted, applied or undone; `append`: publishes
//! - `contents`: the lists and their state, behind locks
//! - `commit`: one write and one sync for all that wait
//! - `journal`: the files; `replay`: from the files back into lists
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
mod mover;
pub(crate) mod replay;
pub(crate) mod retention;
pub(crate) mod sequences;
pub(crate) mod stream;
mod topic_state;
pub(crate) mod topics;
pub(crate) mod view;
