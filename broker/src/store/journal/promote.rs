//! `broker promote`: the copies of another broker's topics become topics of this directory's own.
//!
//! # Guarantee
//!
//! All of them do, or none: they stand in one frame. Each goes on under a new stream id, since the
//! other broker may come back, and two lists must not have the same.

use super::{
    Count, Directory, Disk, Error, Event, Journal, List, Progress, SEGMENT_SIZE, Settings, Sync,
    verify_in, write_topics,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// The topics that were promoted.
#[derive(Debug)]
pub(crate) struct Promoted(pub(super) BTreeMap<String, List>);

/// Promotes the mirrors in a directory that no broker uses.
///
/// # Errors
///
/// What would keep a broker from starting there, or that there is no journal.
pub(crate) fn promote(directory: &Path) -> Result<Promoted, Error> {
    promote_in(Arc::new(Disk::lock(directory, false)?))
}

pub(super) fn promote_in(directory: Arc<dyn Directory>) -> Result<Promoted, Error> {
    // None is made where there is none.
    verify_in(&*directory)?;
    let settings = Settings { sync: Sync::Always, segment_size: SEGMENT_SIZE };
    let mut mirrors = BTreeSet::new();
    let (mut journal, _) =
        Journal::open_in(directory, settings, &Progress::default(), |record| match record.event {
            Event::Mirror => drop(mirrors.insert(record.topic.to_owned())),
            Event::Delete | Event::NewStream { own: true, .. } => {
                mirrors.remove(record.topic);
            }
            _ => {}
        })?;
    journal.give_new_streams(true, |topic| mirrors.contains(topic), |_| ()).map(Promoted)
}

impl fmt::Display for Promoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Promoted(topics) = self;
        if topics.is_empty() {
            return f.write_str("no topic is a copy of another broker's: nothing was changed");
        }
        write!(
            f,
            "{} of another broker belong to this directory now, under new stream ids; start a \
             broker with it, without --upstream",
            Count(topics.len() as u64, "topic")
        )?;
        write_topics(topics, f)
    }
}
