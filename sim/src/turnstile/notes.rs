//! What is noted of a run for a search, besides what happens.

use shakedown_cri::ports::{CancelToken, Context, ContextUses};

use super::line::What;
use super::site::Stage;
use super::steps::{Footprint, Steps};
use super::{Core, Sim, TaskId};
use crate::world::World;

/// What is noted of a run besides what happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Notes {
    #[default]
    Nothing,
    /// What tasks are told and see: to know the state that they come to.
    States,
    /// The admissions as well, with what each touches.
    Steps,
    /// And the state after each moment.
    Path,
}

impl Notes {
    const fn has_steps(self) -> bool {
        matches!(self, Notes::Steps | Notes::Path)
    }
}

impl Sim {
    /// What is to be noted of the phase in which faults can strike.
    pub fn take_notes(&self, notes: Notes) {
        let mut core = self.0.core.borrow_mut();
        core.notes = notes;
        if notes.has_steps() {
            core.steps = Some(Box::new(Steps::new()));
            self.world().notes = true;
        }
    }

    pub fn take_steps(&self) -> Option<Steps> {
        self.0.notes.set(Notes::Nothing);
        self.0.core.borrow_mut().steps.take().map(|steps| *steps)
    }

    /// The poll that is under way touches something.
    #[inline]
    pub(crate) fn touch(&self, footprint: impl FnOnce() -> Footprint) {
        if self.0.notes.get().has_steps() {
            self.note_touched(footprint());
        }
    }

    #[cold]
    fn note_touched(&self, footprint: Footprint) {
        if let Ok(mut core) = self.0.core.try_borrow_mut()
            && core.current.is_some()
            && let Some(steps) = &mut core.steps
        {
            steps.touch(&footprint);
        }
    }

    /// Something that can be looked at from outside is another one in the service, or the service itself is.
    pub(crate) fn note_service_changed(&self) {
        self.0.service_changed.set(true);
    }

    /// Whether looks at the service from outside can show something else than when this was asked last, as far as
    /// its tasks share memory by the ports alone.
    pub(crate) fn take_service_changed(&self) -> bool {
        self.0.service_changed.replace(false)
    }
}

impl Core {
    /// An admission begins, for whoever records them.
    #[cold]
    pub(super) fn step_begins(&mut self, at: usize, stage: Stage, now: u64) {
        self.note_contexts();
        let Core { steps: Some(steps), parked, .. } = self else { return };
        let takes = match &parked[at].what {
            What::Single { pending } => pending.takes(),
            _ => None,
        };
        steps.begin(&parked[at], stage, now, takes);
        parked.steps = steps.steps.len();
    }

    pub(super) fn step_told(&mut self, world: &World) {
        if self.faults_allowed
            && let Some(steps) = &mut self.steps
        {
            steps.told(world.touched().as_deref());
        }
    }

    /// A call is served, or its future is dropped.
    pub(super) fn step_answers(&mut self, at: usize) {
        if self.faults_allowed
            && let Core { steps: Some(steps), parked, .. } = self
        {
            steps.touch(&Footprint::of_answer(&parked[at]));
        }
    }

    pub(super) fn step_waits(&mut self) {
        if self.faults_allowed
            && let Some(steps) = &mut self.steps
        {
            steps.waits();
        }
    }

    /// A poll begins with the last step, or goes on with it. Returns the step of the poll around it.
    #[inline]
    pub(super) fn poll_begins(&mut self, task: TaskId) -> Option<usize> {
        if self.steps.is_some() { self.step_polls(task) } else { None }
    }

    #[cold]
    fn step_polls(&mut self, task: TaskId) -> Option<usize> {
        let boot = self.tasks[task.0].boot;
        if self.faults_allowed {
            self.note_contexts();
        }
        let steps = self.steps.as_mut().filter(|_| self.faults_allowed)?;
        let outer = steps.poll_begins(task);
        // The harness's own tasks share what nobody looks after.
        if boot == 0 {
            steps.touch(&Footprint::EVERYTHING);
        }
        Some(outer)
    }

    /// The end of a poll that began inside of the one with the step `outer`.
    #[inline]
    pub(super) fn poll_ends(&mut self, outer: Option<usize>) {
        if let Some(outer) = outer {
            self.step_polled(outer);
        }
    }

    #[cold]
    fn step_polled(&mut self, outer: usize) {
        self.note_contexts();
        if let Some(steps) = &mut self.steps {
            steps.poll_ends(outer);
        }
    }

    /// The tokens that can end a context, where steps are recorded.
    pub(super) fn tokens(&self, ctx: Option<&Context>) -> u64 {
        let ctx = ctx.filter(|_| self.steps.is_some());
        ctx.and_then(Context::cancel_token).map_or(0, CancelToken::marks)
    }

    /// Notes what the poll that is under way, or the admission before it, had to do with contexts.
    pub(super) fn note_contexts(&mut self) {
        let Core { steps: Some(steps), parked, .. } = self else { return };
        let ContextUses { looked, ended } = ContextUses::take();
        let looked = looked | std::mem::take(&mut parked.tokens);
        if looked | ended == 0 {
            return;
        }
        steps.touch(&Footprint::of_tokens(looked, ended));
        if ended != 0 {
            self.note_ended(ended);
        }
        let Core { steps: Some(_), parked, .. } = self else { return };
        // From now on calls can be given up whose contexts have ended.
        let steps = parked.steps;
        for at in 0..parked.len() {
            let call = &parked[at];
            if call.tokens & ended != 0 && call.ended == 0 {
                parked.change(at).ended = steps;
            }
        }
    }
}
