//! Whose turn it is: one moment after the other is admitted, and the task that goes on by it polled.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use shakedown_cri::ports::Code;

use super::actors::boot_actor;
use super::call::{Failure, Ran};
use super::line::{EntryId, Parked, What, end_for};
use super::notes::Notes;
use super::recording::{Entry as RecordingEntry, Happened};
use super::site::{Layer, Moment, Stage};
use super::{Core, Fate, NEVER, Sim, Stop, Symbol, TaskId};
use crate::oracle::Fault;
use crate::world::Occurrence;

impl Sim {
    /// Runs until nothing is due up to and including `horizon`, or the run is over.
    pub fn run_until(&self, horizon: Option<u64>) -> Stop {
        {
            let mut core = self.0.core.borrow_mut();
            core.horizon = horizon.unwrap_or(NEVER);
            if core.stop == Some(Stop::Idle) {
                core.stop = None;
            }
        }
        loop {
            match self.step() {
                Ok(task) => self.poll(task),
                Err(stop) => return stop,
            }
        }
    }

    /// Admits moments until one needs a task to be polled.
    fn step(&self) -> Result<TaskId, Stop> {
        loop {
            self.finish_moment(None);
            let mut core = self.0.core.borrow_mut();
            if let Some(stop) = &core.stop {
                return Err(stop.clone());
            }
            if let Some(due) = core.crash_due.take() {
                drop(core);
                self.crash(due);
                continue;
            }
            if core.recording.moments >= core.budget {
                return Err(core.end(Stop::OverBudget));
            }
            if self.0.foreign.any.swap(false, Ordering::AcqRel) {
                self.take_foreign(&mut core);
            }
            let now = self.0.now.get();
            let Some((at, stage, due)) = core.parked.next() else {
                if core.release_held(now, true, "nothing else was left to happen") {
                    continue;
                }
                return Err(core.end(Stop::Idle));
            };
            if due > now {
                if core.release_held(now, false, "time jumped") {
                    continue;
                }
                if due > core.horizon {
                    return Err(core.end(Stop::Idle));
                }
                drop(core);
                self.jump(due);
                continue;
            }
            if core.set_aside(at, stage, now) {
                continue;
            }
            if let Some(task) = self.admit(&mut core, at, stage, now) {
                return Ok(task);
            }
        }
    }

    /// Lets the current task go on without leaving its poll, as long as the next moments are
    /// those of the call that it just made, and of the steps inside it. True when the call's reply
    /// was admitted. The order of moments is the same as without.
    pub(super) fn goes_on(&self, entry: EntryId) -> bool {
        // The reply of a call whose effect was first is first, unless something came between.
        let mut replies = None;
        loop {
            self.finish_moment(None);
            let mut core = self.0.core.borrow_mut();
            if self.is_interrupted(&core) {
                return false;
            }
            let now = self.0.now.get();
            let first = match replies.take().filter(|_| !core.stirred) {
                Some(at) => Some((at, Stage::Reply, now)),
                None => core.parked.next(),
            };
            let Some((at, stage, due)) = first else { return false };
            if core.parked[at].id != entry || due > now {
                return false;
            }
            if core.set_aside(at, stage, now) {
                continue;
            }
            let me = core.current;
            core.stirred = false;
            match self.admit(&mut core, at, stage, now) {
                None => {
                    let at = (stage == Stage::Effect).then_some(at);
                    replies = at.filter(|at| core.parked.get(*at).is_some_and(|p| p.replies(now)));
                }
                Some(task) if Some(task) == me => {
                    core.poll_begins(task);
                    return true;
                }
                Some(handler) => {
                    drop(core);
                    self.poll(handler);
                }
            }
        }
    }

    /// Whether something other than the next moment of the current task's call comes first.
    pub(super) fn is_interrupted(&self, core: &Core) -> bool {
        core.stop.is_some()
            || core.recording.moments >= core.budget
            || core.crash_due.is_some()
            || core.closed
            || self.0.foreign.any.load(Ordering::Acquire)
    }

    /// Lets one moment happen. Returns the task that has to be polled for it.
    fn admit(&self, core: &mut Core, at: usize, stage: Stage, now: u64) -> Option<TaskId> {
        let id = core.parked[at].id;
        let site = core.parked[at].site;
        let moment = Moment { site, stage };
        if core.faults_allowed && core.steps.is_some() {
            core.step_begins(at, stage, now);
        }
        match stage {
            Stage::Effect => {
                let What::Call { pending, .. } = &core.parked[at].what else {
                    unreachable!("only calls have effects")
                };
                let pending = pending.clone();
                let mut world = self.0.world.borrow_mut();
                let fault = core.parked[at].fault.as_deref();
                world.short_write = fault == Some(&Fault::ShortWrite);
                world.sync_lost = fault == Some(&Fault::Lost);
                world.touches_nothing_yet();
                let ran = pending.run(&mut world, id, site);
                core.step_told(&world);
                match ran {
                    Ran::Wait(key) => {
                        core.step_waits();
                        let mut parked = core.parked.change(at);
                        if parked.retry_due() <= now {
                            parked.ctx = None;
                        }
                        parked.due = NEVER;
                        parked.wait = Some(key);
                        drop(parked);
                        core.take_from(&mut world, now);
                        None
                    }
                    Ran::Done => {
                        core.after_effect(at, now);
                        core.take_from(&mut world, now);
                        let (payload, error) = pending.brought();
                        core.happened(moment, payload, error, now, world.digest());
                        None
                    }
                    Ran::Serve(handler) => {
                        let digest = world.digest();
                        drop(world);
                        let mut parked = core.parked.change(at);
                        parked.stage = Stage::Reply;
                        parked.due = NEVER;
                        drop(parked);
                        let client = core.client_of(at);
                        Some(core.handler(moment, client, handler, now, digest))
                    }
                }
            }
            Stage::Reply => {
                let Parked { what: What::Call { pending, .. }, task, .. } = &core.parked[at] else {
                    unreachable!("only calls have replies")
                };
                let (pending, task) = (pending.clone(), *task);
                core.drop_parked(at);
                pending.deliver();
                let (payload, error) = pending.brought();
                let digest = self.0.world.borrow().digest();
                core.happened(moment, payload, error, now, digest);
                task
            }
            Stage::Abandon => self.admit_abandon(core, at, moment, now),
            Stage::Only => self.admit_single(core, at, moment, now),
        }
    }

    #[cold]
    fn admit_abandon(
        &self,
        core: &mut Core,
        at: usize,
        moment: Moment,
        now: u64,
    ) -> Option<TaskId> {
        let site = moment.site;
        let ctx = core.parked[at].ctx.as_ref();
        let code = ctx.and_then(|ctx| end_for(site.op, ctx)).map_or(Code::Cancelled, |e| e.1);
        let failure = Failure::Context(code);
        let task = core.parked[at].task;
        let pending = match &core.parked[at].what {
            What::Call { pending, .. } | What::Single { pending } => pending.clone(),
            _ => unreachable!("only calls are abandoned"),
        };
        pending.fail(&failure, site);
        pending.deliver();
        let (payload, error) = pending.brought();
        let memory = core.memory_behind(at);
        let mut parked = core.parked.change(at);
        // The runtime's process is killed when the time of its request is up.
        let lands = parked.is_on_its_way()
            && !(code == Code::DeadlineExceeded && site.op.layer() == Layer::Shim);
        let served = parked.stage == Stage::Reply && parked.due == NEVER && !parked.hangs;
        if lands || served {
            parked.orphan = Some(memory);
            parked.task = None;
            if served {
                // The handler goes on; its answer goes nowhere.
                parked.ctx = None;
            }
            drop(parked);
        } else {
            drop(parked);
            core.drop_parked(at);
        }
        let digest = self.0.world.borrow().digest();
        core.happened(moment, payload, error, now, digest);
        task
    }

    #[inline(never)]
    fn admit_single(&self, core: &mut Core, at: usize, moment: Moment, now: u64) -> Option<TaskId> {
        if let What::Single { pending } = &core.parked[at].what {
            let pending = pending.clone();
            let mut world = self.0.world.borrow_mut();
            let id = core.parked[at].id;
            match pending.run(&mut world, id, moment.site) {
                Ran::Wait(key) => {
                    core.step_waits();
                    let mut parked = core.parked.change(at);
                    parked.due = NEVER;
                    parked.wait = Some(key);
                    drop(parked);
                    core.take_from(&mut world, now);
                    return None;
                }
                Ran::Done => {
                    core.take_from(&mut world, now);
                    let task = core.parked[at].task;
                    core.drop_parked(at);
                    pending.deliver();
                    core.happened(moment, 0, None, now, world.digest());
                    return task;
                }
                Ran::Serve(_) => unreachable!("a single moment has no handler"),
            }
        }
        let parked = core.unpark(at);
        let mut world = self.0.world.borrow_mut();
        match parked.what {
            What::Spawn { task } | What::Woken { task } => {
                core.happened(moment, 0, None, now, world.digest());
                core.tasks[task.0].future.is_some().then_some(task)
            }
            What::Occurrence(occurrence) => {
                world.touches_nothing_yet();
                let occurred =
                    world.occur(occurrence, parked.fault.as_deref() == Some(&Fault::Lost));
                core.step_told(&world);
                core.take_from(&mut world, now);
                if let Occurrence::Placed(number) = occurrence {
                    core.fault_until(now);
                    core.occurrence_fates[number] = match &occurred {
                        Ok(_) => Fate::Applied,
                        Err(why) => Fate::Refused(why.clone()),
                    };
                }
                let error = occurred.as_ref().err().map(|why| Rc::from(&**why));
                let payload = occurred.as_ref().copied().unwrap_or_default();
                core.happened(moment, payload, error, now, world.digest());
                None
            }
            What::Begin { call } => {
                core.happened(moment, 0, None, now, world.digest());
                core.begin(call, now)
            }
            What::Cancel { call } => {
                core.cancel(call, Code::Cancelled, now);
                core.happened(moment, 0, None, now, world.digest());
                None
            }
            What::Done { call } => {
                core.happened(moment, core.calls[call].brought, None, now, world.digest());
                None
            }
            What::Up => {
                core.happened(moment, 0, None, now, world.digest());
                None
            }
            What::Crash { crash } => {
                let fate = core.set_up_crash(crash, moment.site, now);
                core.crash_fates[crash] = fate;
                None
            }
            What::Restart => {
                core.boot += 1;
                core.down = false;
                core.fault_until(now);
                world.daemon_starts(core.boot);
                core.happened(moment, 0, None, now, world.digest());
                let boot = core.daemon.as_ref().map(|daemon| daemon.boot.clone());
                let main = boot.expect("who crashes a daemon knows how to start it")(core.boot);
                let actor = boot_actor(core.boot, Symbol::of("daemon"));
                Some(core.new_task(actor, None, core.boot, main))
            }
            What::Call { .. } | What::Single { .. } => unreachable!("handled above"),
        }
    }

    /// Judges the moment that just ended, and does what it triggers. `passing`: the call that its poll has made, where
    /// that is not in the line.
    pub(super) fn finish_moment(&self, passing: Option<&Parked>) {
        let happened = {
            let mut core = self.0.core.borrow_mut();
            let Some(entry) = core.unfinished.take() else { return };
            let RecordingEntry::Moment(happened) = &core.recording.entries[entry] else {
                unreachable!("only moments are judged")
            };
            happened.clone()
        };
        if let Some(observer) = self.0.observer.borrow_mut().as_mut() {
            let mut world = self.0.world.borrow_mut();
            // What the judge looks at is not what the poll does in which a moment came.
            let notes = self.0.notes.replace(Notes::Nothing);
            observer.moment(&happened, &world);
            if notes == Notes::Path {
                self.note_state(passing, &**observer, &world);
            }
            self.0.notes.set(notes);
            world.seen();
        }
        let mut core = self.0.core.borrow_mut();
        let may_crash = core.may_crash && core.faults_allowed;
        if !core.triggers.is_empty() || core.any_held || may_crash {
            core.follow_up(happened.moment, self.0.now.get());
        }
    }
}

impl Core {
    pub(super) fn happened(
        &mut self,
        moment: Moment,
        payload: u64,
        error: Option<Rc<str>>,
        at: u64,
        files: u64,
    ) {
        if self.faults_allowed
            && let Some(steps) = &mut self.steps
        {
            steps.happened();
        }
        self.unfinished = Some(self.recording.entries.len());
        let happened = Happened { at, moment, payload, files, error };
        if self.notes != Notes::Nothing {
            self.note_heard(&happened);
        }
        self.recording.moment(happened);
    }
}
