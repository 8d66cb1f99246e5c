//! Sizes, lengths of time and counts, as people write them: `64M`, `90s`, `1000`.
//!
//! An error says how to write the text, and never uses words of the programming language.

/// A number does not fit.
pub(crate) const TOO_LARGE: &str = "it is too large";

/// A text of digits alone.
///
/// # Errors
///
/// What is wrong with it.
pub fn whole_number<T: TryFrom<u64>>(text: &str) -> Result<T, &'static str> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("write a whole number");
    }
    let number = text.parse().map_err(|_| TOO_LARGE)?;
    T::try_from(number).map_err(|_| TOO_LARGE)
}

/// The digits at the front, times what `unit` makes of the rest.
fn scaled(
    text: &str,
    how: &'static str,
    unit: impl Fn(&str) -> Option<u64>,
) -> Result<u64, &'static str> {
    let unit_start = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(unit_start);
    let unit = unit(rest).filter(|_| !digits.is_empty()).ok_or(how)?;
    whole_number::<u64>(digits)?.checked_mul(unit).ok_or(TOO_LARGE)
}

/// A number of bytes: `1000`, `64K`, `64M`, `1G`, in powers of 1024.
///
/// # Errors
///
/// How to write it, or that it does not fit.
pub fn size<T: TryFrom<u64>>(text: &str) -> Result<T, &'static str> {
    let unit = |unit: &str| match unit.to_ascii_uppercase().as_str() {
        "" => Some(1),
        "K" => Some(1 << 10),
        "M" => Some(1 << 20),
        "G" => Some(1 << 30),
        "T" => Some(1 << 40),
        _ => None,
    };
    let bytes = scaled(text, "write it as 1000, 64K, 64M or 1G", unit)?;
    T::try_from(bytes).map_err(|_| TOO_LARGE)
}

/// A length of time, in milliseconds: `500ms`, `90s`, `10m`, `12h`, `7d`; a plain number is
/// seconds.
///
/// # Errors
///
/// How to write it, or that it does not fit.
pub fn milliseconds(text: &str) -> Result<u64, &'static str> {
    let unit = |unit: &str| match unit {
        "ms" => Some(1),
        "" | "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    scaled(text, "write it as 500ms, 90s, 10m, 12h or 7d", unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_and_a_unit() {
        for (text, milliseconds) in [
            ("0", 0),
            ("30", 30_000),
            ("1s", 1_000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("7d", 604_800_000),
            ("007s", 7_000),
        ] {
            assert_eq!(super::milliseconds(text), Ok(milliseconds), "{text}");
        }
        for text in ["", "s", "1 s", "1.5s", "-1s", "1w", "1S", "99999999999999999h", "soon"] {
            assert!(milliseconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_is_a_number_and_a_unit() {
        for (text, bytes) in
            [("0", 0), ("1000", 1000), ("64K", 65_536), ("64m", 64 << 20), ("1G", 1 << 30)]
        {
            assert_eq!(size(text), Ok(bytes as u64), "{text}");
        }
        for text in ["", "M", "1.5M", "-1", "1MB", "99999999999T", "99999999999999999999"] {
            assert!(size::<u64>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_count_is_digits_alone() {
        assert_eq!(whole_number("0"), Ok(0_u8));
        assert_eq!(whole_number("65535"), Ok(u16::MAX));
        assert_eq!(whole_number::<u16>("65536"), Err("it is too large"));
        for text in ["", "+1", "-1", "1.0", "x"] {
            assert_eq!(whole_number::<u64>(text), Err("write a whole number"), "{text}");
        }
    }
}
