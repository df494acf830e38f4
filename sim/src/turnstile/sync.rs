//! The runtime port: spawning, sleeping, locks, channels and signals, each taking of one a moment.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use rustc_hash::FxHasher;
use shakedown_cri::ports::{
    Code, Context, Error, Lock, Name, ReadGuard, Receiver, Runtime, Sender, Signal, Value,
    WriteGuard,
};

use super::Notes;
use super::actors::{role_of, task_of};
use super::call::{Failure, Pending, Ran};
use super::names::Symbol;
use super::site::{Op, Site};
use super::state::Guarded;
use super::{EntryId, Footprint, NEVER, Sim, nanos};
use crate::world::{WaitKey, World};

/// The runtime port of the simulator.
#[derive(Clone)]
pub struct SimRuntime {
    sim: Sim,
    boot: u32,
}

impl SimRuntime {
    /// `boot`: the number of the daemon's start that its tasks belong to; 0: they are the harness's.
    pub fn new(sim: Sim, boot: u32) -> Self {
        SimRuntime { sim, boot }
    }
}

/// An attempt to take something, repeated whenever what it waits for was woken.
struct SingleCell<F> {
    attempt: RefCell<F>,
    key: WaitKey,
    delivered: Cell<bool>,
    failed: Cell<Option<Code>>,
}

impl<F: FnMut() -> bool> Pending for SingleCell<F> {
    fn run(&self, _: &mut World, _: EntryId, _: Site) -> Ran {
        if (self.attempt.borrow_mut())() { Ran::Done } else { Ran::Wait(self.key) }
    }

    fn fail(&self, failure: &Failure, _: Site) {
        if let Failure::Context(code) = failure {
            self.failed.set(Some(*code));
        }
    }

    fn brought(&self) -> (u64, Option<Rc<str>>) {
        (0, self.failed.get().map(|code| Rc::from(code.text())))
    }

    fn deliver(&self) {
        self.delivered.set(true);
    }

    fn takes(&self) -> Option<(WaitKey, bool)> {
        Some((self.key, true))
    }
}

/// A wait with one moment; ends with the context's error if that is earlier.
struct Single<F> {
    sim: Sim,
    op: Op,
    subject: Symbol,
    ctx: Option<Context>,
    due: Option<u64>,
    cell: Rc<SingleCell<F>>,
    entry: Option<EntryId>,
}

impl<F: FnMut() -> bool + 'static> Future for Single<F> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<Self::Output> {
        if self.entry.is_none() {
            if self.sim.is_direct() && self.due.is_none() && (self.cell.attempt.borrow_mut())() {
                return Poll::Ready(Ok(()));
            }
            let pending: Rc<dyn Pending> = self.cell.clone();
            let (ctx, due) = (self.ctx.take(), self.due.unwrap_or(NEVER));
            if let Some(entry) = self.sim.make(self.op, self.subject, ctx, pending, due) {
                self.entry = Some(entry);
                return Poll::Pending;
            }
        }
        if !self.cell.delivered.get() {
            return Poll::Pending;
        }
        self.entry = Some(EntryId::NONE);
        Poll::Ready(self.cell.failed.get().map_or(Ok(()), |code| Err(Error::bare(code))))
    }
}

impl<F> Drop for Single<F> {
    fn drop(&mut self) {
        if let Some(entry) = self.entry
            && entry != EntryId::NONE
        {
            self.sim.forget(entry);
        }
    }
}

impl Sim {
    fn single<F: FnMut() -> bool + 'static>(
        &self,
        op: Op,
        subject: Symbol,
        ctx: Option<&Context>,
        key: WaitKey,
        attempt: F,
    ) -> Single<F> {
        let cell = SingleCell {
            attempt: RefCell::new(attempt),
            key,
            delivered: Cell::new(false),
            failed: Cell::new(None),
        };
        Single {
            sim: self.clone(),
            op,
            subject,
            ctx: ctx.cloned(),
            due: None,
            cell: Rc::new(cell),
            entry: None,
        }
    }

    /// Whoever waits for `key` may try again.
    fn notify(&self, key: WaitKey) {
        self.touch(|| Footprint::of_key(key));
        let now = self.0.now.get();
        let Ok(mut core) = self.0.core.try_borrow_mut() else { return };
        core.parked.wake(key, now);
    }

    /// A lock that was taken at the site is given back.
    fn released(&self, site: Site) {
        let Ok(mut core) = self.0.core.try_borrow_mut() else { return };
        core.recording.released(self.0.now.get(), site);
    }

    fn new_key(&self) -> WaitKey {
        let mut core = self.0.core.borrow_mut();
        core.next_key += 1;
        WaitKey::Shared(core.next_key)
    }
}

/// Who found a lock taken.
struct Waiter {
    ticket: u64,
    write: bool,
    actor: Option<Symbol>,
}

struct LockState<T> {
    sim: Sim,
    name: Symbol,
    key: WaitKey,
    value: RefCell<T>,
    /// The harness has looked at the value, outside of any poll.
    seen: Cell<bool>,
    readers: Cell<u32>,
    writing: Cell<bool>,
    /// In order.
    queue: RefCell<Vec<Waiter>>,
    next_ticket: Cell<u64>,
}

impl<T> LockState<T> {
    fn draw(&self) -> u64 {
        let ticket = self.next_ticket.get();
        self.next_ticket.set(ticket + 1);
        ticket
    }

    /// Whoever finds the lock taken waits in the queue from then on; whoever has not come to try does
    /// not stand in anybody's way.
    fn try_take(&self, waiter: Waiter) -> bool {
        let Waiter { ticket, write, .. } = waiter;
        let mut queue = self.queue.borrow_mut();
        let ahead = queue.iter().position(|other| other.ticket == ticket).unwrap_or(queue.len());
        let free = if write {
            !self.writing.get() && self.readers.get() == 0
        } else {
            // A writer that waits goes before readers that came after it.
            !self.writing.get() && !queue[..ahead].iter().any(|other| other.write)
        };
        if free {
            queue.retain(|other| other.ticket != ticket);
            if write {
                self.writing.set(true);
            } else {
                self.readers.set(self.readers.get() + 1);
            }
        } else if ahead == queue.len() {
            queue.push(waiter);
        }
        free
    }

    fn release(&self, write: bool) {
        let footprint = if write { Footprint::of_key } else { Footprint::of_look };
        self.sim.touch(|| footprint(self.key));
        if write {
            self.writing.set(false);
        } else {
            self.readers.set(self.readers.get() - 1);
        }
        // Whoever waits stands in the queue.
        if !self.queue.borrow().is_empty() {
            self.sim.notify(self.key);
        }
    }
}

impl<T: Hash> Guarded for LockState<T> {
    fn hash_content(&self, state: &mut FxHasher) {
        let queue = self.queue.borrow();
        (self.readers.get(), self.writing.get(), queue.len()).hash(state);
        queue.iter().for_each(|waiter| (waiter.write, waiter.actor).hash(state));
        self.value.try_borrow().ok().as_deref().hash(state);
    }
}

/// A reader-writer lock of the simulator.
pub struct SimLock<T>(Rc<LockState<T>>);

impl<T> Clone for SimLock<T> {
    fn clone(&self) -> Self {
        SimLock(self.0.clone())
    }
}

/// Shared or exclusive access.
pub struct SimGuard<T> {
    lock: Rc<LockState<T>>,
    write: bool,
    /// Where it was taken, if that was a moment.
    site: Option<Site>,
}

impl<T> Drop for SimGuard<T> {
    fn drop(&mut self) {
        self.lock.release(self.write);
        if let Some(site) = self.site {
            self.lock.sim.released(site);
        }
    }
}

impl<T> ReadGuard<T> for SimGuard<T> {
    fn with<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        read(&self.lock.value.borrow())
    }
}

impl<T> WriteGuard<T> for SimGuard<T> {
    fn with_mut<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        if self.lock.seen.get() {
            self.lock.sim.touch(|| Footprint::VIEW);
            self.lock.sim.note_service_changed();
        }
        change(&mut self.lock.value.borrow_mut())
    }
}

/// A place in a lock's queue, as the turnstile keeps it.
struct Place<T> {
    lock: Rc<LockState<T>>,
    ticket: u64,
    write: bool,
    taken: Cell<bool>,
    site: Cell<Option<Site>>,
    delivered: Cell<bool>,
}

impl<T> Place<T> {
    fn try_take(&self) -> bool {
        let Place { ticket, write, ref site, .. } = *self;
        let actor = site.get().map(|site| site.actor);
        let took = self.lock.try_take(Waiter { ticket, write, actor });
        self.taken.set(took);
        took
    }
}

impl<T> Pending for Place<T> {
    fn run(&self, _: &mut World, _: EntryId, site: Site) -> Ran {
        self.site.set(Some(site));
        if self.try_take() { Ran::Done } else { Ran::Wait(self.lock.key) }
    }

    /// Without a context the wait cannot fail.
    fn fail(&self, _: &Failure, _: Site) {}

    fn brought(&self) -> (u64, Option<Rc<str>>) {
        (0, None)
    }

    fn deliver(&self) {
        self.delivered.set(true);
    }

    fn takes(&self) -> Option<(WaitKey, bool)> {
        Some((self.lock.key, !self.write))
    }
}

/// The taking of a lock: one moment.
struct Taking<T> {
    place: Rc<Place<T>>,
    entry: Option<EntryId>,
}

impl<T: Hash + 'static> Future for Taking<T> {
    type Output = SimGuard<T>;

    fn poll(mut self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<SimGuard<T>> {
        let place = self.place.clone();
        let sim = &place.lock.sim;
        let at_once = self.entry.is_none() && sim.is_direct() && place.try_take();
        if !at_once {
            if self.entry.is_none() {
                let name = place.lock.name;
                if let Some(entry) = sim.make(Op::Lock, name, None, place.clone(), NEVER) {
                    self.entry = Some(entry);
                    return Poll::Pending;
                }
            }
            if !place.delivered.get() {
                return Poll::Pending;
            }
            self.entry = Some(EntryId::NONE);
        }
        // From here on the guard gives it back.
        place.taken.set(false);
        let (lock, write, site) = (place.lock.clone(), place.write, place.site.get());
        sim.sees(|state| lock.value.borrow().hash(state));
        Poll::Ready(SimGuard { lock, write, site })
    }
}

/// Leaving the queue lets others pass, and gives back what was taken but never handed over.
impl<T> Drop for Taking<T> {
    fn drop(&mut self) {
        let Place { lock, ticket, write, taken, .. } = &*self.place;
        if let Some(entry) = self.entry
            && entry != EntryId::NONE
        {
            lock.sim.forget(entry);
        }
        if taken.get() {
            return lock.release(*write);
        }
        let waits = lock.queue.borrow().iter().any(|other| other.ticket == *ticket);
        if waits {
            lock.queue.borrow_mut().retain(|other| other.ticket != *ticket);
            lock.sim.notify(lock.key);
        }
    }
}

impl<T: Hash + 'static> SimLock<T> {
    fn take(&self, write: bool) -> Taking<T> {
        let lock = self.0.clone();
        let ticket = lock.draw();
        let (taken, delivered) = (Cell::new(false), Cell::new(false));
        let place = Place { lock, ticket, write, taken, site: Cell::new(None), delivered };
        Taking { place: Rc::new(place), entry: None }
    }
}

impl<T: Hash + 'static> Lock<T> for SimLock<T> {
    type Read = SimGuard<T>;
    type Write = SimGuard<T>;

    fn read(&self) -> impl Future<Output = SimGuard<T>> {
        self.take(false)
    }

    fn write(&self) -> impl Future<Output = SimGuard<T>> {
        self.take(true)
    }

    fn peek<R>(&self, look: impl FnOnce(&T) -> R) -> Option<R> {
        self.0.sim.touch(|| Footprint::of_look(self.0.key));
        self.0.seen.set(self.0.seen.get() || self.0.sim.0.notes.get() == Notes::Nothing);
        self.0.sim.sees(|state| self.0.value.try_borrow().ok().as_deref().hash(state));
        self.0.value.try_borrow().ok().map(|value| look(&value))
    }
}

struct ChannelState<T> {
    sim: Sim,
    name: Symbol,
    items: RefCell<VecDeque<T>>,
    capacity: usize,
    senders: Cell<usize>,
    receiver_gone: Cell<bool>,
    room: WaitKey,
    item: WaitKey,
}

pub struct SimSender<T>(Rc<ChannelState<T>>);

pub struct SimReceiver<T>(Rc<ChannelState<T>>);

impl<T> Clone for SimSender<T> {
    fn clone(&self) -> Self {
        self.0.senders.set(self.0.senders.get() + 1);
        SimSender(self.0.clone())
    }
}

impl<T> Drop for SimSender<T> {
    fn drop(&mut self) {
        self.0.senders.set(self.0.senders.get() - 1);
        self.0.sim.touch(|| Footprint::of_key(self.0.item));
        if self.0.senders.get() == 0 {
            self.0.sim.notify(self.0.item);
        }
    }
}

impl<T> Drop for SimReceiver<T> {
    fn drop(&mut self) {
        self.0.receiver_gone.set(true);
        self.0.sim.notify(self.0.room);
    }
}

impl<T: Hash> Guarded for ChannelState<T> {
    fn hash_content(&self, state: &mut FxHasher) {
        let gone = self.receiver_gone.get();
        (&*self.items.borrow(), self.senders.get(), gone).hash(state);
    }
}

impl<T> ChannelState<T> {
    fn has_room(&self) -> bool {
        self.items.borrow().len() < self.capacity
    }

    fn push(&self, value: T) {
        self.items.borrow_mut().push_back(value);
        self.sim.notify(self.item);
    }
}

impl<T: Hash + 'static> Sender<T> for SimSender<T> {
    async fn send(&self, value: T) -> Result<(), T> {
        let state = self.0.clone();
        let attempt = move || state.has_room() || state.receiver_gone.get();
        let single = self.0.sim.single(Op::Send, self.0.name, None, self.0.room, attempt);
        let _ = single.await;
        self.try_send(value)
    }

    fn try_send(&self, value: T) -> Result<(), T> {
        self.0.sim.touch(|| Footprint::of_look(self.0.room));
        let takes = !self.0.receiver_gone.get() && self.0.has_room();
        self.0.sim.sees(|state| takes.hash(state));
        if !takes {
            return Err(value);
        }
        self.0.push(value);
        Ok(())
    }
}

impl<T: Hash + 'static> Receiver<T> for SimReceiver<T> {
    async fn recv(&mut self, ctx: &Context) -> Result<Option<T>, Error> {
        let state = self.0.clone();
        let attempt = move || !state.items.borrow().is_empty() || state.senders.get() == 0;
        self.0.sim.single(Op::Receive, self.0.name, Some(ctx), self.0.item, attempt).await?;
        let item = self.0.items.borrow_mut().pop_front();
        self.0.sim.sees(|state| item.hash(state));
        if item.is_some() {
            self.0.sim.notify(self.0.room);
        }
        Ok(item)
    }
}

/// A one-shot broadcast of the simulator.
#[derive(Clone)]
pub struct SimSignal {
    sim: Sim,
    name: Symbol,
    key: WaitKey,
    set: Rc<Cell<bool>>,
}

impl Signal for SimSignal {
    fn set(&self) {
        if self.set.replace(true) {
            self.sim.touch(|| Footprint::of_look(self.key));
        } else {
            self.sim.notify(self.key);
        }
    }

    fn is_set(&self) -> bool {
        self.sim.touch(|| Footprint::of_look(self.key));
        self.sim.sees(|state| self.set.get().hash(state));
        self.set.get()
    }

    fn wait(&self, ctx: &Context) -> impl Future<Output = Result<(), Error>> {
        let set = self.set.clone();
        self.sim.single(Op::Signal, self.name, Some(ctx), self.key, move || set.get())
    }
}

impl<T: Hash> Guarded for Shared<T> {
    fn hash_content(&self, state: &mut FxHasher) {
        self.value.try_borrow().ok().as_deref().hash(state);
    }
}

struct Shared<T> {
    sim: Sim,
    key: WaitKey,
    value: RefCell<T>,
}

/// A value that tasks of the simulator share. Nobody waits for it, so that nothing of it is a moment.
pub struct SimValue<T>(Rc<Shared<T>>);

impl<T> Clone for SimValue<T> {
    fn clone(&self) -> Self {
        SimValue(self.0.clone())
    }
}

impl<T: Hash + 'static> Value<T> for SimValue<T> {
    fn with<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        self.0.sim.touch(|| Footprint::of_look(self.0.key));
        self.0.sim.sees(|state| self.0.value.borrow().hash(state));
        read(&self.0.value.borrow())
    }

    fn with_mut<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        self.0.sim.touch(|| Footprint::of_key(self.0.key));
        self.0.sim.note_service_changed();
        self.0.sim.sees(|state| self.0.value.borrow().hash(state));
        change(&mut self.0.value.borrow_mut())
    }
}

impl Runtime for SimRuntime {
    type Lock<T: Hash + 'static> = SimLock<T>;
    type Sender<T: Hash + 'static> = SimSender<T>;
    type Receiver<T: Hash + 'static> = SimReceiver<T>;
    type Signal = SimSignal;
    type Value<T: Hash + 'static> = SimValue<T>;

    fn spawn(&self, name: Name<'_>, task: impl Future<Output = ()> + 'static) {
        let actor = task_of(self.boot, name.role, Symbol::of(name.subject));
        self.sim.spawn(self.boot, actor, Box::pin(task));
    }

    async fn sleep(&self, duration: Duration) {
        let due = self.sim.now().0.saturating_add(nanos(duration));
        let mut single =
            self.sim.single(Op::Sleep, Symbol::EMPTY, None, WaitKey::Shared(0), || true);
        single.due = Some(due);
        let _ = single.await;
    }

    fn lock<T: Hash + 'static>(&self, name: Name<'_>, value: T) -> SimLock<T> {
        let state = Rc::new(LockState {
            sim: self.sim.clone(),
            name: role_of(name.role, Symbol::of(name.subject)),
            key: self.sim.new_key(),
            value: RefCell::new(value),
            seen: Cell::new(false),
            readers: Cell::new(0),
            writing: Cell::new(false),
            queue: RefCell::new(Vec::new()),
            next_ticket: Cell::new(0),
        });
        self.sim.note_shared(&state);
        SimLock(state)
    }

    fn channel<T: Hash + 'static>(
        &self,
        name: Name<'_>,
        capacity: usize,
    ) -> (SimSender<T>, SimReceiver<T>) {
        let state = Rc::new(ChannelState {
            sim: self.sim.clone(),
            name: role_of(name.role, Symbol::of(name.subject)),
            items: RefCell::new(VecDeque::new()),
            capacity: capacity.max(1),
            senders: Cell::new(1),
            receiver_gone: Cell::new(false),
            room: self.sim.new_key(),
            item: self.sim.new_key(),
        });
        self.sim.note_shared(&state);
        (SimSender(state.clone()), SimReceiver(state))
    }

    fn signal(&self, name: Name<'_>) -> SimSignal {
        let set = Rc::new(Cell::new(false));
        self.sim.note_shared(&set);
        SimSignal {
            sim: self.sim.clone(),
            name: role_of(name.role, Symbol::of(name.subject)),
            key: self.sim.new_key(),
            set,
        }
    }

    fn value<T: Hash + 'static>(&self, value: T) -> SimValue<T> {
        let (sim, key) = (self.sim.clone(), self.sim.new_key());
        let shared = Rc::new(Shared { sim, key, value: RefCell::new(value) });
        self.sim.note_shared(&shared);
        SimValue(shared)
    }

    fn unique_id(&self) -> String {
        let actor = self.sim.current_actor();
        self.sim.with_world(|world| world.new_container_id(actor))
    }
}
