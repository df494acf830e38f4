//! Each planted defect is found, and what is found is small. With the feature `planted`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use shakedown::explore::{Bound, CheckError, Checking, Failure, check, undecided};
use shakedown::invariants::{Id, Ids};
use shakedown::scenario::{INVARIANTS, Scenario, When};
use shakedown::suite::Source;
use shakedown::suite::collect;
use shakedown_cri::planted::Planted;
use shakedown_cri::quirks::Profile;

const DRIVERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/drivers");

/// What a file that shows a defect may hold beside the faults that it takes.
const HOLDS_MAX: usize = 2;
const RUNS_MAX: u32 = 1_000;

fn drivers() -> Vec<Scenario> {
    let found = collect(&[PathBuf::from(DRIVERS)]).unwrap_or_else(|error| panic!("{error}"));
    let read = |file| Source::read(file).unwrap_or_else(|error| panic!("{error}"));
    found.iter().map(|file| undecided(&read(file).scenario)).collect()
}

/// The first thing that breaks within the bound of the defect.
fn find(planted: Planted, profile: &'static Profile, judge: Ids) -> Option<Failure> {
    let drivers = drivers();
    let driver = drivers.iter().find(|driver| driver.name == planted.driver());
    let driver = driver.unwrap_or_else(|| panic!("{} has no such driver", planted.id()));
    let bound = Bound { faults: planted.faults(), delays: planted.delays() };
    let checking =
        Checking { profile, judge, bound, merges: true, jobs: 2, shard: (0, 1), build: 0 };
    let stop = AtomicBool::new(false);
    let found = check(driver, &checking, &stop, None, |_, failure: Option<&Failure>| {
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
    let scenario = &failure.shrunk.scenario;
    // A crash that is part of the driver's story is no fault.
    let faults = scenario.faults.len()
        + scenario.crashes.iter().filter(|crash| matches!(crash.when, When::Moment(_))).count();
    let is_right = planted.by().iter().any(|by| broken.contains(*by))
        && faults <= planted.faults() as usize
        && scenario.holds.len() <= HOLDS_MAX
        && failure.shrunk.is_minimal
        && failure.shrunk.runs < RUNS_MAX;
    (!is_right).then(|| format!("{id} is found as {broken:?}:\n{}", failure.text("")))
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

/// Each invariant is the only one that finds some defect: without it nothing is found within the same bound.
#[test]
fn each_invariant_is_the_only_one_to_find_some_defect() {
    for invariant in INVARIANTS {
        let only = Planted::ALL.iter().find(|planted| planted.by() == [*invariant]);
        let only = only.unwrap_or_else(|| panic!("{invariant} finds no defect alone"));
        let judge = Ids::ALL.without(number(invariant));
        if let Some(failure) = find(*only, only.profile(), judge) {
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
        let (id, what, driver) = (planted.id(), planted.what(), planted.driver());
        format!("| `{id}` | {what} | {by} | {faults} + {delays} | {driver} |\n")
    });
    let rows: String = rows.collect();
    assert!(page.contains(&rows), "{rows}");
}
