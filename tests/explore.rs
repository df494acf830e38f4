//! Search: what it decides is a scenario, what it finds is small, and the number of workers changes nothing.

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use shakedown::engine::Engine;
use shakedown::explore::{
    Bound, Certificate, Checking, Entries, Findings, Kind, Progress, Search, Settings, Symptom,
    can_strike, check, hunt, undecided,
};
use shakedown::oracle::{Choice, Fault, Oracle};
use shakedown::run::{Options, Outcome, Plan, run, run_under};
use shakedown::scenario::{Case, Scenario, parse, print};
use shakedown::suite::{Source, collect};
use shakedown_cri::quirks::Profile;

const DRIVERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/drivers");

fn drivers() -> Vec<Scenario> {
    let found = collect(&[PathBuf::from(DRIVERS)]).unwrap_or_else(|error| panic!("{error}"));
    let read = |file| Source::read(file).unwrap_or_else(|error| panic!("{error}"));
    found.iter().map(|file| undecided(&read(file).scenario)).collect()
}

fn plan(scenario: &Scenario) -> Rc<Plan> {
    let scenario = scenario.clone();
    let case = Case { name: scenario.name.clone(), values: Vec::new(), scenario };
    Rc::new(Plan::new(&case).unwrap_or_else(|errors| panic!("{errors:?}")))
}

fn options(profile: &'static Profile) -> Options {
    Options { profile, engine: Engine::Bare, ..Options::default() }
}

fn happened(outcome: &Outcome) -> Vec<String> {
    outcome.recording.happened().map(|moment| format!("{moment:?}")).collect()
}

/// What a search decided, printed as a file and read again, brings the same run, byte for byte.
#[test]
fn decisions_replay_from_their_file() {
    let seen = Arc::default();
    let mut decided = 0;
    for (number, scenario) in drivers().iter().enumerate() {
        for profile in ["hardened", "1.7.24"].map(|name| Profile::find(name).expect("it is known"))
        {
            for seed in 0..60 {
                let kind = Kind::ALL[seed % Kind::ALL.len()];
                let bound = Bound { faults: 3, delays: 3 };
                let search = Search::new(kind, bound, (number * 1000 + seed) as u64, &seen);
                let log = search.log();
                let found = run_under(&plan(scenario), &options(profile), Box::new(search));
                let decisions = Entries::of(&log.take().decisions.script(&found.recording, false));
                decided += usize::from(decisions != Entries::default());
                let text = print(&decisions.put_into(scenario));
                let read = parse(&format!("{}.toml", scenario.name), &text)
                    .unwrap_or_else(|errors| panic!("{errors:?}\n{text}"));
                let replayed = run(&plan(&read), &options(profile));
                let (ours, theirs) = (happened(&found), happened(&replayed));
                let differs = ours.iter().zip(&theirs).find(|(ours, theirs)| ours != theirs);
                assert!(found.digest == replayed.digest, "{kind:?} {seed}: {differs:#?}\n{text}");
            }
        }
    }
    assert!(decided > 200, "only {decided} runs decided anything");
}

/// The same seed finds the same, whatever the number of workers.
#[test]
fn the_number_of_workers_changes_nothing() {
    let two: Vec<Scenario> = drivers().into_iter().skip(1).step_by(3).take(2).collect();
    let [one, three] = [1, 3].map(|jobs| {
        // More than a round, so that one depends on another.
        let (progress, found) = search(&two, "1.7.24", jobs, 700);
        let files: Vec<String> =
            found.failures.iter().map(|(f, runs)| format!("{runs} {}", f.text(""))).collect();
        (progress.runs, progress.moments, progress.covered, files)
    });
    assert!(!one.3.is_empty());
    assert_eq!(one, three);
}

/// A version that forgets the task of a start whose reply was lost is found out, and one fault is left of it.
#[test]
fn a_known_defect_is_found_and_made_small() {
    let alone: Vec<Scenario> =
        drivers().into_iter().filter(|driver| driver.name == "a-start-alone").collect();
    let (_, found) = search(&alone, "1.7.24", 2, 1_536);
    assert_eq!(found.broken, Vec::<String>::new());
    let lost = found
        .failures
        .iter()
        .map(|(failure, _)| failure)
        .find(|failure| failure.signature.to_string() == "I1 start/task.create");
    let lost = lost.expect("a lost reply leaves a task");
    let scenario = &lost.shrunk.scenario;
    assert_eq!((scenario.faults.len(), scenario.holds.len(), scenario.crashes.len()), (1, 0, 0));
    assert!(lost.shrunk.is_minimal);
    // The file shows what was found, on the engine that `run` uses.
    let text = lost.text("shakedown run FILE");
    let read = parse("found.toml", &text).unwrap_or_else(|errors| panic!("{errors:?}\n{text}"));
    let profile = Profile::find("1.7.24").expect("it is known");
    let replayed = run(&plan(&read), &Options { profile, ..Options::default() });
    assert_eq!(replayed.digest, lost.digest);
    assert!(Symptom::all(&replayed).iter().any(|symptom| symptom.is_like(&lost.symptom)));
    insta::assert_snapshot!("a_known_defect", text);
}

fn search(scenarios: &[Scenario], profile: &str, jobs: usize, runs: u64) -> (Progress, Findings) {
    let profile = Profile::find(profile).expect("it is known");
    let bound = Bound { faults: 2, delays: 2 };
    let settings = Settings { profile, seed: 7, bound, runs: Some(runs), time: None, jobs };
    let found = hunt(scenarios, &settings, &AtomicBool::new(false), |_| Ok::<(), ()>(()));
    found.expect("nobody objects")
}

/// Counts what can go wrong in the undisturbed run; or has the power fail at one of its moments, and notes
/// whether the disk did not have everything.
#[derive(Clone, Default)]
struct Counting {
    faults: Rc<Cell<u64>>,
    moments: Rc<Cell<u64>>,
    fails_at: Option<u64>,
    lost: Rc<Cell<bool>>,
}

impl Oracle for Counting {
    fn considers_crashes(&self) -> bool {
        true
    }

    fn choose(&mut self, choice: &Choice<'_>) -> usize {
        match *choice {
            Choice::Fault { site, menu, awaited, endless } => {
                let can = |fault: &&Fault| can_strike(fault, site.op, awaited, endless);
                self.faults
                    .set(self.faults.get() + menu.standard.iter().filter(can).count() as u64);
            }
            Choice::Crash { .. } => {
                let at = self.moments.replace(self.moments.get() + 1);
                if self.fails_at.take_if(|fails_at| *fails_at == at).is_some() {
                    return 2;
                }
            }
            Choice::Survival { .. } => self.lost.set(true),
            _ => {}
        }
        0
    }
}

/// With one fault and no delay the plans are the undisturbed run, one for each fault that a site of it can
/// meet, and after each moment the end of the daemon, a power failure, and one that takes all along that
/// the disk does not have, if there is anything.
#[test]
fn plans_of_one_fault_are_as_many_as_there_are_options() {
    let profile = Profile::find("hardened").expect("it is known");
    for driver in drivers().iter().take(1) {
        let count = |counting: &Counting| {
            run_under(&plan(driver), &options(profile), Box::new(counting.clone()));
        };
        let counted = Counting::default();
        count(&counted);
        let (faults, moments) = (counted.faults.get(), counted.moments.get());
        let loses = |at: &u64| {
            let counting = Counting { fails_at: Some(*at), ..Counting::default() };
            count(&counting);
            counting.lost.get()
        };
        let losses = (0..moments).filter(loses).count() as u64;
        let certificate = certify(driver, 1, 0, (0, 1));
        assert!(certificate.is_complete());
        assert_eq!(certificate.runs, certificate.plans);
        assert_eq!(certificate.plans, 1 + faults + 2 * moments + losses, "{}", driver.name);
    }
}

/// Parts are disjoint, and together the whole.
#[test]
fn shards_are_the_whole() {
    let alone = drivers().into_iter().find(|driver| driver.name == "a-start-alone");
    let alone = alone.expect("there is such a driver");
    let whole = certify(&alone, 1, 0, (0, 1));
    let parts: Vec<_> = (0..7).map(|part| certify(&alone, 1, 0, (part, 7))).collect();
    assert_eq!(whole.runs, parts.iter().map(|part| part.runs).sum::<u64>());
    assert_eq!(whole.moments, parts.iter().map(|part| part.moments).sum::<u64>());
}

fn certify(scenario: &Scenario, faults: u32, delays: u32, shard: (usize, usize)) -> Certificate {
    let profile = Profile::find("hardened").expect("it is known");
    let checking = Checking { profile, bound: Bound { faults, delays }, jobs: 2, shard };
    let done = check(scenario, &checking, &AtomicBool::new(false), |_, _| Ok::<(), ()>(()));
    done.expect("nobody objects")
}
