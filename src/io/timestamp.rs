//! Timestamps of the log.

use std::fmt::Write as _;

const NANOS: i64 = 1_000_000_000;

/// RFC 3339 with as many digits of the fraction as are needed, none for a whole second. The zone is
/// always UTC: the zone of the machine must not show in a log that is to be compared.
///
/// `wall`: nanoseconds since the Unix epoch.
pub fn rfc3339_nano(wall: i64) -> String {
    let (seconds, nanos) = (wall.div_euclid(NANOS), wall.rem_euclid(NANOS));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if nanos != 0 {
        let _ = write!(text, ".{nanos:09}");
        text.truncate(text.trim_end_matches('0').len());
    }
    text.push('Z');
    text
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar. Years are counted
/// from March, so that the leap day is the last one; 400 of them have always the same length.
fn civil(days: i64) -> (i64, i64, i64) {
    const DAYS_FROM_0000_03_01: i64 = 719_468;
    const DAYS_OF_400_YEARS: i64 = 146_097;

    let days = days + DAYS_FROM_0000_03_01;
    let (era, day) = (days.div_euclid(DAYS_OF_400_YEARS), days.rem_euclid(DAYS_OF_400_YEARS));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next_year, month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_date_prints_them() {
        for (wall, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (951_782_400 * NANOS, "2000-02-29T00:00:00Z"),
            (1_709_251_199 * NANOS + 120_000_000, "2024-02-29T23:59:59.12Z"),
            (1_735_689_599 * NANOS + 1, "2024-12-31T23:59:59.000000001Z"),
            (4_107_542_400 * NANOS, "2100-03-01T00:00:00Z"),
            (i64::MAX, "2262-04-11T23:47:16.854775807Z"),
            (i64::MIN, "1677-09-21T00:12:43.145224192Z"),
        ] {
            assert_eq!(rfc3339_nano(wall), text);
        }
    }
}
