//! Patterns that choose topics by name.
//!
//! ```text
//! pattern = 1*part, 1 to 255 bytes of UTF-8 without control characters
//! part    = "**"         any characters, or none
//!         / "*"          any characters but "/", or none
//!         / "\*" / "\\"  the character behind the backslash
//!         / character    itself
//! ```
//!
//! Levels are what lies between slashes. So `sensors/**` does not match `sensors`, and `**/x` does
//! not match `x`; `**` alone matches every name. Each text of the right length is a pattern.
//!
//! | pattern | matches | does not match |
//! |---|---|---|
//! | `a` | `a` | `b`, `aa`, `A` |
//! | `*` | `a`, `a b` | `a/b`, `/` |
//! | `**` | `a`, `a/b`, `/` | |
//! | `a*` | `a`, `ab`, `a*` | `a/b`, `ba` |
//! | `*/b` | `a/b`, `/b` | `b`, `a/c`, `a/a/b` |
//! | `s/*/t` | `s/1/t`, `s//t` | `s/t`, `s/1/2/t`, `s/1/tt` |
//! | `sensors/**` | `sensors/`, `sensors/1`, `sensors/1/2` | `sensors`, `sensor/1` |
//! | `**/x` | `/x`, `a/x`, `a/b/x` | `x`, `a/xy` |
//! | `a/**/z` | `a//z`, `a/b/z`, `a/b/c/z` | `a/z` |
//! | `a**z` | `az`, `a/z`, `abcz` | `a`, `azy` |
//! | `***` | `a`, `a/b` | |
//! | `\*` | `*` | `a`, `\*` |
//! | `\\` | `\` | `\\` |
//! | `a\b` | `a\b` | `ab` |
//! | `*é*` | `é`, `aéb` | `e`, `é/` |

use crate::limits::TOPIC_NAME_SIZE_MAX;
use std::fmt;

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Byte(u8),
    /// Any bytes of one level.
    Level,
    /// Any bytes.
    All,
}

impl Pattern {
    /// The pattern that a text stands for; none where it is empty, too long or has control
    /// characters.
    pub fn new(text: &str) -> Option<Pattern> {
        if text.is_empty() || text.len() > TOPIC_NAME_SIZE_MAX || text.chars().any(char::is_control)
        {
            return None;
        }
        let mut parts = Vec::new();
        let mut rest = text.as_bytes();
        while let [first, after @ ..] = rest {
            let (part, after) = match (first, after) {
                (b'\\', [escaped @ (b'*' | b'\\'), after @ ..]) => (Part::Byte(*escaped), after),
                (b'*', [b'*', after @ ..]) => (Part::All, after),
                (b'*', after) => (Part::Level, after),
                (byte, after) => (Part::Byte(*byte), after),
            };
            parts.push(part);
            rest = after;
        }
        Some(Pattern { text: text.to_owned(), parts })
    }

    /// The text that it stands for.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it chooses this name. What follows a star is looked for as near to it as it can be,
    /// and further on only if that fails: the time grows with the name's length, and is at most
    /// about the product of both lengths.
    pub fn matches(&self, name: &str) -> bool {
        let name = name.as_bytes();
        let (mut part, mut at) = (0, 0);
        // The part behind the last star of each kind, and where it was tried last.
        let (mut all, mut level) = (None, None);
        loop {
            match (self.parts.get(part), name.get(at)) {
                (None, None) => return true,
                (Some(Part::All), _) => {
                    part += 1;
                    (all, level) = (Some((part, at)), None);
                    continue;
                }
                (Some(Part::Level), _) => {
                    part += 1;
                    level = Some((part, at));
                    continue;
                }
                (Some(Part::Byte(expected)), Some(byte)) if expected == byte => {
                    (part, at) = (part + 1, at + 1);
                    continue;
                }
                _ => {}
            }
            let rest = |from: usize| name.get(from..).unwrap_or_default();
            if let Some((behind, tried)) = level
                && rest(tried).first().is_some_and(|byte| *byte != b'/')
            {
                (part, at) = (behind, tried + 1);
                level = Some((part, at));
            } else if let Some((behind, tried)) = all {
                // From anywhere in the same level, a `*` would fail at the same slash.
                let is_passed = |byte: &u8| level.is_none() || *byte == b'/';
                let Some(skip) = rest(tried).iter().position(is_passed) else { return false };
                (part, at) = (behind, tried + skip + 1);
                (all, level) = (Some((part, at)), None);
            } else {
                return false;
            }
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names between backquotes in a cell of the table.
    fn names(cell: &str) -> Vec<&str> {
        cell.split('`').skip(1).step_by(2).collect()
    }

    #[test]
    fn the_table_in_the_head_is_right() {
        let rows =
            include_str!("pattern.rs").lines().filter_map(|line| line.strip_prefix("//! | `"));
        let mut count = 0;
        for row in rows {
            let mut cells = row.split(" | ");
            let text = cells.next().unwrap().trim_end_matches('`');
            let pattern = Pattern::new(text).unwrap();
            assert_eq!(pattern.to_string(), text);
            for name in names(cells.next().unwrap()) {
                assert!(pattern.matches(name), "{text} has to match {name}");
                count += 1;
            }
            for name in names(cells.next().unwrap_or_default()) {
                assert!(!pattern.matches(name), "{text} must not match {name}");
                count += 1;
            }
        }
        assert!(count > 50, "{count} cases");
    }

    #[test]
    fn what_could_be_no_part_of_a_name_is_no_pattern() {
        assert!(Pattern::new(&"a".repeat(TOPIC_NAME_SIZE_MAX)).is_some());
        for text in ["", "a\n", "\u{85}", "a\0", &"a".repeat(TOPIC_NAME_SIZE_MAX + 1)] {
            assert!(Pattern::new(text).is_none(), "{text:?}");
        }
    }

    /// What the grammar says, word for word.
    fn matches(parts: &[Part], name: &[u8]) -> bool {
        match (parts, name) {
            ([], _) => name.is_empty(),
            ([Part::Byte(expected), rest @ ..], [byte, behind @ ..]) => {
                expected == byte && matches(rest, behind)
            }
            ([Part::Byte(_), ..], []) => false,
            ([star, rest @ ..], _) => {
                matches(rest, name)
                    || matches!(name, [byte, behind @ ..]
                        if (*star == Part::All || *byte != b'/') && matches(parts, behind))
            }
        }
    }

    #[test]
    fn every_short_name_is_judged_as_the_grammar_says() {
        let mut random = 1_u32;
        let mut next = |count: usize| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 16) as usize % count
        };
        let mut text = |alphabet: &[&str], length: usize| -> String {
            (0..=next(length)).map(|_| alphabet[next(alphabet.len())]).collect()
        };
        let mut matched = 0;
        for _ in 0..100_000 {
            let pattern = Pattern::new(&text(&["a", "b", "/", "*", "**"], 9)).unwrap();
            let name = text(&["a", "b", "/"], 12);
            let expected = matches(&pattern.parts, name.as_bytes());
            assert_eq!(pattern.matches(&name), expected, "{pattern} {name}");
            matched += u32::from(expected);
        }
        assert!(matched > 5000, "{matched}");
    }

    #[test]
    fn many_stars_take_no_longer_than_the_product_of_both_lengths() {
        let levels = "a/".repeat(127);
        for (pattern, name) in [
            ("*a".repeat(120) + "b", "a".repeat(255)),
            ("**".to_owned() + &"*a".repeat(120) + "b", "a".repeat(255)),
            ("**".to_owned() + &"*/a".repeat(60) + "*b", levels.clone()),
            ("**".to_owned() + &"a/*".repeat(60) + "b", levels.clone()),
            ("**a".repeat(80) + "b", levels),
        ] {
            let pattern = Pattern::new(&pattern).unwrap();
            for _ in 0..100 {
                assert!(!pattern.matches(&name));
            }
        }
    }
}
