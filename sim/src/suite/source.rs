//! A scenario file in memory.

#![expect(
    clippy::disallowed_types,
    reason = "scenario files are real files, and no run is under way"
)]

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::collect::{Found, io_text, shown};
use crate::scenario::{Diagnostic, Scenario, Vocabulary, limits, parse_bytes};
use crate::turnstile::Op;
use crate::world::fs::PendingKind;

/// A file and what it says.
#[derive(Clone, Debug)]
pub struct Source {
    /// The path as it is shown to people.
    pub file: String,
    /// How the scenario is called in summaries: `start/task-create-fails`.
    pub label: String,
    pub text: String,
    pub scenario: Scenario,
}

/// Why a file is no scenario.
#[derive(Debug)]
pub enum LoadError {
    Io {
        path: PathBuf,
        error: io::Error,
    },
    /// `text` is what the diagnostics point into.
    Wrong {
        text: String,
        diagnostics: Vec<Diagnostic>,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Io { path, error } => {
                write!(f, "cannot read {}: {}", shown(path), io_text(error))
            }
            LoadError::Wrong { diagnostics, .. } => {
                for (i, diagnostic) in diagnostics.iter().enumerate() {
                    write!(f, "{}{diagnostic}", if i == 0 { "" } else { "\n" })?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for LoadError {}

impl Source {
    /// Reads a file. A file beyond the limit of the format is not read to its end.
    ///
    /// # Errors
    /// When it cannot be read, or is no scenario.
    pub fn read(found: &Found) -> Result<Source, LoadError> {
        let bytes = read(found)?;
        Source::parse(&found.path.to_string_lossy(), &found.label, &bytes)
    }

    /// # Errors
    /// When the bytes are no scenario.
    pub fn parse(file: &str, label: &str, bytes: &[u8]) -> Result<Source, LoadError> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let operations: Vec<&str> = Op::ALL.iter().map(|op| op.name()).collect();
        // Other actors come and go with the code under test: a name that no run knows is reported by the
        // run.
        let pending = PendingKind::ALL.map(PendingKind::word);
        let vocabulary = Vocabulary {
            operations: &operations,
            roles: &[],
            only_calls_are_numbered: true,
            codes: Some(codes_of),
            pending: &pending,
        };
        match parse_bytes(file, bytes, vocabulary) {
            Ok(scenario) => {
                Ok(Source { file: file.to_owned(), label: label.to_owned(), text, scenario })
            }
            Err(diagnostics) => Err(LoadError::Wrong { text, diagnostics }),
        }
    }

    pub fn diagnostic(
        &self,
        span: &std::ops::Range<usize>,
        message: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic::new(&self.file, &self.text, span.clone(), message)
    }
}

/// What an operation can fail with, as scenarios write it.
fn codes_of(operation: &str) -> Vec<&'static str> {
    let op = Op::find(operation);
    let classes = op.into_iter().flat_map(Op::codes).map(|code| code.name());
    classes.chain(op.into_iter().flat_map(|op| op.errnos()).map(|errno| errno.name())).collect()
}

/// The bytes of a file; of one beyond the limit of the format, enough to be refused.
///
/// # Errors
/// When it cannot be read.
pub fn read(found: &Found) -> Result<Vec<u8>, LoadError> {
    read_bounded(&found.path).map_err(|error| LoadError::Io { path: found.path.clone(), error })
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = limits::FILE_BYTES_MAX as u64 + 1;
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Takes out the files that make cases of the same name as one before them, which is told with each:
/// `shakedown run --case` could not tell them apart.
pub fn take_same_names(sources: &mut Vec<Source>) -> Vec<(Source, String)> {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut twice = Vec::new();
    for source in std::mem::take(sources) {
        match known.get(&source.scenario.name) {
            Some(first) => twice.push((source, first.clone())),
            None => {
                known.insert(source.scenario.name.clone(), source.file.clone());
                sources.push(source);
            }
        }
    }
    twice
}
