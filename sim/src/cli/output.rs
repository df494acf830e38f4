//! Writing to the terminal, and what ends a command early.

use std::fmt;
use std::io::{self, StdoutLock, Write};

use anstream::AutoStream;

use crate::report::Entry;
use crate::report::summary::rendered;
pub use crate::report::summary::{BAD, BOLD, DIM, GOOD};
use crate::scenario::Diagnostic;
use crate::suite::{CollectError, ExitCode, RunFailure};

/// Why a command cannot go on.
#[derive(Debug)]
pub struct Failure {
    code: ExitCode,
    /// Empty: nobody wants to know.
    message: String,
    /// The files that are to blame, if there are any.
    wrong: Vec<Entry>,
}

impl Failure {
    pub fn new(code: ExitCode, message: impl Into<String>) -> Self {
        Failure { code, message: message.into(), wrong: Vec::new() }
    }

    /// A case that has no outcome.
    pub fn of_run(case: &str, failure: &RunFailure) -> Self {
        match failure {
            RunFailure::Broken(what) => {
                Failure::new(ExitCode::Software, format!("the harness broke in {case}: {what}"))
            }
            RunFailure::Wrong(diagnostics) => {
                let texts: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
                Failure::new(ExitCode::Data, texts.join("\n"))
            }
        }
    }

    /// With an exit code that is at least this one.
    #[must_use]
    pub fn at_least(self, code: ExitCode) -> Self {
        Failure { code: self.code.max(code), ..self }
    }

    /// Because of these files.
    #[must_use]
    pub fn because_of(self, wrong: Vec<Entry>) -> Self {
        Failure { wrong, ..self }
    }

    /// As entries of a report: the files that are to blame, else the command.
    pub fn entries(&self) -> Vec<Entry> {
        if self.wrong.is_empty() {
            let message = if self.message.is_empty() { "cannot write" } else { &self.message };
            return vec![Entry::nothing(self.code, message)];
        }
        self.wrong.clone()
    }

    /// Tells people, and returns the exit code.
    pub fn report(self) -> ExitCode {
        if !self.message.is_empty() {
            let mut stderr = AutoStream::auto(io::stderr().lock());
            // Nobody is left to be told that this could not be written.
            let _ = writeln!(stderr, "{BAD}error{BAD:#}: {}", self.message);
        }
        self.code
    }
}

/// Writing failed. A reader that went away (`| head`) needs no message.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let message = match error.kind() {
            io::ErrorKind::BrokenPipe => String::new(),
            _ => format!("cannot write: {error}"),
        };
        Failure::new(ExitCode::Io, message)
    }
}

impl From<CollectError> for Failure {
    fn from(error: CollectError) -> Self {
        Failure::new(ExitCode::Io, error.to_string())
    }
}

/// Standard output, with styles only on a terminal that wants them.
pub struct Output {
    stdout: AutoStream<StdoutLock<'static>>,
}

impl Output {
    pub fn new() -> Self {
        Output { stdout: AutoStream::auto(io::stdout().lock()) }
    }

    /// # Errors
    /// When standard output cannot be written to.
    pub fn write(&mut self, text: fmt::Arguments<'_>) -> Result<(), Failure> {
        Ok(self.stdout.write_fmt(text)?)
    }

    /// # Errors
    /// As [`Output::write`].
    pub fn line(&mut self, text: fmt::Arguments<'_>) -> Result<(), Failure> {
        Ok(writeln!(self.stdout, "{text}")?)
    }

    /// # Errors
    /// As [`Output::write`].
    pub fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.stdout.flush()?)
    }
}

/// Writes to stderr what is wrong with a file.
pub fn show_problems(entry: &Entry) {
    let mut stderr = AutoStream::auto(io::stderr().lock());
    for problem in &entry.problems {
        // The exit code says it too.
        let _ = writeln!(stderr, "{}\n", rendered(problem, &entry.text));
    }
}

/// Writes diagnostics of a file to stderr.
pub fn show_diagnostics(diagnostics: &[Diagnostic], text: &str) {
    let mut stderr = AutoStream::auto(io::stderr().lock());
    for diagnostic in diagnostics {
        // The exit code says it too.
        let _ = writeln!(stderr, "{}\n", diagnostic.render(text, true));
    }
}
