//! Scenarios run by a program: a call for a test, and what it brings.

#![expect(
    clippy::disallowed_methods,
    reason = "scenario files are real files, and no run is under way while they are looked for"
)]

use std::env;
use std::error;
use std::fmt;
use std::path::{Path, PathBuf};

use shakedown_cri::quirks::Profile;

use crate::invariants::Id;
use crate::report::{self, Detail, Report, Survey};
use crate::scenario::nearest;
use crate::suite::{
    Cases, CollectError, Found, LoadError, Reason, RunFailure, Runner, Source, collect, read,
    watchdog,
};
use crate::under_test::{self, NameError, UnderTest};

/// Scenarios that are about to be run.
///
/// ```
/// use shakedown::Trial;
///
/// let reports = Trial::new("scenarios/start/the-reply-of-task-create-is-lost.toml")
///     .profile("hardened")
///     .run()?;
/// assert!(reports.passed(), "{reports}");
/// # Ok::<(), shakedown::Error>(())
/// ```
#[must_use = "nothing is run before `run` or `survey`"]
pub struct Trial {
    what: What,
    profile: Result<&'static Profile, Error>,
    case: Option<String>,
}

enum What {
    Path(PathBuf),
    Text { name: String, text: String },
}

/// What the cases of a [`Trial`] came to, in the order of their files.
///
/// Displays as `shakedown run FILE` prints it: the same bytes for the same code, so that a snapshot shows what a
/// change of the code changes.
#[derive(Clone, Debug)]
pub struct Reports {
    reports: Vec<Report>,
    violated: Vec<Id>,
    /// Of files as a whole.
    stale: Vec<String>,
    passed: bool,
}

/// Why there is nothing to report. Displays as the whole message; so does `Debug`, as that is what a test
/// that returns it prints.
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl error::Error for Error {}

impl From<NameError> for Error {
    fn from(error: NameError) -> Self {
        Error(error.to_string())
    }
}

impl From<CollectError> for Error {
    fn from(error: CollectError) -> Self {
        Error(error.to_string())
    }
}

impl From<LoadError> for Error {
    fn from(error: LoadError) -> Self {
        Error(error.to_string())
    }
}

impl From<RunFailure> for Error {
    fn from(failure: RunFailure) -> Self {
        Error(match failure {
            RunFailure::Broken(what) => format!("the harness broke: {what}"),
            RunFailure::Wrong(diagnostics) => {
                let texts: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
                texts.join("\n")
            }
        })
    }
}

/// Runs every case of a scenario file, or of the files of a directory, and judges it. For more than that, see
/// [`Trial`].
///
/// # Errors
/// As [`Trial::run`].
pub fn run(path: impl AsRef<Path>) -> Result<Reports, Error> {
    Trial::new(path).run()
}

impl Trial {
    /// Of a scenario file, or of all in a directory. A relative path is looked for in the working directory and in
    /// the directories above it: a test runs in that of its package, while scenarios may be the workspace's.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Trial::of(What::Path(path.as_ref().to_owned()))
    }

    /// Of a scenario that is no file. `name` stands for its path.
    pub fn text(name: &str, text: &str) -> Self {
        Trial::of(What::Text { name: name.to_owned(), text: text.to_owned() })
    }

    fn of(what: What) -> Self {
        Trial { what, profile: Ok(under_test::default_profile()), case: None }
    }

    /// Under a profile: a version of containerd, `hardened`, or that of a runtime that was named before, as
    /// `NAME@VERSION`. Without it the revision of the specification is run.
    pub fn profile(self, name: &str) -> Self {
        let unknown = || {
            let known = under_test::profiles().map(|profile| profile.name);
            let near = nearest(name, known);
            let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            Error(format!("there is no profile `{name}`{near}"))
        };
        let profile = under_test::find(name).ok_or_else(unknown);
        // The first mistake is the one that is told.
        Trial { profile: self.profile.and(profile), ..self }
    }

    /// On another runtime, in a world without quirks.
    pub fn on(self, runtime: impl UnderTest) -> Self {
        let profile = under_test::add(runtime).map_err(Error::from);
        Trial { profile: self.profile.and(profile), ..self }
    }

    /// Only the case of this name.
    pub fn case(self, name: &str) -> Self {
        Trial { case: Some(name.to_owned()), ..self }
    }

    /// Runs the cases and judges each.
    ///
    /// # Errors
    /// When a file cannot be read or is no scenario, no case has the name, the profile is not known, or the harness
    /// broke. What the code under test does is no error.
    pub fn run(self) -> Result<Reports, Error> {
        let mut reports =
            Reports { reports: Vec::new(), violated: Vec::new(), stale: Vec::new(), passed: true };
        self.each(|cases, index| {
            match index {
                Some(index) => reports.add(cases, index)?,
                None => reports.add_stale(&cases.stale),
            }
            Ok(())
        })?;
        Ok(reports)
    }

    /// Runs the cases, and tells what they broke.
    ///
    /// # Errors
    /// As [`Trial::run`].
    pub fn survey(self) -> Result<Survey, Error> {
        let mut survey = None;
        self.each(|cases, index| {
            let survey = survey.get_or_insert_with(|| Survey::new(cases.profile));
            match index {
                Some(index) => survey.try_case(cases, index),
                None => survey.add_stale(cases.source, &cases.stale),
            }
            Ok(())
        })?;
        survey.ok_or_else(|| Error("there is no case".to_owned()))
    }

    /// Calls `each` with every case that is meant, and without one for a file that failed as a whole.
    fn each(
        self,
        mut each: impl FnMut(&Cases<'_>, Option<usize>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Trial { what, profile, case } = self;
        let profile = profile?;
        watchdog::start();
        let sources = what.sources()?;
        let runner = Runner::new();
        let mut count = 0;
        let mut names = Vec::new();
        for source in &sources {
            let cases = runner.cases(source, profile)?;
            if case.is_none() && !cases.stale.is_empty() {
                count += 1;
                each(&cases, None)?;
            }
            for index in 0..cases.len() {
                let name = cases.name(index);
                if case.as_ref().is_none_or(|wanted| *wanted == name) {
                    count += 1;
                    each(&cases, Some(index))?;
                } else {
                    names.push(name);
                }
            }
        }
        if count == 0 {
            let wanted = case.unwrap_or_default();
            let near = nearest(&wanted, names.iter().map(String::as_str));
            let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            return Err(Error(format!("there is no case `{wanted}`{near}")));
        }
        Ok(())
    }
}

impl What {
    fn sources(self) -> Result<Vec<Source>, Error> {
        match self {
            What::Text { name, text } => Ok(vec![Source::parse(&name, &name, text.as_bytes())?]),
            What::Path(path) => {
                let there = located(&path);
                let found: Vec<Found> = collect(std::slice::from_ref(&there))?;
                if found.is_empty() {
                    return Err(Error(format!("no scenario file (*.toml) in {}", path.display())));
                }
                // Reports are the same wherever the directory is that it was found in.
                let shown = |found: &Found| match found.path.strip_prefix(&there) {
                    Ok(below) if below.as_os_str().is_empty() => path.clone(),
                    Ok(below) => path.join(below),
                    Err(_) => found.path.clone(),
                };
                let read_one = |found: &Found| {
                    let bytes = read(found)?;
                    let file = shown(found);
                    Ok(Source::parse(&file.to_string_lossy(), &found.label, &bytes)?)
                };
                found.iter().map(read_one).collect()
            }
        }
    }
}

/// Where a path is: in the working directory, else in the nearest one above that has it.
fn located(path: &Path) -> PathBuf {
    if path.is_absolute() || path.exists() {
        return path.to_owned();
    }
    let Ok(here) = env::current_dir() else { return path.to_owned() };
    let above = here.ancestors().skip(1).map(|above| above.join(path));
    above.into_iter().find(|there| there.exists()).unwrap_or_else(|| path.to_owned())
}

impl Reports {
    fn add(&mut self, cases: &Cases<'_>, index: usize) -> Result<(), Error> {
        let ran = cases.run(index, false)?;
        self.passed &= ran.verdict.passed();
        for finding in ran.outcome.judgement.violated() {
            if !self.violated.contains(&finding.id) {
                self.violated.push(finding.id);
            }
        }
        self.violated.sort();
        self.reports.push(Report::new(cases.source, &ran, Detail::Brief));
        Ok(())
    }

    fn add_stale(&mut self, reasons: &[Reason]) {
        self.passed = false;
        self.stale.extend(reasons.iter().map(|reason| reason.what.clone()));
    }

    /// Whether every case came out as its file says.
    pub fn passed(&self) -> bool {
        self.passed
    }

    /// The invariants that broke in any of the cases, as expected or not.
    pub fn violated(&self) -> &[Id] {
        &self.violated
    }

    /// The report of each case.
    pub fn iter(&self) -> impl Iterator<Item = &Report> {
        self.reports.iter()
    }
}

impl fmt::Display for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for stale in &self.stale {
            writeln!(f, "FAILED: {stale}")?;
        }
        for (number, report) in self.reports.iter().enumerate() {
            let separator = if number == 0 { "" } else { "\n" };
            write!(f, "{separator}{}", report::text(report))?;
        }
        Ok(())
    }
}
