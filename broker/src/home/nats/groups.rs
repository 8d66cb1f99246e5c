//! Publishes that arrive together, in groups that are stored together.

use super::storing::BATCH_COUNT_MAX;
use crate::home::Forwarded;
use crate::store::Sequence;

/// Publishes of one publisher to one topic that follow one another: in effect, one publish.
pub(super) struct Group<'a> {
    pub(super) publishes: &'a [Forwarded<'a>],
    pub(super) topic: &'a str,
    /// The name and the first number, where they are numbered.
    pub(super) numbered: Option<(&'a str, Sequence)>,
    pub(super) entries: Vec<&'a str>,
}

impl<'a> Group<'a> {
    /// Takes the publishes at the front that are in effect one.
    pub(super) fn first(
        publishes: &'a [Forwarded<'a>],
    ) -> Option<(Group<'a>, &'a [Forwarded<'a>])> {
        let (first, _) = publishes.first()?;
        let mut count = 0;
        let goes_on = |(publish, entries): &&Forwarded<'_>| {
            let is_first = count == 0;
            let is_same = *publish.topic == *first.topic
                && match (&first.numbered, &publish.numbered) {
                    (None, None) => true,
                    (Some((by, number)), Some((name, next))) => {
                        by == name && (is_first || *next == number.later(count as u64))
                    }
                    _ => false,
                };
            count += entries.len();
            let is_alike = first.numbered.is_some() || (first.count == 1) == (entries.len() == 1);
            is_first || (is_same && is_alike && count <= BATCH_COUNT_MAX && !entries.is_empty())
        };
        let length = publishes.iter().take_while(goes_on).count();
        let (these, rest) = publishes.split_at_checked(length)?;
        let numbered = first.numbered.as_ref().map(|(by, number)| (by.as_str(), *number));
        let entries = these.iter().flat_map(|(_, entries)| entries.iter().map(String::as_str));
        let entries = entries.collect();
        Some((Group { publishes: these, topic: &first.topic, numbered, entries }, rest))
    }

    /// Whether it is several publishes that have nothing to do with one another.
    pub(super) fn is_of_single_messages(&self) -> bool {
        let (count, all) = (self.publishes.len(), self.entries.len());
        self.numbered.is_none() && count > 1 && count == all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Batch, Publisher};

    fn groups(batch: &Batch) -> Vec<(usize, usize)> {
        let mut entries = batch.entries.as_slice();
        let forwarded: Vec<Forwarded<'_>> = batch
            .publishes
            .iter()
            .map(|publish| {
                let (these, rest) = entries.split_at(publish.count);
                entries = rest;
                (publish, these)
            })
            .collect();
        let (mut rest, mut found) = (forwarded.as_slice(), Vec::new());
        while let Some((group, others)) = Group::first(rest) {
            found.push((group.publishes.len(), group.entries.len()));
            rest = others;
        }
        found
    }

    #[test]
    fn publishes_that_follow_one_another_are_stored_together() {
        let mut batch = Batch::default();
        let mut add = |topic: &str, by: Option<(&str, u64, u64)>, count: usize| {
            let publisher = by.map(|(name, epoch, sequence)| Publisher {
                name,
                sequence: Some(Sequence { epoch, sequence }),
            });
            batch.publish(topic, publisher, std::iter::repeat_n("m", count), 10).unwrap();
        };
        add("t", Some(("ann", 1, 0)), 2);
        add("t", Some(("ann", 1, 2)), 1);
        add("t", Some(("ann", 1, 4)), 1); // A gap.
        add("t", Some(("bob", 1, 5)), 1);
        add("u", None, 1);
        add("u", None, 998); // Nothing that can be stored alone.
        add("u", None, 1);
        add("u", None, 1);
        add("u", None, 2000);
        add("u", None, 1);
        assert_eq!(
            groups(&batch),
            [(2, 3), (1, 1), (1, 1), (1, 1), (1, 998), (2, 2), (1, 2000), (1, 1)]
        );
    }
}
