//! `shakedown replay`

use std::path::PathBuf;

use shakedown_cri::quirks::Profile;

use super::output::{Failure, Output};
use super::{pages, select};
use crate::report::{self, Detail, Report};
use crate::suite::{ExitCode, Kind, Ran, Runner};

const EXAMPLES: &str = "\
Examples:
  shakedown replay FILE                       every moment, what was left, the verdict
  shakedown replay FILE --case 'NAME[code=unknown]' --profile 2.1.9
  shakedown replay FILE --html run.html       the run as a page, to be opened in a browser
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
    #[arg(long, value_name = "NAME", default_value = Profile::ALL[0].name,
          value_parser = select::profile_parser())]
    profile: String,
    /// Write the run as a page to this file, and only the verdict to the terminal.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub fn run(args: &Args, output: &mut Output) -> Result<ExitCode, Failure> {
    let sources = select::load(std::slice::from_ref(&args.file))?;
    let profiles = select::profiles(std::slice::from_ref(&args.profile));
    let runner = Runner::new();
    let selected = select::select(&runner, &sources, &profiles, args.case.as_deref())?;
    let (cases, index) = select::one(&selected, "--case")?;
    let ran = match &args.html {
        None => cases.run(index, true),
        Some(_) => cases.film(index),
    };
    let ran = match ran {
        Ok(ran) => ran,
        Err(failure) => return Err(Failure::of_run(&cases.name(index), &failure)),
    };
    match &args.html {
        None => {
            let report = Report::new(cases.source, &ran, Detail::Full);
            output.write(format_args!("{}", report::text(&report)))?;
        }
        Some(path) => {
            pages::write(path, &report::page(cases.source, &ran))?;
            let verdict = if ran.verdict.passed() { "passed" } else { "FAILED" };
            let case = report::plain(&ran.case.name);
            output.line(format_args!("{verdict}: {case}; its page is {}", path.display()))?;
        }
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
