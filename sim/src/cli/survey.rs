//! `shakedown survey`

use super::output::{Failure, Output};
use super::select::{self, Corpus};
use crate::invariants::Id;
use crate::report::Survey;
use crate::suite::{ExitCode, Runner};

const EXAMPLES: &str = "\
Examples:
  shakedown survey                                  every scenario below scenarios/
  shakedown survey scenarios/start --profile 2.1.9,hardened
                                                    two versions, one after the other

An invariant is told with the case that has the least to be read: few faults, few calls, few
moments. A violation counts whether it was expected or not. A case that needs what the runtime does
not have, or disturbs what it does not do, is not tried.";

/// Tells what a runtime breaks: each invariant, in how many cases, and the smallest that shows it.
#[derive(clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", super::EXIT_CODES))]
pub struct Args {
    #[command(flatten)]
    corpus: Corpus,
    /// Take invariants out of the judge, as `I9` for a runtime that sends no events.
    #[arg(long, value_name = "I3,I9", value_delimiter = ',', hide_possible_values = true,
          value_parser = select::invariant_parser())]
    without: Vec<Id>,
}

pub fn run(args: &Args, output: &mut Output) -> Result<ExitCode, Failure> {
    let sources = args.corpus.sources()?;
    let selected = args.corpus.select(&Runner::new().without(&args.without), &sources)?;
    let mut code = ExitCode::Passed;
    for (number, profile) in args.corpus.profiles().into_iter().enumerate() {
        let mut survey = Survey::new(profile);
        let of_profile = selected.iter().flatten().filter(|of| of.cases.profile == profile);
        for selection in of_profile {
            let cases = &selection.cases;
            if selection.whole {
                survey.add_stale(cases.source, &cases.stale);
            }
            for index in &selection.indices {
                survey.try_case(cases, *index);
            }
        }
        let separator = if number == 0 { "" } else { "\n" };
        output.write(format_args!("{separator}{}", survey.styled()))?;
        output.flush()?;
        code = code.max(survey.exit_code());
    }
    Ok(code)
}
