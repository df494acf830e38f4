//! `shakedown fmt`

use std::path::{Path, PathBuf};

use super::files;
use super::output::{Failure, Output, show_diagnostics};
use super::select;
use super::unified::unified;
use crate::report::summary::counted;
use crate::scenario::format;
use crate::suite::{ExitCode, LoadError, Source, read};
use crate::under_test::program;

const EXAMPLES: &str = "\
Examples:
  shakedown fmt                     every file below scenarios/
  shakedown fmt --check             for CI: shows what would change, and fails if anything would

One space around `=`, one blank line before each table, no space at the end of a line. Comments stay, and
the order of everything. The first line names the schema, where a directory above the file has it.";

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
        // What is not UTF-8 would be written back as something else.
        let formatted = str::from_utf8(&bytes).ok().and_then(|text| format(text).ok());
        let Some(after) = formatted else {
            // The parser says it better.
            if let Err(LoadError::Wrong { text, diagnostics }) =
                Source::parse(&shown, &file.label, &bytes)
            {
                show_diagnostics(&diagnostics, &text);
            }
            wrong += 1;
            continue;
        };
        let after = with_schema(&file.path, after);
        if after.as_bytes() == bytes {
            continue;
        }
        changed += 1;
        let unseen = unseen(&text);
        if args.check {
            if !unseen.is_empty() {
                output.line(format_args!("{shown} has {}", unseen.join(" and ")))?;
            }
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
        let had = if unseen.is_empty() { "" } else { ", which had " };
        output.line(format_args!("formatted {shown}{had}{}", unseen.join(" and ")))?;
    }
    if wrong > 0 {
        return Err(Failure::new(
            ExitCode::Data,
            match found.len() {
                1 => "the file is not TOML; it is left as it is".to_owned(),
                files => {
                    format!("{wrong} of {files} files are not TOML; they are left as they are")
                }
            },
        ));
    }
    let are = if changed == 1 { "file is" } else { "files are" };
    match (args.check, changed) {
        (_, 0) => output.line(format_args!("{}, all formatted", counted(found.len(), "file")))?,
        (true, _) => {
            let paths: Vec<String> =
                args.paths.iter().map(|path| format!(" {}", path.display())).collect();
            output.line(format_args!(
                "{changed} {are} not formatted: run `{} fmt{}`",
                program(),
                paths.concat()
            ))?
        }
        (false, _) => {}
    }
    Ok(if args.check && changed > 0 { ExitCode::Failed } else { ExitCode::Passed })
}

/// A file's text with the line by which editors find the schema, as it has to be where the file is.
fn with_schema(file: &Path, text: String) -> String {
    let line = files::schema_line(file);
    let rest = match text.strip_prefix("#:schema ").and_then(|rest| rest.split_once('\n')) {
        // One that is kept elsewhere.
        Some((schema, _)) if schema.contains("://") => return text,
        Some((_, rest)) => rest,
        None => &text,
    };
    if line.is_empty() { text } else { format!("{line}{rest}") }
}

/// What is not seen of a text, and is not there any more once it is formatted.
fn unseen(text: &str) -> Vec<&'static str> {
    let mark = text.starts_with('\u{feff}').then_some("a byte order mark");
    let ends = text.contains("\r\n").then_some("CRLF at the ends of lines");
    mark.into_iter().chain(ends).collect()
}
