//! `shakedown schema`

use super::output::{Failure, Output};
use crate::scenario;
use crate::suite::ExitCode;

const EXPLANATION: &str = "\
Editors that know TOML (Even Better TOML, taplo, Tombi) complete and explain the keys of a file that
says where its schema is, in its first line:

  #:schema ../scenario.schema.json

Example:
  shakedown schema > scenario.schema.json";

/// Prints the JSON Schema of scenario files, for editors.
#[derive(clap::Args)]
#[command(after_help = EXPLANATION)]
pub struct Args {}

pub fn run(_: &Args, output: &mut Output) -> Result<ExitCode, Failure> {
    output.write(format_args!("{}", scenario::schema()))?;
    Ok(ExitCode::Passed)
}
