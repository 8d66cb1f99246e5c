//! The store: topics with their messages, to disk and back.
//!
//! Modules in reading order:
//!
//! - `entry`: a stored message; `stream`: the id of a list
//! - `batch`: messages on their way in
//! - `topic_state`: the state of a topic beside its list; `point`: places in it, and what is known
//!   there; `view`: list and state together, as readers see them; `extract`: what they copy of it
//! - `sequences`: the numbers of a topic's publishers; `retention`: what it keeps; `memory`: what
//!   all of it costs; `mover`: how memory comes back; `heaps`: where it is
//! - `admission`: accepts or refuses publishes
//! - `change`: everything that can happen: accepted, applied or undone; `append`: publishes
//! - `contents`: the lists and their state, behind locks
//! - `commit`: one write and one sync for all that wait
//! - `journal`: the files; `replay`: from the files back into lists
//! - `topics`: all of it, as connections use it; `mirrors`: those that another broker is the home
//!   of; `upkeep`: what is done for them from time to time

mod admission;
mod append;
mod batch;
mod change;
mod commit;
mod contents;
pub(crate) mod entry;
mod extract;
mod heaps;
pub(crate) mod journal;
pub(crate) mod memory;
mod mirrors;
mod mover;
mod point;
mod replay;
mod retention;
mod sequences;
mod stream;
mod topic_state;
mod topics;
mod upkeep;
mod view;

pub(crate) use admission::{Admission, Dependents, Outcome, Receipt, Receipts};
pub(crate) use batch::{Batch, Publish, Publisher, Sequence};
pub(crate) use change::{Change, Garbage, Lists, TopicChange, Upto, record_size};
pub(crate) use contents::Locked;
pub(crate) use entry::Entry;
pub(crate) use extract::Extract;
pub(crate) use memory::{Memory, subscription_size};
pub(crate) use mirrors::Mirrored;
pub(crate) use replay::{Positions, Replayed};
pub(crate) use retention::{Bound, BoundsChange, Limits, age};
pub(crate) use sequences::{Sequences, Verdict};
pub(crate) use stream::{Begin, Cursor, Extent, Place, StreamId};
pub(crate) use topics::Topics;
pub(crate) use upkeep::{Restoring, Upkeep};
pub(crate) use view::Summary;

use append::Append;
use change::ListChange;
use commit::{Commits, Meter};
use contents::Contents;
use heaps::Heaps;
use memory::{Room, reallocate};
use mover::Mover;
use point::{MARK_EVERY, Mark, Point, text_size};
use retention::Bounds;
use sequences::Before;
use topic_state::TopicState;
use view::TopicView;
