//! Lists the differences between two brokers, each kind once.

use crate::script::Script;
use std::collections::BTreeMap;
use std::fmt;

/// Conversations in which the same lines differ in the same way.
#[derive(Debug)]
struct Kind {
    conversations: u64,
    first: String,
}

/// All that differed so far.
#[derive(Debug, Default)]
pub(crate) struct Differences {
    kinds: BTreeMap<Vec<String>, Kind>,
    compared: u64,
    lines: u64,
}

/// Kinds of differences that are shown.
const SHOWN: usize = 5000;

impl Differences {
    /// Takes the answers of two brokers in the same conversation.
    pub(crate) fn compare(&mut self, setup: &str, script: &Script, before: &str, after: &str) {
        self.compared += 1;
        self.lines += before.lines().count() as u64;
        if before == after {
            return;
        }
        let changes =
            changes(&before.lines().collect::<Vec<_>>(), &after.lines().collect::<Vec<_>>());
        let first = || format!("{setup}, {script:.3000}");
        let kind = self.kinds.entry(changes);
        kind.or_insert_with(|| Kind { conversations: 0, first: first() }).conversations += 1;
    }

    /// How many conversations differ.
    pub(crate) fn conversations(&self) -> u64 {
        self.kinds.values().map(|kind| kind.conversations).sum()
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: Vec<_> = self.kinds.iter().collect();
        kinds.sort_by_key(|(_, kind)| std::cmp::Reverse(kind.conversations));
        for (changes, kind) in kinds.iter().take(SHOWN) {
            writeln!(f, "\n=== in {} conversations, first in {}", kind.conversations, kind.first)?;
            for line in *changes {
                writeln!(f, "{line:.1000}")?;
            }
        }
        let Differences { compared, lines, .. } = self;
        let (count, kinds) = (self.conversations(), kinds.len());
        write!(f, "{compared} conversations, {lines} lines: {count} differ, in {kinds} ways")
    }
}

/// The lines that one has and the other has not; all of them where only their order differs.
fn changes(before: &[&str], after: &[&str]) -> Vec<String> {
    let mut changes = only(before, after, "-");
    changes.extend(only(after, before, "+"));
    if changes.is_empty() {
        changes.extend(before.iter().map(|line| format!("another order: {line}")));
    }
    changes
}

/// The lines of `lines` that `others` has not so often.
fn only(lines: &[&str], others: &[&str], sign: &str) -> Vec<String> {
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    others.iter().for_each(|line| *left.entry(line).or_default() += 1);
    let mut found = Vec::new();
    for line in lines {
        match left.get_mut(line) {
            Some(count @ 1..) => *count -= 1,
            _ => found.push(format!("{sign} {line}")),
        }
    }
    found
}
