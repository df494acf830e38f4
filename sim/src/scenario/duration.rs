//! Durations as people write them: `150s`, `200ms`, `1m30s`.

use std::fmt;
use std::time::Duration;

/// Units from the largest to the smallest, with their length in nanoseconds.
const UNITS: [(&str, u128); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DurationError {
    Empty,
    /// A number was expected where this rest of the text begins.
    Number(String),
    /// The number has no unit.
    MissingUnit(String),
    /// The unit is none of h, m, s, ms, us, ns.
    UnknownUnit(String),
    /// A unit is not smaller than the one before it.
    Order(String),
    TooLong,
}

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DurationError::Empty => f.write_str("the duration is empty"),
            DurationError::Number(rest) => write!(f, "expected a whole number at `{rest}`"),
            DurationError::MissingUnit(number) => write!(f, "`{number}` has no unit"),
            DurationError::UnknownUnit(unit) => write!(f, "unknown unit `{unit}`"),
            DurationError::Order(unit) => {
                write!(f, "unit `{unit}` must come before smaller ones, and only once")
            }
            DurationError::TooLong => f.write_str("the duration is too long"),
        }
    }
}

/// Reads a sum of whole numbers with units (`h`, `m`, `s`, `ms`, `us`, `ns`), largest unit first:
/// `1m30s`, `0s`.
///
/// # Errors
/// Which part of the text is wrong. A duration of 2^64 ns or more is too long.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    let mut rest = text;
    let mut nanos: u128 = 0;
    let mut units_left: &[(&str, u128)] = &UNITS;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if digits == 0 {
            return Err(DurationError::Number(rest.to_owned()));
        }
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        if unit.is_empty() {
            return Err(DurationError::MissingUnit(number.to_owned()));
        }
        let Some((_, length)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(DurationError::UnknownUnit(unit.to_owned()));
        };
        let Some(position) = units_left.iter().position(|(name, _)| *name == unit) else {
            return Err(DurationError::Order(unit.to_owned()));
        };
        units_left = &units_left[position + 1..];
        let number: u64 = number.parse().map_err(|_| DurationError::TooLong)?;
        nanos += u128::from(number) * length;
        if nanos > u128::from(u64::MAX) {
            return Err(DurationError::TooLong);
        }
        rest = tail;
    }
    let nanos = u64::try_from(nanos).map_err(|_| DurationError::TooLong)?;
    Ok(Duration::from_nanos(nanos))
}

/// Reads a duration that may be negative, `-1h`, in nanoseconds.
///
/// # Errors
/// As [`parse`]. What does not fit into 64 bits with a sign is too long.
pub fn parse_signed(text: &str) -> Result<i64, DurationError> {
    let (magnitude, sign) = match text.strip_prefix('-') {
        Some(rest) => (rest, -1),
        None => (text, 1),
    };
    let nanos = i64::try_from(parse(magnitude)?.as_nanos()).map_err(|_| DurationError::TooLong)?;
    Ok(sign * nanos)
}

/// How long the words of a text are in all, however it is written: `1.5s`, `5 seconds`, `2d`, `30`, which
/// is taken for seconds. `None` for what is no duration at all, or too long for one.
pub fn meant(text: &str) -> Option<String> {
    let text = text.trim().to_lowercase();
    let mut rest = &*text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let tail = tail.trim_start();
        let letters = tail.find(|c: char| !(c.is_alphabetic() || c == 'µ')).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let length = match unit.trim_end_matches('s') {
            "d" | "day" => 86_400.0,
            "h" | "hr" | "hour" => 3_600.0,
            "m" | "min" | "minute" if unit != "ms" => 60.0,
            "m" | "msec" | "milli" | "millisecond" => 1e-3,
            "u" | "µ" | "usec" | "micro" | "microsecond" => 1e-6,
            "n" | "nsec" | "nano" | "nanosecond" => 1e-9,
            "" | "sec" | "second" => 1.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * length;
        rest = tail.trim_start_matches([' ', ',']);
    }
    let nanos = (seconds * 1e9).round();
    let day = 86_400e9;
    (nanos >= 1.0 && nanos <= day).then(|| print(Duration::from_nanos(nanos as u64)))
}

/// Writes a duration so that [`parse`] reads it back: as one number if it is a whole number of
/// seconds up to ten minutes or of a smaller unit up to 9999, else as a sum.
pub fn print(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    for (unit, length) in UNITS {
        let limit = match unit {
            "h" => u128::MAX,
            "m" => 0,
            "s" => 600,
            _ => 9_999,
        };
        if nanos.is_multiple_of(length) && nanos / length <= limit {
            return format!("{}{unit}", nanos / length);
        }
    }
    let mut rest = nanos;
    let mut text = String::new();
    for (unit, length) in UNITS {
        if rest >= length {
            text.push_str(&format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_people_write() {
        for text in ["0s", "150s", "200ms", "1500ms", "11m", "16m40s", "2h", "24h", "1h30m", "7ns"]
        {
            assert_eq!(print(parse(text).unwrap()), text);
        }
        assert_eq!(print(parse("1m30s").unwrap()), "90s");
        assert_eq!(print(parse("60s").unwrap()), "60s");
    }

    #[test]
    fn refuses_what_is_no_duration() {
        for (text, error) in [
            ("", "the duration is empty"),
            ("-1s", "expected a whole number at `-1s`"),
            ("5", "`5` has no unit"),
            ("1.5s", "unknown unit `.`"),
            ("5sec", "unknown unit `sec`"),
            ("1s1m", "unit `m` must come before smaller ones, and only once"),
            ("1s1s", "unit `s` must come before smaller ones, and only once"),
            ("99999999999999999999s", "the duration is too long"),
            ("99999999999999h", "the duration is too long"),
            ("5 s", "unknown unit ` s`"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), error, "{text}");
        }
    }

    #[test]
    fn what_was_meant_is_known() {
        for (text, wanted) in [
            ("1.5s", "1500ms"),
            ("0.5m", "30s"),
            ("5 seconds", "5s"),
            ("5sec", "5s"),
            ("5S", "5s"),
            ("30", "30s"),
            ("5s1m", "65s"),
            ("1d", "24h"),
            ("2 min", "120s"),
            ("1 h, 30 min", "1h30m"),
            ("20 milliseconds", "20ms"),
            ("3µs", "3us"),
        ] {
            assert_eq!(meant(text).as_deref(), Some(wanted), "{text}");
            assert!(parse(wanted).is_ok());
        }
        for text in ["", "never", "2d", "s", "1..5s", "-", "1x", "1e400s"] {
            assert_eq!(meant(text), None, "{text}");
        }
    }

    #[test]
    fn a_sign_goes_in_front() {
        assert_eq!(parse_signed("-1m30s"), Ok(-90_000_000_000));
        assert_eq!(parse_signed("2ns"), Ok(2));
        assert_eq!(
            parse_signed("--1s").unwrap_err().to_string(),
            "expected a whole number at `-1s`"
        );
        assert_eq!(parse_signed("-").unwrap_err(), DurationError::Empty);
    }
}
