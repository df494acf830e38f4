//! Seeded search: many runs, each with a strategy and a swarm of its own, on all cores.
//!
//! Runs are numbered, and the number with the seed is all that a run depends on, but for what the guided strategy
//! knows: what was covered up to the end of the round before. So the result is the same however many
//! workers there are. Shards make different runs, and all of them make all; each has a guided strategy that
//! knows its own.

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
use super::findings::{Collector, Findings};
use super::search::{Log, Search};
use super::strategy::{Bound, Kind};
use super::symptom::Symptom;
use crate::invariants::Ids;
use crate::run::Plan;
use crate::scenario::Scenario;
use crate::suite::Ledger;

/// Runs between two looks at what they brought.
pub(super) const ROUND: u64 = 512;

/// How a search is made.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub profile: &'static Profile,
    pub judge: Ids,
    pub seed: u64,
    pub bound: Bound,
    /// `None`: until the time is up.
    pub runs: Option<u64>,
    pub time: Option<Duration>,
    /// Threads.
    pub jobs: usize,
    /// Which of how many parts of the runs, from 0.
    pub shard: (usize, usize),
}

/// What a search did so far, beside what it found.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    pub runs: u64,
    pub moments: u64,
    /// Real time.
    pub took: Duration,
    pub covered: Covered,
    pub ledger: Ledger,
    /// It was stopped before its runs or its time were used up.
    pub interrupted: bool,
}

/// Something to tell while a search goes on.
pub enum News<'a> {
    Found(&'a Failure),
    /// The end of a round, and how many signatures there are.
    Round(&'a Progress, usize),
}

/// Numbers of runs, and what was covered before them.
struct Round {
    runs: Range<u64>,
    seen: Arc<Seen>,
}

/// What one run brought.
pub(super) struct Report {
    run: u64,
    moments: u64,
    pub covered: Covered,
    /// Each with the decisions, the tidy ones and the exact ones.
    pub symptoms: Vec<(Symptom, [Entries; 2])>,
}

/// Searches scenarios without decisions.
///
/// # Errors
/// The first error of `tell`.
pub fn hunt<E>(
    scenarios: &[Scenario],
    settings: &Settings,
    stop: &AtomicBool,
    mut tell: impl FnMut(News<'_>) -> Result<(), E>,
) -> Result<(Progress, Findings), E> {
    let began = Instant::now();
    let mut collector = Collector::new(Attempts::new(settings.profile).asking(settings.judge));
    let mut progress = Progress::default();
    for scenario in scenarios {
        if let Some(failure) = collector.undisturbed(scenario) {
            tell(News::Found(failure))?;
        }
    }
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
        let mut next = 0;
        loop {
            progress.took = began.elapsed();
            let left = settings.runs.map_or(ROUND, |runs| (runs - next).min(ROUND));
            if left == 0 || settings.time.is_some_and(|time| progress.took >= time) {
                break;
            }
            if stop.load(Ordering::Relaxed) {
                progress.interrupted = true;
                break;
            }
            let runs = next..next + left;
            next += left;
            for worker in &workers {
                let round = Round { runs: runs.clone(), seen: seen.clone() };
                worker.send(round).expect("a worker lives as long as it gets rounds");
            }
            let each = workers.iter().map(|_| results.recv().expect("a worker reports"));
            let mut of_round = Vec::new();
            for (reports, ledger) in each {
                of_round.extend(reports);
                progress.ledger.merge(&ledger);
            }
            of_round.sort_unstable_by_key(|report| report.run);
            let covered = Arc::make_mut(&mut seen);
            for report in of_round {
                progress.runs += 1;
                progress.moments += report.moments;
                covered.extend(report.covered.strikes.iter().chain(&report.covered.turns));
                progress.covered.merge(report.covered);
                let number = assignment(report.run, scenarios.len()).0;
                for (symptom, entries) in &report.symptoms {
                    let decided = entries.each_ref().map(|e| e.put_into(&scenarios[number]));
                    if let Some(failure) = collector.take(number, symptom, &decided, 1) {
                        tell(News::Found(failure))?;
                    }
                }
            }
            progress.took = began.elapsed();
            tell(News::Round(&progress, collector.findings.failures.len()))?;
        }
        Ok((progress, collector.findings))
    })
}

/// A worker: every so manieth run of each round, of those of the shard.
fn work(
    worker: u64,
    scenarios: &[Scenario],
    settings: &Settings,
    rounds: &Receiver<Round>,
    reports: &Sender<(Vec<Report>, Ledger)>,
) {
    let attempts = Attempts::new(settings.profile).asking(settings.judge);
    // Names are interned by thread, and so belong plans to one.
    let plans: Vec<Option<Rc<Plan>>> = scenarios.iter().map(plan).collect();
    let jobs = settings.jobs.max(1) as u64;
    let (shard, shards) = (settings.shard.0 as u64, settings.shard.1 as u64);
    while let Ok(round) = rounds.recv() {
        let of_shard = (round.runs).filter(|run| run % shards == shard);
        let mine = of_shard.filter(|run| run / shards % jobs == worker);
        let mut ledger = Ledger::default();
        let one = |run| {
            let (target, kind) = assignment(run, scenarios.len());
            let plan = plans[target].as_ref()?;
            Some(make(run, plan, kind, &attempts, settings, &round.seen, &mut ledger))
        };
        let of_round = mine.filter_map(one).collect();
        // Nobody to report to: the search was ended.
        if reports.send((of_round, ledger)).is_err() {
            return;
        }
    }
}

/// Which scenario a run is of, and which strategy decides.
pub(super) fn assignment(run: u64, scenarios: usize) -> (usize, Kind) {
    let scenarios = scenarios as u64;
    let kinds = Kind::ALL.len() as u64;
    ((run % scenarios) as usize, Kind::ALL[(run / scenarios % kinds) as usize])
}

/// Makes one run. The strategy knows what was `seen` before it.
pub(super) fn make(
    run: u64,
    plan: &Rc<Plan>,
    kind: Kind,
    attempts: &Attempts,
    settings: &Settings,
    seen: &Arc<Seen>,
    ledger: &mut Ledger,
) -> Report {
    let seed = xxh3_64_with_seed(&run.to_le_bytes(), settings.seed);
    let search = Search::new(kind, settings.bound, seed, seen);
    let log = search.log();
    let outcome = attempts.make(plan, search);
    let Log { decisions, mut covered } = log.take();
    covered.strikes.retain(|point| !seen.contains(point));
    covered.turns.retain(|point| !seen.contains(point));
    if let Ok(outcome) = &outcome {
        ledger.add(plan, outcome);
    }
    let (moments, symptoms, recording) = match outcome {
        Ok(outcome) => (outcome.recording.moments, Symptom::all(&outcome), Some(outcome.recording)),
        Err(broken) => (0, vec![broken], None),
    };
    let recording = recording.unwrap_or_default();
    let with_decisions = |symptom| {
        let tidy = [true, false];
        (symptom, tidy.map(|tidy| Entries::of(&decisions.script(&recording, tidy))))
    };
    let symptoms = symptoms.into_iter().map(with_decisions).collect();
    Report { run, moments, covered, symptoms }
}
