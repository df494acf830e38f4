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
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use shakedown_cri::quirks::Profile;

use super::again::Sample;
use super::coverage::{Covered, Seen};
use super::maker::{Maker, Report, assignment};
use crate::explore::attempt::Attempts;
use crate::explore::decisions::Bound;
use crate::explore::failing::{Collector, Failure, Findings};
use crate::invariants::Ids;
use crate::scenario::Scenario;
use crate::suite::Ledger;

/// Runs between two looks at what they brought.
pub const ROUND: u64 = 512;

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
    Round {
        progress: &'a Progress,
        signatures: usize,
        /// Some of its runs, for somebody who makes them again.
        sample: &'a Sample,
    },
}

/// Numbers of runs, and what was covered before them.
struct Round {
    runs: Range<u64>,
    seen: Arc<Seen>,
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
            let mut sample = Sample::default();
            let covered = Arc::make_mut(&mut seen);
            for report in of_round {
                if let Some(digest) = report.digest {
                    sample.made.push((report.run, digest));
                }
                let points = report.covered.strikes.iter().chain(&report.covered.turns);
                sample.seen.extend(points.filter(|point| covered.insert(**point)));
                progress.runs += 1;
                progress.moments += report.moments;
                progress.covered.merge(report.covered);
                let number = assignment(report.run, scenarios.len()).0;
                for (symptom, decided) in &report.symptoms {
                    if let Some(failure) = collector.take(number, symptom, decided, 1) {
                        tell(News::Found(failure))?;
                    }
                }
            }
            progress.took = began.elapsed();
            let signatures = collector.findings.failures.len();
            tell(News::Round { progress: &progress, signatures, sample: &sample })?;
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
    let mut maker = Maker::new(scenarios, settings);
    let jobs = settings.jobs.max(1) as u64;
    let (shard, shards) = (settings.shard.0 as u64, settings.shard.1 as u64);
    while let Ok(round) = rounds.recv() {
        let of_shard = (round.runs).filter(|run| run % shards == shard);
        let mine = of_shard.filter(|run| run / shards % jobs == worker);
        let mut ledger = Ledger::default();
        let one = |run| maker.make(run, None, &round.seen, &mut ledger);
        let of_round = mine.filter_map(one).collect();
        // Nobody to report to: the search was ended.
        if reports.send((of_round, ledger)).is_err() {
            return;
        }
    }
}
