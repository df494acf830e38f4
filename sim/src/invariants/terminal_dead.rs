//! I2: a status that says CREATED or EXITED means that no process lives and no task is active.

use super::judge::View;
use super::{Id, Invariant, Notes, Watch};
use crate::run::Snapshot;
use crate::turnstile::Happened;
use crate::world::InitState;
use shakedown_cri::cri::ContainerState;

#[derive(Default, Hash)]
pub struct TerminalMeansDead {
    /// Something that could matter changed since it was last evaluated.
    stale: bool,
}

impl TerminalMeansDead {
    fn evaluate(view: &View<'_>, notes: &mut Notes) -> bool {
        let mut waits = false;
        for (index, subject) in view.subjects.iter().enumerate() {
            let Some(state) = subject.state() else { continue };
            if !matches!(state, ContainerState::Created | ContainerState::Exited) {
                continue;
            }
            let lives = view.process_lives(index);
            let task = view.world.task_state(&subject.id);
            let active = task.filter(|task| *task != InitState::Stopped);
            if !lives && active.is_none() {
                notes.evaluated();
                continue;
            }
            if view.is_busy(index) {
                waits = true;
                continue;
            }
            notes.evaluated();
            let what = if lives { "its process lives" } else { "its task is active" };
            notes.violate(view, format!("{} is {state}, but {what}", subject.name));
        }
        waits
    }
}

impl Invariant for TerminalMeansDead {
    fn id(&self) -> Id {
        Id(2)
    }

    fn name(&self) -> &'static str {
        "terminal-means-dead"
    }

    fn watches(&self) -> Watch {
        Watch::STATUS.and(Watch::RUNTIME).and_if(Watch::MOMENTS, self.stale)
    }

    fn moment(&mut self, view: &View<'_>, _: &Happened, notes: &mut Notes) {
        self.stale |= view.status_changed || view.world.changed.runtime;
        self.stale = self.stale && !view.reaping && Self::evaluate(view, notes);
    }

    fn quiet(&mut self, view: &View<'_>, _: &Snapshot, notes: &mut Notes) {
        Self::evaluate(view, notes);
    }
}
