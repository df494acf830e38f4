//! What broke in a run, and where it was struck.

use std::fmt;

use super::decisions::Entries;
use crate::invariants::{Finding, Id};
use crate::run::Outcome;
use crate::scenario::{Crash, CrashKind, Fault, Hold, Scenario, When};
use crate::suite::{ExitCode, root_of};
use crate::turnstile::{Moment, Site, Stop};

/// What can be wrong with a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Broken {
    Invariant(Id),
    /// The service panicked.
    Panic,
    /// The run went on beyond its budget.
    Budget,
    /// The world that the scenario describes cannot be made.
    World,
    /// The harness broke an assumption of its own.
    Harness,
}

impl Broken {
    /// What the process answers to its caller.
    pub const fn exit_code(self) -> ExitCode {
        match self {
            Broken::Invariant(Id(5)) | Broken::Budget => ExitCode::Liveness,
            Broken::Invariant(_) => ExitCode::Failed,
            Broken::Panic => ExitCode::Panicked,
            Broken::World => ExitCode::Data,
            Broken::Harness => ExitCode::Software,
        }
    }

    /// What [`Broken`] is printed as.
    pub fn parse(text: &str) -> Option<Broken> {
        let others = [Broken::Panic, Broken::Budget, Broken::World, Broken::Harness];
        let number = text.strip_prefix('I').and_then(|number| number.parse().ok());
        let other = || others.into_iter().find(|broken| broken.to_string() == text);
        number.map(|number| Broken::Invariant(Id(number))).or_else(other)
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Invariant(id) => id.fmt(f),
            Broken::Panic => f.write_str("panic"),
            Broken::Budget => f.write_str("budget"),
            Broken::World => f.write_str("world"),
            Broken::Harness => f.write_str("harness"),
        }
    }
}

/// What broke, and how it showed: what a run that is made smaller must go on to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symptom {
    pub broken: Broken,
    /// The violation in a sentence.
    pub what: String,
    /// Its head, without numbers: the same for the same bug.
    shape: String,
}

impl Symptom {
    pub fn new(broken: Broken, what: &str) -> Self {
        // Details such as an error's text stand behind a colon.
        let head = what.split(": ").next().unwrap_or_default();
        let shape = head.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect();
        Symptom { broken, what: what.to_owned(), shape }
    }

    /// The same with other words.
    #[must_use]
    pub fn told(self, tell: impl FnOnce(&str) -> String) -> Self {
        Symptom { what: tell(&self.what), ..self }
    }

    pub fn is_like(&self, other: &Symptom) -> bool {
        (self.broken, &self.shape) == (other.broken, &other.shape)
    }

    /// What the process answers to its caller.
    pub const fn exit_code(&self) -> ExitCode {
        self.broken.exit_code()
    }

    /// All that is wrong with a run: of each kind what showed first.
    pub fn all(outcome: &Outcome) -> Vec<Symptom> {
        // A panic is what I17 is about: without it, none is wrong.
        let lives = |finding: &Finding| finding.id == Id(17);
        let may_panic = !outcome.judgement.findings.iter().any(lives);
        let stopped = match &outcome.stop {
            Stop::Idle => None,
            Stop::Panicked { .. } if may_panic => None,
            Stop::Panicked { message, .. } => Some(Symptom::new(Broken::Panic, message)),
            Stop::OverBudget | Stop::TooManyTasks => {
                Some(Symptom::new(Broken::Budget, "the run has no end"))
            }
            Stop::NotSetUp(why) => Some(Symptom::new(Broken::World, &why.message)),
        };
        let violated = outcome.judgement.violated().filter_map(|finding| {
            let first = finding.violations.first()?;
            Some(Symptom::new(Broken::Invariant(finding.id), &first.what))
        });
        stopped.into_iter().chain(violated).collect()
    }
}

/// Where and how an operation was struck: `start/task.create/shim.create`, `exit-monitor/task.delete (held)`.
fn struck(site: Site, how: &str) -> String {
    let text = site.actor.text();
    let root = root_of(&text);
    let mut phase = role(root).to_owned();
    // The steps that lead to it, without their subjects and numbers.
    let mut depth = 0_u32;
    let mut in_number = false;
    for c in text[root.len()..].chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            '#' => in_number = true,
            '/' if depth == 0 => in_number = false,
            _ => {}
        }
        if depth == 0 && !in_number && c != ')' {
            phase.push(c);
        }
    }
    let how = if how.is_empty() { String::new() } else { format!(" ({how})") };
    format!("{phase}/{}{how}", site.op.name())
}

/// Who acts, without the number of the boot, of the call, and whom it is about.
fn role(actor: &str) -> &str {
    let actor = match actor.split_once(':') {
        Some((boot, rest)) if boot.starts_with("boot") => rest,
        _ => actor,
    };
    let actor = actor.split('(').next().unwrap_or_default();
    match actor.rsplit_once('-') {
        Some((head, number)) if number.bytes().all(|b| b.is_ascii_digit()) => head,
        _ => actor,
    }
}

/// An invariant, and the phases of the operations that were struck for it to break. Bugs are told apart by it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signature {
    pub broken: Broken,
    /// Sorted, each once; empty: it breaks in the undisturbed run.
    pub struck: Vec<String>,
}

impl Signature {
    pub fn new(broken: Broken, scenario: &Scenario) -> Self {
        let mut struck = phases(&scenario.faults, &scenario.holds, &scenario.crashes);
        struck.extend(scenario.clocks.iter().filter_map(|clock| match &clock.when {
            When::Moment(text) => Some(self::struck(Moment::parse(text)?.site, "clock set")),
            When::At(_) => None,
        }));
        struck.sort();
        struck.dedup();
        Signature { broken, struck }
    }

    /// Of decisions in a scenario that has none.
    pub fn of_entries(broken: Broken, entries: &Entries) -> Self {
        Signature { broken, struck: phases(&entries.faults, &entries.holds, &entries.crashes) }
    }

    /// What a signature is printed as.
    pub fn parse(text: &str) -> Option<Signature> {
        let (broken, struck) = text.split_once(' ')?;
        let struck = struck.split(" + ").filter(|phase| *phase != "undisturbed");
        let struck = struck.map(str::to_owned).collect();
        Some(Signature { broken: Broken::parse(broken)?, struck })
    }

    /// Whether what is known breaks the same for less.
    pub fn is_explained_by(&self, known: &Signature) -> bool {
        self.broken == known.broken && known.struck.iter().all(|one| self.struck.contains(one))
    }
}

/// The phases that decisions strike.
fn phases(faults: &[Fault], holds: &[Hold], crashes: &[Crash]) -> Vec<String> {
    let site = |text: &str| Site::parse(text);
    let moment = |text: &str| Moment::parse(text).map(|moment| moment.site);
    let faults = faults.iter().filter_map(|fault| Some(struck(site(&fault.at)?, "")));
    let holds = holds.iter().filter_map(|hold| Some(struck(moment(&hold.what)?, "held")));
    let crashes = crashes.iter().filter_map(|crash| {
        let how = match crash.kind {
            CrashKind::Daemon => "killed",
            CrashKind::Power => "power lost",
        };
        match &crash.when {
            When::Moment(text) => Some(struck(moment(text)?, how)),
            // Part of the story, as the calls are.
            When::At(_) => None,
        }
    });
    let mut phases: Vec<String> = faults.chain(holds).chain(crashes).collect();
    phases.sort();
    phases.dedup();
    phases
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.struck[..] {
            [] => write!(f, "{} undisturbed", self.broken),
            struck => write!(f, "{} {}", self.broken, struck.join(" + ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(site: &str) -> String {
        struck(Site::parse(site).expect("a site"), "")
    }

    #[test]
    fn a_signature_is_read_as_it_is_printed() {
        for text in ["I9 undisturbed", "I1 start/task.create + stop/task.kill (held)", "panic x"] {
            assert_eq!(Signature::parse(text).map(|s| s.to_string()).as_deref(), Some(text));
        }
        assert_eq!(Signature::parse("I9"), None);
        assert_eq!(Signature::parse("it start/task.create"), None);
    }

    #[test]
    fn phases_are_told_without_numbers_and_subjects() {
        assert_eq!(of("start-1/task.create(web)#1"), "start/task.create");
        let inner = "start-1/task.create(web)#1/shim.create#1/io.copy#1";
        assert_eq!(of(inner), "start/task.create/shim.create/io.copy");
        assert_eq!(of("boot2:exit-monitor(web)/task.delete(web)#3"), "exit-monitor/task.delete");
        assert_eq!(of("a-watch/event.stream#1"), "a-watch/event.stream");
        assert_eq!(role("kubelet-1-start-2"), "kubelet-1-start");
    }
}
