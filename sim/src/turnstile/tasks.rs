//! The tasks of a run: their beginning, their polls and their end.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll, Wake, Waker};

use shakedown_cri::cri::LocalFuture;

use super::actors::{boot_actor, handler_actor};
use super::crash::daemon_site;
use super::line::{Line, What};
use super::notes::Notes;
use super::site::{Moment, Op, Stage};
use super::{Core, Sim, Stop, Symbol, TaskId};
use crate::world::FIRST_BOOT;

pub(super) struct Task {
    pub(super) actor: Symbol,
    /// That of its actor.
    pub(super) place: u64,
    /// Index of the scenario's call that the task serves.
    pub(super) client: Option<usize>,
    pub(super) future: Option<LocalFuture<()>>,
    /// Its future is with its poll, which is under way.
    pub(super) is_polled: bool,
    pub(super) waker: Waker,
    /// The boot of the daemon that it belongs to; 0: it is the harness's.
    pub(super) boot: u32,
    /// Hash of what it began with, and what it saw without a moment, where steps are recorded.
    pub(super) seen: u64,
}

pub(super) struct Foreign {
    pub(super) any: AtomicBool,
    pub(super) woken: Mutex<Vec<usize>>,
}

/// Wakes a task for a reason that is not a port's.
pub(super) struct ForeignWaker {
    pub(super) task: usize,
    pub(super) foreign: Arc<Foreign>,
}

impl Wake for ForeignWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Ok(mut woken) = self.foreign.woken.lock() {
            woken.push(self.task);
        }
        self.foreign.any.store(true, Ordering::Release);
    }
}

impl Sim {
    /// The actor of the task that is polled, and the harness outside of any.
    pub fn current_actor(&self) -> Symbol {
        let core = self.0.core.borrow();
        core.current.map_or_else(|| Symbol::of("harness"), |task| core.tasks[task.0].actor)
    }

    /// Starts a task of the harness or the world at once, as a moment of its own.
    pub fn start_task(&self, actor: Symbol, future: LocalFuture<()>) {
        let mut core = self.0.core.borrow_mut();
        let now = self.0.now.get();
        let task = core.new_task(actor, None, 0, future);
        let site = core.count(actor, Op::Begin, Symbol::EMPTY);
        core.park(site, Stage::Only, now, now, What::Spawn { task });
    }

    /// Starts a background task of the service; its first poll is a moment of the spawner.
    pub(crate) fn spawn(&self, boot: u32, actor: Symbol, future: LocalFuture<()>) {
        let mut core = self.0.core.borrow_mut();
        if core.closed {
            return;
        }
        // More tasks than there may be moments have no end, and are not waited for until they have no room.
        if core.tasks.len() as u64 > core.budget {
            core.end(Stop::TooManyTasks);
            drop(core);
            // Nothing else gets out of a loop that spawns.
            panic!("too many tasks");
        }
        let now = self.0.now.get();
        let spawner = core.current_actor();
        let lineage = (self.0.notes.get() != Notes::Nothing).then(|| core.lineage(now));
        let task = core.new_task(actor, None, boot, future);
        if let Some(lineage) = lineage {
            core.tasks[task.0].seen = lineage;
        }
        let site = core.count(spawner, Op::Spawn, actor);
        core.park(site, Stage::Only, now, now, What::Spawn { task });
    }

    /// Names of the service's tasks that have not ended.
    pub fn service_tasks(&self) -> Vec<Symbol> {
        let core = self.0.core.borrow();
        let alive = core.tasks.iter().filter(|t| t.boot > 0 && t.future.is_some());
        alive.map(|t| t.actor).collect()
    }

    /// Polls a task, whose turn it is, once.
    pub(super) fn poll(&self, task: TaskId) {
        let (outer, step, future, waker) = {
            let mut core = self.0.core.borrow_mut();
            let outer = core.current.replace(task);
            let step = core.poll_begins(task);
            let task = &mut core.tasks[task.0];
            // Lent rather than cloned, which would count with atomics.
            let waker = std::mem::replace(&mut task.waker, Waker::noop().clone());
            task.is_polled = task.future.is_some();
            (outer, step, task.future.take(), waker)
        };
        let Some(mut future) = future else {
            let mut core = self.0.core.borrow_mut();
            core.current = outer;
            core.poll_ends(step);
            return;
        };
        let mut cx = TaskContext::from_waker(&waker);
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut cx)));
        let mut core = self.0.core.borrow_mut();
        core.poll_ends(step);
        core.current = outer;
        core.tasks[task.0].waker = waker;
        core.tasks[task.0].is_polled = false;
        match polled {
            Ok(Poll::Pending) => core.tasks[task.0].future = Some(future),
            Ok(Poll::Ready(())) => {
                core.finish_task(task, self.0.now.get());
                drop(core);
                self.catch("daemon", || drop(future));
            }
            Err(payload) => {
                let actor = core.tasks[task.0].actor.to_string();
                core.end(Stop::Panicked { actor, message: panic_text(&*payload) });
                drop(core);
                // Its destructors belong to the daemon that just died.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(future)));
            }
        }
    }

    pub(super) fn take_foreign(&self, core: &mut Core) {
        let woken = self.0.foreign.woken.lock().map(|mut w| std::mem::take(&mut *w));
        let now = self.0.now.get();
        for task in woken.unwrap_or_default().into_iter().map(TaskId) {
            let waiting =
                core.parked.iter().any(|p| matches!(p.what, What::Woken { task: t } if t == task));
            if core.tasks[task.0].future.is_some() && !waiting {
                let site = core.count(core.tasks[task.0].actor, Op::Wake, Symbol::EMPTY);
                core.park(site, Stage::Only, now, now, What::Woken { task });
            }
        }
    }

    /// Has code under test do something outside of its tasks. A panic ends the run.
    pub fn catch<R>(&self, actor: &str, of_runtime: impl FnOnce() -> R) -> Option<R> {
        let caught = catch_unwind(AssertUnwindSafe(of_runtime));
        caught.map_err(|payload| self.panicked(actor, &*payload)).ok()
    }

    #[cold]
    pub(super) fn panicked(&self, actor: &str, payload: &(dyn Any + Send)) {
        let message = panic_text(payload);
        self.end(Stop::Panicked { actor: actor.to_owned(), message });
    }

    /// Ends the run: drops what is left of it, tasks in the order of their starts.
    pub fn close(&self) {
        let futures: Vec<_> = {
            let mut core = self.0.core.borrow_mut();
            core.closed = true;
            core.tasks.iter_mut().filter_map(|task| task.future.take()).collect()
        };
        for future in futures {
            self.catch("daemon", || drop(future));
        }
        let line = Line::with_capacity(0);
        let parked = std::mem::replace(&mut self.0.core.borrow_mut().parked, line);
        self.catch("daemon", || drop(parked));
        let calls: Vec<_> = {
            let mut core = self.0.core.borrow_mut();
            core.daemon = None;
            // Those that never began hold what they would have called, and with it the run.
            core.calls.iter_mut().map(|call| call.make.take()).collect()
        };
        drop(calls);
        self.0.observer.borrow_mut().take();
        self.0.follower.borrow_mut().take();
    }
}

impl Core {
    pub(super) fn current_actor(&self) -> Symbol {
        self.current.map_or_else(|| Symbol::of("harness"), |task| self.tasks[task.0].actor)
    }

    pub(super) fn new_task(
        &mut self,
        actor: Symbol,
        client: Option<usize>,
        boot: u32,
        future: LocalFuture<()>,
    ) -> TaskId {
        let number = self.tasks.len();
        let foreign = ForeignWaker { task: number, foreign: self.foreign.clone() };
        self.tasks.push(Task {
            actor,
            place: actor.place(),
            client,
            future: Some(future),
            is_polled: false,
            waker: Waker::from(Arc::new(foreign)),
            boot,
            seen: 1,
        });
        TaskId(number)
    }

    /// A call is taken up, and its handler begins.
    pub(super) fn handler(
        &mut self,
        moment: Moment,
        client: Option<usize>,
        handler: LocalFuture<()>,
        now: u64,
        world: u64,
    ) -> TaskId {
        let task = self.new_task(handler_actor(moment.site), client, self.boot, handler);
        self.happened(moment, 0, None, now, world);
        task
    }

    /// A task ended; a client's call has its answer.
    fn finish_task(&mut self, task: TaskId, now: u64) {
        let actor = self.tasks[task.0].actor;
        if let Some(index) = self.tasks[task.0].client
            && self.calls[index].name == actor
        {
            self.end_call(index, now);
        } else if self.tasks[task.0].boot > FIRST_BOOT
            && actor == boot_actor(self.boot, Symbol::of("daemon"))
            && self.crash_due.is_none()
        {
            let site = self.count_of(daemon_site(Op::Up));
            self.park(site, Stage::Only, now, now, What::Up).urgent = true;
        }
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned())
}
