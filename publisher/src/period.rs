//! A length of time as people write it: `1s`, `500ms`, `2m`.

use std::str::FromStr;
use std::time::Duration;

/// A length of time that is not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period(pub(crate) Duration);

impl FromStr for Period {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Period, &'static str> {
        const HOW: &str = "write it as 1s, 500ms, 2m or 1h";
        let unit_start = text.find(|c: char| !c.is_ascii_digit()).ok_or(HOW)?;
        let (digits, unit) = text.split_at_checked(unit_start).ok_or(HOW)?;
        let milliseconds: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(HOW),
        };
        let count: u64 = digits.parse().map_err(|_| HOW)?;
        match count.checked_mul(milliseconds) {
            Some(0) => Err("it has to be longer than nothing"),
            Some(milliseconds) => Ok(Period(Duration::from_millis(milliseconds))),
            None => Err("it is longer than anybody can wait"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_a_number_and_a_unit() {
        for (text, milliseconds) in
            [("1s", 1_000), ("500ms", 500), ("2m", 120_000), ("1h", 3_600_000), ("007s", 7_000)]
        {
            assert_eq!(text.parse(), Ok(Period(Duration::from_millis(milliseconds))), "{text}");
        }
        for text in ["", "s", "1", "1 s", "1.5s", "-1s", "1d", "1S", "0s", "99999999999999999h"] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }
}
