//! What a topic keeps: bounds by count, by size and by age.
//!
//! Messages are removed only if somebody asked for it. The broker has bounds for all topics, and
//! each topic may have its own.

use std::fmt;
use std::str::FromStr;

/// One bound of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Bound {
    /// The broker's.
    #[default]
    Default,
    /// None, whatever the broker's is.
    None,
    /// Its own.
    At(u64),
}

/// Something for each of the bounds that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Each<T> {
    /// Of how many messages are kept.
    pub(crate) messages: T,
    /// Of the bytes of their text with line breaks.
    pub(crate) bytes: T,
    /// Of how long they are kept, in milliseconds.
    pub(crate) age: T,
}

/// The bounds of one topic.
pub(crate) type Bounds = Each<Bound>;

/// A change of a topic's bounds; what is not named stays as it is.
pub(crate) type BoundsChange = Each<Option<Bound>>;

/// The bounds that are in force; where there is none, all is kept. There is none by default.
pub(crate) type Limits = Each<Option<u64>>;

impl<T> Each<T> {
    fn zip<U, V>(self, other: Each<U>, join: impl Fn(T, U) -> V) -> Each<V> {
        Each {
            messages: join(self.messages, other.messages),
            bytes: join(self.bytes, other.bytes),
            age: join(self.age, other.age),
        }
    }
}

impl Limits {
    /// A change to these, and of no other bound.
    pub(crate) fn as_change(self) -> BoundsChange {
        self.zip(Each::<()>::default(), |limit, ()| limit.map(Bound::At))
    }

    /// The same as bounds of a topic.
    pub(crate) fn as_bounds(self) -> Bounds {
        self.zip(Each::<()>::default(), |limit, ()| limit.map_or(Bound::None, Bound::At))
    }
}

impl Bounds {
    /// The bounds after a change.
    pub(crate) fn with(self, change: &BoundsChange) -> Bounds {
        self.zip(*change, |bound, changed| changed.unwrap_or(bound))
    }

    /// What is in force where the broker has these bounds.
    pub(crate) fn or(self, defaults: &Limits) -> Limits {
        self.zip(*defaults, Bound::or)
    }
}

impl Bound {
    fn or(self, default: Option<u64>) -> Option<u64> {
        match self {
            Bound::Default => default,
            Bound::None => None,
            Bound::At(bound) => Some(bound),
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::Default => f.write_str("-"),
            Bound::None => f.write_str("none"),
            Bound::At(bound) => bound.fmt(f),
        }
    }
}

impl FromStr for Bound {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Bound, Self::Err> {
        match text {
            "-" => Ok(Bound::Default),
            "none" => Ok(Bound::None),
            bound => bound.parse().map(Bound::At),
        }
    }
}

/// An age in milliseconds, as people write it.
pub(crate) fn age(milliseconds: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
    let unit = UNITS.iter().find(|(unit, _)| milliseconds.is_multiple_of(*unit));
    let (unit, name) = unit.unwrap_or(&(1, "ms"));
    format!("{}{name}", milliseconds / unit)
}

/// As the journal has them: messages, bytes and milliseconds with tabs between them.
impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\t{}\t{}", self.messages, self.bytes, self.age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read_as_they_are_written() {
        let bounds = Bounds { messages: Bound::At(7), bytes: Bound::None, age: Bound::Default };
        assert_eq!(bounds.to_string(), "7\tnone\t-");
        for bound in [bounds.messages, bounds.bytes, bounds.age] {
            assert_eq!(bound.to_string().parse(), Ok(bound));
        }
        assert!(["", "x", "7\t-"].iter().all(|bad| bad.parse::<Bound>().is_err()));
    }

    #[test]
    fn an_age_is_written_in_the_largest_unit_that_divides_it() {
        for (milliseconds, text) in
            [(604_800_000, "7d"), (43_200_000, "12h"), (90_000, "90s"), (1500, "1500ms")]
        {
            assert_eq!(age(milliseconds), text);
        }
    }

    #[test]
    fn a_bound_of_a_topic_stands_before_the_brokers_and_stays_unless_it_is_named() {
        let defaults = Limits { messages: Some(5), bytes: Some(6), age: None };
        let own = Bounds { messages: Bound::None, age: Bound::At(9), ..Bounds::default() };
        let limits = Limits { messages: None, bytes: Some(6), age: Some(9) };
        assert_eq!(own.or(&defaults), limits);
        let change = BoundsChange { messages: Some(Bound::Default), ..BoundsChange::default() };
        let limits = Limits { messages: Some(5), bytes: Some(6), age: Some(9) };
        assert_eq!(own.with(&change).or(&defaults), limits);
    }
}
