//! Files of pages.

#![expect(clippy::disallowed_methods, reason = "pages are real files, and no run is under way")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::output::Failure;
use super::select::Selection;
use crate::report::{self, Entry, Pages, Verdicts};
use crate::suite::{Cases, ExitCode};

/// Pages of cases that failed, at most; as many there are of such that passed.
const PAGES_MAX: usize = 500;
/// How long a name of a file gets.
const NAME_MAX: usize = 120;

/// Writes a page. Directories that are missing are made.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, page: &str) -> Result<(), Failure> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    directory.map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, page)).map_err(
        |error| {
            let path = report::plain(&path.to_string_lossy());
            Failure::new(ExitCode::Io, format!("cannot write {path}: {error}"))
        },
    )
}

/// A directory of pages: of each case that failed, of one case of each scenario that passed.
pub struct Gallery {
    directory: PathBuf,
    pages: Pages,
    names: BTreeSet<String>,
    /// Scenarios and profiles that have a page of a case that passed.
    shown: BTreeSet<(String, &'static str)>,
    failed: usize,
}

impl Gallery {
    pub fn new(directory: &Path) -> Self {
        Gallery {
            directory: directory.to_owned(),
            pages: Pages::new(),
            names: BTreeSet::new(),
            shown: BTreeSet::new(),
            failed: 0,
        }
    }

    /// Makes the pages of what was judged.
    ///
    /// # Errors
    /// When a page cannot be written.
    pub fn fill(
        &mut self,
        selected: &[Vec<Selection<'_>>],
        entries: &[Entry],
    ) -> Result<(), Failure> {
        let known = entries.iter().map(|entry| ((&*entry.case, &*entry.profile), entry));
        let known: BTreeMap<(&str, &str), &Entry> = known.collect();
        for Selection { cases, indices, .. } in selected.iter().flatten() {
            for index in indices {
                let case = cases.name(*index);
                if let Some(entry) = known.get(&(&*case, cases.profile.name)) {
                    self.offer(cases, *index, entry)?;
                }
            }
        }
        Ok(())
    }

    fn offer(&mut self, cases: &Cases<'_>, index: usize, entry: &Entry) -> Result<(), Failure> {
        let scenario = (entry.label.clone(), cases.profile.name);
        let is_wanted = match entry.passed() {
            true => self.shown.len() < PAGES_MAX && !self.shown.contains(&scenario),
            false => self.failed < PAGES_MAX,
        };
        // A run that the harness could not make has no page either.
        let Some(Ok(ran)) = is_wanted.then(|| cases.film(index)) else { return Ok(()) };
        match entry.passed() {
            true => {
                self.shown.insert(scenario);
            }
            false => self.failed += 1,
        }
        let name = self.name(&entry.case, cases.profile.name);
        write(&self.directory.join(&name), &report::page(cases.source, &ran))?;
        self.pages.insert((entry.case.clone(), entry.profile.clone()), name);
        Ok(())
    }

    /// A file that no other page has: `1.7.24/task-create-fails-code-unknown.html`.
    fn name(&mut self, case: &str, profile: &str) -> String {
        let words =
            case.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        let case: String = words.collect::<Vec<_>>().join("-").chars().take(NAME_MAX).collect();
        let mut name = format!("{profile}/{case}.html");
        let mut number = 1;
        while !self.names.insert(name.clone()) {
            number += 1;
            name = format!("{profile}/{case}-{number}.html");
        }
        name
    }

    /// # Errors
    /// When the index cannot be written.
    pub fn finish(&self, verdicts: &Verdicts) -> Result<(), Failure> {
        write(&self.directory.join("index.html"), &report::index(verdicts, &self.pages))
    }
}
