//! I7: the exit of each process whose start succeeded reaches the status once, with its true code, or
//! with 255 where it was on record nowhere when the node lost power; no process is started twice.

use shakedown_cri::cri::ContainerState;

use super::judge::{View, is_power_loss};
use super::{Id, Invariant, Notes, Watch};
use crate::run::Snapshot;
use crate::turnstile::{Happened, Layer};
use crate::world::{ExitCause, ProcessState};

#[derive(Default, Hash)]
pub struct EveryExitOnce {
    /// Codes that each subject's status went to EXITED with.
    reported: Vec<Vec<i32>>,
    /// The node lost power when the process of each subject had ended and its status did not say so yet.
    lost: Vec<bool>,
    /// The disk itself, by no fault, has refused a status of each subject.
    refused: Vec<bool>,
}

/// What recovery says of an exit of which nothing is left.
const UNKNOWN_EXIT_CODE: i32 = 255;

impl EveryExitOnce {
    /// Whether the exit is on its way as long as the disk has no room for it. A client sees UNKNOWN until then.
    fn waits_for_room(&self, view: &View<'_>, index: usize) -> bool {
        let refused = self.refused.get(index).copied().unwrap_or(false);
        refused
            && view.reaped.is_none()
            && view.subjects[index].state() == Some(ContainerState::Unknown)
    }

    fn evaluate(&self, view: &View<'_>, notes: &mut Notes) {
        for (index, subject) in view.subjects.iter().enumerate() {
            let runs = view.processes(index).count();
            if runs > 0 {
                notes.judge(runs == 1, view, || {
                    format!("the process of {} was started {runs} times", subject.name)
                });
            }
            if !view.was_started(index) || self.waits_for_room(view, index) {
                continue;
            }
            let Some(process) = view.processes(index).last() else { continue };
            if process.state != ProcessState::Dead {
                continue;
            }
            let reported = self.reported.get(index).cloned().unwrap_or_default();
            let known_at_begin = subject.exited_in_setup && reported.is_empty();
            // What was on record nowhere when the power failed, no service knows afterwards.
            let lost = self.lost.get(index).copied().unwrap_or(false);
            let right = known_at_begin
                || reported == [process.code]
                || lost && reported == [UNKNOWN_EXIT_CODE];
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
        Watch::STATUS.and(Watch::DAEMON).and(Watch::ERRORS)
    }

    fn moment(&mut self, view: &View<'_>, happened: &Happened, _: &mut Notes) {
        self.reported.resize(view.subjects.len(), Vec::new());
        self.lost.resize(view.subjects.len(), false);
        self.refused.resize(view.subjects.len(), false);
        let site = happened.moment.site;
        if happened.error.is_some() && site.op.layer() == Layer::File && !view.is_struck(site) {
            let subject = site.subject.text();
            for (refused, of) in self.refused.iter_mut().zip(view.subjects) {
                *refused |= subject.strip_suffix("/.tmp-status") == Some(&of.name.text());
            }
        }
        if is_power_loss(happened, view.world) {
            for (index, lost) in self.lost.iter_mut().enumerate() {
                let last = view.processes(index).last();
                let ended = last.is_some_and(|p| p.cause != Some(ExitCause::PowerLoss));
                *lost |= ended && self.reported[index].is_empty();
            }
        }
        if !view.status_changed {
            return;
        }
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
