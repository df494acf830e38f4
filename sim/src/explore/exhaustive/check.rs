//! The driver of an exhaustive search.
//!
//! The first deviation from the undisturbed run splits the tree into branches, which do not depend on each
//! other: workers and shards take them one by one, and no count depends on who did.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the driver of a search spreads branches over threads and times them; no run sees either"
)]

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use shakedown_cri::quirks::Profile;

use super::kept::{Branch, Found, Kept};
use super::states::States;
use super::walk::{Node, Tree};
use crate::explore::attempt::{Attempts, plan};
use crate::explore::decisions::{Bound, Entries};
use crate::explore::failing::{Collector, Failure, Findings};
use crate::explore::symptom::{Signature, Symptom};
use crate::invariants::Ids;
use crate::run::{Outcome, Plan};
use crate::scenario::{Scenario, print};
use crate::turnstile::Recording;
use xxhash_rust::xxh3::xxh3_128;

/// How a scenario is checked.
#[derive(Clone, Copy, Debug)]
pub struct Checking {
    pub profile: &'static Profile,
    pub judge: Ids,
    pub bound: Bound,
    /// Leave out what is known to bring the same as another run.
    pub merges: bool,
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
    /// Those in which the runs came to rest.
    pub states: States,
    /// Runs that were not made, as they bring what another one does.
    pub merged: u64,
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
    let mut collector = Collector::new(attempts(checking));
    let mut certificate = Certificate::default();
    if let Some(failure) = collector.undisturbed(scenario) {
        tell(&certificate, Some(failure))?;
    }
    let shared = plan(scenario);
    let count = shared
        .as_ref()
        .map_or(0, |plan| branches(&tree(plan, checking, &merging(checking, plan))).len());
    let (shard, shards) = checking.shard;
    certificate.branches = (shard..count).step_by(shards).len();
    let key = key(scenario, checking);
    let (done, took) = kept.as_ref().map(|kept| kept.of(&key, scenario)).unwrap_or_default();
    certificate.resumed = done.len();
    let earlier = Duration::from_secs_f64(took);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (reports, results) = channel();
        for _ in 0..checking.jobs.max(1) {
            let (reports, next, done) = (reports.clone(), &next, &done);
            scope.spawn(move || {
                let Some(plan) = plan(scenario) else { return };
                let attempts = merging(checking, &plan);
                let tree = tree(&plan, checking, &attempts);
                // Names belong to a thread: each finds the branches for itself.
                let roots = self::branches(&tree);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(root) = roots.get(shard + number * shards) else { return };
                    let report = match done.get(&number) {
                        Some(_) => None,
                        None => Some(walk(root, scenario, &tree, stop)),
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
                let Branch { plans, runs, moments, states, merged, found } = branch;
                certificate.plans += plans;
                certificate.runs += runs;
                certificate.moments += moments;
                certificate.states.extend(states);
                certificate.merged += merged;
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
    let Checking { profile, judge, bound, merges, shard, build, .. } = checking;
    let text = format!(
        "{build:x} {} {judge:?} {bound:?} {merges} {shard:?} {}\n{}",
        profile.name,
        scenario.name,
        print(scenario)
    );
    format!("{:032x}", xxh3_128(text.as_bytes()))
}

fn attempts(checking: &Checking) -> Attempts {
    Attempts::new(checking.profile).asking(checking.judge)
}

/// For a tree of this plan.
fn merging(checking: &Checking, plan: &Rc<Plan>) -> Attempts {
    let attempts = attempts(checking);
    if checking.merges { attempts.merging(plan) } else { attempts }
}

/// What is wrong with a run, and of one with which something is, what happened.
#[derive(Default)]
struct Judged {
    symptoms: Vec<Symptom>,
    recording: Recording,
    moments: u64,
    state: Option<u64>,
}

impl Judged {
    fn of(outcome: Result<Outcome, Symptom>) -> Judged {
        let (symptoms, mut recording, state) = match outcome {
            Ok(outcome) => (Symptom::all(&outcome), outcome.recording, outcome.state),
            Err(broken) => (vec![broken], Recording::default(), None),
        };
        let moments = recording.moments;
        if symptoms.is_empty() {
            recording = Recording::default();
        }
        Judged { symptoms, recording, moments, state }
    }
}

fn tree<'a>(plan: &'a Rc<Plan>, checking: &Checking, attempts: &'a Attempts) -> Tree<'a, Judged> {
    let (bound, merges) = (checking.bound, checking.merges && attempts.can_merge(plan));
    Tree { plan, attempts, bound, merges, read: &Judged::of }
}

/// The undisturbed run, and each with one decision more.
fn branches(tree: &Tree<'_, Judged>) -> Vec<Node<Judged>> {
    let mut further = Vec::new();
    // What breaks in it, the branch of the undisturbed run tells.
    let _ = tree.make(Node::default(), &mut further);
    std::iter::once(Node::default()).chain(further.iter().map(Node::again)).collect()
}

/// Makes every run of a branch. True: it was cut short.
fn walk(
    root: &Node<Judged>,
    scenario: &Scenario,
    tree: &Tree<'_, Judged>,
    stop: &AtomicBool,
) -> (Branch, bool) {
    let mut branch = Branch::default();
    // For each signature the first run that showed it, and how many did.
    let mut found: BTreeMap<Signature, Found> = BTreeMap::new();
    let mut ahead = vec![root.again()];
    let mut further = Vec::new();
    while let Some(node) = ahead.pop() {
        if stop.load(Ordering::Relaxed) {
            return (branch, true);
        }
        let made = tree.make(node, &mut further);
        // What comes of the undisturbed run are branches of their own.
        if root.is_undisturbed() {
            further.clear();
        }
        ahead.extend(further.drain(..).rev());
        branch.runs += 1;
        branch.plans += u64::from(made.is_plan());
        branch.merged += made.merged;
        let Judged { symptoms, recording, moments, state } = made.read;
        let decisions = made.trail.decisions;
        branch.moments += moments;
        branch.states.note(state);
        for symptom in symptoms {
            let entries =
                [true, false].map(|tidy| Entries::of(&decisions.script(&recording, tidy)));
            let signature = Signature::of_entries(symptom.broken, &entries[1]);
            let first = || Found {
                symptom,
                decided: entries.map(|entries| entries.put_into(scenario)),
                runs: 0,
            };
            found.entry(signature).or_insert_with(first).runs += 1;
        }
    }
    branch.found = found.into_values().collect();
    (branch, false)
}
