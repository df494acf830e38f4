//! `shakedown check-determinism`

#![expect(
    clippy::disallowed_methods,
    reason = "two processes are compared; a run takes part in neither"
)]

use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, ExitStatus};

use super::elsewhere::{Where, program};
use super::output::{BAD, Failure, GOOD, Output};
use super::select::Corpus;
use crate::determinism::{Comparison, compare, tell};
use crate::report::summary::counted;
use crate::report::{self, Detail, Report};
use crate::suite::{ExitCode, Runner};

const EXPLANATION: &str = "\
The second process has another environment, directory, time zone, language and log level, and its
memory lies elsewhere. Each event is compared with its virtual time, what it brought and a digest
of all before it, and at the end the report. What differs comes from something that is no decision:
the order of a hash map, real time, an address, a thread, the environment.

Examples:
  shakedown check-determinism
  shakedown check-determinism scenarios/crash --profile 1.7.24,hardened

Exit codes:
  0   both processes did the same
  4   they did not; the first event that differs is shown
  64  the command line is wrong, or no scenario matched
  65  a scenario file is wrong
  74  a file cannot be read";

/// Runs the scenarios in two processes, and compares them event by event.
#[derive(clap::Args)]
#[command(after_help = EXPLANATION)]
pub struct Args {
    #[command(flatten)]
    corpus: Corpus,
    /// Be one of the two processes: tell the events.
    #[arg(long, hide = true)]
    tell: bool,
}

pub fn run(args: &Args, output: &mut Output) -> Result<ExitCode, Failure> {
    if args.tell {
        return tell_all(args);
    }
    let mut here = start(args, Where::Here)?;
    let mut there = start(args, Where::There)?;
    let comparison = compare(events(&mut here), events(&mut there))?;
    let Comparison { runs, events, difference } = comparison;
    if let Some(difference) = difference {
        for (event, process) in [(&difference.here, &mut here), (&difference.there, &mut there)] {
            // One that could not go on has said why.
            if event.is_none()
                && let Some(code) = failure(process.wait()?)
            {
                return Ok(code);
            }
        }
        output.line(format_args!("{BAD}DIFFERENT{BAD:#}  {difference}"))?;
        return Ok(ExitCode::Nondeterminism);
    }
    let (here, there) = (here.wait()?, there.wait()?);
    if let Some(code) = failure(here).or(failure(there)) {
        return Ok(code);
    }
    output.line(format_args!(
        "{GOOD}the same{GOOD:#} in two processes: {}, {}",
        counted(runs, "run"),
        counted(events, "event")
    ))?;
    Ok(ExitCode::Passed)
}

fn start(args: &Args, place: Where) -> Result<Child, Failure> {
    let mut command = program(place)?;
    command.arg("check-determinism").arg("--tell");
    command.arg("--profile").arg(args.corpus.profile.join(","));
    if let Some(case) = &args.corpus.case {
        command.arg("--case").arg(case);
    }
    for tag in &args.corpus.tag {
        command.arg("--tag").arg(tag);
    }
    command.arg("--");
    for path in &args.corpus.paths {
        command.arg(absolute(path)?);
    }
    Ok(command.spawn()?)
}

/// The path as both processes can find it.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    path.canonicalize().map_err(|error| {
        let message = format!("{}: {error}", report::plain(&path.display().to_string()));
        Failure::new(ExitCode::Io, message)
    })
}

fn events(process: &mut Child) -> BufReader<ChildStdout> {
    BufReader::new(process.stdout.take().expect("its output is a pipe"))
}

/// The exit code of a process that could not tell its events.
fn failure(status: ExitStatus) -> Option<ExitCode> {
    match status.code() {
        Some(0) => None,
        code => {
            let known = [ExitCode::Usage, ExitCode::Data, ExitCode::Io];
            let known = known.into_iter().find(|known| code == Some(*known as i32));
            Some(known.unwrap_or(ExitCode::Software))
        }
    }
}

fn tell_all(args: &Args) -> Result<ExitCode, Failure> {
    let sources = args.corpus.sources()?;
    let runner = Runner::new();
    let selected = args.corpus.select(&runner, &sources)?;
    let mut out = BufWriter::new(io::stdout().lock());
    for selection in selected.iter().flatten() {
        let cases = &selection.cases;
        for index in &selection.indices {
            let ran = cases.run(*index, false);
            let ran = ran.map_err(|failure| Failure::of_run(&cases.name(*index), &failure))?;
            let report = report::json(&Report::new(cases.source, &ran, Detail::Full));
            let name = format!("{} as {}", ran.case.name, cases.profile.name);
            tell(&mut out, &name, &ran.outcome, report.as_bytes())?;
        }
    }
    out.flush()?;
    Ok(ExitCode::Passed)
}
