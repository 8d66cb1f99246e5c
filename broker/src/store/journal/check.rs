//! `broker verify` and `broker repair`.

use super::JOURNAL;
use super::error::Error;
use super::index::{Index, List};
use super::row::Row;
use super::storage::{Directory, Disk};
use crate::store::stream::StreamId;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// What a journal holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// How many files hold its frames.
    pub(crate) segments: u64,
    /// Bytes up to the end of the last whole frame.
    pub(crate) size: u64,
    /// Whole frames.
    pub(crate) frames: u64,
    /// The topics that are there, by name.
    pub(crate) topics: BTreeMap<String, TopicSummary>,
    /// The lasting subscriptions that are there.
    pub(crate) subscriptions: u64,
    /// Bytes after the last whole frame: an append that was cut short, and that the next start
    /// will cut off.
    pub(crate) torn: u64,
}

/// What a journal holds of one topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TopicSummary {
    /// The id of its list.
    pub(crate) stream: StreamId,
    /// The first offset that was not let go.
    pub(crate) first: u64,
    /// The offset after the last message.
    pub(crate) next: u64,
}

/// Reads a journal as a start would, and changes nothing.
///
/// # Errors
///
/// What would keep the broker from starting.
pub(crate) fn verify(directory: &Path) -> Result<Summary, Error> {
    verify_in(&Disk::look_at(directory)?)
}

pub(super) fn verify_in(directory: &dyn Directory) -> Result<Summary, Error> {
    let Some(row) = Row::find(directory)? else {
        let cause = io::ErrorKind::NotFound.into();
        return Err(directory.failed("open", JOURNAL)(cause));
    };
    let mut index = Index::default();
    let ends = row.scan(directory, &mut index, |_| {}, |_| {})?;
    let subscriptions = index.subscriptions();
    let mut summary = Summary { subscriptions, ..Summary::default() };
    for (segment, end) in row.segments.iter().zip(&ends) {
        let size = segment.file.size().map_err(directory.failed("read", &segment.name))?;
        summary.segments += 1;
        summary.frames += end.frames;
        summary.size += end.offset;
        summary.torn += size - end.offset;
    }
    for (topic, list) in index.topics() {
        let &List { stream, first, next, .. } = list;
        summary.topics.insert(topic.to_owned(), TopicSummary { stream, first, next });
    }
    Ok(summary)
}
