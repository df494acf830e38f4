//! Writing scenario files.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "scenario files are real files, and no run is under way"
)]

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

/// The name under which a directory has the schema of scenario files.
const SCHEMA: &str = "scenario.schema.json";

/// Puts `text` in the place of a file as a whole: who reads it meanwhile, or finds it after the process was
/// killed, finds the one or the other. A link stays one, and a file that must not be written is not.
///
/// # Errors
/// When the file is not there, or cannot be written.
pub fn replace(file: &Path, text: &str) -> io::Result<()> {
    let file = fs::canonicalize(file)?;
    let permissions = OpenOptions::new().write(true).open(&file)?.metadata()?.permissions();
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let new = file.with_file_name(format!(".{name}.{}", std::process::id()));
    let written =
        OpenOptions::new().write(true).create_new(true).open(&new).and_then(|mut into| {
            into.write_all(text.as_bytes())?;
            into.set_permissions(permissions)?;
            into.sync_all()
        });
    let replaced = written.and_then(|()| fs::rename(&new, &file));
    if replaced.is_err() {
        let _ = fs::remove_file(&new);
    }
    replaced
}

/// Writes a file that is not there yet, and the directories above it.
///
/// # Errors
/// When it is there, or cannot be written.
pub fn create(file: &Path, text: &str) -> io::Result<()> {
    if let Some(directory) = file.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        fs::create_dir_all(directory)?;
    }
    OpenOptions::new().write(true).create_new(true).open(file)?.write_all(text.as_bytes())
}

/// The line by which editors find the schema of a file: where a directory above has one.
pub fn schema_line(file: &Path) -> String {
    let Ok(here) = std::env::current_dir() else { return String::new() };
    let mut whole = PathBuf::new();
    for part in here.join(file).components() {
        match part {
            Component::ParentDir => drop(whole.pop()),
            Component::CurDir => {}
            part => whole.push(part),
        }
    }
    let above = whole.ancestors().skip(1).enumerate();
    let found = above.take(32).find(|(_, directory)| directory.join(SCHEMA).is_file());
    found.map_or_else(String::new, |(depth, _)| {
        format!("#:schema {}{SCHEMA}\n", "../".repeat(depth))
    })
}
