//! What a command came to: the one account that the summary on the terminal and the reports for other
//! programs are written from, so that none can say what another does not.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use super::moments::moments;
use crate::explore::{Broken, Failure};
use crate::invariants::Id;
use crate::scenario::Diagnostic;
use crate::suite::{ExitCode, Kind, Ran, Reason, Source};
use crate::under_test::{program_named, program_of};

/// Something that kept an entry from passing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong in a word: `violation`, `expectation`, `malformed`.
    pub kind: &'static str,
    /// Which invariant is violated.
    pub invariant: Option<Id>,
    pub code: ExitCode,
    /// In a sentence.
    pub message: String,
    pub help: Option<String>,
    pub notes: Vec<String>,
    /// `(expected, found)`, where there is such a pair.
    pub differs: Option<(String, String)>,
    /// Where in which file; `None`: it is about none.
    pub place: Option<Place>,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// In bytes of the file.
    pub span: std::ops::Range<usize>,
    /// What stands beside it where the line is shown; may be empty.
    pub label: String,
}

impl Problem {
    /// One that is about no file.
    pub fn new(kind: &'static str, code: ExitCode, message: impl Into<String>) -> Self {
        Problem {
            kind,
            invariant: None,
            code,
            message: message.into(),
            help: None,
            notes: Vec::new(),
            differs: None,
            place: None,
        }
    }

    /// What is wrong with a scenario file.
    pub fn malformed(diagnostic: &Diagnostic) -> Self {
        let problem = Problem::new("malformed", ExitCode::Data, diagnostic.message.clone());
        Problem {
            help: diagnostic.help.clone(),
            notes: diagnostic.notes.clone(),
            place: Some(Place::of(diagnostic)),
            ..problem
        }
    }

    /// Why a case failed.
    pub fn failed(source: &Source, reason: &Reason) -> Self {
        let invariant = match reason.kind {
            Kind::Violation(id) => Some(id),
            _ => None,
        };
        let code = reason.kind.exit_code();
        Problem {
            invariant,
            help: reason.help.clone(),
            differs: reason.differs.clone(),
            place: Some(Place::of(&source.diagnostic(&reason.span, ""))),
            ..Problem::new(reason.kind.word(), code, reason.what.clone())
        }
    }

    /// `I6`, or what else is wrong in a word: what problems are sorted by.
    pub fn rule(&self) -> String {
        self.invariant.map_or_else(|| self.kind.to_owned(), |id| id.to_string())
    }

    /// What a search found, in a scenario of a file. `kept`: where what it found is.
    pub fn found(failure: &Failure, file: &str, kept: &str) -> Self {
        let (kind, invariant) = match failure.symptom.broken {
            Broken::Invariant(id) => (Kind::Violation(id).word(), Some(id)),
            Broken::Panic => (Kind::Panicked.word(), None),
            Broken::Budget => (Kind::OverBudget.word(), None),
            Broken::World => (Kind::NotSetUp.word(), None),
            Broken::Harness => ("harness", None),
        };
        let message = format!("{}: {}", failure.signature, failure.symptom.what);
        let profile = failure.profile;
        let command = format!("{} run {kept} --profile {}", program_of(profile), profile.name);
        let problem = Problem {
            invariant,
            help: Some(format!("kept in {kept}: `{command}`")),
            ..Problem::new(kind, failure.symptom.exit_code(), message)
        };
        if file.is_empty() { problem } else { problem.of_file(file) }
    }

    /// About a file as a whole.
    #[must_use]
    pub fn of_file(mut self, file: &str) -> Self {
        self.place = Some(Place {
            file: file.to_owned(),
            line: 1,
            column: 1,
            span: 0..0,
            label: String::new(),
        });
        self
    }

    /// Nothing could be judged: what was asked for is wrong, or something broke.
    pub fn is_error(&self) -> bool {
        self.code >= ExitCode::Usage
    }
}

impl Place {
    fn of(diagnostic: &Diagnostic) -> Self {
        Place {
            file: diagnostic.file.clone(),
            line: diagnostic.line,
            column: diagnostic.column,
            span: diagnostic.span.clone(),
            label: diagnostic.label.clone(),
        }
    }
}

/// One thing that was judged: a case under a profile or, where it did not come to that, a file, or the
/// command as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// How its scenario is called: `start/task-create-fails`; else the command.
    pub label: String,
    /// The name of the case; else what was to be judged.
    pub case: String,
    /// Empty: it is about none.
    pub profile: String,
    /// The scenario file; empty: there is none.
    pub file: String,
    /// What the file says, for those who show its lines.
    pub text: Rc<str>,
    /// Real time.
    pub took: Duration,
    /// Invariants that broke, as expected or not.
    pub violated: BTreeSet<Id>,
    /// Any, and it has not passed.
    pub problems: Vec<Problem>,
    /// What tells the commands that run one case which one.
    pub arguments: Option<String>,
    /// What struck, what should have mended it, where it broke: a line each.
    pub moments: Vec<String>,
}

impl Entry {
    /// An entry without problems.
    pub fn new(label: &str, case: &str, profile: &str) -> Self {
        Entry {
            label: label.to_owned(),
            case: case.to_owned(),
            profile: profile.to_owned(),
            file: String::new(),
            text: Rc::from(""),
            took: Duration::ZERO,
            violated: BTreeSet::new(),
            problems: Vec::new(),
            arguments: None,
            moments: Vec::new(),
        }
    }

    /// What a command came to that could judge nothing.
    pub fn nothing(code: ExitCode, message: &str) -> Self {
        let kind = match code {
            ExitCode::Usage => "usage",
            ExitCode::Data => "malformed",
            ExitCode::Io => "io",
            _ => "harness",
        };
        let problems = vec![Problem::new(kind, code, message)];
        Entry { problems, ..Entry::new("shakedown", "the command", "") }
    }

    /// A case of a file, without problems. `text` is what the source says.
    pub fn of_case(source: &Source, text: &Rc<str>, case: &str, profile: &str) -> Self {
        Entry {
            file: source.file.clone(),
            text: text.clone(),
            arguments: Some(arguments(&source.file, case, profile)),
            ..Entry::new(&source.label, case, profile)
        }
    }

    /// The verdict on a run.
    #[must_use]
    pub fn ran(mut self, source: &Source, ran: &Ran) -> Self {
        self.violated = ran.outcome.judgement.violated().map(|finding| finding.id).collect();
        self.moments = moments(ran);
        self.failing(source, &ran.verdict.reasons)
    }

    /// With these reasons against it.
    #[must_use]
    pub fn failing(mut self, source: &Source, reasons: &[Reason]) -> Self {
        self.problems.extend(reasons.iter().map(|reason| Problem::failed(source, reason)));
        self
    }

    /// A file that no case was made of.
    pub fn of_file(label: &str, file: &str, text: &str, problems: Vec<Problem>) -> Self {
        Entry {
            file: file.to_owned(),
            text: Rc::from(text),
            problems,
            ..Entry::new(label, label, "")
        }
    }

    /// A file that is no scenario.
    pub fn malformed(label: &str, file: &str, text: &str, diagnostics: &[Diagnostic]) -> Self {
        let problems = diagnostics.iter().map(Problem::malformed).collect();
        Entry::of_file(label, file, text, problems)
    }

    pub fn passed(&self) -> bool {
        self.problems.is_empty()
    }

    /// The command that tells every moment of it.
    pub fn replay(&self) -> Option<String> {
        let program = program_named(&self.profile);
        self.arguments.as_ref().map(|arguments| format!("{program} replay {arguments}"))
    }

    /// The command that makes a file of it as small as it can be, if an invariant is violated.
    pub fn shrink(&self) -> Option<String> {
        let invariant = self.problems.iter().find_map(|problem| problem.invariant)?;
        let arguments = self.arguments.as_ref()?;
        let program = program_named(&self.profile);
        Some(format!("{program} shrink {arguments} --invariant {invariant}"))
    }

    /// That of the most severe problem.
    pub fn exit_code(&self) -> ExitCode {
        self.problems.iter().map(|problem| problem.code).max().unwrap_or(ExitCode::Passed)
    }

    /// Not judged at all, rather than judged and found wanting.
    pub fn is_error(&self) -> bool {
        self.problems.iter().any(Problem::is_error)
    }

    /// Whether both failed in one file, under one profile, for the same reasons.
    pub fn is_like(&self, other: &Entry) -> bool {
        (&self.file, &self.profile, &self.problems.len())
            == (&other.file, &other.profile, &other.problems.len())
            && self.problems.iter().zip(&other.problems).all(|(a, b)| a.is_like(b))
    }
}

impl Problem {
    /// What was expected and found, and whatever else there is to say.
    pub fn remarks(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some((expected, found)) = &self.differs {
            lines.push(format!("expected {expected}"));
            lines.push(format!("found    {found}"));
        }
        lines.extend(self.notes.iter().cloned());
        lines
    }

    /// As [`Problem::remarks`], with what may help.
    pub fn details(&self) -> Vec<String> {
        self.help.iter().cloned().chain(self.remarks()).collect()
    }

    /// Whether both are the same, wherever in a run it showed.
    fn is_like(&self, other: &Problem) -> bool {
        (self.rule(), &self.message, &self.differs, &self.place)
            == (other.rule(), &other.message, &other.differs, &other.place)
    }
}

/// How many entries came out how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: usize,
    pub failed: usize,
    /// Those of the failed that were not judged at all.
    pub errors: usize,
}

impl Counts {
    pub fn of(entries: &[Entry]) -> Self {
        let mut counts = Counts::default();
        for entry in entries {
            counts.passed += usize::from(entry.passed());
            counts.failed += usize::from(!entry.passed());
            counts.errors += usize::from(entry.is_error());
        }
        counts
    }
}

/// All that a command judged: at least one entry, as what judged nothing has not passed.
#[derive(Clone, Debug)]
pub struct Verdicts {
    entries: Vec<Entry>,
}

impl From<Vec<Entry>> for Verdicts {
    fn from(mut entries: Vec<Entry>) -> Self {
        if entries.is_empty() {
            entries.push(Entry::nothing(ExitCode::Usage, "nothing was judged"));
        }
        Verdicts { entries }
    }
}

impl Verdicts {
    /// In the order in which they were judged.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn counts(&self) -> Counts {
        Counts::of(&self.entries)
    }

    pub fn passed(&self) -> bool {
        self.entries.iter().all(Entry::passed)
    }

    /// That of the worst entry.
    pub fn exit_code(&self) -> ExitCode {
        self.entries.iter().map(Entry::exit_code).max().unwrap_or(ExitCode::Usage)
    }

    /// The entries that failed; those that failed alike together.
    pub fn failures(&self) -> Vec<Vec<&Entry>> {
        alike(&self.entries)
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// Groups of entries that failed alike, each in the place of its first.
pub fn alike(entries: &[Entry]) -> Vec<Vec<&Entry>> {
    let failed = entries.iter().filter(|entry| !entry.passed());
    let mut groups: Vec<Vec<&Entry>> = Vec::new();
    // Only within a file and a profile can entries be alike, and those follow one another.
    let mut first_of_file = 0;
    for entry in failed {
        let same = |other: &Entry| (&other.file, &other.profile) == (&entry.file, &entry.profile);
        if groups.get(first_of_file).is_some_and(|group| !same(group[0])) {
            first_of_file = groups.len();
        }
        match groups[first_of_file..].iter_mut().find(|group| group[0].is_like(entry)) {
            Some(group) => group.push(entry),
            None => groups.push(vec![entry]),
        }
    }
    groups
}

/// What tells a command which case of which file, under which profile.
fn arguments(file: &str, case: &str, profile: &str) -> String {
    let file = match file.starts_with('-') {
        true => quoted(&format!("./{file}")),
        false => quoted(file),
    };
    let case = match case.starts_with('-') {
        true => format!("--case={}", quoted(case)),
        false => format!("--case {}", quoted(case)),
    };
    format!("{file} {case} --profile {profile}")
}

/// A word for a shell.
pub(crate) fn quoted(word: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(safe) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
