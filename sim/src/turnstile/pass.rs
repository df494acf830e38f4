//! Calls whose moments are the next ones: they pass, without ever standing in the line.
//!
//! Most calls are such. What happens is the same as if each were parked, and a call that others go before, that has
//! to wait, meets a fault or is set aside is parked where it stands.

use std::rc::Rc;

use shakedown_cri::ports::Context;

use super::call::{Pending, Ran};
use super::line::{EntryId, Parked, What};
use super::names::Symbol;
use super::site::{Moment, Op, Site, Stage};
use super::{Core, Due, NEVER, Sim, bit};
use crate::oracle::{Choice, Effect, Fault};

impl Sim {
    /// Makes a call of the current task, which goes on without leaving its poll as long as the next moments are
    /// those of the call. `None`: its reply was admitted. `due`: for a sleep, when it ends.
    pub(super) fn make(
        &self,
        op: Op,
        subject: Symbol,
        ctx: Option<Context>,
        pending: Rc<dyn Pending>,
        due: u64,
    ) -> Option<EntryId> {
        let now = self.0.now.get();
        let mut core = self.0.core.borrow_mut();
        if core.closed {
            return Some(EntryId::NONE);
        }
        let (site, mut faults) = core.name_call(op, subject, ctx.as_ref(), now);
        let (stage, due, what) = match op {
            Op::Sleep => (Stage::Only, due, What::Single { pending }),
            _ if op.is_single() => (Stage::Only, now, What::Single { pending }),
            _ => (Stage::Effect, now, What::Call { pending, abandons: op.can_abandon() }),
        };
        let mut call = core.entry(site, stage, due, now, what);
        if stage == Stage::Only {
            if let Some(fault) = faults.drain(..).next_back() {
                call.due = NEVER;
                call.hangs = true;
                call.fault = Some(Box::new(fault));
            }
        } else if op.asks_shim() && ctx.as_ref().is_some_and(|ctx| is_over(ctx, now)) {
            // A request under a context that is over is written to the shim all the same, but its
            // answer is not waited for (spec section 1.4, step 14).
            call.fault = Some(Box::new(Fault::Hang { effect: Effect::Done }));
        }
        call.tokens = core.tokens(ctx.as_ref());
        core.parked.tokens |= call.tokens;
        call.ctx = ctx.filter(Context::can_end);
        if !faults.is_empty() || !core.may_pass(&call, now) {
            let entry = core.park_entry(call);
            core.strike(entry, faults, now);
            drop(core);
            return self.await_in_line(entry);
        }
        core.passing = Some(call.site.actor);
        drop(core);
        let mut is_first = false;
        loop {
            self.finish_moment(Some(&call));
            let mut core = self.0.core.borrow_mut();
            is_first = !self.is_interrupted(&core)
                && (is_first && !core.stirred || core.parked.goes_first(&call, now));
            if !is_first || core.set_passing_aside(&mut call, now) {
                break;
            }
            core.stirred = false;
            if core.faults_allowed && core.steps.is_some() {
                core.step_of(&call, now);
            }
            let moment = Moment { site: call.site, stage: call.stage };
            let (What::Call { pending, .. } | What::Single { pending }) = &call.what else {
                unreachable!("only calls pass")
            };
            let mut world = self.0.world.borrow_mut();
            if call.stage == Stage::Reply {
                core.passing = None;
                pending.deliver();
                let (payload, error) = pending.brought();
                core.happened(moment, payload, error, now, world.digest());
                core.poll_goes_on();
                return None;
            }
            world.short_write = false;
            world.sync_lost = false;
            world.touches_nothing_yet();
            let ran = pending.run(&mut world, call.id, call.site);
            core.step_told(&world);
            match ran {
                Ran::Wait(key) => {
                    core.step_waits();
                    call.due = NEVER;
                    call.wait = Some(key);
                    let entry = core.park_passing(call);
                    core.take_from(&mut world, now);
                    drop((core, world));
                    return self.await_in_line(entry);
                }
                Ran::Done if call.stage == Stage::Only => {
                    core.take_from(&mut world, now);
                    core.passing = None;
                    pending.deliver();
                    core.happened(moment, 0, None, now, world.digest());
                    core.poll_goes_on();
                    return None;
                }
                Ran::Done => {
                    call.stage = Stage::Reply;
                    call.ready = core.parked.steps;
                    core.take_from(&mut world, now);
                    let (payload, error) = pending.brought();
                    core.happened(moment, payload, error, now, world.digest());
                }
                Ran::Serve(handler) => {
                    let digest = world.digest();
                    drop(world);
                    call.stage = Stage::Reply;
                    call.due = NEVER;
                    let entry = core.park_passing(call);
                    let client = core.current.and_then(|task| core.tasks[task.0].client);
                    let handler = core.handler(moment, client, handler, now, digest);
                    drop(core);
                    self.poll(handler);
                    return self.await_in_line(entry);
                }
            }
        }
        let entry = self.0.core.borrow_mut().park_passing(call);
        self.await_in_line(entry)
    }

    fn await_in_line(&self, entry: EntryId) -> Option<EntryId> {
        (!self.goes_on(entry)).then_some(entry)
    }
}

fn is_over(ctx: &Context, now: u64) -> bool {
    ctx.peek_end().is_some_and(|(at, _)| at.0 <= now)
}

impl Core {
    /// The name of a call that the current task makes, and the faults that it is to meet.
    fn name_call(
        &mut self,
        op: Op,
        subject: Symbol,
        ctx: Option<&Context>,
        now: u64,
    ) -> (Site, Vec<Fault>) {
        let actor = self.current_actor();
        let site = self.count(actor, op, subject);
        self.recording.made(now, site);
        if op.is_single() && op != Op::Lock {
            return (site, Vec::new());
        }
        if self.recording.calls.is_some() && self.faults_allowed && !op.is_single() {
            let awaited = self.awaited(op, ctx);
            self.recording.calls.iter_mut().for_each(|calls| calls.push((site, awaited)));
        }
        (site, self.decide(site, ctx, now))
    }

    /// Which moments are set aside, and until when, is asked with all that is parked: then a call is, too.
    fn may_pass(&self, call: &Parked, now: u64) -> bool {
        self.current.is_some() && !self.any_held && call.due == now && call.fault.is_none()
    }

    fn park_passing(&mut self, call: Parked) -> EntryId {
        self.passing = None;
        self.park_entry(call)
    }

    /// As [`Core::set_aside`].
    fn set_passing_aside(&mut self, call: &mut Parked, now: u64) -> bool {
        if !self.faults_allowed {
            return false;
        }
        let moment = Moment { site: call.site, stage: call.stage };
        let due = Due { parked: &self.parked, at: usize::MAX, now };
        self.steps.iter_mut().for_each(|steps| steps.asks());
        let option = self.oracle.choose(&Choice::Hold { moment, due });
        call.asked |= bit(call.stage);
        if option == 0 {
            return false;
        }
        call.held = Some((call.stage, option == 2));
        self.note_held(moment, call.ready, now);
        true
    }

    #[cold]
    fn step_of(&mut self, call: &Parked, now: u64) {
        self.note_contexts();
        let Some(steps) = &mut self.steps else { return };
        let takes = match &call.what {
            What::Single { pending } => pending.takes(),
            _ => None,
        };
        steps.begin(call, call.stage, now, takes);
        self.parked.steps = steps.steps.len();
    }

    /// The call passed, and the poll that made it is under way.
    fn poll_goes_on(&mut self) {
        if let Some(task) = self.current {
            self.poll_begins(task);
        }
    }
}
