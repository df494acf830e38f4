use std::collections::{BTreeMap, BTreeSet};

use shakedown_cri::quirks::Profile;

use super::*;
use crate::explore::exhaustive::can_strike;
use crate::explore::{States, plan, undecided};
use crate::oracle::{Effect, Fault, Menus};
use crate::scenario::parse;
use crate::turnstile::{Awaited, Layer, Op, RecordingEntry};

/// Small enough for every schedule of two delays.
const TWO_UPDATES: &str = r#"
shakedown = 1
title = "Two resource updates at once"
[[world.container]]
name = "web"
state = "running"
[[call]]
do = "update"
container = "web"
cpu-shares = 512
[[call]]
do = "update"
container = "web"
cpu-shares = 1024
"#;

/// Short enough for the whole of another request to come between two moments of one.
const TWO_STATUSES: &str = r#"
shakedown = 1
title = "Two requests for a status at once"
[[world.container]]
name = "web"
state = "running"
[[call]]
do = "status"
container = "web"
[[call]]
do = "status"
container = "web"
"#;

struct Row {
    driver: &'static str,
    profile: &'static str,
    bound: Bound,
    /// With a delay only faults of these kinds at this operation, or crashes after it.
    at: Option<(Op, &'static [&'static str])>,
    /// So many runs are to be enough.
    most: usize,
}

const fn row(
    driver: &'static str,
    profile: &'static str,
    (faults, delays): (u32, u32),
    at: Option<(Op, &'static [&'static str])>,
    most: usize,
) -> Row {
    Row { driver, profile, bound: Bound { faults, delays }, at, most }
}

/// What each task of the service, each request and the node had to do, in its order, and what it heard. Two
/// tasks may have one name, and then it is chance which of their calls comes first and is counted so.
fn histories(outcome: &Outcome) -> BTreeMap<String, Vec<String>> {
    let mut histories: BTreeMap<String, Vec<String>> = BTreeMap::new();
    // So is the number in a name that is drawn for a directory.
    let uncounted = |text: String| -> String {
        let mut parts = text.split_inclusive(['#', '/']);
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |all, part| all + part.trim_start_matches(char::is_numeric))
    };
    for entry in &outcome.recording.entries {
        let RecordingEntry::Moment(happened) = entry else { continue };
        let site = happened.moment.site;
        // The first poll of a task is its own.
        let who = if site.op == Op::Spawn { site.subject } else { site.actor };
        // Which numbers descriptors have is nobody's business.
        let is_of_files = matches!(site.op.layer(), Layer::File | Layer::Pipe);
        let payload = if is_of_files { 0 } else { happened.payload };
        let moment = uncounted(happened.moment.to_string());
        let heard = format!("{moment} {payload} {:?}", happened.error);
        histories.entry(uncounted(who.to_string())).or_default().push(heard);
    }
    for (who, history) in &mut histories {
        if who.starts_with("task-wait(") {
            history.sort();
        }
    }
    histories
}

/// What came of a run in the end.
fn facts(outcome: &Outcome) -> String {
    let broken: Vec<_> = Symptom::all(outcome).iter().map(|s| s.broken).collect();
    let Outcome { answers, quiet, reaped, events, stop, .. } = outcome;
    let answered =
        answers.iter().map(|a| (a.call, a.answered, a.result.as_ref().map(Result::is_ok)));
    let answered: Vec<_> = answered.collect();
    let peeks = quiet.statuses.iter().filter_map(|shot| shot.status.as_ref());
    let statuses: Vec<_> = peeks.map(|p| (p.state, p.exit_code, p.reason.clone())).collect();
    let left = (&quiet.left, reaped.as_ref().map(|reaped| &reaped.left));
    format!("{answered:?} {statuses:?} {left:?} {events:?} {stop:?} {broken:?}")
}

/// Of error classes that nobody tells apart one is tried.
fn stands_for_itself(menus: &Menus, op: Op, number: usize) -> bool {
    let fault = &menus.of(op)[number];
    let awaited = [Awaited::ByNoClient, Awaited::Blindly, Awaited::UntilGivenUp];
    let mut callers = awaited.iter().flat_map(|a| [(*a, false), (*a, true)]);
    callers.any(|caller| can_strike(fault, op, caller, true))
}

fn plan_of(driver: &str) -> Rc<Plan> {
    let file = format!("{}/../scenarios/drivers/{driver}.toml", env!("CARGO_MANIFEST_DIR"));
    let text = match driver {
        "two-updates" => TWO_UPDATES.to_owned(),
        "two-statuses" => TWO_STATUSES.to_owned(),
        _ => std::fs::read_to_string(&file).expect("the driver is there"),
    };
    let scenario = undecided(&parse(&file, &text).expect("it is right"));
    plan(&scenario).expect("it has no matrix")
}

/// What came of each run of a row, the states that they came to, and how many there were.
fn all(row: &Row, merges: bool) -> (BTreeSet<String>, BTreeSet<Option<u64>>, usize) {
    let Row { driver, profile, bound, at, .. } = row;
    let plan = plan_of(driver);
    let attempts = Attempts::new(Profile::find(profile).expect("it is known"));
    let attempts = if merges { attempts.merging(&plan) } else { attempts };
    let read = |outcome: Result<Outcome, Symptom>| {
        let outcome = outcome.expect("the harness holds");
        (facts(&outcome), format!("{:?}", histories(&outcome)), outcome.state)
    };
    let tree = Tree { plan: &plan, attempts: &attempts, bound: *bound, merges, read: &read };
    let within = |pick: &Pick| match pick {
        Pick::Fault { site, number } => {
            let kind = attempts.menus().of(site.op)[*number].kind();
            let is_here = |(op, kinds): &(Op, &[&str])| *op == site.op && kinds.contains(&kind);
            at.as_ref().is_none_or(is_here) && stands_for_itself(attempts.menus(), site.op, *number)
        }
        Pick::Crash { after, .. } => {
            at.as_ref().is_none_or(|(op, kinds)| *op == after.site.op && kinds.contains(&"crash"))
        }
        Pick::Hold { .. } => true,
    };
    let (mut brought, mut states, mut runs) = (BTreeSet::new(), BTreeSet::new(), 0);
    let mut ahead = vec![Node::default()];
    while let Some(node) = ahead.pop() {
        let is_killed = node.picks.iter().any(|pick| matches!(pick, Pick::Crash { .. }));
        let (mut of_run, histories, state) = tree.make(node, &mut ahead).read;
        ahead.retain(|node| node.picks.iter().all(within));
        // Whom it is killed with has done as much more, or less, in its memory.
        if !is_killed {
            of_run += &histories;
        }
        states.insert(state);
        brought.insert(of_run);
        runs += 1;
    }
    (brought, states, runs)
}

/// Runs come to few states, each of which is reaped once. What comes of that is the same for all: a debug build
/// makes sure.
#[test]
fn the_same_states_come_again_and_again() {
    let bound = Bound { faults: 0, delays: 1 };
    for (driver, count) in [
        ("a-start-and-a-second-start", 6),
        ("a-recovery", 6),
        ("a-start-and-a-clock-that-is-set-back", 2),
    ] {
        let plan = plan_of(driver);
        let profile = Profile::find("hardened").expect("it is known");
        let attempts = Attempts::new(profile).merging(&plan);
        let read = |outcome: Result<Outcome, Symptom>| outcome.ok().and_then(|o| o.state);
        let tree = Tree { plan: &plan, attempts: &attempts, bound, merges: true, read: &read };
        let (mut ahead, mut states, mut runs) = (vec![Node::default()], States::default(), 0);
        while let Some(node) = ahead.pop() {
            states.note(tree.make(node, &mut ahead).read);
            runs += 1;
        }
        assert_eq!(states.count(), count, "{driver}: of {runs} runs");
    }
}

/// What is left out brings nothing that the rest does not bring: to no task, to no request, to no file; and leaves
/// the node in no other state.
fn nothing_is_missing(rows: impl IntoIterator<Item = Row>) {
    for row in rows {
        let (merged, reached, few) = all(&row, true);
        let (whole, states, many) = all(&row, false);
        let Row { driver, profile, .. } = row;
        let missing = whole.difference(&merged).count();
        assert_eq!(missing, 0, "{driver} {profile}: of {} runs' outcomes", whole.len());
        let lost = states.difference(&reached).count();
        assert_eq!(lost, 0, "{driver} {profile}: of {} states", states.len());
        assert!(few < many && few <= row.most, "{driver} {profile}: {few} of {many} runs");
    }
}

const KINDS: &[&str] = &["error", "connection-closed", "hang", "cancel", "deadline"];

#[test]
fn what_is_left_out_beside_a_removal_brings_nothing_else() {
    nothing_is_missing([
        row("a-start-and-a-removal", "1.7.24", (1, 1), Some((Op::TaskWait, KINDS)), 175),
        row("a-start-and-a-removal", "hardened", (1, 1), Some((Op::TaskCreate, KINDS)), 500),
        row("a-start-and-a-removal", "1.7.24", (1, 1), Some((Op::FsRename, &["crash"])), 400),
        row("a-start-and-a-removal", "1.7.0-beta.3", (1, 0), None, 200),
    ]);
}

#[test]
fn what_is_left_out_beside_another_call_brings_nothing_else() {
    const HANG: &[&str] = &["hang"];
    nothing_is_missing([
        row("a-start-and-a-second-start", "hardened", (0, 1), None, 60),
        row("a-start-and-a-stop", "hardened", (0, 1), None, 45),
        row("a-start-and-a-stop", "hardened", (1, 1), Some((Op::MetricsRegister, HANG)), 140),
        row("two-updates", "1.7.24", (0, 2), None, 750),
        row("two-statuses", "hardened", (1, 1), None, 221),
    ]);
}

/// A start that is told late what it asked for early remembers that, whatever else is as in another run.
#[test]
fn what_is_left_out_beside_an_update_brings_nothing_else() {
    const ERROR: Option<(Op, &[&str])> = Some((Op::ImageGet, &["error"]));
    const UPDATE: &str = "../concurrent/a-start-and-an-update";
    nothing_is_missing([row(UPDATE, "1.7.24", (1, 1), ERROR, 180)]);
}

/// Where a fault strikes just before a moment is let go, or while some are out of order, its run is asked for their
/// order. As many runs are made if all of them note their steps.
#[test]
fn a_run_notes_its_steps_if_it_will_be_asked() {
    let at = Some((Op::RecordInfo, KINDS));
    let row = row("a-start-and-a-removal", "hardened", (1, 1), at, 0);
    assert_eq!(all(&row, true).2, 2773);
}

/// Where a run is left to another one from some moment on, as both are in the same state, a fault that strikes
/// later brings the same, and a daemon that is killed leaves the same.
#[test]
fn what_strikes_after_two_runs_have_met_leaves_the_same() {
    let bound = Bound { faults: 1, delays: 1 };
    let mut compared = 0;
    let drivers = [("a-start-and-a-removal", 2), ("a-start-and-a-stop", 5), ("a-recovery", 20)];
    for (driver, every) in drivers {
        let plan = plan_of(driver);
        let profile = Profile::find("hardened").expect("it is known");
        let attempts = Attempts::new(profile).merging(&plan);
        let read = |outcome: Result<Outcome, Symptom>| {
            let outcome = outcome.expect("the harness holds");
            (facts(&outcome), outcome.state)
        };
        let tree = Tree { plan: &plan, attempts: &attempts, bound, merges: true, read: &read };
        let mut nodes = Vec::new();
        let root = tree.run(&[], false).path;
        tree.make(Node::default(), &mut nodes);
        let held: Vec<(&Node<_>, &Run<_>)> =
            nodes.iter().filter_map(|node| Some((node, node.run.as_deref()?))).collect();
        for (at, (node, run)) in held.iter().enumerate() {
            let Some(until) = node.until else { continue };
            let none = (&[][..], &root);
            let before = held[..at].iter().map(|(node, run)| (&*node.picks, &run.path));
            let before = before.chain([none]);
            let met = before.clone().find(|(_, path)| {
                run.path.meets([*path].iter().copied()).is_some_and(|met| met < until as usize)
            });
            let (others, _) = met.expect("it is left to another one");
            let later = run.trail.turns.iter().filter_map(|(question, turn)| {
                run.question(*question).filter(|(_, moments)| *moments >= until)?;
                match *turn {
                    Turn::Hold { .. } => None,
                    Turn::Fault { site, .. } => Some(Pick::Fault { site, number: 0 }),
                    Turn::Crash { after } => Some(Pick::Crash { after, number: 0, loses: false }),
                }
            });
            for strike in later.step_by(every) {
                let left = [&*node.picks, others]
                    .map(|picks| tree.run(&[picks, &[strike]].concat(), true).read);
                assert_eq!(left[0], left[1], "{driver}: {:?}, {others:?}: {strike:?}", node.picks);
                compared += 1;
            }
        }
    }
    assert!(compared > 300, "{compared}");
}

/// A task that goes on without leaving its poll has heard what its call came to: what differs in that is not the same
/// state.
#[test]
fn a_task_that_is_polled_remembers_what_it_was_told() {
    let bound = Bound { faults: 2, delays: 1 };
    let plan = plan_of("a-start-alone");
    let profile = Profile::find("hardened").expect("it is known");
    let attempts = Attempts::new(profile).merging(&plan);
    let tree = Tree { plan: &plan, attempts: &attempts, bound, merges: true, read: &|_| () };
    let undisturbed = tree.run(&[], false);
    let sites = undisturbed.trail.turns.iter().filter_map(|(_, turn)| match turn {
        Turn::Fault { site, .. } if site.op == Op::FsChmod => Some(*site),
        _ => None,
    });
    let mut compared = 0;
    for site in sites {
        let errors =
            attempts.menus().of(site.op).iter().enumerate().filter_map(|(number, fault)| {
                let is_error = matches!(fault, Fault::Error { effect: Effect::None, .. });
                is_error.then(|| tree.run(&[Pick::Fault { site, number }], false).path)
            });
        let errors: Vec<Path> = errors.collect();
        for (at, path) in errors.iter().enumerate() {
            assert_eq!(path.meets(errors[..at].iter()), None, "{site}, error {at}");
            compared += at;
        }
    }
    assert!(compared > 0);
}

#[test]
fn what_is_left_out_of_a_single_call_brings_nothing_else() {
    const LATE: &[&str] = &["deadline"];
    const ERROR: Option<(Op, &[&str])> = Some((Op::RuntimeStart, &["error"]));
    nothing_is_missing([
        row("a-start-alone", "2.1.9", (0, 1), None, 1),
        row("a-start-alone", "hardened", (1, 1), Some((Op::RuntimeStart, LATE)), 65),
        row("a-start-alone", "hardened", (1, 1), Some((Op::ShimState, LATE)), 330),
        row("a-start-and-want-of-memory", "1.7.24", (1, 1), ERROR, 130),
        row("a-pod-that-dies", "1.7.24", (1, 2), Some((Op::ShimState, LATE)), 160),
        row("a-creation", "2.1.9", (1, 0), None, 300),
        row("a-start-and-want-of-memory", "1.7.24", (1, 0), None, 1000),
    ]);
}
