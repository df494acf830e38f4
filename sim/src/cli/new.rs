//! `shakedown new`

use std::io;
use std::path::PathBuf;

use super::files;
use super::output::{Failure, Output};
use crate::report::{plain, quoted};
use crate::suite::{ExitCode, Source};
use crate::under_test::program;

const EXAMPLES: &str = "\
Example:
  shakedown new scenarios/start/the-create-is-late

The file runs as it is, and its comments say what else it could have. A file that is there is left alone.";

/// What `new` writes, behind the line that names the schema.
const TEMPLATE: &str = include_str!("new.toml");

/// Writes a scenario to start from, with comments that teach.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The name of the scenario, or the path of its file.
    #[arg(value_name = "NAME")]
    name: PathBuf,
}

pub fn run(args: &Args, output: &mut Output) -> Result<ExitCode, Failure> {
    let mut file = args.name.clone();
    if file.extension().is_none_or(|extension| extension != "toml") {
        file.as_mut_os_string().push(".toml");
    }
    let shown = plain(&file.to_string_lossy());
    let text = format!("{}{TEMPLATE}", files::schema_line(&file));
    if let Err(wrong) = Source::parse(&shown, &shown, text.as_bytes()) {
        return Err(Failure::new(ExitCode::Usage, wrong.to_string()));
    }
    files::create(&file, &text).map_err(|error| cannot(&shown, &error))?;
    let word = quoted(&shown);
    output.line(format_args!("{shown} is written; to run it: {} run {word}", program()))?;
    Ok(ExitCode::Passed)
}

fn cannot(shown: &str, error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::AlreadyExists {
        return Failure::new(
            ExitCode::Usage,
            format!("{shown} is there already; it is left as it is"),
        );
    }
    Failure::new(ExitCode::Io, format!("cannot write {shown}: {error}"))
}
