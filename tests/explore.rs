//! Search: what it decides is a scenario, what it finds is small, and the number of workers changes nothing.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use shakedown::engine::Engine;
use shakedown::explore::{
    Bound, Entries, Findings, Kind, Search, Settings, Symptom, hunt, undecided,
};
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
    assert!(decided > 500, "only {decided} runs decided anything");
}

/// The same seed finds the same, whatever the number of workers.
#[test]
fn the_number_of_workers_changes_nothing() {
    let two: Vec<Scenario> = drivers().into_iter().skip(1).step_by(3).take(2).collect();
    let [one, three] = [1, 3].map(|jobs| {
        // More than a round, so that one depends on another.
        let found = search(&two, "1.7.24", jobs, 700);
        let files: Vec<String> =
            found.failures.iter().map(|(f, runs)| format!("{runs} {}", f.text(""))).collect();
        (found.runs, found.moments, found.covered.strikes.len(), found.covered.turns.len(), files)
    });
    assert!(!one.4.is_empty());
    assert_eq!(one, three);
}

/// A version that forgets the task of a start whose reply was lost is found out, and one fault is left of it.
#[test]
fn a_known_defect_is_found_and_made_small() {
    let alone: Vec<Scenario> =
        drivers().into_iter().filter(|driver| driver.name == "a-start-alone").collect();
    let found = search(&alone, "1.7.24", 2, 4_000);
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

fn search(scenarios: &[Scenario], profile: &str, jobs: usize, runs: u64) -> Findings {
    let profile = Profile::find(profile).expect("it is known");
    let bound = Bound { faults: 2, delays: 2 };
    let settings = Settings { profile, seed: 7, bound, runs: Some(runs), time: None, jobs };
    let found = hunt(scenarios, &settings, &AtomicBool::new(false), &mut |_, _| Ok::<(), ()>(()));
    found.expect("nobody objects")
}
