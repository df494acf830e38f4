//! I4: the status says what happened, in memory and on disk.

use std::collections::BTreeSet;

use serde::Deserialize;
use shakedown_cri::cri::{ContainerState, Peek, same_text};

use super::judge::{CallFact, Kind, View};
use super::{Id, Invariant, Notes, Watch};
use crate::run::Snapshot;
use crate::turnstile::{Happened, Op};
use crate::world::ExitCause;

/// Exit code of a failed start.
const START_FAILED: i32 = 128;

#[derive(Default, Hash)]
pub struct HonestStatus {
    /// The subjects whose failed start ended UNKNOWN.
    unknown: BTreeSet<usize>,
}

/// The checkpoint, as far as it is compared.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Checkpoint {
    pid: u32,
    created_at: i64,
    started_at: i64,
    finished_at: i64,
    exit_code: i32,
    reason: String,
    message: String,
}

impl Checkpoint {
    /// The reason that a client is told: an exit without one of its own has one by its code.
    fn reason_told(&self) -> &str {
        match (&*self.reason, self.finished_at, self.exit_code) {
            ("", 1.., 0) => "Completed",
            ("", 1.., _) => "Error",
            (reason, ..) => reason,
        }
    }

    fn differs(&self, peek: &Peek) -> Option<&'static str> {
        let fields = [
            ("pid", self.pid == peek.pid),
            ("created at", self.created_at == peek.created_at),
            ("started at", self.started_at == peek.started_at),
            ("finished at", self.finished_at == peek.finished_at),
            ("exit code", self.exit_code == peek.exit_code),
            ("reason", same_text(self.reason_told(), &peek.reason)),
            ("message", same_text(&self.message, &peek.message)),
        ];
        fields.into_iter().find(|(_, same)| !same).map(|(name, _)| name)
    }
}

/// Whether the wall clock was set back after the container's process began: then its times may say
/// anything.
fn set_back_since_start(view: &View<'_>, id: &str) -> bool {
    let set_backs = view.world.wall_clock.set_backs;
    let of_it = |p: &&crate::world::Process| p.container == id && p.started_at.is_some();
    set_backs > 0 && view.world.processes.values().filter(of_it).any(|p| p.set_backs < set_backs)
}

fn finished_in_order(view: &View<'_>, notes: &mut Notes) {
    for subject in view.subjects {
        if let Some(peek) = &subject.peek
            && peek.started_at != 0
            && peek.finished_at != 0
            && !set_back_since_start(view, &subject.id)
        {
            notes.judge(peek.finished_at >= peek.started_at, view, || {
                format!("{} finished before it started", subject.name)
            });
        }
    }
}

/// Whether the status says of a failed start what the start answered. Not evaluated while it is
/// UNKNOWN, which a client may retry to stop, or cannot be read; nor behind a stop of what was UNKNOWN.
fn says_why(view: &View<'_>, index: usize, start: &CallFact, was_unknown: bool, notes: &mut Notes) {
    let subject = &view.subjects[index];
    let (Some(peek), Some(error)) = (&subject.peek, start.failed_start()) else { return };
    let stopped = view.calls.iter().any(|call| {
        let stops =
            matches!(call.kind, Kind::Stop | Kind::Remove | Kind::StopPod | Kind::RemovePod);
        stops && call.began.is_some() && call.touches(index, subject)
    });
    if peek.state == ContainerState::Unknown || (was_unknown && stopped) {
        return;
    }
    let was_killed = view.processes(index).any(|process| process.cause == Some(ExitCause::Oom));
    let why = match &*peek.reason {
        "StartError" => true,
        "OOMKilled" => was_killed,
        _ => false,
    };
    let honest = peek.state == ContainerState::Exited
        && peek.exit_code == START_FAILED
        && why
        && peek.message == error.message
        && peek.finished_at != 0
        && peek.pid == 0;
    notes.judge(honest, view, || {
        format!(
            "{} failed, but {} is {} with exit code {}, reason {:?}, message {:?}, pid {}",
            start.name,
            subject.name,
            peek.state,
            peek.exit_code,
            peek.reason,
            peek.message,
            peek.pid
        )
    });
}

impl Invariant for HonestStatus {
    fn id(&self) -> Id {
        Id(4)
    }

    fn name(&self) -> &'static str {
        "honest-status"
    }

    fn watches(&self) -> Watch {
        Watch::STATUS.and(Watch::ANSWERS)
    }

    fn moment(&mut self, view: &View<'_>, happened: &Happened, notes: &mut Notes) {
        if view.status_changed {
            finished_in_order(view, notes);
        }
        let site = happened.moment.site;
        if view.status_changed || site.op == Op::Done {
            for (index, subject) in view.subjects.iter().enumerate() {
                let failed = view.last_start(index).is_some_and(|s| s.failed_start().is_some());
                if failed && subject.state() == Some(ContainerState::Unknown) {
                    self.unknown.insert(index);
                }
            }
        }
        // A later start may hide what this one left.
        if site.op == Op::Done
            && let Some(start) = view.calls.iter().find(|call| call.name == site.actor)
            && let Some(index) = start.subject
        {
            says_why(view, index, start, false, notes);
        }
    }

    fn quiet(&mut self, view: &View<'_>, _: &Snapshot, notes: &mut Notes) {
        for (index, subject) in view.subjects.iter().enumerate() {
            let Some(peek) = &subject.peek else { continue };
            let removing = view.calls.iter().any(|c| {
                matches!(c.kind, Kind::Remove | Kind::RemovePod) && c.touches(index, subject)
            });
            if let Some(start) = view.last_start(index) {
                says_why(view, index, start, self.unknown.contains(&index), notes);
            }
            if !view.daemon.runtime().writes_containerd_status()
                || peek.state == ContainerState::Unknown
                || view.is_busy(index)
            {
                continue;
            }
            let path = format!("{}/containers/{}/status", view.plan.roots.root, subject.id);
            match view.world.fs.content(&path) {
                Some(bytes) => {
                    let checkpoint: Checkpoint = serde_json::from_slice(bytes).unwrap_or_default();
                    let differs = checkpoint.differs(peek);
                    notes.judge(differs.is_none(), view, || {
                        let field = differs.unwrap_or_default();
                        format!(
                            "the {field} of {} differs between memory and checkpoint",
                            subject.name
                        )
                    });
                }
                // A removal that failed half-way may have taken the checkpoint already.
                None if removing => {}
                None => {
                    notes.judge(false, view, || format!("{} has no checkpoint", subject.name));
                }
            }
        }
        finished_in_order(view, notes);
    }

    fn reaped(&mut self, view: &View<'_>, _: &Snapshot, notes: &mut Notes) {
        for (name, result) in view.reaped.iter().flat_map(|reaped| &reaped.restarted) {
            let error = result.as_ref().err();
            notes.judge(error.is_none(), view, || {
                let why = error.map(|e| e.message.clone()).unwrap_or_default();
                format!("{name} was CREATED, but one more start failed: {why}")
            });
        }
    }
}
