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
#[derive(Clone, PartialEq, Eq, Hash)]
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
    #[must_use]
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
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it chooses this name. The time is at most the product of both lengths.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        // The parts at which some reading of the name so far may go on.
        let mut reached = vec![false; self.parts.len() + 1];
        let mut next = reached.clone();
        set(&mut reached, 0);
        self.skip_stars(&mut reached);
        for byte in name.bytes() {
            next.fill(false);
            for ((index, part), _) in
                self.parts.iter().enumerate().zip(&reached).filter(|(_, reached)| **reached)
            {
                match part {
                    Part::Byte(expected) if *expected == byte => set(&mut next, index + 1),
                    Part::All => set(&mut next, index),
                    Part::Level if byte != b'/' => set(&mut next, index),
                    Part::Byte(_) | Part::Level => {}
                }
            }
            if !next.contains(&true) {
                return false;
            }
            self.skip_stars(&mut next);
            std::mem::swap(&mut reached, &mut next);
        }
        reached.last() == Some(&true)
    }

    /// Stars may stand for nothing.
    fn skip_stars(&self, reached: &mut [bool]) {
        for (index, part) in self.parts.iter().enumerate() {
            if reached.get(index) == Some(&true) && !matches!(part, Part::Byte(_)) {
                set(reached, index + 1);
            }
        }
    }
}

fn set(flags: &mut [bool], index: usize) {
    if let Some(flag) = flags.get_mut(index) {
        *flag = true;
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.text)
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

    #[test]
    fn many_stars_take_no_longer_than_the_product_of_both_lengths() {
        let pattern = Pattern::new(&("*a".repeat(120) + "b")).unwrap();
        for _ in 0..100 {
            assert!(!pattern.matches(&"a".repeat(255)));
        }
    }
}
