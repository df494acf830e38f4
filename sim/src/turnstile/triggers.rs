//! What happens at a time, or once a moment was admitted.

use shakedown_cri::cri::LocalFuture;

use super::line::{Change, What};
use super::site::{Moment, Op, Site, Stage};
use super::steps::Footprint;
use super::{Core, Sim, Symbol, TaskId, nanos};
use crate::oracle::Fault;
use crate::world::Occurrence;

#[derive(Clone, Copy, Debug)]
pub(super) enum Trigger {
    Begin(usize),
    Cancel(usize),
    Occur(Symbol, Op, Occurrence),
    Start(TaskId),
}

impl Sim {
    /// The call is cancelled when `moment` was admitted.
    pub fn cancel_when(&self, call: usize, moment: Moment) {
        self.0.core.borrow_mut().triggers.push((moment, Trigger::Cancel(call)));
    }

    /// Has something happen in the world at `due`, or when `moment` was admitted.
    pub fn add_occurrence(
        &self,
        (actor, op, occurrence): (Symbol, Op, Occurrence),
        due: Option<u64>,
        moment: Option<Moment>,
    ) {
        let mut core = self.0.core.borrow_mut();
        if let Some(due) = due {
            core.park_occurrence(actor, op, occurrence, due, self.0.now.get());
        }
        if let Some(moment) = moment {
            core.triggers.push((moment, Trigger::Occur(actor, op, occurrence)));
        }
    }

    /// Starts a task of the harness at `due`, or when `moment` was admitted.
    pub fn start_task_when(
        &self,
        actor: Symbol,
        due: Option<u64>,
        moment: Option<Moment>,
        future: LocalFuture<()>,
    ) {
        let mut core = self.0.core.borrow_mut();
        let now = self.0.now.get();
        let task = core.new_task(actor, None, 0, future);
        if let Some(due) = due {
            let site = core.count(actor, Op::Begin, Symbol::EMPTY);
            core.park(site, Stage::Only, due, now, What::Spawn { task });
        }
        if let Some(moment) = moment {
            core.triggers.push((moment, Trigger::Start(task)));
        }
    }
}

impl Core {
    /// What comes of a moment beside its effect.
    #[cold]
    pub(super) fn follow_up(&mut self, moment: Moment, now: u64) {
        self.triggered(moment, now);
        if self.any_held {
            self.reconsider_held(moment, now);
        }
        if self.may_crash {
            self.consider_crash(moment, now);
        }
    }

    fn triggered(&mut self, moment: Moment, now: u64) {
        let due: Vec<Trigger> =
            self.triggers.iter().filter(|(m, _)| *m == moment).map(|(_, t)| *t).collect();
        self.triggers.retain(|(m, _)| *m != moment);
        if let Some(steps) = self.steps.as_mut().filter(|_| !due.is_empty()) {
            steps.touch(&Footprint::TRIGGER);
        }
        for trigger in due {
            match trigger {
                Trigger::Begin(index) => {
                    let site = Site {
                        actor: self.calls[index].name,
                        op: Op::Begin,
                        subject: Symbol::EMPTY,
                        count: 1,
                    };
                    let begin = What::Begin { call: index };
                    self.park(site, Stage::Only, now, now, begin).urgent = true;
                }
                Trigger::Start(task) => {
                    let actor = self.tasks[task.0].actor;
                    let site = self.count(actor, Op::Begin, Symbol::EMPTY);
                    self.park(site, Stage::Only, now, now, What::Spawn { task }).urgent = true;
                }
                Trigger::Occur(..) if !self.faults_allowed => {}
                Trigger::Occur(actor, op, occurrence) => {
                    self.park_occurrence(actor, op, occurrence, now, now).urgent = true;
                }
                Trigger::Cancel(index) => {
                    self.park_cancel(index, now, now).urgent = true;
                }
            }
        }
    }

    /// Something will happen in the world at `due`; reports can meet faults on their way.
    pub(super) fn park_occurrence(
        &mut self,
        actor: Symbol,
        op: Op,
        occurrence: Occurrence,
        due: u64,
        now: u64,
    ) -> Change<'_> {
        let site = self.count(actor, op, Symbol::EMPTY);
        let faults = if op.can_get_lost() { self.decide(site, None, now) } else { Vec::new() };
        // Nobody's work.
        let current = self.current.take();
        self.park(site, Stage::Only, due, now, What::Occurrence(occurrence));
        self.current = current;
        let mut parked = self.parked.change(self.parked.len() - 1);
        for fault in faults {
            match fault {
                Fault::Delay { by, .. } => parked.due = parked.due.saturating_add(nanos(by)),
                fault => parked.fault = Some(Box::new(fault)),
            }
        }
        parked
    }
}
