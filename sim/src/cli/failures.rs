//! Files of what a search found.

#![expect(
    clippy::disallowed_methods,
    reason = "failures are kept in real files, and no run is under way"
)]

use std::fs;
use std::path::PathBuf;

use super::files;
use super::output::Failure as Ended;
use crate::explore::Failure;
use crate::suite::ExitCode;
use crate::under_test::program_of;

/// The directory that failures are written to, below the one that the command runs in.
const DIRECTORY: &str = "failures";

/// Where the file of a failure is.
pub fn path(failure: &Failure) -> String {
    format!("{DIRECTORY}/{}.toml", failure.shrunk.scenario.name)
}

/// Writes the file of a failure at once: whatever ends the search, it is kept. Returns its path.
///
/// # Errors
/// When it cannot be written.
pub fn write(failure: &Failure) -> Result<String, Ended> {
    let shown = path(failure);
    let path = PathBuf::from(&shown);
    let command =
        format!("{} run {shown} --profile {}", program_of(failure.profile), failure.profile.name);
    fs::create_dir_all(DIRECTORY)
        .and_then(|()| fs::write(&path, files::schema_line(&path) + &failure.text(&command)))
        .map_err(|error| Ended::new(ExitCode::Io, format!("cannot write {shown}: {error}")))?;
    Ok(shown)
}
