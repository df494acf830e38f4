//! Finds the scenario files behind the paths of a command line.

#![expect(
    clippy::disallowed_methods,
    reason = "scenario files are real files, and no run is under way"
)]

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::report::plain;

/// A scenario file and how it is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// As it was given, or below the directory that was given.
    pub path: PathBuf,
    /// `start/task-create-fails`: the path below the directory that was given, without `.toml`.
    pub label: String,
}

/// Why the files could not be found.
#[derive(Debug)]
pub enum CollectError {
    /// Reading a path failed.
    Io { path: PathBuf, error: io::Error },
    /// Neither a file nor a directory.
    NotAFile(PathBuf),
    /// A path that cannot be named in reports.
    NotText(PathBuf),
    /// Directories inside one another, deeper than 32.
    TooDeep(PathBuf),
    /// More files than 100,000.
    TooMany,
}

impl fmt::Display for CollectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CollectError::Io { path, error } => {
                write!(f, "cannot read {}: {}", shown(path), io_text(error))
            }
            CollectError::NotAFile(path) => {
                write!(f, "cannot read {}: neither a file nor a directory", shown(path))
            }
            CollectError::NotText(path) => {
                let path = shown(path);
                write!(f, "cannot read {path}: the path is not UTF-8, or has control characters")
            }
            CollectError::TooDeep(path) => {
                let path = shown(path);
                write!(f, "cannot read {path}: more than {DEPTH_MAX} directories deep")
            }
            CollectError::TooMany => write!(f, "more than {FILES_MAX} scenario files"),
        }
    }
}

impl std::error::Error for CollectError {}

/// A path as it is shown to people: with nothing in it that a terminal obeys.
pub(super) fn shown(path: &Path) -> String {
    plain(&path.to_string_lossy())
}

/// An error of the system without its number, which differs between systems.
pub(super) fn io_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |c| c.to_lowercase().chain(letters).collect())
}

/// Directories inside one another.
const DEPTH_MAX: usize = 32;
/// Files of one command.
const FILES_MAX: usize = 100_000;

/// The scenario files that the paths mean: a file itself, of a directory all `*.toml` below it.
/// Sorted by path within each directory; each file once. Names that begin with a dot, and
/// directories that are symbolic links, are passed over.
///
/// # Errors
/// The first path that cannot be read.
pub fn collect(paths: &[PathBuf]) -> Result<Vec<Found>, CollectError> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for path in paths {
        let io = |error| CollectError::Io { path: path.clone(), error };
        let about = fs::metadata(path).map_err(io)?;
        let mut add = |found_file: Found| -> Result<(), CollectError> {
            let io = |error| CollectError::Io { path: found_file.path.clone(), error };
            if seen.insert(fs::canonicalize(&found_file.path).map_err(io)?) {
                found.push(found_file);
            }
            if found.len() > FILES_MAX { Err(CollectError::TooMany) } else { Ok(()) }
        };
        if about.is_dir() {
            let mut below = Vec::new();
            walk(path, 0, &mut below)?;
            for file in below {
                let label = label(file.strip_prefix(path).unwrap_or(&file), &file)?;
                let path = file.strip_prefix("./").unwrap_or(&file).to_owned();
                add(Found { path, label })?;
            }
        } else if about.is_file() {
            let name = path.file_name().map_or(path.as_path(), Path::new);
            add(Found { path: path.clone(), label: label(name, path)? })?;
        } else {
            return Err(CollectError::NotAFile(path.clone()));
        }
    }
    Ok(found)
}

fn label(short: &Path, path: &Path) -> Result<String, CollectError> {
    // The whole path is shown too, as it is.
    let text = path.to_str().filter(|text| !text.contains(char::is_control));
    text.ok_or_else(|| CollectError::NotText(path.to_owned()))?;
    let label = short.to_str().unwrap_or_default();
    Ok(label.strip_suffix(".toml").unwrap_or(label).to_owned())
}

fn walk(dir: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), CollectError> {
    if depth > DEPTH_MAX {
        return Err(CollectError::TooDeep(dir.to_owned()));
    }
    let io = |error| CollectError::Io { path: dir.to_owned(), error };
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir).map_err(io)? {
        let entry = entry.map_err(io)?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        entries.push((entry.path(), entry.file_type().map_err(io)?));
    }
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (path, kind) in entries {
        if kind.is_dir() {
            walk(&path, depth + 1, files)?;
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            if files.len() >= FILES_MAX {
                return Err(CollectError::TooMany);
            }
            // A link that leads nowhere is a mistake, not nothing.
            let about = fs::metadata(&path);
            if about.map_err(|error| CollectError::Io { path: path.clone(), error })?.is_file() {
                files.push(path);
            }
        }
    }
    Ok(())
}
