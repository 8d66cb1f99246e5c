//! Names in JetStream: what a topic, its list and its publishers are called there.
//!
//! The id of a list is part of the subjects of its messages. So a publish that means a list which
//! was deleted finds nobody, and never lands in the one that took its place.

use crate::store::StreamId;
use common::http::percent;
use std::fmt::Display;

/// How all names begin.
pub(super) struct Names {
    pub(super) prefix: String,
}

impl Names {
    /// What all subjects match.
    pub(super) fn everything(&self) -> String {
        format!("{}.>", self.prefix)
    }

    /// The subject that the one stream of a topic holds. Nobody publishes to it.
    pub(super) fn claim(&self, topic: &str) -> String {
        format!("{}.t.{}", self.prefix, escape(topic))
    }

    /// The name of a list's stream.
    pub(super) fn stream(&self, list: StreamId) -> String {
        format!("{}-{list}", self.prefix)
    }

    /// The list whose stream has this name.
    pub(super) fn list(&self, stream: &str) -> Option<StreamId> {
        stream.strip_prefix(&self.prefix)?.strip_prefix('-')?.parse().ok()
    }

    /// The subjects of all messages of a list.
    pub(super) fn messages(&self, list: StreamId) -> String {
        format!("{}.m.{list}.>", self.prefix)
    }

    /// The subject of a list's messages without a number.
    pub(super) fn unnumbered(&self, list: StreamId) -> String {
        format!("{}.m.{list}.u", self.prefix)
    }

    /// The subject of a publisher's numbered messages, or of all publishers'.
    pub(super) fn numbered(&self, list: StreamId, publisher: Option<&str>) -> String {
        format!("{}.m.{list}.n.{}", self.prefix, one_or_all(publisher))
    }

    /// Where the servers send the messages of a list once more.
    pub(super) fn republished(&self, list: StreamId) -> String {
        format!("{}.r.{list}.>", self.prefix)
    }

    /// What all topics' names match.
    pub(super) fn claims(&self) -> String {
        format!("{}.t.>", self.prefix)
    }

    /// The stream of what topics keep.
    pub(super) fn records(&self) -> String {
        format!("{}-kept", self.prefix)
    }

    /// The subject of what a list keeps; of what all keep where it is `*`.
    pub(super) fn record(&self, list: impl Display) -> String {
        format!("{}.k.{list}", self.prefix)
    }

    /// Where the servers send what a list keeps once more.
    pub(super) fn record_again(&self, list: impl Display) -> String {
        format!("{}.l.{list}", self.prefix)
    }

    /// The stream of the places of lasting subscriptions.
    pub(super) fn places(&self) -> String {
        format!("{}-places", self.prefix)
    }

    /// The subject of the place of a name, or of all names, in a topic, or in all.
    pub(super) fn place(&self, name: Option<&str>, topic: Option<&str>) -> String {
        format!("{}.p.{}.{}", self.prefix, one_or_all(name), one_or_all(topic))
    }

    /// The subject of a name's hold, or of all names'.
    pub(super) fn hold(&self, name: Option<&str>) -> String {
        format!("{}.p.{}.{HOLD}", self.prefix, one_or_all(name))
    }

    /// Where the servers send the hold of a name once more.
    pub(super) fn hold_again(&self, name: &str) -> String {
        format!("{}.q.{name}", self.prefix)
    }
}

/// Stands in the place of a topic, and is none.
pub(super) const HOLD: &str = "=";

/// The publisher whose numbered messages have this subject.
pub(super) fn publisher(subject: &str) -> Option<String> {
    let (before, last) = subject.rsplit_once('.')?;
    if before.ends_with(".n") { unescape(last) } else { None }
}

/// A text as one part of a subject: what is not a letter, a digit, `_` or `-` is escaped.
pub(super) fn escape(text: &str) -> String {
    percent::encode(text).replace('.', "%2E").replace('~', "%7E")
}

/// The same, or what stands for all texts.
fn one_or_all(text: Option<&str>) -> String {
    text.map_or("*".to_owned(), escape)
}

/// The text that was escaped.
pub(super) fn unescape(text: &str) -> Option<String> {
    percent::decode(text, false).ok().map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_one_part_of_a_subject_and_comes_back() {
        let names = Names { prefix: "ps".to_owned() };
        let list: StreamId = "5200324a7302a56f".parse().unwrap();
        assert_eq!(names.claim("a b/ü"), "ps.t.a%20b%2F%C3%BC");
        for text in ["ann", "*", ">", "a.b", "a b", "%41", "ü", "..", "$JS", &"x".repeat(255)] {
            let subject = names.numbered(list, Some(text));
            assert!(!names.place(Some(text), Some(text)).contains(['*', '>']), "{text}");
            assert_eq!(subject.split('.').count(), 5, "{text}");
            assert_eq!(publisher(&subject).as_deref(), Some(text));
        }
        assert_eq!(publisher(&names.unnumbered(list)), None);
        assert_eq!(names.list(&names.stream(list)), Some(list));
        for other in ["ps-kept", "ps-", "px-5200324a7302a56f", "orders"] {
            assert_eq!(names.list(other), None, "{other}");
        }
    }
}
