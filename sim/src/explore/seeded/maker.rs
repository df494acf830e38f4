//! Makes the runs of a seeded search, each from its number.
//!
//! Names are interned by thread, and so belong plans to one: each worker has a maker of its own.

use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::again::is_sampled;
use super::cast::{Cast, Parts};
use super::coverage::{Covered, Seen};
use super::hunt::Settings;
use super::search::{Log, Search};
use super::strategy::Kind;
use crate::explore::attempt::{Attempts, plan};
use crate::explore::decisions::{Bound, Entries};
use crate::explore::symptom::Symptom;
use crate::run::{Outcome, Plan, STATES_MAX};
use crate::scenario::Scenario;
use crate::suite::Ledger;
use crate::turnstile::{Notes, Recording, RecordingEntry};

/// What one run brought.
pub struct Report {
    pub run: u64,
    pub moments: u64,
    /// Of a run that is made again; `None`: of another, or the harness broke.
    pub digest: Option<u128>,
    /// What was not seen before it.
    pub covered: Covered,
    /// Each with the scenario and its decisions, the tidy ones and the exact ones.
    pub symptoms: Vec<(Symptom, [Scenario; 2])>,
}

/// Plans that are kept.
const PLANS_MAX: usize = 1_024;
/// After so many runs it is looked how many states the plans have.
const LOOKS: u64 = 1_024;

pub struct Maker<'a> {
    scenarios: &'a [Scenario],
    settings: &'a Settings,
    attempts: Attempts,
    /// For each scenario the moments of its undisturbed run; `None`: not asked for yet.
    moments: Vec<Option<Rc<[String]>>>,
    plans: FxHashMap<(usize, Parts), Option<Planned>>,
    made: u64,
}

/// A plan, and how its runs are made.
#[derive(Clone)]
struct Planned {
    plan: Rc<Plan>,
    attempts: Attempts,
}

/// Which scenario a run is of, and which strategy decides.
pub fn assignment(run: u64, scenarios: usize) -> (usize, Kind) {
    let scenarios = scenarios as u64;
    let kinds = Kind::ALL.len() as u64;
    ((run % scenarios) as usize, Kind::ALL[(run / scenarios % kinds) as usize])
}

/// A run, and what it was made from.
struct Made<'a> {
    /// Of which it is a part, that of the cast, with its decisions.
    scenario: &'a Scenario,
    cast: Cast,
    plan: Rc<Plan>,
    log: Log,
    outcome: Result<Outcome, Symptom>,
}

impl<'a> Maker<'a> {
    pub fn new(scenarios: &'a [Scenario], settings: &'a Settings) -> Self {
        Maker {
            scenarios,
            settings,
            attempts: Attempts::new(settings.profile).asking(settings.judge),
            moments: vec![None; scenarios.len()],
            plans: FxHashMap::default(),
            made: 0,
        }
    }

    /// Makes the run of this number, decided by `kind` or, if nobody says, by the strategy whose turn it is, which
    /// knows what was `seen` before. `None`: its scenario cannot be run.
    pub fn make(
        &mut self,
        run: u64,
        kind: Option<Kind>,
        seen: &Arc<Seen>,
        ledger: &mut Ledger,
    ) -> Option<Report> {
        let is_sampled = is_sampled(run, self.settings);
        let Made { scenario, cast, plan, log, outcome } = self.made(run, kind, seen, is_sampled)?;
        let Log { decisions, mut covered } = log;
        covered.strikes.retain(|point| !seen.contains(point));
        covered.turns.retain(|point| !seen.contains(point));
        let (digest, symptoms, recording) = match outcome {
            Ok(outcome) => {
                ledger.add(&plan, &outcome);
                let digest = is_sampled.then(|| outcome.digest());
                (digest, Symptom::all(&outcome), outcome.recording)
            }
            Err(broken) => (None, vec![broken], Recording::default()),
        };
        let with_decisions = |symptom| {
            let scenario = cast.of(scenario);
            let tidy = [true, false];
            let entries = tidy.map(|tidy| Entries::of(&decisions.script(&recording, tidy)));
            (symptom, entries.map(|entries| entries.put_into(&scenario)))
        };
        let moments = recording.moments;
        let symptoms = symptoms.into_iter().map(with_decisions).collect();
        Some(Report { run, moments, digest, covered, symptoms })
    }

    /// Makes it for its outcome; with the scenario of which it is a part.
    pub fn outcome(&mut self, run: u64, seen: &Arc<Seen>) -> Option<(&'a Scenario, Outcome)> {
        let made = self.made(run, None, seen, true)?;
        Some((made.scenario, made.outcome.ok()?))
    }

    /// `whole`: its node is reaped whatever is known of the state that it is in.
    fn made(
        &mut self,
        run: u64,
        kind: Option<Kind>,
        seen: &Arc<Seen>,
        whole: bool,
    ) -> Option<Made<'a>> {
        let (target, of_run) = assignment(run, self.scenarios.len());
        let seed = xxh3_64_with_seed(&run.to_le_bytes(), self.settings.seed);
        let bound = self.settings.bound;
        let moments = self.moments(target);
        let cast = Cast::draw(&self.scenarios[target], &moments, bound, seed);
        let Planned { plan, attempts } = self.plan(target, &cast)?;
        let faults = bound.faults - u32::from(cast.jump.is_some());
        let search = Search::new(kind.unwrap_or(of_run), Bound { faults, ..bound }, seed, seen);
        let log = search.log();
        let attempts = if whole { attempts.comparing() } else { attempts };
        let outcome = attempts.make(&plan, search);
        let scenario = &self.scenarios[target];
        Some(Made { scenario, cast, plan, log: log.take(), outcome })
    }

    fn plan(&mut self, target: usize, cast: &Cast) -> Option<Planned> {
        let scenario = &self.scenarios[target];
        if cast.jump.is_some() {
            // Of another plan there are hardly ever two runs.
            let plan = plan(&cast.of(scenario))?;
            return Some(Planned { plan, attempts: self.attempts.clone() });
        }
        self.made += 1;
        let states = || -> usize {
            self.plans.values().flatten().map(|planned| planned.attempts.states()).sum()
        };
        let is_full = self.made.is_multiple_of(LOOKS) && states() > STATES_MAX;
        if is_full || self.plans.len() >= PLANS_MAX {
            self.plans.clear();
        }
        let known = self.plans.entry((target, cast.parts().clone()));
        let planned = |plan| {
            let attempts = self.attempts.clone().noting(Notes::States).merging(&plan);
            Planned { plan, attempts }
        };
        known.or_insert_with(|| plan(&cast.of(scenario)).map(planned)).clone()
    }

    /// The names of what happens in the undisturbed run until it is quiet.
    fn moments(&mut self, target: usize) -> Rc<[String]> {
        let (scenarios, attempts) = (self.scenarios, &self.attempts);
        let made = self.moments[target].get_or_insert_with(|| {
            let outcome = plan(&scenarios[target]).and_then(|plan| attempts.replay(&plan).ok());
            outcome.map_or_else(|| Rc::from([]), |outcome| disturbable(&outcome.recording))
        });
        made.clone()
    }
}

fn disturbable(recording: &Recording) -> Rc<[String]> {
    let begins = |entry: &RecordingEntry, of: &str| matches!(entry, RecordingEntry::Phase { name, .. } if *name == of);
    let entries = recording.entries.iter().skip_while(|entry| !begins(entry, "disturb"));
    let names =
        entries.take_while(|entry| !begins(entry, "reap")).filter_map(|entry| match entry {
            RecordingEntry::Moment(happened) => Some(happened.moment.to_string()),
            _ => None,
        });
    names.collect()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test reads the drivers from the disk")]
mod tests {
    use shakedown_cri::quirks::Profile;

    use super::*;
    use crate::explore::undecided;
    use crate::invariants::Ids;
    use crate::scenario::parse;

    const RUNS: u64 = 400;

    #[test]
    fn a_run_that_comes_to_a_known_state_counts_as_one_that_reaps_it() {
        let file =
            format!("{}/../scenarios/drivers/a-start-and-a-stop.toml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&file).expect("the driver is there");
        let scenarios = [undecided(&parse(&file, &text).expect("it is right"))];
        let settings = Settings {
            profile: Profile::find("hardened").expect("it is known"),
            judge: Ids::ALL,
            seed: 3,
            bound: Bound { faults: 2, delays: 2 },
            runs: None,
            time: None,
            jobs: 1,
            shard: (0, 1),
        };
        let seen = Arc::default();
        let [mut whole, mut quick] = [(); 2].map(|()| Maker::new(&scenarios, &settings));
        let [mut of_whole, mut of_quick] = [(); 2].map(|()| Ledger::default());
        let mut spared = 0;
        for run in 0..RUNS {
            let made = whole.made(run, None, &seen, true).expect("it has a plan");
            let (plan, reaped) = (made.plan, made.outcome.expect("the harness holds"));
            of_whole.add(&plan, &reaped);
            for planned in quick.plans.values_mut().flatten() {
                planned.attempts = planned.attempts.clone().trusting();
            }
            let made = quick.made(run, None, &seen, false).expect("it has a plan");
            let known = made.outcome.expect("the harness holds");
            of_quick.add(&made.plan, &known);
            spared += u64::from(known.recording.entries.len() < reaped.recording.entries.len());
            assert_eq!(known.recording.moments, reaped.recording.moments, "run {run}");
            assert_eq!(known.reaped, reaped.reaped, "run {run}");
            assert_eq!(known.events, reaped.events, "run {run}");
            assert_eq!(known.logs, reaped.logs, "run {run}");
            assert_eq!(Symptom::all(&known), Symptom::all(&reaped), "run {run}");
        }
        assert_eq!(of_quick, of_whole);
        assert!(spared > RUNS / 2, "{spared}");
    }
}
