//! I10: no container runs in a pod that is dead, and namespaces that were joined belonged to their owner.

use shakedown_cri::cri::ContainerState;

use super::judge::View;
use super::{Id, Invariant, Notes};
use crate::run::Snapshot;

#[derive(Default, Hash)]
pub struct NoLifeInADeadPod;

impl Invariant for NoLifeInADeadPod {
    fn id(&self) -> Id {
        Id(10)
    }

    fn name(&self) -> &'static str {
        "no-life-in-a-dead-pod"
    }

    fn quiet(&mut self, view: &View<'_>, _: &Snapshot, notes: &mut Notes) {
        for (index, subject) in view.subjects.iter().enumerate() {
            if subject.state() == Some(ContainerState::Running) {
                notes.judge(view.world.has_live_process(&subject.sandbox_id), view, || {
                    format!("{} runs, and the pause process of its pod does not", subject.name)
                });
            }
            let plan = view.plan.containers.get(index);
            let linux = plan.and_then(|plan| plan.config.linux.as_ref());
            let wanted = linux.map_or("", |linux| &*linux.target_id);
            let made = view.world.processes.values().filter(|p| p.container == subject.id);
            for joined in made.filter_map(|process| process.joined.as_deref()) {
                notes.judge(joined == wanted, view, || {
                    format!("{} joined the namespace of {joined}, not of {wanted}", subject.name)
                });
            }
        }
    }
}
