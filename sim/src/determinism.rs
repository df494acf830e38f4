//! Whether two processes do the same: each tells the events of its runs, and the two are compared.
//!
//! A comparison of whole runs in one process is not enough: a leak can be the same all over a process (an
//! address, the environment), and a second run that only goes on longer agrees with all of the first.

use std::fmt;
use std::io::{self, BufRead, Write};

use crate::oracle::duration_text;
use crate::run::Outcome;
use crate::turnstile::RecordingEntry;
use std::time::Duration;

/// Begins the events of a run.
const RUN: &str = "run ";

/// An event as it is compared.
struct Event<'a>(&'a RecordingEntry);

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", duration_text(Duration::from_nanos(self.0.at())))?;
        match self.0 {
            RecordingEntry::Moment(happened) => {
                write!(f, "{} brought {:016x}", happened.moment, happened.payload)?;
                match &happened.error {
                    Some(error) => write!(f, ", the error {error:?}"),
                    None => Ok(()),
                }
            }
            RecordingEntry::Fault { site, fault, .. } => {
                write!(f, "{site} meets the fault {fault}")
            }
            RecordingEntry::Held { moment, .. } => write!(f, "{moment} is held"),
            RecordingEntry::LetGo { moment, why, .. } => write!(f, "{moment} is let go: {why}"),
            RecordingEntry::Phase { name, .. } => write!(f, "the phase {name} begins"),
            RecordingEntry::Log { text, .. } => write!(f, "the log says {text:?}"),
            RecordingEntry::Made { site, .. } => write!(f, "{site} is asked for"),
            RecordingEntry::Released { site, .. } => write!(f, "{site} is given back"),
        }
    }
}

/// Tells the events of a run, a line each with the digest so far, behind a line with `name`; then the digest of all, with `report` behind it.
///
/// # Errors
/// When `out` cannot be written to.
pub fn tell(out: &mut impl Write, name: &str, outcome: &Outcome, report: &[u8]) -> io::Result<()> {
    let recording = &outcome.recording;
    writeln!(out, "{RUN}{name}")?;
    for (event, digest) in recording.digests() {
        writeln!(out, "{}; all so far {digest:032x}", Event(event))?;
    }
    writeln!(out, "the report; all so far {:032x}", recording.digest_with(report))
}

/// Where two processes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The name of the run.
    pub run: String,
    /// Which event of the run, from 1.
    pub event: u64,
    /// The event here; `None` when nothing came any more.
    pub here: Option<String>,
    pub there: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { run, event, here, there } = self;
        let text = |event: &Option<String>| event.clone().unwrap_or_else(|| "(nothing)".to_owned());
        writeln!(f, "{run}: event {event} is not the same")?;
        writeln!(f, "  here:  {}", text(here))?;
        write!(f, "  there: {}", text(there))
    }
}

/// What was compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Runs that began, and events in them.
    pub runs: u64,
    pub events: u64,
    /// The first, which ends the comparison.
    pub difference: Option<Difference>,
}

/// Compares what two processes [told](tell).
///
/// # Errors
/// When one of them cannot be read.
pub fn compare(here: impl BufRead, there: impl BufRead) -> io::Result<Comparison> {
    let mut comparison = Comparison::default();
    let (mut here, mut there) = (here.lines(), there.lines());
    let mut run = String::new();
    let mut event = 0;
    loop {
        let (one, two) = (here.next().transpose()?, there.next().transpose()?);
        match &one {
            _ if one != two => {
                event += 1;
                comparison.difference = Some(Difference { run, event, here: one, there: two });
                return Ok(comparison);
            }
            None => return Ok(comparison),
            Some(line) => match line.strip_prefix(RUN) {
                Some(name) => {
                    name.clone_into(&mut run);
                    event = 0;
                    comparison.runs += 1;
                }
                None => {
                    event += 1;
                    comparison.events += 1;
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Comparison, Difference, compare};

    fn compared(here: &str, there: &str) -> Comparison {
        compare(here.as_bytes(), there.as_bytes()).expect("a text can be read")
    }

    #[test]
    fn the_first_difference_ends_a_comparison() {
        let same = compared("run a\nx\ny\nrun b\nz\n", "run a\nx\ny\nrun b\nz\n");
        assert_eq!(same, Comparison { runs: 2, events: 3, difference: None });
        let parted = compared("run a\nx\ny\n", "run a\nz\nw\n").difference;
        let (here, there) = (Some("x".to_owned()), Some("z".to_owned()));
        assert_eq!(parted, Some(Difference { run: "a".to_owned(), event: 1, here, there }));
    }

    #[test]
    fn a_longer_one_is_another() {
        let longer = compared("run a\nx\n", "run a\nx\ny\n").difference;
        let there = Some("y".to_owned());
        assert_eq!(longer, Some(Difference { run: "a".to_owned(), event: 2, here: None, there }));
        assert!(compared("run a\nx\n", "").difference.is_some());
    }
}
