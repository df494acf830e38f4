//! I1: once quiet after a failed start, nothing of it is left in the runtime.

use super::judge::View;
use super::{Id, Invariant, Notes};
use crate::run::Snapshot;
use shakedown_cri::cri::ContainerState;

#[derive(Default, Hash)]
pub struct FailedStartLeavesNothing;

impl Invariant for FailedStartLeavesNothing {
    fn id(&self) -> Id {
        Id(1)
    }

    fn name(&self) -> &'static str {
        "failed-start-leaves-nothing"
    }

    fn quiet(&mut self, view: &View<'_>, snapshot: &Snapshot, notes: &mut Notes) {
        for (index, subject) in view.subjects.iter().enumerate() {
            let Some(start) = view.last_start(index).filter(|s| s.failed_start().is_some()) else {
                continue;
            };
            if subject.state() == Some(ContainerState::Unknown) {
                notes.evaluated();
                continue;
            }
            let name = subject.name.text();
            // Pipes that a recovery made since serve the container that it found CREATED.
            let recovered =
                view.world.crashes.iter().any(|(at, _)| start.answered < Some((*at, 0)));
            let mut left = snapshot.left.of_runtime(&name);
            left.retain(|what| !(recovered && what.starts_with("pipe ")));
            notes.judge(left.is_empty(), view, || {
                format!("{} failed and left behind: {}", start.name, left.join(", "))
            });
        }
    }
}
