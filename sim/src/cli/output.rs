//! Writing to the terminal, and what ends a command early.

use std::fmt;
use std::io::{self, StdoutLock, Write};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};

use crate::scenario::Diagnostic;
use crate::suite::{CollectError, ExitCode};

pub const GOOD: Style = AnsiColor::Green.on_default().bold();
pub const BAD: Style = AnsiColor::Red.on_default().bold();
pub const DIM: Style = Style::new().dimmed();
pub const BOLD: Style = Style::new().bold();

/// Why a command cannot go on.
#[derive(Debug)]
pub struct Failure {
    code: ExitCode,
    /// Empty: nobody wants to know.
    message: String,
}

impl Failure {
    pub fn new(code: ExitCode, message: impl Into<String>) -> Self {
        Failure { code, message: message.into() }
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

/// Writes diagnostics of a file to stderr.
pub fn show_diagnostics(diagnostics: &[Diagnostic], text: &str) {
    let mut stderr = AutoStream::auto(io::stderr().lock());
    for diagnostic in diagnostics {
        // The exit code says it too.
        let _ = writeln!(stderr, "{}\n", diagnostic.render(text, true));
    }
}
