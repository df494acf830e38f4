//! What a runtime breaks: each invariant with the smallest case that shows it.

use std::collections::BTreeMap;
use std::fmt;

use shakedown_cri::quirks::Profile;

use super::moments::moments_of;
use super::plain;
use super::summary::{BAD, BOLD, DIM, GOOD, thousands};
use super::verdicts::quoted;
use crate::invariants::{Finding, Id};
use crate::suite::{Cases, ExitCode, Kind, Names, Ran, Reason, RunFailure, Source, endless};
use crate::turnstile::Stop;
use crate::under_test;

/// Columns of the text, but for what is to be copied in one piece.
const WIDTH: usize = 96;

/// Cases that are named of those that could not be tried for one reason.
const UNTRIED_MAX: usize = 8;

/// How much a case has that has to be read to understand it. Lower is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Weight {
    /// A fault struck that no real node has.
    forced: bool,
    /// Faults, holds, crashes and occurrences, and what the world has beyond a container in a pod.
    disturbances: usize,
    calls: usize,
    moments: u64,
}

/// The case that shows best what is wrong.
#[derive(Clone, Debug)]
struct Example {
    weight: Weight,
    what: String,
    /// What struck, what should have mended it, where it broke.
    moments: Vec<String>,
    /// Where in its file the case is disturbed: `FILE, line 12`.
    place: String,
    /// The command that tells every moment of it, in words.
    replay: Vec<String>,
}

/// An invariant, or what else a run can come to a bad end by.
#[derive(Clone, Debug, Default)]
struct Row {
    name: &'static str,
    /// Cases in which it was asked.
    asked: u64,
    broken: u64,
    example: Option<Example>,
}

impl Row {
    fn broken_by(&mut self, ran: &Ran, example: impl FnOnce(Weight) -> Example) {
        self.broken += 1;
        let weight = weight(ran);
        if self.example.as_ref().is_none_or(|best| weight < best.weight) {
            self.example = Some(example(weight));
        }
    }
}

/// What keeps a case from telling anything.
#[derive(Clone, Debug, Default)]
struct Untried {
    cases: u64,
    example: String,
}

/// What all cases of a profile came to.
#[derive(Clone, Debug)]
pub struct Survey {
    profile: &'static Profile,
    cases: u64,
    /// Cases that broke something.
    broken: u64,
    /// Cases that came out otherwise than their file says, and broke nothing.
    otherwise: u64,
    invariants: BTreeMap<Id, Row>,
    endless: Row,
    harness: Vec<String>,
    untried: BTreeMap<String, Untried>,
    exit_code: ExitCode,
}

impl Survey {
    /// Of no case yet.
    pub fn new(profile: &'static Profile) -> Self {
        Survey {
            profile,
            cases: 0,
            broken: 0,
            otherwise: 0,
            invariants: BTreeMap::new(),
            endless: Row::default(),
            harness: Vec::new(),
            untried: BTreeMap::new(),
            exit_code: ExitCode::Passed,
        }
    }

    /// Runs a case and adds it.
    pub fn try_case(&mut self, cases: &Cases<'_>, index: usize) {
        match cases.run(index, false) {
            Ok(ran) => self.add(cases.source, &ran),
            Err(failure) => self.add_failure(cases.source, &cases.name(index), &failure),
        }
    }

    /// Adds a case that was run.
    pub fn add(&mut self, source: &Source, ran: &Ran) {
        self.cases += 1;
        let (outcome, reasons) = (&ran.outcome, &ran.verdict.reasons);
        let names = Names::new(&ran.plan);
        if matches!(outcome.stop, Stop::NotSetUp(_)) || !outcome.wrong.is_empty() {
            return self.not_tried(source, ran);
        }
        let mut is_broken = false;
        for finding in &outcome.judgement.findings {
            let row = self.invariants.entry(finding.id).or_default();
            row.name = finding.name;
            row.asked += u64::from(finding.evaluated > 0);
            if let Some(first) = finding.violations.first() {
                is_broken = true;
                let what = names.text(&first.what);
                row.broken_by(ran, |weight| example(source, ran, weight, what, Some(finding)));
                self.exit_code = self.exit_code.max(Kind::Violation(finding.id).exit_code());
            }
        }
        self.endless.asked += 1;
        match &outcome.stop {
            stop @ (Stop::OverBudget | Stop::TooManyTasks) => {
                is_broken = true;
                let what = endless(stop, outcome.recording.moments);
                self.endless.broken_by(ran, |weight| example(source, ran, weight, what, None));
                self.exit_code = self.exit_code.max(Kind::OverBudget.exit_code());
            }
            Stop::Panicked { .. } => {
                self.exit_code = self.exit_code.max(Kind::Panicked.exit_code());
            }
            Stop::Idle | Stop::NotSetUp(_) => {}
        }
        let is_untried = |reason: &Reason| why_untried(reason).is_some();
        match is_broken {
            true => self.broken += 1,
            false if reasons.iter().any(is_untried) => self.not_tried(source, ran),
            false if !ran.verdict.passed() => self.otherwise += 1,
            false => {}
        }
    }

    fn not_tried(&mut self, source: &Source, ran: &Ran) {
        let why = ran.verdict.reasons.iter().find_map(why_untried);
        self.note_untried(why.unwrap_or_else(|| "it cannot be run".to_owned()), source);
    }

    fn note_untried(&mut self, why: String, source: &Source) {
        let untried = self.untried.entry(why).or_default();
        untried.cases += 1;
        if untried.example.is_empty() {
            untried.example = place(source, None);
        }
    }

    /// Adds a file whose sweeps have no case under the profile.
    pub fn add_stale(&mut self, source: &Source, reasons: &[Reason]) {
        if !reasons.is_empty() {
            self.cases += 1;
            let why = "the runtime does not come to what is swept over".to_owned();
            self.note_untried(why, source);
        }
    }

    /// Adds a case that has no outcome.
    pub fn add_failure(&mut self, source: &Source, case: &str, failure: &RunFailure) {
        self.cases += 1;
        match failure {
            RunFailure::Broken(what) => {
                self.harness.push(format!("{case}: {what}"));
                self.exit_code = self.exit_code.max(ExitCode::Software);
            }
            RunFailure::Wrong(_) => {
                self.note_untried("its file cannot be run".to_owned(), source);
            }
        }
    }

    fn untried_cases(&self) -> u64 {
        self.untried.values().map(|untried| untried.cases).sum()
    }

    /// 0: nothing was broken. Where nothing was tried, that says nothing.
    pub fn exit_code(&self) -> ExitCode {
        match self.exit_code {
            ExitCode::Passed if self.untried_cases() == self.cases => ExitCode::Failed,
            code => code,
        }
    }

    /// For a terminal, with styles.
    pub fn styled(&self) -> String {
        let mut page = Page(String::new());
        let Profile { name, what, .. } = self.profile;
        page.0.push_str(&format!("{BOLD}{}{BOLD:#}: {}\n", plain(name), plain(what)));
        let untried = self.untried_cases();
        let holding =
            self.cases - self.broken - self.otherwise - untried - self.harness.len() as u64;
        let parts = [
            (holding, "hold every invariant"),
            (self.broken, "break one or more"),
            (self.otherwise, "come out otherwise than their files say"),
            (untried, "could not be tried"),
        ];
        let parts = parts.iter().enumerate().filter(|(at, (count, _))| *at < 2 || *count > 0);
        let parts: Vec<String> =
            parts.map(|(_, (count, what))| format!("{} {what}", thousands(*count))).collect();
        let cases = if self.cases == 1 { "case" } else { "cases" };
        page.0.push_str(&format!("{} {cases}: {}\n", thousands(self.cases), parts.join(", ")));
        for (id, row) in self.invariants.iter().filter(|(_, row)| row.broken > 0) {
            page.row(&format!("{id} {}", row.name), row);
        }
        if self.endless.broken > 0 {
            page.row("a run without an end", &self.endless);
        }
        page.list(GOOD, "holds", &self.named(|row| row.broken == 0 && row.asked > 0));
        page.list(DIM, "never asked", &self.named(|row| row.asked == 0));
        for broken in &self.harness {
            page.0.push_str(&format!("\n{BAD}the harness broke{BAD:#} in {}\n", plain(broken)));
        }
        if untried > 0 {
            page.0.push_str(&format!("\n{BOLD}not tried{BOLD:#}\n"));
            let mut reasons: Vec<(&String, &Untried)> = self.untried.iter().collect();
            reasons.sort_by_key(|(why, untried)| (std::cmp::Reverse(untried.cases), *why));
            for (why, untried) in reasons.iter().take(UNTRIED_MAX) {
                page.wrapped(&format!("{:>7}  ", thousands(untried.cases)), why);
                page.0.push_str(&format!("         such as {}\n", untried.example));
            }
            if reasons.len() > UNTRIED_MAX {
                let rest = reasons[UNTRIED_MAX..].iter().map(|(_, untried)| untried.cases);
                let rest = thousands(rest.sum());
                page.0.push_str(&format!("{rest:>7}  for other reasons\n"));
            }
        }
        page.0
    }

    fn named(&self, of: impl Fn(&Row) -> bool) -> String {
        let named = self.invariants.iter().filter(|(_, row)| of(row));
        named.map(|(id, row)| format!("{id} {}", row.name)).collect::<Vec<_>>().join(", ")
    }
}

/// As on a terminal, without styles.
impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", anstream::adapter::strip_str(&self.styled()))
    }
}

/// Why a reason says nothing against the runtime, if it does not.
fn why_untried(reason: &Reason) -> Option<String> {
    match reason.kind {
        // That of a call begins with the call's name, that of a world says what it is.
        Kind::NotImplemented => {
            let what = &reason.what;
            Some(what.split_once(" needs ").map_or(what.clone(), |(_, lack)| lack.to_owned()))
        }
        Kind::NotApplied | Kind::NeverBegan => {
            Some("the runtime does not come to what the case disturbs or waits for".to_owned())
        }
        Kind::NotSetUp => Some(reason.what.clone()),
        _ => None,
    }
}

fn weight(ran: &Ran) -> Weight {
    let plan = &ran.plan;
    let (script, world) = (&plan.script, &ran.case.scenario.world);
    let limits = [world.disk.size.is_some(), world.disk.max_open_files.is_some()];
    let others = [world.containers.len(), world.sandboxes.len()].map(|many| many.saturating_sub(1));
    Weight {
        forced: ran.outcome.had_forced_fault(),
        disturbances: script.faults.len()
            + script.holds.len()
            + script.crashes.len()
            + plan.occurrences.len()
            + plan.clocks.len()
            + world.paths.len()
            + world.plugins.len()
            + world.runtimes.len()
            + limits.iter().filter(|is_there| **is_there).count()
            + others.iter().sum::<usize>(),
        calls: plan.calls.len() + plan.kubelets.len(),
        moments: ran.outcome.recording.moments,
    }
}

fn place(source: &Source, reason: Option<&Reason>) -> String {
    let line = reason.map(|reason| source.diagnostic(&reason.span, "").line);
    let line = line.map_or_else(String::new, |line| format!(", line {line}"));
    plain(&format!("{}{line}", source.file))
}

/// The options that are needed to say which case is meant.
fn replay(source: &Source, case: &str, profile: &Profile) -> Vec<String> {
    let mut words: Vec<String> =
        under_test::program_of(profile).split(' ').map(str::to_owned).collect();
    words.push("replay".to_owned());
    words.push(quoted(&source.file));
    if case != source.scenario.name {
        words.extend(["--case".to_owned(), quoted(case)]);
    }
    if profile != under_test::default_profile() {
        words.extend(["--profile".to_owned(), profile.name.to_owned()]);
    }
    words
}

fn example(
    source: &Source,
    ran: &Ran,
    weight: Weight,
    what: String,
    finding: Option<&Finding>,
) -> Example {
    let of_finding = |reason: &&Reason| match finding {
        Some(finding) => reason.kind == Kind::Violation(finding.id),
        None => reason.kind == Kind::OverBudget,
    };
    let reason = ran.verdict.reasons.iter().find(of_finding);
    Example {
        weight,
        what,
        moments: finding.map(|finding| moments_of(ran, finding)).unwrap_or_default(),
        place: place(source, reason),
        replay: replay(source, &ran.case.name, ran.outcome.profile),
    }
}

/// The text as it grows.
struct Page(String);

impl Page {
    fn row(&mut self, name: &str, row: &Row) {
        let count = format!("{} of {} cases", thousands(row.broken), thousands(row.asked));
        let space = WIDTH.saturating_sub(name.len() + count.len()).max(2);
        self.0.push_str(&format!("\n{BAD}{name}{BAD:#}{:space$}{count}\n", ""));
        let Some(example) = &row.example else { return };
        self.wrapped("  ", &example.what);
        if example.weight.forced {
            self.wrapped("  ", "only after a fault that no real node has");
        }
        for moment in &example.moments {
            self.wrapped("    ", moment);
        }
        self.0.push_str(&format!("    in       {}\n", example.place));
        self.command(&example.replay);
    }

    fn list(&mut self, style: anstyle::Style, name: &str, text: &str) {
        if !text.is_empty() {
            self.0.push_str(&format!("\n{style}{name}{style:#}\n"));
            self.wrapped("  ", text);
        }
    }

    /// A command that can be copied, on as many lines as it takes.
    fn command(&mut self, words: &[String]) {
        let indent = " ".repeat(4);
        let mut line = indent.clone();
        let mut at_start = true;
        for word in words {
            // The room for a backslash.
            if !at_start && line.chars().count() + 1 + word.chars().count() + 2 > WIDTH {
                self.0.push_str(&format!("{DIM}{} \\{DIM:#}\n", plain(&line)));
                line = format!("{indent}  ");
                at_start = true;
            }
            if !at_start {
                line.push(' ');
            }
            line.push_str(word);
            at_start = false;
        }
        self.0.push_str(&format!("{DIM}{}{DIM:#}\n", plain(&line)));
    }

    /// A paragraph behind a head, its other lines as far in; words that are too long stay whole.
    fn wrapped(&mut self, head: &str, text: &str) {
        let indent = " ".repeat(head.chars().count());
        let mut line = head.to_owned();
        let mut is_empty = true;
        for word in plain(text).split(' ') {
            if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.0.push_str(line.trim_end());
                self.0.push('\n');
                line.clone_from(&indent);
                is_empty = true;
            }
            if !is_empty {
                line.push(' ');
            }
            line.push_str(word);
            is_empty = false;
        }
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }
}
