//! `shakedown fmt`

use std::path::PathBuf;

use super::files;
use super::output::{Failure, Output, show_diagnostics};
use super::select;
use super::unified::unified;
use crate::scenario::format;
use crate::suite::{ExitCode, LoadError, Source, read};

const EXAMPLES: &str = "\
Examples:
  shakedown fmt                     every file below scenarios/
  shakedown fmt --check             for CI: shows what would change, and fails if anything would

One space around `=`, one blank line before each table, no space at the end of a line. Comments stay, and
the order of everything.";

/// Formats scenario files.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Scenario files, and directories of them.
    #[arg(default_value = "scenarios", hide_default_value = true)]
    paths: Vec<PathBuf>,
    /// Write nothing; show what would change, and exit with 1 if anything would.
    #[arg(long)]
    check: bool,
}

pub fn run(args: &Args, output: &mut Output) -> Result<ExitCode, Failure> {
    let found = select::found(&args.paths)?;
    let (mut changed, mut wrong) = (0_usize, 0_usize);
    for file in &found {
        let bytes = read(file).map_err(|error| Failure::new(ExitCode::Io, error.to_string()))?;
        let shown = file.path.to_string_lossy();
        let text = String::from_utf8_lossy(&bytes);
        let Ok(after) = format(&text) else {
            // The parser says it better.
            if let Err(LoadError::Wrong { text, diagnostics }) =
                Source::parse(&shown, &file.label, &bytes)
            {
                show_diagnostics(&diagnostics, &text);
            }
            wrong += 1;
            continue;
        };
        if after.as_bytes() == bytes {
            continue;
        }
        changed += 1;
        if args.check {
            output.write(format_args!("{}", unified(&shown, &text, &after)))?;
            continue;
        }
        let said = |text: &str| {
            Source::parse(&shown, &file.label, text.as_bytes()).ok().map(|s| s.scenario)
        };
        if said(&text) != said(&after) {
            let message =
                format!("formatting {shown} would change what it says; it is left as it is");
            return Err(Failure::new(ExitCode::Software, message));
        }
        files::replace(&file.path, &after).map_err(|error| {
            Failure::new(ExitCode::Io, format!("cannot write {shown}: {error}"))
        })?;
        output.line(format_args!("formatted {shown}"))?;
    }
    if wrong > 0 {
        return Err(Failure::new(
            ExitCode::Data,
            format!("{wrong} of {} files are not TOML", found.len()),
        ));
    }
    let are = if changed == 1 { "file is" } else { "files are" };
    match (args.check, changed) {
        (_, 0) => output.line(format_args!("{} files, all formatted", found.len()))?,
        (true, _) => {
            let paths: Vec<String> =
                args.paths.iter().map(|path| format!(" {}", path.display())).collect();
            output.line(format_args!(
                "{changed} {are} not formatted: run `shakedown fmt{}`",
                paths.concat()
            ))?
        }
        (false, _) => {}
    }
    Ok(if args.check && changed > 0 { ExitCode::Failed } else { ExitCode::Passed })
}
