//! The calls of the scenario's clients, and how they give up.

use shakedown_cri::cri::LocalFuture;
use shakedown_cri::ports::{CancelToken, Code, Context, Instant};

use super::line::{Change, What};
use super::recording::Awaited;
use super::site::{Moment, Op, Site, Stage};
use super::steps::Footprint;
use super::triggers::Trigger;
use super::{Core, Sim, Symbol, TaskId, nanos};

/// A call of the scenario, as the turnstile starts it.
pub struct ClientCall {
    pub name: Symbol,
    /// Makes the call's future from its context.
    pub make: Option<Box<dyn FnOnce(Context) -> LocalFuture<()>>>,
    pub deadline: Option<std::time::Duration>,
    pub cancel_after: Option<std::time::Duration>,
    pub token: CancelToken,
    /// It begins when a moment was admitted, and then goes before other work that is due.
    pub waited: bool,
    pub began: Option<u64>,
    pub answered: Option<u64>,
    /// When the client gave up: its deadline or its cancel, if that came before the answer.
    pub cancelled: Option<(u64, Code)>,
    /// The call is over without an answer of the service: the daemon died under it, or was not there.
    pub cut: bool,
    /// Hash of the answer.
    pub brought: u64,
}

impl ClientCall {
    /// When the client gave up by `now`, if that was before the answer: its deadline or its cancel.
    pub fn gave_up(&self, now: u64) -> Option<u64> {
        let deadline = (self.began.zip(self.deadline)).map(|(at, d)| Instant(at).after(d).0);
        let gave_up = deadline.into_iter().chain(self.cancelled.map(|(at, _)| at)).min()?;
        (gave_up <= self.answered.unwrap_or(now)).then_some(gave_up)
    }
}

impl Sim {
    /// The call that the current task serves has its answer, of which this is the hash.
    pub fn answer(&self, hash: u64) {
        let mut core = self.0.core.borrow_mut();
        if let Some(call) = core.current.and_then(|task| core.tasks[task.0].client) {
            core.calls[call].brought = hash;
        }
    }

    pub fn with_calls<R>(&self, look: impl FnOnce(&[ClientCall]) -> R) -> R {
        look(&self.0.core.borrow().calls)
    }

    /// Registers a call of the scenario. It begins at `due`, or when `moment` was admitted.
    pub fn add_call(&self, call: ClientCall, due: Option<u64>, moment: Option<Moment>) -> usize {
        let mut core = self.0.core.borrow_mut();
        let index = core.calls.len();
        if let Some(due) = due {
            let site = Site { actor: call.name, op: Op::Begin, subject: Symbol::EMPTY, count: 1 };
            core.park(site, Stage::Only, due, self.0.now.get(), What::Begin { call: index });
        }
        if let Some(moment) = moment {
            core.triggers.push((moment, Trigger::Begin(index)));
        }
        core.calls.push(call);
        index
    }

    /// Begins a call for which there was neither a time nor a moment.
    pub fn begin_call(&self, call: usize) {
        let mut core = self.0.core.borrow_mut();
        let now = self.0.now.get();
        let actor = core.calls[call].name;
        let site = Site { actor, op: Op::Begin, subject: Symbol::EMPTY, count: 1 };
        core.park(site, Stage::Only, now, now, What::Begin { call });
    }
}

impl Core {
    /// Whether the current task serves a call that waited for a moment.
    pub(super) fn is_urgent(&self) -> bool {
        let client = self.current.and_then(|task| self.tasks[task.0].client);
        client.is_some_and(|call| self.calls[call].waited)
    }

    /// What a client that gives up means to a call that the current task makes.
    pub(super) fn awaited(&self, op: Op, ctx: Option<&Context>) -> Awaited {
        let Some(call) = self.current.and_then(|task| self.tasks[task.0].client) else {
            return Awaited::ByNoClient;
        };
        let token = ctx.and_then(Context::cancel_token);
        let is_clients = token.is_some_and(|token| token.descends_from(&self.calls[call].token));
        if is_clients && op.can_abandon() { Awaited::UntilGivenUp } else { Awaited::Blindly }
    }

    /// The scenario's call whose task made a parked call.
    pub(super) fn client_of(&self, at: usize) -> Option<usize> {
        self.parked[at].task.and_then(|task| self.tasks[task.0].client)
    }

    /// Begins a call of the scenario. Without a daemon it is over at once.
    pub(super) fn begin(&mut self, index: usize, now: u64) -> Option<TaskId> {
        let call = &mut self.calls[index];
        call.began = Some(now);
        if self.down {
            self.cut(index, now);
            return None;
        }
        let ctx = Context::background().with_token(call.token.clone());
        let ctx = match call.deadline {
            Some(deadline) => ctx.with_timeout(Instant(now), deadline),
            None => ctx,
        };
        let make = call.make.take().expect("a call begins once");
        let name = call.name;
        let cancel = call.cancel_after;
        let future = make(ctx);
        if let Some(after) = cancel {
            self.park_cancel(index, now.saturating_add(nanos(after)), now);
        }
        Some(self.new_task(name, Some(index), self.boot, future))
    }

    /// A call is over, as the daemon is: the client hears that it is unavailable.
    pub(super) fn cut(&mut self, index: usize, now: u64) {
        self.calls[index].cut = true;
        self.end_call(index, now);
    }

    /// The call `index` is over. The end follows at once upon what brought it.
    pub(super) fn end_call(&mut self, index: usize, now: u64) {
        self.calls[index].answered = Some(now);
        self.unpark_all(|p| matches!(p.what, What::Cancel { call } if call == index));
        let actor = self.calls[index].name;
        let site = Site { actor, op: Op::Done, subject: Symbol::EMPTY, count: 1 };
        let mut parked = self.park(site, Stage::Only, now, now, What::Done { call: index });
        parked.urgent = true;
        parked.task = None;
    }

    pub(super) fn park_cancel(&mut self, index: usize, due: u64, now: u64) -> Change<'_> {
        let site = Site {
            actor: self.calls[index].name,
            op: Op::Cancel,
            subject: Symbol::EMPTY,
            count: 1,
        };
        let mut parked = self.park(site, Stage::Only, due, now, What::Cancel { call: index });
        parked.task = None;
        parked
    }

    pub(super) fn cancel(&mut self, index: usize, code: Code, now: u64) {
        self.stirred = true;
        if self.faults_allowed {
            self.note_contexts();
        }
        let call = &mut self.calls[index];
        if call.answered.is_none() && call.cancelled.is_none() {
            call.cancelled = Some((now, code));
        }
        call.token.end(Instant(now), code);
        if self.faults_allowed
            && let Some(steps) = &mut self.steps
        {
            steps.touch(&Footprint::GIVES_UP);
            self.note_contexts();
        }
        for at in 0..self.parked.len() {
            let mut parked = self.parked.change(at);
            if parked.main_due() > now && parked.abandon_due() <= now {
                parked.prompt = true;
            }
        }
    }
}
