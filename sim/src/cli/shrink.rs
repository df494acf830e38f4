//! `shakedown shrink`

use std::path::PathBuf;

use super::output::{Failure as Ended, Output};
use super::{failures, select};
use crate::explore::{Attempts, Broken, Failure, Symptom, plan};
use crate::report::summary::counted;
use crate::suite::{ExitCode, Runner};
use crate::under_test;

const EXAMPLES: &str = "\
Examples:
  shakedown shrink lost.toml --profile 1.7.24
  shakedown shrink FILE --case 'NAME[code=unknown]' --invariant I6

Takes one step after the other that makes the scenario simpler, as long as the invariant breaks in
the same words: fewer faults, fewer holds, simpler kinds, earlier times, fewer calls, a plainer
world. What is left is written to failures/, with what happens without each of its lines. The file
itself stays as it is.";

/// Makes a scenario that breaks an invariant as small as it can be.
#[derive(clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", super::EXIT_CODES))]
pub struct Args {
    /// The scenario file.
    file: PathBuf,
    /// The version that it fails in.
    #[arg(long, value_name = "NAME", default_value = under_test::default_profile().name,
          value_parser = select::profile_parser())]
    profile: String,
    /// Of a file with several cases, which [default: the first that breaks the invariant].
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
    /// What breaks, as `I6`, `panic` or `budget` [default: the first that does].
    #[arg(long, value_name = "NAME", hide_possible_values = true,
          value_parser = select::broken_parser())]
    invariant: Option<Broken>,
}

pub fn run(args: &Args, output: &mut Output) -> Result<ExitCode, Ended> {
    let sources = select::load_one(&args.file)?;
    let profiles = select::profiles(std::slice::from_ref(&args.profile));
    let runner = Runner::new();
    let selected = select::select(&runner, &sources, &profiles, args.case.as_deref())?;
    let attempts = Attempts::new(profiles[0]);
    let wanted = |symptom: &Symptom| args.invariant.is_none_or(|broken| broken == symptom.broken);
    for selection in selected.iter().flatten() {
        for index in &selection.indices {
            let scenario = selection.cases.case(*index).scenario;
            let symptoms = plan(&scenario).map(|plan| attempts.symptoms(&plan).0);
            let Some(symptom) = symptoms.into_iter().flatten().find(|s| wanted(s)) else {
                continue;
            };
            let failure = Failure::new(&attempts, &[scenario], &symptom)
                .map_err(|why| Ended::new(ExitCode::Software, why))?;
            let path = failures::write(&failure)?;
            output.line(format_args!(
                "{} after {}: {}\n{path}",
                failure.signature,
                counted(failure.shrunk.runs, "run"),
                failure.symptom.what
            ))?;
            return Ok(failure.symptom.exit_code());
        }
    }
    let what = match args.invariant {
        Some(broken) => format!("{broken} does not break"),
        None => "nothing breaks".to_owned(),
    };
    let message = format!("{what} in {} as {}", args.file.display(), args.profile);
    Err(Ended::new(ExitCode::Usage, message))
}
