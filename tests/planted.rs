//! Each planted defect is found, and what is found is small. With the feature `planted`.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "how long it takes to make a file small is told by the system's clock"
)]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use shakedown::explore::{
    Attempts, Bound, CheckError, Checking, Entries, Failure, Kind, Search, Settings, Symptom,
    check, hunt, plan, undecided,
};
use shakedown::invariants::{Id, Ids};
use shakedown::scenario::{INVARIANTS, Scenario, When};
use shakedown::suite::Source;
use shakedown::suite::collect;
use shakedown_cri::planted::Planted;
use shakedown_cri::quirks::Profile;

const DRIVERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/drivers");

/// What a file that shows a defect may hold beside the faults that it takes, and what it may take to make it.
const HOLDS_MAX: usize = 2;
const RUNS_MAX: u32 = 1_000;
const TIME_MAX: Duration = Duration::from_secs(2);

/// What a run has whose failure is to be made small.
const NOISE: Bound = Bound { faults: 4, delays: 4 };

/// Of a search for what an invariant alone finds, without it.
const LONELY_RUNS: u64 = 600;

/// More seeds than it takes to come by a failure of each defect.
const SEEDS: u64 = 20_000;

fn driver(planted: Planted) -> Scenario {
    let driver = drivers().into_iter().find(|driver| driver.name == planted.driver());
    driver.unwrap_or_else(|| panic!("{} has no such driver", planted.id()))
}

/// Faults and crashes; a crash that is part of the driver's story is none.
fn faults(scenario: &Scenario) -> usize {
    let crashes = scenario.crashes.iter().filter(|crash| matches!(crash.when, When::Moment(_)));
    scenario.faults.len() + crashes.count()
}

fn drivers() -> Vec<Scenario> {
    let found = collect(&[PathBuf::from(DRIVERS)]).unwrap_or_else(|error| panic!("{error}"));
    let read = |file| Source::read(file).unwrap_or_else(|error| panic!("{error}"));
    found.iter().map(|file| undecided(&read(file).scenario)).collect()
}

/// The first thing that breaks within the bound of the defect.
fn find(planted: Planted, profile: &'static Profile, judge: Ids) -> Option<Failure> {
    let bound = Bound { faults: planted.faults(), delays: planted.delays() };
    let checking =
        Checking { profile, judge, bound, merges: true, jobs: 2, shard: (0, 1), build: 0 };
    let stop = AtomicBool::new(false);
    let found = check(&driver(planted), &checking, &stop, None, |_, failure: Option<&Failure>| {
        let Some(failure) = failure else { return Ok(()) };
        stop.store(true, Ordering::Relaxed);
        Err(Box::new(failure.clone()))
    });
    match found {
        Ok(_) => None,
        Err(CheckError::Told(failure)) => Some(*failure),
        Err(CheckError::Kept(error)) => panic!("{error}"),
    }
}

fn number(invariant: &str) -> Id {
    let at = INVARIANTS.iter().position(|known| *known == invariant);
    Id(1 + u8::try_from(at.expect("an invariant")).expect("there are few"))
}

/// Each defect is found within two faults and a delay, by the invariant that is to find it, and what is found has no more
/// faults than the defect takes.
#[test]
fn each_defect_is_found_and_made_small() {
    let wrong: Vec<String> = Planted::ALL.iter().filter_map(|p| wrong_with(*p)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the search makes of a defect, unless that is as it should be.
fn wrong_with(planted: Planted) -> Option<String> {
    let id = planted.id();
    if planted.faults() > 2 || planted.delays() > 1 {
        return Some(format!("{id} takes more than two faults and a delay"));
    }
    let Some(failure) = find(planted, planted.profile(), Ids::ALL) else {
        return Some(format!("{id} is not found"));
    };
    let broken: BTreeSet<String> =
        failure.signatures().map(|signature| signature.broken.to_string()).collect();
    let is_right = planted.by().iter().any(|by| broken.contains(*by))
        && faults(&failure.shrunk.scenario) <= planted.faults() as usize
        && is_small(&failure);
    (!is_right).then(|| format!("{id} is found as {broken:?}:\n{}", failure.text("")))
}

fn is_small(failure: &Failure) -> bool {
    let shrunk = &failure.shrunk;
    shrunk.scenario.holds.len() <= HOLDS_MAX && shrunk.is_minimal && shrunk.runs < RUNS_MAX
}

/// What a search finds in runs with more faults and delays than anything takes is made as small, and soon. A way through a
/// defect that takes more than another one is a finding of its own; each is the smallest of its kind.
#[test]
fn noise_is_taken_off() {
    let wrong: Vec<String> = Planted::ALL.iter().filter_map(|p| noisy_with(*p)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Makes noisy failures of a defect small until one is as small as it can be.
fn noisy_with(planted: Planted) -> Option<String> {
    let (driver, attempts) = (driver(planted), Attempts::new(planted.profile()));
    let made = plan(&driver).expect("a driver can be run");
    let (mut tried, mut least) = (0, usize::MAX);
    for seed in 0..SEEDS {
        let kind = Kind::ALL[seed as usize % Kind::ALL.len()];
        let search = Search::new(kind, NOISE, seed, &Arc::default());
        let log = search.log();
        let Ok(outcome) = attempts.make(&made, search) else { continue };
        let is_own = |symptom: &Symptom| planted.by().contains(&&*symptom.broken.to_string());
        let Some(symptom) = Symptom::all(&outcome).into_iter().find(is_own) else { continue };
        let decisions = log.take().decisions;
        let decided = [true, false]
            .map(|tidy| Entries::of(&decisions.script(&outcome.recording, tidy)).put_into(&driver));
        let began = Instant::now();
        let failure = match Failure::new(&attempts, &decided, &symptom) {
            Ok(failure) => failure,
            Err(broken) => return Some(format!("{}: {broken}", planted.id())),
        };
        let took = began.elapsed();
        if !is_small(&failure) || took > TIME_MAX {
            return Some(format!("{} in {took:?}:\n{}", planted.id(), failure.text("")));
        }
        tried += 1;
        least = least.min(faults(&failure.shrunk.scenario));
        if least <= planted.faults() as usize {
            return None;
        }
    }
    Some(format!("{} has {least} faults at least after {tried} failures", planted.id()))
}

/// Without the defect nothing is found there.
#[test]
fn the_hardened_service_has_none() {
    let hardened = Profile::find("hardened").expect("it is known");
    let mut tried = BTreeSet::new();
    for planted in Planted::ALL {
        let bound = (planted.faults(), planted.delays());
        if bound.0 + bound.1 < 2 && tried.insert((planted.driver(), bound)) {
            let Some(failure) = find(*planted, hardened, Ids::ALL) else { continue };
            panic!("{}", failure.text(""));
        }
    }
}

/// Each invariant is the only one that finds some defect: without it nothing is found within the same bound, nor by a
/// search over all drivers.
#[test]
fn each_invariant_is_the_only_one_to_find_some_defect() {
    for invariant in INVARIANTS {
        let mut alone = Planted::ALL.iter().filter(|planted| planted.is_alone());
        let only = alone.find(|planted| planted.by() == [*invariant]);
        let only = only.unwrap_or_else(|| panic!("{invariant} finds no defect alone"));
        let judge = Ids::ALL.without(number(invariant));
        if let Some(failure) = find(*only, only.profile(), judge) {
            panic!("{} is found without {invariant}:\n{}", only.id(), failure.text(""));
        }
        let settings = Settings {
            profile: only.profile(),
            judge,
            seed: 1,
            bound: Bound { faults: 2, delays: 1 },
            runs: Some(LONELY_RUNS),
            time: None,
            jobs: 2,
            shard: (0, 1),
        };
        let stop = AtomicBool::new(false);
        let found = hunt(&drivers(), &settings, &stop, |_| Ok::<(), ()>(()));
        let (_, findings) = found.expect("nobody objects");
        if let Some((failure, _)) = findings.failures.first() {
            panic!("{} is found without {invariant}:\n{}", only.id(), failure.text(""));
        }
    }
}

/// The page has all of them, as they are.
#[test]
fn the_page_lists_each_defect() {
    let page = include_str!("../docs/planted.md");
    let rows = Planted::ALL.iter().map(|planted| {
        let (faults, delays) = (planted.faults(), planted.delays());
        let by = planted.by().join(" ");
        let alone = if planted.is_alone() { &by } else { "" };
        let (id, what, driver) = (planted.id(), planted.what(), planted.driver());
        format!("| `{id}` | {what} | {by} | {alone} | {faults} + {delays} | {driver} |\n")
    });
    let rows: String = rows.collect();
    assert!(page.contains(&rows), "{rows}");
}
