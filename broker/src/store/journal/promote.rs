//! `broker promote`: the copies of another broker's topics become topics of this directory's own.
//!
//! # Guarantee
//!
//! All of them do, or none: they stand in one frame. Each goes on under a new stream id, since the
//! other broker may come back, and two lists must not have the same.

use super::check::{TopicSummary, verify_in};
use super::error::Error;
use super::frame::Frame;
use super::record::Record;
use super::storage::{Directory, Disk};
use super::{Journal, Progress, SEGMENT_SIZE, Settings, Sync};
use crate::store::stream::StreamId;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// The topics that were promoted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Promoted(pub(super) BTreeMap<String, TopicSummary>);

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
        Journal::open_in(directory, settings, &Progress::default(), |record| match record {
            Record::Mirror { topic, .. } => drop(mirrors.insert(topic.to_owned())),
            Record::Delete { topic, .. } | Record::NewStream { topic, own: true, .. } => {
                mirrors.remove(topic);
            }
            _ => {}
        })?;
    let (mut frame, mut promoted) = (Frame::default(), BTreeMap::new());
    for topic in mirrors {
        let Some(list) = journal.shared.index().list(&topic).copied() else { continue };
        let new = StreamId::random();
        frame.add(&Record::NewStream { topic: &topic, stream: list.stream, new, own: true });
        promoted.insert(topic, TopicSummary { stream: new, first: list.first, next: list.next });
    }
    journal.append(&mut frame)?;
    Ok(Promoted(promoted))
}
