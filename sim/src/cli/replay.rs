//! `shakedown replay`

use std::path::PathBuf;

use super::output::{Failure, Output};
use super::{pages, select};
use crate::report::{self, Detail, Report};
use crate::suite::{ExitCode, Kind, Ran, Runner};
use crate::under_test;

const EXAMPLES: &str = "\
Examples:
  shakedown replay FILE                       every moment, what was left, the verdict
  shakedown replay FILE --case 'NAME[code=unknown]' --profile 2.1.9
  shakedown replay FILE --html run.html       the run as a page, to be opened in a browser
  shakedown replay FILE --trace run.json      the run as a trace, to be opened in Perfetto
  git bisect run sh -c 'cargo build --release || exit 125; target/release/shakedown replay FILE'

A file can be older than the code: when a fault, hold or crash of it does not apply any more, and
nothing else is wrong, the exit code is 125, which `git bisect run` takes for \"cannot tell\".";

/// Runs one case again and tells every moment of it.
#[derive(clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", super::EXIT_CODES))]
pub struct Args {
    /// A scenario file.
    file: PathBuf,
    /// Which of its cases, where it has several.
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
    /// The version to run as.
    #[arg(long, value_name = "NAME", default_value = under_test::default_profile().name,
          value_parser = select::profile_parser())]
    profile: String,
    /// Write the run as a page to this file, and only the verdict to the terminal.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the run as a trace for Perfetto or `chrome://tracing` to this file, and only the verdict to the
    /// terminal.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

pub fn run(args: &Args, output: &mut Output) -> Result<ExitCode, Failure> {
    let sources = select::load_one(&args.file)?;
    let profiles = select::profiles(std::slice::from_ref(&args.profile));
    let runner = Runner::new();
    let selected = select::select(&runner, &sources, &profiles, args.case.as_deref())?;
    let (cases, index) = select::one(&selected, "--case")?;
    let is_filmed = args.html.is_some() || args.trace.is_some();
    let ran = if is_filmed { cases.film(index) } else { cases.run(index, true) };
    let ran = match ran {
        Ok(ran) => ran,
        Err(failure) => return Err(Failure::of_run(&cases.name(index), &failure)),
    };
    if is_filmed {
        let verdict = if ran.verdict.passed() { "passed" } else { "FAILED" };
        output.write(format_args!("{verdict}: {}", report::plain(&ran.case.name)))?;
        if let Some(path) = &args.html {
            pages::write(path, &report::page(cases.source, &ran))?;
            output.write(format_args!("; its page is {}", path.display()))?;
        }
        if let Some(path) = &args.trace {
            pages::write(path, &report::trace(cases.source, &ran))?;
            output.write(format_args!("; its trace is {}", path.display()))?;
        }
        output.line(format_args!(""))?;
    } else {
        let report = Report::new(cases.source, &ran, Detail::Full);
        output.write(format_args!("{}", report::text(&report)))?;
    }
    if cannot_tell(&ran) {
        output.flush()?;
        let message = "decisions of the file did not apply, and nothing else is wrong: this code cannot \
                       be tried with it";
        return Err(Failure::new(ExitCode::CannotTell, message));
    }
    Ok(ran.verdict.exit_code())
}

/// Whether the run says nothing of the failure that the file was kept for: decisions did not apply, and
/// no invariant broke.
fn cannot_tell(ran: &Ran) -> bool {
    let reasons = &ran.verdict.reasons;
    let is_unused = |kind: Kind| matches!(kind, Kind::NotApplied | Kind::NeverBegan);
    let is_broken =
        |kind: Kind| matches!(kind, Kind::Violation(_) | Kind::OverBudget | Kind::Panicked);
    reasons.iter().any(|reason| is_unused(reason.kind))
        && !reasons.iter().any(|reason| is_broken(reason.kind))
        && ran.verdict.expected_violations.is_empty()
}
