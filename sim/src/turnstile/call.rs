//! A port call between its making and its reply.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::task::{Context as TaskContext, Poll};

use rustc_hash::FxHasher;
use shakedown_cri::cri::LocalFuture;
use shakedown_cri::ports::{Code, Context, Error, FsCause, FsError, NriError};

use super::names::Symbol;
use super::site::{Op, Site};
use super::{EntryId, NEVER, Sim};
use crate::oracle::Cause;
use crate::world::{WaitKey, World};

/// Why a call ends without what it asked for.
#[derive(Clone, Debug)]
pub enum Failure {
    Injected {
        cause: Cause,
        message: Option<Rc<str>>,
    },
    /// The context of the caller ended.
    Context(Code),
    ConnectionClosed,
}

/// What a call brings to its caller.
pub trait Payload: Sized + 'static {
    fn failed(failure: &Failure, site: Site) -> Self;
    fn digest(&self) -> u64;
    fn error(&self) -> Option<String>;
}

/// An error type of a port.
pub trait PortError: Hash + std::fmt::Display + 'static {
    fn of(failure: &Failure, site: Site) -> Self;
}

impl PortError for Error {
    fn of(failure: &Failure, _: Site) -> Self {
        match failure {
            Failure::Injected { cause, message } => {
                let code = match cause {
                    Cause::Class(code) => *code,
                    Cause::Errno(_) => Code::Unknown,
                };
                Error::new(code, message.as_deref().unwrap_or("injected"))
            }
            Failure::Context(code) => Error::bare(*code),
            // No class is mapped to it.
            Failure::ConnectionClosed => Error::unknown("ttrpc: closed"),
        }
    }
}

/// The system call that fails in an operation of the file port, as Go names it.
fn system_call(op: Op) -> &'static str {
    match op {
        Op::FsMkdir | Op::FsMkdtemp => "mkdir",
        Op::FsCreateTemp | Op::FsOpen | Op::FsRead | Op::FsReadDir | Op::PipeOpen => "open",
        Op::FsChmod => "chmod",
        Op::FsWrite => "write",
        Op::FsSync | Op::FsSyncDir => "sync",
        Op::FsClose | Op::PipeClose => "close",
        Op::FsRename => "rename",
        Op::FsUnlink | Op::FsRemoveDir => "remove",
        Op::FsUnmount => "unmount",
        Op::FsRemoveTree => "unlinkat",
        _ => "read",
    }
}

impl PortError for FsError {
    fn of(failure: &Failure, site: Site) -> Self {
        let cause = match failure {
            Failure::Injected { cause: Cause::Errno(errno), .. } => FsCause::Errno(*errno),
            Failure::Injected { cause: Cause::Class(code), .. } | Failure::Context(code) => {
                FsCause::Context(*code)
            }
            Failure::ConnectionClosed => FsCause::Closed,
        };
        FsError { op: system_call(site.op), path: site.subject.to_string(), cause }
    }
}

impl PortError for NriError {
    fn of(failure: &Failure, _: Site) -> Self {
        match failure {
            Failure::Injected { cause, message } => {
                let code = match cause {
                    Cause::Class(code) => *code,
                    Cause::Errno(_) => Code::Unknown,
                };
                let text = message.as_deref().unwrap_or("injected");
                let status = match code {
                    Code::Cancelled => "Canceled".to_owned(),
                    other => format!("{other:?}"),
                };
                NriError::Status(Error::new(
                    code,
                    format!("rpc error: code = {status} desc = {text}"),
                ))
            }
            Failure::Context(code) => NriError::Status(Error::bare(*code)),
            Failure::ConnectionClosed => NriError::ConnectionClosed,
        }
    }
}

impl<V: Hash + 'static, E: PortError> Payload for Result<V, E> {
    fn failed(failure: &Failure, site: Site) -> Self {
        Err(E::of(failure, site))
    }

    fn digest(&self) -> u64 {
        let mut hasher = FxHasher::default();
        self.hash(&mut hasher);
        hasher.finish()
    }

    fn error(&self) -> Option<String> {
        self.as_ref().err().map(ToString::to_string)
    }
}

/// For calls that cannot fail.
impl Payload for bool {
    fn failed(_: &Failure, _: Site) -> Self {
        false
    }

    fn digest(&self) -> u64 {
        u64::from(*self)
    }

    fn error(&self) -> Option<String> {
        None
    }
}

/// How far an effect came.
pub enum Flow<T> {
    Done(T),
    /// Nothing happened yet; to be tried again when the world says so.
    Wait(WaitKey),
}

/// How far an effect came, without its type.
pub(super) enum Ran {
    Done,
    Wait(WaitKey),
    /// A handler has to run.
    Serve(LocalFuture<()>),
}

/// A call as the turnstile keeps it.
pub(super) trait Pending {
    fn run(&self, world: &mut World, entry: EntryId, site: Site) -> Ran;
    fn fail(&self, failure: &Failure, site: Site);
    /// Hash and error text of what the call brought so far.
    fn brought(&self) -> (u64, Option<Rc<str>>);
    fn deliver(&self);

    /// What it takes of the daemon's own, and whether others can take it, too.
    fn takes(&self) -> Option<(WaitKey, bool)> {
        None
    }
}

/// What a call brought so far. Effect and reply both tell of it in the recording.
struct Brought<T> {
    out: T,
    digest: u64,
    error: Option<Rc<str>>,
}

/// Where a call's effect or failure leaves what it brings.
struct Slot<T>(RefCell<Option<Brought<T>>>);

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Slot(RefCell::new(None))
    }
}

impl<T: Payload> Slot<T> {
    fn put(&self, out: T) {
        let (digest, error) = (out.digest(), out.error().map(Rc::from));
        *self.0.borrow_mut() = Some(Brought { out, digest, error });
    }

    fn take(&self) -> Option<T> {
        self.0.borrow_mut().take().map(|brought| brought.out)
    }

    fn brought(&self) -> (u64, Option<Rc<str>>) {
        self.0.borrow().as_ref().map_or((0, None), |b| (b.digest, b.error.clone()))
    }
}

/// What the future and the turnstile share.
pub(super) struct CallCell<T, F> {
    out: Slot<T>,
    delivered: Cell<bool>,
    effect: RefCell<F>,
}

impl<T: Payload, F: FnMut(&mut World) -> Flow<T>> Pending for CallCell<T, F> {
    fn run(&self, world: &mut World, _: EntryId, _: Site) -> Ran {
        match (self.effect.borrow_mut())(world) {
            Flow::Done(out) => {
                self.out.put(out);
                Ran::Done
            }
            Flow::Wait(key) => Ran::Wait(key),
        }
    }

    fn fail(&self, failure: &Failure, site: Site) {
        self.out.put(T::failed(failure, site));
    }

    fn brought(&self) -> (u64, Option<Rc<str>>) {
        self.out.brought()
    }

    fn deliver(&self) {
        self.delivered.set(true);
    }
}

/// A call that containerd serves in several steps: a handler with calls of its own.
pub(super) struct ServeCell<T, G, H> {
    /// For the handler, which leaves here what it brings.
    me: Weak<Self>,
    out: Slot<T>,
    delivered: Cell<bool>,
    handler: Cell<Option<H>>,
    gate: RefCell<G>,
    sim: Sim,
}

impl<T, G, H, Fut> Pending for ServeCell<T, G, H>
where
    T: Payload,
    G: FnMut(&mut World) -> Option<WaitKey> + 'static,
    H: FnOnce() -> Fut + 'static,
    Fut: Future<Output = T> + 'static,
{
    fn run(&self, world: &mut World, entry: EntryId, _: Site) -> Ran {
        if let Some(key) = (self.gate.borrow_mut())(world) {
            return Ran::Wait(key);
        }
        let Some(handler) = self.handler.take() else { return Ran::Done };
        let me = self.me.upgrade().expect("whoever has it run holds it");
        Ran::Serve(Box::pin(async move {
            let result = handler().await;
            // A reply that was decided already (a lost one) stays what it is.
            if me.sim.served(entry) {
                me.out.put(result);
            }
        }))
    }

    fn fail(&self, failure: &Failure, site: Site) {
        self.out.put(T::failed(failure, site));
    }

    fn brought(&self) -> (u64, Option<Rc<str>>) {
        self.out.brought()
    }

    fn deliver(&self) {
        self.delivered.set(true);
    }
}

trait Outcome<T>: Pending {
    fn take(&self) -> Option<T>;

    /// Does all of it at once, if nothing has to be waited for.
    fn at_once(&self, sim: &Sim, cx: &mut TaskContext<'_>) -> Option<T>;
}

impl<T: Payload, F: FnMut(&mut World) -> Flow<T>> Outcome<T> for CallCell<T, F> {
    fn take(&self) -> Option<T> {
        if self.delivered.get() { self.out.take() } else { None }
    }

    fn at_once(&self, sim: &Sim, _: &mut TaskContext<'_>) -> Option<T> {
        match sim.with_world(|world| (self.effect.borrow_mut())(world)) {
            Flow::Done(out) => Some(out),
            Flow::Wait(_) => None,
        }
    }
}

impl<T, G, H, Fut> Outcome<T> for ServeCell<T, G, H>
where
    T: Payload,
    G: FnMut(&mut World) -> Option<WaitKey> + 'static,
    H: FnOnce() -> Fut + 'static,
    Fut: Future<Output = T> + 'static,
{
    fn take(&self) -> Option<T> {
        if self.delivered.get() { self.out.take() } else { None }
    }

    fn at_once(&self, sim: &Sim, cx: &mut TaskContext<'_>) -> Option<T> {
        if sim.with_world(|world| (self.gate.borrow_mut())(world)).is_some() {
            return None;
        }
        let handler = self.handler.take()?;
        match pin!(handler()).poll(cx) {
            Poll::Ready(out) => Some(out),
            Poll::Pending => unreachable!("a step of an undisturbed node had to wait"),
        }
    }
}

/// A port call: parks when first polled, ready when its reply was admitted.
pub struct Call<T: Payload> {
    sim: Sim,
    op: Op,
    subject: Symbol,
    ctx: Option<Context>,
    cell: Rc<dyn Outcome<T>>,
    entry: Option<EntryId>,
}

impl<T: Payload> Future for Call<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<T> {
        if self.entry.is_none() {
            if self.sim.is_direct()
                && !self.op.waits()
                && let Some(out) = self.cell.at_once(&self.sim, cx)
            {
                return Poll::Ready(out);
            }
            let cell: Rc<dyn Pending> = self.cell.clone();
            let ctx = self.ctx.take();
            if let Some(entry) = self.sim.make(self.op, self.subject, ctx, cell, NEVER) {
                self.entry = Some(entry);
                return Poll::Pending;
            }
        } else if let Some(entry) = self.entry {
            self.sim.awaited_here(entry);
        }
        match self.cell.take() {
            Some(out) => {
                self.entry = Some(EntryId::NONE);
                Poll::Ready(out)
            }
            None => Poll::Pending,
        }
    }
}

impl<T: Payload> Drop for Call<T> {
    fn drop(&mut self) {
        if let Some(entry) = self.entry
            && entry != EntryId::NONE
        {
            self.sim.forget(entry);
        }
    }
}

impl Sim {
    /// A call whose effect is one step.
    pub fn call<T: Payload>(
        &self,
        op: Op,
        subject: Symbol,
        ctx: Option<&Context>,
        effect: impl FnMut(&mut World) -> Flow<T> + 'static,
    ) -> Call<T> {
        let cell = CallCell {
            out: Slot::default(),
            delivered: Cell::new(false),
            effect: RefCell::new(effect),
        };
        self.make_call(op, subject, ctx, Rc::new(cell))
    }

    /// A call that a handler serves in several steps. The handler's own calls are named below the
    /// call's site. `gate` says what the request has to wait for before it is served.
    pub fn serve<T: Payload, Fut: Future<Output = T> + 'static>(
        &self,
        op: Op,
        subject: Symbol,
        ctx: Option<&Context>,
        gate: impl FnMut(&mut World) -> Option<WaitKey> + 'static,
        handler: impl FnOnce() -> Fut + 'static,
    ) -> Call<T> {
        let cell = Rc::new_cyclic(|me| ServeCell {
            me: me.clone(),
            out: Slot::default(),
            delivered: Cell::new(false),
            handler: Cell::new(Some(handler)),
            gate: RefCell::new(gate),
            sim: self.clone(),
        });
        self.make_call(op, subject, ctx, cell)
    }

    fn make_call<T: Payload>(
        &self,
        op: Op,
        subject: Symbol,
        ctx: Option<&Context>,
        cell: Rc<dyn Outcome<T>>,
    ) -> Call<T> {
        Call { sim: self.clone(), op, subject, ctx: ctx.cloned(), cell, entry: None }
    }

    /// The current task polls a call that is parked already: it is the one to wake, should another have
    /// handed the call on to it.
    pub(super) fn awaited_here(&self, id: EntryId) {
        let mut core = self.0.core.borrow_mut();
        let current = core.current;
        if let Some(at) = core.parked.find(id)
            && core.parked[at].task != current
        {
            core.parked.change(at).task = current;
        }
    }

    /// The future of a call was dropped. A request that was made stays made.
    pub(super) fn forget(&self, id: EntryId) {
        let Ok(mut core) = self.0.core.try_borrow_mut() else { return };
        if core.closed {
            return;
        }
        if let Some(at) = core.parked.find(id) {
            core.step_answers(at);
            if core.parked[at].is_on_its_way() {
                let memory = core.memory_behind(at);
                core.parked.change(at).orphan = Some(memory);
            } else {
                core.drop_parked(at);
            }
        }
    }
}
