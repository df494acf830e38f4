//! The values of sweeps: moments and sites of an actor, from a run without what uses them.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::run::{Plan, RunError};
use crate::scenario::matrix::placeholders;
use crate::scenario::{
    Axis, AxisValues, Case, EVERYBODY, Effect, Fault, FaultKind, Scenario, baseline, nearest,
};
use crate::turnstile::{Awaited, Happened, Recording, RecordingEntry, Stage};

/// Whether a scenario has sweeps.
pub(super) fn has_sweep(scenario: &Scenario) -> bool {
    scenario.matrix.iter().any(|axis| !matches!(axis.values, AxisValues::List(_)))
}

/// The plan of the run that tells the values.
pub(super) fn plan(scenario: &Scenario) -> Result<Rc<Plan>, Vec<RunError>> {
    let scenario = baseline(scenario);
    let case = Case { name: scenario.name.clone(), values: Vec::new(), scenario };
    Plan::new(&case).map(Rc::new)
}

/// The values of a sweep in the order of the run, each once.
pub(super) fn values(axis: &Axis, scenario: &Scenario, recording: &Recording) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut values = Vec::new();
    let mut add = |value: String| {
        if seen.insert(value.clone()) {
            values.push(value);
        }
    };
    match &axis.values {
        AxisValues::List(list) => return list.clone(),
        AxisValues::EveryMomentOf { actor, from } => {
            let moments = of_actor(recording, actor).map(|happened| happened.moment.to_string());
            moments
                .skip_while(|moment| from.as_ref().is_some_and(|from| moment != from))
                .for_each(&mut add);
        }
        AxisValues::EverySiteOf(actor) | AxisValues::EveryOperationOf(actor) => {
            let first_only = matches!(axis.values, AxisValues::EveryOperationOf(_));
            let mut operations = BTreeSet::new();
            // A lock can meet a fault, but has no moments beside its site.
            let uses =
                |fault: &Fault| placeholders(&fault.at).iter().any(|(_, name)| *name == axis.name);
            let for_faults = scenario.faults.iter().any(uses);
            // A call that was made before the faults could strike meets none.
            let made: BTreeSet<String> =
                recording.calls.iter().flatten().map(|(site, _)| site.to_string()).collect();
            for happened in of_actor(recording, actor) {
                let site = happened.moment.site.to_string();
                let can = if is_call(happened) { made.contains(&site) } else { for_faults };
                if can && (!first_only || operations.insert(happened.moment.site.op)) {
                    add(site);
                }
            }
        }
    }
    values
}

/// Why a sweep has no values in a run: what it swept over, and what may be meant.
pub(super) fn emptiness(axis: &Axis, recording: &Recording) -> (String, String) {
    let (what, actor) = match &axis.values {
        AxisValues::List(_) => unreachable!("a list of values has at least one"),
        AxisValues::EveryMomentOf { actor, from: Some(from) } => {
            (format!("moment of `{actor}` from `{from}` on"), actor)
        }
        AxisValues::EveryMomentOf { actor, from: None } => (format!("moment of `{actor}`"), actor),
        AxisValues::EverySiteOf(actor) => (format!("site of `{actor}`"), actor),
        AxisValues::EveryOperationOf(actor) => (format!("operation of `{actor}`"), actor),
    };
    let message = format!(
        "the axis `{}` has no values in this run: there is no {what} to go over",
        axis.name
    );
    let help = if of_actor(recording, actor).next().is_some() {
        "no site of the actor can meet the faults that use the axis, or `from` is none of its moments"
            .to_owned()
    } else {
        let actors: BTreeSet<Rc<str>> = of_actor(recording, EVERYBODY)
            .map(|happened| Rc::from(root_of(&happened.moment.site.actor.text())))
            .collect();
        let near = nearest(actor, actors.iter().map(|actor| &**actor));
        let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        format!("the actor does nothing{near}")
    };
    (message, help)
}

/// Moments of the actor (of all actors of a boot, for `boot2`; of all there are, for `*`) and of what
/// happens inside its calls, while the scenario's calls were made.
fn of_actor<'r>(
    recording: &'r Recording,
    actor: &'r str,
) -> impl Iterator<Item = &'r Happened> + 'r {
    let phase = |name: &'static str| move |entry: &&RecordingEntry| !matches!(entry, RecordingEntry::Phase { name: n, .. } if *n == name);
    let disturbed = recording.entries.iter().skip_while(phase("disturb"));
    disturbed.take_while(phase("reap")).filter_map(move |entry| match entry {
        RecordingEntry::Moment(happened) => {
            let text = happened.moment.site.actor.text();
            let root = root_of(&text);
            let of_boot = || root.strip_prefix(actor).is_some_and(|rest| rest.starts_with(':'));
            (actor == EVERYBODY || root == actor || of_boot()).then_some(happened)
        }
        _ => None,
    })
}

/// The actor at the head of a path of calls: `start-1` of `start-1/task.create(web)#1`.
pub(crate) fn root_of(actor: &str) -> &str {
    let mut depth = 0_u32;
    for (i, c) in actor.bytes().enumerate() {
        match c {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b'/' if depth == 0 => return &actor[..i],
            _ => {}
        }
    }
    actor
}

/// Whether the fault can strike, as far as its operation and the calls of the run that told the
/// sweep's values say: a client cannot give up where none waits, and nobody goes on early from a call
/// that does not look at the client.
pub(super) fn fits(fault: &Fault, calls: &BTreeMap<String, Awaited>) -> bool {
    let late = match &fault.kind {
        FaultKind::Cancel { effect } | FaultKind::Deadline { effect } => {
            matches!(effect, Effect::Late(_))
        }
        _ => return crate::run::fits(fault),
    };
    crate::run::fits(fault)
        && match calls.get(&fault.at) {
            Some(Awaited::ByNoClient) => false,
            Some(Awaited::Blindly) => !late,
            Some(Awaited::UntilGivenUp) | None => true,
        }
}

/// Names of the sites and moments that a run reached, once it was disturbed.
pub(super) fn reached(recording: &Recording) -> impl Iterator<Item = &Happened> {
    let entries = recording.entries.iter();
    let disturbed = entries
        .skip_while(|e| !matches!(e, RecordingEntry::Phase { name, .. } if *name == "disturb"));
    disturbed.filter_map(|entry| match entry {
        RecordingEntry::Moment(happened) => Some(happened),
        _ => None,
    })
}

/// Whether the moment's site is a call, which faults can strike.
pub(super) fn is_call(happened: &Happened) -> bool {
    happened.moment.stage != Stage::Only
}
