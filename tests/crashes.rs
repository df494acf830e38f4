//! Whatever a scenario does, the daemon can be killed after any of its moments: the run ends in order, and
//! the node is reaped.

use std::path::PathBuf;
use std::rc::Rc;

use shakedown::oracle::{Crash, CrashAt, CrashKind, ScriptedCrash};
use shakedown::run::{Options, Outcome, Plan, run};
use shakedown::suite::{Runner, Source, collect};
use shakedown::turnstile::{Fate, Moment, RecordingEntry, Stop, Symbol};
use shakedown_cri::quirks::Profile;

const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios");

/// The moments of a run from its first call until it was reaped.
fn moments(outcome: &Outcome) -> Vec<Moment> {
    let entries = outcome.recording.entries.iter();
    let disturbed = entries
        .skip_while(|e| !matches!(e, RecordingEntry::Phase { name, .. } if *name == "disturb"))
        .take_while(|e| !matches!(e, RecordingEntry::Phase { name, .. } if *name == "reap"));
    let moments = disturbed.filter_map(|entry| match entry {
        RecordingEntry::Moment(happened) => Some(happened.moment),
        _ => None,
    });
    moments.collect()
}

fn run_with(plan: &Plan, crashes: &[ScriptedCrash], profile: &'static Profile) -> Outcome {
    let mut plan = plan.clone();
    for crash in crashes {
        plan.script.crashes.push(crash.clone());
        plan.crash_spans.push(0..0);
    }
    run(&Rc::new(plan), &Options { profile, ..Options::default() })
}

/// Every `step`-th moment of the first case of every file.
fn kill_everywhere(kind: CrashKind, step: usize) {
    let found = collect(&[PathBuf::from(SCENARIOS)]).unwrap_or_else(|error| panic!("{error}"));
    let mut killed = 0;
    for (number, one) in found.iter().enumerate() {
        let source = Source::read(one).unwrap_or_else(|error| panic!("{error}"));
        let profile = &Profile::ALL[number % Profile::ALL.len()];
        let cases = Runner::new().cases(&source, profile).unwrap_or_else(|e| panic!("{e:?}"));
        let ran = cases.run(0, false).unwrap_or_else(|error| panic!("{error:?}"));
        if ran.outcome.stop != Stop::Idle || !ran.plan.script.crashes.is_empty() {
            continue;
        }
        for moment in moments(&ran.outcome).into_iter().skip(number % step).step_by(step) {
            let crash = ScriptedCrash {
                at: CrashAt::Moment(moment),
                crash: Crash { kind, down: Some(Crash::DOWN) },
                lost: vec![Symbol::of(ScriptedCrash::ALL)],
                torn: Vec::new(),
            };
            let outcome = run_with(&ran.plan, &[crash], profile);
            let place = format!("{} after {moment}", source.label);
            assert_eq!(outcome.crashes, [Fate::Applied], "{place}");
            assert_eq!(outcome.stop, Stop::Idle, "{place}");
            assert!(outcome.reaped.is_some(), "{place}");
            let answered =
                outcome.answers.iter().all(|a| a.began.is_none() || a.answered.is_some());
            let hung = ran.outcome.answers.iter().any(|a| a.answered.is_none());
            assert!(answered || hung, "{place}: a call has no end");
            killed += 1;
        }
    }
    assert!(killed > 300, "only {killed} kills");
}

#[test]
fn the_daemon_can_be_killed_after_any_moment_of_any_scenario() {
    kill_everywhere(CrashKind::Daemon, 11);
}

#[test]
fn the_node_can_lose_power_after_any_moment_of_any_scenario() {
    kill_everywhere(CrashKind::Power, 37);
}
