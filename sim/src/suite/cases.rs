//! The cases of a file under a profile, and running them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;

use shakedown_cri::quirks::Profile;

use super::check::{Subject, check};
use super::guard::guarded;
use super::source::Source;
use super::sweep;
use super::verdict::{Kind, Reason, Verdict};
use crate::engine::Engine;
use crate::invariants::{Id, Ids};
use crate::oracle::Menus;
use crate::run::{Options, Outcome, Plan, RunError, run};
use crate::scenario::{Case, Diagnostic, Expansion, Fault, Filter, Span, expand};
use crate::turnstile::Awaited;

/// Entries of a file that are told when they name values that its sweeps do not have.
const STALE_MAX: usize = 5;

/// What all runs of a process share.
#[derive(Clone, Default)]
pub struct Runner {
    menus: Rc<Menus>,
    engine: Engine,
    without: Vec<Id>,
}

/// The cases of a file under one profile: the values of a sweep depend on what the profile does.
pub struct Cases<'s> {
    pub source: &'s Source,
    pub profile: &'static Profile,
    /// Sweeps of the file that are empty, or its entries that name values which the sweeps of this run do
    /// not have: the code under test does something else than when they were written. The file as a whole
    /// has failed.
    pub stale: Vec<Reason>,
    expansion: Expansion<'s>,
    runner: Runner,
}

/// A case that was run, and the verdict on it.
pub struct Ran {
    pub case: Case,
    pub plan: Rc<Plan>,
    pub outcome: Outcome,
    pub verdict: Verdict,
}

/// Why a case has no outcome.
#[derive(Debug)]
pub enum RunFailure {
    /// Something in the file cannot be run.
    Wrong(Vec<Diagnostic>),
    /// The harness broke an assumption of its own.
    Broken(String),
}

impl Runner {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn on(engine: Engine) -> Self {
        Runner { engine, ..Self::default() }
    }

    /// Takes invariants out of the judge: what they say is neither asked nor expected.
    #[must_use]
    pub fn without(self, ids: &[Id]) -> Self {
        Runner { without: ids.to_vec(), ..self }
    }

    fn run(&self, plan: &Rc<Plan>, options: Options) -> Result<Outcome, String> {
        let (menus, engine) = (self.menus.clone(), self.engine);
        let judge = self.without.iter().fold(options.judge, |ids, id| ids.without(*id));
        let options = Options { menus, engine, judge, ..options };
        guarded(&plan.case, || run(plan, &options))
    }

    /// Expands a file. A file with a sweep is run once for the sweep's values.
    ///
    /// # Errors
    /// What of the file cannot be expanded.
    pub fn cases<'s>(
        &self,
        source: &'s Source,
        profile: &'static Profile,
    ) -> Result<Cases<'s>, RunFailure> {
        let scenario = &source.scenario;
        let base = if sweep::has_sweep(scenario) {
            let plan = sweep::plan(scenario).map_err(|errors| wrong(source, &errors, None))?;
            let options = Options { calls: true, judge: Ids::NONE, ..Options::of(profile) };
            Some(self.run(&plan, options).map_err(RunFailure::Broken)?)
        } else {
            None
        };
        let values = |axis: &crate::scenario::Axis| {
            let recording = base.as_ref().map(|outcome| &outcome.recording);
            recording.map_or_else(Vec::new, |r| sweep::values(axis, scenario, r))
        };
        let calls = base.as_ref().and_then(|outcome| outcome.recording.calls.as_ref());
        let calls = calls.into_iter().flatten().map(|(site, awaited)| (site.to_string(), *awaited));
        let calls: BTreeMap<String, Awaited> = calls.collect();
        let fits = |fault: &Fault| sweep::fits(fault, &calls);
        let expansion = expand(scenario, &values, &fits).map_err(|many| {
            let span = scenario.matrix.first().map_or(0..0, |axis| axis.span.0.clone());
            RunFailure::Wrong(vec![source.diagnostic(&span, many.to_string())])
        })?;
        let axes = scenario.matrix.iter().zip(expansion.axes());
        let empty = axes.filter(|(_, resolved)| resolved.values.is_empty());
        let empty = empty.zip(base.as_ref()).map(|((axis, _), base)| {
            let (message, help) = sweep::emptiness(axis, &base.recording);
            Reason::new(Kind::Expectation, &axis.span.0, message).help(help)
        });
        let stale: Vec<Reason> = empty.collect();
        if !stale.is_empty() {
            return Ok(Cases { source, profile, stale, expansion, runner: self.clone() });
        }
        let mut stale = Vec::new();
        let mut misfits = |filter: &Filter, span: &Span| {
            let each = filter.misfits(expansion.axes()).into_iter();
            stale.extend(each.map(|message| {
                let help = "a sweep has the moments that the run comes to: the entry is mistaken, \
                            or the code under test does something else now";
                Reason::new(Kind::Expectation, &span.0, message).help(help)
            }));
        };
        for entry in scenario.expects.iter().filter(|entry| entry.is_about(profile)) {
            misfits(&entry.filter, &entry.span);
        }
        for entry in scenario.violations.iter().filter(|entry| entry.is_about(profile)) {
            misfits(&entry.filter, &entry.span);
        }
        let more = stale.len().saturating_sub(STALE_MAX);
        stale.truncate(STALE_MAX);
        if let Some(last) = stale.last_mut().filter(|_| more > 0) {
            last.help = Some(format!("{more} more such entries are not shown"));
        }
        Ok(Cases { source, profile, stale, expansion, runner: self.clone() })
    }
}

/// Where an error is: the text that is to blame, if the entry has it as it is.
fn place(source: &Source, error: &RunError) -> Range<usize> {
    let find = |text: &String| {
        let entry = source.text.get(error.span.clone())?;
        let from = error.span.end;
        // An entry's span is its head; its keys follow it until the next one's.
        let rest = source.text.get(from..)?;
        let keys = &rest[..rest.find(&format!("\n{entry}")).unwrap_or(rest.len())];
        let at = from + keys.find(&format!("\"{text}\""))?;
        Some(at..at + text.len() + 2)
    };
    error.text.as_ref().and_then(find).unwrap_or_else(|| error.span.clone())
}

/// Diagnostics for what cannot be run; `case` says in which case.
fn wrong(source: &Source, errors: &[RunError], case: Option<&str>) -> RunFailure {
    let each = errors.iter().map(|error| {
        let span = place(source, error);
        let diagnostic = source.diagnostic(&span, error.message.clone());
        let diagnostic = match &error.help {
            Some(help) => diagnostic.help(help.clone()),
            None => diagnostic,
        };
        match case {
            Some(case) => diagnostic.note(format!("in the case {case}")),
            None => diagnostic,
        }
    });
    RunFailure::Wrong(each.collect())
}

impl Cases<'_> {
    pub fn len(&self) -> usize {
        self.expansion.len()
    }

    pub fn is_empty(&self) -> bool {
        self.expansion.is_empty()
    }

    pub fn axes(&self) -> &[crate::scenario::ResolvedAxis] {
        self.expansion.axes()
    }

    /// `index`: 0 to [`Cases::len`].
    pub fn name(&self, index: usize) -> String {
        self.expansion.name(index)
    }

    pub fn case(&self, index: usize) -> Case {
        self.expansion.case(index)
    }

    pub fn values(&self, index: usize) -> &[(String, String)] {
        self.expansion.values(index)
    }

    fn plan(&self, case: &Case) -> Result<Rc<Plan>, RunFailure> {
        let name = (!case.values.is_empty()).then_some(&*case.name);
        Plan::new(case).map(Rc::new).map_err(|errors| wrong(self.source, &errors, name))
    }

    /// What is wrong with the given cases, each fault of the file once.
    pub fn diagnose(&self, indices: &[usize]) -> Vec<Diagnostic> {
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for index in indices {
            if let Err(RunFailure::Wrong(diagnostics)) = self.plan(&self.expansion.case(*index)) {
                for diagnostic in diagnostics {
                    let span = (diagnostic.span.start, diagnostic.span.end);
                    if seen.insert(span) {
                        found.push(diagnostic);
                    }
                }
            }
        }
        found
    }

    /// Runs one case and judges it. `logs`: with what the service logs.
    ///
    /// # Errors
    /// When the case cannot be run, or the harness broke.
    pub fn run(&self, index: usize, logs: bool) -> Result<Ran, RunFailure> {
        self.run_with(index, Options { logs, ..Options::of(self.profile) })
    }

    /// As [`Cases::run`], with the node after each moment and what the service logs: for a page.
    ///
    /// # Errors
    /// As [`Cases::run`].
    pub fn film(&self, index: usize) -> Result<Ran, RunFailure> {
        self.run_with(index, Options { logs: true, film: true, ..Options::of(self.profile) })
    }

    fn run_with(&self, index: usize, options: Options) -> Result<Ran, RunFailure> {
        let case = self.expansion.case(index);
        let plan = self.plan(&case)?;
        let outcome = self.runner.run(&plan, options).map_err(RunFailure::Broken)?;
        let subject = Subject { case: &case, axes: self.axes(), plan: &plan, outcome: &outcome };
        let verdict = check(&subject);
        Ok(Ran { case, plan, outcome, verdict })
    }
}
