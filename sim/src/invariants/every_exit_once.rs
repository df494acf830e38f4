//! I7: the exit of each process whose start succeeded reaches the status once, with its true code;
//! no process is started twice.

use shakedown_cri::cri::ContainerState;

use super::judge::View;
use super::{Id, Invariant, Notes, Watch};
use crate::run::Snapshot;
use crate::turnstile::Happened;
use crate::world::ProcessState;

#[derive(Default)]
pub struct EveryExitOnce {
    /// Codes that each subject's status went to EXITED with.
    reported: Vec<Vec<i32>>,
}

impl EveryExitOnce {
    fn evaluate(&self, view: &View<'_>, notes: &mut Notes) {
        for (index, subject) in view.subjects.iter().enumerate() {
            let runs = view.processes(index).count();
            if runs > 0 {
                notes.judge(runs == 1, view, || {
                    format!("the process of {} was started {runs} times", subject.name)
                });
            }
            if !view.was_started(index) {
                continue;
            }
            let Some(process) = view.processes(index).last() else { continue };
            if process.state != ProcessState::Dead {
                continue;
            }
            let reported = self.reported.get(index).cloned().unwrap_or_default();
            let known_at_begin = subject.exited_in_setup && reported.is_empty();
            let right = known_at_begin || reported == [process.code];
            notes.judge(right, view, || match reported.as_slice() {
                [] => format!(
                    "{} ended with {}, but its exit never reached the status",
                    subject.name, process.code
                ),
                [code] => {
                    format!(
                        "{} ended with {}, but the status says {code}",
                        subject.name, process.code
                    )
                }
                more => {
                    format!("the exit of {} reached the status {} times", subject.name, more.len())
                }
            });
        }
    }
}

impl Invariant for EveryExitOnce {
    fn id(&self) -> Id {
        Id(7)
    }

    fn name(&self) -> &'static str {
        "every-exit-once"
    }

    fn watches(&self) -> Watch {
        Watch::STATUS
    }

    fn moment(&mut self, view: &View<'_>, _: &Happened, _: &mut Notes) {
        self.reported.resize(view.subjects.len(), Vec::new());
        for (index, subject) in view.subjects.iter().enumerate() {
            let was = subject.before.as_ref().map(|peek| peek.state);
            if subject.state() == Some(ContainerState::Exited)
                && was != Some(ContainerState::Exited)
                && let Some(peek) = &subject.peek
            {
                self.reported[index].push(peek.exit_code);
            }
        }
    }

    fn quiet(&mut self, view: &View<'_>, _: &Snapshot, notes: &mut Notes) {
        // A daemon that is down has no status to tell.
        if view.daemon.facts().serves {
            self.evaluate(view, notes);
        }
    }

    fn reaped(&mut self, view: &View<'_>, _: &Snapshot, notes: &mut Notes) {
        self.evaluate(view, notes);
    }
}
