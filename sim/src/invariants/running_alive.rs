//! I8: once quiet, RUNNING means that the process lives.

use shakedown_cri::cri::ContainerState;

use super::judge::View;
use super::{Id, Invariant, Notes};
use crate::run::Snapshot;

#[derive(Default, Hash)]
pub struct RunningMeansAlive;

impl Invariant for RunningMeansAlive {
    fn id(&self) -> Id {
        Id(8)
    }

    fn name(&self) -> &'static str {
        "running-means-alive"
    }

    fn quiet(&mut self, view: &View<'_>, _: &Snapshot, notes: &mut Notes) {
        for (index, subject) in view.subjects.iter().enumerate() {
            if subject.state() == Some(ContainerState::Running) {
                notes.judge(view.process_lives(index), view, || {
                    format!("{} is RUNNING, but its process does not live", subject.name)
                });
                let known = view.world.tasks.pod(&subject.id).is_some()
                    && view.world.task_state(&subject.id).is_some();
                notes.judge(known, view, || {
                    format!("{} is RUNNING, but it has no task", subject.name)
                });
            }
        }
    }
}
