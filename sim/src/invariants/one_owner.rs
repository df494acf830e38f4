//! I3: at most one live process tree per container and per name in a sandbox; once quiet, a failed
//! start has left no process running.

use super::judge::View;
use super::{Id, Invariant, Notes, Watch};
use crate::run::Snapshot;
use crate::turnstile::Happened;
use crate::world::ProcessState;

#[derive(Default, Hash)]
pub struct OneOwner;

impl Invariant for OneOwner {
    fn id(&self) -> Id {
        Id(3)
    }

    fn name(&self) -> &'static str {
        "one-owner"
    }

    fn watches(&self) -> Watch {
        Watch::RUNTIME
    }

    fn moment(&mut self, view: &View<'_>, _: &Happened, notes: &mut Notes) {
        for subject in view.subjects {
            let alive = |p: &&crate::world::Process| {
                p.container == subject.id && p.state == ProcessState::Running
            };
            let count = view.world.processes.values().filter(alive).count();
            notes.judge(count <= 1, view, || {
                format!("{count} process trees of {} live at once", subject.name)
            });
        }
        let plans = &view.plan.containers;
        for (at, (plan, subject)) in plans.iter().zip(view.subjects).enumerate() {
            let mut before = (0..at).filter(|i| plans[*i].names_the_same(plan)).peekable();
            if before.peek().is_none() || !view.process_lives(at) {
                continue;
            }
            let other = before.find(|other| view.process_lives(*other));
            notes.judge(other.is_none(), view, || {
                let other = other.map_or(subject.name, |other| view.subjects[other].name);
                format!("{other} and {} live at once, two of one name in a pod", subject.name)
            });
        }
    }

    fn quiet(&mut self, view: &View<'_>, _: &Snapshot, notes: &mut Notes) {
        for index in 0..view.subjects.len() {
            let failed = view.last_start(index).filter(|s| s.failed_start().is_some());
            if let Some(start) = failed {
                notes.judge(!view.process_lives(index), view, || {
                    format!(
                        "{} failed, but the process of {} runs",
                        start.name, view.subjects[index].name
                    )
                });
            }
        }
    }
}
