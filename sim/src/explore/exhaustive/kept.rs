//! What of a check is done, in a file of its own, so that ending the check at any moment loses no branch that was
//! finished.
//!
//! A line for each branch, appended when it is done. It begins with the key of the check that it belongs to: the
//! hash of all that decides what the branch brings. So lines of another check, of another build or of a
//! line that was being written when the process ended are no obstacle: they are passed over.

#![expect(
    clippy::disallowed_types,
    reason = "what a search has done is kept in a real file; no run sees it"
)]

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::states::States;
use crate::explore::symptom::{Broken, Symptom};
use crate::scenario::{Scenario, parse, print};

/// What one branch brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Branch {
    pub plans: u64,
    pub runs: u64,
    pub moments: u64,
    /// Those in which the runs came to rest.
    pub states: States,
    /// Runs that were left out, as they bring what another one does.
    pub merged: u64,
    pub found: Vec<Found>,
}

/// The first run of a branch that showed a signature.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub symptom: Symptom,
    /// The decisions, tidy ones and exact ones.
    pub decided: [Scenario; 2],
    /// Runs that showed it.
    pub runs: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    key: String,
    branch: usize,
    /// Real time that the check had taken by then, seconds.
    took: f64,
    plans: u64,
    runs: u64,
    moments: u64,
    states: States,
    #[serde(default)]
    merged: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    found: Vec<FoundLine>,
}

#[derive(Debug, Serialize, Deserialize)]
struct FoundLine {
    broken: String,
    what: String,
    /// As scenario files.
    decided: [String; 2],
    runs: u64,
}

/// How each line begins.
const HEAD: &str = "{\"key\":\"";

/// A file of finished branches.
#[derive(Debug)]
pub struct Kept {
    file: std::fs::File,
    lines: Vec<Line>,
}

impl Kept {
    /// Opens the file, which need not exist, and reads what is in it.
    ///
    /// # Errors
    /// When it cannot be read or written, or has something else in it.
    pub fn open(path: &Path) -> io::Result<Kept> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let text = String::from_utf8_lossy(&text);
        if !text.is_empty() && !text.starts_with(HEAD) {
            let what = "it has something else in it than a check keeps";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        // What was being written when a process ended is a line of its own.
        file.seek(SeekFrom::End(0))?;
        if !text.is_empty() && !text.ends_with('\n') {
            file.write_all(b"\n")?;
        }
        Ok(Kept { file, lines })
    }

    /// The branches of a check that are done, and the real time that it had taken by then, seconds.
    pub fn of(&self, key: &str, scenario: &Scenario) -> (BTreeMap<usize, Branch>, f64) {
        let mine = self.lines.iter().filter(|line| line.key == key);
        let took = mine.clone().map(|line| line.took).fold(0.0, f64::max);
        (mine.filter_map(|line| Some((line.branch, line.read(&scenario.name)?))).collect(), took)
    }

    /// Keeps a branch that is done.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&mut self, key: &str, branch: usize, took: f64, done: &Branch) -> io::Result<()> {
        let found = done.found.iter().map(|found| FoundLine {
            broken: found.symptom.broken.to_string(),
            what: found.symptom.what.clone(),
            decided: found.decided.each_ref().map(print),
            runs: found.runs,
        });
        let Branch { plans, runs, moments, merged, .. } = *done;
        let (key, states) = (key.to_owned(), done.states.clone());
        let found = found.collect();
        let line = Line { key, branch, took, plans, runs, moments, states, merged, found };
        let mut text = serde_json::to_string(&line).expect("a line holds only texts and numbers");
        text.push('\n');
        self.file.write_all(text.as_bytes())
    }
}

impl Line {
    /// `scenario`: the name of the one that was checked.
    fn read(&self, scenario: &str) -> Option<Branch> {
        let Line { plans, runs, moments, merged, .. } = *self;
        let found = self.found.iter().map(|found| found.read(scenario)).collect::<Option<_>>()?;
        Some(Branch { plans, runs, moments, states: self.states.clone(), merged, found })
    }
}

impl FoundLine {
    fn read(&self, scenario: &str) -> Option<Found> {
        let file = format!("{scenario}.toml");
        let [tidy, exact] = self.decided.each_ref().map(|text| parse(&file, text).ok());
        Some(Found {
            symptom: Symptom::new(Broken::parse(&self.broken)?, &self.what),
            decided: [tidy?, exact?],
            runs: self.runs,
        })
    }
}
