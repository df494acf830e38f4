//! I14: concurrent calls on one container end as if they had come one after the other.

use shakedown_cri::cri::ContainerState;

use super::judge::{CallFact, Kind, View};
use super::{Id, Invariant, Notes};
use crate::run::Snapshot;
use crate::scenario::InitialState;

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

impl Invariant for AsIfSerial {
    fn id(&self) -> Id {
        Id(14)
    }

    fn name(&self) -> &'static str {
        "as-if-serial"
    }

    fn quiet(&mut self, view: &View<'_>, _: &Snapshot, notes: &mut Notes) {
        for (index, subject) in view.subjects.iter().enumerate() {
            let of_it = |kind: Kind| {
                view.calls.iter().filter(move |c| c.kind == kind && c.subject == Some(index))
            };
            let starts: Vec<&CallFact> = of_it(Kind::Start).filter(|c| c.began.is_some()).collect();
            let won: Vec<&&CallFact> = starts.iter().filter(|c| c.succeeded()).collect();
            if starts.len() > 1 {
                notes.judge(won.len() <= 1, view, || {
                    format!("{} starts of {} succeeded", won.len(), subject.name)
                });
            }
            let concurrent = starts
                .iter()
                .enumerate()
                .any(|(i, a)| starts[i + 1..].iter().any(|b| overlap(a, b)));
            let all_answered = starts.iter().all(|start| start.answered.is_some());
            let undisturbed = !view.faults_struck(|_| true)
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
                for stop in of_it(Kind::Stop).filter(|c| c.succeeded()) {
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
