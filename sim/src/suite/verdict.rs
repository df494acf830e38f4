//! The verdict on one case.

use std::ops::Range;

use crate::invariants::Id;

/// What the process answers to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ExitCode {
    Passed = 0,
    /// An invariant or expectation was violated, or a decision did not apply.
    Failed = 1,
    /// Stuck, or over budget.
    Liveness = 2,
    /// The code under test panicked.
    Panicked = 3,
    /// Two processes did not do the same.
    Nondeterminism = 4,
    Usage = 64,
    /// A scenario file is wrong.
    Data = 65,
    /// The harness broke an assumption of its own.
    Software = 70,
    Io = 74,
    /// Decisions of the file did not apply, and nothing else is wrong.
    CannotTell = 125,
}

/// Why a case failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An invariant broke that was not expected to.
    Violation(Id),
    /// An invariant held that was expected to break.
    MissingViolation,
    /// Something that the file expects is otherwise.
    Expectation,
    /// A fault or hold did not do what it says.
    NotApplied,
    /// A call could not begin.
    NeverBegan,
    /// The run went on beyond its budget.
    OverBudget,
    /// The code under test panicked.
    Panicked,
    /// The world that the file describes cannot be made.
    NotSetUp,
    /// The case needs a call that the code under test does not have.
    NotImplemented,
}

impl Kind {
    pub const fn word(self) -> &'static str {
        match self {
            Kind::Violation(_) => "violation",
            Kind::MissingViolation => "missing-violation",
            Kind::Expectation => "expectation",
            Kind::NotApplied => "not-applied",
            Kind::NeverBegan => "never-began",
            Kind::OverBudget => "over-budget",
            Kind::Panicked => "panicked",
            Kind::NotSetUp => "not-set-up",
            Kind::NotImplemented => "not-implemented",
        }
    }

    pub const fn exit_code(self) -> ExitCode {
        match self {
            // A call that never answers is what "stuck" means.
            Kind::OverBudget | Kind::Violation(Id(5)) => ExitCode::Liveness,
            Kind::Panicked => ExitCode::Panicked,
            Kind::NotSetUp => ExitCode::Data,
            _ => ExitCode::Failed,
        }
    }
}

/// One reason why a case failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    pub kind: Kind,
    /// The entry of the file that it is about, in bytes.
    pub span: Range<usize>,
    /// In a sentence.
    pub what: String,
    /// `(expected, found)`, where there is such a pair.
    pub differs: Option<(String, String)>,
    pub help: Option<String>,
}

impl Reason {
    pub(super) fn new(kind: Kind, span: &Range<usize>, what: impl Into<String>) -> Self {
        Reason { kind, span: span.clone(), what: what.into(), differs: None, help: None }
    }

    /// Whether two cases failed for the same reason, wherever in the run it showed.
    pub fn is_like(&self, other: &Reason) -> bool {
        (self.kind, &self.span, &self.what, &self.differs)
            == (other.kind, &other.span, &other.what, &other.differs)
    }

    #[must_use]
    pub(super) fn differs(mut self, expected: impl Into<String>, found: impl Into<String>) -> Self {
        self.differs = Some((expected.into(), found.into()));
        self
    }

    #[must_use]
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Whether a case came out as its file says; it passed if there is no reason against it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub reasons: Vec<Reason>,
    /// Invariants that broke, each as expected.
    pub expected_violations: Vec<Id>,
}

impl Verdict {
    pub fn passed(&self) -> bool {
        self.reasons.is_empty()
    }

    /// That of the most severe reason.
    pub fn exit_code(&self) -> ExitCode {
        let codes = self.reasons.iter().map(|reason| reason.kind.exit_code());
        codes.max().unwrap_or(ExitCode::Passed)
    }
}
