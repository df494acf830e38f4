//! Seeded search: many runs, each with a strategy and a swarm of its own, on all cores.
//!
//! Runs are numbered, and the number with the seed is all that a run depends on, but for what the guided strategy
//! knows: what was covered up to the end of the round before. So the result is the same however many
//! workers there are.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the driver of a search spreads runs over threads and stops them by the clock; no run sees either"
)]

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use shakedown_cri::quirks::Profile;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::attempt::{Attempts, plan};
use super::coverage::{Covered, Seen};
use super::decisions::Entries;
use super::failure::Failure;
use super::search::{Log, Search};
use super::strategy::{Bound, Kind};
use super::symptom::{Broken, Signature, Symptom};
use crate::run::Plan;
use crate::scenario::Scenario;

/// Runs between two looks at what they brought.
const ROUND: u64 = 512;

/// How a search is made.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub profile: &'static Profile,
    pub seed: u64,
    pub bound: Bound,
    /// `None`: until the time is up.
    pub runs: Option<u64>,
    pub time: Option<Duration>,
    /// Threads.
    pub jobs: usize,
}

/// What a search brought so far.
#[derive(Debug, Default)]
pub struct Findings {
    pub runs: u64,
    pub moments: u64,
    /// Real time.
    pub took: Duration,
    /// Each with the number of runs that showed it.
    pub failures: Vec<(Failure, u64)>,
    pub covered: Covered,
    /// Promises of the harness that did not hold, each once.
    pub broken: Vec<String>,
    /// It was stopped before its runs or its time were used up.
    pub interrupted: bool,
}

/// Is told of each failure as it is found, and at the end of each round.
pub type News<'a, E> = dyn FnMut(&Findings, Option<&Failure>) -> Result<(), E> + 'a;

/// Numbers of runs, and what was covered before them.
struct Round {
    runs: Range<u64>,
    seen: Arc<Seen>,
}

/// What one run brought.
struct Report {
    run: u64,
    moments: u64,
    covered: Covered,
    symptoms: Vec<Symptom>,
    /// Of a run with symptoms: the tidy ones, and the exact ones.
    entries: [Entries; 2],
}

/// Searches scenarios without decisions.
///
/// # Errors
/// The first error of `news`.
pub fn hunt<E>(
    scenarios: &[Scenario],
    settings: &Settings,
    stop: &AtomicBool,
    news: &mut News<'_, E>,
) -> Result<Findings, E> {
    let began = Instant::now();
    let attempts = Attempts::new(settings.profile);
    let mut hunt =
        Hunt { scenarios, attempts, undisturbed: Vec::new(), found: Findings::default() };
    hunt.try_undisturbed(news)?;
    thread::scope(|scope| {
        let (reports, results) = channel();
        let workers: Vec<Sender<Round>> = (0..settings.jobs.max(1) as u64)
            .map(|worker| {
                let (rounds, to_do) = channel();
                let reports = reports.clone();
                scope.spawn(move || work(worker, scenarios, settings, &to_do, &reports));
                rounds
            })
            .collect();
        let mut seen = Arc::new(Seen::default());
        loop {
            hunt.found.took = began.elapsed();
            let left = settings.runs.map_or(ROUND, |runs| (runs - hunt.found.runs).min(ROUND));
            if left == 0 || settings.time.is_some_and(|time| hunt.found.took >= time) {
                break;
            }
            if stop.load(Ordering::Relaxed) {
                hunt.found.interrupted = true;
                break;
            }
            let runs = hunt.found.runs..hunt.found.runs + left;
            for worker in &workers {
                let round = Round { runs: runs.clone(), seen: seen.clone() };
                worker.send(round).expect("a worker lives as long as it gets rounds");
            }
            let each = workers.iter().flat_map(|_| results.recv().expect("a worker reports"));
            let mut of_round: Vec<Report> = each.collect();
            of_round.sort_unstable_by_key(|report| report.run);
            let covered = Arc::make_mut(&mut seen);
            for report in &of_round {
                covered.extend(report.covered.strikes.iter().chain(&report.covered.turns));
            }
            hunt.take(of_round, news)?;
            hunt.found.took = began.elapsed();
            news(&hunt.found, None)?;
        }
        Ok(hunt.found)
    })
}

/// A worker: every so manieth run of each round.
fn work(
    worker: u64,
    scenarios: &[Scenario],
    settings: &Settings,
    rounds: &Receiver<Round>,
    reports: &Sender<Vec<Report>>,
) {
    let attempts = Attempts::new(settings.profile);
    // Names are interned by thread, and so belong plans to one.
    let plans: Vec<Option<Rc<Plan>>> = scenarios.iter().map(plan).collect();
    let jobs = settings.jobs.max(1);
    while let Ok(round) = rounds.recv() {
        let mine = (round.runs).filter(|run| run % jobs as u64 == worker);
        let one = |run| {
            let (target, kind) = assignment(run, scenarios.len());
            let plan = plans[target].as_ref()?;
            Some(make(run, plan, kind, &attempts, settings, &round.seen))
        };
        // Nobody to report to: the search was ended.
        if reports.send(mine.filter_map(one).collect()).is_err() {
            return;
        }
    }
}

/// Which scenario a run is of, and which strategy decides.
fn assignment(run: u64, scenarios: usize) -> (usize, Kind) {
    let scenarios = scenarios as u64;
    let kinds = Kind::ALL.len() as u64;
    ((run % scenarios) as usize, Kind::ALL[(run / scenarios % kinds) as usize])
}

fn make(
    run: u64,
    plan: &Rc<Plan>,
    kind: Kind,
    attempts: &Attempts,
    settings: &Settings,
    seen: &Arc<Seen>,
) -> Report {
    let seed = xxh3_64_with_seed(&run.to_le_bytes(), settings.seed);
    let search = Search::new(kind, settings.bound, seed, seen);
    let log = search.log();
    let outcome = attempts.make(plan, search);
    let Log { decisions, mut covered } = log.take();
    covered.strikes.retain(|point| !seen.contains(point));
    covered.turns.retain(|point| !seen.contains(point));
    let (moments, symptoms, recording) = match outcome {
        Ok(outcome) => (outcome.recording.moments, Symptom::all(&outcome), Some(outcome.recording)),
        Err(broken) => (0, vec![broken], None),
    };
    let entries = match &symptoms[..] {
        [] => Default::default(),
        _ => {
            let recording = recording.unwrap_or_default();
            [true, false].map(|tidy| Entries::of(&decisions.script(&recording, tidy)))
        }
    };
    Report { run, moments, covered, symptoms, entries }
}

struct Hunt<'a> {
    scenarios: &'a [Scenario],
    attempts: Attempts,
    /// What breaks in each scenario by itself: no finding of a search that disturbs it.
    undisturbed: Vec<Vec<Broken>>,
    found: Findings,
}

impl Hunt<'_> {
    fn try_undisturbed<E>(&mut self, news: &mut News<'_, E>) -> Result<(), E> {
        for scenario in self.scenarios {
            let symptoms = plan(scenario).map(|p| self.attempts.symptoms(&p).0).unwrap_or_default();
            if let Some(first) = symptoms.first() {
                self.shrink(std::slice::from_ref(scenario), first, news)?;
            }
            self.undisturbed.push(symptoms.iter().map(|symptom| symptom.broken).collect());
        }
        Ok(())
    }

    fn take<E>(&mut self, reports: Vec<Report>, news: &mut News<'_, E>) -> Result<(), E> {
        for report in reports {
            self.found.runs += 1;
            self.found.moments += report.moments;
            self.found.covered.merge(report.covered);
            let target = assignment(report.run, self.scenarios.len()).0;
            if report.symptoms.is_empty() {
                continue;
            }
            let scenarios = report.entries.map(|e| e.put_into(&self.scenarios[target]));
            for symptom in &report.symptoms {
                if self.undisturbed[target].contains(&symptom.broken) {
                    continue;
                }
                let signature = Signature::new(symptom.broken, &scenarios[1]);
                if !self.count(&signature) {
                    self.shrink(&scenarios, symptom, news)?;
                }
            }
        }
        Ok(())
    }

    /// Counts a run towards the failure that explains it, if one does.
    fn count(&mut self, signature: &Signature) -> bool {
        let known = self.found.failures.iter_mut().find(|(failure, _)| {
            failure.signatures().any(|known| signature.is_explained_by(&known))
        });
        known.map(|(_, runs)| *runs += 1).is_some()
    }

    fn shrink<E>(
        &mut self,
        scenarios: &[Scenario],
        symptom: &Symptom,
        news: &mut News<'_, E>,
    ) -> Result<(), E> {
        match Failure::new(&self.attempts, scenarios, symptom) {
            Ok(failure) => {
                if !self.count(&failure.signature) {
                    news(&self.found, Some(&failure))?;
                    self.found.failures.push((failure, 1));
                }
            }
            Err(broken) => {
                if !self.found.broken.contains(&broken) {
                    self.found.broken.push(broken);
                }
            }
        }
        Ok(())
    }
}
