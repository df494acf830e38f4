//! I15: a failed query or a broken connection neither kills a healthy container nor declares it
//! dead; the reason OOMKilled never regresses.

use shakedown_cri::cri::ContainerState;

use super::judge::{Kind, View};
use super::{Id, Invariant, Notes, Watch};
use crate::turnstile::{Happened, Op};
use crate::world::{ExitCause, ProcessState};

#[derive(Default, Hash)]
pub struct NoCollateral;

impl Invariant for NoCollateral {
    fn id(&self) -> Id {
        Id(15)
    }

    fn name(&self) -> &'static str {
        "no-collateral"
    }

    fn watches(&self) -> Watch {
        Watch::STATUS.and(Watch::RUNTIME).and(Watch::ANSWERS)
    }

    fn moment(&mut self, view: &View<'_>, happened: &Happened, notes: &mut Notes) {
        if view.status_changed {
            for (index, subject) in view.subjects.iter().enumerate() {
                let was = subject.before.as_ref();
                let was_running = was.is_some_and(|peek| peek.state == ContainerState::Running);
                // UNKNOWN says of no process that it is dead.
                if let (true, Some(now)) = (was_running, &subject.peek)
                    && !matches!(now.state, ContainerState::Running | ContainerState::Unknown)
                {
                    let lives = view.process_lives(index);
                    notes.judge(!lives, view, || {
                        format!(
                            "{} was declared {} while its process lives",
                            subject.name, now.state
                        )
                    });
                }
                if let (Some(was), Some(now)) = (was, &subject.peek)
                    && was.reason == "OOMKilled"
                {
                    notes.judge(now.reason == "OOMKilled", view, || {
                        format!(
                            "the reason of {} went from OOMKilled to {:?}",
                            subject.name, now.reason
                        )
                    });
                }
            }
        }
        // Only who was told that it started can ask who killed it.
        let can_ask = view.world.changed.runtime || happened.moment.site.op == Op::Done;
        if can_ask && !view.reaping {
            for (index, subject) in view.subjects.iter().enumerate() {
                if !view.was_started(index) {
                    continue;
                }
                let asked = view.calls.iter().any(|call| {
                    let ends = matches!(
                        call.kind,
                        Kind::Stop | Kind::Remove | Kind::StopPod | Kind::RemovePod
                    );
                    ends && call.began.is_some() && call.touches(index, subject)
                });
                // Who lets a container end with its pod does not take it for something else.
                let pod_lives = view.world.has_live_process(&subject.sandbox_id);
                let asked = asked || !pod_lives || view.world.was_evicted(&subject.id);
                if let Some(process) = view.processes(index).last()
                    && process.state == ProcessState::Dead
                    && !asked
                    && !subject.exited_in_setup
                {
                    let by_itself = matches!(
                        process.cause,
                        Some(ExitCause::Itself | ExitCause::Oom | ExitCause::PowerLoss)
                    );
                    notes.judge(by_itself, view, || {
                        format!(
                            "the process of {} was killed, although nobody asked for it",
                            subject.name
                        )
                    });
                }
            }
        }
    }
}
