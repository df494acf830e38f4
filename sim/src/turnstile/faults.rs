//! How faults strike: what the oracle is asked, and what becomes of the call.

use std::rc::Rc;

use shakedown_cri::ports::{Code, Context, Instant};

use super::call::{Failure, Pending, Ran};
use super::line::{EntryId, What};
use super::site::{Layer, Site, Stage};
use super::{Core, Fate, NEVER, Sim, nanos};
use crate::oracle::{Choice, DelayOf, Effect, Fault, Menu};
use crate::world::World;

impl Sim {
    /// When the last fault struck; one that takes a time, as a delay does, strikes until that is over.
    pub fn last_fault_at(&self) -> Instant {
        Instant(self.0.core.borrow().last_fault_at)
    }

    /// A handler finished; its call's reply is due. False when nobody awaits it any more or the
    /// reply was decided by a fault.
    pub(super) fn served(&self, id: EntryId) -> bool {
        let now = self.0.now.get();
        let mut core = self.0.core.borrow_mut();
        let Some(at) = core.parked.find(id) else { return false };
        core.step_answers(at);
        if core.parked[at].orphan.is_some() {
            core.drop_parked(at);
            return false;
        }
        let mut parked = core.parked.change(at);
        if parked.stage != Stage::Reply {
            return false;
        }
        parked.due = now.saturating_add(parked.reply_delay);
        match parked.fault.as_deref().cloned() {
            Some(Fault::Hang { .. } | Fault::HangForever { .. }) => {
                parked.due = NEVER;
                parked.hangs = true;
                true
            }
            Some(fault) => {
                if let (What::Call { pending, .. }, Some(failure)) =
                    (&parked.what, failure_of(&fault))
                {
                    pending.fail(&failure, parked.site);
                    return false;
                }
                drop(parked);
                core.end_after_effect(at, &fault, now);
                true
            }
            None => true,
        }
    }
}

impl Core {
    /// Asks the oracle which faults a call meets. A scenario may have several for one site: the rest
    /// of them is offered until the oracle wants no more.
    pub(super) fn decide(&mut self, site: Site, ctx: Option<&Context>, now: u64) -> Vec<Fault> {
        let mut struck = Vec::new();
        let mut over = now;
        if !self.faults_allowed {
            return struck;
        }
        let of_site = |(i, (s, _)): (usize, &(Site, Fault))| (*s == site).then_some(i);
        let mut rest: Vec<usize> =
            self.script.faults.iter().enumerate().filter_map(of_site).collect();
        let menus = self.menus.clone();
        let mut standard = menus.of(site.op);
        let awaited = self.awaited(site.op, ctx);
        let endless = !ctx.is_some_and(Context::can_end);
        loop {
            let own: Vec<Fault> = rest.iter().map(|i| self.script.faults[*i].1.clone()).collect();
            let menu = Menu { standard, own: &own };
            self.steps.iter_mut().for_each(|steps| steps.asks());
            let option = self.oracle.choose(&Choice::Fault { site, menu, awaited, endless });
            let Some(fault) = menu.get(option) else { break };
            over = over.saturating_add(nanos(fault.lasts()));
            self.fault_until(over);
            self.recording.fault(now, site, fault.clone().awaited(endless));
            self.steps.iter_mut().for_each(|steps| steps.strikes());
            struck.push(fault.clone());
            let Some(own) = option.checked_sub(1 + standard.len()) else { break };
            self.fates[rest.remove(own)] = Fate::Applied;
            if rest.is_empty() {
                break;
            }
            standard = &[];
        }
        struck
    }

    /// Lets a call that was just made meet its faults: delays, and one of another kind.
    pub(super) fn strike(&mut self, id: EntryId, faults: Vec<Fault>, now: u64) {
        if faults.is_empty() {
            return;
        }
        let Some(at) = self.parked.find(id) else { return };
        let mut parked = self.parked.change(at);
        let site = parked.site;
        let mut main = None;
        let mut refused = Vec::new();
        let mut delays = Vec::new();
        for fault in faults {
            match fault {
                Fault::Delay { .. } => delays.push(fault),
                fault if main.is_none() => main = Some(fault),
                fault => refused.push(fault),
            }
        }
        for delay in &delays {
            if let Fault::Delay { by, of } = delay {
                match of {
                    DelayOf::Effect => parked.due = parked.due.saturating_add(nanos(*by)),
                    DelayOf::Reply => {
                        parked.reply_delay = parked.reply_delay.saturating_add(nanos(*by));
                    }
                }
            }
        }
        let (due, reply_delay) = (parked.due, parked.reply_delay);
        drop(parked);
        let Some(main) = main else { return };
        let (kind, hangs) =
            (main.kind(), matches!(main, Fault::Hang { .. } | Fault::HangForever { .. }));
        for fault in refused {
            self.refuse_fault(
                site,
                &fault,
                format!("the site has a fault of kind `{kind}` already"),
            );
        }
        for delay in delays.into_iter().filter(|_| hangs) {
            let of_reply = matches!(delay, Fault::Delay { of: DelayOf::Reply, .. });
            if of_reply || main.effect() == Effect::None {
                self.refuse_fault(
                    site,
                    &delay,
                    format!("the site has a `{kind}`, which has no end"),
                );
            }
        }
        self.strike_main(id, &main, due, reply_delay, now);
    }

    fn strike_main(&mut self, id: EntryId, fault: &Fault, due: u64, reply_delay: u64, now: u64) {
        let Some(at) = self.parked.find(id) else { return };
        let mut parked = self.parked.change(at);
        let site = parked.site;
        let What::Call { pending, abandons } = &parked.what else { return };
        let (pending, abandons) = (pending.clone(), *abandons);
        parked.fault = Some(Box::new(fault.clone()));
        // What a plugin answers, or leaves unanswered, it has heard.
        let heard = site.op.layer() == Layer::Nri;
        match fault {
            Fault::Hang { effect: Effect::None } | Fault::HangForever { effect: Effect::None }
                if !heard =>
            {
                parked.stage = Stage::Reply;
                parked.due = NEVER;
                parked.hangs = true;
            }
            Fault::Error { effect: Effect::None, .. } if heard => {}
            Fault::Error { effect: Effect::None, .. }
            | Fault::ConnectionClosed { effect: Effect::None } => {
                parked.stage = Stage::Reply;
                parked.due = due.saturating_add(reply_delay);
                if let Some(failure) = failure_of(fault) {
                    pending.fail(&failure, site);
                }
            }
            Fault::Error { effect: Effect::Late(by), .. }
            | Fault::ConnectionClosed { effect: Effect::Late(by) } => {
                drop(parked);
                let at = due.saturating_add(nanos(*by));
                self.late_effect(id, at, failure_of(fault), now.saturating_add(reply_delay));
            }
            Fault::Cancel { effect } | Fault::Deadline { effect } => {
                drop(parked);
                let code = code_of(fault);
                let Some(call) = self.current.and_then(|task| self.tasks[task.0].client) else {
                    let why = format!(
                        "`{}` does not serve a client's call: there is no request that could be \
                         cancelled",
                        site.actor
                    );
                    return self.refuse_fault(site, fault, why);
                };
                // A cancel does not reach the runtime, and a deadline finds it with its work done.
                let blind = !abandons || site.op.layer() == Layer::Shim;
                // See `end_after_effect`.
                let after = match effect {
                    Effect::None => heard,
                    Effect::Done => heard || blind,
                    Effect::Late(_) => false,
                };
                if !after {
                    self.cancel(call, code, now);
                    self.end_here(id, *effect, code, fault, now);
                }
            }
            _ => {}
        }
    }

    /// The client's context ended while the call `id` is awaited, which ends the await if the call
    /// looks at that context.
    fn end_here(&mut self, id: EntryId, effect: Effect, code: Code, fault: &Fault, now: u64) {
        let Some(at) = self.parked.find(id) else { return };
        if self.parked[at].abandon_due() > now {
            if matches!(effect, Effect::Late(_)) {
                let site = self.parked[at].site;
                let why = format!(
                    "`{}` does not look at the client's context here, so it ends as always",
                    site.op.name()
                );
                self.refuse_fault(site, fault, why);
            }
            return;
        }
        let mut parked = self.parked.change(at);
        match effect {
            Effect::None => {
                parked.fault = Some(Box::new(Fault::Hang { effect }));
                parked.stage = Stage::Reply;
                parked.due = NEVER;
                parked.hangs = true;
                parked.prompt = true;
            }
            // The effect goes first; the reply never comes, so the abandon ends the await.
            Effect::Done => {
                parked.fault = Some(Box::new(Fault::Hang { effect }));
            }
            Effect::Late(by) => {
                drop(parked);
                let at = now.saturating_add(nanos(by));
                self.late_effect(id, at, Some(Failure::Context(code)), now);
            }
        }
    }

    /// The client's context ends once a call was done: one that does not look at it, and so is answered
    /// as always, or one to a plugin, whose answer is not waited for.
    fn end_after_effect(&mut self, at: usize, fault: &Fault, now: u64) {
        if matches!(fault, Fault::Cancel { .. } | Fault::Deadline { .. })
            && let Some(call) = self.client_of(at)
        {
            self.cancel(call, code_of(fault), now);
            let mut parked = self.parked.change(at);
            if parked.abandon_due() <= now {
                parked.due = NEVER;
                parked.hangs = true;
            }
        }
    }

    /// Splits a call: the caller gets the failure at `reply_at`, the effect happens at `at`.
    fn late_effect(&mut self, id: EntryId, at: u64, failure: Option<Failure>, reply_at: u64) {
        let Some(index) = self.parked.find(id) else { return };
        let (site, task) = (self.parked[index].site, self.parked[index].task);
        let What::Call { pending, abandons } = &self.parked[index].what else { return };
        let (pending, abandons) = (pending.clone(), *abandons);
        if let Some(failure) = &failure {
            pending.fail(failure, site);
        }
        // The effect keeps the entry, so that a handler's answer finds it; the reply is a new one.
        let memory = self.memory_behind(index);
        let mut effect = self.parked.change(index);
        effect.due = at;
        effect.orphan = Some(memory);
        effect.task = None;
        effect.what = What::Call { pending: Rc::new(EffectOnly(pending.clone())), abandons };
        drop(effect);
        let what = What::Call { pending, abandons: false };
        self.park(site, Stage::Reply, reply_at, reply_at, what).task = task;
    }

    /// What an effect leaves to be done.
    pub(super) fn after_effect(&mut self, at: usize, now: u64) {
        if self.parked[at].orphan.is_some() {
            self.drop_parked(at);
            return;
        }
        let steps = self.parked.steps;
        let mut parked = self.parked.change(at);
        parked.stage = Stage::Reply;
        parked.wait = None;
        parked.due = now.saturating_add(parked.reply_delay);
        parked.ready = steps;
        match parked.fault.as_deref().cloned() {
            Some(Fault::Hang { .. } | Fault::HangForever { .. }) => {
                parked.due = NEVER;
                parked.hangs = true;
            }
            Some(fault) => {
                if let (Some(failure), What::Call { pending, .. }) =
                    (failure_of(&fault), &parked.what)
                {
                    pending.fail(&failure, parked.site);
                }
                drop(parked);
                self.end_after_effect(at, &fault, now);
            }
            None => {}
        }
    }

    /// Faults strike at least until then.
    pub(super) fn fault_until(&mut self, at: u64) {
        self.last_fault_at = self.last_fault_at.max(at);
    }

    fn refuse_fault(&mut self, site: Site, fault: &Fault, reason: String) {
        let of_it = |(s, f): &(Site, Fault)| *s == site && f == fault;
        if let Some(at) = self.script.faults.iter().position(of_it) {
            self.fates[at] = Fate::Refused(reason);
        }
    }
}

/// A call whose caller was answered already: what it brings is dropped.
pub(super) struct EffectOnly(Rc<dyn Pending>);

impl Pending for EffectOnly {
    fn run(&self, world: &mut World, entry: EntryId, site: Site) -> Ran {
        self.0.run(world, entry, site)
    }

    fn fail(&self, _: &Failure, _: Site) {}

    fn brought(&self) -> (u64, Option<Rc<str>>) {
        (0, None)
    }

    fn deliver(&self) {}
}

/// The failure that a fault delivers instead of the call's own reply.
fn failure_of(fault: &Fault) -> Option<Failure> {
    match fault {
        Fault::Error { cause, message, .. } => {
            Some(Failure::Injected { cause: *cause, message: message.clone() })
        }
        Fault::ConnectionClosed { .. } => Some(Failure::ConnectionClosed),
        _ => None,
    }
}

/// As what the client's context ends by a fault.
fn code_of(fault: &Fault) -> Code {
    match fault {
        Fault::Deadline { .. } => Code::DeadlineExceeded,
        _ => Code::Cancelled,
    }
}
