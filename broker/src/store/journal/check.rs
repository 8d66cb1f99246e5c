//! `broker verify` and `broker repair`: a journal looked at, and mended, by hand.

use super::JOURNAL;
use super::error::Error;
use super::index::Index;
use super::record::Record;
use super::row::Row;
use super::storage::{Directory, Disk};
use crate::store::stream::StreamId;
use std::collections::{BTreeMap, BTreeSet};
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
    /// The lasting subscriptions that are there: topic and subscriber.
    pub(crate) subscriptions: BTreeSet<(String, String)>,
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
    let mut summary = Summary::default();
    let end = row.scan(directory, &mut index, |_| {}, |record| summary.note(&record))?;
    summary.frames = end.frames;
    for (segment, it) in row.segments.iter().zip(&end.segments) {
        let size = segment.file.size().map_err(directory.failed("read", &segment.name))?;
        summary.segments += 1;
        summary.size += it.end.offset;
        summary.torn += size - it.end.offset;
    }
    for (topic, stream) in index.topics() {
        if let Some(list) = index.find(topic, stream) {
            let topic_summary = TopicSummary { stream, first: list.first, next: list.next };
            summary.topics.insert(topic.to_owned(), topic_summary);
        }
    }
    Ok(summary)
}

impl Summary {
    fn note(&mut self, record: &Record<'_>) {
        match *record {
            Record::Position { subscriber, topic, .. } => {
                self.subscriptions.insert((topic.to_owned(), subscriber.to_owned()));
            }
            Record::End { subscriber, topic } => {
                self.subscriptions.remove(&(topic.to_owned(), subscriber.to_owned()));
            }
            Record::Delete { topic, .. } => self.subscriptions.retain(|(of, _)| of != topic),
            _ => {}
        }
    }
}
