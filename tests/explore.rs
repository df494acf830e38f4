//! Search: what it decides is a scenario, what it finds is small, and the number of workers changes nothing.
#![expect(
    clippy::disallowed_types,
    reason = "a file of a search is damaged as a real process would"
)]

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use shakedown::engine::Engine;
use shakedown::explore::{
    Bound, Cast, Certificate, Checking, Entries, Findings, Kept, Kind, Progress, Search, Settings,
    Symptom, can_strike, check, hunt, undecided,
};
use shakedown::invariants::Ids;
use shakedown::oracle::{Choice, Fault, Oracle};
use shakedown::run::{Options, Outcome, Plan, run, run_under};
use shakedown::scenario::{Case, Scenario, parse, print};
use shakedown::suite::{Source, collect};
use shakedown::turnstile::RecordingEntry;
use shakedown_cri::quirks::Profile;

const DRIVERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/drivers");

fn drivers() -> Vec<Scenario> {
    let found = collect(&[PathBuf::from(DRIVERS)]).unwrap_or_else(|error| panic!("{error}"));
    let read = |file| Source::read(file).unwrap_or_else(|error| panic!("{error}"));
    found.iter().map(|file| undecided(&read(file).scenario)).collect()
}

/// The scenarios of the corpus that have one case, as they are.
fn of_one_case() -> impl Iterator<Item = Scenario> {
    let corpus = collect(&[PathBuf::from(DRIVERS).join("..")]).unwrap_or_else(|e| panic!("{e}"));
    let sources = corpus.into_iter().map(|file| Source::read(&file));
    let scenarios = sources.map(|source| source.unwrap_or_else(|e| panic!("{e}")).scenario);
    scenarios.filter(|scenario| scenario.matrix.is_empty())
}

/// And without their decisions.
fn without_matrix() -> impl Iterator<Item = Scenario> {
    of_one_case().map(|scenario| undecided(&scenario))
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
    let mut decided = 0;
    let scenarios = drivers().into_iter().map(|driver| (driver, 60));
    for (number, (scenario, seeds)) in scenarios.chain(without_matrix().map(|s| (s, 8))).enumerate()
    {
        for profile in ["hardened", "1.7.24"].map(|name| Profile::find(name).expect("it is known"))
        {
            let moments = happened_until_quiet(&run(&plan(&scenario), &options(profile)));
            for seed in 0..seeds {
                let kind = Kind::ALL[seed % Kind::ALL.len()];
                let bound = Bound { faults: 3, delays: 3 };
                let seed = (number * 1000 + seed) as u64;
                let scenario = Cast::draw(&scenario, &moments, bound, seed).of(&scenario);
                decided += usize::from(replays(&scenario, profile, kind, bound, seed));
            }
        }
    }
    assert!(decided > 1000, "only {decided} runs decided anything");
}

/// Whether anything was decided in the run that this seed brings.
fn replays(
    scenario: &Scenario,
    profile: &'static Profile,
    kind: Kind,
    bound: Bound,
    seed: u64,
) -> bool {
    let search = Search::new(kind, bound, seed, &Arc::default());
    let log = search.log();
    let found = run_under(&plan(scenario), &options(profile), Box::new(search));
    let decisions = Entries::of(&log.take().decisions.script(&found.recording, false));
    let text = print(&decisions.put_into(scenario));
    let read = parse(&format!("{}.toml", scenario.name), &text)
        .unwrap_or_else(|errors| panic!("{errors:?}\n{text}"));
    let replayed = run(&plan(&read), &options(profile));
    let (ours, theirs) = (happened(&found), happened(&replayed));
    let differs = ours.iter().zip(&theirs).find(|(ours, theirs)| ours != theirs);
    assert!(found.digest() == replayed.digest(), "{kind:?} {seed}: {differs:#?}\n{text}");
    decisions != Entries::default()
}

/// Searches make millions of runs: none is kept by what it made.
#[test]
fn a_run_is_gone_when_it_is_over() {
    for scenario in of_one_case().chain(without_matrix()) {
        let plan = plan(&scenario);
        for engine in [Engine::Bare, Engine::default()] {
            drop(run(&plan, &Options { engine, ..options(&Profile::ALL[0]) }));
            assert_eq!(Rc::strong_count(&plan), 1, "{} on {engine:?}", scenario.name);
        }
    }
}

/// Whatever is in play, a file can say it, and at least one call is.
#[test]
fn a_part_of_a_scenario_is_one() {
    let (mut parts, mut clocks) = (0, 0);
    for scenario in without_matrix() {
        let moments = happened_until_quiet(&run(&plan(&scenario), &options(&Profile::ALL[0])));
        for seed in 0..16 {
            let cast = Cast::draw(&scenario, &moments, Bound { faults: 1, delays: 0 }, seed);
            let part = cast.of(&scenario);
            assert_eq!(part.calls.is_empty(), scenario.calls.is_empty());
            parts += usize::from(part.calls.len() < scenario.calls.len());
            clocks += usize::from(part.clocks.len() > scenario.clocks.len());
            let text = print(&part);
            let read = parse(&format!("{}.toml", part.name), &text);
            let read = read.unwrap_or_else(|errors| panic!("{errors:?}\n{text}"));
            assert_eq!(print(&read), text);
            plan(&part);
        }
    }
    assert!(parts > 100 && clocks > 50, "{parts} parts, {clocks} clocks that are set");
}

/// The names of what happened from the first call on.
fn happened_until_quiet(outcome: &Outcome) -> Vec<String> {
    let entries = outcome.recording.entries.iter();
    let mut names = Vec::new();
    for entry in entries {
        match entry {
            RecordingEntry::Phase { name: "disturb", .. } => names.clear(),
            RecordingEntry::Phase { name: "reap", .. } => break,
            RecordingEntry::Moment(happened) => names.push(happened.moment.to_string()),
            _ => {}
        }
    }
    names
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
    assert_eq!(replayed.digest(), lost.digest);
    assert!(Symptom::all(&replayed).iter().any(|symptom| symptom.is_like(&lost.symptom)));
    insta::assert_snapshot!("a_known_defect", text);
}

fn search(scenarios: &[Scenario], profile: &str, jobs: usize, runs: u64) -> (Progress, Findings) {
    let profile = Profile::find(profile).expect("it is known");
    let bound = Bound { faults: 2, delays: 2 };
    let settings = Settings {
        profile,
        judge: Ids::ALL,
        seed: 7,
        bound,
        runs: Some(runs),
        time: None,
        jobs,
        shard: (0, 1),
    };
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
                let can = |fault: &&Fault| can_strike(fault, site.op, (awaited, endless), false);
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
        let all = Checking { merges: false, ..checking("hardened", (0, 1)) };
        let certificate = certify_as(driver, &all);
        assert!(certificate.is_complete());
        assert_eq!(certificate.runs, certificate.plans);
        assert_eq!(certificate.plans, 1 + faults + 2 * moments + losses, "{}", driver.name);
        assert_eq!(certificate.merged, 0);
    }
}

/// What is merged is found all the same, with fewer runs.
#[test]
fn what_is_merged_is_found() {
    let driver = drivers().into_iter().find(|driver| driver.name == "a-start-and-a-removal");
    let driver = driver.expect("there is such a driver");
    for (faults, delays) in [(1, 0), (0, 1)] {
        let bound = Bound { faults, delays };
        let merging = Checking { bound, ..checking("1.7.24", (0, 1)) };
        let merged = certify_as(&driver, &merging);
        let all = certify_as(&driver, &Checking { merges: false, ..merging });
        assert!(merged.merged > 0 && merged.runs < all.runs * 3 / 4, "{merged:?}");
        let broken = |certificate: &Certificate| -> BTreeSet<_> {
            let failures = certificate.findings.failures.iter();
            failures.map(|(failure, _)| failure.signature.broken).collect()
        };
        assert_eq!(broken(&merged), broken(&all));
        // A kill between two others that leave the same is told by the one before.
        assert!(signatures(&merged).is_subset(&signatures(&all)));
    }
}

fn alone() -> Scenario {
    let alone = drivers().into_iter().find(|driver| driver.name == "a-start-alone");
    alone.expect("there is such a driver")
}

/// Parts are disjoint, and together the whole.
#[test]
fn shards_are_the_whole() {
    let alone = alone();
    let whole = certify(&alone, "1.7.24", (0, 1));
    assert!(whole.findings.failures.len() > 1, "there is something to compare");
    for shards in [2, 3, 7, 64] {
        let parts: Vec<_> =
            (0..shards).map(|part| certify(&alone, "1.7.24", (part, shards))).collect();
        let sum = |of: fn(&Certificate) -> u64| parts.iter().map(of).sum::<u64>();
        assert_eq!(whole.plans, sum(|part| part.plans));
        assert_eq!(whole.runs, sum(|part| part.runs));
        assert_eq!(whole.moments, sum(|part| part.moments));
        let union: BTreeSet<String> = parts.iter().flat_map(signatures).collect();
        assert_eq!(union, signatures(&whole), "{shards} shards");
    }
}

/// Wherever a check is ended, the next one goes on from there, and says the same.
#[test]
fn a_check_that_is_ended_goes_on() {
    let alone = alone();
    let whole = certify(&alone, "1.7.24", (0, 1));
    let directory = tempfile::tempdir().expect("a directory can be made");
    let path = directory.path().join("kept.jsonl");
    let mut ends = 0;
    let resumed = loop {
        let mut kept = Kept::open(&path).expect("it can be written");
        let stop = AtomicBool::new(false);
        let mut left = 100 + 50 * ends;
        let done = check(&alone, &checking("1.7.24", (0, 1)), &stop, Some(&mut kept), |_, _| {
            left -= 1;
            stop.store(left <= 0, Ordering::Relaxed);
            Ok::<(), ()>(())
        });
        let done = done.expect("nobody objects");
        if done.cut == 0 {
            break done;
        }
        ends += 1;
        // A line that was being written when the process ended.
        let mut file = OpenOptions::new().append(true).open(&path).expect("it is there");
        write!(file, "{{\"key\": \"").expect("it can be written");
    };
    assert!(ends > 0 && resumed.resumed > 0);
    assert_eq!(resumed.plans, whole.plans);
    assert_eq!(resumed.runs, whole.runs);
    assert_eq!(resumed.moments, whole.moments);
    assert_eq!(resumed.merged, whole.merged);
    let told = |certificate: &Certificate| {
        let failures = certificate.findings.failures.iter();
        failures.map(|(failure, runs)| (failure.text("it"), *runs)).collect::<Vec<_>>()
    };
    assert_eq!(told(&resumed), told(&whole));
}

/// What another build did, or with another bound, is not gone on from.
#[test]
fn a_check_goes_on_from_its_own_kind_alone() {
    let alone = alone();
    let directory = tempfile::tempdir().expect("a directory can be made");
    let resumed = |checking: Checking| {
        let mut kept = Kept::open(&directory.path().join("kept.jsonl")).expect("it can be written");
        let stop = AtomicBool::new(false);
        let done = check(&alone, &checking, &stop, Some(&mut kept), |_, _| Ok::<(), ()>(()));
        done.expect("nobody objects").resumed
    };
    let checking = checking("hardened", (0, 1));
    assert_eq!(resumed(checking), 0);
    assert_ne!(resumed(checking), 0);
    assert_eq!(resumed(Checking { build: 1, ..checking }), 0);
    let bound = Bound { faults: 1, delays: 0 };
    assert_eq!(resumed(Checking { bound: Bound { faults: 0, ..bound }, ..checking }), 0);
    assert_eq!(resumed(Checking { shard: (0, 2), ..checking }), 0);
}

/// All that breaks, and where it is struck.
fn signatures(certificate: &Certificate) -> BTreeSet<String> {
    let failures = certificate.findings.failures.iter();
    failures.flat_map(|(f, _)| f.signatures()).map(|signature| signature.to_string()).collect()
}

/// One fault, no delay.
fn checking(profile: &str, shard: (usize, usize)) -> Checking {
    let profile = Profile::find(profile).expect("it is known");
    Checking {
        profile,
        judge: Ids::ALL,
        bound: Bound { faults: 1, delays: 0 },
        merges: true,
        jobs: 2,
        shard,
        build: 0,
    }
}

fn certify(scenario: &Scenario, profile: &str, shard: (usize, usize)) -> Certificate {
    certify_as(scenario, &checking(profile, shard))
}

fn certify_as(scenario: &Scenario, checking: &Checking) -> Certificate {
    let stop = AtomicBool::new(false);
    let done = check(scenario, checking, &stop, None, |_, _| Ok::<(), ()>(()));
    done.expect("nobody objects")
}
