//! I14: concurrent calls on one container end as if they had come one after the other. Starts that a power
//! loss parts are no rivals.

use shakedown_cri::cri::ContainerState;

use super::judge::{CallFact, Kind, View};
use super::{Id, Invariant, Notes};
use crate::run::Snapshot;
use crate::scenario::{Action, InitialState, Limits};
use crate::world::ProcessState;

#[derive(Default, Hash)]
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

/// A resource update that may be in force, in the end or until another one is.
struct Update<'a> {
    call: &'a CallFact,
    limits: Limits,
}

impl Update<'_> {
    /// Whether this one had come about when the other one was made. What failed may be on its way still.
    fn is_before(&self, other: &Update<'_>) -> bool {
        match (interval(self.call), interval(other.call)) {
            (Some((_, answered)), Some((began, _))) => self.call.succeeded() && answered < began,
            _ => false,
        }
    }
}

/// Whether `found` can be in force after these updates, in an order in which they can have been made. One that
/// failed or was cut off may have come about, or not.
fn can_be_in_force(updates: &[Update<'_>], found: &Limits) -> bool {
    type Limit = fn(&Limits) -> i64;
    const LIMITS: [Limit; 2] = [|limits| limits.cpu_shares, |limits| limits.memory];
    let [cpu_shares, memory] = LIMITS.map(|of| {
        let sets = move |update: &&Update<'_>| of(&update.limits) != 0;
        let must = || updates.iter().filter(|update| update.call.succeeded()).filter(sets);
        let can_be_last = |update: &&Update<'_>| !must().any(|other| update.is_before(other));
        let last = updates.iter().filter(|update| of(&update.limits) == of(found));
        must().next().map(|_| last.filter(can_be_last).collect::<Vec<_>>())
    });
    match (cpu_shares, memory) {
        (Some(cpu_shares), Some(memory)) => cpu_shares.iter().any(|last_of_cpu| {
            // Each of two that set both is before the other otherwise.
            let agrees = |last_of_memory: &&Update<'_>| {
                std::ptr::eq(*last_of_cpu, *last_of_memory)
                    || last_of_cpu.limits.memory == 0
                    || last_of_memory.limits.cpu_shares == 0
            };
            memory.iter().any(agrees)
        }),
        (Some(last), None) | (None, Some(last)) => !last.is_empty(),
        (None, None) => true,
    }
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
        (call.subject == Some(index) && call.began.is_some()).then_some(Update { call, limits })
    });
    let updates: Vec<Update<'_>> = updates.collect();
    if !updates.iter().any(|update| update.call.succeeded()) {
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
    notes.judge(can_be_in_force(&updates, &found), view, || {
        let wanted = updates.iter().filter(|update| update.call.succeeded()).map(|update| {
            let Limits { cpu_shares, memory } = update.limits;
            format!("{} to {cpu_shares} cpu shares and {memory} bytes of memory", update.call.name)
        });
        format!(
            "{} was limited by {}, but {place} has {} and {}",
            subject.name,
            wanted.collect::<Vec<_>>().join(", by "),
            found.cpu_shares,
            found.memory
        )
    });
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

#[cfg(test)]
mod tests {
    use shakedown_cri::ports::Error;

    use super::*;
    use crate::turnstile::Symbol;

    /// A call that began and was answered at these moments.
    fn update(from: u64, to: u64, succeeded: bool) -> CallFact {
        CallFact {
            name: Symbol::of("update"),
            kind: Kind::Update,
            subject: Some(0),
            sandbox_id: None,
            began: Some((0, from)),
            answered: Some((0, to)),
            result: Some(if succeeded { Ok(()) } else { Err(Error::unknown("no luck")) }),
            gave_up: None,
            claimed: false,
        }
    }

    const fn limits(cpu_shares: i64, memory: i64) -> Limits {
        Limits { cpu_shares, memory }
    }

    #[test]
    fn updates_that_meet_may_have_come_in_any_order() {
        let (first, second, later) = (update(0, 5, true), update(3, 8, true), update(9, 10, true));
        let both = [
            Update { call: &first, limits: limits(1, 10) },
            Update { call: &second, limits: limits(2, 20) },
        ];
        assert!(can_be_in_force(&both, &limits(1, 10)));
        assert!(can_be_in_force(&both, &limits(2, 20)));
        // Half of each.
        assert!(!can_be_in_force(&both, &limits(1, 20)));
        assert!(!can_be_in_force(&both, &limits(0, 0)));
        let after = [
            Update { call: &first, limits: limits(1, 10) },
            Update { call: &later, limits: limits(2, 0) },
        ];
        assert!(can_be_in_force(&after, &limits(2, 10)));
        assert!(!can_be_in_force(&after, &limits(1, 10)));
    }

    #[test]
    fn an_update_that_failed_may_be_in_force_or_not() {
        let (made, failed) = (update(0, 5, true), update(6, 8, false));
        let updates = [
            Update { call: &made, limits: limits(1, 0) },
            Update { call: &failed, limits: limits(2, 0) },
        ];
        assert!(can_be_in_force(&updates, &limits(1, 0)));
        assert!(can_be_in_force(&updates, &limits(2, 0)));
        assert!(!can_be_in_force(&updates, &limits(3, 0)));
        // A request that was given up comes through all the same, and late.
        let next = update(9, 10, true);
        let updates = [
            Update { call: &failed, limits: limits(2, 0) },
            Update { call: &next, limits: limits(1, 0) },
        ];
        assert!(can_be_in_force(&updates, &limits(2, 0)));
        assert!(!can_be_in_force(&updates, &limits(3, 0)));
    }
}
