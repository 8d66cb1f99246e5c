//! `broker verify`: what a journal holds.

use super::{Directory, Disk, Error, Index, JOURNAL, List, Progress, Row};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// What a journal holds.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    /// How many files hold its frames.
    pub(crate) segments: u64,
    /// Bytes up to the end of the last whole frame.
    pub(crate) size: u64,
    /// Whole frames.
    pub(crate) frames: u64,
    /// The topics that are there, by name.
    pub(crate) topics: BTreeMap<String, List>,
    /// The lasting subscriptions that are there.
    pub(crate) subscriptions: u64,
    /// Bytes after the last whole frame: an append that was cut short, and that the next start
    /// will cut off.
    pub(crate) torn: u64,
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
    let Some(mut row) = Row::find(directory)? else {
        return Err(Error::absent(&directory.path(JOURNAL)));
    };
    let mut index = Index::default();
    let ends = row.scan(&mut index, &Progress::default(), |_| {})?;
    let topics = index.topics().map(|(topic, list)| (topic.to_owned(), *list)).collect();
    let subscriptions = index.subscriptions();
    let mut summary = Summary { topics, subscriptions, ..Summary::default() };
    for (segment, end) in row.segments.iter().zip(&ends) {
        summary.segments += 1;
        summary.frames += end.frames;
        summary.size += end.offset;
        summary.torn += segment.size()? - end.offset;
    }
    Ok(summary)
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages: u64 = self.topics.values().map(|topic| topic.next - topic.first).sum();
        write!(
            f,
            "good: {}, {}, {}, {}, {}, {}",
            Count(self.segments, "segment"),
            Count(self.size, "byte"),
            Count(self.frames, "frame"),
            Count(self.topics.len() as u64, "topic"),
            Count(messages, "message"),
            Count(self.subscriptions, "lasting subscription"),
        )?;
        write_topics(&self.topics, f)?;
        if self.torn > 0 {
            write!(
                f,
                "\nafter that {} of an append that was cut short and never acknowledged; the next \
                 start cuts it off",
                Count(self.torn, "byte")
            )?;
        }
        Ok(())
    }
}

/// So many of something.
pub(super) struct Count(pub(super) u64, pub(super) &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Count(count, name) = self;
        write!(f, "{count} {name}{}", if *count == 1 { "" } else { "s" })
    }
}

pub(super) fn write_topics(
    topics: &BTreeMap<String, List>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    topics.iter().try_for_each(|(topic, List { stream, first, next, .. })| {
        let messages = next - first;
        write!(f, "\n{messages:>12} messages from offset {first}  stream {stream}  {topic}")
    })
}
