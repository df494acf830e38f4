//! Exhaustive search: every plan of faults within a bound, under every schedule within another.
//!
//! The first deviation from the undisturbed run splits the tree into branches, which do not depend on each
//! other: workers and shards take them one by one, and no count depends on who did.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the driver of a search spreads branches over threads and times them; no run sees either"
)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use shakedown_cri::quirks::Profile;

use super::attempt::{Attempts, plan};
use super::decisions::Entries;
use super::exhaustive::{Exhaustive, Path, Turn};
use super::failure::Failure;
use super::ledger::{Findings, Ledger};
use super::strategy::Bound;
use super::symptom::{Signature, Symptom};
use crate::run::Plan;
use crate::scenario::Scenario;

/// How a scenario is checked.
#[derive(Clone, Copy, Debug)]
pub struct Checking {
    pub profile: &'static Profile,
    pub bound: Bound,
    /// Threads.
    pub jobs: usize,
    /// Which of how many parts of the branches, from 0.
    pub shard: (usize, usize),
}

/// What was covered of one scenario, and what it brought.
#[derive(Debug, Default)]
pub struct Certificate {
    /// Sets of faults, each once however many schedules it was run under.
    pub plans: u64,
    pub runs: u64,
    pub moments: u64,
    pub branches: usize,
    /// Branches that were not finished. Any, and the certificate is none.
    pub cut: usize,
    pub took: Duration,
    pub findings: Findings,
}

impl Certificate {
    /// All that is within the bound was done.
    pub fn is_complete(&self) -> bool {
        self.cut == 0 && self.findings.broken.is_empty()
    }
}

/// The paths that begin with the same turns.
type Branch = Vec<Turn>;

/// What one branch brought.
#[derive(Default)]
struct Report {
    plans: u64,
    runs: u64,
    moments: u64,
    cut: bool,
    /// For each signature the first run that showed it, and how many did.
    found: BTreeMap<Signature, (Symptom, [Entries; 2], u64)>,
}

/// Checks a scenario without decisions. `tell` is told of each failure as it is found, in the order of the
/// branches, and of each branch that is done.
///
/// # Errors
/// The first error of `tell`.
pub fn check<E>(
    scenario: &Scenario,
    checking: &Checking,
    stop: &AtomicBool,
    mut tell: impl FnMut(&Certificate, Option<&Failure>) -> Result<(), E>,
) -> Result<Certificate, E> {
    let began = Instant::now();
    let attempts = Attempts::new(checking.profile);
    let mut ledger = Ledger::new(attempts.clone());
    let mut certificate = Certificate::default();
    if let Some(failure) = ledger.undisturbed(scenario) {
        tell(&certificate, Some(failure))?;
    }
    let branches = branches(scenario, checking, &attempts);
    certificate.branches = branches.len();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (reports, results) = channel();
        for _ in 0..checking.jobs.max(1) {
            let (reports, branches, next) = (reports.clone(), &branches, &next);
            scope.spawn(move || {
                let attempts = Attempts::new(checking.profile);
                let Some(plan) = plan(scenario) else { return };
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(branch) = branches.get(number) else { return };
                    let report = walk(branch, &plan, &attempts, checking.bound, stop);
                    // Nobody to report to: the check was ended.
                    if reports.send((number, report)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(reports);
        let mut waiting = BTreeMap::new();
        let mut expected = 0;
        for (number, report) in results {
            waiting.insert(number, report);
            while let Some(report) = waiting.remove(&expected) {
                expected += 1;
                let Report { plans, runs, moments, cut, found } = report;
                certificate.plans += plans;
                certificate.runs += runs;
                certificate.moments += moments;
                certificate.cut += usize::from(cut);
                for (symptom, entries, runs) in found.into_values() {
                    let decided = entries.map(|entries| entries.put_into(scenario));
                    if let Some(failure) = ledger.take(0, &symptom, &decided, runs) {
                        tell(&certificate, Some(failure))?;
                    }
                }
                tell(&certificate, None)?;
            }
        }
        Ok(())
    })?;
    certificate.findings = ledger.findings;
    certificate.took = began.elapsed();
    Ok(certificate)
}

/// The branches of a shard: the undisturbed run, and one for each way to deviate from it first.
fn branches(scenario: &Scenario, checking: &Checking, attempts: &Attempts) -> Vec<Branch> {
    let path = Rc::new(RefCell::new(Path::default()));
    if let Some(plan) = plan(scenario) {
        // What breaks in it, the branch of the undisturbed run tells.
        let _ = attempts.make(&plan, Exhaustive::new(path.clone(), checking.bound));
    }
    let undisturbed = path.take().turns;
    let deviations = (0..undisturbed.len()).flat_map(|at| {
        let to_there = &undisturbed[..=at];
        (1..undisturbed[at].options).map(move |taken| {
            let mut branch = to_there.to_vec();
            branch[at].taken = taken;
            branch
        })
    });
    let all = std::iter::once(undisturbed.clone()).chain(deviations);
    let (shard, shards) = checking.shard;
    let mine = all.enumerate().filter(|(number, _)| number % shards == shard);
    mine.map(|(_, branch)| branch).collect()
}

/// Makes every run of a branch.
fn walk(
    branch: &Branch,
    plan: &Rc<Plan>,
    attempts: &Attempts,
    bound: Bound,
    stop: &AtomicBool,
) -> Report {
    let path = Rc::new(RefCell::new(Path::new(branch.clone())));
    let mut report = Report::default();
    loop {
        if stop.load(Ordering::Relaxed) {
            report.cut = true;
            return report;
        }
        let outcome = attempts.make(plan, Exhaustive::new(path.clone(), bound));
        let mut path = path.borrow_mut();
        report.runs += 1;
        report.plans += u64::from(path.delays == 0);
        let (symptoms, recording) = match outcome {
            Ok(outcome) => (Symptom::all(&outcome), outcome.recording),
            Err(broken) => (vec![broken], Default::default()),
        };
        report.moments += recording.moments;
        for symptom in symptoms {
            let entries =
                [true, false].map(|tidy| Entries::of(&path.decisions.script(&recording, tidy)));
            let signature = Signature::of_entries(symptom.broken, &entries[1]);
            report.found.entry(signature).or_insert((symptom, entries, 0)).2 += 1;
        }
        if !path.advance(branch.len()) {
            return report;
        }
    }
}
