//! Unix milliseconds, and the two forms in which people write them.
//!
//! Nothing here orders messages: a clock may jump, an offset never does.

use crate::units::{self, whole_number};
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, or 0 if the clock is set to an earlier time.
pub fn unix_milliseconds() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`: the form of the HTTP `Date` field (RFC 9110 §5.6.7).
pub fn http_date(unix_milliseconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let Date { year, month, day, hour, minute, second, days } = Date::from(unix_milliseconds);
    let weekday = pick(&DAYS, days % 7);
    let month = pick(&MONTHS, month - 1);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// The name with this number; the callers count no further than there are names.
fn pick(names: &[&'static str], number: u64) -> &'static str {
    usize::try_from(number).ok().and_then(|number| names.get(number)).unwrap_or(&"")
}

/// `1994-11-06 08:49:37`, in UTC: the form that a text session delivers.
pub fn plain_date(unix_milliseconds: u64) -> String {
    let Date { year, month, day, hour, minute, second, .. } = Date::from(unix_milliseconds);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// The moment that a text names, in Unix milliseconds: a time ago (`10m`, see
/// [`units::milliseconds`]), Unix milliseconds themselves, or a date and time as in RFC 3339.
///
/// # Errors
///
/// How to write it.
pub fn moment(text: &str, now: u64) -> Result<u64, &'static str> {
    const HOW: &str = "is no moment: write 10m (ago), Unix milliseconds, or 2026-11-28T14:00:00Z";
    if let Ok(milliseconds) = whole_number(text) {
        return Ok(milliseconds);
    }
    match units::milliseconds(text) {
        Ok(ago) => Ok(now.saturating_sub(ago)),
        Err(_) => rfc_3339(text).ok_or(HOW),
    }
}

/// `1994-11-06T08:49:37.5+01:00`; `T` may be a space, and the offset `Z`.
fn rfc_3339(text: &str) -> Option<u64> {
    const UTC: &str = "+00:00";
    let (local, zone) = match text.strip_suffix(['Z', 'z']) {
        Some(local) => (local, UTC),
        None => text.split_at_checked(text.len().checked_sub(UTC.len())?)?,
    };
    let (whole, fraction) = local.split_once('.').unwrap_or((local, "0"));
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths = fraction.bytes().chain(*b"00").take(3);
    let fraction = thousandths.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    if !has_form(whole, "0000-00-00 00:00:00") || !has_form(zone, UTC) {
        return None;
    }
    let number = |text: &str, from, to| whole_number::<i64>(text.get(from..to)?).ok();
    let (year, month, day) = (number(whole, 0, 4)?, number(whole, 5, 7)?, number(whole, 8, 10)?);
    let hour = number(whole, 11, 13)?;
    let (minute, second) = (number(whole, 14, 16)?, number(whole, 17, 19)?);
    let zone_minutes = number(zone, 1, 3)? * 60 + number(zone, 4, 6)?;
    let zone = if zone.starts_with('-') { -zone_minutes } else { zone_minutes };
    let in_range = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24;
    if !in_range || minute > 59 || second > 60 {
        return None;
    }
    // Counts in years that begin on 1 March, as below.
    let (years, month_from_march) = (year - i64::from(month <= 2), (month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let days = years * 365 + years / 4 - years / 100 + years / 400 + day_of_year - 719_468;
    let seconds = days * 86_400 + hour * 3600 + (minute - zone) * 60 + second;
    u64::try_from(seconds * 1000 + fraction).ok()
}

/// Whether a text has this form: each `0` stands for any digit, the space for what may be
/// between date and time, the plus for either sign.
fn has_form(text: &str, form: &str) -> bool {
    let fits = |(byte, form): (u8, u8)| match form {
        b'0' => byte.is_ascii_digit(),
        b' ' => matches!(byte, b'T' | b't' | b' '),
        b'+' => matches!(byte, b'+' | b'-'),
        _ => byte == form,
    };
    text.len() == form.len() && text.bytes().zip(form.bytes()).all(fits)
}

/// A moment in the Gregorian calendar, UTC.
struct Date {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    /// Whole days since 1970-01-01, a Thursday.
    days: u64,
}

impl From<u64> for Date {
    /// Counts in years that begin on 1 March, so that a leap day is the last day of its year.
    fn from(unix_milliseconds: u64) -> Date {
        let seconds = unix_milliseconds / 1000;
        let days = seconds / 86_400;
        let shifted = days + 719_468; // Days since 0000-03-01.
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097); // 400 years each.
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        Date {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month,
            day,
            hour: seconds / 3600 % 24,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            days,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_http_and_people_expect() {
        for (seconds, http, plain) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT", "1970-01-01 00:00:00"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT", "1994-11-06 08:49:37"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT", "2000-02-29 00:00:00"),
            (951_868_799, "Tue, 29 Feb 2000 23:59:59 GMT", "2000-02-29 23:59:59"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT", "2100-03-01 00:00:00"),
        ] {
            assert_eq!(http_date(seconds * 1000), http);
            assert_eq!(plain_date(seconds * 1000 + 999), plain);
        }
    }

    #[test]
    fn a_moment_is_a_time_ago_a_number_or_a_date() {
        const NOW: u64 = 1_000_000_000_000;
        for (text, expected) in [
            ("0", 0),
            ("1700000000000", 1_700_000_000_000),
            ("10m", NOW - 600_000),
            ("500ms", NOW - 500),
            ("99999d", 0),
            ("1970-01-01T00:00:00Z", 0),
            ("1994-11-06T08:49:37Z", 784_111_777_000),
            ("1994-11-06 09:49:37.25+01:00", 784_111_777_250),
            ("2000-02-29t23:59:59.9999z", 951_868_799_999),
            ("2100-02-28T18:00:00-06:00", 4_107_542_400_000),
        ] {
            assert_eq!(moment(text, NOW), Ok(expected), "{text}");
        }
        for text in [
            "",
            "x",
            "-5",
            "1994-11-06",
            "1994-11-06T08:49Z",
            "1994-13-06T08:49:37Z",
            "1994-11-06T08:49:37",
            "1994-11-06T08:49:37.Z",
            "1994-11-06T08:49:37+1:00",
            "1960-01-01T00:00:00Z",
        ] {
            assert!(moment(text, NOW).is_err(), "{text}");
        }
    }

    #[test]
    fn the_last_moment_that_fits_does_not_overflow() {
        assert!(http_date(u64::MAX).ends_with(" GMT"));
    }
}
