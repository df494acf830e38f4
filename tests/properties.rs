//! What holds whatever the oracle decides.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use proptest::prelude::*;
use shakedown::engine::Engine;
use shakedown::oracle::{Menus, Script, Scripted, Seeded, Weights};
use shakedown::run::{Options, Outcome, Plan, run, run_under};
use shakedown::scenario::{expand, parse};
use shakedown::turnstile::{Limits, Moment, RecordingEntry, Sim, SimRuntime, Stop, Symbol};
use shakedown::world::{FIRST_BOOT, World};
use shakedown_cri::cri::LocalFuture;
use shakedown_cri::ports::{Instant, Runtime};
use shakedown_cri::quirks::Profile;

/// A silent process that outlives its start.
const PLAIN: &str = r#"
shakedown = 1
title = "A plain start"

[[world.container]]
name = "web"

[[call]]
do = "start"
container = "web"
"#;

/// Everything that a run can have: plugins, output, neighbours, and calls that meet.
const CROWDED: &str = r#"
shakedown = 1
title = "Calls that meet"

[[world.plugin]]
name = "topology"

[[world.plugin]]
name = "audit"

[[world.container]]
name = "web"

[world.container.process]
runs = "20s"
exit-code = 3

[[world.container.process.output]]
text = "hello\n"
repeat = 3

[[world.container]]
name = "db"
state = "running"

[[world.container]]
name = "late"
state = "absent"

[[call]]
do = "start"
container = "web"
deadline = "30s"

[[call]]
do = "start"
container = "web"

[[call]]
do = "create"
container = "late"

[[call]]
do = "start"
container = "late"
when = "create-1.done"

[[call]]
do = "stop"
container = "db"
timeout = 5
cancel-at = "2s"

[[call]]
do = "status"
container = "web"
at = "1s"

[[call]]
do = "list"
at = "2s"

[[call]]
do = "remove"
container = "web"
at = "3s"
deadline = "1m"
"#;

fn plan(text: &str) -> Rc<Plan> {
    let scenario = parse("test.toml", text).unwrap_or_else(|errors| panic!("{errors:?}"));
    let expansion = expand(&scenario, &|_| Vec::new(), &|_| true).expect("no matrix");
    Rc::new(Plan::new(&expansion.case(0)).unwrap_or_else(|errors| panic!("{errors:?}")))
}

fn seeded(text: &str, profile: &'static Profile, seed: u64, weights: Weights) -> Outcome {
    let options = Options { profile, ..Options::default() };
    run_under(&plan(text), &options, Box::new(Seeded::new(seed, weights)))
}

/// Moments that were set aside, in order.
fn held(outcome: &Outcome) -> Vec<Moment> {
    let of = |entry: &RecordingEntry| match entry {
        RecordingEntry::Held { moment, .. } => Some(*moment),
        _ => None,
    };
    outcome.recording.entries.iter().filter_map(of).collect()
}

fn violations(outcome: &Outcome) -> Vec<String> {
    let each = outcome.judgement.violated();
    each.map(|finding| format!("{} {}: {:?}", finding.id, finding.name, finding.violations))
        .collect()
}

/// The faults of a run as a scenario would write them down.
fn script_of(outcome: &Outcome) -> Script {
    let of = |entry: &RecordingEntry| match entry {
        RecordingEntry::Fault { site, fault, .. } => Some((*site, (**fault).clone())),
        _ => None,
    };
    Script {
        faults: outcome.recording.entries.iter().filter_map(of).collect(),
        ..Script::default()
    }
}

fn profiles() -> impl Strategy<Value = &'static Profile> {
    prop::sample::select(Profile::ALL.iter().collect::<Vec<_>>())
}

/// Failures name the seed, which is all that there is to keep.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(64))]

    #[test]
    fn any_schedule_of_a_plain_start_holds_all_invariants(
        profile in profiles(),
        seed in any::<u64>(),
        hold in 1_u32..600,
        keep in 1_u32..990,
    ) {
        let outcome = seeded(PLAIN, profile, seed, Weights { fault: 0, hold, keep });
        prop_assert_eq!(&outcome.stop, &Stop::Idle);
        prop_assert!(violations(&outcome).is_empty(), "{:#?}", violations(&outcome));
        prop_assert!(outcome.answers.iter().all(|a| matches!(a.result, Some(Ok(_)))));
        prop_assert!(outcome.reaping.failed.is_empty(), "{:?}", outcome.reaping.failed);
        let reaped = outcome.reaped.expect("the run was reaped");
        prop_assert!(reaped.left.0.is_empty(), "{:?}", reaped.left);
    }

    #[test]
    fn the_same_decisions_bring_the_same_digest(profile in profiles(), seed in any::<u64>()) {
        let weights = Weights { fault: 10, hold: 50, keep: 700 };
        let [first, second] = [(); 2].map(|()| seeded(CROWDED, profile, seed, weights));
        prop_assert_eq!(first.recording.moments, second.recording.moments);
        prop_assert_eq!(first.digest(), second.digest());
    }

    /// Faults that were chosen by chance are a scenario that needs no chance.
    #[test]
    fn recorded_faults_replay_as_a_script(profile in profiles(), seed in any::<u64>()) {
        let recorded = seeded(CROWDED, profile, seed, Weights { fault: 20, hold: 0, keep: 0 });
        let mut replay = (*plan(CROWDED)).clone();
        replay.script = script_of(&recorded);
        let replayed = run(&Rc::new(replay), &Options { profile, ..Options::default() });
        for (a, b) in recorded.recording.happened().zip(replayed.recording.happened()) {
            prop_assert_eq!((a.at, a.moment.to_string()), (b.at, b.moment.to_string()));
        }
        prop_assert_eq!(recorded.digest(), replayed.digest());
    }

    #[test]
    fn faults_never_break_the_harness(
        profile in profiles(),
        seed in any::<u64>(),
        fault in 1_u32..300,
        hold in 0_u32..300,
        keep in 0_u32..990,
    ) {
        let outcome = seeded(CROWDED, profile, seed, Weights { fault, hold, keep });
        prop_assert_eq!(&outcome.stop, &Stop::Idle);
        prop_assert!(outcome.reaped.is_some());
        let judged = outcome.judgement.findings.iter().filter(|finding| finding.evaluated > 0);
        prop_assert!(judged.count() > 0);
    }
}

/// The schedules above are only worth something if they differ.
#[test]
fn seeds_make_schedules_that_differ() {
    let weights = Weights { fault: 0, hold: 200, keep: 700 };
    let mut digests = BTreeSet::new();
    let mut with_holds = 0;
    for seed in 0..50 {
        let outcome = seeded(PLAIN, &Profile::ALL[0], seed, weights);
        with_holds += usize::from(!held(&outcome).is_empty());
        digests.insert(outcome.digest());
    }
    assert!(with_holds > 40, "only {with_holds} of 50 runs set a moment aside");
    assert!(digests.len() > 40, "only {} of 50 runs differ", digests.len());
}

#[test]
fn a_call_that_nothing_ends_is_judged_at_its_bound() {
    let text = format!(
        "{PLAIN}deadline = \"5s\"\n\n[[fault]]\nat = \"start-1/fs.open(log:pod/web.log)#1\"\nkind = \"hang!\"\n"
    );
    let outcome = run(&plan(&text), &Options::default());
    assert_eq!(outcome.stop, Stop::Idle);
    assert_eq!(outcome.faults, [shakedown::turnstile::Fate::Applied]);
    assert!(outcome.answers[0].result.is_none(), "{:?}", outcome.answers);
    let waiting: Vec<String> = outcome.waiting.iter().map(ToString::to_string).collect();
    assert!(
        waiting.contains(&"start-1/fs.open(log:pod/web.log)#1.reply".to_owned()),
        "{waiting:?}"
    );
    let broken: Vec<u8> = outcome.judgement.violated().map(|finding| finding.id.0).collect();
    assert!(broken.contains(&5), "{broken:?}");
}

#[test]
fn a_panic_of_the_service_is_a_finding() {
    let text =
        PLAIN.replace("[[world.container]]", "[world]\nnri = \"absent\"\n\n[[world.container]]");
    let text = format!(
        "{text}\n[[fault]]\nat = \"start-1/task.start(web)#1\"\nkind = \"error\"\ncode = \"unknown\"\n"
    );
    let outcome = run(&plan(&text), &Options::default());
    let Stop::Panicked { actor, message } = &outcome.stop else { panic!("{:?}", outcome.stop) };
    assert_eq!(actor, "start-1");
    assert!(message.contains("nil pointer dereference"), "{message}");
    let broken: Vec<u8> = outcome.judgement.violated().map(|finding| finding.id.0).collect();
    assert!(broken.contains(&17), "{broken:?}");
}

fn empty() -> Sim {
    let script = Script::default();
    let oracle = Box::new(Scripted::new(&script));
    let limits = Limits { moments: 10_000 };
    let world = World::new(Profile::default().quirks);
    Sim::new(world, script, oracle, Rc::new(Menus::new()), limits)
}

/// Runs one task beside an empty world.
fn alone(future: LocalFuture<()>) -> (Stop, u64) {
    let sim = empty();
    Engine::default().run(&sim, || {
        sim.start_task(Symbol::of("loop"), future);
        let stop = sim.run_until(None);
        (stop, sim.with_recording(|recording| recording.moments))
    })
}

#[test]
fn a_task_that_wakes_itself_for_ever_exceeds_the_budget() {
    let endless = poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::<()>::Pending
    });
    assert_eq!(alone(Box::pin(endless)), (Stop::OverBudget, 10_000));
}

#[test]
fn a_panic_names_its_actor() {
    let panics = async { panic!("no {}", "luck") };
    let stop = Stop::Panicked { actor: "loop".to_owned(), message: "no luck".to_owned() };
    assert_eq!(alone(Box::pin(panics)), (stop, 1));
}

/// The two clocks start together, and go on together.
#[cfg(feature = "madsim")]
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "stands for third-party code, which sees madsim's clock"
)]
fn timers_of_third_party_code_go_off_in_virtual_time() {
    let sim = empty();
    let seconds = Duration::from_secs;
    let woken = Rc::new(Cell::new(None));
    Engine::Madsim.run(&sim, || {
        let runtime = SimRuntime::new(sim.clone(), FIRST_BOOT);
        let (at, clock) = (woken.clone(), sim.clone());
        let third_party = async move {
            madsim::time::sleep(seconds(90)).await;
            at.set(Some(clock.now().since(Instant(0))));
        };
        let ours = async move {
            for _ in 0..3 {
                runtime.sleep(seconds(60)).await;
            }
        };
        sim.start_task(Symbol::of("third-party"), Box::pin(third_party));
        sim.start_task(Symbol::of("ours"), Box::pin(ours));
        assert_eq!(sim.run_until(None), Stop::Idle);
    });
    // Its timer is seen to have gone off when time moves on the next time.
    assert_eq!(woken.get(), Some(seconds(120)));
}
