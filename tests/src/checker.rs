//! The checker: compares what publishers were told and readers saw with what is there at the end.
//!
//! Every value is unique: [`value`] makes it from its publisher and a number. Publishers report
//! what they send and what is acknowledged, followers report what they see. At the end
//! [`Checker::check`] gets each topic and counts everything that must not have happened.
//!
//! A value that was sent and never acknowledged may be there once, or not at all.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

/// The last character of every value: without it, a piece of a value could pass for another.
const END: char = '.';

/// A publisher's value of this number, at least `size` bytes long.
#[must_use]
pub fn value(publisher: &str, number: u64, size: usize) -> String {
    let mut value = format!("{publisher}-{number}");
    while value.len() + 1 < size {
        value.push('~');
    }
    value.push(END);
    value
}

/// Who published a value, and its number.
fn parse(value: &str) -> Option<(&str, u64)> {
    let (publisher, rest) = value.strip_suffix(END)?.rsplit_once('-')?;
    Some((publisher, rest.trim_end_matches('~').parse().ok()?))
}

/// What is known of all topics.
#[derive(Debug, Default)]
pub struct Checker {
    topics: BTreeMap<String, Topic>,
    contradictions: u64,
}

#[derive(Debug, Default)]
struct Topic {
    sent: BTreeSet<String>,
    /// Acknowledged values, and the offset that the publisher was told, if it was told one.
    acknowledged: BTreeMap<String, Option<u64>>,
    /// What readers saw, and where.
    seen: BTreeSet<(u64, String)>,
}

/// What is left of a topic at the end.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct List {
    /// The offset of the first message that was not let go.
    pub first: u64,
    /// All messages from there on.
    pub messages: Vec<String>,
}

impl List {
    /// The offset behind the last message.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first + self.messages.len() as u64
    }
}

/// How often each thing happened. All but the first five have to be 0.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Values that publishers sent.
    pub sent: u64,
    /// Of those, how many were acknowledged.
    pub acknowledged: u64,
    /// Of those that were sent and not acknowledged, how many are there.
    pub unknown: u64,
    /// Different places of topics that readers saw.
    pub seen: u64,
    /// Offsets that the topic has let go, on purpose, of which somebody was told what is there.
    pub let_go: u64,
    /// Acknowledged, and not there.
    pub lost: u64,
    /// Seen by a reader, and not there.
    pub phantom: u64,
    /// There more than once.
    pub duplicate: u64,
    /// At another offset than the publisher was told, or than a reader saw.
    pub moved: u64,
    /// Behind a later value of the same publisher.
    pub out_of_order: u64,
    /// Never sent.
    pub invented: u64,
    /// A piece of a value that was sent.
    pub torn: u64,
    /// Times that the broker took back what it had said: a reader was given another offset than
    /// the one that came next, or a publisher's number was not the one expected.
    pub contradictions: u64,
}

impl Checker {
    /// A publisher is about to send a value.
    pub fn sent(&mut self, topic: &str, value: &str) {
        self.topic(topic).sent.insert(value.to_owned());
    }

    /// A value was acknowledged, at this offset if one was told.
    pub fn acknowledged(&mut self, topic: &str, value: &str, offset: Option<u64>) {
        self.topic(topic).acknowledged.insert(value.to_owned(), offset);
    }

    /// A reader saw a value at an offset.
    pub fn seen(&mut self, topic: &str, offset: u64, value: &str) {
        self.topic(topic).seen.insert((offset, value.to_owned()));
    }

    /// The broker took back what it had said to a reader or a publisher.
    pub fn contradicted(&mut self) {
        self.contradictions += 1;
    }

    /// The topics that somebody sent to.
    #[must_use]
    pub fn topics(&self) -> Vec<String> {
        self.topics.keys().cloned().collect()
    }

    /// Counts, with `list` giving all that is left of a topic.
    pub fn check(&self, mut list: impl FnMut(&str) -> List) -> Counts {
        let mut counts = Counts { contradictions: self.contradictions, ..Counts::default() };
        for (name, topic) in &self.topics {
            topic.check(&list(name), &mut counts);
        }
        counts
    }

    fn topic(&mut self, name: &str) -> &mut Topic {
        if !self.topics.contains_key(name) {
            self.topics.insert(name.to_owned(), Topic::default());
        }
        self.topics.get_mut(name).expect("it was just put there")
    }
}

impl Topic {
    fn check(&self, list: &List, counts: &mut Counts) {
        let List { first, messages: list } = list;
        let first = *first;
        let mut places: HashMap<&str, u64> = HashMap::new();
        let mut last: HashMap<&str, u64> = HashMap::new();
        let told = self.acknowledged.iter().filter_map(|(value, told)| Some(((*told)?, value)));
        let seen = self.seen.iter().map(|(offset, value)| (*offset, value));
        // What was let go was once as right as what is left.
        let mut gone: BTreeMap<u64, &String> = BTreeMap::new();
        for (offset, value) in told.chain(seen).filter(|(offset, _)| *offset < first) {
            counts.moved += u64::from(*gone.entry(offset).or_insert(value) != value);
        }
        counts.let_go += gone.len() as u64;
        for (offset, value) in gone.into_iter().chain((first..).zip(list)) {
            if !self.sent.contains(value) {
                let is_piece = self.sent.iter().any(|sent| sent.contains(value.as_str()));
                *(if is_piece { &mut counts.torn } else { &mut counts.invented }) += 1;
                continue;
            }
            if places.contains_key(value.as_str()) {
                counts.duplicate += 1;
                continue;
            }
            places.insert(value, offset);
            if let Some((publisher, number)) = parse(value) {
                let highest = last.entry(publisher).or_insert(number);
                counts.out_of_order += u64::from(number < *highest);
                *highest = number.max(*highest);
            }
        }
        for (value, offset) in &self.acknowledged {
            match places.get(value.as_str()) {
                None => counts.lost += 1,
                Some(place) => counts.moved += u64::from(offset.is_some_and(|told| told != *place)),
            }
        }
        for (offset, value) in self.seen.iter().filter(|(offset, _)| *offset >= first) {
            let index = usize::try_from(offset - first).ok();
            let found = index.and_then(|index| list.get(index));
            if found == Some(value) {
                continue;
            }
            let is_elsewhere = places.contains_key(value.as_str());
            *(if is_elsewhere { &mut counts.moved } else { &mut counts.phantom }) += 1;
        }
        let unknown = |value: &&String| {
            places.contains_key(value.as_str()) && !self.acknowledged.contains_key(*value)
        };
        counts.unknown += self.sent.iter().filter(unknown).count() as u64;
        counts.sent += self.sent.len() as u64;
        counts.acknowledged += self.acknowledged.len() as u64;
        counts.seen += self.seen.len() as u64;
    }
}

impl Counts {
    /// What must not have happened, each with its name.
    #[must_use]
    pub fn faults(&self) -> [(&'static str, u64); 8] {
        [
            ("lost", self.lost),
            ("phantom", self.phantom),
            ("duplicate", self.duplicate),
            ("moved", self.moved),
            ("out of order", self.out_of_order),
            ("invented", self.invented),
            ("torn", self.torn),
            ("contradictions", self.contradictions),
        ]
    }

    /// Whether nothing happened that must not.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.faults().iter().all(|(_, count)| *count == 0)
    }
}

impl fmt::Display for Counts {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { sent, acknowledged, unknown, seen, .. } = self;
        write!(f, "{sent} sent, {acknowledged} acknowledged, {unknown} unknown but there, ")?;
        write!(f, "{seen} seen")?;
        if self.let_go > 0 {
            write!(f, ", {} let go", self.let_go)?;
        }
        f.write_str(":")?;
        for (index, (name, count)) in self.faults().iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma} {count} {name}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three values of one publisher were acknowledged, and seen, at offsets 0 to 2.
    fn three() -> (Checker, Vec<String>) {
        let mut checker = Checker::default();
        let values: Vec<_> = (0..3).map(|number| value("ann", number, 9)).collect();
        for (offset, value) in (0..).zip(&values) {
            checker.sent("t", value);
            checker.acknowledged("t", value, Some(offset));
            checker.seen("t", offset, value);
        }
        (checker, values)
    }

    fn whole(list: &[String]) -> List {
        List { first: 0, messages: list.to_vec() }
    }

    #[test]
    fn what_was_let_go_is_neither_lost_nor_may_it_come_back() {
        let (mut checker, list) = three();
        let rest = |first: usize| List { first: first as u64, messages: list[first..].to_vec() };
        let counts = checker.check(|_| rest(2));
        assert!(counts.is_clean(), "{counts}");
        assert_eq!(counts.let_go, 2);
        let again = List { first: 2, messages: vec![list[2].clone(), list[0].clone()] };
        assert_eq!(checker.check(|_| again.clone()).duplicate, 1);
        checker.seen("t", 1, &list[0]);
        assert_eq!(checker.check(|_| rest(2)).moved, 1);
    }

    #[test]
    fn what_was_let_go_was_there_once_and_in_order() {
        let (mut checker, list) = three();
        let nothing = |checker: &Checker| checker.check(|_| List { first: 9, messages: vec![] });
        assert!(nothing(&checker).is_clean());
        checker.seen("t", 7, "never sent");
        assert_eq!(nothing(&checker).invented, 1);
        checker.seen("t", 3, &list[0]);
        assert_eq!(nothing(&checker).duplicate, 1);
        let late = value("ann", 9, 0);
        checker.sent("t", &late);
        checker.sent("t", &value("ann", 8, 0));
        checker.acknowledged("t", &late, Some(4));
        checker.acknowledged("t", &value("ann", 8, 0), Some(5));
        assert_eq!(nothing(&checker).out_of_order, 1);
    }

    #[track_caller]
    fn assert_found(checker: &Checker, list: &[String], expected: &[(&str, u64)]) {
        let counts = checker.check(|_| whole(list));
        let found: Vec<_> = counts.faults().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(found, expected, "{counts}");
        assert_eq!(counts.is_clean(), expected.is_empty());
    }

    #[test]
    fn nothing_is_found_where_all_is_as_it_was_told() {
        let (checker, list) = three();
        assert_found(&checker, &list, &[]);
        let counts = checker.check(|_| whole(&list));
        assert_eq!((counts.sent, counts.acknowledged, counts.seen), (3, 3, 3));
    }

    #[test]
    fn a_value_that_nobody_was_told_of_may_be_there_or_not() {
        let (mut checker, mut list) = three();
        checker.sent("t", &value("ann", 3, 0));
        assert_found(&checker, &list, &[]);
        list.push(value("ann", 3, 0));
        assert_found(&checker, &list, &[]);
        assert_eq!(checker.check(|_| whole(&list)).unknown, 1);
    }

    #[test]
    fn a_value_that_is_gone_is_lost_and_where_it_was_seen_a_phantom() {
        let (checker, mut list) = three();
        list.pop();
        assert_found(&checker, &list, &[("lost", 1), ("phantom", 1)]);
    }

    #[test]
    fn a_value_that_was_seen_and_is_gone_is_a_phantom() {
        let (mut checker, list) = three();
        checker.sent("t", &value("ann", 3, 0));
        checker.seen("t", 3, &value("ann", 3, 0));
        assert_found(&checker, &list, &[("phantom", 1)]);
    }

    #[test]
    fn a_value_that_is_there_again_is_a_duplicate() {
        let (checker, mut list) = three();
        list.push(list[1].clone());
        assert_found(&checker, &list, &[("duplicate", 1)]);
    }

    #[test]
    fn a_value_at_another_offset_than_was_told_is_moved() {
        let mut checker = Checker::default();
        let (ann, bob) = (value("ann", 0, 0), value("bob", 0, 0));
        for (offset, value) in [(0, &ann), (1, &bob)] {
            checker.sent("t", value);
            checker.acknowledged("t", value, Some(offset));
        }
        assert_found(&checker, &[bob.clone(), ann.clone()], &[("moved", 2)]);
        checker.acknowledged("t", &ann, None);
        checker.acknowledged("t", &bob, None);
        checker.seen("t", 0, &ann);
        assert_found(&checker, &[bob, ann], &[("moved", 1)]);
    }

    #[test]
    fn a_value_behind_a_later_one_of_its_publisher_is_out_of_order() {
        let mut checker = Checker::default();
        let list: Vec<_> = [("ann", 0), ("bob", 5), ("ann", 2), ("ann", 1), ("bob", 6), ("ann", 3)]
            .map(|(publisher, number)| value(publisher, number, 0))
            .into();
        list.iter().for_each(|value| checker.sent("t", value));
        assert_found(&checker, &list, &[("out of order", 1)]);
    }

    #[test]
    fn what_nobody_sent_is_invented_or_a_piece_of_what_somebody_did() {
        let (checker, mut list) = three();
        list.push("ann-7.".to_owned());
        assert_found(&checker, &list, &[("invented", 1)]);
        for piece in ["", "ann-1", "n-2~~~."] {
            list[3] = piece.to_owned();
            assert_found(&checker, &list, &[("torn", 1)]);
        }
    }

    #[test]
    fn a_value_in_another_topic_is_lost_in_one_and_invented_in_the_other() {
        let (mut checker, list) = three();
        checker.sent("u", &value("ann", 9, 0));
        let counts =
            checker.check(|topic| if topic == "u" { whole(&list) } else { List::default() });
        assert_eq!((counts.lost, counts.invented), (3, 3));
    }

    #[test]
    fn what_the_broker_took_back_is_counted() {
        let (mut checker, list) = three();
        checker.contradicted();
        assert_found(&checker, &list, &[("contradictions", 1)]);
    }

    #[test]
    fn values_are_unique_and_say_whose_they_are() {
        for (number, size) in [(0, 0), (17, 5), (17, 100)] {
            let value = value("a-b", number, size);
            assert!(value.len() >= size);
            assert_eq!(parse(&value), Some(("a-b", number)));
            assert_eq!(parse(&value[..value.len() - 1]), None);
        }
    }
}
