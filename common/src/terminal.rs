//! Writes text to a terminal. Text of others is made safe: it cannot move the cursor or change
//! colours.

use std::borrow::Cow;
use std::io::{self, Write};

/// The text with its control characters escaped as `\u{1b}`, and those that turn the direction of
/// writing. A tab stays as it is.
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

/// Shows something at once to a person who types.
pub fn show(text: &str) {
    // Nobody has to see it.
    let _ = write!(io::stdout(), "{text}").and_then(|()| io::stdout().flush());
}

/// Shows a line above the one on which a person types, which stays unchanged.
///
/// Only the terminal knows what was typed so far. A line that is sure to fit is put into a row of
/// its own, inserted above; one that may be longer than a row goes below, and `prompt` after it.
pub fn above_prompt(line: &str, prompt: &str) -> String {
    const ROW: usize = 72;
    if line.chars().count() > ROW {
        return format!("\n{line}\n{prompt}");
    }
    // Makes sure of a row below (down and up), saves the place, inserts a row, writes; then goes
    // back to the place, which is one row further down.
    format!("\u{1b}D\u{1b}[A\u{1b}7\r\u{1b}[L{line}\u{1b}8\u{1b}[B")
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

    #[test]
    fn a_line_that_may_not_fit_goes_below_the_prompt() {
        assert!(above_prompt("short", "> ").contains("\r\u{1b}[Lshort\u{1b}8"));
        let long = "x".repeat(73);
        assert_eq!(above_prompt(&long, "> "), format!("\n{long}\n> "));
    }
}
