//! Ledgers of what was covered, in files.

#![expect(
    clippy::disallowed_methods,
    reason = "ledgers are kept in real files, and no run is under way"
)]

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use shakedown_cri::quirks::Profile;

use super::output::{BAD, Failure, Output};
use crate::suite::{ExitCode, Goal, Ledger, out_of_reach};

/// Where to add what was covered.
#[derive(clap::Args)]
pub struct LedgerArgs {
    /// Add what was covered to FILE: faults by operation and kind, evaluations of each invariant, goals.
    /// `shakedown merge` adds such files up.
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
}

impl LedgerArgs {
    /// Adds to the file, if there is one to add to.
    ///
    /// # Errors
    /// When it cannot be read or written, or is no ledger.
    pub fn add(&self, ledger: &Ledger) -> Result<(), Failure> {
        let Some(path) = &self.ledger else { return Ok(()) };
        let mut sum = match fs::read_to_string(path) {
            Ok(text) => parse(path, &text)?,
            Err(error) if error.kind() == ErrorKind::NotFound => Ledger::default(),
            Err(error) => return Err(io(path, "read", &error)),
        };
        sum.merge(ledger);
        write(path, &sum)
    }
}

fn parse(path: &Path, text: &str) -> Result<Ledger, Failure> {
    Ledger::parse(text).map_err(|error| {
        Failure::new(ExitCode::Data, format!("{} is no ledger: {error}", path.display()))
    })
}

/// Writes a file at once, or leaves the one that is there.
fn write(path: &Path, ledger: &Ledger) -> Result<(), Failure> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    fs::write(&fresh, ledger.text())
        .and_then(|()| fs::rename(&fresh, path))
        .map_err(|error| io(path, "write", &error))
}

fn io(path: &Path, what: &str, error: &std::io::Error) -> Failure {
    Failure::new(ExitCode::Io, format!("cannot {what} {}: {error}", path.display()))
}

/// Tells how many of the goals that the profiles can reach were reached, and which were not; of all goals,
/// where no profile is named.
///
/// # Errors
/// When standard output cannot be written to.
pub fn show_goals(
    ledger: &Ledger,
    profiles: &[&Profile],
    output: &mut Output,
) -> Result<(), Failure> {
    let missed = ledger.missed(profiles);
    let why = |goal: &Goal| out_of_reach(*goal, profiles).map(|why| (*goal, why));
    let left_out: Vec<_> = Goal::ALL.iter().filter_map(why).collect();
    let all = Goal::ALL.len() - left_out.len();
    let style = if missed.is_empty() { anstyle::Style::new() } else { BAD };
    let reached = all - missed.len();
    output.line(format_args!("{style}{reached} of {all} goals were reached{style:#}"))?;
    for (goal, why) in left_out {
        output.line(format_args!("  left out: {}, as {why}", goal.name()))?;
    }
    for goal in missed {
        output.line(format_args!("  never: {}, {}", goal.name(), goal.what()))?;
    }
    Ok(())
}
