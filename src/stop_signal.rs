//! Signals by name or number (spec section 4.3 step 4b).

use crate::ports::Error;

/// Names without their SIG prefix, as Linux numbers them.
const SIGNALS: &[(&str, u32)] = &[
    ("ABRT", 6),
    ("ALRM", 14),
    ("BUS", 7),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("FPE", 8),
    ("HUP", 1),
    ("ILL", 4),
    ("INT", 2),
    ("IO", 29),
    ("IOT", 6),
    ("KILL", 9),
    ("PIPE", 13),
    ("POLL", 29),
    ("PROF", 27),
    ("PWR", 30),
    ("QUIT", 3),
    ("SEGV", 11),
    ("STKFLT", 16),
    ("STOP", 19),
    ("SYS", 31),
    ("TERM", 15),
    ("TRAP", 5),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("USR1", 10),
    ("USR2", 12),
    ("VTALRM", 26),
    ("WINCH", 28),
    ("XCPU", 24),
    ("XFSZ", 25),
];
const RTMIN: u32 = 34;
const RTMAX: u32 = 64;

/// The number of a signal given as a decimal number or a name: `15`, `TERM`, `sigterm`, `RTMIN+3`.
///
/// # Errors
/// `invalid signal: ⟨text⟩` for 0 and for what is neither.
pub fn parse_signal(text: &str) -> Result<u32, Error> {
    let invalid = || Error::unknown(format!("invalid signal: {text}"));
    if let Ok(number) = text.parse::<i64>() {
        // Any other number goes to the task service as it is, cut to the width of its field.
        return if number == 0 { Err(invalid()) } else { Ok(number as u32) };
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let named = SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    named.or_else(|| realtime(name)).ok_or_else(invalid)
}

/// `RTMIN` to `RTMIN+15`, `RTMAX-14` to `RTMAX`.
fn realtime(name: &str) -> Option<u32> {
    let offset = |digits: &str, max: u32| {
        let canonical = !digits.starts_with(['0', '+']);
        digits.parse().ok().filter(|offset: &u32| canonical && *offset <= max)
    };
    match name {
        "RTMIN" => Some(RTMIN),
        "RTMAX" => Some(RTMAX),
        _ => match name.split_at_checked("RTMIN+".len())? {
            ("RTMIN+", digits) => offset(digits, 15).map(|offset| RTMIN + offset),
            ("RTMAX-", digits) => offset(digits, 14).map(|offset| RTMAX - offset),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names() {
        for (text, number) in [
            ("15", 15),
            ("64", 64),
            ("TERM", 15),
            ("sigterm", 15),
            ("SigKill", 9),
            ("usr2", 12),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMIN+15", 49),
            ("RTMAX-14", 50),
            ("rtmax", 64),
        ] {
            assert_eq!(parse_signal(text), Ok(number), "{text}");
        }
    }

    #[test]
    fn anything_else_is_invalid() {
        for text in [
            "",
            "0",
            "SIG",
            "SIGSIGTERM",
            "NOPE",
            "RTMIN+0",
            "RTMIN+16",
            "RTMIN++1",
            "RTMAX-15",
            "15 ",
            "é",
        ] {
            assert_eq!(
                parse_signal(text).map_err(|error| error.message),
                Err(format!("invalid signal: {text}"))
            );
        }
    }
}
