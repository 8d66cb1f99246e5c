//! Streams of small records, of which the last of each subject is kept: what topics keep, and where
//! lasting subscriptions stand.

use super::Attempt;
use super::failure::{Failure, Reason};
use crate::refusal::Result;
use std::time::Duration;

/// Before a record is read again that somebody else has changed.
const PAUSE: Duration = Duration::from_millis(20);

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Table {
    Kept,
    Places,
}

impl Attempt<'_> {
    /// Stores records together if `first` fits, which is a header of the first: gives the sequence
    /// of the last. Nothing where they were not stored, and may be stored later.
    pub(super) fn store_records(
        &self,
        table: Table,
        records: &[(String, Vec<u8>)],
        first: &str,
    ) -> Result<Option<u64>> {
        // Whether it is there does not show by its silence: somebody may listen to all subjects.
        if !self.tables.lock().contains(&table) {
            match self.create_table(table) {
                Err(failure) if failure.reason() != Reason::NameInUse => return Err(failure.into()),
                _ => self.tables.lock().insert(table),
            };
        }
        match self.store(records, first, |_, (subject, text), _| (subject, text)) {
            Ok(at) => Ok(Some(at)),
            Err(failure) if failure.is_unstored() => {
                if failure.finds_nobody() {
                    self.tables.lock().remove(&table);
                }
                self.pause(PAUSE, failure)?;
                Ok(None)
            }
            Err(failure) => Err(failure.into()),
        }
    }

    /// The stream of a table, the subjects of its records, and of those that are sent once more,
    /// and as what.
    fn table(&self, table: Table) -> [String; 4] {
        let (names, each) = (&self.names, "{{wildcard(1)}}");
        match table {
            Table::Kept => {
                [names.records(), names.record('*'), names.record('*'), names.record_again(each)]
            }
            Table::Places => {
                [names.places(), names.place(None, None), names.hold(None), names.hold_again(each)]
            }
        }
    }

    /// Creates the stream of a table, unless it is there.
    pub(super) fn create_table(&self, table: Table) -> Result<(), Failure> {
        let [stream, subjects, from, to] = self.table(table);
        let settings = self.settings(&stream, &[subjects], [from, to], |object| {
            object.field("max_msgs_per_subject", 1_u64)
        });
        self.ask(&["STREAM.CREATE", &stream], &settings, |_| Some(()))
    }
}
