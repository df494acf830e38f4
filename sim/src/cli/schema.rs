//! `shakedown schema`

use clap::ValueEnum;

use super::output::{Failure, Output};
use crate::suite::ExitCode;
use crate::{report, scenario};

const EXPLANATION: &str = "\
Editors that know TOML (Even Better TOML, taplo, Tombi) complete and explain the keys of a file that
says where its schema is, in its first line:

  #:schema ../scenario.schema.json

Examples:
  shakedown schema > scenario.schema.json
  shakedown schema report > report.schema.json";

/// Prints the JSON Schema of scenario files, for editors, or of reports, for other programs.
#[derive(clap::Args)]
#[command(after_help = EXPLANATION)]
pub struct Args {
    /// Of what.
    #[arg(value_enum, default_value_t = Of::Scenario)]
    of: Of,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Of {
    /// A scenario file.
    Scenario,
    /// What `run --format json` prints.
    Report,
}

pub fn run(args: &Args, output: &mut Output) -> Result<ExitCode, Failure> {
    let schema = match args.of {
        Of::Scenario => scenario::schema(),
        Of::Report => report::json::schema(),
    };
    output.write(format_args!("{schema}"))?;
    Ok(ExitCode::Passed)
}
