//! Text that others wrote, for a terminal: nothing in it moves the cursor or changes colours.

use std::borrow::Cow;

/// The text with its control characters escaped as `\u{1b}`, and those that turn the direction of
/// writing. A tab stays as it is.
#[must_use]
pub fn escaped(text: &str) -> Cow<'_, str> {
    let is_escaped = |c: char| {
        let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        turns || (c.is_control() && c != '\t')
    };
    if !text.contains(is_escaped) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_escaped(c) { escaped.extend(c.escape_unicode()) } else { escaped.push(c) }
    }
    escaped.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_do_nothing() {
        for (text, expected) in [
            ("plain \u{fc} \u{5d0}\ttab", "plain \u{fc} \u{5d0}\ttab"),
            ("a\u{1b}[31mred\u{7}", r"a\u{1b}[31mred\u{7}"),
            ("\u{9b}2J\u{7f}\r", r"\u{9b}2J\u{7f}\u{d}"),
            ("a\u{202e}b", r"a\u{202e}b"),
        ] {
            assert_eq!(escaped(text), expected);
        }
    }
}
