//! How soon each way of searching finds each planted defect.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the driver spreads searches over threads and times them; no run sees either"
)]

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use shakedown_cri::planted::Planted;

use super::attempt::{Attempts, plan};
use super::decisions::Bound;
use super::exhaustive::{Node, Tree};
use super::seeded::Kind;
use super::seeded::Maker;
use super::seeded::Seen;
use super::seeded::{ROUND, Settings};
use super::symptom::{Broken, Symptom};
use crate::invariants::Ids;
use crate::run::{Outcome, Plan};
use crate::scenario::Scenario;
use crate::suite::Ledger;

/// How the defects are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Looking {
    pub judge: Ids,
    /// Of the seeded searches.
    pub bound: Bound,
    /// How many searches of each kind.
    pub seeds: u64,
    /// After how many runs a seeded search gives up.
    pub runs: u64,
    /// Threads.
    pub jobs: usize,
}

/// Seeded searches, by who decides in them; `None`: all strategies in turn, as `explore` has it.
pub const SEARCHES: [Option<Kind>; 5] =
    [None, Some(Kind::Uniform), Some(Kind::Pct), Some(Kind::DelayBounded), Some(Kind::Guided)];

/// What it took to find a defect.
#[derive(Clone, Debug)]
pub struct Kill {
    /// The number of the first run that showed it, from 1.
    pub runs: u64,
    pub took: Duration,
    /// What broke in that run.
    pub by: Vec<Broken>,
}

/// The smallest bound within which an exhaustive search finds a defect.
#[derive(Clone, Debug)]
pub struct Checked {
    pub bound: Bound,
    pub driver: String,
    /// Its runs are those within the bound.
    pub kill: Kill,
}

/// What became of one defect.
#[derive(Clone, Debug)]
pub struct Row {
    pub planted: Planted,
    /// `None`: not within the bound that the defect is said to take.
    pub checked: Option<Checked>,
    /// For each of [`SEARCHES`] and each seed; `None`: not within the runs.
    pub searched: [Vec<Option<Kill>>; SEARCHES.len()],
}

impl Row {
    /// The median of runs and of time; `None`: too few searches found it.
    pub fn median(&self, search: usize) -> Option<(u64, Duration)> {
        let kills = &self.searched[search];
        let found = || kills.iter().flatten();
        // Those that did not find it come last.
        let middle = kills.len() / 2;
        let mut runs: Vec<u64> = found().map(|kill| kill.runs).collect();
        let mut times: Vec<Duration> = found().map(|kill| kill.took).collect();
        runs.sort_unstable();
        times.sort_unstable();
        Some((*runs.get(middle)?, *times.get(middle)?))
    }
}

/// One piece of work.
#[derive(Clone, Copy)]
enum Task {
    Check,
    Search { search: usize, seed: u64 },
}

enum Found {
    Checked(Option<Checked>),
    Searched { search: usize, seed: u64, kill: Option<Kill> },
}

/// Looks for each of the defects in scenarios without decisions. `tell` is told of each in their order, as soon as it
/// is through; those that are not when the search is stopped are left out.
///
/// # Errors
/// The first error of `tell`.
pub fn look<E>(
    defects: &[Planted],
    scenarios: &[Scenario],
    looking: &Looking,
    stop: &AtomicBool,
    mut tell: impl FnMut(Row) -> Result<(), E>,
) -> Result<(), E> {
    let searches = (0..SEARCHES.len())
        .flat_map(|search| (0..looking.seeds).map(move |seed| Task::Search { search, seed }));
    let of_one: Vec<Task> = std::iter::once(Task::Check).chain(searches).collect();
    let tasks = defects.len() * of_one.len();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (reports, results) = channel();
        for _ in 0..looking.jobs.max(1) {
            let (reports, next, of_one) = (reports.clone(), &next, &of_one);
            scope.spawn(move || {
                let plans: Vec<Rc<Plan>> = scenarios.iter().filter_map(plan).collect();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= tasks {
                        return;
                    }
                    let (defect, task) = (number / of_one.len(), of_one[number % of_one.len()]);
                    let planted = defects[defect];
                    let worker = Worker { planted, scenarios, plans: &plans, looking, stop };
                    let found = worker.work(task);
                    // Nobody to report to: the search was ended.
                    if stop.load(Ordering::Relaxed) || reports.send((defect, found)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(reports);
        let empty = |planted: &Planted| Row {
            planted: *planted,
            checked: None,
            searched: std::array::from_fn(|_| vec![None; looking.seeds as usize]),
        };
        let mut rows: BTreeMap<usize, (Row, usize)> =
            defects.iter().map(|planted| (empty(planted), of_one.len())).enumerate().collect();
        for (defect, found) in results {
            let (row, left) = rows.get_mut(&defect).expect("it is told once it is through");
            *left -= 1;
            match found {
                Found::Checked(checked) => row.checked = checked,
                Found::Searched { search, seed, kill } => {
                    row.searched[search][seed as usize] = kill
                }
            }
            while let Some(first) = rows.first_entry().filter(|first| first.get().1 == 0) {
                tell(first.remove().0)?;
            }
        }
        Ok(())
    })
}

struct Worker<'a> {
    planted: Planted,
    scenarios: &'a [Scenario],
    plans: &'a [Rc<Plan>],
    looking: &'a Looking,
    stop: &'a AtomicBool,
}

impl Worker<'_> {
    fn attempts(&self) -> Attempts {
        Attempts::new(self.planted.profile()).asking(self.looking.judge)
    }

    fn work(&self, task: Task) -> Found {
        match task {
            Task::Check => Found::Checked(self.check()),
            Task::Search { search, seed } => {
                Found::Searched { search, seed, kill: self.search(SEARCHES[search], seed) }
            }
        }
    }

    /// Tries all bounds up to that of the defect, the smallest first.
    fn check(&self) -> Option<Checked> {
        let most = Bound { faults: self.planted.faults(), delays: self.planted.delays() };
        let mut bounds: Vec<Bound> = (0..=most.faults)
            .flat_map(|faults| (0..=most.delays).map(move |delays| Bound { faults, delays }))
            .collect();
        bounds.sort_by_key(|bound| (bound.faults + bound.delays, bound.faults));
        // Where the defect is said to show it is looked for first.
        let mut plans: Vec<&Rc<Plan>> = self.plans.iter().collect();
        plans.sort_by_key(|plan| plan.case != self.planted.driver());
        let within = |bound: Bound| {
            let began = Instant::now();
            let mut runs = 0;
            plans.iter().find_map(|plan| {
                let by = self.walk(plan, bound, &mut runs)?;
                let kill = Kill { runs, took: began.elapsed(), by };
                Some(Checked { bound, driver: plan.case.clone(), kill })
            })
        };
        bounds.into_iter().find_map(within)
    }

    /// Makes the runs within the bound until something breaks, as `check` does.
    fn walk(&self, plan: &Rc<Plan>, bound: Bound, runs: &mut u64) -> Option<Vec<Broken>> {
        let attempts = self.attempts().merging(plan);
        let merges = attempts.can_merge(plan);
        let read = |outcome: Result<Outcome, Symptom>| match outcome {
            Ok(outcome) => Symptom::all(&outcome),
            Err(broken) => vec![broken],
        };
        let tree = Tree { plan, attempts: &attempts, bound, merges, read: &read };
        let mut ahead = vec![Node::default()];
        let mut further = Vec::new();
        while let Some(node) = ahead.pop()
            && !self.stop.load(Ordering::Relaxed)
        {
            *runs += 1;
            let symptoms = tree.make(node, &mut further).read;
            if !symptoms.is_empty() {
                return Some(symptoms.iter().map(|symptom| symptom.broken).collect());
            }
            ahead.extend(further.drain(..).rev());
        }
        None
    }

    /// Makes the runs of a seed until something breaks.
    fn search(&self, kind: Option<Kind>, seed: u64) -> Option<Kill> {
        let Looking { judge, bound, runs, .. } = *self.looking;
        let profile = self.planted.profile();
        let settings = Settings {
            profile,
            judge,
            seed,
            bound,
            runs: None,
            time: None,
            jobs: 1,
            shard: (0, 1),
        };
        let mut maker = Maker::new(self.scenarios, &settings);
        let began = Instant::now();
        let mut seen = Arc::new(Seen::default());
        let mut new = Seen::default();
        // What is covered is not what is asked here.
        let mut ledger = Ledger::default();
        for run in 0..runs {
            if self.stop.load(Ordering::Relaxed) {
                return None;
            }
            if run % ROUND == 0 {
                Arc::make_mut(&mut seen).extend(new.drain());
            }
            let report = maker.make(run, kind, &seen, &mut ledger)?;
            if !report.symptoms.is_empty() {
                let by = report.symptoms.iter().map(|(symptom, _)| symptom.broken).collect();
                return Some(Kill { runs: run + 1, took: began.elapsed(), by });
            }
            new.extend(report.covered.strikes.iter().chain(&report.covered.turns));
        }
        None
    }
}
