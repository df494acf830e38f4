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
use std::io;
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
use super::findings::{Collector, Findings};
use super::kept::{Branch, Found, Kept};
use super::strategy::Bound;
use super::symptom::{Signature, Symptom};
use crate::invariants::Ids;
use crate::run::Plan;
use crate::scenario::{Scenario, print};
use xxhash_rust::xxh3::xxh3_128;

/// How a scenario is checked.
#[derive(Clone, Copy, Debug)]
pub struct Checking {
    pub profile: &'static Profile,
    pub judge: Ids,
    pub bound: Bound,
    /// Threads.
    pub jobs: usize,
    /// Which of how many parts of the branches, from 0.
    pub shard: (usize, usize),
    /// Of the build: what another one did is not gone on from.
    pub build: u64,
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
    /// Of the branches those that an earlier process had finished.
    pub resumed: usize,
    /// Real time, that of earlier processes included.
    pub took: Duration,
    pub findings: Findings,
}

impl Certificate {
    /// All that is within the bound was done.
    pub fn is_complete(&self) -> bool {
        self.cut == 0 && self.findings.broken.is_empty()
    }
}

/// The turns that the paths of a branch begin with.
type Root = Vec<Turn>;

/// Why a check was given up.
#[derive(Debug)]
pub enum CheckError<E> {
    /// What is done cannot be kept.
    Kept(io::Error),
    /// Somebody who was told refused.
    Told(E),
}

/// Checks a scenario without decisions. `tell` is told of each failure as it is found, in the order of the
/// branches, and of each branch that is done. Branches that `kept` has are not walked again, and
/// those that are walked are kept there.
///
/// # Errors
/// The first of keeping what is done, and of `tell`.
pub fn check<E>(
    scenario: &Scenario,
    checking: &Checking,
    stop: &AtomicBool,
    mut kept: Option<&mut Kept>,
    mut tell: impl FnMut(&Certificate, Option<&Failure>) -> Result<(), E>,
) -> Result<Certificate, CheckError<E>> {
    let mut tell = |certificate: &Certificate, failure: Option<&Failure>| {
        tell(certificate, failure).map_err(CheckError::Told)
    };
    let began = Instant::now();
    let attempts = Attempts::new(checking.profile).asking(checking.judge);
    let mut collector = Collector::new(attempts.clone());
    let mut certificate = Certificate::default();
    if let Some(failure) = collector.undisturbed(scenario) {
        tell(&certificate, Some(failure))?;
    }
    let branches = branches(scenario, checking, &attempts);
    certificate.branches = branches.len();
    let key = key(scenario, checking);
    let (done, took) = kept.as_ref().map(|kept| kept.of(&key, scenario)).unwrap_or_default();
    certificate.resumed = done.len();
    let earlier = Duration::from_secs_f64(took);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (reports, results) = channel();
        for _ in 0..checking.jobs.max(1) {
            let (reports, branches, next, done) = (reports.clone(), &branches, &next, &done);
            scope.spawn(move || {
                let attempts = Attempts::new(checking.profile).asking(checking.judge);
                let Some(plan) = plan(scenario) else { return };
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(branch) = branches.get(number) else { return };
                    let report = match done.get(&number) {
                        Some(_) => None,
                        None => {
                            Some(walk(branch, scenario, &plan, &attempts, checking.bound, stop))
                        }
                    };
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
            let took = earlier + began.elapsed();
            if let (Some(kept), Some((branch, false))) = (&mut kept, &report) {
                let kept = kept.keep(&key, number, took.as_secs_f64(), branch);
                kept.map_err(CheckError::Kept)?;
            }
            let (branch, cut) = report.unwrap_or_else(|| (done[&number].clone(), false));
            waiting.insert(number, (branch, cut));
            while let Some((branch, cut)) = waiting.remove(&expected) {
                expected += 1;
                let Branch { plans, runs, moments, found } = branch;
                certificate.plans += plans;
                certificate.runs += runs;
                certificate.moments += moments;
                certificate.cut += usize::from(cut);
                for Found { symptom, decided, runs } in found {
                    if let Some(failure) = collector.take(0, &symptom, &decided, runs) {
                        tell(&certificate, Some(failure))?;
                    }
                }
                tell(&certificate, None)?;
            }
        }
        Ok(())
    })?;
    certificate.findings = collector.findings;
    certificate.took = earlier + began.elapsed();
    Ok(certificate)
}

/// All that decides what a branch of this number brings.
fn key(scenario: &Scenario, checking: &Checking) -> String {
    let Checking { profile, judge, bound, shard, build, .. } = checking;
    let text = format!(
        "{build:x} {} {judge:?} {bound:?} {shard:?} {}\n{}",
        profile.name,
        scenario.name,
        print(scenario)
    );
    format!("{:032x}", xxh3_128(text.as_bytes()))
}

/// The branches of a shard: the undisturbed run, and one for each way to deviate from it first.
fn branches(scenario: &Scenario, checking: &Checking, attempts: &Attempts) -> Vec<Root> {
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

/// Makes every run of a branch. True: it was cut short.
fn walk(
    root: &Root,
    scenario: &Scenario,
    plan: &Rc<Plan>,
    attempts: &Attempts,
    bound: Bound,
    stop: &AtomicBool,
) -> (Branch, bool) {
    let path = Rc::new(RefCell::new(Path::new(root.clone())));
    let mut branch = Branch::default();
    // For each signature the first run that showed it, and how many did.
    let mut found: BTreeMap<Signature, Found> = BTreeMap::new();
    let cut = loop {
        if stop.load(Ordering::Relaxed) {
            break true;
        }
        let outcome = attempts.make(plan, Exhaustive::new(path.clone(), bound));
        let mut path = path.borrow_mut();
        branch.runs += 1;
        branch.plans += u64::from(path.delays == 0);
        let (symptoms, recording) = match outcome {
            Ok(outcome) => (Symptom::all(&outcome), outcome.recording),
            Err(broken) => (vec![broken], Default::default()),
        };
        branch.moments += recording.moments;
        for symptom in symptoms {
            let entries =
                [true, false].map(|tidy| Entries::of(&path.decisions.script(&recording, tidy)));
            let signature = Signature::of_entries(symptom.broken, &entries[1]);
            let first = || Found {
                symptom,
                decided: entries.map(|entries| entries.put_into(scenario)),
                runs: 0,
            };
            found.entry(signature).or_insert_with(first).runs += 1;
        }
        if !path.advance(root.len()) {
            break false;
        }
    };
    branch.found = found.into_values().collect();
    (branch, cut)
}
