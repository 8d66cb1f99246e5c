//! Unix milliseconds, and the two ways in which they are written for people.
//!
//! Nothing here orders messages: a clock may jump, an offset never does.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, or 0 where the clock stands before it.
#[must_use]
pub fn unix_milliseconds() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`: the form of the HTTP `Date` field (RFC 9110 §5.6.7).
#[must_use]
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
#[must_use]
pub fn plain_date(unix_milliseconds: u64) -> String {
    let Date { year, month, day, hour, minute, second, .. } = Date::from(unix_milliseconds);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
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
    fn the_last_moment_that_fits_does_not_overflow() {
        assert!(http_date(u64::MAX).ends_with(" GMT"));
    }
}
