//! What the commands that search have in common.

#![expect(
    clippy::disallowed_methods,
    reason = "a search belongs to a build, which is told by the program's own file"
)]

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use shakedown_cri::quirks::Profile;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use xxhash_rust::xxh3::xxh3_64;

use super::output::{BAD, DIM, Failure, Output};
use super::select;
use crate::explore::{self, undecided};
use crate::scenario::{Scenario, duration, print};
use crate::suite::{ExitCode, Runner, Source};

/// The cases of the sources as a search starts from them: without decisions, each once.
///
/// # Errors
/// When a file cannot be expanded.
pub fn undecided_cases(
    sources: &[Source],
    profile: &'static Profile,
) -> Result<Vec<Scenario>, Failure> {
    let runner = Runner::new();
    let selected = select::select(&runner, sources, &[profile], None)?;
    let mut known = BTreeSet::new();
    let mut scenarios = Vec::new();
    for selection in selected.iter().flatten() {
        for index in &selection.indices {
            let scenario = undecided(&selection.cases.case(*index).scenario);
            let untitled = Scenario { title: String::new(), ..scenario.clone() };
            if known.insert(print(&untitled)) {
                scenarios.push(scenario);
            }
        }
    }
    Ok(scenarios)
}

/// Set when the process is asked to end; the second time it is, it ends.
///
/// # Errors
/// When the system does not let us listen.
pub fn stop_on_signal() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, ExitCode::Io as i32, stop.clone())
            .and_then(|_| flag::register(signal, stop.clone()))
            .map_err(|error| Failure::new(ExitCode::Software, error.to_string()))?;
    }
    Ok(stop)
}

/// What tells this build from others: a hash of the program.
///
/// # Errors
/// When the program cannot be read.
pub fn build() -> Result<u64, Failure> {
    let program = env::current_exe().and_then(fs::read);
    let program = program.map_err(|error| {
        Failure::new(ExitCode::Io, format!("cannot read the program itself: {error}"))
    })?;
    Ok(xxh3_64(&program))
}

/// As many as the machine can run at once.
pub fn jobs(asked: Option<NonZeroUsize>) -> usize {
    asked.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get)
}

/// For arguments such as `1m30s`.
///
/// # Errors
/// What is wrong with the text.
pub fn time(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| error.to_string())
}

/// Tells of what was found, and where it is kept.
///
/// # Errors
/// When standard output cannot be written to.
pub fn told(output: &mut Output, failure: &explore::Failure, path: &str) -> Result<(), Failure> {
    let also: Vec<String> = failure.also.iter().map(|broken| format!(" {broken}")).collect();
    output.line(format_args!(
        "{BAD}found{BAD:#} {}{DIM}{}{DIM:#}\n      {}\n      {path}",
        failure.signature,
        if also.is_empty() { String::new() } else { format!("  with{}", also.concat()) },
        failure.symptom.what
    ))?;
    output.flush()
}
