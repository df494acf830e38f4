//! Reports for other programs: which are asked for, and writing them.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "reports are real files, and say when they were made"
)]

use std::env;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::SystemTime;

use shakedown_cri::io::rfc3339_nano;

use super::output::{Failure, Output};
use crate::report::{self, Entry, Verdicts};
use crate::suite::ExitCode;

/// What other programs are told. Every one of them says the same.
#[derive(clap::Args)]
#[command(next_help_heading = "Reports")]
pub struct Wanted {
    /// Write JUnit XML, for the test results of a CI system.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write SARIF 2.1.0, for what shows results beside the lines of a file.
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,
    /// Write Markdown, for the summary of a CI job.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Print annotations for GitHub Actions. They are printed anyway where GITHUB_ACTIONS is `true`.
    #[arg(long)]
    github: bool,
}

type Writer = fn(&Verdicts, &str) -> String;

/// Reports that are to be written.
pub struct Reports {
    files: Vec<(PathBuf, File, Writer)>,
    github: bool,
    began: String,
}

impl Wanted {
    /// Opens the files, and leaves nothing in them: what an earlier command wrote says nothing about this
    /// one, even if it does not come to its end.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn open(&self) -> Result<Reports, Failure> {
        let wanted: [(&Option<PathBuf>, Writer); 3] = [
            (&self.junit, report::junit),
            (&self.sarif, |verdicts, _| report::sarif(verdicts)),
            (&self.markdown, |verdicts, _| report::markdown(verdicts)),
        ];
        let mut files = Vec::new();
        for (path, writer) in wanted {
            let Some(path) = path else { continue };
            let file = File::create(path).map_err(|error| cannot_write(path, &error))?;
            files.push((path.clone(), file, writer));
        }
        let on_github = || env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true");
        Ok(Reports { files, github: self.github || on_github(), began: now() })
    }
}

impl Reports {
    /// Writes what the command came to, and returns its exit code. A command that could not go on is one of the
    /// entries. Where standard output holds a document, annotations go to standard error.
    ///
    /// # Errors
    /// That of `result`, or when a report cannot be written.
    pub fn write(
        self,
        mut entries: Vec<Entry>,
        result: Result<(), Failure>,
        output: &mut Output,
        is_document: bool,
    ) -> Result<ExitCode, Failure> {
        if let Err(failure) = &result {
            entries.extend(failure.entries());
        }
        let verdicts = Verdicts::from(entries);
        for (path, mut file, writer) in self.files {
            let text = writer(&verdicts, &self.began);
            file.write_all(text.as_bytes()).map_err(|error| cannot_write(&path, &error))?;
        }
        if self.github {
            let annotations = report::github(&verdicts);
            if is_document {
                io::stderr().write_all(annotations.as_bytes())?;
            } else {
                output.write(format_args!("{annotations}"))?;
            }
        }
        let code = verdicts.exit_code();
        result.map(|()| code).map_err(|failure| failure.at_least(code))
    }
}

fn cannot_write(path: &std::path::Path, error: &io::Error) -> Failure {
    let path = report::plain(&path.to_string_lossy());
    Failure::new(ExitCode::Io, format!("cannot write {path}: {error}"))
}

/// `2026-11-26T00:30:00`, in UTC.
fn now() -> String {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let whole = i64::try_from(since_epoch.as_secs()).unwrap_or_default();
    let text = rfc3339_nano(whole.saturating_mul(1_000_000_000));
    text.trim_end_matches('Z').to_owned()
}
