//! Files of pages.

#![expect(clippy::disallowed_methods, reason = "pages are real files, and no run is under way")]

use std::fs;
use std::path::Path;

use super::output::Failure;
use crate::suite::ExitCode;

/// Writes a page. Directories that are missing are made.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, page: &str) -> Result<(), Failure> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    directory.map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, page)).map_err(
        |error| Failure::new(ExitCode::Io, format!("cannot write {}: {error}", path.display())),
    )
}
