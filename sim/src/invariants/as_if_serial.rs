//! I14: concurrent calls on one container end as if they had come one after the other. Starts that a power
//! loss parts are no rivals.

use shakedown_cri::cri::ContainerState;

use super::judge::{CallFact, Kind, View};
use super::{Id, Invariant, Notes};
use crate::run::Snapshot;
use crate::scenario::{Action, InitialState, Limits};
use crate::world::ProcessState;

#[derive(Default)]
pub struct AsIfSerial;

/// The interval of a call in numbers of moments; open to the right while it is in progress.
fn interval(call: &CallFact) -> Option<(u64, u64)> {
    let (_, began) = call.began?;
    Some((began, call.answered.map_or(u64::MAX, |(_, order)| order)))
}

fn overlap(a: &CallFact, b: &CallFact) -> bool {
    match (interval(a), interval(b)) {
        (Some((a0, a1)), Some((b0, b1))) => a0 < b1 && b0 < a1,
        _ => false,
    }
}

/// Whether the node lost power between two calls: what the second finds is what the disk kept of the
/// first, and no rival of it.
fn parted(view: &View<'_>, a: &CallFact, b: &CallFact) -> bool {
    let began = |call: &CallFact| call.began.map_or(0, |(_, order)| order);
    let (from, to) = (began(a).min(began(b)), began(a).max(began(b)));
    view.power_losses.iter().any(|at| (from..to).contains(at))
}

/// What updates answered with success is what the process is limited to; one that does not run gets it
/// from its spec.
fn limits_in_force(view: &View<'_>, index: usize, notes: &mut Notes) {
    let subject = &view.subjects[index];
    let updates = view.calls.iter().zip(&view.plan.calls).filter_map(|(call, plan)| {
        let (Action::Update { limits, .. } | Action::PluginUpdate { limits, .. }) = plan.action
        else {
            return None;
        };
        (call.subject == Some(index)).then_some((call, limits))
    });
    // What a crash cut off may be in force, or not.
    let (cut, updates): (Vec<_>, Vec<_>) = updates.partition(|(call, _)| call.was_cut());
    let mut updates: Vec<_> = (updates.into_iter())
        .filter(|(call, _)| call.succeeded())
        .map(|(call, limits)| (call.answered, limits))
        .collect();
    updates.sort_unstable_by_key(|(answered, _)| *answered);
    let mut wanted = Limits::default();
    for (_, limits) in updates {
        wanted.cpu_shares = or(limits.cpu_shares, wanted.cpu_shares);
        wanted.memory = or(limits.memory, wanted.memory);
    }
    if wanted == Limits::default() {
        return;
    }
    let living = view.processes(index).find(|process| process.state == ProcessState::Running);
    let record = view.world.metadata.records.get(&subject.id);
    let (place, found) = match (living, record) {
        (Some(process), _) => ("its process", &process.limits),
        (None, Some(record)) => ("its spec", &record.spec.resources),
        (None, None) => return,
    };
    let found = Limits { cpu_shares: found.cpu_shares, memory: found.memory_limit_in_bytes };
    let as_wanted = |of: fn(&Limits) -> i64| {
        let found = of(&found);
        let may_be = cut.iter().any(|(_, limits)| of(limits) == found);
        of(&wanted) == 0 || of(&wanted) == found || may_be
    };
    let in_force = as_wanted(|limits| limits.cpu_shares) && as_wanted(|limits| limits.memory);
    notes.judge(in_force, view, || {
        format!(
            "{} was to be limited to {} cpu shares and {} bytes of memory, but {place} has {} and {}",
            subject.name, wanted.cpu_shares, wanted.memory, found.cpu_shares, found.memory
        )
    });
}

/// `new` unless it says nothing.
const fn or(new: i64, old: i64) -> i64 {
    if new == 0 { old } else { new }
}

impl Invariant for AsIfSerial {
    fn id(&self) -> Id {
        Id(14)
    }

    fn name(&self) -> &'static str {
        "as-if-serial"
    }

    fn quiet(&mut self, view: &View<'_>, _: &Snapshot, notes: &mut Notes) {
        for (index, subject) in view.subjects.iter().enumerate() {
            limits_in_force(view, index, notes);
            let of_it = |kind: Kind| {
                view.calls.iter().filter(move |c| c.kind == kind && c.subject == Some(index))
            };
            let starts: Vec<&CallFact> = of_it(Kind::Start).filter(|c| c.began.is_some()).collect();
            let won: Vec<&&CallFact> = starts.iter().filter(|c| c.succeeded()).collect();
            if starts.len() > 1 {
                let rivals = |a: &CallFact| won.iter().filter(|b| !parted(view, a, b)).count();
                let most = won.iter().map(|start| rivals(start)).max().unwrap_or(0);
                notes.judge(most <= 1, view, || {
                    format!("{most} starts of {} succeeded", subject.name)
                });
            }
            let concurrent = starts
                .iter()
                .enumerate()
                .any(|(i, a)| starts[i + 1..].iter().any(|b| overlap(a, b)));
            let all_answered = starts.iter().all(|start| start.answered.is_some());
            let undisturbed = !view.faults_struck(|_| true)
                && !starts.iter().any(|start| start.was_cut())
                && view.plan.occurrences.is_empty()
                && !view.calls.iter().any(|c| {
                    let intervenes = matches!(
                        c.kind,
                        Kind::Stop | Kind::Remove | Kind::StopPod | Kind::RemovePod
                    );
                    intervenes && c.touches(index, subject)
                })
                && view.plan.calls.iter().all(|c| {
                    c.deadline.is_none() && c.cancel_after.is_none() && c.cancel_when.is_none()
                });
            // One that was there from the start, and that nothing of its world keeps from starting.
            let startable = !subject.started_in_setup
                && view.plan.containers.get(index).is_some_and(|container| {
                    container.state == InitialState::Created && view.plan.can_start(container)
                });
            if concurrent && all_answered && undisturbed && startable {
                notes.judge(won.len() == 1, view, || {
                    format!("none of the concurrent starts of {} won", subject.name)
                });
            }
            if let Some(winner) = won.first()
                && starts.len() > 1
                && !starts.iter().any(|start| parted(view, winner, start))
                && let Some(peek) = &subject.peek
            {
                let marked = peek.state == ContainerState::Exited && peek.reason == "StartError";
                notes.judge(!marked, view, || {
                    format!(
                        "{} succeeded, but a losing start marked {} as failed",
                        winner.name, subject.name
                    )
                });
            }
            let lives = view.process_lives(index);
            for start in starts.iter().filter(|c| c.succeeded()) {
                for remove in of_it(Kind::Remove).filter(|c| c.succeeded()) {
                    if overlap(start, remove) {
                        notes.judge(!lives, view, || {
                            format!(
                                "{} and {} both succeeded, and the process runs",
                                start.name, remove.name
                            )
                        });
                    }
                }
                let of_pod = view
                    .calls
                    .iter()
                    .filter(|call| call.kind == Kind::StopPod && call.touches(index, subject));
                for stop in of_it(Kind::Stop).chain(of_pod).filter(|c| c.succeeded()) {
                    let during = match (interval(stop), interval(start)) {
                        (Some((s0, s1)), Some((t0, t1))) => t0 < s0 && s1 < t1,
                        _ => false,
                    };
                    if during {
                        notes.judge(!lives, view, || {
                            format!(
                                "{} answered success during {}, and {} runs all the same",
                                stop.name, start.name, subject.name
                            )
                        });
                    }
                }
            }
        }
    }
}
